"""What a sampling solver hands to its next solve, for receding horizons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.solver import Memory as SolverMemory
from trajopt.solvers.kernels.shooting import Penalty

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Noise:
    """What was learnt of the noise.

    Attributes
    ----------
    method
        Which update learnt it; another one cannot use it.
    deviation, filter
        Of the proposal.
    learnt
        What the update remembers, by the names of its fields.
    """

    method: str
    deviation: Array
    filter: Array
    learnt: Mapping[str, Array]


@final
@dataclass(frozen=True, eq=False)
class Memory(SolverMemory):
    """Where a search was when it ended.

    Attributes
    ----------
    mean
        (M, nu) parameters of the plan that the proposal was centred on.
    elites
        (count, M nu) parameters of the samples that the method keeps.
    iteration
        Place in the stream of random numbers, so that no two solves draw the same.
    basis
        (N, M) from parameters to controls; of size 0 where these are the same.
    penalty
        Multipliers and penalty of the constraints.
    noise
        What was learnt of the noise; None after a shift, when it begins anew.
    """

    mean: Array
    elites: Array
    iteration: int
    basis: Array
    penalty: Penalty
    noise: Noise | None

    def shift(self, steps: float, length: int | None = None) -> Memory:
        """The memory ``steps`` later: plans and multipliers move forwards, and the last ones are repeated.

        Between two steps they are the means over the new intervals, a part of each old one. Noise begins anew, as in
        iCEM: what was learnt of its size belongs to the old moment. See `trajopt.solver.Memory.shift`.
        """
        count = len(self._controls(self.mean))
        length = count if length is None else length
        if steps == 0 and length == count:
            return self
        plans = [self.mean, *(plan.reshape(self.mean.shape) for plan in self.elites)]
        moved = [_move(self._controls(plan), steps, length) for plan in plans]
        kept = replace(self, basis=np.zeros((0, 0))) if length != count else self  # of plans of another length
        fitted = [fit(plan, kept.basis) for plan in moved]
        return replace(
            kept,
            mean=fitted[0],
            elites=np.array(fitted[1:]).reshape(len(self.elites), fitted[0].size),
            penalty=self.penalty._replace(path=_move(self.penalty.path, steps, length)),
            noise=None,
        )

    def on(self, basis: Array) -> Memory:
        """The same plans by the parameters of another basis, (N, M), or of size 0; that of the memory changes nothing.

        Plans of another length stay as they are.
        """
        rows = len(self._controls(self.mean))
        if basis.shape == self.basis.shape or (basis.size > 0 and len(basis) != rows):
            return self
        mean = fit(self._controls(self.mean), basis)
        elites = [fit(self._controls(plan.reshape(self.mean.shape)), basis).ravel() for plan in self.elites]
        kept = np.array(elites).reshape(len(elites), mean.size)
        return replace(self, mean=mean, elites=kept, basis=basis, noise=None)

    def _controls(self, parameters: Array) -> Array:
        return parameters if self.basis.size == 0 else self.basis @ parameters

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """See `trajopt.solver.Memory.to_arrays`."""
        arrays = {"mean": self.mean, "elites": self.elites, "iteration": np.array(self.iteration), "basis": self.basis}
        arrays |= {f"penalty/{name}": value for name, value in self.penalty._asdict().items()}
        if self.noise is not None:
            noise = self.noise
            arrays |= {"noise/method": np.array(noise.method), "noise/deviation": noise.deviation}
            arrays |= {"noise/filter": noise.filter} | {f"learnt/{name}": part for name, part in noise.learnt.items()}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any]) -> Memory:
        """What `to_arrays` wrote.

        Raises
        ------
        InvalidProblem
            When sizes do not fit together, or a number is not finite.
        """
        numbers = {name: np.array(value, float) for name, value in arrays.items() if name != "noise/method"}
        noise = None
        if "noise/method" in arrays:
            learnt = {
                name.removeprefix("learnt/"): part for name, part in numbers.items() if name.startswith("learnt/")
            }
            noise = Noise(str(arrays["noise/method"]), numbers["noise/deviation"], numbers["noise/filter"], learnt)
        penalty = Penalty(*(numbers[f"penalty/{name}"] for name in Penalty._fields))
        mean, elites, basis = (numbers[name] for name in ("mean", "elites", "basis"))
        shapes = elites.shape[1:] == (mean.size,) and (basis.size == 0 or basis.shape[1:] == mean.shape[:1])
        if mean.ndim != 2 or not shapes or not all(np.isfinite(part).all() for part in numbers.values()):
            raise InvalidProblem(
                f"a memory with a mean of shape {mean.shape}, elites of shape {elites.shape} and a basis of shape "
                f"{basis.shape} was given, but finite numbers (M, nu), (count, M nu) and (N, M) were expected; save it "
                "again."
            )
        return cls(mean, elites, int(numbers["iteration"]), basis, penalty, noise)


def fit(controls: Array, basis: Array) -> Array:
    """Parameters (M, nu) of controls (N, nu): the nearest ones in the sense of least squares."""
    return controls if basis.size == 0 else np.linalg.lstsq(basis, controls)[0]


def _move(rows: Array, steps: float, length: int) -> Array:
    """Rows from ``steps`` on, ``length`` of them, the last one repeated in the place of those behind the end."""
    whole = int(np.floor(steps))
    part, place = steps - whole, np.arange(length) + whole
    first, second = (rows[np.minimum(place + k, len(rows) - 1)] for k in (0, 1))
    return first if part == 0.0 else (1.0 - part) * first + part * second
