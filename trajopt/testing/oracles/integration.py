"""Explicit Runge-Kutta steps and rollouts of a problem's own functions, as the textbook writes them.

Reference: Hairer, Norsett, Wanner, Solving Ordinary Differential Equations I, section II.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.plain import PlainFunctions
from trajopt.problem import Problem

Array = NDArray[np.float64]
Rate = Callable[[Any, Any, Any], Any]
"""(x, u, t) -> dx/dt; numbers or expressions of CasADi, which only need to add and multiply."""


def euler_step(rate: Rate, x: Any, u: Any, t: Any, h: Any) -> Any:
    """x + h f(x, u, t): order one."""
    return x + h * rate(x, u, t)


def midpoint_step(rate: Rate, x: Any, u: Any, t: Any, h: Any) -> Any:
    """Order two."""
    half = x + h / 2 * rate(x, u, t)
    return x + h * rate(half, u, t + h / 2)


def rk3_step(rate: Rate, x: Any, u: Any, t: Any, h: Any) -> Any:
    """Kutta's method of order three."""
    k1 = rate(x, u, t)
    k2 = rate(x + h / 2 * k1, u, t + h / 2)
    k3 = rate(x - h * k1 + 2 * h * k2, u, t + h)
    return x + h / 6 * (k1 + 4 * k2 + k3)


def rk4_step(rate: Rate, x: Any, u: Any, t: Any, h: Any) -> Any:
    """The classical method of order four."""
    k1 = rate(x, u, t)
    k2 = rate(x + h / 2 * k1, u, t + h / 2)
    k3 = rate(x + h / 2 * k2, u, t + h / 2)
    k4 = rate(x + h * k3, u, t + h)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


STEPS = {"euler": euler_step, "midpoint": midpoint_step, "rk3": rk3_step, "rk4": rk4_step}
"""Under the names that solvers have for their integrators."""


def roll_out(problem: Problem, controls: Array, integrator: str = "rk4") -> tuple[Array, float]:
    """States under held controls from the fixed initial state, and their cost; one step an interval.

    The cost rides along as one more state, so that it has the order of the method.

    Parameters
    ----------
    problem
        With fixed times and a fixed initial state; of free parameters the guess is taken.
    controls
        (N, nu).
    integrator
        One of `STEPS`; of no consequence for discrete dynamics.

    Returns
    -------
    states, cost
        (N+1, nx), and the stage costs with the terminal cost. Constraints are not looked at.

    Raises
    ------
    InvalidProblem
        When the controls have another shape.
    """
    controls = np.asarray(controls, float)
    if controls.shape != (problem.horizon.steps, problem.nu):
        raise InvalidProblem(
            f"controls of shape {controls.shape} were given, but ({problem.horizon.steps}, {problem.nu}) was expected; "
            "give one row for each step."
        )
    functions, t = PlainFunctions(problem, problem.layout.pack(problem.parameters)), problem.horizon.knots()
    states, cost = [problem.initial_values], 0.0

    def rate(y: Array, u: Array, time: float) -> Array:
        return np.append(functions.dynamics(y[:-1], u, time), functions.stage_cost(y[:-1], u, time))

    for k, u in enumerate(controls):
        if problem.dynamics.continuous:
            following = STEPS[integrator](rate, np.append(states[-1], cost), u, float(t[k]), float(t[k + 1] - t[k]))
            states.append(following[:-1])
            cost = float(following[-1])
        else:
            cost += functions.stage_cost(states[-1], u, float(t[k]))
            states.append(functions.dynamics(states[-1], u, float(t[k])))
    return np.array(states), cost + functions.terminal_cost(states[-1], float(t[-1]))
