"""Everything about optimality that a certificate states, from one linearisation of the re-integrated trajectory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trajopt.active_rows import ActiveRows, find_active_rows
from trajopt.dynamics import TracedDynamics
from trajopt.pontryagin import check_minimum
from trajopt.problem import Problem
from trajopt.reintegration import SUBINTERVALS, Reintegration
from trajopt.sensitivity import Decisions, Feedback, Linearisation, linearise
from trajopt.stationarity import Stationarity, recover_multipliers
from trajopt.trajectory import Trajectory
from trajopt.violations import Measurement

Array = NDArray[np.float64]

_ALONG = 3
"""From this number on, the kinds of `ActiveRows.owners` are rows along the way."""


@dataclass(frozen=True, eq=False)
class Optimality:
    """First-order conditions and what they say about the cost; NaN and empty where they could not be evaluated.

    Attributes
    ----------
    stationarity, costates, multipliers, gap, gaps, remarks
        As in `trajopt.certificate.Certificate`.
    concave
        Controls that are no minimum of the Hamiltonian although nothing holds them.
    priced
        Sum over active rows of |multiplier| times the distance from the limit, for rows along the way the farthest one
        within their interval; in units of the cost.
    """

    stationarity: float = float("nan")
    costates: Array = field(default_factory=lambda: np.zeros((0, 0)))
    multipliers: dict[str, Array] = field(default_factory=dict)
    gap: float = float("nan")
    gaps: Array = field(default_factory=lambda: np.zeros(0))
    priced: float = float("nan")
    remarks: tuple[str, ...] = ()
    concave: tuple[str, ...] = ()


NOT_FINITE = Optimality(remarks=("Stationarity and gap are not available: a derivative is not finite.",))
"""What is left to say where derivatives fail."""


@dataclass(frozen=True, eq=False)
class Linearised:
    """A re-integrated trajectory with the derivatives of what decides on its optimality.

    Attributes
    ----------
    problem, trajectory, parameters, path, found
        What was re-integrated and measured.
    linear, active
        Linear maps along it, and the active rows.
    """

    problem: Problem
    trajectory: Trajectory
    parameters: Array
    path: Reintegration
    found: Measurement
    linear: Linearisation
    active: ActiveRows


def check_optimality(
    problem: Problem, trajectory: Trajectory, parameters: Array, path: Reintegration, found: Measurement,
    cost: float, tolerance: float, feedback: Feedback | None,
) -> Optimality:  # fmt: skip
    """Linearise along the re-integrated trajectory, recover multipliers, measure stationarity and gap."""
    part = linearise_answer(problem, trajectory, parameters, path, found, tolerance, feedback)
    if isinstance(part, Optimality):
        return part
    with np.errstate(all="ignore"):
        try:
            state = recover_multipliers(problem, trajectory, parameters, part.linear, part.active, cost, tolerance)
            return conclude(part, state)
        except np.linalg.LinAlgError:
            return NOT_FINITE


def linearise_answer(
    problem: Problem, trajectory: Trajectory, parameters: Array, path: Reintegration, found: Measurement,
    tolerance: float, feedback: Feedback | None,
) -> Linearised | Optimality:  # fmt: skip
    """Differentiate everything; where that fails, what can be said without."""
    if path.steps is None or not np.isfinite(path.running).all() or not np.isfinite(path.knots).all():
        return Optimality(remarks=("Stationarity and gap are not available, because the integration failed.",))
    if not isinstance(problem.dynamics, TracedDynamics):
        return Optimality(remarks=("Stationarity and gap are not available, because the dynamics are a black box.",))
    if problem.choices is not None:
        return Optimality(remarks=("Stationarity and gap are not available, because the controls are discrete.",))
    decisions = Decisions.of(problem, trajectory)
    with np.errstate(all="ignore"):
        try:
            linear = linearise(problem, trajectory, parameters, path, decisions, feedback)
            active = find_active_rows(problem, trajectory, parameters, path, found, decisions, tolerance)
        except np.linalg.LinAlgError:
            return NOT_FINITE
    rows = active.functionals
    parts = (linear.maps, rows.by_final, rows.by_initial, rows.by_static, rows.points.by_x, rows.points.by_u)
    if not all(np.isfinite(part).all() for part in parts):
        return NOT_FINITE
    return Linearised(problem, trajectory, parameters, path, found, linear, active)


def conclude(part: Linearised, state: Stationarity) -> Optimality:
    """Say what multipliers and costates mean for the cost."""
    trajectory, path, active = part.trajectory, part.path, part.active
    assert path.steps is not None
    minimum = check_minimum(
        part.problem, trajectory, part.parameters, path, part.linear, active, state.nu, state.costates
    )
    remarks = tuple(f"The gap leaves out control {name!r}, which nothing limits." for name in minimum.left_out)
    return Optimality(
        state.value,
        state.costates[path.steps.first],
        _by_name(trajectory, part.found, active, part.linear.decisions, state),
        float(minimum.gaps.sum()),
        minimum.gaps,
        float(np.abs(state.nu) @ _farthest(part.problem, part.found, active)),
        remarks,
        minimum.concave,
    )


def _farthest(problem: Problem, found: Measurement, active: ActiveRows) -> Array:
    """How far each active row is from its limit, (R,); between the knots a row may be farther than where it stands."""
    distance = np.abs(active.distance)
    if not problem.dynamics.continuous:
        return distance
    ends = len(distance) - len(active.functionals.points.interval)
    kinds, numbers = active.owners[ends:].T
    for kind, rows in ((_ALONG, found.state), (_ALONG + 1, found.path)):
        chosen = np.flatnonzero(kinds == kind)
        if not chosen.size:
            continue
        beyond = np.maximum(rows.lower - rows.values, rows.values - rows.upper)
        worst = beyond.reshape(-1, SUBINTERVALS + 1, beyond.shape[1]).max(axis=1)
        here = worst[active.functionals.points.interval[chosen], numbers[chosen]]
        distance[ends + chosen] = np.maximum(distance[ends + chosen], here)
    return distance


def _by_name(
    trajectory: Trajectory, found: Measurement, active: ActiveRows, decisions: Decisions, state: Stationarity
) -> dict[str, Array]:
    """Multipliers under the names of their rows, zero for rows that are not active."""
    kinds = (found.terminal, found.boundary, found.integral, found.state, found.path)
    knots = trajectory.steps + 1
    values = [np.zeros((len(rows.names), knots if kind >= _ALONG else 1)) for kind, rows in enumerate(kinds)]
    ends = len(active.functionals.by_final) - 1
    for i, ((kind, row), value) in enumerate(zip(active.owners, state.nu, strict=True)):
        # Along the way half goes to the knot on either side, which is twice the same at a knot.
        for place in active.knots[i - ends] if kind >= _ALONG else (0, 0):
            values[kind][row, place] += 0.5 * value
    outward = state.outward[: decisions.controls].reshape(decisions.nodes.values.shape)
    # At a bound the multiplier balances the gradient, and its sign tells the upper bound from the lower one.
    balance = [-outward[:, entry] for entry in found.control.numbers]
    upper = np.isfinite(found.control.upper)
    held = [np.maximum(b, 0.0) if up else np.minimum(b, 0.0) for b, up in zip(balance, upper, strict=True)]
    result: dict[str, Array] = {}
    for rows, table in zip((*kinds, found.control), (*values, held), strict=True):
        for name, value in zip(rows.names, table, strict=True):
            again = sum(key == name or key.startswith(f"{name} (") for key in result)
            result[f"{name} ({again + 1})" if again else name] = value
    return result
