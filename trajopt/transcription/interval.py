"""What a direct method makes of one control interval: its own variables, and the equations between them.

A direct method divides the horizon into N intervals. Whatever distinguishes one method from another
(collocation, a Runge-Kutta step under a held control, discrete dynamics) happens within an interval and is told by an
`IntervalScheme`; layout, assembly, scaling and the way back are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.model import Model
from trajopt.trajectory import Interpolation, Trajectory


@dataclass(frozen=True, eq=False)
class Interval:
    """The equations of one interval as expressions of its own variables, of time and of parameters.

    Attributes
    ----------
    variables
        SX column: state and control at the left knot and at each inner node, then the state at the right knot, and the
        control there if the scheme is closed.
    defects
        SX column, (inner + 1) nx: zero when the dynamics hold.
    paths
        Path constraints at the left knot and at each inner node.
    cost, integrals
        The stage cost and the integrands, integrated over the interval.
    end
        Path constraints at the right knot under a control of the interval's own; None if it has none there.
    """

    variables: ca.SX
    defects: ca.SX
    paths: list[ca.SX]
    cost: ca.SX
    integrals: ca.SX
    end: ca.SX | None = None


class IntervalScheme(Protocol):
    """How an interval becomes equations."""

    @property
    def inner(self) -> int:
        """Number of nodes strictly inside an interval."""
        ...

    @property
    def inner_controls(self) -> int:
        """Number of unknown controls of an interval behind that of its left knot that no neighbour shares."""
        ...

    @property
    def inner_points(self) -> int:
        """Number of points strictly inside an interval at which path constraints hold."""
        ...

    @property
    def ends(self) -> bool:
        """Whether path constraints on the control hold at the right knot too, under a control of the interval's own."""
        ...

    @property
    def closed(self) -> bool:
        """Whether neighbours share the control at their knot."""
        ...

    @property
    def nodes(self) -> NDArray[np.float64]:
        """(inner+2,) places of the nodes in the interval, from 0 to 1."""
        ...

    @property
    def interpolation(self) -> Interpolation:
        """How the control runs over an interval."""
        ...

    @property
    def weights(self) -> NDArray[np.float64]:
        """(inner+2,) share of an interval's length for which each of its nodes stands."""
        ...

    def interval(self, model: Model, p: ca.SX, time: Callable[[float], ca.SX], h: ca.SX) -> Interval:
        """Return the equations of an interval of length ``h``, whose node c in [0, 1] lies at ``time(c)``."""
        ...

    def guess_controls(
        self, guess: Trajectory, intervals: NDArray[np.intp] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the unknowns of a guess' control: at all knots, (N, nu), or (N+1, nu) if closed, and inside.

        The second result, (n, inner_controls, nu), is for the intervals of those numbers; None: for all.
        """
        ...

    def read_controls(
        self, knots: NDArray[np.float64], inside: NDArray[np.float64], intervals: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        """Return the Bernstein coefficients of the control on intervals, (n, d+1, nu), from these unknowns."""
        ...

    def read_states(
        self, left: NDArray[np.float64], inside: NDArray[np.float64], right: NDArray[np.float64],
        slopes: NDArray[np.float64], lengths: NDArray[np.float64],
    ) -> NDArray[np.float64]:  # fmt: skip
        """Return the Bernstein coefficients of the state on intervals of those lengths, (n, e+1, nx).

        Parameters
        ----------
        left, right
            (n, nx) states at the knots.
        inside
            (n, inner, nx) states at the inner nodes.
        slopes
            (n, nx) time derivatives at the left knots.
        lengths
            (n,) of the intervals.
        """
        ...
