"""A network with two heads: what to do in a state, and what the state is worth.

The perceptron of `batched_network` with A + 1 outputs: logits of the actions' probabilities p, and a number whose
hyperbolic tangent, times the greatest value that there is, is the value v. It is trained to targets (pi, z) by

    - sum pi log p + w (v - z)^2,

whose derivatives by the outputs are p - pi and 2 w (v - z) dv. Illegal actions are left out of p.

Reference: Silver et al., Science 362 (2018).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trajopt.learned_dynamics.batched_network import BatchedNetwork, initial_weights, weight_shapes
from trajopt.learned_dynamics.extras import one_thread

_EXCLUDED = -1e9
"""Logit of an illegal action: its probability is zero in float32, and zero times it is not NaN."""


class PolicyValueNetwork:
    """Probabilities and values of batches of features, and one step of Adam at a time.

    Parameters
    ----------
    arrays
        Weights, as of `initial_arrays`, and for a training that goes on the moments of Adam.
    activation
        "silu", "tanh" or "relu".
    value_scale
        Greatest magnitude of a value.
    learning_rate, weight_decay
        Of Adam.
    """

    def __init__(
        self, arrays: Mapping[str, Any], activation: str, value_scale: float, learning_rate: float, weight_decay: float
    ) -> None:
        self._network = BatchedNetwork(arrays, activation)
        self._scale = value_scale
        self._network.vector.grad = self._network.gradient
        self._adam = torch.optim.Adam([self._network.vector], lr=learning_rate, weight_decay=weight_decay, fused=True)
        if "adam_first" in arrays:
            self._adam.state[self._network.vector] = {
                "step": torch.tensor(float(arrays["adam_steps"])),
                "exp_avg": torch.from_numpy(np.array(arrays["adam_first"], np.float32)),
                "exp_avg_sq": torch.from_numpy(np.array(arrays["adam_second"], np.float32)),
            }

    @staticmethod
    def initial_arrays(sizes: Sequence[int], generator: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """Random weights of layers of those sizes, the last A + 1, whose own are zero: learning begins unbiased."""
        arrays = initial_weights(sizes, 1, generator)
        arrays[f"weight_{len(sizes) - 2}"][:] = 0.0
        return arrays

    @staticmethod
    def fits(sizes: Sequence[int], arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Whether arrays are weights of layers of those sizes, with the moments of Adam or without."""
        expected = weight_shapes(sizes, 1)
        if "adam_first" in arrays:
            count = sum(int(np.prod(shape)) for shape in expected.values())
            expected |= {"adam_steps": (), "adam_first": (count,), "adam_second": (count,)}
        return set(arrays) == set(expected) and all(
            arrays[name].shape == shape and arrays[name].dtype == np.float32 and np.isfinite(arrays[name]).all()
            for name, shape in expected.items()
        )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights and moments, all that `__init__` needs to go on to the same bits."""
        arrays: dict[str, NDArray[Any]] = dict(self._network.arrays())
        state = self._adam.state.get(self._network.vector)
        if state:
            arrays["adam_steps"] = state["step"].numpy().copy()
            arrays["adam_first"] = state["exp_avg"].numpy().copy()
            arrays["adam_second"] = state["exp_avg_sq"].numpy().copy()
        return arrays

    def predict(self, features: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Logits (B, A) and values (B,) of features (B, F)."""
        with one_thread(), torch.no_grad():
            output = self._network.forward(torch.from_numpy(features)[None])[0].double().numpy()
        return output[:, :-1], self._scale * np.tanh(output[:, -1])

    def train_step(
        self,
        features: NDArray[np.float32],
        legal: NDArray[np.bool_],
        policy: NDArray[np.float32],
        value: NDArray[np.float32],
    ) -> tuple[float, float]:
        """One step of Adam on a batch; returns the mean cross-entropy and the mean squared error of the value."""
        with one_thread(), torch.no_grad():
            output = self._network.forward(torch.from_numpy(features)[None], keep=True)
            target, count = torch.from_numpy(policy), len(features)
            log_policy = torch.log_softmax(output[0, :, :-1].masked_fill(torch.from_numpy(~legal), _EXCLUDED), dim=1)
            bounded = torch.tanh(output[0, :, -1])
            error = self._scale * bounded - torch.from_numpy(value)
            gradient = torch.empty_like(output)
            gradient[0, :, :-1] = (log_policy.exp() - target) / count
            gradient[0, :, -1] = 2.0 * error * self._scale * (1.0 - bounded.square()) / count
            self._network.backward(gradient)
            self._adam.step()
            return float(-(target * log_policy).sum() / count), float(error.square().mean())
