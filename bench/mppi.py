"""MPPI: milliseconds an iteration and nanoseconds a simulated step, for each part and number of threads.

Run with ``python bench/mppi.py``. The problem is a cart-pole with 50 steps of RK4. An iteration draws the noise,
simulates, weighs and averages the samples, and simulates the new plan. With the package pytorch-mppi installed its
``command`` on the same dynamics (Euler, a quarter of the work) is timed beside it.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.solvers import mppi
from trajopt.solvers.kernels import random, sampling
from trajopt.solvers.mppi import MPPI

STEPS = 50


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


def prepare(samples: int, threads: int) -> tuple[to.Problem, Any]:
    """A run of MPPI on the cart-pole, before its first iteration."""
    problem = problems.load("cartpole", steps=STEPS)
    return problem, mppi._Run(MPPI(samples=samples, threads=threads), problem, make_guess(problem, None))


def iteration_rows() -> None:
    """Print the time of whole iterations."""
    print(f"{'samples':>8} {'threads':>8} {'iteration ms':>13} {'ns a step':>10}")
    for samples in (256, 1024, 4096, 16384):
        for threads in range(1, (os.cpu_count() or 1) + 1):
            _, run = prepare(samples, threads)
            with run.open_threads():
                seconds = median_time(run.advance)
            step = seconds / samples / STEPS
            print(f"{samples:>8} {threads:>8} {seconds * 1e3:>13.3f} {step * 1e9:>10.2f}", flush=True)


@numba.njit(nogil=True)
def draw(normal, key, uniform, controls):
    """Draw the noise of all blocks."""
    for block in range(controls.shape[0]):
        random.draw_normal(normal, block * controls.shape[2], 0, key, uniform, controls[block])


def part_rows() -> None:
    """Print the time of the parts of an iteration of 1,024 samples in one thread."""
    samples = 1024
    _, run = prepare(samples, 1)
    data, population, work = run.data, run.population, run.work[0]
    blocks = len(population.merits)

    parts: dict[str, Callable[[], object]] = {
        "noise": lambda: draw(run.functions.normal, data.key, work.uniform, population.controls),
        "noise and rollouts": lambda: sampling.sample_blocks(
            run.functions, data, run.proposal, run.penalty, population, 0, blocks, 0, work
        ),
        "weights": run.weigh,
        "mean": lambda: sampling.weighted_mean(population, run.sums, run.candidate.u),
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

    planner = pytorch_mppi.MPPI(
        dynamics, cost, nx=4, noise_sigma=torch.eye(1), num_samples=1024, horizon=STEPS,
        u_min=torch.tensor([-3.0]), u_max=torch.tensor([3.0]),
    )  # fmt: skip
    state = np.zeros(4, np.float32)
    print(f"\npytorch-mppi, 1,024 samples: {median_time(lambda: planner.command(state), 30) * 1e3:.2f} ms")


if __name__ == "__main__":
    iteration_rows()
    part_rows()
    pytorch_row()
