"""Warm starts of `InteriorPoint` with primal and dual, multipliers on other knots, and stationary points to leave."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from interior_point_cases import swing_up

import trajopt as to
from trajopt import problems
from trajopt.multipliers import resample_multipliers, shift_multipliers
from trajopt.solvers.interior_point import InteriorPoint
from trajopt.status import Status

KINDS = ("bryson-denham", "brachistochrone", "isoperimetric-area", "goddard-rocket-speed-limit", "bioreactor", "dtoc1l")
"""Bounds on states, free time, an integral constraint, all of them, a boundary constraint, discrete time."""


@pytest.mark.parametrize("name", KINDS)
def test_a_solution_is_its_own_solution(name):
    """From its own solution, duals included, a problem needs two iterations at most and gives the same cost."""
    problem = problems.load(name)
    solution = to.solve(problem, InteriorPoint())
    again = to.solve(problem, InteriorPoint(), guess=solution)
    assert again.success
    assert again.iterations <= 2 < solution.iterations
    # costs of converged points differ by mu for each bound, and by the violation allowed
    assert again.cost == pytest.approx(solution.cost, rel=1e-6, abs=1e-6)


def test_duals_help_beyond_the_states():
    """The same trajectory without its multipliers takes more iterations."""
    problem = swing_up()
    solution = to.solve(problem, InteriorPoint())
    bare = to.solve(problem, InteriorPoint(), guess=solution.trajectory)
    assert to.solve(problem, InteriorPoint(), guess=solution).iterations < bare.iterations


def test_a_plan_shifted_to_the_next_state():
    """In a control loop the shifted plan saves iterations, and leads to what a cold start finds."""
    problem = problems.load("velocity-limited")
    solution = to.solve(problem, InteriorPoint())
    lower, upper = problem.state_bounds
    later = problem.at(initial_state=np.clip(solution.x[1], lower, upper))
    warm = to.solve(later, InteriorPoint(), guess=solution.shift(1))
    cold = to.solve(later, InteriorPoint())
    assert warm.status == cold.status
    assert warm.cost == pytest.approx(cold.cost, rel=1e-6, abs=1e-6)


def test_a_finer_problem_from_a_coarse_solution():
    """Resampled duals save iterations on a finer grid."""
    coarse, fine = problems.load("bryson-denham", steps=60), problems.load("bryson-denham", steps=120)
    guess = to.solve(coarse, InteriorPoint()).resample(120)
    warm, cold = to.solve(fine, InteriorPoint(), guess=guess), to.solve(fine, InteriorPoint())
    assert warm.success
    assert warm.cost == pytest.approx(cold.cost, rel=1e-6)


def test_multipliers_move_along():
    """Shifting drops the first and repeats the last; resampling keeps costates, and what densities integrate to."""
    found = {"costates": np.arange(5.0)[:, None], "path": np.arange(4.0)[:, None], "terminal": np.ones(2)}
    shifted = shift_multipliers(found, 4, 1)
    np.testing.assert_array_equal(shifted["costates"][:, 0], [1, 2, 3, 4, 4])
    np.testing.assert_array_equal(shifted["path"][:, 0], [1, 2, 3, 3])
    assert shifted["terminal"] is found["terminal"]
    finer = resample_multipliers(found, np.linspace(0, 1, 5), np.linspace(0, 1, 9))
    np.testing.assert_allclose(finer["costates"][:, 0], np.linspace(0, 4, 9))
    np.testing.assert_allclose(finer["path"].sum(axis=0), found["path"].sum(axis=0))


def test_duals_that_do_not_fit_are_left_alone():
    """Multipliers of another shape, or that are not finite, make a cold start and no error."""
    problem = problems.load("bryson-denham")
    solution = to.solve(problem, InteriorPoint())
    for costates in (np.zeros((3, 2)), np.full_like(solution.multipliers["costates"], np.nan)):
        broken = dataclasses.replace(solution.trajectory, multipliers=solution.multipliers | {"costates": costates})
        plain = to.solve(problem, InteriorPoint(), guess=solution.trajectory)
        assert to.solve(problem, InteriorPoint(), guess=broken).iterations == plain.iterations


def hill(*constraints) -> to.Problem:
    """Minimise -int u^2 with x' = u from the guess u = 0, which is stationary and a maximum."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        stage_cost=lambda x, u: -(u @ u),
        initial_state=[0.0],
        constraints=constraints,
        horizon=to.Horizon(1.0, steps=10),
    )


def test_a_maximum_is_left():
    """Every control ends at a bound, which is a minimum: cost -1."""
    solution = to.solve(hill(to.Bounds(control=(-1, 1))), InteriorPoint())
    assert solution.success
    assert not solution.detail
    assert solution.cost == pytest.approx(-1.0, abs=1e-6)


def test_a_maximum_of_an_unbounded_problem():
    """Without bounds the way down never ends, and that is what is said."""
    assert to.solve(hill(), InteriorPoint()).status is Status.DIVERGED
