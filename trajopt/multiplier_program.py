r"""Multipliers of least residual, as a sparse convex program over multipliers and costates together.

Eliminating the costates makes the residual r = g + C' nu of `trajopt.stationarity` dense: a row late in the horizon
depends on every control before it. With the costates kept as unknowns every relation is local in time,

    lambda_S = phi_x' (1, nu),    lambda_s = A_s' lambda_{s+1} + Q_s' rho + (rows at s)_x' nu,
    r = sum_s (B_s' lambda_{s+1} + R_s' rho) + (rows)_w' nu + z,

where rho prices the integrals, and z, of the sign that the bound allows, is the part of the residual that an active
bound of a variable balances. What is minimised is |W r|^2 + |penalty nu|^2, under the signs of nu and z. The work grows
linearly with the number of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from trajopt.sensitivity import Functionals, Linearisation

Array = NDArray[np.float64]

_PROXIMITY = 1e-10
"""Weight on the squared distance between proximal steps: far above rounding beside the rows' unit norms."""

_PROXIMAL_STEPS = 3
"""Each divides what the proximity still moves by 1e10, but for rows that are dependent to within 1e-5."""

_ROUNDS = 40
"""Of either method: rarely more than ten; many where a mesh is too coarse for the multipliers to make sense."""

_EPSILON = 1e-6
"""Relative decrease of the value below which another round is not worth its time: the residual has half as much."""

_ARMIJO = 1e-4
"""Share of the first-order decrease that a step must bring: the usual one, small enough not to refuse Newton steps."""

_SHORTEST = 1e-9
"""Length at which the search gives up: the step is rounding."""


class _Entries:
    """Entries of a sparse matrix, gathered block by block; repeated places add up."""

    def __init__(self) -> None:
        self.parts: list[tuple[NDArray, NDArray, Array]] = []

    def add(self, rows: NDArray, columns: NDArray, values: Array) -> None:
        """Add a block; ``rows`` and ``columns`` broadcast to the shape of ``values``."""
        rows, columns = (np.broadcast_to(places, values.shape).ravel() for places in (rows, columns))
        self.parts.append((rows, columns, values.ravel()))

    def matrix(self, shape: tuple[int, int]) -> sparse.csr_matrix:
        """Assemble the matrix, without its zeros."""
        rows, columns, values = (np.concatenate(some) for some in zip(*self.parts, strict=True))
        matrix = sparse.csr_matrix((values, (rows, columns)), shape)
        matrix.eliminate_zeros()
        return matrix


@dataclass(frozen=True, eq=False)
class Part:
    """A trajectory that has its own costates, and shares variables and multipliers with others.

    Attributes
    ----------
    linear
        The linear maps of its steps.
    rows
        Its functionals: the cost, then rows of the ends and of integrals, then rows along the way.
    weights
        (functionals, 1 + all multipliers) sparse: what each functional is weighted with, as a linear map of (1, nu).
    variables
        (all variables, own variables) sparse, of zeros and ones: where its variables stand among all.
    """

    linear: Linearisation
    rows: Functionals
    weights: sparse.csr_matrix
    variables: sparse.csr_matrix

    def prices(self, nu: Array) -> Array:
        """What its functionals are weighted with at multipliers nu: one for the cost."""
        return np.asarray(self.weights @ np.concatenate([[1.0], nu]))


def least_residual(
    parts: Sequence[Part], weights: Array, norms: Array, penalty: Array, signs: NDArray[np.intp], sides: Array
) -> Array:
    """Return the multipliers of least residual.

    Parameters
    ----------
    parts
        One trajectory, or the phases of a problem of several.
    weights
        (n,) what each component of the residual is multiplied with.
    norms
        (R,) of the weighted gradients of the rows: the program's own multipliers are norms * nu.
    penalty
        (R,) weights on those.
    signs, sides
        (R,) and (n,): +1 or -1 for a multiplier that is never negative or never positive; 0 for a free multiplier, and
        for a variable that no bound holds; 2 for a variable between two bounds.

    Returns
    -------
    Array
        (R,) multipliers nu.
    """
    if not norms.size:
        return np.zeros(0)
    size = np.where(norms > 0.0, norms, 1.0)  # a row that depends on nothing has no size of its own
    relations, forcing, costates, gradient = [], [], [], 0
    for part in parts:
        states = (len(part.linear.maps) + 1) * part.rows.by_final.shape[1]
        K, F = _adjoint(part.linear, part.rows)
        priced = sparse.csr_matrix(F @ part.weights)
        relations.append(sparse.eye(states) - K[:states])
        forcing.append(priced[:states])
        costates.append(part.variables @ K[states:])
        gradient = gradient + part.variables @ priced[states:]
    every, scale = sparse.csr_matrix(sparse.vstack(forcing)), sparse.diags(weights)
    total, shrink = sparse.csr_matrix(gradient), sparse.diags(1.0 / size)
    program = _Program(
        sparse.csc_matrix(sparse.hstack([sparse.block_diag(relations), -every[:, 1:] @ shrink])),
        every[:, 0].toarray().ravel(),
        sparse.csr_matrix(scale @ sparse.hstack([*costates, total[:, 1:] @ shrink])),
        weights * total[:, 0].toarray().ravel(),
        penalty,
        signs,
        sides,
    )
    return program.solve() / size


@dataclass(frozen=True, eq=False)
class _Program:
    """Minimise |relevant part of (gradient @ x + constant)|^2 + |penalty nu|^2 over x = (costates, nu).

    Under relations @ x = forcing, and the signs of nu. A component of the gradient is relevant unless a bound on its
    side balances it.
    """

    relations: sparse.csc_matrix
    forcing: Array
    gradient: sparse.csr_matrix
    constant: Array
    penalty: Array
    signs: NDArray[np.intp]
    sides: Array

    def solve(self) -> Array:
        """Return the multipliers: by active sets, which a few rounds settle, else by descent from the best of them."""
        chain = splu(self.relations[:, : self.forcing.size])
        rounding = 1e-13 * float(np.linalg.norm(self._residual(np.zeros(self.signs.size), chain)))
        nu, settled = self._settle(chain, rounding)  # the rows have unit norms
        return nu if settled else self._descend(nu, chain, rounding)

    def _settle(self, chain: SuperLU, rounding: float) -> tuple[Array, bool]:
        """Solve exactly for free multipliers and components that count, and change both sets by what comes out.

        This is the primal-dual active-set method (Hintermueller, Ito & Kunisch, SIAM J. Optim. 13(3), 2003). It takes
        few rounds, unless it cycles; the best of its admissible points is returned, and whether the sets settled.
        """
        nu, free = np.zeros(self.signs.size), np.ones(self.signs.size, bool)
        value, counting = self._measure(nu, chain)
        seen = set()
        while (sets := (free.tobytes(), counting.tobytes())) not in seen and len(seen) < _ROUNDS:
            seen.add(sets)
            trial = self._best(free, counting)
            if not np.isfinite(trial).all():
                break
            slope = self._slope(trial, counting, chain)
            found, relevant = self._measure(self._project(trial), chain)
            if found < value:
                nu, value = self._project(trial), found
            wanted = (self.signs == 0) | np.where(free, self.signs * trial >= 0.0, self.signs * slope < -rounding)
            if value <= rounding**2 or (np.array_equal(wanted, free) and np.array_equal(relevant, counting)):
                return nu, True
            free, counting = wanted, relevant
        return nu, False

    def _descend(self, nu: Array, chain: SuperLU, rounding: float) -> Array:
        """Go down by Newton's method projected onto the signs (Bertsekas, SIAM J. Control 20(2), 1982).

        The value never rises. Should it stop early, the residual is too large, never too small.
        """
        value, counting = self._measure(nu, chain)
        for _ in range(_ROUNDS):
            slope = self._slope(nu, counting, chain)
            free = (self.signs == 0) | (nu != 0.0) | (self.signs * slope < -rounding)
            target = self._best(free, counting)
            if not np.isfinite(target).all():
                break
            length, trial = 1.0, self._project(target)
            found, relevant = self._measure(trial, chain)
            while not found <= value + _ARMIJO * float(slope @ (trial - nu)) and length > _SHORTEST:
                length *= 0.5
                trial = self._project(nu + length * (target - nu))
                found, relevant = self._measure(trial, chain)
            if not found < value * (1.0 - _EPSILON):
                break
            nu, value, counting = trial, found, relevant
        return nu

    def _project(self, nu: Array) -> Array:
        """Put zero in place of numbers of the wrong sign."""
        return np.where(self.signs * nu >= 0.0, nu, 0.0)

    def _slope(self, nu: Array, counting: NDArray[np.bool_], chain: SuperLU) -> Array:
        """Return the derivative of what is minimised by the multipliers."""
        states = self.forcing.size
        by_all = self.gradient.T @ np.where(counting, self._residual(nu, chain), 0.0)
        through = self.relations[:, states:].T @ chain.solve(by_all[:states], trans="T")
        return 2.0 * (by_all[states:] - through + self.penalty**2 * nu)

    def _residual(self, nu: Array, chain: SuperLU) -> Array:
        """Return the weighted gradient of the Lagrangian."""
        costates = chain.solve(self.forcing - self.relations[:, self.forcing.size :] @ nu)
        return self.gradient @ np.concatenate([costates, nu]) + self.constant

    def _measure(self, nu: Array, chain: SuperLU) -> tuple[float, NDArray[np.bool_]]:
        """Return what is minimised, and which components count: their descent must be possible within the bounds."""
        residual = self._residual(nu, chain)
        counting = count_components(residual, self.sides)
        value = float((residual[counting] ** 2).sum()) + float(((self.penalty * nu) ** 2).sum())
        return (value if np.isfinite(value) else np.inf), counting

    def _best(self, free: NDArray[np.bool_], counting: NDArray[np.bool_]) -> Array:
        """Return the best nu, whatever its signs, with zeros where not free; NaN if it cannot be told.

        Dependent rows would leave the system singular. Proximal steps settle them: each stays near the one before, so
        that nothing is left of the proximity in the end, and from zero they share what they explain evenly.
        """
        states, near = self.forcing.size, np.concatenate([np.zeros(self.forcing.size), np.full(free.sum(), _PROXIMITY)])
        chosen = np.concatenate([np.ones(states, bool), free])
        B, E = sparse.csc_matrix(self.gradient[counting])[:, chosen], self.relations[:, chosen]
        P = sparse.diags(np.concatenate([np.zeros(states), self.penalty[free] ** 2]) + near)
        # The least-squares problem in its augmented form, whose condition is not squared.
        system = sparse.bmat([[-sparse.eye(B.shape[0]), B, None], [B.T, P, E.T], [None, E, None]], format="csc")
        x, nu = np.zeros(chosen.sum()), np.zeros(free.size)
        try:
            factors = splu(system)
        except RuntimeError:  # exactly singular
            return np.full(free.size, np.nan)
        for _ in range(_PROXIMAL_STEPS):
            answer = factors.solve(np.concatenate([-self.constant[counting], near * x, self.forcing]))
            x = answer[B.shape[0] : B.shape[0] + x.size]
        nu[free] = x[states:]
        return nu


def count_components(residual: Array, sides: Array) -> NDArray[np.bool_]:
    """Components that count: descent, against the residual, must be possible within the bounds."""
    return (sides == 0) | ((sides == -1) & (residual < 0.0)) | ((sides == 1) & (residual > 0.0))


def _adjoint(linear: Linearisation, rows: Functionals) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Return K and F of (costates, gradient) = K costates + F (weights of the functionals).

    The costates of all steps stand one after the other, each with the rows at its time added; the gradient by the
    decision variables stands behind them.
    """
    decisions, maps, points = linear.decisions, linear.maps, rows.points
    steps, nx, ends = len(maps), rows.by_final.shape[1], len(rows.by_final)
    states = (steps + 1) * nx
    columns = np.array([decisions.columns(k) for k in range(linear.interval[-1] + 1)])
    static = states + decisions.controls + np.arange(decisions.static)
    free = states + decisions.controls + decisions.static + np.arange(decisions.states.size)
    # Where the derivatives of a step go: the costate at its begin, and the variables of its interval.
    to = np.concatenate([np.arange(steps)[:, None] * nx + np.arange(nx), states + columns[linear.interval]], axis=1)
    K, F = _Entries(), _Entries()
    after = (np.arange(1, steps + 1)[:, None] * nx + np.arange(nx))[:, :, None]
    K.add(to[:, None, :], after, maps[:, :nx])
    K.add(free, decisions.states, np.ones(free.size))
    integrals = _Entries()
    integrals.add(to[:, None, :], np.arange(maps.shape[1] - nx)[:, None], maps[:, nx:])
    each = np.arange(ends)[:, None]
    F.add(steps * nx + np.arange(nx), each, rows.by_final)
    F.add(static, each, rows.by_static)
    F.add(free, each, rows.by_initial[:, decisions.states])
    at = (ends + np.arange(points.step.size))[:, None]
    F.add(points.step[:, None] * nx + np.arange(nx), at, points.by_x)
    direct = decisions.nodes.basis(points.s)[:, :, None] * points.by_u[:, None, :]
    direct = np.concatenate(
        [direct.reshape(len(direct), np.prod(direct.shape[1:], dtype=int)), points.by_static], axis=1
    )
    F.add(states + columns[points.interval], at, direct)
    size = states + decisions.size
    count = ends + points.step.size
    priced = integrals.matrix((size, maps.shape[1] - nx)) @ sparse.csr_matrix(rows.by_running.T)
    priced.resize((size, count))
    costates, functionals = K.matrix((size, states)), F.matrix((size, count)) + priced
    if linear.feedback is None:
        return costates, functionals
    answer = _answer(linear, nx, size)
    return costates + answer @ costates, functionals + answer @ functionals


def _answer(linear: Linearisation, nx: int, size: int) -> sparse.csr_matrix:
    """Return what feedback adds to the costates at the begin of intervals, from the gradient by their nodes."""
    assert linear.feedback is not None
    states, entries = (len(linear.maps) + 1) * nx, _Entries()
    begins = np.array([step for step in range(len(linear.maps)) if linear.begins_interval(step)])
    columns, gains = linear.feedback.columns, linear.feedback.gains
    entries.add((begins[:, None] * nx + np.arange(nx))[:, None, :], (states + columns)[:, :, None], gains)
    return entries.matrix((size, size))
