"""Which constraint rows press on a trajectory, and their derivatives: what multipliers are estimated for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Problem
from trajopt.reintegration import SUBINTERVALS, Reintegration
from trajopt.sensitivity import Decisions, Functionals, PointRows, evaluate
from trajopt.trajectory import Trajectory
from trajopt.violations import Measurement, Rows

Array = NDArray[np.float64]
Indices = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Pressing:
    """R rows that are within a tolerance of a limit, or beyond.

    Attributes
    ----------
    place, index
        (R,) number of the place among those looked at, and of the stacked row.
    signs
        (R,) +1 at an upper limit, where a multiplier is never negative; -1 at a lower one; 0 for an equality.
    distance
        (R,) how far beyond the limit, in the unit of the row; negative: slack.
    """

    place: Indices
    index: Indices
    signs: Indices
    distance: Array

    @classmethod
    def of(cls, values: Array, lower: Array, upper: Array, tolerance: float) -> Pressing:
        """Rows of values (places, n) within ``tolerance`` of (n,) limits.

        The tolerance is relative to max(1, |limit|), as violations are, or to the range between the limits if that is
        less, lest a row in a narrow range press on both.
        """
        with np.errstate(invalid="ignore"):
            span = upper - lower
        equal = span == 0.0
        reach = tolerance * np.where(span > 0.0, span, np.inf)
        low, high = lower - values, values - upper
        at_low = low >= -np.minimum(reach, tolerance * np.maximum(1.0, np.abs(lower)))
        at_high = high >= -np.minimum(reach, tolerance * np.maximum(1.0, np.abs(upper)))
        # Infinite limits never press: infinity * tolerance would say otherwise.
        at_low, at_high = at_low & np.isfinite(lower), at_high & np.isfinite(upper)
        place, index = np.nonzero(at_low | at_high | equal)
        signs = np.where(equal[index], 0, np.where(at_high[place, index], 1, -1))
        return cls(place, index, signs, np.where(signs < 0, low[place, index], high[place, index]))

    def take(self, chosen: NDArray) -> Pressing:
        """Take the rows under a mask or at indices."""
        return Pressing(self.place[chosen], self.index[chosen], self.signs[chosen], self.distance[chosen])


@dataclass(frozen=True, eq=False)
class ActiveRows:
    """The cost and the active constraint rows, all as functionals of the trajectory.

    Attributes
    ----------
    functionals
        The cost, active rows of the ends and of integrals, then active rows along the way.
    signs, distance, slack
        (R,) as in `Pressing`, without the cost; slack is zero for equalities and violated rows, scaled as
        violations are.
    owners
        (R, 2) for each row its kind (0 terminal, 1 boundary, 2 integral, 3 state bound, 4 path) and its number there.
    knots
        (P, 2) the knots on either side of the rows along the way; twice the same for one at a knot.
    mixed
        (P,) whether a row along the way depends on the control.
    path_row
        (P,) its number among the stacked path constraints; -1 for a state bound.
    """

    functionals: Functionals
    signs: Indices
    distance: Array
    slack: Array
    owners: Indices
    knots: Indices
    mixed: NDArray[np.bool_]
    path_row: Indices


def find_active_rows(
    problem: Problem, trajectory: Trajectory, parameters: Array, path: Reintegration, found: Measurement,
    decisions: Decisions, tolerance: float,
) -> ActiveRows:  # fmt: skip
    """Collect the cost and every row within ``tolerance`` of its limit at knots and midpoints.

    Bounds on decision variables themselves (controls, free initial states, times, parameters) are not among them.
    """
    kinds = (found.terminal, found.boundary, found.integral)
    ends = [Pressing.of(rows.values, rows.lower, rows.upper, tolerance) for rows in kinds]
    places = _places(problem, trajectory, path)
    state = _along(found.state, places, places.state, tolerance)
    mixed = _depends_on_control(problem)
    along = _along(found.path, places, places.path, tolerance)
    # With a control that jumps the left limit at a knot is a row of its own only if the control shows in it.
    along = along.take(~places.left[along.place] | mixed[along.index])
    points = _point_rows(problem, trajectory, parameters, path, found.state, decisions, places, state, along)
    everything, rows = [*ends, state, along], [*kinds, found.state, found.path]
    kind = [np.full(some.place.size, number) for number, some in enumerate(everything)]
    place = np.concatenate([state.place, along.place])
    return ActiveRows(
        Functionals(*_end_rows(problem, parameters, path, decisions, ends), points),
        np.concatenate([some.signs for some in everything]),
        np.concatenate([some.distance for some in everything]),
        np.concatenate([_slack(of, some) for of, some in zip(rows, everything, strict=True)]),
        np.stack([np.concatenate(kind), np.concatenate([some.index for some in everything])], axis=1),
        places.knots[place],
        np.concatenate([np.zeros(state.place.size, bool), mixed[along.index]]),
        np.concatenate([np.full(state.place.size, -1), along.index]),
    )


def _slack(rows: Rows, some: Pressing) -> Array:
    """Return scaled distances inside of the limit."""
    limits = np.where(some.signs > 0, rows.upper[some.index], rows.lower[some.index])
    return np.where(some.signs == 0, 0.0, np.maximum(0.0, -some.distance) / np.maximum(1.0, np.abs(limits)))


def _end_rows(
    problem: Problem, parameters: Array, path: Reintegration, decisions: Decisions, ends: Sequence[Pressing]
) -> tuple[Array, Array, Array, Array]:
    """Differentiate the cost and active terminal, boundary and integral rows: by both ends, integrals, statics."""
    model, nx, quantities = problem.model, problem.nx, path.running.size
    x0, xf, t0, tf = path.knots[0], path.knots[-1], path.t[:1], path.t[-1:]
    terminal, boundary, integral = (some.index for some in ends)
    at_end = ca.vertcat(model.terminal_cost, model.terminal.expression)
    _, final = evaluate(at_end, [model.x, model.t, model.p], [xf, tf, parameters])
    final = final[np.concatenate([[0], 1 + terminal])]
    symbols, values = [model.x0, model.xf, model.t0, model.tf, model.p], [x0, xf, t0, tf, parameters]
    both = evaluate(model.boundary.expression, symbols, values)[1][boundary]
    by_t0, by_tf, by_p = both[:, 2 * nx], both[:, 2 * nx + 1], both[:, 2 * nx + 2 :]
    running = np.zeros((len(final) + len(both) + integral.size, quantities))
    running[0, 0] = 1.0
    running[np.arange(len(final) + len(both), len(running)), 1 + integral] = 1.0
    none, zero = np.zeros((integral.size, nx)), np.zeros(1)
    by_static = [
        decisions.static_columns(final[:, nx], final[:, nx + 1 :], np.ones(1)),
        decisions.static_columns(by_t0 + by_tf, by_p, zero, by_tf),
        np.zeros((integral.size, decisions.static)),
    ]
    by_final = np.concatenate([final[:, :nx], both[:, nx : 2 * nx], none])
    by_initial = np.concatenate([np.zeros((len(final), nx)), both[:, :nx], none])
    return by_final, by_initial, running, np.concatenate(by_static)


def _point_rows(
    problem: Problem, trajectory: Trajectory, parameters: Array, path: Reintegration, bounds: Rows,
    decisions: Decisions, places: _Places, state: Pressing, along: Pressing,
) -> PointRows:  # fmt: skip
    """Differentiate active state bounds and path constraints."""
    model, nx, nu = problem.model, problem.nx, problem.nu
    samples = places.sample[along.place]
    stage = [path.x[samples], path.u[samples], path.t[samples, None], np.tile(parameters, (samples.size, 1))]
    _, jacobians = evaluate(model.path.expression, [model.x, model.u, model.t, model.p], stage)
    jacobian = jacobians[np.arange(samples.size), along.index]
    sigma = (path.t[samples] - trajectory.t[0]) / (trajectory.t[-1] - trajectory.t[0])
    by_static = decisions.static_columns(jacobian[:, nx + nu], jacobian[:, nx + nu + 1 :], sigma)
    entries = np.array(bounds.numbers, dtype=np.intp)[state.index]
    place = np.concatenate([state.place, along.place])
    return PointRows(
        places.step[place],
        places.interval[place],
        places.s[place],
        np.concatenate([np.eye(nx)[entries], jacobian[:, :nx]]),
        np.concatenate([np.zeros((entries.size, nu)), jacobian[:, nx : nx + nu]]),
        np.concatenate([np.zeros((entries.size, decisions.static)), by_static]),
    )


def _depends_on_control(problem: Problem) -> NDArray[np.bool_]:
    """For each stacked path row whether the control shows in it."""
    rows = problem.model.path
    if not len(rows) or not problem.nu:
        return np.zeros(len(rows), bool)
    return np.array(ca.which_depends(rows.expression, problem.model.u, 1, True), dtype=bool)


@dataclass(frozen=True, eq=False)
class _Places:
    """Where rows may stand: start, middle and end of each interval; for discrete dynamics the knots.

    ``sample`` of the re-integration, ``step`` that begins there, ``interval`` and place ``s`` in it, ``knots`` on
    either side, whether it is the ``left`` limit at an inner knot; which count for ``state`` bounds and ``path`` rows.
    """

    sample: Indices
    step: Indices
    interval: Indices
    s: Array
    knots: Indices
    left: NDArray[np.bool_]
    state: Indices
    path: Indices


def _places(problem: Problem, trajectory: Trajectory, path: Reintegration) -> _Places:
    """List the places."""
    steps, n = path.steps, trajectory.steps
    assert steps is not None
    k = np.arange(n)
    if not problem.dynamics.continuous:
        knots = np.arange(n + 1)
        both, nowhere = np.stack([knots, knots], axis=1), np.zeros(n + 1)
        return _Places(knots, steps.first, np.minimum(knots, n - 1), nowhere, both, nowhere > 0.0, knots[1:], k)
    width, half = SUBINTERVALS + 1, SUBINTERVALS // 2
    ends = 2 * n + k
    jumps = trajectory.interpolation.jumps
    return _Places(
        np.concatenate([k * width, k * width + half, k * width + SUBINTERVALS]),
        np.concatenate([steps.first[:-1], steps.middle, steps.first[1:]]),
        np.tile(k, 3),
        np.repeat([0.0, 0.5, 1.0], n),
        np.concatenate([np.stack(pair, axis=1) for pair in ((k, k), (k, k + 1), (k + 1, k + 1))]),
        np.concatenate([np.zeros(2 * n, bool), k < n - 1]),
        np.concatenate([n + k, ends]),
        np.arange(3 * n) if jumps else np.concatenate([np.arange(2 * n), ends[-1:]]),
    )


def _along(rows: Rows, places: _Places, candidates: Indices, tolerance: float) -> Pressing:
    """Pressing rows at some of the places; ``place`` counts all places."""
    some = Pressing.of(rows.values[places.sample[candidates]], rows.lower, rows.upper, tolerance)
    return Pressing(candidates[some.place], some.index, some.signs, some.distance)
