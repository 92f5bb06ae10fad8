"""CasADi's ``Opti`` with IPOPT: multiple shooting, written as its users write it, with the defaults of both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, final

import casadi as ca
import numpy as np

from bench.discretisation import Array, Discretisation
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION, Claim, Outcome, Solver
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory

WORDS = {
    "Maximum_Iterations_Exceeded": Status.ITERATION_LIMIT,
    "Infeasible_Problem_Detected": Status.INFEASIBLE,
    "Diverging_Iterates": Status.DIVERGED,
    "Invalid_Number_Detected": Status.NUMERICAL_FAILURE,
}
"""IPOPT's, where they are no success; any other means that it gave up."""


@final
@dataclass(frozen=True)
class OptiIpopt(Solver):
    """``tolerance`` and ``iterations`` are IPOPT's ``tol`` and ``max_iter``, with its own defaults."""

    tolerance: float = 1e-8
    iterations: int = 3000

    handles: ClassVar[frozenset[Feature]] = SIMULATION | {Feature.FREE_INITIAL_STATE}
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY, Claim.ONE_STEP})

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Pose, solve, and read the variables and the multipliers of the dynamics."""
        shape, opti = Discretisation(problem), ca.Opti()
        x, u = opti.variable(problem.nx, shape.steps + 1), opti.variable(problem.nu, shape.steps)
        gaps = pose(opti, shape, x, u)
        opti.set_initial(x, guess.x.T)
        opti.set_initial(u, guess.held().T)
        watch = Watch((opti.nx, opti.ng), monitor)
        options = {"expand": True, "print_time": False, "show_eval_warnings": False, "iteration_callback": watch}
        ipopt = {"print_level": 0, "sb": "yes", "tol": self.tolerance, "max_iter": self.iterations}
        opti.solver("ipopt", options, ipopt)
        try:
            opti.solve()
        except RuntimeError:  # which is how Opti says that IPOPT did not succeed
            if opti.stats()["return_status"] == "Unset":
                raise
        statistics, value = opti.stats(), opti.debug.value
        word = statistics["return_status"]
        status = Status.SOLVED if statistics["success"] else WORDS.get(word, Status.STALLED)
        states, controls = (np.reshape(value(part), part.shape).T for part in (x, u))
        answer = Trajectory(problem.horizon.knots(), states, controls, Interpolation.HOLD)
        # A state that is moved by d turns its row to x - F = d, at the price of minus its multiplier.
        costates = np.zeros((shape.steps + 1, problem.nx))
        costates[np.isfinite(np.vstack([problem.initial_values, states[1:]]))] = -np.concatenate(
            [np.reshape(value(opti.dual(gap)), -1) for gap in gaps]
        )
        return Outcome(watch.stop or status, answer, float(value(opti.f)), int(statistics["iter_count"]),
                       detail=f"IPOPT: {word}.", multipliers={"costates": costates})  # fmt: skip


def pose(opti: ca.Opti, shape: Discretisation, x: ca.MX, u: ca.MX) -> list[ca.MX]:
    """Write the cost and all constraints; returns the rows that fix x_0 and those of the dynamics."""
    problem, model, cost = shape.problem, shape.problem.model, 0
    known = [int(i) for i in np.flatnonzero(np.isfinite(problem.initial_values))]
    gaps = [x[known, 0] == problem.initial_values[known]] if known else []
    for k in range(shape.steps):
        following, stage_cost = shape.step(x[:, k], u[:, k], shape.times[k], shape.times[k + 1] - shape.times[k])
        gaps.append(x[:, k + 1] == following)
        cost += stage_cost
        limit(opti, u[:, k], *problem.control_bounds)
        limit(opti, x[:, k], *problem.state_bounds)
        limit(opti, shape.path(x[:, k], u[:, k], shape.times[k]), model.path.lower, model.path.upper)
    end_cost, rows = shape.end(x[:, -1])
    limit(opti, x[:, -1], *problem.state_bounds)
    limit(opti, rows, model.terminal.lower, model.terminal.upper)
    last, path = shape.path_at_end, shape.path(x[:, -1], u[:, -1], shape.times[-1])
    limit(opti, path[last], model.path.lower[last], model.path.upper[last])
    for gap in gaps:
        opti.subject_to(gap)
    opti.minimize(cost + end_cost)
    return gaps


def limit(opti: ca.Opti, rows: ca.MX, lower: Array, upper: Array) -> None:
    """Keep rows between limits; those without any are left out."""
    kept = [int(i) for i in np.flatnonzero(np.isfinite(lower) | np.isfinite(upper))]
    if kept:
        opti.subject_to(opti.bounded(lower[kept], rows[kept], upper[kept]))


class Watch(ca.Callback):
    """Tells the monitor of each iteration; anything but 0 in return stops IPOPT."""

    def __init__(self, sizes: tuple[int, int], monitor: Monitor) -> None:
        ca.Callback.__init__(self)
        self.sizes, self.monitor, self.stop = sizes, monitor, None
        self.construct("watch", {})

    def get_n_in(self) -> int:
        return ca.nlpsol_n_out()

    def get_n_out(self) -> int:
        return 1

    def get_sparsity_in(self, i: int) -> ca.Sparsity:
        size = {"f": 1, "lam_p": 0} | dict.fromkeys(("x", "lam_x"), self.sizes[0])
        return ca.Sparsity.dense(size.get(ca.nlpsol_out(i), self.sizes[1]), 1)

    def eval(self, arguments: Any) -> list[float]:
        try:
            self.stop = self.monitor.observe(float(arguments[ca.nlpsol_out().index("f")]))
        except KeyboardInterrupt:
            self.stop = Status.INTERRUPTED
        return [float(self.stop is not None)]
