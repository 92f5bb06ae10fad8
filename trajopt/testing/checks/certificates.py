"""What holds of every answer by itself, as the core and plain NumPy measure it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from trajopt.constraints import PathConstraint, TerminalConstraint
from trajopt.plain import PlainFunctions
from trajopt.problem import Feature, Problem
from trajopt.solution import Solution
from trajopt.solver import Claim
from trajopt.status import Status
from trajopt.testing.answers import flat_guess
from trajopt.testing.registry import Family, NotApplicable, at_most, check, close, require
from trajopt.testing.subject import Subject
from trajopt.testing.tolerances import EXACT, Rule, Tolerance, optimality, rounding

DISCRETE = [Feature.DISCRETE_TIME]
ADJOINT = frozenset({Feature.DISCRETE_TIME, Feature.CONTROL_BOUNDS, Feature.TERMINAL_CONSTRAINTS})
"""Features with which costates are those of the plain recursion: rows on states on the way add impulses to them."""


def plain(solution: Solution) -> PlainFunctions:
    """The problem's functions at the answer's parameters."""
    problem = solution.problem
    assert problem is not None
    return PlainFunctions(problem, problem.layout.pack({**(problem.parameters or {}), **solution.parameters}))


def sums(problem: Problem, size: float) -> Tolerance:
    """Rounding of a sum along the horizon of terms of a size, each some products of states and controls."""
    return rounding(16.0 * problem.horizon.steps * (problem.nx + problem.nu), size)


def skip_noise(problem: Problem) -> None:
    """Random dynamics have no single trajectory to look at."""
    if Feature.STOCHASTIC in problem.features:
        raise NotApplicable("its dynamics are random")


@check(Family.CERTIFICATES, Rule.OPTIMALITY, each=True)
def success_is_certified(subject: Subject, problem: Problem) -> None:
    """What is called solved is confirmed by the core: dynamics, cost and constraints, and stationarity if claimed."""
    skip_noise(problem)
    solution = subject.success(problem)
    certificate = solution.certify(max(solution.certificate.tolerance, subject.constraint_tolerance))
    if subject.claims(Claim.STATIONARY):
        require(certificate.passed, " ".join(certificate.findings))
    for name in ("defect", "violation", "cost_error"):
        at_most(getattr(certificate, name), certificate.tolerance, EXACT, name.replace("_", " "))


@check(Family.CERTIFICATES, Rule.OPTIMALITY, claims=[Claim.STATIONARY], each=True)
def what_is_easy_is_solved(subject: Subject, problem: Problem) -> None:
    """Each of the problems, which have an optimum near the guess, ends in success: giving up is honest, but no help."""
    solution = subject.solution(problem)
    require(solution.success, f"it ends with the status {solution.status}")


@check(Family.CERTIFICATES, Rule.ROUNDING, features=DISCRETE, each=True)
def reported_cost_is_that_of_the_trajectory(subject: Subject, problem: Problem) -> None:
    """The reported cost is the sum of the user's own stage costs along the returned states and controls."""
    skip_noise(problem)
    solution = subject.solution(problem)
    functions, t = plain(solution), solution.t
    stages = [functions.stage_cost(solution.x[k], solution.u[k], t[k]) for k in range(solution.steps)]
    final = functions.terminal_cost(solution.x[-1], t[-1])
    size = float(np.abs(stages).sum() + abs(final))
    close(solution.cost, sum(stages) + final, sums(problem, size), "the reported cost")


@check(Family.CERTIFICATES, Rule.OPTIMALITY, features=DISCRETE, each=True)
def states_obey_the_dynamics(subject: Subject, problem: Problem) -> None:
    """Each state is the user's own function of the one before, to what the solver lets constraints be missed by."""
    skip_noise(problem)
    solution = subject.success(problem)
    functions = plain(solution)
    ends = [functions.dynamics(solution.x[k], solution.u[k], solution.t[k]) for k in range(solution.steps)]
    size = max(1.0, float(np.abs(solution.x).max()))
    allowed = optimality(subject.constraint_tolerance * size) + sums(problem, size)
    close(solution.x[1:], np.array(ends), allowed, "the next state")
    given = problem.initial_values
    fixed = np.isfinite(given)
    close(solution.x[0][fixed], given[fixed], allowed, "the initial state")


@check(Family.CERTIFICATES, Rule.OPTIMALITY, features=[Feature.CONTROL_BOUNDS], each=True)
def controls_stay_within_bounds(subject: Subject, problem: Problem) -> None:
    """Controls keep to their bounds at every time, to what the solver allows constraints to be missed by."""
    if Feature.CONTROL_BOUNDS not in problem.features:
        raise NotApplicable("no problem has control bounds")
    solution = subject.success(problem)
    times = np.linspace(*solution.span, 8 * solution.steps + 1)
    controls = np.vstack([solution.u, solution.trajectory.control(times)])
    lower, upper = problem.control_bounds
    beyond = np.maximum((controls - upper) / np.maximum(1.0, np.abs(upper)),
                        (lower - controls) / np.maximum(1.0, np.abs(lower)))  # fmt: skip
    at_most(float(beyond.max()), 0.0, optimality(subject.constraint_tolerance), "the distance beyond a control bound")


@check(Family.CERTIFICATES, Rule.OPTIMALITY, features=DISCRETE, claims=[Claim.STATIONARY], each=True)
def costates_are_derivatives_of_the_remaining_cost(subject: Subject, problem: Problem) -> None:
    """The solver's costates, if it gives any, are those that the core recovers by itself, sign and index included."""
    if not problem.features <= ADJOINT:
        raise NotApplicable("rows on the way add impulses to the costates")
    solution = subject.success(problem)
    found = solution.multipliers.get("costates")
    if found is None:
        raise NotApplicable("it gives no costates")
    costates = solution.certificate.costates
    # A costate is a slope of the remaining cost: where that curves by S, an excess cost d turns it by sqrt(2 S d).
    steepness = 1.0 + float(np.abs(costates).max())
    allowed = optimality(2.0 * subject.decrement(solution), 1.0 / steepness)
    close(found, costates, allowed + sums(problem, steepness), "a costate")


@check(Family.CERTIFICATES, Rule.OPTIMALITY, features=[Feature.CONTROL_BOUNDS], claims=[Claim.STATIONARY], each=True)
def multipliers_of_bounds_push_inwards(subject: Subject, problem: Problem) -> None:
    """Multipliers of bounds, if given, are positive at an upper limit, negative at a lower one, and zero elsewhere."""
    solution = subject.success(problem)
    looked = 0
    for name, values, limits in (
        ("control_bounds", solution.u, problem.control_bounds),
        ("state_bounds", solution.x, problem.state_bounds),
    ):
        found = solution.multipliers.get(name)
        if found is None or not np.isfinite(limits).any() or np.shape(found) != values.shape:
            continue
        looked += 1
        # Complementarity: multiplier times slack is at most the tolerance; so one of them is at most its root. Along
        # the time multipliers are densities: those of the program over the time that each stands for.
        share = float(np.diff(solution.t).min())
        missed = max(subject.tolerance, subject.constraint_tolerance) * (1.0 + abs(solution.cost))
        root = math.sqrt(missed / min(1.0, share))
        allowed = optimality(root * max(1.0, float(np.abs(found).max())))
        lower, upper = limits
        off_upper, off_lower = upper - values > root, values - lower > root
        at_most(float(np.max(found, where=off_upper, initial=0.0)), 0.0, allowed, f"{name} away from an upper limit")
        at_most(float(np.max(-found, where=off_lower, initial=0.0)), 0.0, allowed, f"-{name} away from a lower limit")
    if not looked:
        raise NotApplicable("it gives no multipliers of active bounds at the knots")


@check(Family.CERTIFICATES, Rule.OPTIMALITY, features=[Feature.CONTROL_BOUNDS], claims=[Claim.STATIONARY])
def active_bounds_have_multipliers(subject: Subject) -> None:
    """Where the core finds a control pressed against its bound, the solver's multiplier says so too."""
    solution = subject.success(subject.base)
    found = solution.multipliers.get("control_bounds")
    pressed = {name: values for name, values in solution.certificate.multipliers.items() if "torque" in name}
    total = float(sum(np.sum(np.abs(values)) for values in pressed.values()))
    require(total > 0.0, "the core finds no active bound on the plant, whose torque is limited")
    for name, values in pressed.items():
        if len(values) == len(solution.u):
            away = np.abs(solution.u[:, 0] - (0.75 if "<=" in name else -0.75)) > math.sqrt(subject.tolerance)
            share = np.abs(values) > 0.5 * total / len(values)
            require(not (share & away).any(), f"the core finds {name!r} active where the torque is away from it")
    if found is None or np.shape(found) != solution.u.shape:
        raise NotApplicable("it gives no multipliers of control bounds at the knots")
    # In continuous time some give densities, others impulses: the share of the time is the same.
    share = np.abs(found[:, 0]) > 0.5 * np.abs(found).max()
    at_limit = np.abs(solution.u[:, 0]) > 0.75 - math.sqrt(subject.tolerance)
    require(share.any() and (at_limit | ~share).all(), "the largest multipliers are not where the torque is limited")


@check(Family.CERTIFICATES, Rule.EXACT, features=[Feature.CONTROL_BOUNDS, Feature.TERMINAL_CONSTRAINTS])
def an_unreachable_target_is_never_solved(subject: Subject) -> None:
    """A target beyond what the bounds allow ends without success: forty radians in four seconds with 0.75."""
    problem = subject.plant("unreachable", constraints=[TerminalConstraint([40.0, 0.0])])
    solution = subject.solve(problem)
    require(not solution.success, f"an infeasible problem ended with the status {solution.status}")


@check(Family.CERTIFICATES, Rule.EXACT, features=[Feature.PATH_CONSTRAINTS])
def contradictory_rows_are_never_solved(subject: Subject) -> None:
    """Two path constraints that exclude each other end without success."""
    rows = [PathConstraint(lambda x, u: x[1], upper=-0.5), PathConstraint(lambda x, u: x[1], lower=0.5, upper=np.inf)]
    solution = subject.solve(subject.plant("contradiction", constraints=rows))
    require(not solution.success, f"an infeasible problem ended with the status {solution.status}")


@check(Family.CERTIFICATES, Rule.EXACT, claims=[Claim.STATIONARY])
def an_unbounded_cost_is_never_solved(subject: Subject) -> None:
    """A reward for effort without a limit of effort ends without success, from a guess that makes an effort."""
    problem = _rewarded(subject, limited=False)
    guess = flat_guess(problem, 0.25)
    solution = subject.solve(problem, guess=guess)
    require(not solution.success, f"a cost without minimum ended with the status {solution.status}")


def _rewarded(subject: Subject, *, limited: bool) -> Problem:
    """A double integrator, linear-quadratic, with a reward for effort."""

    def rate(x: Any, u: Any) -> Any:
        return np.array([x[1], u[0]])

    return subject.plant("reward for effort", limited=limited, rate=rate, cost=lambda x, u: -(u[0] ** 2), end=None)


@check(Family.CERTIFICATES, Rule.OPTIMALITY, claims=[Claim.STATIONARY], settings=["iterations"])
def an_iteration_limit_is_no_success(subject: Subject) -> None:
    """Stopped after one iteration, the solver calls solved only what is: the cost of the full solve."""
    full = subject.success(subject.base)
    short = subject.solve(subject.base, solver=subject.with_settings(iterations=1))
    if short.success:
        close(short.cost, full.cost, subject.cost_tolerance(full), "the cost called solved after one iteration")
    else:
        limit = {Status.ITERATION_LIMIT, Status.STALLED}
        require(short.status in limit, f"after one iteration the status is {short.status}")


@check(Family.CERTIFICATES, Rule.EXACT, claims=[Claim.MINIMA])
def a_maximum_is_no_success(subject: Subject) -> None:
    """Put on a maximum, where the gradient is zero, the solver leaves it or does not call it solved."""
    limited = subject.handles(Feature.CONTROL_BOUNDS)
    problem = _rewarded(subject, limited=limited)
    solution = subject.solve(problem, guess=flat_guess(problem, 0.0))
    require(not solution.success or solution.cost < 0.0, "the guess, a maximum, is called solved")


@check(Family.CERTIFICATES, Rule.EXACT, each=True)
def the_history_tells_the_solve(subject: Subject, problem: Problem) -> None:
    """Records count from zero, their clock never goes back, and there is one for each iteration at least."""
    solution = subject.solution(problem)
    history = solution.history
    require(history, "the monitor was told of no iteration")
    require([record.number for record in history] == list(range(len(history))), "records are not numbered from zero")
    seconds = [record.seconds for record in history]
    require(seconds == sorted(seconds), "the clock of the history goes back")
    require(seconds[-1] <= solution.seconds, "the last record is later than the end of the solve")
    require(
        len(history) >= solution.iterations,
        f"{solution.iterations} iterations are reported, but {len(history)} records",
    )
    require(isinstance(solution.iterations, int), f"iterations is a {type(solution.iterations).__name__}")


@check(Family.CERTIFICATES, Rule.OPTIMALITY, claims=[Claim.STATIONARY], each=True)
def the_answer_is_the_last_of_the_history(subject: Subject, problem: Problem) -> None:
    """A success costs what its last record says: nobody returns another iterate than the one that passed."""
    solution = subject.success(problem)
    last = solution.history[-1].cost
    close(last, solution.cost, optimality(subject.decrement(solution)), "the cost of the last record")


@check(Family.CERTIFICATES, Rule.EXACT, each=True)
def answers_fit_their_problem(subject: Subject, problem: Problem) -> None:
    """Shapes, times and parameters are those of the problem, and every number is finite."""
    solution = subject.solution(problem)
    again = replace(solution, trajectory=replace(solution.trajectory))  # a copy looks the same to the core
    require(solution.x.shape == (len(solution.t), problem.nx), f"x has shape {solution.x.shape}")
    require(solution.u.shape[0] in (len(solution.t) - 1, len(solution.t)), f"u has shape {solution.u.shape}")
    require(solution.u.shape[1] == problem.nu, f"u has shape {solution.u.shape}")
    require((np.diff(solution.t) > 0.0).all(), "times do not increase")
    finite = all(np.isfinite(part).all() for part in (again.t, again.x, again.u))
    require(finite, "states or controls are not finite")
    require(math.isfinite(solution.cost) or not solution.success, f"the cost of a success is {solution.cost}")
    require(set(problem.layout.shapes) <= set(solution.parameters), "the answer lacks parameters of the problem")
