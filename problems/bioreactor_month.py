"""The algae-bacteria reactor over thirty days, its start chosen.

Reactor, light and gain as in ``bioreactor``, over t in [0, 300] (ten units a day), with 0.05 <= y(0) <= 0.25,
1/2 <= s(0) <= 5 and 1/2 <= b(0) <= 3, and no condition at the end. The bacteria start at their bound, the days settle
into the daily cycle, and the last days harvest what is left. A mesh must resolve every day: with 100 steps of an
accurate scheme the published example ends at 20.1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.bioreactor import DAY, growth, reactor
from trajopt.problems.reference import Entry, Reference


def build(*, days: int = 30, steps: int = 360) -> to.Problem:
    """Most methane in ``days`` days."""

    def methane(x: Any, u: Any) -> Any:
        return growth(x[1]) * x[2] / 3.0

    return to.Problem(
        to.ContinuousDynamics(reactor, states=("algae", "substrate", "bacteria"), controls=("dilution",)),
        stage_cost=lambda x, u: -methane(x, u),
        constraints=[
            to.Bounds(state=([0.0, 0.0, 0.001], None), control=(0.0, 1.0)),
            to.BoundaryConstraint(
                lambda x0, xf: x0, lower=[0.05, 0.5, 0.5], upper=[0.25, 5.0, 3.0], name="start within its range"
            ),
        ],
        horizon=to.Horizon(DAY * days, steps=steps),
        guess=(np.array([0.0, DAY * days]), np.array([[0.2, 2.0, 2.0]] * 2), np.full((2, 1), 0.1)),
        name="bioreactor-month",
    )


ENTRIES = (
    Entry(
        "bioreactor-month",
        build,
        Reference(
            optimum=19.07,
            digits=4,
            source="Bayen, Mairet, Martinon, Sebbah 2015; Bocop bioreactor_Ndays (19.07); CTDirect.jl (19.0745)",
            kind="maximum",
            note="the limit of Hermite-Simpson is 19.067; the certificate of a mesh of a few hundred steps stays open",
            tags=("bang-bang", "singular", "boundary-constraint", "free-initial-state"),
        ),
    ),
)
