"""What a decision process is: states in an array, and rules that say what may be done and what follows from it.

One form serves decisions of one player, games of two players and anything between. The value of doing action a is

    q(s, a) = reward + discount * v(next state),      v(s) = max_a q(s, a),

always as the player sees it who is to move: a discount of 0 ends, gamma in (0, 1] goes on, -1 hands over to the
opponent, and +1 lets a player move again. Chance is a state where nature moves, v(s) = sum_o p(o) q(s, o), or a step
that is a function of a uniform random number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem
from trajopt.signature import count_arguments
from trajopt.validation import check, check_whole, is_number

if TYPE_CHECKING:
    from trajopt.process_rules import ProcessRules

Array = NDArray[np.float64]

_SUM = 1e-6
"""How far from 1 probabilities may add up: a sum of numbers in single precision is off by less."""


@dataclass(frozen=True, eq=False)
class DecisionProcess:
    """A Markov decision process, or a game, given by its rules.

    Rules never see an array that anybody else uses: they may write in ``state`` and return it, which allocates nothing,
    or return a new array. An action is a Python int, or Numba's int64.

    Parameters
    ----------
    step
        Rule (state, action) -> (next_state, reward, discount), or (state, action, uniform) for a random step as a
        function of one number in [0, 1). The reward is as the player to move sees it; see the module for discounts.
    initial_state
        Array that fixes shape and dtype of all states.
    actions
        How many actions there are; they are 0, 1, ...
    legal
        Rule (state) -> (actions,) of bool, or (state, out) that fills such an array; None: everything is legal.
    chance
        Rule (state) -> (outcomes,) probabilities, or (state, out): where they are not all zero nature moves, and
        ``step(state, outcome)`` is what follows. None: nature never moves.
    outcomes
        How many outcomes ``chance`` tells of.
    observe
        Rule (state, action, uniform) -> int, what is observed on arriving in ``state`` by ``action``; None: all is.
    observations
        How many observations there are.
    returns
        Least and largest return that a player can have from any state, where they are known: (-1, 1) in most games. A
        search that has found the largest looks no further.
    render
        Rule (state) -> str for people.
    action_names
        (actions,) what people call them.
    name
        For messages and tables.
    compiled
        Whether Numba compiles the rules; False keeps them in Python, for rules that Numba does not understand.

    Raises
    ------
    InvalidProblem
        When a size, a rule's arguments or a name cannot mean anything. What rules return is checked when they are used.
    """

    step: Callable[..., Any]
    initial_state: ArrayLike
    actions: int
    legal: Callable[..., Any] | None = None
    chance: Callable[..., Any] | None = None
    outcomes: int = 0
    observe: Callable[..., Any] | None = None
    observations: int = 0
    returns: tuple[float, float] | None = None
    render: Callable[[Any], str] | None = None
    action_names: Sequence[str] | None = None
    name: str | None = None
    compiled: bool = True

    def __post_init__(self) -> None:
        check_whole(self.actions, "actions", 1)
        check_whole(self.outcomes, "outcomes", 0)
        check_whole(self.observations, "observations", 0)
        check(self.compiled, "compiled", "True or False", isinstance(self.compiled, bool))
        start = np.array(self.initial_state, order="C")
        check(self.initial_state, "initial_state", "an array of plain numbers", start.dtype.kind in "biuf")
        start.setflags(write=False)
        object.__setattr__(self, "initial_state", start)
        for rule, least, most in (("step", 2, 3), ("legal", 1, 2), ("chance", 1, 2), ("observe", 3, 3)):
            _check_rule(getattr(self, rule), rule, least, most, optional=rule != "step")
        check(self.outcomes, "outcomes", "a number of outcomes", bool(self.outcomes) == (self.chance is not None),
              "give it where there is a rule chance, and only there")  # fmt: skip
        check(self.observations, "observations", "a number", bool(self.observations) == (self.observe is not None),
              "give it where there is a rule observe, and only there")  # fmt: skip
        if self.random_step and self.chance is not None:
            raise InvalidProblem(
                "step takes a uniform number and a rule chance was given, but either is random; drop one of them."
            )
        _check_returns(self.returns)
        if self.action_names is not None:
            names = tuple(str(name) for name in self.action_names)
            check(self.action_names, "action_names", f"{self.actions} names", len(names) == self.actions)
            object.__setattr__(self, "action_names", names)

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: compiled rules belong to a process of the operating system."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a state."""
        return np.shape(self.initial_state)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Element type of a state."""
        return np.asarray(self.initial_state).dtype

    @cached_property
    def random_step(self) -> bool:
        """Whether a step is a function of a random number as well."""
        return count_arguments(self.step) == 3

    @cached_property
    def rules(self) -> ProcessRules:
        """The rules, compiled when they are first called, and their addresses for kernels."""
        from trajopt.process_rules import ProcessRules  # noqa: PLC0415 - it imports Numba

        return ProcessRules(self)

    def check_state(self, state: ArrayLike) -> np.ndarray:
        """A state of the right shape and dtype, as a copy.

        Raises
        ------
        InvalidProblem
            When it has another shape, or numbers that the dtype cannot hold.
        """
        given = np.asarray(state)
        with np.errstate(invalid="ignore"):
            found = given.astype(self.dtype, order="C") if given.dtype.kind in "biuf" else given
        if given.shape != self.shape or given.dtype.kind not in "biuf" or not np.array_equal(found, given, True):
            raise InvalidProblem(
                f"a state of shape {given.shape} and type {given.dtype} was given, but states of {self.label} have "
                f"shape {self.shape} and type {self.dtype}; pass one of those."
            )
        return found

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or "the decision process"

    def apply(self, state: ArrayLike, action: int, uniform: float | None = None) -> tuple[np.ndarray, float, float]:
        """Next state, reward and discount of an action, or of an outcome where nature moves.

        Parameters
        ----------
        state
            Stays as it is.
        action
            At least 0 and less than `actions`, or `outcomes` where nature moves. Whether it is legal is not asked.
        uniform
            In [0, 1), for a process with a random step and for no other.

        Raises
        ------
        InvalidProblem
            When the arguments make no sense, or the rule raises, or returns another shape or type or a number that is
            not finite.
        """
        start = self.check_state(state)
        largest = max(self.actions, self.outcomes)
        check(action, "action", f"a whole number from 0 to {largest - 1}", _is_index(action, largest))
        if self.random_step != (uniform is not None) or (uniform is not None and not 0.0 <= uniform < 1.0):
            raise InvalidProblem(
                f"uniform={uniform!r} was given, but {'a number in [0, 1)' if self.random_step else 'None'} was "
                f"expected for the step of {self.label}; correct it."
            )
        arguments = (start, int(action)) if uniform is None else (start, int(action), float(uniform))
        returned = self.rules.call("step", *arguments)
        try:
            following, reward, discount = returned
            reward, discount = float(reward), float(discount)
        except (TypeError, ValueError):
            raise InvalidProblem(
                f"step of {self.label} returned {returned!r}, but (next_state, reward, discount) was expected; "
                "correct it."
            ) from None
        following = self._returned_state(following)
        if not np.isfinite([reward, discount]).all():
            raise InvalidProblem(
                f"step of {self.label} returned reward {reward} and discount {discount} for action {action}, but "
                "finite numbers were expected; correct it."
            )
        return following, reward, discount

    def _returned_state(self, following: Any) -> np.ndarray:
        given = np.asarray(following)
        if given.shape != self.shape or not np.can_cast(given.dtype, self.dtype, "same_kind"):
            raise InvalidProblem(
                f"step of {self.label} returned a state of shape {given.shape} and type {given.dtype}, but shape "
                f"{self.shape} and type {self.dtype} was expected, as of the initial state; correct it."
            )
        return given.astype(self.dtype, order="C")

    def legal_actions(self, state: ArrayLike) -> NDArray[np.bool_]:
        """(actions,) which actions are legal; all of them where there is no rule.

        Raises
        ------
        InvalidProblem
            When the rule raises or returns another shape.
        """
        if self.legal is None:
            return np.ones(self.actions, np.bool_)
        return self._filled("legal", self.check_state(state), self.actions, np.dtype(np.bool_))

    def outcome_probabilities(self, state: ArrayLike) -> Array:
        """(outcomes,) probabilities where nature moves; all zeros, or of size 0, where a player does.

        Raises
        ------
        InvalidProblem
            When the rule raises, returns another shape, or no probabilities.
        """
        if self.chance is None:
            return np.zeros(0)
        found = self._filled("chance", self.check_state(state), self.outcomes, np.dtype(np.float64))
        total = float(found.sum())
        if not (found >= 0.0).all() or not (total == 0.0 or abs(total - 1.0) <= _SUM):
            raise InvalidProblem(
                f"chance of {self.label} returned probabilities that add up to {total:.6g}, the least being "
                f"{found.min():.6g}, but none below 0 and a sum of 1, or all zeros, were expected; normalise them."
            )
        return found

    def _filled(self, rule: str, state: np.ndarray, size: int, dtype: np.dtype[Any]) -> np.ndarray:
        if count_arguments(getattr(self, rule)) == 2:
            out = np.zeros(size, dtype)
            self.rules.call(rule, state, out)
            return out
        found = np.asarray(self.rules.call(rule, state))
        if found.shape != (size,) or not np.can_cast(found.dtype, dtype, "same_kind"):
            raise InvalidProblem(
                f"{rule} of {self.label} returned shape {found.shape} and type {found.dtype}, but shape ({size},) and "
                f"type {dtype} was expected; correct it."
            )
        return found.astype(dtype)


def _is_index(value: Any, size: int) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= int(value) < size


def _check_rule(rule: Any, what: str, least: int, most: int, *, optional: bool) -> None:
    if rule is None and optional:
        return
    count = count_arguments(rule) if callable(rule) else -1
    expected = f"{least}" if least == most else f"{least} or {most}"
    check(rule, what, f"a function of {expected} arguments", least <= count <= most)


def _check_returns(returns: Any) -> None:
    good = returns is None or (
        isinstance(returns, tuple)
        and len(returns) == 2
        and all(is_number(bound) for bound in returns)
        and returns[0] < returns[1]
    )
    check(returns, "returns", "None or (least, largest)", good)
