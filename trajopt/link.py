"""Links: what ties the end of one phase of a problem to the start of another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray

from trajopt.constraints import check_order, expand
from trajopt.errors import InvalidProblem
from trajopt.problem import Problem
from trajopt.signature import LINK, UserFunction

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, init=False)
class Link:
    """lower <= b(xf, x0[, tf][, t0][, p]) <= upper, with ``xf``, ``tf`` the end of a phase and ``x0``, ``t0`` a start.

    Parameters
    ----------
    first, second
        Names of the phase that ends and of the one that starts; any two, or the same twice for a periodic motion.
    b
        A function that returns a number or a vector; or the names of states that go on unchanged; or None for all
        states that both phases have, by name, or by position if the names differ and the numbers are equal.
    lower, upper
        Limits of the function, numbers or one for each row; for states that go on, of how much they jump.
    name
        What reports call it; default "first to second".
    time
        Whether the second phase starts when the first ends. That is so for links forward in the sequence alone, and
        for continuous time alone: discrete phases count their steps from zero.

    Raises
    ------
    InvalidProblem
        When an argument cannot mean anything.
    """

    first: str
    second: str
    b: UserFunction | tuple[str, ...] | None
    lower: Any
    upper: Any
    name: str
    time: bool = field(default=True, kw_only=True)

    def __init__(
        self,
        first: str,
        second: str,
        b: Callable[..., Any] | Sequence[str] | None = None,
        lower: Any = 0.0,
        upper: Any = 0.0,
        name: str | None = None,
        *,
        time: bool = True,
    ) -> None:
        for phase in (first, second):
            if not isinstance(phase, str):
                raise InvalidProblem(
                    f"a Link was given {phase!r}, but the name of a phase was expected; give its name."
                )
        chosen = f"{first} to {second}" if name is None else name
        if b is not None and not callable(b):
            listed = isinstance(b, Sequence) and not isinstance(b, str)
            if not listed or not len(b) or not all(isinstance(state, str) for state in b):
                raise InvalidProblem(
                    f"link {chosen!r} got b={b!r}, but a function of (xf, x0), a list of names of states or None was "
                    "expected; correct it."
                )
            b = tuple(b)
        if not isinstance(time, bool):
            raise InvalidProblem(f"link {chosen!r} got time={time!r}, but True or False was expected; correct it.")
        read = UserFunction.read(b, LINK, f"link {chosen!r}") if callable(b) else b
        values = {"first": first, "second": second, "b": read, "lower": lower, "upper": upper, "name": chosen}
        for key, value in (values | {"time": time}).items():
            object.__setattr__(self, key, value)


@dataclass(frozen=True, eq=False)
class Joint:
    """Rows of one kind that a link stands for, between phases by their numbers.

    Attributes
    ----------
    first, second
        Numbers of the phases.
    function
        Of (xf, x0) and whatever else it takes; returns the rows.
    lower, upper
        As the user gave them, for `expand`.
    name
        Of the link.
    kind
        "states" that go on, "time" that goes on, or a "function" of the user's.
    rows
        What reports call each row; None where that follows from the number of rows.
    carried
        Pairs of entries of the states, before and after, that go on; for a function those that a guess carries over.
    """

    first: int
    second: int
    function: UserFunction
    lower: Any
    upper: Any
    name: str
    kind: Literal["states", "time", "function"] = "function"
    rows: tuple[str, ...] | None = None
    carried: tuple[tuple[int, int], ...] = ()

    def limits(self, rows: int) -> tuple[Array, Array]:
        """Lower and upper limits, each of shape (rows,)."""
        lower = expand(self.lower, rows, -np.inf, f"lower limit of link {self.name!r}")
        upper = expand(self.upper, rows, np.inf, f"upper limit of link {self.name!r}")
        check_order(lower, upper, f"link {self.name!r}")
        return lower, upper

    def names(self, rows: int) -> tuple[str, ...]:
        """What reports call each row."""
        if self.rows is not None:
            return self.rows
        return (self.name,) if rows == 1 else tuple(f"{self.name}[{row}]" for row in range(rows))

    def size(self, xf: Array, tf: float, lower: Array, upper: Array) -> Array:
        """To what violations are relative, as many as rows.

        What goes on is measured as defects are, by the size of what it continues; a function as those of other
        constraints, by its limits; and nothing by less than one.
        """
        if self.kind == "states":
            return np.maximum(1.0, np.abs(xf[[i for i, _ in self.carried]]))
        if self.kind == "time":
            return np.maximum(1.0, np.abs([tf]))
        limits = np.abs(np.stack([lower, upper]))
        return np.maximum(1.0, np.where(np.isfinite(limits), limits, 0.0).max(axis=0))


def state_joint(link: Link, first: int, second: int, phases: Sequence[Problem]) -> Joint:
    """What a link says of the states."""
    names = phases[first].dynamics.states
    if isinstance(link.b, UserFunction):
        carried = _common(names, phases[second].dynamics.states)
        return Joint(first, second, link.b, link.lower, link.upper, link.name, carried=tuple(carried))
    pairs = _pairs(link, link.b, phases[first], phases[second])
    before, after = [i for i, _ in pairs], [j for _, j in pairs]
    going_on = UserFunction.read(lambda xf, x0: x0[after] - xf[before], LINK, f"link {link.name!r}")
    rows = tuple(f"{link.name}: {names[i]}" for i in before)
    return Joint(first, second, going_on, link.lower, link.upper, link.name, "states", rows, tuple(pairs))


def time_joint(link: Link, first: int, second: int) -> Joint:
    """Say that the second phase starts when the first ends."""
    following = UserFunction.read(lambda xf, x0, tf, t0: t0 - tf, LINK, f"link {link.name!r}")
    return Joint(first, second, following, 0.0, 0.0, link.name, "time", (f"{link.name}: time",))


def _pairs(link: Link, named: tuple[str, ...] | None, first: Problem, second: Problem) -> list[tuple[int, int]]:
    """Entries of the states, before and after, that go on."""
    before, after = first.dynamics.states, second.dynamics.states
    for name, states in ((first.name, before), (second.name, after)):
        for state in named or ():
            if state not in states:
                raise InvalidProblem(
                    f"link {link.name!r} says that {state!r} goes on, but phase {name!r} has {', '.join(states)}; "
                    "correct the name, or give a function b(xf, x0)."
                )
    if named is not None:
        return [(before.index(state), after.index(state)) for state in named]
    common = _common(before, after)
    if not common or (len(before) != len(after) and (_numbered(before) or _numbered(after))):
        raise InvalidProblem(
            f"link {link.name!r} joins {len(before)} states ({', '.join(before)}) to {len(after)} "
            f"({', '.join(after)}), but equal names or equal numbers were expected; give a function b(xf, x0), or name "
            "the states that go on."
        )
    return common


def _common(before: tuple[str, ...], after: tuple[str, ...]) -> list[tuple[int, int]]:
    """Entries of equal names; where there are none, all by position if there are as many."""
    named = [(before.index(state), after.index(state)) for state in before if state in after]
    by_position = [(i, i) for i in range(len(before))] if len(before) == len(after) else []
    return named or by_position


def _numbered(states: tuple[str, ...]) -> bool:
    """Whether the names are those that are given where the user gave none, which say nothing."""
    return states == tuple(f"x{i}" for i in range(len(states)))
