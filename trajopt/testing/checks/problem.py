"""What the functions of a problem must be: what was traced, differentiable, pure, symmetric, and as cheap as stated."""

from __future__ import annotations

from collections.abc import Iterator

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.dynamics import TracedDynamics
from trajopt.plain import PlainFunctions
from trajopt.solve import solve
from trajopt.testing.probes import central_differences, probe_points
from trajopt.testing.problem_suite import ProblemSubject
from trajopt.testing.registry import Family, NotApplicable, check, close, require
from trajopt.testing.tolerances import EXACT, Rule, optimality, rounding, truncation

Array = NDArray[np.float64]
SUITE = "problem"


def _points(subject: ProblemSubject) -> Iterator[tuple[Array, Array, float]]:
    """Finite points (x, u, t) of the dynamics."""
    nx = subject.problem.nx
    centre, spread = subject.region()
    count = 100 if subject.thorough else 10
    time = subject.problem.horizon.start_guess
    for point in probe_points(len(centre), centre, spread, count):
        yield point[:nx], point[nx:], float(time)


def _functions(subject: ProblemSubject) -> tuple[PlainFunctions, Array]:
    parameters = subject.problem.layout.pack(subject.problem.parameters)
    return PlainFunctions(subject.problem, parameters), parameters


def _plain(functions: PlainFunctions, x: Array, u: Array, t: float) -> Array:
    """Dynamics, costs and path rows of one point, as the user wrote them."""
    return np.concatenate(
        [functions.dynamics(x, u, t), [functions.stage_cost(x, u, t), functions.terminal_cost(x, t)],
         functions.path(x, u, t), functions.terminal(x, t)]
    )  # fmt: skip


def _traced(subject: ProblemSubject) -> tuple[ca.Function, ca.Function]:
    """The same as traced, and its derivatives by state and control."""
    if not isinstance(subject.problem.dynamics, TracedDynamics):
        raise NotApplicable("its dynamics are not traced")
    model = subject.problem.model
    every = ca.vertcat(
        model.dynamics, model.stage_cost, model.terminal_cost, model.path.expression, model.terminal.expression
    )
    z = ca.vertcat(model.x, model.u)
    inputs = [model.x, model.u, model.t, model.p]
    slopes = ca.Function("slopes", inputs, [ca.densify(ca.jacobian(every, z))])
    return ca.Function("values", inputs, [ca.densify(every)]), slopes


@check(Family.PROBLEM, Rule.ROUNDING, suite=SUITE)
def traces_are_the_functions(subject: ProblemSubject) -> None:
    """What was traced has the values of the user's own Python at points that tell entries apart."""
    values, _ = _traced(subject)
    functions, parameters = _functions(subject)
    looked = 0
    for x, u, t in _points(subject):
        expected = _plain(functions, x, u, t)
        if not np.isfinite(expected).all():
            continue
        looked += 1
        found = values(x, u, t, parameters).full().ravel()
        # An expression is evaluated in another order: its operations round differently.
        close(found, expected, rounding(1000.0, 1.0 + np.abs(expected).max()), "a traced function")
    require(looked, "the functions are finite at no point near the guess")


@check(Family.PROBLEM, Rule.TRUNCATION, suite=SUITE)
def derivatives_are_slopes(subject: ProblemSubject) -> None:
    """Derivatives by state and control are central differences of the user's own functions, where these are smooth."""
    _, slopes = _traced(subject)
    functions, parameters = _functions(subject)
    nx, wrong, looked = subject.problem.nx, [], 0
    for x, u, t in _points(subject):
        point = np.concatenate([x, u])

        def every(z: Array, at: float = t) -> Array:
            return _plain(functions, z[:nx], z[nx:], at)

        differences, exact = central_differences(every, point), slopes(x, u, t, parameters).full()
        if not (np.isfinite(differences).all() and np.isfinite(exact).all()):
            continue
        looked += 1
        size = 1.0 + max(np.abs(exact).max(), np.abs(every(point)).max())
        # Third derivatives are unknown: a hundred times the values. A jump or a wrong slope is far larger.
        wrong.append(bool((np.abs(differences - exact) > 100.0 * truncation(size).amount).any()))
    require(looked, "the functions have finite slopes at no point near the guess")
    # A bend lies within a step of a point by rare chance; a wrong derivative is wrong everywhere.
    require(sum(wrong) <= 0.2 * looked, f"derivatives are no slopes at {sum(wrong)} of {looked} points")


@check(Family.PROBLEM, Rule.EXACT, suite=SUITE)
def functions_are_pure(subject: ProblemSubject) -> None:
    """Called twice the functions return the same bits, whatever was called in between."""
    functions, _ = _functions(subject)
    points = list(_points(subject))
    first = [_plain(functions, *point) for point in points]
    for point, expected in list(zip(points, first, strict=True))[::-1]:
        again = _plain(functions, *point)
        require(np.array_equal(again, expected, equal_nan=True), "a second call returns something else")


@check(Family.PROBLEM, Rule.ROUNDING, suite=SUITE)
def symmetries_hold(subject: ProblemSubject) -> None:
    """f(G x, H u) = G f(x, u), and costs are equal, for every symmetry that is stated."""
    if not subject.symmetries:
        raise NotApplicable("no symmetry is stated")
    functions, _ = _functions(subject)
    for symmetry in subject.symmetries:
        G, H = symmetry.matrices()
        for x, u, t in _points(subject):
            moved, plain = functions.dynamics(G @ x, H @ u, t), G @ functions.dynamics(x, u, t)
            costs = [[functions.stage_cost(*z, t), functions.terminal_cost(z[0], t)] for z in ((G @ x, H @ u), (x, u))]
            if not (np.isfinite(moved).all() and np.isfinite(plain).all()):
                continue
            size = 1.0 + max(np.abs(plain).max(), np.abs(costs).max())
            close(moved, plain, rounding(1000.0, size), f"the dynamics under {symmetry.name}")
            close(costs[0], costs[1], rounding(1000.0, size), f"the costs under {symmetry.name}")


@check(Family.PROBLEM, Rule.OPTIMALITY, suite=SUITE)
def the_stated_optimum_is_reached(subject: ProblemSubject) -> None:
    """A certified answer costs what is stated, to the digits that are trusted, and no certified one costs less."""
    if subject.optimum is None:
        raise NotApplicable("no optimum is stated")
    solution = solve(subject.problem, subject.solver)
    require(solution.certified, f"{solution.solver} ends {solution.status}: {' '.join(solution.certificate.findings)}")
    digit = 0.5 * 10.0 ** -(subject.digits - 1) * max(abs(subject.optimum), np.finfo(float).tiny)
    allowed = optimality(digit + solution.certificate.error)
    close(solution.certificate.cost, subject.optimum, allowed, "the certified cost")


@check(Family.PROBLEM, Rule.EXACT, suite=SUITE)
def variants_share_what_was_traced(subject: ProblemSubject) -> None:
    """The problem at its own numbers is the problem: features, bounds and parameters stay."""
    problem = subject.problem
    again = problem.at(parameters=problem.parameters) if problem.parameters else problem.at()
    require(again.features == problem.features, "a variant has other features")
    limits = np.nan_to_num(again.state_bounds), np.nan_to_num(problem.state_bounds)
    close(limits[0], limits[1], EXACT, "a state bound of a variant")
