"""Any PyTorch network as dynamics: x+ = f(x, u) or x+ = x + f(x, u), on batches.

A rollout stays in PyTorch for the whole horizon. Derivatives are exact: the rows of a batch are independent, so the
gradient of the sum over the batch of output i holds row i of every Jacobian, and nx backward passes give them all.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor, nn

from trajopt.batch_dynamics import Array, BatchDynamics
from trajopt.dynamics import DiscreteDynamics
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.learned_dynamics.expression import Affine, Weights, traced_network, weight_parameters
from trajopt.learned_dynamics.extras import one_thread
from trajopt.signature import BATCH, UserFunction
from trajopt.validation import check_choice

_ACTIVATIONS: dict[type[nn.Module], str] = {
    nn.Tanh: "tanh",
    nn.ReLU: "relu",
    nn.SiLU: "silu",
    nn.Sigmoid: "sigmoid",
    nn.Softplus: "softplus",
    nn.ELU: "elu",
    nn.Softsign: "softsign",
    nn.Mish: "mish",
    nn.LeakyReLU: "leaky_relu",
}
_SETTINGS = {nn.Softplus: {"beta": 1.0}, nn.ELU: {"alpha": 1.0}, nn.LeakyReLU: {"negative_slope": 0.01}}
"""Settings with which an activation is the one of that name."""

_NOTHING = (nn.Identity, nn.Dropout, nn.AlphaDropout)  # in evaluation


@final
@dataclass(frozen=True, init=False)
class TorchDynamics(BatchDynamics):
    """Dynamics that a PyTorch module computes.

        dynamics = TorchDynamics(network, nx=4, nu=1, output="delta")

    Parameters
    ----------
    module
        A module or function of tensors x: (K, nx) and u: (K, nu), or of both side by side, (K, nx + nu), if it takes
        one argument, as `torch.nn.Sequential` does. Behind x and u it may name t, the number of the step, p, the
        problem's parameters by name, and rng, a `torch.Generator`, which makes the dynamics stochastic. Its rows must
        not depend on each other. Of a module a copy is kept, in evaluation mode: later training does not reach it.
    nx, nu, states, controls
        As for `DiscreteDynamics`.
    output
        Whether the module gives the next state ("next") or its change ("delta").
    dtype
        Of the tensors that the module is given: "float32" or "float64". Where it is left out, that of its parameters.

    Raises
    ------
    InvalidProblem
        When the module's signature does not fit; later, when it raises or gives another shape.
    """

    module: Callable[..., Any]
    output: str
    dtype: torch.dtype
    device: torch.device
    function: UserFunction | None

    def __init__(
        self,
        module: Callable[..., Any],
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
        output: Literal["next", "delta"] = "next",
        dtype: Literal["float32", "float64"] | None = None,
    ) -> None:
        super().__init__(nx, nu, states=states, controls=controls)
        check_choice(output, "output", ("next", "delta"))
        if dtype is not None:
            check_choice(dtype, "dtype", ("float32", "float64"))
        own_type, device = torch.float64, torch.device("cpu")
        if isinstance(module, nn.Module):
            module = copy.deepcopy(module).eval().requires_grad_(requires_grad=False)
            first = next((p for p in module.parameters() if p.is_floating_point()), None)
            own_type, device = (own_type, device) if first is None else (first.dtype, first.device)
        function = None if _takes_one(module) else UserFunction.read(module, BATCH, "the module")
        chosen = own_type if dtype is None else getattr(torch, dtype)
        stochastic = function is not None and "rng" in function.arguments
        fields = {"module": module, "output": output, "dtype": chosen, "device": device, "function": function}
        for name, value in (fields | {"stochastic": stochastic}).items():
            object.__setattr__(self, name, value)

    @property
    def timed(self) -> bool:
        """Whether the module names t."""
        return self.function is not None and "t" in self.function.arguments

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the next states; see `BatchDynamics.step`."""
        return self.rollout(x, u[:, None], t, p, generator)[:, 1]

    def rollout(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the states of K rollouts, computed in PyTorch from end to end; see `BatchDynamics.rollout`."""
        rng = _torch_generator(generator, self.device) if self.stochastic else None
        controls = self._tensor(np.moveaxis(u, 1, 0))
        states = torch.empty((len(controls) + 1, *x.shape), dtype=self.dtype, device=self.device)
        states[0] = self._tensor(x)
        with one_thread(), torch.no_grad():
            for k in range(len(controls)):
                states[k + 1] = self._next(states[k], controls[k], t + k, p, rng)
        result = np.moveaxis(states.cpu().numpy(), 0, 1).astype(np.float64)
        result[:, 0] = x
        return result

    def pullback(
        self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator
    ) -> tuple[Array, Callable[[Array], Array]]:
        """Return the states and their derivatives by one backward pass; see `BatchDynamics.pullback`."""
        rng = _torch_generator(generator, self.device) if self.stochastic else None
        with one_thread(), torch.enable_grad():
            controls = self._tensor(u).requires_grad_()
            states = [self._tensor(x)]
            for k in range(u.shape[1]):
                states.append(self._next(states[k], controls[:, k], t + k, p, rng))
            rollout = torch.stack(states, dim=1)
        return pullback_of(rollout, controls)

    def linearise(self, x: Array, u: Array, t: float, p: Any) -> tuple[Array, Array]:
        """Return exact derivatives of the step, one backward pass for each state; see `BatchDynamics.linearise`."""
        if self.stochastic:
            return super().linearise(x, u, t, p)
        with one_thread(), torch.enable_grad():
            states, controls = self._tensor(x).requires_grad_(), self._tensor(u).requires_grad_()
            after = self._next(states, controls, t, p, None)
            by_x, by_u = (_float64(part) for part in column_gradients(after, (states, controls)))
        return by_x, by_u

    def curvature(self, x: Array, u: Array, t: float, p: Any, weights: Array) -> Array:
        """Return exact second derivatives, one more backward pass for each input; see `BatchDynamics.curvature`."""
        if self.stochastic:
            return super().curvature(x, u, t, p, weights)
        with one_thread(), torch.enable_grad():
            states, controls = self._tensor(x).requires_grad_(), self._tensor(u).requires_grad_()
            after = self._next(states, controls, t, p, None)
            return weighted_curvature(after, (states, controls), self._tensor(weights))

    def to_traced(self, *, weights: Weights = "constants") -> DiscreteDynamics:
        """Return the network as dynamics that are traced, so that every solver can use it.

        Parameters
        ----------
        weights
            "constants", or "parameters": then the problem takes ``parameters=dynamics.weights()``, and after training
            ``solve(problem, parameters=...)`` takes the new ones without compiling again.

        Raises
        ------
        UnsupportedProblem
            When the module is not made of `torch.nn.Sequential`, `torch.nn.Linear` and known activations.
        """
        delta = self.output == "delta"
        return traced_network(self._layers(), self.states, self.controls, delta=delta, weights=weights)

    def weights(self) -> dict[str, Array]:
        """Return weights and biases by the names that ``to_traced(weights="parameters")`` reads."""
        return weight_parameters(self._layers())

    def _layers(self) -> list[Affine | str]:
        if not isinstance(self.module, nn.Module):
            raise _no_expression(self.module)
        return _layers_of(self.module)

    def _tensor(self, array: Array) -> Tensor:
        return torch.tensor(array, dtype=self.dtype, device=self.device)

    def _next(self, x: Tensor, u: Tensor, t: float, p: Any, rng: torch.Generator | None) -> Tensor:
        try:
            if self.function is None:
                result = self.module(torch.cat([x, u], dim=1))
            else:
                result = self.function({"x": x, "u": u, "t": t, "p": p, "rng": rng})
        except Exception as error:
            raise InvalidProblem(
                f"the module raised {type(error).__name__} on x of shape {tuple(x.shape)} and u of shape "
                f"{tuple(u.shape)}, both {self.dtype} ({str(error).splitlines()[0] if str(error) else 'no message'}); "
                "let it take such tensors, or give dtype=."
            ) from error
        if not isinstance(result, Tensor) or result.shape != x.shape:
            given = f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else f"a {type(result).__name__}"
            raise InvalidProblem(
                f"the module returned {given}, but a tensor of shape {tuple(x.shape)} was expected, one row for each "
                "row of x; correct its output."
            )
        return x + result if self.output == "delta" else result


def column_gradients(values: Tensor, inputs: tuple[Tensor, ...], *, create_graph: bool = False) -> tuple[Tensor, ...]:
    """Derivatives of values (K, m), whose rows are independent, by each of the inputs (K, n): (K, m, n).

    Raises
    ------
    InvalidProblem
        When PyTorch cannot differentiate what the module does.
    """
    try:
        rows = [
            torch.autograd.grad(
                values[:, i].sum(), inputs, retain_graph=True, create_graph=create_graph, materialize_grads=True
            )
            for i in range(values.shape[1])
        ]
    except RuntimeError as error:
        raise InvalidProblem(
            f"derivatives of the module were asked for, but PyTorch has none ({str(error).splitlines()[0]}); compute "
            "its output from its inputs by differentiable operations of tensors, or use a solver without derivatives."
        ) from error
    return tuple(torch.stack(parts, dim=1) for parts in zip(*rows, strict=True))


def weighted_curvature(values: Tensor, inputs: tuple[Tensor, ...], weights: Tensor) -> Array:
    """Results of `BatchDynamics.curvature`, from values (K, m) that autograd followed from the inputs side by side."""
    total = (values * weights).sum(dim=1, keepdim=True)
    slopes = torch.cat([part[:, 0] for part in column_gradients(total, inputs, create_graph=True)], dim=1)
    if not slopes.requires_grad:  # linear
        return np.zeros((*slopes.shape, slopes.shape[1]))
    return _float64(torch.cat(column_gradients(slopes, inputs), dim=2))


def _float64(tensor: Tensor) -> Array:
    return tensor.detach().cpu().numpy().astype(np.float64)


def pullback_of(states: Tensor, controls: Tensor) -> tuple[Array, Callable[[Array], Array]]:
    """Results of `BatchDynamics.pullback`, from states (K, N+1, nx) that autograd followed from the controls."""

    def pull(by_states: Array) -> Array:
        if not states.requires_grad:  # a model that the controls do not reach
            return np.zeros(tuple(controls.shape))
        outputs = torch.tensor(by_states, dtype=states.dtype, device=states.device)
        with one_thread():
            found = torch.autograd.grad(states, controls, outputs, materialize_grads=True)[0]
        return found.cpu().numpy().astype(np.float64)

    return states.detach().cpu().numpy().astype(np.float64), pull


def _takes_one(module: Callable[..., Any]) -> bool:
    """Whether a module or function takes one positional argument, states and controls side by side."""
    try:
        parameters = inspect.signature(module.forward if isinstance(module, nn.Module) else module).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p for p in parameters if p.kind in kinds]
    several = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    return not several and (
        len(positional) == 1 or (len(positional) > 1 and positional[1].default is not inspect._empty)
    )


def _torch_generator(generator: np.random.Generator, device: torch.device) -> torch.Generator:
    """A generator of PyTorch's whose seed comes from NumPy's."""
    return torch.Generator(device=device).manual_seed(int(generator.integers(2**62)))


def _no_expression(module: object) -> UnsupportedProblem:
    return UnsupportedProblem(
        f"{type(module).__name__} was asked for an expression, but Sequential, Linear and activations "
        f"({', '.join(kind.__name__ for kind in _ACTIVATIONS)}) alone have one; use the dynamics as they are, with a "
        "solver that handles black-box dynamics."
    )


def _layers_of(module: nn.Module) -> list[Affine | str]:
    """The layers of a feed-forward module, in order."""
    if isinstance(module, nn.Sequential):
        return [layer for child in module for layer in _layers_of(child)]
    if isinstance(module, nn.Linear):
        weight = module.weight.detach().cpu().double().numpy()
        bias = np.zeros(len(weight)) if module.bias is None else module.bias.detach().cpu().double().numpy()
        return [Affine(weight, bias)]
    if isinstance(module, _NOTHING):
        return []
    settings = _SETTINGS.get(type(module), {})
    if type(module) not in _ACTIVATIONS or any(getattr(module, name) != value for name, value in settings.items()):
        raise _no_expression(module)
    return [_ACTIVATIONS[type(module)]]
