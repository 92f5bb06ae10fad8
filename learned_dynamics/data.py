"""Data that models are fitted to: transitions, checked, and brought to unit scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem

Array = NDArray[np.float64]


def transitions(x: ArrayLike, u: ArrayLike) -> tuple[Array, Array, Array]:
    """Return the transitions of trajectories: states before, controls, and states after.

    Parameters
    ----------
    x, u
        (N+1, nx) states and (N, nu) controls of one trajectory, or (R, N+1, nx) and (R, N, nu) of R of them.

    Returns
    -------
    x, u, x_next : ndarray
        (R N, nx), (R N, nu) and (R N, nx).

    Raises
    ------
    InvalidProblem
        When the shapes do not fit.
    """
    states, controls = np.asarray(x, dtype=float), np.asarray(u, dtype=float)
    fits = states.ndim == controls.ndim and states.ndim in (2, 3) and states.shape[:-2] == controls.shape[:-2]
    if not fits or states.shape[-2] != controls.shape[-2] + 1:
        raise InvalidProblem(
            f"transitions got states of shape {states.shape} and controls of shape {controls.shape}, but (N+1, nx) and "
            "(N, nu), or stacks of these, were expected; give one state more than controls."
        )
    before, after = states[..., :-1, :], states[..., 1:, :]
    return tuple(array.reshape(-1, array.shape[-1]) for array in (before, controls, after))


def check_columns(name: str, values: ArrayLike, rows: int | None, columns: int) -> Array:
    """Return ``values`` as finite numbers of shape (rows, columns), any number of rows if None.

    Raises
    ------
    InvalidProblem
        When the shape is another one, or a number is not finite.
    """
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidProblem(f"{name} is no array of numbers ({error}); give one row for each transition.") from error
    expected = ("n" if rows is None else rows, columns)
    if array.ndim != 2 or array.shape[1] != columns or (rows is not None and len(array) != rows):
        raise InvalidProblem(
            f"{name} has shape {array.shape}, but ({expected[0]}, {expected[1]}) was expected; give one row for each "
            "transition."
        )
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        row, column = bad[0]
        raise InvalidProblem(
            f"{name}[{row}, {column}] is {array[row, column]}, but finite numbers were expected; leave such transitions"
            " out."
        )
    return array


@dataclass(frozen=True)
class Transitions:
    """n >= 1 transitions of finite numbers.

    Attributes
    ----------
    x, u, x_next
        (n, nx), (n, nu) and (n, nx).
    t
        (n,) whole numbers of the steps, or None.
    reward, terminated
        (n,) each, for models that learn them; else None.
    """

    x: Array
    u: Array
    x_next: Array
    t: NDArray[np.intp] | None
    reward: Array | None = None
    terminated: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def inputs(self) -> Array:
        """(n, nx + nu) states and controls side by side."""
        return np.concatenate([self.x, self.u], axis=1)

    @property
    def changes(self) -> Array:
        """(n, nx) what is learned: the change of the state, which is small and centred where the state is not."""
        return self.x_next - self.x


def check_transitions(
    nx: int, nu: int, x: ArrayLike, u: ArrayLike, x_next: ArrayLike, t: ArrayLike | None
) -> Transitions:
    """Return transitions as arrays, or say what is wrong with them; see `LearnedDynamics.fit`."""
    before = check_columns("x", x, None, nx)
    if not len(before):
        raise InvalidProblem("fit got no transitions, but one at least was expected; collect data first.")
    controls, after = check_columns("u", u, len(before), nu), check_columns("x_next", x_next, len(before), nx)
    if t is None:
        return Transitions(before, controls, after, None)
    steps = np.asarray(t)
    if steps.shape != (len(before),) or not (np.isfinite(steps) & (steps >= 0) & (steps == np.floor(steps))).all():
        raise InvalidProblem(
            f"t has shape {steps.shape}, but {len(before)} whole numbers >= 0 were expected; give the number of each "
            "transition's step."
        )
    return Transitions(before, controls, after, steps.astype(np.intp))


@dataclass(frozen=True)
class Scale:
    """An affine map of columns to zero mean and unit deviation.

    Attributes
    ----------
    mean, deviation
        (n,) each. A column that is constant up to rounding has deviation 1: it is centred and not blown up.
    """

    mean: Array
    deviation: Array

    @classmethod
    def of(cls, rows: Array) -> Scale:
        """The scale of data, (count, n)."""
        deviation = rows.std(axis=0)
        rounding = 8.0 * np.finfo(float).eps * np.abs(rows).max(axis=0)  # what the mean of equal numbers leaves
        return cls(rows.mean(axis=0), np.where(deviation > rounding, deviation, 1.0))

    @classmethod
    def neutral(cls, columns: int) -> Scale:
        """The scale that changes nothing."""
        return cls(np.zeros(columns), np.ones(columns))

    def apply(self, rows: Array) -> Array:
        """Bring rows to unit scale."""
        return (rows - self.mean) / self.deviation

    def arrays(self, prefix: str) -> dict[str, Array]:
        """Both arrays under names that begin with ``prefix``, for files."""
        return {f"{prefix}_mean": self.mean, f"{prefix}_deviation": self.deviation}

    @classmethod
    def read(cls, arrays: Any, prefix: str) -> Scale:
        """The inverse of `arrays`."""
        return cls(arrays[f"{prefix}_mean"], arrays[f"{prefix}_deviation"])


def check_angles(angles: Sequence[int], states: int) -> None:
    """Refuse what are no distinct numbers of states."""
    known = all(isinstance(i, int | np.integer) and 0 <= i < states for i in angles)
    if not known or len(set(angles)) != len(angles):
        raise InvalidProblem(
            f"angles={angles!r} was given, but distinct numbers of states from 0 to {states - 1} were expected; "
            "correct them."
        )


def kept(columns: int, angles: Sequence[int]) -> list[int]:
    """The columns that are no angles, in order."""
    return [i for i in range(columns) if i not in angles]


def unrolled(z: Any, angles: Sequence[int]) -> Any:
    """Columns (..., n) with the sines and cosines of angles in front, and the angles taken out: (..., n + angles).

    A network that sees them knows that a turn is nothing.
    """
    if not angles:
        return z
    turned = z[..., list(angles)]
    return np.concatenate([np.sin(turned), np.cos(turned), z[..., kept(z.shape[-1], angles)]], axis=-1)
