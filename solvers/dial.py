"""Annealed path integral control (DIAL-MPC): MPPI whose noise follows a schedule over iterations and knots.

Iteration i of n draws knot h of H with the deviation

    sigma_(i,h) = sigma exp(-i / (beta_1 n) - (H - 1 - h) / (beta_2 H)),

so that early iterations see a smoothed landscape and late ones its detail, and knots that are acted on soon move less
than those far ahead. Weights are exp(-(S - min S) / (tau std(S))): the temperature tau has no unit. With the same
samples, S in the place of a reward, this is one step of a diffusion backwards, hence the name.

When the schedule is through and the plan still improves, it starts again from the best plan with less noise.

Reference: Xue et al., Full-Order Sampling-Based MPC for Torque-Level Locomotion via Diffusion-Style Annealing, 2024;
schedule in hydrax's form; tau from the paper's settings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.solvers.kernels.sampling import Proposal
from trajopt.solvers.sampling.solver import SamplingSolver
from trajopt.solvers.sampling.update import Generation, SoftmaxUpdate, Update
from trajopt.validation import check_positive, check_whole

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True)
class DIAL(SamplingSolver):
    """Annealed path integral control; the other settings are those of `SamplingSolver`.

    Parameters
    ----------
    temperature
        tau, in standard deviations of the merits.
    annealing
        Iterations n of a schedule.
    iteration_factor, knot_factor
        beta_1 and beta_2; larger ones keep more of the noise.
    """

    temperature: float = 0.05
    annealing: int = 20
    iteration_factor: float = 0.5
    knot_factor: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        check_whole(self.annealing, "annealing", 1)
        for name in ("temperature", "iteration_factor", "knot_factor"):
            check_positive(getattr(self, name), name)

    def make_update(self) -> Update:
        """See `SamplingSolver.make_update`."""
        return _Annealed(
            self.temperature,
            standardised=True,
            samples=self.samples,
            annealing=self.annealing,
            factors=(self.iteration_factor, self.knot_factor),
        )


@final
@dataclass
class _Annealed(SoftmaxUpdate):
    """Softmax with the schedule of the module docstring; the mean is among the samples."""

    samples: int = 0
    annealing: int = 1
    factors: tuple[float, float] = (1.0, 1.0)
    iteration: int = 0
    base: Array = field(default_factory=lambda: np.zeros(0))
    remembered: ClassVar[tuple[str, ...]] = ("iteration", "base")

    def prepare(self, proposal: Proposal, last: bool, iteration: int) -> Generation:
        """Set the deviation of this iteration."""
        if self.iteration == 0:
            self.base = proposal.deviation.copy()
        knots = len(proposal.mean)
        i, ahead = min(self.iteration, self.annealing), np.arange(knots - 1, -1, -1)
        noise = np.exp(-i / (self.factors[0] * self.annealing) - ahead / (self.factors[1] * knots))
        proposal.deviation[:] = self.base * noise[:, None]
        self.iteration += 1
        return Generation(self.samples, proposal.mean.reshape(1, -1))

    def restart(self, proposal: Proposal) -> None:
        """Begin the schedule anew."""
        self.iteration = 0
