"""User functions and the arguments that they ask for.

A dynamics function is written ``f(x, u)``; it receives the time or the parameters as well when it names them ``t`` or
``p``. `UserFunction` reads the signature once and afterwards picks, from all values on offer, those the function wants.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trajopt.errors import InvalidProblem

STAGE = (("x", "u"), ("t", "p"))
"""Leading and optional arguments of dynamics, stage costs, path constraints and integrands."""

BATCH = (("x", "u"), ("t", "p", "rng"))
"""Leading and optional arguments of dynamics that step a batch of states at once."""

TERMINAL = (("x",), ("t", "p"))
"""Leading and optional arguments of terminal costs and terminal constraints."""

BOUNDARY = (("x0", "xf"), ("t0", "tf", "p"))
"""Leading and optional arguments of boundary constraints."""

LINK = (("xf", "x0"), ("tf", "t0", "p"))
"""Leading and optional arguments of links between phases: the end of one, the start of another."""


@dataclass(frozen=True)
class UserFunction:
    """A function of the user's with the names of the arguments that it takes.

    Attributes
    ----------
    function
        The plain NumPy function.
    arguments
        Names of its arguments in order, for example ``("x", "u", "p")``.
    role
        What it is for, as messages call it: ``dynamics``, ``stage_cost``, ``path constraint 'rail'``.
    """

    function: Callable[..., Any]
    arguments: tuple[str, ...]
    role: str

    @classmethod
    def read(cls, function: Any, kind: tuple[tuple[str, ...], tuple[str, ...]], role: str) -> UserFunction:
        """Read the signature of ``function``; ``kind`` is `STAGE`, `BATCH`, `TERMINAL` or `BOUNDARY`."""
        leading, optional = kind
        if not callable(function):
            raise InvalidProblem(
                f"{role} is {function!r}, but a function of ({', '.join(leading)}) was expected; pass a callable."
            )
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # builtins and ufuncs have no readable signature
            return cls(function, leading, role)
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        takes_any_number = any(p.kind is p.VAR_POSITIONAL for p in parameters)
        extra = positional[len(leading) :]
        unknown = [p.name for p in extra if p.name not in optional and p.default is p.empty]
        unknown += [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
        if (len(positional) < len(leading) and not takes_any_number) or unknown:
            given = ", ".join(p.name for p in parameters)
            raise InvalidProblem(
                f"{role} takes ({given}), but ({', '.join(leading)}) was expected, followed if needed by "
                f"{' or '.join(optional)} under just these names; change its signature."
            )
        return cls(function, leading + _wanted(extra, optional), role)

    def __call__(self, values: Mapping[str, Any]) -> Any:
        """Call the function with the arguments that it takes, out of all ``values``."""
        return self.function(*(values[name] for name in self.arguments))


def _wanted(extra: list[inspect.Parameter], optional: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the optional arguments asked for, up to the first one that is the function's own default."""
    names: list[str] = []
    for parameter in extra:
        if parameter.name not in optional:
            break  # `lambda x, u, gain=gain: ...` keeps its own default, and all that stand behind it
        names.append(parameter.name)
    return tuple(names)


def count_arguments(function: Callable[..., Any]) -> int:
    """How many arguments a function takes by position, be it plain or compiled by Numba."""
    return len(inspect.signature(getattr(function, "py_func", function)).parameters)
