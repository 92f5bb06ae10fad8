"""Tree search over the controls of a Problem: the best of the grid where it can be counted, and honest elsewhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from mpc_cases import pendulum

import trajopt as to
from trajopt import problems
from trajopt.cli import main
from trajopt.solvers import MCTS, MPPI, Chain, InteriorPoint
from trajopt.solvers.search.shooting import control_grid


def hop(steps: int = 4, **settings) -> to.Problem:
    """A point that is to pass between two humps in discrete time: many local minima."""
    options = {"constraints": [to.Bounds(control=(-1.0, 1.0))]} | settings
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + u[0]]), 1, 1),
        stage_cost=lambda x, u: np.sin(3.0 * x[0]) + 0.1 * u[0] ** 2,
        terminal_cost=lambda x: (x[0] - 2.0) ** 2,
        initial_state=[0.0],
        horizon=to.Horizon(steps=steps),
        **options,
    )


def cost_of(controls) -> float:
    x, total = 0.0, 0.0
    for u in controls:
        total += np.sin(3.0 * x) + 0.1 * u**2
        x += u
    return total + (x - 2.0) ** 2


@pytest.mark.parametrize("choices", [False, True])
def test_a_thorough_search_finds_the_best_of_all_plans(choices: bool) -> None:
    """5^4 plans can be counted; the problem's own choices are the grid where it has some."""
    values = np.array([-0.8, -0.3, 0.1, 0.6, 0.9]) if choices else np.linspace(-1.0, 1.0, 5)
    problem = hop(constraints=[to.Choices(values)]) if choices else hop()
    best = min(cost_of(plan) for plan in itertools.product(values, repeat=4))
    solution = to.solve(problem, MCTS(simulations=2_000, levels=5))
    assert np.isclose(solution.cost, best, rtol=1e-12)
    assert np.isin(solution.u[:, 0], values).all()
    assert solution.status is to.Status.ITERATION_LIMIT  # no search says how good its plan is


def test_choices_are_held_and_the_rest_of_the_plan_fits_the_horizon() -> None:
    """Five steps in pairs: the last choice is cut short."""
    solution = to.solve(hop(5), MCTS(simulations=300, levels=5, hold=2))
    u = solution.u[:, 0]
    assert u.shape == (5,)
    assert u[0] == u[1]
    assert u[2] == u[3]
    assert len(solution.history) == 4  # the guess and three choices


def test_the_same_seed_gives_the_same_bits_and_more_simulations_a_better_plan() -> None:
    """On the pendulum, where no grid is optimal; medians over seeds, since one search may be lucky."""
    problem = pendulum(steps=20)
    costs = {
        count: np.median([to.solve(problem, MCTS(simulations=count, hold=2, seed=seed)).cost for seed in range(5)])
        for count in (20, 500)
    }
    assert costs[500] < costs[20]
    first, again = (to.solve(problem, MCTS(simulations=100, hold=2, seed=3)) for _ in range(2))
    assert first.u.tobytes() == again.u.tobytes()


def test_it_finds_the_valley_and_another_solver_its_bottom() -> None:
    """Swinging up is a matter of decisions, and of derivatives at the end."""
    solution = to.solve(problems.load("cartpole-swingup"), Chain(MCTS(simulations=500, hold=5), InteriorPoint()))
    assert solution.certified


def test_a_model_that_is_not_finite_somewhere_is_searched_elsewhere() -> None:
    """Behind x = 1 there is nothing: no plan goes there, although the target does."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + u[0] + 1e-9 * np.sqrt(1.25 - x[0])]), 1, 1),
        stage_cost=lambda x, u: (x[0] - 2.0) ** 2,
        initial_state=[0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0))],
        horizon=to.Horizon(steps=4),
    )
    solution = to.solve(problem, MCTS(simulations=200, levels=5))
    assert np.isfinite(solution.cost)
    assert solution.x[:-1].max() <= 1.25
    assert solution.cost < 14.0  # standing still costs 16


def test_grids_are_bounded_by_the_problem_or_by_the_guess() -> None:
    """And too fine ones are refused in a sentence."""
    free = hop(constraints=[])
    guess = to.solve(free, "ilqr").trajectory
    size = max(1.0, np.abs(guess.u).max())
    assert control_grid(free, guess, 3)[:, 0].tolist() == [-2.0 * size, 0.0, 2.0 * size]
    with pytest.raises(to.InvalidProblem, match="at most 4096 combinations"):
        to.solve(problems.load("quadrotor"), MCTS(levels=20))
    with pytest.raises(to.InvalidProblem, match="whole number of at least 2"):
        MCTS(levels=1)


def test_three_families_stand_in_one_table(capsys) -> None:
    """Tree search, sampling and an interior point on the same problem, from the shell."""
    command = ["compare", "car-escape", "--solvers", "mcts,mppi,interior_point", "--max-time", "5"]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("mcts", "mppi", "interior_point"))
    table = to.compare(hop(), [MCTS(simulations=500), MPPI(samples=64), InteriorPoint()])
    assert all(solution is not None for solution in table.solutions.values())
