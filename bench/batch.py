"""Instances a second of `solve_batch` with one and two threads: is the interpreter lock really released?

The first row is the ceiling: arithmetic that needs no interpreter gains no more than the machine has to give just now.

``python -m bench.batch`` prints the table.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numba
import numpy as np

from bench.measure import Row, duration, take_turns
from trajopt import problems
from trajopt.batch import solve_batch
from trajopt.solver import Solver
from trajopt.solvers import DDP, ILQR, MPPI

INSTANCES = 64
ROUNDS = 5
SOLVERS: tuple[Solver, ...] = (ILQR(), DDP(), MPPI(samples=256, iterations=50, threads=1))


@numba.njit(nogil=True)
def _spin(count):
    """Arithmetic without the interpreter: what threads can gain on this machine at this moment."""
    total = 0.0
    for i in range(count):
        total += np.sin(1.0 * i)
    return total


def _spin_in_threads(threads: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_spin, [400_000] * INSTANCES))


def batch_rows(*, instances: int = INSTANCES) -> list[Row]:
    """Seconds an instance of the cart-pole swing-up from states nearby: the ceiling, then a row for each solver."""
    problem = problems.load("cartpole")
    rng = np.random.default_rng(0)
    states = problem.initial_values + 0.1 * rng.normal(size=(instances, problem.nx))
    rows = [_row("arithmetic without Python, a piece", _spin_in_threads, INSTANCES)]
    for solver in SOLVERS:

        def solve_all(threads: int, solver: Solver = solver) -> None:
            solve_batch(problem, solver, initial_states=states, threads=threads)

        rows.append(_row(f"solve_batch, cart-pole, {type(solver).__name__}, an instance", solve_all, instances))
    return rows


def _row(what: str, call: Callable[[int], None], pieces: int) -> Row:
    calls = {f"{count} threads": partial(call, count) for count in (1, 2)}
    seconds = {name: value / pieces for name, value in take_turns(calls, ROUNDS).items()}
    one, two = seconds.values()
    note = f"{1 / one:.0f} and {1 / two:.0f} a second with 1 and 2 threads: {one / two:.2f} times as many"
    return Row(what, "-", "-", two, seconds, note=note)


def main() -> None:
    """Print the table."""
    for row in batch_rows():
        print(f"{row.what}: {duration(row.ours)}; {row.note}")


if __name__ == "__main__":
    main()
