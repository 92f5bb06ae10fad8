"""Dynamic programming for linear-quadratic problems: the Riccati recursion with affine and cross terms.

V_k(x) = 1/2 x'P_k x + p_k'x + r_k, from the end backwards:

    Q = H_k + F_k'P F_k,    q = g_k + F_k'(P c_k + p),    K = -Q_uu^-1 Q_ux,    k = -Q_uu^-1 q_u,
    P <- Q_xx + Q_xu K,     p <- q_x + Q_xu k,            r <- r + 1/2 c_k'P c_k + p'c_k + 1/2 q_u'k.

Reference: Bertsekas, Dynamic Programming and Optimal Control I, section 4.1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem
from trajopt.testing.oracles.linear_quadratic import LinearQuadratic

Array = NDArray[np.float64]


class Riccati(NamedTuple):
    """The law u = K x + k, gains (N, nu, nx) and offsets (N, nu), and the value function at every knot.

    ``hessians`` P (N+1, nx, nx), ``slopes`` p (N+1, nx) and ``constants`` r (N+1,).
    """

    gains: Array
    offsets: Array
    hessians: Array
    slopes: Array
    constants: Array

    def value(self, k: int, x: Array) -> float:
        """Least cost from knot ``k`` on, entered in ``x``."""
        return float(0.5 * x @ self.hessians[k] @ x + self.slopes[k] @ x + self.constants[k])

    def costates(self, states: Array) -> Array:
        """Slope of the value function along states (N+1, nx)."""
        return np.einsum("kij,kj->ki", self.hessians, states) + self.slopes

    def roll_out(self, data: LinearQuadratic) -> tuple[Array, Array]:
        """States and controls under the law."""
        states, controls = [data.initial_state], []
        for k in range(data.steps):
            controls.append(self.gains[k] @ states[-1] + self.offsets[k])
            states.append(data.dynamics[k] @ np.concatenate([states[-1], controls[-1]]) + data.offset[k])
        return np.array(states), np.array(controls)


def riccati(data: LinearQuadratic) -> Riccati:
    """Solve a problem without bounds and rows; those of ``data`` are ignored.

    Raises
    ------
    InvalidProblem
        When some Q_uu is not positive definite: then the optimum is not unique, or there is none.
    """
    nx, P, p, r = data.nx, data.end_hessian, data.end_gradient, 0.0
    gains, offsets, hessians, slopes, constants = [], [], [P], [p], [r]
    for k in reversed(range(data.steps)):
        F, c = data.dynamics[k], data.offset[k]
        Q, q = data.hessian[k] + F.T @ P @ F, data.gradient[k] + F.T @ (P @ c + p)
        least = float(np.linalg.eigvalsh(Q[nx:, nx:])[0])
        if not least > 0.0:
            raise InvalidProblem(
                f"the cost of stage {k} has the curvature {least:.3g} along some control, but a positive one was "
                "expected; give every control a cost."
            )
        r += 0.5 * c @ P @ c + p @ c
        gains.append(-np.linalg.solve(Q[nx:, nx:], Q[nx:, :nx]))
        offsets.append(-np.linalg.solve(Q[nx:, nx:], q[nx:]))
        r += 0.5 * q[nx:] @ offsets[-1]
        P, p = Q[:nx, :nx] + Q[:nx, nx:] @ gains[-1], q[:nx] + Q[:nx, nx:] @ offsets[-1]
        hessians.append(P)
        slopes.append(p)
        constants.append(r)
    return Riccati(*(np.array(part[::-1]) for part in (gains, offsets, hessians, slopes, constants)))


def stationary_riccati(
    A: ArrayLike, B: ArrayLike, Q: ArrayLike, R: ArrayLike, S: ArrayLike | None = None, *, iterations: int = 100_000
) -> tuple[Array, Array]:
    """The law u = K x that minimises sum of x'Qx + u'Ru + 2 x'Su over all steps, and P of its cost x'Px.

    The recursion is repeated from P = Q on until it no longer changes, to rounding.

    Raises
    ------
    InvalidProblem
        When it still changes after so many iterations.
    """
    A, B, Q, R = (np.asarray(matrix, float) for matrix in (A, B, Q, R))
    S = np.zeros((len(A), B.shape[1])) if S is None else np.asarray(S, float)
    P: Array = Q
    for _ in range(iterations):
        K = -np.asarray(np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A + S.T), np.float64)
        following = Q + A.T @ P @ A + (A.T @ P @ B + S) @ K
        # Each of the nx + nu terms of an entry is rounded, three products deep.
        if np.abs(following - P).max() <= 4.0 * np.finfo(float).eps * (len(A) + B.shape[1]) * np.abs(P).max():
            return K, following
        P = following
    raise InvalidProblem(
        f"the Riccati recursion still changes after {iterations} iterations, but a pair (A, B) that can be stabilised, "
        "and weights that see every mode, were expected; correct them."
    )
