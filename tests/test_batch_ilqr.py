"""iLQR over dynamics that are not traced: the same optima as over traced ones, and a swing-up in MuJoCo."""

from __future__ import annotations

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.certificate import certify
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.plain import PlainFunctions
from trajopt.solvers import ILQR, LQR
from trajopt.solvers.batch_ilqr import BatchCosts
from trajopt.solvers.kernels.batch_sweep import Models

A, B = np.array([[1.0, 0.1], [-0.05, 0.98]]), np.array([[0.0], [0.1]])


def run(problem, guess=None, **settings):
    """What `ILQR` hands back."""
    return ILQR(**settings).run(problem, make_guess(problem, guess), Monitor())


def swing(x, u, t, p):
    return np.array([x[0] + 0.05 * x[1], x[1] + 0.05 * (u[0] - p.gravity * np.sin(x[0]) + 0.1 * np.sin(0.2 * t))])


def swing_batch(x, u, t, p):
    return np.stack([swing(state, control, t, p) for state, control in zip(x, u, strict=True)])


def pendulum(dynamics, **options):
    """Swing-up with a limited torque, a gust that depends on time, and gravity as a parameter."""
    return to.Problem(
        dynamics,
        lambda x, u, t: 0.05 * (0.1 * (1 + np.cos(x[0])) + 0.1 * x[1] ** 2 + (0.1 + 1e-3 * t) * u @ u),
        lambda x: 10 * (1 + np.cos(x[0])) + x[1] ** 2,
        initial_state=[0.1, 0.0],
        constraints=[to.Bounds(control=(-1.2, 1.2)), *options.pop("constraints", [])],
        horizon=to.Horizon(steps=80),
        parameters={"gravity": 1.0},
        **options,
    )


BLACK = pendulum(to.BlackBoxDynamics(swing_batch, nx=2, nu=1))


def test_black_box_has_the_optimum_of_its_twin():
    """The same function as a black box leads to the optimum that traced iLQR finds, bounds active, to its tolerance."""
    solution = to.solve(pendulum(to.DiscreteDynamics(swing, nx=2, nu=1)), ILQR())
    outcome = run(BLACK)
    assert solution.success
    assert outcome.status.success
    assert outcome.cost == pytest.approx(solution.cost, rel=1e-8)
    assert np.abs(outcome.trajectory.u).max() == 1.2
    # The cost is quadratic in the control near the optimum: half the digits.
    np.testing.assert_allclose(outcome.trajectory.u, solution.u, atol=1e-3)


def test_one_step_on_a_linear_quadratic_problem():
    """Linear dynamics and a quadratic cost are solved by one step, with the gains of LQR."""

    def problem(dynamics):
        return to.Problem(
            dynamics, lambda x, u: x @ x + 0.1 * u @ u + 0.1 * x[0] * u[0], lambda x: 5.0 * x @ x,
            initial_state=[1.0, -0.5], horizon=to.Horizon(steps=40),
        )  # fmt: skip

    exact = to.solve(problem(to.DiscreteDynamics(lambda x, u: A @ x + B @ u, nx=2, nu=1)), LQR())
    outcome = run(problem(to.BlackBoxDynamics(lambda x, u: x @ A.T + u @ B.T, nx=2, nu=1)))
    assert outcome.status.success
    assert outcome.iterations <= 2  # the second finds that nothing is left
    assert outcome.cost == pytest.approx(exact.cost, rel=1e-12)
    np.testing.assert_allclose(outcome.feedback, exact.feedback, atol=1e-8)  # differences are exact up to eps^(2/3)


def test_costs_and_models_are_those_of_the_functions():
    """Costs of many trajectories at once are the user's own sums, and their models are differences of these."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(3, 81, 2)), rng.normal(size=(3, 80, 1))
    costs, functions = BatchCosts(BLACK), PlainFunctions(BLACK, BLACK.layout.pack(BLACK.parameters))
    totals = [
        sum(functions.stage_cost(x[i, k], u[i, k], k) for k in range(80)) + functions.terminal_cost(x[i, 80], 80)
        for i in range(3)
    ]
    np.testing.assert_allclose(costs.total(x, u), totals, rtol=1e-13)
    models = Models(*(np.zeros(size) for size in ((80, 2, 3), (80, 3), (80, 3, 3), (2,), (2, 2))))
    costs.expand(x[0], u[0], models)
    dx, du = rng.normal(size=(81, 2)), rng.normal(size=(80, 1))
    dz = np.concatenate([dx[:-1], du], axis=1)
    slope = (models.g * dz).sum() + models.end_gradient @ dx[-1]
    curvature = np.einsum("ki,kij,kj", dz, models.H, dz) + dx[-1] @ models.end_hessian @ dx[-1]
    h = 1e-4  # truncation h^2 = 1e-8, rounding eps / h^2 = 2e-8 of costs below 1e2
    moves = h * np.array([1, -1, 0])[:, None, None]
    ends = costs.total(x[:1] + moves * dx, u[:1] + moves * du)
    assert (ends[0] - ends[1]) / (2 * h) == pytest.approx(slope, rel=1e-6)
    assert (ends[0] - 2 * ends[2] + ends[1]) / h**2 == pytest.approx(curvature, rel=1e-5)


def test_swing_up_in_mujoco():
    """iLQR swings the pole of Gymnasium's cart-pole up, and the certificate confirms cost and dynamics."""
    problem = problems.load("inverted-pendulum-swingup")
    outcome = run(problem)
    assert outcome.status.success
    solution = to.Solution(problem, "ILQR", outcome.status, outcome.trajectory, outcome.cost, outcome.iterations)
    certificate = certify(solution)
    assert certificate.passed
    assert certificate.defect == 0.0
    end = outcome.trajectory.x[-1]
    assert np.cos(end[1]) > 0.99  # upright within 8 degrees
    assert np.abs(end[0]) < 0.1


def test_limits_and_trouble():
    """Limits keep the best so far, a cost that is not finite is told, and an optimal start is known at once."""
    few = run(BLACK, iterations=3)
    assert few.status is to.Status.ITERATION_LIMIT
    assert few.iterations == 3
    again = run(BLACK, guess=(few.trajectory.t, few.trajectory.x, few.trajectory.u[[*range(80), 79]]))
    assert again.status.success
    explosive = to.Problem(
        to.BlackBoxDynamics(lambda x, u: 1e200 * x + u, nx=1, nu=1),
        lambda x, u: x @ x,
        initial_state=[1.0],
        horizon=to.Horizon(steps=3),
    )
    assert run(explosive).status is to.Status.NUMERICAL_FAILURE


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            pendulum(BLACK.dynamics, constraints=[to.TerminalConstraint([np.pi, None])]),
            "terminal constraints",
        ),
        (pendulum(BLACK.dynamics, constraints=[to.Bounds(state=(-9, 9))]), "state bounds"),
        (
            pendulum(to.BlackBoxDynamics(lambda x, u, rng: x + rng.normal(size=x.shape), nx=2, nu=1)),
            "stochastic dynamics",
        ),
    ],
)
def test_other_constraints_are_refused(problem, told):
    """What the method leaves out is refused by name."""
    with pytest.raises(to.UnsupportedProblem, match=f"ILQR was given a problem with .*{told}"):
        to.solve(problem, ILQR())
