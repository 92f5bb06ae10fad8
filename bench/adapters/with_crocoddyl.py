"""Crocoddyl's FDDP and BoxFDDP on action models in Python, which is slow and exact: every problem that they handle."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import Any, ClassVar, final

import casadi as ca
import crocoddyl
import numpy as np

from bench.discretisation import Discretisation
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import Claim, Outcome, Solver
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory


@dataclass(frozen=True)
class Crocoddyl(Solver, ABC):
    """``tolerance`` is ``th_stop`` with that solver's default; ``iterations`` the ``maxiter`` of ``solve``."""

    tolerance: float = 1e-9
    iterations: int = 500

    handles: ClassVar[frozenset[Feature]] = frozenset({Feature.CONTINUOUS_TIME, Feature.DISCRETE_TIME})
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY, Claim.ONE_STEP})
    method: ClassVar[str]

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from states and controls of the guess, which need not fit together."""
        shape = Discretisation(problem)
        x, u = [problem.initial_values, *guess.x[1:]], list(np.clip(guess.held(), *problem.control_bounds))
        stages = [Stage(shape, k) for k in range(shape.steps)]
        shooting = crocoddyl.ShootingProblem(problem.initial_values, stages, Stage(shape, shape.steps))
        solver = getattr(crocoddyl, self.method)(shooting)
        solver.th_stop = self.tolerance
        watch = Watch(monitor)
        solver.setCallbacks([watch])
        solver.setCandidate(x, u, False)
        try:
            watch.tell(shooting.calc(x, u))
            gaps = [np.abs(data.xnext - after).max() for data, after in zip(shooting.runningDatas, x[1:], strict=True)]
            solved = solver.solve(x, u, self.iterations, bool(max(gaps) <= solver.th_gapTol))
            full = solver.iter + 1 >= self.iterations
            status = Status.SOLVED if solved else Status.ITERATION_LIMIT if full else Status.STALLED
        except Stop as stop:
            status = stop.args[0]
        states = np.array(solver.xs.tolist()).reshape(-1, problem.nx)
        controls = np.array(solver.us.tolist()).reshape(-1, problem.nu)
        answer = Trajectory(shape.times, states, controls, Interpolation.HOLD)
        count = len(monitor.history) - 1
        gains = -np.array(solver.K.tolist()).reshape(shape.steps, problem.nu, problem.nx)
        costates = np.array(solver.Vx.tolist()).reshape(-1, problem.nx)
        return Outcome(status, answer, monitor.history[-1].cost, count, gains if count else None,
                       multipliers={"costates": costates} if count else {})  # fmt: skip


@final
@dataclass(frozen=True)
class FDDP(Crocoddyl):
    """SolverFDDP, which takes no bounds."""

    method: ClassVar[str] = "SolverFDDP"


@final
@dataclass(frozen=True)
class BoxFDDP(Crocoddyl):
    """SolverBoxFDDP, which takes bounds on controls."""

    tolerance: float = 5e-5

    handles: ClassVar[frozenset[Feature]] = Crocoddyl.handles | {Feature.CONTROL_BOUNDS}
    method: ClassVar[str] = "SolverBoxFDDP"


class Stop(Exception):
    """Leaves the C++ loop with a status."""


class Watch(crocoddyl.CallbackAbstract):
    """Tells the monitor of each iteration."""

    def __init__(self, monitor: Monitor) -> None:
        crocoddyl.CallbackAbstract.__init__(self)
        self.monitor = monitor

    def __call__(self, solver: Any) -> None:
        self.tell(solver.cost, float(solver.ffeas), float(solver.stop), float(solver.stepLength))

    def tell(self, *numbers: float) -> None:
        try:
            status = self.monitor.observe(*numbers)
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
        if status is not None:
            raise Stop(status)


class Stage(crocoddyl.ActionModelAbstract):
    """One step with exact derivatives, or with the number of the last knot the terminal cost."""

    def __init__(self, shape: Discretisation, k: int) -> None:
        problem, last = shape.problem, k == shape.steps
        crocoddyl.ActionModelAbstract.__init__(self, crocoddyl.StateVector(problem.nx), problem.nu, 1)
        if not last:
            self.u_lb, self.u_ub = problem.control_bounds
        self.time = (shape.times[k], 0.0 if last else shape.times[k + 1] - shape.times[k])
        self.derivatives = expansion(shape, last=last)

    def calc(self, data: Any, x: Any, u: Any = None) -> None:
        following, cost = self.derivatives[0](x, 0.0 if u is None else u, *self.time)
        data.xnext, data.cost = following.full().ravel(), float(cost)

    def calcDiff(self, data: Any, x: Any, u: Any = None) -> None:  # noqa: N802 - Crocoddyl's name
        parts = self.derivatives[1](x, 0.0 if u is None else u, *self.time)
        data.Fx, data.Fu, data.Lxx, data.Lxu, data.Luu = (part.full() for part in parts[2:])
        data.Lx, data.Lu = (part.full().ravel() for part in parts[:2])


def expansion(shape: Discretisation, *, last: bool) -> tuple[ca.Function, ca.Function]:
    """(x, u, t, h) -> next state and cost, and their derivatives."""
    nx, nu = shape.problem.nx, shape.problem.nu
    x, u, t, h = ca.SX.sym("x", nx), ca.SX.sym("u", nu), ca.SX.sym("t"), ca.SX.sym("h")
    following, cost = (x, shape.end(x)[0]) if last else shape.step(x, u, t, h)
    hessian, gradient = ca.hessian(cost, ca.vertcat(x, u))
    slopes = [gradient[:nx], gradient[nx:], ca.jacobian(following, x), ca.jacobian(following, u)]
    parts = [*slopes, hessian[:nx, :nx], hessian[:nx, nx:], hessian[nx:, nx:]]
    arguments = [x, u, t, h]
    return ca.Function("calc", arguments, [following, cost]), ca.Function("calcDiff", arguments, parts)
