"""Where tolerances come from: five rules, and no bare number.

1. *Exact*: the same operations on the same numbers give the same bits.
2. *Rounding*: k operations lose at most gamma_k = k eps / (1 - k eps) of the terms' size, times what the path
   amplifies.
3. *Truncation*: a difference or an integrator of order p leaves O(h^p); a central difference at its best step leaves
   eps^(2/3) of the function's size, and a measured order lies within a fifth of the true one.
4. *Optimality*: a solver that promises a decrement tau is within tau of the optimal cost J*; where the cost curves by
   at least m the control is within sqrt(2 tau / m). Rows that may be missed by tau_c are worth tau_c times their
   multipliers.
5. *Statistical*: a mean of n draws is within z sigma / sqrt(n); z makes a false alarm of the whole suite rarer than one
   in a million.

A `Tolerance` remembers its rule, and only tolerances can be compared with (`trajopt.testing.registry.close`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

EPSILON: Final = float(np.finfo(float).eps)
"""Relative spacing of floating-point numbers."""

FALSE_ALARMS: Final = 1e-6
"""Probability that any statistical comparison of a run of the suite fails by chance."""

ORDER_BAND: Final = 0.2
"""How far a measured order of convergence may lie below the true one: orders are whole numbers, and a fifth is what
terms of higher order leave over one halving (diffrax and SciML use 0.2 to 0.3)."""


class Rule(StrEnum):
    """Which argument a tolerance stands on."""

    EXACT = "exact"
    ROUNDING = "rounding"
    TRUNCATION = "truncation"
    OPTIMALITY = "optimality"
    STATISTICAL = "statistical"


@final
@dataclass(frozen=True, eq=False)
class Tolerance:
    """An allowed absolute difference and the rules that it stands on.

    Attributes
    ----------
    amount
        Absolute; a number, or an array that broadcasts against what is compared.
    rules
        Those of its terms.
    """

    amount: float | NDArray[np.float64]
    rules: frozenset[Rule]

    def __add__(self, other: Tolerance) -> Tolerance:
        return Tolerance(self.amount + other.amount, self.rules | other.rules)

    def __rmul__(self, factor: float) -> Tolerance:
        return Tolerance(factor * self.amount, self.rules)

    def __str__(self) -> str:
        return f"{float(np.max(self.amount)):.3g} ({' + '.join(sorted(self.rules))})"


EXACT: Final = Tolerance(0.0, frozenset({Rule.EXACT}))
"""No difference at all."""


def rounding(operations: float, size: ArrayLike = 1.0, amplification: float = 1.0) -> Tolerance:
    """What ``operations`` lose on terms of a ``size``, on a path that amplifies errors."""
    loss = operations * EPSILON
    if not loss < 1.0:
        raise ValueError(f"{operations:g} operations leave no digit.")
    largest = float(np.max(np.abs(np.asarray(size, float)), initial=0.0))
    return Tolerance(amplification * loss / (1.0 - loss) * largest, frozenset({Rule.ROUNDING}))


def difference_step(size: ArrayLike = 1.0) -> NDArray[np.float64]:
    """Step of a central difference at which truncation and rounding balance, for variables of a ``size``."""
    return EPSILON ** (1.0 / 3.0) * np.maximum(1.0, np.abs(np.asarray(size, float)))


def truncation(size: ArrayLike, order: int = 2, step: float | None = None) -> Tolerance:
    """What a formula of an ``order`` leaves at a ``step`` of a function of a ``size`` (its derivatives included).

    Without a step: what a central difference leaves at `difference_step`, eps^(2/3).
    """
    largest = float(np.max(np.abs(np.asarray(size, float)), initial=0.0))
    share = EPSILON ** (2.0 / 3.0) if step is None else step**order
    return Tolerance(share * largest, frozenset({Rule.TRUNCATION}))


def optimality(decrement: float, curvature: float | None = None) -> Tolerance:
    """How far the cost may be from the optimum, or with the least ``curvature`` of the cost how far the control."""
    amount = decrement if curvature is None else math.sqrt(2.0 * decrement / curvature)
    return Tolerance(amount, frozenset({Rule.OPTIMALITY}))


def statistical(deviation: ArrayLike, draws: float, comparisons: int) -> Tolerance:
    """How far a mean of ``draws`` with a standard ``deviation`` may be off, in a suite of so many ``comparisons``."""
    from scipy.special import ndtri  # noqa: PLC0415 - slow to import

    z = -float(ndtri(0.5 * FALSE_ALARMS / comparisons))
    return Tolerance(z * np.asarray(deviation, float) / math.sqrt(draws), frozenset({Rule.STATISTICAL}))
