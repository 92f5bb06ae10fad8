"""The suite's own problems: one plant, a damped pendulum, and one feature of the language at a time.

Every number is a multiple of a power of two, so that scaled and shifted variants are exact. In discrete time the plant
is its own Euler step, which every solver then treats as exact: answers agree to their tolerances and not to O(h^p).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from trajopt.batch_dynamics import BlackBoxDynamics
from trajopt.constraints import (
    BoundaryConstraint,
    Bounds,
    Choices,
    IntegralConstraint,
    PathConstraint,
    TerminalConstraint,
)
from trajopt.dynamics import ContinuousDynamics, DiscreteDynamics
from trajopt.horizon import Free, Horizon
from trajopt.problem import Problem

STEP: Final = 2.0**-3
STEPS: Final = 30
DURATION: Final = STEP * STEPS
FINE: Final = 60
"""Steps in continuous time, where the certificate looks between the knots and three digits are asked for."""
STATES: Final = ("angle", "rate")
TORQUE_WEIGHT: Final = 0.125
"""Of u^2 in the cost rate: twice of it, times the step, is the least curvature of the cost in a held control."""

CURVATURE: Final = 2.0 * TORQUE_WEIGHT * DURATION / FINE

TORQUE: Final = Bounds(control=(-0.75, 0.75))
"""Active on the way to 1 rad."""


def small_torque() -> Bounds:
    """Far below what the answer would use."""
    return Bounds(control=(-0.125, 0.125))


def rate_of_change(x: Any, u: Any) -> Any:
    """x' of a damped pendulum under a torque."""
    return np.array([x[1], u[0] - np.sin(x[0]) - 0.125 * x[1]])


def cost_rate(x: Any, u: Any) -> Any:
    """Distance from an angle of 1 rad at rest, and effort."""
    return (x[0] - 1.0) ** 2 + 0.25 * x[1] ** 2 + TORQUE_WEIGHT * u[0] ** 2


def end_cost(x: Any) -> Any:
    """The same at the end."""
    return 4.0 * (x[0] - 1.0) ** 2 + x[1] ** 2


def linear_rate(x: Any, u: Any) -> Any:
    """x' of a damped double integrator."""
    return np.array([x[1], u[0] - 0.125 * x[1]])


def problem(
    name: str,
    discrete: bool,
    *,
    rate: Callable[..., Any] = rate_of_change,
    cost: Callable[..., Any] = cost_rate,
    end: Callable[..., Any] | None = end_cost,
    initial_state: Sequence[float | None] = (0.0, 0.0),
    horizon: Horizon | None = None,
    **options: Any,
) -> Problem:
    """A problem of a rate of change and a cost rate, in continuous time or as its Euler steps."""
    if discrete:
        dynamics = DiscreteDynamics(lambda x, u: x + STEP * rate(x, u), states=STATES, controls=["torque"])
        stage = lambda x, u: STEP * cost(x, u)  # noqa: E731 - beside its twin
    else:
        dynamics = ContinuousDynamics(rate, states=STATES, controls=["torque"])
        stage = cost
    span = horizon or (Horizon(steps=STEPS) if discrete else Horizon(DURATION, steps=FINE))
    return Problem(dynamics, stage, end, initial_state=initial_state, horizon=span, name=name, **options)


@lru_cache(maxsize=2)
def standard_problems(discrete: bool) -> tuple[Problem, ...]:
    """One problem for each feature of the language, cheap and with one local optimum nearby."""
    return (
        problem("linear-quadratic", discrete, rate=linear_rate),
        problem("linear-quadratic, free initial rate", discrete, rate=linear_rate, initial_state=(0.0, None)),
        problem("pendulum", discrete),
        problem("limited torque", discrete, constraints=[TORQUE]),
        problem("torque on or off", discrete, constraints=[Choices([-0.75, 0.0, 0.75])]),
        problem("limited rate", discrete, constraints=[Bounds(state=(None, [None, 0.5]))]),
        problem("path", discrete, constraints=[PathConstraint(lambda x, u: x[1] + 0.25 * x[0], upper=0.625)]),
        problem("target", discrete, end=None, constraints=[TerminalConstraint([1.0, 0.0])]),
        problem(
            "periodic", discrete, end=None, initial_state=(None, 0.5),
            constraints=[BoundaryConstraint(lambda x0, xf: xf - x0)],
        ),
        problem("limited energy", discrete, constraints=[IntegralConstraint(_energy(discrete), -np.inf, 0.5)]),
        *([_black_box(), _noisy()] if discrete else [_free_duration(), _free_start()]),
        _free_parameter(discrete),
    )  # fmt: skip


def _energy(discrete: bool) -> Callable[..., Any]:
    weight = STEP if discrete else 1.0
    return lambda x, u: weight * u[0] ** 2


def _free_duration() -> Problem:
    return problem(
        "free duration", False, cost=lambda x, u: 0.25 + TORQUE_WEIGHT * u[0] ** 2, end=None,
        constraints=[TerminalConstraint([1.0, 0.0])], horizon=Horizon(Free(1.0, 8.0, guess=DURATION), steps=FINE),
    )  # fmt: skip


def _free_start() -> Problem:
    return Problem(
        ContinuousDynamics(lambda x, u, t: rate_of_change(x, u) + np.array([0.0, 0.125 * t]), states=STATES,
                           controls=["torque"]),
        cost_rate,
        lambda x, t: end_cost(x) + (t - DURATION - 0.5) ** 2,
        initial_state=(0.0, 0.0),
        horizon=Horizon(DURATION, steps=FINE, start=Free(0.0, 2.0, guess=0.25)),
        name="free start",
    )  # fmt: skip


def _free_parameter(discrete: bool) -> Problem:
    def rate(x: Any, u: Any, p: Any) -> Any:
        return np.array([x[1], u[0] - p.stiffness * np.sin(x[0]) - 0.125 * x[1]])

    def end(x: Any, p: Any) -> Any:
        return end_cost(x) + (p.stiffness - 1.0) ** 2

    parameters = {"stiffness": Free(0.25, 2.0, guess=1.0)}
    if not discrete:
        dynamics = ContinuousDynamics(rate, states=STATES, controls=["torque"])
        return Problem(dynamics, cost_rate, end, initial_state=(0.0, 0.0), parameters=parameters,
                       horizon=Horizon(DURATION, steps=FINE), name="free stiffness")  # fmt: skip
    stepped = DiscreteDynamics(lambda x, u, p: x + STEP * rate(x, u, p), states=STATES, controls=["torque"])
    return Problem(stepped, lambda x, u: STEP * cost_rate(x, u), end, initial_state=(0.0, 0.0),
                   parameters=parameters, horizon=Horizon(steps=STEPS), name="free stiffness")  # fmt: skip


def euler_step(x: Any, u: Any) -> Any:
    """A step of the pendulum for a batch, (K, 2) and (K, 1)."""
    acceleration = u[:, 0] - np.sin(x[:, 0]) - 0.125 * x[:, 1]
    return x + STEP * np.stack([x[:, 1], acceleration], axis=1)


def _black_box() -> Problem:
    return Problem(
        BlackBoxDynamics(euler_step, states=STATES, controls=["torque"]), lambda x, u: STEP * cost_rate(x, u), end_cost,
        initial_state=(0.0, 0.0), constraints=[TORQUE], horizon=Horizon(steps=STEPS),
        name="black box",
    )  # fmt: skip


def _noisy() -> Problem:
    def step(x: Any, u: Any, rng: np.random.Generator) -> Any:
        return euler_step(x, u) + 2.0**-7 * rng.normal(size=x.shape)

    return Problem(
        BlackBoxDynamics(step, states=STATES, controls=["torque"]), lambda x, u: STEP * cost_rate(x, u), end_cost,
        initial_state=(0.0, 0.0), constraints=[TORQUE], horizon=Horizon(steps=STEPS),
        name="noisy black box",
    )  # fmt: skip
