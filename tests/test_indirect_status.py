"""What Indirect says when something is wrong: structures, settings, problems that are not for it, limits and NaN."""

from __future__ import annotations

import re

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.solvers import Collocation, Indirect
from trajopt.status import Status

WRONG = {
    "bryson-denham": (("interior",), "'position upper' is violated .* on arc 1 at t=0.5"),
    "van-der-pol-bounded": (("interior",), "leaves its bounds"),
    "double-integrator-max-distance": (("lower", "upper"), "wrong sign on arc"),
    "regulator-1d": (("lower", "upper"), "wrong sign on arc"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_structure_is_told(name):
    """An extremal of the wrong arcs is no success, and the message says which arc and why."""
    structure, message = WRONG[name]
    solution = to.solve(problems.load(name), Indirect("shooting", structure))
    assert not solution.success
    assert solution.status is Status.STALLED
    assert re.search(message, solution.detail)


@pytest.mark.parametrize("method", ["collocation", "shooting"])
def test_a_maximum_of_the_hamiltonian_is_no_answer(method):
    """Where H_uu is negative the control law of H_u = 0 is the worst one: Legendre and Clebsch object."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0]]), nx=1, nu=1),
        stage_cost=lambda x, u: x[0] ** 2 - u[0] ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(1.0, steps=10),
    )
    solution = to.solve(problem, Indirect(method))
    assert not solution.success
    assert "Legendre" in solution.detail


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "finite differences"}, "one of collocation, shooting"),
        ({"tolerance": 0.0}, "1e-13 to 1"),
        ({"tolerance": np.nan}, "1e-13 to 1"),
        ({"iterations": -1}, "at least 0"),
        ({"segments": 0}, "at least 1"),
        ({"segments": 2.5}, "whole number"),
        ({"integrator": "euler"}, "DOP853"),
        ({"structure": "upper"}, "sequence of arcs"),
    ],
)
def test_settings_that_mean_nothing_are_refused(settings, message):
    """One sentence at construction."""
    with pytest.raises(to.InvalidProblem, match=message):
        Indirect(**settings)


@pytest.mark.parametrize(
    ("name", "structure", "message"),
    [
        ("bryson-denham", (), "sequence of arcs"),
        ("bryson-denham", ("interior", "altitude"), "'position upper'"),
        ("bryson-denham", ("upper",), "it has none"),
        ("bryson-denham", (("interior", "interior"),), "one word for each of the 1 controls"),
        ("bryson-denham", (3,), "one word for each"),
        ("bryson-denham", ("interior", "interior"), "0 controls change"),
        ("goddard-rocket", ("upper", "mass"), "'mass upper'"),
    ],
)
def test_structures_that_do_not_fit_are_refused(name, structure, message):
    """What was given, what was expected."""
    with pytest.raises(to.InvalidProblem, match=message):
        to.solve(problems.load(name), Indirect(structure=structure))


@pytest.mark.parametrize(
    ("name", "structure", "message"),
    [
        ("dtoc1l", None, "discrete-time"),
        ("double-integrator-min-time", None, "a structure was expected"),
        ("double-integrator-min-time", ("interior",), "linear in some direction"),
        ("fuller", ("lower", "singular"), "does not determine it"),
    ],
)
def test_problems_that_are_not_for_it_are_refused(name, structure, message):
    """Discrete time, affine controls without a structure, and singular arcs of order two."""
    with pytest.raises(to.UnsupportedProblem, match=message):
        to.solve(problems.load(name), Indirect(structure=structure))


def oscillator(**options) -> to.Problem:
    return problems.load("van-der-pol", **options)


@pytest.mark.parametrize("method", ["collocation", "shooting"])
def test_limits_and_callbacks_end_the_solve(method):
    """Iterations, time and the callback; the history has one entry for each iteration, and the best so far returns."""
    short = to.solve(oscillator(), Indirect(method, iterations=1))
    assert short.status is Status.ITERATION_LIMIT
    assert np.isfinite(short.x).all()
    stopped = to.solve(oscillator(), Indirect(method), callback=lambda iteration: iteration.number == 2)
    assert stopped.status is Status.STOPPED
    assert len(stopped.history) == 3
    assert to.solve(oscillator(), Indirect(method), max_time=1e-9).status is Status.TIME_LIMIT


@pytest.mark.parametrize("method", ["collocation", "shooting"])
def test_nan_is_never_a_success(method):
    """Dynamics that end where a root turns negative."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0] - np.sqrt(x[0])]), nx=1, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.25],
        constraints=[to.TerminalConstraint([-1.0])],
        horizon=to.Horizon(1.0, steps=10),
    )
    solution = to.solve(problem, Indirect(method))
    assert not solution.success
    assert np.isfinite(solution.x).all()


def test_an_unreachable_target_is_no_success():
    """With |u| <= 1 a rest-to-rest metre takes two seconds, not one."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), nx=2, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0)), to.TerminalConstraint([1.0, 0.0])],
        horizon=to.Horizon(1.0, steps=10),
    )
    for method in ("collocation", "shooting"):
        assert not to.solve(problem, Indirect(method)).success


def test_the_answer_is_a_guess_for_others_and_saves(tmp_path):
    """Costates and multipliers survive the file, and a direct solver starts from the answer."""
    solution = to.solve(oscillator(), Indirect())
    again = to.Solution.load(solution.save(tmp_path / "s.npz"), oscillator())
    np.testing.assert_array_equal(again.multipliers["costates"], solution.multipliers["costates"])
    direct = to.solve(oscillator(), Collocation(), guess=solution)
    assert direct.cost == pytest.approx(solution.cost, rel=1e-6)
