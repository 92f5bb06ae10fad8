"""Infeasible state guesses: gaps enter the sweep, a full step closes them, and answers obey the dynamics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ilqr_cases import LinearQuadratic, held, pendulum, start_run

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.solvers import DDP, ILQR
from trajopt.solvers.ilqr_run import Run
from trajopt.solvers.kernels import ddp, shooting
from trajopt.status import Status
from trajopt.transcription.stages import compile_stages

BOTH = pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
FEW = settings(max_examples=15, deadline=None, derandomize=True)


def start_with_gaps(solver, problem, x, u):
    """A run whose guess has these states as they are."""
    stages = compile_stages(problem, solver.integrator, second_order=solver.second_order)
    run = Run(solver, problem, stages, make_guess(problem, held(problem, u, x)))
    assert run.start()
    return run


@BOTH
@FEW
@given(seed=st.integers(0, 2**16), nx=st.integers(1, 4), nu=st.integers(1, 3))
def test_from_any_states_one_full_step_solves_a_linear_quadratic_problem(solver, seed, nx, nu):
    """Newton's step does not care where it starts: dense algebra's optimum, and no gap, after one step."""
    case, rng = LinearQuadratic.draw(seed, nx, nu, 6), np.random.default_rng(seed)
    x, u = 3.0 * rng.normal(size=(7, nx)), 3.0 * rng.normal(size=(6, nu))
    solution = to.solve(case.problem(), solver, guess=held(case.problem(), u, x))
    hessian, gradient, _, _ = case.condense()
    optimum = np.linalg.solve(hessian, -gradient).reshape(u.shape)
    error = 1e4 * np.finfo(float).eps * np.linalg.cond(hessian) * (1.0 + np.abs(optimum).max())
    assert solution.success
    # A line search may shorten the first step, for the merit holds the gaps at a finite price.
    assert solution.iterations <= 4
    np.testing.assert_allclose(solution.u, optimum, rtol=0.0, atol=error)
    np.testing.assert_allclose(solution.x, case.roll_out(solution.u), rtol=0.0, atol=error)


@BOTH
@pytest.mark.parametrize("length", [1.0, 0.25, 2.0**-10])
def test_a_step_of_length_s_leaves_the_share_1_minus_s_of_every_gap(solver, length):
    """What the kernel writes down as gaps is what evaluating the new states and controls finds."""
    problem, rng = pendulum(), np.random.default_rng(3)
    run = start_with_gaps(solver, problem, rng.normal(size=(31, 2)), rng.normal(size=(30, 1)))
    before = run.current.gap.copy()
    ddp.expand_all(run.functions, run.data, run.current, run.penalty, run.expansion, run.gains, run.rows, False)
    run.state.regularisation[0] = 1.0
    shooting.simulate(
        run.functions, run.data, run.current, run.gains.k, run.gains.K, length, run.candidate, run.penalty, run.rows
    )
    np.testing.assert_array_equal(run.candidate.gap, (1.0 - length) * before)
    written = run.candidate.gap.copy()
    shooting.evaluate(run.functions, run.data, run.candidate, run.penalty, run.rows)
    size = 1.0 + np.abs(run.candidate.x).max()
    np.testing.assert_allclose(run.candidate.gap, written, rtol=0.0, atol=8 * np.finfo(float).eps * size)


@FEW
@given(seed=st.integers(0, 2**16))
def test_the_predicted_change_is_that_of_the_cost_along_a_linear_quadratic_problem(seed):
    """With gaps, too: the model's linear and quadratic parts are exact for every step length."""
    case, rng = LinearQuadratic.draw(seed, 3, 2, 5), np.random.default_rng(seed)
    run = start_with_gaps(ILQR(), case.problem(), rng.normal(size=(6, 3)), rng.normal(size=(5, 2)))
    ddp.expand_all(run.functions, run.data, run.current, run.penalty, run.expansion, run.gains, run.rows, False)
    assert ddp.sweep(
        run.functions, run.data, run.current, run.penalty, run.expansion, run.gains, run.rows, run.work, run.state,
        False,
    )[0]  # fmt: skip
    linear, quadratic = ddp.predict(run.expansion, run.gains, run.current.gap, run.work)
    for length in (1.0, 0.5, 0.125):
        cost, _ = shooting.simulate(
            run.functions, run.data, run.current, run.gains.k, run.gains.K, length, run.candidate, run.penalty,
            run.rows,
        )  # fmt: skip
        change = length * linear + 0.5 * length**2 * quadratic
        size = 1.0 + abs(cost) + abs(linear) + abs(quadratic)
        assert cost - run.state.cost[0] == pytest.approx(change, abs=1e-11 * size)


@BOTH
def test_gaps_fall_until_they_are_exactly_zero(solver):
    """From a straight line, every accepted step shrinks them, and the answer is a rollout to the bit."""
    problem = pendulum()
    x = np.linspace([0.0, 0.0], [np.pi, 0.0], 31)
    run, sizes = start_with_gaps(solver, problem, x, np.zeros((30, 1))), []
    for _ in range(200):
        sizes.append(run.state.gap[0])
        if run.step()[0] is not None:
            break
    assert sizes[0] > 0.0
    assert all(after <= before for before, after in itertools.pairwise(sizes))
    assert sizes[-1] == 0.0
    again = start_run(solver, problem, run.current.u)
    np.testing.assert_array_equal(again.current.x, run.current.x)


@BOTH
def test_a_car_escapes_from_way_points_that_break_the_dynamics(solver):
    """170 discs, from ALTRO's infeasible start: success, and a certificate whose violation between knots is small."""
    solution = to.solve(problems.load("car-escape"), solver)
    assert solution.success
    assert solution.history[0].violation > 0.1  # the way-points' gaps
    assert solution.history[-1].violation <= solver.constraint_tolerance


@BOTH
def test_open_gaps_are_never_a_success(solver):
    """At the iteration limit the violation that is reported is the gap."""
    problem = problems.load("car-escape")
    solution = to.solve(problem, type(solver)(iterations=2))
    assert solution.status is Status.ITERATION_LIMIT
    assert not solution.certified
    assert solution.history[-1].violation > 0.01


@BOTH
def test_newton_brings_constraints_to_eight_digits(solver):
    """Linear-quadratic problems with end targets: 1e-8 in a handful of iterations."""
    for seed in range(5):
        case = LinearQuadratic.draw(seed, nx=2, nu=2, steps=6)
        solution = to.solve(case.problem(to.TerminalConstraint([0.5, -0.25])), solver)
        assert solution.success
        assert solution.iterations <= 6
        assert np.abs(solution.x[-1] - [0.5, -0.25]).max() <= 1e-8
