"""Everything about optimality that a certificate states, from one linearisation of the re-integrated trajectory."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trajopt.active_rows import ActiveRows, find_active_rows
from trajopt.pontryagin import estimate_gap
from trajopt.problem import Problem
from trajopt.reintegration import Reintegration
from trajopt.sensitivity import Decisions, linearise
from trajopt.stationarity import Stationarity, recover_multipliers
from trajopt.trajectory import Trajectory
from trajopt.violations import Measurement

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Optimality:
    """First-order conditions and what they say about the cost; NaN and empty where they could not be evaluated.

    Attributes
    ----------
    stationarity, costates, multipliers, gap, remarks
        As in `trajopt.certificate.Certificate`.
    priced
        Sum over active rows of |multiplier| times the distance from the limit, in units of the cost.
    """

    stationarity: float = float("nan")
    costates: Array = field(default_factory=lambda: np.zeros((0, 0)))
    multipliers: dict[str, Array] = field(default_factory=dict)
    gap: float = float("nan")
    priced: float = float("nan")
    remarks: tuple[str, ...] = ()


def check_optimality(
    problem: Problem, trajectory: Trajectory, parameters: Array, path: Reintegration, found: Measurement,
    cost: float, tolerance: float,
) -> Optimality:  # fmt: skip
    """Linearise along the re-integrated trajectory, recover multipliers, measure stationarity and gap."""
    if path.steps is None or not np.isfinite(path.running).all() or not np.isfinite(path.knots).all():
        return Optimality(remarks=("Stationarity and gap are not available, because the integration failed.",))
    decisions = Decisions.of(problem, trajectory)
    unavailable = Optimality(remarks=("Stationarity and gap are not available: a derivative is not finite.",))
    with np.errstate(all="ignore"):
        try:
            linear = linearise(problem, trajectory, parameters, path, decisions)
            active = find_active_rows(problem, trajectory, parameters, path, found, decisions, tolerance)
            rows = active.functionals
            parts = (linear.maps, rows.by_final, rows.by_initial, rows.by_static, rows.points.by_x, rows.points.by_u)
            if not all(np.isfinite(part).all() for part in parts):
                return unavailable
            state = recover_multipliers(problem, trajectory, parameters, linear, active, cost, tolerance)
            gap, left_out = estimate_gap(
                problem, trajectory, parameters, path, linear, active, state.nu, state.costates
            )
        except np.linalg.LinAlgError:
            return unavailable
    remarks = [f"The gap leaves out control {name!r}, which nothing limits." for name in left_out]
    if active.left_out:
        remarks.append(
            f"Multipliers were sought for some of the active rows only, {active.left_out} being left out: the "
            "stationarity may be too large."
        )
    return Optimality(
        state.value,
        state.costates[path.steps.first],
        _by_name(problem, trajectory, found, active, decisions, state),
        gap,
        float(np.abs(state.nu * active.distance).sum()),
        tuple(remarks),
    )


def _by_name(
    problem: Problem, trajectory: Trajectory, found: Measurement, active: ActiveRows, decisions: Decisions,
    state: Stationarity,
) -> dict[str, Array]:  # fmt: skip
    """Multipliers under the names of their constraints, zero for rows that are not active."""
    result = {name: np.zeros((trajectory.steps + 1, 1)) for name in found.state.constraints}
    for rows, along in ((found.path, True), (found.terminal, False), (found.boundary, False), (found.integral, False)):
        for name, row in zip(rows.constraints, rows.rows, strict=True):
            result[name] = np.zeros((trajectory.steps + 1, row + 1) if along else row + 1)
    ends = len(active.functionals.by_final) - 1
    for i, ((name, row), value) in enumerate(zip(active.owners, state.nu, strict=True)):
        if i < ends:
            result[name][row] += value
        else:
            for knot in active.knots[i - ends]:  # half to either side; twice to the same at a knot
                result[name][knot, row] += 0.5 * value
    outward = state.outward[: decisions.controls].reshape(decisions.nodes.values.shape)
    for name, entry, upper in zip(found.control.names, found.control.rows, found.control.upper, strict=True):
        # At a bound the multiplier balances the gradient, and its sign tells the upper bound from the lower one.
        balance = -outward[:, entry]
        result[name] = np.maximum(balance, 0.0) if np.isfinite(upper) else np.minimum(balance, 0.0)
    return result
