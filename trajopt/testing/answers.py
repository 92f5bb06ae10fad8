"""Small things that many checks do with guesses and answers."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from trajopt.problem import Problem
from trajopt.solution import Solution


def fingerprint(solution: Solution) -> str:
    """Every bit of the answer."""
    parts = (solution.t, solution.x, solution.u, np.float64(solution.cost))
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def flat_guess(problem: Problem, control: float = 0.125) -> tuple[Any, Any, Any]:
    """Arrays of a guess on the problem's knots: the initial state throughout, and a constant control."""
    t = problem.horizon.knots()
    x = np.tile(np.nan_to_num(problem.initial_values), (len(t), 1))
    return t, x, np.full((len(t) - 1, problem.nu), control)
