"""Published optima reproduced without any solver of the library: recursions, arcs put together, boundary layers."""

from itertools import accumulate

import numpy as np
import pytest
from scipy.integrate import quad, solve_bvp, solve_ivp
from scipy.linalg import expm
from scipy.optimize import brentq, least_squares, minimize
from scipy.special import lambertw

from trajopt import problems
from trajopt.problems import alpha_pinene, electric_vehicle, marine_population, methanol
from trajopt.problems.catalyst_mixing import tube
from trajopt.problems.dtoc1l import matrices
from trajopt.problems.gas_oil_cracking import GAS_OIL, GASOLINE, STEP, TAKEN
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


def drag(x):
    """Drag of the rocket."""
    return 3.1 * x[1] ** 2 * np.exp(-5.0 * x[0])


def weight(x):
    """Weight of the rocket."""
    return x[2] / (1.0 + x[0] / 100.0) ** 2


def singular_surface(x):
    """Zero on the singular arc, D (1 + v/c) = m g."""
    return drag(x) * (1.0 + x[1] / 5.0) - weight(x)


def singular_thrust(x):
    """Thrust that keeps the rocket on the singular surface."""

    def along(direction):
        return np.imag(singular_surface(x + 1e-30j * direction)) / 1e-30

    drift = rocket(x, np.zeros(1))
    return -along(drift) / along(rocket(x, np.ones(1)) - drift)


def burnt_until(offset):
    """State where full thrust from the ground meets the singular surface moved by ``offset``."""
    return flown_until(lambda x: singular_surface(x) - offset, lambda x: 3.5, [0.0, 0.0, 1.0])


def coasted(empty):
    """Height that is reached without thrust."""
    return flown_until(lambda x: x[1], lambda x: 0.0, empty)[0]


def test_goddard_by_three_arcs():
    """Full thrust to the singular surface D (1 + v/c) = m g, along it, then coasting: other switches are worse.

    Leaving full thrust off the surface by 1e-3 costs the square of that, a quarter of a millionth.
    """

    def height(offset):
        return coasted(flown_until(lambda x: x[2] - 0.6, singular_thrust, burnt_until(offset)))

    assert agrees("goddard-rocket", -height(0.0))
    assert 1e-7 < height(0.0) - max(height(1e-3), height(-1e-3)) < 1e-6


def test_goddard_with_speed_limit_by_four_arcs():
    """As without the limit until the singular arc meets it, then along it: other switches are worse, by the square."""

    def height(offset):
        limited = flown_until(lambda x: x[1] - 1.0, singular_thrust, burnt_until(offset))
        return coasted(flown_until(lambda x: x[2] - 0.6, lambda x: drag(x) + weight(x), limited))

    assert agrees("goddard-rocket-speed-limit", -height(0.0))
    assert 1e-8 < height(0.0) - max(height(1e-3), height(-1e-3)) < 1e-6


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
        times = STEP * TAKEN
        y = solve_ivp(
            lambda t, y: [-(a + c) * y[0] ** 2, a * y[0] ** 2 - b * y[1]],
            (0.0, times[-1]), [1.0, 0.0], t_eval=times, rtol=1e-10, atol=1e-12,
        ).y  # fmt: skip
        return np.concatenate([y[0] - GAS_OIL, y[1] - GASOLINE])

    found = least_squares(residuals, [10.0, 5.0, 0.5])
    assert agrees("gas-oil-cracking", 2.0 * found.cost)


def test_pinene_by_matrix_exponentials():
    """The model is linear in the composition: exponentials and Gauss-Newton give the residual."""

    def residuals(rates):
        a, b, c, d, e = alpha_pinene.RATE_UNIT * rates
        flow = np.zeros((5, 5))
        flow[:, 0], flow[:, 2], flow[:, 4] = (-a - b, a, b, 0, 0), (0, 0, -c - d, c, d), (0, 0, e, 0, -e)
        times = alpha_pinene.TIMES[1:]
        composition = np.array([expm(flow * t)[:, 0] for t in times]) * 100.0
        return (composition - alpha_pinene.SAMPLES).ravel()

    found = least_squares(residuals, [5.0, 3.0, 2.0, 20.0, 4.0])
    assert agrees("alpha-pinene", 2.0 * found.cost)


def test_marine_population_by_matrix_exponentials():
    """As above, with the first census free and some mortalities at zero."""

    def residuals(z):
        growth, mortality, census = z[:7], z[7:15], z[15:]
        flow = np.diag(growth, -1) - np.diag(mortality + np.append(growth, 0.0))
        interval = expm(flow * 0.5)
        powers = accumulate(range(20), lambda y, _: interval @ y, initial=census)
        return (np.array(list(powers)) - marine_population.CENSUSES).ravel()

    start = np.concatenate([np.full(7, 0.5), np.full(8, 0.1), marine_population.CENSUSES[0]])
    found = least_squares(residuals, start, bounds=(0.0, np.inf), xtol=1e-14, ftol=1e-14)
    assert agrees("marine-population", 2.0 * found.cost)


def test_methanol_by_least_squares():
    """An adaptive integrator and Gauss-Newton give the published residual."""

    def residuals(rates):
        y = solve_ivp(
            lambda t, y: methanol.conversion(y, {"rates": rates}),
            (0.0, methanol.TIMES[-1]), [1.0, 0.0, 0.0], t_eval=methanol.TIMES, rtol=1e-10, atol=1e-12,
        ).y  # fmt: skip
        return (y.T - methanol.SAMPLES).ravel()

    found = least_squares(residuals, [2.0, 2.0, 1.0, 1.0, 0.1], bounds=(0.0, np.inf))
    assert agrees("methanol", 2.0 * found.cost)


@pytest.mark.parametrize(("knots", "optimum", "digits"), [(101, 727.981317, 9), (5001, 134850.616259, 9)])
def test_dtoc6_by_its_euler_equation(knots, optimum, digits):
    """Backwards from the last state, each control is -W(costate) with Lambert's W; the first state must be zero.

    The value for 5001 knots is the one that FATROP and IPOPT find, with tolerances that leave it ten digits.
    """

    def backwards(last):
        state, costate, cost = last, 0.0, 0.0
        for _ in range(knots - 1):
            costate += state
            control = -lambertw(costate).real
            cost += 0.5 * (control**2 + state**2)
            state -= np.exp(control)
        return state, cost

    root = brentq(lambda last: backwards(last)[0], 1e-6, 10.0, xtol=1e-15)
    assert backwards(root)[1] == pytest.approx(optimum, rel=10.0**-digits)
    assert problems.reference("dtoc6").optimum == 727.981317


@pytest.mark.parametrize("name", ["fuller", "fuller-free-end"])
def test_fuller_by_its_switches(name):
    """After the first switch every arc is the one before scaled down, so their costs form a geometric series."""
    xi = np.sqrt((np.sqrt(33.0) - 1.0) / 24.0)
    ratio = np.sqrt((1.0 - 2.0 * xi) / (1.0 + 2.0 * xi))  # of speeds at consecutive switches
    speed = 1.0 / np.sqrt(1.0 + 2.0 * xi)
    first = quad(lambda t: (t - t**2 / 2) ** 2, 0.0, 1.0 + speed, epsabs=1e-14)[0]
    arc = quad(lambda t: (xi - t + t**2 / 2) ** 2, 0.0, 1.0 + ratio, epsabs=1e-14)[0]
    assert agrees(name, first + arc * speed**5 / (1.0 - ratio**5))


def test_electric_vehicle_by_the_maximum_principle():
    """The control is eliminated by stationarity, u = -(v + costate)/2, and collocation of SciPy solves the rest."""
    slope = np.polynomial.Polynomial(electric_vehicle.ROAD)

    def canonical(t, z):
        s, v, p, q, _ = z
        u = -(v + q) / 2
        return np.array([v, u - 1e-3 * v**2 - 0.1 - slope(s), q * slope.deriv()(s), 2e-3 * q * v - u - p, u * v + u**2])

    t = np.linspace(0.0, 1.0, 50)
    guess = np.array([10.0 * t, 10.0 + 0.0 * t, -100.0 + 0.0 * t, 200.0 * t - 100.0, 0.0 * t])
    found = solve_bvp(
        canonical, lambda a, b: np.array([a[0], a[1], b[0] - 10.0, b[1], a[4]]), t, guess, tol=1e-9, max_nodes=20_000
    )
    assert found.success
    assert agrees("electric-vehicle", 1e3 * found.y[4, -1])


def test_time_delay_by_condensing():
    """The trapezoidal rule with the delayed nodes makes one linear least-squares problem; Richardson removes h^2."""

    def cost(per_delay):
        h, n = 0.25 / per_delay, 20 * per_delay
        state = np.zeros((n + 1, 2, n + 2))  # affine in the n+1 controls; the last column is the constant
        state[0, :, -1] = 1.0
        now, late = np.array([[0.0, 1.0], [-10.0, -5.0]]), np.array([[0.0, 0.0], [-2.0, -1.0]])
        push = np.zeros((n + 1, 2, n + 2))
        push[np.arange(n + 1), 1, np.arange(n + 1)] = 1.0
        implicit = np.linalg.inv(np.eye(2) - h / 2 * now)
        for k in range(n):
            delayed = sum(late @ state[max(0, j - per_delay)] + push[j] for j in (k, k + 1))
            state[k + 1] = implicit @ (state[k] + h / 2 * (now @ state[k] + delayed))
        weights = np.sqrt(0.5 * h * np.where(np.isin(np.arange(n + 1), (0, n)), 0.5, 1.0))[:, None]
        rows = np.concatenate([np.sqrt(10.0) * weights * state[:, 0], weights * state[:, 1],
                               np.hstack([np.diag(weights[:, 0]), np.zeros((n + 1, 1))])])  # fmt: skip
        return np.linalg.lstsq(rows[:, :-1], -rows[:, -1])[1][0]

    coarse, fine = cost(10), cost(20)
    assert agrees("time-delay", fine + (fine - coarse) / 3.0)


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
