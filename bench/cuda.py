"""CUDA: milliseconds a tick of MPPI on a GPU, and of what that is made.

Run with ``python -m bench.cuda`` where `trajopt.lowering.cuda.available` is true. The task is the one of MPPI-Generic's
comparison with nav2 and TorchRL: a differential drive on a cost map over 100 steps of 0.02 s, 2 controls, lambda = 1,
sigma = 0.2. A tick draws, simulates, weighs and averages, and brings the mean to the host:

    tick       from call to answer
    launches   from the first call until the third returns: what the host pays, whatever the device does
    device     a tick among many that nobody waits for
    steps/s    simulated steps a second, by the device's time

Published, RTX 4090, 8,192 and 16,384 samples: 0.232 ms and 0.389 ms a tick (MPPI-Generic's table of results).
"""

from __future__ import annotations

import time

import numpy as np

import trajopt as to
from bench.mppi import median_time
from trajopt.guess import make_guess
from trajopt.lowering import cuda
from trajopt.solvers.cuda_rollouts import CudaRollouts
from trajopt.solvers.mppi import MPPI
from trajopt.solvers.sampling.search import Search
from trajopt.transcription.stages import compile_stages

STEP = 0.02
SQUARES = ((8.0, 8.0, 0.4), (4.0, 6.0, 0.5), (6.0, 5.0, 0.3))
"""Obstacles: lower left corner and width, in metres."""
CELL, HEIGHT = 0.1, 250.0
SCALE, MARGIN, PRICE = 10.0, 0.1, 20.0
"""Of the obstacle's cost. The task's description leaves out the first two; they are nav2's defaults."""


def drive(x, u):
    """Wheels of radius 1 at a distance of 1; Euler's method, as published."""
    speed, turn = 0.5 * (u[0] + u[1]), u[0] - u[1]
    return np.array([x[0] + STEP * speed * np.cos(x[2]), x[1] + STEP * speed * np.sin(x[2]), x[2] + STEP * turn])


def height(x, y):
    """The map, bilinear between its cells' centres: squares with slopes as wide as a cell."""

    def inside(position, start, width):
        rises = np.clip((position - start) / CELL + 0.5, 0.0, 1.0)
        return rises * np.clip((start + width - position) / CELL + 0.5, 0.0, 1.0)

    return sum(HEIGHT * inside(x, left, width) * inside(y, lower, width) for left, lower, width in SQUARES)


def running_cost(x, u):
    """Distance and angle to the goal (10, 10, 0), and what is near an obstacle, as nav2 prices it."""
    here = height(x[0], x[1])
    distance = (np.log(253.0) - np.log(np.maximum(here, 1.0))) / SCALE
    near = np.where(here >= 1.0, np.maximum(PRICE * (MARGIN - distance), 0.0), 0.0)
    return near + 5.0 * np.sqrt((x[0] - 10.0) ** 2 + (x[1] - 10.0) ** 2 + 1e-12) + 5.0 * np.abs(x[2])


def differential_drive(steps: int = 100) -> to.Problem:
    """The task as a problem."""
    return to.Problem(
        to.DiscreteDynamics(drive, states=["x", "y", "yaw"], controls=["right", "left"]),
        stage_cost=running_cost,
        initial_state=[1.0, 1.0, 0.0],
        constraints=[to.Bounds(control=([-0.35, -0.35], [0.5, 0.5]))],
        horizon=to.Horizon(steps=steps),
        name="differential drive",
    )


def open_rollouts(problem: to.Problem, samples: int, precision: str, **settings: object) -> tuple[CudaRollouts, Search]:
    """Rollouts on the device, and the planner on the processor whose numbers they have."""
    run = Search(MPPI(samples=samples, sigma=0.2, temperature=1.0), problem, make_guess(problem, None))
    stages = compile_stages(problem, "rk4", second_order=None)
    rollouts = CudaRollouts(problem, stages, run.engine.data, samples, precision=precision, **settings)  # type: ignore[arg-type]
    rollouts.write_proposal(run.proposal.mean, run.proposal.deviation)
    return rollouts, run


def launch(rollouts: CudaRollouts) -> None:
    """The three launches of a tick."""
    rollouts.sample(0)
    rollouts.weigh(temperature=1.0)
    rollouts.average()


def tick_row(problem: to.Problem, samples: int, precision: str) -> str:
    """One line of the table."""
    rollouts, run = open_rollouts(problem, samples, precision)

    def tick() -> None:
        launch(rollouts)
        rollouts.read()

    with run.engine.open():
        processor = median_time(run.advance, 20)
    whole, launches, ticks = median_time(tick), [], 200
    for _ in range(ticks):
        start = time.perf_counter()
        launch(rollouts)
        launches.append(time.perf_counter() - start)
        rollouts.read()
    start = time.perf_counter()
    for _ in range(ticks):
        launch(rollouts)
    rollouts.read()
    device = (time.perf_counter() - start) / ticks
    steps = samples * problem.horizon.steps / device
    return (
        f"{samples:>8} {precision:>9} {whole * 1e3:>9.3f} {float(np.median(launches)) * 1e3:>12.3f} "
        f"{device * 1e3:>10.3f} {steps:>10.2e} {processor * 1e3:>13.3f}"
    )


def main() -> None:
    """Print the table."""
    cuda.check_device()
    problem = differential_drive()
    heads = f"{'tick ms':>9} {'launches ms':>12} {'device ms':>10} {'steps/s':>10} {'CPU ms':>13}"
    print(f"{'samples':>8} {'precision':>9} {heads}")
    for samples in (128, 1024, 8192, 16384, 65536):
        for precision in ("float32", "float64"):
            print(tick_row(problem, samples, precision), flush=True)


if __name__ == "__main__":
    main()
