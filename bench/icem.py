"""iCEM against CEM in closed loop: ``python -m bench.icem [task ...] [--seeds N]``: return by rollouts a tick.

Both plan over the true model at every tick with three iterations, ten elites and the same first deviation, a half of
the way from the middle to the bounds, both go on from the shifted plan of the tick before, both execute the best plan
met, and both begin with a tick like the others. iCEM's other settings are those of Pinneri et al. 2020, with its noise
exponent for half-cheetah, 0.25, and the default 2 elsewhere. Rollouts count all samples and all elites that are tried
again, not the few single plans that each iteration values on top.

*half-cheetah*: 60 steps of Gymnasium's model from rest, plans of 30 steps, return of the environment; the paper's
episodes have 1,000. *pendulum*: Gymnasium's Pendulum from hanging, 100 steps, plans of 20. *cart-pole*: the library's,
100 steps of 0.05 s, plans of 30, for the way of the pole's tip from above the middle of the rail. Both are traced, and
their return is minus the cost of the loop.

"Rollouts of CEM" are those at which CEM's mean return, linear in the logarithm of the rollouts, is iCEM's; beyond the
largest budget of CEM there is only a bound. The paper claims 2.7x for half-cheetah, by a measure of its own over longer
episodes, and 2.7 to 22 times fewer for its tasks together.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

import trajopt as to
from bench.sheet import Sheet, show
from trajopt.closed_loop import ClosedLoop
from trajopt.problems import load
from trajopt.solvers import CEM, ICEM
from trajopt.solvers.sampling import SamplingSolver

ITERATIONS, ELITES, DECAY, REUSED = 3, 10, 1.25, 3
BUDGETS = (72, 144, 288, 576)
"""Rollouts a tick; the least leaves each of iCEM's iterations its least number of samples, twice the elites."""


@dataclass(frozen=True)
class Task:
    """A problem, how long to run, the noise exponent, and what a loop brought in."""

    build: Callable[[], to.Problem]
    ticks: int
    noise_exponent: float
    score: Callable[[ClosedLoop], float]


def _distance(loop: ClosedLoop) -> float:
    """Return of half-cheetah's environment: the way over the duration of a step, less the effort."""
    rootx = loop.problem.dynamics.states.index("rootx")
    return float((loop.x[-1, rootx] - loop.x[0, rootx]) / loop.problem.dynamics.timestep - loop.costs.sum())


def pendulum() -> to.Problem:
    """Gymnasium's Pendulum: too weak a motor to lift the pendulum at once."""

    def step(x, u):
        rate = np.clip(x[1] + 0.05 * (15.0 * np.sin(x[0]) + 3.0 * u[0]), -8.0, 8.0)
        return np.array([x[0] + 0.05 * rate, rate])

    def cost(x, u):
        away = np.arctan2(np.sin(x[0]), np.cos(x[0]))
        return away**2 + 0.1 * x[1] ** 2 + 0.001 * u[0] ** 2

    return to.Problem(
        to.DiscreteDynamics(step, states=["angle", "rate"], controls=["torque"]),
        stage_cost=cost,
        initial_state=[np.pi, 0.0],
        constraints=[to.Bounds(control=(-2.0, 2.0))],
        horizon=to.Horizon(steps=20),
    )


def cart_pole() -> to.Problem:
    """The library's cart-pole, whose pole of half a metre hangs at angle 0."""

    def cost(x, u):
        return (x[0] + 0.5 * np.sin(x[1])) ** 2 + (0.5 + 0.5 * np.cos(x[1])) ** 2 + 0.001 * u[0] ** 2

    library = load("cartpole")
    return to.Problem(
        library.dynamics,
        stage_cost=cost,
        initial_state=np.zeros(4),
        constraints=[to.Bounds(control=(-5.0, 5.0))],
        horizon=to.Horizon(1.5, steps=30),
    )


TASKS = {
    "half-cheetah": Task(lambda: load("half-cheetah", steps=30), 60, 0.25, _distance),
    "pendulum": Task(pendulum, 100, 2.0, lambda loop: -loop.cost),
    "cart-pole": Task(cart_pole, 100, 2.0, lambda loop: -loop.cost),
}


def icem_rollouts(samples: int) -> int:
    """Rollouts of a tick of iCEM whose first iteration draws ``samples``; in the last one the mean joins."""
    drawn = sum(max(2 * ELITES, int(samples * DECAY**-i)) for i in range(ITERATIONS))
    return drawn + ITERATIONS * REUSED + 1


def make_solvers(problem: to.Problem, budget: int, noise_exponent: float) -> dict[str, SamplingSolver]:
    """Both methods at no more than ``budget`` rollouts a tick."""
    lower, upper = problem.control_bounds
    sigma = [float(reach) for reach in 0.25 * (upper - lower)]
    first = max(samples for samples in range(2 * ELITES, budget) if icem_rollouts(samples) <= budget)
    cem = CEM(samples=budget // ITERATIONS, elites=ELITES, iterations=ITERATIONS, sigma=sigma)
    icem = ICEM(
        samples=first, elites=ELITES, iterations=ITERATIONS, sigma=sigma, noise_exponent=noise_exponent, decay=DECAY
    )
    return {"CEM": cem, "ICEM": icem}


def measure(task: Task, seeds: range) -> dict[str, np.ndarray]:
    """Returns (budgets, seeds) of each method."""
    problem = task.build()
    found: dict[str, np.ndarray] = {name: np.zeros((len(BUDGETS), len(seeds))) for name in ("CEM", "ICEM")}
    for row, budget in enumerate(BUDGETS):
        for name, solver in make_solvers(problem, budget, task.noise_exponent).items():
            for column, seed in enumerate(seeds):
                loop = to.MPC(problem, replace(solver, seed=10_000 * seed)).run(steps=task.ticks)
                found[name][row, column] = task.score(loop)
    return found


def rollouts_of_cem(found: dict[str, np.ndarray], row: int) -> float:
    """Where CEM's curve of means reaches the mean of iCEM at a budget; infinite beyond its end, 0 before its start."""
    means, goal, places = found["CEM"].mean(axis=1), found["ICEM"][row].mean(), np.log(BUDGETS)
    reached = np.flatnonzero(means >= goal)
    if not reached.size:
        return np.inf
    k = int(reached[0])
    if k == 0:
        return 0.0
    part = (goal - means[k - 1]) / (means[k] - means[k - 1])
    return float(np.exp(places[k - 1] + part * (places[k] - places[k - 1])))


def sheet(name: str, found: dict[str, np.ndarray]) -> Sheet:
    """Mean and standard error of both, and how many more rollouts CEM takes for the return of iCEM."""
    lines = []
    for row, budget in enumerate(BUDGETS):
        cells = [str(budget)]
        for values in found.values():
            error = values[row].std(ddof=1) / np.sqrt(values.shape[1])
            cells.append(f"{values[row].mean():.4g} +- {error:.2g}")
        needed = rollouts_of_cem(found, row)
        least, most = BUDGETS[0] / budget, BUDGETS[-1] / budget
        ratio = (
            f"< {least:.1f}x" if needed == 0.0 else f"> {most:.1f}x" if np.isinf(needed) else f"{needed / budget:.1f}x"
        )
        lines.append((*cells, ratio))
    seeds = found["CEM"].shape[1]
    head = ("rollouts a tick", "CEM", "iCEM", "rollouts of CEM for iCEM's return")
    return Sheet(f"{name}: mean return of {seeds} seeds", head, tuple(lines))


def main(arguments: list[str] | None = None) -> None:
    """Run the loops and print a table for each task."""
    parser = argparse.ArgumentParser(prog="python -m bench.icem", description=__doc__)
    parser.add_argument("tasks", nargs="*", default=list(TASKS), help=", ".join(TASKS))
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    for name in chosen.tasks:
        start = time.perf_counter()
        page = sheet(name, measure(TASKS[name], range(chosen.seeds)))
        show([page], [f"{time.perf_counter() - start:.0f} s"])
        print(page.markdown(), flush=True)


if __name__ == "__main__":
    main()
