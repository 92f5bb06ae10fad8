"""What the planners of finite processes hand back: a table of values, its error bound, and the decision in a state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.solvers.tabular.bounds import Bounds
from trajopt.solvers.tabular.model import FiniteModel, explore
from trajopt.status import Status

Array = NDArray[np.float64]

_LONGEST = 1000
"""Most steps of a principal variation; play that goes round in circles is cut off where it closes anyway."""


@dataclass(frozen=True, eq=False)
class ValueTable:
    """Values of all states that can be reached; it is the ``tree`` of the decision.

    Attributes
    ----------
    process
        Whose states they are.
    model
        States and edges.
    values
        (S,) the value of each row of ``model.states``, for the player to move there.
    bounds
        What turns residuals into errors.
    """

    process: DecisionProcess
    model: FiniteModel
    values: Array
    bounds: Bounds

    def __len__(self) -> int:
        return len(self.model)

    @property
    def states(self) -> NDArray:
        """(S, ...) the states."""
        return self.model.states

    @property
    def state(self) -> NDArray:
        """Where the table began."""
        return self.states[0]

    @property
    def error(self) -> float:
        """No value is further than this from the optimum; infinite where nothing is known."""
        return self.bounds.error(self.values)

    def row(self, state: ArrayLike) -> int:
        """Row of a state.

        Raises
        ------
        InvalidProblem
            When the state cannot be reached from where the table began.
        """
        array = self.process.check_state(state)
        row = self.model.row(array)
        if row < 0:
            raise InvalidProblem(
                f"state {array.tolist()} was given, but one that can be reached from {self.states[0].tolist()} was "
                "expected; decide from the new state for a table of its own."
            )
        return row

    def value(self, state: ArrayLike) -> float:
        """Value of a state for the player to move there."""
        return float(self.values[self.row(state)])

    def action(self, state: ArrayLike) -> int:
        """A best action; -1 where nature moves."""
        row = self.row(state)
        return -1 if self.model.table.chance[row] else int(self.model.action[self.best_edge(row)])

    def best_edge(self, row: int) -> int:
        """First of the best edges of a state; the likeliest where nature moves."""
        edges = self.model.edges(row)
        worth = np.abs(self.model.table.weight[edges])
        if not self.model.table.chance[row]:
            worth = self.model.action_values(self.values, row)
        return edges.start + int(np.argmax(worth))

    def principal_variation(self, row: int) -> tuple[int, ...]:
        """Best play from a state, with the likeliest outcomes, to the end or to where it repeats."""
        line: list[int] = []
        seen = set()
        while row not in seen and len(line) < _LONGEST:
            seen.add(row)
            edge = self.best_edge(row)
            line.append(int(self.model.action[edge]))
            if self.model.table.weight[edge] == 0.0:
                break
            row = int(self.model.table.following[edge])
        return tuple(line)

    def decision(self, row: int, status: Status, detail: str, backups: int) -> Decision:
        """The decision in one state."""
        actions = self.process.actions
        visits, values, probabilities = np.zeros(actions, np.int64), np.full(actions, np.nan), np.zeros(actions)
        action = -1
        if not self.model.table.chance[row]:
            legal = self.model.action[self.model.edges(row)]
            visits[legal] = 1
            values[legal] = self.model.action_values(self.values, row)
            action = int(self.model.action[self.best_edge(row)])
            probabilities[action] = 1.0
        return Decision(
            action, float(self.values[row]), probabilities, visits, values, self.principal_variation(row),
            proven="exact" if status is Status.SOLVED else None, simulations=backups, status=status, detail=detail,
            tree=self,
        )  # fmt: skip


def open_table(
    process: DecisionProcess, state: NDArray, tree: object, max_states: int, monitor: Monitor
) -> ValueTable | None:
    """The table of an earlier decision where it holds the state, else a new one; None when time is over first."""
    if isinstance(tree, ValueTable) and tree.process is process and tree.model.row(state) >= 0:
        return ValueTable(process, tree.model, tree.values.copy(), tree.bounds)
    model = explore(process, state, max_states, monitor)
    return None if model is None else ValueTable(process, model, np.zeros(len(model)), Bounds(model, monitor))


def too_late(process: DecisionProcess, state: NDArray) -> Decision:
    """What is left to say when the time was over before the states were found: anything legal, and no value."""
    nothing = np.full(process.actions, np.nan)
    visits = np.zeros(process.actions, np.int64)
    legal = np.flatnonzero(process.legal_actions(state))
    nature = bool(np.any(process.outcome_probabilities(state)))
    action = -1 if nature or not legal.size else int(legal[0])
    probabilities = np.zeros(process.actions)
    probabilities[legal] = 1.0 / max(legal.size, 1)
    detail = "The states were not all found in time, so nothing is known of their values."
    return Decision(action, np.nan, probabilities, visits, nothing, status=Status.TIME_LIMIT, detail=detail)


def verdict(table: ValueTable, tolerance: float, change: float) -> Status | None:
    """SOLVED within the tolerance; STALLED where rounding, or a life without end, forbids to know more."""
    rounding = table.bounds.rounding(table.values)
    if change * table.bounds.amplification <= tolerance and table.error <= tolerance:
        return Status.SOLVED
    return Status.STALLED if change <= rounding else None


def describe(table: ValueTable, status: Status) -> str:
    """A sentence on how sure the values are."""
    if np.isfinite(table.error):
        return f"No value of the {len(table)} states is off by more than {table.error:.1e}."
    if status is Status.STALLED:
        return (
            f"The values of the {len(table)} states satisfy the optimality equations, but some way of acting never "
            "ends and is not discounted, so that no error bound holds."
        )
    return f"No error bound is known for the values of the {len(table)} states."
