"""CasADi multiple shooting with exact Hessians, solved by IPOPT (MUMPS) or FATROP, both from the CasADi wheel.

``expand`` turns the graph into scalar operations, CasADi's fastest mode without a C compiler. Variables and rows stand
in the order that FATROP's structure detection asks for: x_0, u_0, x_1, ...; dynamics of stage k, then its constraints.
"""

from __future__ import annotations

import casadi as ca
import numpy as np

from bench.competitor import Answer, Competitor
from bench.discretisation import Discretisation

TOLERANCE = 1e-8
"""IPOPT's and FATROP's default, in their own scaled measure."""


class CasadiShooting(Competitor):
    """Multiple shooting through ``nlpsol``."""

    def __init__(self, discretisation: Discretisation, plugin: str, options: dict) -> None:
        self.shape = discretisation
        variables, rows, lower, upper, cost = self._transcribe()
        self.bounds = {"lbg": np.concatenate(lower), "ubg": np.concatenate(upper), **self._variable_bounds()}
        options = {"expand": True, "print_time": False, **options}
        if plugin == "fatrop":
            options["equality"] = (self.bounds["lbg"] == self.bounds["ubg"]).tolist()
        program = {"x": ca.vertcat(*variables), "f": cost, "g": ca.vertcat(*rows)}
        self.solver = ca.nlpsol("solver", plugin, program, options)
        states, controls = discretisation.guess
        self.start = np.concatenate([np.hstack([states[:-1], controls]).reshape(-1), states[-1]])

    def _transcribe(self):
        shape, problem = self.shape, self.shape.problem
        nx, nu, zero = problem.nx, problem.nu, np.zeros(problem.nx)
        states = [ca.MX.sym(f"x{k}", nx) for k in range(shape.steps + 1)]
        controls = [ca.MX.sym(f"u{k}", nu) for k in range(shape.steps)]
        variables, rows, lower, upper, cost = [], [], [], [], 0
        for k, (x, u) in enumerate(zip(states, controls, strict=False)):
            following, stage_cost = shape.step(x, u, shape.times[k], shape.times[k + 1] - shape.times[k])
            cost += stage_cost
            variables += [x, u]
            rows.append(states[k + 1] - following)
            lower.append(zero)
            upper.append(zero)
            if k == 0:
                rows.append(x)
                lower.append(problem.initial_values)
                upper.append(problem.initial_values)
        end_cost, end_rows = shape.end(states[-1])
        rows.append(end_rows)
        lower.append(problem.model.terminal.lower)
        upper.append(problem.model.terminal.upper)
        return [*variables, states[-1]], rows, lower, upper, cost + end_cost

    def _variable_bounds(self) -> dict[str, np.ndarray]:
        problem, free = self.shape.problem, np.full(self.shape.problem.nx, np.inf)
        low, high = problem.control_bounds
        repeat = self.shape.steps
        return {
            "lbx": np.concatenate([np.tile(np.concatenate([-free, low]), repeat), -free]),
            "ubx": np.concatenate([np.tile(np.concatenate([free, high]), repeat), free]),
        }

    def solve(self) -> object:
        """Call the NLP solver; returns its primal vector."""
        return self.solver(x0=self.start, **self.bounds)["x"]

    def read(self, result: object) -> Answer:
        """Split the primal vector; the status is that of the last solve."""
        nx, nu = self.shape.problem.nx, self.shape.problem.nu
        flat = np.asarray(result).reshape(-1)
        stages = flat[:-nx].reshape(self.shape.steps, nx + nu)
        stats = self.solver.stats()
        status = str(stats["unified_return_status"]).removeprefix("SOLVER_RET_").lower()
        if isinstance(stats["return_status"], str):
            status = stats["return_status"].replace("_", " ").lower()
        x = np.vstack([stages[:, :nx], flat[-nx:]])
        return Answer(bool(stats["success"]), status, x, stages[:, nx:].copy(), int(stats["iter_count"]))


class Ipopt(CasadiShooting):
    """IPOPT with its defaults, silent."""

    name = "CasADi + IPOPT"

    def __init__(self, discretisation: Discretisation) -> None:
        quiet = {"print_level": 0, "sb": "yes", "tol": TOLERANCE}
        super().__init__(discretisation, "ipopt", {"ipopt": quiet})


class Fatrop(CasadiShooting):
    """FATROP with its defaults, silent."""

    name = "CasADi + FATROP"

    def __init__(self, discretisation: Discretisation) -> None:
        quiet = {"print_level": 0, "tolerance": TOLERANCE}
        super().__init__(discretisation, "fatrop", {"structure_detection": "auto", "fatrop": quiet})
