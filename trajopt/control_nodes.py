"""The numbers that make a control: its values at nodes, and the polynomials that run through them.

On interval k the control is u(s) = sum_a basis_a(s) values[index[k, a]] with s in [0, 1] from knot to knot: one node if
it is held, two if linear, three if quadratic. Neighbouring intervals share the node at their knot, unless the control
may jump there. The nodes of polynomials are their Bernstein coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trajopt import bernstein
from trajopt.trajectory import Interpolation, Trajectory

Array = NDArray[np.float64]

# Column a holds the coefficients of basis_a in powers 1, s, s^2.
_HOLD = np.array([[1.0]])
_LINEAR = np.array([[1.0, 0.0], [-1.0, 1.0]])
_QUADRATIC = np.array([[1.0, 0.0, 0.0], [-3.0, 4.0, -1.0], [2.0, -4.0, 2.0]])


@dataclass(frozen=True, eq=False)
class ControlNodes:
    """A control as values at nodes.

    Attributes
    ----------
    values
        (n, nu) controls at the nodes, in order of time.
    index
        (N, m) nodes of each interval.
    powers
        (d, m) coefficients of the basis polynomials in powers of s.
    """

    values: Array
    index: NDArray[np.intp]
    powers: Array

    @classmethod
    def of(cls, trajectory: Trajectory) -> ControlNodes:
        """Nodes of a trajectory's control."""
        steps = np.arange(trajectory.steps)[:, None]
        if trajectory.interpolation is Interpolation.HOLD:
            return cls(trajectory.u, steps, _HOLD)
        if trajectory.pieces is not None:
            count = trajectory.pieces.u.shape[1]
            values = trajectory.pieces.u.reshape(-1, trajectory.u.shape[1])
            return cls(values, count * steps + np.arange(count), bernstein.powers(count - 1))
        if trajectory.interpolation is Interpolation.LINEAR or trajectory.u_mid is None:
            return cls(trajectory.u, steps + np.arange(2), _LINEAR)
        values = np.empty((2 * trajectory.steps + 1, trajectory.u.shape[1]))
        values[0::2], values[1::2] = trajectory.u, trajectory.u_mid
        return cls(values, 2 * steps + np.arange(3), _QUADRATIC)

    def put_into(self, trajectory: Trajectory, x: Array) -> Trajectory:
        """Return a trajectory of the same kind with this control and the states ``x`` (N+1, nx) at the knots."""
        if trajectory.u_mid is None:
            return replace(trajectory, x=x, u=self.values)
        return replace(trajectory, x=x, u=self.values[0::2], u_mid=self.values[1::2])

    def coefficients(self, interval: int) -> Array:
        """Coefficients of the control on an interval in powers of s, (d, nu)."""
        return self.powers @ self.values[self.index[interval]]

    def basis(self, s: Array) -> Array:
        """Values of the basis polynomials, (..., m)."""
        return np.asarray(s, float)[..., None] ** np.arange(len(self.powers)) @ self.powers

    def control(self, interval: NDArray[np.intp], s: Array) -> Array:
        """Return controls at places ``s`` of intervals, (..., nu)."""
        return np.einsum("...a,...aj->...j", self.basis(s), self.values[self.index[interval]])

    def weights(self, spans: Array) -> Array:
        """Return the integral of each node's basis function over time, (n,), from the intervals' lengths (N,)."""
        total = np.zeros(len(self.values))
        means = 1.0 / np.arange(1, len(self.powers) + 1) @ self.powers
        np.add.at(total, self.index, spans[:, None] * means)
        return total
