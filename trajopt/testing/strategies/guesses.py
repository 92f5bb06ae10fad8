"""Where solvers start: guesses of every quality, and guesses that must be refused."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from trajopt.guess import make_guess
from trajopt.problem import Problem
from trajopt.testing.oracles.integration import roll_out
from trajopt.testing.strategies.numbers import arrays

Array = NDArray[np.float64]
Guess = tuple[Array, Array, Array]

_SAMPLED_NUMBERS = 64
"""Beyond as many entries a guess comes from a seed: drawing each would take longer than solving."""


def guesses(problem: Problem) -> st.SearchStrategy[Guess | None]:
    """Guesses that a solver must accept, from none at all to far away.

    Far states with controls out of bounds, states that the dynamics contradict, rollouts of drawn controls, two knots
    alone, all zero, and None, to which they shrink.
    """
    rest = make_guess(problem, None)
    controls = _tables((problem.horizon.steps, problem.nu))
    lower, upper = problem.control_bounds
    kinds: list[st.SearchStrategy[Guess | None]] = [
        st.none(),
        st.just((rest.t, np.zeros_like(rest.x), np.zeros((problem.horizon.steps, problem.nu)))),
        st.just((rest.t[[0, -1]], rest.x[[0, -1]], np.clip(np.zeros((2, problem.nu)), lower, upper))),
        controls.map(lambda u: _rolled_out(problem, np.clip(u, lower, upper))),
        st.tuples(_tables(rest.x.shape), controls).map(
            lambda xu: (rest.t, rest.x + xu[0], np.clip(xu[1], lower, upper))
        ),
        st.tuples(_tables(rest.x.shape), controls).map(lambda xu: (rest.t, 64.0 * xu[0], 64.0 * xu[1])),
    ]
    return st.one_of(kinds)


def malformed_guesses(problem: Problem) -> st.SearchStrategy[Any]:
    """Guesses that must be refused with an error: wrong shapes, kinds and times, and numbers that are not finite."""
    rest = make_guess(problem, None)
    t, x, u = rest.t, rest.x, np.zeros((problem.horizon.steps, problem.nu))
    bad = st.sampled_from([np.nan, np.inf, -np.inf])

    def poison(which: int, place: int, value: float) -> Guess:
        parts = [t.copy(), x.copy(), u.copy()]
        parts[which].flat[place % parts[which].size] = value
        return parts[0], parts[1], parts[2]

    return st.one_of(
        st.builds(poison, st.integers(0, 2), st.integers(0, u.size - 1), bad),
        st.sampled_from([(t, x, u[:, :0]), (t, x[:-1], u), (t[::-1], x, u), (0.0 * t, x, u)]),
        st.sampled_from([(t, x), (t[:1], x[:1], u[:0])]),
        st.sampled_from(["straight", 1.0, object()]),
    )  # fmt: skip


def _tables(shape: tuple[int, ...]) -> st.SearchStrategy[Array]:
    """Quarter steps up to one."""
    if int(np.prod(shape)) <= _SAMPLED_NUMBERS:
        return arrays(shape)
    return st.integers(0, 2**16).map(lambda seed: np.random.default_rng(seed).integers(-4, 5, shape) / 4.0)


def _rolled_out(problem: Problem, controls: Array) -> Guess:
    """States that obey the dynamics, or rest where these are random or not finite."""
    rest = make_guess(problem, None)
    if np.isnan(problem.initial_values).any():
        return rest.t, rest.x, controls
    states, _ = roll_out(problem, controls)
    return rest.t, states if np.isfinite(states).all() else rest.x, controls
