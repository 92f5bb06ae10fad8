"""A neural network as dynamics: x+ = x + f(x, u), f trained by least squares with inputs and targets at unit scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from trajopt.dynamics import DiscreteDynamics
from trajopt.learned_dynamics.batched_network import (
    ACTIVATIONS,
    BatchedNetwork,
    as_layers,
    initial_weights,
    weight_shapes,
)
from trajopt.learned_dynamics.data import Array, Scale, Transitions
from trajopt.learned_dynamics.expression import Affine, Layers, Weights, traced_network, weight_parameters
from trajopt.learned_dynamics.extras import one_thread
from trajopt.learned_dynamics.losses import SquaredError
from trajopt.learned_dynamics.model import LearnedDynamics
from trajopt.learned_dynamics.torch_dynamics import column_gradients, pullback_of, weighted_curvature
from trajopt.learned_dynamics.training import Schedule, train
from trajopt.validation import check, check_choice, is_whole


@final
@dataclass(frozen=True, init=False)
class NeuralNetwork(LearnedDynamics):
    """Dynamics learned by one deterministic feed-forward network.

    Parameters
    ----------
    nx, nu, states, controls
        As for `DiscreteDynamics`.
    hidden
        Widths of the hidden layers.
    activation
        "silu", "tanh" or "relu".
    epochs, patience, batch, learning_rate, weight_decay, holdout
        Of the training, see `trajopt.learned_dynamics.training.Schedule`.
    """

    hidden: tuple[int, ...]
    activation: str
    epochs: int
    patience: int
    batch: int
    learning_rate: float
    weight_decay: float
    holdout: float

    def __init__(
        self,
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
        hidden: Sequence[int] = (64, 64),
        activation: str = "silu",
        epochs: int = 200,
        patience: int = 20,
        batch: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        holdout: float = 0.1,
    ) -> None:
        check_shape(hidden, activation)
        Schedule(epochs, patience, batch, learning_rate, weight_decay, holdout, bootstrap=False)
        super().__init__(
            nx,
            nu,
            states,
            controls,
            hidden=tuple(hidden),
            activation=activation,
            epochs=epochs,
            patience=patience,
            batch=batch,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            holdout=holdout,
        )

    @property
    def _sizes(self) -> tuple[int, ...]:
        return (self.nx + self.nu, *self.hidden, self.nx)

    def _fit(self, data: Transitions, generator: np.random.Generator, callback: Any) -> dict[str, Any]:
        inputs, targets = Scale.of(data.inputs), Scale.of(data.changes)
        weights = dict(self.learned) if self.learned else initial_weights(self._sizes, 1, generator)
        network = BatchedNetwork(weights, self.activation)
        schedule = Schedule(
            self.epochs, self.patience, self.batch, self.learning_rate, self.weight_decay, self.holdout, bootstrap=False
        )
        z, y = inputs.apply(data.inputs).astype(np.float32), targets.apply(data.changes).astype(np.float32)
        train(network, SquaredError(), z, y, schedule, generator, callback)
        with one_thread(), torch.no_grad():
            residual = (network.forward(torch.from_numpy(z)[None])[0] - torch.from_numpy(y)).square().mean(dim=0)
        deviation = targets.deviation * np.sqrt(residual.double().numpy())
        return network.arrays() | {"deviation": deviation} | inputs.arrays("input") | targets.arrays("target")

    def _network(self) -> BatchedNetwork:
        """The network as tensors, made once."""
        if "_kept_network" not in self.__dict__:
            object.__setattr__(self, "_kept_network", BatchedNetwork(self.learned, self.activation))
        return self.__dict__["_kept_network"]

    def _change(self, z: torch.Tensor) -> torch.Tensor:
        """The change of state (K, nx) in float64, of inputs (K, nx + nu)."""
        inputs, targets = Scale.read(self.learned, "input"), Scale.read(self.learned, "target")
        scaled = (z - torch.from_numpy(inputs.mean.copy())) / torch.from_numpy(inputs.deviation.copy())
        output = self._network().forward(scaled.float()[None])[0].double()
        return torch.from_numpy(targets.mean.copy()) + torch.from_numpy(targets.deviation.copy()) * output

    def _predict(self, x: Array, u: Array, t: Any) -> tuple[Array, Array]:
        with one_thread(), torch.no_grad():
            change = self._change(torch.from_numpy(np.concatenate([x, u], axis=1)))
        return x + change.numpy(), np.broadcast_to(self.learned["deviation"], x.shape).copy()

    def rollout(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the states of K rollouts, computed in PyTorch from end to end; see `BatchDynamics.rollout`."""
        self._require_fit()
        controls = torch.from_numpy(np.ascontiguousarray(np.moveaxis(u, 1, 0)))
        states = torch.empty((len(controls) + 1, *x.shape), dtype=torch.float64)
        states[0] = torch.tensor(x)
        with one_thread(), torch.no_grad():
            for k in range(len(controls)):
                states[k + 1] = states[k] + self._change(torch.cat([states[k], controls[k]], dim=1))
        return np.moveaxis(states.numpy(), 0, 1).copy()

    def pullback(
        self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator
    ) -> tuple[Array, Callable[[Array], Array]]:
        """Return the states and their derivatives by one backward pass; see `BatchDynamics.pullback`."""
        self._require_fit()
        with one_thread(), torch.enable_grad():
            controls = torch.tensor(u, requires_grad=True)
            states = [torch.tensor(x)]
            for k in range(u.shape[1]):
                states.append(states[k] + self._change(torch.cat([states[k], controls[:, k]], dim=1)))
        return pullback_of(torch.stack(states, dim=1), controls)

    def linearise(self, x: Array, u: Array, t: float, p: Any) -> tuple[Array, Array]:
        """Return derivatives of the step, exact to the network's float32; see `BatchDynamics.linearise`."""
        self._require_fit()
        return jacobians(self._change, x, u)

    def curvature(self, x: Array, u: Array, t: float, p: Any, weights: Array) -> Array:
        """Return second derivatives, exact to the network's float32; see `BatchDynamics.curvature`."""
        self._require_fit()
        return curvatures(self._change, x, u, weights)

    def to_traced(self, *, weights: Weights = "constants") -> DiscreteDynamics:
        """Return the network as dynamics that are traced; see `TorchDynamics.to_traced`."""
        return traced_network(self._layers(), self.states, self.controls, delta=True, weights=weights)

    def weights(self) -> dict[str, Array]:
        """Return weights and biases by the names that ``to_traced(weights="parameters")`` reads."""
        return weight_parameters(self._layers())

    def _layers(self) -> Layers:
        self._require_fit()
        layers = as_layers(self.learned, self.activation, [0], self.nx)
        return in_own_units(layers, Scale.read(self.learned, "input"), Scale.read(self.learned, "target"))

    def _expected(self, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        return weight_shapes(self._sizes, 1) | {"deviation": (self.nx,)} | scale_shapes(self._sizes[0], self.nx)


def check_shape(hidden: Sequence[int], activation: str) -> None:
    """Refuse widths that are no whole numbers >= 1, and activations that are not known."""
    widths = isinstance(hidden, Sequence) and all(is_whole(width, 1) for width in hidden)
    check(hidden, "hidden", "a list of whole numbers >= 1", widths)
    check_choice(activation, "activation", ACTIVATIONS)


def scale_shapes(inputs: int, targets: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays that hold the scales of inputs and targets."""
    return {
        "input_mean": (inputs,),
        "input_deviation": (inputs,),
        "target_mean": (targets,),
        "target_deviation": (targets,),
    }


def in_own_units(layers: Layers, inputs: Scale, targets: Scale) -> Layers:
    """A network at unit scale as one in the units of its data: the scales go into the first and the last layer."""
    first, last = layers[0], layers[-1]
    assert isinstance(first, Affine)
    weight = first.weight / inputs.deviation
    first = Affine(weight, first.bias - weight @ inputs.mean)
    last = first if len(layers) == 1 else last
    assert isinstance(last, Affine)
    last = Affine(targets.deviation[:, None] * last.weight, targets.mean + targets.deviation * last.bias)
    return [last] if len(layers) == 1 else [first, *layers[1:-1], last]


def jacobians(change: Any, x: Array, u: Array) -> tuple[Array, Array]:
    """Derivatives (K, nx, nx) and (K, nx, nu) of x + change((x, u)), a function whose rows are independent."""
    with one_thread(), torch.enable_grad():
        z = torch.from_numpy(np.concatenate([x, u], axis=1)).requires_grad_()
        jacobian = column_gradients(change(z), (z,))[0].numpy()
    return jacobian[..., : x.shape[1]] + np.eye(x.shape[1]), jacobian[..., x.shape[1] :]


def curvatures(change: Any, x: Array, u: Array, weights: Array) -> Array:
    """Second derivatives (K, nx + nu, nx + nu) of weights @ (x + change((x, u))); see `jacobians`."""
    with one_thread(), torch.enable_grad():
        z = torch.from_numpy(np.concatenate([x, u], axis=1)).requires_grad_()
        return weighted_curvature(change(z), (z,), torch.from_numpy(np.ascontiguousarray(weights)))
