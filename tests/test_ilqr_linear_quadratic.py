"""iLQR and DDP on linear-quadratic problems, where linear algebra knows the answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ilqr_cases import LinearQuadratic, held
from scipy.optimize import lsq_linear

import trajopt as to
from trajopt.solvers import DDP, ILQR

EPSILON = np.finfo(float).eps

PROBLEMS = st.builds(
    LinearQuadratic.draw,
    seed=st.integers(0, 2**16),
    nx=st.integers(1, 5),
    nu=st.integers(1, 4),
    steps=st.integers(1, 8),
)
# Every draw traces and compiles its own matrices, some tens of milliseconds; warm-up would break a deadline.
FEW = settings(max_examples=20, deadline=None, derandomize=True)


def rounding(hessian: np.ndarray, case: LinearQuadratic) -> float:
    """Forward error of a linear solve: operations on the path times the condition number."""
    return EPSILON * case.steps * (case.nx + case.nu) ** 2 * np.linalg.cond(hessian)


@pytest.mark.parametrize("solver", [ILQR(), DDP()])
@FEW
@given(case=PROBLEMS, seed=st.integers(0, 99))
def test_one_full_step_from_any_guess_is_the_optimum(solver, case, seed):
    """A full Newton step is taken, the next iteration finds nothing left, and the dense solve agrees."""
    guess = 10.0 * np.random.default_rng(seed).normal(size=(case.steps, case.nu))
    problem = case.problem()
    solution = to.solve(problem, solver, guess=held(problem, guess))
    hessian, gradient, _, _ = case.condense()
    optimum = np.linalg.solve(hessian, -gradient).reshape(case.steps, case.nu)
    # The guess is ten times as large as the answer: its cancellation loses another digit.
    error = 100.0 * rounding(hessian, case) * (1.0 + np.abs(optimum).max())
    assert solution.success
    assert [record.step for record in solution.history[1:]] == [1.0, 0.0]
    np.testing.assert_allclose(solution.u, optimum, rtol=0.0, atol=error)
    assert solution.cost == pytest.approx(case.cost(optimum), abs=error * (1.0 + abs(case.cost(guess))))


@pytest.mark.parametrize("solver", [ILQR(), DDP()])
@FEW
@given(case=PROBLEMS)
def test_gains_and_costates_are_those_of_the_riccati_recursion(solver, case):
    """Feedback is K of a textbook recursion, costates are P x + p at every knot, with cross terms, offsets and time."""
    solution = to.solve(case.problem(), solver)
    K, k, P, p = case.riccati()
    hessian = case.condense()[0]
    error = 10.0 * rounding(hessian, case) * (1.0 + np.abs(P).max() + np.abs(solution.x).max())
    costates = np.einsum("kij,kj->ki", P, solution.x) + p
    np.testing.assert_allclose(solution.feedback, K, rtol=0.0, atol=error)
    np.testing.assert_allclose(solution.multipliers["costates"], costates, rtol=0.0, atol=error * np.abs(P).max())
    controls = np.einsum("kij,kj->ki", K, solution.x[:-1]) + k
    np.testing.assert_allclose(solution.u, controls, rtol=0.0, atol=error)


@FEW
@given(case=PROBLEMS, width=st.sampled_from([0.125, 0.5, 2.0]))
def test_box_constrained_optimum_is_that_of_an_active_set_method(case, width):
    """The cost lies within the promised decrement of scipy's bounded least squares, and the bounds hold exactly."""
    solver = ILQR(tolerance=1e-12)
    solution = to.solve(case.problem(to.Bounds(control=(-width, width))), solver)
    hessian, gradient, _, _ = case.condense()
    root = np.linalg.cholesky(hessian)
    oracle = lsq_linear(root.T, -np.linalg.solve(root, gradient), (-width, width), method="bvls", tol=1e-14)
    optimum = oracle.x.reshape(case.steps, case.nu)
    allowed = solver.tolerance * (1.0 + abs(solution.cost)) + rounding(hessian, case) * (1.0 + abs(solution.cost))
    assert solution.success
    assert np.abs(solution.u).max() <= width
    assert abs(solution.cost - case.cost(optimum)) <= 10.0 * allowed
    # |u - u*|_H^2 / 2 is at most the excess cost.
    far = np.sqrt(20.0 * allowed / np.linalg.eigvalsh(hessian)[0])
    np.testing.assert_allclose(solution.u, optimum, rtol=0.0, atol=far)


@pytest.mark.parametrize("solver", [ILQR(), DDP()])
@FEW
@given(seed=st.integers(0, 2**16))
def test_terminal_equality_has_the_multipliers_of_the_dense_system(solver, seed):
    """Cost and multipliers of x_N = target are those of the KKT system, sign included."""
    case = LinearQuadratic.draw(seed, nx=2, nu=2, steps=6)
    target = np.array([0.5, -0.25])
    solution = to.solve(case.problem(to.TerminalConstraint(target)), solver)
    hessian, gradient, ends, rest = case.condense()
    size, rows = len(gradient), case.nx
    system = np.block([[hessian, ends.T], [ends, np.zeros((rows, rows))]])
    answer = np.linalg.solve(system, np.concatenate([-gradient, target - rest]))
    multipliers, cost = answer[size:], case.cost(answer[:size].reshape(case.steps, case.nu))
    schur = ends @ np.linalg.solve(hessian, ends.T)
    # A violation v costs multiplier times v; multipliers are off by what the end misses, through the Schur complement.
    missed = solver.constraint_tolerance * np.sqrt(rows)
    small = solver.tolerance * (1.0 + abs(cost))
    wrong = np.linalg.norm(np.linalg.inv(schur), 2) * (missed + np.sqrt(2.0 * small * np.linalg.norm(schur, 2)))
    assert solution.success
    assert np.abs(solution.x[-1] - target).max() <= solver.constraint_tolerance
    assert abs(solution.cost - cost) <= missed * np.linalg.norm(multipliers) + small
    np.testing.assert_allclose(solution.multipliers["end"], multipliers, rtol=0.0, atol=2.0 * wrong)
