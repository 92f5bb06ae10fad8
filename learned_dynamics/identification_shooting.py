"""The least-squares problem of system identification: one step of the model, residuals over segments, sensitivities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import casadi as ca
import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import block_diag, csr_array, hstack

from trajopt.dynamics import TracedDynamics
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.horizon import Free
from trajopt.learned_dynamics.data import Array
from trajopt.parameters import ParameterLayout
from trajopt.problem import Problem


@dataclass(frozen=True, eq=False)
class Segment:
    """Measurements (L+1, nx), controls (L, nu) and the number of the first step."""

    x: Array
    u: Array
    first: int


@dataclass(frozen=True, eq=False)
class Model:
    """One step of the model and its derivatives, over packed parameters of which some entries are free."""

    nx: int
    step: ca.Function
    derivatives: ca.Function
    packed: Array
    entries: Any
    names: tuple[str, ...]
    bounds: Array
    start: float
    width: float

    @classmethod
    def of(cls, problem: Problem, free: Sequence[str], substeps: int) -> Model:
        """Of a problem, with the parameters named free."""
        _check(problem, free, substeps)
        layout, model = problem.layout, problem.model
        entries = np.concatenate([np.arange(layout.slices[name].start, layout.slices[name].stop) for name in free])
        continuous = problem.dynamics.continuous
        width = float(problem.horizon.duration) / problem.horizon.steps if continuous else 1.0
        function = ca.Function("f", [model.x, model.u, model.t, model.p], [model.dynamics])
        after = _runge_kutta(function, model, width, substeps) if continuous else model.dynamics
        by_x, by_q = ca.jacobian(after, model.x), ca.jacobian(after, model.p)[:, entries.tolist()]
        inputs = [model.x, model.u, model.t, model.p]
        limits = layout.bounds(problem.parameters)
        bounds = np.array([[-np.inf], [np.inf]]) * np.ones(layout.size)
        for name in layout.free:
            bounds[:, layout.slices[name]] = limits[:, layout.slices[name]]
        return cls(
            problem.nx,
            ca.Function("step", inputs, [after]),
            ca.Function("derivatives", inputs, [ca.densify(by_x), ca.densify(by_q)]),
            layout.pack(problem.parameters),
            entries,
            _entry_names(layout, free),
            bounds[:, entries],
            float(problem.horizon.start) if continuous else 0.0,
            width,
        )


def _check(problem: Problem, free: Sequence[str], substeps: int) -> None:
    """Refuse what cannot be identified."""
    if not isinstance(problem.dynamics, TracedDynamics):
        raise UnsupportedProblem(
            f"system_identification got a problem with {type(problem.dynamics).__name__}, but dynamics that are "
            "traced were expected; write them as ContinuousDynamics or DiscreteDynamics."
        )
    if isinstance(problem.horizon.duration, Free) or isinstance(problem.horizon.start, Free):
        raise UnsupportedProblem(
            "system_identification got a free horizon, but a known length of a step was expected; fix the horizon."
        )
    if int(substeps) != substeps or substeps < 1:
        raise InvalidProblem(f"substeps={substeps} was given, but a whole number >= 1 was expected; correct it.")
    layout = problem.layout
    unknown = [name for name in free if name not in layout.shapes]
    if isinstance(free, str) or unknown or not free:
        raise InvalidProblem(
            f"free={free!r} was given, but a list of names out of {sorted(layout.shapes)}, the problem's "
            "parameters, was expected; correct it."
        )


def _runge_kutta(function: ca.Function, model: Any, width: float, substeps: int) -> ca.SX:
    """The state after a step of length ``width``, by Runge-Kutta steps of fourth order under a held control."""
    x, h = model.x, width / substeps
    for number in range(substeps):
        t = model.t + number * h
        k1 = function(x, model.u, t, model.p)
        k2 = function(x + 0.5 * h * k1, model.u, t + 0.5 * h, model.p)
        k3 = function(x + 0.5 * h * k2, model.u, t + 0.5 * h, model.p)
        k4 = function(x + h * k3, model.u, t + h, model.p)
        x = x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return x


def _entry_names(layout: ParameterLayout, free: Sequence[str]) -> tuple[str, ...]:
    names: list[str] = []
    for name in free:
        shape = layout.shapes[name]
        names += [name + "".join(f"[{i}]" for i in index) for index in np.ndindex(*shape)]
    return tuple(names)


class Shooting:
    """Residuals of all segments and their Jacobian; the unknowns are the free entries, then the starts."""

    def __init__(self, model: Model, segments: list[Segment]) -> None:
        self.model = model
        self.segments = segments
        self.unknowns = len(model.entries) + model.nx * len(segments)
        self.start = np.concatenate([model.packed[model.entries], *(_filled(s.x) for s in segments)])

    @cached_property
    def measured(self) -> Any:
        """Which of all numbers were measured, (rows,)."""
        return np.concatenate([np.isfinite(s.x).ravel() for s in self.segments])

    def states(self, z: Array) -> list[Array]:
        """The model's states in each segment, (L+1, nx)."""
        packed, starts = self.split(z)
        return [self._simulate(packed, start, s) for start, s in zip(starts, self.segments, strict=True)]

    def split(self, z: Array) -> tuple[Array, Array]:
        """The packed parameters, and the starts of the segments (M, nx)."""
        count = len(self.model.entries)
        packed = self.model.packed.copy()
        packed[self.model.entries] = z[:count]
        return packed, z[count:].reshape(-1, self.model.nx)

    def _times(self, segment: Segment) -> Array:
        return self.model.start + self.model.width * (segment.first + np.arange(len(segment.u)))

    def _simulate(self, packed: Array, start: Array, segment: Segment) -> Array:
        inputs = (segment.u.T, self._times(segment)[None], np.repeat(packed[:, None], len(segment.u), axis=1))
        return np.vstack([start, self.model.step.mapaccum(len(segment.u))(start, *inputs).full().T])

    def residuals(self, z: Array, weights: Array) -> Array:
        """Weighted differences at the measured numbers; large where the model's are not finite."""
        difference = [(y - s.x) * weights for y, s in zip(self.states(z), self.segments, strict=True)]
        rows = np.concatenate([part.ravel() for part in difference])[self.measured]
        return np.where(np.isfinite(rows), rows, 1e150)  # a step into nonsense is refused, its square does not overflow

    def jacobian(self, z: Array, weights: Array) -> csr_array:
        """Derivatives of `residuals`, sparse: a segment depends on the parameters and on its own start."""
        packed, starts = self.split(z)
        pairs = [self._sensitivities(packed, a, s) for a, s in zip(starts, self.segments, strict=True)]
        scale = np.concatenate([np.tile(weights, len(s.x)) for s in self.segments])
        by_q = np.concatenate([pair[1] for pair in pairs]) * scale[:, None]
        by_start = block_diag([pair[0] for pair in pairs], format="csr").multiply(scale[:, None])
        return csr_array(hstack([by_q, by_start], format="csr"))[self.measured]

    def _sensitivities(self, packed: Array, start: Array, segment: Segment) -> tuple[Array, Array]:
        """Derivatives of a segment's states by its start and by the free entries, ((L+1) nx, nx) and (.., q)."""
        states, count, nx = self._simulate(packed, start, segment), len(segment.u), self.model.nx
        inputs = (states[:-1].T, segment.u.T, self._times(segment)[None], np.repeat(packed[:, None], count, axis=1))
        by_x, by_q = (matrix.full() for matrix in self.model.derivatives.map(count)(*inputs))
        free = len(self.model.entries)
        along = np.concatenate([np.eye(nx), np.zeros((nx, free))], axis=1)
        rows = [along]
        for k in range(count):
            along = by_x[:, k * nx : (k + 1) * nx] @ along
            along[:, nx:] += by_q[:, k * free : (k + 1) * free]
            rows.append(along)
        stacked = np.concatenate(rows)
        return stacked[:, :nx], stacked[:, nx:]

    def solve(self, z: Array, weights: Array) -> Any:
        """Least squares from ``z``, within the limits of the free parameters."""
        limits = np.concatenate([self.model.bounds, np.array([[-np.inf], [np.inf]]) * np.ones(len(z))], axis=1)
        limits = limits[:, : len(z)]
        scale = np.where(z == 0.0, 1.0, np.abs(z))
        return least_squares(
            self.residuals,
            z,
            self.jacobian,
            (limits[0], limits[1]),
            "trf",
            x_scale=scale,
            args=(weights,),
            max_nfev=200,
        )

    def noise(self, z: Array) -> Array:
        """Deviation of the measurements of each state, (nx,); of an exact fit, what rounding leaves."""
        difference = np.concatenate([y - s.x for y, s in zip(self.states(z), self.segments, strict=True)])
        known = np.isfinite(difference)
        freedom = max(1.0 - self.unknowns / self.measured.sum(), np.finfo(float).eps)
        squares = np.sum(np.where(known, difference, 0.0) ** 2, axis=0) / np.maximum(known.sum(axis=0), 1)
        largest = np.max([np.abs(np.nan_to_num(s.x)).max(axis=0) for s in self.segments], axis=0)
        rounding = np.sqrt(np.finfo(float).eps) * np.maximum(1.0, largest)
        return np.maximum(np.sqrt(squares / freedom), rounding)


def _filled(x: Array) -> Array:
    """A segment's start: the first measurement of each state, zero where there is none."""
    measured = np.isfinite(x)
    return np.where(measured.any(axis=0), x[measured.argmax(axis=0), np.arange(x.shape[1])], 0.0)
