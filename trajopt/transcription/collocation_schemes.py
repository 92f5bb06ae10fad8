"""Collocation schemes as tables: where an interval is collocated, and with which weights.

On an interval of length h from t_k the state runs through nodes at t_k + c_i h, where with f_j = f(x_j, u_j)

    x_i = x_0 + h sum_j a_ij f_j,    integral of l over the interval = h sum_j a_sj l_j,    i = 1 ... s.

Both schemes here are of the Lobatto IIIA family: c_0 = 0 and c_s = 1, so that knots are shared by their neighbours.

The control is a polynomial through its values at the nodes. What is unknown inside an interval is not the value there
but the Bernstein coefficient: the polynomial lies in the convex hull of its coefficients, so that bounds on these hold
at every time. Bounds on the values alone would let a parabola through (1, 1, -1) swing up to 9/8.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.model import Model
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.interval import Interval


@dataclass(frozen=True, eq=False)
class Scheme:
    """A table of collocation coefficients.

    Attributes
    ----------
    nodes
        (s+1,) fractions c of the interval, the first 0.
    coefficients
        (s, s+1) matrix a; row i-1 belongs to node i.
    weights
        (s+1,) quadrature weights b.
    blend
        (s-1, s+1) matrix that gives the controls at the inner nodes from the Bernstein coefficients.
    interpolation
        How the control runs through its nodes.
    order
        Of the state at the knots, of the costate and of the cost, for smooth controls.
    """

    nodes: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    weights: NDArray[np.float64]
    blend: NDArray[np.float64]
    interpolation: Interpolation
    order: int

    @property
    def inner(self) -> int:
        """Number of nodes strictly inside an interval."""
        return len(self.nodes) - 2

    def interval(self, model: Model, p: ca.SX, time: Callable[[float], ca.SX], h: ca.SX) -> Interval:
        """Return the equations of an interval of length ``h``, whose node c in [0, 1] lies at ``time(c)``."""
        stage = ca.Function(
            "stage",
            [model.x, model.u, model.t, model.p],
            [model.dynamics, model.stage_cost, model.integral.expression, model.path.expression],
        )
        x = [ca.SX.sym(f"x{j}", model.x.numel()) for j in range(len(self.nodes))]
        u = [ca.SX.sym(f"u{j}", model.u.numel()) for j in range(len(self.nodes))]
        coefficients = ca.horzcat(*u)
        controls = [u[0], *(coefficients @ ca.DM(row) for row in self.blend), u[-1]]
        values = [stage(*node, p) for node in zip(x, controls, map(time, self.nodes), strict=True)]
        slopes, costs, integrands = (ca.horzcat(*(value[i] for value in values)) for i in range(3))
        return Interval(
            variables=ca.vertcat(*(part for node in zip(x, u, strict=True) for part in node)),
            defects=ca.vertcat(*(x[i + 1] - x[0] - h * slopes @ ca.DM(a) for i, a in enumerate(self.coefficients))),
            paths=[value[3] for value in values[:-1]],
            cost=h * costs @ ca.DM(self.weights),
            integrals=h * integrands @ ca.DM(self.weights),
        )

    def guess_controls(self, guess: Trajectory) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the controls at the knots, (N+1, nu), and the inner Bernstein coefficients of a guess."""
        knots, intervals = guess.control(guess.t), np.arange(guess.steps)
        times = (guess.t[:-1] + c * np.diff(guess.t) for c in self.nodes[1:-1])
        inside = [guess.control_on(intervals, moments) for moments in times]
        controls = np.stack(inside, axis=1) if inside else np.zeros((guess.steps, 0, knots.shape[1]))
        return knots, np.einsum("ij,njk->nik", np.linalg.inv(self.blend[:, 1:-1]), controls - self._ends(knots))

    def middle_controls(
        self, knots: NDArray[np.float64], coefficients: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Return the controls at the midpoints, (N, nu), for parabolas.

        Parameters
        ----------
        knots
            (N+1, nu) controls at the knots.
        coefficients
            (N, inner, nu) inner Bernstein coefficients.
        """
        if self.interpolation is not Interpolation.QUADRATIC:
            return None
        return (self._ends(knots) + np.einsum("ij,njk->nik", self.blend[:, 1:-1], coefficients))[:, 0]

    def _ends(self, knots: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.blend[:, :1] * knots[:-1, None] + self.blend[:, -1:] * knots[1:, None]


TRAPEZOIDAL = Scheme(
    nodes=np.array([0.0, 1.0]),
    coefficients=np.array([[1 / 2, 1 / 2]]),
    weights=np.array([1 / 2, 1 / 2]),
    blend=np.zeros((0, 2)),
    interpolation=Interpolation.LINEAR,
    order=2,
)

HERMITE_SIMPSON = Scheme(
    nodes=np.array([0.0, 1 / 2, 1.0]),
    coefficients=np.array([[5 / 24, 1 / 3, -1 / 24], [1 / 6, 2 / 3, 1 / 6]]),
    weights=np.array([1 / 6, 2 / 3, 1 / 6]),
    blend=np.array([[1 / 4, 1 / 2, 1 / 4]]),
    interpolation=Interpolation.QUADRATIC,
    order=4,
)

SCHEMES = {"trapezoidal": TRAPEZOIDAL, "hermite_simpson": HERMITE_SIMPSON}
"""The schemes by the name that users give."""
