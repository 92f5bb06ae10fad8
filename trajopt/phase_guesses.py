"""Turns whatever the user gives as a guess of several phases into a trajectory for each, on its own knots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.guess import make_guess, straight_line, terminal_target
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]


def make_guesses(problem: MultiPhaseProblem, guess: Any) -> list[Trajectory]:
    """One guess for each phase: the given one, else the phase's own, else a straight line between known states.

    Such a line begins where the phases before end, and heads for the next state that is known, in a later phase if need
    be: cutting a problem in two does not change its guess.

    Parameters
    ----------
    problem
        Gives knots, sizes and links.
    guess
        A `MultiPhaseSolution`, a list with one guess (or None) for each phase, a dictionary of guesses by the names of
        phases, or None.

    Raises
    ------
    InvalidProblem
        When the guess is none of these, or does not fit.
    """
    given = _one_for_each(problem, guess)
    found: list[Trajectory] = []
    for number, (phase, own) in enumerate(zip(problem.joined, given, strict=True)):
        if own is None and phase.guess is None:
            found.append(straight_line(phase, *_ends(problem, number, found)))
            continue
        try:
            found.append(make_guess(phase, own))
        except InvalidProblem as error:
            raise InvalidProblem(f"phase {phase.name!r}: {error}") from error
    return found


def _one_for_each(problem: MultiPhaseProblem, guess: Any) -> list[Any]:
    """A guess or None for each phase."""
    if guess is None:
        return [None] * len(problem.names)
    if isinstance(guess, Mapping):
        for name in guess:
            problem.index(name)
        return [guess.get(name) for name in problem.names]
    parts = getattr(guess, "phases", guess)
    if not isinstance(parts, Sequence) or isinstance(parts, str) or len(parts) != len(problem.names):
        raise InvalidProblem(
            f"guess of type {type(guess).__name__} was given for {len(problem.names)} phases, but a "
            "MultiPhaseSolution, a list with one guess or None for each phase, or a dictionary by their names was "
            "expected; convert it."
        )
    return list(parts)


def _ends(problem: MultiPhaseProblem, number: int, before: Sequence[Trajectory]) -> tuple[Array, Array]:
    """Both ends of a phase, (nx,) each, NaN where nothing is known."""
    phase = problem.joined[number]
    start, end = phase.initial_values.copy(), terminal_target(phase)
    for joint in problem.joints:
        if joint.second == number and joint.first < number:
            for i, j in joint.carried:
                if np.isnan(start[j]):
                    start[j] = np.clip(before[joint.first].x[-1, i], *phase.state_bounds[:, j])
    for entry in np.flatnonzero(np.isnan(end)):
        ahead = _ahead(problem, number, int(entry))
        if ahead is not None:
            value, time = ahead
            origin = value if np.isnan(start[entry]) else start[entry]
            reached = origin + (value - origin) * phase.horizon.duration_guess / time
            end[entry] = np.clip(reached, *phase.state_bounds[:, entry])
    return start, end


def _ahead(problem: MultiPhaseProblem, number: int, entry: int) -> tuple[float, float] | None:
    """The next known value of an entry of the state, and the time from the start of the phase until then."""
    phase = problem.joined[number]
    duration, target = phase.horizon.duration_guess, terminal_target(phase)[entry]
    if not np.isnan(target):
        return float(target), duration
    for joint in problem.joints:
        if joint.first != number or joint.second <= number:
            continue
        for j in (after for own, after in joint.carried if own == entry):
            value = problem.joined[joint.second].initial_values[j]
            later = (float(value), 0.0) if not np.isnan(value) else _ahead(problem, joint.second, j)
            if later is not None:
                return later[0], later[1] + duration
    return None
