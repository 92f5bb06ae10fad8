"""Parameters of a problem: named numbers, fixed or chosen by the solver, packed into one vector for the solvers."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.horizon import Free


@dataclass(frozen=True)
class ParameterLayout:
    """Where each named parameter lies in the packed vector.

    Attributes
    ----------
    shapes
        NumPy shape of each parameter, in order.
    free
        Names of those that the solver chooses.
    """

    shapes: dict[str, tuple[int, ...]]
    free: frozenset[str]

    @classmethod
    def of(cls, parameters: Mapping[str, Any] | None) -> ParameterLayout:
        """Layout of what the user gave as ``parameters=``."""
        shapes, free = {}, set()
        for name, value in (parameters or {}).items():
            # Python normalises attribute names, so that p.µ asks for another letter than the one in the dictionary.
            if not isinstance(name, str) or not name.isidentifier() or unicodedata.normalize("NFKC", name) != name:
                raise InvalidProblem(
                    f"a parameter is called {name!r}, but a Python identifier in NFKC form was expected; rename it."
                )
            if isinstance(value, Free):
                free.add(name)
            shapes[name] = _numbers(name, value).shape
        return cls(shapes, frozenset(free))

    @property
    def size(self) -> int:
        """Length of the packed vector."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    @property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in the packed vector."""
        result, position = {}, 0
        for name, shape in self.shapes.items():
            result[name] = slice(position, position + int(np.prod(shape)))
            position = result[name].stop
        return result

    @property
    def free_entries(self) -> NDArray[np.intp]:
        """Indices in the packed vector of the entries that the solver chooses."""
        chosen = [np.arange(part.start, part.stop) for name, part in self.slices.items() if name in self.free]
        return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.intp)

    def pack(self, parameters: Mapping[str, Any] | None) -> NDArray[np.float64]:
        """One vector of all values; the guess stands for a `Free`."""
        parts = []
        for name, shape in self.shapes.items():
            value = _numbers(name, (parameters or {})[name])
            if value.shape != shape:
                raise InvalidProblem(
                    f"parameter {name!r} has shape {value.shape}, but the problem was made with shape {shape}; "
                    "give that shape, or make a new problem."
                )
            parts.append(value.ravel())
        return np.concatenate(parts) if parts else np.zeros(0)

    def unpack(self, vector: Any) -> dict[str, Any]:
        """Values by name: scalars, or arrays of their shape."""
        return {
            name: vector[part][0] if self.shapes[name] == () else vector[part].reshape(self.shapes[name])
            for name, part in self.slices.items()
        }

    def update(self, parameters: Mapping[str, Any] | None, changes: Mapping[str, Any] | None) -> dict[str, Any]:
        """``parameters`` with new numbers for some; an unknown name, or a change between fixed and free, is refused."""
        result = dict(parameters or {})
        for name, value in (changes or {}).items():
            if name not in self.shapes:
                raise InvalidProblem(
                    f"parameter {name!r} was given to solve, but the problem has "
                    f"{', '.join(map(repr, self.shapes)) or 'none'}; correct the name."
                )
            if isinstance(value, Free) != (name in self.free):
                raise InvalidProblem(
                    f"parameter {name!r} changes between fixed and free, but solve only takes new values; make a "
                    "variant with dataclasses.replace(problem, parameters=...)."
                )
            result[name] = value
        self.pack(result)
        return result

    def bounds(self, parameters: Mapping[str, Any] | None) -> NDArray[np.float64]:
        """Lower and upper limit of each entry of the packed vector, shape (2, size); a fixed one is its own limit."""
        lower, upper = [], []
        for name, shape in self.shapes.items():
            value = (parameters or {})[name]
            pair = (value.lower, value.upper) if isinstance(value, Free) else (value, value)
            lower.append(np.broadcast_to(np.asarray(pair[0], float), shape).ravel())
            upper.append(np.broadcast_to(np.asarray(pair[1], float), shape).ravel())
        return np.stack([np.concatenate(lower), np.concatenate(upper)]) if lower else np.zeros((2, 0))


def _numbers(name: str, value: Any) -> NDArray[np.float64]:
    """The value, or the guess of a `Free`, as finite numbers."""
    try:
        numbers = value.start if isinstance(value, Free) else np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidProblem(
            f"parameter {name!r} is {value!r}, but a number, an array or Free was expected; correct it."
        ) from error
    if numbers.ndim > 2:
        raise InvalidProblem(
            f"parameter {name!r} has shape {numbers.shape}, but a number, a vector or a matrix was expected; reshape "
            "it."
        )
    if not np.isfinite(numbers).all():
        raise InvalidProblem(f"parameter {name!r} is {value!r}, but finite numbers were expected; correct it.")
    return numbers
