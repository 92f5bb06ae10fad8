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

from trajopt.monitor import Monitor
from trajopt.solvers.kernels import tabular
from trajopt.solvers.tabular.answer import ValueTable, verdict
from trajopt.solvers.tabular.planner import TabularPlanner
from trajopt.status import Status


@dataclass(frozen=True)
class ValueIteration(TabularPlanner):
    """Value iteration over the reachable states; ``iterations`` counts sweeps, see `TabularPlanner`."""

    def improve(self, table: ValueTable, row: int, monitor: Monitor) -> tuple[Status, int, str]:
        """See `TabularPlanner.improve`."""
        values, sweeps = table.values, 0

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

        status = monitor.run_batches(advance, self.iterations)
        return status, sweeps * len(table), ""
