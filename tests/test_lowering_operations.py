"""Machine code against CasADi's own evaluation: every operation, random expressions, layouts."""

from __future__ import annotations

import itertools

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trajopt.errors import TrajoptError
from trajopt.lowering import compile_functions, preferred_lanes
from trajopt.lowering import work_memory as work_memory_module

ROUNDING = 2.0**-53
# Library functions and polynomials are each within 4 units of the last place; CasADi's side adds as much again.
FEW_ULPS = 8 * 2 * ROUNDING
EDGES = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    np.nan,
    np.inf,
    -np.inf,
    5e-324,
    -5e-324,
    2e-308,
    1e300,
    -1e300,
    1e-8,
    710.0,
    -746.0,
]
UNARY = {
    "neg": lambda x: -x, "square": lambda x: x * x, "twice": lambda x: x + x, "inverse": lambda x: 1 / x,
    "sqrt": ca.sqrt, "sin": ca.sin, "cos": ca.cos, "tan": ca.tan, "asin": ca.asin, "acos": ca.acos, "atan": ca.atan,
    "sinh": ca.sinh, "cosh": ca.cosh, "tanh": ca.tanh, "asinh": ca.asinh, "acosh": ca.acosh, "atanh": ca.atanh,
    "exp": ca.exp, "expm1": ca.expm1, "log": ca.log, "log1p": ca.log1p, "erf": ca.erf, "fabs": ca.fabs,
    "sign": ca.sign, "floor": ca.floor, "ceil": ca.ceil, "not": ca.logic_not, "constant": lambda x: x * 0 + 0.1,
    **{f"power {c}": (lambda x, c=c: x**c) for c in (0.5, 1.5, -0.5, 3, 5, 8, -1, -3, 9, 1 / 3, -2.2)},
}  # fmt: skip
BINARY = {
    "add": lambda x, y: x + y, "subtract": lambda x, y: x - y, "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y, "power": lambda x, y: x**y, "atan2": ca.atan2, "hypot": ca.hypot,
    "fmod": ca.fmod, "remainder": ca.remainder, "copysign": ca.copysign,
    "less": lambda x, y: x < y, "less or equal": lambda x, y: x <= y, "equal": lambda x, y: x == y,
    "not equal": lambda x, y: x != y, "and": ca.logic_and, "or": ca.logic_or, "if": lambda x, y: ca.if_else(x, y, 0),
    "if else": lambda x, y: ca.if_else(x < y, x, y),
}  # fmt: skip


def assert_close(actual, expected, scale=0.0):
    """Same NaN and infinities, and finite numbers within a few units of the last place (of `scale`, if larger)."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.where(finite, 0.0, actual), np.where(finite, 0.0, expected))
    size = np.maximum(np.abs(expected[finite]), scale)
    # 2^-1074 is one step between denormal numbers.
    assert np.all(np.abs(actual[finite] - expected[finite]) <= FEW_ULPS * size + 4 * 2.0**-1074)


def samples(count):
    random = np.random.default_rng(5)
    wide = random.choice([-1.0, 1.0], count) * np.exp(random.uniform(-40, 40, count))
    return np.concatenate([EDGES, random.uniform(-3, 3, count), random.uniform(-1e4, 1e4, count), wide])


def by_lanes(code, lanes, columns):
    """Evaluate the function f with one scalar input for each column of samples, `lanes` samples at a time."""
    count = -(-len(columns[0]) // lanes) * lanes
    padded = [np.resize(column, count) for column in columns]
    if lanes == 1:
        blocks = [code.evaluate("f", *([x] for x in row))[0].ravel() for row in zip(*padded, strict=True)]
    else:
        starts = range(0, count, lanes)
        blocks = [code.evaluate("f", *(c[s : s + lanes][None] for c in padded))[0].reshape(-1, lanes) for s in starts]
        blocks = [block.ravel() for block in blocks]
    return np.concatenate(blocks)[: len(columns[0])]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAJOPT_CACHE_DIR", str(tmp_path))


@pytest.mark.parametrize("lanes", [1, 4, 16])
@pytest.mark.parametrize("name", UNARY)
def test_unary_operation_agrees_with_casadi(name, lanes):
    """Every operation of one operand, at random points and at NaN, infinities, zeros and denormals."""
    x = ca.SX.sym("x")
    function = ca.Function("f", [x], [UNARY[name](x)])
    points = samples(64)
    expected = np.array(function(points[None])).ravel()
    # The vector sine and cosine are accurate relative to one, as their argument's reduction is.
    scale = 1.0 if name in ("sin", "cos") and lanes > 1 else 0.0
    actual = by_lanes(compile_functions({"f": function}, lanes=lanes), lanes, [points])
    if name.startswith("power") and lanes > 1:
        ordinary = np.abs(expected) < 1e300  # exp(c log x): 32 * 2^-53, see elementary.LARGEST_EXPONENT
        np.testing.assert_allclose(actual[ordinary], expected[ordinary], rtol=34 * 2 * ROUNDING, atol=2.0**-1000)
        np.testing.assert_allclose(actual[~ordinary], expected[~ordinary], rtol=1e-12)
    else:
        assert_close(actual, expected, scale)


@pytest.mark.parametrize("lanes", [1, 4, 16])
@pytest.mark.parametrize("name", BINARY)
def test_binary_operation_agrees_with_casadi(name, lanes):
    """Every operation of two operands, at all pairs of edge values and at random points."""
    x, y = ca.SX.sym("x"), ca.SX.sym("y")
    function = ca.Function("f", [x, y], [BINARY[name](x, y)])
    points = samples(32)
    pairs = np.array([*itertools.product(EDGES, EDGES), *zip(points, points[::-1], strict=True)]).T
    expected = np.array(function(pairs[0][None], pairs[1][None])).ravel()
    actual = by_lanes(compile_functions({"f": function}, lanes=lanes), lanes, list(pairs))
    assert_close(actual, expected)


@pytest.mark.parametrize("lanes", [1, 4, 16])
@pytest.mark.parametrize(("name", "oracle"), [(ca.fmin, np.minimum), (ca.fmax, np.maximum)])
def test_extrema_are_those_of_numpy(name, oracle, lanes):
    """A NaN in either operand stays a NaN, unlike in CasADi: clipping must not hide a diverged rollout."""
    x, y = ca.SX.sym("x"), ca.SX.sym("y")
    function = ca.Function("f", [x, y], [name(x, y)])
    points = samples(32)
    pairs = np.array([*itertools.product(EDGES, EDGES), *zip(points, points[::-1], strict=True)]).T
    actual = by_lanes(compile_functions({"f": function}, lanes=lanes), lanes, list(pairs))
    np.testing.assert_array_equal(actual, oracle(*pairs))


@pytest.mark.parametrize("size", [1e5, 2.0**20, 1.5e6, 1e9, 1e300])
def test_vector_sine_of_large_angles(size):
    """Beyond the polynomial's range the block is computed by the C library, for all lanes and in place."""
    x = ca.SX.sym("x", 2)
    code = compile_functions({"f": ca.Function("f", [x], [ca.sin(x), ca.cos(x)])}, lanes=4)
    angles = np.array([[size, -size, 0.3, np.pi], [np.inf, 1.0, np.nan, 2.0]])
    sine, cosine = code.evaluate("f", angles)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(sine[:, 0], np.sin(angles), rtol=0, atol=2 * ROUNDING)
        np.testing.assert_allclose(cosine[:, 0], np.cos(angles), rtol=0, atol=2 * ROUNDING)


@pytest.mark.parametrize("lanes", [1, 4])
def test_outputs_may_overlap_inputs(lanes):
    """All inputs are read before anything is written, also when a lane needs the C library."""
    import ctypes  # noqa: PLC0415

    x = ca.SX.sym("x", 2)
    code = compile_functions({"f": ca.Function("f", [x], [ca.vertcat(ca.sin(x[1]), x[0] + x[1])])}, lanes=lanes)
    block = np.arange(1.0, 2 * lanes + 1).reshape(2, lanes)
    block[1, -1] = 1e7
    expected = np.array([np.sin(block[1]), block[0] + block[1]])
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(code.address("f"))(block.ctypes.data, block.ctypes.data)
    np.testing.assert_allclose(block, expected, rtol=0, atol=2 * ROUNDING)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("columns", [3, 40])
def test_sparse_outputs_are_dense_in_c_order(lanes, columns):
    """Structural zeros are written, rows come first, and inputs of size 0 are allowed."""
    x, empty = ca.SX.sym("x", columns), ca.SX.sym("empty", 0)
    jacobian = ca.jacobian(ca.vertcat(x[0] * x[-1], x[1], x[0] ** 2), x)
    function = ca.Function("f", [x, empty], [jacobian, ca.SX(2, 2)])
    points = np.random.default_rng(0).standard_normal((columns, lanes))
    given_points = points if lanes > 1 else points[:, 0]
    matrix, zeros = compile_functions({"f": function}, lanes=lanes).evaluate("f", given_points, np.zeros((0, lanes)))
    for lane in range(lanes):
        expected = np.array(function(points[:, lane], [])[0])
        np.testing.assert_array_equal(matrix.reshape(3, columns, lanes)[:, :, lane], expected)
    assert np.all(zeros == 0.0)


def test_shared_inputs_are_plain_columns():
    """A shared input has one value for all lanes, and what depends on it alone still fills every lane."""
    x, p = ca.SX.sym("x", 2), ca.SX.sym("p", 2)
    function = ca.Function(
        "f", [x, p], [ca.vertcat(x[0] * ca.exp(p[0]), x[1] + p[1]), ca.sin(p[1])], ["x", "p"], ["a", "b"]
    )
    code = compile_functions({"f": function}, lanes=4, shared=["p"])
    points, parameters = np.random.default_rng(1).standard_normal((2, 4)), np.array([0.3, 2.0])
    a, b = code.evaluate("f", points, parameters)
    np.testing.assert_allclose(a[:, 0], [points[0] * np.exp(0.3), points[1] + 2.0], rtol=FEW_ULPS)
    np.testing.assert_allclose(b, np.full((1, 1, 4), np.sin(2.0)), rtol=FEW_ULPS)


@st.composite
def expressions(draw):
    """Random expression of two symbols without operations that amplify rounding errors without bound."""
    x = ca.SX.sym("x", 2)
    nodes = [x[0], x[1], ca.SX(draw(st.floats(-2, 2)))]
    smooth = [ca.sin, ca.cos, ca.tanh, ca.atan, lambda a: ca.exp(-a * a), lambda a: ca.log(1 + a * a), ca.fabs]
    pairs = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: ca.tanh(a) * b, ca.fmin, ca.fmax]
    for _ in range(draw(st.integers(1, 25))):
        a, b = (nodes[draw(st.integers(0, len(nodes) - 1))] for _ in range(2))
        one = draw(st.booleans())
        nodes.append(draw(st.sampled_from(smooth))(a) if one else draw(st.sampled_from(pairs))(a, b))
    return ca.Function("f", [x], [ca.vertcat(*nodes[-3:])])


@settings(max_examples=30, derandomize=True, deadline=None)
@given(expressions(), st.integers(0, 1000))
def test_random_expressions_agree_in_every_lane(function, seed):
    """Scalar and vector code of random expression trees agree with CasADi, lane by lane."""
    points = np.random.default_rng(seed).uniform(-3, 3, (2, 4))
    expected = np.column_stack([np.array(function(points[:, lane])).ravel() for lane in range(4)])
    # Each of at most 25 operations adds a few roundings, of intermediate results at most 2^25 times the inputs in
    # theory; in these trees sums double at most a few times, so that 2^12 roundings of the largest result is generous.
    tolerance = 2.0**12 * ROUNDING * (1.0 + np.abs(expected).max())
    vector = compile_functions({"f": function}, lanes=4).evaluate("f", points)[0][:, 0]
    np.testing.assert_allclose(vector, expected, rtol=0, atol=tolerance)
    scalar = compile_functions({"f": function})
    for lane in range(4):
        np.testing.assert_allclose(scalar.evaluate("f", points[:, lane])[0][:, 0], expected[:, lane], 0, tolerance)


@pytest.mark.parametrize("lanes", [1, 4])
def test_programs_cut_into_pieces_compute_the_same(lanes, monkeypatch):
    """Values that cross a cut, reused memory and out-of-range lanes give the whole program's results."""
    x, p = ca.SX.sym("x", 3), ca.SX.sym("p", 1)
    y = x
    for k in range(12):
        y = ca.vertcat(ca.sin(y[1]) + p[0], y[2] * 0.5 - x[k % 3], ca.cos(y[0]) * y[1] + 0.1 * k)
    function = ca.Function("f", [x, p], [y, ca.jacobian(y, x)], ["x", "p"], ["y", "j"])
    points = np.random.default_rng(3).standard_normal((3, lanes))
    whole = compile_functions({"f": function}, lanes=lanes, shared=["p"])
    monkeypatch.setattr(work_memory_module, "LONGEST_WHOLE", 10)
    monkeypatch.setattr(work_memory_module, "PIECE", 17)
    monkeypatch.setattr("trajopt.lowering.machine_code.VERSION", -1)  # the limits are not part of the key
    cut = compile_functions({"f": function}, lanes=lanes, shared=["p"])
    assert cut is not whole
    for block in (points, points * 1e9):
        given_block = block if lanes > 1 else block[:, 0]
        pairs = zip(whole.evaluate("f", given_block, [0.2]), cut.evaluate("f", given_block, [0.2]), strict=True)
        for one, other in pairs:
            # Fused multiplications may differ across a cut; the chain amplifies a rounding less than 2^12 times.
            np.testing.assert_allclose(
                one, other, rtol=2.0**12 * ROUNDING, atol=2.0**12 * ROUNDING * np.abs(other).max()
            )


def test_preferred_lanes_compile():
    """The number of lanes chosen for this processor is one that compiles and runs."""
    x = ca.SX.sym("x")
    lanes = preferred_lanes()
    result = compile_functions({"f": ca.Function("f", [x], [x + 1])}, lanes=lanes).evaluate("f", np.ones((1, lanes)))
    np.testing.assert_array_equal(result[0], np.full((1, 1, lanes), 2.0))


def _symbol(rows=1, columns=1):
    return ca.SX.sym("x", rows, columns)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (lambda: {}, {}, "at least one"),
        (lambda: {"f": ca.Function("f", [x := _symbol()], [ca.erfinv(x)])}, {}, "ERFINV"),
        (lambda: {"f": ca.Function("f", [x := ca.MX.sym("x")], [x])}, {}, "SX expressions"),
        (lambda: {"f": ca.Function("f", [], [_symbol()], {"allow_free": True})}, {}, "add them as inputs"),
        (lambda: {"f": ca.Function("f", [x := _symbol(2, 2)], [x])}, {}, "dense column"),
        (lambda: {"1 f": ca.Function("f", [x := _symbol()], [x])}, {}, "identifier"),
        (lambda: {"f": ca.Function("f", [x := _symbol()], [x])}, {"lanes": 0}, "lanes"),
        (lambda: {"f": ca.Function("f", [x := _symbol()], [x])}, {"shared": ["z"]}, "z do not exist"),
    ],
)
def test_what_cannot_be_compiled_is_said(make, options, words):
    """Misuse raises a sentence that names it."""
    with pytest.raises(TrajoptError, match=words):
        compile_functions(make(), **options)


@pytest.mark.parametrize("arrays", [[], [[1.0]], [[1.0, 2.0], [3.0]], [[[1.0], [2.0]], [0.0]]])
def test_evaluate_refuses_wrong_sizes(arrays):
    """A wrong number of arrays, wrong lengths and unknown names are refused before anything is called."""
    x = ca.SX.sym("x", 2)
    code = compile_functions({"f": ca.Function("f", [x], [x])})
    with pytest.raises(TrajoptError, match="give"):
        code.evaluate("f", *arrays)
    with pytest.raises(TrajoptError, match="no compiled function"):
        code.address("g")
