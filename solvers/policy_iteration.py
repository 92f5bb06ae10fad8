"""Policy iteration: value a policy exactly, improve it everywhere, until nothing improves.

The values of a policy solve the sparse system (I - P) V = r, with P the weights and r the rewards of the edges that it
takes. Every state then takes an edge that is better under V, if there is one (Howard). The policy to begin with takes
edges that bring the end nearer, so that its values exist even without a discount.

For two players each state is unfolded into the two who may be to move (see `trajopt.solvers.tabular.policies`); the
second player's policy is improved until it is a best reply, and only then the first player's (Hoffman and Karp), for
improving both at once may go round in circles.

Reference: Howard, Dynamic Programming and Markov Processes, 1960; Hoffman and Karp, Management Science 12, 1966.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trajopt.monitor import Monitor
from trajopt.solvers.tabular.answer import ValueTable
from trajopt.solvers.tabular.planner import TabularPlanner
from trajopt.solvers.tabular.policies import unfold
from trajopt.status import Status

_NO_VALUES = (
    "The values of a policy do not exist, because it never ends and is not discounted; give a discount below 1, or use "
    "ValueIteration."
)


@dataclass(frozen=True)
class PolicyIteration(TabularPlanner):
    """Policy iteration over the reachable states; ``iterations`` counts policies, see `TabularPlanner`."""

    def improve(self, table: ValueTable, row: int, monitor: Monitor) -> tuple[Status, int, str]:
        """See `TabularPlanner.improve`."""
        iteration = _Iteration(table, row, self.tolerance)
        status = monitor.run(iteration, self.iterations)
        return status, iteration.count * len(table), _NO_VALUES if iteration.singular else ""


class _Iteration:
    """One policy after the other; the values of the last one stand in the table."""

    def __init__(self, table: ValueTable, row: int, tolerance: float) -> None:
        self.table, self.row, self.tolerance = table, row, tolerance
        self.game = unfold(table.model.table)
        self.policy = self.game.ending_policy()
        self.count, self.singular = 0, False

    def __call__(self) -> tuple[Status | None, dict[str, float]]:
        """Value the policy and improve it: the second player's, and where that is a best reply the first's."""
        self.count += 1
        table, values = self.table, None
        try:
            values = self.game.values(self.policy)
        except RuntimeError:  # SuperLU's word for a singular system
            self.singular = True
            return Status.DIVERGED, {"cost": np.nan}
        table.values[:] = values[: len(table)]
        # A gain that the rounding of the linear system explains is none: taking it could go on forever.
        threshold = table.bounds.rounding(values) * table.bounds.life.max()
        improved = any(self.game.improve(self.policy, values, second, threshold) for second in (True, False))
        numbers = {"cost": -table.values[self.row]}
        if improved:
            return None, numbers
        return Status.SOLVED if table.error <= self.tolerance else Status.STALLED, numbers
