"""One decision of a process over a control grid: some steps of a problem with a control of the grid held.

See `trajopt.control_grid` for what the process is.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.call import call5, call6
from trajopt.lowering.kernel import kernel
from trajopt.problem import Problem
from trajopt.transcription.stages import Stages

Array = NDArray[np.float64]


def make_rule(problem: Problem, stages: Stages, grid: Array, hold: int, penalty: float) -> Any:
    """Step of the process; what it needs of the problem is fixed in it."""
    addresses = tuple(stages.code.address(name) for name in ("step", "path", "end"))
    knots = problem.horizon.knots()
    times = np.ascontiguousarray(np.column_stack([knots, np.append(np.diff(knots), np.diff(knots)[-1])]))
    parameters = problem.layout.pack(problem.parameters)
    path_lower, path_upper, end_lower, end_upper = stages.limits(problem)
    path_limits, end_limits = np.array([path_lower, path_upper]), np.array([end_lower, end_upper])
    rows = max(path_lower.size, end_lower.size, 1)

    def step(state, action):
        work = np.empty(1 + rows)
        reward, discount = advance(
            addresses, state, grid, action, hold, times, parameters, path_limits, end_limits, penalty, work
        )
        return state, reward, discount

    return step


@kernel
def advance(addresses, state, grid, action, hold, times, parameters, path_limits, end_limits, penalty, work):
    """Hold a control; the state is moved in place. Returns reward and discount."""
    step, path, end = addresses
    nx, last, nu = state.size - 1, times.shape[0] - 1, grid.shape[1]
    first, cost = int(state[nx]), 0.0
    for k in range(first, min(first + hold, last)):
        call5(path, state, 0, grid, action * nu, times, 2 * k, parameters, 0, work, 1)
        cost += penalty * _violation(work, path_limits)
        call6(step, state, 0, grid, action * nu, times, 2 * k, parameters, 0, state, 0, work, 0)
        cost += work[0]
        state[nx] = k + 1.0
    discount = 1.0
    if state[nx] == last:
        call5(end, state, 0, times, 2 * last, parameters, 0, work, 0, work, 1)
        cost += work[0] + penalty * _violation(work, end_limits)
        discount = 0.0
    for i in range(nx):
        cost += 0.0 * state[i]  # NaN where the state is not finite
    return -cost, discount if np.isfinite(cost) else 0.0


@kernel
def _violation(work, limits):
    """Half the squared violations of the rows that stand in ``work`` from 1 on."""
    total = 0.0
    for i in range(limits.shape[1]):
        residual = max(limits[0, i] - work[1 + i], work[1 + i] - limits[1, i], 0.0)
        total += 0.5 * residual * residual
    return total
