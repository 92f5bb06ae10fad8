"""Sampling updates against their closed forms: quadratic and linear costs, limits, invariances, an independent CMA-ES.

Monte Carlo bounds are four standard errors, computed from the same closed forms or from the weighted samples.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

import trajopt as to
from tests.sampling_cases import begin, quadratic, regulator
from trajopt.solvers import CEM, CMAES, DIAL, ICEM, MPPI
from trajopt.solvers.sampling.search import Search
from trajopt.testing import oracles


def weighted_error(run: Search) -> np.ndarray:
    """Standard errors of the weighted mean of the parameters, (M nu,)."""
    size = run.proposal.mean.size
    samples = np.hstack(list(run.population.parameters[:, :size]))
    weights = run.population.weights.ravel()
    return np.sqrt((weights**2 * (samples - run.proposal.mean.reshape(-1, 1)) ** 2).sum(axis=1))


@pytest.mark.parametrize("mean", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_one_step_on_a_quadratic_cost(mean: float, share: float) -> None:
    """E[u] = (H + P)^-1 ((1 - share) P u - g), P = lambda Sigma^-1; with the whole control cost u has no part in it."""
    hessian, gradient, temperature = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([-1.0, 0.8]), 0.7
    sigma = np.array([0.8, 1.3])
    solver = MPPI(samples=100_000, temperature=temperature, sigma=tuple(sigma), control_cost=share, seed=3, threads=1)
    run = begin(solver, quadratic(hessian, gradient, np.array([mean, -0.5 * mean])))
    start = run.proposal.mean[0].copy()
    run.advance()
    expected = oracles.mppi_posterior(hessian, gradient, 0.0, start, np.diag(sigma**2), temperature, share).mean
    error = weighted_error(run)
    assert (np.abs(run.proposal.mean[0] - expected) < 4.0 * error).all()
    assert (error < 0.03).all(), "the standard error is too large to prove anything"


def test_information_theoretic_step_is_the_regulator() -> None:
    """One step with the control cost gives the plan of LQR with R = lambda Sigma^-1 = 1, as Riccati's does."""
    A, B, value = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.0], [1.0]]), np.eye(2)
    data = oracles.LinearQuadratic.make(
        np.tile(np.hstack([A, B]), (10, 1, 1)), np.tile(np.eye(3), (10, 1, 1)), value, [1.0, 0.0]
    )
    plan = oracles.riccati(data).roll_out(data)[1]
    run = begin(MPPI(samples=200_000, temperature=0.5, sigma=math.sqrt(0.5), control_cost=1.0), regulator())
    run.advance()
    error = weighted_error(run)
    assert (np.abs(run.proposal.mean - plan).ravel() < 4.0 * error).all()
    assert error.max() < 0.05


def moment(power: float, H: float, g: float, c: float, u: float, variance: float, temperature: float) -> float:
    """E exp(-power S / lambda) for S = 1/2 H v^2 + g v + c and v ~ N(u, variance), by completing the square."""
    scale = power / temperature
    slope, level = H * u + g, 0.5 * H * u * u + g * u + c
    spread = 1.0 + variance * scale * H
    return math.exp(-scale * level + 0.5 * scale**2 * slope**2 * variance / spread) / math.sqrt(spread)


def test_effective_number_and_free_energy() -> None:
    """ESS / K = (E w)^2 / E w^2 and F = -lambda log E w, w = exp(-S / lambda), on a scalar quadratic."""
    H, g, c, u, variance, temperature, count = 2.0, -1.0, 0.3, 0.4, 0.5, 1.5, 100_000
    run = begin(MPPI(samples=count, temperature=temperature, sigma=math.sqrt(variance)), quadratic([[H]], [g], [u], c))
    run.sample()
    effective = run.update.weigh(run.engine.functions, run.population, run.proposal)  # type: ignore[attr-defined]
    m1, m2, m3, m4 = (moment(k, H, g, c, u, variance, temperature) for k in (1, 2, 3, 4))
    share = m1**2 / m2
    # Delta method: the gradient of m1^2 / m2 is (2 m1 / m2, -m1^2 / m2^2).
    gradient = np.array([2.0 * m1 / m2, -(m1**2) / m2**2])
    covariance = np.array([[m2 - m1**2, m3 - m1 * m2], [m3 - m1 * m2, m4 - m2**2]]) / count
    assert effective / count == pytest.approx(share, abs=4.0 * math.sqrt(gradient @ covariance @ gradient))
    estimate = np.exp(-run.population.merits.ravel() / temperature).sum() / count
    assert -temperature * math.log(estimate) == pytest.approx(
        -temperature * math.log(m1), abs=4.0 * temperature * math.sqrt(covariance[0, 0]) / m1
    )


@pytest.mark.parametrize(
    ("share", "shift", "factor", "travel"),
    [(0.1, -1.754983, 0.411260, 2.980916), (0.2, -1.399810, 0.467592, 2.629206), (0.5, -0.797885, 0.602810, 2.008825)],
)
def test_the_travel_of_cem_on_a_slope(share: float, shift: float, factor: float, travel: float) -> None:
    """Each iteration moves the mean by a truncated normal's mean and shrinks the deviation to its deviation."""
    count = 60_000
    solver = CEM(samples=count, elites=int(share * count), momentum=0.0, sigma=1.0)
    run = begin(solver, quadratic([[0.0]], [1.0], [0.0]))
    # Variance of a tail mean: that within the tail, and that of where the tail begins.
    edge = stats.norm.ppf(share)
    error = 4.0 * math.sqrt((factor**2 + (1.0 - share) * (edge - shift) ** 2) / (share * count))
    for _ in range(3):
        mean, deviation = run.proposal.mean[0, 0], run.proposal.deviation[0, 0]
        run.advance()
        assert (run.proposal.mean[0, 0] - mean) / deviation == pytest.approx(shift, abs=error)
        assert run.proposal.deviation[0, 0] / deviation == pytest.approx(factor, abs=error)
    for _ in range(15):
        run.advance()
    assert run.proposal.mean[0, 0] == pytest.approx(-travel, abs=error / (1.0 - factor) ** 2)
    assert oracles.cem_on_a_slope(share) == pytest.approx((shift, factor), abs=1e-6)


@pytest.mark.parametrize(("share", "factor"), [(0.1, 0.072474), (0.2, 0.145645), (0.5, 0.377693)])
@pytest.mark.parametrize("momentum", [0.0, 0.3])
def test_cem_on_a_bowl(share: float, factor: float, momentum: float) -> None:
    """Around the minimum the deviation shrinks to that of the middle of a normal distribution."""
    count = 40_000
    run = begin(
        CEM(samples=count, elites=int(share * count), momentum=momentum, sigma=1.0), quadratic([[2.0]], [0.0], [0.0])
    )
    run.advance()
    # The edge of the middle part errs by sqrt(share / K) / density, which exceeds the error of the variance within.
    error = 4.0 * math.sqrt(share * (1.0 - share) / count) / stats.norm.pdf(stats.norm.ppf(0.5 + 0.5 * share))
    assert run.proposal.deviation[0, 0] == pytest.approx(momentum + (1.0 - momentum) * factor, abs=error)


@pytest.mark.parametrize("momentum", [0.0, 0.25])
def test_a_generation_of_cem_is_its_twin(momentum: float) -> None:
    """Mean and deviation after one generation are the oracle's of the same samples, with divisor E."""
    problem = quadratic([[2.0, 0.5], [0.5, 1.0]], [1.0, -0.5], [0.5, 0.25])
    run = begin(CEM(samples=40, elites=5, momentum=momentum, sigma=1.0), problem)
    before, deviation = run.proposal.mean.ravel().copy(), run.proposal.deviation.ravel().copy()
    run.advance()
    samples = np.hstack(list(run.population.parameters[:, :2])).T[:40]
    mean, covariance = oracles.cem_step(samples, run.population.merits.ravel()[:40], 5)
    spread = np.sqrt(np.diag(covariance))
    for found, old, new in (
        (run.proposal.mean, before, mean),
        (run.proposal.deviation, deviation, spread),
    ):
        np.testing.assert_allclose(found.ravel(), momentum * old + (1.0 - momentum) * new, rtol=0.0, atol=1e-14)


def test_full_covariance_finds_the_valley() -> None:
    """In a narrow diagonal valley the elites' correlation takes the sign of the valley, and the diagonal has none."""
    problem = quadratic([[10.0, -9.9], [-9.9, 10.0]], [0.0, 0.0], [0.5, 0.5])
    run = begin(CEM(samples=5000, covariance="full", sigma=1.0, momentum=0.0), problem)
    run.advance()
    root = run.proposal.filter[0]
    covariance = root @ root.T
    assert covariance[0, 1] / math.sqrt(covariance[0, 0] * covariance[1, 1]) > 0.8


def test_limits_of_the_temperature() -> None:
    """At no temperature the mean is the best sample; at an infinite one it is the mean of all samples."""
    problem = quadratic([[2.0, 0.0], [0.0, 1.0]], [-1.0, 0.5], [0.3, 0.1])
    for temperature in (1e-12, 1e12):
        run = begin(MPPI(samples=1000, temperature=temperature, sigma=1.0), problem)
        run.advance()
        samples = np.hstack(list(run.population.parameters[:, :2]))[:, :1000]
        best = samples[:, run.population.merits.argmin()]
        expected = best if temperature < 1.0 else samples.mean(axis=1)
        np.testing.assert_allclose(run.proposal.mean[0], expected, rtol=0.0, atol=1e-10)


def test_all_samples_as_elites_learn_nothing() -> None:
    """With elites = samples the mean moves by no more than its Monte Carlo error."""
    run = begin(CEM(samples=20_000, elites=20_000, momentum=0.0, sigma=1.0), quadratic([[3.0]], [2.0], [0.7]))
    run.advance()
    assert run.proposal.mean[0, 0] == pytest.approx(0.7, abs=4.0 / math.sqrt(20_000))
    assert run.proposal.deviation[0, 0] == pytest.approx(1.0, abs=4.0 / math.sqrt(2 * 20_000))


def test_icem_without_its_inventions_is_cem() -> None:
    """White noise, no reuse and no decay: the same proposals to the bit."""
    shared = {"samples": 200, "elites": 20, "momentum": 0.2, "sigma": 0.5}
    runs = [
        begin(CEM(**shared), regulator()),  # type: ignore[arg-type]
        begin(ICEM(noise_exponent=0.0, reuse=0.0, decay=1.0, **shared), regulator()),  # type: ignore[arg-type]
    ]
    for _ in range(6):
        for run in runs:
            run.advance()
        assert np.array_equal(runs[0].proposal.mean, runs[1].proposal.mean)
        assert np.array_equal(runs[0].proposal.deviation, runs[1].proposal.deviation)


def test_icem_counts_samples_as_the_paper_does() -> None:
    """max(2 E, K / gamma^i) samples, and from the second iteration on three tenths of the elites beside them."""
    run = begin(ICEM(), regulator())
    counts = []
    for _ in range(6):
        run.advance()
        counts.append(run.population.samples)
    assert counts == [40, 32 + 3, 25 + 3, 20 + 3, 20 + 3, 20 + 3]


def test_invariances_of_the_weights() -> None:
    """An offset of the cost changes nothing, nor the order of the samples, nor the unit of cost and temperature."""
    run = begin(MPPI(samples=320, temperature=0.7, sigma=0.5), regulator())
    run.advance()
    functions, population, proposal = run.engine.functions, run.population, run.proposal
    merits, weights, mean = population.merits.copy(), population.weights.copy(), proposal.mean.copy()
    assert weights.sum() == pytest.approx(1.0, abs=1e-13)
    population.merits[:] = merits + 100.0
    run.update.move(functions, population, proposal)
    np.testing.assert_allclose(population.weights, weights, rtol=0.0, atol=1e-13)  # 100 rounds away 1e-14 of S
    flat = np.random.default_rng(0).permutation(320 // merits.shape[1])
    population.merits[: len(flat)], population.parameters[: len(flat)] = merits[flat], population.parameters[flat]
    run.update.move(functions, population, proposal)
    np.testing.assert_allclose(proposal.mean, mean, rtol=0.0, atol=1e-13)
    population.merits[: len(flat)] = merits[flat] * 4.0
    scaled = begin(MPPI(samples=320, temperature=4.0 * 0.7, sigma=0.5), regulator())
    scaled.update.move(functions, population, scaled.proposal)
    assert np.array_equal(scaled.proposal.mean, proposal.mean)


def test_the_schedule_of_dial() -> None:
    """sigma exp(-i / (b1 n) - (H - 1 - h) / (b2 H)) in iteration i for knot h, and the end of the schedule stays."""
    solver = DIAL(samples=50, sigma=2.0, knots=4, order=1, annealing=3, iteration_factor=0.7, knot_factor=0.8)
    run = begin(solver, regulator())
    for i in (0, 1, 2, 3, 3):
        run.advance()
        expected = [2.0 * math.exp(-i / (0.7 * 3) - (3 - h) / (0.8 * 4)) for h in range(4)]
        np.testing.assert_allclose(run.proposal.deviation[:, 0], expected, rtol=1e-13)


def test_cmaes_is_its_twin() -> None:
    """Five generations agree with an independent CMA-ES that is told the same samples, to rounding."""
    problem = quadratic([[5.0, 1.0, 0.0], [1.0, 2.0, 0.3], [0.0, 0.3, 9.0]], [1.0, -2.0, 0.5], [1.0, 1.0, 1.0])
    run = begin(CMAES(samples=16, sigma=0.5), problem)
    twin = oracles.CovarianceMatrixAdaptation(np.ones(3), 0.5, 16)
    for _ in range(5):
        run.advance()
        samples = np.hstack(list(run.population.parameters[:, :3]))[:, :16].T
        twin.tell(samples, run.population.merits.ravel()[:16])
        np.testing.assert_allclose(run.proposal.mean[0], twin.mean, rtol=1e-12)
        np.testing.assert_allclose(run.update.covariance, twin.covariance, rtol=1e-11)  # type: ignore[attr-defined]
        np.testing.assert_allclose(run.proposal.deviation[0], np.full(3, twin.sigma), rtol=1e-12)


def test_cmaes_solves_an_ill_conditioned_bowl() -> None:
    """Axes of 1 to 1e4, turned: the cost comes down to rounding of the tolerance, which isotropic noise cannot do."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))
    hessian = turn @ np.diag(np.logspace(0, 4, 5)) @ turn.T
    solution = to.solve(quadratic(hessian, np.zeros(5), np.ones(5)), CMAES(samples=16, sigma=1.0, tolerance=1e-9))
    assert solution.success
    assert solution.cost < 1e-6
