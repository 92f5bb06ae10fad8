"""SingleShooting: exact derivatives, the same program as MultipleShooting and DDP, and the library."""

import casadi as ca
import numpy as np
import pytest
from ilqr_cases import cartpole, pendulum
from test_library import assert_reaches_the_optimum, published

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.solvers import DDP
from trajopt.solvers.multiple_shooting import MultipleShooting
from trajopt.solvers.single_shooting import SingleShooting
from trajopt.status import Status
from trajopt.trajectory import Interpolation
from trajopt.transcription.condensing import condense

SLOW = {
    "crane-container",
    "missile-bunt",
    "quadrotor-min-time",
    "robot-arm",
    "space-shuttle-reentry",
    "time-delay",
}
"""Many unknowns and many rows, dense: thorough runs only."""

TOO_LONG = {"alp-rider", "bioreactor-month", "space-shuttle-reentry-heating"}
"""Not ended within a minute: unstable over a long horizon, with many bounded states."""

NOT_REACHED = {
    "algal-bacterial": "the rollout of the guess grows without bounds",
    "stirred-tank": "the tank is unstable over the horizon, and its bounds cannot be met from the guess",
}
"""Published optima that are not reached, and why; it must not claim success there."""

BEATEN = {"cartpole-swingup"}
"""Published optima that are local minima, and not the one that shooting finds."""

QUASI = (
    "brachistochrone",
    "bryson-denham",
    "dtoc3",
    "gas-oil-cracking",
    "isoperimetric-area",
    "rayleigh",
    "two-link-arm",
)
"""Of every kind of constraint and unknown one, for the quasi-Newton method."""


def everything(steps=6):
    """A pendulum with every kind of constraint and of unknown, nonlinear in all of them."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u, t, p: np.array([x[1], -p.rate * np.sin(x[0]) + u[0] * np.cos(0.2 * t) + 0.1 * u[1] ** 2]),
            nx=2, nu=2,
        ),
        stage_cost=lambda x, u, t: x[0] ** 2 + 0.5 * u @ u + 0.1 * t * u[0] ** 4,
        terminal_cost=lambda x, t, p: 2.0 * x[1] ** 2 + 0.3 * t**2 + p.rate**2,
        initial_state=[1.0, None],
        constraints=[
            to.Bounds(control=([-2.0, None], [2.0, 1.0]), state=([None, -1.5], [None, 1.0])),
            to.PathConstraint(lambda x, u: [x[0] * u[1], x[0] ** 2], upper=[0.5, 1.2]),
            to.TerminalConstraint(lambda x, t: x[0] + 0.1 * t, lower=0.0, upper=0.4),
            to.BoundaryConstraint(lambda x0, xf, t0, tf: xf[1] - 0.5 * x0[1] - 0.01 * t0 * tf),
            to.IntegralConstraint(lambda x, u: u[1] * x[0], lower=0.02, upper=1.0),
        ],
        parameters={"rate": to.Free(0.5, 3.0, guess=1.0)},
        horizon=to.Horizon(to.Free(0.5, 4.0, guess=1.5), steps=steps, start=to.Free(0.0, 1.0, guess=0.3)),
    )  # fmt: skip


def condensed_at_random(solver):
    """The condensed functions of `everything`, a point, its parameters, and multipliers."""
    problem, generator = everything(), np.random.default_rng(0)
    structure, full = solver.transcribe(problem, make_guess(problem, None))
    instance = condense(structure, problem).pose(full)
    point = instance.scaling.apply(instance.guess) + 0.1 * generator.normal(size=instance.program.size)
    return instance.program.functions, point, instance.parameters, generator.normal(size=instance.program.rows)


def central_differences(function, point, step=1e-5):
    """Columns of the Jacobian; the truncation is step^2 f''', the rounding 1e-16 / step, both near 1e-10."""
    return np.stack(
        [
            (function(point + step * direction) - function(point - step * direction)) / (2 * step)
            for direction in np.eye(point.size)
        ],
        axis=-1,
    )


@pytest.mark.parametrize("substeps", [1, 2])
def test_adjoint_and_sensitivities_equal_central_differences(substeps):
    """Gradient of the cost by the backward sweep, Jacobian of the rows by forward substitution."""
    functions, point, parameters, _ = condensed_at_random(SingleShooting(substeps=substeps))
    value = lambda y, part: functions["nlp"](y, parameters)[part].full().ravel()  # noqa: E731
    gradient = functions["grad_f"](point, parameters)[1].full().ravel()
    jacobian = functions["jac_g"](point, parameters)[1].full()
    np.testing.assert_allclose(gradient, central_differences(lambda y: value(y, 0), point)[0], rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(jacobian, central_differences(lambda y: value(y, 1), point), rtol=1e-7, atol=1e-8)


def test_condensed_hessian_equals_differences_of_the_gradient():
    """Of the Lagrangian, with random multipliers on every row."""
    functions, point, parameters, multipliers = condensed_at_random(SingleShooting())

    def gradient(y):
        cost, jacobian = functions["grad_f"](y, parameters)[1], functions["jac_g"](y, parameters)[1]
        return (0.7 * cost + jacobian.T @ ca.DM(multipliers)).full().ravel()

    upper = functions["hess_lag"](point, parameters, 0.7, multipliers).full()
    np.testing.assert_array_equal(np.tril(upper, -1), 0.0)
    whole = upper + np.triu(upper, 1).T
    np.testing.assert_allclose(whole, central_differences(gradient, point), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("method", ["newton", "quasi-newton"])
def test_the_same_program_as_multiple_shooting(method):
    """Cost, trajectory, costates and multipliers of every kind agree to the solvers' tolerance."""
    tight = {"tolerance": 1e-10}
    one, other = (to.solve(everything(), s) for s in (SingleShooting(method, **tight), MultipleShooting(**tight)))
    assert one.success
    assert one.trajectory.interpolation is Interpolation.HOLD
    assert one.cost == pytest.approx(other.cost, rel=1e-8)
    # Limits that press lightly are met by the barrier to sqrt(tolerance) in the worst case.
    np.testing.assert_allclose(one.x, other.x, atol=1e-5)
    np.testing.assert_allclose(one.u, other.u, atol=1e-5)
    assert one.parameters["rate"] == pytest.approx(other.parameters["rate"], abs=1e-5)
    assert one.multipliers.keys() == other.multipliers.keys()
    for name, values in one.multipliers.items():
        np.testing.assert_allclose(values, other.multipliers[name], atol=1e-4, err_msg=name)


def caught_cartpole():
    """A pole near the top to be caught against the bound on the force."""
    return cartpole(start=(0.5, np.pi - 0.6, 0.0, 0.0), steps=32)


@pytest.mark.parametrize(
    ("solver", "make"),
    [(SingleShooting, pendulum), (SingleShooting, caught_cartpole), (MultipleShooting, cartpole)],
)
def test_the_optimum_of_differential_dynamic_programming(solver, make):
    """The discretised problem is the same; DDP stops within its Newton decrement 1e-8 (1 + |J|) of the optimum."""
    problem = make()
    reference = to.solve(problem, DDP())
    solution = to.solve(problem, solver(tolerance=1e-10), guess=reference)
    assert reference.success
    assert solution.success
    assert solution.cost == pytest.approx(reference.cost, rel=1e-8, abs=1e-8)


def test_every_iterate_obeys_the_dynamics():
    """Stopped after two iterations, the states are those of the controls, by Euler steps written out."""
    problem = cartpole(steps=20)
    solution = to.solve(problem, SingleShooting(integrator="euler", iterations=2))
    assert solution.status is Status.ITERATION_LIMIT
    x = problem.initial_values
    for k, u in enumerate(solution.u):
        np.testing.assert_allclose(solution.x[k], x, rtol=1e-12, atol=1e-12)
        _, angle, velocity, rate = x
        s, c = np.sin(angle), np.cos(angle)
        mass = 1.0 + 0.25 * s * s
        acceleration = (u[0] + 0.25 * s * (0.5 * rate**2 + 9.81 * c)) / mass
        turning = (-u[0] * c - 0.125 * rate**2 * c * s - 12.2625 * s) / (0.5 * mass)
        x = x + np.array([velocity, rate, acceleration, turning]) / 16
    assert np.ptp(solution.u) > 1.0  # it had begun to move


def test_the_guess_of_the_states_does_not_matter():
    """Only its controls do: the same bits."""
    problem = cartpole(steps=20)
    t, u = np.linspace(0, 20 / 16, 21), np.ones((20, 1))
    one, other = (
        to.solve(problem, SingleShooting(iterations=5), guess=(t, np.full((21, 4), level), u)) for level in (0.0, 3.0)
    )
    np.testing.assert_array_equal(one.x, other.x)


def test_a_rollout_that_blows_up_is_no_answer():
    """x' = x^2 from 1 leaves every bound at t = 1: the guess comes back, and the status says why."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: x**2 + u, nx=1, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u,
        initial_state=[1.0],
        horizon=to.Horizon(3.0, steps=40),
    )
    solution = to.solve(problem, SingleShooting())
    assert solution.status is Status.NUMERICAL_FAILURE
    assert np.isfinite(solution.x).all()
    # From a control that keeps it bounded, trial steps that blow up are cut back.
    t, braking = np.linspace(0, 3, 41), np.full((40, 1), -1.0)
    saved = to.solve(problem, SingleShooting(), guess=(t, np.ones((41, 1)), braking))
    assert saved.success
    assert saved.cost < 3.0 * 2.0


def assert_reaches_or_says_not(name):
    solution = to.solve(problems.load(name), SingleShooting())
    if name in NOT_REACHED:
        assert not solution.success
        return
    assert solution.status is Status.SOLVED
    if name in BEATEN:
        assert solution.certificate.cost < problems.reference(name).cost
        return
    assert_reaches_the_optimum(solution, name)


@pytest.mark.parametrize("name", sorted(set(published(SingleShooting())) - SLOW - TOO_LONG))
def test_published_optima_are_reached(name):
    """Every problem of the library with a known optimum, of every kind."""
    assert_reaches_or_says_not(name)


@pytest.mark.thorough
@pytest.mark.parametrize("name", sorted(set(published(SingleShooting())) & SLOW))
def test_slow_published_optima_are_reached(name):
    """As above, for those that take long."""
    assert_reaches_or_says_not(name)


@pytest.mark.parametrize("name", QUASI)
def test_gradients_alone_reach_published_optima(name):
    """Limited-memory BFGS needs more iterations and no second derivative."""
    solution = to.solve(problems.load(name), SingleShooting("quasi-newton"))
    assert solution.status is Status.SOLVED
    assert_reaches_the_optimum(solution, name)


@pytest.mark.parametrize("settings", [{"method": "bfgs"}, {"integrator": "rk5"}, {"substeps": True}])
def test_senseless_settings_are_refused(settings):
    """At construction, and the message names the solver and the setting."""
    with pytest.raises(to.InvalidProblem, match=f"^{next(iter(settings))}="):
        SingleShooting(**settings)
