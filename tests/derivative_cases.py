"""Problems whose solutions are differentiated, and central differences of re-solves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import trajopt as to

STEP = 1e-4
"""Of the differences: their truncation is 1e-8 times a third derivative."""

TRUNCATION = 1e-6
"""That, for third derivatives up to a hundred."""


def pendulum(x, u, p):
    return np.array([x[1], (u[0] - p.damping * x[1]) / p.mass - np.sin(x[0]) * p.weights[0]])


def swing(**changes: Any) -> to.Problem:
    """A pendulum that is pulled up, by a torque that costs: smooth and without constraints."""
    settings: dict[str, Any] = {
        "dynamics": to.ContinuousDynamics(pendulum, states=["angle", "rate"], controls=["torque"]),
        "stage_cost": lambda x, u, p: p.weights[1] * u[0] ** 2 + 0.3 * (x[0] - 1.0) ** 2,
        "terminal_cost": lambda x, p: p.mass * ((x[0] - 2.0) ** 2 + x[1] ** 2),
        "initial_state": [0.2, 0.1],
        "horizon": to.Horizon(3.0, steps=15),
        "parameters": {"mass": 1.2, "damping": 0.1, "weights": [1.0, 0.5]},
    }
    return to.Problem(**(settings | changes))


def in_time(**changes: Any) -> to.Problem:
    """The shortest way to a target, with a price on the torque."""
    settings: dict[str, Any] = {
        "stage_cost": lambda x, u: 1.0 + 0.1 * u[0] ** 2,
        "terminal_cost": None,
        "constraints": [to.Bounds(control=(-2.0, 2.0)), to.TerminalConstraint([2.0, 0.0])],
        "horizon": to.Horizon(to.Free(0.5, 10.0, guess=3.0), steps=15),
    }
    return swing(**(settings | changes))


def population(**changes: Any) -> to.Problem:
    """Discrete time, with a parameter that the solver chooses."""
    settings: dict[str, Any] = {
        "dynamics": to.DiscreteDynamics(lambda x, u, p: x + 0.1 * x * (p.growth - x) - 0.1 * u + 0.05 * p.feed, 1, 1),
        "stage_cost": lambda x, u, p: (u[0] - 0.4) ** 2 + p.price * (x[0] - 1.0) ** 2 + 0.02 * p.feed**2,
        "initial_state": [0.6],
        "constraints": [to.Bounds(control=(0.0, 0.38)), to.TerminalConstraint(lambda x: x[0], 1.15, np.inf)],
        "horizon": to.Horizon(steps=12),
        "parameters": {"growth": 1.3, "price": 0.7, "feed": to.Free(-1.0, 1.0)},
    }
    return to.Problem(**(settings | changes))


CASES = {
    "smooth": swing(),
    "bounds": swing(constraints=[to.Bounds(control=(-0.8, 0.8))]),
    "rows": swing(
        constraints=[
            to.Bounds(control=(-3.0, 3.0), state=([None, None], [None, 0.55])),
            to.TerminalConstraint([1.5, 0.0]),
            to.PathConstraint(lambda x, u: u[0] + 0.5 * x[0], upper=1.5, name="torque"),
        ]
    ),
    "time": in_time(),
    "bang": in_time(stage_cost=lambda x, u: 1.0),
    "periodic": swing(
        terminal_cost=None,
        initial_state=[None, 0.4],
        horizon=to.Horizon(6.3, steps=15),
        constraints=[
            to.BoundaryConstraint(lambda x0, xf: xf - x0),
            to.IntegralConstraint(lambda x, u: u[0] ** 2, 0.0, 0.05, name="effort"),
        ],
    ),
    "discrete": population(),
}


@dataclass(frozen=True)
class Differences:
    """Central differences of the raw answers of a solver."""

    x: Any
    u: Any
    cost: Any
    final_time: Any


def vary(problem: to.Problem, name: str, index: tuple[int, ...], change: float) -> to.Problem:
    """The problem with one entry of one input changed."""
    if name == "initial_state":
        state = list(problem.initial_state or ())
        state[index[0]] += change  # type: ignore[operator]
        return problem.at(initial_state=state)  # type: ignore[arg-type]
    value = np.array(problem.parameters[name], float)  # type: ignore[index]
    value[index] += change
    return problem.at(parameters={name: value})


def central_differences(problem: to.Problem, solver: Any, guess: Any, name: str, index: tuple[int, ...]) -> Differences:
    ahead, behind = (
        to.solve(vary(problem, name, index, side * STEP), solver, guess=guess, raise_on_failure=True)
        for side in (1.0, -1.0)
    )
    values = ((one.x, one.u, one.cost, one.t[-1]) for one in (ahead, behind))
    return Differences(*((plus - minus) / (2.0 * STEP) for plus, minus in zip(*values, strict=True)))


def inputs(derivatives: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Every entry of everything that can be varied, but for free entries of the initial state."""
    problem = derivatives.solution.problem
    found = []
    for name, gradient in derivatives.cost.items():
        for index in np.ndindex(gradient.shape):
            if name != "initial_state" or problem.initial_state[index[0]] is not None:
                found.append((name, index))
    return found
