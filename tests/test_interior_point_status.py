"""What `InteriorPoint` says of problems without an answer, at the edge of one, or stopped on the way."""

from __future__ import annotations

import numpy as np
import pytest
from interior_point_cases import swing_up
from numba.core.runtime import _nrt_python, rtsys

import trajopt as to
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.solvers.interior_point import InteriorPoint, _Run
from trajopt.status import Status
from trajopt.transcription.augmentation import augment
from trajopt.transcription.stages import compile_stages


def mass(*constraints, cost=lambda x, u: u @ u, start=(0.0, 0.0), **settings):
    """A unit mass, pushed for a second on 20 steps."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), states=["position", "speed"], controls=["force"]),
        stage_cost=cost,
        initial_state=start,
        constraints=constraints,
        horizon=to.Horizon(1.0, steps=20),
        **settings,
    )


ARRIVE = to.TerminalConstraint([1.0, 0.0], name="arrive")


def cost_of_arriving() -> float:
    """12 for a continuous control; held on 20 steps, sum of c_k u_k = 1 and sum of u_k = 0 is a least-norm problem."""
    h = 1.0 / 20
    rows = np.stack([h * (1.0 - h * (np.arange(20) + 0.5)), np.full(20, h)])
    return h * float(np.sum((np.linalg.pinv(rows) @ np.array([1.0, 0.0])) ** 2))


INFEASIBLE = {
    "unreachable": (to.Bounds(control=(-1, 1)), to.TerminalConstraint([5.0, 0.0])),
    "speed limit": (to.Bounds(state=([None, -1], [None, 1])), to.TerminalConstraint([5.0, 0.0])),
    "contradictory rows": (to.PathConstraint(lambda x, u: x[0], upper=-1.0, name="left"), ARRIVE),
    "contradictory targets": (ARRIVE, to.TerminalConstraint([2.0, 0.0], name="or there")),
    "no corridor": (
        to.PathConstraint(lambda x, u: x[0] - 0.5 * np.sin(9.0 * x[1]), lower=0.0, upper=0.0, name="wall"),
        to.TerminalConstraint([3.0, 0.0]),
    ),
}


@pytest.mark.parametrize("name", INFEASIBLE)
def test_infeasible_problems_are_called_so(name):
    """Never solved; the constraint that stays violated is named, and limits hold."""
    solution = to.solve(mass(*INFEASIBLE[name]), InteriorPoint(), max_time=300.0)
    assert solution.status is Status.INFEASIBLE, solution.message
    assert "stays violated" in solution.detail


def test_a_restoration_without_a_way_on_ends():
    """One step that overshoots the state's bounds whatever the control; drawn by `infeasible_problems`.

    The soft problem is feasible, so that no step was too short for its line search, which once never returned.
    """
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: 0.5 * x + 0.5 * u - 3.25, nx=1, nu=1),
        stage_cost=lambda x, u: 0.53125 * (x @ x + u @ u),
        terminal_cost=lambda x: 0.03125 * (x @ x),
        initial_state=[0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0), state=(-2.0, 1.0))],
        horizon=to.Horizon(steps=1),
    )
    solution = to.solve(problem, InteriorPoint())
    assert not solution.success
    assert "stays violated by 0.75" in solution.message


def test_an_equation_without_a_root():
    """x^2 + 1 = 0 at the end: its stationary point is found and called infeasible."""
    problem = mass(to.TerminalConstraint(lambda x: x[0] ** 2 + 1.0, name="no root"))
    solution = to.solve(problem, InteriorPoint())
    assert solution.status is Status.INFEASIBLE
    assert "no root" in solution.detail


REDUNDANT = {
    "duplicated equality": (ARRIVE, to.TerminalConstraint([1.0, 0.0], name="again")),
    "scaled equality": (ARRIVE, to.TerminalConstraint(lambda x: 3.0 * x[0] + x[1], lower=3.0, upper=3.0)),
    "redundant inequality": (
        ARRIVE,
        to.PathConstraint(lambda x, u: x[0], upper=1.0),
        to.Bounds(state=(None, [1.0, 9])),
    ),
    "wide bounds": (ARRIVE, to.Bounds(control=(-1e9, 1e9))),
}


@pytest.mark.parametrize("name", REDUNDANT)
def test_redundant_constraints_change_nothing(name):
    """Rank-deficient equalities, and inequalities without an interior, reach the closed-form cost."""
    solution = to.solve(mass(*REDUNDANT[name]), InteriorPoint())
    assert solution.success, solution.message
    # limits are relaxed by 5e-9, at multipliers of the order of the cost; mu = 1e-9 for each of 40 bounds
    assert solution.cost == pytest.approx(cost_of_arriving(), abs=2e-6)


def test_bounds_without_width():
    """A control pinned by its bounds keeps that value exactly, and a pinned state is an equality."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0] + u[1], u[2]]), nx=2, nu=3),
        stage_cost=lambda x, u: u @ u,
        initial_state=[0.0, 0.5],
        constraints=[
            to.Bounds(control=([-9.0, 0.25, -9.0], [9.0, 0.25, 9.0]), state=([None, 0.5], [None, 0.5])),
            to.TerminalConstraint([1.0, None]),
        ],
        horizon=to.Horizon(1.0, steps=10),
    )
    solution = to.solve(problem, InteriorPoint())
    assert solution.success
    np.testing.assert_array_equal(solution.u[:, 1], 0.25)
    np.testing.assert_allclose(solution.x[:, 1], 0.5, atol=1e-8)
    np.testing.assert_allclose(solution.u[:, 0], 0.75, atol=1e-6)


def test_a_region_without_numbers_is_avoided():
    """Trial points where the square root fails are refused, and the answer stays clear of them."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] + np.sqrt(x[0] + 0.05)]), nx=2, nu=1),
        stage_cost=lambda x, u: u @ u,
        initial_state=[0.0, -0.3],
        constraints=[to.Bounds(control=(-5, 5)), to.TerminalConstraint([1.0, 0.0])],
        horizon=to.Horizon(1.0, steps=20),
    )
    solution = to.solve(problem, InteriorPoint())
    assert solution.success
    assert np.isfinite(solution.x).all()


def test_a_guess_without_numbers_is_named():
    """Functions that are not finite along the guess are a numerical failure, said in words."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] + np.log(x[0] + 1.0)]), nx=2, nu=1),
        stage_cost=lambda x, u: u @ u,
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(1.0, steps=2),
        guess=([0.0, 0.5, 1.0], [[0.0, 0.0], [-3.0, 0.0], [1.0, 0.0]], [[0.0], [0.0]]),
    )
    solution = to.solve(problem, InteriorPoint())
    assert solution.status is Status.NUMERICAL_FAILURE
    assert "guess" in solution.message + solution.detail


def test_an_unbounded_problem_diverges():
    """A cost without a lower bound is called so."""
    assert to.solve(mass(cost=lambda x, u: x[0]), InteriorPoint()).status is Status.DIVERGED


def test_a_guess_far_outside_all_bounds():
    """It is moved inside, and the answer is the same."""
    guess = (np.linspace(0.0, 1.0, 21), np.full((21, 2), 1e3), np.full((20, 1), -1e3))
    problem = mass(ARRIVE, to.Bounds(control=(-10, 10), state=([-0.1, -5.0], [1.1, 5.0])), guess=guess)
    solution = to.solve(problem, InteriorPoint())
    assert solution.success
    assert solution.cost == pytest.approx(cost_of_arriving(), abs=1e-6)


def test_metres_next_to_gigametres():
    """A problem in other units takes the same path: cost and controls scale exactly as they should."""
    unit = 1e9
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], unit * u[0]]), nx=2, nu=1),
        stage_cost=lambda x, u: u @ u,
        initial_state=[0.0, 0.0],
        constraints=[to.TerminalConstraint([unit, 0.0])],
        horizon=to.Horizon(1.0, steps=20),
    )
    solution = to.solve(problem, InteriorPoint(constraint_tolerance=1e-6))
    assert solution.success
    assert solution.cost == pytest.approx(cost_of_arriving(), rel=1e-6)


def test_limits_callbacks_and_interrupts():
    """Each ends the solve with its own status and a finite trajectory."""

    def interrupt(iteration):
        if iteration.number == 3:
            raise KeyboardInterrupt

    problem = swing_up()
    endings = {
        Status.ITERATION_LIMIT: to.solve(problem, InteriorPoint(iterations=2)),
        Status.STOPPED: to.solve(problem, InteriorPoint(), callback=lambda iteration: iteration.number == 2),
        Status.TIME_LIMIT: to.solve(problem, InteriorPoint(), max_time=1e-6),
        Status.INTERRUPTED: to.solve(problem, InteriorPoint(), callback=interrupt),
    }
    for status, solution in endings.items():
        assert solution.status is status
        assert np.isfinite(solution.x).all()


def test_no_state_between_solves():
    """A, then B, then A again gives the same bits."""
    solver = InteriorPoint()
    problem, other = swing_up(steps=40), mass(ARRIVE, to.Bounds(control=(-8, 8)))
    first = to.solve(problem, solver)
    to.solve(other, solver)
    again = to.solve(problem, solver)
    np.testing.assert_array_equal(first.x, again.x)
    np.testing.assert_array_equal(first.u, again.u)
    assert first.iterations == again.iterations


def allocations() -> int:
    """Requests of Numba's allocator in a whole solve, restoration included."""
    problem = mass(to.Bounds(control=(-1, 1)), to.TerminalConstraint([5.0, 0.0]))
    augmentation = augment(problem)
    stages = compile_stages(augmentation.problem, "rk4", second_order=True)
    run = _Run(InteriorPoint(), augmentation, stages, make_guess(problem, None))
    before = rtsys.get_allocation_stats().mi_alloc
    run.solve(Monitor())
    return rtsys.get_allocation_stats().mi_alloc - before


def test_iterations_allocate_nothing():
    """Not one request of Numba's allocator, through search and restoration."""
    enabled = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    try:
        assert allocations() == 0
    finally:
        if not enabled:
            _nrt_python.memsys_disable_stats()
