"""Against answers that are known before any solver runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from trajopt.constraints import Bounds, TerminalConstraint
from trajopt.dynamics import ContinuousDynamics, DiscreteDynamics
from trajopt.horizon import Free, Horizon
from trajopt.problem import Feature, Problem
from trajopt.solution import Solution
from trajopt.solver import Claim
from trajopt.testing.draws import for_all
from trajopt.testing.oracles import riccati
from trajopt.testing.registry import Family, at_most, check, close, require
from trajopt.testing.subject import Subject
from trajopt.testing.tolerances import Rule, Tolerance, optimality, rounding

if TYPE_CHECKING:
    from trajopt.testing.strategies import Planted

STATIONARY = [Claim.STATIONARY]
DISCRETE = [Feature.DISCRETE_TIME]
ROWS = {
    "control_bounds": Feature.CONTROL_BOUNDS,
    "state_bounds": Feature.STATE_BOUNDS,
    "path": Feature.PATH_CONSTRAINTS,
    "end": Feature.TERMINAL_CONSTRAINTS,
}


def _strategies() -> Any:
    from trajopt.testing import strategies  # noqa: PLC0415 - needs Hypothesis

    return strategies


def _promised(subject: Subject, planted: Planted) -> float:
    """How far from the least cost a success may be (rule 4), by the planted multipliers and not by the solver's."""
    rows = sum(np.size(active) for active in planted.active.values())
    # Steep costs are scaled down before a tolerance is applied to them, by IPOPT for one.
    steepness = 1.0 + abs(planted.cost) + max(np.abs(planted.data.gradient).max(), np.abs(planted.costates).max())
    return subject.tolerance * steepness * (1 + rows) + _missed(subject, planted) + planted.rounding


def _missed(subject: Subject, planted: Planted) -> float:
    """What rows and dynamics may be missed by, at their prices."""
    prices = sum(float(np.abs(values).sum()) for values in planted.multipliers.values())
    return subject.constraint_tolerance * (prices + float(np.abs(planted.costates).sum()))


def _is_planted(subject: Subject, planted: Planted) -> None:
    """The answer is the one that was there first: cost, controls, states, and costates if there are no state rows."""
    solution = subject.success_or_fail(planted.problem)
    decrement = _promised(subject, planted)
    cost = planted.data.cost(solution.x, solution.u)
    # Who relaxes limits and moves the answer back within them reports the cost from before.
    moved = optimality(_missed(subject, planted)) + Tolerance(planted.rounding, rounding(0.0).rules)
    close(solution.cost, cost, moved, "the reported cost")
    close(cost, planted.cost, optimality(decrement), "the cost")
    allowed = optimality(decrement, planted.curvature)
    close(solution.u, planted.controls, allowed, "a control")
    close(solution.x[1:], planted.states[1:], _amplified(planted) * allowed, "a state")


def _amplified(planted: Planted) -> float:
    """By how much errors of the controls may grow along the states: each step moves all before by |A| and adds |B|."""
    nx = planted.data.nx
    gain = worst = 1.0
    for F in planted.data.dynamics:
        gain = np.linalg.norm(F[:, :nx], 2) * gain + np.linalg.norm(F[:, nx:], 2)
        worst = max(worst, gain)
    return float(worst)


@check(Family.ORACLES, Rule.OPTIMALITY, claims=STATIONARY, features=DISCRETE)
def linear_quadratic_answers_are_exact(subject: Subject) -> None:
    """Random linear-quadratic problems, with cross and affine terms and changing in time, have the planted answer."""
    for_all(subject, lambda: _strategies().linear_quadratic_problems(), lambda case: _is_planted(subject, case))


@check(Family.ORACLES, Rule.OPTIMALITY, claims=STATIONARY, features=[*DISCRETE, Feature.CONTROL_BOUNDS])
def box_constrained_answers_are_exact(subject: Subject) -> None:
    """The same with bounds on the controls, which hold some of them, with multipliers that may be zero."""
    for_all(subject, lambda: _strategies().box_linear_quadratic_problems(), lambda case: _is_planted(subject, case))


@check(Family.ORACLES, Rule.OPTIMALITY, claims=STATIONARY, features=[*DISCRETE, Feature.TERMINAL_CONSTRAINTS])
def constrained_answers_are_exact(subject: Subject) -> None:
    """The same with those of bounds, path rows and terminal rows that the solver handles."""
    kinds = {name: None if subject.handles(feature) else False for name, feature in ROWS.items()}
    for_all(
        subject,
        lambda: _strategies().constrained_linear_quadratic_problems(**kinds),
        lambda case: _is_planted(subject, case),
    )


@check(Family.ORACLES, Rule.OPTIMALITY, claims=STATIONARY, features=DISCRETE)
def gains_and_costates_are_those_of_riccati(subject: Subject) -> None:
    """Feedback gains and costates, if given, are those of the textbook recursion, at every knot."""

    def body(planted: Planted) -> None:
        solution, truth = subject.success_or_fail(planted.problem), riccati(planted.data)
        size = 1.0 + float(np.abs(truth.hessians).max()) * (1.0 + float(np.abs(planted.states).max()))
        amplified = _amplified(planted) * (1.0 + float(np.abs(truth.gains).max()))
        # A costate is P x + p: an error of the state turns it by |P|.
        allowed = amplified * size * optimality(_promised(subject, planted), planted.curvature)
        if solution.feedback is not None:
            close(solution.feedback, truth.gains, allowed, "a gain")
        costates = solution.multipliers.get("costates")
        if costates is not None:
            close(costates, truth.costates(planted.states), allowed, "a costate")
            close(costates, planted.costates, allowed, "a costate")

    for_all(subject, lambda: _strategies().linear_quadratic_problems(), body)


@check(Family.ORACLES, Rule.ROUNDING, claims=[Claim.ONE_STEP], features=DISCRETE)
def one_step_solves_a_linear_quadratic_problem(subject: Subject) -> None:
    """The record after the first step has the least cost, to rounding, and at most one more iteration confirms it."""

    def body(planted: Planted) -> None:
        guess = planted.problem.horizon.knots(), np.ones_like(planted.states), np.full_like(planted.controls, 0.5)
        solution = subject.success_or_fail(planted.problem, guess=guess)
        at_most(solution.iterations, 2.0, rounding(0.0), "the number of iterations")
        condition = max(np.linalg.cond(hessian) for hessian in planted.data.hessian)
        # Interior methods miss the dynamics by what they allow; for them the step is exact to that.
        allowed = Tolerance(100.0 * condition * planted.rounding, rounding(0.0).rules)
        allowed += optimality(_promised(subject, planted))
        close(solution.history[1].cost, planted.cost, allowed, "the cost after one step")

    for_all(subject, lambda: _strategies().linear_quadratic_problems(), body)


@check(Family.ORACLES, Rule.ROUNDING, features=DISCRETE)
def nothing_costs_less_than_the_optimum(subject: Subject) -> None:
    """No answer of any status is reported below the least cost, but for what its rows are missed by at their price."""

    def body(planted: Planted) -> None:
        solution = subject.solve(planted.problem)
        if not math.isfinite(solution.cost):
            return
        allowed = Tolerance(
            float(planted.price(solution.x, solution.u)) + planted.rounding * (1.0 + abs(solution.cost)),
            rounding(0.0).rules,
        )
        allowed += optimality(_missed(subject, planted))
        at_most(planted.cost, solution.cost, allowed, "the least cost beside the reported one")

    strategies = (
        "box_linear_quadratic_problems" if subject.handles(Feature.CONTROL_BOUNDS) else "linear_quadratic_problems"
    )
    for_all(subject, getattr(_strategies(), strategies), body)


@check(
    Family.ORACLES,
    Rule.EXACT,
    features=[*DISCRETE, *ROWS.values()],
)
def planted_infeasibility_is_never_solved(subject: Subject) -> None:
    """Random problems with a row out of reach, and a Farkas certificate of it, never end in success."""

    def body(case: Any) -> None:
        solution = subject.solve(case.problem)
        require(not solution.success, f"a row that must be missed by {case.margin:g} is called {solution.status}")

    for_all(subject, lambda: _strategies().infeasible_problems(), body)


@check(Family.ORACLES, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.TERMINAL_CONSTRAINTS])
def least_energy_is_the_closed_form(subject: Subject) -> None:
    """A double integrator moved by 1 in 4 s costs 12 / 4^3, and under N held controls 1 / (1 - 1/N^2) times that."""
    span, steps = 4.0, 16
    h, target = span / steps, [TerminalConstraint([1.0, 0.0])]
    if subject.clock is Feature.DISCRETE_TIME:
        exact = DiscreteDynamics(
            lambda x, u: np.array([x[0] + h * x[1] + 0.5 * h**2 * u[0], x[1] + h * u[0]]), nx=2, nu=1
        )
        problem = Problem(exact, lambda x, u: h * u[0] ** 2, initial_state=[0.0, 0.0], constraints=target,
                          horizon=Horizon(steps=steps), name="least energy")  # fmt: skip
    else:
        plant = ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), nx=2, nu=1)
        problem = Problem(plant, lambda x, u: u[0] ** 2, initial_state=[0.0, 0.0], constraints=target,
                          horizon=Horizon(span, steps=steps), name="least energy")  # fmt: skip
    solution = subject.success_or_fail(problem)
    least = 12.0 / span**3
    held = least / (1.0 - 1.0 / steps**2)
    allowed = subject.cost_tolerance(solution)
    at_most(least, solution.cost, allowed, "the least energy beside the reported one")
    at_most(solution.cost, held, allowed, "the energy beside that of held controls")
    if subject.clock is Feature.DISCRETE_TIME:
        close(solution.cost, held, allowed, "the energy of held controls")


@check(
    Family.ORACLES,
    Rule.OPTIMALITY,
    claims=STATIONARY,
    features=[Feature.CONTINUOUS_TIME, Feature.FREE_DURATION, Feature.CONTROL_BOUNDS, Feature.TERMINAL_CONSTRAINTS],
)
def least_time_is_the_closed_form(subject: Subject) -> None:
    """A double integrator moved by 1 under a force of at most 1 takes 2 s, full force and then full brake."""
    steps = 16
    problem = Problem(
        ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), nx=2, nu=1),
        lambda x, u: 1.0,
        initial_state=[0.0, 0.0],
        constraints=[Bounds(control=(-1.0, 1.0)), TerminalConstraint([1.0, 0.0])],
        horizon=Horizon(Free(0.5, 8.0, guess=3.0), steps=steps),
        name="least time",
    )
    solution = subject.success_or_fail(problem)
    allowed = subject.cost_tolerance(solution)
    at_most(2.0, solution.cost, allowed, "the least time beside the reported one")
    # Held controls switch at the middle knot; what is interpolated needs an interval to switch, at half force.
    at_most(solution.cost, 2.0 * (1.0 + 1.0 / steps), allowed, "the time")
    switches = np.flatnonzero(np.diff(np.sign(solution.u[:, 0])))
    require(len(switches) in (1, 2), f"the force changes its sign {len(switches)} times instead of once")


@check(Family.ORACLES, Rule.OPTIMALITY, claims=STATIONARY, thorough=True)
def random_smooth_problems_are_certified(subject: Subject) -> None:
    """Random nonlinear plants of bounded curvature, with strictly convex costs, end in certified successes."""
    from trajopt.testing.strategies.nonlinear import nonlinear_problems  # noqa: PLC0415 - needs Hypothesis

    bounded = None if subject.handles(Feature.CONTROL_BOUNDS) else False
    continuous = subject.clock is Feature.CONTINUOUS_TIME

    def body(problem: Problem) -> None:
        solution: Solution = subject.success_or_fail(problem)
        require(solution.certificate.passed, " ".join(solution.certificate.findings))

    for_all(subject, lambda: nonlinear_problems(continuous=continuous, control_bounds=bounded), body)
