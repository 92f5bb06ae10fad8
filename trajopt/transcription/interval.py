"""What a direct method makes of one control interval: its own variables, and the equations between them.

A direct method divides the horizon into N intervals that are all alike. Whatever distinguishes one method from another
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
        control there unless it is held.
    defects
        SX column, (inner + 1) nx: zero when the dynamics hold.
    paths
        Path constraints at the left knot and at each inner node.
    cost, integrals
        The stage cost and the integrands, integrated over the interval.
    """

    variables: ca.SX
    defects: ca.SX
    paths: list[ca.SX]
    cost: ca.SX
    integrals: ca.SX


class IntervalScheme(Protocol):
    """How an interval becomes equations."""

    @property
    def inner(self) -> int:
        """Number of nodes strictly inside an interval."""
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

    def guess_controls(self, guess: Trajectory) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the unknowns of a guess' control: at the knots, (N, nu) or (N+1, nu), and inside, (N, inner, nu)."""
        ...

    def middle_controls(
        self, knots: NDArray[np.float64], coefficients: NDArray[np.float64]
    ) -> NDArray[np.float64] | None:
        """Return the controls at the midpoints, (N, nu), from these unknowns, if a parabola needs them."""
        ...
