"""``pytorch_mppi.MPPI`` as an open-loop planner: one call of ``command`` an iteration, without a shift.

It evaluates its running cost at the state *after* the step; the cost of a step therefore rides along as one more state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch
from pytorch_mppi import MPPI

from bench.discretisation import Array, Discretisation
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import Claim, Outcome, Solver
from trajopt.trajectory import Interpolation, Trajectory


@final
@dataclass(frozen=True)
class PytorchMPPI(Solver):
    """Settings are those of `pytorch_mppi.MPPI`; ``noise`` is a standard deviation. It knows of no convergence.

    Temperature and noise are chosen for the suite's costs, which are about one; see the page for what others do.

    It has no generator of its own: the seed goes to PyTorch's global one, which is put back afterwards.
    """

    samples: int = 64
    iterations: int = 40
    temperature: float = 0.01
    noise: float = 0.5
    seed: int = 0

    handles: ClassVar[frozenset[Feature]] = frozenset(
        {Feature.CONTINUOUS_TIME, Feature.DISCRETE_TIME, Feature.CONTROL_BOUNDS}
    )
    claims: ClassVar[frozenset[Claim]] = frozenset()

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Improve the nominal controls, and return them as the library has them."""
        shape = Discretisation(problem)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            planner = self.prepare(shape, np.clip(guess.held(), *problem.control_bounds))
            start = torch.as_tensor(np.append(problem.initial_values, 0.0))
            stop = monitor.observe(rollout(shape, planner.U.numpy())[1])

            def improve() -> tuple[None, dict[str, float]]:
                planner.command(start, shift_nominal_trajectory=False)
                return None, {"cost": rollout(shape, planner.U.numpy())[1]}

            status = stop or monitor.run(improve, self.iterations)
        controls = planner.U.numpy().copy()
        states, cost = rollout(shape, controls)
        answer = Trajectory(shape.times, states, controls, Interpolation.HOLD)
        return Outcome(status, answer, cost, len(monitor.history) - 1)

    def prepare(self, shape: Discretisation, controls: Array) -> MPPI:
        """The planner of a problem, with these nominal controls."""
        problem, several = shape.problem, shape.step.map(self.samples)

        def step(x: torch.Tensor, u: torch.Tensor, k: Any) -> torch.Tensor:
            t = shape.times[int(k)]
            h = shape.times[int(k) + 1] - t
            following, cost = several(x.numpy()[:, :-1].T, u.numpy().T, t, h)
            return torch.as_tensor(np.hstack([following.full().T, cost.full().T]))

        ends = shape.end.map(self.samples)
        low, high = (torch.as_tensor(limit) for limit in problem.control_bounds)
        return MPPI(
            step, lambda x, u, k: x[:, -1], problem.nx + 1, self.noise**2 * torch.eye(problem.nu, dtype=torch.float64),
            num_samples=self.samples, horizon=shape.steps, lambda_=self.temperature, u_min=low, u_max=high,
            U_init=torch.as_tensor(controls), step_dependent_dynamics=True,
            terminal_state_cost=lambda x, u: torch.as_tensor(ends(x[0, :, -1, :-1].numpy().T)[0].full().ravel()),
        )  # fmt: skip


def rollout(shape: Discretisation, controls: Array) -> tuple[Array, float]:
    """States and cost of controls (N, nu)."""
    states, total = [shape.problem.initial_values], 0.0
    for k, u in enumerate(controls):
        following, cost = shape.step(states[-1], u, shape.times[k], shape.times[k + 1] - shape.times[k])
        states.append(following.full().ravel())
        total += float(cost)
    return np.array(states), total + float(shape.end(states[-1])[0])
