"""Traced functions agree with plain NumPy, in value and in derivative."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajopt.symbolic import Vector, trace, vector

EPS = np.finfo(float).eps
SIZE = 4  # of x and of y
PROFILE = settings(max_examples=15, deadline=None, derandomize=True)

# Complex steps differentiate these exactly.
ANALYTIC = """
x + y; x - y; x * y; x / (3 + y); -x; +x; 2.0 - x; 1.0 / (3 + x); x**2; x**3; x**-2; (x + 3) ** 2.5; (3 + x) ** y
2.0**x; np.array([1.0, 2.0, 3.0, 4.0]) * x[0]; x[0] * np.arange(4.0); np.float64(2) * x[1]; x[1] * np.float64(2)
np.sin(x); np.cos(x); np.tan(x / 2); np.arcsin(x / 4); np.arccos(x / 4); np.arctan(x / 4); np.sinh(x); np.cosh(x)
np.tanh(x); np.arcsinh(x / 4); np.arccosh(3 + x); np.arctanh(x / 4); np.exp(x); np.exp2(x); np.expm1(x)
np.log(3 + x); np.log1p(x / 4); np.log2(3 + x); np.log10(3 + x); np.sqrt(3 + x); np.square(x); np.reciprocal(3 + x)
np.power(3 + x, 1.5); np.power(x, 4); np.add(x, y); np.subtract(x, 1); np.multiply(x, y); np.divide(x, 3)
np.negative(x); np.dot(x, y); x.dot(y); np.inner(x, y); x @ y; np.matmul(x, y); np.outer(x, y)
np.multiply.outer(x, y); np.arange(8.0).reshape(2, 4) @ x; x @ np.arange(8.0).reshape(4, 2)
x.reshape(2, 2) @ y.reshape(2, 2); np.cross(x[:3], y[:3]); np.einsum("i,i", x, y)
np.einsum("ij,j->i", np.outer(x, y), x); np.kron(x, y); np.tensordot(np.outer(x, y), y, 1); np.trace(np.outer(x, y))
x.reshape(2, 2).trace(); np.sum(x); x.sum(); np.sum(np.outer(x, y), axis=0)
np.sum(np.outer(x, y), axis=1, keepdims=True); sum(x); sum([x[0], y[0]]); np.prod(x); x.prod(); np.mean(x); x.mean()
np.mean(np.outer(x, y), axis=1); np.cumsum(x); x.cumsum(); np.cumprod(x); np.diff(x); np.trapezoid(x, dx=0.5)
np.polyval(x, y[0]); np.convolve(x, y); np.sum(x[:0]); x[:0] @ y[:0]; np.stack([x, y]); np.stack([x, y], axis=1)
np.vstack([x, y]); np.hstack([x, y, x[0]]); np.concatenate([x, y[:2], [1.0]]); np.concatenate([[x[0], 2.0], [y[0]]])
np.append(x, y[0]); np.column_stack([x, y]); np.block([[x, y]]); np.dstack([x, y]); np.roll(x, 1); np.flip(x)
np.tile(x, 2); np.repeat(x, 2); np.squeeze(x[None]); np.ravel(np.outer(x, y)); x.reshape(2, 2).T
np.reshape(x, (2, 2)); np.transpose(np.outer(x, y)); np.diag(x); np.diag(np.outer(x, y)); np.atleast_1d(x[0])
np.atleast_2d(x); np.tril(np.outer(x, y)); np.broadcast_to(x[0], (2, 2)); np.expand_dims(x, 1); np.eye(4) @ x
np.eye(2) * x[0]; np.split(x, 2); np.array([x[0], 1.0, y[0]]); np.array([[x[0], 0], [y[1], x[1]]])
np.asarray([x[:2], y[:2]]); np.array(x); np.asarray(x).copy(); np.full(3, x[0]); np.zeros_like(x) + x
np.ones_like(x) * y; x[0]; x[-1]; x[1:3]; x[::-1]; x[[2, 0, 0]]; x[np.array([1, 3])]; x[np.newaxis] * y[:, None]
x[np.array([True, False, True, True])]; x.reshape(2, 2)[:, 1]; x[..., 1]; [x[0], y[0]]; (x[0], 2)
[[x[0], 1], [2, y[0]]]; len(x) * x; x.copy(); x.flatten(); 3.0; np.zeros(2)
np.linalg.solve(x.reshape(2, 2) + 5 * np.eye(2), y[:2]); np.linalg.solve(np.diag(np.arange(1.0, 5)), x)
np.linalg.solve(np.outer(x[:3], y[:3]) + 9 * np.eye(3), x[:3]); np.linalg.solve(np.outer(x, y) + 9 * np.eye(4), y)
np.linalg.solve(np.outer(x, x) + 9 * np.eye(4), np.outer(x, y)); np.linalg.solve(9 + x[:1, None], y[:1])
np.linalg.inv(x.reshape(2, 2) + 5 * np.eye(2)); np.linalg.inv(np.outer(x, y) + 9 * np.eye(4))
np.linalg.inv(2 * np.eye(4)) @ x; np.linalg.det(np.outer(x, y) + np.diag(x)); np.linalg.det(x.reshape(2, 2))
np.linalg.det(np.outer(x[:3], y[:3]) + np.eye(3)); np.where([True, False, True, False], x, y)
np.select([[True] * 4], [x], y); np.sin([x[0], 0.5]); np.add.accumulate(x)
"""

# These have kinks or no complex version: central differences.
KINKED = """
abs(x); np.abs(x); np.fabs(x); np.sign(x); np.floor(x); np.ceil(x); np.trunc(x); x // 0.3; x % 0.3; x % -0.3
np.fmod(x, 0.3); x // (y * 2**0.5); 1.5 // (y * 2**0.5); np.mod(x, y * 2**0.5); np.floor_divide(x, 0.7)
np.copysign(y, x); np.cbrt(3 + x); np.interp(x, [-1.0, 0.0, 0.5, 2.0], [3.0, 1.0, 1.5, -2.0])
np.maximum(x, y); np.minimum(x, 0.0); np.fmin(x, y); np.fmax(0, x)
np.maximum([x[0], 1.0], 0); np.clip(x, -1, y + 3); x.clip(-1, 1); np.clip(x[0], None, 0.5)
np.clip([x[0], y[0]], 0, 1); np.where(x > 0, x, y); np.where(x[0] < y[0], x, -1.0)
np.where(x > 0, np.sqrt(np.maximum(x, 0.01)), 0.0); np.where([x[0] > 0, True], x[:2], [0.0, y[0]])
np.sign([x[0], -1.0]); np.select([x > 1, x > 0], [x, y], 0.5); np.hypot(x, y); np.arctan2(x, y); np.deg2rad(x)
np.rad2deg(x); np.radians(x); np.logaddexp(0, x); np.vdot(x, y); np.max(x); np.min(x); np.amax(x)
np.amin(np.outer(x, y), axis=0); x.max(); x.min(); np.max(np.outer(x, y), axis=1, keepdims=True); np.linalg.norm(x)
np.linalg.norm(x, 2); np.linalg.norm(x, 1); np.linalg.norm(x, np.inf); np.linalg.norm(np.outer(x, y))
np.linalg.norm(np.outer(x, y) + np.eye(4), axis=1); np.linalg.norm([x[0], y[0]]); x < y; x <= y; x > 0; 0 >= x
x == y; x != y; x[0] > 0; (x > 0) & (y > 0); (x > 0) | (y > 0); ~(x > 0); (x > 0) ^ (y > 0)
np.logical_and(x > 0, y); np.logical_or(x > 1, y > 1); np.logical_not(x > 0); np.any(x > 1); np.all(x < 1)
np.sum(x > 0); (x > 0) * y; np.logical_and([x[0] > 0], [True]); np.array([x[0], y[0]], dtype=float); x.astype(float)
(x > 0) + (y > 0); (x[0] > 0) + (x[1] > 0); 1.0 * (x > 0) + 1.0 * (y > 0); sum(x < 1); np.maximum(x > 0, y > 0)
np.array([x[0] < 2, 1.0]) + np.array([y[0] < 2, 1.0]); np.where(x > 0, y > 0, False) + (x < 1); (x > 0) * (y > 0)
np.stack([x > 0, y > 0]).any(axis=0); np.prod(x < 3); np.mean(x > 0); np.concatenate([x > 0, y]) + (x[0] < 3)
True + (x > 9)
"""

# At the jumps themselves only the values can agree: quotients of the points are often integers.
JUMPING = "x // y; 1.5 // y; np.mod(x, y); np.remainder(x, y); x // 0.125; x % -0.125"


def assigned(x, y):
    """Assignment into arrays of every creation function, views and in-place operators."""
    a, b, c, d = x
    out, ones, empty, full = np.zeros(4), np.ones((2, 2)), np.empty(2), np.full(2, 3.0)
    out[0], out[1:3], out[-1] = a, y[:2], 7
    ones[0], ones[:, 1] = [b, c], y[2]
    empty[:] = (d, 1)
    full[1] *= a
    literal = np.array([0.0, 0.0])
    literal[1] = out[0] + 1
    row = out.reshape(2, 2)[1]
    row += x[:2]
    row[0] -= 1.0
    flags = np.zeros(2)
    flags[0], mask = a > 0, x > 0
    flags += b > 0
    mask[1] = True
    mask &= y > 0
    total = np.sum(mask) + flags[0]
    for i in range(len(x)):
        total += i * x[i] * y[i]
    like, copy = np.zeros_like(x), np.copy(np.eye(2))
    like[::2] = x[1::2]
    copy[0, 1] = total
    return np.concatenate([out, ones.ravel(), empty, full, literal, like, copy.ravel()])


def cartpole(x, y):
    """Cart-pole with unit masses in manipulator form."""
    _, angle, velocity, rate = x
    s, c = np.sin(angle), np.cos(angle)
    mass = np.array([[2.0, c], [c, 1.0]])
    acceleration = np.linalg.solve(mass, [y[0] + rate**2 * s, -9.81 * s])
    return np.concatenate([[velocity, rate], acceleration])


def quadrotor(x, y):
    """Attitude of a rigid body: quaternion x, normalised; rotors y; thrust in the world frame and angular rates."""
    q = (x + 3.0) / np.sqrt(np.sum((x + 3.0) ** 2))
    w, v = q[0], q[1:]
    skew = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    rotation = (w**2 - v @ v) * np.eye(3) + 2.0 * np.outer(v, v) + 2.0 * w * skew
    inertia, omega = np.diag([0.01, 0.012, 0.02]), y[:3]
    torque = np.array([y[0] - y[2], y[1] - y[3], y[0] - y[1] + y[2] - y[3]])
    alpha = np.linalg.solve(inertia, torque - np.cross(omega, inertia @ omega))
    q_rate = 0.5 * np.append(-v @ omega, w * omega + np.cross(v, omega))
    return np.hstack((rotation @ np.array([0.0, 0.0, np.sum(y)]), q_rate, alpha * 1e-2))


def arm(x, y):
    """Two-link arm: mass matrix, Coriolis and gravity terms."""
    (q1, q2), rates = x[:2], x[2:]
    a, b = 2.0 + np.cos(q2), 0.5 + 0.5 * np.cos(q2)
    mass = np.array([[a, b], [b, 0.5]])
    h = 0.5 * np.sin(q2)
    coriolis = np.array([[-h * rates[1], -h * (rates[0] + rates[1])], [h * rates[0], 0.0]])
    gravity = 9.81 * np.array([np.cos(q1) + np.cos(q1 + q2), np.cos(q1 + q2)])
    return np.concatenate((rates, np.linalg.solve(mass, y[:2] - coriolis @ rates - gravity)))


def _one_liners(table):
    sources = [source.strip() for source in table.replace("\n", ";").split(";") if source.strip()]
    return [pytest.param(eval(f"lambda x, y: {source}"), id=source) for source in sources]


SMOOTH = [*_one_liners(ANALYTIC), *(pytest.param(f, id=f.__name__) for f in (cartpole, quadrotor, arm))]
ROUGH = [*_one_liners(KINKED), pytest.param(assigned, id="assigned")]


@st.composite
def points(draw):
    """Two vectors of distinct odd multiples of 1/16 below 2: at least 1/16 from the kinks at 0 and at each other."""
    order = draw(st.permutations(range(-16, 16)))
    return np.split((np.array(order[: 2 * SIZE]) + 0.5) / 8, 2)


def compile_traced(function):
    """Trace ``function(x, y)`` and return its value and Jacobian as NumPy functions, and the traced shape."""
    x, y = vector("x", SIZE), vector("y", SIZE)
    expression, shape = trace(function, Vector(x), Vector(y), name="function")
    both = ca.Function("f", [x, y], [expression, ca.jacobian(expression, ca.vertcat(x, y))])

    def evaluate(x_value, y_value):
        value, jacobian = both(x_value.tolist(), y_value.tolist())
        return value.full().ravel(), jacobian.full()

    return evaluate, shape


def flat(value):
    return np.asarray(value).ravel() * 1.0


@PROFILE
@given(point=points())
@pytest.mark.parametrize("function", [*SMOOTH, *ROUGH, *_one_liners(JUMPING)])
def test_value_agrees_with_numpy(function, point):
    """Every listed function traces to NumPy's shape and value; 1000 roundings at the size of value or inputs."""
    evaluate, shape = compile_traced(function)
    expected = function(*point)
    value, _ = evaluate(*point)
    assert shape == np.shape(expected)
    scale = max(1.0, *np.abs(flat(expected)), 2.0) if np.size(expected) else 1.0
    assert np.all(np.abs(value - flat(expected)) <= 1000 * EPS * scale)


def directions():
    """Unit vectors of the stacked (x, y), split."""
    return [np.split(direction, 2) for direction in np.eye(2 * SIZE)]


@PROFILE
@given(point=points())
@pytest.mark.parametrize("function", SMOOTH)
def test_jacobian_agrees_with_complex_step(function, point):
    """Jacobians of analytic functions equal the complex step, which has no cancellation: rounding only."""
    evaluate, _ = compile_traced(function)
    value, jacobian = evaluate(*point)
    step = 1e-30  # squared it vanishes against 1, so the truncation error is zero in float64
    columns = [
        np.imag(flat(function(point[0] + 1j * step * dx, point[1] + 1j * step * dy))) / step for dx, dy in directions()
    ]
    expected = np.stack(columns, axis=1)
    scale = max(1.0, *np.abs(expected).ravel(), *np.abs(value)) if expected.size else 1.0
    assert np.all(np.abs(jacobian - expected) <= 1000 * EPS * scale)


@PROFILE
@given(point=points())
@pytest.mark.parametrize("function", ROUGH)
def test_jacobian_agrees_with_central_differences(function, point):
    """Away from kinks, Jacobians equal central differences to eps^(2/3) times values and third derivatives."""
    evaluate, _ = compile_traced(function)
    value, jacobian = evaluate(*point)
    h = EPS ** (1 / 3)
    columns = [
        (flat(function(point[0] + h * dx, point[1] + h * dy)) - flat(function(point[0] - h * dx, point[1] - h * dy)))
        / (2 * h)
        for dx, dy in directions()
    ]
    expected = np.stack(columns, axis=1)
    # The points keep 1/16 from the singularities at 0, where third derivatives of the table grow like 2 / distance^2.
    scale = max(1.0, *np.abs(value), *np.abs(jacobian).ravel()) * 2 * 16**2
    assert np.all(np.abs(jacobian - expected) <= EPS ** (2 / 3) * scale)


LEAVES = st.sampled_from([f"x[{i}]" for i in range(SIZE)] + [f"y[{i}]" for i in range(SIZE)] + ["0.5", "np.pi", "-2"])
SMOOTH_UNARY = ("np.sin({})", "np.tanh({})", "(-{})", "np.sqrt(1 + {} ** 2)", "np.exp(-({} ** 2))", "abs({})")
BINARY = ("({} + {})", "({} - {})", "np.maximum({}, {})", "np.tanh({}) * np.cos({})", "np.array([{}, {}]).sum()")
CHOICE = ("np.where(x[0] < y[0], {}, {})", "np.where((x[1] > 0) | (y[1] > 0), {}, {})", "np.clip({}, -1, abs({}) + 1)")


def _extend(children):
    unary = st.builds(str.format, st.sampled_from(SMOOTH_UNARY), children)
    return unary | st.builds(str.format, st.sampled_from(BINARY + CHOICE), children, children)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(source=st.recursive(LEAVES, _extend, max_leaves=12), point=points())
def test_random_compositions_agree_with_numpy(source, point):
    """Composed expressions agree with NumPy: every operation is 2-Lipschitz, so 2^depth bounds the amplification."""
    function = eval(f"lambda x, y: {source}")
    evaluate, _ = compile_traced(function)
    value, _ = evaluate(*point)
    nodes = source.count("(") + 1
    depth = max(source[:i].count("(") - source[:i].count(")") for i in range(len(source) + 1))
    bound = nodes * 2.0**depth * EPS * 16  # leaves are below 4, and sums of up to 12 leaves grow no further than that
    assert abs(value[0] - function(*point)) <= bound


def test_where_hides_the_value_of_the_other_branch():
    """A NaN of the branch that is not taken does not reach the value."""
    evaluate, _ = compile_traced(lambda x, y: np.where(x > 0, np.log(x), -1.0))
    value, _ = evaluate(np.array([-1.0, 0.0, 1.0, np.e]), np.zeros(SIZE))
    assert np.array_equal(value, [-1.0, -1.0, 0.0, 1.0])


def test_integer_powers_are_products():
    """x**2 and x**3 need no pow, whose derivative at negative x takes a logarithm."""
    x = vector("x", 1)
    expression, _ = trace(lambda x: x[0] ** 2 + x[0] ** 3, Vector(x), name="function")
    f = ca.Function("f", [x], [expression])
    assert ca.OP_POW not in [f.instruction_id(k) for k in range(f.n_instructions())]


def test_empty_vector():
    """A function without controls traces with an empty vector and may return one."""
    expression, shape = trace(lambda u: np.concatenate([u, u]), Vector(vector("u", 0)), name="function")
    assert (expression.shape, shape) == ((0, 1), (0,))
