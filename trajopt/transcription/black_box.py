"""Steps that no expression gives, inside a nonlinear program: x_{k+1} - f(x_k, u_k) = 0 with f a `BatchDynamics`.

The interval element of the program keeps what is traced, with x_{k+1} alone for the defect. This module adds the rest,

    rows: -f(z_k),    Jacobian: -df/dz,    Hessian of lambda' rows: -sum_i lambda_i d2f_i/dz2,    z_k = (x_k, u_k),

from three callbacks that CasADi calls with all stages at once: where the step does not depend on its number, an
evaluation of the program is one batch of the model. Each remembers its last answer, since an optimiser asks for the
constraints, their Jacobian and the Lagrangian's gradient at the same point.

Nothing that a model raises may cross CasADi, which would make a message of its own of it. It is kept, the model is not
asked again (the numbers from then on are NaN, at which every optimiser gives up), and `own_errors` raises it behind the
solve. What is kept and remembered belongs to one thread, so that several may solve with one compiled program.

CasADi holds callbacks without owning them: they live as long as the `Program` whose elements refer to them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.problem import Problem
from trajopt.symbolic import Parameters

Array = NDArray[np.float64]
Index = NDArray[np.intp]


class _Errors(threading.local):
    """What models raised in this thread; None where nobody waits for it."""

    kept: list[BaseException] | None = None


_errors = _Errors()


@contextmanager
def own_errors() -> Iterator[None]:
    """Raise what a model raises inside as it is, in place of whatever CasADi and the optimiser make of it."""
    outer, mine = _errors.kept, list[BaseException]()
    _errors.kept = mine
    try:
        yield
    except Exception:
        if not mine:
            raise
    finally:
        _errors.kept = outer
    if mine:
        raise mine[0]


class _Batch(ca.Callback):
    """A function of all stages: columns of states, controls and step numbers, the parameters, and perhaps weights.

    Parameters
    ----------
    name
        For CasADi.
    shapes
        Of the inputs.
    rows
        Of the result, which has a column for each stage.
    evaluate
        The inputs, with a row for each stage -> the result, with a row for each stage.
    """

    def __init__(self, name: str, shapes: Sequence[tuple[int, int]], rows: int, evaluate: Callable[..., Array]) -> None:
        ca.Callback.__init__(self)
        self._shapes, self._shape, self._evaluate = tuple(shapes), (rows, shapes[0][1]), evaluate
        self._last = threading.local()
        self.construct(name, {})

    def get_n_in(self) -> int:
        return len(self._shapes)

    def get_n_out(self) -> int:
        return 1

    def get_sparsity_in(self, i: int) -> ca.Sparsity:
        return ca.Sparsity.dense(*self._shapes[i])

    def get_sparsity_out(self, i: int) -> ca.Sparsity:
        return ca.Sparsity.dense(*self._shape)

    def eval(self, arguments: Sequence[ca.DM]) -> list[ca.DM]:
        """Evaluate, or repeat the last answer; NaN where the inputs are not finite and after an error."""
        inputs = [np.asarray(argument.full()) for argument in arguments]
        key = b"".join(part.tobytes() for part in inputs)
        if getattr(self._last, "key", None) == key:
            return [self._last.answer]
        answer = self._try(inputs)
        if answer is None:
            return [ca.DM(np.full(self._shape, np.nan))]
        self._last.key, self._last.answer = key, ca.DM(answer)
        return [self._last.answer]

    def _try(self, inputs: list[Array]) -> Array | None:
        """The result; None where there is none."""
        kept = _errors.kept
        if kept or not all(np.isfinite(part).all() for part in inputs):
            return None
        try:
            with np.errstate(all="ignore"):
                return self._evaluate(*(part.T for part in inputs)).T
        except BaseException as error:
            if kept is None:
                raise
            kept.append(error)
            return None


@dataclass(frozen=True, eq=False)
class BlackBoxStep:
    """The steps of all stages as functions of columns X: (nx, N), U: (nu, N), t: (1, N) and packed parameters p.

    Attributes
    ----------
    nx, nz
        Numbers of states, and of states and controls.
    following
        (X, U, t, p) -> next states, (nx, N).
    jacobian
        (X, U, t, p) -> by state and control, (nx nz, N), row by row.
    curvature
        (X, U, t, p, weights (nx, N)) -> upper triangles of the weighted second derivatives, row by row.
    """

    nx: int
    nz: int
    following: ca.Function
    jacobian: ca.Function
    curvature: ca.Function

    @classmethod
    def of(cls, problem: Problem, steps: int) -> BlackBoxStep | None:
        """The step of a problem's dynamics; None where they are traced."""
        dynamics, layout, nx = problem.dynamics, problem.layout, problem.nx
        if not isinstance(dynamics, BatchDynamics):
            return None
        nz = nx + problem.nu

        def named(p: Array) -> Any:
            return Parameters(layout.unpack(p.ravel()))

        def following(x: Array, u: Array, t: Array, p: Array) -> Array:
            return dynamics.step_along(x, u, t.ravel(), named(p))

        def jacobian(x: Array, u: Array, t: Array, p: Array) -> Array:
            parts = dynamics.linearise_along(x, u, t.ravel(), named(p))
            return np.concatenate(parts, axis=2).reshape(steps, nx * nz)

        def curvature(x: Array, u: Array, t: Array, p: Array, weights: Array) -> Array:
            if not weights.any():  # asked for the cost alone
                return np.zeros((steps, len(upper[0])))
            return dynamics.curvature_along(x, u, t.ravel(), named(p), weights)[:, upper[0], upper[1]]

        upper = np.triu_indices(nz)
        shapes = [(nx, steps), (problem.nu, steps), (1, steps), (layout.size, 1)]
        return cls(
            nx,
            nz,
            _Batch("following", shapes, nx, following),
            _Batch("jacobian", shapes, nx * nz, jacobian),
            _Batch("curvature", [*shapes, (nx, steps)], len(upper[0]), curvature),
        )


class StepRows:
    """What the steps add to the rows of an element, and the derivatives of that.

    Parameters
    ----------
    step
        The functions; states and controls are the element's leading variables, the defects its leading rows.
    values
        (n, N) variables of the copies.
    times, p
        (1, N) numbers of the steps, and packed parameters.
    variable_index, row_index
        (N, n) and (N, m) places of the element's variables and rows.
    """

    def __init__(
        self, step: BlackBoxStep, values: ca.MX, times: ca.MX, p: ca.MX, variable_index: Index, row_index: Index
    ) -> None:
        self._step = step
        self._arguments = [values[: step.nx, :], values[step.nx : step.nz, :], times, p]
        self._variables, self._rows = variable_index[:, : step.nz], row_index[:, : step.nx]

    def rows(self) -> tuple[Index, ca.MX]:
        """Places and values of the rows."""
        return self._rows, -ca.vec(self._step.following(*self._arguments))

    def jacobian(self) -> tuple[Index, Index, ca.MX]:
        """Rows, columns and values of their derivatives."""
        i, j = np.indices((self._step.nx, self._step.nz)).reshape(2, -1)
        return self._rows[:, i], self._variables[:, j], -ca.vec(self._step.jacobian(*self._arguments))

    def hessian(self, lam_f: ca.MX, lam_g: ca.MX) -> tuple[Index, Index, ca.MX]:
        """Rows, columns and values of the weighted second derivatives' upper triangle; no cost is among them."""
        i, j = np.triu_indices(self._step.nz)
        values = self._step.curvature(*self._arguments, self._multipliers(lam_g))
        return self._variables[:, i], self._variables[:, j], -ca.vec(values)

    def gradient(self, lam_g: ca.MX) -> ca.MX:
        """Derivatives of the weighted rows by states and controls, (nz, N)."""
        nx, nz = self._step.nx, self._step.nz
        jacobian, weights = ca.SX.sym("jacobian", nx * nz), ca.SX.sym("weights", nx)
        product = ca.Function("product", [jacobian, weights], [-ca.reshape(jacobian, nz, nx) @ weights])
        every = product.map("products", "serial", len(self._rows), [], [])
        return every(self._step.jacobian(*self._arguments), self._multipliers(lam_g))

    def _multipliers(self, lam_g: ca.MX) -> ca.MX:
        return ca.reshape(lam_g[self._rows.ravel().tolist()], self._step.nx, len(self._rows))
