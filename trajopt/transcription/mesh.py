"""Where the knots of a transcription lie, and which scheme acts between them.

A mesh divides the horizon at marks 0 = m_0 < ... < m_N, in whatever unit: t_k = t_0 + T m_k / m_N. Whole numbers make
equal intervals and, in discrete time, exact times. Intervals may differ in length, and in their scheme if all of these
treat the knots alike: polynomials of different degrees, for example.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.transcription.interval import IntervalScheme

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True)
class Mesh:
    """Knots and a scheme for each interval; equal contents are equal meshes.

    Attributes
    ----------
    marks
        N+1 increasing numbers from 0.
    schemes
        N schemes.
    """

    marks: tuple[float, ...]
    schemes: tuple[IntervalScheme, ...]

    @classmethod
    def uniform(cls, steps: int, scheme: IntervalScheme) -> Mesh:
        """``steps`` equal intervals of one scheme."""
        return cls(tuple(range(steps + 1)), (scheme,) * steps)

    @property
    def steps(self) -> int:
        """Number of intervals N."""
        return len(self.schemes)

    @property
    def fractions(self) -> Array:
        """(N+1,) the knots as fractions of the horizon."""
        return np.array(self.marks, dtype=float) / self.marks[-1]

    @property
    def widths(self) -> Array:
        """(N,) lengths of the intervals as fractions of the horizon."""
        return np.diff(self.marks) / self.marks[-1]

    @property
    def places(self) -> Array:
        """(2, N) the mark at which each interval begins, and its length in the unit of the marks."""
        return np.stack([np.array(self.marks[:-1], dtype=float), np.diff(self.marks)])

    def groups(self) -> list[tuple[IntervalScheme, Index]]:
        """Each scheme that occurs, with the numbers of its intervals."""
        numbers: dict[IntervalScheme, list[int]] = {}
        for k, scheme in enumerate(self.schemes):
            numbers.setdefault(scheme, []).append(k)
        return [(scheme, np.array(chosen, dtype=np.intp)) for scheme, chosen in numbers.items()]

    def knots(self, start: float, duration: float) -> Array:
        """(N+1,) times of the knots."""
        return start + duration * np.array(self.marks, dtype=float) / self.marks[-1]
