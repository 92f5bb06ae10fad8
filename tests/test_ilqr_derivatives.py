"""The compiled stage functions: against CasADi's own derivatives of the expanded step, and against closed forms."""

from __future__ import annotations

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from ilqr_cases import LinearQuadratic, cartpole, pendulum, start_run

import trajopt as to
from trajopt import problems
from trajopt.solvers import DDP, ILQR
from trajopt.solvers.kernels import shooting
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.stages import compile_stages

EPSILON = np.finfo(float).eps


def forced(constraints=(), steps=4):
    """Time, a parameter, cross terms, division and every kind of constraint row in one small problem."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u, t, p: np.array(
                [x[1] * np.cos(t), p.stiffness * np.sin(x[0]) + u[0] * x[1], u[1] / (1 + x[0] ** 2)]
            ),
            nx=3, nu=2,
        ),
        stage_cost=lambda x, u, t, p: np.exp(x[0]) * u[0] ** 2 + p.stiffness * x[2] * u[1] + t * x[1] ** 2 + u[1] ** 2,
        terminal_cost=lambda x, t: t * np.sin(x[0]) * x[1],
        initial_state=[0.5, -0.25, 1.0],
        constraints=constraints,
        horizon=to.Horizon(1.0, steps=steps, start=0.5),
        parameters={"stiffness": 2.0},
    )  # fmt: skip


CONSTRAINED = forced(
    [
        to.PathConstraint(lambda x, u, t: np.array([x[0] * u[1] + t, x[1] ** 2 * x[2]]), name="product"),
        to.PathConstraint(lambda x, u: np.sin(x[0]) * x[2], name="state"),
        to.Bounds(state=(None, [None, 3.0, None])),
        to.TerminalConstraint(lambda x: x[0] ** 2 * x[1], name="end"),
    ]
)


def expanded_step(problem, integrator):
    """x+ and L of one step as plain expressions of z, time and p: the tableau applied without any derivative."""
    model, time = problem.model, ca.SX.sym("time", 2)
    rate = ca.Function("rate", [model.x, model.u, model.t, model.p], [model.dynamics, model.stage_cost])
    if not problem.dynamics.continuous:
        return time, *rate(model.x, model.u, time[0], model.p)
    tableau, t, h = INTEGRATORS[integrator], time[0], time[1]
    slopes, step, cost = [], 0, 0
    for row, weight, node in zip(tableau.a, tableau.b, tableau.c, strict=True):
        point = model.x + sum((h * a * slope for a, slope in zip(row, slopes, strict=True)), ca.SX.zeros(problem.nx))
        slope, value = rate(point, model.u, t + node * h, model.p)
        slopes.append(slope)
        step, cost = step + h * weight * slope, cost + h * weight * value
    return time, model.x + step, cost


def check(found, expected, operations=1000):
    """Agreement to the rounding of that many operations."""
    for one, other in zip(found, expected, strict=True):
        wanted = np.array(other, float).reshape(one.shape)
        size = max(1.0, np.abs(wanted).max(initial=0.0))
        np.testing.assert_allclose(one, wanted, rtol=0.0, atol=operations * EPSILON * size)


def samples(problem, count=3):
    """Random states, controls, time and step length, parameters."""
    rng = np.random.default_rng(7)
    time = [0.75, 0.125] if problem.dynamics.continuous else [3.0, 1.0]
    for _ in range(count):
        yield rng.normal(size=problem.nx), rng.normal(size=problem.nu), time, problem.layout.pack(problem.parameters)


CASES = [
    *((forced(), name) for name in INTEGRATORS),
    (cartpole(), "rk4"),
    (pendulum(), "rk4"),
    (LinearQuadratic.draw(1, 3, 2, 4).problem(), "rk4"),
    (problems.load("quadrotor"), "midpoint"),
]


@pytest.mark.parametrize(
    ("problem", "integrator"), CASES, ids=lambda case: case if isinstance(case, str) else case.name
)
def test_step_jacobian_gradient_and_hessian_are_exact(problem, integrator):
    """What is composed through the Runge-Kutta stages is what CasADi finds when it differentiates the whole step."""
    model, code = problem.model, compile_stages(problem, integrator, second_order=True).code
    time, following, cost = expanded_step(problem, integrator)
    z, y = ca.vertcat(model.x, model.u), ca.SX.sym("y", problem.nx)
    hessian, gradient = ca.hessian(cost, z)[0] + ca.hessian(ca.dot(y, following), z)[0], ca.gradient(cost, z)
    inputs = [model.x, model.u, time, model.p]
    value = ca.Function("value", inputs, [following, cost])
    derivative = ca.Function("derivative", [*inputs, y], [ca.jacobian(following, z), gradient, hessian])
    for point in samples(problem):
        weights = np.random.default_rng(8).normal(size=problem.nx)
        check(code.evaluate("step", *point), value(*point))
        found = code.evaluate("expand", *point, weights)
        check(found, derivative(*point, weights))
        np.testing.assert_array_equal(found[2], found[2].T)


def test_gauss_newton_leaves_out_the_curvature_of_the_dynamics_alone():
    """F and g are those of full second order; H ignores y, and is that of the cost where the dynamics are linear."""
    point, y = next(samples(forced())), np.ones(3)
    full, half = (compile_stages(forced(), "rk4", second_order=flag).code for flag in (True, False))
    one, other = full.evaluate("expand", *point, y), half.evaluate("expand", *point, y)
    check(other[:2], one[:2])
    np.testing.assert_array_equal(other[2], half.evaluate("expand", *point, 0.0 * y)[2])
    assert np.abs(other[2] - one[2]).max() > 1e-3
    linear = LinearQuadratic.draw(2, 3, 2, 4)
    found = compile_stages(linear.problem(), "rk4", second_order=False).code.evaluate(
        "expand", *next(samples(linear.problem())), y
    )
    check(found[2:], [linear.H])


def test_gauss_newton_hessian_of_a_convex_cost_is_positive_semidefinite():
    """Far from the optimum too, where the full Hessian of the cart-pole's cost is indefinite."""
    full, half = (compile_stages(cartpole(), "rk4", second_order=flag).code for flag in (True, False))
    least = []
    for point in samples(cartpole(), 20):
        arguments = (*point, 10.0 * np.ones(4))
        hessian = half.evaluate("expand", *arguments)[2]
        assert np.linalg.eigvalsh(hessian)[0] >= -100 * EPSILON * np.linalg.norm(hessian, 2)
        least.append(np.linalg.eigvalsh(full.evaluate("expand", *arguments)[2])[0])
    assert min(least) < -1e-3


@pytest.mark.parametrize("second_order", [True, False])
def test_constraint_rows_and_their_derivatives_are_exact(second_order):
    """Values, Jacobians and, for full second order, weighted Hessians of path and end rows, state bounds included."""
    stages, model = compile_stages(CONSTRAINED, "rk4", second_order=second_order), CONSTRAINED.model
    assert stages.path_names == ("product[0]", "product[1]", "state", "x1")
    assert stages.end_names == ("end", "product[1]", "state", "x1")
    x, u, t = model.x, model.u, model.t
    path = ca.vertcat(x[0] * u[1] + t, x[1] ** 2 * x[2], ca.sin(x[0]) * x[2], x[1])
    end, cost = ca.vertcat(x[0] ** 2 * x[1], path[1:]), t * ca.sin(x[0]) * x[1]
    z, w = ca.vertcat(x, u), ca.SX.sym("w", 4)
    rows = ca.Function("rows", [x, u, t], [path])
    rows_more = ca.Function("more", [x, u, t, w], [ca.jacobian(path, z), ca.hessian(ca.dot(w, path), z)[0]])
    ends = ca.Function("ends", [x, t], [cost, end])
    expansion = [ca.gradient(cost, x), ca.hessian(cost, x)[0], ca.jacobian(end, x), ca.hessian(ca.dot(w, end), x)[0]]
    ends_more = ca.Function("more", [x, t, w], expansion)
    weights, drop = np.array([1.0, -2.0, 0.5, 3.0]), None if second_order else -1
    for state, control, time, p in samples(CONSTRAINED):
        check(stages.code.evaluate("path", state, control, time, p), [rows(state, control, time[0])])
        found = stages.code.evaluate("path_expand", state, control, time, p, weights)
        check(found[:drop], rows_more(state, control, time[0], weights)[:drop])
        check(stages.code.evaluate("end", state, time, p), ends(state, time[0]))
        found = stages.code.evaluate("end_expand", state, time, p, weights)
        check(found[:drop], ends_more(state, time[0], weights)[:drop])


@pytest.mark.parametrize(("integrator", "order"), [("euler", 1), ("midpoint", 2), ("rk3", 3), ("rk4", 4)])
def test_state_and_cost_converge_with_the_order_of_the_method(integrator, order):
    """x' = -x^2 cos t from 1 gives x = 1/(1 + sin t); the integral of x^3 cos t is (1 - x(T)^2)/2."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u, t: -(x**2) * np.cos(t) + 0.0 * u, nx=1, nu=1),
        stage_cost=lambda x, u, t: x[0] ** 3 * np.cos(t),
        initial_state=[1.0],
        horizon=to.Horizon(1.0, steps=1),
    )
    code = compile_stages(problem, integrator, second_order=False).code
    final = 1.0 / (1.0 + np.sin(1.0))
    errors = []
    for steps in (16, 32, 64, 128):  # the smallest error, of rk4, is still a thousand times the rounding
        x, total = np.ones(1), 0.0
        for k in range(steps):
            following, cost = code.evaluate("step", x, [0.0], [k / steps, 1.0 / steps], [])
            x, total = following.ravel(), total + cost.item()
        errors.append([abs(x[0] - final), abs(total - 0.5 * (1.0 - final**2))])
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:])).mean(axis=0)
    np.testing.assert_allclose(slopes, order, rtol=0.0, atol=0.2)


def test_new_parameter_values_and_bounds_need_no_new_code():
    """A problem that differs in numbers alone is served by the stages compiled before."""
    other = CONSTRAINED.at(parameters={"stiffness": 5.0})
    assert compile_stages(other, "rk4", second_order=False) is compile_stages(CONSTRAINED, "rk4", second_order=False)
    moved = replace(forced(), horizon=to.Horizon(2.0, steps=7))
    assert (
        compile_stages(moved, "rk4", second_order=True).code is compile_stages(forced(), "rk4", second_order=True).code
    )


def penalty_of(rows, multipliers, weight, lower, upper):
    """What rows add to the merit, by the formula of the augmented Lagrangian."""
    shifted = rows + multipliers / weight
    residual = shifted - ca.fmin(ca.fmax(shifted, lower), upper)
    return 0.5 * weight * ca.sumsqr(residual)


@pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
def test_models_of_the_merit_are_exact_with_constraints(solver):
    """Gradients are those of cost and penalty; DDP's Hessians, at a stage and the end, have their whole curvature."""
    run, rng, s = start_run(solver, CONSTRAINED, np.full((4, 2), 0.25)), np.random.default_rng(9), 2
    run.penalty.path[:], run.penalty.end[:] = rng.normal(size=run.penalty.path.shape), rng.normal(size=4)
    weight = 2.5
    shooting.set_penalty(run.penalty, weight, weight)
    y, data, model = rng.normal(size=3), run.data, CONSTRAINED.model
    stage = (run.functions, data, run.current, y, run.penalty, run.expansion, run.rows, solver.second_order)
    shooting.expand_stage(s, *stage)
    shooting.expand_end(run.functions, data, run.current, run.penalty, run.expansion, run.rows, solver.second_order)

    time, following, cost = expanded_step(CONSTRAINED, "rk4")
    x, u, t = model.x, model.u, time[0]
    path = ca.vertcat(x[0] * u[1] + t, x[1] ** 2 * x[2], ca.sin(x[0]) * x[2], x[1])
    end = ca.vertcat(x[0] ** 2 * x[1], path[1:])
    merit = cost + penalty_of(path, run.penalty.path[s], weight, data.path_lower, data.path_upper)
    last = t * ca.sin(x[0]) * x[1] + penalty_of(end, run.penalty.end, weight, data.end_lower, data.end_upper)
    z = ca.vertcat(x, u)
    derivatives = [ca.jacobian(following, z), ca.gradient(merit, z), ca.hessian(merit + ca.dot(y, following), z)[0]]
    inputs = (run.current.x[s], run.current.u[s], data.times[s], data.parameters)
    F, g, H = ca.Function("stage", [x, u, time, model.p], derivatives)(*inputs)
    check([run.expansion.F[s], run.expansion.g[s]], [F, g])
    gradient, hessian = ca.Function("end", [x, time], [ca.gradient(last, x), ca.hessian(last, x)[0]])(
        run.current.x[-1], data.end_time
    )
    check([run.expansion.end_gradient], [gradient])
    found = [np.tril(run.expansion.H[s]), np.tril(run.expansion.end_hessian)]
    wanted = [np.tril(np.array(H)), np.tril(np.array(hessian))]
    if solver.second_order:
        check(found, wanted)
    else:
        assert all(np.abs(one - other).max() > 1e-3 for one, other in zip(found, wanted, strict=True))
