"""Feed-forward networks as expressions, so that every solver computes with them in machine code.

A network is a list of layers: `Affine` maps and names of activations. Its weights become constants of the expression,
or parameters of the problem, which change after a new fit without compiling again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import casadi as ca
import numpy as np

from trajopt.casadi_function import casadi_function
from trajopt.dynamics import DiscreteDynamics
from trajopt.errors import InvalidProblem
from trajopt.learned_dynamics.data import Array, unrolled

Weights = Literal["constants", "parameters"]


@dataclass(frozen=True)
class Affine:
    """z -> W z + b with W: (out, in) and b: (out,)."""

    weight: Array
    bias: Array


Layers = Sequence[Affine | str]


def _softplus(z: Any) -> Any:
    return ca.fmax(z, 0.0) + ca.log1p(ca.exp(-ca.fabs(z)))  # no overflow on either side


def _sigmoid(z: Any) -> Any:
    return 0.5 + 0.5 * ca.tanh(0.5 * z)  # no overflow on either side


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": ca.tanh,
    "relu": lambda z: ca.fmax(z, 0.0),
    "silu": lambda z: z * _sigmoid(z),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "elu": lambda z: ca.if_else(z > 0.0, z, ca.expm1(ca.fmin(z, 0.0))),
    "softsign": lambda z: z / (1.0 + ca.fabs(z)),
    "mish": lambda z: z * ca.tanh(_softplus(z)),
    "leaky_relu": lambda z: ca.fmax(z, 0.01 * z),
}
"""Activations by name, on CasADi's vectors."""


def weight_parameters(layers: Layers) -> dict[str, Array]:
    """The weights as parameters of a problem: ``weight_0``, ``bias_0``, ``weight_1``, ..."""
    maps = [layer for layer in layers if isinstance(layer, Affine)]
    named = [(f"weight_{i}", layer.weight) for i, layer in enumerate(maps)]
    return dict(named + [(f"bias_{i}", layer.bias) for i, layer in enumerate(maps)])


def traced_network(
    layers: Layers,
    states: Sequence[str],
    controls: Sequence[str],
    *,
    delta: bool,
    weights: Weights,
    angles: Sequence[int] = (),
) -> DiscreteDynamics:
    """Dynamics x+ = network(x, u), or x + network(x, u) if ``delta``, as an expression; angles as for ensembles.

    Raises
    ------
    InvalidProblem
        When ``weights`` is neither "constants" nor "parameters", or sizes disagree.
    """
    if weights not in ("constants", "parameters"):
        raise InvalidProblem(f"weights={weights!r} was given, but 'constants' or 'parameters' was expected; pick one.")
    names = list(weight_parameters(layers)) if weights == "parameters" else []
    network = _network(layers, len(states) + len(controls) + len(angles), len(states), symbolic=bool(names))

    def with_constants(x: Any, u: Any) -> Any:
        change = network(unrolled(np.concatenate([x, u]), angles)).reshape(len(states))
        return x + change if delta else change

    def with_parameters(x: Any, u: Any, p: Any) -> Any:
        z = unrolled(np.concatenate([x, u]), angles)
        change = network(z, *(p[name] for name in names)).reshape(len(states))
        return x + change if delta else change

    function = with_parameters if names else with_constants
    return DiscreteDynamics(function, states=states, controls=controls)


def _network(layers: Layers, inputs: int, outputs: int, *, symbolic: bool) -> Callable[..., Any]:
    """The network as a function of its input, and if ``symbolic`` of its weights and biases."""
    z = ca.SX.sym("z", inputs)
    value, weights, biases = z, [], []
    for layer in layers:
        if isinstance(layer, str):
            value = ACTIVATIONS[layer](value)
            continue
        if layer.weight.shape[1] != value.numel():
            raise InvalidProblem(
                f"a layer takes {layer.weight.shape[1]} numbers, but {value.numel()} are given to it; the network must "
                f"take the {inputs} states and controls."
            )
        weight, bias = ca.DM(layer.weight), ca.DM(layer.bias)
        if symbolic:
            weight, bias = ca.SX.sym("W", *layer.weight.shape), ca.SX.sym("b", len(layer.bias))
            weights.append(weight)
            biases.append(bias)
        value = ca.mtimes(weight, value) + bias
    if value.numel() != outputs:
        raise InvalidProblem(f"the network gives {value.numel()} numbers, but {outputs} were expected, one a state.")
    return _as_array(casadi_function(ca.Function("network", [z, *weights, *biases], [value])))


def _as_array(call: Callable[..., Any]) -> Callable[..., Any]:
    """One output number comes as a scalar; make it an array like the others."""
    return lambda *arguments: np.atleast_1d(call(*arguments))
