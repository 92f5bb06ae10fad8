"""What a traced function is given: symbolic arguments, and parameters by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import casadi as ca
import numpy as np

from trajopt.errors import UnknownName
from trajopt.symbolic.traced import TracedArray, elements_of


@dataclasses.dataclass(frozen=True)
class Scalar:
    """An argument that the function sees as one number.

    Parameters
    ----------
    sx : casadi.SX, shape (1, 1)
    """

    sx: ca.SX

    def traced(self) -> Any:
        """Make what the function sees."""
        return elements_of(self.sx)[0, 0]


@dataclasses.dataclass(frozen=True)
class Vector:
    """An argument that the function sees as a one-dimensional array.

    Parameters
    ----------
    sx : casadi.SX, shape (n, 1)
        n may be 0.
    """

    sx: ca.SX

    def traced(self) -> TracedArray:
        """Make what the function sees, afresh, because the function may write into it."""
        return elements_of(self.sx).reshape(-1).view(TracedArray)


@dataclasses.dataclass(frozen=True)
class Matrix:
    """An argument that the function sees as a two-dimensional array.

    Parameters
    ----------
    sx : casadi.SX, shape (m, n)
    """

    sx: ca.SX

    def traced(self) -> TracedArray:
        """Make what the function sees, afresh, because the function may write into it."""
        return elements_of(self.sx).view(TracedArray)


class _UnknownParameterError(UnknownName, AttributeError):
    """Both, so that ``p["mas"]``, ``p.mas`` and ``hasattr(p, "mas")`` behave as Python expects."""


class Parameters(Mapping[str, Any]):
    """An immutable mapping from names to values, readable as ``p["mass"]`` and as ``p.mass``.

    Parameters
    ----------
    values : mapping
        Numbers, arrays (copied, then read-only), and before tracing `Scalar`, `Vector` and `Matrix`.

    Raises
    ------
    UnknownName
        On reading a name that is not there.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", {name: _frozen(value) for name, value in values.items()})

    def traced(self) -> Parameters:
        """Make what the function sees: the symbolic values traced, the others as they are."""
        return Parameters({name: traced_argument(value) for name, value in self.items()})

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            known = ", ".join(map(repr, self._values)) or "none at all"
            raise _UnknownParameterError(
                f"parameter {name!r} was read, but the problem's parameters are {known}; correct the name."
            ) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own probes, as of copy and pickle, are not misspelt parameters
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"parameters cannot be changed: give a new value of {name!r} to the problem or to solve")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Parameters({self._values!r})"


def _frozen(value: Any) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        value = value.copy() if isinstance(value, np.ndarray) else np.array(value)
        value.flags.writeable = False
    return value


def traced_argument(value: Any) -> Any:
    """Return what a traced function sees of an argument; numbers and arrays of numbers pass as they are."""
    return value.traced() if isinstance(value, (Scalar, Vector, Matrix, Parameters)) else value
