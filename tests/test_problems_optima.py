"""Published optima reproduced without any solver of the library: recursions, arcs put together, boundary layers."""

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.optimize import brentq, least_squares, minimize

from trajopt import problems
from trajopt.problems.catalyst_mixing import tube
from trajopt.problems.dtoc1l import matrices
from trajopt.problems.gas_oil_cracking import GAS_OIL, GASOLINE, SAMPLE_STEPS, STEP
from trajopt.problems.goddard_rocket import rocket


def agrees(name, cost):
    """Whether a cost is the optimum to the digits that are claimed."""
    reference = problems.reference(name)
    return abs(cost - reference.cost) <= reference.tolerance


def flown(dynamics, control, state, duration):
    """State after following a feedback law, by an integrator of order eight."""
    return solve_ivp(
        lambda t, x: dynamics(x, np.array([control(x)])),
        (0.0, duration),
        state,
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
    ).y[:, -1]


def flown_until(event, thrust, state):
    """State of the rocket where the event function first vanishes."""

    def stop(t, x):
        return event(x)

    stop.terminal = True
    return solve_ivp(
        lambda t, x: rocket(x, np.array([thrust(x)])),
        (0.0, 5.0), state, method="DOP853", rtol=1e-13, atol=1e-14, events=stop,
    ).y[:, -1]  # fmt: skip


def test_dtoc3_by_riccati():
    """A Riccati recursion over next-state costs gives the optimum of DTOC3 for any number of knots."""
    for knots, optimum in ((10, 224.5903818850981), (100, 234.28771650313), (5000, 235.2624810352049)):
        a = np.array([[1.0, 1.0 / knots], [-1.0 / knots, 1.0]])
        b = np.array([[0.0], [1.0 / knots]])
        value = np.zeros((2, 2))
        for _ in range(knots - 1):
            inner = value + np.diag([2.0, 1.0]) / (2.0 * knots)
            gain = np.linalg.solve(3.0 / knots + b.T @ inner @ b, b.T @ inner @ a)
            value = a.T @ inner @ (a - b @ gain)
        start = np.array([15.0, 5.0])
        assert start @ value @ start == pytest.approx(optimum, rel=1e-12)
    assert problems.reference("dtoc3").optimum == 234.28771650313


def test_dtoc1l_by_condensing():
    """Minimising over the controls alone, the states eliminated, gives the optimum of DTOC1L."""
    a, b = matrices(2, 4)

    def cost(controls):
        state, total = np.zeros(4), np.sum((controls + 0.5) ** 4)
        for control in controls.reshape(9, 2):
            total += np.sum((state + 0.25) ** 4)
            state = a @ state + b @ control
        return total + np.sum((state + 0.25) ** 4)

    found = minimize(cost, np.zeros(18), method="BFGS", options={"gtol": 1e-9})
    # BFGS stops on noise of the difference quotient, 1e-8, whose square over the curvature is the error of the cost
    assert found.fun == pytest.approx(problems.reference("dtoc1l").cost, abs=1e-10)


def test_hypersensitive_by_boundary_layers():
    """The cost is that of two layers, each an integral of the costate of the Hamilton-Jacobi equation."""
    arriving = quad(lambda x: -(x**3) + x * np.sqrt(x**4 + 1.0), 0.0, 1.5, epsrel=1e-13)[0]
    leaving = quad(lambda x: x**3 + x * np.sqrt(x**4 + 1.0), 0.0, 1.0, epsrel=1e-13)[0]
    assert agrees("hypersensitive", arriving + leaving)


def test_goddard_by_three_arcs():
    """Full thrust to the singular surface D (1 + v/c) = m g, along it, then coasting: other switches are worse.

    Leaving full thrust off the surface by 1e-3 costs the square of that, a quarter of a millionth.
    """

    def surface(x):
        drag = 3.1 * x[1] ** 2 * np.exp(-5.0 * x[0])
        return drag * (1.0 + x[1] / 5.0) - x[2] / (1.0 + x[0] / 100.0) ** 2

    def along(x, direction):
        return np.imag(surface(x + 1e-30j * direction)) / 1e-30

    def singular_thrust(x):
        drift = rocket(x, np.zeros(1))
        return -along(x, drift) / along(x, rocket(x, np.ones(1)) - drift)

    def height(offset):
        burnt = flown_until(lambda x: surface(x) - offset, lambda x: 3.5, [0.0, 0.0, 1.0])
        empty = flown_until(lambda x: x[2] - 0.6, singular_thrust, burnt)
        return flown_until(lambda x: x[1], lambda x: 0.0, empty)[0]

    assert agrees("goddard-rocket", -height(0.0))
    assert 1e-7 < height(0.0) - max(height(1e-3), height(-1e-3)) < 1e-6


@pytest.mark.parametrize(("name", "length"), [("catalyst-mixing", 1.0), ("catalyst-mixing-long", 4.0)])
def test_catalyst_mixing_by_three_arcs(name, length):
    """Bang, singular and bang again, joined at the published points, leave the published amounts.

    The optimum is stationary in the switching points, so their six digits give twelve in the cost.
    """
    state = flown(tube, lambda x: 1.0, [1.0, 0.0], 0.136299)
    state = flown(tube, lambda x: 0.22714208, state, length - 0.274770 - 0.136299)
    state = flown(tube, lambda x: 0.0, state, 0.274770)
    assert agrees(name, state.sum() - 1.0)


def test_van_der_pol_by_shooting():
    """A shot from the initial costate that ends with costate zero costs the published optimum."""

    def canonical(t, z):
        x, y, p, q, _ = z
        return [
            y,
            (1.0 - x**2) * y - x - q,
            -x - q * (-2.0 * x * y - 1.0),
            -y - p - q * (1.0 - x**2),
            0.5 * (x**2 + y**2 + q**2),
        ]

    def shot(costate):
        return solve_ivp(canonical, (0.0, 2.0), [1.0, 0.0, *costate, 0.0], method="DOP853", rtol=1e-12, atol=1e-13).y[
            :, -1
        ]

    found = least_squares(lambda costate: shot(costate)[2:4], [1.0, 0.5], xtol=1e-15, ftol=1e-15, gtol=1e-15)
    assert agrees("van-der-pol", shot(found.x)[4])


def test_gas_oil_by_least_squares():
    """Fitting the rates with an adaptive integrator and Gauss-Newton gives the published residual."""

    def residuals(rates):
        a, b, c = rates
        times = STEP * SAMPLE_STEPS
        y = solve_ivp(
            lambda t, y: [-(a + c) * y[0] ** 2, a * y[0] ** 2 - b * y[1]],
            (0.0, times[-1]), [1.0, 0.0], t_eval=times, rtol=1e-10, atol=1e-12,
        ).y  # fmt: skip
        return np.concatenate([y[0] - GAS_OIL, y[1] - GASOLINE])

    found = least_squares(residuals, [10.0, 5.0, 0.5])
    assert agrees("gas-oil-cracking", 2.0 * found.cost)


def test_linear_tangent_steering_by_its_law():
    """The tangent of the angle falls linearly from tan a to -tan a; both conditions at the end fix a and the time."""

    def mean(angle, weight, component):
        return quad(lambda s: weight(s) * component(np.arctan(np.tan(angle) * (1.0 - 2.0 * s))), 0.0, 1.0)[0]

    def duration(angle):
        return 45.0 / (100.0 * mean(angle, lambda s: 1.0, np.cos))

    def height(angle):
        return 100.0 * duration(angle) ** 2 * mean(angle, lambda s: 1.0 - s, np.sin)

    angle = brentq(lambda a: height(a) - 5.0, 0.1, 1.5, xtol=1e-14)
    assert agrees("linear-tangent-steering", duration(angle))
