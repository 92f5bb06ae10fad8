"""Double integrator: a cart of unit mass pushed along a line.

States: position q [m] and velocity v [m/s]; control: force per mass u [m/s^2].

    q' = v,    v' = u

Five classical questions about it, each with a closed form.

``double-integrator``
    Rest to rest over 1 m in 2 s with |u| <= 3 and |v| <= 0.6, quadratic cost: first problem of the ALTRO test-suite.
``double-integrator-min-energy``
    Rest to rest over 1 m in 1 s, minimising 1/2 int u^2. The costates are polynomials, hence u = 6 - 12 t and J = 6.
``double-integrator-free-velocity``
    As before with free final velocity: transversality gives u(1) = 0, u = 3 - 3 t and J = 3/2.
``double-integrator-min-time``
    Rest to rest over 1 m with |u| <= 1 as fast as possible: full thrust, then full brake at half time; T = 2.
``double-integrator-max-distance``
    As far as possible in 1 s, rest to rest with |u| <= 1: switch at half time, 1/4 m.
``double-integrator-free-start``
    As min-time, but what is maximised is the start, the arrival being no later than t = 10: start at 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Circle, Drawing, Primitive, box, ground
from trajopt.problems.reference import ClosedForm, Entry, Reference

STATES = ("position", "velocity")
CONTROLS = ("acceleration",)


def double_integrator(x: Any, u: Any) -> Any:
    """Time derivative of (position, velocity)."""
    return np.array([x[1], u[0]])


def half_effort(x: Any, u: Any) -> Any:
    """Half the square of the control."""
    return 0.5 * u[0] ** 2


def dynamics() -> to.ContinuousDynamics:
    """Return the double integrator with its names."""
    return to.ContinuousDynamics(double_integrator, states=STATES, controls=CONTROLS)


def track_picture(lowest: float, highest: float, *scenery: Primitive) -> Drawing:
    """Draw a cart on a line, with its push as an arrow."""
    size = 0.06 * (highest - lowest)

    def shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
        push = 0.1 * (highest - lowest) * np.tanh(u[0])
        return [
            box(1.6 * size, size, (x[0], 0.5 * size)),
            Arrow((float(x[0]), 1.5 * size), (float(x[0] + push), 1.5 * size)),
        ]

    margin = 3.0 * size
    limits = ((lowest - margin, highest + margin), (-margin, 2.0 * margin))
    return Drawing(shape, (ground(lowest - margin, highest + margin), *scenery), limits=limits)


def build(
    *, duration: float = 2.0, force: float = 3.0, speed: float = 0.6, state_weight: float = 1.0,
    control_weight: float = 0.1, terminal_weight: float = 1.0, steps: int = 20,
) -> to.Problem:  # fmt: skip
    """Rest to rest over 1 m with quadratic cost and bounds on force and speed."""
    goal = np.array([1.0, 0.0])
    return to.Problem(
        dynamics(),
        stage_cost=lambda x, u: 0.5 * state_weight * ((x - goal) @ (x - goal)) + 0.5 * control_weight * u[0] ** 2,
        terminal_cost=lambda x: 0.5 * terminal_weight * ((x - goal) @ (x - goal)),
        initial_state=[0.0, 0.0],
        constraints=[
            to.Bounds(control=(-force, force), state=([None, -speed], [None, speed])),
            to.TerminalConstraint(goal),
        ],
        horizon=to.Horizon(duration, steps=steps),
        name="double-integrator",
    )


def build_min_energy(*, duration: float = 1.0, distance: float = 1.0, steps: int = 40) -> to.Problem:
    """Rest to rest with least control effort."""
    return to.Problem(
        dynamics(),
        stage_cost=half_effort,
        initial_state=[0.0, 0.0],
        constraints=[to.TerminalConstraint([distance, 0.0])],
        horizon=to.Horizon(duration, steps=steps),
        name="double-integrator-min-energy",
    )


def build_free_velocity(*, duration: float = 1.0, distance: float = 1.0, steps: int = 40) -> to.Problem:
    """From rest to a place at any speed with least control effort."""
    return to.Problem(
        dynamics(),
        stage_cost=half_effort,
        initial_state=[0.0, 0.0],
        constraints=[to.TerminalConstraint([distance, None])],
        horizon=to.Horizon(duration, steps=steps),
        name="double-integrator-free-velocity",
    )


def build_min_time(*, force: float = 1.0, distance: float = 1.0, steps: int = 40) -> to.Problem:
    """Rest to rest as fast as possible."""
    return to.Problem(
        dynamics(),
        stage_cost=lambda x, u: 1.0,
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(-force, force)), to.TerminalConstraint([distance, 0.0])],
        horizon=to.Horizon(to.Free(0.1, 10.0, guess=1.0), steps=steps),
        name="double-integrator-min-time",
    )


def build_max_distance(*, duration: float = 1.0, force: float = 1.0, steps: int = 40) -> to.Problem:
    """Rest to rest as far as possible."""
    return to.Problem(
        dynamics(),
        terminal_cost=lambda x: -x[0],
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(-force, force)), to.TerminalConstraint([None, 0.0])],
        horizon=to.Horizon(duration, steps=steps),
        name="double-integrator-max-distance",
    )


def build_free_start(*, latest: float = 10.0, force: float = 1.0, steps: int = 40) -> to.Problem:
    """Rest to rest over 1 m, starting as late as possible."""
    return to.Problem(
        dynamics(),
        stage_cost=lambda x, u: 1.0,
        terminal_cost=lambda x, t: -t,  # duration - end = -start
        initial_state=[0.0, 0.0],
        constraints=[
            to.Bounds(control=(-force, force)),
            to.TerminalConstraint([1.0, 0.0]),
            to.BoundaryConstraint(lambda x0, xf, t0, tf: tf, lower=0.05, upper=latest, name="latest arrival"),
        ],
        horizon=to.Horizon(to.Free(0.01, 10.0, guess=3.0), steps=steps, start=to.Free(0.05, 10.0, guess=5.0)),
        name="double-integrator-free-start",
    )


def _bang_bang(duration: float, start: float = 0.0) -> ClosedForm:
    """Return unit acceleration for the first half and unit braking for the second, from rest at 0."""
    half = duration / 2

    def trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        elapsed, remaining = t - start, start + duration - t
        if elapsed < half:
            return np.array([elapsed**2 / 2, elapsed]), np.array([1.0])
        return np.array([half**2 - remaining**2 / 2, remaining]), np.array([-1.0])

    return ClosedForm(trajectory, duration, start, corners=(start + half,))


_MIN_ENERGY = ClosedForm(lambda t: (np.array([3 * t**2 - 2 * t**3, 6 * t - 6 * t**2]), np.array([6 - 12 * t])), 1.0)
_FREE_VELOCITY = ClosedForm(
    lambda t: (np.array([1.5 * t**2 - 0.5 * t**3, 3 * t - 1.5 * t**2]), np.array([3 - 3 * t])), 1.0
)
_PICTURE = track_picture(0.0, 1.0, Circle((1.0, -0.06), 0.03, "target"))

ENTRIES = (
    Entry(
        "double-integrator",
        build,
        Reference(
            optimum=None,
            digits=0,
            source="Altro.jl problems/doubleintegrator.jl (Howell, Jackson, Manchester, IROS 2019)",
            tags=("state-constraint",),
            picture=_PICTURE,
        ),
    ),
    Entry(
        "double-integrator-min-energy",
        build_min_energy,
        Reference(
            optimum=6.0,
            digits=12,
            source="Locatelli, Optimal Control of a Double Integrator, 2017; PSOPT mineng_di; closed form",
            tags=("lq", "smooth"),
            solution=_MIN_ENERGY,
            picture=_PICTURE,
        ),
    ),
    Entry(
        "double-integrator-free-velocity",
        build_free_velocity,
        Reference(
            optimum=1.5,
            digits=12,
            source="Locatelli, Optimal Control of a Double Integrator, 2017, 3.3; PSOPT mineng_free_vf; closed form",
            tags=("lq", "smooth"),
            solution=_FREE_VELOCITY,
            picture=_PICTURE,
        ),
    ),
    Entry(
        "double-integrator-min-time",
        build_min_time,
        Reference(
            optimum=2.0,
            digits=12,
            source="CTDirect.jl double_integrator_mintf; closed form",
            tags=("bang-bang", "free-time"),
            solution=_bang_bang(2.0),
            picture=_PICTURE,
        ),
    ),
    Entry(
        "double-integrator-max-distance",
        build_max_distance,
        Reference(
            optimum=0.25,
            digits=12,
            source="Dymos documentation, double_integrator; closed form",
            kind="maximum",
            tags=("bang-bang",),
            solution=_bang_bang(1.0),
            picture=track_picture(0.0, 0.3),
        ),
    ),
    Entry(
        "double-integrator-free-start",
        build_free_start,
        Reference(
            optimum=8.0,
            digits=12,
            source="CTDirect.jl double_integrator_freet0tf; closed form",
            kind="maximum",
            tags=("bang-bang", "free-time", "boundary-constraint"),
            solution=_bang_bang(2.0, start=8.0),
            picture=_PICTURE,
        ),
    ),
)
