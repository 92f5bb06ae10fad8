"""`InteriorPoint` against IPOPT on the same nonlinear program, and against the optimality conditions themselves."""

from __future__ import annotations

from functools import cache

import casadi as ca
import numpy as np
import pytest
from interior_point_cases import ShootingProgram, swing_up

import trajopt as to
from trajopt import problems
from trajopt.solvers.interior_point import InteriorPoint

AGREEMENT = 1e-6
"""Of costs: IPOPT relaxes bounds by 1e-8, which costs that times the multipliers, of the order of 1 to 100 here."""

NAMES = ("pendulum", "parallel-park", "three-obstacles", "quadrotor", "cartpole", "moon-lander", "robot-arm")


@cache
def problem_of(name: str) -> to.Problem:
    return swing_up() if name == "swing-up" else problems.load(name)


@cache
def answer(name: str) -> to.Solution:
    return to.solve(problem_of(name), InteriorPoint())


@pytest.mark.parametrize("name", ["swing-up", *NAMES])
def test_same_or_lower_cost_than_ipopt(name):
    """From the same guess, on the same program, the answer costs no more than IPOPT's."""
    solution, theirs = answer(name), ShootingProgram(problem_of(name)).solve()
    assert theirs.success
    assert solution.success, solution.message
    assert solution.cost <= theirs.cost + AGREEMENT * (1.0 + abs(theirs.cost))


@pytest.mark.parametrize("name", ["swing-up", "pendulum", "parallel-park", "three-obstacles", "quadrotor", "cartpole"])
def test_optimality_conditions_hold(name):
    """The Lagrangian's gradient by CasADi vanishes at the answer with its own costates and multipliers."""
    solution = answer(name)
    program = ShootingProgram(problem_of(name))
    mean = np.mean(np.abs(np.concatenate([np.ravel(part) for part in solution.multipliers.values()])))
    # E_0 is at most 1e-8 relative to the mean multiplier, in units of the scaled cost, which is at least 1 / 1000 here.
    assert program.kkt_residual(solution) <= 1e-5 * max(1.0, mean)


def test_first_costate_is_the_derivative_of_the_cost():
    """Moving the initial state changes the optimal cost by costate times displacement, to first order."""
    problem = problem_of("swing-up")
    solver = InteriorPoint(tolerance=1e-10)
    start = to.solve(problem, solver, guess=answer("swing-up"))  # all from one guess, lest they find different optima
    step = 1e-4
    for i in range(4):
        moved = [
            to.solve(problem.at(initial_state=sign * step * np.eye(4)[i]), solver, guess=start).cost
            for sign in (1.0, -1.0)
        ]
        slope = (moved[0] - moved[1]) / (2.0 * step)
        assert slope == pytest.approx(start.multipliers["costates"][0, i], rel=1e-3, abs=1e-3)  # truncation of step^2


def test_feedback_gains_of_an_unconstrained_regulator():
    """Without constraints the gains of the last sweep are those of LQR, from the discrete Riccati equation."""
    A, B = np.array([[1.0, 0.1], [0.0, 1.0]]), np.array([[0.0], [0.1]])
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: A @ x + B @ u, nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u,
        terminal_cost=lambda x: x @ x,
        initial_state=[1.0, 0.0],
        horizon=to.Horizon(steps=20),
    )
    solution = to.solve(problem, InteriorPoint())
    P = 2.0 * np.eye(2)
    for k in reversed(range(20)):
        K = -np.linalg.solve(2.0 * np.eye(1) + B.T @ P @ B, B.T @ P @ A)
        P = 2.0 * np.eye(2) + A.T @ P @ (A + B @ K)
        np.testing.assert_allclose(solution.feedback[k], K, rtol=1e-10)


def test_a_solution_as_guess_is_recognised():
    """Started from its own answer the method stays there and needs fewer iterations."""
    first = answer("swing-up")
    again = to.solve(problem_of("swing-up"), InteriorPoint(initial_barrier=1e-6), guess=first)
    assert again.success
    assert again.iterations < first.iterations
    assert again.cost == pytest.approx(first.cost, rel=1e-6)  # the barrier parameter at the end, 1e-9, times bounds


@pytest.mark.parametrize("integrator", ["euler", "midpoint", "rk3"])
def test_other_integrators(integrator):
    """Each integrator's answer obeys its own step: the gaps of the compiled step close."""
    problem = problems.load("pendulum")
    solution = to.solve(problem, InteriorPoint(integrator=integrator))
    assert solution.success
    assert solution.history[-1].violation <= 1e-8


@pytest.mark.parametrize(
    "settings",
    [{"integrator": "simpson"}, {"tolerance": 0.0}, {"constraint_tolerance": -1.0}, {"iterations": 0}],
)
def test_wrong_settings_are_refused(settings):
    """At construction, in one sentence."""
    with pytest.raises(to.errors.InvalidProblem):
        InteriorPoint(**settings)


def test_casadi_is_the_judge_of_the_swing_up():
    """Cost and gaps of the answer, evaluated by CasADi, are what the solver reports."""
    solution = answer("swing-up")
    program = ShootingProgram(problem_of("swing-up"))
    evaluate = ca.Function("evaluate", [program.variables], [program.cost, program.rows])
    point = np.concatenate([np.hstack([solution.x[:-1], solution.u]).ravel(), solution.x[-1]])
    cost, rows = evaluate(point)
    assert float(cost) == pytest.approx(solution.cost, rel=1e-8)  # clipping the control into its unrelaxed bounds
    excess = np.maximum(program.lower - rows.full().ravel(), rows.full().ravel() - program.upper)
    assert excess.max() <= 2e-8  # the constraint tolerance, and as much again for the clipping
