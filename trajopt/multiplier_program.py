r"""Multipliers of least residual, as a sparse convex program over multipliers and costates together.

Eliminating the costates makes the residual r = g + C' nu of `trajopt.stationarity` dense: a row late in the horizon
depends on every control before it. With the costates kept as unknowns every relation is local in time,

    lambda_S = phi_x' (1, nu),    lambda_s = A_s' lambda_{s+1} + Q_s' rho + (rows at s)_x' nu,
    r = sum_s (B_s' lambda_{s+1} + R_s' rho) + (rows)_w' nu + z,

where rho prices the integrals, and z, of the sign that the bound allows, is the part of the residual that an active
bound of a variable balances. What is minimised is |W r|^2 + |penalty nu|^2, under the signs of nu and z. The work grows
linearly with the number of steps. An active-set method solves it; where that cycles, it starts again from the answer of
PIQP, a proximal interior-point method (Schwan, Jiang, Kuhn & Jones, IEEE CDC 2023), which CasADi brings along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import SuperLU, splu

from trajopt.sensitivity import Functionals, Linearisation

Array = NDArray[np.float64]

_OPTIONS = {
    "error_on_fail": False,
    "print_time": False,
    "piqp": {"eps_abs": 1e-9, "eps_rel": 1e-9},
}
"""Somewhat above what rounding allows: the answer only has to tell which multipliers vanish."""

_PROXIMITY = 1e-10
"""Weight on the squared distance between proximal steps: far above rounding beside the rows' unit norms."""

_PROXIMAL_STEPS = 3
"""Each divides what the proximity still moves by 1e10, but for rows that are dependent to within 1e-5."""

_ROUNDS = 30
"""Of mending the sets: the method settles within a few, unless it cycles."""


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

    def approximate(self) -> Array:
        """Multipliers by PIQP, to its accuracy: enough to tell which of them vanish."""
        states, held, count = self.forcing.size, np.flatnonzero(self.sides), self.constant.size
        every = sparse.csc_matrix(sparse.eye(count))
        relations = sparse.bmat([[self.relations, None, None], [-self.gradient, -every[:, held], every]], format="csc")
        constant = np.concatenate([self.forcing, self.constant])
        signs = np.concatenate([np.zeros(states), self.signs, self.sides[held], np.zeros(count)])
        curvature = np.concatenate([np.zeros(states), self.penalty**2, np.zeros(held.size), np.ones(count)])
        H, A = ca.DM(sparse.diags(curvature, format="csc")), ca.DM(relations)
        solver = ca.conic("least_residual", "piqp", {"h": H.sparsity(), "a": A.sparsity()}, _OPTIONS)
        lower, upper = np.where(signs == 1, 0.0, -np.inf), np.where(signs == -1, 0.0, np.inf)
        found = solver(h=H, a=A, lba=constant, uba=constant, lbx=lower, ubx=upper)
        nu = np.asarray(found["x"]).ravel()[states : states + self.signs.size]
        # The bound's own multiplier exceeds the distance from it where the bound presses.
        pressing = np.abs(np.asarray(found["lam_x"]).ravel()[states : states + self.signs.size]) > np.abs(nu)
        return self.admissible(np.where(pressing & (self.signs != 0), 0.0, nu))

    def admissible(self, nu: Array) -> Array:
        """Put zero in place of numbers that are not finite or of the wrong sign."""
        return np.where(np.isfinite(nu) & (self.signs * nu >= 0.0), nu, 0.0)

    def solve(self) -> Array:
        """Return the multipliers: by active sets alone, which few rounds settle, else from where PIQP leaves them."""
        nu, value, settled = self.refine(np.zeros(self.signs.size), np.ones(self.signs.size, bool))
        if settled:
            return nu
        start = self.approximate()
        again, lower, _ = self.refine(start, (self.signs == 0) | (start != 0.0))
        return again if lower < value else nu

    def refine(self, nu: Array, free: NDArray[np.bool_]) -> tuple[Array, float, bool]:
        """Solve exactly for the free multipliers and the components that count, and mend both sets while they change.

        This is the primal-dual active-set method (Hintermueller, Ito & Kunisch, SIAM J. Optim. 13(3), 2003); the best
        of its admissible points is kept, so that stopping early leaves the residual too large, never too small.

        Returns
        -------
        nu, value
            The multipliers and what is minimised.
        settled
            Whether the sets are those of the minimum.
        """
        chain = splu(self.relations[:, : self.forcing.size])
        of_cost = self._residual(np.zeros(nu.size), chain)
        rounding = 1e-13 * float(np.linalg.norm(of_cost))  # the rows have unit norms
        value, counting = self._measure(nu, chain)
        seen = set()
        while (sets := (free.tobytes(), counting.tobytes())) not in seen and len(seen) < _ROUNDS:
            seen.add(sets)
            trial, pressure = self._solve(free, counting)
            found, relevant = self._measure(self.admissible(trial), chain)
            if found < value:
                nu, value = self.admissible(trial), found
            wanted = (self.signs == 0) | np.where(free, self.signs * trial >= 0.0, self.signs * pressure > rounding)
            unchanged = np.array_equal(wanted, free) and np.array_equal(relevant, counting)
            if unchanged or value <= rounding**2:
                return nu, value, True
            free, counting = wanted, relevant
        return nu, value, False

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

    def _solve(self, free: NDArray[np.bool_], counting: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Return the best nu with zeros where not free, and the derivative that presses on each, negated.

        Dependent rows would leave the system singular. Proximal steps settle them: each stays near the one before, so
        that nothing is left of the proximity in the end, and from zero they share what they explain evenly.
        """
        states, near = self.forcing.size, np.concatenate([np.zeros(self.forcing.size), np.full(free.sum(), _PROXIMITY)])
        chosen = np.concatenate([np.ones(states, bool), free])
        gradient = sparse.csc_matrix(self.gradient[counting])
        B, E = gradient[:, chosen], self.relations[:, chosen]
        P = sparse.diags(np.concatenate([np.zeros(states), self.penalty[free] ** 2]) + near)
        system = sparse.bmat([[-sparse.eye(B.shape[0]), B, None], [B.T, P, E.T], [None, E, None]], format="csc")
        answer, x, nu = np.zeros(0), np.zeros(chosen.sum()), np.zeros(free.size)
        try:
            factors = splu(system)
        except RuntimeError:  # exactly singular
            return np.full(free.size, np.nan), nu
        for _ in range(_PROXIMAL_STEPS):
            answer = factors.solve(np.concatenate([-self.constant[counting], near * x, self.forcing]))
            x = answer[B.shape[0] : B.shape[0] + x.size]
        residual, price = answer[: B.shape[0]], answer[B.shape[0] + x.size :]
        nu[free] = x[states:]
        return nu, -(gradient.T @ residual + self.relations.T @ price)[states:]


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
