"""Control loops: ``python -m bench.mpc [--quick]``: percentiles of the ticks, and what the loops cost.

Three plants, each disturbed, each driven by its own model integrated accurately. *cart-pole*: the swing-up of ALTRO's
test-suite, 5 s in 100 steps, at 20 Hz. *quadrotor*: 13 states, brought back to hover from 3 m away, 1.5 s in 30 steps.
*linear*: 12 states, 6 controls with |u| <= 1, 50 steps. "To the command" is the time from the measurement to the
command, "preparation" what real-time iterations do behind it. A first run of each controller, which compiles, does not
count. Every tick plans again; MPPI does four iterations of 1024 samples.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import trajopt as to
from bench.sheet import Sheet, show
from trajopt.closed_loop import ClosedLoop
from trajopt.problems import load
from trajopt.problems.quadrotor import CONTROLS, GRAVITY, MASS, STATES, quadrotor, resting_at
from trajopt.solvers import ILQR, MPPI, InteriorPoint


@dataclass(frozen=True)
class Case:
    """A problem, variances of the disturbance, and how long to run."""

    name: str
    build: Callable[[], to.Problem]
    disturbance: float | tuple[float, ...]
    ticks: int


def hover() -> to.Problem:
    """A quadrotor far from where it shall hover; unit weights on what is wanted, light ones on rates and thrusts."""
    goal = resting_at(np.array([0.0, 0.0, 1.0]))
    weights = np.concatenate([np.full(3, 1.0), np.full(4, 1.0), np.full(3, 0.1), np.full(3, 0.01)])
    lift = MASS * GRAVITY / 4.0
    return to.Problem(
        to.ContinuousDynamics(quadrotor, states=STATES, controls=CONTROLS),
        stage_cost=lambda x, u: weights @ (x - goal) ** 2 + 0.01 * ((u - lift) @ (u - lift)),
        terminal_cost=lambda x: 5.0 * (weights @ (x - goal) ** 2),
        initial_state=resting_at(np.array([2.0, -2.0, 0.0])),
        constraints=[to.Bounds(control=(0.0, 4.0))],
        horizon=to.Horizon(1.5, steps=30),
        guess=(np.array([0.0, 1.5]), np.array([resting_at(np.array([2.0, -2.0, 0.0])), goal]), np.full((2, 4), lift)),
        name="quadrotor",
    )


def linear() -> to.Problem:
    """A random stable system, whose modes are at most 0.99."""
    random = np.random.default_rng(0)
    A, B = random.standard_normal((12, 12)), random.standard_normal((12, 6))
    A *= 0.99 / np.abs(np.linalg.eigvals(A)).max()
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: A @ x + B @ u, 12, 6),
        stage_cost=lambda x, u: x @ x + 0.1 * (u @ u),
        initial_state=3.0 * random.standard_normal(12),
        constraints=[to.Bounds(control=(-1.0, 1.0))],
        horizon=to.Horizon(steps=50),
        name="linear",
    )


CASES = (
    Case("cart-pole", lambda: load("cartpole"), (0.0, 0.0, 1e-5, 1e-5), 160),
    Case("quadrotor", hover, 1e-6, 120),
    Case("linear", linear, 1e-3, 120),
)

CONTROLLERS: dict[str, Callable[[to.Problem], to.MPC]] = {
    "ILQR": lambda problem: to.MPC(problem, ILQR()),
    "ILQR, real time": lambda problem: to.MPC(problem, ILQR(), real_time=True),
    "InteriorPoint, cold": lambda problem: to.MPC(problem, InteriorPoint(), shift=False),
    "InteriorPoint, warm": lambda problem: to.MPC(problem, InteriorPoint()),
    "InteriorPoint, real time": lambda problem: to.MPC(problem, InteriorPoint(), real_time=True),
    "MPPI": lambda problem: to.MPC(problem, MPPI(samples=1024), iterations=4),
}


def main(arguments: list[str] | None = None) -> None:
    """Run all loops and print one table."""
    parser = argparse.ArgumentParser(prog="python -m bench.mpc", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the ticks")
    chosen = parser.parse_args(arguments)
    lines = []
    for case in CASES:
        problem, ticks = case.build(), case.ticks // (4 if chosen.quick else 1)
        for name, build in CONTROLLERS.items():
            build(problem).run(steps=3)
            loop = build(problem).run(steps=ticks, disturbance=case.disturbance, seed=1)
            lines.append((case.name if name == next(iter(CONTROLLERS)) else "", name, *_cells(loop)))
    head = (
        "plant",
        "controller",
        "p50 ms",
        "p95",
        "p99",
        "max",
        "preparation p50",
        "p99",
        "iterations",
        "no plan",
        "cost",
    )
    show([Sheet("Ticks of control loops, to the command", head, tuple(lines))])


def _cells(loop: ClosedLoop) -> list[str]:
    times = [f"{1e3 * value:.3g}" for value in loop.timing().values()]
    preparation = loop.timing("preparation")
    behind = [f"{1e3 * preparation[name]:.3g}" if preparation["max"] else "" for name in ("p50", "p99")]
    iterations = f"{np.median([tick.iterations for tick in loop.ticks]):g}"
    return [*times, *behind, iterations, str(loop.statuses["no plan"]), f"{loop.cost:.6g}"]


if __name__ == "__main__":
    main()
