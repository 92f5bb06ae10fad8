"""Solvers made of solvers: who starts where, what ends them, and what comes back."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from ilqr_cases import cartpole, pendulum

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.problem import Feature
from trajopt.solver import Outcome, Solver
from trajopt.solvers import DDP, ILQR, MPPI, Collocation
from trajopt.solvers.chain import Chain, MultiStart
from trajopt.solvers.perturbation import perturb
from trajopt.trajectory import Interpolation, Trajectory

SEARCH = MPPI(samples=64, iterations=30, threads=1)
STEPS = 100


def swing_up() -> to.Problem:
    """A cart-pole with a point mass, from hanging to upright in 5 s with |force| <= 5, one RK4 step an interval."""
    goal, h = np.array([0.0, np.pi, 0.0, 0.0]), 5.0 / STEPS

    def rate(x, u):
        s, c, w = np.sin(x[1]), np.cos(x[1]), x[3]
        mass = 1.0 + 0.2 * s**2
        cart = (u[0] + 0.2 * s * (0.5 * w**2 + 9.81 * c)) / mass
        pole = (-u[0] * c - 0.2 * 0.5 * w**2 * c * s - 1.2 * 9.81 * s) / (0.5 * mass)
        return np.array([x[2], w, cart, pole])

    def step(x, u):
        k1 = rate(x, u)
        k2 = rate(x + 0.5 * h * k1, u)
        k3 = rate(x + 0.5 * h * k2, u)
        return x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + rate(x + h * k3, u))

    line = np.linspace(0.0, 1.0, STEPS + 1)[:, None] * goal
    return to.Problem(
        to.DiscreteDynamics(step, nx=4, nu=1),
        stage_cost=lambda x, u: h * (0.01 * ((x - goal) @ (x - goal)) + 0.1 * u[0] ** 2),
        initial_state=np.zeros(4),
        constraints=[to.Bounds(control=(-5, 5)), to.TerminalConstraint(goal)],
        horizon=to.Horizon(steps=STEPS),
        guess=(np.arange(STEPS + 1.0), line, np.zeros((STEPS, 1))),
    )


@dataclass(frozen=True)
class Scripted(Solver):
    """Says what it is told to, and returns the guess with a control of its own."""

    status: to.Status = to.Status.SOLVED
    cost: float = 1.0
    violation: float = 0.0
    control: float = 1.0
    records: int = 1
    interrupt: bool = False
    seconds: float = 0.0  # of a record
    handles: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def run(self, problem, guess, monitor):
        if self.interrupt:
            raise KeyboardInterrupt
        status = self.status
        for _ in range(self.records):
            time.sleep(self.seconds)
            stop = monitor.observe(self.cost, self.violation)
            if stop is not None:
                status = stop
                break
        return Outcome(status, replace(guess, u=guess.u + self.control), self.cost, self.records)


@pytest.mark.parametrize("solver", [Chain(MPPI(), Collocation()), MultiStart(Collocation())], ids=str)
def test_a_search_leaves_the_poor_optimum_in_which_the_local_method_ends(solver):
    """Better than the best published for this swing-up (2.9738), where collocation alone stays above it."""
    problem = swing_up()
    alone, searched = to.solve(problem, Collocation()), to.solve(problem, solver)
    assert alone.cost > 2.9738 >= searched.cost
    assert searched.success
    assert searched.certified


def test_each_stage_starts_from_the_answer_of_the_one_before_it():
    """The chain is, to the bit, what two solves in a row give, and its message tells of both."""
    problem = cartpole()
    first = to.solve(problem, SEARCH)
    second = to.solve(problem, ILQR(), guess=first)
    chain = to.solve(problem, Chain(SEARCH, ILQR()))
    np.testing.assert_array_equal(chain.u, second.u)
    assert chain.cost == second.cost <= first.cost
    assert chain.iterations == first.iterations + second.iterations
    assert len(chain.history) == len(first.history) + len(second.history)
    assert [record.number for record in chain.history] == list(range(len(chain.history)))
    assert [record.cost for record in chain.history] == [r.cost for r in (*first.history, *second.history)]
    assert "MPPI: " in chain.message
    assert "ILQR: solved" in chain.message
    np.testing.assert_array_equal(chain.feedback, second.feedback)


def test_a_guess_of_another_kind_passes_between_stages():
    """Interpolated controls of collocation become held ones for iLQR; a convex problem ends where it would alone."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u[0] ** 2,
        initial_state=[2.0, 0.0],
        constraints=[to.Bounds(control=(-1, 1))],
        horizon=to.Horizon(4.0, steps=20),
    )
    alone, chain = (
        to.solve(problem, solver) for solver in ("collocation", Chain("collocation", "ilqr", "collocation"))
    )
    assert chain.success
    np.testing.assert_allclose(chain.x, alone.x, atol=1e-6)  # IPOPT's tolerance of 1e-8, times a modest condition


S, F = to.Status.SOLVED, to.Status.STALLED


@pytest.mark.parametrize(
    ("stages", "chosen", "status"),
    [
        ([Scripted(S, 1.0), Scripted(S, 2.0)], 2.0, S),  # the last one, even if it is dearer
        ([Scripted(F, 2.0), Scripted(S, 3.0), Scripted(F, 1.0)], 3.0, S),  # success before cost
        ([Scripted(F, 1.0, 0.5), Scripted(F, 2.0, 0.1)], 2.0, F),  # violation before cost
        ([Scripted(F, 1.0, 1e-9), Scripted(F, 2.0, 1e-12)], 1.0, F),  # both are feasible: cost
        ([Scripted(F, math.nan, 0.0), Scripted(F, 2.0, 0.1)], 2.0, F),  # NaN never wins
    ],
)
def test_the_outcome_is_the_last_stage_or_the_best_one(stages, chosen, status):
    """Success, violation and cost decide in this order, when the last stage fails."""
    solution = to.solve(pendulum(), Chain(*stages))
    assert (solution.cost, solution.status) == (chosen, status)


def test_an_answer_that_is_not_finite_is_no_guess_for_the_next_stage():
    """The next stage starts from the last sound trajectory."""
    solution = to.solve(pendulum(), Chain(Scripted(F, 5.0, control=np.nan), Scripted(S, 1.0)))
    np.testing.assert_array_equal(solution.u, 1.0)


def test_an_interruption_returns_the_best_so_far_and_starts_nothing_more():
    """Between stages and before the first one had anything."""
    solution = to.solve(pendulum(), Chain(Scripted(S, 1.0), Scripted(interrupt=True), Scripted(S, 0.5)))
    assert (solution.status, solution.cost) == (to.Status.INTERRUPTED, 1.0)
    assert solution.message.count("not started") == 2
    assert to.solve(pendulum(), Chain(Scripted(interrupt=True))).status is to.Status.INTERRUPTED
    starts = to.solve(pendulum(), MultiStart(Scripted(interrupt=True), threads=1))
    assert starts.status is to.Status.INTERRUPTED


def test_the_callback_stops_the_chain_in_any_stage():
    """It sees one history, and its word ends the second stage."""
    seen = []

    def stop_at_five(record):
        seen.append(record.number)
        return record.number == 5

    solution = to.solve(pendulum(), Chain(Scripted(records=4), Scripted(records=4, cost=2.0)), callback=stop_at_five)
    assert solution.status is to.Status.STOPPED
    assert seen[:6] == [0, 1, 2, 3, 4, 5]


def test_the_time_limit_is_that_of_the_whole():
    """A chain and a multi-start of slow solvers end soon after it with their best so far."""
    slow = Scripted(records=10**9, seconds=0.01)
    for solver in (Chain(slow, slow), MultiStart(slow, starts=100, threads=2)):
        begin = time.perf_counter()
        solution = to.solve(pendulum(), solver, max_time=0.3)
        assert solution.status is to.Status.TIME_LIMIT
        assert time.perf_counter() - begin < 5.0  # a record takes far less, but machines are busy
        assert np.isfinite(solution.cost)


@pytest.mark.parametrize("solver", [Chain(ILQR(), Collocation()), Chain(MultiStart(ILQR()), Collocation())])
def test_a_stage_that_cannot_is_named_before_anything_runs(solver):
    """The last stage handles a free duration, an earlier one does not."""
    problem = replace(cartpole(), horizon=to.Horizon(to.Free(1, 5), steps=20))
    records = []
    with pytest.raises(to.UnsupportedProblem, match=r"ILQR\(\), was given a problem with a free duration"):
        to.solve(problem, solver, callback=records.append)
    assert not records


def test_a_last_stage_that_cannot_is_refused_by_the_front_door():
    """What the chain handles is what its last stage handles."""
    assert Chain(Collocation(), ILQR()).handles == ILQR().handles
    assert MultiStart("mppi").handles == MPPI().handles
    with pytest.raises(to.UnsupportedProblem, match="a free duration"):
        to.solve(replace(cartpole(), horizon=to.Horizon(to.Free(1, 5), steps=20)), Chain(Collocation(), ILQR()))


@pytest.mark.parametrize("threads", [2, 5])
def test_the_number_of_threads_changes_nothing(threads):
    """Answer, iterations, message and history but for its clock are the same bits as with one thread."""
    problem = cartpole()
    one, many = (to.solve(problem, MultiStart(DDP(), starts=5, seed=3, threads=n)) for n in (1, threads))
    for name in ("x", "u", "feedback"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))
    assert (one.cost, one.iterations, one.message) == (many.cost, many.iterations, many.message)
    assert [replace(r, seconds=0.0) for r in one.history] == [replace(r, seconds=0.0) for r in many.history]


def test_several_starts_are_never_worse_than_the_first_and_more_never_worse_than_few():
    """The unchanged guess is start 0, and start i is the same however many there are."""
    problem = swing_up()
    costs = [to.solve(problem, MultiStart(DDP(), starts=starts)).cost for starts in (1, 3, 6)]
    assert costs[0] == to.solve(problem, DDP()).cost
    assert costs[2] <= costs[1] <= costs[0]


def test_the_best_start_by_success_and_cost_is_returned():
    """The message names it, and solving from its guess alone gives the same bits."""
    problem, solver = swing_up(), MultiStart(Collocation(), starts=4, seed=1)
    best = to.solve(problem, solver)
    guess = make_guess(problem, None)
    alone = [
        to.solve(problem, Collocation(), guess=perturb(problem, guess, 0.5, (1, i)) if i else guess) for i in range(4)
    ]
    winner = min(range(4), key=lambda i: (not alone[i].success, alone[i].cost))
    assert f"the best is number {winner}." in best.message
    np.testing.assert_array_equal(best.u, alone[winner].u)


def test_perturbed_guesses_are_reproducible_inside_bounds_and_keep_their_ends():
    """Same seed, same bits, and the global random state is left alone; other seeds differ."""
    problem = replace(cartpole(), constraints=[to.Bounds(control=(-8, 8), state=([-1, None, None, None], 1.0))])
    guess = make_guess(problem, None)
    np.random.seed(0)  # noqa: NPY002 - to see that nobody draws from it
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    one, two, other = (perturb(problem, guess, 0.7, (0, i)) for i in (1, 1, 2))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.u, two.u)
    assert np.abs(one.u - other.u).max() > 0.1
    np.testing.assert_array_equal(one.x[[0, -1]], np.clip(guess.x[[0, -1]], *problem.state_bounds))
    assert np.abs(one.u).max() <= 8.0
    assert (one.x <= 1.0).all()
    assert one.x[:, 0].min() >= -1.0


def test_the_spread_is_the_standard_deviation_that_the_rule_promises():
    """Over 2000 draws: at most spread times half the width, and more than two thirds of it on average (Monte Carlo)."""
    problem = cartpole()
    guess = make_guess(problem, None)
    draws = np.array([perturb(problem, guess, 0.1, (9, i)).u[:, 0] for i in range(2000)])
    deviation = draws.std(axis=0) / (0.1 * 8.0)
    sampling_error = 1.0 / np.sqrt(2 * 2000)
    assert deviation.max() <= 1.0 + 4.0 * sampling_error
    assert deviation.mean() >= 2.0 / 3.0
    assert np.abs(np.diff(draws, axis=1)).max() < 0.25 * np.abs(draws).max()  # smooth


def test_interpolated_controls_free_times_and_free_parameters_are_perturbed_too():
    """All stay in their bounds; the knots stay equal."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u, p: p.k * u, nx=1, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0],
        horizon=to.Horizon(to.Free(1, 3), steps=10, start=to.Free(0, 1)),
        parameters={"k": to.Free(1, 2), "fixed": 3.0},
    )
    t = np.linspace(0.5, 2.5, 11)
    guess = Trajectory(
        t, np.zeros((11, 1)), np.zeros((11, 1)), Interpolation.QUADRATIC, np.zeros((10, 1)), {"k": 1.5, "fixed": 3.0}
    )
    found = [perturb(problem, guess, 1.0, (0, i)) for i in range(20)]
    for one in found:
        assert 1.0 - 1e-12 <= one.t[-1] - one.t[0] <= 3.0 + 1e-12
        assert 0.0 <= one.t[0] <= 1.0
        np.testing.assert_allclose(np.diff(one.t), (one.t[-1] - one.t[0]) / 10)
        assert 1.0 <= one.parameters["k"] <= 2.0
        assert one.parameters["fixed"] == 3.0
        assert np.abs(one.u_mid).min() > 0.0
        # The three rows of controls lie on one smooth curve: a midpoint is near the mean of its knots.
        assert np.abs(one.u_mid - 0.5 * (one.u[1:] + one.u[:-1])).max() < 0.5 * np.abs(one.u).max()
    assert len({float(one.parameters["k"]) for one in found}) > 10
    assert len({float(one.t[0]) for one in found}) > 3  # the others were moved to a bound


def test_compositions_compose():
    """A chain of a multi-start, and a multi-start of a chain; their names show the settings that matter."""
    problem = problems.load("cartpole-swingup")
    inner = Chain(MultiStart(DDP(), starts=2), Collocation())
    outer = MultiStart(inner, starts=2, seed=4)
    assert str(inner) == "Chain(MultiStart(DDP(), starts=2), Collocation())"
    assert str(outer) == f"MultiStart({inner}, starts=2, seed=4)"
    one, two = to.solve(problem, inner), to.solve(problem, outer)
    assert one.success
    assert two.cost <= one.cost


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (Chain, to.InvalidProblem),
        (lambda: Chain(ILQR), to.InvalidProblem),
        (lambda: Chain("ilqrr"), to.UnknownName),
        (lambda: MultiStart(3), to.InvalidProblem),
        (lambda: MultiStart(ILQR(), starts=0), to.InvalidProblem),
        (lambda: MultiStart(ILQR(), seed=-1), to.InvalidProblem),
        (lambda: MultiStart(ILQR(), spread=0.0), to.InvalidProblem),
        (lambda: MultiStart(ILQR(), threads=1.5), to.InvalidProblem),
    ],
)
def test_settings_that_mean_nothing_are_refused(make, error):
    """At construction, in one sentence."""
    with pytest.raises(error, match=r"was given|were given"):
        make()
