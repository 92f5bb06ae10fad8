"""The optimality (KKT) system of a program whose active rows are known: factored once, solved for many sides.

    [ H  A' ] [ dw ]   [ a ]
    [ A  0  ] [ dy ] = [ b ]

H is the Hessian of the Lagrangian by the variables that may move, A the Jacobian of the active rows. Variables at a
bound and rows that are not active stay in the system as equations of their own, d = 0, so that its pattern is the same
for every active set and is found once. Sparse elimination goes along the time as a Riccati sweep would, and is linear
in the number of intervals; unlike a Riccati sweep it pivots, and takes every scheme, free times and parameters, and
rows that tie the whole horizon together.

The factored matrix has -delta in place of 0, which iterative refinement takes back: rows that depend on each other, of
which only the multipliers are not unique, do no harm. A random side with a known solution tells how well the system
determines the step of the variables, and whether it determines the multipliers.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import splu

from trajopt.derivatives.linearisation import Linearisation, Lineariser
from trajopt.errors import NotDifferentiable

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

_EPSILON = float(np.finfo(float).eps)

REGULARISATION = _EPSILON**0.6
"""delta in the equilibrated system, about 4e-10: refinement gains a factor of delta over the smallest eigenvalue of
A H^-1 A', and rounding loses eps over delta."""

REFINEMENTS = 10
"""At most; as in IPOPT."""

DIGITS = _EPSILON**0.25
"""Relative error of a known solution above which the system counts as singular: a quarter of the digits is left."""


class KktPattern:
    """Where the entries of the system of a program stand, whatever is active."""

    def __init__(self, program: Lineariser) -> None:
        size, self.n = program.size, program.size + program.count
        self.size = size
        self.own = [places.columns < size for places in (program.hessian, program.jacobian)]
        hessian, jacobian = (
            (places.rows[own], places.columns[own])
            for places, own in zip((program.hessian, program.jacobian), self.own, strict=True)
        )
        diagonal = np.arange(self.n)
        self.rows = np.concatenate([hessian[0], jacobian[1], size + jacobian[0], diagonal])
        self.columns = np.concatenate([hessian[1], size + jacobian[0], jacobian[1], diagonal])
        keys, self.places = np.unique(self.columns * self.n + self.rows, return_inverse=True)
        self.index = (keys % self.n).astype(np.int32)
        self.column = keys // self.n
        self.starts = np.searchsorted(self.column, np.arange(self.n + 1)).astype(np.int32)
        self.diagonal = self.places[-self.n :]

    def matrix(self, data: Array) -> sp.csc_array:
        """The matrix of these entries."""
        return sp.csc_array((data, self.index, self.starts), shape=(self.n, self.n))


_known: WeakKeyDictionary[Lineariser, KktPattern] = WeakKeyDictionary()


def kkt_pattern(program: Lineariser) -> KktPattern:
    """Return the pattern of a program, found at the first call and kept for as long as it lives."""
    if program not in _known:
        _known[program] = KktPattern(program)
    return _known[program]


class KktSystem:
    """A factored system.

    Parameters
    ----------
    pattern
        Of the program.
    hessian, jacobian
        Nonzeros as in `Linearisation`; None for a Hessian of ones on the diagonal, as least squares have it.
    moving
        (size + rows,) which variables may move, and which rows are active.

    Raises
    ------
    NotDifferentiable
        When the matrix is singular.
    """

    def __init__(self, pattern: KktPattern, hessian: Array | None, jacobian: Array, moving: Mask) -> None:
        self.pattern, self.moving = pattern, moving
        curved, sloping = pattern.own
        own = np.zeros(curved.sum()) if hessian is None else hessian[curved]
        values = np.concatenate([own, jacobian[sloping], jacobian[sloping], np.zeros(pattern.n)])
        values[~(moving[pattern.rows] & moving[pattern.columns])] = 0.0
        values[-pattern.n :] = ~moving
        if hessian is None:
            values[-pattern.n :][: pattern.size] = 1.0
        data: Array = np.bincount(pattern.places, values, minlength=len(pattern.index)).astype(float)
        self.scale = self._equilibrate(data)
        data *= self.scale[pattern.index] * self.scale[pattern.column]
        self.matrix = pattern.matrix(data)
        damped = data.copy()
        damped[pattern.diagonal[pattern.size :]] -= REGULARISATION * moving[pattern.size :]
        try:
            self.factor = splu(pattern.matrix(damped))
        except RuntimeError as error:
            raise _singular() from error

    def solve(self, side: Array) -> Array:
        """Steps of variables and multipliers, (size + rows[, k]), for right-hand sides of that shape."""
        scale = self.scale if side.ndim == 1 else self.scale[:, None]
        return scale * self._refined(scale * side)

    def residual(self, solution: Array, side: Array) -> float:
        """Largest residual of the equilibrated system, relative to its side."""
        scale = self.scale if side.ndim == 1 else self.scale[:, None]
        left = np.abs(scale * side - self.matrix @ (solution / scale)).max(initial=0.0)
        return float(left / max(np.abs(scale * side).max(initial=0.0), np.finfo(float).tiny))

    def examine(self) -> bool:
        """Whether active rows depend on each other, so that their multipliers are not unique.

        Raises
        ------
        NotDifferentiable
            When the system does not determine the step of the variables.
        """
        known = np.random.default_rng(0).choice([-1.0, 1.0], self.pattern.n)
        error = np.abs(self._refined(self.matrix @ known) - known)
        size = self.pattern.size
        if not error[:size].max(initial=0.0) <= DIGITS:  # also true for NaN
            raise _singular()
        return bool(error[size:].max(initial=0.0) > DIGITS)

    def _refined(self, side: Array) -> Array:
        """Solve the equilibrated system; the best solution if refinement cannot reach rounding."""
        solution = self.factor.solve(side)
        best, least = solution, np.inf
        for _ in range(REFINEMENTS):
            residual = side - self.matrix @ solution
            left = np.abs(residual).max(initial=0.0)
            if not left < least:
                break
            best, least = solution, left
            if left <= 4.0 * _EPSILON * max(np.abs(solution).max(initial=0.0), np.abs(side).max(initial=0.0)):
                break
            solution = solution + self.factor.solve(residual)
        return best

    def _equilibrate(self, data: Array) -> Array:
        """Scale factors after which the largest entry of every row is about one (Ruiz 2001: a few passes do)."""
        pattern = self.pattern
        scale, absolute = np.ones(pattern.n), np.abs(data)
        for _ in range(3):
            scaled = absolute * scale[pattern.index] * scale[pattern.column]
            largest = np.maximum.reduceat(scaled, pattern.starts[:-1])
            scale = scale / np.sqrt(np.where(largest > 0.0, largest, 1.0))
        return np.exp2(np.round(np.log2(scale)))  # powers of two round nothing


def _singular() -> NotDifferentiable:
    return NotDifferentiable(
        "the optimality system is singular, but a solution that the active constraints and the curvature of the cost "
        "determine was expected; give every control and every free quantity a cost."
    )


def entered(program: Lineariser, point: Linearisation, free: Mask) -> Mask:
    """(rows,) whether any of the ``free`` variables shows in a row."""
    places = program.jacobian
    own = places.columns < program.size
    shows = np.abs(point.jacobian[own]) * free[places.columns[own]]
    return np.bincount(places.rows[own], shows, minlength=program.count) > 0.0


def stiffness(program: Lineariser, point: Linearisation) -> tuple[Array, Array]:
    """How hard it is to move each variable (size,) and each row (rows,) alone, with the diagonal of H for all of it."""
    curved, sloping = program.hessian, program.jacobian
    on = curved.rows == curved.columns
    diagonal = np.abs(np.bincount(curved.rows[on], point.hessian[on], minlength=program.size))
    own = sloping.columns < program.size
    with np.errstate(divide="ignore", invalid="ignore"):
        eased = point.jacobian[own] ** 2 / diagonal[sloping.columns[own]]
        eased[np.isnan(eased)] = 0.0  # neither slope nor curvature
        return diagonal, 1.0 / np.bincount(sloping.rows[own], eased, minlength=program.count)
