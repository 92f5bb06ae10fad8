"""The exact penalty J(v) = c(v) + lambda |violation|_1 of a program, and its convex model about a point.

Violations of rows that are kept as cones are measured as their cones do, |F v + f| - g'v - h, so that J and its model
agree on them exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Problem
from trajopt.solvers.convex_parts import ConvexParts, ElementParts, find_convex_parts, read_elements
from trajopt.solvers.convex_subproblem import Expansion, Pattern, Subproblem
from trajopt.transcription.collocation import DirectProgram
from trajopt.transcription.nlp import Instance

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Value:
    """Cost, sum of violations, and rows, at a point or as a model has them."""

    cost: float
    violation: float
    rows: Array

    @property
    def finite(self) -> bool:
        """Whether all of it are numbers."""
        return bool(np.isfinite(self.cost) and np.isfinite(self.violation) and np.isfinite(self.rows).all())


class PenaltyModel:
    """A program's functions, all in scaled variables v.

    Attributes
    ----------
    subproblem
        Its convex subproblem.
    parts
        What of it is convex.
    """

    def __init__(self, structure: DirectProgram, instance: Instance) -> None:
        program = structure.program
        self.instance, self._functions = instance, program.functions
        self.parts: ConvexParts = find_convex_parts(structure, instance)
        self._curved: list[ElementParts] = [parts for parts in read_elements(structure) if len(parts.active)]
        i, j = (np.array(part, dtype=np.intp) for part in program.functions["jac_g"].sparsity_out(1).get_triplet())
        places = [parts.element.variable_index[:, parts.active] for parts in self._curved]
        self.subproblem = Subproblem(instance, self.parts, Pattern(i, j, (program.rows, program.size)), places)
        lower, upper = self.subproblem.row_lower, self.subproblem.row_upper
        limits = [np.where(np.isfinite(limit), np.abs(limit), 0.0) for limit in (lower, upper)]
        self._lower_size, self._upper_size = (np.maximum(1.0, limit) for limit in limits)

    def within(self, v: Array) -> Array:
        """The point moved into the variables' bounds."""
        return np.clip(v, self.subproblem.least, self.subproblem.greatest)

    def value(self, v: Array) -> Value:
        """Evaluate cost and rows at a point."""
        cost, rows = self._functions["nlp"](v, self.instance.parameters)
        values = rows.full().ravel()
        return Value(float(cost), self._violation(v, values), values)

    def model(self, at: Expansion, d: Array) -> Value:
        """Cost and violation that the model about a point has at v + d."""
        sub = self.subproblem
        bent = sub.curvature.matrix(at.curvature) @ d
        rows = at.rows + sub.jacobian.matrix(at.jacobian) @ d
        return Value(at.cost + float(at.gradient @ d + 0.5 * bent @ bent), self._violation(at.v + d, rows), rows)

    def _violation(self, v: Array, rows: Array) -> float:
        sub = self.subproblem
        above = np.maximum(rows - sub.row_upper, 0.0)[self.parts.upper].sum()
        below = np.maximum(sub.row_lower - rows, 0.0)[self.parts.lower].sum()
        outside = 0.0
        for group in sub.cones:
            left, right = group.cones.values(v)
            outside += np.maximum(np.linalg.norm(left, axis=1) - right, 0.0).sum()
        return float(above + below + outside)

    def worst(self, rows: Array) -> tuple[float, int]:
        """Largest violation of a row, relative to max(1, its limit), and which it is."""
        sub = self.subproblem
        excess = np.maximum((rows - sub.row_upper) / self._upper_size, (sub.row_lower - rows) / self._lower_size)
        if not len(excess):
            return 0.0, 0
        row = int(np.argmax(excess))
        return max(0.0, float(excess[row])), row

    def expand(self, v: Array, multipliers: Array, share: float) -> Expansion | None:
        """Derivatives at a point, None unless all are finite.

        Parameters
        ----------
        v
            The point.
        multipliers
            (rows,) with which rows enter the Lagrangian, whose Hessian's convex part is taken.
        share
            Factor of that curvature.
        """
        p = self.instance.parameters
        cost, gradient = self._functions["grad_f"](v, p)
        rows, jacobian = self._functions["jac_g"](v, p)
        entries = np.array(jacobian.nonzeros(), dtype=float)
        first = (float(cost), gradient.full().ravel(), rows.full().ravel(), entries)
        hessians = [self._hessians(parts, v, multipliers) for parts in self._curved]
        if not all(np.isfinite(part).all() for part in (*first, *hessians)):
            return None
        roots = [np.sqrt(share) * _convex_root(hessian).ravel() for hessian in hessians]
        return Expansion(v, *first, np.concatenate([np.zeros(0), *roots]))

    def _hessians(self, parts: ElementParts, v: Array, multipliers: Array) -> Array:
        """(copies, active, active) Hessians of the element's Lagrangian by its active scaled variables."""
        element, scaling, n = parts.element, self.instance.scaling, len(parts.active)
        w, weights = scaling.invert(v), scaling.invert_row_multipliers(multipliers)
        arguments = w[element.variable_index].T, element.values, self.instance.shared
        columns = parts.curvature(*arguments, weights[element.row_index].T).full()
        scale = scaling.variables[element.variable_index[:, parts.active]]
        return columns.T.reshape(-1, n, n) * scale[:, :, None] * scale[:, None, :]


def _convex_root(hessians: Array) -> Array:
    """K with K'K = the Hessian without its negative eigenvalues."""
    eigenvalues, vectors = np.linalg.eigh(hessians)
    return np.sqrt(np.maximum(eigenvalues, 0.0))[:, :, None] * vectors.transpose(0, 2, 1)


def row_name(structure: DirectProgram, problem: Problem, row: int) -> str:
    """What a row is called, and the knot at which it stands."""
    rows, model = structure.rows, problem.model
    for places, names in (
        (rows.defects, [f"dynamics of {state}" for state in problem.dynamics.states]),
        (rows.path, model.path.names),
    ):
        found = np.argwhere(places == row)
        if len(found):
            return f"{names[found[0, 1]]!r} at step {found[0, 0]}"
    ends = [model.path.names[i] for i in structure.repeated]
    tail = [*ends, *model.terminal.names, *model.boundary.names, *model.integral.names]
    return repr(tail[row - (rows.size - len(tail))])
