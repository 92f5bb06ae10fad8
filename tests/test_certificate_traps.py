"""Answers that look better than the optimum because they cheat between the nodes."""

from __future__ import annotations

import casadi as ca
import numpy as np
import pytest
from certificate_cases import answer

import trajopt as to
from trajopt import problems
from trajopt.certificate import certify
from trajopt.solvers import Collocation
from trajopt.trajectory import Interpolation


def hermite_simpson(rates, x0, xf, control, duration: float, steps: int):
    """A bare Hermite-Simpson transcription; ``rates(x, u, t)`` gives the state's derivatives and then the cost rate."""
    h, nx = duration / steps, len(x0)
    t = np.linspace(0.0, duration, steps + 1)
    X, U, V = ca.MX.sym("X", nx, steps + 1), ca.MX.sym("U", 1, steps + 1), ca.MX.sym("V", 1, steps)
    cost, rows = 0.0, []
    for k in range(steps):
        left, right = rates(X[:, k], U[k], t[k]), rates(X[:, k + 1], U[k + 1], t[k + 1])
        middle_x = (X[:, k] + X[:, k + 1]) / 2 + h / 8 * (left[:nx] - right[:nx])
        step = h / 6 * (left + 4 * rates(middle_x, V[k], t[k] + h / 2) + right)
        rows.append(X[:, k + 1] - X[:, k] - step[:nx])
        cost += step[nx]
    lower, upper = np.full((nx, steps + 1), -np.inf), np.full((nx, steps + 1), np.inf)
    lower[:, 0] = upper[:, 0] = x0
    lower[:, -1], upper[:, -1] = np.nan_to_num(xf, nan=-np.inf), np.nan_to_num(xf, nan=np.inf)
    w = ca.vertcat(ca.vec(X), ca.vec(U), ca.vec(V))
    options = {"ipopt.print_level": 0, "print_time": False, "ipopt.sb": "yes", "ipopt.tol": 1e-10}
    solver = ca.nlpsol("solver", "ipopt", {"x": w, "f": cost, "g": ca.vertcat(*rows)}, options)
    controls = [np.full(2 * steps + 1, limit) for limit in control]
    sides = [np.concatenate([limit.ravel("F"), u]) for limit, u in zip((lower, upper), controls, strict=True)]
    found = solver(x0=0.1, lbx=sides[0], ubx=sides[1], lbg=0.0, ubg=0.0)
    assert solver.stats()["success"]
    values = np.asarray(found["x"]).ravel()
    x, u, u_mid = np.split(values, [X.numel(), X.numel() + steps + 1])
    return t, x.reshape(steps + 1, nx), u[:, None], float(found["f"]), u_mid[:, None]


def certified(name: str, steps: int, *arguments, tolerance: float):
    """Transcribe, solve and certify a problem of the library; also its known optimum and the reported cost."""
    t, x, u, cost, u_mid = hermite_simpson(*arguments, steps)
    problem = problems.load(name, steps=steps)
    solution = answer(problem, t, x, u, cost, interpolation=Interpolation.QUADRATIC, u_mid=u_mid)
    return certify(solution, tolerance=tolerance), problems.reference(name).cost, cost


def test_neuenhofen_kerrigan_is_not_certified():
    """X1 on 41 nodes (20 intervals and their midpoints) reports a cost below the optimum; what it has lies above."""
    certificate, optimum, reported = certified(
        "neuenhofen-kerrigan",
        20,
        lambda x, u, t: ca.vertcat(0.5 * x[0] ** 2 + u, x[0] ** 2 + np.cos(t) * u),
        [0.0],
        [np.nan],
        (-1.5, 1.0),
        np.pi / 2,
        tolerance=1e-3,
    )
    assert reported < optimum - 3e-4
    assert not certificate.passed
    assert any("is less than the true cost" in finding for finding in certificate.findings)
    assert certificate.cost > optimum
    assert certificate.error > certificate.cost - optimum


def test_exact_solution_of_neuenhofen_kerrigan_is_certified():
    """The same problem with its smooth singular control passes: it is the ringing that is refused."""
    exact = problems.reference("neuenhofen-kerrigan").solution
    t = np.linspace(0.0, np.pi / 2, 41)
    x, u = (np.array(part) for part in zip(*map(exact, t), strict=True))
    middle = np.array([exact(time)[1] for time in 0.5 * (t[:-1] + t[1:])])
    optimum = problems.reference("neuenhofen-kerrigan").cost
    problem = problems.load("neuenhofen-kerrigan", steps=40)
    solution = answer(problem, t, x, u, optimum, interpolation=Interpolation.QUADRATIC, u_mid=middle)
    certificate = certify(solution, tolerance=1e-6)
    assert certificate.passed, certificate.findings
    assert certificate.gap < 1e-7


@pytest.mark.parametrize(
    ("name", "steps", "arguments"),
    [
        (
            "fuller",
            20,
            (lambda x, u, t: ca.vertcat(x[1], u, x[0] ** 2), [0.0, 1.0], [0.0, 0.0], (-1.0, 1.0), 3.5),
        ),
        (
            "van-der-pol-bounded",
            60,
            (
                lambda x, u, t: ca.vertcat((1 - x[1] ** 2) * x[0] - x[1] + u, x[0], x[0] ** 2 + x[1] ** 2 + u**2),
                [0.0, 1.0],
                [np.nan, np.nan],
                (-0.3, 1.0),
                5.0,
            ),
        ),
    ],
)
def test_values_below_the_optimum_are_not_certified(name, steps, arguments):
    """A cost below the optimum is either not the cost of the control, or bought by breaking a limit between nodes."""
    certificate, optimum, reported = certified(name, steps, *arguments, tolerance=1e-3)
    assert reported < optimum
    assert not certificate.passed
    assert certificate.cost >= optimum or certificate.violation > 1e-3
    assert abs(certificate.cost - optimum) <= 2.0 * certificate.error


@pytest.mark.parametrize("bounds", [[], [to.Bounds(control=(-1.0, 1.0))]], ids=["free", "bounded"])
def test_a_stationary_maximum_is_no_answer(bounds):
    """At u = 0 the cost -int u^2 is stationary and largest: the certificate says which control is no minimum."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        lambda x, u: -(u[0] ** 2),
        initial_state=[0.0],
        constraints=bounds,
        horizon=to.Horizon(1.0, steps=10),
    )
    certificate = to.solve(problem, Collocation()).certificate
    assert certificate.stationarity < 1e-6
    assert not certificate.passed
    assert any("'u0' is no minimum" in finding for finding in certificate.findings), certificate.findings
