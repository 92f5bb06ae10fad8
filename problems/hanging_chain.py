"""The hanging chain: the shape of least potential energy between two nails.

``hanging-chain`` (COPS). The running variable is the horizontal position s in [0, 1]. States: height y, potential
energy e and length l so far; control: slope u,

    y' = u,  e' = y sqrt(1 + u^2),  l' = sqrt(1 + u^2),   minimise e(1),   y: 1 -> 3,  l(1) = 4.

``hanging-chain-by-length``. The same chain run along its length l in [0, 4]: states s and y, control the angle a of
the link,

    s' = cos a,  y' = sin a,   minimise int y dl,   (s, y): (0, 1) -> (1, 3).

Euler's equation gives the catenary y = a cosh((s - b)/a) + c: a from 2 a sinh(1/(2a)) = sqrt(4^2 - 2^2), b from the
difference of heights, c from y(0). The slope reaches 18, where the second derivative of the Hamiltonian is 2000
times smaller than at the bottom: the first form is a test of robustness. Schemes whose control at the midpoint of a
step is free, such as Hermite-Simpson on a coarse mesh, find zigzags of lower, even negative, energy; with a control
that is linear over each step they do not. The second form is harmless.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import root_scalar

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Primitive, Trail
from trajopt.problems.reference import ClosedForm, Entry, Reference


def chain(x: Any, u: Any) -> Any:
    """Return the derivative of (height, energy, length) with respect to the horizontal position."""
    stretch = np.sqrt(1.0 + u[0] ** 2)
    return np.array([u[0], x[0] * stretch, stretch])


def link(x: Any, u: Any) -> Any:
    """Return the derivative of (horizontal position, height) with respect to the length."""
    return np.array([np.cos(u[0]), np.sin(u[0])])


def build(*, left: float = 1.0, right: float = 3.0, length: float = 4.0, steps: int = 400) -> to.Problem:
    """Build a chain of ``length`` between nails at the heights ``left`` and ``right``, one unit apart."""
    s = np.linspace(0.0, 1.0, 101)
    height = left * np.exp(-s / 0.15) + right * np.exp(-(1.0 - s) / 0.15)  # steep at the nails, slack between them
    height[[0, -1]] = left, right
    slope = np.gradient(height, s)
    stretch = np.sqrt(1.0 + slope**2)
    sums = [cumulative_trapezoid(rate, s, initial=0.0) for rate in (height * stretch, stretch)]
    return to.Problem(
        to.ContinuousDynamics(chain, states=("height", "energy", "length"), controls=("slope",)),
        terminal_cost=lambda x: x[1],
        initial_state=[left, 0.0, 0.0],
        constraints=[to.TerminalConstraint([right, None, length])],
        horizon=to.Horizon(1.0, steps=steps),
        guess=(s, np.stack([height, *sums], axis=1), slope[:, None]),
        name="hanging-chain",
    )


def build_by_length(*, left: float = 1.0, right: float = 3.0, length: float = 4.0, steps: int = 60) -> to.Problem:
    """Build the same chain, run along its length."""
    return to.Problem(
        to.ContinuousDynamics(link, states=("s", "height"), controls=("angle",)),
        stage_cost=lambda x, u: x[1],
        initial_state=[0.0, left],
        constraints=[to.TerminalConstraint([1.0, right])],
        horizon=to.Horizon(length, steps=steps),
        guess=(np.array([0.0, length]), np.array([[0.0, left], [1.0, right]]), np.array([[-1.4], [1.5]])),
        name="hanging-chain-by-length",
    )


def catenary(left: float, right: float, length: float) -> tuple[float, float, float]:
    """Parameters (a, b, c) of the exact shape a cosh((s - b)/a) + c."""
    rise = right - left
    span = np.sqrt(length**2 - rise**2)
    a = root_scalar(lambda a: 2.0 * a * np.sinh(0.5 / a) - span, bracket=(0.02, 10.0), xtol=1e-15).root
    b = 0.5 - a * np.arctanh(rise / length)
    return a, b, left - a * np.cosh(b / a)


_A, _B, _C = catenary(1.0, 3.0, 4.0)


def _energy(z: float) -> float:
    """Potential energy from the lowest point to s = b + a z."""
    return _A * (_A * (z / 2 + np.sinh(2.0 * z) / 4) + _C * np.sinh(z))


def _by_position(s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    z, first = (s - _B) / _A, -_B / _A
    state = [_A * np.cosh(z) + _C, _energy(z) - _energy(first), _A * (np.sinh(z) - np.sinh(first))]
    return np.array(state), np.array([np.sinh(z)])


def _by_length(length: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    slope = length / _A + np.sinh(-_B / _A)
    z = np.arcsinh(slope)
    return np.array([_B + _A * z, _A * np.cosh(z) + _C]), np.array([np.arctan(slope)])


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    end = (t, float(x[0]))
    return [Trail(end), Circle(end, 0.02)]


def _shape_by_length(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    end = (float(x[0]), float(x[1]))
    return [Trail(end), Circle(end, 0.02)]


_NAILS = (Circle((0.0, 1.0), 0.03, "ground"), Circle((1.0, 3.0), 0.03, "ground"))
_LIMITS = ((-0.2, 1.2), (-0.1, 3.1))
_OPTIMUM = 5.068480110993413

ENTRIES = (
    Entry(
        "hanging-chain",
        build,
        Reference(
            optimum=_OPTIMUM,
            digits=11,
            source="Cesari 1983; COPS 3.0 chain (5.06891 with 800 steps); PSOPT chain (5.06848); catenary",
            note="values below the optimum are zigzags between nodes; COPS is 8.5e-5 high, by its trapezoidal rule",
            tags=("smooth", "stiff"),
            solution=ClosedForm(_by_position, 1.0),
            picture=Drawing(_shape, _NAILS, limits=_LIMITS),
        ),
    ),
    Entry(
        "hanging-chain-by-length",
        build_by_length,
        Reference(
            optimum=_OPTIMUM,
            digits=11,
            source="the catenary of hanging-chain, run along its length",
            tags=("smooth",),
            solution=ClosedForm(_by_length, 4.0),
            picture=Drawing(_shape_by_length, _NAILS, limits=_LIMITS),
        ),
    ),
)
