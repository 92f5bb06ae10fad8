"""``python -m bench.altro``: the problems of ALTRO's test-suite from ALTRO's starting points, beside its own counts.

Altro.jl asserts its iterations (test/benchmark_problems.jl: inner iterations of iLQR in all) and states time limits.
Its penalties and tolerances are chosen problem by problem, and its iterations end when a step changes the cost by less
than 1e-4 to 1e-1, before a projection onto the constraints; the tests allow gradients of 1e-3 to 1e-2. Ours are one set
of defaults, down to a Newton decrement of 1e-8 of the cost. The barrel roll of its YakPlane is not in the library.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

from bench.measure import take_turns
from trajopt import Solution, problems, solve
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solvers import DDP, ILQR
from trajopt.transcription.stages import compile_stages


@dataclass(frozen=True)
class Anchor:
    """What Altro.jl starts from, and what it says of itself.

    Attributes
    ----------
    control
        Held along the first rollout; None: the problem's own guess, whose states break the dynamics.
    iterations, milliseconds
        Asserted by its tests, in the version of 2022.
    """

    control: float | None
    iterations: int
    milliseconds: float


ANCHORS = {
    "double-integrator": Anchor(0.0, 9, 1.0),
    "pendulum": Anchor(0.1, 18, 2.0),
    "cartpole": Anchor(0.01, 41, 10.0),
    "acrobot": Anchor(0.0, 50, 15.0),
    "parallel-park": Anchor(0.1, 13, 10.0),
    "three-obstacles": Anchor(0.01, 20, 6.0),
    "car-escape": Anchor(None, 14, 35.0),
    "quadrotor": Anchor(0.5 * 9.81 / 4, 14, 60.0),
}

SOLVERS = {"ILQR": ILQR(), "DDP": DDP()}


def starting_point(name: str) -> tuple[Problem, tuple[np.ndarray, np.ndarray, np.ndarray] | None]:
    """Problem and guess: the rollout of one held control, or None for the problem's own guess."""
    problem, control = problems.load(name), ANCHORS[name].control
    if control is None:
        return problem, None
    t, u = make_guess(problem, None).t, np.full((problem.horizon.steps, problem.nu), control)
    code, parameters = compile_stages(problem, "rk4", second_order=None).code, problem.layout.pack(problem.parameters)
    x = [problem.initial_values]
    for k, step in enumerate(np.diff(t)):
        x.append(code.evaluate("step", x[-1], u[k], [t[k], step], parameters)[0].ravel())
    return problem, (t, np.array(x), u)


def run(name: str, solver: ILQR | DDP) -> Solution:
    """Solve from ALTRO's starting point."""
    problem, guess = starting_point(name)
    return solve(problem, solver, guess=guess)


def repeat(problem: Problem, solver: ILQR | DDP, guess: tuple[np.ndarray, np.ndarray, np.ndarray] | None) -> None:
    """Only the solver: no certificate."""
    solver.run(problem, make_guess(problem, guess), Monitor())


def main() -> None:
    """Print the table."""
    table = Table(title="ALTRO's problems, from its starting points")
    for head in ("problem", "solver", "iterations", "ALTRO's", "ms", "its limit", "violation", "status", "certificate"):
        table.add_column(head)
    for name, anchor in ANCHORS.items():
        problem, guess = starting_point(name)
        for title, solver in SOLVERS.items():
            found = solve(problem, solver, guess=guess)
            call = functools.partial(repeat, problem, solver, guess)
            seconds = take_turns({title: call}, 5)
            table.add_row(
                name, title, str(found.iterations), str(anchor.iterations), f"{1e3 * seconds[title]:.2f}",
                f"{anchor.milliseconds:g}", f"{found.history[-1].violation:.1e}", str(found.status),
                "certified" if found.certified else "; ".join(found.certificate.findings[:1]),
            )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
