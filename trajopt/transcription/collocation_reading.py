"""From the variables of a transcribed program back to a trajectory, with polynomials between the knots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajopt import bernstein
from trajopt.problem import Problem
from trajopt.trajectory import Interpolation, Pieces, Trajectory
from trajopt.transcription.collocation import DirectProgram, knot_slopes
from trajopt.transcription.interval import IntervalScheme
from trajopt.transcription.nlp import Instance

Array = NDArray[np.float64]


def read_trajectory(structure: DirectProgram, problem: Problem, instance: Instance, w: Array) -> Trajectory:
    """Return the trajectory that a vector of variables stands for."""
    layout, interpolation = structure.variables, structure.scheme.interpolation
    whole = np.empty(2 + problem.layout.size)
    whole[structure.free] = w[layout.free]
    whole[np.setdiff1d(np.arange(len(whole)), structure.free)] = instance.shared
    t, x, u = structure.mesh.knots(whole[0], whole[1]), w[layout.x], w[layout.u]
    values = problem.layout.unpack(whole[2:])
    if interpolation is Interpolation.QUADRATIC:
        middle = bernstein.evaluate(_control_pieces(structure, w), np.full(len(u) - 1, 0.5))
        return Trajectory(t, x, u, interpolation, middle, values)
    if interpolation is not Interpolation.POLYNOMIAL:
        return Trajectory(t, x, u, interpolation, None, values)
    slopes = knot_slopes(structure, w, whole[0], whole[1], whole[2:])
    pieces = Pieces(_control_pieces(structure, w), _state_pieces(structure, w, slopes, np.diff(t)))
    return Trajectory(t, x, np.vstack([pieces.u[:, 0], pieces.u[-1:, -1]]), interpolation, None, values, pieces=pieces)


def _control_pieces(structure: DirectProgram, w: Array) -> Array:
    """Bernstein coefficients of the control on every interval, all elevated to the highest degree."""
    layout, groups = structure.variables, structure.mesh.groups()
    knots = w[layout.u]
    parts = [scheme.read_controls(knots, w[layout.inside(chosen)[1]], chosen) for scheme, chosen in groups]
    return _merge(parts, groups, structure.mesh.steps)


def _state_pieces(structure: DirectProgram, w: Array, slopes: Array, lengths: Array) -> Array:
    """The same of the state."""
    layout, groups = structure.variables, structure.mesh.groups()
    x = w[layout.x]
    parts = [
        scheme.read_states(x[chosen], w[layout.inside(chosen)[0]], x[chosen + 1], slopes[chosen], lengths[chosen])
        for scheme, chosen in groups
    ]
    return _merge(parts, groups, structure.mesh.steps)


def _merge(parts: list[Array], groups: list[tuple[IntervalScheme, NDArray[np.intp]]], steps: int) -> Array:
    """Polynomials of all groups in the order of the intervals."""
    degree = max(part.shape[1] for part in parts) - 1
    merged = np.empty((steps, degree + 1, parts[0].shape[2]))
    for part, (_, chosen) in zip(parts, groups, strict=True):
        merged[chosen] = bernstein.elevate(part, degree)
    return merged
