"""A trajectory on a grid of knots: guesses come in and answers go out in this form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem
from trajopt.multipliers import resample_multipliers

Array = NDArray[np.float64]


class Interpolation(StrEnum):
    """How the control runs between knots."""

    HOLD = "hold"
    """Constant on each interval; u has N rows."""
    LINEAR = "linear"
    """Straight between knots; u has N + 1 rows."""
    QUADRATIC = "quadratic"
    """A parabola through both knots and the midpoint; u has N + 1 rows and u_mid N."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """States and controls over time.

    Attributes
    ----------
    t
        (N+1,) increasing times of the knots.
    x
        (N+1, nx) states at the knots.
    u
        Controls: (N, nu) if held, (N+1, nu) if interpolated.
    interpolation
        How the control runs between knots.
    u_mid
        (N, nu) controls at the midpoints, for quadratic interpolation alone.
    parameters
        Values of the problem's parameters by name.
    multipliers
        Costates and multipliers by name, for a warm start; as in `Outcome`, in the words of the solver that found them.
    """

    t: Array
    x: Array
    u: Array
    interpolation: Interpolation
    u_mid: Array | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    multipliers: Mapping[str, Any] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Number of intervals N."""
        return len(self.t) - 1

    def interval(self, time: ArrayLike) -> NDArray[np.intp]:
        """Index of the interval in which each time lies; times outside belong to the first or last one."""
        return np.clip(np.searchsorted(self.t, time, side="right") - 1, 0, self.steps - 1)

    def control(self, time: ArrayLike) -> Array:
        """Control at ``time``: (nu,) for a scalar, (n, nu) for an array; held constant outside the horizon."""
        time = np.asarray(time, float)
        return self.control_on(self.interval(time), time)

    def control_on(self, k: Any, time: ArrayLike) -> Array:
        """Control at ``time`` by the formula of interval ``k``: at a knot this tells the left limit from the right."""
        if self.interpolation is Interpolation.HOLD:
            return self.u[k]
        span = self.t[np.add(k, 1)] - self.t[k]
        s = np.clip((np.asarray(time, float) - self.t[k]) / span, 0.0, 1.0)[..., None]
        left, right = self.u[k], self.u[np.add(k, 1)]
        if self.interpolation is Interpolation.LINEAR or self.u_mid is None:
            return (1.0 - s) * left + s * right
        return (1.0 - s) * (1.0 - 2.0 * s) * left + 4.0 * s * (1.0 - s) * self.u_mid[k] + s * (2.0 * s - 1.0) * right

    def resample(self, t: ArrayLike, state: Callable[[Array], Array] | None = None) -> Trajectory:
        """The trajectory on other knots, with the control interpolated linearly, or held if it was held.

        Parameters
        ----------
        t
            (n+1,) increasing times.
        state
            Function of an array of times that gives (n+1, nx) states. Default: linear interpolation of ``x``.
        """
        t = np.asarray(t, float)
        x = self._between(t) if state is None else state(t)
        if self.interpolation is Interpolation.HOLD:
            # The mean over the new interval would blur switches; its middle keeps the values that were there.
            u, interpolation = self.control(0.5 * (t[:-1] + t[1:])), Interpolation.HOLD
        else:
            u, interpolation = self.control(t), Interpolation.LINEAR
        multipliers = resample_multipliers(self.multipliers, self.t, t)
        return Trajectory(t, x, u, interpolation, None, self.parameters, multipliers)

    def _between(self, t: Array) -> Array:
        """States at times ``t``, on straight lines between the knots."""
        return np.stack([np.interp(t, self.t, column) for column in self.x.T], axis=1)

    def held(self) -> Array:
        """The control as (N, nu) values to hold on each interval: those at the middle of the intervals."""
        if self.interpolation is Interpolation.HOLD:
            return self.u
        return self.control_on(np.arange(self.steps), 0.5 * (self.t[:-1] + self.t[1:]))


def read_arrays(t: Any, x: Any, u: Any, nx: int, nu: int, parameters: Mapping[str, Any]) -> Trajectory:
    """A trajectory from arrays of a user's; u with as many rows as t is interpolated, with one less it is held.

    Raises
    ------
    InvalidProblem
        When a shape is wrong, a number is not finite, or times do not increase.
    """
    try:
        t, x, u = (np.array(part, dtype=float) for part in (t, x, u))
    except (TypeError, ValueError) as error:
        raise InvalidProblem(
            "the guess is not made of numbers, but arrays (t, x, u) were expected; correct it."
        ) from error
    n = t.size
    x = x[:, None] if x.ndim == 1 and nx == 1 else x
    u = u[:, None] if u.ndim == 1 and nu == 1 else u
    if t.ndim != 1 or n < 2 or x.shape != (n, nx) or u.shape not in ((n, nu), (n - 1, nu)):
        raise InvalidProblem(
            f"the guess has t of shape {t.shape}, x of shape {x.shape} and u of shape {u.shape}, but (n,), (n, {nx}) "
            f"and (n, {nu}) or (n-1, {nu}) with n >= 2 were expected; reshape it."
        )
    if not (np.isfinite(t).all() and np.isfinite(x).all() and np.isfinite(u).all()):
        raise InvalidProblem("the guess contains NaN or infinity, but finite numbers were expected; replace them.")
    if not (np.diff(t) > 0).all():
        raise InvalidProblem("the guess has times that do not increase, but t[0] < t[1] < ... was expected; sort it.")
    interpolation = Interpolation.LINEAR if len(u) == n else Interpolation.HOLD
    return Trajectory(t, x, u, interpolation, None, dict(parameters))
