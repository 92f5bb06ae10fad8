"""Measures of risk: one number for the merits of a plan's particles.

Each is a mean that leans towards bad outcomes; for equal merits all of them are that merit. A particle that is not
finite has merit infinity, and makes the sample's merit infinite under every measure.

References: Rockafellar, Uryasev, Optimization of Conditional Value-at-Risk, 2000; Howard, Matheson, Risk-Sensitive
Markov Decision Processes, 1972.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from trajopt.validation import check, check_positive, is_number

Array = NDArray[np.float64]


class Risk(ABC):
    """What the merits of several rollouts of one plan are worth together."""

    @abstractmethod
    def aggregate(self, merits: Array) -> Array:
        """(K,) numbers for the merits (P, K) of P particles of K plans."""

    @abstractmethod
    def weights(self, merits: Array) -> Array:
        """(P, K) derivatives of those numbers by the merits; one of them where there is a kink. Each column sums to 1.

        A column with a merit that is not finite may hold anything.
        """


@final
@dataclass(frozen=True)
class Mean(Risk):
    """The mean over the particles."""

    def aggregate(self, merits: Array) -> Array:
        """See `Risk.aggregate`."""
        return merits.mean(axis=0)

    def weights(self, merits: Array) -> Array:
        """See `Risk.weights`."""
        return np.full(merits.shape, 1.0 / len(merits))


@final
@dataclass(frozen=True)
class Worst(Risk):
    """The worst particle."""

    def aggregate(self, merits: Array) -> Array:
        """See `Risk.aggregate`."""
        return merits.max(axis=0)

    def weights(self, merits: Array) -> Array:
        """See `Risk.weights`."""
        return (np.arange(len(merits))[:, None] == merits.argmax(axis=0)).astype(float)


@final
@dataclass(frozen=True)
class CVaR(Risk):
    """Conditional value at risk: the mean over the worst share of the particles.

    Parameters
    ----------
    level
        That share, from 0 (the worst particle) to 1 (the mean). A particle on the edge counts in part, so that the
        measure is continuous in the level.
    """

    level: float

    def __post_init__(self) -> None:
        check(self.level, "level", "a number from 0 to 1", is_number(self.level) and 0.0 <= self.level <= 1.0)

    def aggregate(self, merits: Array) -> Array:
        """See `Risk.aggregate`."""
        shares = self._shares(len(merits))
        return shares @ np.sort(merits, axis=0)[::-1][: len(shares)]

    def weights(self, merits: Array) -> Array:
        """See `Risk.weights`."""
        shares, result = self._shares(len(merits)), np.zeros(merits.shape)
        worst = np.argsort(merits, axis=0, kind="stable")[::-1][: len(shares)]
        np.put_along_axis(result, worst, np.broadcast_to(shares[:, None], worst.shape), axis=0)
        return result

    def _shares(self, particles: int) -> Array:
        """What the worst particles count, the worst first."""
        count = max(1.0, self.level * particles)
        return np.minimum(1.0, count - np.arange(math.ceil(count))) / count


@final
@dataclass(frozen=True)
class Exponential(Risk):
    """The certainty equivalent log(mean(exp(rate S))) / rate: mean plus rate / 2 times variance, to second order.

    Parameters
    ----------
    rate
        Positive, in one over the unit of the cost.
    """

    rate: float

    def __post_init__(self) -> None:
        check_positive(self.rate, "rate")

    def aggregate(self, merits: Array) -> Array:
        """See `Risk.aggregate`; shifted by the worst merit, so that nothing overflows."""
        worst = merits.max(axis=0)
        finite = np.where(np.isfinite(worst), worst, 0.0)
        with np.errstate(over="ignore"):
            return finite + np.log(np.exp(self.rate * (merits - finite)).mean(axis=0)) / self.rate

    def weights(self, merits: Array) -> Array:
        """See `Risk.weights`."""
        with np.errstate(invalid="ignore"):
            powers = np.exp(self.rate * (merits - merits.max(axis=0)))
            return powers / powers.sum(axis=0)
