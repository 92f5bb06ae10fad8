"""Constraints by augmented Lagrangian: against IPOPT, in signs, and when they cannot be met."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest

import trajopt as to
from trajopt.solvers import DDP, ILQR
from trajopt.status import Status

BOTH = pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
CENTRE, STEPS = (1.0, 0.1), 20


def advance(x, u, stack):
    """A point mass in the plane: position and velocity."""
    return stack(x[0] + 0.1 * x[2], x[1] + 0.1 * x[3], x[2] + 0.1 * u[0], x[3] + 0.1 * u[1])


def outside(x):
    """Positive within half a metre of the centre."""
    return 0.25 - (x[0] - CENTRE[0]) ** 2 - (x[1] - CENTRE[1]) ** 2


def round_the_disc(*constraints):
    """From one side of a disc to rest on the other."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: advance(x, u, lambda *rows: np.array(rows)), nx=4, nu=2),
        stage_cost=lambda x, u: 0.05 * (u @ u),
        terminal_cost=lambda x: 10.0 * ((x[0] - 2.0) ** 2 + x[1] ** 2 + x[2] ** 2 + x[3] ** 2),
        initial_state=np.zeros(4),
        constraints=constraints,
        horizon=to.Horizon(steps=STEPS),
    )


def ipopt_optimum(start):
    """Cost and multipliers of the disc by a general method for nonlinear programs, from these controls (N, 2)."""
    u = ca.SX.sym("u", 2, STEPS)
    x, cost, rows = ca.SX.zeros(4), 0, []
    for k in range(STEPS):
        rows.append(outside(x))
        cost += 0.05 * ca.sumsqr(u[:, k])
        x = advance(x, u[:, k], ca.vertcat)
    cost += 10.0 * ((x[0] - 2.0) ** 2 + x[1] ** 2 + x[2] ** 2 + x[3] ** 2)
    options = {"print_time": False, "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-11}}
    program = ca.nlpsol("disc", "ipopt", {"x": ca.vec(u), "f": cost, "g": ca.vertcat(*rows)}, options)
    answer = program(x0=start.ravel(), lbg=-np.inf, ubg=0.0)
    assert program.stats()["success"]
    return float(answer["f"]), np.array(answer["lam_g"]).ravel()


@BOTH
def test_path_inequality_has_cost_and_multipliers_of_ipopt(solver):
    """The way round the disc; multipliers are positive where it touches, and zero elsewhere and never negative."""
    problem = round_the_disc(to.PathConstraint(lambda x, u: outside(x), name="disc"))
    solution = to.solve(problem, solver)
    cost, wanted = ipopt_optimum(solution.u)
    found = solution.multipliers["path"].ravel()
    rows = np.array([outside(x) for x in solution.x[:-1]])
    assert solution.success
    assert rows.max() <= solver.constraint_tolerance
    assert found.min() >= 0.0
    assert found.max() > 0.01
    assert not found[rows < -1e-3].any()
    promised = solver.tolerance * (1.0 + cost) + found.sum() * solver.constraint_tolerance
    assert abs(solution.cost - cost) <= 2.0 * promised
    # Strongly convex around the answer: an excess of e lets multipliers move by the order of its root.
    np.testing.assert_allclose(found, wanted, rtol=0.0, atol=100.0 * np.sqrt(promised))


@BOTH
def test_an_inactive_constraint_changes_the_answer_within_the_tolerance(solver):
    """A rail far away costs nothing, and its multipliers are exactly zero."""
    free = to.solve(round_the_disc(), solver)
    railed = to.solve(round_the_disc(to.Bounds(state=(None, [50.0] * 4))), solver)
    assert railed.success
    assert not railed.multipliers["path"].any()
    assert railed.cost == pytest.approx(free.cost, abs=2.0 * solver.tolerance * (1.0 + free.cost))


@BOTH
@pytest.mark.parametrize("limits", [(-np.inf, 0.25), (0.25, 0.25), (-0.25, 0.25)])
def test_a_bound_costs_its_multiplier(solver, limits):
    """The derivative of the optimal cost by an upper limit is minus the multiplier, by central differences."""
    step = 2.0**-8

    def optimum(shift):
        lower, upper = (limit + shift * (limit == 0.25) for limit in limits)
        return to.solve(
            to.Problem(
                to.DiscreteDynamics(lambda x, u: x + 0.5 * u, nx=1, nu=1),
                stage_cost=lambda x, u: u[0] ** 2,
                terminal_cost=lambda x: 4.0 * (x[0] - 1.0) ** 2,
                initial_state=[0.0],
                constraints=[to.TerminalConstraint(lambda x: x[0], lower=lower, upper=upper, name="end")],
                horizon=to.Horizon(steps=4),
            ),
            solver,
        )

    above, here, below = (optimum(shift) for shift in (step, 0.0, -step))
    slope = (above.cost - below.cost) / (2.0 * step)  # exact for a quadratic
    multiplier = here.multipliers["end"][0]
    # Each cost is off by at most multiplier times violation, plus the decrement.
    error = (abs(multiplier) * solver.constraint_tolerance + solver.tolerance * (1.0 + here.cost)) / step
    assert here.success
    assert multiplier > 0.0
    assert slope == pytest.approx(-multiplier, abs=2.0 * error)


@BOTH
def test_what_cannot_be_met_is_named_and_never_solved(solver):
    """The end is to be both below 0 and above 1: infeasible, by the name of one of the two, at a point between."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.25],
        constraints=[
            to.TerminalConstraint(lambda x: x[0], lower=-np.inf, upper=0.0, name="below"),
            to.TerminalConstraint(lambda x: x[0], lower=1.0, upper=np.inf, name="above"),
        ],
        horizon=to.Horizon(1.0, steps=10),
    )
    solution = to.solve(problem, solver)
    assert solution.status is Status.INFEASIBLE
    assert "'below'" in solution.message or "'above'" in solution.message
    assert 0.0 < solution.x[-1, 0] < 1.0


@BOTH
def test_a_state_bound_out_of_reach_is_named(solver):
    """A velocity that the force cannot reach in time is infeasible, and the state is named."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), states=["position", "velocity"], controls=["force"]),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0)), to.TerminalConstraint([5.0, 0.0])],
        horizon=to.Horizon(2.0, steps=20),
    )
    solution = to.solve(problem, solver)
    assert not solution.success
    assert solution.status is Status.INFEASIBLE
    assert "stays violated" in solution.message
    # Bang-bang gets one metre far, at rest; bounds hold all the same.
    assert np.abs(solution.u).max() <= 1.0


@BOTH
def test_bounds_on_states_hold_within_the_tolerance(solver):
    """A speed limit is reached and kept, also at the end, and its multipliers have the sign of an upper limit."""
    solution = to.solve(round_the_disc(to.Bounds(state=(None, [None, None, 1.25, None]))), solver)
    assert solution.success
    assert solution.x[:, 2].max() <= 1.25 + solver.constraint_tolerance
    assert np.sum(solution.x[:, 2] > 1.25 - 1e-4) > 3
    assert solution.multipliers["path"].min() >= 0.0
    assert solution.multipliers["path"].max() > 0.0
