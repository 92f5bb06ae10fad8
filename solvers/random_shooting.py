"""Random shooting: the best of all plans that were drawn around the guess.

Each iteration draws u^k = clip(u + sigma eps^k) around the same u, the guess, and the best plan of all is the answer.
Nothing is learnt, so the cost falls with the logarithm of the number of samples at best: this is the yardstick that
every other method must beat. It never claims to have solved anything: when ``patience`` iterations brought nothing it
ends as stalled.

Reference: Nagabandi et al., Neural Network Dynamics for Model-Based Deep RL with Model-Free Fine-Tuning, ICRA 2018.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Feature
from trajopt.solvers.kernels.sampling import Functions, Population, Proposal
from trajopt.solvers.sampling.categorical import ChoiceUpdate
from trajopt.solvers.sampling.solver import SamplingSolver
from trajopt.solvers.sampling.update import Update

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True)
class RandomShooting(SamplingSolver):
    """The best of random plans; the settings are those of `SamplingSolver`."""

    handles: ClassVar[frozenset[Feature]] = SamplingSolver.handles | {Feature.DISCRETE_CONTROLS}

    def make_update(self) -> Update:
        """See `SamplingSolver.make_update`."""
        return _Stay()

    def make_discrete_update(self, choices: Array) -> ChoiceUpdate:
        """See `SamplingSolver.make_discrete_update`."""
        return ChoiceUpdate(choices, self.samples, self.seed)


@final
class _Stay(Update):
    """The proposal stays as it is."""

    moves: ClassVar[bool] = False

    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """See `Update.move`."""
