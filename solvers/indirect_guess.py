r"""Where the search for an extremal starts: costates by least squares.

The Hamiltonian is linear in the costate and in all multipliers, so that along a given trajectory their equations

    lambda' + H_x = 0,   H_u = 0 where the control is interior or singular or switches,   transversality

are a linear least-squares problem for the costates at nodes, by the trapezoidal rule. Along the answer of a direct
solver it has a small residual; along a straight line it is at least of the right order.
"""

from __future__ import annotations

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.horizon import Free
from trajopt.solvers.indirect_structure import Structure
from trajopt.trajectory import Trajectory
from trajopt.transcription.arcs import Kind, Limit, pick
from trajopt.transcription.boundary_value import BoundaryValueProblem

Array = NDArray[np.float64]

POINTS = 81
"""Nodes in all; the trapezoidal rule with 80 intervals is good to three digits, and Newton's method does the rest."""


def first_guess(bvp: BoundaryValueProblem, structure: Structure, guess: Trajectory) -> tuple[Array, Array, Array]:
    """Return s (M,), Y (size, M) and P from a trajectory."""
    problem, count = bvp.problem, len(bvp.arcs)
    points = max(9, POINTS // count)
    s = np.linspace(0.0, 1.0, points)
    times = np.concatenate([a + (b - a) * s for a, b in zip(structure.times, structure.times[1:], strict=False)])
    arc = np.repeat(np.arange(count), points)
    x = np.stack([np.interp(times, guess.t, column) for column in guess.x.T], axis=1)
    # Looked at a little inside: at a switch of the guess the control of the other side would come in.
    inside = np.tile(1e-9 + (1.0 - 2e-9) * s, count)
    starts, spans = structure.times[arc], np.diff(structure.times)[arc]
    u = guess.control(starts + spans * inside)
    for i, pattern in enumerate(structure.patterns):
        for j, kind in enumerate(pattern):
            if kind in (Kind.LOWER, Kind.UPPER):
                u[arc == i, j] = problem.control_bounds[int(kind is Kind.UPPER), j]
    u = np.clip(u, *problem.control_bounds)
    P = np.zeros(bvp.numbers)
    P[bvp.slices["start"]] = guess.t[0]
    P[bvp.slices["duration"]] = guess.t[-1] - guess.t[0]
    P[bvp.slices["switches"]] = structure.times[1:-1]
    packed = problem.layout.pack({**(problem.parameters or {}), **guess.parameters})
    P[bvp.slices["parameters"]] = packed[bvp.free]
    costates = _Costates(bvp, structure, times, arc, x, u, packed)
    found = costates.solve()
    P[bvp.slices["terminal"]], P[bvp.slices["boundary"]], P[bvp.slices["integral"]] = costates.prices(found)
    Y = np.zeros((bvp.size, points))
    nx = problem.nx
    for i, kinds in enumerate(bvp.arcs):
        rows, first = arc == i, int(bvp.offsets[i])
        Y[first : first + nx] = x[rows].T
        Y[first + nx : first + 2 * nx] = found[rows, :nx].T
        regular = [j for j, kind in enumerate(kinds.kinds) if kind is Kind.INTERIOR or isinstance(kind, Limit)]
        if kinds.states.numel():
            Y[first + 2 * nx : first + 2 * nx + len(regular)] = u[rows][:, regular].T
    return s, Y, P


class _Costates:
    """The linear system, dense: a few hundred unknowns."""

    def __init__(
        self, bvp: BoundaryValueProblem, structure: Structure, times: Array, arc: Array, x: Array, u: Array, p: Array
    ) -> None:
        self.bvp, self.structure, self.times, self.arc, self.x, self.u, self.p = bvp, structure, times, arc, x, u, p
        self.kinds = ("terminal", "boundary", "integral")
        self.rows = {kind: [row.row for row in bvp.rows if row.kind == kind] for kind in self.kinds}
        self.ends = [len(self.rows[kind]) for kind in self.kinds]
        nx = bvp.problem.nx
        self.columns = len(times) * nx + sum(self.ends)
        self.matrix: list[Array] = []
        self.right: list[float] = []

    def prices(self, found: Array) -> list[Array]:
        """Multipliers of the end rows by kind."""
        return np.split(self.tail, np.cumsum(self.ends)[:-1])

    def _add(self, weight: float, constant: float, *terms: tuple[slice, Array]) -> None:
        row = np.zeros(self.columns)
        for where, values in terms:
            row[where] += weight * values
        self.matrix.append(row)
        self.right.append(-weight * constant)

    def _node(self, k: int) -> slice:
        nx = self.bvp.problem.nx
        return slice(k * nx, (k + 1) * nx)

    def _tail(self, kind: str) -> slice:
        first = len(self.times) * self.bvp.problem.nx + sum(self.ends[: self.kinds.index(kind)])
        return slice(first, first + len(self.rows[kind]))

    def solve(self) -> Array:
        """Costates at the nodes, (M, nx); multipliers of the ends are kept for `prices`."""
        self._rates()
        self._ends()
        matrix, right = np.array(self.matrix), np.array(self.right)
        finite = np.isfinite(matrix).all(axis=1) & np.isfinite(right)
        answer = np.linalg.lstsq(matrix[finite], right[finite], rcond=None)[0]
        nodes = len(self.times) * self.bvp.problem.nx
        self.tail = answer[nodes:]
        return answer[:nodes].reshape(len(self.times), -1)

    def _evaluate(self) -> tuple[Array, Array, Array]:
        """Derivatives by (x, u) and values of (L, f, integrands) at the nodes."""
        m = self.bvp.problem.model
        integrands = pick(m.integral.expression, self.rows["integral"])
        stacked = ca.vertcat(m.stage_cost, m.dynamics, integrands)
        outputs = [ca.densify(stacked), *(ca.densify(ca.jacobian(stacked, v)) for v in (m.x, m.u))]
        function = ca.Function("parts", [m.x, m.u, m.t, m.p], outputs)
        values = [function(self.x[k], self.u[k], self.times[k], self.p) for k in range(len(self.times))]
        return tuple(np.array([np.asarray(value[i]) for value in values]) for i in range(3))  # type: ignore[return-value]

    def _rates(self) -> None:
        """Costate equations on the intervals, and H_u at the nodes."""
        nx, integral = self.bvp.problem.nx, self._tail("integral")
        self.values, by_x, by_u = self._evaluate()
        total = self.times[-1] - self.times[0]
        for k in range(len(self.times) - 1):
            h, unit = self.times[k + 1] - self.times[k], np.eye(nx)
            weight = 1.0 / np.sqrt(h / total) if h > 0.0 < total else np.sqrt(float(len(self.times)))
            for i in range(nx):
                terms, constant = [(self._node(k + 1), unit[i]), (self._node(k), -unit[i])], 0.0
                for node in (k, k + 1):
                    terms.append((self._node(node), 0.5 * h * by_x[node, 1 : 1 + nx, i]))
                    terms.append((integral, 0.5 * h * by_x[node, 1 + nx :, i]))
                    constant += 0.5 * h * by_x[node, 0, i]
                self._add(weight, constant, *terms)
        patterns, last = self.structure.patterns, len(self.times) - 1
        for k, i in enumerate(self.arc):
            switch = (k < last and self.arc[k + 1] != i) or (k > 0 and self.arc[k - 1] != i)
            for j, kind in enumerate(patterns[i]):
                other = patterns[self.arc[k + 1] if k < last and self.arc[k + 1] != i else self.arc[max(k - 1, 0)]]
                if kind in (Kind.INTERIOR, Kind.SINGULAR, Kind.CLIPPED) or (switch and kind != other[j]):
                    weight = 1.0 if switch else 1.0 / np.sqrt(len(self.times))
                    slope = by_u[k, :, j]
                    self._add(weight, slope[0], (self._node(k), slope[1 : 1 + nx]), (integral, slope[1 + nx :]))

    def _ends(self) -> None:
        """Transversality; the end rows' gradients are taken at the ends of the guess."""
        problem, m, nx = self.bvp.problem, self.bvp.problem.model, self.bvp.problem.nx
        functions = ca.vertcat(
            m.terminal_cost,
            pick(m.terminal.expression, self.rows["terminal"]),
            pick(m.boundary.expression, self.rows["boundary"]),
        )
        functions = ca.substitute([functions], [m.x, m.t], [m.xf, m.tf])[0]
        symbols = [m.x0, m.xf, m.t0, m.tf, m.p]
        slopes = [ca.densify(ca.jacobian(functions, v)) for v in symbols[:4]]
        where = [self.x[0], self.x[-1], self.times[0], self.times[-1], self.p]
        by_x0, by_xf, by_t0, by_tf = (np.asarray(v) for v in ca.Function("ends", symbols, slopes)(*where))
        tail = slice(self._tail("terminal").start, self._tail("boundary").stop)
        last = self._node(len(self.times) - 1)
        for i in range(nx):
            self._add(1.0, -by_xf[0, i], (last, np.eye(nx)[i]), (tail, -by_xf[1:, i]))
            if np.isnan(problem.initial_values[i]):
                self._add(1.0, by_x0[0, i], (self._node(0), np.eye(nx)[i]), (tail, by_x0[1:, i]))
        begin, end = self.values[0, :, 0], self.values[-1, :, 0]
        integral = self._tail("integral")
        of_end = ((last, end[1 : 1 + nx]), (integral, end[1 + nx :]))
        if isinstance(problem.horizon.duration, Free):
            self._add(1.0, end[0] + by_tf[0, 0], *of_end, (tail, by_tf[1:, 0]))
        if isinstance(problem.horizon.start, Free):
            of_start = ((self._node(0), -begin[1 : 1 + nx]), (integral, -begin[1 + nx :]))
            constant = end[0] - begin[0] + by_t0[0, 0] + by_tf[0, 0]
            self._add(1.0, constant, *of_end, *of_start, (tail, by_t0[1:, 0] + by_tf[1:, 0]))
