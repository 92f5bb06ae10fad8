"""Merits and derivatives behind gradient shooting: against finite differences, PyTorch's autograd, and each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import trajopt as to
from tests.sampling_cases import swing
from trajopt.batch_dynamics import BatchDynamics
from trajopt.errors import UnsupportedProblem
from trajopt.guess import make_guess
from trajopt.learned_dynamics import NeuralNetwork, ProbabilisticEnsemble, TorchDynamics
from trajopt.learned_dynamics.ensemble import Propagation
from trajopt.solvers import GradientShooting
from trajopt.solvers.gradient.objective import Objective, make_objective
from trajopt.solvers.sampling import CVaR, Exponential, Mean, Risk, Worst

GENERATOR = np.random.default_rng(5)


def objective_of(problem: to.Problem, *, second_order: bool = False, **options: Any) -> Objective:
    """With the settings of a solver."""
    return make_objective(GradientShooting(**options), problem, make_guess(problem, None), second_order=second_order)


def penalty_of(objective: Objective, weight: float = 2.5) -> Any:
    """Multipliers that make rows act on both sides."""
    penalty = objective.make_penalty(weight)
    penalty.path[:] = np.random.default_rng(1).normal(size=penalty.path.shape)
    penalty.end[:] = np.random.default_rng(2).normal(size=penalty.end.shape)
    return penalty


def differences(objective: Objective, controls: np.ndarray, penalty: Any, step: float) -> np.ndarray:
    """Central differences of the merit by every control."""
    size = controls.size
    shifts = step * np.eye(size).reshape(size, *controls.shape)
    plans = objective.values(np.concatenate([controls + shifts, controls - shifts]), [penalty] * 2 * size)
    merits = np.array([plan.merit for plan in plans]).reshape(2, size)
    return ((merits[0] - merits[1]) / (2.0 * step)).reshape(controls.shape)


def torch_swing(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The same as `swing`, on tensors."""
    return torch.stack([x[:, 0] + 0.1 * x[:, 1], x[:, 1] + 0.1 * (u[:, 0] - torch.sin(x[:, 0]))], dim=1)


def models() -> dict[str, BatchDynamics | None]:
    """None for the traced one."""
    black = swing(black_box=True).dynamics
    assert isinstance(black, BatchDynamics)
    return {"traced": None, "black box": black, "torch": TorchDynamics(torch_swing, nx=2, nu=1)}


def problem_of(model: BatchDynamics | None) -> to.Problem:
    """The constrained swing on that model."""
    from dataclasses import replace  # noqa: PLC0415

    return swing() if model is None else replace(swing(), dynamics=model)


@pytest.mark.parametrize("name", models())
def test_gradients_agree_with_differences_and_each_other(name: str) -> None:
    """With all kinds of rows and a cost of time, to the truncation of the differences; the models agree to 1e-8."""
    controls = GENERATOR.uniform(-1.0, 1.0, (2, 20, 1))
    objective = objective_of(problem_of(models()[name]))
    penalty = penalty_of(objective)
    plans, gradients = objective.gradients(controls, [penalty] * 2)
    for plan, u, gradient in zip(plans, controls, gradients, strict=True):
        expected = differences(objective, u, penalty, 1e-5)
        assert np.abs(gradient - expected).max() < 1e-7 * (1.0 + np.abs(expected).max())
        assert objective.values(u[None], [penalty])[0].merit == plan.merit
    twin = objective_of(swing())
    other, there = twin.gradients(controls, [penalty_of(twin)] * 2)
    assert [plan.merit for plan in plans] == pytest.approx([plan.merit for plan in other], rel=1e-12)
    assert np.abs(gradients - there).max() < 1e-8 * np.abs(there).max()


def test_the_condensed_hessian_agrees_with_differences_of_gradients() -> None:
    """Exact for a traced model, with curvature of dynamics, costs and rows; without that of the dynamics for others."""
    controls = GENERATOR.uniform(-1.0, 1.0, (20, 1))
    exact, step = objective_of(swing(), second_order=True), 1e-5
    penalty = penalty_of(exact)
    plan = exact.values(controls[None], [penalty])[0]
    found = exact.hessian(plan, penalty)
    shifts = step * np.eye(20)[:, :, None]
    _, gradients = exact.gradients(np.concatenate([controls + shifts, controls - shifts]), [penalty] * 40)
    expected = (gradients[:20, :, 0] - gradients[20:, :, 0]) / (2.0 * step)
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()
    assert np.array_equal(found, found.T)
    matrices = []
    for name in ("black box", "torch"):
        objective = objective_of(problem_of(models()[name]), second_order=True)
        there = objective.values(controls[None], [penalty_of(objective)])[0]
        matrices.append(objective.hessian(there, penalty_of(objective)))
    assert np.abs(matrices[0] - matrices[1]).max() < 1e-7 * np.abs(expected).max()
    assert 1e-6 < np.abs(matrices[0] - expected).max() / np.abs(expected).max() < 0.5


def test_linear_dynamics_have_the_same_hessian_in_every_model() -> None:
    """Without curvature of the dynamics nothing is left out."""
    a, b = np.array([[1.0, 0.2], [-0.1, 0.9]]), np.array([[0.0], [0.3]])
    cost = {"stage_cost": lambda x, u: x[0] ** 4 + u[0] ** 2 * (1.0 + x[1] ** 2), "initial_state": [1.0, -0.5]}
    horizon = to.Horizon(steps=8)
    traced = to.Problem(to.DiscreteDynamics(lambda x, u: a @ x + b @ u, nx=2, nu=1), horizon=horizon, **cost)
    black = to.Problem(to.BlackBoxDynamics(lambda x, u: x @ a.T + u @ b.T, nx=2, nu=1), horizon=horizon, **cost)
    matrices = []
    for problem in (traced, black):
        objective = objective_of(problem, second_order=True)
        penalty = objective.make_penalty(1.0)
        plan = objective.values(np.full((1, 8, 1), 0.3), [penalty])[0]
        matrices.append(objective.hessian(plan, penalty))
    assert np.abs(matrices[0] - matrices[1]).max() < 1e-8 * np.abs(matrices[0]).max()


def test_the_gradient_is_that_of_pytorch() -> None:
    """The whole objective written in PyTorch, rollout and cost, and differentiated there."""
    controls = GENERATOR.uniform(-1.0, 1.0, (20, 1))
    objective = objective_of(to.Problem(
        swing().dynamics, lambda x, u, t: 0.1 * x @ x + 0.01 * t * u @ u, initial_state=[0.1, 0.0],
        horizon=to.Horizon(steps=20),
    ))  # fmt: skip
    u = torch.tensor(controls, requires_grad=True)
    x, cost = torch.tensor([[0.1, 0.0]], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for k in range(20):
        cost = cost + 0.1 * (x @ x.T).squeeze() + 0.01 * k * u[k] @ u[k]
        x = torch_swing(x, u[k : k + 1])
    cost.backward()
    plans, gradients = objective.gradients(controls[None], [objective.make_penalty(1.0)])
    assert plans[0].merit == pytest.approx(float(cost.detach()), rel=1e-13)
    assert np.abs(gradients[0] - u.grad.numpy()).max() < 1e-13  # type: ignore[union-attr]


@pytest.mark.parametrize("risk", [Mean(), Worst(), CVaR(0.3), CVaR(1.0), Exponential(0.7)], ids=str)
def test_weights_of_a_risk_are_its_derivatives(risk: Risk) -> None:
    """They sum to one and agree with differences; what does not count has none."""
    merits = GENERATOR.normal(size=(7, 3))
    weights, step = risk.weights(merits), 1e-6
    for row in range(7):
        shift = np.zeros((7, 3))
        shift[row] = step
        expected = (risk.aggregate(merits + shift) - risk.aggregate(merits - shift)) / (2.0 * step)
        assert np.abs(weights[row] - expected).max() < 1e-8
    assert np.abs(weights.sum(axis=0) - 1.0).max() < 1e-14


@pytest.mark.parametrize("risk", [Mean(), CVaR(0.25), Exponential(2.0)], ids=str)
def test_gradients_go_along_the_particles(risk: Risk) -> None:
    """The risk over particles of a random model is differentiated for the random numbers that it met."""

    def noisy(x, u, rng):  # fmt: skip
        return torch_swing(x, u) + 0.1 * (1.0 + u) * torch.randn(x.shape, generator=rng, dtype=x.dtype)

    problem = problem_of(TorchDynamics(noisy, nx=2, nu=1))
    objective = objective_of(problem, particles=12, risk=risk, seed=3)
    penalty, controls = penalty_of(objective), GENERATOR.uniform(-1.0, 1.0, (2, 20, 1))
    plans, gradients = objective.gradients(controls, [penalty] * 2)
    for u, gradient in zip(controls, gradients, strict=True):
        expected = differences(objective, u, penalty, 1e-5)
        assert np.abs(gradient - expected).max() < 1e-6 * np.abs(expected).max()
    alone = objective.gradients(controls[1:], [penalty])
    assert alone[0][0].merit == plans[1].merit  # common random numbers: a plan's merit does not depend on the others
    assert np.array_equal(alone[1][0], gradients[1])


def fitted_ensemble(propagation: Propagation) -> ProbabilisticEnsemble:
    """Two small members, hardly trained: what matters is that they are smooth."""
    generator = np.random.default_rng(0)
    x, u = generator.normal(size=(200, 2)), generator.normal(size=(200, 1))
    after = torch_swing(torch.tensor(x), torch.tensor(u)).numpy()
    model = ProbabilisticEnsemble(2, 1, members=2, hidden=(8,), epochs=3, propagation=propagation)
    return model.fit(x, u, after)


@pytest.mark.parametrize("propagation", ["ts1", "tsinf", "moment_matching", "expectation", "mean_sample"])
def test_ensembles_are_differentiated_along_their_members(propagation: Propagation) -> None:
    """States are those of a rollout, and the pullback agrees with differences to what float32 leaves of them."""
    model = fitted_ensemble(propagation)
    start, controls = np.tile([0.3, -0.2], (6, 1)), GENERATOR.uniform(-1.0, 1.0, (6, 4, 1))
    states, pull = model.pullback(start, controls, 0.0, None, np.random.default_rng(4))
    rolled = model.rollout(start, controls, 0.0, None, np.random.default_rng(4))
    # One in PyTorch, one in machine code, both in single precision: four steps of a few roundings of 6e-8 each.
    assert np.abs(states - rolled).max() < 1e-6
    weights = GENERATOR.normal(size=states.shape)
    gradient, direction = pull(weights), GENERATOR.normal(size=controls.shape)
    ends = [
        np.sum(weights * model.rollout(start, controls + sign * 1e-2 * direction, 0.0, None, np.random.default_rng(4)))
        for sign in (1.0, -1.0)
    ]
    expected = (ends[0] - ends[1]) / 2e-2
    # float32 leaves 1e-7 of a sum of 50 states over 2e-2, and the step's square its share of the third derivative.
    assert abs(np.sum(gradient * direction) - expected) < 1e-3 * (1.0 + abs(expected))


def test_networks_are_pulled_back_as_their_jacobians_say() -> None:
    """One backward pass over the rollout gives what the linearised steps give, one by one."""
    generator = np.random.default_rng(0)
    x, u = generator.normal(size=(100, 2)), generator.normal(size=(100, 1))
    model = NeuralNetwork(2, 1, hidden=(8,), epochs=3).fit(x, u, torch_swing(torch.tensor(x), torch.tensor(u)).numpy())
    start, controls = np.tile([0.3, -0.2], (3, 1)), GENERATOR.uniform(-1.0, 1.0, (3, 5, 1))
    weights = GENERATOR.normal(size=(3, 6, 2))
    arguments = start, controls, 0.0, None, np.random.default_rng(0)
    one, other = model.pullback(*arguments), BatchDynamics.pullback(model, *arguments)
    assert np.abs(one[0] - other[0]).max() < 1e-6
    assert np.abs(one[1](weights) - other[1](weights)).max() < 1e-5


def test_models_that_cannot_be_differentiated_say_so() -> None:
    """A random black box has no derivatives; a module that the controls do not reach has zero ones."""
    random = to.BlackBoxDynamics(lambda x, u, rng: x + u + rng.normal(size=x.shape), nx=1, nu=1)
    problem = to.Problem(random, lambda x, u: x @ x, initial_state=[1.0], horizon=to.Horizon(steps=3))
    with pytest.raises(UnsupportedProblem, match="random"):
        to.solve(problem, GradientShooting())
    with pytest.raises(UnsupportedProblem, match="stochastic dynamics"):
        to.solve(problem, GradientShooting(method="newton"))
    still = TorchDynamics(lambda x, u: 0.5 * x, nx=1, nu=1)
    states, pull = still.pullback(np.ones((1, 1)), np.ones((1, 2, 1)), 0.0, None, np.random.default_rng(0))
    assert np.array_equal(states.ravel(), [1.0, 0.5, 0.25])
    assert np.array_equal(pull(np.ones((1, 3, 1))), np.zeros((1, 2, 1)))
