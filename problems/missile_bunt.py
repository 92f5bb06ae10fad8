"""A cruise missile climbs and dives on its target from above, in least time (the terminal bunt manoeuvre).

States: flight-path angle gamma [rad], speed V [m/s], downrange x [m], altitude h [m]; controls: thrust T [N], load
factor n = L/(m g), whence the angle of attack alpha [rad],

    gamma' = (T - D)/(m V) sin alpha + L/(m V) cos alpha - g cos gamma/V,
    V' = (T - D)/m cos alpha - L/m sin alpha - g sin gamma,  x' = V cos gamma,  h' = V sin gamma,

D, L = 1/2 c S rho V^2 with c_D = -1.9431 alpha^2 - 0.1499 alpha + 0.2359, c_L = 21.9 alpha and a density quadratic in
h. From level flight at 272 m/s and 30 m to a vertical impact at 310 m/s, 10 km away; 1000 <= T <= 6000, |n| <= 4,
200 <= V <= 310, and at least 30 m above ground until 7.5 km: a step in x, which the source smooths over some 10 m. The
source takes alpha as control and n as a path constraint; as the lift is proportional to alpha, either gives the other,
and a bound on a control that jumps is met between knots as well. |n| <= 4 implies the source's |alpha| <= 0.3 here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Polygon, Primitive, Trail, ground, placed
from trajopt.problems.reference import Entry, Reference

MASS, GRAVITY, WING_AREA = 1005.0, 9.81, 0.3376
DRAG = (0.2359, -0.1499, -1.9431)
LIFT = 21.9
DENSITY = (1.224, -1.142e-4, 3.312e-9)
STATES = ("path angle", "speed", "downrange", "altitude")


def aerodynamics(x: Any, load_factor: Any) -> tuple[Any, Any, Any]:
    """Angle of attack [rad], axial and normal force [N]."""
    altitude = x[3]
    density = DENSITY[0] + DENSITY[1] * altitude + DENSITY[2] * altitude**2
    pressure = 0.5 * density * x[1] ** 2 * WING_AREA
    lift = load_factor * MASS * GRAVITY
    attack = lift / (pressure * LIFT)
    return attack, pressure * (DRAG[0] + DRAG[1] * attack + DRAG[2] * attack**2), lift


def missile(x: Any, u: Any) -> Any:
    """Time derivative of (path angle, speed, downrange, altitude)."""
    attack, drag, lift = aerodynamics(x, u[1])
    forward = (u[0] - drag) / MASS
    sine, cosine = np.sin(x[0]), np.cos(x[0])
    along = forward * np.cos(attack) - lift / MASS * np.sin(attack) - GRAVITY * sine
    across = forward * np.sin(attack) + lift / MASS * np.cos(attack) - GRAVITY * cosine
    return np.array([across / x[1], along, x[1] * cosine, x[1] * sine])


def build(*, distance: float = 10_000.0, steps: int = 100) -> to.Problem:
    """Dive vertically on a target at ``distance``."""
    quarter = np.pi / 2
    start, end = [0.0, 272.0, 0.0, 30.0], [-quarter, 310.0, distance, 0.0]

    def clearance(x: Any, u: Any) -> Any:
        step = 0.5 * (1.0 + np.tanh((7500.0 - x[2]) / 10.0))
        return x[3] - 30.0 * step

    return to.Problem(
        to.ContinuousDynamics(missile, states=STATES, controls=("thrust", "load factor")),
        stage_cost=lambda x, u: 1.0,
        initial_state=start,
        constraints=[
            to.Bounds(
                state=([-quarter, 200.0, None, 0.0], [quarter, 310.0, None, 1900.0]),
                control=([1000.0, -4.0], [6000.0, 4.0]),
            ),
            to.PathConstraint(clearance, lower=0.0, upper=np.inf, name="clearance"),
            to.TerminalConstraint(end),
        ],
        horizon=to.Horizon(to.Free(10.0, 100.0, guess=50.0), steps=steps),
        guess=(np.array([0.0, 50.0]), np.array([start, end]), np.array([[6000.0, 1.0]] * 2)),
        name="missile-bunt",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    place, pitch = (float(x[2]), float(x[3])), float(x[0] + aerodynamics(x, u[1])[0])
    outline = ((-150.0, -25.0), (100.0, -25.0), (150.0, 0.0), (100.0, 25.0), (-150.0, 25.0))
    return [Trail(place), Polygon(placed(outline, place, pitch))]


ENTRIES = (
    Entry(
        "missile-bunt",
        build,
        Reference(
            optimum=40.9119,
            digits=6,
            source=(
                "Subchan and Zbikowski 2009; PSOPT missile (40.91862); limit of Hermite-Simpson with 100 to 300 steps"
            ),
            note="the published time lies 0.007 s above a certified one",
            tags=("bang-bang", "path-constraint", "state-constraint", "free-time"),
            picture=Drawing(
                _shape, (ground(0.0, 10_500.0), Circle((10_000.0, 0.0), 60.0, "target")),
                limits=((-200.0, 10_500.0), (-200.0, 2_500.0)),
            ),
        ),
    ),
)  # fmt: skip
