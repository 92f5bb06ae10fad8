"""What is believed of a hidden state: particles, drawn from what may be the case after all that was done and seen.

After action a and observation o the new belief is that of the states s' which arise from old ones by a and show o,
found by rejection: draw a particle, act, draw its observation, keep it if it is o. An observation is made when a player
is to decide again, so after nature has moved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.lowering.call import ACTION, NUMBERS, UNIFORM, VALUE
from trajopt.lowering.rules import Entry
from trajopt.solvers.kernels import pomcp
from trajopt.solvers.kernels.pomcp import Rules, Walk
from trajopt.validation import check

_TRIES = 1000
"""Attempts for each particle wanted: an observation rarer than that has no particles, and is refused as impossible."""


@dataclass(frozen=True, eq=False)
class Belief:
    """Particles of a partially observable process.

    Attributes
    ----------
    process
        Whose state is hidden.
    particles
        (K, ...) states, each as likely as the others.
    seed
        Of the next update.
    """

    process: DecisionProcess
    particles: NDArray
    seed: int = 0

    @property
    def state(self) -> NDArray:
        """One of the states, for those who need one."""
        return self.particles[0]

    @staticmethod
    def initial(process: DecisionProcess, state: NDArray, count: int, seed: int) -> Belief:
        """Belief that a state is known, or drawn by nature where it is a chance state."""
        rules, walk = rules_of(process), walk_of(process, 0, seed)
        words = np.zeros((count, walk.states.shape[1]))
        code = pomcp.draw_initial(rules, walk, words_of(state), words)
        complain(process, walk, code)
        return Belief(process, _states(words, process), seed + 1)

    def after(self, action: int, observation: int) -> Belief:
        """Belief after an action and what was observed then.

        Raises
        ------
        InvalidProblem
            When no particle shows this observation after this action.
        """
        process = self.process
        for name, value, size in (
            ("action", action, process.actions),
            ("observation", observation, process.observations),
        ):
            whole = isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value < size
            check(value, name, f"a whole number from 0 to {size - 1}", whole)
        rules, walk = rules_of(process), walk_of(process, 0, self.seed)
        words = np.array([words_of(state) for state in self.particles])
        kept, count = np.zeros_like(words), np.zeros(1, np.int64)
        code = pomcp.filter_particles(rules, walk, words, action, observation, kept, count, _TRIES * len(words))
        complain(process, walk, code)
        if count[0] == 0:
            raise InvalidProblem(
                f"observation {observation} after action {action} was given, but none of {_TRIES * len(words)} draws "
                "from the belief shows it; check what was done and seen, or use more particles."
            )
        filled = kept[np.arange(len(kept)) % count[0]]  # fewer than wanted are repeated evenly
        return Belief(process, _states(filled, process), self.seed + 1)


def rules_of(process: DecisionProcess, evaluate: Entry | None = None) -> Rules:
    """Entries of a process with observations, for kernels, and perhaps of a function that values states.

    Raises
    ------
    UnsupportedProblem
        When nothing is hidden.
    """
    if process.observe is None:
        raise UnsupportedProblem(
            f"{process.label} has no rule observe, but a belief needs to know what is seen of the state; give observe= "
            "and observations=, or use a planner that sees the state, such as MCTS."
        )
    kept = process.rules.__dict__
    if "_observe_entry" not in kept:
        rule = process.rules.finish(process.observe)

        def look(state, numbers, weights, mask):
            numbers[VALUE] = rule(state, int(numbers[ACTION]), numbers[UNIFORM])

        kept["_observe_entry"] = process.rules.entry(look)
    entries = process.rules.advance_entry, process.rules.weigh_entry, kept["_observe_entry"], evaluate
    return Rules(*(0 if entry is None else entry.address for entry in entries))


def value_entry(process: DecisionProcess, evaluate: Callable[[NDArray], float]) -> Callable[..., None]:
    """Form of a function state -> value that `trajopt.process_rules.ProcessRules.entry` compiles."""
    rule = process.rules.finish(evaluate)

    def judge(state, numbers, weights, mask):
        numbers[VALUE] = rule(state)

    return judge


def walk_of(process: DecisionProcess, depth: int, seed: int) -> Walk:
    """Work of simulations of that depth."""
    words = words_of(np.asarray(process.initial_state)).size
    return Walk(
        np.zeros((2, words)), np.zeros(NUMBERS), np.zeros(process.rules.width), np.zeros(process.actions, np.bool_),
        np.zeros(3), np.zeros(depth, np.int64), np.zeros(depth, np.int64), np.zeros(depth), np.zeros(depth),
        np.array([seed, 0], np.uint64),
    )  # fmt: skip


def words_of(state: NDArray) -> NDArray[np.float64]:
    """A state as 64-bit words of raw memory."""
    words = np.zeros(max((state.nbytes + 7) // 8, 1))
    words.view(np.uint8)[: state.nbytes] = np.frombuffer(state.tobytes(), np.uint8)
    return words


def state_of(words: NDArray[np.float64], process: DecisionProcess) -> NDArray:
    """A state from its words."""
    size = process.dtype.itemsize * int(np.prod(process.shape))
    return np.frombuffer(words.tobytes()[:size], process.dtype).reshape(process.shape)


def _states(words: NDArray[np.float64], process: DecisionProcess) -> NDArray:
    return np.array([state_of(row, process) for row in words])


def complain(process: DecisionProcess, walk: Walk, code: int) -> None:
    """Raise what is wrong with the process, in its own words where Python can get them out of it."""
    if code == pomcp.DONE:
        return
    state = state_of(walk.states[0], process)
    if code == pomcp.NO_ACTION:
        raise InvalidProblem(
            f"state {state.tolist()} of {process.label} has no legal action, but one was expected in every state that "
            "does not end; let the step that leads there return a discount of 0."
        )
    if code == pomcp.OPPONENT:
        raise UnsupportedProblem(
            f"{process.label} hands over to an opponent, but a belief over histories serves one player; use MCTS."
        )
    action, uniform = int(walk.numbers[ACTION]), float(walk.numbers[UNIFORM])
    process.outcome_probabilities(state)
    process.legal_actions(state)
    process.apply(state, action, uniform if process.random_step else None)
    process.rules.call("observe", state, action, uniform)
    raise InvalidProblem(f"a rule of {process.label} failed near state {state.tolist()}; correct it.")
