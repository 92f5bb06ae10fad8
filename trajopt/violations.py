"""Every limit of a problem measured on a re-integrated trajectory, between the knots as well as at them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.horizon import Free
from trajopt.model import Rows as StackedRows
from trajopt.plain import PlainFunctions
from trajopt.problem import Problem
from trajopt.reintegration import Reintegration
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]

_ROUNDING = 1e-9
"""Relative departure from given data (initial state, horizon, parameters) that rounding explains."""


@dataclass(frozen=True)
class Violation:
    """Where one row of one constraint comes closest to its limit, or farthest beyond.

    Attributes
    ----------
    name
        Of the row: "rail", "obstacles[2]", "position >= -2".
    time
        When, in the time unit of the problem.
    amount
        Positive: violation; negative: margin. In the constraint's unit divided by max(1, |limit|); for an equality the
        distance from it. Infinite where the function is not finite.
    row
        Number among the rows of its kind, in the order of the problem's constraints; for bounds the entry of the state
        or control.
    """

    name: str
    time: float
    amount: float
    row: int


@dataclass(frozen=True, eq=False)
class Rows:
    """Values of stacked constraint rows of one kind.

    Attributes
    ----------
    names, numbers
        For each row its name, and its number among the rows of its kind; for bounds the entry of the state or control.
    values
        (samples, n) values; terminal, boundary and integral constraints have one sample.
    times
        (samples,) when.
    lower, upper
        (n,) limits.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    values: Array
    times: Array
    lower: Array
    upper: Array

    @property
    def excess(self) -> Array:
        """Scaled amounts beyond the lower and the upper limit, (2, samples, n); minus infinity without a limit."""
        with np.errstate(invalid="ignore"):
            beyond = np.stack([self.lower - self.values, self.values - self.upper])
        limits = np.abs(np.stack([self.lower, self.upper]))
        scale = np.where(np.isfinite(limits), np.maximum(1.0, limits), 1.0)[:, None]
        return np.where(np.isnan(beyond), np.inf, beyond / scale)

    def worst(self) -> list[Violation]:
        """One record for each row."""
        amounts = self.excess.max(axis=0)
        where = amounts.argmax(axis=0)
        return [
            Violation(name, float(self.times[where[i]]), float(amounts[where[i], i]), self.numbers[i])
            for i, name in enumerate(self.names)
        ]


@dataclass(frozen=True, eq=False)
class Measurement:
    """All rows of all kinds, and departures from what the problem prescribes, such as the choices of the controls."""

    state: Rows
    control: Rows
    path: Rows
    terminal: Rows
    boundary: Rows
    integral: Rows
    data: tuple[Violation, ...]

    def worst(self) -> tuple[Violation, ...]:
        """Every constraint, worst first."""
        groups = (self.state, self.control, self.path, self.terminal, self.boundary, self.integral)
        records = [record for group in groups for record in group.worst()] + list(self.data)
        return tuple(sorted(records, key=lambda record: -record.amount))


def measure(
    problem: Problem, trajectory: Trajectory, functions: PlainFunctions, parameters: Array, path: Reintegration
) -> Measurement:
    """Evaluate every constraint on the end-to-end trajectory.

    Samples lie as densely as `Reintegration` has them; a function that turns round between two of them may exceed what
    is reported by about a 64th of what it does within one interval.
    """
    model, final = problem.model, path.knots[-1]
    t0, tf, end = float(path.t[0]), float(path.t[-1]), path.t[-1:]
    reached = np.asarray(np.isfinite(path.x).all(axis=1))  # a failed integration is judged as far as it came
    x, t = path.x[reached], path.t[reached]
    used = np.arange(path.stages)[reached[: path.stages]]
    stages = path.x[used], path.u[used], path.t[used]
    along = [
        evaluate_plainly(functions.path, len(model.path), *stage)
        for stage in zip(stages[0], stages[1], stages[2].tolist(), strict=True)
    ]
    terminal = evaluate_plainly(functions.terminal, len(model.terminal), final, tf)
    boundary = evaluate_plainly(functions.boundary, len(model.boundary), path.knots[0], final, t0, tf)
    return Measurement(
        _bounds(problem.dynamics.states, problem.state_bounds, x, t),
        _bounds(problem.dynamics.controls, problem.control_bounds, path.u[: path.stages], path.t[: path.stages]),
        _rows(model.path, along, stages[2]),
        _rows(model.terminal, [terminal], end),
        _rows(model.boundary, [boundary], end),
        _rows(model.integral, [path.running[1:]], end),
        (*_data(problem, trajectory, parameters), *_choices(problem, path)),
    )


def evaluate_plainly(function: Callable[..., Array | float], size: int, *arguments: object) -> Array:
    """Call a plain function of `size` values; one that raises for numbers it dislikes gives NaN."""
    try:
        return np.asarray(function(*arguments), float).reshape(size)
    except (ArithmeticError, ValueError):
        return np.full(size, np.nan)


def _bounds(names: Sequence[str], limits: Array, values: Array, times: Array) -> Rows:
    """Each finite bound as a row of its own, so that its name can say which side."""
    entries = [(side, i) for i in range(len(names)) for side in (0, 1) if np.isfinite(limits[side, i])]
    labels = tuple(f"{names[i]} {'<=' if side else '>='} {limits[side, i]:g}" for side, i in entries)
    lower = np.array([-np.inf if side else limits[side, i] for side, i in entries])
    upper = np.array([limits[side, i] if side else np.inf for side, i in entries])
    columns = values[:, [i for _, i in entries]]
    return Rows(labels, tuple(i for _, i in entries), columns, times, lower, upper)


def _rows(stacked: StackedRows, values: list[Array], times: Array) -> Rows:
    """Values of function constraints, which come from the plain functions, with the limits and names of the model."""
    table = np.array(values, float).reshape(len(values), len(stacked))
    return Rows(stacked.names, tuple(range(len(stacked))), table, times, stacked.lower, stacked.upper)


def _choices(problem: Problem, path: Reintegration) -> list[Violation]:
    """How far the controls are from the choices, where these are given."""
    if problem.choices is None:
        return []
    nearest = problem.admissible(path.u[: path.stages])
    distance = np.abs(path.u[: path.stages] - nearest) / np.maximum(1.0, np.abs(nearest))
    sample, entry = np.unravel_index(int(distance.argmax()), distance.shape)
    return [Violation("choices of the controls", float(path.t[sample]), float(distance.max()), int(entry))]


def _data(problem: Problem, trajectory: Trajectory, parameters: Array) -> list[Violation]:
    """Departures from fixed initial states, the horizon and the parameters' limits; silent where there is none."""
    start, duration = float(trajectory.t[0]), float(trajectory.t[-1] - trajectory.t[0])
    horizon, found = problem.horizon, []

    def check(name: str, value: float, lower: float, upper: float, row: int = 0) -> None:
        finite = [
            (excess, limit) for excess, limit in ((lower - value, lower), (value - upper, upper)) if abs(limit) < np.inf
        ]
        amount = max((excess / max(1.0, abs(limit)) for excess, limit in finite), default=0.0)
        if not amount <= _ROUNDING:
            found.append(Violation(name, start, float(amount), row))

    for i, (value, given) in enumerate(zip(trajectory.x[0], problem.initial_values, strict=True)):
        if not np.isnan(given):
            check(f"initial {problem.dynamics.states[i]} = {given:g}", value, given, given, i)
    wanted = float(horizon.steps) if horizon.duration is None else horizon.duration
    for name, value, limit in (("start", start, horizon.start), ("duration", duration, wanted)):
        check(name, value, *_interval(limit))
    limits = problem.layout.bounds(problem.parameters or {})
    for name, part in problem.layout.slices.items():
        for row, (value, low, high) in enumerate(zip(parameters[part], *limits[:, part], strict=True)):
            check(f"parameter {name}", value, low, high, row)
    return found


def _interval(limit: float | Free) -> tuple[float, float]:
    """Lower and upper limit of a time."""
    return (float(limit.lower), float(limit.upper)) if isinstance(limit, Free) else (limit, limit)  # type: ignore[arg-type]
