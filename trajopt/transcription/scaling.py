"""Variable scaling as a reversible transform of primal and dual quantities.

Optimisers see v = w / scale and rows g / unit. Scales are powers of two, so that scaling and unscaling are exact: a
number comes back with the very bits that it had.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scaling:
    """Scales of the variables and of the constraint rows.

    Attributes
    ----------
    variables
        (n,) positive: one scaled unit of each variable in its own unit.
    rows
        (m,) positive: the same for constraint rows.
    """

    variables: Array
    rows: Array

    @classmethod
    def identity(cls, variables: int, rows: int) -> Scaling:
        """No scaling at all."""
        return cls(np.ones(variables), np.ones(rows))

    def apply(self, w: Array) -> Array:
        """Variables, or limits of variables, in scaled units."""
        return w / self.variables

    def invert(self, v: Array) -> Array:
        """Scaled variables in their own units."""
        return v * self.variables

    def apply_rows(self, g: Array) -> Array:
        """Constraint rows, or their limits, in scaled units."""
        return g / self.rows

    def invert_rows(self, g: Array) -> Array:
        """Scaled constraint rows in their own units."""
        return g * self.rows

    def apply_variable_multipliers(self, multipliers: Array) -> Array:
        """Multipliers of variable bounds (cost per unit) for the scaled program (cost per scaled unit)."""
        return multipliers * self.variables

    def invert_variable_multipliers(self, multipliers: Array) -> Array:
        """Multipliers of the scaled program's bounds as cost per unit of the variable."""
        return multipliers / self.variables

    def apply_row_multipliers(self, multipliers: Array) -> Array:
        """Multipliers of rows (cost per unit) for the scaled program (cost per scaled unit)."""
        return multipliers * self.rows

    def invert_row_multipliers(self, multipliers: Array) -> Array:
        """Multipliers of the scaled program's rows as cost per unit of the row."""
        return multipliers / self.rows


def magnitude_scales(lower: Array, upper: Array, guess: Array) -> Array:
    """Scale of each quantity: the larger bound in magnitude if both are finite, else the largest value of the guess.

    Parameters
    ----------
    lower, upper
        (n,) bounds, infinite where free.
    guess
        (m, n) values along the guess.

    Returns
    -------
    numpy.ndarray
        (n,) powers of two. Bounds from 1/16 to 16 and guesses below 16 leave the scale at one: there is little to
        gain, and that a guess is small does not say that the answer is.
    """
    with np.errstate(invalid="ignore"):
        bounds = np.maximum(np.abs(lower), np.abs(upper))
    from_bounds = np.where(bounds > 0.0, np.where((bounds < 1 / 16) | (bounds > 16.0), bounds, 1.0), 1.0)
    along = np.max(np.abs(guess), axis=0, initial=0.0)
    size = np.where(np.isfinite(bounds), from_bounds, np.where(along > 16.0, along, 1.0))
    return np.exp2(np.round(np.log2(size)))
