"""What a trajectory must satisfy: bounds, and functions held between a lower and an upper limit.

A row with lower == upper is an equality. ``None`` in a bound or a target leaves that entry free.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem
from trajopt.signature import BOUNDARY, STAGE, TERMINAL, UserFunction

Limits = tuple[Any, Any]
"""A pair (lower, upper); each side is a number, None, or a list of numbers and None."""


class Constraint(ABC):  # noqa: B024 - nothing is common to all but that a problem accepts them
    """Base class of everything that may stand in ``Problem(constraints=[...])``."""


@final
@dataclass(frozen=True)
class Bounds(Constraint):
    """Interval bounds on states and controls at every time.

    Parameters
    ----------
    state, control
        A pair (lower, upper); each side is a number for all entries, or one number or None (free) for each entry.
    """

    state: Limits | None = None
    control: Limits | None = None

    def __post_init__(self) -> None:
        for what, pair in (("state", self.state), ("control", self.control)):
            if pair is not None and (isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2):
                raise InvalidProblem(
                    f"Bounds({what}={pair!r}) was given, but a pair (lower, upper) was expected; write ({what}=(-1, "
                    "1))."
                )

    def resolve(self, what: str, size: int) -> NDArray[np.float64]:
        """Lower and upper limits of the ``"state"`` or ``"control"``, shape (2, size), infinite where free."""
        pair = self.state if what == "state" else self.control
        lower, upper = (None, None) if pair is None else pair
        limits = np.stack(
            [expand(lower, size, -np.inf, f"lower {what} bound"), expand(upper, size, np.inf, f"upper {what} bound")]
        )
        check_order(limits[0], limits[1], f"Bounds({what}=...)")
        return limits


@final
@dataclass(frozen=True, eq=False)
class Choices(Constraint):
    """Controls that are one of several values at every time; each holds for a whole step.

    Parameters
    ----------
    values
        (k, nu) rows, one of which is the control; (k,) numbers for a single control. Switches of their own are the
        products of their positions: ``Choices(list(itertools.product([0, 1], [-1, 0, 1])))``.

    Raises
    ------
    InvalidProblem
        When they are not finite numbers, or one stands there twice.
    """

    values: ArrayLike

    def __post_init__(self) -> None:
        try:
            table = np.array(self.values, float)
        except (TypeError, ValueError):
            table = np.zeros(0)
        table = table[:, None] if table.ndim == 1 else table
        if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
            raise InvalidProblem(
                f"Choices({self.values!r}) was given, but rows of finite numbers were expected, one number for each "
                "control; write Choices([[0.0, 1.0], [1.0, 0.0]])."
            )
        if len(np.unique(table, axis=0)) < len(table):
            raise InvalidProblem(f"Choices({self.values!r}) has a row twice, but different rows were expected.")
        table.setflags(write=False)
        object.__setattr__(self, "values", table)


def nearest_choices(choices: NDArray[np.float64], controls: ArrayLike) -> NDArray[np.intp]:
    """Which of the rows ``choices`` (k, nu) are nearest to controls (..., nu), each in units of its spread: (...)."""
    spread = np.ptp(choices, axis=0)
    distance = (np.asarray(controls, float)[..., None, :] - choices) / np.where(spread > 0.0, spread, 1.0)
    return np.square(distance).sum(axis=-1).argmin(axis=-1)


@dataclass(frozen=True, init=False, eq=False)
class FunctionConstraint(Constraint, ABC):
    """lower <= function <= upper, row by row.

    Attributes
    ----------
    function
        What is limited.
    lower, upper
        Scalars or one number for each row.
    name
        What reports call it.
    """

    function: UserFunction
    lower: ArrayLike
    upper: ArrayLike
    name: str

    def _set(self, function: Any, kind: Any, lower: Any, upper: Any, name: str | None, default: str) -> None:
        chosen = default if name is None else name
        object.__setattr__(self, "function", UserFunction.read(function, kind, f"{default} {chosen!r}"))
        object.__setattr__(self, "lower", lower)
        object.__setattr__(self, "upper", upper)
        object.__setattr__(self, "name", chosen)

    def limits(self, rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper limits, each of shape (rows,)."""
        lower = expand(self.lower, rows, -np.inf, f"lower limit of {self.name!r}")
        upper = expand(self.upper, rows, np.inf, f"upper limit of {self.name!r}")
        check_order(lower, upper, f"constraint {self.name!r}")
        return lower, upper


@final
class PathConstraint(FunctionConstraint):
    """lower <= g(x, u[, t][, p]) <= upper at every time; ``g`` returns a number or a vector.

    For discrete dynamics that is at every step k < N; what the final state must satisfy is a `TerminalConstraint`.
    """

    def __init__(self, g: Callable[..., Any], lower: Any = -np.inf, upper: Any = 0.0, name: str | None = None) -> None:
        self._set(g, STAGE, lower, upper, name, "path")


@final
class TerminalConstraint(FunctionConstraint):
    """A condition on the final state.

    Parameters
    ----------
    target_or_g
        A target of nx entries, None where free; or a function ``g(x[, t][, p])``.
    lower, upper
        Limits of the function, or of the difference from the target.
    name
        What reports call it.
    """

    target: tuple[float | None, ...] | None

    def __init__(
        self,
        target_or_g: Callable[..., Any] | Sequence[float | None] | NDArray[Any],
        lower: Any = 0.0,
        upper: Any = 0.0,
        name: str | None = None,
    ) -> None:
        if callable(target_or_g):
            object.__setattr__(self, "target", None)
            self._set(target_or_g, TERMINAL, lower, upper, name, "terminal")
            return
        try:
            entries = [None if v is None else float(v) for v in np.atleast_1d(np.asarray(target_or_g, object))]
        except (TypeError, ValueError):
            entries = []
        fixed = [i for i, value in enumerate(entries) if value is not None]
        if not fixed or any(not np.isfinite(entries[i]) for i in fixed):  # type: ignore[arg-type]
            raise InvalidProblem(
                f"TerminalConstraint({target_or_g!r}) was given, but finite numbers, None for free entries and at "
                "least one number were expected; correct the target."
            )
        target = np.array([entries[i] for i in fixed], float)
        offsets = expand(lower, target.size, -np.inf, "lower limit"), expand(upper, target.size, np.inf, "upper limit")
        object.__setattr__(self, "target", tuple(entries))
        # The limits carry the target, so that the row is the state itself: solvers see a plain bound, in its own unit.
        self._set(lambda x: x[fixed], TERMINAL, target + offsets[0], target + offsets[1], name, "terminal")


@final
class BoundaryConstraint(FunctionConstraint):
    """lower <= b(x0, xf[, t0][, tf][, p]) <= upper ties both ends together, as periodic motions need."""

    def __init__(self, b: Callable[..., Any], lower: Any = 0.0, upper: Any = 0.0, name: str | None = None) -> None:
        self._set(b, BOUNDARY, lower, upper, name, "boundary")


@final
class IntegralConstraint(FunctionConstraint):
    """lower <= integral of q(x, u[, t][, p]) over time <= upper (a sum, if the dynamics are discrete)."""

    def __init__(self, q: Callable[..., Any], lower: Any, upper: Any, name: str | None = None) -> None:
        self._set(q, STAGE, lower, upper, name, "integral")


def expand(value: Any, size: int, missing: float, what: str) -> NDArray[np.float64]:
    """``value`` (number, None, or a sequence of them) as an array of shape (size,), ``missing`` in place of None."""
    entries = np.atleast_1d(np.asarray(value, dtype=object))
    if entries.ndim != 1 or entries.size not in (1, size):
        raise InvalidProblem(
            f"the {what} has shape {entries.shape}, but a number or {size} entries were expected; give one for each "
            "row."
        )
    try:
        numbers = np.array([missing if entry is None else float(entry) for entry in entries])
    except (TypeError, ValueError) as error:
        raise InvalidProblem(f"the {what} is {value!r}, but numbers or None were expected; correct it.") from error
    return np.broadcast_to(numbers, (size,)).copy()


def check_order(lower: NDArray[np.float64], upper: NDArray[np.float64], what: str) -> None:
    """Raise unless lower <= upper everywhere and the interval contains a finite number."""
    for row, (low, high) in enumerate(zip(lower, upper, strict=True)):
        if not low <= high or low == np.inf or high == -np.inf:
            raise InvalidProblem(
                f"{what} has lower={low:g} and upper={high:g} in row {row}, but lower <= upper was expected; correct "
                "them."
            )
