"""A trajectory on a grid of knots: guesses come in and answers go out in this form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt import bernstein
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
    POLYNOMIAL = "polynomial"
    """A polynomial of its own on each interval, which may jump at knots; u has N + 1 rows, the right limits there."""

    @property
    def jumps(self) -> bool:
        """Whether the control may have two limits at a knot."""
        return self in (Interpolation.HOLD, Interpolation.POLYNOMIAL)


@dataclass(frozen=True, eq=False)
class Pieces:
    """Polynomials on each interval as Bernstein coefficients, from which limits on the polynomials can be read.

    Attributes
    ----------
    u
        (N, d+1, nu) of the control.
    x
        (N, e+1, nx) of the state.
    """

    u: Array
    x: Array

    def take(self, intervals: NDArray[np.intp]) -> Pieces:
        """Those of some intervals, in their order."""
        return Pieces(self.u[intervals], self.x[intervals])


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
    pieces
        Control and state between the knots, for polynomial interpolation alone.
    """

    t: Array
    x: Array
    u: Array
    interpolation: Interpolation
    u_mid: Array | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    multipliers: Mapping[str, Any] = field(default_factory=dict)
    pieces: Pieces | None = None

    def __post_init__(self) -> None:
        # A copy with another control, by dataclasses.replace, must not carry pieces that nobody reads any more.
        if self.interpolation is not Interpolation.POLYNOMIAL:
            object.__setattr__(self, "pieces", None)

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
        place = self._place(k, time)
        if self.pieces is not None:
            return bernstein.evaluate(self.pieces.u[k], place)
        s = place[..., None]
        left, right = self.u[k], self.u[np.add(k, 1)]
        if self.interpolation is Interpolation.LINEAR or self.u_mid is None:
            return (1.0 - s) * left + s * right
        return (1.0 - s) * (1.0 - 2.0 * s) * left + 4.0 * s * (1.0 - s) * self.u_mid[k] + s * (2.0 * s - 1.0) * right

    def state(self, time: Array) -> Array:
        """State at times (n,), (n, nx): on the polynomial pieces, else on straight lines between the knots."""
        if self.pieces is not None:
            k = self.interval(time)
            return bernstein.evaluate(self.pieces.x[k], self._place(k, time))
        return np.stack([np.interp(time, self.t, column) for column in self.x.T], axis=-1)

    def _place(self, k: Any, time: ArrayLike) -> Array:
        """Where times lie in intervals ``k``, from 0 to 1."""
        return np.clip((np.asarray(time, float) - self.t[k]) / (self.t[np.add(k, 1)] - self.t[k]), 0.0, 1.0)

    def resample(self, t: ArrayLike, state: Callable[[Array], Array] | None = None) -> Trajectory:
        """The trajectory on other knots, with the control interpolated linearly, or held if it was held.

        Parameters
        ----------
        t
            (n+1,) increasing times.
        state
            Function of an array of times that gives (n+1, nx) states. Default: `state`.
        """
        t = np.asarray(t, float)
        x = self.state(t) if state is None else state(t)
        if self.interpolation is Interpolation.HOLD:
            # The mean over the new interval would blur switches; its middle keeps the values that were there.
            u, interpolation = self.control(0.5 * (t[:-1] + t[1:])), Interpolation.HOLD
        else:
            u, interpolation = self.control(t), Interpolation.LINEAR
        multipliers = resample_multipliers(self.multipliers, self.t, t)
        return Trajectory(t, x, u, interpolation, None, self.parameters, multipliers)

    def subdivide(self, t: ArrayLike) -> Trajectory:
        """The trajectory on knots among which all of its own are, with the same control.

        Parameters
        ----------
        t
            (n+1,) increasing times; each interval between them lies in one of the trajectory's own.
        """
        t = np.asarray(t, float)
        k, length = self.interval(0.5 * (t[:-1] + t[1:])), np.diff(t)
        multipliers = resample_multipliers(self.multipliers, self.t, t)
        if self.interpolation is Interpolation.HOLD:
            return replace(self, t=t, x=self.state(t), u=self.u[k], multipliers=multipliers)
        u = np.vstack([self.control_on(k, t[:-1]), self.control_on(k[-1:], t[-1:])])
        if self.pieces is None:
            middle = None if self.u_mid is None else self.control_on(k, t[:-1] + 0.5 * length)
            return replace(self, t=t, x=self.state(t), u=u, u_mid=middle, multipliers=multipliers)
        parts = []
        for old in (self.pieces.u, self.pieces.x):
            degree = old.shape[1] - 1
            places = bernstein.nodes(degree)
            values = [bernstein.evaluate(old[k], self._place(k, t[:-1] + s * length)) for s in places]
            parts.append(bernstein.interpolate(np.stack(values, axis=1)))
        return replace(self, t=t, x=self.state(t), u=u, multipliers=multipliers, pieces=Pieces(*parts))

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
