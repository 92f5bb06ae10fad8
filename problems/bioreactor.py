"""An algae-bacteria reactor run in a daily cycle for most methane.

States: algae y, substrate s, bacteria b; control: dilution rate u; over one day t in [0, 10] with light in the first
half,

    light mu = max(0, sin(2 pi t/10))^2,  growth nu = 0.1 s/(s + 0.05),
    y' = mu y/(1 + y) - (0.005 + u) y,  s' = -nu b + u (y - s),  b' = (nu - u) b,   maximise int nu b/3 dt,

0 <= u <= 1, periodic, with y(0), b(0) >= 1 and b >= 0.001.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference

DAY = 10.0


def growth(substrate: Any) -> Any:
    """Monod's growth rate of the bacteria."""
    return 0.1 * substrate / (substrate + 0.05)


def reactor(x: Any, u: Any, t: Any) -> Any:
    """Time derivative of (algae, substrate, bacteria)."""
    algae, substrate, bacteria = x[0], x[1], x[2]
    light = np.maximum(0.0, np.sin(2.0 * np.pi * t / DAY)) ** 2
    eaten = growth(substrate)
    return np.array(
        [
            light * algae / (1.0 + algae) - (0.005 + u[0]) * algae,
            -eaten * bacteria + u[0] * (algae - substrate),
            (eaten - u[0]) * bacteria,
        ]
    )


def build(*, steps: int = 100) -> to.Problem:
    """Most methane in a day that can be repeated."""
    return to.Problem(
        to.ContinuousDynamics(reactor, states=("algae", "substrate", "bacteria"), controls=("dilution",)),
        stage_cost=lambda x, u: -growth(x[1]) * x[2] / 3.0,
        constraints=[
            to.Bounds(state=([0.0, 0.0, 0.001], None), control=(0.0, 1.0)),
            to.BoundaryConstraint(lambda x0, xf: xf - x0, name="periodic"),
            to.BoundaryConstraint(lambda x0, xf: x0[[0, 2]], lower=1.0, upper=np.inf, name="enough to start with"),
        ],
        horizon=to.Horizon(DAY, steps=steps),
        guess=(np.array([0.0, DAY]), np.full((2, 3), 2.0), np.full((2, 1), 0.05)),
        name="bioreactor",
    )


ENTRIES = (
    Entry(
        "bioreactor",
        build,
        Reference(
            optimum=0.614134,
            digits=3,
            source="Bayen, Mairet, Martinon, Sebbah 2015; Bocop bioreactor_1day_periodic; CTDirect.jl (0.614134)",
            kind="maximum",
            tags=("bang-bang", "singular", "boundary-constraint", "free-initial-state"),
        ),
    ),
)
