"""Gaussian processes: a distribution over functions d = x+ - x of z = (x, u), conditioned on transitions.

Every entry of the change has a process of its own with the kernel (Rasmussen and Williams 2006, chapters 2 and 5)

    k(z, z') = s^2 exp(-1/2 sum_i (z_i - z'_i)^2 / l_i^2)  + n^2 [z is z'],

inputs and targets at unit scale. Lengths l (one for each input: automatic relevance determination), signal s and noise
n maximise the marginal likelihood log N(y; 0, K), whose gradient by a log parameter is 1/2 tr((a a' - K^-1) dK) with
a = K^-1 y. Then, at z*, the mean is k*' a and the variance s^2 - k*' K^-1 k* + n^2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, cholesky
from scipy.optimize import minimize

from trajopt.dynamics import DiscreteDynamics
from trajopt.learned_dynamics.data import Array, Scale, Transitions, check_columns
from trajopt.learned_dynamics.gaussian_moments import Posterior, moments
from trajopt.learned_dynamics.model import LearnedDynamics
from trajopt.validation import check_choice, check_whole

_LOG_LENGTHS = (np.log(1e-2), np.log(1e2))
"""Limits of lengths, in deviations of the inputs: shorter ones interpolate noise, longer ones are straight lines."""

_LOG_SIGNAL = (np.log(1e-2), np.log(1e2))
_LOG_NOISE = (np.log(1e-4), np.log(1.0))
"""Of the targets' deviation. Noise of 1e-4 keeps the condition number of K below n 1e12, short of 1 / rounding."""

_LARGEST_LOG = np.log(1e4)
"""No limit above is beyond it."""


@final
@dataclass(frozen=True, init=False)
class GaussianProcess(LearnedDynamics):
    """Dynamics whose change of state is a Gaussian process, with exact inference; for up to some two thousand data.

    Parameters
    ----------
    nx, nu, states, controls
        As for `DiscreteDynamics`.
    propagation
        "mean", or "sample": every step draws from the predicted normals, independently of the step before.
    restarts
        Random starts of the search for the kernel's parameters, besides lengths of one deviation.
    """

    propagation: str
    restarts: int

    def __init__(
        self,
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
        propagation: Literal["mean", "sample"] = "mean",
        restarts: int = 1,
    ) -> None:
        check_choice(propagation, "propagation", ("mean", "sample"))
        check_whole(restarts, "restarts", 0)
        random = propagation == "sample"
        super().__init__(nx, nu, states, controls, propagation=propagation, restarts=restarts, stochastic=random)

    def _fit(self, data: Transitions, generator: np.random.Generator, callback: Any) -> dict[str, Any]:
        inputs, targets = Scale.of(data.inputs), Scale.of(data.changes)
        z, y = inputs.apply(data.inputs), targets.apply(data.changes)
        parameters = np.array([_fit_kernel(z, column, self.restarts, generator) for column in y.T])
        return {
            "inputs": z,
            "targets": y,
            "parameters": parameters,
            **inputs.arrays("input"),
            **targets.arrays("target"),
        }

    def _posterior(self) -> Posterior:
        """Factors of the kernel's matrices, made once."""
        if "_kept_posterior" not in self.__dict__:
            learned = self.learned
            posterior = Posterior.of(learned["inputs"], learned["targets"], learned["parameters"])
            object.__setattr__(self, "_kept_posterior", posterior)
        return self.__dict__["_kept_posterior"]

    def _predict(self, x: Array, u: Array, t: Any) -> tuple[Array, Array]:
        z = Scale.read(self.learned, "input").apply(np.concatenate([x, u], axis=1))
        targets, posterior = Scale.read(self.learned, "target"), self._posterior()
        mean, variance = posterior.predict(z)
        return x + targets.mean + targets.deviation * mean, targets.deviation * np.sqrt(variance)

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the mean of the next states, or draws; see `BatchDynamics.step`."""
        self._require_fit()
        mean, deviation = self._predict(x, u, t)
        return mean + deviation * generator.standard_normal(mean.shape) if self.stochastic else mean

    def moments(self, mean: ArrayLike, covariance: ArrayLike, u: ArrayLike) -> tuple[Array, Array, Array]:
        """Return mean and covariance of the next state when the present one is normal: exact moment matching.

        Parameters
        ----------
        mean, covariance, u
            (nx,) and (nx, nx) of the state, and the control (nu,), which is certain.

        Returns
        -------
        mean, covariance, cross : ndarray
            (nx,), (nx, nx) with the noise, and (nx, nx), the covariance of the present state with the next.

        Notes
        -----
        Deisenroth, Fox and Rasmussen (2015), Gaussian processes for data-efficient learning, section 4.1.
        """
        self._require_fit()
        centre = check_columns("mean", np.reshape(mean, (1, -1)), 1, self.nx)[0]
        spread = check_columns("covariance", covariance, self.nx, self.nx)
        control = check_columns("u", np.reshape(u, (1, -1)), 1, self.nu)[0]
        inputs, targets = Scale.read(self.learned, "input"), Scale.read(self.learned, "target")
        scaled = np.zeros((self.nx + self.nu,) * 2)
        scaled[: self.nx, : self.nx] = spread / np.outer(inputs.deviation, inputs.deviation)[: self.nx, : self.nx]
        change, change_covariance, cross = moments(
            self._posterior(), inputs.apply(np.concatenate([centre, control])), scaled
        )
        change_covariance = change_covariance * np.outer(targets.deviation, targets.deviation)
        cross = cross[: self.nx] * inputs.deviation[: self.nx, None] * targets.deviation
        after = centre + targets.mean + targets.deviation * change
        return after, spread + change_covariance + cross + cross.T, spread + cross

    def to_traced(self) -> DiscreteDynamics:
        """Return the mean as an expression of n terms for each state; see `LearnedDynamics.to_traced`."""
        self._require_fit()
        inputs, targets = Scale.read(self.learned, "input"), Scale.read(self.learned, "target")
        posterior = self._posterior()

        def mean(x: Any, u: Any) -> Any:
            z = (np.concatenate([x, u]) - inputs.mean) / inputs.deviation
            change = [
                signal**2 * (weight @ np.exp(-0.5 * np.sum(((z - posterior.inputs) / length) ** 2, axis=1)))
                for length, signal, weight in zip(posterior.lengths, posterior.signals, posterior.weights, strict=True)
            ]
            return x + targets.mean + targets.deviation * np.array(change)

        return DiscreteDynamics(mean, states=self.states, controls=self.controls)

    def _expected(self, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        count, size = len(arrays["inputs"]), self.nx + self.nu
        if not count or np.abs(arrays["parameters"]).max() > 1.001 * _LARGEST_LOG:
            raise ValueError("it holds no transitions, or a kernel that no fit gives")
        return {
            "inputs": (count, size),
            "targets": (count, self.nx),
            "parameters": (self.nx, size + 2),
            "input_mean": (size,),
            "input_deviation": (size,),
            "target_mean": (self.nx,),
            "target_deviation": (self.nx,),
        }


def negative_log_likelihood(parameters: Array, z: Array, y: Array) -> tuple[float, Array]:
    """Minus the log marginal likelihood, and its gradient, by log lengths (nz), log signal and log noise."""
    lengths, signal, noise = np.exp(parameters[:-2]), np.exp(parameters[-2]), np.exp(parameters[-1])
    squared = ((z[:, None] - z) / lengths) ** 2  # (n, n, nz)
    smooth = signal**2 * np.exp(-0.5 * squared.sum(axis=2))
    factor = cholesky(smooth + noise**2 * np.eye(len(z)), lower=True)
    weights = cho_solve((factor, True), y)
    value = 0.5 * y @ weights + np.log(np.diag(factor)).sum() + 0.5 * len(z) * np.log(2.0 * np.pi)
    inner = cho_solve((factor, True), np.eye(len(z))) - np.outer(weights, weights)
    product = inner * smooth
    by_lengths = 0.5 * np.einsum("ij,ijk->k", product, squared)
    return float(value), np.concatenate([by_lengths, [product.sum(), noise**2 * np.trace(inner)]])


def _fit_kernel(z: Array, y: Array, restarts: int, generator: np.random.Generator) -> Array:
    """Log parameters that maximise the marginal likelihood, (nz + 2,)."""
    size = z.shape[1]
    bounds = [_LOG_LENGTHS] * size + [_LOG_SIGNAL, _LOG_NOISE]
    starts = [np.array([0.0] * size + [0.0, np.log(0.1)])]
    starts += [starts[0] + generator.normal(scale=1.0, size=size + 2) for _ in range(restarts)]
    lower, upper = np.array(bounds).T
    found = [
        minimize(negative_log_likelihood, np.clip(start, lower, upper), (z, y), "L-BFGS-B", jac=True, bounds=bounds)
        for start in starts
    ]
    return min(found, key=lambda result: result.fun).x
