"""The rules of a decision process at work: compiled or not, called from Python and from kernels.

Three functions on arrays are made of the user's rules, in the one form that searches build on, be they compiled or not:

    advance(state, action, uniform) -> (reward, discount)     writes the next state over the state
    allow(state, out)                                          fills (actions,) of bool
    spread(state, out) -> bool                                 fills (outcomes,) probabilities; whether nature moves

and two entries for kernels (see `trajopt.lowering.rules`): ``advance``, and ``weigh``, whose weights are 1 for a legal
action, or the probabilities where nature moves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import typeof
from numba.core.errors import NumbaError
from numba.extending import register_jitable

from trajopt.errors import InvalidProblem, TrajoptError
from trajopt.lowering import rules
from trajopt.lowering.call import ACTION, DISCOUNT, NATURE, REWARD, UNIFORM
from trajopt.lowering.rules import Entry
from trajopt.signature import count_arguments

if TYPE_CHECKING:
    from trajopt.decision_process import DecisionProcess


class ProcessRules:
    """The rules of one process; everything is compiled when it is first needed.

    Attributes
    ----------
    width
        Length of the array of weights that entries fill: one for each action, or for each outcome.
    """

    def __init__(self, process: DecisionProcess) -> None:
        self._process = process
        self.width = max(process.actions, process.outcomes)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._entries: dict[Hashable, Entry] = {}
        for name in ("step", "legal", "chance", "observe"):
            rule = getattr(process, name)
            if rule is not None:
                plain = getattr(rule, "py_func", rule)
                self._functions[name] = rules.compile_rule(plain) if process.compiled else plain

    def call(self, name: str, *arguments: Any) -> Any:
        """What a rule of the user's returns.

        Raises
        ------
        InvalidProblem
            When it cannot be compiled, or raises.
        """
        try:
            return self._functions[name](*arguments)
        except TrajoptError:
            raise
        except NumbaError as error:
            raise self._not_compiled(name, error) from None
        except Exception as error:
            raise InvalidProblem(
                f"{name} of {self._process.label} raised {type(error).__name__}: {error}, for the arguments "
                f"{arguments!r}; correct the rule."
            ) from error

    @cached_property
    def advance(self) -> Callable[[np.ndarray, int, float], tuple[float, float]]:
        """Function that writes the next state over the state and returns reward and discount."""
        step = self._functions["step"]
        if count_arguments(step) == 3:

            def advance(state, action, uniform):
                following, reward, discount = step(state, action, uniform)
                _write(following, state)
                return float(reward), float(discount)

        else:

            def advance(state, action, uniform):
                following, reward, discount = step(state, action)
                _write(following, state)
                return float(reward), float(discount)

        return self.finish(advance)

    @cached_property
    def allow(self) -> Callable[[np.ndarray, np.ndarray], None]:
        """Function that fills an array of bool with what is legal."""
        legal = self._functions.get("legal")
        if legal is None:

            def allow(state, out):
                out[:] = True

        elif count_arguments(legal) == 2:

            def allow(state, out):
                legal(state, out)

        else:

            def allow(state, out):
                _write(legal(state), out)

        return self.finish(allow)

    @cached_property
    def spread(self) -> Callable[[np.ndarray, np.ndarray], bool]:
        """Function that fills an array with the probabilities of outcomes and tells whether nature moves."""
        chance: Any = self._functions.get("chance")
        if chance is None:
            return self.finish(_never)
        fills = count_arguments(chance) == 2

        def spread(state, out):
            if fills:
                out[:] = 0.0
                chance(state, out)
            else:
                _write(chance(state), out)
            return _is_chance(out)

        return self.finish(spread)

    def finish(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, compiled if the process's rules are."""
        return rules.compile_rule(function) if self._process.compiled else function

    def entry_of(self, key: Hashable, make: Callable[[], Callable[..., None]]) -> Entry:
        """`entry` of the function that ``make`` gives, which is made once for each ``key``."""
        if key not in self._entries:
            self._entries[key] = self.entry(make())
        return self._entries[key]

    def entry(self, function: Callable[..., None]) -> Entry:
        """Address of a ``function(state, numbers, weights, mask)`` made of the rules.

        Raises
        ------
        InvalidProblem
            When a rule cannot be compiled.
        """
        state = np.asarray(self._process.initial_state)
        if not self._process.compiled:
            return rules.make_callback(function, state, self.width, self._process.actions)
        try:
            return rules.make_entry(self.finish(function), state, self.width, self._process.actions)
        except NumbaError as error:
            self._blame()
            raise self._not_compiled("a rule", error) from None

    @cached_property
    def advance_entry(self) -> Entry:
        """Entry that takes `ACTION` and `UNIFORM`, writes the next state over the state, and gives the other two."""
        advance = self.advance

        def step_entry(state, numbers, weights, mask):
            reward, discount = advance(state, int(numbers[ACTION]), numbers[UNIFORM])
            numbers[REWARD] = reward
            numbers[DISCOUNT] = discount

        return self.entry(step_entry)

    @cached_property
    def weigh_entry(self) -> Entry:
        """Entry that fills the weights: 1 for a legal action, or, where `NATURE` becomes 1, the probabilities."""
        allow, spread = self.allow, self.spread
        actions, outcomes = self._process.actions, self._process.outcomes

        def weigh_entry(state, numbers, weights, mask):
            numbers[NATURE] = 0.0
            weights[:] = 0.0
            if outcomes > 0 and spread(state, weights[:outcomes]):
                numbers[NATURE] = 1.0
                return
            allow(state, mask)
            for action in range(actions):
                weights[action] = 1.0 if mask[action] else 0.0

        return self.entry(weigh_entry)

    def _blame(self) -> None:
        """Raise for the rule that cannot be compiled by itself, if there is one."""
        state = np.array(self._process.initial_state)
        trials = {
            "step": (state, 0) + ((0.0,) if self._process.random_step else ()),
            "legal": (state, np.ones(self._process.actions, np.bool_)),
            "chance": (state, np.zeros(self._process.outcomes)),
        }
        for name, arguments in trials.items():
            rule: Any = self._functions.get(name)
            if rule is not None:
                try:
                    rule.compile(tuple(typeof(value) for value in arguments[: count_arguments(rule)]))
                except NumbaError as error:
                    raise self._not_compiled(name, error) from None

    def _not_compiled(self, name: str, error: NumbaError) -> InvalidProblem:
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
        places = re.findall(r'File "([^"]+)", line (\d+)', text)
        place = f" (line {places[-1][1]} of {places[-1][0]})" if places else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        plain = [line for line in lines if not line.startswith(("Failed in", "File", "def ", "^", "<source", "["))]
        reason = (plain or lines or [type(error).__name__])[0].rstrip(".:")
        return InvalidProblem(
            f"{name} of {self._process.label} cannot be compiled: {reason}{place}; write it with what Numba "
            "understands, or give compiled=False."
        )


def _never(state, out):
    """Nature never moves."""
    return False


@register_jitable
def _write(source, target):
    """Copy an array onto another of the same shape; they may be the same."""
    if source.shape != target.shape:
        raise ValueError("a rule returned an array of another shape")
    if target.ndim == 1:
        for i in range(target.size):
            target[i] = source[i]
    else:
        for index in np.ndindex(target.shape):
            target[index] = source[index]


@register_jitable
def _is_chance(probabilities):
    """Whether nature moves; refuses what is no distribution."""
    total = 0.0
    for probability in probabilities:
        if not probability >= 0.0:
            raise ValueError("a probability is negative or no number")
        total += probability
    if total != 0.0 and not abs(total - 1.0) <= 1e-6:
        raise ValueError("probabilities do not add up to 1")
    return total != 0.0
