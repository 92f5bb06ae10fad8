"""Cart-pole: swing up a pole by pushing the cart that carries its pivot.

States: position p of the cart [m], angle theta of the pole [rad], 0 hanging and pi upright, anticlockwise positive,
and their rates; control: force u on the cart [N]. The pole is a point mass m_p at the distance l:

    (m_c + m_p) p'' + m_p l cos(theta) theta'' = u + m_p l sin(theta) theta'^2
    m_p l cos(theta) p'' + m_p l^2 theta'' = -m_p g l sin(theta)

``cartpole`` is the problem of the ALTRO test-suite: quadratic cost, |u| <= 3, 5 s, to (0, pi, 0, 0).
``cartpole-swingup`` is Kelly's: minimise int u^2 dt with |u| <= 20, |p| <= 2, in 2 s, to (1, pi, 0, 0).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail, box, ground, rod
from trajopt.problems.reference import Entry, Reference

STATES = ("position", "angle", "velocity", "rate")
CONTROLS = ("force",)


def cartpole(
    x: Any, u: Any, *, cart_mass: float = 1.0, pole_mass: float = 0.2, length: float = 0.5, gravity: float = 9.81
) -> Any:
    """Time derivative of (position, angle, velocity, rate)."""
    velocity, rate = x[2], x[3]
    sine, cosine = np.sin(x[1]), np.cos(x[1])
    push = u[0] + pole_mass * length * rate**2 * sine
    acceleration = (push + pole_mass * gravity * cosine * sine) / (cart_mass + pole_mass * sine**2)
    angular = -(cosine * acceleration + gravity * sine) / length
    return np.array([velocity, rate, acceleration, angular])


def build(
    *, cart_mass: float = 1.0, pole_mass: float = 0.2, length: float = 0.5, gravity: float = 9.81, force: float = 3.0,
    duration: float = 5.0, state_weight: float = 1e-2, control_weight: float = 1e-1, terminal_weight: float = 100.0,
    steps: int = 100,
) -> to.Problem:  # fmt: skip
    """Swing up with quadratic cost and little force."""
    goal = np.array([0.0, np.pi, 0.0, 0.0])
    times = np.linspace(0.0, duration, 41)
    way = times / duration
    swinging = np.pi * way**2 - 1.5 * way * np.sin(4.0 * np.pi * way)  # a weak motor needs to swing to and fro first
    rate = (
        2.0 * np.pi * way - 1.5 * np.sin(4.0 * np.pi * way) - 6.0 * np.pi * way * np.cos(4.0 * np.pi * way)
    ) / duration
    pumping = np.stack([0.0 * way, swinging, 0.0 * way, rate], axis=1)
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: cartpole(x, u, cart_mass=cart_mass, pole_mass=pole_mass, length=length, gravity=gravity),
            states=STATES,
            controls=CONTROLS,
        ),
        stage_cost=lambda x, u: 0.5 * state_weight * ((x - goal) @ (x - goal)) + 0.5 * control_weight * u[0] ** 2,
        terminal_cost=lambda x: 0.5 * terminal_weight * ((x - goal) @ (x - goal)),
        initial_state=[0.0, 0.0, 0.0, 0.0],
        constraints=[to.Bounds(control=(-force, force)), to.TerminalConstraint(goal)],
        horizon=to.Horizon(duration, steps=steps),
        guess=(times, pumping, np.zeros((41, 1))),
        name="cartpole",
    )


def build_swingup(
    *, cart_mass: float = 1.0, pole_mass: float = 0.3, length: float = 0.5, gravity: float = 9.81, force: float = 20.0,
    rail: float = 2.0, distance: float = 1.0, duration: float = 2.0, steps: int = 100,
) -> to.Problem:  # fmt: skip
    """Swing up with least squared force, ending ``distance`` to the right."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: cartpole(x, u, cart_mass=cart_mass, pole_mass=pole_mass, length=length, gravity=gravity),
            states=STATES,
            controls=CONTROLS,
        ),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 0.0, 0.0, 0.0],
        constraints=[
            to.Bounds(control=(-force, force), state=([-rail, None, None, None], [rail, None, None, None])),
            to.TerminalConstraint([distance, np.pi, 0.0, 0.0]),
        ],
        horizon=to.Horizon(duration, steps=steps),
        name="cartpole-swingup",
    )


def _picture(rail: float, goal: float) -> Drawing:
    """Cart, pole and bob on a rail."""

    def shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
        pivot, bob = rod((x[0], 0.0), float(x[1]) - np.pi / 2, 0.5)
        return [box(0.3, 0.15, pivot), Line((pivot, bob), "accent"), Circle(bob, 0.05, "accent"), Trail(bob)]

    scenery = (ground(-rail, rail, -0.075), Circle((goal, 0.5), 0.03, "target"))
    return Drawing(shape, scenery, limits=((-rail, rail), (-0.8, 0.8)))


ENTRIES = (
    Entry(
        "cartpole",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Altro.jl problems/cartpole.jl (Howell, Jackson, Manchester, IROS 2019); RobotZoo.jl cartpole",
            note="local minima at 1.4775 and 1.7729, by Hermite-Simpson from several guesses; others exist",
            picture=_picture(1.5, 0.0),
        ),
    ),
    Entry(
        "cartpole-swingup",
        build_swingup,
        Reference(
            optimum=58.8077,
            digits=6,
            source="Kelly, SIAM Review 59(4), 2017; limit of Hermite-Simpson with 50 to 400 steps; Dymos: 58.88",
            note=(
                "a local minimum, as published: starting to the left is better, 57.9447, found by ILQR and DDP from "
                "rest and confirmed by collocation from there; Dymos asks for u(2) = 0 on 40 segments, which only one "
                "instant feels"
            ),
            tags=("smooth",),
            picture=_picture(2.0, 1.0),
        ),
    ),
)
