"""The merit of control sequences and its derivatives, whatever computes the dynamics.

The merit is the cost with the constraint rows as an augmented Lagrangian (`trajopt.solvers.kernels.shooting`). Of
random dynamics it is the risk of that over particles which always meet the same random numbers, so that it is one
smooth function of the controls (sample average approximation), and its gradient is the mean of the particles' gradients
under the weights of the risk.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BatchDynamics, check_batch
from trajopt.problem import Problem
from trajopt.solvers.kernels import adjoint, shooting
from trajopt.solvers.kernels.sampling import value_rollout
from trajopt.symbolic import Parameters
from trajopt.trajectory import Trajectory
from trajopt.transcription.stages import compile_stages

if TYPE_CHECKING:
    from trajopt.solvers.gradient_shooting import GradientShooting

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plan:
    """A control sequence and what it leads to.

    Attributes
    ----------
    rollout
        Controls (N, nu), the states of the first particle, and the rows, as means over the particles.
    cost, merit
        Infinite unless everything is finite.
    violation
        Largest of the rows, infinite likewise.
    """

    rollout: shooting.Rollout
    cost: float
    merit: float
    violation: float


class Objective(ABC):
    """Values and differentiates plans of one problem."""

    def __init__(self, solver: GradientShooting, problem: Problem, guess: Trajectory, *, second_order: bool) -> None:
        n, nx, nu = problem.horizon.steps, problem.nx, problem.nu
        stages = compile_stages(problem, solver.integrator, second_order=second_order)
        self.functions = shooting.Functions(*(stages.code.address(name) for name in shooting.Functions._fields))
        self.data = shooting.make_data(problem, stages, guess.t)
        self.initial_state, self.second_order = problem.initial_values, second_order
        self.rows = len(stages.path_names), len(stages.end_names)
        self.shape = n, nx, nu
        self.work = shooting.make_constraint_work(nx, nu, *self.rows)
        nz = nx + nu
        sizes = (n, nx, nz), (n, nz), (n, nz, nz), (nx,), (nx, nx)
        self.expansion = shooting.Expansion(*(np.zeros(size) for size in sizes))

    def make_penalty(self, weight: float) -> shooting.Penalty:
        """Zero multipliers for one plan."""
        return shooting.make_penalty(self.shape[0], *self.rows, weight)

    def make_rollout(self) -> shooting.Rollout:
        """Room for one rollout."""
        return shooting.make_rollout(*self.shape, *self.rows)

    def judge(self, rollout: shooting.Rollout, cost: float, merit: float, penalty: shooting.Penalty) -> Plan:
        """A plan of a rollout that was valued."""
        if not math.isfinite(merit):
            return Plan(rollout, math.inf, math.inf, math.inf)
        return Plan(rollout, cost, merit, shooting.measure_all(self.data, rollout, penalty)[0])

    @abstractmethod
    def values(self, controls: Array, penalties: Sequence[shooting.Penalty]) -> list[Plan]:
        """Plans of controls (B, N, nu) within their bounds, each under a penalty of its own."""

    @abstractmethod
    def gradients(self, controls: Array, penalties: Sequence[shooting.Penalty]) -> tuple[list[Plan], Array]:
        """The same with the gradients of the merits, (B, N, nu); NaN where these are not finite."""

    @abstractmethod
    def expand(self, plan: Plan, penalty: shooting.Penalty) -> None:
        """Fill the models of the stages along a plan."""

    def hessian(self, plan: Plan, penalty: shooting.Penalty) -> Array:
        """Hessian of the merit by the controls, (N nu, N nu); of dynamics that are not traced without their curvature.

        With Z_k = dx_k/du from Z_0 = 0, Z_{k+1} = F_x Z_k + F_u E_k, and E_k picking u_k, the second-order adjoint
        M_N = H_N Z_N, M_k = H_x. [Z_k; E_k] + F_x' M_{k+1} gives the rows of u_k, H_u. [Z_k; E_k] + F_u' M_{k+1}.
        """
        self.expand(plan, penalty)
        (n, nx, nu), model = self.shape, self.expansion
        chosen = np.eye(n * nu).reshape(n, nu, n * nu)
        directions = np.zeros((n + 1, nx, n * nu))
        for k in range(n):
            directions[k + 1] = model.F[k, :, :nx] @ directions[k] + model.F[k, :, nx:] @ chosen[k]
        result, pulled = np.zeros((n, nu, n * nu)), model.end_hessian @ directions[n]
        for k in range(n - 1, -1, -1):
            curved = model.H[k] @ np.concatenate([directions[k], chosen[k]]) + model.F[k].T @ pulled
            pulled, result[k] = curved[:nx], curved[nx:]
        matrix = result.reshape(n * nu, n * nu)
        return 0.5 * (matrix + matrix.T)


class TracedObjective(Objective):
    """Of traced dynamics: compiled stages, simulated and swept backwards in machine code."""

    def __init__(self, solver: GradientShooting, problem: Problem, guess: Trajectory, *, second_order: bool) -> None:
        super().__init__(solver, problem, guess, second_order=second_order)
        n, nx, nu = self.shape
        self.source = self.make_rollout()
        self.source.x[0] = self.initial_state
        self.no_gains = np.zeros((n, nu)), np.zeros((n, nu, nx))
        self.costate = np.zeros(nx)

    def values(self, controls: Array, penalties: Sequence[shooting.Penalty]) -> list[Plan]:
        """See `Objective.values`."""
        return [self._value(*pair) for pair in zip(controls, penalties, strict=True)]

    def _value(self, controls: Array, penalty: shooting.Penalty) -> Plan:
        self.source.u[:] = controls
        out = self.make_rollout()
        found = shooting.simulate(self.functions, self.data, self.source, *self.no_gains, 0.0, out, penalty, self.work)
        return self.judge(out, *found, penalty)

    def gradients(self, controls: Array, penalties: Sequence[shooting.Penalty]) -> tuple[list[Plan], Array]:
        """See `Objective.gradients`."""
        plans, gradients = self.values(controls, penalties), np.full(controls.shape, np.nan)
        for plan, penalty, gradient in zip(plans, penalties, gradients, strict=True):
            if math.isfinite(plan.merit):
                self._pull_back(plan, penalty, gradient)
        return plans, gradients

    def expand(self, plan: Plan, penalty: shooting.Penalty) -> None:
        """See `Objective.expand`."""
        self._pull_back(plan, penalty, np.zeros(plan.rollout.u.shape))

    def _pull_back(self, plan: Plan, penalty: shooting.Penalty, gradient: Array) -> None:
        adjoint.pull_back(
            self.functions,
            self.data,
            plan.rollout,
            penalty,
            self.expansion,
            self.work,
            self.second_order,
            self.costate,
            gradient,
        )


class BatchObjective(Objective):
    """Of dynamics that advance batches: all plans and particles at once, costs and rows in machine code."""

    def __init__(self, solver: GradientShooting, problem: Problem, guess: Trajectory, *, second_order: bool) -> None:
        super().__init__(solver, problem, guess, second_order=second_order)
        assert isinstance(problem.dynamics, BatchDynamics)
        self.dynamics, self.risk, self.seed = problem.dynamics, solver.risk, solver.seed
        self.particles = solver.particles if self.dynamics.stochastic else 1
        self.parameters, self.start = Parameters(problem.layout.unpack(self.data.parameters)), float(guess.t[0])
        self.none, self.following = np.zeros(problem.nx), np.zeros(problem.nx)

    def values(self, controls: Array, penalties: Sequence[shooting.Penalty]) -> list[Plan]:
        """See `Objective.values`."""
        found = []
        for group, rows in self._groups(controls):
            with np.errstate(all="ignore"):
                states = self.dynamics.rollout(*self._arguments(rows))
            found += self._judge(controls[group], self._check(states, len(rows)), penalties[group])[0]
        return found

    def gradients(self, controls: Array, penalties: Sequence[shooting.Penalty]) -> tuple[list[Plan], Array]:
        """See `Objective.gradients`."""
        found, gradients = [], np.full(controls.shape, np.nan)
        for group, rows in self._groups(controls):
            with np.errstate(all="ignore"):
                states, pull = self.dynamics.pullback(*self._arguments(rows))
                plans, weights, particles = self._judge(
                    controls[group], self._check(states, len(rows)), penalties[group]
                )
                by_x, by_u = np.zeros((len(rows), *states.shape[1:])), np.zeros(rows.shape)
                for row, (rollout, weight, penalty) in enumerate(particles_of(particles, weights, penalties[group])):
                    if weight != 0.0:  # a particle that does not count may be anywhere
                        by_x[row], by_u[row] = self._partials(rollout, penalty)
                        by_x[row] *= weight
                        by_u[row] *= weight
                total = (by_u + pull(by_x)).reshape(len(plans), self.particles, *controls.shape[1:]).sum(axis=1)
            total[~np.isfinite([plan.merit for plan in plans])] = np.nan
            gradients[group] = total
            found += plans
        return found, gradients

    def _partials(self, rollout: shooting.Rollout, penalty: shooting.Penalty) -> tuple[Array, Array]:
        """Derivatives of a particle's merit by its states (N+1, nx) and its controls (N, nu), each alone."""
        model, nx = self.expansion, self.shape[1]
        adjoint.expand_models(
            self.functions, self.data, rollout, penalty, model, self.work, self.second_order, self.none
        )
        return np.vstack([model.g[:, :nx], model.end_gradient]), model.g[:, nx:].copy()

    def expand(self, plan: Plan, penalty: shooting.Penalty) -> None:
        """See `Objective.expand`; a step may depend on its number, so stages are taken one by one."""
        self._partials(plan.rollout, penalty)
        for k, (x, u) in enumerate(zip(plan.rollout.x[:-1], plan.rollout.u, strict=True)):
            parts = self.dynamics.linearise(x[None], u[None], self.start + k, self.parameters)
            self.expansion.F[k] = np.concatenate([part[0] for part in parts], axis=1)

    def _groups(self, controls: Array) -> list[tuple[slice, Array]]:
        """Plans that are simulated together, with the controls of all their particles.

        Plans on random dynamics are simulated one by one: only so do all of them meet the same random numbers.
        """
        if not self.dynamics.stochastic:
            return [(slice(0, len(controls)), controls)]
        return [(slice(i, i + 1), np.repeat(plan[None], self.particles, axis=0)) for i, plan in enumerate(controls)]

    def _arguments(self, rows: Array) -> tuple[Array, Array, float, Parameters, np.random.Generator]:
        start = np.tile(self.initial_state, (len(rows), 1))
        return start, rows, self.start, self.parameters, np.random.default_rng([self.seed, 0])

    def _check(self, states: Array, count: int) -> Array:
        n, nx, _ = self.shape
        return check_batch(states, (count, n + 1, nx))

    def _judge(
        self, controls: Array, states: Array, penalties: Sequence[shooting.Penalty]
    ) -> tuple[list[Plan], Array, list[list[shooting.Rollout]]]:
        """Plans of a group, weights (P, B) of their particles' gradients, and the rollouts of the particles."""
        shape = len(controls), self.particles
        values, rollouts = np.empty((2, *shape)), []
        each = states.reshape(*shape, *states.shape[1:])
        for plan, (u, penalty) in enumerate(zip(controls, penalties, strict=True)):
            rollouts.append([])
            for particle in range(self.particles):
                rollout = self.make_rollout()
                rollout.x[:], rollout.u[:] = each[plan, particle], u
                values[:, plan, particle] = value_rollout(
                    self.functions, self.data, rollout, penalty, self.work.cost, self.following
                )
                rollouts[-1].append(rollout)
        costs, merits = (self.risk.aggregate(part.T) for part in values)
        plans = [
            self.judge(_mean_rows(group), float(cost), float(merit), penalty)
            for group, cost, merit, penalty in zip(rollouts, costs, merits, penalties, strict=True)
        ]
        return plans, self.risk.weights(values[1].T), rollouts


def particles_of(
    rollouts: list[list[shooting.Rollout]], weights: Array, penalties: Sequence[shooting.Penalty]
) -> list[tuple[shooting.Rollout, float, shooting.Penalty]]:
    """Every particle of every plan with its weight and its plan's penalty, in the order of the batch."""
    return [
        (rollout, float(weights[particle, plan]), penalties[plan])
        for plan, group in enumerate(rollouts)
        for particle, rollout in enumerate(group)
    ]


def _mean_rows(particles: list[shooting.Rollout]) -> shooting.Rollout:
    """The first rollout, with the means of the rows."""
    if len(particles) == 1:
        return particles[0]
    path, end = (np.mean([getattr(rollout, name) for rollout in particles], axis=0) for name in ("path", "end"))
    return particles[0]._replace(path=path, end=end)


def make_objective(
    solver: GradientShooting, problem: Problem, guess: Trajectory, *, second_order: bool = False
) -> Objective:
    """The objective for the problem's kind of dynamics."""
    kind = BatchObjective if isinstance(problem.dynamics, BatchDynamics) else TracedObjective
    return kind(solver, problem, guess, second_order=second_order)
