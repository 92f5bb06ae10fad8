"""Which arcs an answer consists of: read from what the user wrote, or from a trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.problem import Problem
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.arcs import Kind, Limit, find_limits

Array = NDArray[np.float64]
Pattern = tuple[Kind | Limit, ...]

_WORDS = {"lower": Kind.LOWER, "upper": Kind.UPPER, "interior": Kind.INTERIOR, "singular": Kind.SINGULAR}

NEAR = 0.01
"""Share of its range within which a control or a state counts as at its bound; interior methods stay off by far less,
and where a mesh straddles a switch the interpolated control passes through the middle."""

_FINE = 8
"""Places in each interval of a guess at which its control is looked at."""


@dataclass(frozen=True, eq=False)
class Structure:
    """Arcs in order.

    Attributes
    ----------
    patterns
        For each arc what each control does.
    times
        (J+1,) guessed times of their ends.
    """

    patterns: tuple[Pattern, ...]
    times: Array


def parse_structure(structure: Any, problem: Problem) -> tuple[Pattern, ...]:
    """Read the user's words.

    Raises
    ------
    InvalidProblem
        When a word is unknown, or one switch changes more or less than one control.
    """
    if isinstance(structure, str) or not isinstance(structure, Sequence) or not structure:
        raise InvalidProblem(
            f"Indirect got structure={structure!r}, but a sequence of arcs was expected; write for example ('upper', "
            "'singular', 'lower')."
        )
    patterns = tuple(_parse_arc(arc, problem) for arc in structure)
    for number, (before, after) in enumerate(pairwise(patterns), 1):
        changes = sum(left != right for left, right in zip(before, after, strict=True))
        if changes != 1:
            raise InvalidProblem(
                f"Indirect got a structure in which {changes} controls change between arcs {number} and {number + 1}, "
                "but one was expected to change at each switch; put an arc between them, or leave one out."
            )
    return patterns


def _parse_arc(arc: Any, problem: Problem) -> Pattern:
    words = (arc,) if isinstance(arc, str) else tuple(arc) if isinstance(arc, Sequence) else ()
    if len(words) != problem.nu or not all(isinstance(word, str) for word in words):
        raise InvalidProblem(
            f"Indirect got an arc {arc!r}, but one word for each of the {problem.nu} controls "
            f"{', '.join(problem.dynamics.controls)} was expected; write for example {('interior',) * problem.nu!r}."
        )
    return tuple(_parse_word(word, j, problem) for j, word in enumerate(words))


def _parse_word(word: str, j: int, problem: Problem) -> Kind | Limit:
    if word in _WORDS:
        kind = _WORDS[word]
        bound = {Kind.LOWER: problem.control_bounds[0, j], Kind.UPPER: problem.control_bounds[1, j]}.get(kind, 0.0)
        if not np.isfinite(bound):
            raise InvalidProblem(
                f"Indirect got an arc with {problem.dynamics.controls[j]!r} at its {word} bound, but it has none; add "
                "Bounds(control=...), or correct the structure."
            )
        return kind
    limits = find_limits(problem)
    found = [limit for limit in limits if limit.name in (word, f"{word} upper", f"{word} lower")]
    if len(found) != 1:
        known = [*_WORDS, *(limit.name for limit in limits)]
        raise InvalidProblem(
            f"Indirect got {word!r} in its structure, but one of {', '.join(map(repr, known))} was expected; pick one."
        )
    return found[0]


def canonical(patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
    """The patterns with one object for each limit, so that equal limits are the same."""
    seen: dict[str, Limit] = {}
    return tuple(
        tuple(seen.setdefault(kind.name, kind) if isinstance(kind, Limit) else kind for kind in pattern)
        for pattern in patterns
    )


def spread_evenly(patterns: Sequence[Pattern], guess: Trajectory) -> Structure:
    """Switches at equal distances."""
    return Structure(canonical(patterns), np.linspace(guess.t[0], guess.t[-1], len(patterns) + 1))


def detect(problem: Problem, guess: Trajectory, linear: NDArray[np.bool_]) -> Structure:
    """Read the arcs of a trajectory: where controls sit at their bounds, and which limits are active for a while.

    Pieces shorter than an interval of the mesh are what the mesh makes of a jump, and are left out.
    """

    def shortest(j: int) -> dict[int, int]:
        # A jump takes the mesh up to two intervals; a regular control is continuous and passes quickly, or touches.
        return {-1: _FINE, 0: 2 * _FINE, 1: _FINE} if linear[j] else {-1: _FINE // 2, 0: 0, 1: _FINE // 2}

    k = np.repeat(np.arange(guess.steps), _FINE)
    s = np.tile((np.arange(_FINE) + 0.5) / _FINE, guess.steps)
    t = guess.t[k] + s * (guess.t[k + 1] - guess.t[k])
    u, x = guess.control_on(k, t), np.stack([np.interp(t, guess.t, column) for column in guess.x.T], axis=1)
    codes = np.stack([_codes(column, *problem.control_bounds[:, j]) for j, column in enumerate(u.T)], axis=1)
    for j in np.flatnonzero(linear):
        # On singular arcs direct methods may ring from interval to interval; the mean over two of them does not.
        if len(_runs(codes[:, j], shortest(j))) > 4 + guess.steps // 8:
            codes[:, j] = _codes(_mean(u[:, j], 2 * _FINE), *problem.control_bounds[:, j])
    keepers = _active_limits(problem, x, u, t, guess)
    limits = list(find_limits(problem))
    for number, where in keepers.items():
        # A control that its bounds do not hold keeps the limit; the first that can, for want of anything better.
        for row in np.flatnonzero(where):
            inside = np.flatnonzero(codes[row] == 0)
            if inside.size:
                codes[row, inside[0]] = 10 + number
    events = []
    for j in range(problem.nu):
        runs = _runs(codes[:, j], shortest(j))
        codes[:, j] = np.repeat([code for code, _ in runs], np.diff([0, *(end for _, end in runs)]))
        events += [(end, j) for _, end in runs[:-1]]
    pattern = [int(code) for code in codes[0]]
    patterns, times = [tuple(pattern)], [guess.t[0]]
    for end, j in sorted(events):
        pattern[j] = int(codes[end, j])
        patterns.append(tuple(pattern))
        times.append(0.5 * (t[end - 1] + t[end]))
    named = [tuple(_kind(code, bool(linear[j]), limits) for j, code in enumerate(p)) for p in patterns]
    return Structure(canonical(named), np.array([*times, guess.t[-1]]))


def _kind(code: int, linear: bool, limits: list[Limit]) -> Kind | Limit:
    if code >= 10:
        return limits[code - 10]
    inside = Kind.SINGULAR if linear else Kind.INTERIOR
    return {-1: Kind.LOWER, 0: inside, 1: Kind.UPPER}[code]


def _mean(values: Array, width: int) -> Array:
    """Moving average; the ends are continued."""
    padded = np.concatenate([np.repeat(values[:1], width // 2), values, np.repeat(values[-1:], width - 1 - width // 2)])
    return np.convolve(padded, np.full(width, 1.0 / width), mode="valid")


def _codes(values: Array, lower: float, upper: float) -> NDArray[np.intp]:
    """-1 at the lower bound, 1 at the upper one, 0 between them."""
    span = upper - lower if np.isfinite(upper - lower) else max(1.0, float(np.abs(values).max(initial=0.0)))
    return np.where(values <= lower + NEAR * span, -1, np.where(values >= upper - NEAR * span, 1, 0)).astype(np.intp)


def _active_limits(problem: Problem, x: Array, u: Array, t: Array, guess: Trajectory) -> dict[int, NDArray[np.bool_]]:
    """For each limit that is active over at least two intervals, where."""
    import casadi as ca  # noqa: PLC0415

    model, limits = problem.model, find_limits(problem)
    if not limits:
        return {}
    stacked = ca.Function("limits", [model.x, model.u, model.t, model.p], [ca.vertcat(*(g.expression for g in limits))])
    packed = problem.layout.pack({**(problem.parameters or {}), **guess.parameters})
    values = np.asarray(stacked(x.T, u.T, t[None], packed))
    active = {}
    for number, row in enumerate(values):
        # Measured on its own range: a limit that is nearly active all along has no contact that stands out.
        near = row >= -1e-4 * max(1e-12, float(np.ptp(row)))
        kept = np.zeros(len(near), bool)
        begin = 0
        for code, end in _runs(near.astype(np.intp), {0: 2 * _FINE, 1: 2 * _FINE}):
            kept[begin:end] = bool(code)
            begin = end
        if kept.any() and not kept.all():
            active[number] = kept
    return active


def _runs(codes: NDArray[np.intp], shortest: dict[int, int]) -> list[tuple[int, int]]:
    """Values and ends of runs; one not longer than ``shortest`` (else two intervals) is shared by its neighbours."""
    ends = [*(np.flatnonzero(np.diff(codes)) + 1), len(codes)]
    runs = [(int(codes[end - 1]), int(end)) for end in ends]
    while len(runs) > 1:
        begins = [0, *(end for _, end in runs[:-1])]
        lengths = [end - begin for begin, (_, end) in zip(begins, runs, strict=True)]
        short = [i for i, (code, _) in enumerate(runs) if lengths[i] <= shortest.get(code, 2 * _FINE)]
        if not short:
            break
        i = min(short, key=lambda k: lengths[k])
        if 0 < i < len(runs) - 1:
            runs[i - 1] = (runs[i - 1][0], (begins[i] + runs[i][1]) // 2)
        elif i > 0:
            runs[i - 1] = (runs[i - 1][0], runs[i][1])
        runs.pop(i)
        runs = [run for k, run in enumerate(runs) if k == len(runs) - 1 or runs[k + 1][0] != run[0]]
    return runs


def without_short_arcs(structure: Structure, times: Array, least: float) -> Structure | None:
    """Leave out arcs that last less than ``least``; None where nothing changes, or two controls at one switch."""
    spans = np.diff(times)
    kept = [i for i in range(len(spans)) if spans[i] >= least]
    if not kept or len(kept) == len(spans):
        return None
    patterns, ends = [structure.patterns[kept[0]]], [times[0]]
    for before, i in pairwise(kept):
        if structure.patterns[i] == patterns[-1]:
            continue
        if sum(a != b for a, b in zip(structure.patterns[i], patterns[-1], strict=True)) > 1:
            return None
        patterns.append(structure.patterns[i])
        ends.append(0.5 * (times[before + 1] + times[i]))
    return Structure(tuple(patterns), np.array([*ends, times[-1]]))


def says_nothing(problem: Problem, guess: Trajectory) -> bool:
    """Whether nothing about arcs can be read from a guess: its control never moves, and is no answer at a bound."""
    if np.ptp(guess.u, axis=0).any():
        return False
    codes = [_codes(column, *problem.control_bounds[:, j]) for j, column in enumerate(guess.u.T)]
    return guess.interpolation is Interpolation.HOLD or not np.any(codes)
