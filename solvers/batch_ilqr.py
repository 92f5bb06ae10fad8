"""Iterative LQR over dynamics that are not traced: simulators, learned models, any function of a batch.

The method is that of `trajopt.solvers.ilqr` for problems whose only constraints are bounds on the controls: quadratic
models around the current trajectory, the Riccati recursion with a box for the gains k and K, and a line search along

    u_k <- u_k + s k_k + K_k (x - x_k),    s = 1, 1/2, 1/4, ...

What differs is where things come from. The derivatives of the steps are those of `BatchDynamics.linearise`; those of
the costs are exact, for costs are traced whatever the dynamics are. All step lengths are simulated together, one row of
a batch each, since a simulator's time is spent in batches anyhow; the longest that passes Armijo's test is taken, which
is the one that trying them in turn would have found.

References: Tassa, Erez, Todorov, IROS 2012; Tassa, Mansard, Todorov, ICRA 2014.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import Outcome
from trajopt.solvers.kernels import ddp
from trajopt.solvers.kernels.batch_sweep import Models, sweep
from trajopt.status import Status
from trajopt.symbolic import Parameters
from trajopt.trajectory import Interpolation, Trajectory

if TYPE_CHECKING:
    from trajopt.solvers.ilqr import ILQR

Array = NDArray[np.float64]

HANDLED = frozenset({Feature.BLACK_BOX, Feature.DISCRETE_TIME, Feature.CONTROL_BOUNDS})
"""What a problem may have."""

_ARMIJO = 1e-4
"""Part of the predicted change that a step must reach (Nocedal, Wright 2006, section 3.1)."""


class BatchCosts:
    """Stage and terminal cost of a problem, and their first and second derivatives, for many knots at once.

    Parameters
    ----------
    problem
        Of discrete time.
    """

    def __init__(self, problem: Problem) -> None:
        model = problem.model
        z, arguments = ca.vertcat(model.x, model.u), [model.x, model.u, model.t, model.p]
        final = [model.x, model.t, model.p]
        hessian, gradient = ca.hessian(model.stage_cost, z)
        end_hessian, end_gradient = ca.hessian(model.terminal_cost, model.x)
        self._stage = ca.Function("stage", arguments, [model.stage_cost])
        self._models = ca.Function("models", arguments, [gradient, hessian])
        self._end = ca.Function("end", final, [model.terminal_cost])
        self._end_model = ca.Function("end_model", final, [end_gradient, end_hessian])
        self._parameters = problem.layout.pack(problem.parameters or {})
        self._steps = problem.horizon.steps

    def total(self, x: Array, u: Array) -> Array:
        """Costs of K trajectories, (K,), from (K, N+1, nx) and (K, N, nu)."""
        count, steps, nu = u.shape
        t = np.tile(np.arange(steps, dtype=float), count)
        stages = self._call(self._stage, x[:, :-1].reshape(count * steps, -1), u.reshape(count * steps, nu), t)
        ends = self._call(self._end, x[:, -1], np.full(count, float(steps)))
        return stages[0].reshape(count, steps).sum(axis=1) + ends[0].reshape(count)

    def expand(self, x: Array, u: Array, models: Models) -> None:
        """Fill the models of the costs along one trajectory, (N+1, nx) and (N, nu)."""
        steps, nz = models.g.shape
        gradient, hessian = self._call(self._models, x[:-1], u, np.arange(steps, dtype=float))
        models.g[:] = gradient.T
        models.H[:] = hessian.reshape(nz, steps, nz).transpose(1, 0, 2)  # the blocks stand side by side
        end_gradient, end_hessian = self._call(self._end_model, x[-1:], np.array([float(steps)]))
        models.end_gradient[:] = end_gradient[:, 0]
        models.end_hessian[:] = end_hessian

    def _call(self, function: ca.Function, *rows: Array) -> list[Array]:
        """Evaluate at all rows together; CasADi takes columns."""
        count = len(rows[0])
        columns = [np.atleast_2d(part.T) for part in rows]
        results = function.call([*columns, np.tile(self._parameters[:, None], count)])
        return [np.asarray(result.full()) for result in results]


class BatchRun:
    """One solve.

    Parameters
    ----------
    solver
        Gives ``tolerance``, ``iterations`` and ``shortest_step``.
    problem
        With `BatchDynamics` that are not random.
    guess
        Its controls are where the solve starts.
    """

    def __init__(self, solver: ILQR, problem: Problem, guess: Trajectory) -> None:
        assert isinstance(problem.dynamics, BatchDynamics)
        self.solver, self.problem, self.dynamics = solver, problem, problem.dynamics
        steps, nx, nu = problem.horizon.steps, problem.nx, problem.nu
        self.costs = BatchCosts(problem)
        self.parameters = Parameters(problem.layout.unpack(problem.layout.pack(problem.parameters or {})))
        self.lower, self.upper = (np.ascontiguousarray(side) for side in problem.control_bounds)
        sizes = (steps, nx, nx + nu), (steps, nx + nu), (steps, nx + nu, nx + nu), (nx,), (nx, nx)
        self.models = Models(*(np.zeros(size) for size in sizes))
        self.gains = ddp.Gains(np.zeros((steps, nu)), np.zeros((steps, nu, nx)), np.zeros((steps + 1, nx)))
        self.work, self.state = ddp.make_work(nx, nu), ddp.make_state(nx, nu)
        halvings = math.floor(-math.log2(solver.shortest_step))
        self.lengths = 0.5 ** np.arange(halvings + 1)
        self.x = np.tile(problem.initial_values, (steps + 1, 1))
        self.u = np.clip(guess.held(), self.lower, self.upper)
        self.feedback = np.zeros_like(self.gains.K)
        self.cost, self.decrement, self.length = math.inf, math.nan, math.nan
        self.fresh = True  # whether the trajectory is new, and has no models yet
        self.tried = False  # whether less regularisation has failed at this trajectory

    def solve(self, monitor: Monitor) -> Outcome:
        """Iterate until the decrement is below the tolerance, or nothing helps."""
        x, u, costs = self._simulate(np.zeros(1))
        self.x, self.u, self.cost = x[0], u[0], float(costs[0])
        status = monitor.observe(self.cost) or monitor.run(self.step, self.solver.iterations)
        trajectory = Trajectory(self.problem.horizon.knots(), self.x, self.u, Interpolation.HOLD)
        return Outcome(status, trajectory, self.cost, len(monitor.history) - 1, feedback=self.feedback)

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """One iteration: models, gains, and the best of all step lengths."""
        if self.fresh:
            self._expand()
        done, linear, quadratic, gap = sweep(
            self.models, self.u, self.lower, self.upper, self.gains, self.work, self.state
        )
        ddp.set_scale(self.work, self.state, done)
        self.length = math.nan
        if not done:
            return self._caution(), self._numbers()
        self.decrement = -(linear + 0.5 * quadratic)
        if not math.isfinite(self.decrement):
            return Status.NUMERICAL_FAILURE, self._numbers()
        enough = self.solver.tolerance * max(abs(self.cost), 1e-10)  # a vanishing cost counts as ten digits less than 1
        plain = self.state.regularisation[0] == 0.0
        if gap <= enough or (self.decrement <= enough and plain):
            self.feedback = self.gains.K.copy()
            return Status.SOLVED, self._numbers()
        if self.decrement <= enough:  # the regularisation made the step small, not the optimum
            ddp.lower_regularisation(self.state)
            return (Status.STALLED if self.tried else None), self._numbers()
        return self._search(linear, quadratic), self._numbers()

    def _search(self, linear: float, quadratic: float) -> Status | None:
        """Simulate all step lengths and take the longest that falls enough."""
        x, u, costs = self._simulate(self.lengths)
        predicted = self.lengths * linear + 0.5 * self.lengths**2 * quadratic
        passed = np.flatnonzero(costs - self.cost <= _ARMIJO * predicted)  # false for NaN
        if passed.size == 0:
            return self._caution()
        best = int(passed[0])
        self.x, self.u, self.cost, self.length = x[best], u[best], float(costs[best]), float(self.lengths[best])
        self.feedback, self.fresh, self.tried = self.gains.K.copy(), True, False
        if self.length >= ddp.BOLD:
            ddp.lower_regularisation(self.state)
        elif self.length < ddp.TIMID:
            ddp.raise_regularisation(self.state)
        return None

    def _caution(self) -> Status | None:
        """Regularise more, or give up."""
        self.tried = True
        ddp.raise_regularisation(self.state)
        return Status.STALLED if self.state.regularisation[0] > ddp.LARGEST else None

    def _simulate(self, lengths: Array) -> tuple[Array, Array, Array]:
        """Roll out under the law for each step length: states (S, N+1, nx), controls (S, N, nu), costs (S,)."""
        count, steps = lengths.size, len(self.u)
        x, u = np.empty((count, steps + 1, self.problem.nx)), np.empty((count, *self.u.shape))
        x[:, 0] = self.problem.initial_values
        generator = np.random.default_rng(0)  # the dynamics are not random
        for k in range(steps):
            with np.errstate(invalid="ignore", over="ignore"):
                control = self.u[k] + lengths[:, None] * self.gains.k[k] + (x[:, k] - self.x[k]) @ self.gains.K[k].T
            u[:, k] = np.clip(control, self.lower, self.upper)
            x[:, k + 1] = self.dynamics.step(x[:, k], u[:, k], k, self.parameters, generator)
        return x, u, self.costs.total(x, u)

    def _expand(self) -> None:
        """Quadratic models along the trajectory."""
        numbers = np.arange(len(self.u), dtype=float)
        by_x, by_u = self.dynamics.linearise_along(self.x[:-1], self.u, numbers, self.parameters)
        self.models.F[:] = np.concatenate([by_x, by_u], axis=2)
        self.costs.expand(self.x, self.u, self.models)
        self.fresh = False

    def _numbers(self) -> dict[str, float]:
        return {"cost": self.cost, "stationarity": self.decrement, "step": self.length}
