"""Dynamics of the library against physics that they do not state: energy balances, symmetries, other coordinates."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.integrate import quad
from scipy.spatial.transform import Rotation

from trajopt.problems.acrobot import acrobot
from trajopt.problems.brachistochrone import bead
from trajopt.problems.car_escape import RADIUS, WAY_POINTS, walls
from trajopt.problems.cartpole import cartpole
from trajopt.problems.glider import FORCE, glider
from trajopt.problems.goddard_rocket import rocket
from trajopt.problems.lotka_volterra_fishing import pond
from trajopt.problems.pendulum import pendulum
from trajopt.problems.quadrotor import ARM, DRAG_ARM, GRAVITY, INERTIA, MASS, body_axis, quadrotor, resting_at
from trajopt.problems.robot_arm import LENGTH, robot_arm
from trajopt.problems.space_shuttle_reentry import (
    DENSITY,
    DRAG,
    EARTH_RADIUS,
    FEET,
    FEET_PER_SECOND,
    GRAVITATION,
    LIFT,
    SCALE_HEIGHT,
    SECONDS,
    WING_AREA,
    shuttle,
)
from trajopt.problems.space_shuttle_reentry import MASS as SHUTTLE_MASS
from trajopt.problems.two_link_arm import two_link_arm

EPS = np.finfo(float).eps


def vectors(size, bound=3.0):
    """Vectors of moderate numbers."""
    return arrays(float, size, elements=st.floats(-bound, bound, allow_subnormal=False))


def derivative(function, x, direction):
    """Directional derivative by a complex step, exact to rounding."""
    step = 1e-30
    return np.imag(function(np.asarray(x) + 1j * step * np.asarray(direction))) / step


def assert_balance(energy, x, rate, power):
    """The energy changes by the power of the forces, up to rounding of the terms that cancel."""
    terms = [abs(derivative(energy, x, rate * (np.arange(len(x)) == i))) for i in range(len(x))]
    assert abs(derivative(energy, x, rate) - power) <= 64.0 * EPS * (1.0 + sum(terms) + abs(power))


@given(vectors(2), vectors(1))
def test_pendulum_energy(x, u):
    """Torque and friction are all that change the energy of the pendulum."""
    assert_balance(
        lambda z: 0.5 * 0.25 * z[1] ** 2 - 0.5 * 9.81 * np.cos(z[0]), x, pendulum(x, u), (u[0] - 0.1 * x[1]) * x[1]
    )


@given(vectors(4), vectors(1))
def test_cartpole_energy(x, u):
    """The push on the cart is all that changes the energy of cart and bob."""

    def energy(z):
        bob = (z[2] + 0.5 * np.cos(z[1]) * z[3], 0.5 * np.sin(z[1]) * z[3])
        return 0.5 * z[2] ** 2 + 0.1 * (bob[0] ** 2 + bob[1] ** 2) - 0.2 * 9.81 * 0.5 * np.cos(z[1])

    assert_balance(energy, x, cartpole(x, u), u[0] * x[2])


@given(vectors(4), vectors(1))
def test_acrobot_energy(x, u):
    """The elbow's torque and friction are all that change the energy of two masses with inertias."""

    def energy(z):
        inner, outer = z[2], z[2] + z[3]
        elbow = (-np.sin(z[0]) * inner, np.cos(z[0]) * inner)
        tip = (elbow[0] - np.sin(z[0] + z[1]) * outer, elbow[1] + np.cos(z[0] + z[1]) * outer)
        kinetic = elbow[0] ** 2 + elbow[1] ** 2 + tip[0] ** 2 + tip[1] ** 2 + inner**2 + outer**2
        return 0.5 * kinetic + 9.81 * (2.0 * np.sin(z[0]) + np.sin(z[0] + z[1]))

    assert_balance(energy, x, acrobot(x, u), u[0] * x[3] - x[2] ** 2 - x[3] ** 2)


@given(vectors(4), vectors(2))
def test_two_link_arm_energy(x, u):
    """Two uniform rods of unit mass and length, the outer with a unit mass at its tip: motors give all the power."""

    def energy(z):
        return 0.5 * (7 / 3 * z[0] ** 2 + 3.0 * np.cos(z[2]) * z[0] * z[1] + 4 / 3 * z[1] ** 2)

    assert_balance(energy, x, two_link_arm(x, u), u[0] * x[0] + u[1] * (x[1] - x[0]))


@given(st.floats(0.0, 5.0), st.floats(0.2, 2.9))
def test_robot_arm_inertia(reach, polar):
    """The inertias are those of a thin uniform rod that sticks out by the reach on one side."""
    about_tilt = quad(lambda r: r**2, reach - LENGTH, reach)[0]
    rate = robot_arm(np.array([reach, 0.0, 0.0, 0.0, polar, 0.0]), np.ones(3))
    expected = [0.0, 1.0 / LENGTH, 0.0, 1.0 / (about_tilt * np.sin(polar) ** 2), 0.0, 1.0 / about_tilt]
    np.testing.assert_allclose(rate, expected, rtol=1e3 * EPS)


@given(vectors(3), vectors(1))
def test_bead_energy(x, u):
    """The wire does no work on the bead: speed and height trade at constant energy (per unit of mass)."""
    assert_balance(lambda z: 0.5 * z[2] ** 2 + 9.80665 * z[1], x, bead(x, u), 0.0)


@given(arrays(float, 2, elements=st.floats(0.1, 3.0)))
def test_unfished_pond_is_conservative(x):
    """Without fishing the Lotka-Volterra invariant stays."""
    assert_balance(lambda z: z[0] - np.log(z[0]) + z[1] - np.log(z[1]), x, pond(x, np.zeros(1)), 0.0)


@given(vectors(2, 2.0), st.floats(0.0, 1.4))
def test_glider_in_still_air(speeds, lift):
    """Far from the thermal the lift does no work and the drag takes D times the airspeed."""
    x = np.array([20.0, 10.0, 1.0 + abs(speeds[0]), speeds[1]])
    airspeed = np.hypot(x[2], x[3])
    power = -FORCE * (0.034 + 0.069662 * lift**2) * airspeed**3
    assert_balance(lambda z: 0.5 * (z[2] ** 2 + z[3] ** 2) + 9.81 * z[1], x, glider(x, np.array([lift])), power)


@given(st.floats(0.0, 1.3), st.floats(0.0, 1.3), st.floats(0.6, 1.0), st.floats(0.0, 3.5))
def test_goddard_units(altitude, speed, mass, thrust):
    """The rocket in the units of COPS, with radius, mass and gravity of one, moves alike."""
    h, v = 1.0 + altitude / 100.0, speed / 10.0
    drag = 310.0 * v**2 * np.exp(-500.0 * (h - 1.0))
    cops = np.array([v, (thrust - drag) / mass - 1.0 / h**2, -thrust / 0.5])
    ours = rocket(np.array([altitude, speed, mass]), np.array([thrust]))
    # 500 (h - 1) loses the digits that h - 1 cancels: 500 roundings of one
    np.testing.assert_allclose(ours, cops * [100.0 / 10.0, 10.0 / 10.0, 1.0 / 10.0], rtol=0, atol=1e4 * EPS)


def flight_state(draw):
    """A quadrotor anywhere, in any attitude, and four thrusts."""
    quaternion = draw[3:7] + np.array([4.0, 0.0, 0.0, 0.0])
    return np.concatenate([draw[:3], quaternion / np.linalg.norm(quaternion), draw[7:13]])


def rotation(x):
    """Attitude as a SciPy rotation, from body to world."""
    return Rotation.from_quat(x[[4, 5, 6, 3]])


@given(vectors(13), arrays(float, 4, elements=st.floats(0.0, 12.0)))
def test_quadrotor_energy_and_norm(draw, u):
    """Thrust and torques give all the power, and the quaternion keeps its length and stands for a rotation."""
    x = flight_state(draw)
    rate = quadrotor(x, u)
    np.testing.assert_allclose(body_axis(x[3:7]), rotation(x).apply([0.0, 0.0, 1.0]), atol=16.0 * EPS)
    assert abs(x[3:7] @ rate[3:7]) <= 16.0 * EPS * (1.0 + np.abs(rate[3:7]).max())
    torque = [ARM * (u[1] - u[3]), ARM * (u[2] - u[0]), DRAG_ARM * (u[0] - u[1] + u[2] - u[3])]
    power = u.sum() * rotation(x).apply([0.0, 0.0, 1.0]) @ x[7:10] + torque @ x[10:13]
    assert_balance(
        lambda z: 0.5 * MASS * z[7:10] @ z[7:10] + 0.5 * z[10:13] @ (INERTIA * z[10:13]) + MASS * GRAVITY * z[2],
        x, rate, power,
    )  # fmt: skip


@given(vectors(13))
def test_quadrotor_turns_about_its_own_axes(draw):
    """Following the quaternion's rate for a short time is a turn by the body's angular velocity.

    The quaternion after a time h is off by (|w| h / 2)^2 / 2, whereof the rotation shows twice as much.
    """
    x, h = flight_state(draw), 1e-6
    later = x.copy()
    later[3:7] += h * quadrotor(x, np.zeros(4))[3:7]
    turn = (rotation(x).inv() * rotation(later)).as_rotvec()
    spin = np.linalg.norm(x[10:13])
    np.testing.assert_allclose(turn / h, x[10:13], atol=spin**3 * h**2 + 32.0 * EPS / h)


@given(vectors(13), arrays(float, 4, elements=st.floats(0.0, 12.0)), st.floats(-3.0, 3.0))
def test_quadrotor_is_symmetric_about_the_vertical(draw, u, angle):
    """Turning the world about the vertical turns the motion with it."""
    x, yaw = flight_state(draw), Rotation.from_euler("z", angle)

    def turned(z):
        quaternion = yaw * Rotation.from_quat(z[[4, 5, 6, 3]]) if np.linalg.norm(z[3:7]) else None
        attitude = z[3:7] if quaternion is None else np.roll(quaternion.as_quat(), 1) * np.linalg.norm(z[3:7])
        return np.concatenate([yaw.apply(z[:3]), attitude, yaw.apply(z[7:10]), z[10:13]])

    rate, turned_rate = quadrotor(x, u), quadrotor(turned(x), u)
    magnitude = 1.0 + np.abs(rate).max()
    np.testing.assert_allclose(yaw.apply(rate[7:10]), turned_rate[7:10], atol=64.0 * EPS * magnitude)
    np.testing.assert_allclose(rate[10:13], turned_rate[10:13], atol=64.0 * EPS * magnitude)


def test_quadrotor_hovers():
    """A quarter of the weight on each rotor holds a level quadrotor in place, whatever the place."""
    np.testing.assert_allclose(
        quadrotor(resting_at([1.0, -2.0, 3.0]), np.full(4, MASS * GRAVITY / 4)), 0.0, atol=4 * EPS * GRAVITY
    )


def shuttle_in_space(z):
    """Position [ft] and velocity [ft/s] in axes that do not turn, from the six states; works on complex numbers."""
    altitude, longitude, latitude, speed, path_angle, azimuth = z
    up = np.array([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)])
    east = np.array([-np.sin(longitude), np.cos(longitude), 0.0 * longitude])
    north = np.array([-np.sin(latitude) * np.cos(longitude), -np.sin(latitude) * np.sin(longitude), np.cos(latitude)])
    level = np.cos(azimuth) * north + np.sin(azimuth) * east
    velocity = FEET_PER_SECOND * speed * (np.sin(path_angle) * up + np.cos(path_angle) * level)
    lift_axis = np.cos(path_angle) * up - np.sin(path_angle) * level
    side_axis = -np.sin(azimuth) * north + np.cos(azimuth) * east
    return (EARTH_RADIUS + FEET * altitude) * up, velocity, up, lift_axis, side_axis


@given(vectors(8, 1.0))
def test_shuttle_obeys_newton_in_cartesian_axes(draw):
    """Differentiating position and velocity in fixed axes gives velocity, and gravity plus lift plus drag."""
    x = np.array([1.7, 0.0, 0.0, 1.5, 0.0, 0.0]) + draw[:6] * [0.9, 3.0, 1.2, 1.2, 0.5, 3.0]
    attack, bank = 0.4 * draw[6], 1.5 * draw[7]
    rate = shuttle(x, np.array([attack, bank])) / SECONDS
    position, velocity, up, lift_axis, side_axis = shuttle_in_space(x)
    degrees = np.rad2deg(attack)
    pressure = 0.5 * DENSITY * np.exp(-FEET * x[0] / SCALE_HEIGHT) * (velocity @ velocity) * WING_AREA / SHUTTLE_MASS
    lift = pressure * np.polynomial.polynomial.polyval(degrees, LIFT)
    drag = pressure * np.polynomial.polynomial.polyval(degrees, DRAG)
    force = lift * (np.cos(bank) * lift_axis + np.sin(bank) * side_axis) - drag * velocity / np.linalg.norm(velocity)
    force = force - GRAVITATION / (position @ position) * up
    moved = derivative(lambda z: shuttle_in_space(z)[0], x, rate)
    accelerated = derivative(lambda z: shuttle_in_space(z)[1], x, rate)
    np.testing.assert_allclose(moved, velocity, atol=256.0 * EPS * np.linalg.norm(velocity))
    turning = np.linalg.norm(velocity) ** 2 / EARTH_RADIUS  # what curved coordinates add and take away again
    np.testing.assert_allclose(
        accelerated, force, atol=256.0 * EPS * (np.linalg.norm(force) + 10.0 * turning + abs(lift) + abs(drag))
    )


def test_walls_have_two_doors_and_no_others():
    """Start and goal are free, neighbouring discs overlap, and the way-points pass where no disc is."""
    centers = walls()
    assert centers.shape == (170, 2)
    for x, y, _ in (WAY_POINTS[0], WAY_POINTS[-1]):
        assert np.hypot(*(centers - [x, y]).T).min() > RADIUS
    path = np.concatenate([np.linspace(a[:2], b[:2], 50) for a, b in pairwise(WAY_POINTS)])
    assert np.hypot(*(path[:, None] - centers[None]).transpose(2, 0, 1)).min() > 0.9 * RADIUS
    gaps = np.sort(np.hypot(*(centers[:, None] - centers[None]).transpose(2, 0, 1)), axis=1)[:, 1]
    assert gaps.max() < 2.0 * RADIUS


@pytest.mark.parametrize("dynamics", [pendulum, cartpole, acrobot])
def test_hanging_is_an_equilibrium_and_upright_as_well(dynamics):
    """The conventions of the angles: both rests of the docstring are equilibria."""
    rests = {
        pendulum: ([0.0, 0.0], [np.pi, 0.0]),
        cartpole: ([0.0, 0.0, 0.0, 0.0], [0.0, np.pi, 0.0, 0.0]),
        acrobot: ([-np.pi / 2, 0.0, 0.0, 0.0], [np.pi / 2, 0.0, 0.0, 0.0]),
    }[dynamics]
    for rest in rests:
        np.testing.assert_allclose(dynamics(np.array(rest), np.zeros(1)), 0.0, atol=64.0 * EPS * 9.81)
