"""Hypersensitive problems: a long horizon that is all rest but for a layer at either end.

State x, control u; minimise 1/2 int (x^2 + u^2) dt between fixed ends.

``hypersensitive``
    x' = -x^3 + u over t in [0, 50], 3/2 -> 1 (Rao and Mease). The Hamilton-Jacobi equation splits into the cost of
    either layer, V = -x0^4/4 + F(x0^2) + xf^4/4 + F(xf^2) with F(s) = (s sqrt(s^2 + 1) + asinh s) / 4, up to e^-50;
    so any horizon beyond 30 has the same value. The layers are a few per cent of the horizon: a uniform mesh spends
    its knots where nothing happens, and shooting forward multiplies errors by e^50.
``hypersensitive-linear``
    x' = -x + u over t in [0, 10], 3/2 -> 1, with x = A e^(r t) + B e^(-r t), r = sqrt(2).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.reference import ClosedForm, Entry, Reference


def cubic(x: Any, u: Any) -> Any:
    """Time derivative of x: -x^3 + u."""
    return np.array([-(x[0] ** 3) + u[0]])


def linear(x: Any, u: Any) -> Any:
    """Time derivative of x: -x + u."""
    return np.array([-x[0] + u[0]])


def build(*, duration: float = 50.0, start: float = 1.5, end: float = 1.0, steps: int = 250) -> to.Problem:
    """Build the nonlinear problem of Rao and Mease."""
    return _build("hypersensitive", cubic, duration, start, end, steps)


def build_linear(*, duration: float = 10.0, start: float = 1.5, end: float = 1.0, steps: int = 100) -> to.Problem:
    """Build the linear problem."""
    return _build("hypersensitive-linear", linear, duration, start, end, steps)


def _build(name: str, rate: Any, duration: float, start: float, end: float, steps: int) -> to.Problem:
    return to.Problem(
        to.ContinuousDynamics(rate, states=("x",), controls=("u",)),
        stage_cost=lambda x, u: 0.5 * (x[0] ** 2 + u[0] ** 2),
        initial_state=[start],
        constraints=[to.TerminalConstraint([end])],
        horizon=to.Horizon(duration, steps=steps),
        name=name,
    )


def _linear_trajectory(t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    root, duration = np.sqrt(2.0), 10.0
    decay = np.exp(-root * duration)
    ends = np.linalg.solve([[decay, 1.0], [1.0, decay]], [1.5, 1.0])  # amplitudes at the end and at the start
    rising, falling = ends * np.exp(root * np.array([t - duration, -t]))
    return np.array([rising + falling]), np.array([(1.0 + root) * rising + (1.0 - root) * falling])


ENTRIES = (
    Entry(
        "hypersensitive",
        build,
        Reference(
            optimum=1.3308069049430022,
            digits=12,
            source="Rao and Mease 2000; PSOPT hypersensitive (1.330826); Hamilton-Jacobi boundary-layer integrals",
            tags=("smooth", "stiff"),
        ),
    ),
    Entry(
        "hypersensitive-linear",
        build_linear,
        Reference(
            optimum=1.6730939784121932,
            digits=12,
            source="Dymos documentation, hyper_sensitive; closed form",
            tags=("lq", "smooth", "stiff"),
            solution=ClosedForm(_linear_trajectory, 10.0),
        ),
    ),
)
