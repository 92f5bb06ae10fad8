"""Models that break in the middle of a solve: nothing that is not finite is returned, and the next solve is as new."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest

import trajopt as to
from trajopt.solver import Solver
from trajopt.solvers import (
    CEM,
    CMAES,
    DDP,
    DIAL,
    ICEM,
    ILQR,
    MPPI,
    Collocation,
    InteriorPoint,
    MultipleShooting,
    PredictiveSampling,
    RandomShooting,
    SCvx,
    SingleShooting,
)

SAMPLING = [
    kind(samples=32, iterations=5) for kind in (MPPI, CEM, ICEM, CMAES, DIAL, PredictiveSampling, RandomShooting)
]
SIMULATING = [ILQR(), Collocation(), MultipleShooting(), *SAMPLING]
TRACING = [ILQR(), DDP(), InteriorPoint(), Collocation(), MultipleShooting(), SingleShooting(), SCvx(), *SAMPLING]
LIMIT = 1.0
HEALTHY_CALLS = 25
"""Enough for the first rollout of the guess and a part of what follows."""


def black_box(fault: Callable[[int, np.ndarray], np.ndarray]) -> to.Problem:
    """A double integrator whose step counts its calls and passes its result through ``fault(call, states)``."""
    calls = [0]

    def step(x, u):
        calls[0] += 1
        return fault(calls[0], x + 0.1 * np.concatenate([x[:, 1:], u], axis=1))

    return posed(to.BlackBoxDynamics(step, nx=2, nu=1))


def posed(dynamics) -> to.Problem:
    return to.Problem(
        dynamics,
        stage_cost=lambda x, u: x @ x + 0.1 * u @ u,
        initial_state=[1.0, 0.0],
        constraints=[to.Bounds(control=(-LIMIT, LIMIT))],
        horizon=to.Horizon(steps=10),
    )


def bits(solution: to.Solution) -> bytes:
    return b"".join(array.tobytes() for array in (solution.x, solution.u, np.float64(solution.cost)))


def raising(call: int, states: np.ndarray) -> np.ndarray:
    if call > HEALTHY_CALLS:
        raise ConnectionError("the simulator is gone")
    return states


def poisoned(call: int, states: np.ndarray) -> np.ndarray:
    return states if call <= HEALTHY_CALLS else np.full_like(states, np.nan)


def cropped(call: int, states: np.ndarray) -> np.ndarray:
    return states if call <= HEALTHY_CALLS else states[:, :1]


def slow(call: int, states: np.ndarray) -> np.ndarray:
    time.sleep(0.005)
    return states


@pytest.mark.parametrize("solver", SIMULATING, ids=str)
def test_an_error_of_the_model_is_the_users_and_leaves_no_trace(solver: Solver) -> None:
    """It comes through as it is, and the same solver then gives the bits that it would have given."""
    expected = bits(to.solve(black_box(lambda _, states: states), solver))
    with pytest.raises(ConnectionError, match="the simulator is gone"):
        to.solve(black_box(raising), solver)
    with pytest.raises(to.InvalidProblem, match="returned shape"):
        to.solve(black_box(cropped), solver)
    assert bits(to.solve(black_box(lambda _, states: states), solver)) == expected


@pytest.mark.parametrize("solver", SIMULATING, ids=str)
def test_a_model_that_turns_to_nan_is_no_success(solver: Solver) -> None:
    """The best plan from before is returned, finite, with a status that is none of success, and not certified."""
    solution = to.solve(black_box(poisoned), solver)
    assert not solution.success
    assert not solution.certified
    assert np.isfinite(solution.x).all()
    assert np.isfinite(solution.u).all()
    assert np.isfinite(solution.cost)
    assert (np.abs(solution.u) <= LIMIT).all()


@pytest.mark.parametrize("solver", SIMULATING, ids=str)
def test_a_slow_model_meets_the_limit_of_time(solver: Solver) -> None:
    """A solve ends with the iteration in which the time is up; here one takes at most some 20 steps of 5 ms."""
    begin = time.perf_counter()
    solution = to.solve(black_box(slow), solver, max_time=0.1)
    assert time.perf_counter() - begin < 5.0  # not 100 iterations of 0.1 s; a loaded machine may triple the sleeps
    assert solution.status in (to.Status.TIME_LIMIT, to.Status.ITERATION_LIMIT, to.Status.SOLVED)
    assert np.isfinite(solution.u).all()


@pytest.mark.parametrize("solver", TRACING, ids=str)
def test_a_jump_of_the_dynamics_is_survived(solver: Solver) -> None:
    """A push that sets in at x = 1/2, on the way: an honest status, bounds kept, and the certificate has its word."""
    dynamics = to.DiscreteDynamics(
        lambda x, u: np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * u[0] + np.where(x[0] < 0.5, 0.05, 0.0)]), 2, 1
    )
    solution = to.solve(posed(dynamics), solver)
    assert np.isfinite(solution.x).all()
    assert (np.abs(solution.u) <= LIMIT + 1e-8).all()  # what interior-point methods relax bounds by
    if solution.certified:
        assert solution.success
        assert solution.certificate.defect <= solution.certificate.tolerance


@pytest.mark.parametrize("solver", TRACING, ids=str)
def test_a_wall_of_nan_is_never_in_the_answer(solver: Solver) -> None:
    """Behind x = 0.2, where the cost pulls, is the root of a negative number: a success is finite all the same."""
    dynamics = to.DiscreteDynamics(lambda x, u: np.array([x[0] + 0.1 * u[0] + 0.01 * np.sqrt(x[0] - 0.2), x[1]]), 2, 1)
    solution = to.solve(posed(dynamics), solver)
    assert not solution.success or (np.isfinite(solution.x).all() and np.isfinite(solution.cost))
    assert not solution.certified or np.isfinite(solution.certificate.cost)
