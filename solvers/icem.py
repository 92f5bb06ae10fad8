"""Sample-efficient cross-entropy method (iCEM): coloured noise, elites that are tried again, ever fewer samples.

As `trajopt.solvers.cem`, but

    noise has the spectrum 1 / f^beta along the horizon, so that plans go somewhere instead of trembling on the spot;
    a share of the elites is among the samples of the next iteration, and, moved forwards, of the next solve (`resume`);
    iteration i draws max(2 E, K / gamma^i) samples;
    the mean is among the samples of the last iteration, and the best plan met is the answer, be it sample or mean.

Defaults are the paper's: 40 samples, 10 elites, gamma 1.25, alpha 0.1, elites reused 0.3, sigma a half of the way from
the middle to the bounds. The paper's beta is 0.25 (half-cheetah) to 3.5 (relocate); 2, that of its humanoid, is the
middle. It plans with 3 iterations a tick; for an answer at rest take the default limit. Kept elites are simulated
again, which costs three rollouts and keeps one rule for all models, random ones included.

Reference: Pinneri et al., Sample-efficient Cross-Entropy Method for Real-time Planning, CoRL 2020.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from trajopt.solvers.cem import check_elites, check_momentum
from trajopt.solvers.sampling.solver import SamplingSolver
from trajopt.solvers.sampling.update import EliteUpdate
from trajopt.validation import check, is_number


@final
@dataclass(frozen=True, kw_only=True)
class ICEM(SamplingSolver):
    """Sample-efficient cross-entropy method; the other settings are those of `SamplingSolver`.

    Parameters
    ----------
    elites
        Number of elites E.
    momentum
        alpha, what stays of the old moments, from 0 to below 1.
    reuse
        Share of the elites that is tried again, from 0 to 1.
    decay
        gamma, at least 1.
    """

    samples: int = 40
    noise_exponent: float = 2.0
    elites: int = 10
    momentum: float = 0.1
    reuse: float = 0.3
    decay: float = 1.25

    reach: ClassVar[float] = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        check_elites(self.elites, self.samples)
        check_momentum(self.momentum)
        reuse, decay = self.reuse, self.decay
        check(reuse, "reuse", "a number from 0 to 1", is_number(reuse) and 0.0 <= reuse <= 1.0)
        check(decay, "decay", "a number of at least 1", is_number(decay) and decay >= 1.0)

    def make_update(self) -> EliteUpdate:
        """See `SamplingSolver.make_update`."""
        return EliteUpdate(
            self.samples, self.elites, self.momentum, reuse=self.reuse, decay=self.decay, tries_mean=True
        )
