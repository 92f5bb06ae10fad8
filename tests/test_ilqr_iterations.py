"""Iterations of iLQR and DDP: a slow twin in NumPy, descent, no hidden state, and symmetries."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ilqr_cases import cartpole, edge, held, pendulum, start_run

import trajopt as to
from trajopt.solvers import DDP, ILQR
from trajopt.status import Status
from trajopt.testing.oracles import DifferentialTwin

NEVER = 1e-300
"""A tolerance that no iteration meets."""


FOREVER = pytest.mark.parametrize(
    "solver", [ILQR(tolerance=NEVER, iterations=25), DDP(tolerance=NEVER, iterations=25)], ids=["ilqr", "ddp"]
)


@pytest.mark.parametrize("solver", [ILQR(tolerance=NEVER, newton=False), DDP(tolerance=NEVER)], ids=["ilqr", "ddp"])
def test_iterations_are_those_of_a_slow_twin_and_satisfy_armijo(solver):
    """Gains, decrement, step length, controls and cost of every iteration agree; so does the line search's verdict."""
    problem = pendulum()
    twin = DifferentialTwin(problem, second_order=solver.second_order)
    run, lengths = start_run(solver, problem, np.full((30, 1), 3.0)), []
    for _ in range(8):
        merit = run.state.merit[0]
        assert run.state.regularisation[0] == 0.0
        expected = twin.iterate(run.current.x.copy(), run.current.u.copy(), merit)
        if expected.decrement < 1e-12 * merit:
            break  # from here on rounding decides about the step
        run.step()
        # Roundings of 30 stages in a row, times the growth of a perturbation along the upright pendulum, about e^3.
        close = {"rtol": 1e-9, "atol": 1e-9}
        np.testing.assert_allclose(run.gains.k, expected.offsets, **close)
        np.testing.assert_allclose(run.gains.K, expected.gains, **close)
        assert run.state.decrement[0] == pytest.approx(expected.decrement, rel=1e-9)
        lengths.append(expected.length)
        assert run.state.length[0] == expected.length
        np.testing.assert_allclose(run.current.u, expected.controls, **close)
        assert run.state.cost[0] == pytest.approx(expected.cost, rel=1e-12)
        promise = -(expected.length * expected.linear + 0.5 * expected.length**2 * expected.quadratic)
        assert merit - run.state.merit[0] >= 1e-4 * promise
    assert len(lengths) >= 4
    assert lengths[-1] == 1.0
    assert (min(lengths) < 1.0) == solver.second_order  # here only DDP needs its line search


@pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
def test_a_step_that_gains_next_to_nothing_is_refused(solver):
    """Newton's step on sqrt(1 + u^2) leads to -u^3: from 1 - 1e-5 it gains a 50,000th of the promise, and is halved."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: u, nx=1, nu=1),
        terminal_cost=lambda x: np.sqrt(1.0 + x[0] ** 2),
        initial_state=[0.0],
        horizon=to.Horizon(steps=1),
    )
    run = start_run(solver, problem, np.full((1, 1), 1.0 - 1e-5))
    run.step()
    assert run.gains.k[0, 0] == pytest.approx(-2.0, abs=1e-4)
    assert run.state.length[0] == 0.5


@pytest.mark.parametrize("solver", [ILQR(shortest_step=0.9, newton=False), DDP(shortest_step=0.9)], ids=["ilqr", "ddp"])
def test_the_merit_falls_strictly_or_nothing_changes(solver):
    """With full steps alone many are rejected: then states, controls, cost and merit keep their bits."""
    run, rejected = start_run(solver, cartpole(), np.full((64, 1), 0.5)), 0
    for _ in range(40):
        before = [run.current.x.copy(), run.current.u.copy(), run.state.cost.copy()]
        merit = run.state.merit[0]
        status, numbers = run.step()
        if numbers["step"] == 0.0:
            rejected += status is None
            assert run.state.merit[0] == merit
            for old, new in zip(before, [run.current.x, run.current.u, run.state.cost], strict=True):
                np.testing.assert_array_equal(old, new)
        else:
            assert run.state.merit[0] < merit
        if status is not None:
            break
    assert rejected > 0


def test_the_rollout_is_the_answer():
    """Advancing the dynamics under the returned controls gives the returned states and cost, to the bit."""
    solution = to.solve(cartpole(), ILQR(iterations=20))
    run = start_run(ILQR(), cartpole(), solution.u)
    np.testing.assert_array_equal(run.current.x, solution.x)
    assert run.state.cost[0] == solution.cost


@pytest.mark.parametrize("solver", [ILQR(iterations=30), DDP(iterations=30)], ids=["ilqr", "ddp"])
def test_no_solve_leaves_a_trace(solver):
    """A, then B, then a solve that fails, then A again: both answers to A have the same bits."""
    first = to.solve(cartpole(), solver)
    to.solve(pendulum(), solver)
    failed = to.solve(edge(2.0), solver, guess=held(edge(2.0), np.full((10, 1), 3.0), np.full((11, 1), 2.0)))
    assert failed.status is Status.NUMERICAL_FAILURE
    again = to.solve(cartpole(), solver)
    for name in ("x", "u", "feedback"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    costs = [[record.cost for record in solution.history] for solution in (first, again)]
    assert costs[0] == costs[1]


def test_interleaved_runs_do_not_meet():
    """Two runs of one problem that take turns end where each ends alone."""
    guesses = [np.full((64, 1), 0.5), np.full((64, 1), -0.25)]
    alone = [start_run(ILQR(), cartpole(), guess) for guess in guesses]
    for run in alone:
        for _ in range(15):
            run.step()
    turns = [start_run(ILQR(), cartpole(), guess) for guess in guesses]
    for _ in range(15):
        for run in turns:
            run.step()
    for one, other in zip(alone, turns, strict=True):
        np.testing.assert_array_equal(one.current.u, other.current.u)
        np.testing.assert_array_equal(one.gains.K, other.gains.K)


@FOREVER
@pytest.mark.parametrize("scale", [0.25, 1024.0])
def test_scaling_the_cost_by_a_power_of_two_changes_no_bit(solver, scale):
    """No absolute number hides in regularisation, line search or box program."""
    one, other = (to.solve(cartpole(scale=factor), solver) for factor in (1.0, scale))
    np.testing.assert_array_equal(one.u, other.u)
    np.testing.assert_array_equal(one.feedback, other.feedback)
    assert [scale * record.cost for record in one.history] == [record.cost for record in other.history]


@pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
def test_autonomous_problems_do_not_know_the_time(solver):
    """A start at 8 s, which is exact in binary, leaves every bit of the answer."""
    one, other = (to.solve(cartpole(begin=begin), solver) for begin in (0.0, 8.0))
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.u, other.u)
    assert one.iterations == other.iterations


@pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
def test_left_and_right_are_alike(solver):
    """The mirrored cart-pole from the mirrored guess is the mirror image, to the bit."""
    start = np.array([0.25, 0.5, 0.0, -0.125])
    left, right = (
        to.solve(problem, solver, guess=held(problem, np.full((64, 1), 0.5 * sign)))
        for sign in (-1.0, 1.0)
        for problem in [cartpole(start=sign * start, end=sign * np.pi)]
    )
    np.testing.assert_array_equal(left.x, -right.x)
    np.testing.assert_array_equal(left.u, -right.u)
    assert left.cost == right.cost


@pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
def test_the_tail_of_an_optimal_trajectory_is_optimal(solver):
    """From a state on the trajectory, the rest of it is found again at once and costs what was left to pay."""
    whole = to.solve(pendulum(), solver)
    tail = replace(pendulum(20), initial_state=whole.x[10])
    rest = to.solve(tail, solver, guess=held(tail, whole.u[10:]))
    paid = sum(float(pendulum().stage_cost(x, u)) for x, u in zip(whole.x[:10], whole.u[:10], strict=True))
    assert whole.success
    assert rest.success
    assert rest.iterations == 1
    assert paid + rest.cost == pytest.approx(whole.cost, abs=solver.tolerance * (1.0 + whole.cost))


@pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
def test_an_answer_is_its_own_guess(solver):
    """Solving from the answer takes one iteration, which changes nothing."""
    first = to.solve(cartpole(), solver)
    again = to.solve(cartpole(), solver, guess=first)
    assert first.status is again.status is Status.SOLVED
    assert again.iterations == 1
    np.testing.assert_array_equal(first.u, again.u)


def test_feedback_holds_a_disturbed_cartpole_near_its_trajectory():
    """A push at the start is gone at the end under the gains, and has grown without them."""
    solution = to.solve(cartpole(), ILQR())
    run = start_run(ILQR(), cartpole(), solution.u)
    push = np.array([0.0, 0.02, 0.0, 0.0])
    apart = []
    for K in (solution.feedback, np.zeros_like(solution.feedback)):
        x = solution.x[0] + push
        for s in range(64):
            u = np.clip(solution.u[s] + K[s] @ (x - solution.x[s]), -8.0, 8.0)
            x = run.stages.code.evaluate("step", x, u, run.data.times[s], [])[0].ravel()
        apart.append(np.linalg.norm(x - solution.x[-1]))
    assert apart[0] < np.linalg.norm(push) < apart[1]


def test_full_second_order_converges_quadratically():
    """Near the optimum the decrement of DDP is about squared from step to step; that of iLQR falls by a factor."""
    growth = {}
    for solver in (ILQR(tolerance=1e-12, newton=False), DDP(tolerance=1e-12)):
        solution = to.solve(pendulum(), solver, guess=held(pendulum(), np.zeros((30, 1))))
        digits = -np.log10([record.stationarity / solution.cost for record in solution.history[1:]])
        assert solution.success
        growth[type(solver)] = digits[-1] / digits[-2]
    assert growth[ILQR] < 1.5 < growth[DDP]
