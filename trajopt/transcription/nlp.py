"""Sparse nonlinear programs assembled from small elements, as stiffness matrices are in finite elements.

An optimal-control problem repeats a few functions (an interval, the end, the boundary) many times. Each is an `Element`
that is differentiated once, on its own few variables; its derivatives are evaluated for all copies and added to where
they belong in the large sparse matrices. So the time to build a program does not grow with the differentiation of its
length, and the derivatives are exact.

    minimise f(w, p)  subject to  lower <= g(w, p) <= upper,    f = sum of costs,  g = sum of rows over all copies.

The program is posed to the optimiser in scaled variables v = w / scale and rows g / unit (see `Scaling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.transcription.black_box import BlackBoxStep, StepRows
from trajopt.transcription.scaling import Scaling

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Element:
    """A cost and constraint rows that depend on few variables, and all its copies.

    Attributes
    ----------
    variables
        SX column of the n variables of one copy.
    copy
        SX column of what tells the copies apart, such as their places in time.
    cost
        SX scalar, added to the objective.
    rows
        SX column of m constraint rows.
    variable_index
        (copies, n) place of each variable in the program's vector; increasing within a copy.
    row_index
        (copies, m) row to which each is added.
    numbers
        (d, copies) values of ``copy``. Default: 0, 1, ... for a scalar.
    step
        What is subtracted from the leading rows and no expression gives: a step from the leading variables.
    times, packed
        For that the number of the step, of ``copy`` and the shared parameters, and the packed parameters, of these.
    """

    variables: ca.SX
    copy: ca.SX
    cost: ca.SX
    rows: ca.SX
    variable_index: Index
    row_index: Index
    numbers: Array | None = None
    step: BlackBoxStep | None = None
    times: ca.SX | None = None
    packed: ca.SX | None = None

    @property
    def copies(self) -> int:
        """Number of copies."""
        return len(self.variable_index)

    @property
    def values(self) -> Array:
        """(d, copies) values of ``copy``, default or not."""
        return np.arange(self.copies, dtype=float)[None, :] if self.numbers is None else self.numbers


@dataclass(frozen=True, eq=False)
class Program:
    """The compiled functions of a nonlinear program.

    Attributes
    ----------
    size, rows
        Numbers of variables and of constraint rows.
    functions
        CasADi functions in the form that `casadi.nlpsol` takes: ``nlp``, ``grad_f``, ``jac_g`` and ``hess_lag``. Their
        parameter vector is (shared parameters, variable scales, row scales).
    gradients
        (v, parameters, row multipliers) -> gradient of the Lagrangian f + lambda' g by the scaled variables, (size,),
        then for each element that by its own unscaled variables, (n, copies).
    elements, parameters
        What it was assembled from, and the symbols of the shared parameters; none for a condensed program.
    """

    size: int
    rows: int
    functions: dict[str, ca.Function]
    gradients: ca.Function
    elements: tuple[Element, ...] = ()
    parameters: ca.SX | None = None


@dataclass(frozen=True, eq=False)
class Instance:
    """A program with the numbers of one solve, in the problem's own units.

    Attributes
    ----------
    program
        The compiled functions.
    guess
        (size,) where to start.
    lower, upper
        (size,) limits of the variables.
    row_lower, row_upper
        (rows,) limits of the constraint rows.
    shared
        Values of the shared parameters.
    scaling
        In which units the optimiser sees it.
    cost_unit
        What counts as one unit of cost.
    chain_broken_by
        What keeps the program from being a chain of stages, in words; "" if it is one.
    stages
        (3, N+1) numbers of states, of other variables, and of rows but those that lead to the next stage, if it is.
    """

    program: Program
    guess: Array
    lower: Array
    upper: Array
    row_lower: Array
    row_upper: Array
    shared: Array
    scaling: Scaling
    cost_unit: float = 1.0
    chain_broken_by: str = ""
    stages: Index = field(default_factory=lambda: np.zeros((3, 0), dtype=np.intp))

    @property
    def parameters(self) -> Array:
        """The parameter vector of the program's functions."""
        return np.concatenate([self.shared, self.scaling.variables, self.scaling.rows])


def assemble(elements: Sequence[Element], shared: ca.SX, size: int, rows: int) -> Program:
    """Compile a program from its elements.

    Parameters
    ----------
    elements
        In any order.
    shared
        SX column of parameters that all elements may use.
    size, rows
        Numbers of variables and of constraint rows.
    """
    v, lam_f, lam_g = ca.MX.sym("v", size), ca.MX.sym("lam_f"), ca.MX.sym("lam_g", rows)
    p, scale, unit = ca.MX.sym("p", shared.numel()), ca.MX.sym("scale", size), ca.MX.sym("unit", rows)
    parameters = ca.vertcat(p, scale, unit)
    w = v * scale
    compiled = [_Compiled(element, shared, w, p) for element in elements]
    parts = [*compiled, *(part.step for part in compiled if part.step is not None)]
    f = ca.densify(sum((part.cost() for part in compiled), ca.MX(0)))  # IPOPT wants a number even where no cost is
    g = add(rows, [part.rows() for part in parts]) / unit
    gradient = add(size, [part.cost_gradient() for part in compiled]) * scale
    jacobian = matrix((rows, size), [part.jacobian() for part in parts], 1 / unit, scale)
    hessian = matrix((size, size), [part.hessian(lam_f, lam_g / unit) for part in parts], scale, scale)
    each = [part.lagrangian_gradient(lam_g / unit) for part in compiled]
    total = add(size, [(part.element.variable_index, ca.vec(e)) for part, e in zip(compiled, each, strict=True)])
    inputs = [v, parameters]
    functions = nlp_functions(inputs, f, g, gradient, jacobian, [lam_f, lam_g], hessian)
    gradients = ca.Function("gradients", [*inputs, lam_g], [total * scale, *each])
    return Program(size, rows, functions, gradients, tuple(elements), shared)


def nlp_functions(
    inputs: list[ca.MX], f: ca.MX, g: ca.MX, gradient: ca.MX, jacobian: ca.MX, multipliers: list[ca.MX], hessian: ca.MX
) -> dict[str, ca.Function]:
    """Return the functions of a `Program`, named as `casadi.nlpsol` wants them.

    Parameters
    ----------
    inputs
        Variables v and parameters.
    f, g, gradient, jacobian
        Expressions of these.
    multipliers
        Of f and of the rows.
    hessian
        Upper triangle of that of the Lagrangian.
    """
    return {
        "nlp": ca.Function("nlp", inputs, [f, g], ["x", "p"], ["f", "g"]),
        "grad_f": ca.Function("nlp_grad_f", inputs, [f, gradient], ["x", "p"], ["f", "grad_f_x"]),
        "jac_g": ca.Function("nlp_jac_g", inputs, [g, jacobian], ["x", "p"], ["g", "jac_g_x"]),
        "hess_lag": ca.Function(
            "nlp_hess_l", [*inputs, *multipliers], [hessian], ["x", "p", "lam_f", "lam_g"], ["triu_hess_gamma_x_x"]
        ),
    }


Contribution = tuple[Index, ca.MX]
"""Places, and as many values to be added there."""


class _Compiled:
    """One element's derivatives, evaluated for all copies."""

    def __init__(self, element: Element, shared: ca.SX, w: ca.MX, p: ca.MX) -> None:
        self.element, self.shared, self.p = element, shared, p
        n = element.variables.numel()
        self.values = ca.reshape(w[element.variable_index.ravel().tolist()], n, element.copies)
        self.numbers = ca.DM(element.values)
        self.multipliers = ca.SX.sym("multipliers", element.rows.numel())
        self.weight = ca.SX.sym("weight")
        self.step = self._step_rows(element)

    def _step_rows(self, element: Element) -> StepRows | None:
        if element.step is None or element.times is None or element.packed is None:
            return None
        times = self._evaluate(ca.densify(element.times))
        packed = ca.Function("packed", [self.shared], [element.packed])(self.p)
        return StepRows(element.step, self.values, times, packed, element.variable_index, element.row_index)

    def _evaluate(self, expression: ca.SX, weight: ca.MX | None = None, lam_g: ca.MX | None = None) -> ca.MX:
        """Evaluate the nonzeros of an expression for every copy, (nonzeros, copies)."""
        element = self.element
        values = expression.nz[:]
        inputs = [element.variables, element.copy, self.shared]
        arguments: list[ca.MX | ca.DM] = [self.values, self.numbers, self.p]
        common = [2]
        if lam_g is not None:
            inputs += [self.multipliers, self.weight]
            m = element.rows.numel()
            arguments += [ca.reshape(lam_g[element.row_index.ravel().tolist()], m, element.copies)]
            arguments += [ca.MX(1) if weight is None else weight]
            common += [4]
        function = ca.Function("element", inputs, [values])
        return function.map("elements", "serial", element.copies, common, [])(*arguments)

    def _lagrangian(self) -> ca.SX:
        return self.weight * self.element.cost + ca.dot(self.multipliers, self.element.rows)

    def cost(self) -> ca.MX:
        return ca.sum2(self._evaluate(ca.densify(self.element.cost)))

    def rows(self) -> Contribution:
        return self.element.row_index, ca.vec(self._evaluate(ca.densify(self.element.rows)))

    def cost_gradient(self) -> Contribution:
        gradient = ca.gradient(self.element.cost, self.element.variables)
        present = np.array(gradient.sparsity().row(), dtype=np.intp)
        return self.element.variable_index[:, present], ca.vec(self._evaluate(gradient))

    def lagrangian_gradient(self, lam_g: ca.MX) -> ca.MX:
        gradient = ca.densify(ca.gradient(self._lagrangian(), self.element.variables))
        traced = self._evaluate(gradient, None, lam_g)
        if self.step is None:
            return traced
        outside = self.step.gradient(lam_g)
        rest = ca.MX.zeros(traced.size1() - outside.size1(), traced.size2())
        return traced + ca.vertcat(outside, rest)

    def jacobian(self) -> tuple[Index, Index, ca.MX]:
        jacobian = ca.jacobian(self.element.rows, self.element.variables)
        i, j = (np.array(part, dtype=np.intp) for part in jacobian.sparsity().get_triplet())
        return self.element.row_index[:, i], self.element.variable_index[:, j], ca.vec(self._evaluate(jacobian))

    def hessian(self, lam_f: ca.MX, lam_g: ca.MX) -> tuple[Index, Index, ca.MX]:
        upper = ca.triu(ca.hessian(self._lagrangian(), self.element.variables)[0])
        i, j = (np.array(part, dtype=np.intp) for part in upper.sparsity().get_triplet())
        index = self.element.variable_index
        return index[:, i], index[:, j], ca.vec(self._evaluate(upper, lam_f, lam_g))


def add(size: int, contributions: Sequence[Contribution]) -> ca.MX:
    """Build a vector as the sum of contributions."""
    places = np.concatenate([index.ravel() for index, _ in contributions])
    return ca.densify(ca.mtimes(scatter(places, size), ca.vertcat(*(values for _, values in contributions))))


def matrix(
    shape: tuple[int, int], contributions: Sequence[tuple[Index, Index, ca.MX]], row_factor: ca.MX, column_factor: ca.MX
) -> ca.MX:
    """Build a sparse matrix as the sum of contributions, its rows and columns multiplied by factors."""
    i = np.concatenate([rows.ravel() for rows, _, _ in contributions])
    j = np.concatenate([columns.ravel() for _, columns, _ in contributions])
    keys, places = np.unique(j * max(shape[0], 1) + i, return_inverse=True)  # sorted as compressed columns are
    rows, columns = keys % max(shape[0], 1), keys // max(shape[0], 1)
    starts = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=shape[1]))])
    values = ca.mtimes(scatter(places, len(keys)), ca.vertcat(*(part for _, _, part in contributions)))
    # As columns: entries of a single number would come as a row.
    values = values * ca.vec(row_factor[rows.tolist()]) * ca.vec(column_factor[columns.tolist()])
    return ca.MX(ca.Sparsity(*shape, starts.tolist(), rows.tolist()), values)


def scatter(places: Index, size: int) -> ca.DM:
    """Make the matrix of ones (size, k) that adds value number k to place number places[k]."""
    columns = np.arange(len(places) + 1)
    return ca.DM(ca.Sparsity(size, len(places), columns.tolist(), places.tolist()), 1.0)
