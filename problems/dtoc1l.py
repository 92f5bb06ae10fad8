"""DTOC1L: linear dynamics in discrete time with a quartic cost.

States y (4), controls x (2); with N = 10 knots and sums over their entries,

    y[t+1] = A y[t] + B x[t],   minimise sum_{t<N} sum (x[t] + 1/2)^4 + sum_{t<=N} sum (y[t] + 1/4)^4,   y[1] = 0,

A tridiagonal with 1/2 on the diagonal, 1/4 above and -1/4 below; B_ij = (i - j)/(nx + ny), counted from one.
Optima for (N, nx, ny) = (50, 2, 4), (100, 2, 4), (10, 5, 10), (50, 5, 10): 0.22994187594448, 0.42536827959849,
1.14985541429912, 6.1678467270876.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def matrices(controls: int, states: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return A: (states, states) and B: (states, controls)."""
    a = 0.5 * np.eye(states) + 0.25 * np.eye(states, k=1) - 0.25 * np.eye(states, k=-1)
    rows, columns = np.indices((states, controls)) + 1
    return a, (rows - columns) / (controls + states)


def build(*, controls: int = 2, states: int = 4, steps: int = 9) -> to.Problem:
    """DTOC1L with ``steps`` steps, hence N = steps + 1 knots."""
    a, b = matrices(controls, states)
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: a @ x + b @ u, nx=states, nu=controls),
        stage_cost=lambda x, u: np.sum((u + 0.5) ** 4) + np.sum((x + 0.25) ** 4),
        terminal_cost=lambda x: np.sum((x + 0.25) ** 4),
        initial_state=np.zeros(states),
        horizon=to.Horizon(steps=steps),
        name="dtoc1l",
    )


ENTRIES = (
    Entry(
        "dtoc1l",
        build,
        Reference(
            optimum=0.07359453893813603,
            digits=11,
            source="Coleman and Liao 1995; CUTEst DTOC1L with (N, nx, ny) = (10, 2, 4); condensed Newton",
            note="convex, but its Hessian vanishes where x = -1/2 or y = -1/4",
            tags=("smooth", "discrete"),
        ),
    ),
)
