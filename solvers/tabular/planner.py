"""The base of planners that know every state: settings, and the road from the rules to a table and a decision."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.monitor import Monitor
from trajopt.planner import Planner
from trajopt.solvers.tabular.answer import ValueTable, describe, open_table, too_late
from trajopt.status import Status
from trajopt.validation import check_positive, check_whole


@dataclass(frozen=True)
class TabularPlanner(Planner, ABC):
    """Settings of a planner over the reachable states; see the module of each for the method.

    Parameters
    ----------
    tolerance
        Largest error of any value, proven, at which the answer counts as solved; in the unit of the rewards.
    iterations
        At most: sweeps over all states, policies, or backups of single states.
    max_states
        Most states that the table may have.

    Raises
    ------
    InvalidProblem
        When a setting makes no sense.
    """

    tolerance: float = 1e-9
    iterations: int = 1_000_000
    max_states: int = 1_000_000

    def __post_init__(self) -> None:
        check_positive(self.tolerance, "tolerance")
        check_whole(self.iterations, "iterations", 1)
        check_whole(self.max_states, "max_states", 1)

    def plan(self, process: DecisionProcess, state: np.ndarray, *, tree: Any = None, monitor: Monitor) -> Decision:
        """See `trajopt.decide`; ``decision.tree`` is a table of all values."""
        table = open_table(process, state, tree, self.max_states, monitor)
        if table is None:
            return too_late(process, state)
        row = table.row(state)
        status, backups, detail = self.improve(table, row, monitor)
        return table.decision(row, status, detail or describe(table, status), backups)

    @abstractmethod
    def improve(self, table: ValueTable, row: int, monitor: Monitor) -> tuple[Status, int, str]:
        """Bring the table's values to the tolerance; returns how it ended, backups of states, and why if it is special.

        Parameters
        ----------
        table
            Values to begin with, which change in place.
        row
            The state that is asked for.
        monitor
            Limits.
        """
