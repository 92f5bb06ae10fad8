"""Large problems beside CasADi with IPOPT, in one process: ``python -m bench.large``.

DTOC1L with 1000 knots, DTOC3 with 5000 and DTOC6 with 5001; the beam with 20,000 steps and Goddard's rocket under a
speed limit with 5000. The same program for both, as in `bench.interior_point`. Beside each time stands the violation,
and how far the cost is from the published value: of discrete problems their optimum, of the others the continuous
optimum, from which that of a control held over steps of length h differs by O(h^2).
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import trajopt as to
from bench.interior_point import median_of, ours, theirs
from trajopt import problems
from trajopt.solvers.interior_point import InteriorPoint


@dataclass(frozen=True)
class Large:
    """A problem, its known cost, and whether IPOPT takes part: beyond 5000 steps CasADi takes minutes to set it up."""

    title: str
    problem: to.Problem
    known: float
    compared: bool = True


def cases() -> list[Large]:
    """All of them."""
    return [
        Large("DTOC1L, N = 1000", problems.load("dtoc1l", states=10, controls=5, steps=999), 125.338129736),
        Large("DTOC3, N = 5000", problems.load("dtoc3", steps=4999), 235.262481035),
        Large("DTOC6, N = 5001", problems.load("dtoc6", steps=5000), 134850.616259),
        Large("beam, N = 20000", problems.load("beam", steps=20000), 80.0 / 9.0, compared=False),
        Large("Goddard, v <= 0.1, N = 5000", problems.load("goddard-rocket-speed-limit", steps=5000), -1.257632465693),
    ]


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="python -m bench.large", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{'':30}{'ms':>9} {'it.':>4} {'cost':>17} {'off by':>9} {'violation':>10} {'status':>8}   IPOPT: ms, it.")
    for case in cases():
        found = median_of(lambda case=case: ours(case.problem), rounds)
        solution = to.solve(case.problem, InteriorPoint())
        off = abs(solution.cost / case.known - 1.0)
        line = f"{case.title:30}{found.seconds * 1e3:9.2f} {found.iterations:4d} {solution.cost:17.12g} {off:9.1e}"
        line += f" {solution.history[-1].violation:10.1e} {solution.status.label:>8}"
        if case.compared:
            other = median_of(theirs(case.problem, "ipopt"), rounds)
            line += f"   {other.seconds * 1e3:9.1f} {other.iterations:4d} {'' if other.solved else 'FAILED'}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
