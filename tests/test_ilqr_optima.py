"""Published optima. A held control costs more than a free one by O(h^2): slopes are measured, not gaps forgiven."""

from __future__ import annotations

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.solvers import DDP, ILQR

# Tight, so that the error that is left is the discretisation's.
SOLVERS = [ILQR(tolerance=1e-12, constraint_tolerance=1e-9), DDP(tolerance=1e-12, constraint_tolerance=1e-9)]
BOTH = pytest.mark.parametrize("solver", SOLVERS, ids=["ilqr", "ddp"])


def excess(name, solver, grids):
    """Cost above the published optimum on each grid."""
    solutions = [to.solve(problems.load(name, steps=steps), solver) for steps in grids]
    assert all(solution.success for solution in solutions)
    return np.array([solution.cost for solution in solutions]) - problems.reference(name).cost


@BOTH
@pytest.mark.parametrize(
    ("name", "grids", "order"),
    [
        ("van-der-pol", (20, 40, 80), 2),
        ("rayleigh", (80, 160, 320), 2),
        ("lqr-two-point", (20, 40, 80), 2),
        ("double-integrator-min-energy", (20, 40, 80), 2),
        ("bryson-denham", (18, 36, 72), 2),  # knots where the wall is met and left
        ("neuenhofen-kerrigan", (10, 20, 40), 4),  # the optimal control is constant: the order of RK4 remains
    ],
)
def test_cost_tends_to_the_published_one_from_above(name, grids, order, solver):
    """Halving the steps divides the excess by 2^order, within a fifth of an order."""
    errors = excess(name, solver, grids)
    assert np.all(errors > 0.0)
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), order, rtol=0.0, atol=0.2)


@BOTH
def test_chattering_control_is_approached(solver):
    """Fuller's control switches infinitely often, so that no order holds; the excess still more than halves."""
    errors = excess("fuller", solver, (25, 50, 100))
    assert np.all(errors > 0.0)
    assert np.all(errors[:-1] > 2.0 * errors[1:])


@BOTH
@pytest.mark.parametrize(
    "name", ["dtoc3", "dtoc1l", "regulator-1d", "obstacle-avoidance", "double-integrator-max-distance"]
)
def test_optimum_is_met_where_a_held_control_can(name, solver):
    """All published digits of discrete problems, and of continuous ones whose optimal control is constant."""
    solution = to.solve(problems.load(name), type(solver)())
    multipliers = sum(np.abs(solution.multipliers[rows]).sum() for rows in ("path", "end"))
    promised = type(solver)().tolerance * (1.0 + abs(solution.cost)) + multipliers * type(solver)().constraint_tolerance
    assert solution.success
    assert abs(solution.cost - problems.reference(name).cost) <= promised + problems.reference(name).tolerance


@pytest.mark.parametrize(
    ("steps", "controls", "states", "optimum"),
    [
        (49, 2, 4, 0.22994187594448),
        (99, 2, 4, 0.42536827959849),
        (9, 5, 10, 1.14985541429912),
        (49, 5, 10, 6.1678467270876),
    ],
)
def test_larger_dtoc1l_to_all_published_digits(steps, controls, states, optimum):
    """Up to ten states and five controls, a cost whose Hessian vanishes in places."""
    solution = to.solve(problems.load("dtoc1l", steps=steps, controls=controls, states=states), SOLVERS[1])
    assert solution.success
    # Half a unit of the last published digit, and the decrement that the solver promises.
    assert solution.cost == pytest.approx(optimum, abs=5e-14 * (1.0 + optimum) + 1e-12 * (1.0 + optimum))
