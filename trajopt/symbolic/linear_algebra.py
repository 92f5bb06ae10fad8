"""Norms, determinants, inverses and linear systems of traced matrices.

A symbolic elimination cannot choose pivots, so nothing here divides by an entry that might vanish: determinants and the
inverses of matrices up to 3 x 3 come from minors, and larger systems go to CasADi's block-triangular QR factorisation,
which is stable without pivoting. A constant matrix is inverted by NumPy.
"""

from __future__ import annotations

import itertools
from typing import Any

import casadi as ca
import numpy as np

from trajopt.symbolic.registry import implements
from trajopt.symbolic.traced import (
    TracedArray,
    elements_of,
    from_numpy,
    has_symbol,
    plain,
    to_array,
    to_matrix,
    to_numbers,
    unsupported,
)

_LARGEST_BY_MINORS = 3  # above, QR has fewer operations than minors
_LARGEST_DETERMINANT = 10  # expansion by minors takes n 2^(n-1) products


@implements(np.linalg.norm)
def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Vector norms 1, 2 and infinity, and Frobenius.

    The 2-norm is a square root, whose derivative at x = 0 is 0 / 0: costs want ``x @ x``, or np.sqrt(x @ x + tiny).
    """
    array = to_array(x)
    is_vector = isinstance(axis, (int, np.integer)) or (axis is None and array.ndim == 1)
    if ord is None or (ord == "fro" and not is_vector) or (ord == 2 and is_vector):
        return np.sqrt(np.sum(array * array, axis=axis, keepdims=keepdims))
    if is_vector and ord == 1:
        return np.sum(np.abs(array), axis=axis, keepdims=keepdims)
    if is_vector and ord == np.inf:
        return np.max(np.abs(array), axis=axis, keepdims=keepdims)
    raise unsupported(f"np.linalg.norm with ord={ord!r}")


def _square(a: Any) -> np.ndarray:
    matrix = plain(to_array(a))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise np.linalg.LinAlgError(f"expected one square matrix, got an array of shape {matrix.shape}")
    return matrix


def determinant(matrix: np.ndarray) -> Any:
    """Expand a determinant by the minors of its first k rows, each computed once: n 2^(n-1) products, no division.

    Parameters
    ----------
    matrix : ndarray of objects, shape (n, n)
    """
    size = len(matrix)
    minors: dict[tuple[int, ...], Any] = {(): 1.0}
    for row in range(size):
        minors = {
            columns: sum(
                ((-1.0) ** (row - i) * matrix[row, column] * minors[columns[:i] + columns[i + 1 :]])
                for i, column in enumerate(columns)
            )
            for columns in itertools.combinations(range(size), row + 1)
        }
    return minors[tuple(range(size))]


@implements(np.linalg.det)
def _det(a: Any) -> Any:
    matrix = _square(a)
    if len(matrix) > _LARGEST_DETERMINANT:
        raise unsupported(f"np.linalg.det of a matrix larger than {_LARGEST_DETERMINANT} x {_LARGEST_DETERMINANT}")
    return determinant(matrix)


def _adjugate(matrix: np.ndarray) -> np.ndarray:
    size = range(len(matrix))
    cofactors = [
        [(-1.0) ** (i + j) * determinant(np.delete(np.delete(matrix, i, axis=0), j, axis=1)) for i in size]
        for j in size
    ]
    return np.array(cofactors, dtype=object).reshape(matrix.shape)


@implements(np.linalg.solve)
def _solve(a: Any, b: Any) -> Any:
    matrix, right = _square(a), plain(to_array(b))
    if right.ndim not in (1, 2) or len(right) != len(matrix):
        raise np.linalg.LinAlgError(
            f"a matrix of shape {matrix.shape} does not fit a right side of shape {right.shape}"
        )
    if not has_symbol(matrix):
        return from_numpy(np.linalg.inv(to_numbers(matrix.view(TracedArray))) @ right)
    if len(matrix) <= _LARGEST_BY_MINORS:
        return from_numpy((_adjugate(matrix) @ right) / determinant(matrix))
    columns = right.reshape(len(right), -1)
    # With the zeros left out, whose pattern the block-triangular solver exploits.
    solution = ca.solve(ca.sparsify(to_matrix(matrix)), ca.sparsify(to_matrix(columns)))
    return from_numpy(elements_of(solution).reshape(right.shape))


@implements(np.linalg.inv)
def _inv(a: Any) -> Any:
    return _solve(a, np.eye(len(_square(a))))
