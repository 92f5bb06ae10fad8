r"""The boundary-value problem of Pontryagin's principle over J arcs, as one two-point problem on [0, 1].

Arc j lasts from T_j to T_{j+1} and is stretched to s in [0, 1]; its unknown functions are

    y_j = (x, lambda, implicit controls, int H_p for free parameters p, integrals of active integral rows),

and Y = (y_0, ..., y_{J-1}) are integrated side by side. Unknown numbers P are switching times, free start and duration,
free parameters, multipliers of active end rows (terminal, boundary, integral) and jumps of the costate. With what is
paid at the ends, Phi(x0, xf, t0, tf, p) = phi + nu' psi + beta' b, their equations are

    lambda(0) = -Phi_x0 where x(0) is free,   lambda(tf) = Phi_xf,   int H_p + Phi_p = 0,
    H(tf) + Phi_tf = 0 for a free duration,   -H(t0) + H(tf) + Phi_t0 + Phi_tf = 0 for a free start (tf moves along),

and at each switch, x being continuous and lambda too but for the entry to a limit of order q >= 1 with tangency
conditions N = (g, ..., g^(q-1)) = 0, where lambda- = lambda+ + N_x' pi, one equation for the time:

    bang to bang              H_u = 0
    bang to singular and on   H_u = 0 and d/dt H_u = 0 at the entry, nothing at the exit
    bang to limit and back    H_u = 0 on the bang
    regular control           it is continuous: what defines one side holds on the other
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.horizon import Free
from trajopt.problem import Problem
from trajopt.transcription.arcs import Arc, Kind, Limit, is_linear, pick
from trajopt.transcription.hamiltonian import Hamiltonian

Array = NDArray[np.float64]

_BANG = (Kind.LOWER, Kind.UPPER)


@dataclass(frozen=True)
class EndRow:
    """A row that counts as an equality: its kind ("terminal", "boundary", "integral"), number and active limit.

    ``sign`` is +1 for an upper limit, -1 for a lower one, 0 for an equality.
    """

    kind: str
    row: int
    limit: float
    sign: int


@dataclass(frozen=True, eq=False)
class Point:
    """One place of one arc: functions of Y's part and P there."""

    arc: Arc
    x: ca.SX
    costate: ca.SX
    states: ca.SX
    t: ca.SX


@dataclass(eq=False)
class BoundaryValueProblem:
    """Compiled equations.

    Parameters
    ----------
    problem
        The problem; its fixed parameters are put in.
    hamiltonian
        From which the arcs were derived: they share its symbols.
    arcs
        Their equations, in order.
    rows
        End rows that are active.

    Attributes
    ----------
    size
        Length of Y.
    slices
        Where each group of numbers stands in P: "start", "duration", "switches", "parameters", "terminal",
        "boundary", "integral", "jumps".
    """

    problem: Problem
    hamiltonian: Hamiltonian
    arcs: Sequence[Arc]
    rows: Sequence[EndRow]
    slices: dict[str, slice] = field(init=False)

    def __post_init__(self) -> None:
        self.linear = is_linear(self.hamiltonian)
        self.free = self.problem.layout.free_entries
        horizon, arcs = self.problem.horizon, self.arcs
        counts = {
            "start": int(isinstance(horizon.start, Free)),
            "duration": int(isinstance(horizon.duration, Free)),
            "switches": len(arcs) - 1,
            "parameters": self.free.size,
            **{kind: sum(row.kind == kind for row in self.rows) for kind in ("terminal", "boundary", "integral")},
            "jumps": sum(self._tangency(i).numel() for i in range(1, len(arcs))),
        }
        ends = np.cumsum([0, *counts.values()])
        self.slices = {name: slice(int(ends[i]), int(ends[i + 1])) for i, name in enumerate(counts)}
        self.numbers = int(ends[-1])
        quadratures = counts["parameters"] + counts["integral"]
        self.widths = [2 * self.problem.nx + arc.states.numel() + quadratures for arc in arcs]
        self.offsets = np.cumsum([0, *self.widths])
        self.size = int(self.offsets[-1])
        self._compile()

    def _tangency(self, i: int) -> ca.SX:
        """Tangency rows of the limits that arc i enters."""
        arc, before = self.arcs[i], {limit.name for limit in self.arcs[i - 1].limits}
        pairs = zip(arc.limits, arc.tangency, strict=True)
        return ca.vertcat(ca.SX(0, 1), *(rows for limit, rows in pairs if limit.name not in before))

    def _symbols(self) -> None:
        problem, P = self.problem, ca.SX.sym("P", self.numbers)
        self.P = P
        packed = ca.SX(ca.DM(problem.layout.pack(problem.parameters)))
        for place, entry in enumerate(self.free):
            packed[int(entry)] = P[self.slices["parameters"]][place]
        self.p = packed
        horizon = problem.horizon
        self.t0 = P[self.slices["start"]] if isinstance(horizon.start, Free) else ca.SX(horizon.start_guess)
        length = P[self.slices["duration"]] if isinstance(horizon.duration, Free) else ca.SX(horizon.duration_guess)
        self.tf = self.t0 + length
        switches = P[self.slices["switches"]]
        self.times = [self.t0, *ca.vertsplit(switches), self.tf] if len(self.arcs) > 1 else [self.t0, self.tf]
        self.prices = ca.SX.zeros(len(problem.model.integral))
        for place, row in enumerate(row for row in self.rows if row.kind == "integral"):
            self.prices[row.row] = P[self.slices["integral"]][place]

    def _point(self, i: int, y: ca.SX, t: ca.SX) -> Point:
        nx, k = self.problem.nx, self.arcs[i].states.numel()
        return Point(self.arcs[i], y[:nx], y[nx : 2 * nx], y[2 * nx : 2 * nx + k], t)

    def at(self, point: Point, *expressions: ca.SX, u: ca.SX | None = None) -> list[ca.SX]:
        """Expressions of an arc with the point's values put in; ``u`` replaces the control symbols."""
        m, h = self.problem.model, self.hamiltonian
        old = [m.x, h.costate, m.t, m.p, h.prices, point.arc.states]
        new = [point.x, point.costate, point.t, self.p, self.prices, point.states]
        if u is not None:
            old, new = [*old, m.u], [*new, u]
        return ca.substitute(list(expressions), old, new)

    def _compile(self) -> None:
        self._symbols()
        s, Y, Z = ca.SX.sym("s"), ca.SX.sym("Y", self.size), ca.SX.sym("Z", self.size)
        P, slopes, self.inspections = self.P, [], []
        for i in range(len(self.arcs)):
            span = self.times[i + 1] - self.times[i]
            y = Y[int(self.offsets[i]) : int(self.offsets[i + 1])]
            point = self._point(i, y, self.times[i] + span * s)
            slopes.append(span * self._slope(point))
            self.inspections.append(self._inspection(i, point, s, Y))
        slope = ca.vertcat(*slopes)
        self.rates = ca.Function("rates", [s, Y, P], [ca.densify(slope)])
        parts = [ca.densify(ca.jacobian(slope, Y)), ca.densify(ca.jacobian(slope, P))]
        self.rates_jacobian = ca.Function("rates_jacobian", [s, Y, P], parts)
        ends = self._ends(Y, Z)
        assert ends.numel() == self.size + self.numbers
        self.ends = ca.Function("ends", [Y, Z, P], [ca.densify(ends)])
        self._numbers = ca.Function("numbers", [P], [ca.vertcat(*self.times), self.p])
        parts = [ca.densify(ca.jacobian(ends, v)) for v in (Y, Z, P)]
        self.ends_jacobian = ca.Function("ends_jacobian", [Y, Z, P], parts)

    def read_numbers(self, P: Array) -> tuple[Array, Array]:
        """Times of the ends of the arcs, (J+1,), and the packed parameters."""
        times, packed = self._numbers(P)
        return np.asarray(times).ravel(), np.asarray(packed).ravel()

    def _integrands(self) -> ca.SX:
        return pick(self.problem.model.integral.expression, (row.row for row in self.rows if row.kind == "integral"))

    def _slope(self, point: Point) -> ca.SX:
        """Time derivative of an arc's part of Y."""
        arc, m = point.arc, self.problem.model
        by_parameters = pick(ca.gradient(self.hamiltonian.expression, m.p), self.free)
        by_parameters = ca.substitute(
            by_parameters, self.hamiltonian.densities, ca.SX.zeros(self.hamiltonian.densities.numel())
        )
        control = self.at(point, arc.control)[0]
        quadratures = self.at(point, ca.vertcat(by_parameters, self._integrands()), u=control)[0]
        rates = self.at(point, arc.dynamics, arc.costate_rate, arc.states_rate)
        return ca.vertcat(*rates, quadratures)

    def _inspection(self, i: int, point: Point, s: ca.SX, Y: ca.SX) -> ca.Function:
        """Everything that is looked at along an arc."""
        arc, m = point.arc, self.problem.model
        control = self.at(point, arc.control)[0]
        limits = ca.vertcat(m.x, m.path.expression)
        named = {
            "t": point.t,
            "x": point.x,
            "costate": point.costate,
            "u": control,
            "cost": self.at(point, m.stage_cost, u=control)[0],
            "hamiltonian": self.at(point, arc.hamiltonian)[0],
            "gradient": self.at(point, arc.gradient)[0],
            "curvature": self.at(point, ca.densify(arc.curvature))[0],
            "kelley": self.at(point, ca.densify(arc.kelley))[0],
            "switching": self.at(point, ca.vertcat(*arc.switching.values()))[0],
            "along": self.at(point, limits, u=control)[0],
            "densities": self.at(point, ca.vertcat(*(arc.densities or ())))[0],
            "correction": self.at(point, arc.correction if arc.correction is not None else ca.SX.zeros(m.x.numel()))[0],
        }
        outputs = [ca.densify(value) for value in named.values()]
        return ca.Function(f"arc_{i}", [s, Y, self.P], outputs, ["s", "Y", "P"], list(named))

    def _ends(self, Y: ca.SX, Z: ca.SX) -> ca.SX:
        """Rows of boundary and junction equations, of Y at s = 0 and Z at s = 1."""
        count, nx = len(self.arcs), self.problem.nx
        parts = [slice(int(self.offsets[i]), int(self.offsets[i + 1])) for i in range(count)]
        starts = [self._point(i, Y[parts[i]], self.times[i]) for i in range(count)]
        finals = [self._point(i, Z[parts[i]], self.times[i + 1]) for i in range(count)]
        head = [2 * nx + arc.states.numel() for arc in self.arcs]
        rows = [self.at(start, start.arc.start)[0] for start in starts]
        rows.append(Y[parts[0]][head[0] :])
        used = 0
        for i in range(1, count):
            rows += [starts[i].x - finals[i - 1].x, Y[parts[i]][head[i] :] - Z[parts[i - 1]][head[i - 1] :]]
            tangency = self._tangency(i)
            first = self.slices["jumps"].start + used
            jumps = pick(self.P, range(first, first + tangency.numel()))
            used += tangency.numel()
            values = self.at(starts[i], tangency, ca.jacobian(tangency, self.problem.model.x).T @ jumps)
            rows += [values[0], finals[i - 1].costate - starts[i].costate - values[1]]
            rows.append(self._switch(i, finals[i - 1], starts[i]))
        rows.append(self._transversality(starts[0], finals[-1], Z[parts[-1]][head[-1] :]))
        return ca.vertcat(*rows)

    def _switch(self, i: int, left: Point, right: Point) -> ca.SX:
        """The equations that determine a switching time."""
        j = next(k for k in range(self.problem.nu) if left.arc.kinds[k] != right.arc.kinds[k])
        before, after = left.arc.kinds[j], right.arc.kinds[j]
        gradients = self.at(left, left.arc.gradient[j]), self.at(right, right.arc.gradient[j])
        if self.linear[j]:
            if after is Kind.SINGULAR:
                pair = self.at(right, right.arc.switching[j])[0]
                return pair if i < len(self.arcs) - 1 else pair[0]
            if before is Kind.SINGULAR:
                return gradients[1][0] if i == 1 else ca.SX(0, 1)
            return gradients[0][0] if before in _BANG else gradients[1][0]
        controls = self.at(left, left.arc.control)[0], self.at(right, right.arc.control)[0]
        for arc, kind, other, u in ((right.arc, after, left, controls[0]), (left.arc, before, right, controls[1])):
            if isinstance(kind, Limit):
                return self.at(other, arc.highest[arc.limits.index(kind)], u=u)[0]
        return controls[0][j] - controls[1][j]

    def _transversality(self, start: Point, final: Point, quadratures: ca.SX) -> ca.SX:
        """The equations at both ends of the horizon."""
        problem, m = self.problem, self.problem.model
        ends = [("terminal", m.terminal), ("boundary", m.boundary)]
        paid, values = m.terminal_cost, []
        for kind, table in ends:
            prices = self.P[self.slices[kind]]
            for place, row in enumerate(row for row in self.rows if row.kind == kind):
                paid += prices[place] * (table.expression[row.row] - row.limit)
                values.append(table.expression[row.row] - row.limit)
        # Terminal functions speak of (x, t), boundary functions of both ends: x is xf, and t is tf.
        paid, *values = ca.substitute([paid, *values], [m.x, m.t], [m.xf, m.tf])
        old, new = [m.x0, m.xf, m.t0, m.tf, m.p], [start.x, final.x, self.t0, self.tf, self.p]
        slopes = [ca.gradient(paid, v) for v in (m.x0, m.xf, m.t0, m.tf, m.p)]
        by_start, by_final, by_t0, by_tf, by_p, *values = ca.substitute([*slopes, *values], old * 1, new)
        given, rows = problem.initial_values, [final.costate - by_final, *values]
        for i, value in enumerate(given):
            rows.append(start.costate[i] + by_start[i] if np.isnan(value) else start.x[i] - value)
        first, last = self.at(start, start.arc.hamiltonian)[0], self.at(final, final.arc.hamiltonian)[0]
        if self.slices["start"].stop > self.slices["start"].start:
            rows.append(last - first + by_t0 + by_tf)
        if self.slices["duration"].stop > self.slices["duration"].start:
            rows.append(last + by_tf)
        rows.append(pick(quadratures, range(self.free.size)) + pick(by_p, self.free))
        limits = [row.limit for row in self.rows if row.kind == "integral"]
        rows += [quadratures[self.free.size + place] - limit for place, limit in enumerate(limits)]
        return ca.vertcat(*rows)
