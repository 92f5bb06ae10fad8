"""The problems that everyone solves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bench.discretisation import Discretisation
from trajopt import Bounds, DiscreteDynamics, Horizon, Problem, problems


@dataclass(frozen=True)
class Instance:
    """A problem of the library, possibly with other settings than its own.

    Attributes
    ----------
    title
        What a table calls it.
    name, settings
        For `trajopt.problems.load`.
    """

    title: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def load(self) -> Problem:
        """Build the problem."""
        return problems.load(self.name, **self.settings)


@dataclass(frozen=True)
class Case:
    """What competitors solve: an `Instance`, or a problem that is not in the library.

    Attributes
    ----------
    source
        Where the problem comes from.
    soft
        Without the terminal constraint; its terminal cost stays.
    model
        Name of Crocoddyl's model, if it has one.
    quick
        Whether the short run has it too.
    """

    source: Instance | Unicycle
    soft: bool = False
    model: str | None = None
    quick: bool = False

    @property
    def title(self) -> str:
        """What the table calls it."""
        return self.source.title

    def build(self) -> Discretisation:
        """Build the problem anew."""
        problem = self.source.load()
        if self.soft:
            problem = replace(problem, constraints=[c for c in problem.constraints if isinstance(c, Bounds)])
        return Discretisation(problem)


@dataclass(frozen=True)
class Unicycle:
    """Drive home from (1, 0, 0): Crocoddyl's benchmark program, with weights 10 and 1 and an Euler step of 0.1."""

    title: str
    steps: int = 200

    def load(self) -> Problem:
        """Build the problem."""

        def step(x: Any, u: Any) -> Any:
            return x + 0.1 * np.array([u[0] * np.cos(x[2]), u[0] * np.sin(x[2]), u[1]])

        times = np.arange(self.steps + 1.0)
        return Problem(
            DiscreteDynamics(step, nx=3, nu=2),
            stage_cost=lambda x, u: 50.0 * (x @ x) + 0.5 * (u @ u),
            terminal_cost=lambda x: 50.0 * (x @ x),
            initial_state=[1.0, 0.0, 0.0],
            horizon=Horizon(steps=self.steps),
            guess=(times, np.tile([1.0, 0.0, 0.0], (len(times), 1)), np.zeros((self.steps, 2))),
            name="unicycle",
        )


CASES = (
    Case(
        Instance("cart-pole, RK4, N = 100, |u| <= 3, terminal cost", "cartpole"),
        soft=True,
        model="cartpole",
        quick=True,
    ),
    Case(Instance("cart-pole, with terminal constraint", "cartpole"), model="cartpole", quick=True),
    Case(
        Instance("pendulum, RK4, N = 50, |u| <= 3, terminal cost", "pendulum", {"damping": 0.0}),
        soft=True,
        model="pendulum",
        quick=True,
    ),
    Case(Instance("pendulum, with terminal constraint", "pendulum", {"damping": 0.0}), model="pendulum"),
    Case(Unicycle("unicycle, Euler, N = 200"), model="unicycle", quick=True),
    Case(Instance("quadrotor, 13 states, RK4, N = 100, 0 <= u <= 12", "quadrotor")),
    Case(Instance("DTOC1L, N = 100, 4 states, 2 controls", "dtoc1l", {"steps": 99})),
    Case(Instance("DTOC1L, N = 1000, 10 states, 5 controls", "dtoc1l", {"controls": 5, "states": 10, "steps": 999})),
    Case(Instance("DTOC3, N = 100", "dtoc3", {"steps": 99}), model="dtoc3", quick=True),
    Case(Instance("DTOC3, N = 5000", "dtoc3", {"steps": 4999}), model="dtoc3"),
)
