"""Space-shuttle re-entry: glide back from orbit with the greatest crossrange.

States: altitude h [1e5 ft], longitude phi [rad], latitude theta [rad], speed v [1e4 ft/s], flight-path angle gamma
and azimuth psi [rad]; controls: angle of attack alpha and bank angle beta [rad]; the time unit is 1000 s. In feet
and seconds

    h' = v sin gamma,  phi' = (v/r) cos gamma sin psi / cos theta,  theta' = (v/r) cos gamma cos psi,
    v' = -D/m - g sin gamma,  gamma' = L/(m v) cos beta + cos gamma (v/r - g/v),
    psi' = L sin beta/(m v cos gamma) + (v/r) cos gamma sin psi sin theta/cos theta,

with r = Re + h, g = mu/r^2, density rho0 exp(-h/hr), L, D = 1/2 c S rho v^2, c_L linear and c_D quadratic in alpha.
From 260,000 ft and 25,600 ft/s, gamma = -1 deg, heading east (psi = 90 deg), to 80,000 ft, 2,500 ft/s, gamma = -5
deg; the latitude at the end, in degrees, is maximised. Longitude decouples from the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Arrow, Drawing, Primitive, Trail, ground
from trajopt.problems.reference import Entry, Reference

FEET, FEET_PER_SECOND, SECONDS = 1e5, 1e4, 1e3
DEGREE = np.pi / 180.0
WEIGHT, SURFACE_GRAVITY = 203_000.0, 32.174  # lb, ft/s^2
MASS = WEIGHT / SURFACE_GRAVITY  # slug
WING_AREA = 2690.0  # ft^2
EARTH_RADIUS, GRAVITATION = 20_902_900.0, 0.14076539e17  # ft, ft^3/s^2
DENSITY, SCALE_HEIGHT = 0.002378, 23_800.0  # slug/ft^3, ft
LIFT = (-0.20704, 0.029244)  # per power of the angle of attack in degrees
DRAG = (0.07854, -0.61592e-2, 0.621408e-3)


def shuttle(x: Any, u: Any) -> Any:
    """Time derivative of (altitude, longitude, latitude, speed, flight-path angle, azimuth) in the scaled units."""
    altitude, latitude, speed = FEET * x[0], x[2], FEET_PER_SECOND * x[3]
    path_angle, azimuth, attack, bank = x[4], x[5], u[0] / DEGREE, u[1]
    radius = EARTH_RADIUS + altitude
    gravity = GRAVITATION / radius**2
    pressure = 0.5 * DENSITY * np.exp(-altitude / SCALE_HEIGHT) * speed**2 * WING_AREA / MASS
    lift = pressure * (LIFT[0] + LIFT[1] * attack)
    drag = pressure * (DRAG[0] + DRAG[1] * attack + DRAG[2] * attack**2)
    turning = speed / radius * np.cos(path_angle)
    per_second = [
        speed * np.sin(path_angle) / FEET,
        turning * np.sin(azimuth) / np.cos(latitude),
        turning * np.cos(azimuth),
        (-drag - gravity * np.sin(path_angle)) / FEET_PER_SECOND,
        lift / speed * np.cos(bank) + turning - gravity / speed * np.cos(path_angle),
        lift * np.sin(bank) / (speed * np.cos(path_angle)) + turning * np.sin(azimuth) * np.tan(latitude),
    ]
    return SECONDS * np.array(per_second)


def build(*, steps: int = 100) -> to.Problem:
    """Greatest crossrange, without the limit on heating."""
    start = [2.6, 0.0, 0.0, 2.56, -1.0 * DEGREE, 90.0 * DEGREE]
    end = [0.8, None, None, 0.25, -5.0 * DEGREE, None]
    guessed_end = [0.8, 0.0, 30.0 * DEGREE, 0.25, -5.0 * DEGREE, 20.0 * DEGREE]
    steep = 89.0 * DEGREE
    return to.Problem(
        to.ContinuousDynamics(
            shuttle,
            states=("altitude", "longitude", "latitude", "speed", "path angle", "azimuth"),
            controls=("angle of attack", "bank angle"),
        ),
        terminal_cost=lambda x: -x[2] / DEGREE,
        initial_state=start,
        constraints=[
            to.Bounds(
                state=([0.0, None, -steep, 1e-4, -steep, None], [None, None, steep, None, steep, None]),
                control=([-90.0 * DEGREE, -steep], [90.0 * DEGREE, 1.0 * DEGREE]),
            ),
            to.TerminalConstraint(end),
        ],
        horizon=to.Horizon(to.Free(0.5, 4.0, guess=2.0), steps=steps),
        guess=(
            np.array([0.0, 2.0]),
            np.array([start, guessed_end]),
            np.array([[17.0 * DEGREE, -70.0 * DEGREE], [17.0 * DEGREE, 0.0]]),
        ),
        name="space-shuttle-reentry",
    )


def _shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
    """Altitude in 1e5 ft over latitude in degrees."""
    place = (float(x[2] / DEGREE), float(x[0]))
    nose = (place[0] + 2.0 * float(np.cos(x[4])), place[1] + 2.0 * float(np.sin(x[4])))
    return [Trail(place), Arrow(place, nose)]


ENTRIES = (
    Entry(
        "space-shuttle-reentry",
        build,
        Reference(
            optimum=34.1412,
            digits=6,
            source="Betts 2010, Example 6.1; JuMP tutorial; Dymos reentry; CTDirect.jl (34.18 degrees)",
            kind="maximum",
            note="degrees of latitude; tf = 2008.59 s; with Betts' limit on heating the optimum is 30.6255 degrees",
            tags=("free-time", "smooth"),
            picture=Drawing(_shape, (ground(-1.0, 37.0, 0.8),), equal_aspect=False, limits=((-1.0, 37.0), (0.6, 3.0))),
        ),
    ),
)
