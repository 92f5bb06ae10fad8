"""Black boxes with derivatives inside nonlinear programs: networks and simulators under IPOPT."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import casadi as ca
import numpy as np
import pytest
import torch
from learned_cases import sample
from mujoco_cases import PENDULUM
from torch import nn

import trajopt as to
from trajopt.learned_dynamics import NeuralNetwork, ProbabilisticEnsemble, TorchDynamics
from trajopt.solvers import ILQR, Collocation, MultipleShooting, SingleShooting

RNG = np.random.default_rng(0)
X, U, WEIGHTS = RNG.normal(size=(7, 2)), RNG.normal(size=(7, 1)), RNG.normal(size=(7, 2))


def feed_forward() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2, bias=False)).double()
    network[2].weight.data *= 0.5
    return network


class Branches(nn.Module):
    """A residual network with a gate and a product, which no list of layers describes."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.first, self.gate, self.last = (nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 2))
        self.double()

    def forward(self, x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        z = torch.cat([x, u], dim=1)
        mixed = torch.sigmoid(self.gate(z)) * torch.tanh(self.first(z)) + z[:, :1] * z[:, 2:]
        return x + 0.1 * torch.where(x[:, :1] > 10.0, -x, self.last(mixed))


def reaching(dynamics, **options) -> to.Problem:
    """Every kind of constraint that discrete dynamics may have, of which most act."""
    constraints = [
        to.Bounds(control=(-0.3, 0.3), state=(None, [None, 0.4])),
        to.PathConstraint(lambda x, u: x[1] + u[0], None, -0.05),
        to.TerminalConstraint([-0.6, None]),
        to.BoundaryConstraint(lambda x0, xf: xf[1] - x0[1], 0.62, None),
        to.IntegralConstraint(lambda x, u: u @ u, None, 1.0),
    ]
    settings = {"initial_state": [1.0, None], "horizon": to.Horizon(steps=15), "constraints": constraints} | options
    return to.Problem(dynamics, lambda x, u: x @ x + u @ u, lambda x: x @ x, **settings)


@pytest.mark.parametrize("solver", [MultipleShooting(), Collocation()], ids=str)
def test_both_roads_of_a_network_lead_to_one_optimum(solver):
    """Called back and expanded, a network has the same optimum and multipliers, to the solver's tolerance."""
    dynamics = TorchDynamics(feed_forward(), 2, 1, output="delta")
    called, expanded = (to.solve(reaching(d), solver) for d in (dynamics, dynamics.to_traced()))
    assert called.success
    assert called.certified
    assert expanded.certified
    assert called.cost == pytest.approx(expanded.cost, rel=1e-8)
    np.testing.assert_allclose(called.x, expanded.x, atol=1e-6)
    np.testing.assert_allclose(called.u, expanded.u, atol=1e-6)
    assert called.multipliers.keys() == expanded.multipliers.keys()
    for name, values in expanded.multipliers.items():
        np.testing.assert_allclose(called.multipliers[name], values, atol=1e-6 * (1.0 + np.abs(values).max(initial=0)))
    for name in ("control_bounds", "path", "terminal", "boundary", "integral"):
        assert np.abs(expanded.multipliers[name]).max() > 0.1  # it acts


def test_a_module_with_branches_has_the_optimum_of_ilqr():
    """A gated residual module, which cannot be expanded, has the optimum that iLQR finds under control bounds."""
    dynamics = TorchDynamics(Branches(), 2, 1)
    with pytest.raises(to.UnsupportedProblem, match="black-box"):
        dynamics.to_traced()
    problem = to.Problem(
        dynamics, lambda x, u: x @ x + 0.1 * u @ u, lambda x: 10.0 * x @ x, initial_state=[1.0, -0.5],
        constraints=[to.Bounds(control=(-1.0, 1.0))], horizon=to.Horizon(steps=30),
    )  # fmt: skip
    program, riccati = to.solve(problem, MultipleShooting()), to.solve(problem, ILQR())
    assert program.certified
    assert riccati.certified
    assert program.cost == pytest.approx(riccati.cost, rel=1e-7)  # both stop at 1e-8 of the cost


def test_a_simulator_reaches_by_multiple_shooting():
    """A MuJoCo pendulum has the optimum of iLQR, and meets a terminal constraint, as iLQR there cannot."""
    pytest.importorskip("mujoco")
    dynamics = to.MuJoCoDynamics(PENDULUM.format(integrator="implicitfast"), frame_skip=5)
    problem = to.Problem(
        dynamics, lambda x, u: 0.05 * (u @ u + 0.1 * x[1] ** 2), lambda x: 20.0 * (x[0] - 0.8) ** 2 + x[1] ** 2,
        initial_state=[0.0, 0.0], constraints=[dynamics.bounds], horizon=to.Horizon(steps=30),
    )  # fmt: skip
    program, riccati = to.solve(problem, MultipleShooting()), to.solve(problem, ILQR())
    assert program.certified
    assert program.cost == pytest.approx(riccati.cost, rel=1e-6)  # derivatives are differences
    exact = replace(problem, constraints=[dynamics.bounds, to.TerminalConstraint([0.8, 0.0])])
    reached = to.solve(exact, MultipleShooting())
    assert reached.certified
    np.testing.assert_allclose(reached.x[-1], [0.8, 0.0], atol=1e-7)
    assert reached.cost > program.cost


def gusty(x, u, t, p):
    return np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * (u[0] - p.gravity * np.sin(x[0]) + p.gust[0] * np.sin(t))])


def gusty_batch(x, u, t, p):
    return np.stack([gusty(state, control, t, p) for state, control in zip(x, u, strict=True)])


def gusty_problem(dynamics) -> to.Problem:
    return to.Problem(
        dynamics, lambda x, u: x @ x + u @ u, initial_state=[1.0, 0.0], horizon=to.Horizon(steps=20),
        parameters={"gravity": 1.0, "gust": np.array([0.5, 7.0])}, constraints=[to.TerminalConstraint([0.0, 0.0])],
    )  # fmt: skip


def test_step_numbers_and_parameters_reach_the_model():
    """Steps that depend on their number and on parameters, also behind other numbers, are those of the traced twin."""
    black = gusty_problem(to.BlackBoxDynamics(gusty_batch, 2, 1))
    twin = gusty_problem(to.DiscreteDynamics(gusty, 2, 1))
    assert black.dynamics.timed
    for changes in ({}, {"parameters": {"gravity": 2.0}}, {"horizon": to.Horizon(steps=20, start=3.0)}):
        called, traced = (to.solve(p.at(**changes), MultipleShooting()) for p in (black, twin))
        assert called.certified
        assert called.cost == pytest.approx(traced.cost, rel=1e-8)
        np.testing.assert_allclose(called.u, traced.u, atol=1e-6)
        np.testing.assert_allclose(called.multipliers["costates"], traced.multipliers["costates"], atol=1e-6)


def test_an_evaluation_is_one_batch():
    """While IPOPT works, every call of a module has all stages; about one for each function that it evaluates."""
    sizes = []
    module = feed_forward()

    def counted(z):
        sizes.append(len(z))
        return module(z)

    problem = reaching(TorchDynamics(counted, 2, 1, output="delta"))
    sizes.clear()
    outcome = MultipleShooting().run(problem, to.guess.make_guess(problem, None), to.monitor.Monitor())
    assert outcome.status.success
    assert set(sizes) == {problem.horizon.steps}
    assert len(sizes) <= 4 * outcome.iterations + 10  # trial points, Jacobian, Hessian, and what scaling asks for


def test_second_derivatives():
    """Those of PyTorch are the traced network's, to rounding; differences agree to what truncation leaves."""
    dynamics = TorchDynamics(feed_forward(), 2, 1, output="delta")
    boxed = to.BlackBoxDynamics(lambda x, u: dynamics.step(x, u, 0, None, RNG), 2, 1)
    rows = torch.tensor(np.hstack([X, U]))
    expected = [
        torch.autograd.functional.hessian(lambda z, w=weights: w @ dynamics.module(z), row).numpy()
        for row, weights in zip(rows, torch.tensor(WEIGHTS), strict=True)
    ]
    np.testing.assert_allclose(dynamics.curvature(X, U, 0, None, WEIGHTS), expected, atol=1e-14)
    np.testing.assert_allclose(boxed.curvature(X, U, 0, None, WEIGHTS), expected, atol=1e-4)
    linear = TorchDynamics(nn.Linear(3, 2).double(), 2, 1)
    np.testing.assert_array_equal(linear.curvature(X, U, 0, None, WEIGHTS), 0.0)


@pytest.mark.parametrize("kind", [NeuralNetwork, partial(ProbabilisticEnsemble, members=2, propagation="expectation")])
def test_second_derivatives_of_fitted_networks(kind):
    """A fitted network's are those of its expression, to float32; its steps are one batch."""
    model = kind(2, 1, hidden=(8,), epochs=2).fit(*sample(40))
    traced = to.Problem(model.to_traced(), initial_state=[0.0, 0.0], horizon=to.Horizon(steps=1)).model
    z, weights = ca.vertcat(traced.x, traced.u), ca.SX.sym("w", 2)
    function = ca.Function("h", [z, weights], [ca.hessian(ca.dot(weights, traced.dynamics), z)[0]])
    expected = [function(row, weight).full() for row, weight in zip(np.hstack([X, U]), WEIGHTS, strict=True)]
    np.testing.assert_allclose(model.curvature(X, U, 0, None, WEIGHTS), expected, atol=1e-5)
    assert not model.timed


def test_a_module_that_fails_ends_the_solve_with_its_own_error():
    """Behind some calls a module raises: the sentence is the library's, not CasADi's, and the next solve is as new."""
    calls, limit, module = [0], [10**9], feed_forward()

    def failing(z):
        calls[0] += 1
        if calls[0] > limit[0]:
            raise RuntimeError("CUDA error: out of memory")
        return module(z)

    problem = reaching(TorchDynamics(failing, 2, 1, output="delta"))
    expected = to.solve(problem, MultipleShooting())
    for healthy in (0, 1, 2, 12):
        calls[0], limit[0] = 0, healthy
        with pytest.raises(to.InvalidProblem, match=r"the module raised RuntimeError .*out of memory") as caught:
            to.solve(problem, MultipleShooting())
        assert "casadi" not in str(caught.value).lower()
    limit[0] = 10**9
    np.testing.assert_array_equal(to.solve(problem, MultipleShooting()).u, expected.u)


def test_numbers_that_are_not_finite_are_no_success():
    """A network that turns to NaN, at once or on the way, ends in a status of failure with a finite answer."""
    calls, module = [0], feed_forward()
    for healthy in (1, 15):

        def poisoned(z, healthy=healthy):
            calls[0] += 1
            return module(z) * (1.0 if calls[0] <= healthy else np.nan)

        problem = reaching(TorchDynamics(poisoned, 2, 1, output="delta"))
        solution = to.solve(problem, MultipleShooting())
        assert not solution.success
        assert not solution.certified
        assert np.isfinite(solution.x).all()


def test_what_has_no_derivative_is_told():
    """A module whose output left autograd is refused in a sentence."""
    frozen = TorchDynamics(lambda x, u: torch.from_numpy(0.9 * x.detach().numpy()), 2, 1)
    with pytest.raises(to.InvalidProblem, match=r"derivatives of the module .* differentiable operations"):
        to.solve(reaching(frozen, constraints=[]), MultipleShooting())


def test_what_is_refused():
    """Chance, free parameters, single shooting, and optimisers that differentiate the program themselves."""
    network = TorchDynamics(feed_forward(), 2, 1)
    random = to.BlackBoxDynamics(lambda x, u, rng: x + rng.normal(size=x.shape), 2, 1)
    for problem, solver, told in (
        (reaching(random), MultipleShooting(), "stochastic dynamics"),
        (reaching(network, parameters={"a": to.Free(0.0, 1.0)}), Collocation(), "free parameters"),
        (reaching(network), SingleShooting(), "black-box dynamics"),
        (reaching(network), MultipleShooting(nlp="uno"), "take nlp='ipopt'"),
    ):
        with pytest.raises(to.UnsupportedProblem, match=told):
            to.solve(problem, solver)


def test_threads_share_a_program():
    """Solves in several threads at once, of one model, give the bits of solves one by one; errors stay apart."""
    module, bad = feed_forward(), threading.local()

    def sometimes(z):
        if getattr(bad, "here", False):
            raise RuntimeError("this thread alone")
        return module(z)

    problem = reaching(TorchDynamics(sometimes, 2, 1, output="delta"))
    variants = [problem.at(initial_state=[start, None]) for start in (0.9, 1.0, 1.1)]

    def run(variant):
        bad.here = variant is None
        try:
            return to.solve(variant or variants[0], MultipleShooting()).u
        except to.InvalidProblem as error:
            return str(error)

    alone = [to.solve(variant, MultipleShooting()).u for variant in variants]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, [variants[0], None, *variants[1:]]))
    assert "this thread alone" in together.pop(1)
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)


def test_programs_live_as_long_as_their_model():
    """Callbacks survive a collection of garbage between solves, and go with the problem."""
    problem = reaching(TorchDynamics(feed_forward(), 2, 1, output="delta"))
    first = to.solve(problem, MultipleShooting()).u
    gc.collect()
    np.testing.assert_array_equal(to.solve(problem, MultipleShooting()).u, first)
    model = weakref.ref(problem.model)
    del problem
    gc.collect()
    assert model() is None


def test_phases_may_be_black_boxes():
    """Two phases, of which one is a network, have the optimum of two traced ones."""
    network = TorchDynamics(feed_forward(), 2, 1, output="delta")

    def phases(dynamics):
        cost = lambda x, u: x @ x + u @ u  # noqa: E731
        first = to.Problem(dynamics, cost, initial_state=[1.0, 0.0], horizon=to.Horizon(steps=6), name="network")
        second = to.Problem(
            to.DiscreteDynamics(lambda x, u: np.array([x[0] + 0.1 * x[1], x[1] + u[0]]), 2, 1), cost,
            lambda x: 10.0 * x @ x, horizon=to.Horizon(steps=6), name="traced",
        )  # fmt: skip
        return to.MultiPhaseProblem([first, second])

    called, traced = (to.solve(phases(d), MultipleShooting()) for d in (network, network.to_traced()))
    assert called.success
    assert called.cost == pytest.approx(traced.cost, rel=1e-8)
