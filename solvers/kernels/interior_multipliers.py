"""Multipliers of the interior-point method in the problem's own units: what a solution carries, and a warm start takes.

Positive ones press on upper limits. ``costates`` (N+1, nx), ``path`` (N, rows), ``terminal``, ``boundary``,
``integral``, ``path_end`` (rows that hold at the final state as well), ``state_bounds`` (N+1, nx), ``control_bounds``
(N, nu); and, where the problem got more states (`trajopt.transcription.augmentation`), theirs: ``added_costates``,
``added_bounds``, and the values that these states have, ``added_states``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.solvers.kernels.interior_instance import Instance
from trajopt.transcription.augmentation import Augmentation

Array = NDArray[np.float64]


def read_multipliers(instance: Instance, augmentation: Augmentation) -> dict[str, Array]:
    """Costates and multipliers by kind."""
    steps, nx, _, nr = instance.sizes
    data, point, old = instance.data, instance.point, augmentation.original.nx
    rows, scale = len(data.kind), data.cost_scale[0]
    y = point.m[:rows] * data.row_scale / scale
    zx, zu = instance.split((point.zu - point.zl) / scale)
    costates = np.vstack([_first_costate(instance, zx[0]), point.m[rows:].reshape(steps, nx) / scale])
    found = {
        "costates": costates[:, :old],
        "path": y[: steps * nr].reshape(steps, nr),
        **dict(zip(_END, np.split(y[steps * nr :], _ends(augmentation)), strict=True)),
        "state_bounds": zx[:, :old],
        "control_bounds": zu,
    }
    if nx > old:
        found |= {"added_costates": costates[:, old:], "added_bounds": zx[:, old:]}
        found["added_states"] = instance.trajectory()[0][:, old:]
    return found


_END = ("terminal", "boundary", "integral", "path_end")


def _ends(augmentation: Augmentation) -> NDArray[np.intp]:
    """Where the kinds of rows at the end begin."""
    model = augmentation.original.model
    return np.cumsum([len(model.terminal), len(model.boundary), len(model.integral)])


def _first_costate(instance: Instance, bounds: Array) -> Array:
    """The change of the cost with the initial state: what the Lagrangian's gradient leaves, as no gap is before."""
    _, nx, nu, nr = instance.sizes
    width, rows, m, scale = nx + nu, len(instance.data.kind), instance.point.m, instance.data.cost_scale[0]
    F = instance.expansion.F[: nx * width].reshape(nx, width)[:, :nx]
    C = instance.expansion.C[: nr * width].reshape(nr, width)[:, :nx]
    return (instance.expansion.g[:nx] + m[rows : rows + nx] @ F + m[:nr] @ C) / scale + bounds


def write_multipliers(instance: Instance, augmentation: Augmentation, multipliers: Mapping[str, Any]) -> bool:
    """Put multipliers of a guess into the point, unscaled; False, and nothing done, unless all are there and fit."""
    steps, nx, nu, nr = instance.sizes
    old, data, point = augmentation.original.nx, instance.data, instance.point
    sizes = np.diff([0, *_ends(augmentation), len(data.end_rows)])
    shapes: dict[str, tuple[int, ...]] = {
        "costates": (steps + 1, old), "path": (steps, nr), "state_bounds": (steps + 1, old),
        "control_bounds": (steps, nu), **{name: (int(size),) for name, size in zip(_END, sizes, strict=True)},
    }  # fmt: skip
    if nx > old:
        shapes |= dict.fromkeys(("added_costates", "added_bounds", "added_states"), (steps + 1, nx - old))
    for name, shape in shapes.items():
        if np.shape(multipliers.get(name)) != shape or not np.isfinite(multipliers[name]).all():
            return False
    found = {name: np.asarray(multipliers[name], float) for name in shapes}
    costates, bounds = found["costates"], found["state_bounds"]
    if nx > old:
        costates = np.hstack([costates, found["added_costates"]])
        bounds = np.hstack([bounds, found["added_bounds"]])
        instance.place_states(found["added_states"], old)
    rows, n = len(data.kind), len(data.reference)
    point.m[:rows] = np.concatenate([found["path"].ravel(), *(found[name] for name in _END)])
    point.m[rows:] = costates[1:].ravel()
    pressing = np.concatenate([np.hstack([bounds[:-1], found["control_bounds"]]).ravel(), bounds[-1]])
    np.maximum(pressing, 0.0, out=point.zu[:n])
    np.maximum(-pressing, 0.0, out=point.zl[:n])
    return True
