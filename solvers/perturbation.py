"""Random smooth neighbours of a guess, for solvers that start more than once.

With s in [0, 1] the share of the horizon that has passed, every control and state moves by

    du_j(s) = spread w_j sqrt(6)/pi sum_{m=0}^{M-1} a_m cos(pi m s) / (m + 1),
    dx_j(s) = spread w_j sqrt(8)/pi sum_{m=1}^{M} b_m sin(pi m s) / m,        a, b ~ N(0, 1), M = min(N, 8),

smooth, for rough controls only shake a system, and zero at both ends of the state, which the problem mostly fixes; the
factors make spread w_j the largest standard deviation. The width w_j is half the distance of the bounds where both are
finite, else the largest magnitude in the guess, or 1 where that is zero. The result is moved into its bounds. Free
parameters change by spread w N(0, 1), a free start by that with the duration for w, and a free duration by the factor
exp(spread N(0, 1)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.horizon import Free
from trajopt.problem import Problem
from trajopt.trajectory import Interpolation, Trajectory

Array = NDArray[np.float64]

_MODES = 8
"""Waves in a perturbation: four swings to and fro, and smooth beside any usual number of steps."""


def perturb(problem: Problem, guess: Trajectory, spread: float, seed: Sequence[int]) -> Trajectory:
    """A random smooth neighbour of a guess; the module says how.

    Parameters
    ----------
    problem
        Gives bounds, and which times and parameters are free.
    guess
        On the problem's knots.
    spread
        Standard deviation relative to the widths.
    seed
        Whole numbers that the generator starts from.
    """
    rng = np.random.default_rng(seed)
    if guess.interpolation is Interpolation.POLYNOMIAL:  # whose pieces the waves below would not follow
        guess = guess.resample(guess.t)
    modes = min(guess.steps, _MODES)
    share = (guess.t - guess.t[0]) / (guess.t[-1] - guess.t[0])
    middle = 0.5 * (share[:-1] + share[1:])
    controls = spread * _widths(problem.control_bounds, guess.u) * rng.normal(size=(modes, problem.nu))
    states = spread * _widths(problem.state_bounds, guess.x) * rng.normal(size=(modes, problem.nx))
    order = np.arange(modes)

    def control(rows: Array, s: Array) -> Array:
        waves = np.cos(np.pi * np.outer(s, order)) / (order + 1.0)
        return problem.admissible(rows + math.sqrt(6.0) / math.pi * waves @ controls)

    waves = np.sin(np.pi * np.outer(share, order + 1.0)) / (order + 1.0)
    waves[[0, -1]] = 0.0  # sin(pi m) is not zero in floating point
    x = guess.x + math.sqrt(8.0) / math.pi * waves @ states
    held = guess.interpolation is Interpolation.HOLD
    begin, duration = _times(problem, guess, spread, rng)
    return replace(
        guess,
        t=guess.t if (begin, duration) == (guess.t[0], guess.t[-1] - guess.t[0]) else begin + duration * share,
        x=np.clip(x, *problem.state_bounds),
        u=control(guess.u, middle if held else share),
        u_mid=None if guess.u_mid is None else control(guess.u_mid, middle),
        parameters=_parameters(problem, guess, spread, rng),
    )


def _widths(bounds: Array, values: Array) -> Array:
    """Half the distance of the bounds, else the largest magnitude among ``values`` (n, size), else 1: (size,)."""
    magnitude = np.abs(values).max(axis=0, initial=0.0)
    half = 0.5 * (bounds[1] - bounds[0])
    return np.where(np.isfinite(half), half, np.where(magnitude > 0.0, magnitude, 1.0))


def _times(problem: Problem, guess: Trajectory, spread: float, rng: np.random.Generator) -> tuple[float, float]:
    """Start and duration, changed where they are free."""
    begin, duration = float(guess.t[0]), float(guess.t[-1] - guess.t[0])
    horizon = problem.horizon
    if isinstance(horizon.start, Free):
        begin = float(np.clip(begin + spread * duration * rng.normal(), horizon.start.lower, horizon.start.upper))
    if isinstance(horizon.duration, Free):
        factor = math.exp(spread * rng.normal())
        duration = float(np.clip(duration * factor, horizon.duration.lower, horizon.duration.upper))
    return begin, duration


def _parameters(problem: Problem, guess: Trajectory, spread: float, rng: np.random.Generator) -> dict[str, Any]:
    """Values of the parameters, changed where they are free."""
    layout = problem.layout
    limits = layout.bounds(problem.parameters)
    free = layout.free_entries
    values = layout.pack(guess.parameters)
    moved = values[free] + spread * _widths(limits[:, free], values[None, free]) * rng.normal(size=free.size)
    values[free] = np.clip(moved, *limits[:, free])
    return layout.unpack(values)
