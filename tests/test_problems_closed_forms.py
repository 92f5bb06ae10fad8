"""Closed-form solutions of the library: they obey the problem and cost the published optimum."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import quad

from trajopt import problems
from trajopt.plain import PlainFunctions

NAMES = [name for name in problems.names(extras=False) if problems.reference(name).solution is not None]
EPS = np.finfo(float).eps


def setting(name):
    """The problem, its plain functions and its closed form."""
    problem = problems.load(name)
    return problem, PlainFunctions(problem, problem.layout.pack(problem.parameters)), problems.reference(name).solution


def arcs(solution):
    """Intervals on which the closed form is analytic."""
    ends = [solution.start, *solution.corners, solution.start + solution.duration]
    return list(pairwise(ends))


def samples(solution, step):
    """Times inside the arcs, at least two steps away from their ends."""
    return np.concatenate([np.linspace(a + 2.0 * step, b - 2.0 * step, 9) for a, b in arcs(solution)])


def integral(function, solution):
    """Integral over the horizon, arc by arc."""
    return sum(quad(function, a, b, epsabs=1e-14, epsrel=1e-13, limit=200)[0] for a, b in arcs(solution))


def scale_of(solution):
    """Magnitude of each state along the solution."""
    times = np.linspace(solution.start, solution.start + solution.duration, 21)
    return np.maximum(1.0, np.abs([solution(t)[0] for t in times]).max(axis=0))


def test_many_are_known():
    """A good part of the library has a closed form, so that this file is not vacuous."""
    assert len(NAMES) >= 15


@pytest.mark.parametrize("name", NAMES)
def test_obeys_the_dynamics(name):
    """Central differences of the state equal the dynamics within their own error.

    D(h/2) errs by a third of |D(h) - D(h/2)| to leading order, plus the rounding of the state divided by h.
    """
    _, functions, solution = setting(name)
    h = 2e-4 * min(b - a for a, b in arcs(solution))
    scale = scale_of(solution)
    for t in samples(solution, h):
        coarse, fine = ((solution(t + s)[0] - solution(t - s)[0]) / (2.0 * s) for s in (h, h / 2))
        state, control = solution(t)
        allowed = np.abs(coarse - fine) + 16.0 * EPS * scale / h
        assert (np.abs(fine - functions.dynamics(state, control, t)) <= allowed).all()


@pytest.mark.parametrize("name", NAMES)
def test_meets_both_ends(name):
    """The closed form starts at the initial state and meets terminal and boundary conditions, to rounding."""
    problem, functions, solution = setting(name)
    start, end = solution.start, solution.start + solution.duration
    first, last = solution(start)[0], solution(end)[0]
    allowed = 1e3 * EPS * scale_of(solution).max()  # roots behind the formulas are known to a few hundred roundings
    fixed = ~np.isnan(problem.initial_values)
    np.testing.assert_allclose(first[fixed], problem.initial_values[fixed], atol=allowed)
    for rows, values in (
        (problem.model.terminal, functions.terminal(last, end)),
        (problem.model.boundary, functions.boundary(first, last, start, end)),
    ):
        assert (values >= rows.lower - allowed).all()
        assert (values <= rows.upper + allowed).all()


@pytest.mark.parametrize("name", NAMES)
def test_stays_feasible(name):
    """Bounds, path and integral constraints hold along the closed form, to rounding."""
    problem, functions, solution = setting(name)
    allowed = 1e3 * EPS * scale_of(solution).max()
    for t in samples(solution, 0.0):
        state, control = solution(t)
        for value, (lower, upper) in ((state, problem.state_bounds), (control, problem.control_bounds)):
            assert (value >= lower - allowed).all()
            assert (value <= upper + allowed).all()
        path = functions.path(state, control, t)
        assert (path >= problem.model.path.lower - allowed).all()
        assert (path <= problem.model.path.upper + allowed).all()
    rows = problem.model.integral
    for row in range(len(rows)):
        total = integral(lambda t, row=row: functions.integrands(*solution(t), t)[row], solution)
        assert rows.lower[row] - allowed <= total <= rows.upper[row] + allowed


@pytest.mark.parametrize("name", NAMES)
def test_costs_the_optimum(name):
    """Its cost, by adaptive quadrature, is the published optimum to the digits that are claimed."""
    _, functions, solution = setting(name)
    end = solution.start + solution.duration
    running = integral(lambda t: functions.stage_cost(*solution(t), t), solution)
    reference = problems.reference(name)
    assert abs(running + functions.terminal_cost(solution(end)[0], end) - reference.cost) <= reference.tolerance
