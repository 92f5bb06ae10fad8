"""The solvers of nonlinear programs by name: the same answers and multipliers, honest statuses, clear refusals."""

from dataclasses import replace

import numpy as np
import pytest
from test_collocation_behaviour import line, pendulum

import trajopt as to
from trajopt import problems
from trajopt.solvers import Collocation, MultipleShooting, SingleShooting
from trajopt.status import Status

TOLERANCES = {"sleqp": 1e-6}
"""SLEQP's own, which leaves it stalled at ours."""

OTHERS = ["fatrop", "uno", "sleqp", "sqpmethod"]


def convex():
    """Arrive while a bound on the control is active."""
    return line(to.TerminalConstraint([1.0]), to.Bounds(control=(-2.0, 1.2)), steps=5, stage_cost=tilted)


def tilted(x, u, t):
    return u @ u + 2.0 * t * u[0]


@pytest.mark.parametrize("nlp", OTHERS)
def test_all_find_the_same_optimum_with_the_same_multipliers(nlp, capfd):
    """Primal and dual, signs included, where bounds and a target are active; nothing is printed."""
    expected = to.solve(convex(), Collocation("radau", 2))
    found = to.solve(convex(), Collocation("radau", 2, nlp=nlp, tolerance=TOLERANCES.get(nlp, 1e-8)))
    assert found.status is Status.SOLVED, found.message
    assert found.cost == pytest.approx(expected.cost, rel=1e-7)
    assert np.abs(expected.multipliers["control_bounds"]).max() > 0.1
    for name in ("costates", "terminal", "control_bounds"):
        np.testing.assert_allclose(found.multipliers[name], expected.multipliers[name], atol=1e-4)
    assert len(found.history) >= 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("nlp", ["fatrop", "uno", "sleqp"])
@pytest.mark.parametrize("method", [Collocation("radau", 3), MultipleShooting()], ids=["radau", "shooting"])
def test_a_swing_up_is_solved_by_each(nlp, method):
    """A nonconvex problem with bounds, by both transcriptions whose stages form a chain."""
    expected = to.solve(pendulum(20), method)
    found = to.solve(pendulum(20), replace(method, nlp=nlp, tolerance=TOLERANCES.get(nlp, 1e-8)))
    assert found.success, found.message
    assert found.cost == pytest.approx(expected.cost, rel=1e-6)
    np.testing.assert_allclose(found.multipliers["costates"], expected.multipliers["costates"], atol=1e-4)


def test_fatrop_on_discrete_stages():
    """Discrete dynamics are a chain as they are; DTOC1L's optimum to ten digits."""
    problem = problems.load("dtoc1l")
    solution = to.solve(problem, MultipleShooting(nlp="fatrop"))
    assert solution.success
    assert solution.cost == pytest.approx(to.solve(problem, MultipleShooting()).cost, rel=1e-9)


@pytest.mark.parametrize(
    ("solver", "problem", "reason"),
    [
        (Collocation(nlp="fatrop"), line(), "neighbours share"),
        (Collocation("lobatto", nlp="fatrop"), line(), "end in"),
        (MultipleShooting(nlp="fatrop"), line(horizon=to.Horizon(to.Free(0.5, 2), steps=4)), "free times"),
        (MultipleShooting(nlp="fatrop"), line(to.BoundaryConstraint(lambda x0, xf: xf - x0)), "boundary"),
        (MultipleShooting(nlp="fatrop"), line(to.IntegralConstraint(lambda x, u: u[0], 0, 1)), "integral"),
        (SingleShooting(nlp="fatrop"), line(), "eliminated"),
    ],
)
def test_fatrop_refuses_what_is_no_chain(solver, problem, reason):
    """By the cause, before it starts."""
    with pytest.raises(to.UnsupportedProblem, match=reason):
        to.solve(problem, solver)


@pytest.mark.parametrize(("nlp", "statuses"), [
    ("uno", {Status.INFEASIBLE}), ("fatrop", {Status.STALLED}),
    ("sleqp", {Status.INFEASIBLE, Status.STALLED}), ("sqpmethod", {Status.INFEASIBLE, Status.STALLED}),
])  # fmt: skip
def test_an_impossible_target_is_no_success(nlp, statuses):
    """|u| <= 1 cannot reach 2 within one second; those that cannot tell infeasibility say that they stalled."""
    problem = line(to.Bounds(control=(-1, 1)), to.TerminalConstraint([2.0]), steps=6)
    assert to.solve(problem, Collocation("radau", 2, nlp=nlp)).status in statuses


@pytest.mark.parametrize("nlp", OTHERS)
def test_iteration_limits(nlp):
    """Two iterations are not enough for a swing-up."""
    solution = to.solve(pendulum(20), Collocation("radau", 2, nlp=nlp, iterations=2))
    assert solution.status is Status.ITERATION_LIMIT


def test_a_word_of_success_is_checked():
    """SLEQP calls its dead point on Bryson-Denham a success; its first-order conditions say otherwise."""
    solution = to.solve(problems.load("bryson-denham"), Collocation("radau", 2, nlp="sleqp"))
    assert solution.success or solution.status is Status.STALLED
    if solution.success:
        assert solution.cost == pytest.approx(4.0, rel=1e-5)


def test_the_callback_stops_a_sequential_method():
    """As it stops IPOPT."""
    solution = to.solve(pendulum(20), Collocation("radau", 2, nlp="uno"), callback=lambda i: i.number == 3)
    assert solution.status is Status.STOPPED


@pytest.mark.parametrize("nlp", ["knitro", "snopt", "worhp", "conopt", "madnlp"])
def test_absent_solvers_say_what_they_need(nlp):
    """One sentence with the library or licence."""
    with pytest.raises(to.MissingExtra, match="needs"):
        Collocation(nlp=nlp)


@pytest.mark.parametrize("nlp", ["bonmin", "blocksqp", "alpaqa", "nonsense", 3, None])
def test_unfit_and_unknown_solvers_are_refused(nlp):
    """At construction, with those that there are."""
    with pytest.raises(to.InvalidProblem, match="ipopt"):
        MultipleShooting(nlp=nlp)


@pytest.mark.parametrize("nlp", ["ipopt", *OTHERS])
def test_unknown_options_are_refused(nlp):
    """The message names the option and hides CasADi."""
    with pytest.raises(to.InvalidProblem, match="nonsense") as caught:
        to.solve(line(), Collocation("radau", nlp=nlp, options={"nonsense": 3}))
    assert ".cpp" not in str(caught.value)


def test_tiny_costs_are_solved_as_others():
    """The unit of the cost changes neither the trajectory nor the work: without scaling any trajectory would do."""
    settings = {"start": (1.0,), "steps": 20}
    plain = to.solve(line(**settings, stage_cost=lambda x, u: x @ x * (1 + x @ x) + u @ u), Collocation())
    tiny = to.solve(line(**settings, stage_cost=lambda x, u: 1e-9 * (x @ x * (1 + x @ x) + u @ u)), Collocation())
    assert tiny.success
    np.testing.assert_allclose(tiny.x, plain.x, atol=1e-7)
    assert tiny.cost * 1e9 == pytest.approx(plain.cost, rel=1e-8)
    np.testing.assert_allclose(tiny.multipliers["costates"] * 1e9, plain.multipliers["costates"], atol=1e-6)


@pytest.mark.parametrize("solver", [Collocation(), MultipleShooting(nlp="fatrop"), SingleShooting()])
def test_one_step_of_one_state_and_one_control(solver):
    """The smallest discrete problem, whose matrices are single numbers: u = x1 = 1/2."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        stage_cost=lambda x, u: u @ u,
        terminal_cost=lambda x: (x[0] - 1.0) ** 2,
        initial_state=[0.0],
        horizon=to.Horizon(steps=1),
    )
    if isinstance(solver, SingleShooting):
        assert to.solve(problem, solver).u[0, 0] == pytest.approx(0.5, abs=1e-7)
        return
    assert to.solve(problem, solver).x[1, 0] == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize(
    "settings", [{"iterations": np.nan}, {"iterations": "many"}, {"options": 3}, {"tolerance": "small"}]
)
def test_odd_settings_are_refused(settings):
    """In words, whatever their type."""
    with pytest.raises(to.InvalidProblem, match=next(iter(settings))):
        Collocation(**settings)
