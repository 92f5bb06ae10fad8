"""The nonlinear program that `InteriorPoint` solves, written down once more for CasADi, as oracle and as competitor."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.guess import make_guess
from trajopt.problem import Problem
from trajopt.transcription.augmentation import Augmentation, augment

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reply:
    """What CasADi's solver found: states (N+1, nx), controls (N, nu), cost, status and iterations."""

    x: Array
    u: Array
    cost: float
    success: bool
    status: str
    iterations: int


class ShootingProgram:
    """Multiple shooting of a problem: RK4 with held controls, or the difference equation itself.

    Free times and the like are states here as well, by `augment`; everything behind that is assembled independently.
    Variables stand as x_0, u_0, x_1, ...; rows as the dynamics of a stage, then its constraints.
    """

    def __init__(self, problem: Problem) -> None:
        self.augmentation: Augmentation = augment(problem)
        self.problem = self.augmentation.problem
        self.guess = self.augmentation.extend(make_guess(problem, None))
        self._assemble()

    def _step(self) -> ca.Function:
        model = self.problem.model
        h = ca.SX.sym("h")
        rate = ca.Function("rate", [model.x, model.u, model.t, model.p], [model.dynamics, model.stage_cost])
        arguments = [model.x, model.u, model.t, h, model.p]
        if not self.problem.dynamics.continuous:
            return ca.Function("step", arguments, list(rate(model.x, model.u, model.t, model.p)))

        def at(x, t):
            return rate(x, model.u, t, model.p)

        k1, l1 = at(model.x, model.t)
        k2, l2 = at(model.x + h / 2 * k1, model.t + h / 2)
        k3, l3 = at(model.x + h / 2 * k2, model.t + h / 2)
        k4, l4 = at(model.x + h * k3, model.t + h)
        ahead = [model.x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)]
        return ca.Function("step", arguments, ahead, {"cse": True})

    def _assemble(self) -> None:
        problem, model, t = self.problem, self.problem.model, self.guess.t
        steps, nx, nu = problem.horizon.steps, problem.nx, problem.nu
        p = problem.layout.pack(problem.parameters)
        step = self._step()
        path = ca.Function("path", [model.x, model.u, model.t, model.p], [model.path.expression])
        end = ca.Function("end", [model.x, model.t, model.p], [model.terminal_cost, model.terminal.expression])
        alone = [i for i in range(len(model.path)) if not ca.depends_on(model.path.expression[i], model.u)]
        alone = alone if problem.dynamics.continuous else []  # in discrete time the last step is the last to obey
        x = [ca.MX.sym(f"x{k}", nx) for k in range(steps + 1)]
        u = [ca.MX.sym(f"u{k}", nu) for k in range(steps)]
        rows, lower, upper, variables, cost = [], [], [], [], 0.0

        def add(expression, low, high):
            rows.append(expression)
            lower.append(np.broadcast_to(low, expression.numel()))
            upper.append(np.broadcast_to(high, expression.numel()))

        for k in range(steps):
            following, stage = step(x[k], u[k], t[k], t[k + 1] - t[k], p)
            cost += stage
            variables += [x[k], u[k]]
            add(x[k + 1] - following, 0.0, 0.0)
            if k == 0:
                for copy, state in self.augmentation.ties:
                    add(x[0][copy] - x[0][state], 0.0, 0.0)
            if len(model.path):
                add(path(x[k], u[k], t[k], p), model.path.lower, model.path.upper)
        end_cost, end_rows = end(x[-1], t[-1], p)
        if len(model.terminal):
            add(end_rows, model.terminal.lower, model.terminal.upper)
        if alone:
            last = path(x[-1], np.zeros(nu), t[-1], p)
            add(ca.vertcat(*(last[i] for i in alone)), model.path.lower[alone], model.path.upper[alone])
        self.variables, self.rows, self.cost = ca.vertcat(*variables, x[-1]), ca.vertcat(*rows), cost + end_cost
        self.lower, self.upper = np.concatenate(lower), np.concatenate(upper)
        self._bounds()

    def _bounds(self) -> None:
        problem, constants = self.problem, list(self.augmentation.constants)
        steps, nx = problem.horizon.steps, problem.nx
        sides = []
        for side, infinite in ((0, -np.inf), (1, np.inf)):
            stage = np.concatenate([problem.state_bounds[side], problem.control_bounds[side]])
            later = stage.copy()
            later[constants] = infinite  # constant states need their bounds but once
            bound = np.concatenate([stage, np.tile(later, steps - 1), later[:nx]])
            bound[:nx] = np.where(np.isnan(problem.initial_values), bound[:nx], problem.initial_values)
            sides.append(bound)
        self.variable_lower, self.variable_upper = sides
        x = self.guess.x.copy()
        x[0] = np.where(np.isnan(problem.initial_values), x[0], problem.initial_values)
        for copy, state in self.augmentation.ties:
            x[0, copy] = x[0, state]
        u = self.guess.held()
        self.start = np.concatenate([np.hstack([x[:-1], u]).ravel(), x[-1]])

    def solver(self, plugin: str = "ipopt", **options) -> ca.Function:
        """CasADi's solver object, silent."""
        quiet = (
            {"print_level": 0, "sb": "yes", "tol": 1e-8} if plugin == "ipopt" else {"print_level": 0, "tolerance": 1e-8}
        )
        settings = {"expand": True, "print_time": False, plugin: quiet | options}
        if plugin == "fatrop":
            settings |= {"equality": (self.lower == self.upper).tolist(), "structure_detection": "auto"}
        return ca.nlpsol("solver", plugin, {"x": self.variables, "f": self.cost, "g": self.rows}, settings)

    def call(self, solver: ca.Function) -> dict:
        """One solve from the guess."""
        return solver(x0=self.start, lbg=self.lower, ubg=self.upper, lbx=self.variable_lower, ubx=self.variable_upper)

    def solve(self, plugin: str = "ipopt", **options) -> Reply:
        """Solve from the guess."""
        solver = self.solver(plugin, **options)
        result = self.call(solver)
        steps, nx, nu = self.problem.horizon.steps, self.problem.nx, self.problem.nu
        w = result["x"].full().ravel()
        stages, stats = w[:-nx].reshape(steps, nx + nu), solver.stats()
        return Reply(
            np.vstack([stages[:, :nx], w[-nx:]]), stages[:, nx:], float(result["f"]), bool(stats["success"]),
            str(stats["return_status"]), int(stats["iter_count"]),
        )  # fmt: skip

    def kkt_residual(self, solution: to.Solution) -> float:
        """Largest entry of the Lagrangian's gradient, by CasADi, at a solution with its own multipliers.

        For problems without augmentation. The gradient by entries of the initial state that are fixed does not count.
        """
        steps, nx = self.problem.horizon.steps, self.problem.nx
        found = solution.multipliers
        rows = []
        for k in range(steps):
            rows += [-found["costates"][k + 1], found["path"][k]]
        rows += [found["terminal"], found["path_end"]]
        stages = np.hstack([found["state_bounds"][:-1], found["control_bounds"]])
        bounds = np.concatenate([stages.ravel(), found["state_bounds"][-1]])
        multipliers = ca.SX.sym("m", self.rows.numel())
        program = ca.Function("program", [self.variables], [self.cost, self.rows]).expand()
        w = ca.SX.sym("w", self.variables.numel())
        cost, values = program(w)
        gradient = ca.Function("gradient", [w, multipliers], [ca.gradient(cost + ca.dot(multipliers, values), w)])
        point = np.concatenate([np.hstack([solution.x[:-1], solution.u]).ravel(), solution.x[-1]])
        left = gradient(point, np.concatenate(rows)).full().ravel() + bounds
        left[:nx][~np.isnan(self.problem.initial_values)] = 0.0
        return float(np.abs(left).max())


def swing_up(steps: int = 100, force: float = 5.0) -> to.Problem:
    """Cart-pole swing-up A of the benchmark: one RK4 step an interval, and a cost that is summed, not integrated."""
    goal, h = np.array([0.0, np.pi, 0.0, 0.0]), 5.0 / steps

    def rate(x, u):
        s, c = np.sin(x[1]), np.cos(x[1])
        cart = (u[0] + 0.2 * s * (0.5 * x[3] ** 2 + 9.81 * c)) / (1.0 + 0.2 * s**2)
        pole = (-u[0] * c - 0.1 * x[3] ** 2 * c * s - 1.2 * 9.81 * s) / (0.5 * (1.0 + 0.2 * s**2))
        return np.array([x[2], x[3], cart, pole])

    def step(x, u):
        k1 = rate(x, u)
        k2 = rate(x + h / 2 * k1, u)
        k3 = rate(x + h / 2 * k2, u)
        return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(x + h * k3, u))

    states = np.zeros((steps + 1, 4))
    states[:, 1] = np.linspace(0.0, np.pi, steps + 1)
    return to.Problem(
        to.DiscreteDynamics(step, nx=4, nu=1),
        stage_cost=lambda x, u: h * (0.01 * ((x - goal) @ (x - goal)) + 0.1 * u[0] ** 2),
        initial_state=np.zeros(4),
        constraints=[to.Bounds(control=(-force, force)), to.TerminalConstraint(goal)],
        horizon=to.Horizon(steps=steps),
        guess=(np.arange(steps + 1.0), states, np.zeros((steps, 1))),
    )
