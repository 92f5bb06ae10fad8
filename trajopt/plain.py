"""A problem's functions evaluated as plain NumPy, the way the user wrote them.

The certificate stands on these and not on the traced or compiled forms, so that it checks the whole road.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.dynamics import TracedDynamics
from trajopt.signature import UserFunction
from trajopt.symbolic import Parameters

if TYPE_CHECKING:
    from trajopt.problem import Problem

Array = NDArray[np.float64]


class PlainFunctions:
    """The functions of one problem at fixed parameter values.

    Floating-point warnings are silenced: a NaN is passed on, for the caller to judge.

    Parameters
    ----------
    problem
        Whose functions.
    parameters
        Packed parameter vector, (np,).
    """

    def __init__(self, problem: Problem, parameters: Array) -> None:
        self._problem = problem
        self._groups = problem.constraints_by_kind()
        self._parameters = Parameters(problem.layout.unpack(np.asarray(parameters, float)))

    def dynamics(self, x: Array, u: Array, t: float) -> Array:
        """Time derivative of the state, or the next state: (nx,); of random ones always the same."""
        dynamics = self._problem.dynamics
        if isinstance(dynamics, TracedDynamics):
            return self._vector(dynamics.function, x=x, u=u, t=t)
        assert isinstance(dynamics, BatchDynamics)
        generator = np.random.default_rng(int(t))
        return dynamics.step(x[None], u[None], t, self._parameters, generator)[0]

    def stage_cost(self, x: Array, u: Array, t: float) -> float:
        """Cost rate, or cost of a step."""
        return self._number(self._problem.stage_cost_function, x=x, u=u, t=t)

    def terminal_cost(self, x: Array, t: float) -> float:
        """Cost of ending in ``x``."""
        return self._number(self._problem.terminal_cost_function, x=x, t=t)

    def path(self, x: Array, u: Array, t: float) -> Array:
        """All path constraint functions, stacked as in ``Model.path``."""
        return self._stack("path", x=x, u=u, t=t)

    def integrands(self, x: Array, u: Array, t: float) -> Array:
        """All integrands of integral constraints, stacked as in ``Model.integral``."""
        return self._stack("integral", x=x, u=u, t=t)

    def terminal(self, x: Array, t: float) -> Array:
        """All terminal constraint functions, stacked as in ``Model.terminal``."""
        return self._stack("terminal", x=x, t=t)

    def boundary(self, x0: Array, xf: Array, t0: float, tf: float) -> Array:
        """All boundary constraint functions, stacked as in ``Model.boundary``."""
        return self._stack("boundary", x0=x0, xf=xf, t0=t0, tf=tf)

    def _vector(self, function: UserFunction, **values: Any) -> Array:
        # Copies: a user's function that overwrites its argument must not reach the caller's trajectory.
        copies = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in values.items()}
        with np.errstate(all="ignore"):
            result = function(copies | {"p": self._parameters})
        return np.asarray(result, dtype=float).reshape(-1)

    def _number(self, function: UserFunction | None, **values: Any) -> float:
        return 0.0 if function is None else float(self._vector(function, **values)[0])

    def _stack(self, kind: str, **values: Any) -> Array:
        parts = [self._vector(constraint.function, **values) for constraint in self._groups[kind]]
        return np.concatenate(parts) if parts else np.zeros(0)
