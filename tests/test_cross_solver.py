"""Solvers against each other on the same nonlinear problems, and certificates against tampered answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import trajopt as to
from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.solvers import (
    CEM,
    CMAES,
    DDP,
    DIAL,
    ICEM,
    ILQR,
    MPPI,
    Collocation,
    Indirect,
    PredictiveSampling,
    RandomShooting,
    SCvx,
)

LOCAL = [ILQR(), DDP(), Collocation(), Collocation(scheme="trapezoidal"), SCvx(), Indirect("shooting")]
ON_THE_GRID = LOCAL[:-1]
"""Whose knots are those of the horizon; the last places knots at switches, whose times are rounded by the clock."""


def swing(*, steps: int = 60, begin: float = 0.0, constraints=None, initial_state=(0.0, 0.0)) -> Problem:
    """A damped pendulum pushed from rest to 1 rad against a bound on torque that is active; smooth, one optimum."""

    def dynamics(x, u):
        angle, rate = x
        return np.array([rate, u[0] - np.sin(angle) - 0.125 * rate])

    kept = [to.Bounds(control=(-0.75, 0.75))] if constraints is None else constraints
    return to.Problem(
        to.ContinuousDynamics(dynamics, states=["angle", "rate"], controls=["torque"]),
        stage_cost=lambda x, u: (x[0] - 1.0) ** 2 + 0.25 * x[1] ** 2 + 0.125 * u[0] ** 2,
        terminal_cost=lambda x: 4.0 * (x[0] - 1.0) ** 2 + x[1] ** 2,
        initial_state=initial_state,
        constraints=kept,
        horizon=to.Horizon(3.75, steps=steps, start=begin),
    )


@pytest.fixture(scope="module")
def solved() -> dict[str, Solution]:
    problem = swing()
    return {str(solver): to.solve(problem, solver) for solver in LOCAL}


def test_all_local_solvers_find_the_same_optimum(solved):
    """True costs agree within the sum of what each certificate says it may be off."""
    costs = [solution.certificate.cost for solution in solved.values()]
    errors = [solution.certificate.error for solution in solved.values()]
    assert all(solution.certified for solution in solved.values())
    assert max(errors) <= 1e-3 * min(costs)
    assert max(costs) - min(costs) <= sum(errors)


def test_discretisations_converge_to_the_same_cost():
    """Halving the step quarters the distance between iLQR's held control and Hermite-Simpson's parabola: order 2."""
    problem = [swing(constraints=[], steps=steps) for steps in (15, 30, 60)]
    gaps = [to.solve(p, ILQR()).cost - to.solve(p, Collocation()).cost for p in problem]
    ratios = np.array(gaps[:-1]) / np.array(gaps[1:])
    np.testing.assert_allclose(np.log2(ratios), 2.0, rtol=0.0, atol=0.3)  # the usual band for a measured order


@pytest.mark.parametrize("method", [MPPI, CEM, ICEM, CMAES, DIAL, PredictiveSampling, RandomShooting])
def test_sampling_stays_above_the_derivative_based_optimum(solved, method):
    """Samplers search the same held controls as iLQR, so that iLQR's cost is a lower bound but for its tolerance."""
    best = solved["ILQR()"]
    sampled = to.solve(best.problem, method(samples=256, iterations=200))
    assert sampled.cost >= best.cost - 10.0 * ILQR().tolerance * (1.0 + best.cost)
    assert np.abs(sampled.u).max() <= 0.75


@pytest.mark.parametrize("method", ["LSODA", "Radau"])
@pytest.mark.parametrize("name", [str(solver) for solver in LOCAL])
def test_certified_costs_are_confirmed_by_other_integrators(solved, name, method):
    """Stiff methods of SciPy, run over each interval with the cost as a state, find the certificate's cost and end."""
    solution = solved[name]
    problem, control = solution.problem, solution.trajectory.control_on
    cost, state, tolerance = 0.0, solution.x[0], 1e-9

    def extended(t, y, k):
        u = control(k, t)
        return [*problem.dynamics.function.function(y[:2], u), problem.stage_cost(y[:2], u)]

    for k in range(solution.trajectory.steps):
        run = solve_ivp(
            extended, solution.t[k : k + 2], [*state, 0.0], method, rtol=tolerance, atol=tolerance, args=(k,)
        )
        state, cost = run.y[:2, -1], cost + run.y[2, -1]
    cost += problem.terminal_cost(state)
    # Local errors of each interval add up, and the damped plant does not amplify them more than e^(Lipschitz T) ~ 50.
    allowed = 50.0 * 10.0 * tolerance * solution.trajectory.steps
    assert cost == pytest.approx(solution.certificate.cost, abs=allowed)
    np.testing.assert_allclose(state, solution.certificate.x[-1], rtol=0.0, atol=allowed)


def tampered(solution: Solution, change: str) -> Solution:
    """A good answer with one thing wrong."""
    x, u, cost = solution.x.copy(), solution.u.copy(), solution.cost
    if change == "controls shifted":
        u = u + 0.1
    elif change == "two controls swapped":
        u[[2, -3]] = u[[-3, 2]]
    elif change == "state clipped":
        x[:, 1] = np.minimum(x[:, 1], 0.9 * x[:, 1].max())
    elif change == "cost understated":
        cost *= 0.99
    elif change == "control beyond its bound":
        u[0] = 0.75 * 1.01
    elif change == "not a number":
        x[-1, 0] = np.nan
    elif change == "start moved":
        x[0, 0] += 0.01
    return replace(solution, trajectory=replace(solution.trajectory, x=x, u=u), cost=cost)


FINDINGS = {
    "controls shifted": "do not obey the dynamics",
    "two controls swapped": "do not obey the dynamics",
    "state clipped": "do not obey the dynamics",
    "cost understated": "less than the true cost",
    "control beyond its bound": "'torque <= 0.75' is violated",
    "not a number": "not finite",
    "start moved": "'initial angle = 0' is violated",
}


@pytest.mark.parametrize("name", [str(solver) for solver in LOCAL])
@pytest.mark.parametrize("change", FINDINGS)
def test_tampered_answers_are_caught_by_the_right_finding(solved, name, change):
    """The status still says solved; the certificate names what was done."""
    solution = tampered(solved[name], change)
    assert solution.success
    assert not solution.certified
    assert any(FINDINGS[change] in finding for finding in solution.certificate.findings), solution.certificate.findings


@pytest.mark.parametrize("seed", range(5))
def test_random_feasible_controls_are_never_certified(solved, seed):
    """Controls inside their bounds with honest states and an honest cost: only stationarity can object, and does."""
    good = solved["ILQR()"]
    u = np.random.default_rng(seed).uniform(-0.75, 0.75, good.u.shape)
    fake = replace(good, trajectory=replace(good.trajectory, u=u))
    honest = fake.certify(1e-3)
    knots = honest.x[:: len(honest.t) // good.trajectory.steps]
    x = np.vstack([knots, honest.x[-1]])
    answer = replace(good, trajectory=replace(good.trajectory, x=x, u=u), cost=honest.cost)
    assert len(answer.certificate.findings) == 1
    assert "not stationary" in answer.certificate.findings[0]


@pytest.mark.parametrize("solver", ON_THE_GRID, ids=str)
def test_a_shift_of_the_clock_changes_no_bit(solver):
    """An autonomous problem that starts at t = 8 has the answer of t = 0: steps of 1/16 are exact."""
    one, other = (to.solve(swing(begin=begin), solver) for begin in (0.0, 8.0))
    np.testing.assert_array_equal(other.t, one.t + 8.0)
    np.testing.assert_array_equal(other.u, one.u)
    assert other.cost == one.cost


REFORMULATIONS = {
    "bounds": [to.Bounds(control=(-0.75, 0.75), state=(None, [None, 0.5]))],
    "bounds in two": [to.Bounds(control=(-0.75, None), state=(None, [None, 0.5])), to.Bounds(control=(None, 0.75))],
    "path": [
        to.Bounds(control=(-0.75, 0.75)),  # as a path row, a parabola would keep it at its three nodes alone
        to.PathConstraint(lambda x, u: x[1], upper=0.5),
    ],
    "twice": [to.Bounds(control=(-0.75, 0.75), state=(None, [None, 0.5]))] * 2
    + [to.PathConstraint(lambda x, u: x[1] - 0.5)],
    "never active as well": [
        to.Bounds(control=(-0.75, 0.75), state=([-50.0, None], [None, 0.5])),
        to.PathConstraint(lambda x, u: x @ x, upper=100.0),
        to.TerminalConstraint(lambda x: x[0], lower=-10.0, upper=10.0),
    ],
}


@pytest.mark.parametrize("solver", [ILQR(), DDP(), Collocation()], ids=str)
def test_the_wording_of_constraints_does_not_matter(solver):
    """Bounds, path constraints, repetitions and rows without effect: one optimum, within tolerance times multiplier."""
    solutions = {name: to.solve(swing(constraints=rows), solver) for name, rows in REFORMULATIONS.items()}
    reference = solutions.pop("bounds")
    assert reference.certified
    peak = reference.x[:, 1].max()
    assert peak == pytest.approx(0.5, abs=2e-6)  # the bound is active, or the test would say nothing
    multipliers = reference.certificate.multipliers
    prices = sum(np.abs(values).sum() for values in multipliers.values())
    rows = reference.trajectory.steps * 6
    # Rows may be missed by 1e-6 at their price; an interior method ends 1e-8 a row early; and the decrement.
    allowed = 2.0 * (1e-6 * prices + 1e-7 * rows + 1e-7 * (1.0 + reference.cost))
    for name, solution in solutions.items():
        assert solution.certified, (name, solution.certificate.findings)
        assert solution.cost == pytest.approx(reference.cost, abs=allowed), name


@pytest.mark.parametrize("solver", [ILQR(), DDP(), Collocation()], ids=str)
def test_a_terminal_target_is_a_terminal_function(solver):
    """A target, the same as a function, and the same as bounds on a boundary row give one cost."""
    ways = [
        to.TerminalConstraint([0.75, None]),
        to.TerminalConstraint(lambda x: x[0], lower=0.75, upper=0.75),
        to.TerminalConstraint(lambda x: 0.75 - x[0]),
    ]
    solutions = [to.solve(swing(constraints=[way]), solver) for way in ways]
    assert all(solution.certified for solution in solutions)
    price = sum(np.abs(values).sum() for values in solutions[0].certificate.multipliers.values())
    allowed = 2.0 * (1e-6 * price + 1e-7 * (1.0 + solutions[0].cost))
    costs = [solution.cost for solution in solutions]
    assert max(costs) - min(costs) <= allowed


@pytest.mark.parametrize("solver", [ILQR(), DDP(), Collocation()], ids=str)
def test_costates_are_derivatives_of_the_optimal_cost(solver):
    """Envelope theorem on a nonlinear bounded problem: differences of re-solves meet solver's and core's costate."""
    problem = swing(initial_state=[0.125, 0.0])
    solution, h = to.solve(problem, solver), 2.0**-7
    slopes = []
    for step in h * np.eye(2):
        ends = [to.solve(problem.at(initial_state=solution.x[0] + sign * step), solver).cost for sign in (1.0, -1.0)]
        slopes.append((ends[0] - ends[1]) / (2.0 * h))
    # Truncation h^2 |J'''| / 6 with a third derivative of the cost's own size, and two decrements over 2h.
    error = h**2 * solution.cost * 4.0 + 2e-8 * (1.0 + solution.cost) / h
    np.testing.assert_allclose(solution.multipliers["costates"][0], slopes, rtol=0.0, atol=error)
    # The certificate's costates are those of the continuous control problem: off by the gap between both.
    np.testing.assert_allclose(solution.certificate.costates[0], slopes, rtol=0.0, atol=error + 1e-3 * solution.cost)


@pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=str)
def test_the_tail_of_a_swing_is_the_optimum_from_there(solver):
    """Principle of optimality: solved again from a state on the way, the rest of the plan comes back."""
    whole = to.solve(swing(), solver)
    tail = replace(whole.problem, initial_state=whole.x[24], horizon=to.Horizon(3.75 * 36 / 60, steps=36))
    rest = to.solve(tail, solver)
    # The control's own cost curves by 2 * 0.125 * h, and each answer lies within its decrement of the optimum.
    far = 2.0 * np.sqrt(2.0 * 10.0 * solver.tolerance * (1.0 + whole.cost) / (0.25 / 16.0))
    np.testing.assert_allclose(rest.u, whole.u[24:], rtol=0.0, atol=far)


@pytest.mark.parametrize("first", [ILQR(), Collocation(), MPPI(samples=64, iterations=20)], ids=str)
@pytest.mark.parametrize("second", [ILQR(), DDP(), Collocation()], ids=str)
def test_any_answer_is_a_guess_for_any_solver(first, second):
    """From whatever start, the second solver ends at its own optimum."""
    problem = swing()
    cold, warm = to.solve(problem, second), to.solve(problem, second, guess=to.solve(problem, first))
    assert warm.certified
    assert warm.cost == pytest.approx(cold.cost, abs=1e-7 * (1.0 + cold.cost))
