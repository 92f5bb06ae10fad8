"""Optimal control by tree search: along the horizon, one search after the other decides for one control of a grid.

Each search sees the rest of the horizon, with costs as negative rewards; its subtree is kept for the next. Values are
brought to one scale by those met in the tree, since costs have units. Decisions that were made are not taken back, so
the plan is not the best of the grid unless the search was thorough: take the answer as a guess where the grid is too
coarse, as in ``Chain(MCTS(), ILQR())``.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trajopt.control_grid import process_of
from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solver import Outcome
from trajopt.solvers.kernels import shooting
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.stages import compile_stages

if TYPE_CHECKING:
    from trajopt.decision_process import DecisionProcess
    from trajopt.solvers.mcts import MCTS

Array = NDArray[np.float64]

INTEGRATOR = "rk4"
"""Of continuous dynamics, as in all shooting solvers."""

LARGEST_GRID = 4096
"""Controls to choose from; beyond it a search of thousands of simulations tries none of them twice."""

_WEIGHT = 10.0
"""Price of half a squared violation, relative to max(1, |cost of the guess|): the largest first penalty that Birgin and
Martinez (2014, section 12.4) take."""


def control_grid(problem: Problem, guess: Trajectory, levels: int) -> Array:
    """(A, nu) controls: the problem's choices, or all combinations of ``levels`` values of each between its bounds.

    Where a bound is missing, four times the size of the guess, or of one, is searched.

    Raises
    ------
    InvalidProblem
        When there are too many combinations.
    """
    if problem.choices is not None:
        return problem.choices
    if levels**problem.nu > LARGEST_GRID:
        raise InvalidProblem(
            f"levels={levels} was given for {problem.nu} controls, but at most {LARGEST_GRID} combinations were "
            "expected; take fewer levels."
        )
    lower, upper = problem.control_bounds
    size = np.maximum(1.0, np.abs(guess.held()).max(axis=0, initial=0.0))
    low = np.where(np.isfinite(lower), lower, np.where(np.isfinite(upper), upper - 4.0 * size, -2.0 * size))
    high = np.where(np.isfinite(upper), upper, low + 4.0 * size)
    axes = [np.linspace(*ends, levels) for ends in zip(low, high, strict=True)]
    return np.array(list(itertools.product(*axes))).reshape(-1, problem.nu)


class Valuation:
    """Cost and violation of controls from the problem's initial state, as its own discretisation sees them."""

    def __init__(self, problem: Problem, guess: Trajectory) -> None:
        self.guess = guess
        stages = compile_stages(problem, INTEGRATOR, second_order=False)
        n, nc, ne = problem.horizon.steps, len(stages.path_names), len(stages.end_names)
        self.functions = shooting.Functions(*(stages.code.address(name) for name in shooting.Functions._fields))
        self.data = shooting.make_data(problem, stages, guess.t)
        self.start, self.out = (shooting.make_rollout(n, problem.nx, problem.nu, nc, ne) for _ in range(2))
        self.start.x[0] = problem.initial_values
        self.penalty, self.gains = shooting.make_penalty(n, nc, ne), np.zeros((n, problem.nu, problem.nx))
        self.work = shooting.make_constraint_work(problem.nx, problem.nu, nc, ne)

    def of(self, u: Array) -> tuple[float, float, Trajectory]:
        """Cost, largest violation and trajectory of (N, nu) held controls."""
        self.start.u[:] = u
        cost, _ = shooting.simulate(
            self.functions, self.data, self.start, np.zeros_like(u), self.gains, 0.0, self.out, self.penalty, self.work
        )
        violation, _ = shooting.measure_all(self.data, self.out, self.penalty)
        plan = replace(
            self.guess, x=self.out.x.copy(), u=self.out.u.copy(), u_mid=None, interpolation=Interpolation.HOLD
        )
        return float(cost), float(violation), plan


def solve_by_search(planner: MCTS, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
    """Decide for one control after the other; see the module."""
    valuation = Valuation(problem, guess)
    inside = problem.admissible(guess.held())
    best = valuation.of(inside)
    stop = monitor.observe(best[0] if math.isfinite(best[0]) else math.inf, best[1])
    grid = control_grid(problem, guess, planner.levels)
    size = abs(best[0]) if math.isfinite(best[0]) else 1.0
    process = process_of(problem, grid, hold=planner.hold, integrator=INTEGRATOR, penalty=_WEIGHT * max(1.0, size))
    backup = "mean" if planner.selection == "gumbel" else "maximum"  # Gumbel search's theory is that of means
    searcher = replace(planner, normalisation="tree", backup=backup)
    walk = _Walk(process, searcher, valuation, inside, grid, monitor)
    status = stop if stop in (Status.STOPPED, Status.TIME_LIMIT) else monitor.run(walk.step, walk.decisions)
    cost, _, plan = walk.answer(best)
    if not math.isfinite(cost):
        return Outcome(Status.NUMERICAL_FAILURE, guess, cost, len(monitor.history) - 1, detail="No plan is finite.")
    detail = (
        f"{walk.simulations:,} simulations; the plan is the best that was found, and no search says how good it is."
    )
    return Outcome(status, plan, cost, len(monitor.history) - 1, detail=detail)


class _Walk:
    """Decisions so far, and the tree that the next one begins with."""

    def __init__(
        self,
        process: DecisionProcess,
        planner: MCTS,
        valuation: Valuation,
        controls: Array,
        grid: Array,
        monitor: Monitor,
    ) -> None:
        self.process, self.planner, self.valuation, self.grid, self.monitor = process, planner, valuation, grid, monitor
        self.controls, self.state, self.tree = controls.copy(), np.array(process.initial_state), None
        self.decisions = -(-len(controls) // planner.hold)
        self.made, self.simulations, self.found = 0, 0, None

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """Decide for the next control, and plan the rest as the search expects it."""
        monitor = Monitor(None if math.isinf(self.monitor.seconds_left) else max(self.monitor.seconds_left, 1e-3))
        decision = self.planner.plan(self.process, self.state, tree=self.tree, monitor=monitor)
        self.simulations += decision.simulations
        expected = decision.principal_variation or (decision.action,)
        for number, action in enumerate((decision.action, *expected[1:]), self.made):
            first = number * self.planner.hold
            self.controls[first : first + self.planner.hold] = self.grid[action]
        self.made += 1
        cost, violation, plan = self.valuation.of(self.controls)
        if math.isfinite(cost):
            self.found = (cost, violation, plan)
        self.state, _, discount = self.process.apply(self.state, decision.action)
        ended = discount == 0.0
        self.tree = None if ended else decision.tree.after(decision.action)
        numbers = {"cost": cost, "violation": violation}
        return (Status.ITERATION_LIMIT if ended else None), numbers

    def answer(self, guess: tuple[float, float, Trajectory]) -> tuple[float, float, Trajectory]:
        """The better of the plan and the guess: by violation where one violates, else by cost."""
        if self.found is None:
            return guess
        found, small = self.found, 1e-6
        if not math.isfinite(guess[0]) or max(found[1], guess[1]) <= small:
            return found if not guess[0] < found[0] else guess
        return min(found, guess, key=lambda plan: (max(plan[1], small), plan[0]))
