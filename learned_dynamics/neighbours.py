"""Models that keep their data: averages of the changes of state seen near (x, u), with inputs at unit scale.

`NearestNeighbours` averages the k nearest with weights 1 / distance (Shepard 1968). `Kernel` averages all with Gaussian
weights exp(-|z - z_i|^2 / 2 h^2) (Nadaraya 1964, Watson 1964); its bandwidth h has the least squared error of
predicting every transition from the others. The deviation is that of the changes averaged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from scipy.spatial import cKDTree

from trajopt.learned_dynamics.data import Array, Scale, Transitions
from trajopt.learned_dynamics.model import LearnedDynamics
from trajopt.validation import check, check_whole, is_number

_BANDWIDTHS = np.geomspace(0.02, 5.0, 24)
"""Tried for `Kernel`, in deviations of the inputs: from a fiftieth to where all weigh alike, in steps of a quarter."""

_BLOCK = 1 << 22
"""Distances held in memory at a time, 32 MB."""


def _stored(data: Transitions) -> dict[str, Any]:
    scale = Scale.of(data.inputs)
    return {"inputs": scale.apply(data.inputs), "changes": data.changes, **scale.arrays("input")}


def _shapes(model: LearnedDynamics, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    count, size = len(arrays["inputs"]), model.nx + model.nu
    if not count:
        raise ValueError("it holds no transitions")
    return {
        "inputs": (count, size),
        "changes": (count, model.nx),
        "input_mean": (size,),
        "input_deviation": (size,),
    }


def _average(weights: Array, changes: Array) -> tuple[Array, Array]:
    """Mean and deviation of changes under weights that sum to one: (K, k), and (K, k, nx) or (k, nx)."""
    equation = "ki,kij->kj" if changes.ndim == 3 else "ki,ij->kj"
    mean = np.einsum(equation, weights, changes)
    difference = changes - mean[:, None]
    return mean, np.sqrt(np.einsum("ki,kij->kj", weights, difference**2))


@final
@dataclass(frozen=True, init=False)
class NearestNeighbours(LearnedDynamics):
    """Dynamics that repeat what happened at the nearest transitions.

    Parameters
    ----------
    nx, nu, states, controls
        As for `DiscreteDynamics`.
    neighbours
        How many are averaged, fewer when there are fewer data.
    """

    neighbours: int

    def __init__(
        self,
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
        neighbours: int = 5,
    ) -> None:
        check_whole(neighbours, "neighbours", 1)
        super().__init__(nx, nu, states, controls, neighbours=int(neighbours))

    def _fit(self, data: Transitions, generator: np.random.Generator, callback: Any) -> dict[str, Any]:
        return _stored(data)

    def _tree(self) -> cKDTree:
        """The search tree of the data, made once."""
        if "_kept_tree" not in self.__dict__:
            object.__setattr__(self, "_kept_tree", cKDTree(self.learned["inputs"]))
        return self.__dict__["_kept_tree"]

    def _predict(self, x: Array, u: Array, t: Any) -> tuple[Array, Array]:
        z = Scale.read(self.learned, "input").apply(np.concatenate([x, u], axis=1))
        count = min(self.neighbours, len(self.learned["inputs"]))
        known = np.isfinite(z).all(axis=1)  # a tree refuses other numbers; they stay without an answer
        distance, nearest = self._tree().query(np.where(known[:, None], z, 0.0), k=[*range(1, count + 1)])
        with np.errstate(divide="ignore", invalid="ignore"):
            weights = np.where(distance[:, :1] == 0.0, distance == 0.0, 1.0 / distance)
        weights /= weights.sum(axis=1, keepdims=True)
        mean, deviation = _average(weights, self.learned["changes"][nearest])
        missing = np.where(known, 0.0, np.nan)[:, None]
        return x + mean + missing, deviation + missing

    def _expected(self, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        return _shapes(self, arrays)


@final
@dataclass(frozen=True, init=False)
class Kernel(LearnedDynamics):
    """Dynamics that average all transitions with Gaussian weights; smooth in x and u.

    Parameters
    ----------
    nx, nu, states, controls
        As for `DiscreteDynamics`.
    bandwidth
        Width of the weights in deviations of the inputs; None for the one that predicts left-out data best.
    """

    bandwidth: float | None

    def __init__(
        self,
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
        bandwidth: float | None = None,
    ) -> None:
        positive = bandwidth is None or (is_number(bandwidth) and bandwidth > 0.0)
        check(bandwidth, "bandwidth", "a positive number, or None", positive)
        super().__init__(nx, nu, states, controls, bandwidth=bandwidth)

    def _fit(self, data: Transitions, generator: np.random.Generator, callback: Any) -> dict[str, Any]:
        stored = _stored(data)
        width = self.bandwidth
        if width is None:
            kept = generator.permutation(len(data))[:1000]  # squared cost; a thousand settle one number
            inputs, changes = stored["inputs"][kept], stored["changes"][kept] / Scale.of(stored["changes"]).deviation
            errors = [_left_out_error(inputs, changes, trial) for trial in _BANDWIDTHS]
            width = float(_BANDWIDTHS[int(np.argmin(errors))])
        return stored | {"width": np.array(width)}

    def _predict(self, x: Array, u: Array, t: Any) -> tuple[Array, Array]:
        z = Scale.read(self.learned, "input").apply(np.concatenate([x, u], axis=1))
        inputs, changes = self.learned["inputs"], self.learned["changes"]
        mean, deviation = np.empty_like(x), np.empty_like(x)
        rows = max(1, _BLOCK // (len(inputs) * max(z.shape[1], changes.shape[1])))
        for first in range(0, len(z), rows):
            part = slice(first, first + rows)
            weights = _weights(z[part], inputs, float(self.learned["width"]))
            mean[part], deviation[part] = _average(weights, changes)
        return x + mean, deviation

    def _expected(self, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        if not (arrays["width"] > 0.0).all():
            raise ValueError("its width is not positive")
        return _shapes(self, arrays) | {"width": ()}


def _weights(z: Array, inputs: Array, width: float, own: float = 0.0) -> Array:
    """Gaussian weights that sum to one, (K, n); ``own`` is added to the squared distance of a row to itself."""
    squared = np.sum((z[:, None] - inputs) ** 2, axis=2)
    if own:
        squared = squared + np.diag(np.full(len(z), own))
    squared = squared - squared.min(axis=1, keepdims=True)  # far from all data the nearest ones still count
    with np.errstate(under="ignore"):
        weights = np.exp(-0.5 * squared / width**2)
    return weights / weights.sum(axis=1, keepdims=True)


def _left_out_error(inputs: Array, changes: Array, width: float) -> float:
    """Mean squared error of predicting each row from the others; of a single row from itself."""
    own = np.inf if len(inputs) > 1 else 0.0
    return float(np.mean((_weights(inputs, inputs, width, own) @ changes - changes) ** 2))
