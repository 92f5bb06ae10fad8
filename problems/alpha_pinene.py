"""Isomerisation of alpha-pinene: five reaction rates from the composition at eight times.

States: alpha-pinene y1, dipentene y2, allo-ocimene y3, alpha- and beta-pyronene y4 and a dimer y5 [%]; no control;
parameters: rates [1/min],

    y1' = -(r1 + r2) y1,  y2' = r1 y1,  y3' = r2 y1 - (r3 + r4) y3 + r5 y5,  y4' = r3 y3,  y5' = r4 y3 - r5 y5,

y(0) = (100, 0, 0, 0, 0), minimise sum over samples |y(t_i) - z_i|^2. Between two samples the problem takes `STEPS`
equal steps of discrete time, each made of Runge-Kutta substeps, whose error is below 1e-6 of a residual. The parameters
are rates per 1e5 min, so that they are near one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.parameter_fit import fit
from trajopt.problems.reference import Entry, Reference

STEPS = 5
"""Steps from one sample to the next."""
TIMES = np.array([0.0, 1230.0, 3060.0, 4920.0, 7800.0, 10680.0, 15030.0, 22620.0, 36420.0])
SAMPLES = np.array(
    [
        [88.35, 7.3, 2.3, 0.4, 1.75], [76.4, 15.6, 4.5, 0.7, 2.8], [65.1, 23.1, 5.3, 1.1, 5.8],
        [50.4, 32.9, 6.0, 1.5, 9.3], [37.5, 42.7, 6.0, 1.9, 12.0], [25.9, 49.1, 5.9, 2.2, 17.0],
        [14.0, 57.4, 5.1, 2.6, 21.0], [4.5, 63.1, 3.8, 2.9, 25.7],
    ]
)  # fmt: skip
RATE_UNIT = 1e-5


def pinene(y: Any, p: Any) -> Any:
    """Time derivative of the composition, per minute."""
    first, second, third, fourth, fifth = (RATE_UNIT * p["rates"][i] for i in range(5))
    return np.array(
        [
            -(first + second) * y[0],
            first * y[0],
            second * y[0] - (third + fourth) * y[2] + fifth * y[4],
            third * y[2],
            fourth * y[2] - fifth * y[4],
        ]
    )


def build(*, substeps: int = 8) -> to.Problem:
    """Least-squares fit of the five rates."""
    return fit(
        "alpha-pinene",
        pinene,
        {"rates": to.Free(np.zeros(5), np.full(5, 100.0), guess=np.array([5.0, 3.0, 2.0, 20.0, 4.0]))},
        states=("alpha-pinene", "dipentene", "allo-ocimene", "pyronene", "dimer"),
        initial_state=[100.0, 0.0, 0.0, 0.0, 0.0],
        intervals=np.diff(TIMES),
        steps=STEPS,
        substeps=substeps,
        samples=SAMPLES,
        taken=STEPS * np.arange(1, len(TIMES)),
    )


ENTRIES = (
    Entry(
        "alpha-pinene",
        build,
        Reference(
            optimum=19.872167,
            digits=8,
            source=(
                "Box et al. 1973; Tjoa and Biegler 1991; COPS 3.0 pinene (1.98721e1); "
                "least squares with matrix exponentials"
            ),
            note="rates about (5.93, 2.96, 2.05, 27.5, 4.00) per 1e5 min",
            tags=("smooth", "discrete", "free-parameters"),
        ),
    ),
)
