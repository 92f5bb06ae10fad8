"""A user's network as dynamics: batches, exact derivatives, and its twin in machine code."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from learned_cases import make_problem, pendulum, sample
from torch import nn

import trajopt as to
from trajopt.learned_dynamics import TorchDynamics
from trajopt.learned_dynamics.torch_dynamics import _ACTIVATIONS
from trajopt.solvers import ILQR
from trajopt.symbolic import Parameters

X, U, Y = sample(20)
RNG = np.random.default_rng(0)


def exact(x, u):
    return torch.stack([x[:, 0] + 0.05 * x[:, 1], x[:, 1] + 0.05 * (u[:, 0] - torch.sin(x[:, 0]))], dim=1)


def make_network(activation=nn.Tanh, dtype=torch.float64, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = [nn.Linear(3, 16), activation(), nn.Dropout(0.5), nn.Sequential(nn.Linear(16, 2, bias=False))]
        return nn.Sequential(*layers).to(dtype)


def test_a_function_of_tensors_is_the_function():
    """The pendulum in PyTorch rolls out as in NumPy, to rounding, and its Jacobians are the closed form."""
    dynamics = TorchDynamics(exact, 2, 1)
    controls = RNG.normal(size=(20, 15, 1))
    states = dynamics.rollout(X, controls, 0, None, RNG)
    expected = X
    for k in range(15):
        expected = pendulum(expected, controls[:, k])
        np.testing.assert_allclose(states[:, k + 1], expected, rtol=1e-13, atol=1e-13)
    by_x, by_u = dynamics.linearise(X, U, 0, None)
    closed = np.array([[[1.0, 0.05], [-0.05 * np.cos(angle), 1.0]] for angle in X[:, 0]])
    np.testing.assert_allclose(by_x, closed, atol=1e-15)
    np.testing.assert_allclose(by_u, np.broadcast_to([[0.0], [0.05]], (20, 2, 1)), atol=1e-15)


@pytest.mark.parametrize("output", ["next", "delta"])
def test_derivatives_are_autograd_s(output):
    """Jacobians of a network are those that autograd gives row by row."""
    network = make_network()
    dynamics = TorchDynamics(network, 2, 1, output=output)
    by_x, by_u = dynamics.linearise(X, U, 0, None)
    network.eval()
    rows = torch.tensor(np.hstack([X, U]))
    expected = torch.stack([torch.autograd.functional.jacobian(network, row) for row in rows]).numpy()
    expected[:, :, :2] += np.eye(2) * (output == "delta")
    np.testing.assert_allclose(np.concatenate([by_x, by_u], axis=2), expected, atol=1e-14)


def test_parts_without_derivative_are_zero():
    """A state that the module passes on without using it gets zeros, and not an error."""
    by_x, by_u = TorchDynamics(lambda x, u: x.clone(), 2, 1).linearise(X, U, 0, None)
    np.testing.assert_array_equal(by_x, np.broadcast_to(np.eye(2), (20, 2, 2)))
    np.testing.assert_array_equal(by_u, 0.0)


@pytest.mark.parametrize("activation", _ACTIVATIONS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("weights", ["constants", "parameters"])
def test_every_activation_has_its_expression(activation, weights):
    """The traced network gives what PyTorch gives, to rounding, also far from zero where exponentials overflow."""
    dynamics = TorchDynamics(make_network(activation), 2, 1, output="delta")
    traced = dynamics.to_traced(weights=weights)
    parameters = dynamics.weights() if weights == "parameters" else {}
    extra = [Parameters(parameters)] if parameters else []
    for scale in (1.0, 1e3):
        after = dynamics.step(scale * X, scale * U, 0, None, RNG)
        found = [
            np.asarray(traced.function.function(scale * x, scale * u, *extra), float) for x, u in zip(X, U, strict=True)
        ]
        np.testing.assert_allclose(found, after, rtol=1e-12, atol=1e-13 * scale)


@pytest.mark.parametrize("weights", ["constants", "parameters"])
def test_solvers_compute_with_the_network(weights):
    """iLQR on the traced network finds an optimum that the certificate, which runs the function in NumPy, confirms."""
    dynamics = TorchDynamics(make_network(), 2, 1, output="delta")
    options = {"parameters": dynamics.weights()} if weights == "parameters" else {}
    solution = to.solve(make_problem(dynamics.to_traced(weights=weights), **options), ILQR())
    assert solution.success
    assert solution.certified
    states = dynamics.rollout(solution.x[:1], solution.u[None], 0, None, RNG)[0]
    np.testing.assert_allclose(solution.x, states, atol=1e-12)
    if weights == "parameters":
        other = TorchDynamics(make_network(seed=1), 2, 1, output="delta")
        again = to.solve(
            make_problem(dynamics.to_traced(weights=weights), **options), ILQR(), parameters=other.weights()
        )
        np.testing.assert_allclose(again.x, other.rollout(again.x[:1], again.u[None], 0, None, RNG)[0], atol=1e-12)


def test_single_precision_networks():
    """A float32 network computes in float32, and its rollout keeps the first state to the bit."""
    dynamics = TorchDynamics(make_network(dtype=torch.float32), 2, 1)
    assert dynamics.dtype == torch.float32
    states = dynamics.rollout(X, np.tile(U[:, None], (1, 3, 1)), 0, None, RNG)
    assert states.dtype == np.float64
    np.testing.assert_array_equal(states[:, 0], X)
    twin = TorchDynamics(make_network(), 2, 1).rollout(X, np.tile(U[:, None], (1, 3, 1)), 0, None, RNG)
    np.testing.assert_allclose(states, twin, atol=1e-4)


def test_the_module_stays_the_users():
    """Wrapping leaves mode and gradients of the user's module alone, and later training does not reach the dynamics."""
    network = make_network().train()
    dynamics = TorchDynamics(network, 2, 1)
    before = dynamics.step(X, U, 0, None, RNG)
    assert network.training
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(dynamics)).step(X, U, 0, None, RNG), before)
    assert all(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        network[0].weight.add_(1.0)
    np.testing.assert_array_equal(dynamics.step(X, U, 0, None, RNG), before)


def test_time_parameters_and_chance():
    """A function may name t, p and rng; random draws come from the generator given, and from nowhere else."""
    dynamics = TorchDynamics(lambda x, u, t, p: x + t * p["rate"] + 0.0 * u, 1, 1)
    states = dynamics.rollout(np.zeros((1, 1)), np.zeros((1, 4, 1)), 0, {"rate": 2.0}, RNG)
    np.testing.assert_array_equal(states[0, :, 0], [0.0, 0.0, 2.0, 6.0, 12.0])
    random = TorchDynamics(lambda x, u, rng: x + torch.randn(x.shape, generator=rng, dtype=x.dtype), 1, 1)
    assert random.stochastic
    state = torch.random.get_rng_state()
    runs = [random.rollout(np.zeros((3, 1)), np.zeros((3, 4, 1)), 0, None, np.random.default_rng(s)) for s in (1, 1, 2)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0][:, 1:] != runs[2][:, 1:]).all()
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(to.UnsupportedProblem, match="random"):
        random.linearise(np.zeros((3, 1)), np.zeros((3, 1)), 0, None)


def test_threads_do_not_matter():
    """The same bits with one thread and with several, whose number is left as it was."""
    network = nn.Sequential(nn.Linear(3, 256), nn.SiLU(), nn.Linear(256, 256), nn.SiLU(), nn.Linear(256, 2))
    dynamics = TorchDynamics(network, 2, 1)
    x, u = RNG.normal(size=(3000, 2)), RNG.normal(size=(3000, 2, 1))
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(dynamics.rollout(x, u, 0, None, RNG))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


class _Attention(nn.Module):
    def forward(self, z):
        return z[:, :2] * torch.softmax(z, dim=1)[:, :2]


@pytest.mark.parametrize(
    "module", [_Attention(), nn.Sequential(nn.Linear(3, 2), _Attention()), nn.Softplus(beta=2.0), exact]
)
def test_modules_without_expression(module):
    """Other modules are black boxes, which to_traced says."""
    with pytest.raises(to.UnsupportedProblem, match="asked for an expression"):
        TorchDynamics(module, 2, 1).to_traced()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: TorchDynamics(nn.Linear(4, 2), 2, 1), "raised RuntimeError"),
        (lambda: TorchDynamics(nn.Linear(3, 3), 2, 1), r"shape \(1, 3\), but a tensor of shape \(1, 2\)"),
        (lambda: TorchDynamics(lambda x, u: None, 2, 1), "a NoneType"),
        (lambda: TorchDynamics(lambda x, u: x * torch.nan, 2, 1), "finite"),
        (lambda: TorchDynamics(nn.Linear(3, 2), 2, 1, dtype="float64"), "dtype"),
        (lambda: TorchDynamics(nn.Linear(3, 2), 2, 1, dtype="int8"), "float32"),
        (lambda: TorchDynamics(nn.Linear(3, 2), 2, 1, output="rate"), "output"),
        (lambda: TorchDynamics(lambda x, u, surprise: x, 2, 1), "signature"),
        (lambda: TorchDynamics(3, 2, 1), "callable"),
        (lambda: TorchDynamics(nn.Linear(3, 2), 2, 1).to_traced(weights="both"), "weights="),
        (lambda: TorchDynamics(nn.Sequential(nn.Linear(4, 2)), 2, 1).to_traced(), "takes 4 numbers"),
        (lambda: TorchDynamics(nn.Sequential(nn.Linear(3, 3)), 2, 1).to_traced(), "gives 3 numbers"),
    ],
)
def test_bad_modules(make, told):
    """What a module must not take or return is told in a sentence."""
    with pytest.raises((to.InvalidProblem, to.UnsupportedProblem), match=told):
        make_problem(make())
