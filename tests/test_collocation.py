"""Collocation reaches optima that are known in closed form, with every kind of constraint and unknown."""

import numpy as np
import pytest

import trajopt as to
from trajopt.solvers.collocation import Collocation
from trajopt.trajectory import Interpolation


def double_integrator(x, u):
    return np.array([x[1], u[0]])


def effort(x, u):
    return 0.5 * u[0] ** 2


def integrator_problem(*constraints, duration=1.0, steps=20, start=(0.0, 0.0), **costs):
    return to.Problem(
        to.ContinuousDynamics(double_integrator, nx=2, nu=1),
        initial_state=start,
        constraints=constraints,
        horizon=to.Horizon(duration, steps=steps),
        **costs,
    )


def test_min_energy_is_exact_for_hermite_simpson():
    """States are cubic and the control linear, which the scheme represents: only rounding remains."""
    solution = to.solve(integrator_problem(to.TerminalConstraint([1, 0]), stage_cost=effort), Collocation())
    t = solution.t
    assert solution.success
    assert solution.trajectory.interpolation is Interpolation.QUADRATIC
    assert solution.cost == pytest.approx(6.0, rel=1e-12)
    np.testing.assert_allclose(solution.x[:, 0], 3 * t**2 - 2 * t**3, atol=1e-12)
    np.testing.assert_allclose(solution.u[:, 0], 6 - 12 * t, atol=1e-11)
    np.testing.assert_allclose(solution.trajectory.u_mid[:, 0], 6 - 6 * (t[1:] + t[:-1]), atol=1e-11)


def test_transversality_of_a_free_final_velocity():
    """Without a condition on the velocity its costate vanishes at the end, and the cost is 3/2."""
    solution = to.solve(integrator_problem(to.TerminalConstraint([1, None]), stage_cost=effort), Collocation())
    assert solution.cost == pytest.approx(1.5, rel=1e-12)
    assert solution.x[-1, 1] == pytest.approx(1.5, rel=1e-10)
    assert solution.multipliers["costates"][-1, 1] == pytest.approx(0.0, abs=1e-9)


def test_bryson_denham_state_bound():
    """J = 4/(9 l) with knots at the junctions 3 l = 1/3 and 2/3, where the control has its corners."""
    problem = integrator_problem(
        to.Bounds(state=([None, None], [1 / 9, None])), to.TerminalConstraint([0, -1]),
        start=(0, 1), steps=30, stage_cost=effort,
    )  # fmt: skip
    solution = to.solve(problem, Collocation())
    assert solution.success
    # The trapezoid rule of the corners is what remains: h^2 = 1e-3 times the jump of u', measured far below.
    assert solution.cost == pytest.approx(4.0, rel=1e-5)
    assert solution.x[:, 0].max() <= 1 / 9


@pytest.mark.parametrize("scheme", ["trapezoidal", "hermite_simpson"])
def test_minimum_time_double_integrator(scheme):
    """Bang-bang with the switch on a knot: T = 2."""
    problem = integrator_problem(
        to.Bounds(control=(-1, 1)), to.TerminalConstraint([1, 0]),
        duration=to.Free(0.1, 10, guess=1.0), steps=40, stage_cost=lambda x, u: 1.0,
    )  # fmt: skip
    solution = to.solve(problem, Collocation(scheme))
    assert solution.success
    # A continuous control blurs the switch over one interval: (h/T)^2 of the time.
    assert solution.t[-1] == pytest.approx(2.0, rel=2 / 40**2)
    assert solution.cost == pytest.approx(solution.t[-1], rel=1e-12)


def test_brachistochrone():
    """Cycloid from (0, 10) to (10, 5) under g = 9.80665; published time 1.8016031224530817."""
    problem = to.Problem(
        to.ContinuousDynamics(
            lambda x, u: np.array([x[2] * np.sin(u[0]), -x[2] * np.cos(u[0]), 9.80665 * np.cos(u[0])]), nx=3, nu=1
        ),
        terminal_cost=lambda x, t: t,
        initial_state=[0, 10, 0],
        constraints=[to.Bounds(control=(0, np.pi)), to.TerminalConstraint([10, 5, None])],
        horizon=to.Horizon(to.Free(0.1, 10, guess=2.0), steps=30),
        guess=([0, 2], [[0, 10, 0], [10, 5, 10]], [[0.1], [1.7]]),
    )
    solution = to.solve(problem, Collocation())
    assert solution.success
    assert solution.cost == pytest.approx(1.8016031224530817, rel=1e-6)  # order 4: (1/30)^4 = 1.2e-6


def test_isoperimetric_area():
    """Closed curve of length one, centred by two integrals, unit speed along the path: the circle of area 1/(4 pi)."""
    turn = 2 * np.pi * np.linspace(0, 1, 11)
    circle = 0.2 * np.column_stack([np.cos(turn), np.sin(turn)])
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=2, nu=2),
        stage_cost=lambda x, u: -0.5 * (x[0] * u[1] - x[1] * u[0]),
        constraints=[
            to.PathConstraint(lambda x, u: u @ u, lower=1.0, upper=1.0, name="speed"),
            to.BoundaryConstraint(lambda x0, xf: xf - x0, name="closed"),
            to.IntegralConstraint(lambda x, u: x, lower=0.0, upper=0.0, name="centre"),
        ],
        horizon=to.Horizon(1.0, steps=40),
        guess=(turn / turn[-1], circle, 5 * circle[:, ::-1] * [-1, 1]),
    )
    solution = to.solve(problem, Collocation())
    assert solution.success
    assert -solution.cost == pytest.approx(1 / (4 * np.pi), rel=1e-5)  # order 4: (2 pi/40)^4/180 = 3e-6
    np.testing.assert_allclose(solution.x[0], solution.x[-1], atol=1e-8)
    np.testing.assert_allclose(np.linalg.norm(solution.trajectory.u_mid, axis=1), 1.0, atol=1e-8)
    assert solution.multipliers["boundary"].shape == (2,)
    assert solution.multipliers["integral"].shape == (2,)


def test_moon_lander():
    """Bang-bang landing with least fuel: 2 sqrt(17), final time 4.16414."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] - 1.5]), states=["height", "speed"], nu=1),
        stage_cost=lambda x, u: u[0],
        initial_state=[10, -2],
        constraints=[
            to.Bounds(control=(0, 3), state=([0, None], [None, None])),
            to.TerminalConstraint([0, 0]),
        ],
        horizon=to.Horizon(to.Free(1, 20, guess=5.0), steps=60),
    )
    solution = to.solve(problem, Collocation())
    assert solution.success
    # The switch lies inside an interval, over which a continuous control blurs it: (h/T)^2 of the cost, of either sign.
    assert solution.cost == pytest.approx(2 * np.sqrt(17), rel=4 / 60**2)
    assert solution.t[-1] == pytest.approx(4.164140834156846, rel=4 / 60**2)


def test_free_start():
    """The latest start that still arrives by t = 10 is t = 8."""
    problem = to.Problem(
        to.ContinuousDynamics(double_integrator, nx=2, nu=1),
        initial_state=[0, 0],
        terminal_cost=lambda x, t: -t,
        stage_cost=lambda x, u: 1.0,
        constraints=[
            to.Bounds(control=(-1, 1)),
            to.TerminalConstraint([1, 0]),
            to.BoundaryConstraint(lambda x0, xf, t0, tf: tf, lower=0.05, upper=10.0),
        ],
        horizon=to.Horizon(to.Free(0.01, 10, guess=3.0), steps=40, start=to.Free(0.05, 10, guess=5.0)),
    )
    solution = to.solve(problem, Collocation())
    assert solution.success
    assert solution.t[0] == pytest.approx(8.0, rel=2 / 40**2)
    assert solution.t[-1] == pytest.approx(10.0, rel=1e-8)


def test_time_dependent_functions_see_a_free_clock():
    """min int (t - 3)^2 over a window of length 2 puts the window's middle at 3; the minimum is 2/3."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        stage_cost=lambda x, u, t: (t - 3.0) ** 2 + u[0] ** 2,
        initial_state=[0.0],
        horizon=to.Horizon(2.0, steps=7, start=to.Free(-10, 10)),
    )
    solution = to.solve(problem, Collocation())
    assert solution.t[0] == pytest.approx(2.0, abs=1e-8)
    assert solution.cost == pytest.approx(2 / 3, rel=1e-8)  # Simpson integrates parabolas exactly


def test_parameter_estimation_without_controls():
    """The rate of a decay is found from its curve; nothing but the parameter is free."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u, p: -p.rate * x, nx=1, nu=0),
        stage_cost=lambda x, u, t: (x[0] - np.exp(-2.0 * t)) ** 2,
        initial_state=[1.0],
        parameters={"rate": to.Free(0.1, 10.0, guess=0.5)},
        horizon=to.Horizon(1.0, steps=20),
    )
    solution = to.solve(problem, Collocation())
    assert solution.success
    assert solution.parameters["rate"] == pytest.approx(2.0, rel=1e-6)  # (2 h)^4 / 2880 of the scheme = 3.5e-8
    assert solution.u.shape == (21, 0)


def test_array_parameters_partly_free():
    """A free target and a fixed weight matrix: the target is the end of the cheapest motion, which is to stay."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=2, nu=2),
        stage_cost=lambda x, u, p: u @ p["weight"] @ u,
        initial_state=[1.0, 2.0],
        constraints=[to.BoundaryConstraint(lambda x0, xf, p: xf - p["target"])],
        parameters={"weight": np.array([[2.0, 0.5], [0.5, 1.0]]), "target": to.Free([0, 0], [5.0, 1.5])},
        horizon=to.Horizon(1.0, steps=4),
    )
    solution = to.solve(problem, Collocation())
    # Only y must move, by -0.5: u = (0.125, -0.5) minimises u'Wu given u_y, at the value u_y^2 (1 - 0.25/2).
    np.testing.assert_allclose(solution.parameters["target"], [1.125, 1.5], atol=1e-7)
    assert solution.cost == pytest.approx(0.25 * 0.875, rel=1e-7)
    np.testing.assert_array_equal(solution.parameters["weight"], [[2.0, 0.5], [0.5, 1.0]])


def test_periodic_boundary():
    """x' = u tracks cos(w t) over one period: the optimal periodic x is cos(w t)/(1 + w^2)."""
    w = 2 * np.pi
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        stage_cost=lambda x, u, t: 0.5 * (x[0] - np.cos(w * t)) ** 2 + 0.5 * u[0] ** 2,
        constraints=[to.BoundaryConstraint(lambda x0, xf: xf - x0)],
        horizon=to.Horizon(1.0, steps=40),
    )
    solution = to.solve(problem, Collocation())
    # Order 4: (w h)^4 / 180 = 3.4e-6 of the amplitude.
    np.testing.assert_allclose(solution.x[:, 0], np.cos(w * solution.t) / (1 + w**2), atol=4e-6)
    assert solution.cost == pytest.approx(w**2 / (4 * (1 + w**2)), rel=4e-6)


def test_path_constraints_hold_at_midpoints():
    """max int u with u <= 1 as a path constraint: left free at the midpoints, the control would run away there."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        stage_cost=lambda x, u: -u[0],
        initial_state=[0.0],
        constraints=[to.PathConstraint(lambda x, u: u[0], upper=1.0)],
        horizon=to.Horizon(1.0, steps=5),
    )
    solution = to.solve(problem, Collocation())
    np.testing.assert_allclose(solution.trajectory.u_mid, 1.0, rtol=1e-6)
    # dH/du = -1 + mu = 0 at every time: multipliers come out as densities.
    np.testing.assert_allclose(solution.multipliers["path"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(solution.multipliers["path_mid"], 1.0, rtol=1e-6)
