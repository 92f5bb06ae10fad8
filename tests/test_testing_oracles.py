"""Each oracle against the fast code of the library, and against something that neither of them is."""

from __future__ import annotations

import math

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.integrate import solve_ivp
from scipy.linalg import solve_discrete_are
from scipy.optimize import lsq_linear

import trajopt as to
from trajopt.linear_quadratic import infinite_horizon
from trajopt.solvers import DDP, ILQR, LQR
from trajopt.solvers.kernels.box_qp import make_box, solve_box_qp
from trajopt.testing import oracles, strategies
from trajopt.testing.oracles.integration import STEPS
from trajopt.testing.strategies.numbers import arrays, positive_definite_matrices
from trajopt.transcription.stages import compile_stages

EPSILON = float(np.finfo(float).eps)


def few(examples: int):
    """Derandomised and without a deadline: some draws compile."""
    return settings(max_examples=examples, deadline=None, derandomize=True, phases=[Phase.generate], database=None)


def rounding(data: oracles.LinearQuadratic) -> float:
    """Forward error of the dense system: its operations times its condition number."""
    hessian = oracles.condense(data)[0]
    return 100.0 * EPSILON * data.steps * (data.nx + data.nu) ** 2 * float(np.linalg.cond(hessian))


@few(20)
@given(strategies.linear_quadratic_problems())
def test_riccati_against_the_plant_and_the_fast_recursion(case):
    """Law, value function and costates are those from which the problem was made, and LQR's."""
    found, solution = oracles.riccati(case.data), to.solve(case.problem, LQR())
    states, controls = found.roll_out(case.data)
    error = rounding(case.data) * (1.0 + np.abs(found.hessians).max())
    np.testing.assert_allclose(controls, case.controls, rtol=0.0, atol=error)
    np.testing.assert_allclose(found.costates(states), case.costates, rtol=0.0, atol=error)
    assert found.value(0, case.states[0]) == pytest.approx(case.cost, abs=error * (1.0 + abs(case.cost)))
    np.testing.assert_allclose(solution.feedback, found.gains, rtol=0.0, atol=error)
    np.testing.assert_allclose(solution.multipliers["value_hessians"], found.hessians, rtol=0.0, atol=error)
    for k in range(case.data.steps + 1):
        assert solution.multipliers["values"][k] == pytest.approx(
            found.value(k, solution.x[k]), abs=error * (1.0 + abs(case.cost))
        )


@few(20)
@given(st.integers(0, 2**16), st.integers(1, 5), st.integers(1, 4), st.integers(1, 8))
def test_riccati_against_the_condensed_program(seed, nx, nu, steps):
    """Full random tables: the law's controls solve H U = -g, whose H is found by rolling out."""
    data = oracles.LinearQuadratic.random(seed, nx, nu, steps)
    hessian, gradient, ends, rest = oracles.condense(data)
    states, controls = oracles.riccati(data).roll_out(data)
    optimum = np.linalg.solve(hessian, -gradient)
    error = rounding(data) * (1.0 + np.abs(optimum).max())
    np.testing.assert_allclose(controls.ravel(), optimum, rtol=0.0, atol=error)
    np.testing.assert_allclose(states.ravel(), ends @ optimum + rest, rtol=0.0, atol=10.0 * error)


def test_riccati_refuses_a_cost_without_curvature():
    """Where Q_uu is singular there is no law, and the stage is named."""
    data = oracles.LinearQuadratic.make(np.ones((1, 1, 2)), np.zeros((1, 2, 2)), np.zeros((1, 1)), [1.0])
    with pytest.raises(to.InvalidProblem, match="stage 0 has the curvature 0"):
        oracles.riccati(data)


@few(25)
@given(st.integers(0, 2**16), st.integers(1, 3), st.integers(1, 2))
def test_stationary_riccati_against_scipy(seed, nx, nu):
    """The fixed point of the recursion is the solution that scipy finds by an eigenvalue problem, S included."""
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(nx, nx)), rng.normal(size=(nx, nu))
    root = rng.normal(size=(nx + nu, nx + nu))
    W = root @ root.T + np.eye(nx + nu)
    Q, S, R = W[:nx, :nx], W[:nx, nx:], W[nx:, nx:]
    K, P = oracles.stationary_riccati(A, B, Q, R, S)
    # An ordered Schur form of a pencil with these entries keeps about half of the digits of hard pairs.
    np.testing.assert_allclose(P, solve_discrete_are(A, B, Q, R, s=S), rtol=1e-6)
    np.testing.assert_allclose(K, infinite_horizon(A, B, Q, R, S, discrete=True)[0], rtol=1e-6, atol=1e-9)
    assert np.abs(np.linalg.eigvals(A + B @ K)).max() < 1.0


def test_what_cannot_be_stabilised_is_refused():
    """The recursion grows for ever."""
    with pytest.raises(to.InvalidProblem, match="still changes after 50"):
        oracles.stationary_riccati([[2.0]], [[0.0]], [[1.0]], [[1.0]], iterations=50)


@few(25)
@given(strategies.constrained_linear_quadratic_problems())
def test_dense_kkt_finds_the_plant_and_its_multipliers(case):
    """Told which rows act, one dense system gives states, controls, costates and every multiplier."""
    found = oracles.dense_kkt(case.data, case.active)
    condition = 1e3 * rounding(case.data)  # the rows' own conditioning: quarter steps, at most five in a row
    np.testing.assert_allclose(found.states, case.states, rtol=0.0, atol=condition)
    np.testing.assert_allclose(found.controls, case.controls, rtol=0.0, atol=condition)
    np.testing.assert_allclose(found.costates, case.costates, rtol=0.0, atol=condition)
    for name, multipliers in case.multipliers.items():
        np.testing.assert_allclose(found.multipliers[name], multipliers, rtol=0.0, atol=condition)


@few(15)
@given(strategies.constrained_linear_quadratic_problems(degenerate=False))
def test_the_assembled_program_against_clarabel(case):
    """An interior-point method that never saw the plant returns it, with multipliers of the signs promised here."""
    program = oracles.assemble(case.data)
    w = cp.Variable(len(program.gradient))
    equal, low, high = program.lower == program.upper, np.isfinite(program.lower), np.isfinite(program.upper)
    low, high = low & ~equal, high & ~equal
    rows = [program.matrix[equal] @ w == program.upper[equal]]
    rows += [program.matrix[high] @ w <= program.upper[high]] if high.any() else []
    rows += [program.lower[low] <= program.matrix[low] @ w] if low.any() else []
    cost = 0.5 * cp.quad_form(w, cp.psd_wrap(program.hessian)) + program.gradient @ w
    tight = dict.fromkeys(("tol_gap_abs", "tol_gap_rel", "tol_feas"), 1e-11)
    value = cp.Problem(cp.Minimize(cost), rows).solve(solver="CLARABEL", **tight)
    y = np.zeros(len(program.lower))
    y[equal] = rows[0].dual_value
    if high.any():
        y[high] += rows[1].dual_value
    if low.any():
        y[low] -= rows[-1].dual_value
    found = oracles.read(case.data, w.value, y)
    assert value == pytest.approx(case.cost, abs=1e-7 * (1.0 + abs(case.cost)))
    np.testing.assert_allclose(found.controls, case.controls, atol=1e-4)
    np.testing.assert_allclose(found.costates, case.costates, atol=1e-4)
    for name, multipliers in case.multipliers.items():
        np.testing.assert_allclose(found.multipliers[name], multipliers, atol=1e-4)
    assert max(oracles.kkt_errors(case.data, found).values()) < 1e-4


def test_kkt_errors_see_each_condition():
    """A wrong state, costate, sign and an inactive multiplier each raise their own number."""
    data = oracles.LinearQuadratic.make(
        np.ones((1, 1, 2)), np.eye(2)[None], np.eye(1), [0.0], control_bounds=[[-1.0], [np.inf]]
    )
    zero = oracles.dense_kkt(data)
    assert oracles.kkt_errors(data, zero) == {
        "violation": 0.0, "stationarity": 0.0, "sign": 0.0, "complementarity": 0.0
    }  # fmt: skip
    assert oracles.kkt_errors(data, zero._replace(states=zero.states + 1.0))["violation"] == 1.0
    assert oracles.kkt_errors(data, zero._replace(costates=np.eye(2)[:, 1:]))["stationarity"] == 1.0
    above, below = ({**zero.multipliers, "control": np.array([[sign]])} for sign in (1.0, -1.0))
    assert oracles.kkt_errors(data, zero._replace(multipliers=above))["sign"] == 1.0
    assert oracles.kkt_errors(data, zero._replace(multipliers=below))["complementarity"] == 1.0


@few(60)
@given(st.integers(1, 4).flatmap(lambda m: st.tuples(
    positive_definite_matrices(m), *(arrays(m) for _ in range(2))
)))  # fmt: skip
def test_box_programs_by_enumeration(program):
    """Trying every set of bounds gives what the kernel and scipy's bounded least squares give."""
    hessian, gradient, lower = program
    upper = lower + 0.5
    found = oracles.box_quadratic_program(hessian, gradient, lower, upper)
    root = np.linalg.cholesky(hessian)
    other = lsq_linear(root.T, -np.linalg.solve(root, gradient), (lower, upper), method="bvls", tol=1e-14).x
    # The cost is flat at the optimum, and the curvature at least a half.
    error = np.sqrt(4.0 * 100.0 * EPSILON * np.linalg.cond(hessian))
    np.testing.assert_allclose(found, other, rtol=0.0, atol=error)
    box = make_box(len(gradient))
    for target, source in zip(box[:4], (hessian, gradient, lower, upper), strict=True):
        target[:] = source
    solution = np.clip(np.zeros((1, len(gradient))), lower, upper)
    solve_box_qp(0, solution, box)
    np.testing.assert_allclose(found, solution[0], rtol=0.0, atol=error)


@few(15)
@given(strategies.linear_quadratic_problems())
def test_tables_are_read_back_from_a_problem(case):
    """Differences of quadratic functions on a grid of quarters are exact, and so are the tables."""
    data = oracles.LinearQuadratic.of(case.problem)
    for name in ("dynamics", "offset", "hessian", "gradient", "end_hessian", "end_gradient", "initial_state"):
        np.testing.assert_array_equal(getattr(data, name), getattr(case.data, name))
    tail = case.data.tail(case.data.steps - 1, case.states[-2])
    assert oracles.riccati(tail).value(0, case.states[-2]) == pytest.approx(
        oracles.riccati(case.data).value(case.data.steps - 1, case.states[-2]), abs=case.rounding
    )


def test_wrong_tables_are_refused():
    """The name of the table, its shape and the one expected."""
    with pytest.raises(to.InvalidProblem, match=r"gradient of shape \(3,\), but \(1, 2\)"):
        oracles.LinearQuadratic.make(np.ones((1, 1, 2)), np.eye(2)[None], np.eye(1), [0.0], gradient=np.zeros(3))
    with pytest.raises(to.InvalidProblem, match="slope of shape"):
        oracles.LinearQuadratic.make(np.ones((1, 1, 2)), np.eye(2)[None], np.eye(1), [0.0], slope=np.zeros(1))
    with pytest.raises(to.InvalidProblem, match=r"\(N, nx, nx \+ nu\)"):
        oracles.LinearQuadratic.make(np.ones((1, 2, 2)), np.eye(2)[None], np.eye(1), [0.0])


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("midpoint", 2), ("rk3", 3), ("rk4", 4)])
def test_steps_have_their_order(name, order):
    """Halving the step divides the error of a pendulum against scipy's by 2^order, within a tenth of the order."""

    def rate(x, u, t):
        return np.array([x[1], u[0] * np.cos(t) - np.sin(x[0])])

    control, start, errors = np.array([0.5]), np.array([1.0, 0.0]), []
    exact = solve_ivp(lambda t, x: rate(x, control, t), (0.0, 1.0), start, rtol=1e-13, atol=1e-13, method="DOP853").y[
        :, -1
    ]
    for steps in (16, 32, 64):
        x, h = start, 1.0 / steps
        for k in range(steps):
            x = STEPS[name](rate, x, control, k * h, h)
        errors.append(np.abs(x - exact).max())
    slopes = np.log2(np.array(errors[:-1]) / errors[1:])
    assert slopes == pytest.approx(order, abs=0.1 * order)


@few(12)
@given(strategies.nonlinear_problems(), st.integers(0, 999), st.sampled_from(sorted(STEPS)))
def test_rollouts_are_those_of_the_compiled_stages(problem, seed, integrator):
    """States and cost, of either kind of time and each integrator, to the rounding of a few sums."""
    controls = np.random.default_rng(seed).uniform(-0.5, 0.5, (problem.horizon.steps, problem.nu))
    states, cost = oracles.roll_out(problem, controls, integrator)
    code, t = compile_stages(problem, integrator, second_order=False).code, problem.horizon.knots()
    parameters, x = problem.layout.pack(problem.parameters), problem.initial_values
    for k, u in enumerate(controls):
        x = code.evaluate("step", x, u, [t[k], t[k + 1] - t[k]], parameters)[0].ravel()
        np.testing.assert_allclose(x, states[k + 1], rtol=1e-13, atol=1e-13)
    held = (t, states, controls)
    solution = to.solve(problem, ILQR(integrator=integrator, iterations=1), guess=held)
    assert solution.history[0].cost == pytest.approx(cost, rel=1e-12)
    with pytest.raises(to.InvalidProblem, match="one row for each step"):
        oracles.roll_out(problem, controls[1:])


@few(10)
@given(strategies.linear_quadratic_problems(), st.integers(0, 99))
def test_the_twin_solves_linear_quadratic_problems_in_one_step(case, seed):
    """Its first iteration is the Riccati recursion, from any controls, and the promise of the model is kept."""
    controls = np.random.default_rng(seed).normal(size=case.controls.shape)
    twin = oracles.DifferentialTwin(case.problem, second_order=True)
    first = next(twin.iterations(controls))
    found, before = oracles.riccati(case.data), case.data.cost(case.data.roll_out(controls), controls)
    error = rounding(case.data) * (1.0 + np.abs(found.hessians).max()) * (1.0 + abs(before))
    assert first.length == 1.0
    np.testing.assert_allclose(first.controls, case.controls, rtol=0.0, atol=error)
    np.testing.assert_allclose(first.gains, found.gains, rtol=0.0, atol=error)
    assert first.cost == pytest.approx(case.cost, abs=error)
    assert first.decrement == pytest.approx(before - case.cost, abs=error)


def compare_iterates(problem, solver, *, second_order):
    """Cost after cost and step after step, until rounding decides about steps."""
    start = np.zeros((problem.horizon.steps, problem.nu))
    twin = oracles.DifferentialTwin(problem, second_order=second_order)
    states, cost = twin.roll_out(start)
    solution = to.solve(problem, solver, guess=(problem.horizon.knots(), states, start))
    assert solution.history[0].cost == pytest.approx(cost, rel=1e-13)
    for record, iteration in zip(solution.history[1:], twin.iterations(start), strict=False):
        if iteration.decrement <= 1e-12 * (1.0 + abs(cost)):
            break
        assert record.step == iteration.length
        assert record.cost == pytest.approx(iteration.cost, rel=1e-11, abs=1e-13)


@few(8)
@given(strategies.nonlinear_problems(control_bounds=False))
def test_iterates_are_those_of_the_fast_solver(problem):
    """Those of iLQR, in continuous and discrete time."""
    compare_iterates(problem, ILQR(newton=False, tolerance=1e-14), second_order=False)


@few(8)
@given(strategies.nonlinear_problems(control_bounds=False))
def test_iterates_of_second_order_are_those_of_the_fast_solver(problem):
    """Those of DDP, whose steps see the curvature of the dynamics: the optimum alone would not tell."""
    compare_iterates(problem, DDP(newton=False, tolerance=1e-14), second_order=True)


def test_the_twin_refuses_constraints():
    """It would have to be as long as the solver."""
    problem = oracles.LinearQuadratic.random(0, 2, 1, 3).problem(to.Bounds(control=(-1.0, 1.0)))
    with pytest.raises(to.InvalidProblem, match="control bounds"):
        oracles.DifferentialTwin(problem)


def moments(cost, mean: float, deviation: float, temperature: float, power: float) -> list[float]:
    """E w^power v^i, i = 0, 1, 2, for w = exp(-cost(v) / temperature), by a fine sum over the normal density."""
    v = np.linspace(mean - 12.0 * deviation, mean + 12.0 * deviation, 200_001)
    w = np.exp(-power * cost(v) / temperature) * stats.norm.pdf(v, mean, deviation) * (v[1] - v[0])
    return [float((w * v**i).sum()) for i in range(3)]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_posterior_of_mppi_by_quadrature(share):
    """Mean, variance, effective share and free energy of a scalar case, summed over a grid of 200,001 controls."""
    H, g, c, u, variance, temperature = 2.0, -1.0, 0.3, 0.4, 0.5, 1.5

    def cost(v):
        return 0.5 * H * v**2 + g * v + c + share * temperature * u * (v - u) / variance

    found = oracles.mppi_posterior([[H]], [g], c, [u], [[variance]], temperature, share)
    one, two = (moments(cost, u, math.sqrt(variance), temperature, power) for power in (1.0, 2.0))
    assert found.mean[0] == pytest.approx(one[1] / one[0], rel=1e-12)
    assert found.covariance[0, 0] == pytest.approx(one[2] / one[0] - (one[1] / one[0]) ** 2, rel=1e-11)
    assert found.effective_share == pytest.approx(one[0] ** 2 / two[0], rel=1e-11)
    assert found.free_energy == pytest.approx(-temperature * math.log(one[0]), rel=1e-11)


def test_the_posterior_of_the_reference_instance():
    """Ten steps of a double integrator: with the whole control cost the mean is the regulator's plan, whatever u."""
    A, B = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[0.0], [1.0]])
    data = oracles.LinearQuadratic.make(
        np.tile(np.hstack([A, B]), (10, 1, 1)), np.tile(np.diag([1.0, 1.0, 0.0]), (10, 1, 1)), np.eye(2), [1.0, 0.0]
    )
    hessian, gradient, *_ = oracles.condense(data)
    offset = data.cost(data.roll_out(np.zeros((10, 1))), np.zeros((10, 1)))
    # Published beside the derivation in this project's notes: R = temperature / variance = 1.
    found = oracles.mppi_posterior(hessian, gradient, offset, np.zeros(10), 0.5 * np.eye(10), 0.5, 1.0)
    assert found.mean[:3] == pytest.approx([-0.42208232, 0.10295815, 0.15303909], abs=5e-9)
    assert found.free_energy == pytest.approx(5.376262048546599, rel=1e-12)
    assert found.effective_share == pytest.approx(0.0026167233, rel=1e-7)


def test_weights_and_steps_of_samples():
    """By hand: equal costs weigh the same, NaN and infinity nothing, huge ones do not overflow."""
    assert oracles.softmax_weights([1e300, 1e300], 1e-3).tolist() == [0.5, 0.5]
    assert oracles.softmax_weights([0.0, np.nan, np.inf], 1.0).tolist() == [1.0, 0.0, 0.0]
    assert oracles.softmax_weights([np.nan], 1.0).tolist() == [0.0]
    assert oracles.effective_samples([0.25] * 4) == 4.0
    samples = np.array([[0.0], [2.0], [4.0], [100.0]])
    assert oracles.mppi_step(samples, [0.0, 0.0, np.nan, np.inf], 1.0).tolist() == [1.0]
    mean, covariance = oracles.cem_step(samples, [2.0, 1.0, 0.0, np.nan], 2)
    assert (mean.tolist(), covariance.tolist()) == ([3.0], [[1.0]])


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5, 0.9])
def test_the_closed_forms_of_cem_are_those_of_truncated_normals(share):
    """On a slope and in a bowl, against scipy's moments of the part that is kept."""
    edge = stats.norm.ppf(share)
    shift, factor = oracles.cem_on_a_slope(share)
    kept = stats.truncnorm(-np.inf, edge)
    assert (shift, factor) == pytest.approx((kept.mean(), kept.std()), rel=1e-9)
    middle = stats.norm.ppf(0.5 + 0.5 * share)
    assert oracles.cem_on_a_bowl(share) == pytest.approx(stats.truncnorm(-middle, middle).std(), rel=1e-8)


@few(20)
@given(strategies.constrained_linear_quadratic_problems(), st.integers(0, 999))
def test_infeasibility_is_not_certified_where_there_is_none(case, seed):
    """No certificate made of a feasible problem's own costates, nor of random multipliers, has a positive margin."""
    rng = np.random.default_rng(seed)
    wrong = {name: rng.normal(size=values.shape) for name, values in case.multipliers.items()}
    zero = {name: np.zeros_like(values) for name, values in case.multipliers.items()}
    assert not oracles.farkas_margin(case.data, case.costates, wrong) > 0.0
    assert oracles.farkas_margin(case.data, np.zeros_like(case.costates), zero) == 0.0
