"""Free times, free parameters, boundary and integral constraints: turned into states, solved, and turned back."""

from __future__ import annotations

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.solvers.interior_point import InteriorPoint
from trajopt.transcription.augmentation import augment
from trajopt.transcription.stages import compile_stages


def oscillator(u_cost=lambda x, u: u[0] ** 2, **settings):
    """A mass on a spring, driven."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] - x[0]]), nx=2, nu=1), stage_cost=u_cost, **settings
    )


def test_a_problem_without_reason_stays_itself():
    """Nothing is added where nothing needs it."""
    problem = problems.load("pendulum")
    assert augment(problem).problem is problem


def everything():
    """All five reasons at once, with functions that see time and parameters."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u, t, p: np.array([x[1], p.gain * u[0] - p.stiffness * x[0] + 0.1 * np.sin(t)]), nx=2, nu=1
        ),
        stage_cost=lambda x, u, t, p: u[0] ** 2 * (1.0 + 0.1 * t) + p.gain**2,
        terminal_cost=lambda x, t, p: 0.3 * t + x[0] ** 2,
        initial_state=[None, 0.5],
        constraints=[
            to.BoundaryConstraint(lambda x0, xf, t0, tf, p: xf[0] - x0[0] - 0.1 * (tf - t0) - p.gain, name="tie"),
            to.IntegralConstraint(lambda x, u, t: u[0] ** 2 + 0.1 * t, lower=None, upper=3.0, name="effort"),
            to.TerminalConstraint(lambda x, t: x[1] - 0.1 * t, name="leave"),
        ],
        parameters={"gain": to.Free(0.5, 2.0), "stiffness": 1.3},
        horizon=to.Horizon(to.Free(0.5, 3.0, guess=1.5), start=to.Free(-0.5, 0.5, guess=0.2), steps=40),
    )


def test_there_and_back():
    """A trajectory extended and restored is the same, with its times and parameters."""
    problem = everything()
    augmentation, guess = augment(problem), make_guess(problem, None)
    back = augmentation.restore(augmentation.extend(guess))
    np.testing.assert_allclose(back.t, guess.t, atol=1e-15)
    np.testing.assert_array_equal(back.x, guess.x)
    assert back.parameters["gain"] == guess.parameters["gain"]
    assert back.parameters["stiffness"] == 1.3


def test_the_step_of_the_new_problem_is_the_step_of_the_old():
    """One RK4 step in normalised time equals one with the original functions at the same time and length."""
    problem = everything()
    augmentation = augment(problem)
    stages = compile_stages(augmentation.problem, "rk4", second_order=None)
    x, u, p = np.array([0.3, -0.2]), np.array([0.7]), np.array([1.1, 1.3])
    duration, start, s, h = 2.5, 0.25, 0.4, 0.05
    extended = np.concatenate([x, [duration, start, p[0], 9.0, 4.0]])
    following, cost = stages.code.evaluate("step", extended, u, [s, h], np.array([99.0, p[1]]))
    plain = compile_stages(oscillator_like(problem), "rk4", second_order=None)
    expected, expected_cost = plain.code.evaluate("step", x, u, [start + duration * s, duration * h], p)
    np.testing.assert_allclose(following.ravel()[:2], expected.ravel(), rtol=1e-13)
    np.testing.assert_allclose(cost, expected_cost, rtol=1e-13)
    np.testing.assert_array_equal(following.ravel()[2:6], extended[2:6])
    assert following.ravel()[6] > 4.0


def oscillator_like(problem):
    """`everything` with fixed time and parameters, which compiles as it is."""
    return to.Problem(
        problem.dynamics,
        problem.stage_cost,
        initial_state=[0.0, 0.0],
        parameters={"gain": 1.0, "stiffness": 1.3},
        horizon=to.Horizon(1.0, steps=40),
    )


def test_everything_at_once_is_certified():
    """The core, which knows nothing of the added states, confirms constraints, cost and optimality."""
    solution = to.solve(everything(), InteriorPoint())
    assert solution.success, solution.message
    assert solution.certificate.violation <= 1e-6  # RK4 on 40 steps
    assert solution.certificate.cost_error <= 1e-6


def test_multipliers_go_to_their_constraints():
    """The cost's change with a limit is minus the multiplier of that row, for each kind of constraint."""

    def solve(shift=0.0, limit=1.0):
        problem = oscillator(
            lambda x, u: u[0] ** 2 + (x[0] - 1.0) ** 2,
            initial_state=[None, 0.0],
            constraints=[
                to.BoundaryConstraint(lambda x0, xf: xf - x0, lower=[0.2 + shift, 0.1], upper=[0.2 + shift, 0.1]),
                to.IntegralConstraint(lambda x, u: u[0], lower=limit, upper=limit),
            ],
            horizon=to.Horizon(1.0, steps=20),
        )
        return to.solve(problem, InteriorPoint(tolerance=1e-10))

    solution, step = solve(), 1e-4
    assert solution.success
    by_shift = (solve(shift=step).cost - solve(shift=-step).cost) / (2.0 * step)
    by_limit = (solve(limit=1.0 + step).cost - solve(limit=1.0 - step).cost) / (2.0 * step)
    assert -solution.multipliers["boundary"][0] == pytest.approx(by_shift, rel=1e-6, abs=1e-6)  # quadratic: exact
    assert -solution.multipliers["integral"][0] == pytest.approx(by_limit, rel=1e-6, abs=1e-6)


def test_periodic_orbit_with_free_period():
    """An undriven oscillator returns after 2 pi: least time with a periodic orbit of amplitude 1 and little force."""
    problem = oscillator(
        lambda x, u: 1e3 * u[0] ** 2,
        constraints=[
            to.BoundaryConstraint(lambda x0, xf: xf - x0),
            to.BoundaryConstraint(lambda x0, xf: x0, lower=[1.0, 0.0], upper=[1.0, 0.0]),
        ],
        horizon=to.Horizon(to.Free(4.0, 8.0), steps=60),
    )
    solution = to.solve(problem, InteriorPoint())
    assert solution.success
    assert solution.t[-1] == pytest.approx(2.0 * np.pi, abs=1e-4)  # RK4: (h^4 / 120) 2 pi, h = 0.1
    np.testing.assert_allclose(solution.x[-1], solution.x[0], atol=1e-7)


def test_parameters_that_change_between_solves():
    """A fixed parameter takes a new number without a new model, and the free one follows."""
    problem = oscillator(
        initial_state=[0.0, 0.0],
        constraints=[to.TerminalConstraint([1.0, 0.0])],
        parameters={"unused": 1.0},
        horizon=to.Horizon(to.Free(0.5, 2.0), steps=20),
    )
    variant = problem.at(parameters={"unused": 2.0})
    assert augment(problem).problem.model is augment(variant).problem.model


def test_discrete_time():
    """Free parameter, sum constraint and tied ends of a difference equation, against the closed form."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u, p: np.array([x[0] + u[0] + p.drift]), nx=1, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[2.0],
        constraints=[
            to.IntegralConstraint(lambda x, u: u[0], lower=3.0, upper=3.0),
            to.BoundaryConstraint(lambda x0, xf: xf - x0),
        ],
        parameters={"drift": to.Free(-5.0, 5.0)},
        horizon=to.Horizon(steps=10),
    )
    solution = to.solve(problem, InteriorPoint())
    assert solution.success
    np.testing.assert_allclose(solution.u[:, 0], 0.3, atol=1e-7)
    assert solution.parameters["drift"] == pytest.approx(-0.3, abs=1e-7)
    assert solution.x[-1, 0] == pytest.approx(2.0, abs=1e-7)
