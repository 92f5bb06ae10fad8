"""Solutions made by hand and a tiny solver, so that tests of views depend on no real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

import trajopt as to
from trajopt.monitor import Iteration, Monitor
from trajopt.problem import Feature
from trajopt.solver import Outcome, Solver
from trajopt.trajectory import Interpolation, Pieces, Trajectory


def slide(name="slide", steps=8, weight=1.0):
    """A mass pushed along a line for two seconds, |push| <= 2, position <= 5, with one path constraint."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), states=["position", "speed"], controls=["push"]),
        stage_cost=lambda x, u, p: p.weight * u[0] ** 2,
        initial_state=[0.0, 0.0],
        constraints=[
            to.Bounds(control=(-2.0, 2.0), state=([None, None], [5.0, None])),
            to.PathConstraint(lambda x, u: x[1], upper=3.0, name="limit"),
        ],
        horizon=to.Horizon(2.0, steps=steps),
        parameters={"weight": weight},
        name=name,
    )


@final
@dataclass(frozen=True)
class Steady(Solver):
    """Pushes the mass of `slide` constantly, which its states follow exactly; it calls that solved if asked to."""

    push: float = 1.0
    succeed: bool = True
    interrupt: bool = False
    handles: ClassVar[frozenset[Feature]] = frozenset(Feature) - {Feature.DISCRETE_TIME, Feature.FREE_DURATION}
    preference: ClassVar[int] = 1000

    def run(self, problem, guess, monitor: Monitor) -> Outcome:
        t = guess.t
        x = np.stack([0.5 * self.push * t**2, self.push * t], axis=1)
        trajectory = Trajectory(t, x, np.full((len(t) - 1, 1), self.push), Interpolation.HOLD, None, guess.parameters)
        cost = float(guess.parameters["weight"]) * self.push**2 * float(t[-1])
        for k in range(3):
            monitor.observe(cost * (4.0 - k), violation=10.0**-k)
        if self.interrupt:
            return Outcome(to.Status.INTERRUPTED, trajectory, cost, 3)
        return Outcome(to.Status.SOLVED if self.succeed else to.Status.STALLED, trajectory, cost, 3)


def chain(nx, steps, interpolation=Interpolation.HOLD, states=None, nu=1, seed=0):
    """A solution of nx decaying states and nu random controls; its numbers need not obey anything."""
    generator = np.random.default_rng(seed)
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: -x + u[0], nx=None if states else nx, nu=nu, states=states),
        stage_cost=lambda x, u: x @ x,
        initial_state=np.ones(nx),
        constraints=[to.Bounds(control=(-1.5, 1.5))],
        horizon=to.Horizon(3.0, steps=steps),
        name="chain",
    )
    t = problem.horizon.knots()
    rows = steps if interpolation is Interpolation.HOLD else steps + 1
    middle = generator.uniform(-1, 1, (steps, nu)) if interpolation is Interpolation.QUADRATIC else None
    x = np.exp(-t)[:, None] * np.linspace(1.0, 2.0, nx)
    pieces = None
    if interpolation is Interpolation.POLYNOMIAL:
        pieces = Pieces(generator.uniform(-1, 1, (steps, 4, nu)), np.stack([x[:-1], x[1:]], axis=1))
    trajectory = Trajectory(t, x, generator.uniform(-1, 1, (rows, nu)), interpolation, middle, {}, pieces=pieces)
    return solution_of(problem, trajectory)


def solution_of(problem, trajectory, costs=(3.0, 2.0, 1.5), status=to.Status.SOLVED):
    """A solution with a history of the given costs."""
    history = tuple(Iteration(k, cost, 10.0**-k, 0.1**k, 1.0, 0.01 * (k + 1)) for k, cost in enumerate(costs))
    cost = costs[-1] if costs else float("nan")
    return to.Solution(problem, "Handmade(setting=1)", status, trajectory, cost, len(costs), history, 0.05)
