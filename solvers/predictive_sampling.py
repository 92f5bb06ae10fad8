"""Predictive sampling: go on from the best of the plan and its perturbations.

    u <- argmin S over { u, clip(u + sigma eps^1), ..., clip(u + sigma eps^K) }.

The plan is among the candidates, so on a deterministic model its merit never rises. With few samples over spline knots
this is the simplest planner that works; MuJoCo MPC uses ten samples and cubic splines.

Reference: Howell et al., Predictive Sampling: Real-time Behaviour Synthesis with MuJoCo, 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from trajopt.solvers.sampling.solver import SamplingSolver
from trajopt.solvers.sampling.update import BestUpdate


@final
@dataclass(frozen=True, kw_only=True)
class PredictiveSampling(SamplingSolver):
    """Predictive sampling; the settings are those of `SamplingSolver`."""

    def make_update(self) -> BestUpdate:
        """See `SamplingSolver.make_update`."""
        return BestUpdate(self.samples)
