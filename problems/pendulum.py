"""Swinging up a damped pendulum with a torque too weak to lift it.

States: angle theta [rad], 0 hanging and pi upright, anticlockwise positive, and its rate [rad/s]; control: torque u
[N m],

    m l^2 theta'' = u - m g l sin theta - b theta',   |u| <= 3,   (0, 0) -> (pi, 0) in 3 s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Trail, rod
from trajopt.problems.reference import Entry, Reference


def pendulum(
    x: Any, u: Any, *, mass: float = 1.0, length: float = 0.5, damping: float = 0.1, gravity: float = 9.81
) -> Any:
    """Time derivative of (angle, rate)."""
    inertia = mass * length**2
    return np.array([x[1], (u[0] - damping * x[1]) / inertia - gravity / length * np.sin(x[0])])


def build(
    *, mass: float = 1.0, length: float = 0.5, damping: float = 0.1, gravity: float = 9.81, torque: float = 3.0,
    duration: float = 3.0, state_weight: float = 1e-3, control_weight: float = 1e-3, terminal_weight: float = 1.0,
    steps: int = 50,
) -> to.Problem:  # fmt: skip
    """Swing up with quadratic cost."""
    goal = np.array([np.pi, 0.0])
    times = np.array([0.0, duration])
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: pendulum(x, u, mass=mass, length=length, damping=damping, gravity=gravity),
            states=("angle", "rate"),
            controls=("torque",),
        ),
        stage_cost=lambda x, u: 0.5 * state_weight * ((x - goal) @ (x - goal)) + 0.5 * control_weight * u[0] ** 2,
        terminal_cost=lambda x: 0.5 * terminal_weight * ((x - goal) @ (x - goal)),
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(-torque, torque)), to.TerminalConstraint(goal)],
        horizon=to.Horizon(duration, steps=steps),
        guess=(times, np.array([[0.0, 0.0], goal]), np.full((2, 1), 0.1)),
        name="pendulum",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    pivot, bob = rod((0.0, 0.0), float(x[0]) - np.pi / 2, 0.5)
    return [Line((pivot, bob)), Circle(bob, 0.05), Trail(bob)]


ENTRIES = (
    Entry(
        "pendulum",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Altro.jl problems/pendulum.jl (Howell, Jackson, Manchester, IROS 2019); RobotZoo.jl pendulum",
            note="different numbers of swings are local minima; Hermite-Simpson finds 0.018226 with 50 to 200 steps",
            picture=Drawing(
                _shape,
                (Circle((0.0, 0.0), 0.02, "ground"), Circle((0.0, 0.5), 0.02, "target")),
                limits=((-0.7, 0.7), (-0.7, 0.7)),
            ),
        ),
    ),
)
