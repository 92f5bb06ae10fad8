"""What runs in Numba's CUDA simulator: `test_cuda` runs these tests in a process of their own.

Whether CUDA is simulated is settled when Numba is imported, so these tests cannot share a process with others.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import trajopt as to
from bench import cuda as drive_bench
from tests.sampling_cases import begin
from trajopt.errors import InvalidProblem, TrajoptError, UnsupportedProblem
from trajopt.guess import make_guess
from trajopt.lowering import cuda
from trajopt.solvers import DIAL, ICEM, MPPI
from trajopt.solvers.cuda_rollouts import CudaRollouts
from trajopt.solvers.kernels import sampling
from trajopt.solvers.kernels import weights as weighting
from trajopt.solvers.sampling import SamplingSolver
from trajopt.solvers.sampling.search import Search
from trajopt.transcription.stages import Stages, compile_stages

# Infinities and NaN come about on purpose; a GPU does not warn of them, and NumPy, which stands in for it, does.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

# The simulator's threads wait for each other all the time; Python's default of 5 ms would be most of that time.
sys.setswitchinterval(1e-5)

SAMPLES = 22  # no multiple of a block, nor of the processor's lanes
THREADS = (8, 4)


def pushed_pendulum(steps: int = 6) -> to.Problem:
    """An upright pendulum with violated path, state and terminal constraints, parameters and time-varying cost."""
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
        horizon=to.Horizon(1.0, steps=steps),
    )


PROBLEM = pushed_pendulum()


def two_controls(steps: int = 5) -> to.Problem:
    """Discrete, without constraints or bounds."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + 0.1 * u[0], np.tanh(x[1] + u[1])]), nx=2, nu=2),
        stage_cost=lambda x, u: np.where(x[0] > 0.1, x[0], 0.0) + 0.1 * (u @ u),
        terminal_cost=lambda x: np.maximum(np.abs(x[0] - 1.0), x[1] ** 2),
        initial_state=[0.0, 0.5],
        horizon=to.Horizon(steps=steps),
    )


TWO = two_controls()


def start(problem: to.Problem, **settings: object) -> Search:
    """The planner on the processor, with the constraints' multipliers at random."""
    solver = MPPI(**{"threads": 1, "samples": SAMPLES, "sigma": 0.7} | settings)  # type: ignore[arg-type]
    run = Search(solver, problem, make_guess(problem, None))
    generator = np.random.default_rng(1)
    run.engine.penalty.path[:] = generator.normal(size=run.engine.penalty.path.shape)
    run.engine.penalty.end[:] = generator.normal(size=run.engine.penalty.end.shape)
    run.engine.penalty.weight[0] = 3.0
    return run


def stages_of(problem: to.Problem) -> Stages:
    return compile_stages(problem, "rk4", second_order=None)


def open_rollouts(problem: to.Problem, run: Search, **settings: object) -> CudaRollouts:
    """The same on the device."""
    samples = run.population.samples
    rollouts = CudaRollouts(problem, stages_of(problem), run.engine.data, samples, **{"threads": THREADS} | settings)  # type: ignore[arg-type]
    rollouts.write_proposal(run.proposal.mean, run.proposal.deviation)
    rollouts.write_penalty(run.engine.penalty)
    return rollouts


def sample_on_processor(run: Search, iteration: int = 0) -> None:
    blocks = len(run.population.merits)
    sampling.sample_blocks(
        run.engine.functions,
        run.engine.data,
        run.proposal,
        run.engine.penalty,
        run.population,
        0,
        blocks,
        iteration,
        run.engine.work[0],
    )


def read_samples(rollouts: CudaRollouts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parameters (rows, samples), merits and weights (samples)."""
    samples, rows = rollouts.samples, rollouts.read().mean.size
    population = sampling.make_population(samples, rows, 8)
    weights = np.empty_like(population.merits)
    parameters, merits = population.parameters, population.merits
    rollouts.read_parameters(parameters)
    rollouts.read_merits(merits)
    rollouts.read_weights(weights)
    assert np.isinf(merits.ravel()[samples:]).all()
    return np.hstack(list(parameters))[:rows, :samples], merits.ravel()[:samples], weights.ravel()[:samples]


def weigh_on_processor(run: Search, temperature: float, share: float) -> float:
    if share > 0.0:
        return weighting.weigh_by_effective_number(run.engine.functions, run.population, share, np.zeros(1))
    return weighting.weigh_by_temperature(run.engine.functions, run.population, temperature, np.zeros(1))


# A rollout of 6 steps has about 1,000 roundings, whose random errors add up to 32 of them, and errors grow by
# exp(sqrt(9.81)) = 23 over the second, those of the middle by 5: 8e-14 in double precision, 1e-5 in single precision.
TOLERANCES = {"float64": 1e-12, "float32": 1e-5}


@pytest.mark.parametrize(("temperature", "share"), [(2.0, 0.0), (1.0, 0.3)], ids=["temperature", "share"])
@pytest.mark.parametrize("precision", TOLERANCES)
@pytest.mark.parametrize("problem", [PROBLEM, TWO], ids=["pendulum", "discrete"])
def test_three_ticks_agree_with_the_processor(
    problem: to.Problem, precision: str, temperature: float, share: float
) -> None:
    """Samples, merits, weights, their effective number and the mean are those of the CPU's kernels, tick after tick."""
    run, tolerance = start(problem), TOLERANCES[precision]
    rollouts = open_rollouts(problem, run, precision=precision)
    steps, nu = run.proposal.mean.shape
    for iteration in range(3):
        sample_on_processor(run, iteration)
        effective = weigh_on_processor(run, temperature, share)
        weighting.weighted_mean(run.population, np.zeros(run.population.parameters.shape[1:]), run.proposal.mean)
        rollouts.sample(iteration)
        rollouts.weigh(temperature=temperature, share=share)
        rollouts.average()
        answer = rollouts.read()
        parameters, merits, weights = read_samples(rollouts)
        expected = np.hstack(list(run.population.parameters))[: steps * nu, :SAMPLES]
        np.testing.assert_allclose(parameters, expected, rtol=0.0, atol=tolerance)
        # Squares of multipliers, which are about 1, are added and taken off again: errors are relative to 1 as well.
        np.testing.assert_allclose(merits, run.population.merits.ravel()[:SAMPLES], rtol=tolerance, atol=tolerance)
        # exp turns an absolute error of S / temperature into a relative one of the weight.
        spread = np.abs(merits).max() * tolerance / (temperature if share == 0.0 else 0.01)
        np.testing.assert_allclose(weights, run.population.weights.ravel()[:SAMPLES], rtol=0.0, atol=spread)
        assert answer.effective == pytest.approx(effective, rel=SAMPLES * spread)
        assert (answer.finite, answer.best) == (SAMPLES, merits.argmin())
        assert answer.least == merits.min()
        np.testing.assert_allclose(answer.mean, run.proposal.mean, rtol=0.0, atol=SAMPLES * spread)


def test_coloured_noise_knots_and_given_plans_mean_what_they_say() -> None:
    """theta = clip(mean + deviation F z), given plans at the end, and controls clip(B theta), each simulated alone."""
    run = start(PROBLEM, sigma=1.0)
    generator = np.random.default_rng(2)
    knots, nu = 4, 1
    basis, colour = generator.uniform(size=(6, knots)), generator.normal(size=(nu, knots, knots))
    mean, deviation = generator.normal(size=(knots, nu)), generator.uniform(0.5, 1.0, size=(knots, nu))
    bounds = np.array([-1.5]), np.array([1.0])
    rollouts = open_rollouts_with_knots(run, basis, colour, bounds)
    rollouts.write_proposal(mean, deviation)
    plans = generator.normal(size=(2, knots * nu))
    rollouts.write_given(plans)
    rollouts.sample(0)
    parameters, merits, _ = read_samples(rollouts)
    white = open_rollouts_with_knots(run, basis, np.eye(knots)[None], (np.full(1, -np.inf), np.full(1, np.inf)))
    white.sample(0)
    noise = read_samples(white)[0]
    expected = np.clip(mean + deviation * (colour[0] @ noise), *bounds)
    expected[:, -2:] = plans.T
    np.testing.assert_allclose(parameters, expected, rtol=0.0, atol=1e-13)
    for sample in range(SAMPLES):
        _, merit = run.engine.value(np.clip(basis @ expected[:, sample], -2.0, 2.0)[:, None], run.candidate)
        assert merits[sample] == pytest.approx(merit, rel=1e-12)


def open_rollouts_with_knots(run: Search, basis: np.ndarray, colour: np.ndarray, bounds: tuple) -> CudaRollouts:
    rollouts = CudaRollouts(
        PROBLEM, stages_of(PROBLEM), run.engine.data, SAMPLES, basis=basis, noise_filter=colour, given=2, bounds=bounds,
        threads=THREADS,
    )  # fmt: skip
    rollouts.write_penalty(run.engine.penalty)
    return rollouts


@pytest.mark.parametrize("broken", ["NaN", "infinity"])
def test_rollouts_that_are_not_finite_weigh_nothing(broken: str) -> None:
    """A state is NaN or infinite at the first step with u < 0, no cost sees it, and the next state is finite."""
    value = np.sqrt if broken == "NaN" else (lambda u: 1.0 / np.maximum(u, 0.0))
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + u[0], value(u[0])]), nx=2, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(steps=3),
        guess=(np.arange(4.0), np.zeros((4, 2)), np.ones((3, 1))),
    )
    rollouts = open_rollouts(problem, start(problem, sigma=1.0))
    rollouts.sample(0)
    rollouts.weigh(temperature=1.0)
    parameters, merits, weights = read_samples(rollouts)
    negative = (parameters < 0.0).any(axis=0)
    assert 0.1 < negative.mean() < 0.9
    assert np.array_equal(np.isinf(merits), negative)
    assert np.array_equal(weights == 0.0, negative)
    assert weights.sum() == pytest.approx(1.0, abs=1e-14)
    assert rollouts.read().finite == (~negative).sum()


def test_without_a_finite_rollout_the_mean_stays() -> None:
    """The effective number is zero, and neither average nor best sample moves the plan."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        stage_cost=lambda x, u: np.sqrt(-1.0 - u[0] ** 2),
        initial_state=[0.0],
        horizon=to.Horizon(steps=2),
    )
    rollouts = open_rollouts(problem, start(problem))
    rollouts.write_proposal(np.array([[0.25], [0.5]]), np.ones((2, 1)))
    rollouts.sample(0)
    for update in (rollouts.average, rollouts.take_best):
        rollouts.weigh(share=0.5)
        update()
        answer = rollouts.read()
        assert (answer.effective, answer.finite, answer.least) == (0.0, 0, math.inf)
        assert answer.mean.tolist() == [[0.25], [0.5]]


@pytest.mark.parametrize("precision", TOLERANCES)
def test_bounds_hold_exactly(precision: str) -> None:
    """Samples and mean are within bounds that single precision would round outwards, and samples reach them."""
    lower, upper = -0.1, 0.1
    assert float(np.float32(lower)) < lower
    assert float(np.float32(upper)) > upper
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        terminal_cost=lambda x: -100.0 * x[0],
        initial_state=[0.0],
        constraints=[to.Bounds(control=(lower, upper))],
        horizon=to.Horizon(steps=3),
    )
    rollouts = open_rollouts(problem, start(problem, sigma=5.0), precision=precision)
    rollouts.sample(0)
    rollouts.weigh(temperature=1e-3)
    rollouts.average()
    parameters = read_samples(rollouts)[0]
    assert lower <= parameters.min() <= lower + 1e-7
    assert upper - 1e-7 <= parameters.max() <= upper
    assert (rollouts.read().mean <= upper).all()


def test_the_best_sample_becomes_the_mean() -> None:
    """`take_best` copies the sample of least merit to the bit."""
    rollouts = open_rollouts(PROBLEM, start(PROBLEM))
    rollouts.sample(0)
    rollouts.weigh(temperature=1.0)
    rollouts.take_best()
    parameters, merits, _ = read_samples(rollouts)
    assert np.array_equal(rollouts.read().mean.ravel(), parameters[:, merits.argmin()])


def tick(run: Search, iteration: int = 0, **settings: object) -> np.ndarray:
    rollouts = open_rollouts(TWO, run, **settings)
    rollouts.sample(iteration)
    rollouts.weigh(share=0.5)
    rollouts.average()
    return rollouts.read().mean.copy()


def test_same_seed_same_bits() -> None:
    """A tick repeats to the bit, in any blocks of rollouts; seed, its upper half and the iteration all matter."""
    problem = TWO
    mean = tick(start(problem))
    assert np.array_equal(mean, tick(start(problem)))
    assert np.array_equal(mean, tick(start(problem), threads=(16, THREADS[1])))
    np.testing.assert_allclose(mean, tick(start(problem), threads=(8, 16)), rtol=0.0, atol=1e-14)
    others = [tick(start(problem, seed=1)), tick(start(problem, seed=2**32)), tick(start(problem), iteration=1)]
    assert all(np.abs(other - mean).max() > 1e-3 for other in others)


def test_ticks_allocate_nothing_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a session is open, ticks with new states, proposals, plans and penalties use its buffers alone."""
    run = start(PROBLEM)
    rollouts = open_rollouts(PROBLEM, run, given=1)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a tick allocated memory on the device")

    for name in ("to_device", "device_array"):
        monkeypatch.setattr(cuda.cuda, name, refuse)
    rollouts.write_state(np.array([0.3, 0.0]))
    rollouts.write_proposal(run.proposal.mean, run.proposal.deviation)
    rollouts.write_given(run.proposal.mean.reshape(1, -1))
    rollouts.write_penalty(run.engine.penalty)
    rollouts.sample(0)
    rollouts.weigh(temperature=1.0)
    rollouts.average()
    assert np.isfinite(rollouts.read().mean).all()


def test_other_numbers_of_a_problem_are_those_of_a_new_session() -> None:
    """`write_data` and `write_state` give what a session that began with these numbers gives."""
    run = start(PROBLEM)
    rollouts = open_rollouts(PROBLEM, run)
    data = run.engine.data._replace(initial_state=np.array([0.4, 0.1]), parameters=np.array([3.0]))
    rollouts.write_data(data)
    rollouts.sample(0)
    fresh = CudaRollouts(
        PROBLEM, stages_of(PROBLEM), data._replace(initial_state=np.zeros(2)), SAMPLES, threads=THREADS
    )
    fresh.write_proposal(run.proposal.mean, run.proposal.deviation)
    fresh.write_penalty(run.engine.penalty)
    fresh.write_state(np.array([0.4, 0.1]))
    fresh.sample(0)
    assert np.array_equal(read_samples(rollouts)[1], read_samples(fresh)[1])


def test_what_the_device_cannot_do_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unknown precision, and an expression that is too large."""
    problem = TWO
    run = start(problem)
    with pytest.raises(InvalidProblem, match=r'precision=.half. was given, but "float64" or "float32"'):
        open_rollouts(problem, run, precision="half")
    monkeypatch.setattr(cuda, "LARGEST_EXPRESSION", 5)
    with pytest.raises(TrajoptError, match='operations, but a GPU function can have 5; give device="cpu"'):
        open_rollouts(problem, run)


def test_the_simulator_counts_as_available() -> None:
    """`available` and `check_device` let it run."""
    assert cuda.available()
    assert cuda.SIMULATED
    cuda.check_device()


def test_the_benchmark_measures_the_task_of_the_processor() -> None:
    """The differential drive on its cost map has the CPU's merits, near obstacles too."""
    problem = replace(drive_bench.differential_drive(steps=8), initial_state=[3.9, 6.0, 0.0])
    rollouts, run = drive_bench.open_rollouts(problem, 8, "float64", threads=THREADS)
    drive_bench.launch(rollouts)
    sample_on_processor(run)
    merits = read_samples(rollouts)[1]
    np.testing.assert_allclose(merits, run.population.merits.ravel()[:8], rtol=1e-12)
    here, there = drive_bench.running_cost(np.array([3.99, 6.2, 0.0]), None), np.hypot(6.01, 3.8) * 5.0
    # Just outside the square, 0.4 of a cell's slope down: 0.4 * 250 high.
    assert here - there == pytest.approx(20.0 * (0.1 - np.log(253.0 / 100.0) / 10.0), rel=1e-9)


@pytest.mark.parametrize(
    "solver", [MPPI(samples=12, iterations=2), ICEM(samples=12, elites=4, iterations=2, knots=3, noise_exponent=1.0)]
)
@pytest.mark.parametrize(("precision", "room"), [("float64", 1e-9), ("float32", 1e-5)])
def test_solvers_find_the_same_on_both_devices(solver: to.Solver, precision: str, room: float) -> None:
    """Two iterations of a method of given plans, knots and coloured noise, and of MPPI, end in the same plan.

    In single precision noise is rounded before it is transformed, on the processor behind that.
    """
    solver = replace(solver, precision=precision)
    here, there = (to.solve(PROBLEM, replace(solver, device=device)) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there.u, here.u, rtol=0.0, atol=room)
    assert there.cost == pytest.approx(here.cost, rel=room)
    assert here.u.any()


@pytest.mark.parametrize(
    ("solver", "stays"),
    [
        (MPPI(precision="float32"), True),
        (DIAL(), True),
        (MPPI(temperature=1.0, control_cost=0.5), False),
        (ICEM(), False),
    ],
)
def test_samples_stay_on_the_device_where_their_mean_is_all(
    solver: SamplingSolver, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick of a weighted mean copies its merits and four numbers with the mean to the host, to the byte."""
    run = begin(replace(solver, samples=SAMPLES, device="cuda"), TWO)
    run.consider(run.proposal.mean)
    run.advance()
    kind, copied = type(run.engine.last._population.merits), []
    copy = kind.copy_to_host

    def count(array: Any, *arguments: object) -> object:
        copied.append(array.size * array.dtype.itemsize)
        return copy(array, *arguments)

    monkeypatch.setattr(kind, "copy_to_host", count)
    run.advance()
    size = 4 if solver.precision == "float32" else 8
    samples, rows = run.population.samples, run.proposal.mean.size
    answer = [8 * (4 + rows)] if stays else [size * samples * rows]
    assert copied == [size * samples, *answer]


def test_a_black_box_is_not_ported() -> None:
    """Dynamics that step batches themselves are refused with a way out, and so are points that are not random."""
    problem = replace(TWO, dynamics=to.BlackBoxDynamics(lambda x, u: x + u, nx=2, nu=2))
    with pytest.raises(UnsupportedProblem, match='black-box dynamics step their batches themselves; give device="cpu"'):
        to.solve(problem, MPPI(device="cuda"))
    with pytest.raises(InvalidProblem, match='pseudo-random noise beside device="cuda"'):
        MPPI(device="cuda", quasi_random=True)
