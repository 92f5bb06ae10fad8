"""The powered descent against its lossless convexification, stated and solved by other means."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.problems import powered_descent as lander
from trajopt.solvers import SCvx


def lossless(duration: float, steps: int, *, slope: float = 4.0, pointing: float = 45.0) -> tuple[float, float]:
    """Fuel and largest slack of the relaxation |F| <= S, in the logarithm of the mass (Acikmese, Ploen 2007).

    Acceleration u = F/m and its bound s are held; z = ln m falls by alpha s, without a floor.
    rho1 exp(-z) <= s is convex as it is, s <= rho2 exp(-z) is linearised about the last z, three times.
    """
    h = duration / steps
    r, v, z = cp.Variable((steps + 1, 3)), cp.Variable((steps + 1, 3)), cp.Variable(steps + 1)
    u, s = cp.Variable((steps, 3)), cp.Variable(steps)
    gravity = np.array([0.0, 0.0, lander.GRAVITY])
    least, greatest = 1000.0 * lander.LEAST, 1000.0 * lander.GREATEST
    expansion = cp.Parameter(steps, nonneg=True)  # rho2 exp(-last)
    middle = 0.5 * (z[:-1] + z[1:])  # where a held thrust has the mean acceleration
    product = cp.Parameter(steps)  # expansion * (1 + last), so that the problem stays disciplined
    start = np.array(lander.START)
    constraints = [
        r[0] == start[:3], v[0] == start[3:6], z[0] == np.log(lander.WET), r[-1] == 0.0, v[-1] == 0.0,
        v[1:] == v[:-1] + h * (u - gravity),
        r[1:] == r[:-1] + h * v[:-1] + 0.5 * h**2 * (u - gravity),
        z[1:] == z[:-1] - h * lander.CONSUMPTION * s,
        cp.norm(u, 2, axis=1) <= s,
        u[:, 2] >= np.cos(np.deg2rad(pointing)) * s,
        least * cp.exp(-middle) <= s,
        s <= product - cp.multiply(expansion, middle),
        np.tan(np.deg2rad(slope)) * cp.norm(r[:, :2], 2, axis=1) <= r[:, 2],
    ]  # fmt: skip
    problem = cp.Problem(cp.Minimize(-z[-1]), constraints)
    last = np.linspace(np.log(lander.WET), np.log(lander.DRY), steps + 1)[:-1]
    for _ in range(3):
        expansion.value = greatest * np.exp(-last)
        product.value = expansion.value * (1.0 + last)
        problem.solve(solver=cp.CLARABEL, canon_backend=cp.SCIPY_CANON_BACKEND)
        if problem.status != cp.OPTIMAL:
            return np.inf, np.inf
        last = middle.value
    slack = np.max(s.value - np.linalg.norm(u.value, axis=1)) / np.max(s.value)
    return lander.WET - float(np.exp(z.value[-1])), float(slack)


def test_powered_descent_is_its_lossless_convexification():
    """The fuel of the nonconvex problem is that of the convex one at the same duration, and no other needs less."""
    solution = to.solve(problems.load("powered-descent", steps=30), SCvx())
    assert solution.success, solution.message
    fuel, duration = solution.cost, solution.t[-1]
    same, slack = lossless(duration, 30)
    finer, _ = lossless(duration, 60)
    assert slack <= 1e-4  # lossless: the relaxation is tight
    # One holds the force and the other the acceleration: both err by the same order as halving the step shows.
    allowed = 2.0 * abs(same - finer)
    assert allowed <= 2e-3 * fuel
    assert fuel == pytest.approx(same, abs=allowed)
    others = [lossless(duration + shift, 30)[0] for shift in (-2.0, 2.0)]
    assert min(others) >= same - allowed
    thrust = np.linalg.norm(solution.u, axis=1)
    assert thrust.min() >= lander.LEAST - 1e-5  # the tolerance of 1e-6 on squares of 25 to 176
    assert thrust.max() <= lander.GREATEST + 1e-5
    assert np.ptp(thrust) > 0.9 * (lander.GREATEST - lander.LEAST)  # both ends of the shell: bang-bang
