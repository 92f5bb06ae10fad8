"""Single precision: errors of its polynomials, and rollouts that agree with double precision within rounding."""

from __future__ import annotations

import math
from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from sampling_cases import begin, swing
from test_lowering_operations import UNARY

import trajopt as to
from trajopt.lowering import compile_functions, preferred_lanes
from trajopt.solvers import CEM, CMAES, ICEM, MPPI

UNIT = 2.0**-24
LANES = preferred_lanes("float32")
COUNT = 2048 * LANES


def evaluate(function, *columns):
    """A function of scalars over columns of numbers, in single precision and in lanes."""
    symbols = [ca.SX.sym(f"x{k}") for k in range(len(columns))]
    code = compile_functions({"f": ca.Function("f", symbols, [function(*symbols)])}, lanes=LANES, precision="float32")
    blocks = range(0, len(columns[0]), LANES)
    return np.concatenate([code.evaluate("f", *(c[b : b + LANES][None] for c in columns))[0].ravel() for b in blocks])


def numbers(low, high, seed=0):
    return np.random.default_rng(seed).uniform(low, high, COUNT).astype(np.float32)


@pytest.mark.parametrize(
    ("function", "oracle", "points", "units"),
    [
        (ca.exp, np.exp, numbers(-87.0, 88.0), 1.5),
        (ca.exp, np.exp, numbers(-104.0, -87.0), 1.5),
        (ca.log, np.log, np.exp(numbers(-87.0, 88.0)), 1.5),
        (ca.log, np.log, numbers(0.5, 2.0), 1.5),
        (ca.sin, np.sin, numbers(-0.78, 0.78), 1.5),
        # Each division, and each sum behind it, adds half a unit of what is large in it.
        (ca.tanh, np.tanh, numbers(-12.0, 12.0), 3.0),
        (ca.tanh, np.tanh, numbers(-0.1, 0.1), 3.0),
        (ca.atan, np.arctan, np.tan(numbers(-1.5, 1.5)), 3.0),
        (ca.tan, np.tan, numbers(-1.5, 1.5), 3.5),
    ],
    ids=["exp", "exp, denormal", "log", "log near 1", "sin", "tanh", "tanh near 0", "atan", "tan"],
)
def test_polynomials_are_as_accurate_as_they_say(function, oracle, points, units):
    """In units of the last place, against double precision, over the whole range."""
    expected = oracle(points.astype(float))
    place = np.spacing(np.maximum(np.abs(expected), 2.0**-126).astype(np.float32)).astype(float)
    assert (np.abs(evaluate(function, points).astype(float) - expected) / place).max() <= units


@pytest.mark.parametrize(("function", "oracle"), [(ca.sin, np.sin), (ca.cos, np.cos)])
def test_sines_of_angles_of_any_size(function, oracle):
    """Relative to one up to where the reduction holds, and by the C library beyond."""
    angles = np.concatenate([numbers(-8192.0, 8192.0), numbers(-1e6, 1e6)[: 64 * LANES]])
    assert np.abs(evaluate(function, angles) - oracle(angles.astype(float))).max() <= 1.5 * UNIT


def test_angles_of_points():
    """The angle of a point in all quadrants, near the axes too."""
    y, x = numbers(-3.0, 3.0, 1), numbers(-3.0, 3.0, 2) * np.exp(numbers(-20.0, 20.0, 3))
    expected = np.arctan2(y.astype(float), x.astype(float))
    place = np.spacing(np.abs(expected).astype(np.float32)).astype(float)
    assert (np.abs(evaluate(ca.atan2, y, x).astype(float) - expected) / place).max() <= 3.0


@pytest.mark.parametrize("lanes", [1, LANES])
def test_all_operations_at_the_edges(lanes):
    """NaN, infinities, zeros and denormals are those of double precision, rounded; other values within eight units."""
    edges = [0.0, -0.0, 1.0, -1.0, 0.5, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 2e-38, 1e37, -1e37, 1e-8, 88.0, -103.0]
    points = np.resize(np.concatenate([edges, numbers(-3.0, 3.0)[:48]]).astype(np.float32), 64)
    x = ca.SX.sym("x")
    function = ca.Function("f", [x], [ca.vertcat(*(operation(x) for operation in UNARY.values()))])
    expected = np.array(function(points.astype(float)[None]))
    with np.errstate(over="ignore", under="ignore"):
        expected = expected.astype(np.float32).astype(float)
    code = compile_functions({"f": function}, lanes=lanes, precision="float32")
    parts = [code.evaluate("f", points[k : k + lanes][None])[0].reshape(-1, lanes) for k in range(0, 64, lanes)]
    actual = np.concatenate(parts, axis=1).astype(float)
    for name, found, wanted in zip(UNARY, actual, expected, strict=True):
        finite = np.isfinite(wanted)
        np.testing.assert_array_equal(found[~finite], wanted[~finite], err_msg=name)
        # exp(c log x): 32 units, see `trajopt.lowering.formats`; sines are accurate relative to one.
        units, least = (34 if name.startswith("power") else 8), (1.0 if name in ("sin", "cos") else 0.0)
        room = 2 * units * UNIT * np.maximum(np.abs(wanted[finite]), least) + 4 * 2.0**-149
        assert (np.abs(found[finite] - wanted[finite]) <= room).all(), name


def decaying(steps=50):
    """A stable state under a sine of the control, both squared in the cost: no rounding error grows."""
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: 0.9 * x + 0.1 * np.sin(3.0 * u), nx=1, nu=1),
        stage_cost=lambda x, u: x[0] ** 2 + 0.1 * u[0] ** 2,
        initial_state=[1.0],
        constraints=[to.Bounds(control=(-0.1, 1.3))],
        horizon=to.Horizon(steps=steps),
    )


def population(problem, solver):
    run = begin(solver, problem)
    run.sample()
    samples, size = run.population.samples, run.proposal.mean.size
    merits = run.population.merits.ravel()[:samples]
    return np.hstack(run.population.parameters[:, :size])[:, :samples], merits


def test_noise_is_that_of_double_precision_rounded():
    """The same random bits whatever precision and lanes: unit noise around zero differs by its rounding alone."""
    problem = replace(decaying(), constraints=())
    fine, coarse = (population(problem, MPPI(samples=200, sigma=1.0, precision=p))[0] for p in ("float64", "float32"))
    assert coarse.dtype == np.float32
    assert np.array_equal(coarse, fine.astype(np.float32))


@pytest.mark.parametrize("settings", [{}, {"knots": 6, "order": 3}, {"noise_exponent": 1.0}], ids=str)
def test_merits_agree_within_rounding(settings):
    """Merits of two precisions differ by what rounding can do.

    A step loses at most two units of the state, X <= 1, which the decay sums to twenty; so a cost loses 40 X^2 units,
    and the sum of N of them another N + 4. Parameters that differ by a unit each, and by as many as a spline or a
    filter has terms, add as much again for each of the terms.
    """
    problem, steps = decaying(), 50
    fine, coarse = (population(problem, MPPI(samples=300, precision=p, **settings))[1] for p in ("float64", "float32"))
    terms = {"knots": 6, "noise_exponent": steps}.get(next(iter(settings), ""), 1)
    room = UNIT * (1 + terms) * (40 * steps + (steps + 4) * fine)
    assert (np.abs(coarse - fine) <= room).all()
    assert not np.array_equal(coarse, fine)


def test_bounds_hold_for_the_numbers_of_the_user():
    """Bounds that single precision would round outwards are met by samples, given plans among them."""
    parameters, _ = population(decaying(), MPPI(samples=300, sigma=5.0, precision="float32"))
    assert parameters.min() >= -0.1
    assert parameters.max() <= 1.3
    assert parameters.max() > 1.3 - 4 * UNIT
    run = begin(ICEM(sigma=5.0, iterations=3, precision="float32"), decaying())
    for _ in range(3):
        run.advance()
    assert np.hstack(run.population.parameters[:, :50]).max() <= 1.3


def test_what_single_precision_cannot_hold_never_wins():
    """Rollouts that overflow in single precision alone are worst and counted; the answer is one of the others."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: np.where(u > 0.5, 1e30, x), nx=1, nu=1),
        stage_cost=lambda x, u: 1e-60 * x[0] ** 2 + (u[0] - 1.0) ** 2,
        initial_state=[0.0],
        constraints=[to.Bounds(control=(0.0, 1.0))],
        horizon=to.Horizon(steps=5),
        guess=(np.arange(6.0), np.zeros((6, 1)), np.full((5, 1), 0.2)),
    )
    fine, coarse = (population(problem, MPPI(samples=300, precision=p)) for p in ("float64", "float32"))
    over = (fine[0] > 0.5)[:-1].any(axis=0)  # the last state does not count
    assert np.isfinite(fine[1]).all()
    assert 0 < over.sum() < 300
    assert np.array_equal(np.isinf(coarse[1]), over)
    solution = to.solve(problem, MPPI(samples=300, iterations=5, precision="float32"))
    assert np.isfinite(solution.cost)
    assert "not finite" in solution.detail


@pytest.mark.parametrize("solver", [MPPI(samples=256), CEM(samples=128), ICEM(), CMAES(samples=32)], ids=str)
def test_searches_end_alike(solver):
    """Solved in either precision, by plans as good as the tolerance asks; the same bits with any number of threads."""
    problem = decaying(steps=12)
    fine, coarse = (to.solve(problem, replace(solver, precision=p)) for p in ("float64", "float32"))
    assert fine.success
    assert coarse.success
    # Noise ends where it would not gain the tolerance any more, in either search.
    assert coarse.cost == pytest.approx(fine.cost, abs=2.0 * solver.tolerance * (1.0 + fine.cost))
    threads = [to.solve(problem, replace(solver, precision="float32", threads=n)).u for n in (1, 2)]
    assert np.array_equal(*threads)


def test_quasi_random_samples_and_constraints():
    """Sobol points and an augmented Lagrangian work in single precision too."""
    assert to.solve(swing(), MPPI(samples=256, quasi_random=True, precision="float32")).success


def test_precisions_that_are_none_are_refused():
    """By name; a black box has its own."""
    with pytest.raises(to.InvalidProblem, match=r"precision='half'.*float64, float32"):
        MPPI(precision="half")
    with pytest.raises(to.UnsupportedProblem, match='precision="float64"'):
        to.solve(swing(black_box=True), MPPI(precision="float32"))
    discrete = replace(decaying(), constraints=[to.Choices([-0.1, 0.1])])
    with pytest.raises(to.InvalidProblem, match=r"precision='float32'.*discrete controls"):
        to.solve(discrete, CEM(precision="float32"))
    x = ca.SX.sym("x")
    with pytest.raises(to.InvalidProblem, match="precision='double'"):
        compile_functions({"f": ca.Function("f", [x], [x])}, precision="double")
    assert math.isclose(compile_functions({"f": ca.Function("f", [x], [x])}).evaluate("f", [0.1])[0][0, 0], 0.1)
