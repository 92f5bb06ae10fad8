"""Linear-quadratic problems, whose answers dense linear algebra and a dense QP solver give."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from ilqr_cases import LinearQuadratic

import trajopt as to
from trajopt.solvers.interior_point import InteriorPoint

SEEDS = range(4)


def planted(case: LinearQuadratic, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows E x_N = e that some control reaches."""
    rng = np.random.default_rng(seed)
    E = rng.normal(size=(rows, case.nx))
    return E, E @ case.roll_out(rng.normal(size=(case.steps, case.nu)))[-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_terminal_equalities_in_one_step(seed):
    """Newton's method solves an equality-constrained problem at once; the dense KKT system gives the same control."""
    case = LinearQuadratic.draw(seed, nx=4, nu=2, steps=8)
    E, e = planted(case, 3, seed)
    solution = to.solve(case.problem(to.TerminalConstraint(lambda x: E @ x, lower=e, upper=e)), InteriorPoint())
    hessian, gradient, ends, rest = case.condense()
    zero = np.zeros((3, 3))
    system = np.block([[hessian, (E @ ends).T], [E @ ends, zero]])
    dense = np.linalg.solve(system, np.concatenate([-gradient, e - E @ rest]))
    size = case.steps * case.nu
    assert solution.success
    assert solution.iterations == 1
    np.testing.assert_allclose(
        solution.u.ravel(), dense[:size], rtol=1e-6, atol=1e-7
    )  # condensing loses half the digits
    np.testing.assert_allclose(solution.multipliers["terminal"], dense[size:], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kind_of_repeated_row(seed):
    """Duplicated, scaled, and summed terminal rows leave the answer as it is."""
    case = LinearQuadratic.draw(seed, nx=3, nu=2, steps=6)
    E, e = planted(case, 2, seed)
    more = np.vstack([E, 2.0 * E[0], E[0] + E[1]])
    limits = np.concatenate([e, [2.0 * e[0], e[0] + e[1]]])
    once, often = (
        to.solve(case.problem(to.TerminalConstraint(lambda x, M=M: M @ x, lower=m, upper=m)), InteriorPoint())
        for M, m in ((E, e), (more, limits))
    )
    assert once.success
    assert often.success
    np.testing.assert_allclose(often.u, once.u, atol=1e-7)


@pytest.mark.parametrize("seed", SEEDS)
def test_box_constrained_control_against_a_dense_qp(seed):
    """Bounds on the control, of which many are active, against CasADi's active-set solver on the condensed problem."""
    case = LinearQuadratic.draw(seed, nx=4, nu=2, steps=8)
    solution = to.solve(case.problem(to.Bounds(control=(-0.3, 0.3))), InteriorPoint())
    hessian, gradient, _, _ = case.condense()
    qp = ca.conic("qp", "qrqp", {"h": ca.DM(hessian).sparsity()}, {"print_iter": False, "print_header": False})
    dense = qp(h=hessian, g=gradient, lbx=-0.3, ubx=0.3)
    assert solution.success
    assert np.sum(np.abs(solution.u) > 0.2999) > 3
    # mu = 1e-9 at the end moves the cost by mu for each of the 32 bounds, and the control by the root of that at most
    assert solution.cost - case.cost(np.zeros_like(solution.u)) == pytest.approx(float(dense["cost"]), rel=1e-6)
    np.testing.assert_allclose(solution.u.ravel(), dense["x"].full().ravel(), atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_mixed_path_rows_against_a_dense_qp(seed):
    """Rows C x + D u <= c at every step, against the condensed quadratic program."""
    case = LinearQuadratic.draw(seed, nx=3, nu=2, steps=6)
    rng = np.random.default_rng(seed)
    C, D = rng.normal(size=(2, 3)), rng.normal(size=(2, 2))
    free = to.solve(case.problem(), InteriorPoint())
    values = free.x[:-1] @ C.T + free.u @ D.T
    cap = np.quantile(values[1:], 0.7)  # so that rows are active, and feasible: D u alone meets any cap
    problem = case.problem(to.PathConstraint(lambda x, u: C @ x + D @ u, upper=cap))
    solution = to.solve(problem, InteriorPoint())
    hessian, gradient, _, _ = case.condense()
    shape, size = (case.steps, case.nu), case.steps * case.nu

    def rows(u):
        return (case.roll_out(u)[:-1] @ C.T + u @ D.T).ravel()

    base = rows(np.zeros(shape))
    matrix = np.array([rows(np.eye(size)[i].reshape(shape)) - base for i in range(size)]).T
    structure = {"h": ca.DM(hessian).sparsity(), "a": ca.DM(matrix).sparsity()}
    qp = ca.conic("qp", "qrqp", structure, {"print_iter": False, "print_header": False})
    dense = qp(h=hessian, g=gradient, a=matrix, lba=-np.inf, uba=cap - base)
    assert solution.success
    assert solution.multipliers["path"].max() > 1e-3
    assert solution.cost - case.cost(np.zeros(shape)) == pytest.approx(float(dense["cost"]), rel=1e-6)
