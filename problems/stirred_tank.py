"""A stirred tank reactor is brought from a cold to a hot steady state without running away.

States: concentration c [mol/m^3] and temperature T [K]; control: coolant temperature u [K]; with the rate
k = 7.2e10/60 c exp(-8750/T) of an exothermic reaction,

    c' = F (1000 - c)/V - k,  T' = F (350 - T)/V + 5e4/(rho C) k + 2 U/(r rho C) (u - T),

F = 1/600, V = 100, rho C = 239000, U = 915.6, r = 0.219, minimise 1e-4 int (c_B - c)^2 + (T_B - T)^2 + (280 - u)^2 dt
over 150 s, T <= 350, 230 <= u <= 370, from the steady state A of u = 250 towards that of u = 280, B. The reaction has
to be ignited: the cost is nearly all c, and the limit of T is met on an arc.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference

COLD, HOT = (956.271352, 250.051971), (338.775780, 280.099198)
"""Steady states (concentration, temperature) under the coolant temperatures 250 and 280."""
COOLANT = 280.0


def reactor(x: Any, u: Any) -> Any:
    """Time derivative of (concentration, temperature)."""
    exchange = (100.0 / 1000.0 / 60.0) / 100.0  # inflow over volume [1/s]
    heat_capacity = 1000.0 * 239.0
    rate = 7.2e10 / 60.0 * x[0] * np.exp(-8750.0 / x[1])
    cooling = 2.0 * 915.6 / (0.219 * heat_capacity) * (u[0] - x[1])
    return np.array(
        [exchange * (1000.0 - x[0]) - rate, exchange * (350.0 - x[1]) + 5e4 / heat_capacity * rate + cooling]
    )


def build(*, hottest: float = 350.0, duration: float = 150.0, steps: int = 100) -> to.Problem:
    """Ignite the reaction without exceeding the temperature ``hottest``."""

    def cost(x: Any, u: Any) -> Any:
        return 1e-4 * ((HOT[0] - x[0]) ** 2 + (HOT[1] - x[1]) ** 2 + (COOLANT - u[0]) ** 2)

    return to.Problem(
        to.ContinuousDynamics(reactor, states=("concentration", "temperature"), controls=("coolant temperature",)),
        stage_cost=cost,
        initial_state=COLD,
        constraints=[to.Bounds(state=(None, [None, hottest]), control=(230.0, 370.0))],
        horizon=to.Horizon(duration, steps=steps),
        guess=(np.array([0.0, duration]), np.array([COLD, HOT]), np.array([[300.0], [COOLANT]])),
        name="stirred-tank",
    )


ENTRIES = (
    Entry(
        "stirred-tank",
        build,
        Reference(
            optimum=1858.51,
            digits=6,
            source="Hicks and Ray 1971; JModelica.org CSTR (1857.687); limit of Hermite-Simpson with 100 to 800 steps",
            note="the published value is that of a grid, 4e-4 below the optimum",
            tags=("bang-bang", "state-constraint"),
        ),
    ),
)
