"""Solvers that draw random numbers: seeds, threads, and what more samples must bring."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BlackBoxDynamics
from trajopt.constraints import Bounds
from trajopt.horizon import Horizon
from trajopt.problem import Feature, Problem
from trajopt.solver import Claim
from trajopt.testing import cases
from trajopt.testing.answers import fingerprint
from trajopt.testing.cases import STEP, STEPS
from trajopt.testing.registry import Family, NotApplicable, at_most, check, close, require
from trajopt.testing.subject import Subject
from trajopt.testing.tolerances import EXACT, FALSE_ALARMS, Rule, rounding, statistical

Array = NDArray[np.float64]
SEEDED = ["seed"]


@check(Family.STOCHASTIC, Rule.EXACT, settings=["seed", "threads"])
def threads_change_no_bit(subject: Subject) -> None:
    """One thread and three give the same bits."""
    answers = {fingerprint(subject.solve(subject.base, solver=subject.with_settings(threads=n))) for n in (1, 3)}
    require(len(answers) == 1, "the number of threads changed the answer")


@check(Family.STOCHASTIC, Rule.EXACT, settings=SEEDED)
def another_seed_is_another_search(subject: Subject) -> None:
    """Two seeds end at different plans, or the seed is not read."""
    if subject.claims(Claim.STATIONARY):
        raise NotApplicable("local optima from different starts may be the same")
    answers = {fingerprint(subject.solve(subject.base, solver=subject.with_settings(seed=seed))) for seed in (1, 2)}
    require(len(answers) == 2, "two seeds gave the same bits")


@check(Family.STOCHASTIC, Rule.STATISTICAL, settings=["seed", "samples"])
def more_samples_do_better(subject: Subject) -> None:
    """With sixteen times the samples and few iterations the cost is lower, by a sign test over seeds."""
    if "iterations" not in subject.settings:
        raise NotApplicable("its iterations have no limit to compare at")
    seeds = 24  # 2^-24 is what all signs agree with by chance; see `_least_wins`
    wins = 0
    for seed in range(seeds):
        costs = [subject.solve(_smooth(subject), solver=subject.with_settings(seed=seed, samples=n, iterations=4)).cost
                 for n in (16, 256)]  # fmt: skip
        wins += costs[1] < costs[0]
    needed = _least_losses(seeds)
    require(wins > needed, f"more samples were better for {wins} of {seeds} seeds alone, which chance explains as well")


def _least_losses(trials: int) -> int:
    """Most wins that are so few that samples which do not help (half of all wins) would be believed to harm.

    The check fails only where the hypothesis "more samples help more often than not" is refuted at the suite's rate of
    false alarms: P(wins <= k) with p = 1/2.
    """
    from scipy.stats import binom  # noqa: PLC0415 - slow to import

    return int(binom.ppf(1.0 - FALSE_ALARMS**0.5, trials, 0.5))


def _smooth(subject: Subject) -> Problem:
    return subject.plant("few steps", discrete=True, horizon=Horizon(steps=12))


@check(Family.STOCHASTIC, Rule.EXACT, settings=SEEDED, claims=[Claim.MONOTONE])
def the_best_so_far_is_kept(subject: Subject) -> None:
    """Without constraints but bounds the cost of the records never rises, and the answer has the lowest of them."""
    solution = subject.solution(subject.base)
    costs = [record.cost for record in solution.history]
    require(all(b <= a for a, b in itertools.pairwise(costs)), "the cost of the best plan rises")
    close(solution.cost, min(costs), EXACT, "the cost of the answer")


@check(Family.STOCHASTIC, Rule.ROUNDING, features=[Feature.STOCHASTIC, Feature.DISCRETE_TIME], settings=["seed"])
def noise_of_size_zero_is_no_noise(subject: Subject) -> None:
    """Dynamics that draw random numbers and multiply them by zero cost what they cost without."""

    def step(x, u, rng):
        return cases.euler_step(x, u) + 0.0 * rng.normal(size=x.shape)

    quiet, still = (
        Problem(
            BlackBoxDynamics(function, states=cases.STATES, controls=["torque"]),
            lambda x, u: STEP * cases.cost_rate(x, u), cases.end_cost, initial_state=(0.0, 0.0), name=name,
            constraints=[cases.TORQUE], horizon=Horizon(steps=STEPS),
        )
        for name, function in (("noise of size zero", step), ("without noise", cases.euler_step))
    )  # fmt: skip
    solver = subject.with_settings(iterations=2)
    noisy, plain = (subject.solve(problem, solver=solver) for problem in (quiet, still))
    close(noisy.cost, plain.cost, rounding(64.0 * STEPS, 1.0 + plain.cost), "the cost with noise of size zero")


@check(Family.STOCHASTIC, Rule.EXACT, features=[Feature.STOCHASTIC, Feature.DISCRETE_TIME], settings=["seed"])
def random_dynamics_are_reproducible(subject: Subject) -> None:
    """The same seed meets the same random numbers of the dynamics: every bit comes back, in other threads too."""
    noisy = next(p for p in cases.standard_problems(True) if Feature.STOCHASTIC in p.features)
    solver = subject.with_settings(iterations=3)
    answers = {fingerprint(subject.solve(noisy, solver=solver)) for _ in range(2)}
    if "threads" in subject.settings:
        answers |= {fingerprint(subject.solve(noisy, solver=subject.with_settings(iterations=3, threads=3)))}
    require(len(answers) == 1, "the same seed gave different answers")


@check(Family.STOCHASTIC, Rule.EXACT, settings=["seed", "iterations"], claims=[Claim.MONOTONE])
def more_iterations_never_harm(subject: Subject) -> None:
    """A longer search of the same seed is the shorter one continued: its best plan costs no more."""
    costs = [subject.solve(subject.base, solver=subject.with_settings(iterations=n)).cost for n in (1, 4, 16)]
    for fewer, more in itertools.pairwise(costs):
        at_most(more, fewer, EXACT, "the cost after more iterations")


@check(Family.STOCHASTIC, Rule.EXACT, settings=SEEDED)
def samples_keep_to_the_bounds(subject: Subject) -> None:
    """Where controls are drawn, the answer keeps to its bounds exactly: they are clipped before they are simulated."""
    if subject.claims(Claim.STATIONARY) or not subject.handles(Feature.CONTROL_BOUNDS):
        raise NotApplicable("it does not draw bounded controls")
    tight = subject.plant("small torque", limited=False, constraints=[cases.small_torque()])
    solution = subject.solve(tight)
    at_most(float(np.abs(solution.u).max()), 0.125, EXACT, "the largest torque")


@check(Family.STOCHASTIC, Rule.ROUNDING, settings=["seed", "samples", "iterations"])
def a_constant_in_the_cost_moves_no_sample(subject: Subject) -> None:
    """After two iterations a cost plus 2^20 costs 2^20 more, to its rounding: differences of costs weigh samples."""
    offset, answers = 2.0**20, []
    for constant in (0.0, offset):
        shifted = subject.plant("cost plus a constant", end=lambda x, c=constant: cases.end_cost(x) + c)
        answers.append(subject.solve(shifted, solver=subject.with_settings(iterations=2)).cost - constant)
    # Rounding of merits turns weights by as much at each of the two steps, and the plant amplifies it.
    allowed = rounding(64.0 * STEPS, offset, math.exp(cases.DURATION))
    close(answers[1], answers[0], allowed, "the cost less its constant")


BOXED = [Feature.BLACK_BOX, Feature.DISCRETE_TIME]
DRAWN = ["seed", "samples", "iterations"]
COMPARISONS = 64
"""Of all statistical checks of all solvers together, about."""


def _generations(subject: Subject, reward: float = 0.0, limit: float = math.inf) -> list[Array]:
    """Controls (K, N) of the generations that a sampler tries, in order, as the dynamics see them.

    The plant adds its controls up, each step costs ``-reward`` times its control, and nothing is bounded unless by a
    ``limit``.
    """
    seen: list[list[Array]] = []

    def step(x: Any, u: Any, t: Any) -> Any:
        if len(u) > 1:  # plans alone are those that it only values
            if t == 0:
                seen.append([])
            seen[-1].append(u[:, 0].copy())
        return x + STEP * u

    problem = Problem(
        BlackBoxDynamics(step, nx=1, nu=1), lambda x, u: -reward * u[0], lambda x: 2.0**-10 * x[0] ** 2,
        initial_state=[0.0], horizon=Horizon(steps=STEPS), name="what is drawn",
        constraints=[Bounds(control=(-limit, limit))] if limit < math.inf else [],
    )  # fmt: skip
    subject.solve(problem, solver=subject.with_settings(samples=64, iterations=4))
    found = [np.stack(columns, axis=1) for columns in seen]
    if len(found) < 2:
        raise NotApplicable("it does not try several generations of plans together")
    return found


@check(Family.STOCHASTIC, Rule.STATISTICAL, features=BOXED, settings=DRAWN)
def no_number_is_drawn_twice(subject: Subject) -> None:
    """Noise of neighbouring samples, and of the same sample in the next generation, is not correlated."""
    first, second = _generations(subject)[:2]
    size = min(len(first), len(second))
    for one, other, whose in (
        (first[:-1], first[1:], "neighbouring samples"),
        (first[:size], second[:size], "a sample in two generations"),
    ):
        noise = [part - part.mean(axis=0) for part in (one, other)]
        scale = math.sqrt(float((noise[0] ** 2).mean() * (noise[1] ** 2).mean()))
        correlation = float((noise[0] * noise[1]).mean()) / scale
        # Noise that is smooth in time counts once for each sample.
        close(correlation, 0.0, statistical(1.0, len(one), COMPARISONS), f"the correlation of noise of {whose}")


@check(Family.STOCHASTIC, Rule.STATISTICAL, features=BOXED, settings=DRAWN)
def the_search_goes_downhill(subject: Subject) -> None:
    """Where every control is rewarded, later generations use no less of it than the first one on average."""
    generations = _generations(subject, reward=1.0)
    first, last = generations[0], generations[-1]
    plans = first.mean(axis=1)
    lost = float(first.mean() - last.mean())
    # Twice the deviation: who does not move at all compares two means of the same distribution.
    at_most(lost, 0.0, statistical(2.0 * float(plans.std()), len(plans), COMPARISONS), "the loss of rewarded control")


@check(Family.STOCHASTIC, Rule.EXACT, features=[*BOXED, Feature.CONTROL_BOUNDS], settings=DRAWN)
def samples_are_clipped_before_they_are_simulated(subject: Subject) -> None:
    """The dynamics never see a control beyond its bounds, in any sample."""
    largest = max(float(np.abs(part).max()) for part in _generations(subject, reward=1.0, limit=0.125))
    at_most(largest, 0.125, EXACT, "the largest control that is simulated")
