"""A problem as the nonlinear program that every competitor solves: RK4 with held controls, or the given differences.

Written down once more, apart from the library's own transcription, so that agreement of the costs means something. It
also is the judge: cost and violation of every answer are computed here, from its states and controls alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.guess import make_guess
from trajopt.problem import Problem

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """Cost of a trajectory, and by how much it misses dynamics, bounds and constraints at worst."""

    cost: float
    violation: float


@dataclass(frozen=True)
class Discretisation:
    """The stages of one problem without free time or parameters; the judge sees no state bounds or path rows."""

    problem: Problem

    @property
    def steps(self) -> int:
        """Number of intervals N."""
        return self.problem.horizon.steps

    @cached_property
    def guess(self) -> tuple[Array, Array]:
        """States (N+1, nx) and held controls (N, nu) that everyone starts from; shooting methods use the controls."""
        start = make_guess(self.problem, None)
        states = start.x.copy()
        states[0] = self.problem.initial_values
        return states, np.clip(start.held(), *self.problem.control_bounds)

    @cached_property
    def times(self) -> Array:
        """Times of the knots, (N+1,)."""
        return self.problem.horizon.knots()

    @cached_property
    def rate(self) -> ca.Function:
        """(x, u, t) -> dynamics, stage cost."""
        model = self.problem.model
        p = self.problem.layout.pack(self.problem.parameters)
        outputs = ca.substitute([model.dynamics, model.stage_cost], [model.p], [ca.SX(p)])
        return ca.Function("rate", [model.x, model.u, model.t], outputs)

    @cached_property
    def step(self) -> ca.Function:
        """(x, u, t, h) -> next state, cost of the step."""
        x, u = ca.SX.sym("x", self.problem.nx), ca.SX.sym("u", self.problem.nu)
        t, h = ca.SX.sym("t"), ca.SX.sym("h")
        if not self.problem.dynamics.continuous:
            return ca.Function("step", [x, u, t, h], list(self.rate(x, u, t)))
        k1, l1 = self.rate(x, u, t)
        k2, l2 = self.rate(x + h / 2 * k1, u, t + h / 2)
        k3, l3 = self.rate(x + h / 2 * k2, u, t + h / 2)
        k4, l4 = self.rate(x + h * k3, u, t + h)
        following, cost = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), h / 6 * (l1 + 2 * l2 + 2 * l3 + l4)
        return ca.Function("step", [x, u, t, h], [following, cost], {"cse": True})

    @cached_property
    def path(self) -> ca.Function:
        """(x, u, t) -> path constraint rows."""
        model = self.problem.model
        p = self.problem.layout.pack(self.problem.parameters)
        rows = ca.substitute([model.path.expression], [model.p], [ca.SX(p)])
        return ca.Function("path", [model.x, model.u, model.t], rows)

    @cached_property
    def path_at_end(self) -> list[int]:
        """Which path rows hold at the final state too: in continuous time those that no control enters."""
        model = self.problem.model
        if not self.problem.dynamics.continuous:
            return []
        return [row for row in range(len(model.path)) if not ca.depends_on(model.path.expression[row], model.u)]

    @cached_property
    def end(self) -> ca.Function:
        """(x,) -> terminal cost, terminal constraint rows."""
        model = self.problem.model
        p = self.problem.layout.pack(self.problem.parameters)
        fixed = [ca.SX(p), ca.SX(self.times[-1])]
        outputs = ca.substitute([model.terminal_cost, model.terminal.expression], [model.p, model.t], fixed)
        return ca.Function("end", [model.x], outputs)

    def judge(self, x: Array, u: Array) -> Verdict:
        """Cost and largest violation of states (N+1, nx) and controls (N, nu)."""
        h = np.diff(self.times)
        following, costs = (np.asarray(part) for part in self.step.map(self.steps)(x[:-1].T, u.T, self.times[:-1], h))
        end_cost, rows = (np.asarray(part).reshape(-1) for part in self.end(x[-1]))
        lower, upper = self.problem.control_bounds
        terminal = self.problem.model.terminal
        excess = (
            np.abs(following.T - x[1:]),
            np.abs(x[0] - self.problem.initial_values),
            lower - u,
            u - upper,
            terminal.lower - rows,
            rows - terminal.upper,
        )
        worst = max(float(part.max(initial=0.0)) for part in excess)
        return Verdict(float(costs.sum() + end_cost[0]), worst)
