"""Control loops against closed forms, open-loop optima and converged solves."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from mpc_cases import CONTROL, EFFORT, START, STATE, WEIGHT, cart, pendulum, pendulum_step, regulator

import trajopt as to
from trajopt.linear_quadratic import infinite_horizon
from trajopt.plan import warm_start
from trajopt.problems.cartpole import build
from trajopt.solvers import DDP, ILQR, LQR, MPPI, Chain, Collocation, InteriorPoint, MultipleShooting, SingleShooting

SECOND_ORDER = [ILQR(), InteriorPoint()]
GAIN, VALUE = infinite_horizon(STATE, CONTROL, WEIGHT, EFFORT, discrete=True)


@pytest.mark.parametrize("solver", [LQR(), ILQR(), InteriorPoint()], ids=str)
def test_long_horizon_is_the_infinite_one(solver):
    """On a linear system with a long horizon every command is that of the algebraic Riccati equation."""
    loop = to.MPC(regulator(), solver).run(steps=30)
    law = loop.x[:-1] @ GAIN.T
    assert np.abs(loop.u - law).max() <= 1e-8
    assert loop.cost == pytest.approx(START @ VALUE @ START - loop.x[-1] @ VALUE @ loop.x[-1], rel=1e-9)


@pytest.mark.parametrize("solver", SECOND_ORDER, ids=str)
@pytest.mark.parametrize("settings", [{"replan": 7}, {"real_time": True}], ids=["gains", "real-time"])
def test_gains_are_exact_where_everything_is_linear(solver, settings):
    """Feedback between plans, and the feedback phase, give the optimal command for states that nobody predicted."""
    loop = to.MPC(regulator(), solver, **settings).run(steps=30, disturbance=[1e-2, 1e-2, 1e-3], seed=4)
    assert np.abs(loop.x[:-1] - STATE[0, 0]).max() > 0.1  # it moves
    assert np.abs(loop.u - loop.x[:-1] @ GAIN.T).max() <= 1e-8


@pytest.mark.parametrize("solver", SECOND_ORDER, ids=str)
def test_tails_of_an_optimum_are_optimal(solver):
    """Bellman: an undisturbed loop over a shrinking horizon reproduces the open-loop optimum, controls and cost."""
    problem = pendulum()
    optimum = to.solve(problem, solver)
    assert optimum.success
    loop = to.MPC(problem, solver, shrink=True).run()
    assert loop.t[-1] == 50
    assert loop.statuses == {"solved": 50}
    assert loop.cost == pytest.approx(optimum.cost, rel=1e-8)
    assert np.abs(loop.u - optimum.u).max() <= 1e-3  # the cost is flat: errors of 1e-8 in it are 1e-4 in controls


@pytest.mark.parametrize("solver", [ILQR(), InteriorPoint(), Collocation(), MPPI(samples=64, iterations=3)], ids=str)
def test_moved_horizon_is_a_problem_of_that_time(solver):
    """A problem moved in time and cut shares what was traced, and is the one that was made there in the first place."""

    def make(horizon):
        return to.Problem(
            to.ContinuousDynamics(lambda x, u, t: np.array([x[1], u[0] + 0.3 * np.sin(t)]), 2, 1),
            stage_cost=lambda x, u, t: (x[0] - np.sin(t)) ** 2 + 0.1 * u[0] ** 2,
            initial_state=[0.5, 0.0],
            constraints=[to.Bounds(control=(-3, 3))],
            horizon=horizon,
        )

    first, later = to.Horizon(2.0, steps=20), to.Horizon(1.5, steps=15, start=0.7)
    problem = make(first)
    to.solve(problem, solver)
    moved, fresh = to.solve(problem.at(horizon=later), solver), to.solve(make(later), solver)
    assert moved.t[0] == 0.7
    assert moved.status == fresh.status
    assert np.array_equal(moved.u, fresh.u)
    assert moved.cost == fresh.cost


def test_moved_boundaries_see_the_new_start():
    """A boundary constraint that names the start time gets that of the moved horizon."""

    def make(horizon):
        return to.Problem(
            to.ContinuousDynamics(lambda x, u: u, 1, 1),
            stage_cost=lambda x, u: u[0] ** 2,
            initial_state=[0.0],
            constraints=[to.BoundaryConstraint(lambda x0, xf, t0: xf - x0 - t0)],
            horizon=horizon,
        )

    problem, later = make(to.Horizon(1.0, steps=5, start=1.0)), to.Horizon(1.0, steps=5, start=3.0)
    first, moved = (to.solve(one, InteriorPoint()) for one in (problem, problem.at(horizon=later)))
    assert (first.x[-1, 0], moved.x[-1, 0]) == pytest.approx((1.0, 3.0), abs=1e-6)


def test_horizons_of_another_kind_are_refused():
    """What is free is a feature of the problem, and stays."""
    with pytest.raises(to.InvalidProblem, match="same free and fixed times"):
        cart().at(horizon=to.Horizon(to.Free(1.0, 3.0), steps=40))


def test_shooting_goes_on_from_multipliers():
    """ILQR starts from the multipliers of its own solution, and needs fewer iterations than from its states alone."""
    problem = dataclasses.replace(build(force=5.0), guess=None)
    solution = to.solve(problem, ILQR())
    nearby = problem.at(initial_state=[0.02, 0.0, 0.0, 0.0])
    with_them, without = (
        to.solve(nearby, ILQR(), guess=guess) for guess in (solution, (solution.t, solution.x, solution.u))
    )
    assert with_them.success
    assert with_them.iterations < without.iterations


@pytest.mark.parametrize(
    "solver",
    [
        DDP(),
        Collocation(),
        Collocation(scheme="radau"),
        MultipleShooting(),
        SingleShooting(),
        Chain(MPPI(samples=64), ILQR()),
    ],
    ids=str,
)
def test_any_solver_closes_the_same_loop(solver):
    """Whoever plans, the loop is the same, up to what a transcription with interpolated controls makes of a tick."""
    loop, other = (to.MPC(cart(), one, replan=2).run(steps=6) for one in (solver, InteriorPoint()))
    assert loop.statuses == {"solved": 3, "not due": 3}
    assert np.abs(loop.x - other.x).max() <= 2e-2


@pytest.mark.parametrize("solver", SECOND_ORDER, ids=str)
def test_one_iteration_a_tick_converges_on_a_frozen_problem(solver):
    """Where time stands still, ticks of one Newton step go to the optimum."""
    problem = pendulum()
    optimum = to.solve(problem, solver)
    controller = to.MPC(problem, solver, iterations=1)
    errors = [abs(controller.command([1.5, 0.0], t=0.0)[0] - optimum.u[0, 0]) for _ in range(40)]
    assert max(errors[:3]) > 1e-3
    assert max(errors[-3:]) <= 1e-6


@pytest.mark.parametrize("solver", SECOND_ORDER, ids=str)
def test_real_time_iterations_contract_while_the_plant_moves(solver):
    """From a poor plan, real-time commands approach those of converged plans from the same states."""
    problem, errors = pendulum(), []
    controller = to.MPC(problem, solver, real_time=True)
    x, plan = np.array([2.0, 0.0]), None
    for k in range(45):
        plan = to.solve(problem.at(initial_state=x), solver, guess=None if plan is None else plan.shift(1))
        u = controller.command(x, t=k)
        errors.append(abs(u[0] - plan.u[0, 0]))
        controller.prepare()
        x = pendulum_step(x, u)
    assert max(errors) > 1e-2
    assert max(errors[-10:]) <= 1e-4 * max(errors)
    assert abs(x[0] - np.pi) < 0.05


@pytest.mark.parametrize("solver", SECOND_ORDER, ids=str)
@pytest.mark.parametrize("real_time", [False, True])
def test_pendulum_is_lifted_under_mismatch(solver, real_time):
    """A plant with a longer rod and disturbances is still brought up and held."""
    plant = to.DiscreteDynamics(lambda x, u: pendulum_step(x, u, length=0.6), 2, 1)
    loop = to.MPC(pendulum(), solver, real_time=real_time).run(plant, steps=120, disturbance=1e-5, seed=2)
    assert np.abs(loop.x[-20:] - [np.pi, 0.0]).max() < 0.2
    assert np.abs(loop.u).max() <= 6.0


@pytest.mark.parametrize("real_time", [False, True])
def test_cartpole_is_held_under_mismatch(real_time):
    """In continuous time: a heavier and longer pole than the model's, pushed, is kept upright."""
    model, plant = (
        dataclasses.replace(build(duration=1.5, steps=30, force=10.0, **poles), guess=None)  # which swings up from rest
        for poles in ({}, {"pole_mass": 0.3, "length": 0.6})
    )
    loop = to.MPC(model, InteriorPoint(), real_time=real_time).run(
        plant, steps=80, initial_state=[0.0, np.pi - 0.1, 0.0, 0.0], disturbance=[0.0, 0.0, 1e-4, 1e-4], seed=1
    )
    assert loop.sources == {"planned": 80}
    assert np.abs(loop.x[:, 1] - np.pi).max() < 0.15


def test_delay_compensation_recovers_the_loop_without_delay():
    """Behind the commands that were under way, a delayed loop on a deterministic plant is the one without delay."""
    problem, delay = pendulum(), 3
    late = to.MPC(problem, InteriorPoint(), delay=delay).run(steps=30)
    prompt = to.MPC(problem, InteriorPoint()).run(steps=27, initial_state=late.x[delay])
    assert np.array_equal(late.u[:delay], np.zeros((delay, 1)))
    assert np.abs(late.x[delay:] - prompt.x).max() <= 1e-9
    ignored = to.MPC(problem, InteriorPoint()).run(lambda x, u, t: pendulum_step(x, u), steps=27)
    assert np.abs(late.x[: len(ignored.x)] - ignored.x).max() > 1e-3  # a delay is no trifle here


def test_time_of_costs_is_the_time_of_the_loop():
    """A moving target is followed: the horizon slides over a cost that names the time."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), 2, 1),
        stage_cost=lambda x, u, t: (x[0] - np.sin(t)) ** 2 + 1e-4 * u[0] ** 2,
        initial_state=[0.0, 1.0],
        horizon=to.Horizon(2.0, steps=40),
    )
    loop = to.MPC(problem, LQR()).run(steps=120)
    assert np.abs(loop.x[:, 0] - np.sin(loop.t)).max() < 0.02


def test_ticks_off_the_grid_follow_the_same_optimum():
    """With periods that are no intervals plans are interpolated, and the loop costs what the finer grid makes of it."""
    problem = cart()
    on_grid = to.MPC(problem, InteriorPoint()).run(steps=40)
    off_grid = to.MPC(problem, InteriorPoint(), period=0.04).run(steps=50)
    assert off_grid.statuses == {"solved": 50}
    assert off_grid.cost == pytest.approx(on_grid.cost, rel=1e-2)
    assert np.median([tick.iterations for tick in off_grid.ticks]) <= 5  # warm starts: from scratch it takes about ten


def test_the_next_guess_is_the_rest_of_the_plan():
    """Two ticks later the plan's controls begin with its third, and end with its last one three times."""
    problem = pendulum()
    plan = to.solve(problem, ILQR())
    later = problem.at(initial_state=plan.x[2], horizon=dataclasses.replace(problem.horizon, start=2.0))
    guess = warm_start(plan, later)
    assert np.array_equal(guess.u, np.vstack([plan.u[2:], plan.u[-1:], plan.u[-1:]]))
    assert np.array_equal(guess.x[:-2], plan.x[2:])
    assert guess.t[0] == 2.0
