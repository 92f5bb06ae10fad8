"""Alpha-beta: minimax that skips what cannot matter, deeper and deeper until the answer is proven or time is over.

A move that is worth more to one player than what the other can have elsewhere need not be looked at any further (Knuth
and Moore 1975). Who is to move follows from the discounts, of any sign: see `trajopt.solvers.kernels.alpha_beta`.
Around this:

- *Iterative deepening*: depths 1, 2, ... each ordered by what the one before has found, so that an answer is there at
  any time.
- *Transposition table*: states that are reached twice are searched once; bounds that do not depend on the depth are
  kept for good. Its best move is tried first, then those that have cut off most elsewhere (history heuristic).
- *Static bounds*: what a state can be worth at most and at least, by ``process.returns`` or a function. A search that
  has found the most looks no further, and states that cannot matter are not entered.

Where the depth ends the search, a state that is met again may carry the value of a deeper search than was asked for. A
value is proven when no line of play that it rests on was ended by the depth.

Reference: Knuth and Moore, Artificial Intelligence 6, 1975; Schaeffer, The history heuristic, 1989; Pons, "Solving
Connect 4".
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
from trajopt.lowering.call import DISCOUNT, NUMBERS, REWARD
from trajopt.monitor import Monitor
from trajopt.planner import Planner
from trajopt.solvers.belief import value_entry
from trajopt.solvers.kernels import alpha_beta
from trajopt.solvers.kernels.alpha_beta import AT, CLEAN, DEPTH, ENTERING, NODES, PLY, RESOLVED, Entries, Memory, Stack
from trajopt.solvers.tabular.model import check_explicit
from trajopt.status import Status
from trajopt.validation import check, check_whole

_STEPS = 20_000
"""Steps of the search between two looks at the clock: a few milliseconds of compiled rules."""


@dataclass(frozen=True)
class AlphaBeta(Planner):
    """Alpha-beta search; see the module for the method.

    Parameters
    ----------
    depth
        Most decisions that are looked ahead.
    evaluate
        Function state -> value for the player to move, where the depth ends; None: 0. Compiled like a rule.
    bounds
        Function state -> (lower, upper) that the value of a state cannot leave, compiled like a rule; None:
        ``process.returns`` for all states.
    entries
        States that the transposition table holds; rounded up to a power of two.

    Raises
    ------
    InvalidProblem
        When a setting makes no sense.
    """

    depth: int = 64
    evaluate: Callable[[NDArray], float] | None = None
    bounds: Callable[[NDArray], tuple[float, float]] | None = None
    entries: int = 1 << 20

    def __post_init__(self) -> None:
        check_whole(self.depth, "depth", 1)
        check_whole(self.entries, "entries", 1)
        for name in ("evaluate", "bounds"):
            function = getattr(self, name)
            check(function, name, "a function of a state", function is None or callable(function))

    def plan(self, process: DecisionProcess, state: np.ndarray, *, tree: Any = None, monitor: Monitor) -> Decision:
        """See `trajopt.decide`; nothing is kept for the next decision."""
        check_explicit(process)
        search = _Search(self, process, state)
        try:
            status = search.run(monitor)
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
        return search.decision(status)


class _Search:
    """One search, and the best answer so far."""

    def __init__(self, settings: AlphaBeta, process: DecisionProcess, state: NDArray) -> None:
        self.settings, self.process, self.state = settings, process, state
        words = max((state.nbytes + 7) // 8, 1)
        self.stack = _stack(settings.depth + 2, words, process.actions)
        self.stack.states[0].view(np.uint8)[: state.nbytes] = np.frombuffer(state.tobytes(), np.uint8)
        size = 1 << (settings.entries - 1).bit_length()
        self.memory = Memory(
            np.zeros((size, words), np.uint64), np.full(size, -1), np.zeros(size, np.int64), np.zeros(size),
            np.zeros(size),
        )  # fmt: skip
        self.kept = [process.rules.advance_entry, process.rules.weigh_entry, *self._functions()]
        least, largest = process.returns if process.returns is not None else (-np.inf, np.inf)
        addresses = [0 if entry is None else entry.address for entry in self.kept]
        self.entries = Entries(*addresses, float(least), float(largest))
        self.desk = np.zeros(NUMBERS), np.zeros(process.rules.width), np.zeros(process.actions, np.bool_)
        self.action, self.value, self.clean, self.depth = -1, np.nan, False, 0
        self.line: tuple[int, ...] = ()

    def _functions(self) -> list[Any]:
        """Entries of the functions of the settings."""
        rules, found = self.process.rules, []
        if self.settings.bounds is not None:
            bounds = rules.finish(self.settings.bounds)

            def bound(state, numbers, weights, mask):
                numbers[REWARD], numbers[DISCOUNT] = bounds(state)

            found.append(rules.entry(bound))
        else:
            found.append(None)
        evaluate = self.settings.evaluate
        found.append(None if evaluate is None else rules.entry(value_entry(self.process, evaluate)))
        return found

    def run(self, monitor: Monitor) -> Status:
        """Search deeper and deeper."""
        for depth in range(1, self.settings.depth + 1):
            self._begin(depth)
            while True:
                code = alpha_beta.search(self.entries, self.stack, self.memory, *self.desk, _STEPS)
                if code == alpha_beta.DONE:
                    break
                if code != alpha_beta.PAUSED:
                    self._complain(code)
                if monitor.seconds_left <= 0.0:
                    self._take_what_there_is()
                    return Status.TIME_LIMIT
            self.action, self.value = int(self.stack.move[0]), float(self.stack.result[0])
            self.clean, self.depth = bool(self.stack.control[CLEAN]), depth
            self.line = self._principal_variation()
            stop = monitor.observe(-self.value)
            if self.clean:
                return Status.SOLVED
            if stop is not None:
                return stop
        return Status.SOLVED

    def _begin(self, depth: int) -> None:
        control = self.stack.control
        control[[PLY, DEPTH, ENTERING, RESOLVED]] = 0, depth, 1, 0
        self.stack.alpha[0], self.stack.beta[0] = -np.inf, np.inf

    def _take_what_there_is(self) -> None:
        """Before the first depth is done: the best move so far, or any."""
        if self.action < 0:
            self.action = int(max(self.stack.move[0], self.stack.moves[0, 0]))

    def _principal_variation(self) -> tuple[int, ...]:
        """Best play as far as the table remembers it."""
        line, state = [self.action], self.state
        scratch = len(self.stack.states) - 1
        while len(line) < self.depth:
            state, _, discount = self.process.apply(state, line[-1])
            if discount == 0.0:
                break
            self.stack.states[scratch].view(np.uint8)[: state.nbytes] = np.frombuffer(state.tobytes(), np.uint8)
            slot, there = alpha_beta.probe(self.stack, self.memory, scratch)
            if not there or self.memory.move[slot] < 0:
                break
            line.append(int(self.memory.move[slot]))
        return tuple(line)

    def _complain(self, code: int) -> None:
        """Raise what is wrong with the process, in its own words where Python can get them out of it."""
        row = self.stack.states[self.stack.control[PLY]].view(np.uint8)[: self.state.nbytes]
        state = np.frombuffer(row.tobytes(), self.state.dtype).reshape(self.state.shape)
        process = self.process
        if code == alpha_beta.CHANCE:
            raise UnsupportedProblem(
                f"{process.label} has chance states, which alpha-beta cannot cut; use Expectimax or ValueIteration."
            )
        if code == alpha_beta.NO_ACTION:
            raise InvalidProblem(
                f"state {state.tolist()} of {process.label} has no legal action, but one was expected in every state "
                "that does not end; let the step that leads there return a discount of 0."
            )
        process.legal_actions(state)
        process.apply(state, int(self.stack.control[AT]))
        for function in (self.settings.evaluate, self.settings.bounds):
            if function is not None:
                function(state.copy())
        raise InvalidProblem(f"a rule of {process.label} failed in state {state.tolist()}; correct it.")

    def decision(self, status: Status) -> Decision:
        """The answer, as far as it is known."""
        actions = self.process.actions
        values, visits, probabilities = np.full(actions, np.nan), np.zeros(actions, np.int64), np.zeros(actions)
        if self.action >= 0:
            values[self.action] = self.value
            visits[self.action], probabilities[self.action] = 1, 1.0
        detail = f"Searched {self.depth} decisions deep" + (", to the end." if self.clean else ".")
        return Decision(
            self.action, self.value, probabilities, visits, values, self.line, proven="exact" if self.clean else None,
            simulations=int(self.stack.control[NODES]), status=status, detail=detail,
        )  # fmt: skip


def _stack(plies: int, words: int, actions: int) -> Stack:
    states = np.zeros((plies + 1, words))
    floats = [np.zeros(plies) for _ in range(8)]
    wholes = [np.zeros(plies, np.int64) for _ in range(3)]
    moves = np.zeros((plies, actions), np.int64)
    return Stack(
        states, states.view(np.uint64), moves, *wholes, *floats, np.zeros(plies, bool), np.zeros(actions),
        np.zeros(7, np.int64), np.zeros(1),
    )  # fmt: skip
