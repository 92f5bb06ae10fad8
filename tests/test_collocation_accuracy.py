"""Orders of accuracy, costates and multipliers of Collocation against closed forms and dense linear algebra."""

import numpy as np
import pytest

import trajopt as to
from trajopt.solvers.collocation import Collocation
from trajopt.testing.oracles import LinearQuadratic, dense_kkt

T, END = 2.0, 0.5
A = (END - np.exp(-T)) / (np.exp(T) - np.exp(-T))
B = 1.0 - A
OPTIMUM = 0.510461418068826  # reference_optima: lqr_scalar_two_point


def two_point(steps, **changes):
    """min 1/2 int x^2 + u^2 with x' = u from 1 to 1/2: x = A e^t + B e^-t and costate -u."""
    settings = {
        "stage_cost": lambda x, u: 0.5 * (x @ x + u @ u),
        "initial_state": [1.0],
        "constraints": [to.TerminalConstraint([END])],
        "horizon": to.Horizon(T, steps=steps),
    }
    return to.Problem(to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1), **settings | changes)


def errors(scheme, steps):
    solution = to.solve(two_point(steps), Collocation(scheme, tolerance=1e-12))
    growing, falling = A * np.exp(solution.t), B * np.exp(-solution.t)
    state = np.abs(solution.x[:, 0] - growing - falling).max()
    costate = np.abs(solution.multipliers["costates"][:, 0] + growing - falling).max()
    return np.array([abs(solution.cost - OPTIMUM), state, costate])


@pytest.mark.parametrize(("scheme", "order"), [("trapezoidal", 2), ("hermite_simpson", 4)])
def test_order_of_cost_state_and_costate(scheme, order):
    """Halving the step divides the errors by 2^order."""
    coarse, fine = errors(scheme, 20), errors(scheme, 40)
    np.testing.assert_allclose(np.log2(coarse / fine), order, atol=0.3)


@pytest.mark.parametrize("scheme", ["trapezoidal", "hermite_simpson"])
def test_costate_is_the_derivative_of_the_cost(scheme):
    """The costate at the start equals dJ*/dx0 of the discretised problem, by central differences."""
    solver, step = Collocation(scheme, tolerance=1e-12), 1e-4
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], -np.sin(x[0]) + u[0]]), nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u[0] ** 2,
        terminal_cost=lambda x: 3.0 * x[0] ** 2 + x[0] * x[1],
        initial_state=[1.0, -0.5],
        horizon=to.Horizon(1.5, steps=10),
    )
    costate = to.solve(problem, solver).multipliers["costates"][0]
    for i, direction in enumerate(np.eye(2)):
        ends = [to.solve(problem.at(initial_state=[1.0, -0.5] + s * step * direction), solver).cost for s in (1, -1)]
        # Truncation step^2 = 1e-8, rounding 1e-15/step = 1e-11.
        assert costate[i] == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-7)


def test_costate_at_the_end_meets_transversality():
    """lambda(T) = d phi/dx + nu with the terminal multiplier nu; here lambda(T) = -u(T) in closed form."""
    solution = to.solve(two_point(40), Collocation(tolerance=1e-12))
    exact = B * np.exp(-T) - A * np.exp(T)
    assert solution.multipliers["terminal"][0] == pytest.approx(exact, abs=1e-7)
    assert solution.multipliers["costates"][-1, 0] == pytest.approx(exact, abs=1e-7)


def test_costate_jumps_are_split_evenly():
    """Bryson-Denham is its own mirror image: the costate of the position is odd about the middle, at its jumps too."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), nx=2, nu=1),
        stage_cost=lambda x, u: 0.5 * u[0] ** 2,
        initial_state=[0.0, 1.0],
        constraints=[to.Bounds(state=([None, None], [1 / 9, None])), to.TerminalConstraint([0.0, -1.0])],
        horizon=to.Horizon(1.0, steps=30),
    )
    costate = to.solve(problem, Collocation(tolerance=1e-10)).multipliers["costates"][:, 0]
    # u' = lambda_x = 18 before the first corner. The barrier leaves multipliers of 1e-10 or so over h at every knot.
    np.testing.assert_allclose(costate[:10], 18.0, rtol=1e-3)
    np.testing.assert_allclose(costate, -costate[::-1], atol=1e-5)


def test_scaling_changes_nothing_but_the_road():
    """In millimetres or in metres, scaled or not: the same cost, costates and multipliers."""
    metres = to.solve(two_point(10), Collocation(tolerance=1e-12))
    unit = 1e3
    problem = two_point(
        10,
        stage_cost=lambda x, u: 0.5 * (x @ x + u @ u) / unit**2,
        initial_state=[unit],
        constraints=[to.TerminalConstraint([END * unit]), to.Bounds(state=(-2 * unit, 2 * unit))],
    )
    for scaling in ("auto", None):
        solution = to.solve(problem, Collocation(tolerance=1e-12, scaling=scaling))
        assert solution.success
        assert solution.cost == pytest.approx(metres.cost, rel=1e-8)
        for name in ("costates", "terminal"):
            np.testing.assert_allclose(
                solution.multipliers[name] * unit, metres.multipliers[name], rtol=1e-6, atol=1e-8
            )


def test_units_do_not_change_the_number_of_iterations():
    """A swing-up in units a million times smaller has the same scaled program but for roundings to powers of two."""

    def swing(unit):
        scale = np.array([1.0, unit])
        return to.Problem(
            to.ContinuousDynamics(
                lambda x, u: np.array([x[1] / unit, unit * (u[0] / unit - 9.81 * np.sin(x[0]))]), nx=2, nu=1
            ),
            stage_cost=lambda x, u: (u[0] / unit) ** 2,
            initial_state=[0.0, 0.0],
            constraints=[to.Bounds(control=(-5 * unit, 5 * unit)), to.TerminalConstraint([np.pi, 0.0] * scale)],
            horizon=to.Horizon(3.0, steps=40),
        )

    plain, tiny = (to.solve(swing(unit), Collocation()) for unit in (1.0, 1e6))
    assert plain.success
    assert tiny.success
    assert tiny.cost == pytest.approx(plain.cost, rel=1e-7)
    assert tiny.iterations <= 1.5 * plain.iterations


def discrete_lq(steps=12):
    """A time-varying problem that x+ = A x + (1 + t) B u makes, with its matrices as parameters."""
    generator = np.random.default_rng(3)
    matrices = {
        "A": np.eye(3) + 0.3 * generator.normal(size=(3, 3)),
        "B": generator.normal(size=(3, 2)),
        "Q": np.diag([1.0, 2.0, 0.5]),
        "R": np.array([[1.0, 0.2], [0.2, 2.0]]),
    }
    return to.Problem(
        to.DiscreteDynamics(lambda x, u, t, p: p.A @ x + (1.0 + 0.1 * t) * p.B @ u, nx=3, nu=2),
        stage_cost=lambda x, u, p: 0.5 * (x @ p.Q @ x + u @ p.R @ u),
        terminal_cost=lambda x, p: 2.0 * x @ p.Q @ x,
        initial_state=[1.0, -1.0, 2.0],
        parameters=matrices,
        horizon=to.Horizon(steps=steps),
    )


def test_discrete_lq_equals_the_dense_kkt_solution():
    """Direct transcription of a time-varying linear-quadratic problem is one linear system."""
    problem = discrete_lq()
    solution = to.solve(problem, Collocation())
    data = LinearQuadratic.of(problem)
    answer = dense_kkt(data)
    assert solution.success
    np.testing.assert_allclose(solution.x, answer.states, atol=1e-8)
    np.testing.assert_allclose(solution.u, answer.controls, atol=1e-8)
    np.testing.assert_allclose(solution.multipliers["costates"], answer.costates, atol=1e-7)
    assert solution.cost == pytest.approx(data.cost(answer.states, answer.controls), rel=1e-10)
    assert solution.u.shape == (12, 2)


def test_discrete_path_and_sum_constraints():
    """Pushes of at most 0.4, 1.25 in all, early ones first, kept below 0.9 at every knot that still has a control."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        stage_cost=lambda x, u: -x[0],
        terminal_cost=lambda x: -x[0],
        initial_state=[0.0],
        constraints=[
            to.Bounds(control=(0.0, 0.4)),
            to.IntegralConstraint(lambda x, u: u[0], lower=0.0, upper=1.25),
            to.PathConstraint(lambda x, u: x[0], upper=0.9),
        ],
        horizon=to.Horizon(steps=6),
    )
    solution = to.solve(problem, Collocation())
    assert solution.success
    np.testing.assert_allclose(solution.u[:, 0], [0.4, 0.4, 0.1, 0.0, 0.0, 0.35], atol=1e-6)
    # More in the sum would be spent by the last push, where it gains its own size.
    assert solution.multipliers["integral"][0] == pytest.approx(1.0, rel=1e-6)
    assert solution.multipliers["path"].shape == (6, 1)
