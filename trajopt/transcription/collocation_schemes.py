"""Collocation schemes as tables: where an interval is collocated, and with which weights.

On an interval of length h from t_k the state runs through nodes at t_k + c_i h, where with f_j = f(x_j, u_j)

    x_i = x_0 + h sum_j a_ij f_j,    integral of l over the interval = h sum_j a_sj l_j,    i = 1 ... s.

Both schemes here are of the Lobatto IIIA family: c_0 = 0 and c_s = 1, so that knots are shared by their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.trajectory import Interpolation


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
    interpolation
        How the control runs through its nodes.
    order
        Of the state at the knots, of the costate and of the cost, for smooth controls.
    """

    nodes: NDArray[np.float64]
    coefficients: NDArray[np.float64]
    weights: NDArray[np.float64]
    interpolation: Interpolation
    order: int

    @property
    def inner(self) -> int:
        """Number of nodes strictly inside an interval."""
        return len(self.nodes) - 2


def _lobatto(nodes: list[float], coefficients: list[list[float]], interpolation: Interpolation, order: int) -> Scheme:
    a = np.array(coefficients)
    return Scheme(np.array(nodes), a, a[-1], interpolation, order)


TRAPEZOIDAL = _lobatto([0.0, 1.0], [[1 / 2, 1 / 2]], Interpolation.LINEAR, 2)

HERMITE_SIMPSON = _lobatto(
    [0.0, 1 / 2, 1.0], [[5 / 24, 1 / 3, -1 / 24], [1 / 6, 2 / 3, 1 / 6]], Interpolation.QUADRATIC, 4
)

SCHEMES = {"trapezoidal": TRAPEZOIDAL, "hermite_simpson": HERMITE_SIMPSON}
"""The schemes by the name that users give."""
