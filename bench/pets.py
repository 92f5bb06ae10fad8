"""PETS from scratch: ``python -m bench.pets [--quick] [--seeds 5] [--picture FOLDER]``.

Two tasks, each learned with several seeds. *balance*: mbrl-lib's continuous cart-pole, 1 a step alive, 200 steps at
most (``cartpole-balance``). *swing-up*: MBRLCartpole of the PETS paper, 200 steps, 183 at most (``mbrl-cartpole``).
Beside every learned model stands the same planner on the true one. Published curves: *balance* is mbrl-lib's notebook,
whose trials come after 200 random steps; *swing-up* is the port to PyTorch of the authors' code, whose picture
shows the best return so far. Seconds are those of one process; processor seconds tell what a quiet machine would need.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.sheet import Sheet, show
from trajopt.learned_dynamics import PETS, ProbabilisticEnsemble
from trajopt.problems import cartpole_balance, load, mbrl_cartpole
from trajopt.solvers import ICEM
from trajopt.view.learning import plot_curves


def balance(seed: int) -> PETS:
    """An agent for the balancing task: plans of 0.8 s, in which a cart that runs away shows."""
    return PETS(
        load("cartpole-balance"),
        termination="bounds",
        start=cartpole_balance.random_start,
        solver=ICEM(samples=64, particles=5, sigma=1.0),
        horizon=40,
        iterations=3,
        seed=seed,
    )


def swingup(seed: int) -> PETS:
    """An agent for the swing-up: the hinge is an angle, and, as in the paper, nothing is held out.

    Few transitions near the ends of the rail would make up most of the error on a hold-out, and end the training early.
    """
    problem = load("mbrl-cartpole")
    names = {"states": problem.dynamics.states, "controls": problem.dynamics.controls}
    model = ProbabilisticEnsemble(**names, hidden=(64, 64, 64), angles=(1,), epochs=150, holdout=0.0)
    return PETS(problem, start=mbrl_cartpole.random_start, model=model, horizon=20, seed=seed)


@dataclass(frozen=True)
class Task:
    """A task, the published curve as steps and returns, and how far it is learned.

    ``trials`` count from the first that is planned; ``marks`` are the returns to reach by a number of steps.
    """

    name: str
    make: Callable[[int], PETS]
    published: tuple[list[int], list[float]]
    trials: int
    marks: dict[int, float]


_NOTEBOOK = [41, 55, 116, 186, 200, 200, 200]
TASKS = (
    Task("balance", balance, ((200 + np.cumsum(_NOTEBOOK)).tolist(), [float(r) for r in _NOTEBOOK]), 7, {}),
    Task("swing-up", swingup, ([600, 800, 1600], [68.0, 163.0, 181.0]), 7, {800: 163.0, 1600: 181.0}),
)


@dataclass(frozen=True)
class Run:
    """One seed of a task."""

    agent: PETS
    seconds: float
    processor: float

    @property
    def planned(self) -> list[float]:
        """Returns of the trials behind the random ones."""
        return [t.value for t in self.agent.trials if t.steps - t.length >= self.agent.random_steps]


def learn(task: Task, seed: int, trials: int) -> Run:
    """Learn until so many trials have been planned."""
    agent, wall, processor = task.make(seed), time.perf_counter(), time.process_time()
    run = Run(agent, 0.0, 0.0)
    agent.learn(10**6, callback=lambda trial: len(run.planned) >= trials)
    return Run(agent, time.perf_counter() - wall, time.process_time() - processor)


def best_by(agent: PETS, steps: int) -> float:
    """The best return of the trials that had ended after so many steps."""
    taken, returns = agent.curve
    return float(np.max(returns[taken <= steps], initial=-np.inf))


def sheet(task: Task, runs: list[Run], episodes: int) -> Sheet:
    """One row for each seed, and one for the median."""
    rows: list[list[Any]] = []
    width = min(len(run.planned) for run in runs)
    for seed, run in enumerate(runs):
        true, learned = (run.agent.evaluate(planner, episodes).mean for planner in ("true", "learned"))
        marks = [f"{best_by(run.agent, steps):.1f}" for steps in task.marks]
        curve = ", ".join(f"{value:.4g}" for value in run.planned)
        times = [f"{run.seconds:.0f}", f"{run.processor:.0f}"]
        rows.append([str(seed), curve, *marks, f"{true:.1f}", f"{learned:.1f}", *times])
    middle = np.median([run.planned[:width] for run in runs], axis=0)
    marks = [f"{np.median([best_by(run.agent, steps) for run in runs]):.1f}" for steps in task.marks]
    totals = [f"{sum(getattr(run, name) for run in runs):.0f}" for name in ("seconds", "processor")]
    rows.append(["median", ", ".join(f"{value:.4g}" for value in middle), *marks, "", "", *totals])
    published = [f"{value:.4g}" for steps, value in zip(*task.published, strict=True) if steps in task.marks]
    told = ", ".join(f"{value:.4g}" for value in task.published[1])
    rows.append(["published", told, *published, "", "", "", ""])
    heads = [f"best by {steps}" for steps in task.marks]
    columns = ("seed", "returns of the planned trials", *heads, "true model", "learned model", "s", "processor s")
    return Sheet(f"PETS, {task.name}", columns, tuple(tuple(row) for row in rows))


def main(arguments: list[str] | None = None) -> None:
    """Learn, and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.pets", description="Learn both tasks from scratch.")
    parser.add_argument("--quick", action="store_true", help="one seed, three trials, one episode of evaluation")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds of each task")
    parser.add_argument("--picture", type=Path, metavar="FOLDER", help="write the curves there as SVG")
    chosen = parser.parse_args(arguments)
    for task in TASKS:
        trials = 3 if chosen.quick else task.trials
        runs = [learn(task, seed, trials) for seed in range(1 if chosen.quick else chosen.seeds)]
        table = sheet(task, runs, 1 if chosen.quick else 3)
        if chosen.picture is not None:
            chosen.picture.mkdir(parents=True, exist_ok=True)
            figure = plot_curves([run.agent.curve for run in runs], task.published, f"PETS, {task.name}")
            figure.savefig(chosen.picture / f"pets-{task.name}.svg")
        show([table])


if __name__ == "__main__":
    main()
