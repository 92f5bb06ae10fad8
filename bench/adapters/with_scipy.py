"""``scipy.optimize.minimize``: single shooting with exact gradients, by SLSQP or by trust-constr."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import casadi as ca
import numpy as np
from scipy.optimize import Bounds, NonlinearConstraint, minimize

from bench.discretisation import Array, Discretisation
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION, Claim, Outcome, Solver
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory

PRECISION = {"SLSQP": ("ftol",), "trust-constr": ("gtol", "xtol", "barrier_tol")}
"""What each calls its tolerances."""


@final
@dataclass(frozen=True)
class ScipyMinimize(Solver):
    """``tolerance`` goes to all tolerances that the method has, ``iterations`` to its ``maxiter``."""

    method: Literal["SLSQP", "trust-constr"] = "SLSQP"
    tolerance: float = 1e-8
    iterations: int = 1000

    handles: ClassVar[frozenset[Feature]] = SIMULATION
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY})

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Minimise over the held controls, from those of the guess."""
        shape, stop, last = Discretisation(problem), [], [np.clip(guess.held(), *problem.control_bounds).ravel()]
        shoot, gradient, slopes, lower, upper = simulate(shape)

        def report(y: Array) -> None:
            last[0] = np.array(y)
            status = monitor.observe(float(shoot(y)[0]))
            if status is not None:
                stop.append(status)
                raise StopIteration

        # SLSQP asks for equalities and inequalities apart.
        equal, limited = lower == upper, np.isfinite([lower, upper]).any(axis=0)
        kinds = [np.flatnonzero(equal), np.flatnonzero(~equal & limited)]
        constraints = [
            NonlinearConstraint(
                lambda y, rows=rows: shoot(y)[1].full().ravel()[rows], lower[rows], upper[rows],
                jac=lambda y, rows=rows: slopes(y).full()[rows],
            )
            for rows in kinds if len(rows)
        ]  # fmt: skip
        limits = (np.tile(limit, shape.steps) for limit in problem.control_bounds)
        options = dict.fromkeys(PRECISION[self.method], self.tolerance) | {"maxiter": self.iterations}
        count, ended, detail = 0, Status.INTERRUPTED, ""
        try:
            report(last[0])
            found = minimize(
                lambda y: float(shoot(y)[0]), last[0], jac=lambda y: gradient(y).full().ravel(), method=self.method,
                bounds=Bounds(*limits), constraints=constraints, options=options,
                callback=lambda intermediate_result: report(intermediate_result.x),
            )  # fmt: skip
            last[0], count, detail = found.x, int(found.nit), str(found.message)
            ended = Status.SOLVED if found.success else Status.STALLED
            ended = Status.ITERATION_LIMIT if count >= self.iterations and not found.success else ended
        except StopIteration:
            pass
        except KeyboardInterrupt:
            stop.append(Status.INTERRUPTED)
        cost, _, states = shoot(last[0])
        answer = Trajectory(shape.times, states.full().T, last[0].reshape(-1, problem.nu), Interpolation.HOLD)
        return Outcome(stop[0] if stop else ended, answer, float(cost), count, detail=detail)


def simulate(shape: Discretisation) -> tuple[Any, ...]:
    """Controls (N nu) -> (cost, rows, states), gradient, slopes of the rows; limits of the rows."""
    problem, model = shape.problem, shape.problem.model
    y = ca.MX.sym("u", shape.steps * problem.nu)
    x, states, rows, cost = ca.MX(problem.initial_values), [], [], 0
    for k in range(shape.steps):
        u = y[k * problem.nu : (k + 1) * problem.nu]
        states.append(x)
        rows.append(shape.path(x, u, shape.times[k]))
        x, stage_cost = shape.step(x, u, shape.times[k], shape.times[k + 1] - shape.times[k])
        rows.append(x)
        cost += stage_cost
    end_cost, end_rows = shape.end(x)
    last = shape.path_at_end
    rows += [end_rows, ca.vec(shape.path(x, u, shape.times[-1])[last])]  # no rows are a column too
    stacked, total = ca.vertcat(*rows), cost + end_cost
    limits = (
        np.concatenate([*[path, state] * shape.steps, end, path[last]])
        for path, state, end in zip(
            (model.path.lower, model.path.upper), problem.state_bounds, (model.terminal.lower, model.terminal.upper),
            strict=True,
        )
    )  # fmt: skip
    shoot = ca.Function("shoot", [y], [total, stacked, ca.horzcat(*states, x)])
    gradient = ca.Function("gradient", [y], [ca.gradient(total, y)])
    return shoot, gradient, ca.Function("slopes", [y], [ca.jacobian(stacked, y)]), *limits
