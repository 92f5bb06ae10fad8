"""Predictive sampling: go on from the best of the plan and its perturbations.

    u <- argmin S over { u, clip(u + sigma eps^1), ..., clip(u + sigma eps^K) }.

The plan is among the candidates, so on a deterministic model its merit never rises. With few samples over spline knots
this is the simplest planner that works; MuJoCo MPC uses ten samples and cubic splines.

Reference: Howell et al., Predictive Sampling: Real-time Behaviour Synthesis with MuJoCo, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Feature
from trajopt.solvers.sampling.categorical import CategoricalBest
from trajopt.solvers.sampling.solver import SamplingSolver
from trajopt.solvers.sampling.update import BestUpdate

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True)
class PredictiveSampling(SamplingSolver):
    """Predictive sampling; the settings are those of `SamplingSolver`."""

    handles: ClassVar[frozenset[Feature]] = SamplingSolver.handles | {Feature.DISCRETE_CONTROLS}

    def make_update(self) -> BestUpdate:
        """See `SamplingSolver.make_update`."""
        return BestUpdate(self.samples)

    def make_discrete_update(self, choices: Array) -> CategoricalBest:
        """See `SamplingSolver.make_discrete_update`."""
        return CategoricalBest(choices, self.samples, self.seed)
