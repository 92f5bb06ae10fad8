"""What derivatives cost beside the solve that they belong to, and beside finite differences of re-solves.

``python -m bench.sensitivities`` prints the table. Differences are one-sided and warm-started from the solution: the
least that they can cost, at half of the digits.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

import trajopt as to
from bench.measure import Row, duration, take_turns
from trajopt import problems
from trajopt.solution import Solution
from trajopt.solver import Solver
from trajopt.solvers import DDP, Collocation, InteriorPoint

ROUNDS = 5
STEP = 1e-4


def sensitivity_rows(*, steps: tuple[int, ...] = (100, 1000), rounds: int = ROUNDS) -> list[Row]:
    """Cart-pole swing-up on several grids: a row for each solver, with all columns and with one adjoint solve."""
    rows = []
    for count in steps:
        problem = problems.load("cartpole")
        first = to.solve(problem, DDP(), raise_on_failure=True)
        problem = replace(problem, horizon=to.Horizon(problem.horizon.duration, steps=count))
        for solver in (InteriorPoint(), Collocation()):
            solution = to.solve(problem, solver, guess=first, raise_on_failure=True)
            rows.append(_row(problem, solver, solution, first, rounds))
    return rows


def _row(problem: to.Problem, solver: Solver, solution: Solution, first: Solution, rounds: int) -> Row:
    bars = np.ones_like(solution.x), np.ones_like(solution.u), 1.0
    known = solution.derivatives()
    calls = {
        "the solve": partial(to.solve, problem, solver, guess=first),
        "a warm solve": partial(to.solve, problem, solver, guess=solution),
        "derivatives by the initial state": lambda: solution.derivatives().x,
        "one more adjoint": lambda: known.vjp(*bars),
        "differences of re-solves": lambda: [
            to.solve(problem.at(initial_state=state), solver, guess=solution)
            for state in problem.initial_values + STEP * np.eye(problem.nx)
        ],
    }
    seconds = take_turns(calls, rounds)
    ours = seconds["derivatives by the initial state"]
    note = (
        f"{ours / seconds['the solve']:.2f} of the solve, differences {seconds['differences of re-solves'] / ours:.1f} "
        f"times as long; one more adjoint {duration(seconds['one more adjoint'])}"
    )
    what = f"derivatives, cart-pole, N = {problem.horizon.steps}, {type(solver).__name__}"
    return Row(what, "-", "-", ours, seconds, note=note)


def main() -> None:
    """Print the table."""
    for row in sensitivity_rows():
        print(f"{row.what}: {duration(row.ours)}; {row.note}")
        print("    " + ", ".join(f"{name} {duration(seconds)}" for name, seconds in row.others.items()))


if __name__ == "__main__":
    main()
