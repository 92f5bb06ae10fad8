"""What a sampling solver hands to its next solve, for receding horizons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from trajopt.solver import Memory as SolverMemory

if TYPE_CHECKING:
    from trajopt.solvers.kernels.sampling import Proposal
    from trajopt.solvers.kernels.shooting import Penalty
    from trajopt.solvers.sampling.update import Update

Array = NDArray[np.float64]


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
    exact
        Proposal and update as they were; None after a shift, when noise begins anew.
    """

    mean: Array
    elites: Array
    iteration: int
    basis: Array
    penalty: Penalty
    exact: tuple[Proposal, Update] | None

    def shift(self, steps: int) -> Memory:
        """The memory ``steps`` later: plans and multipliers move forwards, and the last ones are repeated.

        Noise begins anew, as in iCEM: what was learnt of its size belongs to the old moment.
        """
        if steps == 0:
            return self
        nu = self.mean.shape[1]
        elites = [self._shift(plan.reshape(-1, nu), steps).ravel() for plan in self.elites]
        kept = np.array(elites).reshape(len(elites), self.mean.size)
        penalty = self.penalty._replace(path=_move(self.penalty.path, steps))
        return replace(self, mean=self._shift(self.mean, steps), elites=kept, penalty=penalty, exact=None)

    def _shift(self, parameters: Array, steps: int) -> Array:
        controls = parameters if self.basis.size == 0 else self.basis @ parameters
        moved = _move(controls, steps)
        return moved if self.basis.size == 0 else np.linalg.lstsq(self.basis, moved)[0]


def _move(rows: Array, steps: int) -> Array:
    """Rows from ``steps`` on, the last one repeated in the place of those behind the end."""
    return rows[np.minimum(np.arange(len(rows)) + steps, len(rows) - 1)]
