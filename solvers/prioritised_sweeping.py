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
from typing import Any

import numpy as np

from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.monitor import Monitor
from trajopt.planner import Planner
from trajopt.solvers.kernels import tabular
from trajopt.solvers.tabular.answer import describe, open_table, too_late
from trajopt.status import Status
from trajopt.validation import check_positive, check_whole

_BACKUPS = 1000
"""Backups between two looks at the clock: some 100 microseconds."""


@dataclass(frozen=True)
class PrioritisedSweeping(Planner):
    """Prioritised sweeping over the reachable states; see the module for the method.

    Parameters
    ----------
    tolerance
        Largest error of any value, proven, at which the planner is done; in the unit of the rewards.
    max_backups
        Backups of single states.
    max_states
        Most states that the table may have.

    Raises
    ------
    InvalidProblem
        When a setting makes no sense.
    """

    tolerance: float = 1e-9
    max_backups: int = 1_000_000_000
    max_states: int = 1_000_000

    def __post_init__(self) -> None:
        check_positive(self.tolerance, "tolerance")
        for name in ("max_backups", "max_states"):
            check_whole(getattr(self, name), name, 1)

    def plan(self, process: DecisionProcess, state: np.ndarray, *, tree: Any = None, monitor: Monitor) -> Decision:
        """See `trajopt.decide`; ``decision.tree`` is a table of all values."""
        table = open_table(process, state, tree, self.max_states, monitor)
        if table is None:
            return too_late(process, state)
        row, values, queue = table.row(state), table.values, table.model.queue()
        tabular.fill(table.model.table, queue, values)
        backups = 0

        def advance(count: int) -> tuple[Status | None, Sequence[dict[str, float]]]:
            nonlocal backups
            # Half of the tolerance for the residual leaves the other half to rounding.
            threshold = max(0.5 * self.tolerance / table.bounds.amplification, table.bounds.rounding(values))
            limit = min(count * _BACKUPS, self.max_backups - backups)
            done = tabular.update_most_urgent(table.model.table, queue, values, limit, threshold)
            backups += done
            numbers = [{"cost": -values[row], "stationarity": queue.priority[queue.heap[0]]}] * count
            if done == limit:
                return (Status.ITERATION_LIMIT if backups >= self.max_backups else None), numbers
            return (Status.SOLVED if table.error <= self.tolerance else Status.STALLED), numbers

        status = monitor.run_batches(advance, self.max_backups)
        return table.decision(row, status, describe(table, status), backups)
