"""Runge-Kutta steps under a held control: the interval of shooting methods, and discrete dynamics.

With q the running integrals (stage cost, integrands), s steps of length h/s lead from (x_k, 0) to

    x_{k+1} = F(x_k, u_k),    q_{k+1} = Q(x_k, u_k),

by one and the same tableau, so that cost and state are of the same order. Discrete dynamics are one step of a tableau
with a single stage and h = 1 that does not carry x along (`trajopt.transcription.integrators.DISCRETE`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.model import Model
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.integrators import DISCRETE, Tableau
from trajopt.transcription.interval import Interval


@dataclass(frozen=True)
class HeldSteps:
    """Runge-Kutta steps under a held control; equal settings are equal schemes.

    Attributes
    ----------
    tableau
        The method.
    substeps
        Steps in an interval.
    """

    tableau: Tableau
    substeps: int = 1

    @property
    def inner(self) -> int:
        """No node lies inside an interval."""
        return 0

    @property
    def inner_controls(self) -> int:
        """The control at the left knot is all."""
        return 0

    @property
    def inner_points(self) -> int:
        """Path constraints hold at the left knot."""
        return 0

    @property
    def ends(self) -> bool:
        """They do not hold just before the right knot."""
        return False

    @property
    def closed(self) -> bool:
        """The control at the right knot belongs to the next interval."""
        return False

    @property
    def nodes(self) -> NDArray[np.float64]:
        """The knots on both sides."""
        return np.array([0.0, 1.0])

    @property
    def interpolation(self) -> Interpolation:
        """The control is held."""
        return Interpolation.HOLD

    @property
    def weights(self) -> NDArray[np.float64]:
        """A state at a knot stands for half the interval on either side."""
        return np.array([1 / 2, 1 / 2])

    def interval(self, model: Model, p: ca.SX, time: Callable[[float], ca.SX], h: ca.SX) -> Interval:
        """Return the equations of an interval: x_1 - F(x_0, u) = 0."""
        nx = model.x.numel()
        left, control, right = ca.SX.sym("x0", nx), ca.SX.sym("u", model.u.numel()), ca.SX.sym("x1", nx)
        inputs = [model.x, model.u, model.t, model.p]
        rates = ca.vertcat(model.dynamics, model.stage_cost, model.integral.expression)
        rate = ca.Function("rate", inputs, [rates])
        path = ca.Function("path", inputs, [model.path.expression])
        following, integrals = self._advance(lambda x, t: rate(x, control, t, p), left, time, h)
        return Interval(
            variables=ca.vertcat(left, control, right),
            defects=right - following,
            paths=[path(left, control, time(0.0), p)],
            cost=integrals[0],
            integrals=integrals[1:, :],  # a single index would make a row of nothing
        )

    def guess_controls(
        self, guess: Trajectory, intervals: NDArray[np.intp] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the controls of a guess in the middle of its intervals, (N, nu); there are none inside."""
        controls = guess.held()
        return controls, np.zeros((guess.steps if intervals is None else len(intervals), 0, controls.shape[1]))

    def read_controls(
        self, knots: NDArray[np.float64], inside: NDArray[np.float64], intervals: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return the held controls as polynomials, (n, 1, nu)."""
        return knots[intervals][:, None]

    def read_states(
        self, left: NDArray[np.float64], inside: NDArray[np.float64], right: NDArray[np.float64],
        slopes: NDArray[np.float64], lengths: NDArray[np.float64],
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return straight lines between the knots, (n, 2, nx): what a step does inside is its own affair."""
        return np.stack([left, right], axis=1)

    def _advance(
        self, rate: Callable[[ca.SX, ca.SX], ca.SX], x: ca.SX, time: Callable[[float], ca.SX], h: ca.SX
    ) -> tuple[ca.SX, ca.SX]:
        """Return the state at the end of the interval, and the running integrals."""
        tableau, nx = self.tableau, x.numel()
        length = h / self.substeps if tableau.carries else ca.SX(1.0)
        integrals = ca.SX(0.0)
        for step in range(self.substeps):
            rates: list[ca.SX] = []
            for row, node in zip(tableau.a, tableau.c, strict=True):
                point = sum((a * k[:nx, :] for a, k in zip(row, rates, strict=True) if a), ca.SX(nx, 1))
                rates.append(rate(x + length * point, time((step + node) / self.substeps)))
            increment = length * sum((b * k for b, k in zip(tableau.b, rates, strict=True)), ca.SX(0.0))
            x = x + increment[:nx, :] if tableau.carries else increment[:nx, :]
            integrals = integrals + increment[nx:, :]
        return x, integrals


DISCRETE_STEP = HeldSteps(DISCRETE)
"""Discrete dynamics, taken as they are."""
