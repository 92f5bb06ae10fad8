"""Half-cheetah, control steps a second: threaded rollouts against a loop over Gymnasium's ``env.step``.

Run with ``python -m bench.simulators``. A control step is five physics steps. All take the same controls; the loop
resets its environment once for each rollout, which is not timed. The order of what is measured alternates, and medians
count. Steps per second of processor time tell what a core does where others use the machine as well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import gymnasium
import numpy as np

import trajopt as to
from trajopt import problems
from trajopt.simulators.mujoco_rollout import silent_warnings

ROLLOUTS, STEPS, ROUNDS = 128, 50, 7


def timed(call: Callable[[], object]) -> np.ndarray:
    """Seconds of a call by the wall clock, and of processor time in all threads, (2,)."""
    begin = time.perf_counter(), time.process_time()
    call()
    return np.array([time.perf_counter() - begin[0], time.process_time() - begin[1]])


def main() -> None:
    """Measure and print."""
    problem = problems.load("half-cheetah", steps=STEPS)
    rng = np.random.default_rng(0)
    controls = rng.uniform(-1.0, 1.0, (ROLLOUTS, STEPS, problem.nu))
    starts = np.tile(problem.initial_values, (ROLLOUTS, 1))
    with silent_warnings():
        env = gymnasium.make("HalfCheetah-v5", disable_env_checker=True, max_episode_steps=STEPS + 1)
    wrapped = to.GymnasiumDynamics(env)

    def loop(count: int) -> np.ndarray:
        seconds = np.zeros(2)
        for row in controls[:count]:
            env.reset(seed=0)
            seconds += timed(lambda row=row: [env.step(control) for control in row])
        return seconds

    def threaded(threads: int) -> Callable[[], np.ndarray]:
        dynamics = to.MuJoCoDynamics(problem.dynamics.model, frame_skip=problem.dynamics.frame_skip, threads=threads)
        return lambda: timed(lambda: dynamics.rollout(starts, controls, 0, None, rng)) / ROLLOUTS

    few, first = ROLLOUTS // 16, wrapped.reset()
    start = np.tile(first, (few, 1))
    ways: dict[str, Callable[[], np.ndarray]] = {
        "env.step in a loop": lambda: loop(few) / few,
        "GymnasiumDynamics": lambda: timed(lambda: wrapped.rollout(start, controls[:few], 0, None, rng)) / few,
    }
    for threads in range(1, (os.cpu_count() or 1) + 1):
        ways[f"MuJoCoDynamics, {threads} thread{'s' if threads > 1 else ''}"] = threaded(threads)
    seconds: dict[str, list[np.ndarray]] = {name: [] for name in ways}
    for round_ in range(ROUNDS):
        for name in list(ways)[:: 1 if round_ % 2 else -1]:
            seconds[name].append(ways[name]())
    rates = {name: STEPS / np.median(values, axis=0) for name, values in seconds.items()}
    print(f"{'steps per second of':<28} {'wall clock':>12} {'processor':>12} {'by the loop':>12}")
    for name, (wall, processor) in rates.items():
        print(f"{name:<28} {wall:>12,.0f} {processor:>12,.0f} {wall / rates['env.step in a loop'][0]:>11.1f}x")


if __name__ == "__main__":
    main()
