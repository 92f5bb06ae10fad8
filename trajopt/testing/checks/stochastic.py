"""Solvers that draw random numbers: seeds, threads, and what more samples must bring."""

from __future__ import annotations

import itertools

import numpy as np

from trajopt.batch_dynamics import BlackBoxDynamics
from trajopt.horizon import Horizon
from trajopt.problem import Feature, Problem
from trajopt.solver import Claim
from trajopt.testing import cases
from trajopt.testing.answers import fingerprint
from trajopt.testing.cases import STEP, STEPS
from trajopt.testing.registry import Family, NotApplicable, at_most, check, close, require
from trajopt.testing.subject import Subject
from trajopt.testing.tolerances import EXACT, FALSE_ALARMS, Rule, rounding

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
