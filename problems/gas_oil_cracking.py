"""Catalytic cracking of gas oil: three reaction rates from measured concentrations.

States: gas oil y1 and gasoline y2; no control; parameters: rates a of gas oil to gasoline, b of gasoline to other
products, c of gas oil to other products,

    y1' = -(a + c) y1^2,  y2' = a y1^2 - b y2,   y(0) = (1, 0),   minimise sum over samples |y(t_i) - z_i|^2.

All 21 samples lie at multiples of 0.025, so the problem is stated in discrete time: a step is 0.025 long and made of
Runge-Kutta substeps, whose error is below 1e-9, and the cost of a step is the residual of its sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.parameter_fit import fit
from trajopt.problems.reference import Entry, Reference

STEP = 0.025
TAKEN = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 16, 18, 20, 22, 26, 30, 34, 38])
GAS_OIL = np.array(
    [1.0, 0.8105, 0.6208, 0.5258, 0.4345, 0.3903, 0.3342, 0.3034, 0.2735, 0.2405, 0.2283, 0.2071, 0.1669, 0.153, 0.1339,
     0.1265, 0.12, 0.099, 0.087, 0.077, 0.069]
)  # fmt: skip
GASOLINE = np.array(
    [0.0, 0.2, 0.2886, 0.301, 0.3215, 0.3123, 0.2716, 0.2551, 0.2258, 0.1959, 0.1789, 0.1457, 0.1198, 0.0909, 0.0719,
     0.0561, 0.046, 0.028, 0.019, 0.014, 0.01]
)  # fmt: skip


def cracking(x: Any, p: Any) -> Any:
    """Time derivative of (gas oil, gasoline)."""
    burnt = x[0] ** 2
    return np.array([-(p["a"] + p["c"]) * burnt, p["a"] * burnt - p["b"] * x[1]])


def build(*, substeps: int = 10) -> to.Problem:
    """Least-squares fit of the three rates."""
    steps = int(TAKEN[-1])
    return fit(
        "gas-oil-cracking",
        cracking,
        {
            "a": to.Free(0.0, 50.0, guess=10.0),
            "b": to.Free(0.0, 50.0, guess=5.0),
            "c": to.Free(0.0, 50.0, guess=0.5),
        },
        states=("gas oil", "gasoline"),
        initial_state=[1.0, 0.0],
        intervals=[STEP * steps],
        steps=steps,
        substeps=substeps,
        samples=np.column_stack([GAS_OIL, GASOLINE]),
        taken=TAKEN,
    )


ENTRIES = (
    Entry(
        "gas-oil-cracking",
        build,
        Reference(
            optimum=0.0052366,
            digits=4,
            source="Tjoa and Biegler 1991; COPS 3.0 gasoil (5.2366e-3)",
            note="rates about (11.847, 8.344, 1.001)",
            tags=("smooth", "discrete", "free-parameters"),
        ),
    ),
)
