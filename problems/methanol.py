"""Methanol to hydrocarbons: five reaction rates from measured concentrations.

States: methanol y1, olefins y2, paraffins and others y3; no control; parameters: rates r1 ... r5; with
d = (r2 + r5) y1 + y2,

    y1' = -(2 r2 - r1 y2/d + r3 + r4) y1,  y2' = r1 y1 (r2 y1 - y2)/d + r3 y1,  y3' = r1 y1 (y2 + r5 y1)/d + r4 y1,

y(0) = (1, 0, 0), minimise sum over samples |y(t_i) - z_i|^2. Discrete time as in ``parameter_fit``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.parameter_fit import fit
from trajopt.problems.reference import Entry, Reference

STEPS = 3
"""Steps from one sample to the next."""
TIMES = np.array(
    [0.0, 0.05, 0.065, 0.08, 0.123, 0.233, 0.273, 0.354, 0.397, 0.418, 0.502, 0.553, 0.681, 0.75, 0.916, 0.937, 1.122]
)
SAMPLES = np.array(
    [
        [1.0, 0.0, 0.0], [0.7085, 0.1621, 0.0811], [0.5971, 0.1855, 0.0965], [0.5537, 0.1989, 0.1198],
        [0.3684, 0.2845, 0.1535], [0.1712, 0.3491, 0.2097], [0.1198, 0.3098, 0.2628], [0.0747, 0.3576, 0.2467],
        [0.0529, 0.3347, 0.2884], [0.0415, 0.3388, 0.2757], [0.0261, 0.3557, 0.3167], [0.0208, 0.3483, 0.2954],
        [0.0085, 0.3836, 0.295], [0.0053, 0.3611, 0.2937], [0.0019, 0.3609, 0.2831], [0.0018, 0.3485, 0.2846],
        [0.0006, 0.3698, 0.2899],
    ]
)  # fmt: skip


def conversion(y: Any, p: Any) -> Any:
    """Time derivative of (methanol, olefins, paraffins)."""
    rates = p["rates"]
    shared = (rates[1] + rates[4]) * y[0] + y[1]
    return np.array(
        [
            -(2.0 * rates[1] - rates[0] * y[1] / shared + rates[2] + rates[3]) * y[0],
            rates[0] * y[0] * (rates[1] * y[0] - y[1]) / shared + rates[2] * y[0],
            rates[0] * y[0] * (y[1] + rates[4] * y[0]) / shared + rates[3] * y[0],
        ]
    )


def build(*, substeps: int = 8) -> to.Problem:
    """Least-squares fit of the five rates."""
    return fit(
        "methanol",
        conversion,
        {"rates": to.Free(np.zeros(5), np.full(5, 50.0), guess=np.array([2.0, 2.0, 1.0, 1.0, 0.1]))},
        states=("methanol", "olefins", "paraffins"),
        initial_state=[1.0, 0.0, 0.0],
        intervals=np.diff(TIMES),
        steps=STEPS,
        substeps=substeps,
        samples=SAMPLES,
        taken=STEPS * np.arange(len(TIMES)),
    )


ENTRIES = (
    Entry(
        "methanol",
        build,
        Reference(
            optimum=0.00902229,
            digits=6,
            source="Maria 1989; Floudas et al. 1999; COPS 3.0 methanol (9.02229e-3)",
            tags=("smooth", "discrete", "free-parameters"),
        ),
    ),
)
