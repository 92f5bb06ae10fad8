"""The gradients behind stationarity, against central differences of the re-integration itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import trajopt as to
from trajopt.active_rows import find_active_rows
from trajopt.plain import PlainFunctions
from trajopt.reintegration import reintegrate
from trajopt.sensitivity import Decisions, linearise
from trajopt.trajectory import Interpolation, Pieces, Trajectory
from trajopt.violations import measure

STEPS = 3


def van_der_pol() -> to.Problem:
    """Everything free at once, every kind of constraint, everything depends on time and parameters."""
    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u, t, p: np.array(
                [x[1] + 0.1 * u[1], p["mu"] * (1 - x[0] ** 2) * x[1] - x[0] + u[0] * np.cos(t)]
            ),
            nx=2,
            nu=2,
        ),
        stage_cost=lambda x, u, t, p: x @ x + p["k"][1] * u @ u + 0.1 * t * x[0] * u[1],
        terminal_cost=lambda x, t, p: t * x[0] ** 2 + p["mu"],
        initial_state=[1.0, None],
        constraints=[
            to.Bounds(state=([None, -50.0], [50.0, None])),
            to.TerminalConstraint(lambda x, t, p: np.array([x[0] * p["mu"] - t, x[1]]), name="end"),
            to.BoundaryConstraint(lambda x0, xf, t0, tf, p: x0[1] * xf[0] + t0 * tf * p["k"][0], name="tie"),
            to.IntegralConstraint(lambda x, u, t, p: x[1] ** 2 * t + u[0] * p["mu"], lower=1.0, upper=1.0, name="work"),
            to.PathConstraint(lambda x, u, t, p: np.array([x[0] * u[0] + t * p["mu"], x[1] + t]), lower=0.0, upper=0.0),
        ],
        horizon=to.Horizon(to.Free(0.5, 5.0), steps=STEPS, start=to.Free(0.0, 2.0)),
        parameters={"k": to.Free([0.0, 0.0], [2.0, 2.0]), "mu": to.Free(0.0, 3.0), "fixed": 4.0},
    )


def control(interpolation: Interpolation) -> dict:
    """A wavy control of two entries."""
    rows = STEPS if interpolation is Interpolation.HOLD else STEPS + 1
    wave = np.sin(np.arange(2 * rows)).reshape(rows, 2)
    middle = np.cos(np.arange(2 * STEPS)).reshape(STEPS, 2) if interpolation is Interpolation.QUADRATIC else None
    pieces = None
    if interpolation is Interpolation.POLYNOMIAL:
        pieces = Pieces(np.sin(np.arange(8 * STEPS)).reshape(STEPS, 4, 2), np.zeros((STEPS, 2, 2)))
    return {"u": wave, "u_mid": middle, "pieces": pieces}


def trajectory_at(w: np.ndarray, base: Trajectory, decisions: Decisions, fractions: np.ndarray) -> Trajectory:
    """The trajectory whose decision variables are w."""
    nodes = w[: decisions.controls].reshape(-1, 2)
    start, duration = w[decisions.controls : decisions.controls + 2]
    k, mu, free = w[decisions.controls + 2 : decisions.controls + 4], w[decisions.controls + 4], w[-1]
    quadratic, pieces = base.interpolation is Interpolation.QUADRATIC, base.pieces
    x = base.x.copy()
    x[0, 1] = free
    return replace(
        base,
        t=start + duration * fractions,
        x=x,
        u=base.u if pieces else nodes[::2] if quadratic else nodes,
        pieces=Pieces(nodes.reshape(pieces.u.shape), pieces.x) if pieces else None,
        u_mid=nodes[1::2] if quadratic else None,
        parameters={"k": k, "mu": mu, "fixed": 4.0},
    )


def values(problem: to.Problem, trajectory: Trajectory) -> np.ndarray:
    """Cost, terminal, boundary and integral rows, then path rows place by place, by the plain functions."""
    parameters = problem.layout.pack(trajectory.parameters)
    functions = PlainFunctions(problem, parameters)
    path = reintegrate(problem, trajectory, functions)
    final, t0, tf = path.knots[-1], path.t[0], path.t[-1]
    ends = [path.running[0] + functions.terminal_cost(final, tf), *functions.terminal(final, tf)]
    ends += [*functions.boundary(path.knots[0], final, t0, tf), path.running[1]]
    width, last = path.samples, path.samples - 1
    places = [width * k for k in range(STEPS)] + [width * k + last // 2 for k in range(STEPS)]
    rows = [functions.path(path.x[i], path.u[i], path.t[i]) for i in places]
    ending = [width * k + last for k in range(STEPS)]
    last_rows = [functions.path(path.x[i], path.u[i], path.t[i]) for i in ending]
    if trajectory.interpolation.jumps:  # left limits count for the row in which the control shows
        return np.concatenate([ends, *rows, *([row[0]] for row in last_rows[:-1]), last_rows[-1]])
    return np.concatenate([ends, *rows, last_rows[-1]])


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_gradients_agree_with_differences_of_the_reintegration(interpolation):
    """Cost and every kind of constraint, by control nodes, start, duration, parameters and initial state."""
    problem, fractions = van_der_pol(), np.array([0.0, 0.3, 0.45, 1.0])
    x = np.array([[1.0, 0.3], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    parameters = {"k": np.array([0.7, 0.4]), "mu": 1.2, "fixed": 4.0}
    options = {"interpolation": interpolation, "parameters": parameters, **control(interpolation)}
    base = Trajectory(0.2 + 1.6 * fractions, x, **options)
    packed = problem.layout.pack(parameters)
    functions = PlainFunctions(problem, packed)
    path, decisions = reintegrate(problem, base, functions), Decisions.of(problem, base)
    linear = linearise(problem, base, packed, path, decisions)
    found = measure(problem, base, functions, packed, path)
    active = find_active_rows(problem, base, packed, path, found, decisions, 1e-3)
    gradients, costates = linear.sweep(active.functionals)
    w = np.concatenate([decisions.nodes.values.ravel(), [0.2, 1.6, 0.7, 0.4, 1.2, 0.3]])
    assert w.size == decisions.size == gradients.shape[1]
    step = 1e-5  # the integrator's 1e-10 over the step, and its square, leave 1e-5 of relative error
    columns = [
        (
            values(problem, trajectory_at(w + step * unit, base, decisions, fractions))
            - values(problem, trajectory_at(w - step * unit, base, decisions, fractions))
        )
        / (2 * step)
        for unit in np.eye(w.size)
    ]
    expected = np.stack(columns, axis=1)
    assert gradients.shape == expected.shape
    np.testing.assert_allclose(gradients, expected, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(costates[0, 1], expected[0, -1], rtol=1e-5)


def test_direct_part_is_the_gradient_without_the_states():
    """With a cost of the control alone the direct part is the whole gradient."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([np.sin(x[0]) + u[0]]), nx=1, nu=1),
        stage_cost=lambda x, u, t: u[0] ** 2 * (1 + t),
        initial_state=[0.0],
        horizon=to.Horizon(2.0, steps=4),
    )
    trajectory = Trajectory(np.linspace(0, 2, 5), np.zeros((5, 1)), np.arange(5.0)[:, None], Interpolation.LINEAR)
    functions = PlainFunctions(problem, np.zeros(0))
    path, decisions = reintegrate(problem, trajectory, functions), Decisions.of(problem, trajectory)
    linear = linearise(problem, trajectory, np.zeros(0), path, decisions)
    found = measure(problem, trajectory, functions, np.zeros(0), path)
    active = find_active_rows(problem, trajectory, np.zeros(0), path, found, decisions, 1e-3)
    gradients, _ = linear.sweep(active.functionals)
    assert np.abs(gradients).max() > 1.0
    np.testing.assert_allclose(linear.direct(active.functionals), gradients[0], rtol=1e-12)
