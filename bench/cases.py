"""The problems that everyone solves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.discretisation import Discretisation
from trajopt import Bounds, DiscreteDynamics, Horizon, Problem, problems


@dataclass(frozen=True)
class Case:
    """A problem of the library, or `unicycle`.

    Attributes
    ----------
    title
        What the table calls it.
    name, settings
        For `trajopt.problems.load`.
    soft
        Without the terminal constraint; its terminal cost stays.
    model
        Name of Crocoddyl's model, if it has one.
    quick
        Whether the short run has it too.
    """

    title: str
    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    soft: bool = False
    model: str | None = None
    quick: bool = False

    def build(self) -> Discretisation:
        """Build the problem anew."""
        problem = unicycle() if self.name == "unicycle" else problems.load(self.name, **self.settings)
        if self.soft:
            problem = replace(problem, constraints=[c for c in problem.constraints if isinstance(c, Bounds)])
        return Discretisation(problem)


def unicycle(steps: int = 200) -> Problem:
    """Drive home from (1, 0, 0): Crocoddyl's benchmark program, with weights 10 and 1 and an Euler step of 0.1."""

    def step(x: Any, u: Any) -> Any:
        return x + 0.1 * np.array([u[0] * np.cos(x[2]), u[0] * np.sin(x[2]), u[1]])

    return Problem(
        DiscreteDynamics(step, nx=3, nu=2),
        stage_cost=lambda x, u: 50.0 * (x @ x) + 0.5 * (u @ u),
        terminal_cost=lambda x: 50.0 * (x @ x),
        initial_state=[1.0, 0.0, 0.0],
        horizon=Horizon(steps=steps),
        guess=(np.arange(steps + 1.0), np.tile([1.0, 0.0, 0.0], (steps + 1, 1)), np.zeros((steps, 2))),
        name="unicycle",
    )


CASES = (
    Case("cart-pole, RK4, N = 100, |u| <= 3, terminal cost", "cartpole", soft=True, model="cartpole", quick=True),
    Case("cart-pole, with terminal constraint", "cartpole", model="cartpole", quick=True),
    Case(
        "pendulum, RK4, N = 50, |u| <= 3, terminal cost",
        "pendulum",
        {"damping": 0.0},
        soft=True,
        model="pendulum",
        quick=True,
    ),
    Case("pendulum, with terminal constraint", "pendulum", {"damping": 0.0}, model="pendulum"),
    Case("unicycle, Euler, N = 200", "unicycle", model="unicycle", quick=True),
    Case("quadrotor, 13 states, RK4, N = 100, 0 <= u <= 12", "quadrotor"),
    Case("DTOC1L, N = 100, 4 states, 2 controls", "dtoc1l", {"steps": 99}),
    Case("DTOC1L, N = 1000, 10 states, 5 controls", "dtoc1l", {"controls": 5, "states": 10, "steps": 999}),
    Case("DTOC3, N = 100", "dtoc3", {"steps": 99}, model="dtoc3", quick=True),
    Case("DTOC3, N = 5000", "dtoc3", {"steps": 4999}, model="dtoc3"),
)
