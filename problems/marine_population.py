"""A marine population in eight stages: growth, mortality and the first census from 21 censuses.

States: abundance of each stage; no control; parameters: growth g1 ... g7, mortality m1 ... m8 per unit of time,

    y1' = -(m1 + g1) y1,  ys' = g(s-1) y(s-1) - (ms + gs) ys,  y8' = g7 y7 - m8 y8,

minimise sum over censuses |y(t_i) - z_i|^2 every 1/2 over [0, 10], y(0) free too. Abundances are counted in thousands,
so the optimum is a millionth of the published one. Discrete time as in ``parameter_fit``, a step from census to census.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.parameter_fit import fit
from trajopt.problems.reference import Entry, Reference

TIMES = np.linspace(0.0, 10.0, 21)
CENSUSES = 1e-3 * np.array(
    [
        [20000, 17000, 10000, 15000, 12000, 9000, 7000, 3000], [12445, 15411, 13040, 13338, 13484, 8426, 6615, 4022],
        [7705, 13074, 14623, 11976, 12453, 9272, 6891, 5020], [4664, 8579, 12434, 12603, 11738, 9710, 6821, 5722],
        [2977, 7053, 11219, 11340, 13665, 8534, 6242, 5695], [1769, 5054, 10065, 11232, 12112, 9600, 6647, 7034],
        [943, 3907, 9473, 10334, 11115, 8826, 6842, 7348], [581, 2624, 7421, 10297, 12427, 8747, 7199, 7684],
        [355, 1744, 5369, 7748, 10057, 8698, 6542, 7410], [223, 1272, 4713, 6869, 9564, 8766, 6810, 6961],
        [137, 821, 3451, 6050, 8671, 8291, 6827, 7525], [87, 577, 2649, 5454, 8430, 7411, 6423, 8388],
        [49, 337, 2058, 4115, 7435, 7627, 6268, 7189], [32, 228, 1440, 3790, 6474, 6658, 5859, 7467],
        [17, 168, 1178, 3087, 6524, 5880, 5562, 7144], [11, 99, 919, 2596, 5360, 5762, 4480, 7256],
        [7, 65, 647, 1873, 4556, 5058, 4944, 7538], [4, 44, 509, 1571, 4009, 4527, 4233, 6649],
        [2, 27, 345, 1227, 3677, 4229, 3805, 6378], [1, 20, 231, 934, 3197, 3695, 3159, 6454],
        [1, 12, 198, 707, 2562, 3163, 3232, 5566],
    ]
)  # fmt: skip
STAGES = 8


def population(y: Any, p: Any) -> Any:
    """Time derivative of the abundances."""
    growth, mortality = p["growth"], p["mortality"]
    arriving = [0.0, *(growth[s] * y[s] for s in range(STAGES - 1))]
    leaving = [(mortality[s] + (growth[s] if s < STAGES - 1 else 0.0)) * y[s] for s in range(STAGES)]
    return np.array([arriving[s] - leaving[s] for s in range(STAGES)])


def build(*, substeps: int = 16) -> to.Problem:
    """Least-squares fit of growth, mortality and the first census."""
    steps = np.arange(len(TIMES), dtype=float)
    return fit(
        "marine-population",
        population,
        {
            "growth": to.Free(np.zeros(STAGES - 1), np.full(STAGES - 1, 10.0), guess=np.full(STAGES - 1, 0.5)),
            "mortality": to.Free(np.zeros(STAGES), np.full(STAGES, 10.0), guess=np.full(STAGES, 0.1)),
        },
        states=[f"stage {s + 1}" for s in range(STAGES)],
        initial_state=None,
        intervals=np.diff(TIMES),
        steps=1,
        substeps=substeps,
        samples=CENSUSES,
        taken=steps,
        guess=(steps, CENSUSES, np.zeros((len(TIMES), 0))),
    )


ENTRIES = (
    Entry(
        "marine-population",
        build,
        Reference(
            optimum=19.746530,
            digits=7,
            source="Rothschild et al. 1997; COPS 3.0 marine (1.97462e7); least squares with matrix exponentials",
            note="published in single animals, and with the midpoint rule, whose error shows in the fifth digit",
            tags=("smooth", "discrete", "free-parameters", "free-initial-state"),
        ),
    ),
)
