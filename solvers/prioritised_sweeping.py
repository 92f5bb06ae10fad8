"""Prioritised sweeping: back up the state whose value may be furthest from its backup, again and again.

A queue orders the states by a bound of their residuals. When a value changes by D, the residual of each state with an
edge of weight w into it may grow by |w| D; added up these bound the residual, so that the queue's top bounds
max |T V - V|, and an empty queue proves what a sweep would. Where rewards are rare most states are left alone until the
news arrives.

Reference: Moore and Atkeson, Machine Learning 13, 1993; Peng and Williams 1993. Priorities are bounds here, not the
last change, so that the error bound of `trajopt.solvers.value_iteration` holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trajopt.monitor import Monitor
from trajopt.solvers.kernels import tabular
from trajopt.solvers.tabular.answer import ValueTable
from trajopt.solvers.tabular.planner import TabularPlanner
from trajopt.status import Status

_BACKUPS = 1000
"""Backups between two looks at the clock: some 100 microseconds."""


@dataclass(frozen=True)
class PrioritisedSweeping(TabularPlanner):
    """Prioritised sweeping over the reachable states; ``iterations`` counts backups, see `TabularPlanner`."""

    iterations: int = 1_000_000_000

    def improve(self, table: ValueTable, row: int, monitor: Monitor) -> tuple[Status, int, str]:
        """See `TabularPlanner.improve`."""
        values, queue = table.values, table.model.queue()
        tabular.fill(table.model.table, queue, values)
        backups = 0

        def advance(count: int) -> tuple[Status | None, Sequence[dict[str, float]]]:
            nonlocal backups
            # Half of the tolerance for the residual leaves the other half to rounding.
            threshold = max(0.5 * self.tolerance / table.bounds.amplification, table.bounds.rounding(values))
            limit = min(count * _BACKUPS, self.iterations - backups)
            done = tabular.update_most_urgent(table.model.table, queue, values, limit, threshold)
            backups += done
            numbers = [{"cost": -values[row], "stationarity": queue.priority[queue.heap[0]]}] * count
            if done == limit:
                return (Status.ITERATION_LIMIT if backups >= self.iterations else None), numbers
            return (Status.SOLVED if table.error <= self.tolerance else Status.STALLED), numbers

        return monitor.run_batches(advance, self.iterations), backups, ""
