"""Time: how long a problem lasts, on how many steps, and what of it the solver may choose."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem


@dataclass(frozen=True)
class Free:
    """A number that the solver chooses, between two bounds.

    Parameters
    ----------
    lower, upper
        Bounds, in the unit of the quantity; scalars, or arrays for an array-valued parameter.
    guess
        Where the search starts. Default: the middle of finite bounds, else the finite bound, else zero.

    Raises
    ------
    InvalidProblem
        When a bound is NaN, the lower bound exceeds the upper, or the guess lies outside.
    """

    lower: ArrayLike
    upper: ArrayLike
    guess: ArrayLike | None = None

    def __post_init__(self) -> None:
        try:
            lower, upper = np.asarray(self.lower, float), np.asarray(self.upper, float)
        except (TypeError, ValueError) as error:
            raise InvalidProblem(
                f"Free({self.lower!r}, {self.upper!r}) was given, but numbers were expected; correct the bounds."
            ) from error
        if np.isnan(lower).any() or np.isnan(upper).any() or (lower > upper).any():
            raise InvalidProblem(
                f"Free({self.lower}, {self.upper}) was given, but lower <= upper was expected; swap or correct the "
                "bounds."
            )
        if self.guess is not None:
            guess = np.asarray(self.guess, float)
            if not ((guess >= lower) & (guess <= upper)).all():
                raise InvalidProblem(
                    f"Free({self.lower}, {self.upper}, guess={self.guess}) was given, but the guess was expected "
                    "between the bounds; move it there."
                )

    @property
    def start(self) -> NDArray[np.float64]:
        """The guess, or the default in its place."""
        lower, upper = np.broadcast_arrays(np.asarray(self.lower, float), np.asarray(self.upper, float))
        if self.guess is not None:
            return np.broadcast_to(np.asarray(self.guess, float), lower.shape).copy()
        with np.errstate(invalid="ignore"):
            middle = 0.5 * (lower + upper)
        one_sided = np.where(np.isfinite(lower), lower, np.where(np.isfinite(upper), upper, 0.0))
        return np.where(np.isfinite(middle), middle, one_sided)


@dataclass(frozen=True)
class Horizon:
    """The span of time that a problem covers.

    Parameters
    ----------
    duration
        Length in the time unit of the dynamics, or `Free`. Left out for discrete dynamics, whose time is the step
        count.
    steps
        Number N of control intervals; there are N + 1 knots.
    start
        Initial time, or `Free`.

    Raises
    ------
    InvalidProblem
        When steps is not a positive integer, or a fixed duration is not positive and finite.
    """

    duration: float | Free | None = None
    steps: int = 0
    start: float | Free = 0.0

    def __post_init__(self) -> None:
        for what, value in (("duration", self.duration), ("start", self.start)):
            missing = value is None and what == "duration"
            if not missing and not isinstance(value, Free | int | float | np.number):
                raise InvalidProblem(
                    f"Horizon got {what}={value!r}, but a number was expected; write for example Horizon(5.0, "
                    "steps=100)."
                )
        whole = isinstance(self.steps, int | float | np.number) and float(self.steps).is_integer()
        if not whole or isinstance(self.steps, bool) or self.steps < 1:
            raise InvalidProblem(
                f"Horizon got steps={self.steps}, but a positive whole number was expected; "
                "write for example Horizon(5.0, steps=100)."
            )
        object.__setattr__(self, "steps", int(self.steps))
        duration = self.duration
        if isinstance(duration, Free):
            if np.size(duration.lower) != 1 or not (np.asarray(duration.lower) >= 0.0 < np.asarray(duration.upper)):
                raise InvalidProblem(
                    f"Horizon got a free duration from {duration.lower} to {duration.upper}, but a lower bound of at "
                    "least zero and a positive upper one were expected; time cannot run backwards."
                )
        elif duration is not None and not (math.isfinite(duration) and duration > 0.0):
            raise InvalidProblem(
                f"Horizon got duration={duration}, but a positive finite number was expected; "
                "give the length of the horizon, or Free(lower, upper)."
            )
        if not isinstance(self.start, Free) and not math.isfinite(self.start):
            raise InvalidProblem(f"Horizon got start={self.start}, but a finite time was expected; give a number.")

    @property
    def start_guess(self) -> float:
        """The initial time, or the guess of a free one."""
        return float(self.start.start) if isinstance(self.start, Free) else float(self.start)

    @property
    def duration_guess(self) -> float:
        """The duration, or the guess of a free one; the number of steps for discrete time."""
        if self.duration is None:
            return float(self.steps)
        return float(self.duration.start) if isinstance(self.duration, Free) else float(self.duration)

    def knots(self, start: float | None = None, duration: float | None = None) -> NDArray[np.float64]:
        """Times of the knots, shape (N+1,), of the guess or of the given start and duration."""
        begin = self.start_guess if start is None else start
        length = self.duration_guess if duration is None else duration
        return begin + length * np.arange(self.steps + 1) / self.steps
