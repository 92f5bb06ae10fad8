"""Turns whatever the user gives as a guess into a trajectory on the problem's own knots."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.problem import Problem
from trajopt.trajectory import Interpolation, Trajectory, read_arrays

Array = NDArray[np.float64]


def make_guess(problem: Problem, guess: Any) -> Trajectory:
    """``guess``, else the problem's own, else a straight line between the ends, on the problem's N + 1 knots.

    Where controls are discrete those of the guess become the nearest choices.

    Parameters
    ----------
    problem
        Gives knots, sizes and parameter values.
    guess
        A `Solution`, a `Trajectory`, arrays ``(t, x, u)``, or None.
    """
    guess = problem.guess if guess is None else guess
    if guess is None:
        return straight_line(problem, problem.initial_values, terminal_target(problem))
    values = problem.layout.unpack(problem.layout.pack(problem.parameters))
    if isinstance(guess, Trajectory):
        found = guess
    elif isinstance(getattr(guess, "trajectory", None), Trajectory):
        found = replace(guess.trajectory, multipliers=guess.multipliers)
    elif isinstance(guess, (tuple, list)) and len(guess) == 3:
        found = read_arrays(guess[0], guess[1], guess[2], problem.nx, problem.nu, values)
    else:
        raise InvalidProblem(
            f"guess of type {type(guess).__name__} was given, but a Solution, a Trajectory or arrays (t, x, u) were "
            "expected; convert it."
        )
    read_arrays(found.t, found.x, found.u, problem.nx, problem.nu, values)  # a trajectory of another problem is refused
    chosen = {name: found.parameters.get(name, values[name]) for name in problem.layout.free}
    start, duration = _span(problem, found)
    knots = problem.horizon.knots(start, duration)
    # A guess of another length is stretched: its shape is what helps, not its clock.
    stretched = found.t[0] + (knots - knots[0]) / (knots[-1] - knots[0]) * (found.t[-1] - found.t[0])
    same = len(stretched) == len(found.t) and np.allclose(stretched, found.t, rtol=1e-12, atol=0.0)
    sampled = found if same else found.resample(stretched)
    if problem.choices is not None:  # so that every solver begins among them
        held = problem.admissible(sampled.held())
        sampled = replace(sampled, u=held, u_mid=None, interpolation=Interpolation.HOLD)
    return replace(sampled, t=knots, parameters=values | chosen)


def _span(problem: Problem, found: Trajectory) -> tuple[float, float]:
    """Start and duration: fixed ones of the problem, free ones of the guess, moved into their bounds."""
    horizon = problem.horizon
    start, duration = horizon.start_guess, horizon.duration_guess
    if not isinstance(horizon.start, float | int):
        start = float(np.clip(found.t[0], horizon.start.lower, horizon.start.upper))
    if horizon.duration is not None and not isinstance(horizon.duration, float | int):
        duration = float(np.clip(found.t[-1] - found.t[0], horizon.duration.lower, horizon.duration.upper))
    return start, duration


def terminal_target(problem: Problem) -> Array:
    """The final state that terminal constraints ask for, (nx,), NaN where they do not."""
    end = np.full(problem.nx, np.nan)
    for constraint in problem.constraints_by_kind()["terminal"]:
        if constraint.target is not None:  # type: ignore[attr-defined]
            end = np.array([e if v is None else v for e, v in zip(end, constraint.target, strict=True)])  # type: ignore[attr-defined]
    return end


def straight_line(problem: Problem, start: Array, end: Array) -> Trajectory:
    """From a state to another, both completed by what bounds allow; the control is at rest.

    Parameters
    ----------
    problem
        Gives bounds and knots.
    start, end
        (nx,), NaN where unknown.
    """
    lower, upper = problem.state_bounds
    rest = np.clip(np.zeros(problem.nx), lower, upper)
    start, end = (
        np.where(np.isnan(start), np.where(np.isnan(end), rest, end), start),
        np.where(np.isnan(end), np.where(np.isnan(start), rest, start), end),
    )
    t = problem.horizon.knots()
    x = start + np.linspace(0.0, 1.0, len(t))[:, None] * (end - start)
    control = problem.admissible(np.zeros(problem.nu))
    u = np.broadcast_to(control, (problem.horizon.steps, problem.nu)).copy()
    parameters = problem.layout.unpack(problem.layout.pack(problem.parameters))
    return Trajectory(t, x, u, Interpolation.HOLD, None, parameters)
