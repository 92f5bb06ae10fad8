"""First and second derivatives of a transcribed program by its variables and by its parameters, in one evaluation.

A program is a sum of elements (`trajopt.transcription.nlp`), each of a few variables w_e and of the parameters s that
all share. So are its derivatives: with L = f + lambda' g and q = (w, s), every element gives its part of

    g,    dL/dq,    dg/dq,    d2L/dw dq,

compiled to machine code, for all of its copies; the parts are added where they belong. The columns of s hold what the
implicit function theorem needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import casadi as ca
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from trajopt.lowering import compile_functions
from trajopt.lowering.call import call9
from trajopt.lowering.kernel import kernel
from trajopt.transcription.nlp import Element, Program

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Places:
    """Row and column of each of the nonzeros of a matrix; those of one place are to be added."""

    rows: Index
    columns: Index
    shape: tuple[int, int]

    def matrix(self, values: Array) -> sp.csr_array:
        """The matrix of these values."""
        return sp.csr_array(sp.coo_array((values, (self.rows, self.columns)), shape=self.shape))


@dataclass(frozen=True, eq=False)
class Linearisation:
    """A program and its derivatives at a point, unscaled.

    Attributes
    ----------
    cost
        f.
    rows
        (rows,) values of g.
    gradient
        (size + parameters,) of L by q.
    jacobian
        Nonzeros of dg/dq, at `Lineariser.jacobian`.
    hessian
        Nonzeros of d2L/dw dq, at `Lineariser.hessian`.
    """

    cost: float
    rows: Array
    gradient: Array
    jacobian: Array
    hessian: Array


class Lineariser:
    """Evaluates the derivatives of one program; make it with `lineariser`, which keeps it.

    Attributes
    ----------
    size, count, parameters
        Numbers of variables, of rows and of shared parameters.
    jacobian
        Places of dg/dq: (count, size + parameters).
    hessian
        Places of d2L/dw dq: (size, size + parameters).
    """

    def __init__(self, program: Program) -> None:
        assert program.parameters is not None
        self.size, self.count, self.parameters = program.size, program.rows, program.parameters.numel()
        self._parts = [_Part(element, program.parameters, program.size) for element in program.elements]
        width = self.size + self.parameters
        self.jacobian = Places(*_join([part.jacobian for part in self._parts]), (self.count, width))
        self.hessian = Places(*_join([part.hessian for part in self._parts]), (self.size, width))

    def at(self, w: Array, shared: Array, multipliers: Array) -> Linearisation:
        """Linearise at variables ``w`` (size,), parameters ``shared`` and row ``multipliers`` (rows,)."""
        found = [part.evaluate(w, shared, multipliers) for part in self._parts]
        rows = np.concatenate([part.element.row_index.ravel() for part in self._parts])
        columns = np.concatenate([part.columns.ravel() for part in self._parts])
        cost, g, gradient, jacobian, hessian = (np.concatenate([one[i].ravel() for one in found]) for i in range(5))
        return Linearisation(
            float(cost.sum()),
            np.bincount(rows, g, minlength=self.count).astype(float),
            np.bincount(columns, gradient, minlength=self.size + self.parameters).astype(float),
            jacobian,
            hessian,
        )


class _Part:
    """One element of the program: its compiled derivatives, and where they belong."""

    def __init__(self, element: Element, shared: ca.SX, size: int) -> None:
        self.element = element
        own, p = element.variables.numel(), shared.numel()
        every = np.broadcast_to(size + np.arange(p), (element.copies, p))
        self.columns: Index = np.hstack([element.variable_index, every])
        q = ca.vertcat(element.variables, shared)
        multipliers = ca.SX.sym("multipliers", element.rows.numel())
        gradient = ca.gradient(element.cost + ca.dot(multipliers, element.rows), q)
        matrices = [ca.jacobian(element.rows, q), ca.jacobian(gradient[:own], q)]
        patterns = [tuple(np.array(part, dtype=np.intp) for part in m.sparsity().get_triplet()) for m in matrices]
        self.jacobian = (element.row_index[:, patterns[0][0]], self.columns[:, patterns[0][1]])
        self.hessian = (element.variable_index[:, patterns[1][0]], self.columns[:, patterns[1][1]])
        outputs = [ca.densify(part) for part in (element.cost, element.rows, gradient)]
        outputs += [ca.reshape(matrix.nz[:], matrix.nnz(), 1) for matrix in matrices]
        inputs = [element.variables, ca.densify(element.copy), shared, multipliers]
        function = ca.Function("element", inputs, ca.cse(outputs))
        self._sizes = [output.numel() for output in outputs]
        self._code = compile_functions({"element": function})
        self._numbers = np.ascontiguousarray(element.values.T, dtype=float)

    def evaluate(self, w: Array, shared: Array, multipliers: Array) -> list[Array]:
        """Cost, rows, gradient, and the nonzeros of both matrices, each (copies, n)."""
        copies = self.element.copies
        found = [np.empty((copies, size)) for size in self._sizes]
        _evaluate(
            self._code.address("element"), w[self.element.variable_index], self._numbers, shared,
            multipliers[self.element.row_index], *found,
        )  # fmt: skip
        return found


@kernel
def _evaluate(address, variables, numbers, shared, multipliers, cost, rows, gradient, jacobian, hessian):
    """Call the compiled element for each of its copies."""
    own, count, width, place = variables.shape[1], rows.shape[1], gradient.shape[1], numbers.shape[1]
    first, second = jacobian.shape[1], hessian.shape[1]
    for k in range(variables.shape[0]):
        call9(
            address, variables, k * own, numbers, k * place, shared, 0, multipliers, k * count, cost, k,
            rows, k * count, gradient, k * width, jacobian, k * first, hessian, k * second,
        )  # fmt: skip


def _join(places: list[tuple[Index, Index]]) -> tuple[Index, Index]:
    """Places of all elements, one after the other."""
    rows, columns = (np.concatenate([part[i].ravel() for part in places]) for i in range(2))
    return rows, columns


_known: WeakKeyDictionary[Program, Lineariser] = WeakKeyDictionary()


def lineariser(program: Program) -> Lineariser:
    """Return the compiled derivatives of a program, made at the first call and kept for as long as it lives."""
    if program not in _known:
        _known[program] = Lineariser(program)
    return _known[program]
