"""Proposals and updates for discrete controls: a table of probabilities for each stage, from which choices are drawn.

A plan is a row of choices c_1 ... c_N, each from k values, drawn independently from a table p (N, k). The search starts
and restarts from the best plan c* mixed with chance: with ``sigma`` s, the probability that a stage is drawn anew,

    p_n(c) = (1 - s) [c = c*_n] + s / k,

so that every plan has a positive probability. A method then moves the table. What stands for the mean of a normal
proposal is the table's mode, a plan of choices too.

Reference: Rubinstein, Kroese, The Cross-Entropy Method, Springer 2004, section 2.5 (smoothed categorical updates).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.constraints import nearest_choices
from trajopt.solvers.kernels.sampling import Functions, Population, Proposal
from trajopt.solvers.sampling.update import Generation, Update, best_samples
from trajopt.validation import check, is_number

if TYPE_CHECKING:
    from trajopt.solvers.sampling.solver import SamplingSolver

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_CONTINUOUS = ("noise_exponent", "quasi_random", "knots", "order", "increments", "covariance")
"""Settings that shape normal noise."""


@dataclass
class ChoiceUpdate(Update):
    """A table that stays as it is, and what methods that move it share.

    Attributes
    ----------
    choices
        (k, nu) values of the controls.
    samples
        Plans that are drawn in each iteration.
    seed
        Of the random numbers.
    table
        (N, k) probabilities; of size 0 before the first generation.
    drawn
        (K, N) choices of the last generation.
    """

    choices: Array
    samples: int
    seed: int
    table: Array = field(default_factory=lambda: np.zeros((0, 0)))
    drawn: Index = field(default_factory=lambda: np.zeros((0, 0), np.intp))
    moves: ClassVar[bool] = False
    remembered: ClassVar[tuple[str, ...]] = ("table",)

    def prepare(self, proposal: Proposal, last: bool, iteration: int) -> Generation:
        """Draw all plans here; the proposal's own noise is overwritten by them."""
        if self.table.size == 0:
            self.table = self.around(proposal)
        generator = np.random.default_rng([self.seed, iteration])
        self.drawn = draw(self.table, self.samples, generator)
        return Generation(0, self.choices[self.drawn].reshape(len(self.drawn), -1))

    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """See `Update.move`."""

    def restart(self, proposal: Proposal) -> None:
        """See `Update.restart`."""
        self.table = self.around(proposal)

    def around(self, proposal: Proposal) -> Array:
        """Probabilities (N, k) around the proposal's plan, by the formula of the module."""
        share = proposal.deviation[:, :1]
        plan = nearest_choices(self.choices, proposal.mean)
        return (1.0 - share) * np.eye(len(self.choices))[plan] + share / len(self.choices)


@final
@dataclass
class CategoricalElites(ChoiceUpdate):
    """The table moves towards the frequencies of the best samples: the cross-entropy method for discrete controls.

    ``momentum`` is the part of the old table that stays; ``count`` is the number of elites.
    """

    count: int = 2
    momentum: float = 0.0
    kept: Array | None = None
    adapts: ClassVar[bool] = True
    moves: ClassVar[bool] = True
    remembered: ClassVar[tuple[str, ...]] = ("table", "kept")

    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """See `Update.move`."""
        chosen = self.drawn[best_samples(population, self.count)]
        self.table = self.momentum * self.table + (1.0 - self.momentum) * frequencies(chosen, len(self.choices))
        self.kept = self.choices[chosen].reshape(len(chosen), -1)
        proposal.mean[:] = self.choices[self.table.argmax(axis=1)]

    @property
    def elites(self) -> Array | None:
        """See `Update.elites`."""
        return self.kept

    def adopt(self, elites: Array) -> None:
        """Begin half way between chance and what an earlier solve had learnt."""
        if len(elites):
            count = len(self.choices)
            plans = nearest_choices(self.choices, elites.reshape(len(elites), -1, self.choices.shape[1]))
            self.table = 0.5 * frequencies(plans, count) + 0.5 / count


@final
@dataclass
class CategoricalBest(ChoiceUpdate):
    """The table stays around the best plan: predictive sampling for discrete controls."""

    moves: ClassVar[bool] = True

    def move(self, functions: Functions, population: Population, proposal: Proposal) -> None:
        """Go on from the best sample if it is better than the plan, which the search values itself."""
        best = self.drawn[best_samples(population, 1)[0]]
        proposal.mean[:] = self.choices[best]
        self.table = self.around(proposal)

    def prepare(self, proposal: Proposal, last: bool, iteration: int) -> Generation:
        """Try the plan itself too, in the place of the last sample, so that it cannot get worse."""
        super().prepare(proposal, last, iteration)
        self.drawn[-1] = nearest_choices(self.choices, proposal.mean)
        return Generation(0, self.choices[self.drawn].reshape(len(self.drawn), -1))


def draw(table: Array, samples: int, generator: np.random.Generator) -> Index:
    """Choices (samples, N) from the probabilities (N, k), by inversion of their sums."""
    uniform = generator.random((samples, len(table)))
    sums = np.cumsum(table, axis=1)[:, :-1]  # rounding of the last sum must not make a choice more
    return sum((uniform >= column for column in sums.T), np.zeros(uniform.shape, np.intp))


def frequencies(chosen: Index, count: int) -> Array:
    """How often (E, N) plans take each of ``count`` choices in each stage, (N, count), as shares."""
    return (chosen[:, :, None] == np.arange(count)).mean(axis=0)


def check_discrete(solver: SamplingSolver) -> None:
    """Refuse settings that mean nothing where controls are discrete."""
    for name in _CONTINUOUS:
        value, default = getattr(solver, name, None), getattr(type(solver), name, None)
        expected = "nothing beside discrete controls, for it shapes noise on continuous ones,"
        check(value, name, expected, value == default, "leave it out")
    exact = '"float64" beside discrete controls, whose values must not be rounded,'
    check(solver.precision, "precision", exact, solver.precision == "float64")
    sigma = solver.sigma
    share = sigma is None or (is_number(sigma) and 0.0 < float(sigma) <= 1.0)  # type: ignore[arg-type]
    check(sigma, "sigma", "beside discrete controls the probability that a choice is drawn anew, or None,", share)
