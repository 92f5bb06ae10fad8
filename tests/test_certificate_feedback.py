"""Answers on plants that amplify deviations are judged under feedback, and not better than they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import trajopt as to
from trajopt.active_rows import find_active_rows
from trajopt.plain import PlainFunctions
from trajopt.reintegration import reintegrate
from trajopt.sensitivity import Decisions, linearise
from trajopt.solvers import Collocation, MultipleShooting
from trajopt.tracking import track
from trajopt.violations import measure


def plant(growth, steps, duration=3.0, **options):
    """x' = growth x + u from 1 on, at the cost of x^2 + u^2 over time."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: growth * x + u, nx=1, nu=1),
        lambda x, u: x @ x + u @ u,
        initial_state=[1.0],
        horizon=to.Horizon(duration, steps=steps),
        **options,
    )


@pytest.mark.parametrize("solver", [Collocation(), Collocation("trapezoidal"), MultipleShooting()], ids=str)
def test_cost_under_feedback(solver):
    """exp(27) amplifies truncation to order one; under feedback the cost is the regulator's."""
    growth, steps = 9.0, 900
    certificate = to.solve(plant(growth, steps), solver).certificate
    assert certificate.drift > 1e-3
    assert certificate.passed, certificate.findings
    assert 0.0 < certificate.correction < 1e-3
    assert any("feedback" in remark for remark in certificate.remarks)
    # The horizon is long beside the closed loop's time constant: exp(-2 sqrt(82) 3) is far below rounding. What is left
    # is the second-order loss of a control that is not the regulator's own.
    assert certificate.cost == pytest.approx(growth + np.hypot(growth, 1.0), rel=2e-3)


def test_stable_plants_are_judged_alone():
    """Where the control alone leads along the states nothing is fed back."""
    certificate = to.solve(plant(-1.0, 50), Collocation()).certificate
    assert certificate.passed
    assert certificate.correction == 0.0
    assert certificate.remarks == ()


def test_states_that_only_feedback_holds_are_told():
    """A control that is wrong by a fifth everywhere has small defects on short intervals, and is found out."""
    solution = to.solve(plant(12.0, 1000), Collocation())
    trajectory = solution.trajectory
    wrong = replace(trajectory, u=trajectory.u + 0.2 * np.abs(trajectory.u).max(), u_mid=None)
    wrong = replace(wrong, interpolation=type(wrong.interpolation).LINEAR)
    certificate = replace(solution, trajectory=wrong).certify(tolerance=0.02)
    assert certificate.defect < 0.02
    assert not certificate.passed
    assert any("does not lead along" in finding for finding in certificate.findings), certificate.findings


@pytest.mark.parametrize("solver", [Collocation(), Collocation("trapezoidal"), MultipleShooting()], ids=str)
def test_gradient_is_that_under_feedback(solver):
    """The sweep's gradient of the cost is that of the plant in closed loop, by central differences."""
    problem = plant(2.0, 6, duration=1.0)
    trajectory = to.solve(problem, solver).trajectory
    parameters = np.zeros(0)
    functions = PlainFunctions(problem, parameters)
    tracked = track(problem, trajectory, parameters, functions, 1e-3)
    assert tracked is not None
    decisions = Decisions.of(problem, tracked.trajectory)
    path = reintegrate(problem, tracked.trajectory, functions)
    found = measure(problem, tracked.trajectory, functions, parameters, path)
    linear = linearise(problem, tracked.trajectory, parameters, path, decisions, tracked.feedback)
    rows = find_active_rows(problem, tracked.trajectory, parameters, path, found, decisions, 1e-3).functionals
    gradient = linear.sweep(rows)[0][0]

    def cost_in_closed_loop(moved):
        nodes, knots = decisions.nodes, tracked.trajectory.x
        values, x, total = nodes.values + moved, knots[0], 0.0
        columns, gains = tracked.feedback.columns, tracked.feedback.gains
        for k in range(trajectory.steps):
            values.ravel()[columns[k]] += gains[k] @ (x - knots[k])
            part = replace(tracked.trajectory, t=tracked.trajectory.t[k : k + 2], x=np.stack([x, x]))
            ends = _advance(replace(part, **_control_of(nodes, values, k, part)), functions, problem)
            x, total = ends[0], total + ends[1]
        return total

    step = 1e-5
    for node in range(len(gradient)):
        moved = np.zeros_like(decisions.nodes.values)
        moved[node] = step
        difference = (cost_in_closed_loop(moved) - cost_in_closed_loop(-moved)) / (2.0 * step)
        # Rounding of the integration, 1e-12, over the step; the cost is quadratic, so there is no truncation.
        assert gradient[node] == pytest.approx(difference, abs=1e-6)


def _control_of(nodes, values, k, part):
    own = values[nodes.index[k]]
    if len(own) == 1:
        return {"u": own}
    return {"u": own[[0, -1]], "u_mid": own[1:2] if part.u_mid is not None else None}


def _advance(part, functions, problem):
    one = replace(problem, initial_state=list(part.x[0]), horizon=to.Horizon(part.t[1] - part.t[0], steps=1))
    path = reintegrate(one, part, functions)
    return path.knots[-1], path.running[0]
