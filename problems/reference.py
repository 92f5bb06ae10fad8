"""What is known about a problem beforehand: its published optimum, where it comes from, and how far to trust it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from trajopt.problems.drawing import Drawing

if TYPE_CHECKING:
    from trajopt.problem import Problem

TAGS = {
    "lq": "linear dynamics, convex quadratic cost, no inequality active: one linear system solves it",
    "smooth": "the optimal control is smooth, so that a method of order k shows errors of order k",
    "bang-bang": "the optimal control jumps between its bounds",
    "singular": "on an arc the control does not show in the stationarity condition; it may ring there",
    "chattering": "the control switches infinitely often in finite time",
    "state-constraint": "a bound on a state is active",
    "path-constraint": "a function of state and control is limited along the way",
    "free-time": "the duration or the start is chosen",
    "free-initial-state": "some entries of the initial state are chosen",
    "free-parameters": "numbers that do not depend on time are chosen",
    "integral-constraint": "an integral is prescribed",
    "boundary-constraint": "both ends are tied together",
    "black-box": "the dynamics are simulated, not traced",
    "discrete": "the dynamics are a difference equation",
    "stiff": "boundary layers or time constants far shorter than the horizon",
    "obstacle": "a nonconvex set is forbidden, so that local minima exist",
}
"""Every tag that a problem may carry, and what it tells a test to expect."""


@dataclass(frozen=True)
class ClosedForm:
    """An optimal trajectory that is known exactly.

    Attributes
    ----------
    trajectory
        Function t -> (x: (nx,), u: (nu,)) for start <= t <= start + duration.
    duration, start
        The optimal horizon.
    corners
        Times at which the control or its derivative jumps; formulas between them are analytic.
    """

    trajectory: Callable[[float], tuple[NDArray[np.float64], NDArray[np.float64]]]
    duration: float
    start: float = 0.0
    corners: tuple[float, ...] = ()

    def __call__(self, t: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """State and control at time ``t``."""
        return self.trajectory(t)


@dataclass(frozen=True)
class Reference:
    """What is known about a problem, for the default settings of its factory.

    Attributes
    ----------
    optimum
        The published number, in the sense of ``kind``; None where no trusted one is known.
    digits
        How many significant digits of it to trust; 0 without an optimum.
    source
        Where problem and number come from.
    kind
        Whether the source minimises or maximises; the library always minimises, see `cost`.
    note
        What a solver or a test should know: misprints, local minima, values of coarse grids.
    tags
        Keys of `TAGS`.
    solution
        The optimal trajectory where a closed form exists.
    picture
        How to animate a trajectory.
    """

    optimum: float | None
    digits: int
    source: str
    kind: Literal["minimum", "maximum"] = "minimum"
    note: str = ""
    tags: tuple[str, ...] = ()
    solution: ClosedForm | None = None
    picture: Drawing | None = None

    @property
    def cost(self) -> float | None:
        """The optimum as the minimised cost of the problem in this library."""
        if self.optimum is None:
            return None
        return self.optimum if self.kind == "minimum" else -self.optimum

    @property
    def tolerance(self) -> float:
        """Half a unit of the last trusted digit of the optimum, an absolute error; infinite without an optimum."""
        if self.optimum is None:
            return np.inf
        return 0.5 * 10.0 ** (np.floor(np.log10(abs(self.optimum))) + 1 - self.digits)


@dataclass(frozen=True)
class Entry:
    """One line of the library: the name, the factory, what is known.

    Attributes
    ----------
    name
        In kebab case; the file's own name, alone or followed by a variant (``brachistochrone.py`` may hold
        ``brachistochrone`` and ``brachistochrone-free-height``), so that one name leads to one file.
    build
        Factory of the problem, its constants being keyword settings.
    reference
        What is known for the default settings.
    extra
        The extra of trajopt that the problem needs, such as "robots", or several, as in "gym,mujoco"; None where the
        core is enough.
    """

    name: str
    build: Callable[..., Problem]
    reference: Reference
    extra: str | None = None
