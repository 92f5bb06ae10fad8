"""What a solution can be differentiated by: the initial state and the fixed parameters, packed into one vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.problem import Problem
from trajopt.transcription.collocation import DirectProgram

Array = NDArray[np.float64]

INITIAL_STATE = "initial_state"


def pack_inputs(problem: Problem, structure: DirectProgram) -> tuple[dict[str, slice], sp.csr_array]:
    """Where each input stands among all, and (size + shared, n): which variables and shared numbers it moves."""
    size, free = structure.program.size, structure.free
    shared = np.full(2 + problem.layout.size, -1)
    fixed = np.setdiff1d(np.arange(len(shared)), free)
    shared[fixed] = size + np.arange(len(fixed))
    places = [np.where(np.isnan(problem.initial_values), -1, structure.variables.x[0])]
    parts = {INITIAL_STATE: slice(0, problem.nx)}
    count = problem.nx
    for name, part in problem.layout.slices.items():
        if name not in problem.layout.free:
            places.append(shared[2:][part])
            parts[name] = slice(count, count + len(places[-1]))
            count = parts[name].stop
    rows = np.concatenate(places)
    there = rows >= 0
    matrix = sp.coo_array(
        (np.ones(there.sum()), (rows[there], np.flatnonzero(there))), shape=(size + len(fixed), count)
    )
    return parts, sp.csr_array(matrix)


def read_array(name: str, value: Any, shape: tuple[int, ...]) -> Array:
    """Finite numbers of that shape, or `InvalidProblem`."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidProblem(f"{name}={value!r} was given, but numbers were expected; correct it.") from error
    if array.shape != shape:
        raise InvalidProblem(f"{name} has shape {array.shape}, but {shape} was expected; reshape it.")
    if not np.isfinite(array).all():
        raise InvalidProblem(f"{name} contains NaN or infinity, but finite numbers were expected; correct it.")
    return array
