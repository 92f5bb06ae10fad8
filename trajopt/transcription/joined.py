"""Programs made of programs: each sees its own part of the variables, and all rows stand below each other.

    minimise sum_k f_k(w[places_k])  subject to  lower <= (g_1(w[places_1]), g_2(w[places_2]), ...) <= upper.

The parts may share variables. Their derivatives are those that they have already; they are only put where they belong.
"""

from __future__ import annotations

from collections.abc import Sequence

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.transcription.nlp import Program, add, matrix, nlp_functions

Index = NDArray[np.intp]


def join(programs: Sequence[Program], places: Sequence[Index], shared: Sequence[int], size: int) -> Program:
    """Compile the sum of programs.

    Parameters
    ----------
    programs
        The parts.
    places
        For each part where its variables stand among all, without repetition.
    shared
        For each part the number of its shared parameters.
    size
        Number of all variables.

    Returns
    -------
    Program
        Its shared parameters are those of the parts below each other, and so are its rows and ``gradients``.
    """
    rows = sum(part.rows for part in programs)
    v, lam_f, lam_g = ca.MX.sym("v", size), ca.MX.sym("lam_f"), ca.MX.sym("lam_g", rows)
    parameters = ca.MX.sym("p", sum(shared) + size + rows)
    p, scale, unit = ca.vertsplit(parameters, [0, sum(shared), sum(shared) + size, sum(shared) + size + rows])
    f, g, gradient, jacobian, hessian, outward, each = ca.MX(0), [], [], [], [], [], []
    row, first = 0, 0
    for part, place, count in zip(programs, places, shared, strict=True):
        mine, end = place.tolist(), row + part.rows
        own = [ca.vec(v[mine]), ca.vertcat(p[first : first + count], ca.vec(scale[mine]), unit[row:end])]
        cost, values = part.functions["nlp"](*own)
        f += cost
        g.append(values)
        gradient.append((place, part.functions["grad_f"](*own)[1]))
        slopes = part.functions["jac_g"](*own)[1]
        i, j = _entries(slopes)
        jacobian.append((row + i, place[j], _values(slopes)))
        hessian.append(_upper(part.functions["hess_lag"](*own, lam_f, lam_g[row:end]), place))
        total, *gradients = part.gradients(*own, lam_g[row:end])
        outward.append((place, total))
        each += gradients
        row, first = end, first + count
    functions = nlp_functions(
        [v, parameters],
        f,
        ca.vertcat(*g),
        add(size, gradient),
        matrix((rows, size), jacobian, ca.MX.ones(rows), ca.MX.ones(size)),
        [lam_f, lam_g],
        matrix((size, size), hessian, ca.MX.ones(size), ca.MX.ones(size)),
    )
    return Program(size, rows, functions, ca.Function("gradients", [v, parameters, lam_g], [add(size, outward), *each]))


def _upper(triangle: ca.MX, place: Index) -> tuple[Index, Index, ca.MX]:
    """Where the upper triangle of a part's Hessian stands in the upper triangle of the whole.

    Where the part's variables are in another order its entry lies below the diagonal: above it is the same number.
    """
    i, j = place[np.stack(_entries(triangle))]
    return np.minimum(i, j), np.maximum(i, j), _values(triangle)


def _entries(values: ca.MX) -> tuple[Index, Index]:
    """Rows and columns of the nonzeros."""
    i, j = (np.array(part, dtype=np.intp) for part in values.sparsity().get_triplet())
    return i, j


def _values(values: ca.MX) -> ca.MX:
    """Values of the nonzeros, as a column."""
    return ca.vec(values.nz[:])  # of a single row they would come as a row
