"""The cross-entropy method (CEM): fit a normal distribution to the best samples, and draw from that.

Each iteration draws K plans from N(m, diag(s^2)), keeps the E of least merit, the elites, and moves towards their
moments,

    m <- alpha m + (1 - alpha) mean(elites),      s <- alpha s + (1 - alpha) std(elites).

With infinitely many samples, of which a share rho are elites, a linear cost moves m by q s in each iteration, q the
mean of the truncated normal (-1.755 for rho = 0.1), while s shrinks by a constant factor (0.411): the whole way is
2.98 of the first deviations, and then the search stands still. So a rest is not taken for an optimum: the search begins
anew from the best plan with sigma times ``shrink``, and only when that brings nothing it calls the problem solved.

``covariance="full"`` adapts how parameters vary together; below as many elites as parameters, the diagonal has the
weight n / (n + E).

Of discrete controls a table of probabilities takes the place of the normal distribution, and the elites' frequencies
that of their moments (`trajopt.solvers.sampling.categorical`): p <- alpha p + (1 - alpha) frequencies(elites).

Reference: Rubinstein, Kroese, The Cross-Entropy Method, Springer 2004; Kobilarov, Cross-Entropy Motion Planning, 2012.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Feature
from trajopt.solvers.sampling.categorical import CategoricalElites
from trajopt.solvers.sampling.solver import SamplingSolver
from trajopt.solvers.sampling.update import EliteUpdate
from trajopt.validation import check, check_choice, is_number, is_whole

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True)
class CEM(SamplingSolver):
    """Cross-entropy method; the other settings are those of `SamplingSolver`.

    Parameters
    ----------
    elites
        Number of elites E; None: a tenth of the samples, and at least two.
    momentum
        alpha, what stays of the old moments, from 0 to below 1.
    covariance
        "diagonal" or "full".
    """

    elites: int | None = None
    momentum: float = 0.1
    covariance: str = "diagonal"

    handles: ClassVar[frozenset[Feature]] = SamplingSolver.handles | {Feature.DISCRETE_CONTROLS}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_elites(self.elites, self.samples)
        check_momentum(self.momentum)
        check_choice(self.covariance, "covariance", ("diagonal", "full"))
        possible = self.covariance == "diagonal" or self.noise_exponent == 0.0
        expected = "0 beside a full covariance, which colours noise itself"
        check(self.noise_exponent, "noise_exponent", expected, possible)

    @property
    def full_covariance(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """See `SamplingSolver`."""
        return self.covariance == "full"

    def make_update(self) -> EliteUpdate:
        """See `SamplingSolver.make_update`."""
        return EliteUpdate(self.samples, self._count, self.momentum, full=self.full_covariance)

    def make_discrete_update(self, choices: Array) -> CategoricalElites:
        """See `SamplingSolver.make_discrete_update`."""
        return CategoricalElites(choices, self.samples, self.seed, count=self._count, momentum=self.momentum)

    @property
    def _count(self) -> int:
        return max(2, self.samples // 10) if self.elites is None else self.elites


def check_elites(elites: int | None, samples: int) -> None:
    """Refuse a number of elites that cannot be."""
    valid = elites is None or (is_whole(elites, 2) and elites <= samples)
    check(elites, "elites", "a whole number from 2 to the samples", valid)


def check_momentum(momentum: float) -> None:
    """Refuse a share of the old mean that cannot be."""
    check(momentum, "momentum", "a number from 0 to below 1", is_number(momentum) and 0.0 <= momentum < 1.0)
