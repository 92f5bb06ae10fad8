"""The certificate on answers whose truth is known in closed form."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from certificate_cases import answer, double_integrator, least_effort, least_effort_held

import trajopt as to
from trajopt import problems
from trajopt.certificate import certify
from trajopt.errors import InvalidProblem
from trajopt.trajectory import Interpolation

POLYNOMIAL = [
    "beam",
    "brachistochrone",
    "bryson-denham",
    "double-integrator-free-velocity",
    "double-integrator-min-energy",
    "moving-target",
]  # optimal controls that are piecewise polynomials of degree two with corners on the mesh: the answer is exact


def closed_form_answer(name: str, **settings):
    """The published optimum sampled on the mesh of the problem."""
    problem, reference = problems.load(name, **settings), problems.reference(name)
    exact = reference.solution
    t = exact.start + exact.duration * np.linspace(0.0, 1.0, problem.horizon.steps + 1)
    x, u = (np.array(part) for part in zip(*(exact(float(time)) for time in t), strict=True))
    u_mid = np.array([exact(float(time))[1] for time in 0.5 * (t[:-1] + t[1:])])
    if "bang-bang" in reference.tags:
        return answer(problem, t, x, u_mid, reference.cost, interpolation=Interpolation.HOLD), reference
    return answer(problem, t, x, u, reference.cost, interpolation=Interpolation.QUADRATIC, u_mid=u_mid), reference


@pytest.mark.parametrize("name", POLYNOMIAL)
def test_exact_optimum_passes_with_rounding_errors(name):
    """An exact optimum has no defect, violation or gap and is stationary, up to rounding and the integrator's 1e-10."""
    solution, reference = closed_form_answer(name)
    certificate = certify(solution, tolerance=1e-7)
    assert certificate.passed, certificate.findings
    assert certificate.cost == pytest.approx(reference.cost, rel=1e-9)
    assert max(certificate.defect, certificate.drift, certificate.violation) < 1e-9
    assert certificate.stationarity < 1e-9
    assert certificate.gap < 1e-9 * max(1.0, abs(reference.cost))
    assert certificate.error < 1e-8 * max(1.0, abs(reference.cost))


@pytest.mark.parametrize("name", ["double-integrator-min-time", "double-integrator-free-start"])
def test_exact_bang_bang_optimum_is_stationary_by_projection(name):
    """Controls at their bounds, a free duration and a free start satisfy the first-order conditions together."""
    solution, _ = closed_form_answer(name)
    certificate = certify(solution, tolerance=1e-7)
    assert certificate.passed, certificate.findings
    assert certificate.stationarity < 1e-9


def test_costates_and_multipliers_of_least_effort():
    """For u = 6 - 12 t the costates are (-12, 12 t - 6), and the last one equals the multiplier of the target."""
    t, x, u = least_effort(20)
    certificate = certify(answer(double_integrator(20), t, x, u, 6.0))
    known = np.stack([np.full_like(t, -12.0), 12.0 * t - 6.0], axis=1)
    np.testing.assert_allclose(certificate.costates, known, atol=1e-9)
    np.testing.assert_allclose(certificate.multipliers["terminal position"], known[-1, :1], atol=1e-9)
    np.testing.assert_allclose(certificate.multipliers["terminal velocity"], known[-1, 1:], atol=1e-9)


def test_costate_of_the_two_point_regulator():
    """x' = u with cost (x^2 + u^2)/2 has the costate -u; a parabola follows its exponentials to h^3."""
    solution, _ = closed_form_answer("lqr-two-point")
    certificate = certify(solution)
    np.testing.assert_allclose(certificate.costates, -solution.u, atol=1e-6)


def test_discrete_linear_quadratic_optimum():
    """A Riccati solution is stationary, and its costates are the value function's gradient P_k x_k."""
    A, B, steps = np.array([[1.0, 0.1], [-0.2, 0.9]]), np.array([[0.0], [0.5]]), 30
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: A @ x + B @ u, nx=2, nu=1),
        stage_cost=lambda x, u: 0.5 * (x @ x) + 0.05 * u[0] ** 2,
        terminal_cost=lambda x: 0.5 * (x @ x),
        initial_state=[1.0, -2.0],
        horizon=to.Horizon(steps=steps),
    )
    P = [np.eye(2)]
    for _ in range(steps):
        K = np.linalg.solve(0.1 + B.T @ P[0] @ B, B.T @ P[0] @ A)
        P.insert(0, np.eye(2) + A.T @ P[0] @ (A - B @ K))
    x, u = [np.array([1.0, -2.0])], []
    for k in range(steps):
        u.append(-np.linalg.solve(0.1 + B.T @ P[k + 1] @ B, B.T @ P[k + 1] @ A) @ x[-1])
        x.append(A @ x[-1] + B @ u[-1])
    value = 0.5 * x[0] @ P[0] @ x[0]
    certificate = certify(answer(problem, np.arange(steps + 1), x, u, value, interpolation=Interpolation.HOLD))
    assert certificate.passed, certificate.findings
    assert certificate.cost == pytest.approx(value, rel=1e-12)
    assert certificate.stationarity < 1e-12
    assert certificate.gap == 0.0
    np.testing.assert_allclose(certificate.costates, [p @ s for p, s in zip(P, x, strict=True)], atol=1e-10)


def test_wrong_reported_cost_is_the_only_finding():
    """A cost one percent too low is named as less than the true one, and nothing else is complained about."""
    t, x, u = least_effort(20)
    certificate = certify(answer(double_integrator(20), t, x, u, 5.94))
    assert certificate.cost_error == pytest.approx(0.01, rel=1e-6)
    assert len(certificate.findings) == 1
    assert "5.94 is less than the true cost 6" in certificate.findings[0]


def test_moved_knot_is_a_defect_in_its_intervals():
    """A knot moved by 0.02 breaks the interval before it and the one behind it, and no other."""
    t, x, u = least_effort(20)
    x[7, 0] += 0.02
    certificate = certify(answer(double_integrator(20), t, x, u, 6.0))
    np.testing.assert_allclose(certificate.defects[[6, 7]], 0.02, rtol=1e-6)
    assert np.delete(certificate.defects, [6, 7]).max() < 1e-12
    assert len(certificate.findings) == 1
    assert "defect is 0.02" in certificate.findings[0]


def test_feasible_control_that_is_not_optimal_is_not_stationary():
    """A feasible detour is found by its gradient alone, and the gap is what it costs: here exactly eps^2 / 10."""
    eps, steps = 3.0, 20
    t, x, u = least_effort(steps)
    middle = t[:-1] + 0.5 / steps
    bump = lambda s: eps * (6 * s**2 - 6 * s + 1)  # noqa: E731 - orthogonal to 1 and s: it moves neither end
    x += np.stack([eps * (t**4 / 2 - t**3 + t**2 / 2), eps * (2 * t**3 - 3 * t**2 + t)], axis=1)
    detour = answer(
        double_integrator(steps),
        t,
        x,
        u + bump(t)[:, None],
        6.0 + eps**2 / 10,
        interpolation=Interpolation.QUADRATIC,
        u_mid=(6 - 12 * middle + bump(middle))[:, None],
    )
    certificate = certify(detour)
    assert len(certificate.findings) == 1
    assert "not stationary" in certificate.findings[0]
    assert certificate.gap == pytest.approx(eps**2 / 10, rel=1e-6)
    assert certificate.error == pytest.approx(eps**2 / 10, rel=1e-6)


def test_stationarity_does_not_depend_on_the_mesh():
    """The same wrong control has the same stationarity on three meshes, for each way to interpolate."""
    for interpolation, tolerance in ((Interpolation.HOLD, 0.02), (Interpolation.LINEAR, 0.02), ("quadratic", 0.1)):
        values = []
        for steps in (20, 40, 80):
            t = np.linspace(0.0, 1.0, steps + 1)
            wave = lambda s: np.sin(3.0 * s)[:, None]  # noqa: E731
            middle = wave(t[:-1] + 0.5 / steps)
            u = middle if interpolation is Interpolation.HOLD else wave(t)
            problem = double_integrator(steps, constraints=[])
            options = {"interpolation": Interpolation(interpolation), "u_mid": middle}
            if interpolation != "quadratic":
                options.pop("u_mid")
            values.append(certify(answer(problem, t, np.zeros((steps + 1, 2)), u, 0.0, **options)).stationarity)
        assert values[0] > 0.1
        np.testing.assert_allclose(values[1:], values[:-1], rtol=tolerance)


def test_gap_of_a_held_control_falls_with_the_square_of_the_step():
    """The gap of the best held control agrees with what holding really costs, 6 / (1 - h^2) - 6."""
    gaps = []
    for steps in (20, 40):
        *arrays, cost = least_effort_held(steps)
        certificate = certify(answer(double_integrator(steps), *arrays, cost, interpolation=Interpolation.HOLD))
        assert certificate.passed, certificate.findings
        assert certificate.stationarity < 1e-12
        assert certificate.gap == pytest.approx(cost - 6.0, rel=0.01)
        gaps.append(certificate.gap)
    assert gaps[0] / gaps[1] == pytest.approx(4.0, rel=0.01)


def test_state_bound_violated_between_knots_only():
    """Least effort in one interval rises to velocity 1.5 between two knots at rest."""
    problem = double_integrator(
        1, constraints=[to.TerminalConstraint([1.0, 0.0]), to.Bounds(state=(None, [None, 1.25]))]
    )
    certificate = certify(answer(problem, *least_effort(1), 6.0))
    worst = certificate.worst[0]
    assert worst.name == "velocity <= 1.25"
    assert worst.time == pytest.approx(0.5)
    assert worst.amount == pytest.approx(0.25 / 1.25)
    assert certificate.violation == worst.amount
    assert any("velocity <= 1.25" in finding and "t=0.5" in finding for finding in certificate.findings)


def test_rows_of_a_vector_constraint_are_named_apart():
    """Of three rows under one name only the violated one is reported, by its number; the others show their margins."""
    rows = to.PathConstraint(lambda x, u: np.array([x[0], x[1], -x[1]]), upper=[2.0, 1.0, 1.0], name="limits")
    twin = to.PathConstraint(lambda x, u: np.array([x[0], x[0] - 1.0]), upper=[1.5, 1.5], name="limits")
    target = to.TerminalConstraint([1.0, 0.0])
    certificate = certify(answer(double_integrator(4, constraints=[rows, target, twin]), *least_effort(4), 6.0))
    worst = certificate.worst[0]
    assert (worst.name, worst.row, worst.time) == ("limits[1]", 1, pytest.approx(0.5))
    assert worst.amount == pytest.approx(0.5)
    margins = sorted(record.amount for record in certificate.worst if record.name == "limits[0]")
    np.testing.assert_allclose(margins, [-0.5, -0.5 / 1.5], rtol=1e-9)


def test_both_sides_of_a_held_control_are_looked_at():
    """A constraint on state and control that fails only just before a jump of the control is found there."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0]]), nx=1, nu=1),
        initial_state=[0.0],
        constraints=[to.PathConstraint(lambda x, u: x[0] + u[0], upper=1.5, name="reach")],
        horizon=to.Horizon(2.0, steps=2),
    )
    held = answer(problem, [0, 1, 2], [[0], [1], [0]], [[1], [-1]], 0.0, interpolation=Interpolation.HOLD)
    worst = certify(held).worst[0]
    assert (worst.name, worst.time, worst.amount) == ("reach", 1.0, pytest.approx(0.5 / 1.5))


def test_answers_to_another_question_are_found():
    """A different initial state, horizon or parameter is a violation of what the problem prescribes."""
    t, x, u = least_effort(10)
    for cheat, name in (
        (answer(double_integrator(10, initial_state=[0.1, 0.0]), t, x, u, 6.0), "initial position = 0.1"),
        (answer(double_integrator(10), t + 0.5, x, u, 6.0), "start"),
        (answer(double_integrator(10), 2.0 * t, x, u, 6.0), "duration"),
        (answer(double_integrator(10, parameters={"m": 1.0}), t, x, u, 6.0, parameters={"m": 2.0}), "parameter m"),
    ):
        certificate = certify(cheat)
        assert not certificate.passed
        assert name in [record.name for record in certificate.worst if record.amount > 0.05]


def test_multiplier_of_a_constraint_on_the_control():
    """Farthest in a second with |force| <= 1 as a path constraint: the multiplier is 1/2 - t, its halves have 1/8."""
    steps = 20
    t = np.linspace(0.0, 1.0, steps + 1)
    x = np.where((t < 0.5)[:, None], np.stack([t**2 / 2, t], 1), np.stack([0.25 - (1 - t) ** 2 / 2, 1 - t], 1))
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), nx=2, nu=1),
        terminal_cost=lambda x: -x[0],
        initial_state=[0.0, 0.0],
        constraints=[
            to.PathConstraint(lambda x, u: u[0], lower=-1.0, upper=1.0, name="force"),
            to.TerminalConstraint([None, 0.0]),
        ],
        horizon=to.Horizon(1.0, steps=steps),
    )
    u = np.sign(0.5 - t[:-1] - 0.01)[:, None]
    certificate = certify(answer(problem, t, x, u, -0.25, interpolation=Interpolation.HOLD))
    multiplier = certificate.multipliers["force"]
    assert certificate.passed, certificate.findings
    assert certificate.stationarity < 1e-7
    # Any switching time c within half a step of 1/2 explains held controls: the halves have c^2/2 and (1-c)^2/2.
    assert np.abs(multiplier).sum() == pytest.approx(0.25, abs=0.25 / steps**2 + 1e-9)
    assert multiplier[multiplier > 0].sum() == pytest.approx(0.125, abs=0.25 / steps + 0.125 / steps**2 + 1e-9)


def _cart(dynamics, **options):
    options = {"initial_state": [1.0], "horizon": to.Horizon(2.0, steps=4)} | options
    problem = to.Problem(to.ContinuousDynamics(dynamics, nx=1, nu=1), **options)
    arrays = np.linspace(0, 2, 5), np.ones((5, 1)), np.zeros((4, 1))
    return answer(problem, *arrays, 0.0, interpolation=Interpolation.HOLD)


@pytest.mark.parametrize(
    ("solution", "words"),
    [
        (_cart(lambda x, u: np.array([-np.sqrt(x[0]) / x[0] + u[0]])), "finite"),
        (_cart(lambda x, u: np.array([x[0] ** 2 + u[0]])), "near t="),
        (_cart(lambda x, u: np.array([np.where(x[0] > 0.5, -1e3, 1e3) + u[0]])), "near t=0"),
        (_cart(lambda x, u: np.array([-1.0 + u[0]]), stage_cost=lambda x, u: np.log(x[0])), "finite"),
    ],
    ids=["root of a negative state", "finite escape", "sliding mode", "logarithm in the cost"],
)
def test_integration_that_cannot_be_done_is_a_finding(solution, words):
    """NaN, finite escape and chattering end in a finding with a time; nothing is raised and nothing is warned."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certificate = certify(solution)
    assert not certificate.passed
    assert words in certificate.findings[0]
    assert np.isnan(certificate.cost)
    assert np.isinf(certificate.cost_error)
    assert np.isinf(certificate.violation)
    assert np.isnan(certificate.stationarity)
    assert "NOT PASSED" in str(certificate)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"t": np.array([0.0, 0.5, 0.5])}, "do not increase"),
        ({"x": np.full((3, 2), np.nan)}, "not finite"),
        ({"u": np.zeros((2, 1))}, "u of shape"),
        ({"parameters": {"mass": np.ones(3)}}, "'mass' has shape"),
    ],
)
def test_malformed_trajectories_are_findings(change, words):
    """Arrays that cannot be a trajectory are refused in a sentence."""
    solution = answer(double_integrator(2, parameters={"mass": 1.0}), *least_effort(2), 6.0)
    broken = replace(solution, trajectory=replace(solution.trajectory, **change))
    certificate = certify(broken)
    assert len(certificate.findings) == 1
    assert words in certificate.findings[0]


def test_tolerance_must_be_positive():
    """A tolerance of zero is misuse and raises."""
    with pytest.raises(InvalidProblem, match="tolerance=0"):
        certify(answer(double_integrator(2), *least_effort(2), 6.0), tolerance=0.0)


def test_explain_names_the_constraint_and_says_what_to_try():
    """The explanation of a dishonest answer holds the finding, the worst constraint with its time, and advice."""
    problem = double_integrator(
        1, constraints=[to.TerminalConstraint([1.0, 0.0]), to.Bounds(state=(None, [None, 1.25]))]
    )
    text = answer(problem, *least_effort(1), 6.0).explain()
    assert "The certificate does not confirm the answer" in text
    assert "'velocity <= 1.25' is violated by 0.2 at t=0.5" in text
    assert "refine the mesh" in text
    good = answer(double_integrator(20), *least_effort(20), 6.0).explain()
    assert "confirms the answer" in good
    assert "What to try" not in good
