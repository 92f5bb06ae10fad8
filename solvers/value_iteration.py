"""Value iteration: back up every state of a finite process until no value can be far from the optimum.

With the edges (r, w, s') of a state, w being the discount, times the probability where nature moves,

    V(s) <- max r + w V(s')    in a decision state,      V(s) <- sum p r + w V(s')    in a chance state,

in place, from the states furthest from the start to the nearest (Gauss-Seidel), so that processes without cycles are
done after one sweep. A discount of -1 hands over to the opponent, whose loss is one's gain: the same backup serves
games, with turns as irregular as they may be.

It ends when the error bound of the values, from their residual max |T V - V| and the expected life of the process (see
`trajopt.solvers.kernels.tabular`; 1 / (1 - gamma) for a constant discount), is below the tolerance.

Reference: Puterman, Markov Decision Processes, 1994, section 6.3; Shapley 1953 for games.
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
from trajopt.solvers.tabular.answer import describe, open_table, too_late, verdict
from trajopt.status import Status
from trajopt.validation import check_positive, check_whole


@dataclass(frozen=True)
class ValueIteration(Planner):
    """Value iteration over the reachable states; see the module for the method.

    Parameters
    ----------
    tolerance
        Largest error of any value, proven, at which the planner is done; in the unit of the rewards.
    max_sweeps
        Sweeps over all states.
    max_states
        Most states that the table may have.

    Raises
    ------
    InvalidProblem
        When a setting makes no sense.
    """

    tolerance: float = 1e-9
    max_sweeps: int = 1_000_000
    max_states: int = 1_000_000

    def __post_init__(self) -> None:
        check_positive(self.tolerance, "tolerance")
        for name in ("max_sweeps", "max_states"):
            check_whole(getattr(self, name), name, 1)

    def plan(self, process: DecisionProcess, state: np.ndarray, *, tree: Any = None, monitor: Monitor) -> Decision:
        """See `trajopt.decide`; ``decision.tree`` is a table of all values."""
        table = open_table(process, state, tree, self.max_states, monitor)
        if table is None:
            return too_late(process, state)
        row, values = table.row(state), table.values
        sweeps = 0

        def advance(count: int) -> tuple[Status | None, Sequence[dict[str, float]]]:
            nonlocal sweeps
            numbers = []
            for _ in range(count):
                change = tabular.sweep(table.model.table, values)
                sweeps += 1
                numbers.append({"cost": -values[row], "stationarity": change})
                stop = verdict(table, self.tolerance, change)
                if stop is not None:
                    return stop, numbers
            return None, numbers

        status = monitor.run_batches(advance, self.max_sweeps)
        return table.decision(row, status, describe(table, status), sweeps * len(table))
