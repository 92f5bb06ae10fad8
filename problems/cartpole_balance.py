"""Cart-pole balancing: keep a pole upright for as long as it goes, the first task of mbrl-lib.

States: position [m], velocity, angle [rad] (0 upright) and rate, in Gymnasium's order; control: the force on the cart
in units of 10 N, at most 1. Explicit Euler steps of 0.02 s. With s and c sine and cosine of the angle, f the force,
m the mass of the pole, l half its length and M the mass of both,

    a = (f + m l rate^2 s) / M,    rate' = (g s - c a) / (l (4/3 - m c^2 / M)),    velocity' = a - m l rate' c / M.

Every step is worth 1, so that the return of an episode is its length. Position and angle have bounds of 2.4 m and 12
degrees; an agent's episode ends where the state leaves them (``PETS(problem, termination="bounds")``), and begins at
`random_start`. Planning is easy: from any such start 200 steps can be stayed inside.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.drawing import Drawing, Line, Primitive, box, ground, rod
from trajopt.problems.reference import Entry, Reference

STATES = ("position", "velocity", "angle", "rate")
START = 0.05
"""Episodes begin with every state uniform between minus this and this."""
_RAIL, _ANGLE = 2.4, np.deg2rad(12.0)


def random_start(generator: np.random.Generator) -> Any:
    """Draw the state in which an episode begins, (4,)."""
    return generator.uniform(-START, START, size=4)


def build(
    *, cart_mass: float = 1.0, pole_mass: float = 0.1, half_length: float = 0.5, gravity: float = 9.8,
    force: float = 10.0, timestep: float = 0.02, steps: int = 200,
) -> to.Problem:  # fmt: skip
    """Balance from a corner of the box of starts."""
    mass, moment = cart_mass + pole_mass, pole_mass * half_length

    def step(x: Any, u: Any) -> Any:
        _, velocity, angle, rate = x
        sine, cosine = np.sin(angle), np.cos(angle)
        push = (force * u[0] + moment * rate**2 * sine) / mass
        angular = (gravity * sine - cosine * push) / (half_length * (4.0 / 3.0 - pole_mass * cosine**2 / mass))
        acceleration = push - moment * angular * cosine / mass
        return x + timestep * np.array([velocity, acceleration, rate, angular])

    return to.Problem(
        to.DiscreteDynamics(step, states=STATES, controls=("force",)),
        stage_cost=lambda x, u: -1.0,
        initial_state=np.full(4, START),
        constraints=[
            to.Bounds(control=(-1.0, 1.0), state=([-_RAIL, None, -_ANGLE, None], [_RAIL, None, _ANGLE, None])),
        ],
        horizon=to.Horizon(steps=steps),
        name="cartpole-balance",
    )


def _shape(x: Any, u: Any, t: float) -> list[Primitive]:
    pivot, tip = rod((x[0], 0.0), np.pi / 2.0 - float(x[2]), 1.0)
    return [box(0.4, 0.2, pivot), Line((pivot, tip), "accent")]


ENTRIES = (
    Entry(
        "cartpole-balance",
        build,
        Reference(
            optimum=-200.0,
            digits=12,
            source="mbrl-lib 0.2.0, mbrl/env/cartpole_continuous.py (Pineda et al. 2021); Barto, Sutton, Anderson 1983",
            note="every admissible trajectory is optimal; the cost says nothing of which",
            tags=("discrete", "state-constraint"),
            picture=Drawing(_shape, (ground(-_RAIL, _RAIL, -0.1),), limits=((-2.8, 2.8), (-0.6, 1.6))),
        ),
    ),
)
