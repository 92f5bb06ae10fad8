"""The arrays of the interior-point method: where every variable, row and multiplier lies.

All variables stand in one vector v, so that barrier, multipliers of bounds and step lengths are loops over one array:

    z    x_0, u_0, x_1, u_1, ..., x_N                         n = N (nx + nu) + nx
    s    a slack for each row; rows that need none leave theirs unused            M = N nr + ne
    p, q elastic variables of rows and gaps, in feasibility restoration alone     2 (M + N nx)

and all equalities in one vector r of residuals, with multipliers m:

    rows   scale c(z) - target (EQUALITY), scale c(z) - s (INEQUALITY), 0 (UNUSED): nr of each stage, then ne of the end
    gaps   F_k(x_k, u_k) - x_{k+1}, whose multipliers are the costates of x_1, ..., x_N

to all of which restoration adds q - p.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.shooting import Functions

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

inner = kernel(no_cpython_wrapper=True, no_cfunc_wrapper=True)
"""`kernel` for functions that only other kernels call.

What Python would need in order to call them takes a third of the time that the method takes to compile. Large functions
that are called from one place are moreover inlined before they are compiled, once instead of twice.
"""

UNUSED, EQUALITY, INEQUALITY = 0, 1, 2
"""Kinds of rows."""

FIXED = -1
"""Group of an entry of the initial state that may not move."""

FILTER_SIZE = 1024
"""Pairs that the filter holds; each iteration adds at most one and dominated ones leave."""

PROGRESS = np.dtype(
    [
        (name, np.float64)
        for name in (
            "mu", "cost", "theta", "barrier", "slope", "dual_error", "primal_error", "complementarity", "violation",
            "error", "regularisation", "last_regularisation", "step", "dual_step", "theta_least", "theta_most",
            "residual", "softness", "reference_theta", "reference_barrier",
        )
    ]
    + [(name, np.int64) for name in ("filter_count", "tiny_steps", "corrections", "refinements",
    "factorisations", "blocked", "blocks", "filter_resets", "shortened", "watching")]
)  # fmt: skip
"""Scalars of a solve; a kernel reads and writes ``progress[0].mu``."""


class Data(NamedTuple):
    """The problem in numbers.

    ``times`` (N, 2) of (t_k, h), ``end_time`` (2), packed ``parameters``; ``path_rows`` (nr) and ``end_rows`` (ne):
    which rows of the compiled functions are rows here; ``kind``, ``target``, ``row_scale`` (M); ``group`` (nx): entries
    of the initial state that move as one, or FIXED; ``held`` (nu): 1 for a control without freedom; ``lower``,
    ``upper`` of v; ``cost_scale`` (1); ``elastic`` (2): price of an elastic variable and weight of the distance to
    ``reference`` (n), measured in units of ``measure`` (n); a price of zero means the problem itself.
    """

    functions: Functions
    times: Array
    end_time: Array
    parameters: Array
    path_rows: Integers
    end_rows: Integers
    kind: Integers
    target: Array
    row_scale: Array
    group: Integers
    held: Integers
    lower: Array
    upper: Array
    cost_scale: Array
    elastic: Array
    reference: Array
    measure: Array


class Point(NamedTuple):
    """Variables v, multipliers m of residuals r, and multipliers ``zl``, ``zu`` of lower and upper bounds of v."""

    v: Array
    m: Array
    zl: Array
    zu: Array
    r: Array


class Expansion(NamedTuple):
    """Derivatives, flat: F (N nx nz), gradient g (n), Hessians H (N nz nz + nx nx), rows' C (N nr nz + ne nx)."""

    F: Array
    g: Array
    H: Array
    C: Array


class System(NamedTuple):
    """The condensed Newton system: see `trajopt.solvers.kernels.interior_system`.

    ``a`` (n) gradient of the Lagrangian without bounds, ``b`` (n) with the barrier, ``sigma`` (n) diagonal of bounds,
    ``D``, ``W``, ``shift``, ``rhs`` (M + N nx).
    """

    a: Array
    b: Array
    sigma: Array
    D: Array
    W: Array
    shift: Array
    rhs: Array


class Factor(NamedTuple):
    """The Riccati factorisation; Cholesky factors have reciprocal diagonals, because every solve would divide by them.

    Gains K (N, nu, nx), factors L (N, nu, nu) of Q_uu, value Hessians P (N+1, nx, nx) as the stage before sees them,
    ``L0`` (nx, nx) of the free initial state.
    """

    K: Array
    L: Array
    P: Array
    L0: Array


class Step(NamedTuple):
    """A direction in v, m, zl, zu."""

    v: Array
    m: Array
    zl: Array
    zu: Array


class Work(NamedTuple):
    """Scratch: see `make_work` for the shapes."""

    following: Array
    cost: Array
    path: Array
    end: Array
    weights: Array
    path_weights: Array
    end_weights: Array
    hessian: Array
    gradient: Array
    path_jacobian: Array
    end_jacobian: Array
    Q: Array
    T: Array
    WC: Array
    M: Array
    vector: Array
    k: Array
    p: Array
    residual_z: Array
    residual_m: Array
    refined_z: Array
    refined_m: Array
    trial: Array
    trial_r: Array
    correction_r: Array
    filter: Array


def make_work(steps: int, nx: int, nu: int, nc: int, ne: int, size: int, residuals: int) -> Work:
    """Room for kernels; ``nc`` and ``ne`` are the compiled functions' rows, ``size`` that of v."""
    nz = nx + nu
    n = steps * nz + nx
    rows = max(nc, ne, 1)
    shapes = {
        "following": nx, "cost": 1, "path": nc, "end": ne, "weights": nx, "path_weights": nc, "end_weights": ne,
        "hessian": (nz, nz), "gradient": nz, "path_jacobian": (nc, nz), "end_jacobian": (ne, nx), "Q": (nz, nz),
        "T": (nx, nz), "WC": (rows, nz), "M": (nx, nx), "vector": (4, nz), "k": (steps, nu), "p": (steps + 1, nx),
        "residual_z": n, "residual_m": residuals, "refined_z": n, "refined_m": residuals, "trial": size,
        "trial_r": residuals, "correction_r": residuals, "filter": (FILTER_SIZE, 2),
    }  # fmt: skip
    return Work(**{name: np.zeros(shape) for name, shape in shapes.items()})
