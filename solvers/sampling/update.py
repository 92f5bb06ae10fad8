"""Updates: how a proposal moves once its samples are valued. With a proposal and a risk, one of them is a method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.solvers.kernels import weights
from trajopt.solvers.kernels.sampling import Functions, Population, Proposal

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Generation:
    """How the next samples are drawn.

    Attributes
    ----------
    samples
        How many come from the proposal.
    given
        (count, M nu) plans to be tried beside them.
    """

    samples: int
    given: Array


class Weighting(NamedTuple):
    """Weights exp(-(S - min S) / temperature); if a ``share`` is positive, at the one that makes it effective."""

    temperature: float
    share: float


class Update(ABC):
    """The state of a method in one search, and its step.

    Attributes
    ----------
    adapts
        Whether it sets the deviation itself; otherwise the search lets it shrink.
    takes_best_sample
        Whether a sample may be the answer; otherwise it is the mean alone.
    moves
        Whether the proposal moves at all; if not, a rest is a dead end.
    remembered
        Names of the fields that change during a search, but for work: numbers and arrays, or None.
    """

    adapts: ClassVar[bool] = False
    moves: ClassVar[bool] = True
    takes_best_sample: ClassVar[bool] = True
    remembered: ClassVar[tuple[str, ...]] = ()

    def learnt(self) -> dict[str, Array]:
        """What it remembers, by name."""
        values = {name: getattr(self, name) for name in self.remembered}
        return {name: np.asarray(value, float) for name, value in values.items() if value is not None}

    def recall(self, learnt: Mapping[str, Array]) -> None:
        """Take over what another update of the same method had `learnt`."""
        for name in self.remembered:
            if name in learnt:
                now, then = getattr(self, name), learnt[name]
                setattr(self, name, then.copy() if then.ndim else type(now)(then))

    def prepare(self, proposal: Proposal, last: bool, iteration: int) -> Generation | None:
        """Set up the next generation, the last one under the iteration limit or not; None: as the settings say.

        ``iteration`` is its place in the stream of random numbers.
        """
        return None

    def weighting(self, population: Population) -> Weighting | None:
        """How merits weigh, if the mean under these weights is all that the update moves the proposal to.

        Then samples need not leave the device that drew them.
        """
        return None

    @abstractmethod
    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """Move the proposal, in place; at least one merit is finite."""

    def restart(self, proposal: Proposal) -> None:  # noqa: B027 - many methods learn nothing
        """Forget what was learnt of the noise: ``proposal`` was centred on the best plan, with a new deviation."""

    def patience(self, asked: int, size: int) -> int:
        """Iterations without improvement that mean something, for plans of ``size`` parameters."""
        return asked

    @property
    def room(self) -> int:
        """Plans that it puts beside the samples at most."""
        return 1

    @property
    def elites(self) -> Array | None:
        """(count, M nu) plans that are tried again, if the method keeps any."""
        return None

    def adopt(self, elites: Array) -> None:  # noqa: B027 - many methods keep none
        """Take over the elites of an earlier solve."""


def plans_of(population: Population, size: int, chosen: NDArray[np.intp]) -> Array:
    """Parameters (count, size) of some samples."""
    lanes = population.merits.shape[1]
    return population.parameters[chosen // lanes, :size, chosen % lanes].astype(float)


def best_samples(population: Population, count: int) -> NDArray[np.intp]:
    """Indices of the samples of least merit, the best first; none whose merit is not finite, and ties by index."""
    merits = population.merits.ravel()
    count = min(count, int(np.isfinite(merits).sum()))
    # A partition leaves ties at its edge to chance; all that tie are sorted, and then the first are taken.
    limit = np.partition(merits, count - 1)[count - 1]
    near = np.flatnonzero(merits <= limit)
    return near[np.argsort(merits[near], kind="stable")][:count]


@dataclass
class BestUpdate(Update):
    """The mean becomes the best sample, with the mean itself among the samples (predictive sampling)."""

    samples: int

    def prepare(self, proposal: Proposal, last: bool, iteration: int) -> Generation:
        """Try the mean too, so that the plan cannot get worse."""
        return Generation(self.samples, proposal.mean.reshape(1, -1))

    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """See `Update.move`."""
        weights.best_sample(population, proposal.mean)


@dataclass
class SoftmaxUpdate(Update):
    """The mean becomes the mean under weights exp(-(S - min S) / lambda).

    With a ``temperature``, that is lambda, or the share of the merits' standard deviation that lambda is; otherwise
    lambda makes ``effective_share`` of the samples effective. ``control_cost`` times lambda u' Sigma^-1 eps joins S.
    """

    temperature: float | None
    effective_share: float = 1.0
    standardised: bool = False
    control_cost: float = 0.0
    takes_best_sample: ClassVar[bool] = False
    _rate: Array = field(default_factory=lambda: np.zeros(1))
    _sums: Array = field(default_factory=lambda: np.zeros((0, 0)))

    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """See `Update.move`."""
        self.weigh(functions, population, proposal)
        if self._sums.shape != population.parameters.shape[1:]:
            self._sums = np.zeros(population.parameters.shape[1:])
        weights.weighted_mean(population, self._sums, proposal.mean)

    def weigh(self, functions: Functions, population: Population, proposal: Proposal) -> float:
        """Set the weights; returns their effective number."""
        temperature, share = self._weighting(population)
        if share > 0.0:
            return weights.weigh_by_effective_number(functions, population, share, self._rate)
        if self.control_cost > 0.0:
            weights.add_control_cost(population, proposal, self.control_cost * temperature)
        return weights.weigh_by_temperature(functions, population, temperature, self._rate)

    def weighting(self, population: Population) -> Weighting | None:
        """See `Update.weighting`; a control cost looks at the samples as well."""
        return None if self.control_cost > 0.0 else self._weighting(population)

    def _weighting(self, population: Population) -> Weighting:
        if self.temperature is None:
            return Weighting(1.0, self.effective_share)
        if not self.standardised:
            return Weighting(self.temperature, 0.0)
        finite = population.merits[np.isfinite(population.merits)]
        return Weighting(self.temperature * (float(finite.std()) or 1.0), 0.0)  # equal merits weigh the same at any


@dataclass
class EliteUpdate(Update):
    """Mean and deviation, or covariance, move towards those of the best samples: the cross-entropy method.

    ``momentum`` is the part of the old ones that stays. With ``reuse``, that share of the elites is tried again, with
    ``decay`` the samples grow fewer, down to twice the elites, and the mean is tried in the last generation.
    """

    samples: int
    count: int
    momentum: float
    full: bool = False
    reuse: float = 0.0
    decay: float = 1.0
    tries_mean: bool = False
    generation: int = 0
    kept: Array | None = None
    adapts: ClassVar[bool] = True
    remembered: ClassVar[tuple[str, ...]] = ("generation", "kept")

    def prepare(self, proposal: Proposal, last: bool, iteration: int) -> Generation:
        """Count samples, and put elites and mean beside them."""
        samples = max(2 * self.count, int(self.samples * self.decay**-self.generation)) if self.decay > 1.0 else 0
        self.generation += 1
        parts = [np.zeros((0, proposal.mean.size))]
        if self.kept is not None:
            parts.append(self.kept)
        if self.tries_mean and last:
            parts.append(proposal.mean.reshape(1, -1))
        return Generation(min(samples or self.samples, self.samples), np.concatenate(parts))

    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """See `Update.move`."""
        chosen = plans_of(population, proposal.mean.size, best_samples(population, self.count))
        shape, stays = proposal.mean.shape, self.momentum
        mean = chosen.mean(axis=0)
        if self.full:
            self._correlate(chosen - mean, proposal)
        else:
            proposal.deviation[:] = stays * proposal.deviation + (1.0 - stays) * chosen.std(axis=0).reshape(shape)
        proposal.mean[:] = stays * proposal.mean + (1.0 - stays) * mean.reshape(shape)
        if self.reuse > 0.0:
            self.kept = chosen[: int(self.reuse * self.count)].copy()

    def _correlate(self, centred: Array, proposal: Proposal) -> None:
        """Set the filter to a root of the new covariance, in units of the deviation.

        Fewer elites than parameters span a subspace only; the diagonal joins with the weight of as many elites as there
        are parameters.
        """
        count, size = centred.shape
        units = centred / proposal.deviation.ravel()
        covariance = units.T @ units / count
        share = size / (size + count)
        covariance = (1.0 - share) * covariance + share * np.diag(np.diag(covariance))
        old = proposal.filter[0] @ proposal.filter[0].T
        covariance = self.momentum * old + (1.0 - self.momentum) * covariance
        # Elites may agree to the bit; what rounding leaves of a variance keeps the root real.
        covariance += np.finfo(float).eps * np.trace(covariance) * np.eye(size) + np.finfo(float).tiny * np.eye(size)
        proposal.filter[0] = np.linalg.cholesky(covariance)

    def restart(self, proposal: Proposal) -> None:
        """See `Update.restart`."""
        self.generation, self.kept = 0, None

    @property
    def room(self) -> int:
        """See `Update.room`."""
        return int(self.reuse * self.count) + 1

    @property
    def elites(self) -> Array | None:
        """See `Update.elites`."""
        return self.kept

    def adopt(self, elites: Array) -> None:
        """See `Update.adopt`."""
        self.kept = elites[: self.room - 1] if self.reuse > 0.0 else None
