"""What an agent has seen: transitions with rewards and ends, in the order in which they came."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trajopt.learned_dynamics.ensemble import ProbabilisticEnsemble

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Experience:
    """n transitions.

    Attributes
    ----------
    x, u, x_next
        (n, nx), (n, nu) and (n, nx).
    reward
        (n,) numbers.
    terminated
        (n,) whether the episode ended there by itself; where it was cut off it did not.
    """

    x: Array
    u: Array
    x_next: Array
    reward: Array
    terminated: NDArray[np.bool_]

    @classmethod
    def empty(cls, nx: int, nu: int) -> Self:
        """No transitions yet."""
        return cls(np.zeros((0, nx)), np.zeros((0, nu)), np.zeros((0, nx)), np.zeros(0), np.zeros(0, dtype=bool))

    @classmethod
    def of(cls, rows: list[tuple[Any, ...]]) -> Self:
        """Transitions from one row each, (x, u, x_next, reward, terminated)."""
        return cls(*(np.array(column) for column in zip(*rows, strict=True)))

    def __len__(self) -> int:
        return len(self.x)

    def joined(self, later: Self) -> Self:
        """These and later ones."""
        pairs = ((getattr(self, entry.name), getattr(later, entry.name)) for entry in fields(self))
        return type(self)(*(np.concatenate(pair) for pair in pairs))

    def fit(
        self, model: ProbabilisticEnsemble, seed: int, callback: Callable[[Any], object] | None
    ) -> ProbabilisticEnsemble:
        """The model fitted to all of them, with the heads that it has."""
        heads = {"reward": self.reward} if model.reward else {}
        heads |= {"terminated": self.terminated} if model.termination else {}
        # The list that collects epochs returns None, so that it never ends the fit.
        return model.fit(self.x, self.u, self.x_next, **heads, seed=seed, callback=callback)
