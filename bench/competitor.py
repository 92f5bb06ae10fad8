"""What every solver under test looks like to the benchmark."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray


class Unavailable(Exception):
    """A competitor that is not installed, or cannot state the problem; the text is for the table."""


@dataclass(frozen=True)
class Answer:
    """What one solve returned: ``status`` in its own words, states (N+1, nx), controls (N, nu) and iterations."""

    solved: bool
    status: str
    x: NDArray[np.float64]
    u: NDArray[np.float64]
    iterations: int


class Competitor(ABC):
    """A solver with one problem loaded; `solve` is what is timed, and always starts from the same guess."""

    name: ClassVar[str]

    @abstractmethod
    def solve(self) -> object:
        """Solve from the guess; the result goes to `read`."""

    @abstractmethod
    def read(self, result: object) -> Answer:
        """Turn the result of `solve` into an answer; not timed."""
