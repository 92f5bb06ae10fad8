"""What all sampling solvers share: bits, bounds, black boxes, chance, NaN, memory and settings."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

import trajopt as to
from tests.sampling_cases import METHODS, MOVING, begin, quadratic, regulator, swing
from trajopt.errors import InvalidProblem
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.solvers import CEM, CMAES, DIAL, ICEM, MPPI, PredictiveSampling, RandomShooting
from trajopt.solvers.sampling import CVaR, Mean, Memory, Risk, SamplingSolver, Worst
from trajopt.status import Status

VARIANTS = [
    *(method(samples=100, iterations=12) for method in METHODS),
    MPPI(samples=100, iterations=12, knots=6, order=3, quasi_random=True),
    CEM(samples=100, iterations=12, covariance="full", knots=5, order=1),
    MPPI(samples=100, iterations=12, increments=True, sigma=0.1, noise_exponent=1.0),
]


@pytest.mark.parametrize("solver", VARIANTS, ids=str)
def test_bits_bounds_and_progress(solver: SamplingSolver) -> None:
    """Any number of threads gives the same bits; controls obey their bounds; the answer is no worse than the guess."""
    problem = swing()
    one, other = (to.solve(problem, replace(solver, threads=threads)) for threads in (1, 3))
    assert np.array_equal(one.trajectory.u, other.trajectory.u)
    assert one.cost == other.cost
    assert np.abs(one.u).max() <= 1.0
    assert np.isfinite(one.x).all()
    assert one.history[-1].violation < one.history[0].violation


@pytest.mark.parametrize("method", MOVING)
def test_the_regulator_comes_down_to_its_optimum(method: type[SamplingSolver]) -> None:
    """Solved means within 1 % of Riccati's value, and never below it; iCEM needs more samples and fewer low notes."""
    problem = replace(regulator(), stage_cost=lambda x, u: 0.5 * (x @ x) + 0.5 * (u @ u))
    solver = ICEM(samples=256, elites=20, noise_exponent=0.5) if method is ICEM else method()
    solution = to.solve(problem, solver)
    assert solution.status is Status.SOLVED
    assert 1.4735613951494644 - 1e-12 <= solution.cost < 1.4735613951494644 * 1.01  # Riccati's value


@pytest.mark.parametrize("solver", VARIANTS, ids=str)
def test_black_boxes_are_valued_as_their_traced_twins(solver: SamplingSolver) -> None:
    """Both engines give the same samples the same merits, constraint rows and multipliers included, and best plans."""
    runs = [begin(replace(solver, threads=1), swing(black_box=black)) for black in (False, True)]
    generator = np.random.default_rng(1)
    path, end = (generator.normal(size=part.shape) for part in runs[0].engine.penalty[:2])
    for run in runs:
        run.engine.penalty.path[:], run.engine.penalty.end[:] = path, end
        run.sample()
    traced, black = runs
    finite = np.isfinite(traced.population.merits)
    assert np.array_equal(traced.population.parameters, black.population.parameters)
    assert np.array_equal(finite, np.isfinite(black.population.merits))
    # Twenty stable steps of some ten roundings each.
    np.testing.assert_allclose(black.population.merits[finite], traced.population.merits[finite], rtol=1e-12)
    plan = np.linspace(-1.0, 1.5, 20)[:, None]
    values = [run.engine.value(plan, run.candidate) for run in runs]
    np.testing.assert_allclose(values[1], values[0], rtol=1e-12)
    for one, other in zip(traced.candidate, black.candidate, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("method", MOVING)
def test_black_boxes_are_solved(method: type[SamplingSolver]) -> None:
    """To the target and within the constraints, by `solve`, which the certificate confirms."""
    solution = to.solve(swing(black_box=True), method(samples=128))
    assert solution.status is Status.SOLVED
    assert solution.history[-1].violation <= 1e-2
    assert solution.certificate.defect < 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_nothing_to_choose(method: type[SamplingSolver]) -> None:
    """Without controls there is one plan: its cost comes back."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: 0.5 * x, nx=1, nu=0),
        stage_cost=lambda x, u: x @ x,
        initial_state=[4.0],
        horizon=to.Horizon(steps=3),
    )
    assert to.solve(problem, method(samples=16, iterations=3)).cost == 16.0 + 4.0 + 1.0


@pytest.mark.parametrize("solver", VARIANTS, ids=str)
def test_a_control_without_room(solver: SamplingSolver) -> None:
    """A control whose bounds meet stays there, and the other one is planned."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u[0] + u[1], nx=1, nu=2),
        stage_cost=lambda x, u: (x[0] - 1.0) ** 2,
        initial_state=[0.0],
        constraints=[to.Bounds(control=([-1.0, 0.25], [1.0, 0.25]))],
        horizon=to.Horizon(steps=8),
    )
    solution = to.solve(problem, solver)
    assert (solution.u[:, 1] == 0.25).all()
    assert np.isfinite(solution.u).all()
    assert solution.cost < solution.history[0].cost


def test_black_boxes_need_no_choice() -> None:
    """`solve` without a solver takes a sampler for what cannot be traced."""
    solution = to.solve(swing(black_box=True))
    assert solution.success
    assert solution.solver.startswith("MPPI(")


def gamble(spread: float = 1.0) -> to.Problem:
    """To 1 in one step, with an error as large as the step: the bold miss, the timid stay short."""
    return to.Problem(
        to.BlackBoxDynamics(lambda x, u, rng: u * (1.0 + spread * rng.standard_normal(u.shape)), nx=1, nu=1),
        terminal_cost=lambda x: (x[0] - 1.0) ** 2,
        initial_state=[0.0],
        horizon=to.Horizon(steps=1),
    )


@pytest.mark.parametrize("method", MOVING)
@pytest.mark.parametrize("common", [False, True])
def test_the_plan_of_least_mean_cost(method: type[SamplingSolver], common: bool) -> None:
    """Over P particles the best step is sum(g) / sum(g^2), g = 1 + noise: the answer is that of the solver's particles.

    The answer is judged on the random numbers of stream (seed, 0); near its minimum the mean cost is quadratic, so that
    it is within a percent where the plan is within a tenth of its own scale.
    """
    particles = 64
    gains = 1.0 + np.random.default_rng([0, 0]).standard_normal((particles, 1))
    best = gains.sum() / (gains**2).sum()
    least = ((best * gains - 1.0) ** 2).mean()
    settings = {"particles": particles, "samples": 64, "sigma": 1.0, "common_random_numbers": common}
    solution = to.solve(gamble(), method(**settings, iterations=20))  # type: ignore[arg-type]
    assert least * (1.0 - 1e-12) <= solution.cost < 1.01 * least
    assert solution.u[0, 0] == pytest.approx(best, abs=0.1)
    assert solution.x[1, 0] == solution.u[0, 0] * gains[0, 0], "the states are those of the first particle"


def test_caution_grows_with_risk() -> None:
    """The more the bad outcomes count, the shorter the step and the larger the value."""
    found = [
        to.solve(gamble(), CEM(risk=risk, particles=64, samples=128, sigma=1.0, iterations=40))
        for risk in (Mean(), CVaR(0.3), Worst())
    ]
    assert all(one.u[0, 0] > other.u[0, 0] for one, other in pairwise(found))
    assert all(one.cost < other.cost for one, other in pairwise(found))


def test_certain_particles_are_one() -> None:
    """Random dynamics without noise give the answer of the same dynamics without particles, to the bit."""
    certain = replace(gamble(), dynamics=to.BlackBoxDynamics(lambda x, u: u + 0.0, nx=1, nu=1))
    one, other = (to.solve(p, CEM(samples=64, particles=4, iterations=9)) for p in (gamble(0.0), certain))
    assert np.array_equal(one.trajectory.u, other.trajectory.u)


def test_models_of_a_wrong_shape_are_told() -> None:
    """A step that is right for one row and wrong for many is refused in a sentence."""
    dynamics = to.BlackBoxDynamics(lambda x, u: x[:1] + u[:1], nx=1, nu=1)
    with pytest.raises(InvalidProblem, match=r"shape \(1, 1\)"):
        to.solve(replace(gamble(), dynamics=dynamics), CEM(samples=16, iterations=2))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("black_box", [False, True])
def test_rollouts_that_are_not_finite_never_win(method: type[SamplingSolver], black_box: bool) -> None:
    """The cost falls towards 1 and is NaN beyond: every proposal stays finite, and so does the answer."""
    dynamics = (
        to.BlackBoxDynamics(lambda x, u: np.sqrt(1.0 - u), nx=1, nu=1)
        if black_box
        else to.DiscreteDynamics(lambda x, u: np.sqrt(1.0 - u), nx=1, nu=1)
    )
    problem = to.Problem(
        dynamics,
        terminal_cost=lambda x: x[0],
        initial_state=[0.0],
        horizon=to.Horizon(steps=1),
    )
    run = begin(method(samples=64, sigma=1.0), problem)
    run.step()
    for _ in range(5):
        run.step()
        assert np.isfinite(run.proposal.mean).all()
        assert np.isfinite(run.proposal.deviation).all()
    assert 0.0 <= run.best_cost < 0.5
    assert run.best.u[0, 0] <= 1.0


def test_samples_that_are_not_finite_are_counted() -> None:
    """The message tells how many samples were lost, and says nothing where none was."""
    problem = to.Problem(
        to.BlackBoxDynamics(lambda x, u: np.where(u < 0.0, np.nan, u), nx=1, nu=1),
        terminal_cost=lambda x: (x[0] - 1.0) ** 2,
        initial_state=[0.0],
        horizon=to.Horizon(steps=1),
    )
    solver = MPPI(samples=50, iterations=1, sigma=1.0)
    run = begin(solver, problem)
    run.sample()
    lost = int((np.hstack(list(run.population.parameters[:, 0])) < 0.0)[:50].sum())
    assert f"{lost} of 50 samples" in to.solve(problem, solver).message
    assert "not finite" not in to.solve(swing(), solver).message


def test_no_finite_sample_is_survived_or_told() -> None:
    """A model that returns NaN for all but the guess ends as a numerical failure with the guess's plan."""
    dynamics = to.BlackBoxDynamics(lambda x, u: np.where(u == 0.0, u, np.nan), nx=1, nu=1)
    solution = to.solve(replace(gamble(), dynamics=dynamics), CEM(samples=32))
    assert solution.status is Status.NUMERICAL_FAILURE
    assert np.isfinite(solution.x).all()


def test_predictive_sampling_never_steps_back() -> None:
    """The plan is among its own candidates, so its merit does not rise, but for rounding between the two simulators."""
    run = begin(PredictiveSampling(samples=32), swing())
    merits = []
    for _ in range(40):
        run.advance()
        merits.append(run.consider(run.proposal.mean))
    assert (np.diff(merits) <= 1e-12 * np.abs(merits[1:])).all()
    assert merits[-1] < merits[0]


def test_random_shooting_learns_nothing() -> None:
    """The proposal stays where it was, and the end is a dead end, not a success."""
    run = begin(RandomShooting(samples=64), swing())
    before = run.proposal.mean.copy()
    run.advance()
    assert np.array_equal(run.proposal.mean, before)
    assert to.solve(swing(), RandomShooting(samples=64)).status is Status.STALLED


def go_on(solver: SamplingSolver, problem: to.Problem, times: int) -> tuple[np.ndarray, np.ndarray]:
    """Plan and proposal after several solves of one iteration, each from the memory of the one before."""
    guess, memory = make_guess(problem, None), None
    for _ in range(times):
        outcome = solver.resume(problem, guess, Monitor(), memory)
        guess, memory = outcome.trajectory, outcome.memory
    assert isinstance(memory, Memory)
    return guess.u, memory.mean


@pytest.mark.parametrize("solver", [s for s in VARIANTS if not isinstance(s, ICEM)], ids=str)
def test_one_solve_of_three_iterations_is_three_of_one(solver: SamplingSolver) -> None:
    """The memory holds all there is: the same plan and proposal to the bit (iCEM's last iteration is a special one)."""
    problem = swing()
    once = go_on(replace(solver, iterations=3), problem, 1)
    thrice = go_on(replace(solver, iterations=1), problem, 3)
    assert np.array_equal(once[0], thrice[0])
    assert np.array_equal(once[1], thrice[1])


@pytest.mark.parametrize("solver", [MPPI(samples=64), ICEM(), MPPI(samples=64, knots=5, order=3)], ids=str)
def test_memory_moves_forwards(solver: SamplingSolver) -> None:
    """A shift moves mean and elites, repeats the last control, draws new numbers, and starts the noise anew."""
    problem = swing()
    solver = replace(solver, iterations=2)
    outcome = solver.resume(problem, make_guess(problem, None), Monitor(), None)
    memory = outcome.memory
    assert isinstance(memory, Memory)
    moved = memory.shift(1)
    if not memory.basis.size:
        assert np.array_equal(moved.mean, np.vstack([memory.mean[1:], memory.mean[-1:]]))
    assert moved.elites.shape == memory.elites.shape
    assert np.array_equal(moved.penalty.path[:-1], memory.penalty.path[1:])
    assert moved.iteration == 2
    assert memory.shift(0) is memory
    follower = solver.resume(problem, outcome.trajectory, Monitor(), moved)
    assert np.isfinite(follower.cost)
    if isinstance(solver, ICEM):
        assert len(moved.elites) == 3


def test_multipliers_are_remembered() -> None:
    """A tick of one iteration after a whole solve still knows what the constraints cost."""
    problem, solver = swing(), MPPI(samples=128)
    whole = solver.run(problem, make_guess(problem, None), Monitor())
    assert isinstance(whole.memory, Memory)
    assert whole.memory.penalty.weight[0] > solver.initial_penalty
    assert whole.memory.penalty.end.any()
    tick = replace(solver, iterations=1).resume(problem, whole.trajectory, Monitor(), whole.memory)
    assert isinstance(tick.memory, Memory)
    assert np.array_equal(tick.memory.penalty.end, whole.memory.penalty.end)
    monitor = Monitor()
    replace(solver, iterations=1).resume(problem, whole.trajectory, monitor, whole.memory.shift(1))
    assert monitor.history[-1].violation <= solver.constraint_tolerance


def test_memory_of_another_problem_is_left_alone() -> None:
    """Plans of another size are of no use, and do no harm."""
    solver = CEM(samples=32, iterations=2)
    memory = solver.run(regulator(), make_guess(regulator(), None), Monitor()).memory
    problem = swing()
    fresh, other = (solver.resume(problem, make_guess(problem, None), Monitor(), m) for m in (None, memory))
    assert np.array_equal(fresh.trajectory.u, other.trajectory.u)


def test_elites_of_an_earlier_solve_are_tried_first() -> None:
    """iCEM finds in its first iteration what it remembers, though no noise leads there."""
    problem = quadratic([[2.0]], [-20.0], [0.0])  # the best is at 10
    solver = ICEM(sigma=0.01, iterations=1)
    outcome = solver.run(problem, make_guess(problem, None), Monitor())
    assert isinstance(outcome.memory, Memory)
    memory = replace(outcome.memory, elites=np.array([[9.0]]), noise=None)
    found = solver.resume(problem, make_guess(problem, None), Monitor(), memory)
    assert found.trajectory.u[0, 0] == 9.0


def test_increments_keep_plans_smooth() -> None:
    """The same noise on the changes of a plan gives samples whose changes are all of that size, bounds apart."""
    run = begin(MPPI(samples=200, increments=True, sigma=0.05), swing())
    run.sample()
    changes = np.hstack(list(run.population.parameters[:, :20]))[:, :200]
    assert changes.std() == pytest.approx(0.05, rel=0.05)
    solution = to.solve(swing(), MPPI(increments=True, sigma=0.05))
    assert solution.success
    assert np.abs(np.diff(solution.u[:-1, 0])).max() < 0.5


@pytest.mark.parametrize(
    ("make", "settings", "word"),
    [
        (CEM, {"elites": 1}, "elites=1"),
        (CEM, {"elites": 2000}, "elites=2000"),
        (CEM, {"momentum": 1.0}, "momentum=1.0"),
        (CEM, {"covariance": "round"}, "covariance='round'"),
        (CEM, {"covariance": "full", "noise_exponent": 1.0}, "noise_exponent=1.0"),
        (ICEM, {"decay": 0.9}, "decay=0.9"),
        (ICEM, {"reuse": 1.1}, "reuse=1.1"),
        (DIAL, {"annealing": 0}, "annealing=0"),
        (DIAL, {"knot_factor": 0.0}, "knot_factor=0.0"),
        (CMAES, {"noise_exponent": 2.0}, "noise_exponent=2.0"),
        (CMAES, {"samples": 3}, "samples=3"),
        (MPPI, {"control_cost": 0.5}, "control_cost=0.5"),
        (MPPI, {"control_cost": 2.0, "temperature": 1.0}, "control_cost=2.0"),
        (MPPI, {"knots": 1}, "knots=1"),
        (MPPI, {"order": 2}, "order=2"),
        (MPPI, {"noise_exponent": -1.0}, "noise_exponent=-1.0"),
        (MPPI, {"increments": True, "knots": 5}, "increments=True"),
        (MPPI, {"particles": 0}, "particles=0"),
        (MPPI, {"risk": Risk}, "risk="),
    ],
)
def test_bad_settings_get_a_sentence(make: type[SamplingSolver], settings: dict[str, object], word: str) -> None:
    """Each wrong setting is refused at construction by name, value and what was expected."""
    with pytest.raises(InvalidProblem) as caught:
        make(**settings)  # type: ignore[arg-type]
    assert word in str(caught.value)
    assert "was expected" in str(caught.value)


@pytest.mark.parametrize(
    "solver", [MPPI(samples=256, iterations=1), ICEM(iterations=3), DIAL(samples=128, iterations=2)], ids=str
)
def test_a_receding_horizon(solver: SamplingSolver) -> None:
    """With a few iterations a tick, the memory moved forwards brings a pendulum to its target and keeps it there.

    From the fortieth tick on it stays in the usual band of settling, 5 % of the way.
    """
    target = 0.8

    def step(x, u):
        return np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * (u[0] - np.sin(x[0]))])

    problem = to.Problem(
        to.DiscreteDynamics(step, nx=2, nu=1),
        stage_cost=lambda x, u: (x[0] - target) ** 2 + 0.1 * x[1] ** 2 + 0.01 * (u[0] - np.sin(target)) ** 2,
        terminal_cost=lambda x: 10.0 * (x[0] - target) ** 2 + x[1] ** 2,
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(-2.0, 2.0))],
        horizon=to.Horizon(steps=20),
    )
    state, memory, guess, distances = np.zeros(2), None, make_guess(problem, None), []
    for _ in range(60):
        outcome = solver.resume(problem.at(initial_state=state), guess, Monitor(), memory)
        assert outcome.memory is not None
        state = step(state, outcome.trajectory.u[0])
        moved = np.vstack([outcome.trajectory.u[1:], outcome.trajectory.u[-1:]])
        guess, memory = replace(outcome.trajectory, u=moved), outcome.memory.shift(1)
        distances.append(abs(state[0] - target))
    assert max(distances[40:]) < 0.05 * target
