"""Costates and multipliers along a trajectory, moved to other knots: duals of a guess.

What a solver says by name (`Outcome.multipliers`) belongs to the knots, to the intervals, or to the whole; see
`AT_KNOTS` and `ON_INTERVALS`. Costates are the change of the cost with the state and keep their size on any grid.
Multipliers of what is repeated along the time stand for the time until the next knot and change with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

AT_KNOTS = frozenset({"costates", "added_costates", "state_bounds", "added_bounds", "added_states"})
"""(N+1, ...) each."""

ON_INTERVALS = frozenset({"path", "control_bounds"})
"""(N, ...) each."""

_SPREAD = frozenset({"path", "control_bounds", "state_bounds"})
"""What stands for the time until the next knot."""


def shift_multipliers(multipliers: Mapping[str, Any], intervals: int, steps: int) -> dict[str, Any]:
    """Those of the plan that remains after ``steps`` intervals, extended by the last ones."""
    shifted = dict(multipliers)
    for name, values in _along(multipliers, intervals).items():
        shifted[name] = values[np.minimum(np.arange(len(values)) + steps, len(values) - 1)]
    return shifted


def resample_multipliers(multipliers: Mapping[str, Any], old: Array, new: Array) -> dict[str, Any]:
    """Those at other knots: interpolated at knots, and taken from where the middle of an interval lies."""
    resampled = dict(multipliers)
    ratio = (new[-1] - new[0]) / (len(new) - 1) * (len(old) - 1) / (old[-1] - old[0])
    for name, values in _along(multipliers, len(old) - 1).items():
        columns = values.reshape(len(values), -1)
        if name in ON_INTERVALS:
            middle = 0.5 * (new[:-1] + new[1:])
            found = columns[np.clip(np.searchsorted(old, middle, side="right") - 1, 0, len(old) - 2)]
        else:
            found = np.stack([np.interp(new, old, column) for column in columns.T], axis=1).reshape(len(new), -1)
        resampled[name] = (ratio if name in _SPREAD else 1.0) * found.reshape(-1, *values.shape[1:])
    return resampled


def _along(multipliers: Mapping[str, Any], intervals: int) -> dict[str, Array]:
    """Those that belong to knots or intervals, and have one entry for each."""
    lengths = dict.fromkeys(AT_KNOTS, intervals + 1) | dict.fromkeys(ON_INTERVALS, intervals)
    return {
        name: np.asarray(values, float)
        for name, values in multipliers.items()
        if np.ndim(values) > 0 and len(values) == lengths.get(name) and np.size(values)
    }
