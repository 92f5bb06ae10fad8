"""Sampling updates: one step from given samples, and what infinitely many samples give on quadratic and linear costs.

For the cost S(v) = 1/2 v'Hv + g'v + c of the whole control vector and samples v ~ N(u, Sigma) at temperature l, weights
exp(-S / l) make another normal distribution,

    covariance (H / l + Sigma^-1)^-1,    mean (H + l Sigma^-1)^-1 ((1 - a) l Sigma^-1 u - g),

where a is the share of the control cost a l u'Sigma^-1 (v - u) that is added to S: none for plain softmax weights, all
of it in information-theoretic MPPI, whose mean does not depend on u.

References: Williams et al., IEEE T-RO 34(6), 2018; Hansen, The CMA Evolution Strategy: A Tutorial, 2016; Kroese et al.,
The Cross-Entropy Method, 2006.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]


def softmax_weights(costs: ArrayLike, temperature: float) -> Array:
    """Weights exp(-cost / temperature) that add up to one; a cost of NaN or infinity has none.

    The least cost is subtracted first, so that some weight is one before they are normalised.
    """
    values = np.asarray(costs, float)
    values = np.where(np.isfinite(values), values, np.inf)
    if not np.isfinite(values).any():
        return np.zeros_like(values)
    raw = np.exp(-(values - values.min()) / temperature)
    return raw / raw.sum()


def effective_samples(weights: ArrayLike) -> float:
    """1 / sum of squares of weights that add up to one: how many equal ones would estimate as well."""
    return float(1.0 / (np.asarray(weights) ** 2).sum())


def mppi_step(samples: Array, costs: ArrayLike, temperature: float) -> Array:
    """Mean of samples (K, n) under the weights of their costs (K,)."""
    return softmax_weights(costs, temperature) @ samples


def cem_step(samples: Array, costs: ArrayLike, elites: int) -> tuple[Array, Array]:
    """Mean (n,) and covariance (n, n), with divisor ``elites``, of the samples (K, n) of the least cost.

    NaN counts as worse than everything.
    """
    values = np.asarray(costs, float)
    order = np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable")
    best = samples[order[:elites]]
    mean = best.sum(axis=0) / elites
    return mean, (best - mean).T @ (best - mean) / elites


class Posterior(NamedTuple):
    """What infinitely many weighted samples give.

    ``mean`` (n,), ``covariance`` (n, n), ``effective_share`` of the samples (ESS / K), and the ``free_energy``
    -l ln E exp(-S / l).
    """

    mean: Array
    covariance: Array
    effective_share: float
    free_energy: float


def mppi_posterior(
    hessian: ArrayLike, gradient: ArrayLike, constant: float, mean: ArrayLike, covariance: ArrayLike,
    temperature: float, control_cost: float = 0.0,
) -> Posterior:  # fmt: skip
    """One step of MPPI on a quadratic cost.

    Parameters
    ----------
    hessian, gradient, constant
        H (n, n), g (n,) and c of the cost.
    mean, covariance
        u (n,) and Sigma (n, n) of the samples.
    temperature
        l.
    control_cost
        The share a, from zero to one.
    """
    H, g, u, Sigma = (np.atleast_1d(np.asarray(part, float)) for part in (hessian, gradient, mean, covariance))
    H, Sigma = np.atleast_2d(H), np.atleast_2d(Sigma)
    precision = np.linalg.inv(Sigma)
    tilted = g + control_cost * temperature * precision @ u
    level = constant - control_cost * temperature * float(u @ precision @ u)
    found = np.asarray(np.linalg.inv(H / temperature + precision), np.float64)
    moments = [_log_moment(power / temperature, H, tilted, level, u, Sigma) for power in (1.0, 2.0)]
    return Posterior(
        found @ (precision @ u - tilted / temperature),
        found,
        math.exp(2.0 * moments[0] - moments[1]),
        -temperature * moments[0],
    )


def _log_moment(scale: float, H: Array, g: Array, c: float, u: Array, Sigma: Array) -> float:
    """ln E exp(-scale S(v)), v ~ N(u, Sigma), by completing the square about u."""
    slope, level = H @ u + g, 0.5 * u @ H @ u + g @ u + c
    spread = np.eye(len(u)) + scale * Sigma @ H
    shifted = slope @ np.linalg.solve(spread, Sigma @ slope)
    return float(-scale * level + 0.5 * scale**2 * shifted - 0.5 * np.linalg.slogdet(spread)[1])


def cem_on_a_slope(elite_share: float) -> tuple[float, float]:
    """On a linear cost: change of the mean, in deviations along the slope, and factor of that deviation.

    Mean and deviation of a normal distribution cut off above its quantile ``elite_share``. Steps shrink with the
    deviation, so that the mean travels shift / (1 - factor) first deviations in all, and no further.
    """
    edge = float(stats.norm.ppf(elite_share))
    shift = -float(stats.norm.pdf(edge)) / elite_share
    return shift, math.sqrt(1.0 + edge * shift - shift**2)


def cem_on_a_bowl(elite_share: float) -> float:
    """On a quadratic cost of one number whose minimum is the mean: factor of the deviation."""
    edge = float(stats.norm.ppf(0.5 + 0.5 * elite_share))
    return math.sqrt(1.0 - 2.0 * edge * float(stats.norm.pdf(edge)) / elite_share)


@final
@dataclass(eq=False)
class CovarianceMatrixAdaptation:
    """CMA-ES from figure 6 of the tutorial, with positive weights alone.

    Parameters
    ----------
    mean
        (n,) where it starts; changes.
    sigma
        Step size; changes.
    samples
        How many `tell` gets.
    """

    mean: Array
    sigma: float
    samples: int

    def __post_init__(self) -> None:
        n = len(self.mean)
        self.covariance, self.step_path, self.path, self.generation = np.eye(n), np.zeros(n), np.zeros(n), 0
        raw = np.log((self.samples + 1) / 2) - np.log(np.arange(self.samples // 2) + 1.0)
        self.weights = raw / raw.sum()

    def tell(self, samples: Array, costs: ArrayLike) -> None:
        """One generation from samples (K, n) and their costs (K,)."""
        n, w = len(self.mean), self.weights
        mu = 1.0 / (w**2).sum()
        cs = (mu + 2) / (n + mu + 5)
        ds = 1 + 2 * max(0.0, np.sqrt((mu - 1) / (n + 1)) - 1) + cs
        cc = (4 + mu / n) / (n + 4 + 2 * mu / n)
        c1 = 2 / ((n + 1.3) ** 2 + mu)
        cm = min(1 - c1, 2 * (mu - 2 + 1 / mu) / ((n + 2) ** 2 + mu))
        chi = np.sqrt(n) * (1 - 1 / (4 * n) + 1 / (21 * n**2))
        y = (samples[np.argsort(costs)[: len(w)]] - self.mean) / self.sigma
        d, b = np.linalg.eigh(self.covariance)
        self.step_path = (1 - cs) * self.step_path + np.sqrt(cs * (2 - cs) * mu) * (
            b @ np.diag(d**-0.5) @ b.T @ (w @ y)
        )
        self.generation += 1
        length = np.linalg.norm(self.step_path)
        h = float(length / np.sqrt(1 - (1 - cs) ** (2 * self.generation)) < (1.4 + 2 / (n + 1)) * chi)
        self.path = (1 - cc) * self.path + h * np.sqrt(cc * (2 - cc) * mu) * (w @ y)
        old = 1 + c1 * (1 - h) * cc * (2 - cc) - c1 - cm
        rank_many = sum(w[i] * np.outer(y[i], y[i]) for i in range(len(w)))
        self.covariance = old * self.covariance + c1 * np.outer(self.path, self.path) + cm * rank_many
        self.mean = self.mean + self.sigma * (w @ y)
        self.sigma *= float(np.exp(min(1.0, cs / ds * (length / chi - 1))))
