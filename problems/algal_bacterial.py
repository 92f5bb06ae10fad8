"""Algae fed by bacteria in a chemostat: the most biomass harvested in twenty days.

States: substrate s, bacteria e, vitamin v, quota q of the algae, algae c; controls: share alpha of the bacteria's
growth that makes vitamin, dilution rate d. With the rates of Monod and Droop

    phi = 6.48 s/(0.09 + s),  rho = 0.0273 v/(0.00057 + v),  mu = 1.0211 (1 - q_min/q),  q_min = 0.0027628,
    s' = d (1/2 - s) - phi e/0.44,  e' = ((1 - alpha) phi - d) e,  v' = 0.023 alpha phi e - rho c - d v,
    q' = rho - mu q,  c' = (mu - d) c,   maximise int d c dt,   0 <= alpha <= 1,  0 <= d <= 1.5,  q >= q_min,

from (0.1629, 0.0487, 0.0003, 0.0177, 0.035) over [0, 20]. Both controls are linear in the dynamics: singular arcs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference

LEAST_QUOTA = 2.7628e-3
START = (0.1629, 0.0487, 0.0003, 0.0177, 0.035)


def consortium(x: Any, u: Any) -> Any:
    """Time derivative of (substrate, bacteria, vitamin, quota, algae)."""
    substrate, bacteria, vitamin, quota, algae = x[0], x[1], x[2], x[3], x[4]
    share, dilution = u[0], u[1]
    feeding = 6.48 * substrate / (0.09 + substrate)
    uptake = 27.3e-3 * vitamin / (0.57e-3 + vitamin)
    growth = 1.0211 * (1.0 - LEAST_QUOTA / quota)
    return np.array(
        [
            dilution * (0.5 - substrate) - feeding * bacteria / 0.44,
            ((1.0 - share) * feeding - dilution) * bacteria,
            0.023 * share * feeding * bacteria - uptake * algae - dilution * vitamin,
            uptake - growth * quota,
            (growth - dilution) * algae,
        ]
    )


def build(*, duration: float = 20.0, steps: int = 130) -> to.Problem:
    """Harvest the most algae in ``duration`` days."""
    return to.Problem(
        to.ContinuousDynamics(
            consortium,
            states=("substrate", "bacteria", "vitamin", "quota", "algae"),
            controls=("vitamin share", "dilution"),
        ),
        stage_cost=lambda x, u: -u[1] * x[4],
        initial_state=START,
        constraints=[
            to.Bounds(state=([0.0, 0.0, 0.0, LEAST_QUOTA, 0.0], None), control=([0.0, 0.0], [1.0, 1.5])),
        ],
        horizon=to.Horizon(duration, steps=steps),
        guess=(np.array([0.0, duration]), np.array([START, START]), np.full((2, 2), 0.1)),
        name="algal-bacterial",
    )


ENTRIES = (
    Entry(
        "algal-bacterial",
        build,
        Reference(
            optimum=5.45,
            digits=3,
            source="Asswad 2024; CTDirect.jl algal_bacterial (5.45)",
            kind="maximum",
            tags=("bang-bang", "singular"),
        ),
    ),
)
