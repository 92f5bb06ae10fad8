"""Small problems and solvers that the tests of control loops share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import perf_counter
from typing import ClassVar, final

import numpy as np

import trajopt as to
from trajopt.problem import Feature
from trajopt.solver import Outcome, Solver
from trajopt.solvers import LQR
from trajopt.status import Status

STATE = np.array([[1.0, 0.1, 0.0], [0.05, 1.02, 0.1], [0.0, -0.1, 0.9]])
CONTROL = np.array([[0.0, 0.01], [0.1, 0.0], [0.02, 0.1]])
WEIGHT, EFFORT = np.diag([1.0, 0.5, 0.1]), np.diag([0.3, 0.2])
START = np.array([1.0, -0.5, 0.3])


def regulator(steps=150, **settings):
    """An unstable linear system of three states and two controls with quadratic cost, in discrete time."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: STATE @ x + CONTROL @ u, 3, 2),
        stage_cost=lambda x, u: x @ WEIGHT @ x + u @ EFFORT @ u,
        initial_state=START,
        horizon=to.Horizon(steps=steps),
        **settings,
    )


def pendulum_step(x, u, h=0.05, length=0.5):
    """One semi-implicit Euler step of a damped pendulum; upright at pi."""
    rate = x[1] + h * (4.0 * u[0] - 0.4 * x[1] - 9.81 / length * np.sin(x[0]))
    return np.array([x[0] + h * rate, rate])


def pendulum(steps=50, torque=6.0, dynamics=None, start=(1.5, 0.0)):
    """Lift a pendulum in discrete time under a limited torque: smooth, not convex, solved by every solver."""
    goal = np.array([np.pi, 0.0])
    return to.Problem(
        dynamics or to.DiscreteDynamics(pendulum_step, states=["angle", "rate"], controls=["torque"]),
        stage_cost=lambda x, u: (x - goal) @ (x - goal) + 0.1 * u[0] ** 2,
        terminal_cost=lambda x: 20.0 * (x - goal) @ (x - goal),
        initial_state=start,
        constraints=[to.Bounds(control=(-torque, torque))],
        horizon=to.Horizon(steps=steps),
        name="pendulum",
    )


def cart(steps=40, duration=2.0, **settings):
    """A cart with drag in continuous time, regulated to a target that is a parameter."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: np.array([x[1], u[0] - 0.2 * x[1] * np.abs(x[1])]),
            states=["position", "speed"],
            controls=["force"],
        ),
        stage_cost=lambda x, u, p: (x[0] - p["target"]) ** 2 + 0.1 * x[1] ** 2 + 0.05 * u[0] ** 2,
        terminal_cost=lambda x, p: 5.0 * ((x[0] - p["target"]) ** 2 + x[1] ** 2),
        initial_state=[1.0, 0.0],
        parameters={"target": 0.0},
        constraints=[to.Bounds(control=(-2, 2), state=([-3.0, -1.0], [3.0, 1.0]))],
        horizon=to.Horizon(duration, steps=steps),
        **settings,
    )


@final
@dataclass(frozen=True)
class Broken(Solver):
    """LQR, but for plans that begin at certain times, where it fails in some way."""

    times: tuple[float, ...] = ()
    way: str = "failure"

    handles: ClassVar[frozenset[Feature]] = LQR.handles

    def run(self, problem, guess, monitor):
        """Solve, or fail."""
        found = LQR().run(problem, guess, monitor)
        if guess.t[0] not in self.times:
            return found
        if self.way == "error":
            raise to.InvalidProblem("the solver broke down.")
        if self.way == "nan":  # a solver that does not notice
            return replace(found, trajectory=replace(found.trajectory, u=np.full_like(found.trajectory.u, np.nan)))
        return replace(found, status=Status.NUMERICAL_FAILURE)


@final
@dataclass(frozen=True)
class Endless(Solver):
    """Never converges, and takes a millisecond for an iteration."""

    handles: ClassVar[frozenset[Feature]] = LQR.handles | {Feature.CONTROL_BOUNDS}

    def run(self, problem, guess, monitor):
        """Iterate until the monitor says stop."""

        def step():
            begin = perf_counter()
            while perf_counter() - begin < 1e-3:
                pass
            return None, {"cost": 1.0}

        status = monitor.run(step, 5)
        return Outcome(status, replace(guess, u=guess.held()), 1.0, len(monitor.history))


@final
@dataclass(frozen=True)
class Sweep(Solver):
    """The best of a grid of constant controls over any dynamics that step a batch."""

    handles: ClassVar[frozenset[Feature]] = LQR.handles | {Feature.CONTROL_BOUNDS, Feature.BLACK_BOX}

    def run(self, problem, guess, monitor):
        """Roll all of them out and take the cheapest."""
        levels, steps = np.linspace(*problem.control_bounds[:, 0], 81), problem.horizon.steps
        controls = np.broadcast_to(levels[:, None, None], (81, steps, 1))
        start = np.broadcast_to(problem.initial_values, (81, problem.nx))
        states = problem.dynamics.rollout(start, controls, guess.t[0], {}, np.random.default_rng(0))
        costs = [sum(problem.stage_cost(x, u) for x, u in zip(states[k], controls[k], strict=False)) for k in range(81)]
        best = int(np.argmin(costs))
        monitor.observe(costs[best])
        trajectory = replace(guess, x=states[best].copy(), u=controls[best].copy())
        return Outcome(Status.SOLVED, trajectory, float(costs[best]), 1)
