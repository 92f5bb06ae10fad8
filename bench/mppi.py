"""MPPI: milliseconds an iteration and nanoseconds a simulated step, for each part and number of threads.

Run with ``python bench/mppi.py``. The problem is a cart-pole with 50 steps of RK4. An iteration draws the noise,
simulates, weighs and averages the samples, and simulates the new plan. Double and single precision take turns. With the
package pytorch-mppi installed its ``command`` on the same dynamics (Euler, a quarter of the work) is timed beside it.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numba
import numpy as np

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.solvers import MPPI
from trajopt.solvers.kernels import random, sampling, weights
from trajopt.solvers.sampling.search import Search

STEPS, PRECISIONS = 50, ("float64", "float32")


def median_time(call: Callable[[], object], repetitions: int = 200) -> float:
    """Median duration of a call in seconds, after ten calls that do not count."""
    for _ in range(10):
        call()
    durations = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def prepare(samples: int, threads: int, precision: str = "float64") -> tuple[to.Problem, Any]:
    """A run of MPPI on the cart-pole, before its first iteration."""
    problem = problems.load("cartpole", steps=STEPS)
    solver = MPPI(samples=samples, threads=threads, precision=precision)
    return problem, Search(solver, problem, make_guess(problem, None))


def alternating_times(calls: Sequence[Callable[[], object]], repetitions: int = 100) -> list[float]:
    """Median durations of calls that take turns, so that what else the machine does meets all of them."""
    durations: list[list[float]] = [[] for _ in calls]
    for repetition in range(repetitions + 10):
        for call, times in zip(calls, durations, strict=True):
            start = time.perf_counter()
            call()
            if repetition >= 10:
                times.append(time.perf_counter() - start)
    return [statistics.median(times) for times in durations]


def iteration_rows() -> None:
    """Print the time of whole iterations, and of drawing and simulating alone, in both precisions."""
    print(f"{'samples':>8} {'threads':>8} {'precision':>10} {'iteration ms':>13} {'ns a step':>10} {'of rollouts':>12}")
    for samples in (1024, 10240):
        for threads in range(1, (os.cpu_count() or 1) + 1):
            runs = [prepare(samples, threads, precision)[1] for precision in PRECISIONS]
            with runs[0].engine.open(), runs[1].engine.open():
                whole = alternating_times([run.advance for run in runs])
                parts = alternating_times([sampler(run) for run in runs])
            for precision, seconds, part in zip(PRECISIONS, whole, parts, strict=True):
                steps = samples * STEPS * 1e-9
                cells = f"{seconds * 1e3:>13.3f} {seconds / steps:>10.2f} {part / steps:>12.2f}"
                print(f"{samples:>8} {threads:>8} {precision:>10} {cells}", flush=True)


def sampler(run: Search) -> Callable[[], object]:
    """The call that draws and simulates."""
    return lambda: run.engine.sample(run.proposal, run.population, 0)


@numba.njit(nogil=True)
def draw(normal, key, uniform, parameters):
    """Draw the noise of all blocks."""
    for block in range(parameters.shape[0]):
        random.draw_normal(normal, block * parameters.shape[2], 0, key, uniform, parameters[block])


def part_rows() -> None:
    """Print the time of the parts of an iteration of 1,024 samples in one thread."""
    samples = 1024
    _, run = prepare(samples, 1)
    run.advance()
    engine, population = run.engine, run.population
    functions, data, work = engine.functions, engine.data, engine.make_work(population.parameters.shape[1])
    blocks, sums = len(population.merits), np.zeros(population.parameters.shape[1:])
    parts: dict[str, Callable[[], object]] = {
        "noise": lambda: draw(functions.normal, data.key, work.uniform, population.parameters),
        "noise and rollouts": lambda: sampling.sample_blocks(
            functions, data, run.proposal, engine.penalty, population, 0, blocks, 0, work
        ),
        "weights": lambda: run.update.weigh(functions, population, run.proposal),
        "mean": lambda: weights.weighted_mean(population, sums, run.plan),
    }
    print(f"\n{'part (1,024 samples, one thread)':<34} {'us':>8} {'ns a number or step':>20}")
    for name, call in parts.items():
        seconds = median_time(call)
        print(f"{name:<34} {seconds * 1e6:>8.1f} {seconds / samples / STEPS * 1e9:>20.2f}", flush=True)


def pytorch_row() -> None:
    """Print the time of pytorch-mppi's command, if it is installed."""
    if importlib.util.find_spec("pytorch_mppi") is None:
        print("\npytorch-mppi is not installed")
        return
    import pytorch_mppi  # noqa: PLC0415 - optional
    import torch  # noqa: PLC0415 - optional

    def dynamics(state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        velocity, rate = state[:, 2], state[:, 3]
        sine, cosine = torch.sin(state[:, 1]), torch.cos(state[:, 1])
        push = action[:, 0] + 0.1 * rate**2 * sine
        acceleration = (push + 1.962 * cosine * sine) / (1.0 + 0.2 * sine**2)
        angular = -(cosine * acceleration + 9.81 * sine) / 0.5
        return state + 0.1 * torch.stack([velocity, rate, acceleration, angular], dim=1)

    def cost(state: torch.Tensor, action: torch.Tensor) -> torch.Tensor:
        return 0.01 * (state**2).sum(dim=1) + 0.1 * action[:, 0] ** 2

    for samples in (1024, 10240):
        planner = pytorch_mppi.MPPI(
            dynamics, cost, nx=4, noise_sigma=torch.eye(1), num_samples=samples, horizon=STEPS,
            u_min=torch.tensor([-3.0]), u_max=torch.tensor([3.0]),
        )  # fmt: skip
        state = np.zeros(4, np.float32)
        seconds = median_time(lambda planner=planner, state=state: planner.command(state), 30)
        print(f"pytorch-mppi, {samples} samples: {seconds * 1e3:.2f} ms")


CELL, SQUARES = 0.1, (((8.0, 8.0), 0.4), ((4.0, 6.0), 0.5), ((6.0, 5.0), 0.3))
"""Cost map of the diff-drive benchmark: size of a cell, and corner and width of the squares of value 250, in metres."""


def texture(place: Any) -> Any:
    """The cost map read bilinearly at (x, y).

    A table that is a product of a row and a column is read by two linear interpolations, exactly. A square is such a
    product, and the squares are apart.
    """

    def ramp(along: Any, first: float, width: float) -> Any:
        cells = [first - CELL, first, first + width, first + width + CELL]
        return np.interp(along, cells, [0.0, 1.0, 1.0, 0.0])

    return sum(250.0 * ramp(place[0], a, width) * ramp(place[1], b, width) for (a, b), width in SQUARES)


def obstacle(value: Any) -> Any:
    """Cost of a value of the map: nothing, falling with the distance that the value stands for, or lethal."""
    distance = (np.log(253.0) - np.log(np.maximum(value, 1.0))) / 10.0
    near = np.where(distance < 0.5, 20.0 * (0.5 - distance), 0.0)
    return np.where(value < 1.0, 0.0, np.where(value > 200.0, 1000.0, near))


def diff_drive() -> to.Problem:
    """The benchmark of MPPI-Generic: wheel speeds of a robot among three squares of a cost map, 100 Euler steps.

    Forms of dynamics and cost are those of the published kernel (comparison_cost.cu), the crash flag is a state.
    """

    def step(x: Any, u: Any) -> Any:
        forwards, turn = 0.5 * (u[0] + u[1]), u[0] - u[1]
        crashed = np.maximum(x[3], np.where(texture(x) > 200.0, 1.0, 0.0))
        moved = x[:3] + 0.02 * np.array([forwards * np.cos(x[2]), forwards * np.sin(x[2]), turn])
        return np.array([moved[0], moved[1], moved[2], crashed])

    def cost(x: Any, u: Any) -> Any:
        away = np.sqrt((x[0] - 10.0) ** 2 + (x[1] - 10.0) ** 2)
        return obstacle(texture(x)) + 1000.0 * x[3] + 5.0 * away + 5.0 * np.abs(x[2])

    return to.Problem(
        to.DiscreteDynamics(step, states=["x", "y", "yaw", "crashed"], controls=["right", "left"]),
        stage_cost=cost,
        initial_state=[1.0, 1.0, 0.0, 0.0],
        constraints=[to.Bounds(control=(-0.35, 0.5))],
        horizon=to.Horizon(steps=100),
    )


def diff_drive_rows() -> None:
    """Print ticks and simulated steps a second of the diff-drive benchmark, in one thread and in two."""
    problem = diff_drive()
    print(f"\n{'diff-drive samples':>18} {'threads':>8} {'precision':>10} {'tick ms':>9} {'1e6 steps/s a core':>19}")
    for samples in (1024, 2048, 8192, 16384):
        for threads in (1, 2):
            settings = MPPI(samples=samples, threads=threads, sigma=0.2, temperature=1.0)
            solvers = [replace(settings, precision=precision) for precision in PRECISIONS]
            runs = [Search(solver, problem, make_guess(problem, None)) for solver in solvers]
            with runs[0].engine.open(), runs[1].engine.open():
                ticks = alternating_times([run.advance for run in runs], 30)
            for precision, seconds in zip(PRECISIONS, ticks, strict=True):
                rate = samples * 100 / seconds / threads * 1e-6
                print(f"{samples:>18} {threads:>8} {precision:>10} {seconds * 1e3:>9.3f} {rate:>19.1f}", flush=True)


def tick_row() -> None:
    """Print the time of a whole solve of one iteration, as a controller asks for at every tick."""
    problem = problems.load("cartpole", steps=STEPS)
    solver, guess = MPPI(samples=1024, iterations=1, threads=1), make_guess(problem, None)
    memory = solver.run(problem, guess, Monitor()).memory
    seconds = median_time(lambda: solver.resume(problem, guess, Monitor(), memory))
    print(f"\nsolve of one iteration, 1,024 samples: {seconds * 1e3:.3f} ms")


if __name__ == "__main__":
    iteration_rows()
    tick_row()
    part_rows()
    diff_drive_rows()
    pytorch_row()
