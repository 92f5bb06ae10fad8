"""How far the values of a table may be from the optimum, from their residual."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trajopt.monitor import Monitor
from trajopt.solvers.kernels import tabular
from trajopt.solvers.tabular.model import FiniteModel

_SWEEPS = 100_000
"""Most sweeps that the life of a process is worked on: enough where 1 in 10,000 lives ends at each step."""

_ENOUGH = 0.5
"""A slack at which the bound is at most twice as large as it could be."""

CERTAIN = 1.0 - 1e-12
"""Discount from which on a step does not shorten the life: probabilities that are summed miss 1 by rounding."""


class Bounds:
    """Error bounds of the values of one model, whatever they come from.

    Parameters
    ----------
    model
        The process.
    monitor
        Knows the time limit, after which the life is worked on no more.

    Attributes
    ----------
    life
        (S,) how many steps, discounted, are still to come at most; see `trajopt.solvers.kernels.tabular`.
    slack
        What the bound divides by; zero where nothing is known from a residual alone, because some way of acting never
        ends and is not discounted.
    """

    def __init__(self, model: FiniteModel, monitor: Monitor) -> None:
        self.model = model
        self.life, self.slack = np.ones(len(model)), 0.0
        if may_go_on_forever(model).any():
            return
        for _ in range(_SWEEPS):
            self.slack = max(float(tabular.sweep_life(model.table, self.life)), 0.0)
            if self.slack >= _ENOUGH or monitor.seconds_left <= 0.0:
                break

    @property
    def amplification(self) -> float:
        """What a residual is multiplied by: 1 / (1 - gamma) where every step is discounted by gamma."""
        return float(self.life.max() / self.slack) if self.slack > 0.0 else np.inf

    def rounding(self, values: NDArray[np.float64]) -> float:
        """What rounding alone may leave of a residual: a backup sums so many products."""
        largest = np.abs(values).max(initial=0.0) + np.abs(self.model.table.reward).max(initial=0.0)
        terms = np.diff(self.model.table.first)[self.model.table.chance].max(initial=1) + 4
        return float(terms * np.finfo(float).eps * largest)

    def error(self, values: NDArray[np.float64]) -> float:
        """Largest |V - V*|, infinite where it cannot be known."""
        distance = tabular.residual(self.model.table, values) + self.rounding(values)
        return float(distance * self.amplification) if np.isfinite(self.amplification) else np.inf


def may_go_on_forever(model: FiniteModel) -> NDArray[np.bool_]:
    """(S,) states from which some way of acting never ends and is never discounted."""
    table = model.table
    starts = table.first[:-1]
    forever = np.ones(len(model), bool)
    while True:
        weight = np.abs(table.weight) * forever[table.following]
        total = np.where(table.chance, np.add.reduceat(weight, starts), np.maximum.reduceat(weight, starts))
        remaining = forever & (total >= CERTAIN)
        if (remaining == forever).all():
            return forever
        forever = remaining
