"""Derivatives of solutions: against closed forms, central differences of re-solves, and each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trajopt as to
from tests.derivative_cases import CASES, STEP, TRUNCATION, central_differences, in_time, inputs, population
from trajopt.solvers import DDP, ILQR, LQR, MPPI, Collocation, InteriorPoint, MultipleShooting, SingleShooting

ROUNDING = 1e-9
"""Of derivatives of solutions that differ by the rounding of Newton's method, times the condition of these problems."""

TIGHT = InteriorPoint(tolerance=1e-11)


def check_against_differences(problem, solver):
    solution = to.solve(problem, solver, raise_on_failure=True)
    derivatives = solution.derivatives()
    assert not derivatives.degenerate
    polished = derivatives.trajectory
    # What the solver is off by shows in the differences over the step.
    off = max(np.abs(solution.x - polished.x).max(), np.abs(solution.u - polished.u).max())
    tolerance = TRUNCATION + 2.0 * off / STEP
    assert tolerance < 1e-2
    for name, index in inputs(derivatives):
        expected = central_differences(problem, solver, solution, name, index)
        for what in ("x", "u", "cost", "final_time"):
            found = getattr(derivatives, what)[name][(..., *index)]
            difference = getattr(expected, what)
            assert np.abs(found - difference).max() <= tolerance * (1.0 + np.abs(difference).max()), (what, name)


@pytest.mark.parametrize("case", CASES)
def test_shooting_agrees_with_differences_of_re_solves(case):
    """Cost, states, controls and final time, by every parameter and initial state, under active constraints."""
    check_against_differences(CASES[case], TIGHT)


def test_the_cases_press_on_their_constraints():
    """State bound, path row, terminal inequality, integral row and control bounds are active where the cases say so."""
    found = {case: to.solve(CASES[case], TIGHT).derivatives().trajectory for case in CASES}
    assert np.abs(found["bounds"].u).max() == 0.8
    assert found["rows"].x[:, 1].max() == 0.55
    assert (found["rows"].u[:, 0] + 0.5 * found["rows"].x[:-1, 0]).max() == pytest.approx(1.5, abs=1e-12)
    assert found["discrete"].x[-1, 0] == pytest.approx(1.15, abs=1e-12)
    effort = (found["periodic"].u ** 2).sum() * 6.3 / 15
    assert effort == pytest.approx(0.05, abs=1e-12)
    assert np.sum(np.abs(found["bang"].u) == 2.0) == 14  # all but the interval in which the torque switches


@pytest.mark.parametrize("case", ["rows", "time"])
@pytest.mark.parametrize("scheme", ["hermite_simpson", "trapezoidal"])
def test_collocation_agrees_with_differences_of_re_solves(case, scheme):
    """The same for the equations of collocation, which are others."""
    check_against_differences(CASES[case], Collocation(scheme=scheme, tolerance=1e-11))


@pytest.mark.parametrize("solver", [ILQR(), DDP(), MultipleShooting(), SingleShooting()], ids=str)
@pytest.mark.parametrize("case", ["smooth", "bounds"])
def test_all_shooting_solvers_give_the_same_derivatives(case, solver):
    """However far from its optimum a solver stopped, polishing leads to one and the same point."""
    reference = to.solve(CASES[case], TIGHT).derivatives()
    derivatives = to.solve(CASES[case], solver, raise_on_failure=True).derivatives()
    for what in ("x", "u", "cost"):
        for name, expected in getattr(reference, what).items():
            np.testing.assert_allclose(getattr(derivatives, what)[name], expected, rtol=ROUNDING, atol=ROUNDING)


def test_linear_quadratic_closed_form():
    """dJ/dx0 = 2 P x0, du_k/dx0 = K_k times the closed loop up to k, with P and K from the Riccati equation."""
    A, B, Q, R, n = np.array([[1.0, 0.1], [-0.2, 0.95]]), np.array([[0.0], [0.1]]), np.diag([1.0, 0.3]), np.eye(1), 30
    problem = to.Problem(
        dynamics=to.DiscreteDynamics(lambda x, u: A @ x + B @ u, nx=2, nu=1),
        stage_cost=lambda x, u: x @ Q @ x + u @ R @ u,
        terminal_cost=lambda x: 5.0 * (x @ x),
        initial_state=[1.0, -0.5],
        horizon=to.Horizon(steps=n),
    )
    P, gains = 5.0 * np.eye(2), []
    for _ in range(n):
        gains.append(-np.linalg.solve(R + B.T @ P @ B, B.T @ P @ A))
        P = Q + A.T @ P @ (A + B @ gains[-1])
    derivatives = to.solve(problem, LQR()).derivatives()
    np.testing.assert_allclose(derivatives.cost["initial_state"], 2.0 * P @ [1.0, -0.5], rtol=1e-10)
    moved = np.eye(2)
    for k, K in enumerate(reversed(gains)):
        np.testing.assert_allclose(derivatives.x["initial_state"][k], moved, atol=1e-10)
        np.testing.assert_allclose(derivatives.u["initial_state"][k], K @ moved, atol=1e-10)
        moved = (A + B @ K) @ moved


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    entries=st.lists(st.floats(-1.0, 1.0), min_size=8, max_size=8),
    start=st.lists(st.floats(-2.0, 2.0), min_size=2, max_size=2),
    limit=st.floats(0.05, 1.0),
)
def test_random_linear_quadratic_problems_with_bounds(entries, start, limit):
    """Along a random direction the answer moves as predicted, unless a bound is weakly active."""
    A, B = np.reshape(entries[:4], (2, 2)), np.reshape(entries[4:6], (2, 1))
    problem = to.Problem(
        dynamics=to.DiscreteDynamics(lambda x, u, p: A @ x + B @ u + p.drift, nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + 0.5 * u @ u,
        initial_state=start,
        constraints=[to.Bounds(control=(-limit, limit))],
        horizon=to.Horizon(steps=6),
        parameters={"drift": np.array(entries[6:])},
    )
    derivatives = to.solve(problem, TIGHT, raise_on_failure=True).derivatives()
    change = STEP * np.array([1.0, -0.7])
    tangent = derivatives.jvp(initial_state=change, parameters={"drift": change})
    later = problem.at(initial_state=np.add(start, change), parameters={"drift": np.array(entries[6:]) + change})
    moved = to.solve(later, TIGHT, raise_on_failure=True).derivatives()
    at_bound = [np.abs(np.abs(d.trajectory.u) - limit) <= STEP for d in (derivatives, moved)]
    exactly = [np.abs(d.trajectory.u) == limit for d in (derivatives, moved)]
    if derivatives.degenerate or not (np.array_equal(*exactly) and np.array_equal(at_bound[0], exactly[0])):
        return  # a control meets or leaves its bound on the way
    # Without a change of the active set the map is affine: nothing but rounding is left.
    for what in ("x", "u"):
        difference = getattr(moved.trajectory, what) - getattr(derivatives.trajectory, what)
        np.testing.assert_allclose(getattr(tangent, what), difference, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_vjp_is_the_transpose_of_jvp(case):
    """bar' (J d) = (J' bar)' d for random directions."""
    derivatives = to.solve(CASES[case], TIGHT).derivatives()
    rng = np.random.default_rng(1)
    shapes = {name: value.shape for name, value in derivatives.cost.items()}
    direction = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    state = direction.pop("initial_state")
    tangent = derivatives.jvp(initial_state=state, parameters=direction)
    x, u, cost, duration = rng.normal(size=tangent.x.shape), rng.normal(size=tangent.u.shape), 0.7, -0.3
    free = {name: rng.normal(size=np.shape(value)) for name, value in tangent.parameters.items()}
    gradient = derivatives.vjp(x, u, cost, duration_bar=duration, parameters_bar=free)
    forward = (x * tangent.x).sum() + (u * tangent.u).sum() + cost * tangent.cost + duration * tangent.duration
    forward += sum(np.sum(free[name] * tangent.parameters[name]) for name in free)
    fixed = [i for i, entry in enumerate(derivatives.solution.problem.initial_state) if entry is not None]
    backward = sum(np.sum(gradient[name] * direction[name]) for name in direction)
    backward += gradient["initial_state"][fixed] @ state[fixed]
    assert backward == pytest.approx(forward, rel=1e-8, abs=1e-8)


def test_free_parameters_have_derivatives():
    """The chosen parameter moves as re-solves say."""
    problem = population()
    derivatives = to.solve(problem, TIGHT).derivatives()
    ahead, behind = (
        to.solve(problem, TIGHT, parameters={"price": 0.7 + side * STEP}).parameters["feed"] for side in (1.0, -1.0)
    )
    assert derivatives.parameters["feed"]["price"] == pytest.approx((ahead - behind) / (2 * STEP), abs=1e-4)


def test_prediction_is_first_order_and_a_good_guess():
    """The error of a prediction falls with the square of the change, and DDP is nearer to its end after one step."""
    problem = CASES["smooth"]
    solution = to.solve(problem, DDP())
    derivatives = solution.derivatives()
    errors = []
    for change in (0.1, 0.05):
        later = problem.at(parameters={"mass": 1.2 + change}, initial_state=[0.2 + change, 0.1])
        predicted = derivatives.predict(parameters={"mass": 1.2 + change}, initial_state=[0.2 + change, 0.1])
        assert predicted.parameters["mass"] == 1.2 + change
        assert predicted.x[0].tolist() == [0.2 + change, 0.1]
        found = to.solve(later, DDP()).derivatives().trajectory
        errors.append(np.abs(predicted.u - found.u).max())
    assert errors[1] / errors[0] == pytest.approx(0.25, abs=0.05)
    warm, cold = (to.solve(later, DDP(), guess=guess) for guess in (predicted, solution))
    assert warm.success
    # From the old states, with a gap at the start, the first step is that prediction: the next ones tell them apart.
    assert abs(warm.history[2].stationarity) < abs(cold.history[2].stationarity)
    assert warm.iterations <= cold.iterations


def test_a_prediction_stays_within_bounds():
    """Bounds clip what the linear model would overstep."""
    derivatives = to.solve(CASES["bounds"], TIGHT).derivatives()
    predicted = derivatives.predict(initial_state=[-1.5, 0.1])
    assert np.abs(predicted.u).max() <= 0.8


def hinge(target):
    """The control follows p until its bound: u = min(p, 1)."""
    return to.Problem(
        dynamics=to.DiscreteDynamics(lambda x, u: x + u, states=["place"], controls=["push"]),
        stage_cost=lambda x, u, p: (u[0] - p.target) ** 2,
        initial_state=[0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0))],
        horizon=to.Horizon(steps=2),
        parameters={"target": target},
    )


def test_a_weakly_active_bound_is_told():
    """At the kink the flag names the bound, and the derivative is that of the side without it."""
    derivatives = to.solve(hinge(1.0), ILQR()).derivatives()
    assert derivatives.degenerate
    assert derivatives.weakly_active == ("bound of push at knot 0", "bound of push at knot 1")
    np.testing.assert_allclose(derivatives.u["target"], 1.0)
    assert "degenerate" in repr(derivatives)
    for target, slope in ((0.9, 1.0), (1.1, 0.0)):
        beside = to.solve(hinge(target), ILQR()).derivatives()
        assert not beside.degenerate
        np.testing.assert_allclose(beside.u["target"], slope)


def test_a_weakly_active_row_is_told():
    """The same for a path constraint."""
    problem = replace(hinge(1.0), constraints=[to.PathConstraint(lambda x, u: u[0], upper=1.0, name="push limit")])
    derivatives = to.solve(problem, MultipleShooting()).derivatives()
    assert derivatives.weakly_active == ("push limit at knot 0", "push limit at knot 1")


def test_duplicated_constraints_do_no_harm():
    """Rows that others imply leave the trajectory's derivatives what they were, and are told."""
    once = in_time(constraints=[to.TerminalConstraint([2.0, 0.0])])
    twice = in_time(constraints=[to.TerminalConstraint([2.0, 0.0]), to.TerminalConstraint(lambda x: 2.0 * x[0] - 4.0)])
    one, two = (to.solve(problem, TIGHT, raise_on_failure=True).derivatives() for problem in (once, twice))
    assert two.dependent
    assert not one.dependent
    for name in one.x:
        np.testing.assert_allclose(two.x[name], one.x[name], atol=1e-7)  # refinement takes the regularisation back


def test_an_undetermined_control_is_refused():
    """A control that nothing depends on has no derivative."""
    problem = to.Problem(
        dynamics=to.DiscreteDynamics(lambda x, u: x + u[:1], nx=1, nu=2),
        stage_cost=lambda x, u: u[0] ** 2 + x[0] ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(steps=4),
    )
    with pytest.raises(to.NotDifferentiable, match="singular"):
        to.solve(problem, MultipleShooting(), raise_on_failure=True).derivatives()


def test_only_optima_are_differentiated(tmp_path):
    """Failures, samplers, files and tampered answers are refused, each in a sentence."""
    problem = CASES["smooth"]
    solution = to.solve(problem, DDP())
    shaken = replace(solution.trajectory, u=solution.u + 0.3)
    solution.save(tmp_path / "solution.npz")
    for wrong, reason in (
        (replace(solution, trajectory=shaken), "differs from it by"),
        (to.solve(problem, DDP(iterations=1)), "iteration limit"),
        (to.solve(problem, MPPI(samples=32, iterations=2)), "MPPI"),
        (to.Solution.load(tmp_path / "solution.npz", problem), "which equations"),
    ):
        with pytest.raises(to.NotDifferentiable, match=reason):
            wrong.derivatives()


def test_black_boxes_are_refused():
    """Without expressions there is no optimality system."""
    dynamics = to.BlackBoxDynamics(lambda x, u: x + u, nx=1, nu=1)
    problem = to.Problem(dynamics, lambda x, u: u[0] ** 2, initial_state=[1.0], horizon=to.Horizon(steps=3))
    known = to.solve(CASES["smooth"], DDP())
    with pytest.raises(to.NotDifferentiable, match="black-box"):
        replace(known, problem=problem).derivatives()


def test_wrong_input_is_refused():
    """Names and shapes that mean nothing."""
    derivatives = to.solve(CASES["smooth"], DDP()).derivatives()
    for call in (
        lambda: derivatives.jvp(parameters={"gravity": 1.0}),
        lambda: derivatives.jvp(initial_state=[1.0]),
        lambda: derivatives.vjp(np.zeros((3, 2))),
        lambda: derivatives.vjp(u_bar=np.full((15, 1), np.nan)),
        lambda: derivatives.vjp(parameters_bar={"mass": 1.0}),
        lambda: derivatives.predict(parameters={"gravity": 1.0}),
    ):
        with pytest.raises(to.InvalidProblem, match=r"expected|correct the name"):
            call()
    clash = to.Problem(
        dynamics=to.DiscreteDynamics(lambda x, u, p: x + u * p["initial_state"], nx=1, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(steps=2),
        parameters={"initial_state": 1.0},
    )
    with pytest.raises(to.InvalidProblem, match="rename"):
        to.solve(clash, DDP()).derivatives()
