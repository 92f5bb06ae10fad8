"""The shapes of noise and the measures of risk."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampling_cases import begin, regulator
from trajopt.errors import InvalidProblem
from trajopt.solvers import MPPI
from trajopt.solvers.sampling import CVaR, Exponential, Mean, Worst
from trajopt.solvers.sampling.noise import colour_filter, make_basis, spline_matrix


@pytest.mark.parametrize("size", [1, 2, 7, 50, 64])
@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.5])
def test_coloured_noise_has_its_spectrum(size: int, exponent: float) -> None:
    """Each number has variance 1, the covariance depends on the distance alone, and its spectrum is 1 / f^beta."""
    matrix = colour_filter(size, exponent)
    covariance = matrix @ matrix.T
    np.testing.assert_allclose(np.diag(covariance), 1.0, rtol=1e-13)
    for k in range(size):
        np.testing.assert_allclose(np.roll(covariance[k], -k), covariance[0], atol=1e-12)
    if exponent == 0.0:
        np.testing.assert_allclose(covariance, np.eye(size), atol=1e-13)
    if size > 4:
        power, frequencies = np.fft.rfft(covariance[0]).real[1:], np.fft.rfftfreq(size)[1:]
        slopes = np.diff(np.log(power)) / np.diff(np.log(frequencies))
        np.testing.assert_allclose(slopes, -exponent, atol=1e-9)


def drawn(**options: object) -> np.ndarray:
    """White or shaped noise of a search in units of sigma, (samples, N)."""
    run = begin(MPPI(samples=20_000, sigma=1.0, **options), regulator())  # type: ignore[arg-type]
    run.sample()
    samples = np.hstack(list(run.population.parameters[:, : run.proposal.mean.size]))[:, :20_000].T
    return samples - run.proposal.mean.ravel()


@pytest.mark.parametrize("exponent", [1.0, 3.0])
def test_samples_are_coloured(exponent: float) -> None:
    """The samples of a search have the filter's covariance, within five standard errors of the largest of 100."""
    noise, matrix = drawn(noise_exponent=exponent), colour_filter(10, exponent)
    assert np.abs(noise.T @ noise / len(noise) - matrix @ matrix.T).max() < 5.0 * math.sqrt(2.0 / len(noise))


def test_quasi_random_samples_are_more_even() -> None:
    """Means of Sobol points err by far less than those of independent ones, while the distribution is the same."""
    plain, even = drawn(), drawn(quasi_random=True)
    np.testing.assert_allclose(even.std(axis=0), 1.0, atol=0.02)
    assert np.abs(even.mean(axis=0)).max() < 0.2 * np.abs(plain.mean(axis=0)).max()
    for limit, share in ((1.0, 0.6827), (2.0, 0.9545), (3.0, 0.9973)):
        assert (np.abs(even) < limit).mean() == pytest.approx(share, abs=2e-3)


def test_splines() -> None:
    """Values between knots: hydrax's tables for orders 0 and 1, sine and cosine for order 3."""
    times, knots = np.linspace(0.0, 1.0, 11), np.array([0.0, 0.5, 1.0])
    values = np.array([0.0, 1.0, 2.0])
    np.testing.assert_array_equal(spline_matrix(times, knots, 0) @ values, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2])
    np.testing.assert_allclose(spline_matrix(times, knots, 1) @ values, np.linspace(0.0, 2.0, 11), atol=1e-15)
    fine, knots = np.linspace(0.0, 2.0 * np.pi, 1000), np.linspace(0.0, 2.0 * np.pi, 101)
    for function in (np.sin, np.cos):
        # The error of a cubic spline is at most 5/384 h^4 |f''''| inside, a few times that at the ends.
        error = np.abs(spline_matrix(fine, knots, 3) @ function(knots) - function(fine)).max()
        assert error < 10.0 * 5.0 / 384.0 * (knots[1] - knots[0]) ** 4


@pytest.mark.parametrize("order", [0, 1, 3])
def test_a_constant_plan_is_the_same_under_every_basis(order: int) -> None:
    """The rows of a basis sum to one, and as many knots as steps leave the plan as it is."""
    np.testing.assert_allclose(make_basis(20, 6, order).sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(make_basis(8, 8, order), np.eye(8), atol=1e-12)


merits = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12).map(lambda values: np.array(values)[:, None])


@settings(deadline=None, derandomize=True)
@given(merits, st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(1e-3, 10.0))
def test_the_order_of_risks(values: np.ndarray, one: float, other: float, rate: float) -> None:
    """Mean = CVaR(1) <= CVaR(b) <= CVaR(a) <= CVaR(0) = worst for a <= b, and mean <= exponential <= worst."""
    low, high = sorted((one, other))
    mean, worst = Mean().aggregate(values)[0], Worst().aggregate(values)[0]
    rounding = 1e-9 * (1.0 + np.abs(values).max())
    ladder = [mean, *(CVaR(level).aggregate(values)[0] for level in (1.0, high, low, 0.0)), worst]
    assert ladder[1] == pytest.approx(mean, abs=rounding)
    assert ladder[-2] == worst
    assert (np.diff(ladder) >= -rounding).all()
    assert mean - rounding <= Exponential(rate).aggregate(values)[0] <= worst + rounding
    shifted = Exponential(rate).aggregate(values + 7.0)[0]
    assert shifted == pytest.approx(Exponential(rate).aggregate(values)[0] + 7.0, abs=rounding)


def test_risks_by_hand() -> None:
    """Numbers small enough to check on paper; a particle on the edge of the worst share counts in part."""
    values = np.array([[1.0], [2.0], [3.0], [10.0]])
    assert CVaR(0.5).aggregate(values)[0] == 6.5
    assert CVaR(0.375).aggregate(values)[0] == pytest.approx((10.0 + 0.5 * 3.0) / 1.5)
    assert Exponential(math.log(2.0)).aggregate(np.array([[0.0], [1.0]]))[0] == pytest.approx(math.log2(1.5))


@pytest.mark.parametrize("risk", [Mean(), Worst(), CVaR(0.3), Exponential(2.0)])
def test_a_particle_that_is_not_finite_spoils_the_sample(risk: object) -> None:
    """Infinity is never averaged away, and the samples beside it keep their numbers."""
    values = np.array([[1.0, 0.0], [np.inf, 0.0], [2.0, 0.0], [3.0, 0.0]])
    assert risk.aggregate(values).tolist() == [np.inf, 0.0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(("risk", "value"), [(CVaR, 1.5), (CVaR, -0.1), (Exponential, 0.0), (Exponential, math.nan)])
def test_bad_risks_get_a_sentence(risk: type, value: float) -> None:
    """Refused at construction, by value."""
    with pytest.raises(InvalidProblem, match="was expected"):
        risk(value)
