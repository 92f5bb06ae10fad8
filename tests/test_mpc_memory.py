"""What control loops keep of a sampler between ticks: mean, elites, multipliers and the place in the noise."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
import pytest
from mpc_cases import pendulum
from sampling_cases import MOVING, swing

import trajopt as to
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.plant import make_plant
from trajopt.problem import Feature
from trajopt.problems import load
from trajopt.solver import Outcome, Solver
from trajopt.solvers import CEM, CMAES, DIAL, ICEM, LQR, MPPI
from trajopt.solvers.sampling import Memory
from trajopt.status import Status

TRACK = np.linspace([1.5, 0.0], [1.9, 0.4], 6)


@final
@dataclass(frozen=True)
class Forgetful(Solver):
    """A sampler that hands no memory on, or fails where plans begin at certain times."""

    inner: Solver
    seed: int = 0
    failing: tuple[float, ...] = ()
    forgets: bool = True

    handles: ClassVar[frozenset[Feature]] = MPPI.handles

    def run(self, problem, guess, monitor):
        """Solve from the guess alone."""
        return self.resume(problem, guess, monitor, None)

    def resume(self, problem, guess, monitor, memory):
        """Solve, fail or forget."""
        outcome = replace(self.inner, seed=self.seed).resume(problem, guess, monitor, memory)
        if guess.t[0] in self.failing:
            return Outcome(Status.NUMERICAL_FAILURE, guess, np.nan, 0, memory=outcome.memory)
        return replace(outcome, memory=None) if self.forgets else outcome


def drive(controller, states):
    return np.array([controller.command(state) for state in states])


@pytest.mark.parametrize("solver", [MPPI(samples=32), ICEM(), MPPI(samples=32, knots=5, order=3)], ids=str)
@pytest.mark.parametrize(("replan", "delay"), [(1, 0), (2, 0), (1, 1)])
def test_ticks_are_solves_that_go_on(solver, replan, delay):
    """Plans of the loop are, to the bit, those of solves that resume from the memory, shifted with the clock."""
    problem = pendulum(steps=20)
    controller = to.MPC(problem, solver, iterations=2, replan=replan, delay=delay)
    solution = None
    for k, state in enumerate(TRACK):
        controller.command(state)
        if k % replan:
            continue
        horizon = replace(problem.horizon, start=float(k + delay))
        here = problem.at(initial_state=controller.log[-1].start, horizon=horizon)
        guess, memory = make_guess(here, None), None
        if solution is not None:
            moved = solution.shift(replan)
            guess, memory = replace(moved, t=here.horizon.knots()), solution.memory.shift(replan)
        stop = Monitor(callback=lambda record: record.number >= 2)
        outcome = solver.resume(here, guess, stop, memory)
        solution = replace(controller.plan, trajectory=outcome.trajectory, memory=outcome.memory)
        assert np.array_equal(controller.plan.u, outcome.trajectory.u)
        assert controller.plan.memory is None  # the session holds one, not each plan of a record


@pytest.mark.parametrize("method", [m for m in MOVING if m is not ICEM])
def test_two_ticks_at_one_time_are_one_of_twice_the_iterations(method):
    """Where the clock stands still nothing is lost: noise, moments and random numbers go on to the bit."""
    twice, once = (to.MPC(pendulum(steps=12), method(samples=32), iterations=k) for k in (2, 4))
    for _ in range(2):
        twice.command([1.5, 0.0], t=0.0)
    once.command([1.5, 0.0], t=0.0)
    assert np.array_equal(twice.plan.u, once.plan.u)


def test_remembered_elites_save_samples():
    """At equal samples, one iteration of iCEM a tick swings the cart-pole up at less cost with its memory than without.

    From a cold start, beyond three standard errors of the mean of the difference, over twelve seeds.
    """
    problem = load("cartpole")
    plant = make_plant(None, problem)

    def cost(solver):
        controller, x, total = to.MPC(problem, solver, iterations=1), problem.initial_values, 0.0
        for k in range(80):
            u = controller.command(x)
            x, added = plant.advance(x, u, k * controller.period, controller.period, np.random.default_rng(0))
            total += added
        return total

    gains = []
    for seed in range(0, 12_000, 1000):
        gains.append(cost(Forgetful(ICEM(), seed)) - cost(ICEM(seed=seed)))
    assert np.mean(gains) > 3.0 * np.std(gains, ddof=1) / np.sqrt(len(gains))


def test_multipliers_go_on():
    """A constraint that a whole first solve has learnt holds in ticks of one iteration, which would not learn it."""
    solver = MPPI(samples=128)
    with_memory, without = (to.MPC(swing(), s, iterations=1) for s in (solver, Forgetful(solver)))
    for controller in (with_memory, without):
        controller.reset([0.0, 0.0])
        controller.command([0.0, 0.0])
    violations = [controller.plan.history[-1].violation for controller in (with_memory, without)]
    assert violations[0] <= solver.constraint_tolerance < violations[1]


def test_a_failed_solve_leaves_no_memory():
    """After a failure the next solve begins anew from the plan, with random numbers of its own."""
    solver = ICEM()
    controller = to.MPC(pendulum(steps=20), Forgetful(solver, failing=(2.0,), forgets=False), iterations=2)
    drive(controller, TRACK[:3])
    assert controller.log[-1].source == "fallback"
    before = controller.plan
    controller.command(TRACK[3])
    problem = controller.plan.problem
    guess = replace(before.shift(2), t=problem.horizon.knots())
    fresh = replace(solver, seed=3).run(problem, guess, Monitor(callback=lambda record: record.number >= 2))
    assert np.array_equal(controller.plan.u, fresh.trajectory.u)


@pytest.mark.parametrize(
    "solver",
    [ICEM(), CEM(samples=32, covariance="full"), CMAES(samples=16), DIAL(samples=32), MPPI(samples=32, knots=5)],
    ids=str,
)
@pytest.mark.parametrize("period", [0.05, 0.02])
def test_a_saved_session_goes_on_to_the_bit(solver, period):
    """Through a file without pickle, also where ticks come between the steps, and one at the time of the last."""
    problem = load("cartpole", steps=20)
    settings = {"iterations": 3, "period": period}
    first, second = to.MPC(problem, solver, **settings), to.MPC(problem, solver, **settings)
    drive(first, np.zeros((3, 4)))
    file = io.BytesIO()
    np.savez(file, **first.state())
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        second.restore(arrays)
    last = first.log[-1].time
    for controller in (first, second):
        controller.command(np.zeros(4), t=last)
        controller.command(np.full(4, 0.1))
    assert np.array_equal(first.plan.u, second.plan.u)
    with pytest.raises(to.TrajoptError, match="remembers nothing"):
        to.MPC(problem, "ilqr", **settings).restore(first.state())


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("memory/mean", lambda part: part * np.nan),
        ("memory/mean", lambda part: part.ravel()),
        ("memory/elites", lambda part: part[:, 1:]),
        ("memory/iteration", lambda part: np.array([1.0, 2.0])),
    ],
)
def test_a_damaged_memory_is_refused(name, change):
    """Other sizes and numbers that are none give a sentence, and leave the session as it was."""
    controller = to.MPC(pendulum(steps=12), ICEM(), iterations=2)
    drive(controller, TRACK[:2])
    saved = controller.state()
    with pytest.raises(to.TrajoptError, match=r"no session of MPC\.state"):
        controller.restore(saved | {name: change(saved[name])})
    assert all(np.array_equal(value, controller.state()[key]) for key, value in saved.items())


@pytest.mark.parametrize("knots", [None, 4])
def test_memory_of_a_shrinking_horizon(knots):
    """Plans lose the steps that are over, in whatever parameters; elites and place in the noise go on."""
    solver = ICEM(iterations=2, knots=knots, order=0 if knots is None else 1)
    memory = to.solve(pendulum(steps=12), solver).memory
    assert isinstance(memory, Memory)
    shorter = memory.shift(2, 10)
    controls = memory.mean if knots is None else memory.basis @ memory.mean
    assert np.allclose(shorter.mean, controls[2:], rtol=0.0, atol=1e-12)
    later = to.solve(pendulum(steps=10), solver, memory=shorter).memory
    assert later.iteration == 4
    loop = to.MPC(pendulum(steps=12), solver, iterations=2, shrink=True).run()
    assert loop.sources == {"planned": 12}


def test_half_a_step_moves_half():
    """Between two steps a held control is its mean over the new interval, so that clocks of any period move it."""
    memory = to.solve(pendulum(steps=12), MPPI(samples=32, iterations=2)).memory
    moved = memory.shift(0.5)
    assert np.allclose(moved.mean[:-1], 0.5 * (memory.mean[:-1] + memory.mean[1:]), rtol=0.0, atol=1e-14)
    assert np.array_equal(moved.mean[-1], memory.mean[-1])


def test_memory_of_another_method_gives_its_plans_alone():
    """A covariance of CMA-ES means nothing to MPPI; its mean does."""
    problem = pendulum(steps=12)
    memory = to.solve(problem, CMAES(samples=16, iterations=3)).memory
    solver = MPPI(samples=32, iterations=1)
    found = to.solve(problem, solver, memory=memory)
    expected = to.solve(problem, solver, memory=replace(memory, noise=None))
    assert np.array_equal(found.u, expected.u)


def test_memories_that_are_none_are_refused():
    """By solve, in a sentence; a solver without memory takes it for nothing."""
    problem = pendulum(steps=12)
    with pytest.raises(to.InvalidProblem, match="memory=3"):
        to.solve(problem, MPPI(), memory=3)
    memory = to.solve(problem, MPPI(samples=32, iterations=2)).memory
    assert np.array_equal(to.solve(problem, "ilqr", memory=memory).u, to.solve(problem, "ilqr").u)
    assert to.solve(problem, "ilqr").memory is None
    with pytest.raises(to.InvalidProblem, match="remembers nothing"):
        LQR().read_memory({"mean": np.zeros(3)})
