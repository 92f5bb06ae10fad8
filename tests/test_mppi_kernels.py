"""Random numbers, rollouts over lanes, weights and means of the sampling kernels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numba.core.runtime import _nrt_python as numba_runtime
from numba.core.runtime import rtsys
from scipy import stats

import trajopt as to
from trajopt.guess import make_guess
from trajopt.lowering import compile_functions, preferred_lanes
from trajopt.solvers import MPPI
from trajopt.solvers.kernels import random, sampling
from trajopt.solvers.kernels import weights as weighting
from trajopt.solvers.sampling.search import Search

LANES = preferred_lanes()


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_vectors(counter: str, key: str, words: str) -> None:
    """Philox4x32-10 agrees with the known-answer vectors of Random123 (tests/kat_vectors)."""
    given = [np.uint64(int(word, 16)) for word in f"{counter} {key}".split()]
    assert " ".join(f"{int(word):08x}" for word in random.philox(*given)) == words


def draw(rows: int, samples: int, *, first: int = 0, iteration: int = 0, seed: int = 0) -> np.ndarray:
    """Normal variates, (rows, samples)."""
    normal = compile_functions({"normal": random.box_muller()}, lanes=LANES).address("normal")
    uniform, out = np.zeros((4, LANES)), np.zeros((rows, LANES))
    blocks = []
    for sample in range(first, first + samples, LANES):
        random.draw_normal(normal, sample, iteration, np.uint64(seed), uniform, out)
        blocks.append(out.copy())
    return np.hstack(blocks)


def test_normal_variates_are_normal_and_independent() -> None:
    """Kolmogorov-Smirnov accepts 160,000 variates, and rows, samples and iterations are uncorrelated within 5 sigma."""
    z = draw(40, 4096)
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-4
    bound = 5.0 / math.sqrt(z.shape[1])
    correlation = np.corrcoef(np.vstack([z, draw(40, 4096, iteration=1), draw(40, 4096, seed=1)]))
    assert np.abs(correlation - np.eye(len(correlation))).max() < bound * 1.2  # the largest of 7,140 pairs


def test_a_number_depends_on_its_place_alone() -> None:
    """Later samples drawn alone equal those drawn with all others, and both halves of the seed matter."""
    assert np.array_equal(draw(8, 4 * LANES)[:, 2 * LANES :], draw(8, 2 * LANES, first=2 * LANES))
    assert not np.array_equal(draw(8, LANES, seed=1), draw(8, LANES, seed=1 + 2**32))


def pushed_pendulum() -> to.Problem:
    """An upright pendulum over 1 s, with violated path, state and terminal constraints and time-varying cost."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u, t, p: np.array([x[1], p.gravity * np.sin(x[0]) + u[0] + np.cos(t)]), nx=2, nu=1
        ),
        stage_cost=lambda x, u, t: x @ x + 0.1 * u[0] ** 2 + t * x[0],
        terminal_cost=lambda x: 3.0 * (x @ x),
        initial_state=[0.1, -0.2],
        parameters={"gravity": 9.81},
        constraints=[
            to.Bounds(control=(-2.0, 2.0), state=([None, -0.3], [None, 0.5])),
            to.PathConstraint(lambda x, u: x[0] + u[0] - 1.0, name="sum"),
            to.TerminalConstraint([0.0, 0.0]),
        ],
        horizon=to.Horizon(1.0, steps=20),
    )


def start(problem: to.Problem, **settings: object) -> Search:
    """A run before its first iteration."""
    return Search(MPPI(**{"threads": 1} | settings), problem, make_guess(problem, None))  # type: ignore[arg-type]


def single_state() -> to.Problem:
    """One state and one terminal constraint far from met: constraints in columns of zero rows and of one."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        initial_state=[0.0],
        constraints=[to.TerminalConstraint([5.0])],
        horizon=to.Horizon(steps=20),
    )


@pytest.mark.parametrize("problem", [pushed_pendulum(), single_state()], ids=["pendulum", "single"])
def test_vector_rollouts_equal_scalar_rollouts(problem: to.Problem) -> None:
    """Every lane's merit is that of the scalar simulation of its controls, constraint rows and multipliers included.

    20 steps of about 200 roundings of 1.1e-16, amplified by exp(sqrt(9.81)) = 23 over the second, stay below 1e-11.
    """
    run = start(problem, samples=40)
    generator = np.random.default_rng(1)
    run.engine.penalty.path[:] = generator.normal(size=run.engine.penalty.path.shape)
    run.engine.penalty.end[:] = generator.normal(size=run.engine.penalty.end.shape)
    run.engine.penalty.weight[0] = run.engine.penalty.judge[0] = 3.0
    run.advance()
    lanes = run.population.merits.shape[1]
    for sample in range(40):
        controls = run.population.parameters[sample // lanes, :20, sample % lanes, None]
        _, merit = run.engine.value(controls, run.candidate)
        assert run.population.merits.flat[sample] == pytest.approx(merit, rel=1e-11)
    assert np.isinf(run.population.merits.ravel()[40:]).all(), "lanes behind the last sample may not count"


def test_samples_are_within_the_bounds() -> None:
    """Every sampled control is clipped before it is simulated, and some are at each bound."""
    run = start(pushed_pendulum(), samples=64, sigma=5.0)
    run.advance()
    controls = run.population.parameters[:, :20]
    assert (controls.min(), controls.max()) == (-2.0, 2.0)


@pytest.mark.parametrize("broken", ["NaN", "infinity"])
def test_rollouts_that_are_not_finite_have_infinite_merit_and_no_weight(broken: str) -> None:
    """A state becomes NaN or infinite at the first step where u < 0, no cost sees it, and the next state is finite."""
    value = np.sqrt if broken == "NaN" else (lambda u: 1.0 / np.maximum(u, 0.0))
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + u[0], value(u[0])]), nx=2, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(steps=3),
        guess=(np.arange(4.0), np.zeros((4, 2)), np.ones((3, 1))),
    )
    run = start(problem, samples=256, sigma=1.0)
    run.advance()
    negative = (run.population.parameters[:, :3] < 0.0).any(axis=1)
    assert 0.1 < negative.mean() < 0.9
    assert np.array_equal(np.isinf(run.population.merits), negative)
    assert not run.population.weights[negative].any()


def quadratic(hessian: np.ndarray, gradient: np.ndarray, guess: np.ndarray) -> to.Problem:
    """Minimise 1/2 u'Hu + g'u: one step to x = u."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: u, nx=2, nu=2),
        terminal_cost=lambda x: 0.5 * (x @ hessian @ x) + gradient @ x,
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(steps=1),
        guess=(np.arange(2.0), np.zeros((2, 2)), guess[None, :]),
    )


@pytest.mark.parametrize("mean", [[0.0, 0.0], [1.5, -0.5], [-2.0, 1.0]])
def test_one_iteration_is_the_proximal_newton_step(mean: list[float]) -> None:
    """E[u] = (Sigma^-1 + H/lambda)^-1 (Sigma^-1 u - g/lambda), within 5 standard errors of the weighted mean."""
    hessian, gradient, temperature = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([-1.0, 0.8]), 0.7
    sigma = np.array([0.8, 1.3])
    problem = quadratic(hessian, gradient, np.array(mean))
    run = start(problem, samples=200_000, temperature=temperature, sigma=tuple(sigma), seed=3)
    run.advance()
    precision = np.diag(sigma**-2)
    expected = np.linalg.solve(precision + hessian / temperature, precision @ mean - gradient / temperature)
    weights, samples = run.population.weights.ravel(), np.hstack(run.population.parameters[:, :2])
    error = np.sqrt((weights**2 * (samples - run.proposal.mean.T) ** 2).sum(axis=1))
    assert (np.abs(run.proposal.mean[0] - expected) < 5.0 * error).all()
    assert (error < 0.02).all(), "the standard error is too large to prove anything"


def weigh(merits: np.ndarray, share: float) -> tuple[np.ndarray, float]:
    """Weights of merits, and the effective number that the kernel reports."""
    functions = start(pushed_pendulum()).engine.functions
    population = sampling.make_population(len(merits), 1, LANES)
    population.merits[:] = np.inf
    population.merits.flat[: len(merits)] = merits
    effective = weighting.weigh_by_effective_number(functions, population, share, np.zeros(1))
    return population.weights.ravel()[: len(merits)], effective


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_adaptive_temperature_makes_the_asked_share_effective(scale: float) -> None:
    """The effective number is the asked one within 1 % at any scale and with outliers; infinite merits weigh zero."""
    merits = scale * np.random.default_rng(0).exponential(size=500)
    merits[0], merits[1:51] = 1e30 * scale, np.inf
    weights, effective = weigh(merits, 0.1)
    assert weights.sum() == pytest.approx(1.0, abs=1e-13)
    assert 1.0 / (weights**2).sum() == pytest.approx(effective, rel=1e-12)
    assert effective == pytest.approx(45.0, rel=0.0101)
    assert not weights[1:51].any()
    assert (np.diff(weights[np.argsort(merits)]) <= 0.0).all()


def test_equal_merits_weigh_the_same_and_no_finite_merit_is_told() -> None:
    """A flat cost gives the plain mean; without any finite merit the effective number is zero."""
    weights, effective = weigh(np.full(100, 7.0), 0.1)
    assert np.array_equal(weights, np.full(100, weights[0]))
    assert effective == pytest.approx(100.0)
    assert weigh(np.full(100, np.inf), 0.1)[1] == 0.0


def allocations(samples: int) -> int:
    """Memory requests to Numba's runtime in a second iteration."""
    run = start(pushed_pendulum(), samples=samples)
    run.advance()
    numba_runtime.memsys_enable_stats()
    try:
        before = rtsys.get_allocation_stats()
        run.advance()
        return rtsys.get_allocation_stats().mi_alloc - before.mi_alloc
    finally:
        numba_runtime.memsys_disable_stats()


def test_an_iteration_allocates_nothing() -> None:
    """Not one request of Numba's allocator, for few samples and for many."""
    assert allocations(10_000) == allocations(100) == 0
