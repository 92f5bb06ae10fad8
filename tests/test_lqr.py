"""LQR against dense linear algebra, closed forms and the algebraic Riccati equation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from ilqr_cases import LinearQuadratic, cartpole, held

import trajopt as to
from trajopt.linear_quadratic import infinite_horizon, linearise, nonlinear_parts
from trajopt.solvers.lqr import LQR

EPSILON = np.finfo(float).eps
PROBLEMS = st.builds(
    LinearQuadratic.draw,
    seed=st.integers(0, 2**16),
    nx=st.integers(1, 5),
    nu=st.integers(1, 4),
    steps=st.integers(1, 8),
)
# Every draw traces and compiles its own matrices, some tens of milliseconds; warm-up would break a deadline.
FEW = settings(max_examples=15, deadline=None, derandomize=True)
A = np.array([[1.0, 0.1], [0.2, 1.05]])
B = np.array([[0.0], [0.1]])
Q, R, S = np.diag([1.0, 0.5]), np.array([[0.1]]), np.array([[0.05], [0.02]])


def rounding(hessian: np.ndarray, case: LinearQuadratic) -> float:
    """Forward error of a linear solve: operations on the path times the condition number."""
    return 100.0 * EPSILON * case.steps * (case.nx + case.nu) ** 2 * np.linalg.cond(hessian)


def regulator(steps: int, *, end=None, continuous: bool = False, **weights) -> to.Problem:
    """Regulate A, B with weights Q, R, S, half of each in the cost."""
    q, r, s = (weights.get(name, default) for name, default in (("Q", Q), ("R", R), ("S", S)))

    def dynamics(x, u):
        return A @ x + B @ u

    def cost(x, u):
        return 0.5 * (x @ (q @ x) + u @ (r @ u)) + x @ (s @ u)

    return to.Problem(
        (to.ContinuousDynamics if continuous else to.DiscreteDynamics)(dynamics, nx=2, nu=1),
        stage_cost=cost,
        terminal_cost=None if end is None else lambda x: 0.5 * (x @ (end @ x)),
        initial_state=[1.0, -0.5],
        horizon=to.Horizon(steps * 0.05, steps=steps) if continuous else to.Horizon(steps=steps),
    )


@FEW
@given(case=PROBLEMS, seed=st.integers(0, 99))
def test_the_answer_is_that_of_the_dense_linear_system(case, seed):
    """Controls and cost agree with the condensed problem, with cross, affine and time-varying terms, from any guess."""
    problem = case.problem()
    guess = 10.0 * np.random.default_rng(seed).normal(size=(case.steps, case.nu))
    solution = to.solve(problem, LQR(), guess=held(problem, guess))
    hessian, gradient, _, _ = case.condense()
    optimum = np.linalg.solve(hessian, -gradient).reshape(case.steps, case.nu)
    error = rounding(hessian, case) * (1.0 + np.abs(optimum).max())
    assert solution.success
    assert solution.iterations == 2  # one sweep solves, one confirms
    np.testing.assert_allclose(solution.u, optimum, rtol=0.0, atol=error)
    assert solution.cost == pytest.approx(case.cost(optimum), abs=error * (1.0 + abs(solution.cost)))


@FEW
@given(case=PROBLEMS)
def test_gains_costates_and_values_are_those_of_the_riccati_recursion(case):
    """K, P x + p, P and the cost from each knot on, at every knot."""
    solution = to.solve(case.problem(), LQR())
    K, k, P, p = case.riccati()
    error = rounding(case.condense()[0], case) * (1.0 + np.abs(P).max()) * (1.0 + np.abs(solution.x).max())
    np.testing.assert_allclose(solution.feedback, K, rtol=0.0, atol=error)
    np.testing.assert_allclose(solution.multipliers["value_hessians"], P, rtol=0.0, atol=error)
    costates = np.einsum("kij,kj->ki", P, solution.x) + p
    np.testing.assert_allclose(solution.multipliers["costates"], costates, rtol=0.0, atol=error)
    np.testing.assert_allclose(np.einsum("kij,kj->ki", K, solution.x[:-1]) + k, solution.u, rtol=0.0, atol=error)
    values, end = solution.multipliers["values"], solution.x[-1]
    assert values[0] == pytest.approx(solution.cost, abs=error)
    assert values[-1] == pytest.approx(0.5 * end @ case.P @ end + case.p @ end, abs=error)


@FEW
@given(case=PROBLEMS, seed=st.integers(0, 99))
def test_no_control_does_better_than_the_value_function_says(case, seed):
    """Bellman's inequality at random points, V_k(x) <= L_k(x, u) + V_{k+1}(x+), and equality under the law."""
    solution = to.solve(case.problem(), LQR())
    y, P, V = (solution.multipliers[name] for name in ("costates", "value_hessians", "values"))

    def value(k, x):
        d = x - solution.x[k]
        return V[k] + y[k] @ d + 0.5 * d @ P[k] @ d

    def action(k, x, u):
        F, c, g = case.stage(k)
        z = np.concatenate([x, u])
        return 0.5 * z @ case.H @ z + g @ z + value(k + 1, F @ z + c)

    rng = np.random.default_rng(seed)
    error = rounding(case.condense()[0], case) * (1.0 + np.abs(P).max()) * (10.0 + np.abs(solution.x).max()) ** 2
    for k in range(case.steps):
        x, u = solution.x[k] + rng.normal(size=case.nx), rng.normal(size=case.nu)
        law = solution.u[k] + solution.feedback[k] @ (x - solution.x[k])
        assert value(k, x) <= action(k, x, u) + error
        assert value(k, x) == pytest.approx(action(k, x, law), abs=error)


@pytest.mark.parametrize("integrator", ["euler", "midpoint", "rk3", "rk4"])
def test_continuous_time_is_discretised_exactly_as_the_integrator_does(integrator):
    """The transition is the integrator's own polynomial of A h, and the gains are those for that discrete system."""
    solution = to.solve(regulator(40, continuous=True), LQR(integrator=integrator))
    order = {"euler": 1, "midpoint": 2, "rk3": 3, "rk4": 4}[integrator]
    h = 0.05
    powers = [np.linalg.matrix_power(A, i) * h**i / scipy.special.factorial(i) for i in range(order + 1)]
    inputs = sum(np.linalg.matrix_power(A, i) * h ** (i + 1) / scipy.special.factorial(i + 1) for i in range(order)) @ B
    expected = np.array([sum(powers) @ x + inputs @ u for x, u in zip(solution.x[:-1], solution.u, strict=True)])
    np.testing.assert_allclose(solution.x[1:], expected, rtol=0.0, atol=100 * EPSILON)
    assert solution.success


def test_a_moving_target_is_tracked_without_lag_where_that_is_free():
    """With a cost on the distance alone and full actuation the optimum stays on the target, at cost zero."""
    target = np.array([np.sin(0.3 * np.arange(21)), np.cos(0.3 * np.arange(21))]).T
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=2, nu=2),
        stage_cost=lambda x, u, t: (x[0] - np.sin(0.3 * t)) ** 2 + (x[1] - np.cos(0.3 * t)) ** 2,
        terminal_cost=lambda x, t: (x[0] - np.sin(0.3 * t)) ** 2 + (x[1] - np.cos(0.3 * t)) ** 2,
        initial_state=target[0],
        horizon=to.Horizon(steps=20),
    )
    solution = to.solve(problem, LQR())
    assert solution.success
    np.testing.assert_allclose(solution.x, target, rtol=0.0, atol=1e3 * EPSILON)


def test_free_entries_of_the_initial_state_are_optimal():
    """Where the initial state is free, its costate is zero; the fixed entry stays."""
    case = LinearQuadratic.draw(5, 3, 2, 6)
    problem = case.problem()
    free = to.Problem(
        problem.dynamics,
        problem.stage_cost,
        problem.terminal_cost,
        initial_state=[None, 0.5, None],
        horizon=problem.horizon,
    )
    solution = to.solve(free, LQR())
    fixed = to.solve(problem.at(initial_state=solution.x[0]), LQR())
    assert solution.success
    assert solution.x[0, 1] == 0.5
    error = rounding(case.condense()[0], case)
    np.testing.assert_allclose(fixed.multipliers["costates"][0, [0, 2]], 0.0, atol=error)
    assert solution.cost == pytest.approx(fixed.cost, abs=error)


def test_an_unstable_system_is_solved_over_a_horizon_on_which_its_rollout_overflows():
    """The recursion closes the loop before anything is simulated: x+ = 1e4 x + u over 100 steps."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: 1e4 * x + u, nx=1, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u,
        initial_state=[1.0],
        horizon=to.Horizon(steps=100),
    )
    solution = to.solve(problem, LQR())
    K, P = infinite_horizon([[1e4]], [[1.0]], [[1.0]], [[1.0]], discrete=True)
    assert solution.success
    assert solution.cost == pytest.approx(P[0, 0], rel=1e-12)
    assert solution.feedback[0, 0, 0] == pytest.approx(K[0, 0], rel=1e-12)


def test_a_long_horizon_approaches_the_algebraic_riccati_equation():
    """P of the first knot and its gain converge to those of infinite_horizon, and P is its fixed point."""
    K, P = infinite_horizon(A, B, Q, R, S, discrete=True)
    contraction = np.abs(np.linalg.eigvals(A + B @ K)).max()
    for steps in (20, 80, 400):
        solution = to.solve(regulator(steps), LQR())
        gap = np.abs(solution.multipliers["value_hessians"][0] - P).max()
        assert gap <= 100.0 * contraction ** (2 * steps) * np.abs(P).max() + 1e-12 * np.abs(P).max()
    np.testing.assert_allclose(solution.feedback[0], K, rtol=1e-10)
    stationary = to.solve(regulator(5, end=P), LQR()).multipliers["value_hessians"]
    np.testing.assert_allclose(stationary, np.broadcast_to(P, stationary.shape), rtol=1e-12)


def test_the_continuous_law_satisfies_its_riccati_equation():
    """The residual of A'P + PA - (PB + S) R^-1 (PB + S)' + Q is rounding; double integrator: P known in closed form."""
    K, P = infinite_horizon(A, B, Q, R, S, discrete=False)
    cross = P @ B + S
    residual = A.T @ P + P @ A - cross @ np.linalg.solve(R, cross.T) + Q
    assert np.abs(residual).max() <= 1e3 * EPSILON * np.abs(P).max() ** 2
    np.testing.assert_allclose(K, -np.linalg.solve(R, cross.T))
    K, P = infinite_horizon([[0, 1], [0, 0]], [[0], [1]], np.diag([1.0, 0.0]), [[1.0]], discrete=False)
    np.testing.assert_allclose(P, [[np.sqrt(2), 1], [1, np.sqrt(2)]], rtol=1e-12)
    np.testing.assert_allclose(K, [[-1, -np.sqrt(2)]], rtol=1e-12)


def test_linearising_gives_the_derivatives_and_a_law_that_holds_the_pole_upright():
    """A, B agree with central differences; the closed loop brings a displaced cart-pole back."""
    problem = cartpole()
    upright, rest = np.array([0.0, np.pi, 0.0, 0.0]), np.zeros(1)
    x, u = np.array([0.1, 2.0, -0.3, 0.7]), np.array([0.4])
    plain = problem.dynamics.function.function
    jacobian = np.hstack(linearise(problem, x, u))
    z, h = np.concatenate([x, u]), EPSILON ** (1 / 3)
    differences = [
        (np.asarray(plain((z + h * e)[:4], (z + h * e)[4:])) - plain((z - h * e)[:4], (z - h * e)[4:])) / (2 * h)
        for e in np.eye(5)
    ]
    np.testing.assert_allclose(jacobian, np.array(differences).T, atol=1e3 * h**2)
    K, _ = infinite_horizon(*linearise(problem, upright, rest), np.eye(4), np.eye(1), discrete=False)
    state = upright + np.array([0.1, 0.1, 0.0, 0.0])
    for _ in range(2000):
        state = state + 0.01 * np.asarray(plain(state, K @ (state - upright)))
    np.testing.assert_allclose(state, upright, atol=1e-3)


@pytest.mark.parametrize(
    ("dynamics", "cost", "words"),
    [
        (lambda x, u: np.array([x[1], np.sin(x[0]) + u[0]]), lambda x, u: u @ u, "'rate' is not linear in angle"),
        (lambda x, u: np.array([x[1], x[0] * u[0]]), lambda x, u: u @ u, "not linear in angle, torque"),
        (
            lambda x, u: np.array([x[1], np.floor(x[0]) + u[0]]),
            lambda x, u: u @ u,
            "'rate' is not linear, for it bends or jumps",
        ),
        (lambda x, u: np.array([x[1], abs(x[0]) + u[0]]), lambda x, u: u @ u, "not linear in angle"),
        (lambda x, u: np.array([x[1], u[0]]), lambda x, u: u @ u + x[0] ** 4, "stage_cost is not quadratic in angle"),
        (lambda x, u: np.array([x[1], u[0]]), lambda x, u: abs(u[0]), "stage_cost is not quadratic, for it bends"),
    ],
)
def test_what_is_not_linear_or_quadratic_is_named(dynamics, cost, words):
    """The refusal names function and variable and points to ILQR."""
    problem = to.Problem(
        to.ContinuousDynamics(dynamics, states=["angle", "rate"], controls=["torque"]),
        stage_cost=cost,
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(1.0, steps=5),
    )
    with pytest.raises(to.UnsupportedProblem, match=words) as caught:
        to.solve(problem, LQR())
    assert "ILQR()" in str(caught.value)


def test_products_of_parameters_and_time_with_the_state_are_linear():
    """Only state and control count: p x and t x are linear, p x^2 in a cost is quadratic."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u, t, p: p.a**2 * x * np.cos(t) + np.sin(p.a) * u, nx=1, nu=1),
        stage_cost=lambda x, u, t, p: p.a * (x[0] - t) ** 2 + u[0] ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(steps=5),
        parameters={"a": 1.5},
    )
    assert nonlinear_parts(problem) == []
    assert to.solve(problem, LQR()).success


@pytest.mark.parametrize(("R_sign", "linear"), [(-1.0, 0.0), (0.0, 1.0)])
def test_unbounded_problems_are_reported_with_the_control_and_time(R_sign, linear):
    """Negative curvature, or a slope without curvature, at the last stage, where no future state bounds the control."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, controls=["thrust"]),
        stage_cost=lambda x, u: x[0] ** 2 + R_sign * u[0] ** 2 + linear * u[0],
        initial_state=[1.0],
        horizon=to.Horizon(steps=4),
    )
    solution = to.solve(problem, LQR())
    assert solution.status is to.Status.DIVERGED
    assert "'thrust'" in solution.message
    assert "t = 3" in solution.message
    assert np.isfinite(solution.x).all()


def test_negative_control_weights_that_the_future_outweighs_are_fine():
    """R = -1 with P = 4 behind it is convex: V = min -u^2 + 4 (x + u)^2 has its minimum at u = -4x/3."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        stage_cost=lambda x, u: -(u[0] ** 2),
        terminal_cost=lambda x: 4.0 * x[0] ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(steps=1),
    )
    solution = to.solve(problem, LQR())
    assert solution.success
    assert solution.u[0, 0] == pytest.approx(-4.0 / 3.0, abs=100 * EPSILON)


def test_of_controls_that_make_no_difference_the_smallest_is_taken():
    """Two controls that act only through their sum share the work, and the message says that they were a choice."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u[0] + u[1], nx=1, nu=2),
        stage_cost=lambda x, u: x[0] ** 2 + (u[0] + u[1]) ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(steps=10),
    )
    solution = to.solve(problem, LQR())
    assert solution.success
    assert "smallest" in solution.message
    np.testing.assert_allclose(solution.u[:, 0], solution.u[:, 1], atol=100 * EPSILON)
    single = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        stage_cost=lambda x, u: x[0] ** 2 + u[0] ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(steps=10),
    )
    assert solution.cost == pytest.approx(to.solve(single, LQR()).cost, rel=1e-13)


def test_a_function_that_is_not_finite_at_some_time_ends_in_numerical_failure():
    """1 / (t - 3) is infinite at the fourth knot."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u, t: x + u, nx=1, nu=1),
        stage_cost=lambda x, u, t: x[0] ** 2 / (t - 3.0) ** 2 + u[0] ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(steps=6),
    )
    solution = to.solve(problem, LQR())
    assert solution.status is to.Status.NUMERICAL_FAILURE
    assert "not finite" in solution.message


def test_control_bounds_are_refused():
    """A bound is no linear-quadratic problem any more."""
    case = LinearQuadratic.draw(1, 2, 1, 3)
    with pytest.raises(to.UnsupportedProblem, match="control bounds"):
        to.solve(case.problem(to.Bounds(control=(-1, 1))), LQR())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((A, B[:1], Q, R), "B has shape"),
        ((A, B, np.array([[1.0, 1.0], [0.0, 1.0]]), R), "Q is not symmetric"),
        ((A, B, Q, -R), "R has the eigenvalue"),
        ((np.diag([1.5, 0.1]), B, Q, R), "eigenvalue 1.5"),
        ((np.array([[0.0, 1.0], [0.0, 0.0]]), np.array([[0.0], [1.0]]), np.zeros((2, 2)), R), "optimal and stable"),
        ((np.full((2, 2), np.nan), B, Q, R), "NaN"),
    ],
)
def test_what_has_no_infinite_horizon_says_why(arguments, words):
    """Sizes, symmetry, definiteness, stabilisability, and weights that miss a mode."""
    with pytest.raises(to.InvalidProblem, match=words):
        infinite_horizon(*arguments, discrete=False)


@pytest.mark.parametrize("arguments", [{"integrator": "rk5"}, {"tolerance": 0.0}, {"tolerance": float("nan")}])
def test_settings_that_mean_nothing_are_refused(arguments):
    """At construction, in one sentence."""
    with pytest.raises(to.InvalidProblem, match="was given"):
        LQR(**arguments)
