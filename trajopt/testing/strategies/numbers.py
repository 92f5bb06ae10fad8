"""Numbers on dyadic grids, and matrices whose properties hold by construction.

Quarter steps are exact in binary, so that sums and products of a few of them are exact as well, scaling by powers of
two changes no digit, and what Hypothesis shrinks to can be read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Array = NDArray[np.float64]


def grid(largest: float = 2.0, *, step: float = 0.25, smallest: float | None = None) -> st.SearchStrategy[float]:
    """Multiples of ``step`` from ``smallest`` (default: -largest) to ``largest``; they shrink towards zero."""
    lowest = -largest if smallest is None else smallest
    return st.integers(round(lowest / step), round(largest / step)).map(lambda count: count * step)


QUARTERS = np.array([0.0, 0.25, -0.25, 0.5, -0.5, 0.75, -0.75, 1.0, -1.0])
"""In the order in which they are the simpler ones."""


@final
class Quarters:
    """Numbers from -1 to 1 in quarter steps, one of each byte, taken one array after the other."""

    def __init__(self, drawn: bytes) -> None:
        self._numbers, self._taken = QUARTERS[np.frombuffer(drawn, np.uint8) % len(QUARTERS)], 0

    def take(self, *shape: int) -> Array:
        """The next ones, in this shape."""
        begin = self._taken
        self._taken += int(np.prod(shape))
        return self._numbers[begin : self._taken].reshape(shape)

    def gram(self, size: int) -> Array:
        """L L', L lower triangular of the next ones: positive semidefinite, its trace at most size (size + 1) / 2."""
        L = np.zeros((size, size))
        L[np.tril_indices(size)] = self.take(size * (size + 1) // 2)
        return L @ L.T


def quarters(count: int) -> st.SearchStrategy[Quarters]:
    """So many numbers, all of one draw: Hypothesis shrinks a string of bytes far faster than as many draws."""
    return st.binary(min_size=count, max_size=count).map(Quarters)


def arrays(shape: int | Sequence[int]) -> st.SearchStrategy[Array]:
    """Arrays in quarter steps from -1 to 1."""
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    return quarters(int(np.prod(sizes))).map(lambda numbers: numbers.take(*sizes))


def tame_matrices(size: int) -> st.SearchStrategy[Array]:
    """(size, size) in quarter steps, the magnitudes of each row adding up to one at most: powers do not grow."""
    return arrays((size, size)).map(tame)


def tame(A: Array) -> Array:
    """The same of any square matrix of entries up to one."""
    return np.trunc(4.0 * A / len(A)) / 4.0


def positive_definite_matrices(size: int, *, smallest: float = 0.5) -> st.SearchStrategy[Array]:
    """Symmetric L L' + smallest I: no eigenvalue below ``smallest``, none above smallest + size (size + 1) / 2."""
    count = size * (size + 1) // 2
    return quarters(count).map(lambda numbers: numbers.gram(size) + smallest * np.eye(size))
