"""What all learned models share: they are dynamics, they are fitted to transitions, and they are saved as numbers.

A model is an immutable record of its settings. `fit` leaves it alone and returns another one that holds what was
learned, so that a problem made with a model never changes under its solver:

    model = Linear(nx=2, nu=1).fit(x, u, x_next)        # (n, nx), (n, nu), (n, nx)
    problem = Problem(model, stage_cost, ...)
    better = model.fit(more_x, more_u, more_x_next)     # networks go on from the weights that they have
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Self, cast

import numpy as np
from numpy.typing import ArrayLike

from trajopt.batch_dynamics import BatchDynamics
from trajopt.dynamics import DiscreteDynamics
from trajopt.errors import InvalidProblem, TrajoptError, UnsupportedProblem
from trajopt.files import write_atomically
from trajopt.learned_dynamics.data import Array, Transitions, check_columns, check_transitions

_FORMAT = 1


class Score(NamedTuple):
    """How well a model predicts transitions, averaged over them.

    Attributes
    ----------
    error
        (nx,) root of the mean squared error of the mean, in the units of the state.
    log_likelihood
        Mean log density of the next state under independent normals of the predicted means and deviations; minus
        infinity where a model without deviations is wrong.
    coverage
        (nx,) share of the next states within 1.96 deviations of the mean; 0.95 if the deviations are right.
    """

    error: Array
    log_likelihood: float
    coverage: Array


@dataclass(frozen=True, init=False)
class LearnedDynamics(BatchDynamics, ABC):
    """Dynamics x+ = f(x, u) that are fitted to transitions.

    Attributes
    ----------
    learned
        What was learned, as arrays by name; empty before `fit`.
    """

    learned: Mapping[str, Array]

    def __init__(
        self,
        nx: int | None,
        nu: int | None,
        states: Sequence[str] | None,
        controls: Sequence[str] | None,
        **settings: Any,
    ) -> None:
        super().__init__(nx, nu, states=states, controls=controls)
        for name, value in ({"stochastic": False} | settings | {"learned": MappingProxyType({})}).items():
            object.__setattr__(self, name, value)

    @property
    def timed(self) -> bool:
        """No: what was learned holds at every step."""
        return False

    @abstractmethod
    def _fit(self, data: Transitions, generator: np.random.Generator, callback: Any) -> dict[str, Any]:
        """Arrays learned from checked transitions."""

    @abstractmethod
    def _predict(self, x: Array, u: Array, t: Any) -> tuple[Array, Array]:
        """Mean and deviation of the next state, (K, nx) each, of arrays that fit; t is a number or (K,)."""

    @abstractmethod
    def _expected(self, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        """Shapes that the arrays of a file must have, by name."""

    def fit(
        self,
        x: ArrayLike,
        u: ArrayLike,
        x_next: ArrayLike,
        t: ArrayLike | None = None,
        *,
        seed: int = 0,
        callback: Callable[[Any], object] | None = None,
    ) -> Self:
        """Return the model fitted to n transitions; this one stays as it is.

        Parameters
        ----------
        x, u, x_next
            (n, nx) states, (n, nu) controls and (n, nx) states one step later; `transitions` cuts trajectories.
        t
            (n,) numbers of the steps, for models that vary over time.
        seed
            Of whatever is random in fitting. The same seed gives the same bits.
        callback
            Called with the progress of iterative fits, after every epoch; a true value ends the fit.

        Raises
        ------
        InvalidProblem
            When there are no transitions, their shapes disagree, or they are not finite.
        """
        data = check_transitions(self.nx, self.nu, x, u, x_next, t)
        return self._with(self._fit(data, np.random.default_rng(seed), callback))

    def predict(self, x: ArrayLike, u: ArrayLike, t: ArrayLike = 0) -> tuple[Array, Array]:
        """Return mean and standard deviation of the next states, (K, nx) each.

        Parameters
        ----------
        x, u
            (K, nx) states and (K, nu) controls.
        t
            Number of the step, or (K,) numbers.

        Raises
        ------
        InvalidProblem
            When the model is not fitted, shapes disagree, or numbers are not finite.
        """
        self._require_fit()
        states = check_columns("x", x, None, self.nx)
        return self._predict(states, check_columns("u", u, len(states), self.nu), np.asarray(t))

    def score(self, x: ArrayLike, u: ArrayLike, x_next: ArrayLike, t: ArrayLike | None = None) -> Score:
        """Judge the model on transitions, best on those that it was not fitted to; arguments as for `fit`."""
        self._require_fit()
        data = check_transitions(self.nx, self.nu, x, u, x_next, t)
        mean, deviation = self._predict(data.x, data.u, 0 if data.t is None else data.t)
        error = np.abs(data.x_next - mean)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(error == 0.0, 0.0, error / deviation)
            density = -0.5 * ratio**2 - np.log(deviation) - 0.5 * np.log(2.0 * np.pi)
        density = np.where((deviation == 0.0) & (error > 0.0), -np.inf, density)
        return Score(
            np.sqrt(np.mean(error**2, axis=0)),
            float(density.sum(axis=1).mean()),
            np.mean(error <= 1.96 * deviation, axis=0),
        )

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the mean of the next states; see `BatchDynamics.step`."""
        self._require_fit()
        return self._predict(x, u, t)[0]

    def to_traced(self) -> DiscreteDynamics:
        """Return the mean prediction as dynamics that are traced, for every solver.

        Raises
        ------
        UnsupportedProblem
            When the model has no expression.
        InvalidProblem
            When it is not fitted.
        """
        raise UnsupportedProblem(
            f"{type(self).__name__} was asked for an expression, but it has none; use it as it is, with a solver that "
            "handles black-box dynamics."
        )

    def save(self, path: str | Path) -> Path:
        """Write settings and learned arrays to an ``.npz`` file, which holds numbers and JSON alone; returns its path.

        Raises
        ------
        InvalidProblem
            When the model is not fitted.
        """
        self._require_fit()
        head = {"format": _FORMAT, "kind": type(self).__name__, "settings": self._settings()}
        text = json.dumps(head, default=lambda number: number.item())  # settings may be NumPy's numbers
        path, arrays = Path(path), dict(self.learned)
        write_atomically(path, lambda file: np.savez_compressed(file, head=np.array(text), **arrays))
        return path

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; nothing in the file is executed.

        Raises
        ------
        TrajoptError
            When the file is not a saved model of this class, or its arrays do not fit its settings.
        """
        try:
            # Opened here and not by NumPy, which leaves a damaged file open.
            with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            head = json.loads(str(arrays.pop("head")))
            return cls._restore(head, arrays)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise TrajoptError(
                f"{path} was given, but a file written by {cls.__name__}.save was expected ({error}); save the model "
                "again."
            ) from error

    @classmethod
    def _restore(cls, head: Mapping[str, Any], arrays: dict[str, Array]) -> Self:
        from trajopt import learned_dynamics  # noqa: PLC0415 - the package imports this module

        if head["format"] != _FORMAT:
            raise ValueError(f"format {head['format']}, this version reads {_FORMAT}")
        kind = getattr(learned_dynamics, head["kind"]) if head["kind"] in learned_dynamics.__all__ else None
        if not (isinstance(kind, type) and issubclass(kind, cls)):
            raise ValueError(f"it holds a model of kind {head['kind']!r}")
        settings = {name: tuple(v) if isinstance(v, list) else v for name, v in head["settings"].items()}
        model = cast("Any", kind)(**settings)
        expected = model._expected(arrays)
        if set(expected) != set(arrays):
            raise ValueError(f"its arrays are {sorted(arrays)}, not {sorted(expected)}")
        for name, shape in expected.items():
            if arrays[name].shape != shape or arrays[name].dtype.kind not in "fi":
                raise ValueError(f"{name} has shape {arrays[name].shape}, not {shape} of numbers")
            if not np.isfinite(arrays[name]).all():
                raise ValueError(f"{name} is not finite")
            if name.endswith("_deviation") and not (arrays[name] > 0.0).all():
                raise ValueError(f"{name} is not positive")
        return model._with(arrays)

    def _settings(self) -> dict[str, Any]:
        """The constructor's arguments."""
        left_out = {"learned", "stochastic"}
        return {entry.name: getattr(self, entry.name) for entry in fields(self) if entry.name not in left_out}

    def _with(self, arrays: Mapping[str, Any]) -> Self:
        """A copy that has learned ``arrays``, which nobody can change any more."""
        copy = object.__new__(type(self))
        copy.__setstate__(self.__getstate__() | {"learned": arrays})
        return copy

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles carry: the fields, and not what was computed from them and kept."""
        state = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return state | {"learned": dict(self.learned)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        frozen = {name: np.array(array) for name, array in state["learned"].items()}
        for array in frozen.values():
            array.setflags(write=False)
        for name, value in (dict(state) | {"learned": MappingProxyType(frozen)}).items():
            object.__setattr__(self, name, value)

    def _require_fit(self) -> None:
        if not self.learned:
            raise InvalidProblem(
                f"{type(self).__name__} was used before it was fitted, but it knows nothing yet; write model = "
                "model.fit(x, u, x_next)."
            )
