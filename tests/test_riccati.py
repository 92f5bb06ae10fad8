"""The kernels of the backward pass, each against NumPy."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ilqr_cases import LinearQuadratic, cartpole, pendulum, start_run
from numba.core.runtime import _nrt_python, rtsys
from scipy.optimize import lsq_linear

from trajopt.lowering.kernel import kernel
from trajopt.solvers import DDP, ILQR
from trajopt.solvers.kernels import ddp, shooting
from trajopt.solvers.kernels.box_qp import make_box, solve_box_qp
from trajopt.solvers.kernels.riccati import action_value, minimise_action, update_value
from trajopt.solvers.kernels.rows import WIDTH, combine_rows

EPSILON = np.finfo(float).eps
MANY = settings(max_examples=200, deadline=None, derandomize=True)


@kernel
def combine(out, at, alpha, start, beta, weights, step, rows, rows_step, count, width):
    combine_rows(out, at, alpha, start, 1, beta, weights, 2, step, rows, 3, rows_step, count, width)


@MANY
@given(width=st.integers(0, 3 * WIDTH + 1), count=st.integers(0, 6), step=st.integers(1, 3), seed=st.integers(0, 999))
def test_combination_of_rows_is_the_matrix_product_and_touches_nothing_else(width, count, step, seed):
    """Every width, also between vectors, gives alpha s + beta w'R; neighbours of the row written keep their bits."""
    rng = np.random.default_rng(seed)
    alpha, beta = rng.normal(size=2)
    start, weights, rows = (
        rng.normal(size=1 + width),
        rng.normal(size=2 + 6 * step),
        rng.normal(size=3 + 6 * (width + 2)),
    )
    out = rng.normal(size=width + 2 * WIDTH)
    before = out.copy()
    combine(out, WIDTH, alpha, start, beta, weights, step, rows, width + 2, count, width)
    matrix = rows[3:].reshape(6, width + 2)[:count, :width]
    chosen = weights[2::step][:count]
    expected = alpha * start[1:] + beta * (chosen @ matrix)
    size = abs(alpha) * np.abs(start[1:]) + abs(beta) * (np.abs(chosen) @ np.abs(matrix))
    changed = slice(WIDTH, WIDTH + width)
    assert np.all(np.abs(out[changed] - expected) <= (count + 3) * EPSILON * size)
    before[changed] = out[changed]
    np.testing.assert_array_equal(out, before)


@st.composite
def box_programs(draw):
    """Small integers, so that bounds that just touch the minimum, empty interiors and equal slopes are common."""
    m = draw(st.integers(1, 4))
    numbers = st.integers(-3, 3)
    root = np.array(draw(st.lists(numbers, min_size=m * m, max_size=m * m)), float).reshape(m, m)
    q, lower, start = (np.array(draw(st.lists(numbers, min_size=m, max_size=m)), float) for _ in range(3))
    room = np.array(draw(st.lists(st.sampled_from([0.0, 1.0, 2.0, np.inf]), min_size=m, max_size=m)))
    upper = lower + room
    lower[np.array(draw(st.lists(st.booleans(), min_size=m, max_size=m)))] = -np.inf
    return root @ root.T + np.eye(m), q, lower, upper, start


def solve_box(Q, q, lower, upper, start):
    box = make_box(len(q))
    for target, source in zip(box[:4], (Q, q, lower, upper), strict=True):
        target[:] = source
    solution = np.array([start])
    count = solve_box_qp(0, solution, box)
    return solution[0], count, box


@MANY
@given(program=box_programs())
def test_box_program_is_solved_like_by_an_active_set_method(program):
    """The answer lies in the box, is stationary but where a bound holds it, and is scipy's, also when degenerate."""
    Q, q, lower, upper, start = program
    d, count, box = solve_box(*program)
    assert count >= 0
    assert np.all((lower <= d) & (d <= upper))
    error = 100.0 * EPSILON * np.linalg.cond(Q) * (1.0 + np.abs(q).max() + np.abs(start).max())
    assert np.abs(d - np.clip(d - (Q @ d + q), lower, upper)).max() <= error * np.linalg.norm(Q, 2)
    free = box.free[:count]
    for i in set(range(len(d))) - set(free):
        assert d[i] in (lower[i], upper[i])
    L = np.tril(box.L[:count, :count], -1) + np.diag(1.0 / np.diag(box.L[:count, :count]))
    np.testing.assert_allclose(L @ L.T, Q[np.ix_(free, free)], rtol=0.0, atol=10 * EPSILON * np.linalg.norm(Q, 2))
    apart = lower < upper  # scipy refuses a box without interior
    if apart.any():
        inner = Q[np.ix_(apart, apart)]
        root = np.linalg.cholesky(inner)
        right = -np.linalg.solve(root, q[apart] + Q[np.ix_(apart, ~apart)] @ lower[~apart])
        oracle = lsq_linear(root.T, right, (lower[apart], upper[apart]), method="bvls", tol=1e-15)
        np.testing.assert_allclose(d[apart], oracle.x, rtol=0.0, atol=error)


def test_box_program_without_curvature_is_refused():
    """An indefinite block of free entries is reported; the same matrix with that entry clamped is not."""
    Q = np.diag([1.0, -1.0])
    infinite = np.full(2, np.inf)
    assert solve_box(Q, np.zeros(2), -infinite, infinite, np.zeros(2))[1] == -1
    bounds = np.array([np.inf, 1.0])
    d, count, _ = solve_box(Q, np.array([1.0, 3.0]), -bounds, bounds, np.array([0.0, -1.0]))
    assert (list(d), count) == ([-1.0, -1.0], 1)


@pytest.mark.parametrize(("nx", "nu"), [(1, 1), (4, 1), (4, 2), (13, 4), (2, 9)])
def test_one_stage_of_the_recursion_is_that_of_numpy(nx, nu):
    """q, Q, gains, predicted changes, v and V of a regularised stage agree with matrix products to rounding."""
    rng, nz = np.random.default_rng(nx), nx + nu
    F, g, root, v = (rng.normal(size=shape) for shape in ((2, nx, nz), (2, nz), (nz, nz), nx))
    H = np.stack([np.zeros((nz, nz)), root @ root.T + np.eye(nz)])
    V, work = np.eye(nx) + np.diag(rng.uniform(size=nx)), ddp.make_work(nx, nu)
    k, K, u = np.zeros((2, nu)), np.zeros((2, nu, nx)), np.zeros((2, nu))
    infinite, scale = np.full(nu, np.inf), rng.uniform(size=nu)
    work.v[:], work.V[:] = v, V
    action_value(1, F, g, H, work.v, work.V, work.q, work.Q, work.T, work.Quu)
    assert minimise_action(1, work.q, work.Q, work.Quu, 0.5, scale, -infinite, infinite, u, k, K, work.box)
    changes = update_value(1, work.q, work.Q, work.Quu, k, K, work.v, work.V, work.Tu, work.box.trial)
    q, Q = g[1] + F[1].T @ v, H[1] + F[1].T @ V @ F[1]
    quu, qux, qu = Q[nx:, nx:], Q[nx:, :nx], q[nx:]
    regular = quu + 0.5 * np.diag(scale)
    gain, offset = -np.linalg.solve(regular, qux), -np.linalg.solve(regular, qu)
    expected = (
        (work.q, q), (np.tril(work.Q), np.tril(Q)), (work.Quu, quu), (k[1], offset), (K[1], gain),
        (changes, (qu @ offset, offset @ quu @ offset)),
        (work.v, q[:nx] + gain.T @ (quu @ offset + qu) + qux.T @ offset),
        (work.V, Q[:nx, :nx] + gain.T @ quu @ gain + gain.T @ qux + qux.T @ gain),
    )  # fmt: skip
    error = 10.0 * nz * EPSILON * np.linalg.cond(regular) * np.linalg.norm(Q, 2) * (1.0 + np.linalg.norm(gain)) ** 2
    for found, wanted in expected:
        np.testing.assert_allclose(found, wanted, rtol=0.0, atol=error)
    np.testing.assert_array_equal(work.V, work.V.T)
    assert not k[0].any()
    assert not K[0].any()


def memory_of_iterations(solver, problem):
    """Peak of Python's and NumPy's memory over ten iterations, of which Numba's heap sees nothing."""
    run = start_run(solver, problem, np.full((problem.horizon.steps, 1), 0.125))
    run.step()  # compiles or loads
    enabled = _nrt_python.memsys_stats_enabled()
    _nrt_python.memsys_enable_stats()
    tracemalloc.start()
    try:
        heap = rtsys.get_allocation_stats()
        for _ in range(10):
            run.step()
        assert rtsys.get_allocation_stats() == heap
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        if not enabled:
            _nrt_python.memsys_disable_stats()


@pytest.mark.parametrize(("solver", "make"), [(ILQR(), cartpole), (DDP(), pendulum)], ids=["ilqr", "ddp"])
def test_an_iteration_allocates_no_array(solver, make):
    """With 4000 steps more, the peak grows by less than the smallest array along the trajectory, 8 bytes a step."""
    short, long = (memory_of_iterations(solver, make(steps=steps)) for steps in (100, 4100))
    assert long - short < 8 * 4000


def test_multipliers_and_measures_are_those_of_the_definition():
    """Violation, error and new multipliers of equalities and both kinds of inequality, by their formulas in NumPy."""
    rng = np.random.default_rng(0)
    values, multipliers = rng.normal(size=(7, 3)), rng.normal(size=(7, 3))
    lower, upper = np.array([0.25, -np.inf, -0.5]), np.array([0.25, 0.0, 0.5])
    none, weight = np.zeros(0), 4.0
    data = shooting.Data(*(np.zeros((7, 2)), np.zeros(2), none, none, none, lower, upper, none, none))
    rollout = shooting.Rollout(np.zeros((8, 1)), np.zeros((7, 1)), values, none, np.zeros((7, 1)))
    penalty = shooting.Penalty(multipliers.copy(), none, np.array([weight]), np.array([weight]))
    shifted = values + multipliers / weight
    residual = shifted - np.clip(shifted, lower, upper)
    violation, error = shooting.measure_all(data, rollout, penalty)
    assert violation == max(0.0, (lower - values).max(), (values - upper).max())
    assert error == pytest.approx(np.abs(residual - multipliers / weight).max(), rel=4 * EPSILON)
    shooting.update_multipliers(data, rollout, penalty)
    np.testing.assert_allclose(penalty.path, weight * residual, rtol=0.0, atol=8 * EPSILON * weight)


def test_lower_triangles_suffice():
    """Whatever stands above the diagonal of H does not reach the gains."""
    case = LinearQuadratic.draw(3, nx=3, nu=2, steps=1)
    answers = []
    for above in (0.0, np.nan):
        work, k, K = ddp.make_work(3, 2), np.zeros((1, 2)), np.zeros((1, 2, 3))
        H = np.where(np.tri(5, dtype=bool), case.H, above)[None]
        work.v[:], work.V[:] = case.p, case.P
        action_value(0, case.F[None], case.g[None], H, work.v, work.V, work.q, work.Q, work.T, work.Quu)
        infinite = np.full(2, np.inf)
        box = (-infinite, infinite, np.zeros((1, 2)), k, K, work.box)
        assert minimise_action(0, work.q, work.Q, work.Quu, 0.0, np.ones(2), *box)
        update_value(0, work.q, work.Q, work.Quu, k, K, work.v, work.V, work.Tu, work.box.trial)
        answers.append(np.concatenate([part.ravel() for part in (k, K, work.v, work.V)]))
    np.testing.assert_array_equal(*answers)
    assert np.isfinite(answers[0]).all()
