"""More dynamics of the library against physics that they do not state: momentum, energy, mass, steady states."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation
from test_problems_dynamics import EPS, assert_balance, derivative, vectors

from trajopt import problems
from trajopt.plain import PlainFunctions
from trajopt.problems import (
    marine_population,
    missile_bunt,
    moon_lander_planar,
    quadrotor_euler,
    rigid_body_reorientation,
    rocket_landing,
    stirred_tank,
)
from trajopt.problems.alpha_pinene import pinene
from trajopt.problems.cartpole import cartpole
from trajopt.problems.quadrotor_min_time import thrust_axis


def plain(name):
    """Functions of a problem of the library, on numbers."""
    problem = problems.load(name)
    return PlainFunctions(problem, problem.layout.pack(problem.parameters))


@given(vectors(7), vectors(3))
def test_rigid_body_momentum(draw, u):
    """In fixed axes, torque is all that changes the angular momentum; the quaternion keeps its length."""
    x = draw + np.array([0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0])
    x[:4] /= np.linalg.norm(x[:4])
    rate = rigid_body_reorientation.body(x, u)
    turned = rigid_body_reorientation.rotation(x[:4])
    np.testing.assert_allclose(turned, Rotation.from_quat(x[:4]).as_matrix(), atol=16.0 * EPS)
    assert abs(x[:4] @ rate[:4]) <= 16.0 * EPS * (1.0 + np.abs(rate[:4]).max())

    def momentum(z):
        return rigid_body_reorientation.rotation(z[:4]) @ (rigid_body_reorientation.INERTIA * z[4:])

    scale = rigid_body_reorientation.INERTIA.max() * (1.0 + x[4:] @ x[4:])
    np.testing.assert_allclose(derivative(momentum, x, rate), turned @ u, atol=256.0 * EPS * scale)


@given(vectors(3))
def test_thrust_axis_is_the_body_vertical(angles):
    """Roll, pitch and yaw are the angles of the rotation Rz Ry Rx."""
    roll, pitch, yaw = angles
    vertical = Rotation.from_euler("ZYX", [yaw, pitch, roll]).apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(thrust_axis(roll, pitch, yaw), vertical, atol=16.0 * EPS)


@given(arrays(float, 3, elements=st.floats(-1.2, 1.2)), vectors(3))
def test_euler_rates_turn_with_the_body(angles, spin):
    """Following the rates of roll, pitch and yaw for a short time is a turn by the body's angular velocity."""
    h = 1e-6
    rates = quadrotor_euler.euler_rates(angles[0], angles[1], spin)
    before, after = (Rotation.from_euler("ZYX", (angles + s * h * rates)[::-1]) for s in (-1.0, 1.0))
    turn = (before.inv() * after).as_rotvec() / (2.0 * h)
    # central differences err by h^2 times the third derivative, a product of three rates, each over cos(1.2) > 1/3
    np.testing.assert_allclose(turn, spin, atol=(3.0 * (1.0 + np.abs(rates).max())) ** 3 * h**2 + 32.0 * EPS / h)


@given(vectors(12, 1.0), arrays(float, 4, elements=st.floats(0.0, 600.0)))
def test_quadrotor_euler_energy(x, u):
    """Thrust and torques give all the power."""
    q = quadrotor_euler
    force, squares = q.THRUST * u**2, u**2
    torque = [q.ARM * (force[1] - force[3]), q.ARM * (force[2] - force[0]),
              q.DRAG * (squares[0] - squares[1] + squares[2] - squares[3])]  # fmt: skip
    power = force.sum() * thrust_axis(*x[6:9]) @ x[3:6] + torque @ x[9:12]

    def energy(z):
        return 0.5 * q.MASS * z[3:6] @ z[3:6] + 0.5 * z[9:12] @ (q.INERTIA * z[9:12]) + q.MASS * q.GRAVITY * z[2]

    assert_balance(energy, x, q.quadrotor(x, u), power)


@given(vectors(6), arrays(float, 2, elements=st.floats(0.0, 20.0)))
def test_planar_lander_energy(x, u):
    """Both thrusts, at the ends of the arm, give all the power."""
    sine, cosine = np.sin(x[4]), np.cos(x[4])
    power = 0.0
    for thrust, side in zip(u, (-0.5, 0.5), strict=True):
        offset = side * moon_lander_planar.ARM * np.array([cosine, sine])
        velocity = x[2:4] + x[5] * np.array([-offset[1], offset[0]])
        power += thrust * np.array([-sine, cosine]) @ velocity

    def energy(z):
        return 0.5 * z[2:4] @ z[2:4] + 0.5 * moon_lander_planar.INERTIA * z[5] ** 2 + moon_lander_planar.GRAVITY * z[1]

    assert_balance(energy, x, moon_lander_planar.lander(x, u), power)


@given(vectors(4, 1.0), st.floats(1000.0, 6000.0), st.floats(-4.0, 4.0))
def test_missile_obeys_newton_in_fixed_axes(draw, thrust, load):
    """Thrust less axial drag along the body, lift across it and weight give the acceleration."""
    x = np.array([0.0, 260.0, 5000.0, 900.0]) + draw * [1.5, 50.0, 5000.0, 900.0]
    m = missile_bunt
    attack, drag, lift = m.aerodynamics(x, load)
    body = np.array([np.cos(x[0] + attack), np.sin(x[0] + attack)])
    expected = ((thrust - drag) * body + lift * np.array([-body[1], body[0]])) / m.MASS - np.array([0.0, m.GRAVITY])
    rate = m.missile(x, np.array([thrust, load]))
    found = derivative(lambda z: z[1] * np.array([np.cos(z[0]), np.sin(z[0])]), x, rate)
    np.testing.assert_allclose(found, expected, atol=64.0 * EPS * (100.0 + abs(thrust) / m.MASS + abs(drag) / m.MASS))
    assert abs(attack) < 0.3


@given(arrays(float, 5, elements=st.floats(0.0, 100.0)), arrays(float, 5, elements=st.floats(0.0, 100.0)))
def test_pinene_keeps_its_mass(y, rates):
    """Every reaction turns one substance into another."""
    rate = pinene(y, {"rates": rates})
    assert abs(rate.sum()) <= 16.0 * EPS * (1.0 + np.abs(rate).sum() + 1e-5 * rates.max() * y.max())


@given(vectors(8), vectors(7), vectors(8))
def test_marine_population_loses_only_the_dead(y, growth, mortality):
    """Growing moves animals between stages."""
    rate = marine_population.population(y, {"growth": growth, "mortality": mortality})
    scale = (1.0 + np.abs(growth).max() + np.abs(mortality).max()) * (1.0 + np.abs(y).sum())
    assert abs(rate.sum() + mortality @ y) <= 16.0 * EPS * scale


def test_stirred_tank_rests_where_it_says():
    """Both states of the docstring are steady under their coolant temperatures, to the nine digits given."""
    for state, coolant in ((stirred_tank.COLD, 250.0), (stirred_tank.HOT, stirred_tank.COOLANT)):
        # half a unit of the last digit, 5e-7, times the sensitivity of the reaction rate, below 2 per second
        np.testing.assert_allclose(stirred_tank.reactor(np.array(state), np.array([coolant])), 0.0, atol=1e-6)


@given(vectors(6), vectors(3))
def test_rocket_steps_are_exact(x, u):
    """With held thrust a step is the exact parabola: two steps are one of twice the length."""
    twice = problems.load("rocket-landing", steps=50)
    single = plain("rocket-landing")
    long = PlainFunctions(twice, twice.layout.pack(twice.parameters))
    stepped = single.dynamics(single.dynamics(x, u, 0.0), u, 1.0)
    allowed = 64.0 * EPS * (1.0 + 10.0 * rocket_landing.GRAVITY)
    np.testing.assert_allclose(stepped, long.dynamics(x, u, 0.0), atol=allowed)


def test_cartpole_steps_follow_the_cartpole():
    """A Runge-Kutta step of 1/20 s is the motion up to its local error, which halving the step divides by 2^5."""
    x, u = np.array([0.1, 0.4, -0.3, 1.0]), np.array([2.0])

    def error(steps):
        problem = problems.load("cartpole-discrete", steps=steps)
        h = 5.0 / steps
        step = PlainFunctions(problem, problem.layout.pack(problem.parameters)).dynamics(x, u, 0.0)
        exact = solve_ivp(lambda t, z: cartpole(z, u), (0.0, h), x, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
        return np.abs(step - exact).max()

    coarse, fine = error(100), error(200)
    assert 2.0**4.5 < coarse / fine < 2.0**5.5
