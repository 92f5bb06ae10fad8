"""Sampling over choices: tables of probabilities, enumeration as the oracle, and what all samplers promise."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trajopt as to
from trajopt.errors import InvalidProblem
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.solvers import CEM, PredictiveSampling, RandomShooting
from trajopt.solvers.sampling import SamplingSolver
from trajopt.solvers.sampling.categorical import CategoricalElites, draw, frequencies
from trajopt.solvers.sampling.search import Search
from trajopt.status import Status

METHODS = [CEM, PredictiveSampling, RandomShooting]
TORQUES = (-1.0, 0.0, 1.0)


def swing(x: Any, u: Any) -> Any:
    """Rows or columns of states: a pendulum that is pushed."""
    return np.array([x[0] + 0.3 * x[1], x[1] + 0.3 * (u[0] - 2.0 * np.sin(x[0]))])


def pushed(*, black_box: bool = False, steps: int = 6, target: float | None = None, **options: Any) -> to.Problem:
    """The pendulum under one of three torques; with ``target`` it has to end within 0.1 of that angle."""
    traced = to.DiscreteDynamics(swing, nx=2, nu=1)
    batch = to.BlackBoxDynamics(lambda x, u: swing(x.T, u.T).T, nx=2, nu=1)
    constraints: list[Any] = [to.Choices(TORQUES)]
    if target is not None:
        constraints.append(to.TerminalConstraint(lambda x: x[0], lower=target - 0.1, upper=target + 0.1))
    settings: dict[str, Any] = {"initial_state": [0.8, 0.0], "horizon": to.Horizon(steps=steps)}
    return to.Problem(
        batch if black_box else traced,
        lambda x, u: x @ x + 0.05 * u @ u,
        lambda x: 5.0 * x @ x,
        constraints=constraints,
        **(settings | options),
    )


def enumerate_plans(steps: int, target: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Costs of all plans, infinite where they miss the target, and the plans; simulated here and not by a solver."""
    plans = np.array(list(itertools.product(TORQUES, repeat=steps)))
    x = np.tile([[0.8], [0.0]], (1, len(plans)))
    costs = np.zeros(len(plans))
    for k in range(steps):
        costs += (x**2).sum(axis=0) + 0.05 * plans[:, k] ** 2
        x = swing(x, plans[:, k : k + 1].T)
    costs += 5.0 * (x**2).sum(axis=0)
    return (costs if target is None else np.where(np.abs(x[0] - target) <= 0.1, costs, np.inf)), plans


@pytest.mark.parametrize("method", [CEM, PredictiveSampling])
def test_the_best_of_all_plans_is_found(method: type[SamplingSolver]) -> None:
    """Of 3^6 plans the best, by enumeration, with 20 of 20 seeds and a seventh of all plans an iteration."""
    costs, plans = enumerate_plans(6)
    problem = pushed()
    for seed in range(20):
        solution = to.solve(problem, method(samples=100, seed=seed))
        assert solution.status is Status.SOLVED
        assert solution.cost == pytest.approx(costs.min(), rel=1e-12)
        assert np.array_equal(solution.u[:, 0], plans[costs.argmin()])


@pytest.mark.parametrize("target", [0.3, -0.3])
def test_constraints_are_met_by_the_best_plan_that_can(target: float) -> None:
    """The target rules out the best plan; the multipliers lead to the best of those that reach it."""
    costs, plans = enumerate_plans(6, target=target)
    free, _ = enumerate_plans(6)
    assert free.min() < costs.min() < np.inf
    solution = to.solve(pushed(target=target), CEM(samples=200))
    assert solution.history[-1].violation == 0.0
    assert np.array_equal(solution.u[:, 0], plans[costs.argmin()])


def test_random_shooting_finds_it_as_often_as_chance_says() -> None:
    """K uniform plans miss one of k^N with probability (1 - k^-N)^K; 200 searches agree within four deviations."""
    costs, _ = enumerate_plans(4)
    problem, samples, runs = pushed(steps=4), 50, 200
    found = sum(
        math.isclose(to.solve(problem, RandomShooting(samples=samples, iterations=1, seed=seed)).cost, costs.min())
        for seed in range(runs)
    )
    probability = 1.0 - (1.0 - 3.0**-4) ** samples
    assert abs(found - runs * probability) < 4.0 * math.sqrt(runs * probability * (1.0 - probability))


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_draws_follow_the_table(steps: int, count: int, seed: int) -> None:
    """Shares of 4,000 draws agree with the probabilities within five deviations; what has none is never drawn."""
    generator = np.random.default_rng(seed)
    table = generator.dirichlet(np.ones(count), steps)
    table[generator.random(table.shape) < 0.3] = 0.0
    table[table.sum(axis=1) == 0.0] = np.eye(count)[0]
    table /= table.sum(axis=1, keepdims=True)
    shares = frequencies(draw(table, 4000, generator), count)
    assert (np.abs(shares - table) <= 5.0 * np.sqrt(table * (1.0 - table) / 4000) + 1e-12).all()


def test_an_iteration_of_cem_is_its_formula() -> None:
    """The table becomes momentum times the old one and the rest times the frequencies of the plans of least cost."""
    costs, _ = enumerate_plans(6)
    search = Search(CEM(samples=60, elites=7, momentum=0.25), pushed(), make_guess(pushed(), None))
    search.advance()
    update = search.update
    assert isinstance(update, CategoricalElites)
    numbers = update.drawn @ 3 ** np.arange(5, -1, -1)  # place in the enumeration
    elites = update.drawn[np.argsort(costs[numbers], kind="stable")[:7]]
    expected = 0.25 / 3 + 0.75 * (elites[:, :, None] == np.arange(3)).mean(axis=0)
    assert np.abs(update.table - expected).max() < 1e-15
    assert search.population.merits.ravel()[:60] == pytest.approx(costs[numbers], rel=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_bits_twins_and_progress(method: type[SamplingSolver]) -> None:
    """Threads change no bit, a black box gives the traced answer, and no answer is worse than the guess."""
    solver = method(samples=64, iterations=6, seed=3)
    guess = (np.arange(13.0), np.zeros((13, 2)), np.full((12, 1), -1.0))
    runs = [
        to.solve(pushed(black_box=black, steps=12), type(solver)(samples=64, iterations=6, seed=3, threads=threads),
                 guess=guess)
        for black, threads in ((False, 1), (False, 3), (True, 1))
    ]  # fmt: skip
    assert all(np.array_equal(run.u, runs[0].u) for run in runs)
    assert runs[0].cost == runs[1].cost == pytest.approx(runs[2].cost, rel=1e-12)
    assert runs[0].cost <= runs[0].history[0].cost
    assert not np.array_equal(to.solve(pushed(steps=12), method(samples=64, iterations=1, seed=4)).x, runs[0].x)
    assert solver.samples == 64


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_breaks_never_wins(method: type[SamplingSolver]) -> None:
    """The cheapest choice leads to NaN: it is in no answer, and the guess that takes it is not returned."""

    def broken(x, u):  # fmt: skip
        return np.where(u > 0.5, np.nan, x + u)

    problem = to.Problem(
        to.BlackBoxDynamics(broken, nx=1, nu=1),
        lambda x, u: -u[0],
        initial_state=[0.0],
        constraints=[to.Choices([0.0, 1.0])],
        horizon=to.Horizon(steps=3),
    )
    guess = (np.arange(4.0), np.zeros((4, 1)), np.ones((3, 1)))
    solution = to.solve(problem, method(samples=64), guess=guess)
    assert np.array_equal(solution.u, np.zeros((3, 1)))
    assert "not finite" in solution.detail
    hopeless = to.solve(pushed(initial_state=[1e200, 1e200]), method(samples=16))
    assert hopeless.status is Status.NUMERICAL_FAILURE


def test_memory_moves_the_elites_along() -> None:
    """Going on bit for bit without a shift; with one, the table begins half way to the shifted elites."""
    problem, solver = pushed(), CEM(samples=40, iterations=1)
    guess, memory = make_guess(problem, None), None
    for _ in range(3):
        outcome = solver.resume(problem, guess, Monitor(), memory)
        guess, memory = outcome.trajectory, outcome.memory
    whole = CEM(samples=40, iterations=3).run(problem, make_guess(problem, None), Monitor())
    assert np.array_equal(guess.u, whole.trajectory.u)
    assert memory is not None
    moved = memory.shift(1)
    search = Search(solver, problem, guess, moved)
    plans = np.array(moved.elites).reshape(-1, 6)  # type: ignore[attr-defined]
    expected = 0.5 / 3 + 0.5 * (plans[:, :, None] == np.array(TORQUES)).mean(axis=0)
    assert isinstance(search.update, CategoricalElites)
    assert np.abs(search.update.table - expected).max() < 1e-15


@pytest.mark.parametrize(
    "changes",
    [{"knots": 3}, {"noise_exponent": 1.0}, {"quasi_random": True}, {"increments": True}, {"order": 1},
     {"covariance": "full"}, {"sigma": 1.5}, {"sigma": [0.5]}],
    ids=str,
)  # fmt: skip
def test_settings_of_normal_noise_are_refused(changes: dict[str, Any]) -> None:
    """What would be ignored is said to be."""
    with pytest.raises(InvalidProblem, match="discrete controls"):
        to.solve(pushed(), CEM(**changes))


def test_sigma_is_the_probability_to_draw_anew() -> None:
    """Around a plan a stage keeps its choice with probability 1 - sigma (k - 1) / k."""
    search = Search(RandomShooting(samples=4000, sigma=0.3), pushed(), make_guess(pushed(), None))
    search.sample()
    kept = (search.population.parameters[:, :6] == 0.0).mean()
    assert abs(kept - 0.8) < 5.0 * math.sqrt(0.16 / 24000)
