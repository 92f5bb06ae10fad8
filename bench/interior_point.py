"""`InteriorPoint` beside CasADi with IPOPT and with FATROP, in one process: ``python -m bench.interior_point``.

All solve the same nonlinear program, RK4 multiple shooting with held controls, from the same guess to 1e-8; functions
are compiled and everything has run once before. Ours is timed as `trajopt.solve` times itself, from the guess to the
solution; the others as the call of a solver object that is already there.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trajopt as to
from trajopt import problems
from trajopt.solvers.interior_point import InteriorPoint

sys.path.append(str(Path(__file__).parent.parent / "tests"))  # the program is the oracle of the tests as well

from interior_point_cases import ShootingProgram, swing_up

ROUNDS = 5
SECONDS = 20.0
"""At most, for each solve; longer counts as a failure."""


@dataclass(frozen=True)
class Result:
    """Seconds (median), iterations, cost, and whether it says solved."""

    seconds: float
    iterations: int
    cost: float
    solved: bool

    def __str__(self) -> str:
        return f"{self.seconds * 1e3:9.2f} {self.iterations:5d} {self.cost:15.9g} {'' if self.solved else 'FAILED':6}"


def median_of(solve: Callable[[], Result], rounds: int) -> Result:
    """The median of several runs after one that may have to compile; a single run if it fails or takes long."""
    solve()
    first = solve()
    if not first.solved or first.seconds > 1.0:
        return first
    seconds = statistics.median(solve().seconds for _ in range(rounds))
    return Result(seconds, first.iterations, first.cost, True)


def ours(problem: to.Problem) -> Result:
    """One solve."""
    solution = to.solve(problem, InteriorPoint(), max_time=SECONDS)
    return Result(solution.seconds, solution.iterations, solution.cost, solution.success)


def theirs(problem: to.Problem, plugin: str) -> Callable[[], Result]:
    """A solve by CasADi, with the solver object made beforehand."""
    program = ShootingProgram(problem)
    limit = {"max_wall_time": SECONDS} if plugin == "ipopt" else {}
    solver = program.solver(plugin, **limit)

    def solve() -> Result:
        start = time.perf_counter()
        result = program.call(solver)
        seconds = time.perf_counter() - start
        stats = solver.stats()
        return Result(seconds, int(stats["iter_count"]), float(result["f"]), bool(stats["success"]))

    return solve


def compare(name: str, problem: to.Problem, rounds: int) -> dict[str, Result]:
    """All three on one problem, one line of the table."""
    found = {"ours": median_of(lambda: ours(problem), rounds)}
    for plugin in ("ipopt", "fatrop"):
        try:
            found[plugin] = median_of(theirs(problem, plugin), rounds)
        except RuntimeError:  # CasADi's FATROP refuses what does not have its structure
            found[plugin] = Result(float("nan"), 0, float("nan"), False)
    print(f"{name:34} {found['ours']} | {found['ipopt']} | {found['fatrop']}", flush=True)
    return found


def ratio(table: list[dict[str, Result]], plugin: str) -> str:
    """Median over the problems that both solved, to the same cost."""
    both = [row for row in table if row["ours"].solved and row[plugin].solved]
    same = [row for row in both if abs(row["ours"].cost - row[plugin].cost) <= 1e-5 * (1.0 + abs(row["ours"].cost))]
    if not same:
        return f"{plugin}: no common solution"
    values = [row[plugin].seconds / row["ours"].seconds for row in same]
    return f"{plugin}: median {statistics.median(values):.1f}x on {len(same)} problems"


def main() -> None:
    """Print one table and the median ratios."""
    parser = argparse.ArgumentParser(prog="python -m bench.interior_point", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="without the library")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    head = f"{'ms':>9} {'it.':>5} {'cost':>15} {'':6}"
    print(f"{'':34} {'InteriorPoint':37} | {'CasADi + IPOPT':37} | CasADi + FATROP\n{'':34} {head} | {head} | {head}")
    compare("cart-pole A", swing_up(), chosen.rounds)
    compare("DTOC1L, N = 1000, 10 + 5", problems.load("dtoc1l", states=10, controls=5, steps=999), chosen.rounds)
    compare("DTOC3, N = 5000", problems.load("dtoc3", steps=4999), chosen.rounds)
    if chosen.quick:
        return
    table = [compare(name, problems.load(name), chosen.rounds) for name in problems.names(extras=False)]
    for plugin in ("ipopt", "fatrop"):
        print(ratio(table, plugin))


if __name__ == "__main__":
    main()
