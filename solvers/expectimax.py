"""Expectimax: the exact value of a state, by looking at everything that may happen for some decisions to come.

    V(s, d) = max_a r + discount V(s', d - 1)    in a decision state,    V(s, 0) = evaluate(s),
    V(s, d) = sum_o p(o) (r + discount V(s', d))  in a chance state,

where a discount of -1 hands over to the opponent, so that the same recursion is minimax. States that are reached twice
with as many decisions left are valued once. Random steps without probabilities are averaged over evenly spaced uniform
numbers (after the sparse sampling of Kearns, Mansour and Ng, 2002, without its randomness).

Plain Python: an oracle for small processes, and the shortest planner to read. Reference: Michie 1966; Russell and
Norvig, Artificial Intelligence, section 5.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.monitor import Monitor
from trajopt.planner import Planner
from trajopt.solvers.tabular.model import check_explicit
from trajopt.status import Status
from trajopt.validation import check, check_whole


@dataclass(frozen=True)
class Expectimax(Planner):
    """Expectimax; see the module for the method.

    Parameters
    ----------
    depth
        Decisions that are looked ahead; None: to the end, for processes that always come to one.
    evaluate
        Function state -> value for the player to move, where the depth ends; None: 0.
    samples
        Uniform numbers over which a random step is averaged; 0 refuses processes with random steps.

    Raises
    ------
    InvalidProblem
        When a setting makes no sense.
    """

    depth: int | None = 4
    evaluate: Callable[[NDArray], float] | None = None
    samples: int = 0

    def __post_init__(self) -> None:
        if self.depth is not None:
            check_whole(self.depth, "depth", 1)
        check_whole(self.samples, "samples", 0)
        check(self.evaluate, "evaluate", "a function of a state", self.evaluate is None or callable(self.evaluate))

    def plan(self, process: DecisionProcess, state: np.ndarray, *, tree: Any = None, monitor: Monitor) -> Decision:
        """See `trajopt.decide`; nothing is kept for the next decision."""
        if process.observe is not None or not self.samples:
            check_explicit(process)
        search = _Search(self, process, monitor)
        try:
            status = search.run(state)
        except RecursionError:
            raise UnsupportedProblem(
                f"{process.label} goes on for too many decisions to be followed to the end; give a depth, or use "
                "ValueIteration."
            ) from None
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
        return search.decision(status)


class _OutOfTime(Exception):
    """The time limit came within the recursion."""


class _Search:
    """One search: what has been valued so far."""

    def __init__(self, settings: Expectimax, process: DecisionProcess, monitor: Monitor) -> None:
        self.settings, self.process, self.monitor = settings, process, monitor
        self.known: dict[tuple[bytes, int | None], tuple[float, bool]] = {}
        count = settings.samples if process.random_step else 1
        self.uniforms = [(i + 0.5) / count for i in range(count)] if process.random_step else [None]
        self.action_values = np.full(process.actions, np.nan)
        self.nature, self.value, self.exact = False, np.nan, False

    def run(self, state: NDArray) -> Status:
        """Value each action of the root, one after the other, so that something is known whenever time is over."""
        probabilities = self.process.outcome_probabilities(state)
        self.nature = bool(np.any(probabilities))
        exact = True
        try:
            if self.nature:
                self.value, exact = self.value_of(state, self.settings.depth)
            else:
                for action in self.legal(state):
                    self.action_values[action], certain = self.edge(state, int(action), self.settings.depth)
                    exact &= certain
                    self.value = float(np.nanmax(self.action_values))
                    stop = self.monitor.observe(-self.value)
                    if stop is Status.STOPPED:
                        return stop
        except _OutOfTime:
            return Status.TIME_LIMIT
        self.exact = exact and not self.process.random_step
        return Status.SOLVED

    def value_of(self, state: NDArray, depth: int | None) -> tuple[float, bool]:
        """Value of a state, and whether it does not depend on where the search ends."""
        key = state.tobytes(), depth
        if key in self.known:
            return self.known[key]
        if self.monitor.seconds_left <= 0.0:
            raise _OutOfTime
        probabilities = self.process.outcome_probabilities(state)
        if np.any(probabilities):
            parts = [(probabilities[o], *self.edge(state, int(o), depth, 0)) for o in np.flatnonzero(probabilities)]
            found = sum(p * value for p, value, _ in parts), all(exact for *_, exact in parts)
        elif depth == 0:
            found = 0.0 if self.settings.evaluate is None else float(self.settings.evaluate(state.copy())), False
        else:
            parts = [self.edge(state, int(action), depth) for action in self.legal(state)]
            found = max(value for value, _ in parts), all(exact for _, exact in parts)
        self.known[key] = found
        return found

    def edge(self, state: NDArray, action: int, depth: int | None, decisions: int = 1) -> tuple[float, bool]:
        """Value of an action, or of an outcome, which takes no decision."""
        total, exact = 0.0, True
        for uniform in self.uniforms:
            following, reward, discount = self.process.apply(state, action, uniform)
            value, certain = 0.0, True
            if discount != 0.0:
                value, certain = self.value_of(following, None if depth is None else depth - decisions)
            total += reward + discount * value
            exact &= certain
        return total / len(self.uniforms), exact

    def legal(self, state: NDArray) -> NDArray[np.int64]:
        """Legal actions of a state, at least one."""
        legal = np.flatnonzero(self.process.legal_actions(state))
        if not legal.size:
            raise InvalidProblem(
                f"state {state.tolist()} of {self.process.label} has no legal action, but one was expected in every "
                "state that does not end; let the step that leads there return a discount of 0."
            )
        return legal

    def decision(self, status: Status) -> Decision:
        """The answer, as far as it is known."""
        tried = np.isfinite(self.action_values)
        probabilities = np.zeros(self.process.actions)
        action = -1
        if tried.any():
            action = int(np.nanargmax(self.action_values))
            probabilities[action] = 1.0
        line = (action,) if action >= 0 else ()
        return Decision(
            action, self.value, probabilities, tried.astype(np.int64), self.action_values, line,
            proven="exact" if self.exact and status is Status.SOLVED else None, simulations=len(self.known),
            status=status,
        )  # fmt: skip
