"""MPPI as a solver: reproducible, honest about NaN, bounds and constraints, and right where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.solvers import MPPI
from trajopt.status import Status


def same_bits(one: to.Solution, other: to.Solution) -> bool:
    """Whether controls and cost of two solutions agree to the bit."""
    return np.array_equal(one.trajectory.u, other.trajectory.u) and one.cost == other.cost


@pytest.mark.parametrize("threads", [2, 3])
def test_same_seed_gives_the_same_bits_with_any_number_of_threads(threads: int) -> None:
    """Threads change neither the plan nor its cost."""
    problem = problems.load("cartpole-swingup")
    one, other = (to.solve(problem, MPPI(iterations=30, samples=700, seed=5, threads=n)) for n in (1, threads))
    assert same_bits(one, other)


def test_seeds_differ_and_the_global_generator_is_untouched() -> None:
    """Another seed gives another plan; solving twice gives the same; NumPy's global state stays as it is."""
    problem = problems.load("pendulum")
    before = np.random.get_state()  # noqa: NPY002 - it is the very thing under test
    one, again, other = (to.solve(problem, MPPI(iterations=10, seed=seed)) for seed in (0, 0, 1))
    after = np.random.get_state()  # noqa: NPY002
    assert same_bits(one, again)
    assert not same_bits(one, other)
    assert np.array_equal(before[1], after[1])
    assert before[2:] == after[2:]


def one_step(terminal_cost, *, guess: float = 0.0, **settings) -> to.Problem:
    """Minimise a function of x = u."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: u, nx=1, nu=1),
        terminal_cost=terminal_cost,
        initial_state=[guess],
        horizon=to.Horizon(steps=1),
        guess=(np.arange(2.0), np.zeros((2, 1)), np.full((1, 1), guess)),
        **settings,
    )


def test_a_region_of_nan_never_wins() -> None:
    """The cost falls towards 1 and is NaN beyond: the plan stays where it is finite and comes close to the edge."""
    solution = to.solve(one_step(lambda x: np.sqrt(1.0 - x[0])), MPPI(sigma=1.0, iterations=400))
    assert solution.status is Status.SOLVED
    assert 0.0 <= solution.cost < 1e-3
    assert 1.0 - 1e-6 < solution.trajectory.u[0, 0] <= 1.0


def test_the_mean_of_finite_samples_may_not_be_finite() -> None:
    """Between -2 and 2 nothing is finite, and samples on both sides average to that; the plan is the best of a side."""
    problem = one_step(lambda x: np.sqrt(x[0] ** 2 - 4.0), guess=0.0)
    solution = to.solve(problem, MPPI(sigma=3.0, temperature=100.0, shrink=1.0, iterations=1))
    assert 0.0 <= solution.cost < 0.5
    assert 2.0 <= abs(solution.trajectory.u[0, 0]) < 2.1


def test_states_that_leave_the_numbers_lose_though_no_cost_sees_them() -> None:
    """A state of log(u) has no part in the cost, but a plan where it is NaN is not taken."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([u[0], np.log(u[0])]), nx=2, nu=1),
        terminal_cost=lambda x: (x[0] + 1.0) ** 2,
        initial_state=[1.0, 0.0],
        horizon=to.Horizon(steps=1),
        guess=(np.arange(2.0), np.ones((2, 2)), np.ones((1, 1))),
    )
    solution = to.solve(problem, MPPI(sigma=0.5, iterations=300))
    assert np.isfinite(solution.trajectory.x).all()
    assert 0.0 < solution.trajectory.u[0, 0] < 1e-2


def test_a_guess_without_finite_rollout_is_survived_if_samples_have_one() -> None:
    """The guess has NaN cost, samples to its right do not."""
    solution = to.solve(one_step(lambda x: np.sqrt(x[0] - 1.0)), MPPI(sigma=2.0))
    assert solution.status is Status.SOLVED
    assert solution.trajectory.u[0, 0] == pytest.approx(1.0, abs=1e-3)


def test_nothing_finite_is_a_numerical_failure() -> None:
    """Where no rollout is finite, the status says so and the guess comes back."""
    solution = to.solve(one_step(lambda x: np.sqrt(-1.0 - x[0] ** 2)), MPPI())
    assert solution.status is Status.NUMERICAL_FAILURE
    assert "finite rollout" in solution.message
    assert np.isfinite(solution.trajectory.u).all()


@pytest.mark.parametrize("bound", [0.1, 1.0 / 3.0])
def test_control_bounds_hold_exactly(bound: float) -> None:
    """Every control is within its bounds without tolerance, and where the cost pulls outwards it is at the bound."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=2, nu=2),
        stage_cost=lambda x, u: u[1] - 2.0 * u[0],
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=([-bound, -0.7], [bound, 1.0]))],
        horizon=to.Horizon(steps=7),
    )
    u = to.solve(problem, MPPI(sigma=(5.0, 5.0))).trajectory.u
    assert (u >= [-bound, -0.7]).all()
    assert (u <= [bound, 1.0]).all()
    assert u == pytest.approx(np.tile([bound, -0.7], (7, 1)), abs=1e-3)


def test_constraints_are_pushed_down_and_reported() -> None:
    """Past two discs to a target: solved below the tolerance, and the reported violation is the answer's."""
    problem = problems.load("obstacle-avoidance")
    solution = to.solve(problem, MPPI())
    x = solution.trajectory.x
    discs = 0.1 - (x[:, :1] - [0.4, 0.8]) ** 2 - (x[:, 1:] - [0.5, 1.5]) ** 2
    violation = max(discs.max(), np.abs(x[-1] - [1.2, 1.6]).max())
    assert solution.status is Status.SOLVED
    assert solution.history[-1].violation == pytest.approx(violation, abs=1e-12)
    assert violation <= 1e-2 < solution.history[0].violation


def test_an_unreachable_target_is_no_success() -> None:
    """Four steps of at most 0.1 do not lead to 1: the violation is reported and never called solved."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        stage_cost=lambda x, u: u @ u,
        initial_state=[0.0],
        constraints=[to.Bounds(control=(-0.1, 0.1)), to.TerminalConstraint([1.0])],
        horizon=to.Horizon(steps=4),
    )
    solution = to.solve(problem, MPPI(iterations=300, samples=128))
    assert solution.status is Status.ITERATION_LIMIT
    assert solution.history[-1].violation == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize("power", [-20, 13])
def test_the_unit_of_the_cost_does_not_matter(power: int) -> None:
    """Costs times a power of two give the same plan to the bit, because every operation scales exactly."""

    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] - 9.81 * np.sin(x[0])]), nx=2, nu=1),
        stage_cost=lambda x, u, p: p.scale * (0.1 * (x[0] - 3.0) ** 2 + 0.01 * u[0] ** 2),
        terminal_cost=lambda x, p: p.scale * x[1] ** 2,
        initial_state=[0.0, 0.0],
        parameters={"scale": 1.0},
        constraints=[to.Bounds(control=(-4.0, 4.0))],
        horizon=to.Horizon(1.0, steps=20),
    )
    solver = MPPI(iterations=25, patience=50, samples=256)  # what counts as improvement is relative to 1 + |cost|
    plain, scaled = (to.solve(problem, solver, parameters={"scale": scale}) for scale in (1.0, 2.0**power))
    assert np.array_equal(plain.trajectory.u, scaled.trajectory.u)
    assert scaled.cost == plain.cost * 2.0**power


def regulator() -> tuple[to.Problem, float]:
    """A double integrator with quadratic cost, and its least cost by the Riccati recursion."""
    A, B, x0, steps = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.0], [1.0]]), np.array([1.0, 0.0]), 10
    value = np.eye(2)
    for _ in range(steps):
        gain = np.linalg.solve(np.eye(1) + B.T @ value @ B, B.T @ value @ A)
        value = np.eye(2) + A.T @ value @ (A - B @ gain)
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + x[1], x[1] + u[0]]), nx=2, nu=1),
        stage_cost=lambda x, u: 0.5 * (x @ x) + 0.5 * (u @ u),
        terminal_cost=lambda x: 0.5 * (x @ x),
        initial_state=x0,
        horizon=to.Horizon(steps=steps),
    )
    return problem, float(0.5 * x0 @ value @ x0)


def test_linear_quadratic_cost_comes_down_to_the_optimum() -> None:
    """The best cost never rises, never passes below Riccati's by more than rounding, and ends within 0.1 % of it."""
    problem, least = regulator()
    solution = to.solve(problem, MPPI(tolerance=1e-6))
    costs = np.array([iteration.cost for iteration in solution.history])
    assert solution.status is Status.SOLVED
    assert (np.diff(costs) <= 0.0).all()
    assert costs.min() > least - 1e-14 * 100  # a hundred roundings of numbers of order one
    assert costs[-1] == pytest.approx(least, rel=1e-3)
    assert solution.cost == costs[-1]


def test_pendulum_swings_up() -> None:
    """From hanging at rest to upright at rest, with a torque too weak to lift it."""
    solution = to.solve(problems.load("pendulum"), MPPI())
    assert solution.status is Status.SOLVED
    assert solution.trajectory.x[-1] == pytest.approx([np.pi, 0.0], abs=1e-2)


def test_cartpole_swings_up() -> None:
    """Kelly's swing-up from a resting guess: at the goal, for at most 5 % more than the optimum of 58.8."""
    solution = to.solve(problems.load("cartpole-swingup"), MPPI())
    assert solution.status is Status.SOLVED
    assert solution.trajectory.x[-1] == pytest.approx([1.0, np.pi, 0.0, 0.0], abs=1e-2)
    assert solution.cost < 1.05 * 58.8077


def test_the_guess_is_the_start_and_never_beaten_by_the_answer() -> None:
    """Started from a solution, one iteration returns no worse plan."""
    problem, least = regulator()
    first = to.solve(problem, MPPI())
    second = to.solve(problem, MPPI(iterations=1, seed=9), guess=first)
    assert least - 1e-12 < second.cost <= first.cost * (1.0 + 1e-14)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"samples": 1}, "samples=1"),
        ({"samples": 10.0}, "samples=10.0"),
        ({"iterations": 0}, "iterations=0"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"temperature": math.nan}, "temperature=nan"),
        ({"effective_share": 1.5}, "effective_share=1.5"),
        ({"sigma": -1.0}, "sigma=-1.0"),
        ({"sigma": (1.0, math.inf)}, "sigma=(1.0, inf)"),
        ({"shrink": 0.0}, "shrink=0.0"),
        ({"patience": 0}, "patience=0"),
        ({"tolerance": -1e-3}, "tolerance=-0.001"),
        ({"penalty_growth": 1.0}, "penalty_growth=1.0"),
        ({"integrator": "rk5"}, "integrator='rk5'"),
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**64}, "seed="),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_bad_settings_get_a_sentence(settings: dict[str, object], word: str) -> None:
    """Each wrong setting is refused at construction by name, value and what was expected."""
    with pytest.raises(InvalidProblem) as caught:
        MPPI(**settings)  # type: ignore[arg-type]
    assert word in str(caught.value)
    assert "was expected" in str(caught.value)


def test_what_is_not_handled_is_refused() -> None:
    """One sigma too many and a free duration are refused before the first iteration."""
    problem, _ = regulator()
    with pytest.raises(InvalidProblem, match="sigma has 3 numbers"):
        to.solve(problem, MPPI(sigma=(1.0, 1.0, 1.0)))
    free = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        initial_state=[0.0],
        horizon=to.Horizon(to.Free(0.5, 2.0), steps=5),
    )
    with pytest.raises(UnsupportedProblem, match="a free duration"):
        to.solve(free, MPPI())
