"""`SCvx`: what is convex is solved at once and exactly; what is not agrees with the solvers of the same program."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.solvers import LQR, MultipleShooting, SCvx
from trajopt.solvers.convex_parts import find_convex_parts
from trajopt.transcription.collocation import compile_problem, pose
from trajopt.transcription.held_steps import DISCRETE_STEP

AGREE = 1e-6
"""Relative: both solvers stop a tolerance of 1e-8 before the optimum, and linear convergence leaves some fifty more."""


def parts_of(problem: to.Problem):
    structure = compile_problem(problem, DISCRETE_STEP)
    guess = to.solve(problem, MultipleShooting(iterations=0)).trajectory
    return find_convex_parts(structure, pose(structure, problem, guess, scaled=False))


def discrete(constraint: to.PathConstraint, *bounds: to.Bounds, target=(1.0, 1.0)) -> to.Problem:
    """Two positions, moved by two controls at a quadratic cost."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: x + 0.25 * u, nx=2, nu=2),
        stage_cost=lambda x, u: u @ u,
        initial_state=[0.0, 0.0],
        constraints=[constraint, to.TerminalConstraint(list(target)), *bounds],
        horizon=to.Horizon(steps=10),
        guess=(np.array([0.0, 10.0]), np.array([[0.0, 0.0], target]), np.array([[0.5, 0.25]] * 2)),
    )


CONES = {
    "ball": lambda x, u: u @ u - 0.5,
    "norm": lambda x, u: np.linalg.norm(u) - 0.7 - 0.125 * x[0],
    "absolute value": lambda x, u: 2.0 * np.abs(u[0] - u[1]) - x[1] - 0.25,
    "parabola": lambda x, u: u[0] ** 2 - 0.5 * u[1] - 0.25,
    "cone": lambda x, u: u[0] ** 2 - 2.25 * (u[1] + 0.0625) ** 2,
}


@pytest.mark.parametrize("name", CONES)
def test_cones_are_found_and_solved_in_one_step(name):
    """Nothing needs a trust region, one subproblem solves it, and IPOPT finds the same on the squares and roots."""
    bounds = to.Bounds(control=([-2.0, 0.0], 2.0))
    problem = discrete(to.PathConstraint(CONES[name]), bounds)
    parts = parts_of(problem)
    assert [len(cones.rows) for cones in parts.cones] == [10]
    assert not parts.trusted.any()
    solution, reference = to.solve(problem, SCvx()), to.solve(problem, MultipleShooting())
    assert solution.success
    assert solution.iterations <= 2  # one step, and one that finds nothing better
    assert solution.cost == pytest.approx(reference.cost, rel=AGREE)


def test_what_is_not_convex_is_linearised():
    """The outside of a ball, a saddle without a sign, a sum with a concave root, and an equation."""
    rows = [
        to.PathConstraint(lambda x, u: u @ u, lower=0.1, upper=np.inf),
        to.PathConstraint(lambda x, u: u[0] ** 2 - u[1] ** 2),
        to.PathConstraint(lambda x, u: x[0] - np.linalg.norm(u)),
        to.PathConstraint(lambda x, u: u @ u, lower=1.0, upper=1.0),
    ]
    for row in rows:
        parts = parts_of(discrete(row))
        assert not parts.cones
        assert parts.trusted.any()


def test_a_shell_is_half_a_cone():
    """Of 0.1 <= |u|^2 <= 0.5 the upper side is exact, and the lower one is linearised."""
    parts = parts_of(discrete(to.PathConstraint(lambda x, u: u @ u, lower=0.1, upper=0.5)))
    assert len(parts.cones) == 1
    assert parts.lower[parts.cones[0].rows].all()
    assert not parts.upper[parts.cones[0].rows].any()


def test_a_linear_quadratic_problem_is_lqr():
    """One subproblem gives the controls of the Riccati recursion."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] - x[0]]), nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u,
        terminal_cost=lambda x: 2.0 * (x @ x),
        initial_state=[1.0, -0.5],
        horizon=to.Horizon(4.0, steps=40),
    )
    solution, exact = to.solve(problem, SCvx()), to.solve(problem, LQR())
    assert solution.iterations <= 2
    np.testing.assert_allclose(solution.u, exact.u, rtol=0.0, atol=1e-5)  # the root of the cost's 1e-8, doubly safe
    assert solution.cost == pytest.approx(exact.cost, rel=1e-7)


@pytest.mark.parametrize(
    "name",
    ["van-der-pol", "brachistochrone", "bryson-denham", "obstacle-avoidance", "rocket-landing", "isoperimetric-area"],
)
def test_library_problems_agree_with_ipopt(name):
    """The same program, another method: free times, integrals, state bounds, cones; and the certificate agrees."""
    problem = problems.load(name)
    solution, reference = to.solve(problem, SCvx()), to.solve(problem, MultipleShooting())
    assert solution.success, solution.message
    assert reference.success
    assert solution.cost == pytest.approx(reference.cost, rel=AGREE)
    assert solution.certificate.violation <= reference.certificate.violation + 1e-5
    costates = reference.multipliers["costates"]
    if name in ("van-der-pol", "brachistochrone"):  # in the others degenerate rows share their multipliers
        np.testing.assert_allclose(solution.multipliers["costates"], costates, atol=1e-3 * np.abs(costates).max())


def test_infeasible_problems_name_the_worst_row():
    """Unit steps of at most 0.1 do not reach 1 in ten steps; cones alone, and with nonconvex rows."""
    for row in (to.PathConstraint(lambda x, u: u @ u - 0.01), to.PathConstraint(lambda x, u: np.sin(u), -0.1, 0.1)):
        solution = to.solve(discrete(row), SCvx())
        assert solution.status is to.Status.INFEASIBLE
        assert "virtual terms do not vanish" in solution.message
        assert any(name in solution.message for name in ("terminal", "path", "dynamics"))
        assert solution.iterations < SCvx().iterations


def test_numbers_that_are_not_finite_end_honestly():
    """At the guess there is nothing to do; behind it the step is refused."""
    at_guess = discrete(to.PathConstraint(lambda x, u: np.log(u[0]) - 5.0))
    bad = (np.array([0.0, 10.0]), np.zeros((2, 2)), np.zeros((2, 2)) - 1.0)
    solution = to.solve(at_guess, SCvx(), guess=bad)
    assert solution.status is to.Status.NUMERICAL_FAILURE
    assert "not finite along the guess" in solution.message
    solution = to.solve(at_guess, SCvx())
    assert solution.success
    assert np.isfinite(solution.u).all()


def test_an_unbounded_problem_diverges():
    """A linear cost without a limit: Clarabel's ray is no answer."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        stage_cost=lambda x, u: u[0],
        initial_state=[0.0],
        horizon=to.Horizon(steps=3),
    )
    assert to.solve(problem, SCvx()).status is to.Status.DIVERGED


def test_limits_and_monitor():
    """The iteration limit is kept, every iteration reported with its radius, and the same bits come back."""
    problem = problems.load("brachistochrone")
    seen = []
    first = to.solve(problem, SCvx(iterations=3), callback=lambda record: seen.append(record) and None)
    assert first.status is to.Status.ITERATION_LIMIT
    assert [record.number for record in seen] == [0, 1, 2, 3]
    assert all(record.step > 0.0 for record in seen)
    assert seen[-1].violation < seen[0].violation
    np.testing.assert_array_equal(first.u, to.solve(problem, SCvx(iterations=3)).u)


@pytest.mark.parametrize(
    "settings",
    [
        {"integrator": "magic"},
        {"tolerance": 0.0},
        {"penalty": np.nan},
        {"iterations": 0},
        {"substeps": 1.5},
        {"shrink": 1.0},
        {"thresholds": (0.0, 0.7, 0.1)},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings):
    """At construction, by name."""
    with pytest.raises(to.InvalidProblem, match=next(iter(settings))):
        SCvx(**settings)


@pytest.mark.parametrize("package", ["cvxpy", "clarabel"])
def test_without_the_extra_it_is_named(monkeypatch, package):
    """The sentence says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(to.MissingExtra, match=r"pip install 'trajopt\[convex\]'"):
        to.solve(problems.load("regulator-1d"), SCvx())
    assert "trajopt[convex]" in str(to.compare(problems.load("regulator-1d"), ["scvx"]).rows[0].refusal)
