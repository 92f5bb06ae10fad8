"""iLQR and DDP written down: derivatives from CasADi, matrix products in NumPy, nothing regularised or reused.

About a trajectory that obeys the dynamics, backwards from v = phi_x and V = phi_xx,

    q = L_z + F'v,    Q = L_zz + F'V F  (+ sum_i v_i F_i,zz for DDP),    K = -Q_uu^-1 Q_ux,    k = -Q_uu^-1 q_u,
    v <- q_x + Q_xu k,    V <- Q_xx + Q_xu K,

where L_zz of iLQR (Gauss-Newton) leaves out how the dynamics curve inside of a Runge-Kutta step, as Q does at its end;

then u + s k + K dx is rolled out for s = 1, 1/2, ... until the cost falls by at least 1e-4 of what the quadratic model
promises, -(s sum q_u'k + s^2/2 sum k'Q_uu k).

References: Li, Todorov, ICINCO 2004; Jacobson, Mayne 1970; Nocedal, Wright 2006, section 3.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.model import Model
from trajopt.problem import Feature, Problem
from trajopt.testing.oracles.integration import STEPS

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Iteration:
    """One iteration.

    Attributes
    ----------
    gains, offsets
        K (N, nu, nx) and k (N, nu).
    costates
        v (N+1, nx).
    linear, quadratic
        Change of the cost that the model promises for a step of length s: s linear + s^2/2 quadratic.
    length
        s, of the step that was taken; zero if none gained enough.
    states, controls, cost
        What it led to, (N+1, nx) and (N, nu).
    """

    gains: Array
    offsets: Array
    costates: Array
    linear: float
    quadratic: float
    length: float
    states: Array
    controls: Array
    cost: float

    @property
    def decrement(self) -> float:
        """What a full step promises to gain."""
        return -(self.linear + 0.5 * self.quadratic)


class DifferentialTwin:
    """iLQR, or DDP with ``second_order``, on one problem.

    Parameters
    ----------
    problem
        Without constraints, with fixed times, parameters and initial state.
    second_order
        Whether the curvature of the dynamics counts.
    integrator
        Of continuous dynamics; see `trajopt.testing.oracles.roll_out`.

    Raises
    ------
    InvalidProblem
        When the problem has anything else.
    """

    def __init__(self, problem: Problem, *, second_order: bool = False, integrator: str = "rk4") -> None:
        beyond = problem.features - {Feature.CONTINUOUS_TIME, Feature.DISCRETE_TIME}
        if beyond:
            raise InvalidProblem(
                f"a problem with {', '.join(sorted(beyond))} was given, but one without was expected: the twin is kept "
                "simple; leave that out."
            )
        model, t = problem.model, problem.horizon.knots()
        self.nx, self.start, self.times = problem.nx, problem.initial_values, np.stack([t[:-1], np.diff(t)], axis=1)
        self.parameters = problem.layout.pack(problem.parameters)
        z, y, h = ca.vertcat(model.x, model.u), ca.SX.sym("y", problem.nx), ca.SX.sym("h")
        inputs = [model.x, model.u, model.t, model.p]
        rate = ca.Function("rate", inputs, [model.dynamics, model.stage_cost, ca.hessian(model.stage_cost, z)[0]])
        following, points = _step(rate, integrator if problem.dynamics.continuous else None, model, h)
        cost, curvature = 0, 0
        for weight, state, time in points:
            _, value, hessian = rate(state, model.u, time, model.p)
            along = ca.jacobian(ca.vertcat(state, model.u), z)
            cost, curvature = cost + weight * value, curvature + weight * (along.T @ hessian @ along)
        if second_order:
            curvature = ca.hessian(cost + ca.dot(y, following), z)[0]
        self._expand = ca.Function(
            "expand", [*inputs, h, y], [ca.jacobian(following, z), ca.gradient(cost, z), curvature]
        )
        self._follow = ca.Function("follow", [*inputs, h], [following, cost])
        hessian, gradient = ca.hessian(model.terminal_cost, model.x)
        self._end = ca.Function("end", [model.x, model.t, model.p], [model.terminal_cost, gradient, hessian])
        self._last = float(t[-1])

    def roll_out(self, controls: Array) -> tuple[Array, float]:
        """States and cost of controls (N, nu)."""
        nothing = np.zeros((len(controls), controls.shape[1], self.nx))
        still = np.zeros((len(controls) + 1, self.nx))
        states, _, cost = self._search(still, controls, 0.0 * controls, nothing, 0.0)
        return states, cost

    def sweep(self, x: Array, u: Array) -> tuple[Array, Array, Array, float, float]:
        """Gains, offsets, costates, and the linear and quadratic change that a step promises.

        Raises
        ------
        InvalidProblem
            When some Q_uu is not positive definite, where a solver would regularise.
        """
        v, V = (part.full() for part in self._end(x[-1], self._last, self.parameters)[1:])
        v, nx, linear, quadratic = v.ravel(), self.nx, 0.0, 0.0
        gains, offsets, costates = [], [], [v]
        for k in reversed(range(len(u))):
            t, h = self.times[k]
            F, g, H = (part.full() for part in self._expand(x[k], u[k], t, self.parameters, h, v))
            q, Q = g.ravel() + F.T @ v, H + F.T @ V @ F
            if not np.linalg.eigvalsh(Q[nx:, nx:])[0] > 0.0:
                raise InvalidProblem(
                    f"Q_uu of stage {k} is not positive definite on this trajectory, but the twin does not regularise; "
                    "start from another one."
                )
            offsets.append(-np.linalg.solve(Q[nx:, nx:], q[nx:]))
            gains.append(-np.linalg.solve(Q[nx:, nx:], Q[nx:, :nx]))
            linear += q[nx:] @ offsets[-1]
            quadratic += offsets[-1] @ Q[nx:, nx:] @ offsets[-1]
            v, V = q[:nx] + Q[:nx, nx:] @ offsets[-1], Q[:nx, :nx] + Q[:nx, nx:] @ gains[-1]
            costates.append(v)
        K, k, v = (np.array(part[::-1]) for part in (gains, offsets, costates))
        return K, k, v, float(linear), float(quadratic)

    def iterate(self, x: Array, u: Array, cost: float, *, shortest_step: float = 2.0**-10) -> Iteration:
        """One iteration from a trajectory that obeys the dynamics, and its cost."""
        gains, offsets, costates, linear, quadratic = self.sweep(x, u)
        length = 1.0
        while length >= shortest_step:
            states, controls, reached = self._search(x, u, offsets, gains, length)
            if cost - reached > 0.0 and cost - reached >= -1e-4 * (length * linear + 0.5 * length**2 * quadratic):
                return Iteration(gains, offsets, costates, linear, quadratic, length, states, controls, reached)
            length /= 2.0
        return Iteration(gains, offsets, costates, linear, quadratic, 0.0, x, u, cost)

    def iterations(self, controls: Array) -> Iterator[Iteration]:
        """Iterations from the rollout of ``controls`` on, until no step gains enough."""
        u = np.asarray(controls, float)
        x, cost = self.roll_out(u)
        while True:
            found = self.iterate(x, u, cost)
            yield found
            if found.length == 0.0:
                return
            x, u, cost = found.states, found.controls, found.cost

    def _search(self, x: Array, u: Array, k: Array, K: Array, length: float) -> tuple[Array, Array, float]:
        """States, controls and cost of a step of some length."""
        states, controls, cost = [self.start], [], 0.0
        for stage, (t, h) in enumerate(self.times):
            controls.append(u[stage] + length * k[stage] + K[stage] @ (states[-1] - x[stage]))
            following, stage_cost = self._follow(states[-1], controls[-1], t, self.parameters, h)
            states.append(following.full().ravel())
            cost += float(stage_cost)
        return np.array(states), np.array(controls), cost + float(self._end(states[-1], self._last, self.parameters)[0])


def _step(
    rate: ca.Function, integrator: str | None, model: Model, h: ca.SX
) -> tuple[ca.SX, list[tuple[ca.SX, ca.SX, ca.SX]]]:
    """Next state, and where the stage cost is taken: each weight, state and time."""
    if integrator is None:
        return model.dynamics, [(ca.SX(1.0), model.x, model.t)]
    points: list[tuple[ca.SX, ca.SX, ca.SX]] = []

    def slope(state: ca.SX, u: ca.SX, time: ca.SX) -> ca.SX:
        # The cost rides along as one more state, whose rate is a symbol: the step's slope along it is the weight.
        points.append((ca.SX.sym("cost"), state[:-1], time))
        return ca.vertcat(rate(state[:-1], u, time, model.p)[0], points[-1][0])

    both: Any = STEPS[integrator](slope, ca.vertcat(model.x, 0), model.u, model.t, h)
    return both[:-1], [(ca.jacobian(both[-1], symbol), state, time) for symbol, state, time in points]
