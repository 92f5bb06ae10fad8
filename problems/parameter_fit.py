"""Fitting parameters of reaction rates and the like to samples: what the problems with measured data share.

A fit is stated in discrete time, with steps that end where samples were taken, each made of Runge-Kutta substeps; the
cost of a step is the squared distance of the state to the sample at its start, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import trajopt as to


def fit(
    name: str,
    rate: Callable[[Any, Any], Any],
    parameters: dict[str, to.Free],
    *,
    states: Sequence[str],
    initial_state: Sequence[float] | None,
    intervals: ArrayLike,
    steps: int,
    substeps: int,
    samples: ArrayLike,
    taken: ArrayLike,
    guess: Any = None,
) -> to.Problem:
    """Least-squares fit of the parameters of an autonomous differential equation.

    Parameters
    ----------
    name
        Of the problem.
    rate
        (y, p) -> time derivative (ny,).
    parameters
        What is fitted.
    states, initial_state
        Names (ny,), and y at the start; None where it is fitted too.
    intervals, steps, substeps
        Lengths of consecutive intervals of time, (m,), each made of ``steps`` steps of ``substeps`` Runge-Kutta steps.
    samples, taken
        Samples of the state, (k, ny), and the steps at which they were taken, (k,).
    guess
        For `trajopt.Problem`.
    """
    intervals, samples, taken = (np.asarray(values, dtype=float) for values in (intervals, samples, taken))
    index = np.arange(len(intervals))

    def step(x: Any, u: Any, t: Any, p: Any) -> Any:
        inside = (t >= steps * index) & (t < steps * (index + 1))
        h = np.sum(np.where(inside, intervals, 0.0)) / (steps * substeps)
        for _ in range(substeps):
            k1 = rate(x, p)
            k2 = rate(x + 0.5 * h * k1, p)
            k3 = rate(x + 0.5 * h * k2, p)
            k4 = rate(x + h * k3, p)
            x = x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        return x

    def residual(x: Any, t: Any) -> Any:
        squares = sum((x[i] - samples[:, i]) ** 2 for i in range(samples.shape[1]))
        return np.sum(np.where(np.abs(t - taken) < 0.5, squares, 0.0))

    return to.Problem(
        to.DiscreteDynamics(step, nu=0, states=states),
        stage_cost=lambda x, u, t: residual(x, t),
        terminal_cost=residual,
        initial_state=initial_state,
        horizon=to.Horizon(steps=steps * len(intervals)),
        parameters=parameters,
        guess=guess,
        name=name,
    )
