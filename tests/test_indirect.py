"""Pontryagin's principle against closed forms, matrix exponentials, and the properties of its solutions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

import trajopt as to
from trajopt import problems
from trajopt.solvers import Chain, Collocation, Indirect

METHODS = ["collocation", "shooting"]
SMOOTH = [
    "brachistochrone",
    "brachistochrone-free-height",
    "double-integrator-free-velocity",
    "double-integrator-min-energy",
    "hanging-chain",
    "linear-tangent-steering",
    "lqr-two-point",
    "van-der-pol",
    "van-der-pol-bounded",
]
ALSO_BY_COLLOCATION = [(name, "collocation") for name in ("brachistochrone", "lqr-two-point", "van-der-pol-bounded")]
STRUCTURED = {
    "double-integrator-min-time": ("upper", "lower"),
    "double-integrator-max-distance": ("upper", "lower"),
    "regulator-1d": ("lower", "singular", "upper"),
    "bryson-denham": ("interior", "position", "interior"),
    "bryson-denham-breakwell": ("interior", "position upper", "interior"),
}
DIGITS = 1e-9
"""Boundary-value problems are solved to 1e-10, and the cost is known ten times less well than the equations are."""


def check(name: str, solver) -> to.Solution:
    """Solve, and compare with the optimum and with the closed form where there is one."""
    solution, reference = to.solve(problems.load(name), solver), problems.reference(name)
    assert solution.success, solution.message
    # A reference of ten digits is itself known to half a unit of the tenth.
    assert solution.cost == pytest.approx(reference.cost, rel=max(DIGITS, 10.0 ** (1 - reference.digits)))
    if reference.solution is not None:
        for k in (np.array([0.05, 0.21, 0.45, 0.77, 0.95]) * solution.trajectory.steps).astype(int):
            between = 0.7 * solution.t[k] + 0.3 * solution.t[k + 1]
            exact = reference.solution(float(solution.t[k]))[0]
            scale = 1.0 + np.abs(exact).max()
            np.testing.assert_allclose(solution.x[k], exact, rtol=0.0, atol=1e-8 * scale)
            u = reference.solution(float(between))[1]
            np.testing.assert_allclose(solution(between)[1], u, rtol=0.0, atol=2e-8 * (scale + np.abs(u).max()))
    return solution


@pytest.mark.parametrize(("name", "method"), [*((name, "shooting") for name in SMOOTH), *ALSO_BY_COLLOCATION])
def test_smooth_problems_to_nine_digits(name, method):
    """From the problem's own guess, costs and controls are those of the closed form."""
    check(name, Indirect(method))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", STRUCTURED)
def test_given_structures_to_nine_digits(name, method):
    """Bang-bang and singular arcs, and a state limit of order two, with switches spread evenly to begin with."""
    solution = check(name, Indirect(method, STRUCTURED[name]))
    corners = problems.reference(name).solution.corners
    found = solution.multipliers["switching_times"]
    assert all(np.abs(np.array(corners) - time).min() <= 1e-8 for time in found)


@pytest.mark.parametrize("name", ["goddard-rocket", "catalyst-mixing", "bryson-denham", "double-integrator-free-start"])
def test_the_structure_is_read_from_a_direct_answer(name):
    """Collocation's four digits become ten: singular arcs, state limits, free times, active rows at the ends."""
    check(name, Chain(Collocation(), Indirect("shooting")))


def test_a_state_limit_between_bang_and_singular_arcs():
    """Goddard's rocket under a speed limit: full thrust, singular, speed limit, coast."""
    solution = check("goddard-rocket-speed-limit", Chain(Collocation(), Indirect("shooting")))
    assert solution.multipliers["switching_times"].size == 3


def test_the_certificate_confirms_what_is_returned():
    """Parabolas and ramps cost no digits: the control really costs what is said, and is stationary."""
    for name, solver in (
        ("van-der-pol", Indirect()),
        ("bryson-denham", Indirect(structure=STRUCTURED["bryson-denham"])),
    ):
        certificate = to.solve(problems.load(name), solver).certify(1e-8)
        assert certificate.passed
        assert certificate.error <= 1e-9 * certificate.cost


@pytest.mark.parametrize("name", ["van-der-pol", "brachistochrone", "double-integrator-min-time", "bryson-denham"])
def test_the_hamiltonian_is_constant_and_zero_for_a_free_duration(name):
    """H does not change along an extremal of an autonomous problem, across switches too."""
    problem = problems.load(name)
    H = to.solve(problem, Indirect("shooting", STRUCTURED.get(name))).multipliers["hamiltonian"]
    scale = 1.0 + np.abs(H).max()
    np.testing.assert_allclose(H, H[0], rtol=0.0, atol=1e-8 * scale)
    assert not isinstance(problem.horizon.duration, to.Free) or abs(H[0]) <= 1e-8 * scale


@pytest.mark.parametrize(("name", "third"), [("van-der-pol", 20.0), ("bryson-denham", 9000.0)])
def test_costates_are_derivatives_of_the_optimal_cost(name, third):
    """Envelope theorem, by central differences; near the wall the third derivative is that of 2 / (9 l), 8748."""
    problem, solver, h = problems.load(name), Indirect("shooting", STRUCTURED.get(name)), 2.0**-10
    solution = to.solve(problem, solver)
    for i, unit in enumerate(np.eye(2)):
        costs = [to.solve(problem.at(initial_state=solution.x[0] + sign * h * unit), solver).cost for sign in (1, -1)]
        slope = (costs[0] - costs[1]) / (2.0 * h)
        assert solution.multipliers["costates"][0, i] == pytest.approx(slope, abs=h**2 * third / 6.0 + 1e-9 / h)


def test_costates_on_a_state_limit_are_those_of_the_limit_itself():
    """On the wall, where moving on is free, they vanish; before it that of the position is 2 / (9 l^2) = 18."""
    solution = to.solve(problems.load("bryson-denham"), Indirect("shooting", STRUCTURED["bryson-denham"]))
    costates, before = solution.multipliers["costates"], solution.t < 0.33
    np.testing.assert_allclose(costates[(solution.t > 0.34) & (solution.t < 0.66)], 0.0, atol=1e-8)
    np.testing.assert_allclose(costates[before, 0], 18.0, rtol=1e-8)
    direct = to.solve(problems.load("bryson-denham"), Collocation()).multipliers["costates"]
    assert direct[0, 0] == pytest.approx(18.0, rel=1e-2)  # the same sign, at the accuracy of its mesh


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16), nx=st.integers(1, 3), nu=st.integers(1, 2))
def test_linear_quadratic_problems_are_those_of_the_hamiltonian_matrix(seed, nx, nu):
    """The exponential of [[A, -B R^-1 B'], [-Q, -A']] gives states, costates and cost."""
    rng = np.random.default_rng(seed)
    A, B = rng.normal(size=(nx, nx)), rng.normal(size=(nx, nu))
    Q, R, end = (m @ m.T + np.eye(len(m)) for m in (rng.normal(size=(n, n)) for n in (nx, nu, nx)))
    start = rng.normal(size=nx)
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: A @ x + B @ u, nx=nx, nu=nu),
        stage_cost=lambda x, u: 0.5 * (x @ (Q @ x) + u @ (R @ u)),
        terminal_cost=lambda x: 0.5 * (x @ (end @ x)),
        initial_state=start,
        horizon=to.Horizon(1.0, steps=10),
    )
    M = np.block([[A, -B @ np.linalg.solve(R, B.T)], [-Q, -A.T]])
    flow = scipy.linalg.expm(M)
    whole = np.hstack([end, -np.eye(nx)]) @ flow
    costate = -np.linalg.solve(whole[:, nx:], whole[:, :nx] @ start)
    solution = to.solve(problem, Indirect("shooting"))
    assert solution.success
    scale = 1e-8 * (1.0 + np.abs(costate).max()) * np.linalg.cond(whole[:, nx:])
    np.testing.assert_allclose(solution.multipliers["costates"][0], costate, rtol=0.0, atol=scale)
    np.testing.assert_allclose(solution.x[-1], (flow @ np.r_[start, costate])[:nx], rtol=0.0, atol=scale)
    assert solution.cost == pytest.approx(0.5 * start @ costate, abs=scale)


def push(**options) -> to.Problem:
    """Move a point with least effort."""
    settings_of = {"stage_cost": lambda x, u: 0.5 * u[0] ** 2, "horizon": to.Horizon(1.0, steps=10)} | options
    dynamics = settings_of.pop("dynamics", lambda x, u: np.array([u[0]]))
    return to.Problem(to.ContinuousDynamics(dynamics, nx=1, nu=1), **settings_of)


CASES = {
    "parameter in the dynamics": push(
        dynamics=lambda x, u, p: np.array([u[0] + p.wind]),
        stage_cost=lambda x, u, p: 0.5 * (u[0] ** 2 + p.wind**2),
        parameters={"wind": to.Free(-2.0, 2.0, guess=0.0)},
        initial_state=[0.0],
        constraints=[to.TerminalConstraint([1.0])],
    ),
    "parameter at the end": push(
        terminal_cost=lambda x, p: 0.5 * p.short**2,
        parameters={"short": to.Free(-2.0, 2.0, guess=0.0)},
        initial_state=[0.0],
        constraints=[to.TerminalConstraint(lambda x, p: x[0] + p.short - 1.0)],
    ),
    "periodic": push(
        dynamics=lambda x, u: np.array([u[0] - x[0]]),
        stage_cost=lambda x, u: 0.5 * ((x[0] - 1.0) ** 2 + u[0] ** 2),
        constraints=[to.BoundaryConstraint(lambda x0, xf: xf - x0)],
    ),
    "integral": push(
        initial_state=[0.0],
        constraints=[to.IntegralConstraint(lambda x, u: x[0], lower=np.sqrt(1.0 / 6.0), upper=np.inf)],
    ),
    "inequality at the end": push(
        initial_state=[0.0], constraints=[to.TerminalConstraint(lambda x: x[0], lower=np.sqrt(0.5), upper=3.0)]
    ),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", CASES)
def test_every_kind_of_end(name, method):
    """Free parameters, periodicity, integrals and inequalities at the end, each with the optimum 1/4."""
    solution = to.solve(CASES[name], Indirect(method))
    assert solution.success, solution.message
    assert solution.cost == pytest.approx(0.25, rel=DIGITS)
    assert solution.certified
