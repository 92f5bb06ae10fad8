"""The convex subproblem of successive convexification, stated once in cvxpy and solved again and again by Clarabel.

About a point v (all in scaled variables), with the step d as the unknown:

    minimise    g'd + |K d|^2 / 2 + lambda sum (virtual terms)
    subject to  r + J d = p - q,    r + J d - upper <= s,   lower - r - J d <= s,
                |F (v + d) + f| <= g'(v + d) + h + s,   least <= d <= greatest,    p, q, s >= 0.

g, K, r, J, the radius inside least and greatest, and lambda are cvxpy parameters, entered so that the problem is
"disciplined parametrised": a Jacobian's nonzeros j stand as R diag(j) C d with constant R and C. So cvxpy canonicalises
once (0.7 s for 100 intervals of 7 states and 3 controls), and turning new numbers into Clarabel's data takes 2 ms, a
tenth of what Clarabel then needs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from trajopt.errors import MissingExtra
from trajopt.solvers.convex_parts import Cones, ConvexParts
from trajopt.transcription.nlp import Instance

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Expansion:
    """Values and derivatives of the program at a point, all scaled.

    Attributes
    ----------
    v
        (size,) the point.
    cost, gradient
        Cost and its gradient (size,).
    rows, jacobian
        (rows,), and the nonzeros of the Jacobian.
    curvature
        Entries of K, in the order of its pattern: square roots of the convex part of the Lagrangian's Hessian.
    """

    v: Array
    cost: float
    gradient: Array
    rows: Array
    jacobian: Array
    curvature: Array


@dataclass(frozen=True, eq=False)
class Step:
    """What the subproblem proposes.

    Attributes
    ----------
    d
        (size,) the step.
    linear, rows, bounds
        (rows,), (rows,) and (size,): multipliers, positive at an active upper limit. ``linear`` leaves out the cones,
        which in ``rows`` belong to the rows that they stand for.
    """

    d: Array
    linear: Array
    rows: Array
    bounds: Array


def import_cvxpy() -> Any:
    """Return cvxpy, with Clarabel beside it.

    Raises
    ------
    MissingExtra
        When one of them is not installed.
    """
    try:
        import clarabel  # noqa: F401, PLC0415 - an extra
        import cvxpy  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(
            f"SCvx was asked for, but {error.name} is not installed; write pip install 'trajopt[convex]'."
        ) from error
    return cvxpy


class Pattern:
    """A matrix of fixed sparsity whose entries vary, and its product with a cvxpy expression."""

    def __init__(self, i: Index, j: Index, shape: tuple[int, int]) -> None:
        self.i, self.j, self.shape = i, j, shape
        ones, count = np.ones(len(i)), np.arange(len(i))
        self._sum = sp.csr_matrix((ones, (i, count)), (shape[0], len(i)))
        self._pick = sp.csr_matrix((ones, (count, j)), (len(j), shape[1]))

    def times(self, cvxpy: Any, entries: Any, d: Any) -> Any:
        """R diag(entries) C d."""
        return self._sum @ cvxpy.multiply(entries, self._pick @ d)

    def matrix(self, entries: Array) -> Any:
        """The matrix with these entries."""
        return sp.csr_matrix((entries, (self.i, self.j)), self.shape)


@dataclass(frozen=True, eq=False)
class _Side:
    """Rows, or variables, that are held, or limited from one side; ``sign`` is -1 for lower limits."""

    places: Index
    sign: float
    constraint: Any
    room: Any = None


@dataclass(frozen=True, eq=False)
class _ConeGroup:
    """Cones in scaled variables, their cvxpy constraint, and the parameters with their values at the point."""

    cones: Cones
    left: Any
    right: Any
    constraint: Any


class Subproblem:
    """The subproblem of one instance.

    Parameters
    ----------
    instance
        Gives limits and scales.
    parts
        What is convex.
    jacobian
        Sparsity of the Jacobian of all rows.
    curvature_places
        For each element with a curvature, the (copies, active) variables that it concerns.
    """

    def __init__(
        self, instance: Instance, parts: ConvexParts, jacobian: Pattern, curvature_places: Sequence[Index]
    ) -> None:
        cp = self._cvxpy = import_cvxpy()
        scaling, size = instance.scaling, len(instance.guess)
        self.jacobian, self.curvature = jacobian, _curvature_pattern(curvature_places, size)
        self.least, self.greatest = scaling.apply(instance.lower), scaling.apply(instance.upper)
        self.row_lower, self.row_upper = scaling.apply_rows(instance.row_lower), scaling.apply_rows(instance.row_upper)
        self.trusted, self._parts = parts.trusted, parts
        self._d, self._virtual = cp.Variable(size), []
        self._gradient, self._rows = cp.Parameter(size), cp.Parameter(jacobian.shape[0])
        self._entries, self._roots = cp.Parameter(len(jacobian.i)), cp.Parameter(len(self.curvature.i))
        self._penalty = cp.Parameter(nonneg=True)
        self._row_sides = self._state_rows()
        self.cones = [self._state_cones(_scaled(cones, scaling.variables)) for cones in parts.cones]
        self._box = self._state_box()
        objective = self._gradient @ self._d + self._penalty * sum(cp.sum(slack) for slack in self._virtual)
        if len(self.curvature.i):
            objective += 0.5 * cp.sum_squares(self.curvature.times(cp, self._roots, self._d))
        constraints = [each.constraint for each in (*self._row_sides, *self._box, *self.cones)]
        self._problem = cp.Problem(cp.Minimize(objective), constraints)

    def _slack(self, count: int) -> Any:
        self._virtual.append(self._cvxpy.Variable(count, nonneg=True))
        return self._virtual[-1]

    def _state_rows(self) -> list[_Side]:
        """Linearised rows: equations, and what has an upper or a lower limit."""
        model = self._rows + self.jacobian.times(self._cvxpy, self._entries, self._d)
        equal = self.row_lower == self.row_upper
        sides = []
        places = np.flatnonzero(equal)
        if len(places):
            virtual = self._slack(len(places)) - self._slack(len(places))
            sides.append(_Side(places, 1.0, model[places] - self.row_upper[places] == virtual))
        for sign, kept, limits in ((1.0, self._parts.upper, self.row_upper), (-1.0, self._parts.lower, self.row_lower)):
            places = np.flatnonzero(kept & ~equal)
            if len(places):
                excess = sign * (model[places] - limits[places])
                sides.append(_Side(places, sign, excess <= self._slack(len(places))))
        return sides

    def _state_cones(self, cones: Cones) -> _ConeGroup:
        """Cones as they are, about the point."""
        cp, (copies, k, n), size = self._cvxpy, cones.F.shape, len(self.least)
        left, right = cp.Parameter((copies, k)), cp.Parameter(copies)
        columns = np.repeat(cones.places, k, axis=0).ravel()
        F = sp.csr_matrix((cones.F.ravel(), (np.repeat(np.arange(copies * k), n), columns)), (copies * k, size))
        g = sp.csr_matrix((cones.g.ravel(), (np.repeat(np.arange(copies), n), cones.places.ravel())), (copies, size))
        inside = left + cp.reshape(F @ self._d, (copies, k), order="C")
        return _ConeGroup(cones, left, right, cp.SOC(right + g @ self._d + self._slack(copies), inside, axis=1))

    def _state_box(self) -> list[_Side]:
        """Limits of the step: bounds, and the trust region; fixed variables stay where they are."""
        cp, fixed = self._cvxpy, self.least == self.greatest
        still = self._d[np.flatnonzero(fixed)] == 0.0
        sides = [_Side(np.flatnonzero(fixed), 1.0, still, None)] if fixed.any() else []
        for sign, limits in ((1.0, self.greatest), (-1.0, self.least)):
            places = np.flatnonzero((np.isfinite(limits) | self.trusted) & ~fixed)
            if len(places):
                room = cp.Parameter(len(places), nonneg=True)
                sides.append(_Side(places, sign, sign * self._d[places] <= room, room))
        return sides

    def solve(self, at: Expansion, radius: float, cost_weight: float, penalty: float, seconds: float) -> Step | str:
        """Solve about a point; Clarabel's word in place of a step where it has none.

        Parameters
        ----------
        at
            The point, within its bounds.
        radius
            Of the trust region of the trusted variables.
        cost_weight, penalty
            Factors of the cost's model and of the sum of the virtual terms.
        seconds
            At most.
        """
        self._gradient.value, self._rows.value = cost_weight * at.gradient, at.rows
        self._entries.value, self._penalty.value = at.jacobian, penalty
        self._roots.value = np.sqrt(cost_weight) * at.curvature
        for group in self.cones:
            group.left.value, group.right.value = group.cones.values(at.v)
        reach = np.where(self.trusted, radius, np.inf)
        for side in self._box:
            room = self.greatest - at.v if side.sign > 0.0 else at.v - self.least
            if side.room is not None:
                side.room.value = np.minimum(room, reach)[side.places]
        return self._run(seconds, at)

    def _run(self, seconds: float, at: Expansion) -> Step | str:
        """Give the numbers to Clarabel. `Problem.solve` would warn of inaccurate answers; we judge them ourselves."""
        cp = self._cvxpy
        options = {**_ACCURACY, "time_limit": min(max(seconds, 0.0), _LONGEST)}
        try:
            data, chain, inverse = self._problem.get_problem_data(cp.CLARABEL, solver_opts=options)
            raw = chain.solve_via_data(self._problem, data, warm_start=False, verbose=False, solver_opts=options)
            answer = chain.invert(raw, inverse)
        except (cp.error.SolverError, ValueError, ArithmeticError) as error:
            return str(error)
        d = (answer.primal_vars or {}).get(self._d.id)
        if d is None or not np.isfinite(d).all():
            return str(raw.status)
        return self._read(np.asarray(d, dtype=float), answer.dual_vars, at)

    def _read(self, d: Array, duals: Any, at: Expansion) -> Step:
        """The step within its box, and multipliers by row and by variable."""
        linear, bounds = np.zeros(len(at.rows)), np.zeros(len(d))
        for sides, found in ((self._row_sides, linear), (self._box, bounds)):
            for side in sides:
                found[side.places] += side.sign * np.ravel(duals[side.constraint.id])
        rows = linear.copy()
        jacobian = self.jacobian.matrix(at.jacobian)
        for group in self.cones:
            weight = np.reshape(duals[group.constraint.id], (len(group.cones.rows), -1))[:, 0]
            rows[group.cones.rows] += _row_multipliers(group.cones, at.v + d, weight, jacobian)
        return Step(d, linear, rows, bounds)


_ACCURACY = {"accept_unknown": True}
"""An answer short of Clarabel's own tolerances is taken too: the ratio test sees what it is worth."""

_LONGEST = 1e9
"""Seconds; Clarabel wants a number where there is no limit."""


def _row_multipliers(cones: Cones, v: Array, weight: Array, jacobian: Any) -> Array:
    """Multipliers of the rows that the cones stand for: what gives the same gradient as weight times the cone's."""
    left, _ = cones.values(v)
    length = np.linalg.norm(left, axis=1, keepdims=True)
    unit = np.divide(left, length, out=np.zeros_like(left), where=length > 0.0)
    slope = np.einsum("ckn,ck->cn", cones.F, unit) - cones.g
    own = np.vstack(
        [jacobian[[row]][:, places].toarray() for row, places in zip(cones.rows, cones.places, strict=True)]
    )
    squared = np.sum(own * own, axis=1)
    return weight * np.divide(np.sum(slope * own, axis=1), squared, out=np.zeros_like(squared), where=squared > 0.0)


def _scaled(cones: Cones, scale: Array) -> Cones:
    """The same cones in scaled variables."""
    factors = scale[cones.places]
    return replace(cones, F=cones.F * factors[:, None, :], g=cones.g * factors)


def _curvature_pattern(places: Sequence[Index], size: int) -> Pattern:
    """Square blocks below each other, one for each copy of an element, as wide as the variables."""
    i, j, first = [np.zeros(0, dtype=np.intp)], [np.zeros(0, dtype=np.intp)], 0
    for block in places:
        copies, n = block.shape
        i.append(first + np.repeat(np.arange(copies * n), n))
        j.append(np.repeat(block, n, axis=0).ravel())
        first += copies * n
    return Pattern(np.concatenate(i), np.concatenate(j), (first, size))
