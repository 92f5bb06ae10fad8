"""Explicit Runge-Kutta steps, with exact derivatives composed through their stages.

With z = (x, u), a step of length h evaluates, for i = 1..s,

    X_i = x + h sum_j a_ij K_j,      K_i = f(X_i, u, t + c_i h),      S_i = dX_i/dz = [I 0] + h sum_j a_ij dK_j,

and gives x+ = x + h sum_i b_i K_i. The stage cost rides along as one more quadrature of the same order:
L = h sum_i b_i l(X_i, u, t + c_i h). With W_i = dz_i/dz = [S_i; 0 I] the derivatives are dK_i = f_z(X_i, u) W_i and,
for weights y on x+,

    d2(y'x+ + L) = sum_i W_i' (m_i' f_zz + h b_i l_zz) W_i,    m_i = h b_i y + h sum_{j>i} a_ji (f_x' m_j + h b_j l_x),

where m_i are the adjoints of K_i, found from the last stage backwards (the discrete adjoint of the method, so that the
derivatives are those of the discrete step and not approximations of the continuous ones). Gauss-Newton drops m_i.

Only the continuous f is differentiated symbolically; composing keeps the expressions several times smaller than
differentiating the expanded step. Discrete dynamics are the method with one stage, h = 1 and no carried x.

Reference: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca

from trajopt.model import Model


@dataclass(frozen=True)
class Tableau:
    """Coefficients of an explicit Runge-Kutta method, or of discrete dynamics.

    Attributes
    ----------
    a
        Rows of the strictly lower triangle.
    b, c
        Weights and nodes.
    order
        Of accuracy; 0 for discrete dynamics, which are exact.
    carries
        Whether the step starts from x; discrete dynamics return the next state itself.
    """

    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int
    carries: bool = True


INTEGRATORS = {
    "euler": Tableau(((),), (1.0,), (0.0,), 1),
    "midpoint": Tableau(((), (0.5,)), (0.0, 1.0), (0.0, 0.5), 2),
    "rk3": Tableau(((), (0.5,), (-1.0, 2.0)), (1 / 6, 2 / 3, 1 / 6), (0.0, 0.5, 1.0), 3),
    "rk4": Tableau(((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6), (0.0, 0.5, 0.5, 1.0), 4),
}
"""Explicit methods by name; rk3 is Kutta's, rk4 the classical one."""

DISCRETE = Tableau(((),), (1.0,), (0.0,), 0, carries=False)
"""Discrete dynamics as a method of one stage."""


@dataclass(frozen=True, eq=False)
class Step:
    """One step as expressions of the model's x, u, p and of ``time`` = (t, h).

    Attributes
    ----------
    time, weights
        Symbols: (2) time and step length, (nx) weights y of the second derivative.
    next_state, cost
        x+ and L.
    jacobian
        (nx, nx + nu) dx+/dz.
    gradient
        (nx + nu) dL/dz.
    hessian
        (nx + nu, nx + nu): Gauss-Newton d2L/dz2, or d2(y'x+ + L)/dz2 in full.
    """

    time: ca.SX
    weights: ca.SX
    next_state: ca.SX
    cost: ca.SX
    jacobian: ca.SX
    gradient: ca.SX
    hessian: ca.SX


class _Stages:
    """Values and first derivatives at the stages of one step."""

    def __init__(self, model: Model, tableau: Tableau, time: ca.SX) -> None:
        nx, nu = model.x.numel(), model.u.numel()
        z = ca.vertcat(model.x, model.u)
        rate = ca.vertcat(model.dynamics, model.stage_cost)
        first = ca.Function("first", [model.x, model.u, model.t, model.p], [rate, ca.jacobian(rate, z)])
        identity = ca.SX.eye(nx + nu)
        t, h = time[0], time[1]
        self.points: list[ca.SX] = []
        self.times: list[ca.SX] = []
        self.rates: list[ca.SX] = []
        self.maps: list[ca.SX] = []  # W_i
        self.partials: list[ca.SX] = []  # (f; l)_z
        self.totals: list[ca.SX] = []  # dK_i
        for row, node in zip(tableau.a, tableau.c, strict=True):
            point, sensitivity = model.x, identity[:nx, :]
            for weight, rate_j, total_j in zip(row, self.rates, self.totals, strict=True):
                if weight:
                    point = point + h * weight * rate_j[:nx]
                    sensitivity = sensitivity + h * weight * total_j[:nx, :]
            moment = t + node * h if node else t
            value, partial = first(point, model.u, moment, model.p)
            into = ca.vertcat(sensitivity, identity[nx:, :])
            self.points.append(point)
            self.times.append(moment)
            self.rates.append(value)
            self.maps.append(into)
            self.partials.append(partial)
            self.totals.append(partial @ into)


def build_step(model: Model, tableau: Tableau, *, second_order: bool) -> Step:
    """Expressions of one step and its derivatives.

    Parameters
    ----------
    model
        Gives f and l.
    tableau
        The method.
    second_order
        Whether the Hessian holds the curvature of the dynamics (weighted by ``weights``) or is Gauss-Newton.
    """
    nx = model.x.numel()
    time, weights = ca.SX.sym("time", 2), ca.SX.sym("y", nx)
    stages = _Stages(model, tableau, time)
    quadrature = [time[1] * b for b in tableau.b] if tableau.carries else [ca.SX(1.0)]
    total = sum((q * rate for q, rate in zip(quadrature, stages.rates, strict=True)), ca.SX.zeros(nx + 1))
    derivative = sum(
        (q * d for q, d in zip(quadrature, stages.totals, strict=True)), ca.SX(nx + 1, stages.maps[0].size2())
    )
    next_state, jacobian = total[:nx], derivative[:nx, :]
    if tableau.carries:
        next_state, jacobian = model.x + next_state, stages.maps[0][:nx, :] + jacobian
    if second_order:
        adjoints = _adjoints(stages, tableau, quadrature, weights, time[1])
    else:
        adjoints = [ca.SX(nx, 1)] * len(quadrature)
    hessian = _curvature(model, stages, quadrature, adjoints)
    outputs = [next_state, total[nx], jacobian, derivative[nx, :].T, hessian]
    return Step(time, weights, *ca.cse([ca.SX(output) for output in outputs]))


def _adjoints(stages: _Stages, tableau: Tableau, quadrature: list[ca.SX], y: ca.SX, h: ca.SX) -> list[ca.SX]:
    """m_i of the module docstring: how y'x+ + L depends on the rate K_i."""
    nx, count = y.numel(), len(quadrature)
    adjoints: list[ca.SX] = [ca.SX(nx, 1)] * count
    pulled: list[ca.SX] = [ca.SX(nx, 1)] * count
    for i in reversed(range(count)):
        adjoint = quadrature[i] * y
        for j in range(i + 1, count):
            if tableau.a[j][i]:
                adjoint = adjoint + h * tableau.a[j][i] * pulled[j]
        adjoints[i] = adjoint
        weights = ca.vertcat(adjoint, quadrature[i])
        pulled[i] = stages.partials[i][:, :nx].T @ weights
    return adjoints


def _curvature(model: Model, stages: _Stages, quadrature: list[ca.SX], adjoints: list[ca.SX]) -> ca.SX:
    """Sum of W_i' (m_i' f_zz + h b_i l_zz) W_i; stages of zero weight drop out."""
    nx = model.x.numel()
    z = ca.vertcat(model.x, model.u)
    m, q = ca.SX.sym("m", nx), ca.SX.sym("q")
    lagrangian = ca.dot(m, model.dynamics) + q * model.stage_cost
    second = ca.Function("second", [model.x, model.u, model.t, model.p, m, q], [ca.hessian(lagrangian, z)[0]])
    result = ca.SX(z.numel(), z.numel())
    for point, moment, into, weight, adjoint in zip(
        stages.points, stages.times, stages.maps, quadrature, adjoints, strict=True
    ):
        if weight.is_zero() and adjoint.nnz() == 0:
            continue
        block = second(point, model.u, moment, model.p, adjoint, weight)
        result = result + into.T @ block @ into
    return ca.tril(result) + ca.tril(result, False).T  # one triangle is computed, so that it is symmetric to the bit
