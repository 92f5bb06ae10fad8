"""E feed-forward networks of one shape, evaluated and differentiated together: a layer is one batched product.

All weights lie in one vector, and so do their gradients, so that an optimiser's step is one call. The backward pass is
written out: at the sizes of learned dynamics it costs half of what recording and replaying a graph does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trajopt.learned_dynamics.expression import Affine

_aten: Any = torch.ops.aten  # its operators are made when they are looked up, which type checkers do not see

ACTIVATIONS = {
    "silu": (torch.nn.functional.silu, lambda gradient, before, after: _aten.silu_backward(gradient, before)),
    "tanh": (torch.tanh, lambda gradient, before, after: _aten.tanh_backward(gradient, after)),
    "relu": (torch.relu, lambda gradient, before, after: _aten.threshold_backward(gradient, after, 0.0)),
}
"""Activations, and their derivatives as functions of the gradient and of the values before and after."""


def initial_weights(
    sizes: Sequence[int], members: int, generator: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Weights (E, in, out) from normals of deviation 1 / (2 sqrt(in)) cut at two deviations (Chua et al. 2018)."""
    arrays = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        weight = generator.standard_normal((members, inputs, outputs))
        while (outside := np.abs(weight) > 2.0).any():
            weight[outside] = generator.standard_normal(int(outside.sum()))
        arrays[f"weight_{layer}"] = (weight / (2.0 * np.sqrt(inputs))).astype(np.float32)
        arrays[f"bias_{layer}"] = np.zeros((members, 1, outputs), dtype=np.float32)
    return arrays


def weight_shapes(sizes: Sequence[int], members: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of `initial_weights`."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, (inputs, outputs) in enumerate(pairwise(sizes)):
        shapes |= {f"weight_{layer}": (members, inputs, outputs), f"bias_{layer}": (members, 1, outputs)}
    return shapes


class BatchedNetwork:
    """Networks whose weights are given; they are copied.

    Parameters
    ----------
    arrays
        ``weight_0``: (E, in, out), ``bias_0``: (E, 1, out), ``weight_1``, ...; other names are ignored.
    activation
        Name of what stands between the layers.
    members
        Which of the networks, in this order; None for all.

    Attributes
    ----------
    vector, gradient
        All weights, and where `backward` writes their gradients, one vector each.
    """

    def __init__(self, arrays: Mapping[str, Any], activation: str, members: NDArray[np.intp] | None = None) -> None:
        count = sum(name.startswith("weight_") for name in arrays)
        names = [f"{kind}_{layer}" for layer in range(count) for kind in ("weight", "bias")]
        parts = [np.asarray(arrays[name], np.float32)[slice(None) if members is None else members] for name in names]
        self.vector = torch.from_numpy(np.concatenate([part.ravel() for part in parts]))
        self.gradient = torch.zeros_like(self.vector)
        self.names = names
        self.members = len(parts[0])
        self._weights, self._biases = _views(self.vector, parts)
        self._weight_gradients, self._bias_gradients = _views(self.gradient, parts)
        self.activation = activation
        self._activate, self._derive = ACTIVATIONS[activation]
        self._kept: list[tuple[Tensor, Tensor]] = []

    def forward(self, z: Tensor, *, keep: bool = False) -> Tensor:
        """Outputs (E, B, out) of inputs (E, B, in); ``keep`` what `backward` needs."""
        self._kept = [(z, z)] if keep else []
        last = len(self._weights) - 1
        for layer, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            before = torch.baddbmm(bias, z, weight)
            z = before if layer == last else self._activate(before)
            if keep and layer < last:
                self._kept.append((before, z))
        return z

    def backward(self, gradient: Tensor) -> None:
        """Write the gradients of all weights, given that of the outputs that `forward` kept its values for."""
        for layer in reversed(range(len(self._weights))):
            _, entered = self._kept[layer]
            torch.bmm(entered.transpose(1, 2), gradient, out=self._weight_gradients[layer])
            torch.sum(gradient, dim=1, keepdim=True, out=self._bias_gradients[layer])
            if layer:
                gradient = self._derive(torch.bmm(gradient, self._weights[layer].transpose(1, 2)), *self._kept[layer])

    def copy_members(self, source: Tensor, target: Tensor, chosen: Tensor) -> None:
        """Copy the weights of the members in the mask ``chosen`` (E,) between two vectors like this one's."""
        shapes = [view.shape for pair in zip(self._weights, self._biases, strict=True) for view in pair]
        sizes = [shape.numel() for shape in shapes]
        for shape, theirs, mine in zip(shapes, source.split(sizes), target.split(sizes), strict=True):
            mine.view(shape)[chosen] = theirs.view(shape)[chosen]

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The weights by name."""
        pairs = [view for pair in zip(self._weights, self._biases, strict=True) for view in pair]
        return {name: view.numpy().copy() for name, view in zip(self.names, pairs, strict=True)}


def _views(vector: Tensor, parts: Sequence[NDArray[Any]]) -> tuple[list[Tensor], list[Tensor]]:
    """Views of ``vector`` in the shapes of ``parts``: those of the weights, and those of the biases."""
    views = [piece.view(part.shape) for piece, part in zip(vector.split([p.size for p in parts]), parts, strict=True)]
    return views[0::2], views[1::2]


def as_layers(arrays: Mapping[str, Any], activation: str, members: Sequence[int], outputs: int) -> list[Affine | str]:
    """The mean over ``members`` of the first ``outputs`` outputs as one network: the members side by side."""
    count = sum(name.startswith("weight_") for name in arrays)
    layers: list[Affine | str] = []
    for layer in range(count):
        weights = [np.asarray(arrays[f"weight_{layer}"][m], dtype=float).T for m in members]
        biases = [np.asarray(arrays[f"bias_{layer}"][m, 0], dtype=float) for m in members]
        if layer == count - 1:
            weights, biases = [w[:outputs] / len(members) for w in weights], [b[:outputs] for b in biases]
            joined = np.concatenate(weights, axis=1) if layer else np.sum(weights, axis=0)
            layers.append(Affine(joined, np.mean(biases, axis=0)))
            continue
        weight = np.concatenate(weights) if layer == 0 else _block_diagonal(weights)
        layers += [Affine(weight, np.concatenate(biases)), activation]
    return layers


def _block_diagonal(blocks: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    rows, columns = np.sum([block.shape for block in blocks], axis=0)
    result = np.zeros((rows, columns))
    row = column = 0
    for block in blocks:
        result[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return result
