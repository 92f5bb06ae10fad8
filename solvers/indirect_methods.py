r"""Two ways to solve the boundary-value problem: collocation, and multiple shooting.

Collocation is SciPy's `solve_bvp`: three-stage Lobatto with a mesh that its residual refines (Kierzenka and Shampine,
ACM TOMS 27(3), 2001). Multiple shooting integrates Y' = F(s, Y, P) and its variational equations over K segments from
values Y_k that are unknowns, and solves

    Y_{k+1} - Phi_k(Y_k, P) = 0,   ends(Y_0, Y_K, P) = 0

by Newton's method, whose steps are damped so that the simplified correction shrinks: with d = -J^-1 F(w) and
d* = -J^-1 F(w + a d), the step a is taken if |d*| <= (1 - a/4) |d|. That test does not change with the scaling of the
equations. Reference: Deuflhard, Newton Methods for Nonlinear Problems, 2004, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_bvp, solve_ivp
from scipy.sparse import csc_matrix
from scipy.sparse.linalg import SuperLU, splu

from trajopt.monitor import Monitor
from trajopt.reintegration import GAUSS_NODES
from trajopt.sensitivity import gauss_steps
from trajopt.status import Status
from trajopt.transcription.boundary_value import BoundaryValueProblem

Array = NDArray[np.float64]

UNKNOWNS = 100_000
"""Of collocation, at most: 1e-10 takes some hundred nodes on a smooth arc, and the factors of more fill the memory."""

LEAST_STEP = 1e-6
"""Damping below which Newton's method has met a singular Jacobian: Deuflhard's recommendation is 1e-4 to 1e-8."""


@dataclass(frozen=True, eq=False)
class Extremal:
    """What a method found.

    Attributes
    ----------
    status, detail
        How it ended.
    P
        The numbers.
    at
        Function of an array s (n,) to Y (size, n).
    s
        (M,) mesh, from 0 to 1.
    iterations
        Newton steps.
    """

    status: Status
    detail: str
    P: Array
    at: Callable[[Array], Array]
    s: Array
    iterations: int


class _Stop(Exception):
    """Leaves SciPy's loop."""

    def __init__(self, status: Status) -> None:
        super().__init__(status)
        self.status = status


class _Equations:
    """The compiled functions on arrays, and the cost of an iterate for the monitor."""

    def __init__(self, bvp: BoundaryValueProblem) -> None:
        self.bvp = bvp

    def rates(self, s: Array, Y: Array, P: Array) -> Array:
        return np.asarray(self.bvp.rates(s[None, :], Y, P))

    def rates_jacobian(self, s: Array, Y: Array, P: Array) -> tuple[Array, Array]:
        parts = self.bvp.rates_jacobian(s[None, :], Y, P)
        sizes = (self.bvp.size, self.bvp.numbers)
        by = [np.asarray(part).reshape(self.bvp.size, s.size, n) for part, n in zip(parts, sizes, strict=True)]
        return by[0].transpose(0, 2, 1), by[1].transpose(0, 2, 1)

    def ends(self, Ya: Array, Yb: Array, P: Array) -> Array:
        return np.asarray(self.bvp.ends(Ya, Yb, P)).ravel()

    def ends_jacobian(self, Ya: Array, Yb: Array, P: Array) -> tuple[Array, ...]:
        return tuple(np.asarray(part) for part in self.bvp.ends_jacobian(Ya, Yb, P))

    def cost(self, s: Array, Y: Array, P: Array) -> float:
        """The integral by the trapezoidal rule, and the terminal cost: for display."""
        total = 0.0
        for inspect in self.bvp.inspections:
            seen = inspect.call({"s": s[None, :], "Y": Y, "P": P})
            t, rate = np.asarray(seen["t"]).ravel(), np.asarray(seen["cost"]).ravel()
            total += float(np.trapezoid(rate, t))
        return total + terminal_cost(self.bvp, Y[:, -1], P)


def terminal_cost(bvp: BoundaryValueProblem, Yb: Array, P: Array) -> float:
    """What the end costs, by Y at s = 1."""
    m, first = bvp.problem.model, int(bvp.offsets[-2])
    function = ca.Function("terminal_cost", [m.x, m.t, m.p], [m.terminal_cost])
    times, p = bvp.read_numbers(P)
    return float(function(Yb[first : first + bvp.problem.nx], times[-1], p))


def collocate(
    bvp: BoundaryValueProblem, start: tuple[Array, Array, Array], tolerance: float, iterations: int, monitor: Monitor
) -> Extremal:
    """Solve by SciPy's collocation."""
    equations, (s, Y, P), nodes_at_most = _Equations(bvp), start, UNKNOWNS // bvp.size
    seen: list[tuple[Array, Array, Array]] = [start]
    count = [-1]

    def packed(p: Array | None) -> Array:
        return np.zeros(0) if p is None else p

    def rates(s: Array, Y: Array, p: Array | None = None) -> Array:
        return equations.rates(s, Y, packed(p))

    def ends(a: Array, b: Array, p: Array | None = None) -> Array:
        return equations.ends(a, b, packed(p))

    def rates_jacobian(s: Array, Y: Array, p: Array | None = None) -> Array | tuple[Array, Array]:
        seen.append((s, Y, packed(p)))
        by = equations.rates_jacobian(s, Y, packed(p))
        return by if bvp.numbers else by[0]

    def ends_jacobian(a: Array, b: Array, p: Array | None = None) -> tuple[Array, ...]:
        # SciPy asks for the ends last when it makes the matrix of a Newton step: one iteration, as it were.
        nodes = next(point for point in reversed(seen) if point[0][0] == 0.0)
        seen[:] = [nodes]
        count[0] += 1
        distance = np.abs(equations.ends(a, b, packed(p))).max(initial=0.0)
        stop = monitor.observe(equations.cost(*nodes), distance)
        if stop is None and count[0] > iterations:
            stop = Status.ITERATION_LIMIT
        if stop is not None:
            raise _Stop(stop)
        by = equations.ends_jacobian(a, b, packed(p))
        return by if bvp.numbers else by[:2]

    try:
        with np.errstate(all="ignore"):
            found = solve_bvp(
                rates, ends, s, Y, P if bvp.numbers else None, fun_jac=rates_jacobian, bc_jac=ends_jacobian,
                tol=tolerance, max_nodes=nodes_at_most,
            )  # fmt: skip
    except _Stop as stop:
        s, Y, P = seen[-1]
        return Extremal(stop.status, "", P, _linear(s, Y), s, max(0, count[0]))
    except KeyboardInterrupt:
        s, Y, P = seen[-1]
        return Extremal(Status.INTERRUPTED, "", P, _linear(s, Y), s, max(0, count[0]))
    detail = {
        0: "",
        1: f"The mesh of {nodes_at_most} nodes is full.",
        2: "The Jacobian of the collocation is singular.",
    }.get(found.status, "The boundary conditions cannot be met on this mesh.")
    status = Status.SOLVED if found.status == 0 else Status.STALLED
    if not np.isfinite(found.y).all():
        status, detail = Status.NUMERICAL_FAILURE, ""
    if status is Status.STALLED:
        detail += " Give a guess that is nearer, such as the answer of Collocation(), or another structure."
    return Extremal(status, detail, packed(found.p), found.sol, found.x, count[0])


def _linear(s: Array, Y: Array) -> Callable[[Array], Array]:
    return lambda places: np.stack([np.interp(places, s, row) for row in Y])


class Shooting:
    """Newton's method on the values at the ends of the segments.

    Parameters
    ----------
    bvp, start
        The equations, and (s, Y, P) to start from.
    segments
        Number of segments K of [0, 1], on each arc.
    integrator
        A method of SciPy's `solve_ivp`.
    tolerance
        Of the Newton step, relative to the size of each unknown.
    """

    def __init__(
        self, bvp: BoundaryValueProblem, start: tuple[Array, Array, Array], segments: int, integrator: str,
        tolerance: float,
    ) -> None:  # fmt: skip
        self.equations, self.bvp = _Equations(bvp), bvp
        self.segments, self.integrator, self.tolerance = segments, integrator, tolerance
        self.s = np.linspace(0.0, 1.0, segments + 1)
        s, Y, self.P = start
        self.Y = _linear(s, Y)(self.s)
        self.pieces: list = []
        self.iterations, self.damping, self.detail = 0, 1.0, ""

    def solve(self, iterations: int, monitor: Monitor) -> Extremal:
        """Iterate until the Newton step is below the tolerance."""
        with np.errstate(all="ignore"):
            self.residual, matrix = self._linearise(self.Y, self.P)
            stop = monitor.observe(self.equations.cost(self.s, self.Y, self.P), float(np.abs(self.residual).max()))
            if not np.isfinite(self.residual).all():
                stop, self.detail = Status.NUMERICAL_FAILURE, "The canonical equations blow up along the guess."
            self.factors = self._factor(matrix)
            status = stop if stop is not None else monitor.run(self._step, iterations)
        return Extremal(status, self.detail, self.P, self._at, self.s, self.iterations)

    def _integrate(self, Y: Array, P: Array, *, dense: bool) -> list | None:
        """Integrate every segment; None when one blows up."""
        relative = max(1e-13, 0.1 * self.tolerance)  # the error of Phi must not hide in the Newton step
        pieces = []
        for k in range(self.segments):
            run = solve_ivp(
                lambda s, y: np.asarray(self.bvp.rates(s, y, P)).ravel(),
                self.s[k : k + 2], Y[:, k], self.integrator, dense_output=dense, rtol=relative, atol=relative,
            )  # fmt: skip
            if run.status != 0 or not np.isfinite(run.y[:, -1]).all():
                return None
            pieces.append(run)
        return pieces

    def _residual(self, Y: Array, P: Array) -> Array:
        pieces = self._integrate(Y, P, dense=False)
        if pieces is None:
            return np.full(Y.size + P.size, np.nan)
        ends = np.stack([piece.y[:, -1] for piece in pieces], axis=1)
        return np.concatenate([(Y[:, 1:] - ends).T.ravel(), self.equations.ends(Y[:, 0], Y[:, -1], P)])

    def _linearise(self, Y: Array, P: Array) -> tuple[Array, Array]:
        """Residual and Jacobian, by the variational equations along the integrated segments."""
        m, q, K = self.bvp.size, P.size, self.segments
        pieces = self._integrate(Y, P, dense=True)
        matrix = np.zeros((Y.size + q, Y.size + q))
        if pieces is None:
            return np.full(Y.size + q, np.nan), matrix
        for k, piece in enumerate(pieces):
            rows, here, there = (slice(i * m, (i + 1) * m) for i in (k, k, k + 1))
            by_y, by_p = self._variations(piece, P)
            matrix[rows, here], matrix[rows, there] = -by_y, np.eye(m)
            matrix[rows, Y.size :] = -by_p
        first, last, by_p = self.equations.ends_jacobian(Y[:, 0], Y[:, -1], P)
        matrix[K * m :, :m] += first
        matrix[K * m :, K * m : (K + 1) * m] += last
        matrix[K * m :, Y.size :] = by_p
        self.pieces = pieces
        ends = np.stack([piece.y[:, -1] for piece in pieces], axis=1)
        residual = np.concatenate([(Y[:, 1:] - ends).T.ravel(), self.equations.ends(Y[:, 0], Y[:, -1], P)])
        return residual, matrix

    def _variations(self, piece: Any, P: Array) -> tuple[Array, Array]:
        """Derivatives of a segment's end by its begin and by P: a Gauss method on the steps of the integrator."""
        m, lengths = self.bvp.size, np.diff(piece.t)
        places = (piece.t[:-1, None] + lengths[:, None] * GAUSS_NODES).ravel()
        by_y, by_p = self.equations.rates_jacobian(places, piece.sol(places), P)
        shape = (lengths.size, GAUSS_NODES.size, m)
        steps, _ = gauss_steps(
            by_y.transpose(2, 0, 1).reshape(*shape, m), by_p.transpose(2, 0, 1).reshape(*shape, P.size), lengths
        )
        total, forced = np.eye(m), np.zeros((m, P.size))
        for step in steps:
            total, forced = step[:, :m] @ total, step[:, :m] @ forced + step[:, m:]
        return total, forced

    def _factor(self, matrix: Array) -> SuperLU | None:
        if not np.isfinite(matrix).all():
            return None
        try:
            return splu(csc_matrix(matrix))
        except RuntimeError:  # exactly singular
            return None

    def _norm(self, step: Array) -> float:
        """Root mean square, each unknown measured by one plus its own size."""
        sizes = 1.0 + np.concatenate(
            [np.abs(self.Y).max(axis=1)[None].repeat(self.segments + 1, 0).ravel(), abs(self.P)]
        )
        return float(np.sqrt(np.mean((step / sizes) ** 2)))

    def _step(self) -> tuple[Status | None, dict[str, float]]:
        """One damped step."""
        if self.factors is None:
            self.detail = (
                "The Jacobian of the shooting equations is singular; give another structure, or a guess that is "
                "nearer, such as the answer of Collocation()."
            )
            return Status.STALLED, self._numbers(np.nan)
        step = self.factors.solve(-self.residual)
        size, damping = self._norm(step), min(1.0, 2.0 * self.damping)
        while damping >= LEAST_STEP:
            Y = self.Y + damping * step[: self.Y.size].reshape(-1, self.bvp.size).T
            P = self.P + damping * step[self.Y.size :]
            residual = self._residual(Y, P)
            simplified = self.factors.solve(-residual) if np.isfinite(residual).all() else None
            if simplified is not None and (
                self._norm(simplified) <= (1.0 - 0.25 * damping) * size or size <= self.tolerance
            ):
                break
            damping *= 0.5
        else:
            self.detail = "Newton's method does not get closer; give a guess that is nearer, or another structure."
            return Status.STALLED, self._numbers(size)
        self.Y, self.P, self.damping = Y, P, damping
        self.iterations += 1
        self.residual, matrix = self._linearise(Y, P)
        self.factors = self._factor(matrix)
        done = damping == 1.0 and self._norm(simplified) <= self.tolerance
        return Status.SOLVED if done else None, self._numbers(size)

    def _numbers(self, size: float) -> dict[str, float]:
        return {
            "cost": self.equations.cost(self.s, self.Y, self.P),
            "violation": float(np.abs(self.residual).max()),
            "stationarity": size,
            "step": self.damping,
        }

    def _at(self, s: Array) -> Array:
        """Y at places, from the integrated segments; from the nodes where there are none."""
        if not self.pieces:
            return _linear(self.s, self.Y)(s)
        segment = np.clip(np.searchsorted(self.s, s, side="right") - 1, 0, self.segments - 1)
        values = np.empty((self.bvp.size, s.size))
        for k in np.unique(segment):
            values[:, segment == k] = self.pieces[k].sol(s[segment == k])
        return values
