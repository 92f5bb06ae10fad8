"""Points at which functions are looked at, and central differences of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from trajopt.testing.tolerances import difference_step

Array = NDArray[np.float64]


def probe_points(size: int, centre: Array, spread: Array, count: int) -> Iterator[Array]:
    """Points (size,) that tell entries apart, as sif2jax probes its problems, and random ones about a centre.

    0101..., 1010..., 0123... and the like, as multiples of the spread from the centre: functions that mix up two
    entries agree on zeros and ones.
    """
    order = np.arange(size)
    for pattern in (np.zeros(size), np.ones(size), order % 2, (order + 1) % 2, order / max(1, size - 1)):
        yield centre + 0.5 * spread * pattern
    generator = np.random.default_rng(0)
    for _ in range(count):
        yield centre + spread * generator.uniform(-0.5, 0.5, size)


def central_differences(function: Callable[[Array], Array], point: Array) -> Array:
    """(rows, size) derivatives of a function of a vector at a point (size,)."""
    steps = difference_step(point)
    columns = []
    for k, step in enumerate(steps):
        ends = []
        for sign in (1.0, -1.0):
            moved = point.copy()
            moved[k] += sign * step
            ends.append((np.atleast_1d(np.asarray(function(moved), float)), moved[k]))
        columns.append((ends[0][0] - ends[1][0]) / (ends[0][1] - ends[1][1]))
    return np.stack(columns, axis=-1)
