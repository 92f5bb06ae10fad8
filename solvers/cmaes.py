"""Evolution strategy with covariance matrix adaptation (CMA-ES) over the n parameters of a plan.

With z^k ~ N(0, I), y^k = C^(1/2) z^k and theta^k = m + sigma y^k, in units of the first deviation, and the best mu of
lambda samples weighed by w_1 >= ... >= w_mu,

    y_w = sum w_i y^(i),                                                    m <- m + sigma y_w,
    p_s <- (1 - c_s) p_s + sqrt(c_s (2 - c_s) mu_w) C^(-1/2) y_w,
    p_c <- (1 - c_c) p_c + h sqrt(c_c (2 - c_c) mu_w) y_w,
    C   <- (1 - c_1 - c_mu) C + c_1 (p_c p_c' + (1 - h) c_c (2 - c_c) C) + c_mu sum w_i y^(i) y^(i)',
    sigma <- sigma exp((c_s / d_s) (|p_s| / E|N(0, I)| - 1)),

with h = 0 while |p_s| is so long that p_c must not grow. Constants are those of the tutorial. Samples are moved into
their bounds first, and y is what is left of them, so that the covariance learns of no step that was not taken.

A decomposition of C costs n^3 an iteration: for long horizons join few ``knots`` by a spline.

Reference: Hansen, The CMA Evolution Strategy: A Tutorial, arXiv:1604.00772, 2016 (equations 5 to 44, figure 6).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.solvers.kernels.sampling import Functions, Population, Proposal
from trajopt.solvers.sampling.solver import SamplingSolver
from trajopt.solvers.sampling.update import Update, best_samples, plans_of
from trajopt.validation import check, check_whole

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, kw_only=True)
class CMAES(SamplingSolver):
    """CMA-ES; the settings are those of `SamplingSolver`, with fewer samples as a default and white noise alone."""

    samples: int = 64

    full_covariance: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        white = self.noise_exponent == 0.0
        check(self.noise_exponent, "noise_exponent", "0, because the covariance colours noise itself", white)
        check_whole(self.samples, "samples", 4)

    def make_update(self) -> Update:
        """See `SamplingSolver.make_update`."""
        return _Covariance(self.samples)


@dataclass(frozen=True)
class Constants:
    """Weights (mu) and rates of the module docstring for ``samples`` and n parameters (tutorial, table 1)."""

    weights: Array
    effective: float
    path_sigma: float
    damping: float
    path_covariance: float
    rank_one: float
    rank_many: float
    length: float

    @classmethod
    def of(cls, samples: int, n: int) -> Constants:
        """The defaults of the tutorial, with positive weights alone."""
        count = samples // 2
        raw = math.log((samples + 1) / 2.0) - np.log(np.arange(1, count + 1))
        weights = raw / raw.sum()
        effective = 1.0 / float(weights @ weights)
        path_sigma = (effective + 2.0) / (n + effective + 5.0)
        damping = 1.0 + 2.0 * max(0.0, math.sqrt((effective - 1.0) / (n + 1.0)) - 1.0) + path_sigma
        path_covariance = (4.0 + effective / n) / (n + 4.0 + 2.0 * effective / n)
        rank_one = 2.0 / ((n + 1.3) ** 2 + effective)
        most = 2.0 * (effective - 2.0 + 1.0 / effective) / ((n + 2.0) ** 2 + effective)
        length = math.sqrt(n) * (1.0 - 1.0 / (4.0 * n) + 1.0 / (21.0 * n * n))
        return cls(
            weights, effective, path_sigma, damping, path_covariance, rank_one, min(1.0 - rank_one, most), length
        )


@final
@dataclass
class _Covariance(Update):
    """The state of one strategy."""

    samples: int
    sigma: float = 1.0
    generation: int = 0
    unit: Array = field(default_factory=lambda: np.zeros(0))
    covariance: Array = field(default_factory=lambda: np.zeros((0, 0)))
    path_sigma: Array = field(default_factory=lambda: np.zeros(0))
    path_covariance: Array = field(default_factory=lambda: np.zeros(0))
    inverse_root: Array = field(default_factory=lambda: np.zeros((0, 0)))
    decomposed: int = 0
    adapts: ClassVar[bool] = True
    remembered: ClassVar[tuple[str, ...]] = (
        "sigma", "generation", "unit", "covariance", "path_sigma", "path_covariance", "inverse_root", "decomposed",
    )  # fmt: skip

    def restart(self, proposal: Proposal) -> None:
        """Begin with the identity, in units of the deviation."""
        n = proposal.mean.size
        self.sigma, self.generation, self.unit = 1.0, 0, proposal.deviation.ravel().copy()
        self.covariance, self.path_sigma, self.path_covariance = np.eye(n), np.zeros(n), np.zeros(n)
        self.inverse_root, self.decomposed = np.eye(n), 0

    def patience(self, asked: int, size: int) -> int:
        """As the tutorial's criterion on the history of values: the covariance takes that long to learn."""
        return asked + math.ceil(30 * size / self.samples)

    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """One generation, in the order of the module docstring."""
        if self.unit.size == 0:
            self.restart(proposal)
        n = proposal.mean.size
        if n == 0:
            return
        constants = Constants.of(self.samples, n)
        chosen = plans_of(population, n, best_samples(population, len(constants.weights)))
        weights = constants.weights[: len(chosen)] / constants.weights[: len(chosen)].sum()
        steps = (chosen - proposal.mean.ravel()) / (self.sigma * self.unit)
        mean_step = weights @ steps
        self._move_paths(constants, mean_step)
        c1, cmu = constants.rank_one, constants.rank_many
        self.covariance *= 1.0 - c1 - cmu + c1 * self._lag(constants)
        self.covariance += c1 * np.outer(self.path_covariance, self.path_covariance)
        self.covariance += cmu * (steps.T * weights) @ steps
        proposal.mean[:] += (self.sigma * self.unit * mean_step).reshape(proposal.mean.shape)
        growth = constants.path_sigma / constants.damping * (np.linalg.norm(self.path_sigma) / constants.length - 1.0)
        self.sigma *= math.exp(min(1.0, growth))  # as in Hansen's own code: no more than e a generation
        self.generation += 1
        # A decomposition costs n^3, and C changes slowly: the tutorial waits so long (its section B.2).
        wait = 1.0 / (10.0 * n * (c1 + cmu))
        if self.generation - self.decomposed > wait:
            self._decompose(proposal)
        proposal.deviation[:] = (self.sigma * self.unit).reshape(proposal.deviation.shape)

    def _move_paths(self, constants: Constants, mean_step: Array) -> None:
        """p_s and p_c."""
        rate = constants.path_sigma
        whitened = self.inverse_root @ mean_step
        self.path_sigma *= 1.0 - rate
        self.path_sigma += math.sqrt(rate * (2.0 - rate) * constants.effective) * whitened
        rate = constants.path_covariance
        self.path_covariance *= 1.0 - rate
        if not self._stalls(constants):
            self.path_covariance += math.sqrt(rate * (2.0 - rate) * constants.effective) * mean_step

    def _stalls(self, constants: Constants) -> bool:
        """Whether h = 0."""
        n = len(self.path_sigma)
        known = 1.0 - (1.0 - constants.path_sigma) ** (2 * (self.generation + 1))
        return bool(np.linalg.norm(self.path_sigma) / math.sqrt(known) >= (1.4 + 2.0 / (n + 1.0)) * constants.length)

    def _lag(self, constants: Constants) -> float:
        """What C keeps in the place of a path that stalls."""
        rate = constants.path_covariance
        return rate * (2.0 - rate) if self._stalls(constants) else 0.0

    def _decompose(self, proposal: Proposal) -> None:
        """The symmetric roots of C and of its inverse."""
        values, vectors = np.linalg.eigh(0.5 * (self.covariance + self.covariance.T))
        self.decomposed = self.generation
        if not values[-1] > 0.0:
            return  # every sample was clipped to the same plan, so that nothing tells directions apart: the roots stay
        # A matrix of positive weights is definite; rounding may take its least eigenvalues below zero.
        values = np.maximum(values, np.finfo(float).eps * values[-1])
        proposal.filter[0] = (vectors * np.sqrt(values)) @ vectors.T
        self.inverse_root = (vectors / np.sqrt(values)) @ vectors.T
