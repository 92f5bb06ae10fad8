"""Model predictive path integral control (MPPI): a plan as the weighted mean of sampled plans.

Each iteration draws K control sequences around the plan u, simulates them, and averages them by their cost,

    v^k = clip(u + sigma eps^k),   eps^k ~ N(0, I),    w^k = exp(-(S(v^k) - min S) / lambda) / sum,    u <- sum w^k v^k.

This is the step from N(u, Sigma) to the mean of its product with exp(-S / lambda). For S = 1/2 u'Hu + g'u it is
u <- (Sigma^-1 + H / lambda)^-1 (Sigma^-1 u - g / lambda), a proximal Newton step, whose fixed point is the optimum of S
itself. Information-theoretic MPPI (Williams et al.) adds lambda u'Sigma^-1 eps to S and thereby solves another problem,
with the control cost lambda/2 u'Sigma^-1 u on top: one step leads to -(H + lambda Sigma^-1)^-1 g from any u. Here the
problem states its whole cost, so that term is left out, unless ``control_cost`` asks for a share of it.

Costs come in any unit. Unless lambda is given, each iteration takes the one at which a share of the samples is
effective, (sum w)^2 / sum w^2 = share K, which does not depend on the unit.

The mean of white noise stays noisy: when the best plan has not improved for a while, sigma shrinks and the search goes
on from the best plan (annealing, as in DIAL-MPC). Control bounds hold exactly, because samples are clipped before they
are simulated and averaged. All other constraints enter S as an augmented Lagrangian, whose multipliers and penalty are
updated at the same moments (`trajopt.solvers.kernels.shooting`). `trajopt.solvers.sampling.SamplingSolver` states the
settings that all sampling solvers share, and what solved means.

A rollout that is not finite has weight zero. Random numbers are functions of the seed and of their place, and sums have
a fixed order: same seed, same bits, whatever the number of threads.

References: Williams, Aldrich, Theodorou, JGCD 40(2), 2017; Williams et al., IEEE T-RO 34(6), 2018; Xue et al.,
Full-Order Sampling-Based MPC (DIAL-MPC), 2024.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from trajopt.solvers.sampling.solver import SamplingSolver, check_share
from trajopt.solvers.sampling.update import SoftmaxUpdate
from trajopt.validation import check, is_number


@final
@dataclass(frozen=True, kw_only=True)
class MPPI(SamplingSolver):
    """Model predictive path integral control; the other settings are those of `SamplingSolver`.

    Parameters
    ----------
    temperature
        lambda, in the unit of the cost; None adapts it to ``effective_share``.
    effective_share
        Share of the samples that is to be effective while the temperature adapts. Ten of a thousand: on swing-ups and
        obstacle courses more than that averages unlike plans, and less than that follows the noise.
    control_cost
        Share of the information-theoretic control cost, 0 (none) to 1 (Williams et al.); it needs a temperature and
        white noise. The answer is then the plan of least cost without that term.
    """

    temperature: float | None = None
    effective_share: float = 0.01
    control_cost: float = 0.0

    preference: ClassVar[int] = 1
    """Before its siblings: with their defaults, few of them bring the library's cart-pole to its goal as it does."""

    def __post_init__(self) -> None:
        super().__post_init__()
        temperature = self.temperature
        warm = temperature is None or (is_number(temperature) and temperature > 0.0)
        check(temperature, "temperature", "a positive number, or None", warm)
        check_share(self.effective_share, "effective_share")
        control_cost = self.control_cost
        share = is_number(control_cost) and 0.0 <= control_cost <= 1.0
        possible = control_cost == 0.0 or (temperature is not None and self.noise_exponent == 0.0)
        expected = "0, or a number up to 1 beside a temperature and white noise"
        check(control_cost, "control_cost", expected, share and possible)

    def make_update(self) -> SoftmaxUpdate:
        """See `SamplingSolver.make_update`."""
        return SoftmaxUpdate(self.temperature, self.effective_share, control_cost=self.control_cost)
