"""Goddard's rocket that must not fly faster than a tenth of the reference speed.

As ``goddard-rocket``, in its units, with v <= 1 (0.1 in those of COPS). The optimum has four arcs: full thrust, a
singular arc, an arc along the speed limit on which the thrust balances drag and weight, and coasting.
"""

from __future__ import annotations

import dataclasses

import trajopt as to
from trajopt.problems import goddard_rocket
from trajopt.problems.reference import Entry, Reference


def build(*, limit: float = 1.0, steps: int = 120) -> to.Problem:
    """Greatest height on the fuel 0.4 without exceeding the speed ``limit``."""
    free = goddard_rocket.build(steps=steps)
    limited = to.Bounds(state=(None, [None, limit, None]))
    return dataclasses.replace(free, constraints=[*free.constraints, limited], name="goddard-rocket-speed-limit")


ENTRIES = (
    Entry(
        "goddard-rocket-speed-limit",
        build,
        Reference(
            optimum=1.257632465693,
            digits=10,
            source=(
                "Bocop goddard; CTDirect.jl goddard (1.01257); CTBenchmarks.jl (1.0125714); "
                "integration of the four arcs (1.01257632465693)"
            ),
            kind="maximum",
            note="published from the centre of the Earth: 1.01257632 means 1.257632 here; 1.0125714 is a grid's value",
            tags=("bang-bang", "singular", "state-constraint", "free-time"),
            picture=goddard_rocket.ENTRIES[0].reference.picture,
        ),
    ),
)
