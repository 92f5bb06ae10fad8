"""What a controller drives: a model, a simulator or any function, one sampling period at a time.

A period is x+ = Phi(x, u) + w, where u is held and w disturbs. Phi is the flow of an ordinary differential equation,
integrated by an adaptive method of order 8 (`trajopt.reintegration`) and not by the step of any solver, or the step of
discrete dynamics. The cost of the period is the integral of the problem's own stage cost along that flow.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.dynamics import Dynamics
from trajopt.errors import InvalidProblem
from trajopt.plain import PlainFunctions
from trajopt.problem import Problem
from trajopt.reintegration import IntervalIntegrator
from trajopt.symbolic import Parameters

Array = NDArray[np.float64]

Disturbance = Callable[[Array, Array, float, np.random.Generator], Array]
"""Function (x, u, t, generator) -> (nx,) numbers."""


class Plant(ABC):
    """Whatever a controller drives."""

    @abstractmethod
    def advance(
        self, x: Array, u: Array, t: float, period: float, generator: np.random.Generator
    ) -> tuple[Array, float]:
        """Return the state a period later under a held control, (nx,), and what the period costs; NaN where it fails.

        Parameters
        ----------
        x, u, t
            (nx,) state, (nu,) control and time at the beginning.
        period
            Length of time; 1 in discrete time.
        generator
            Where random steps draw from.
        """

    @abstractmethod
    def change(self, parameters: Mapping[str, Any]) -> None:
        """Take new values of the parameters of the controller's problem."""


class _Judged:
    """The dynamics of one problem under the stage cost of another, as the integrator wants them."""

    def __init__(self, dynamics: PlainFunctions, costs: PlainFunctions) -> None:
        self.dynamics, self.stage_cost = dynamics.dynamics, costs.stage_cost

    def integrands(self, x: Array, u: Array, t: float) -> Array:
        """No integral but the cost is wanted."""
        return np.zeros(0)


@final
class ModelPlant(Plant):
    """The dynamics of a problem, which may be the controller's own.

    Parameters
    ----------
    problem
        Whose dynamics and parameters.
    judge
        The controller's problem, whose stage cost counts.
    """

    def __init__(self, problem: Problem, judge: Problem) -> None:
        self._problem, self._judge, self._own = problem, judge, problem is judge
        self._functions = self._read()

    def _read(self) -> Any:
        costs = _functions(self._judge)
        return _Judged(costs if self._own else _functions(self._problem), costs)

    def change(self, parameters: Mapping[str, Any]) -> None:
        """Take new values: for the cost, and where the plant is the model itself, for the dynamics."""
        self._judge = self._judge.at(parameters=parameters)
        self._problem = self._judge if self._own else self._problem
        self._functions = self._read()

    def advance(
        self, x: Array, u: Array, t: float, period: float, generator: np.random.Generator
    ) -> tuple[Array, float]:
        """Integrate over the period; see `Plant.advance`."""
        return flow(self._problem, self._functions, x, u, t, period)


@final
class StepPlant(Plant):
    """A function of one period: a simulator's step, or a user's.

    Between its states nothing is known: in continuous time the cost is the trapezoidal rule on the stage cost.

    Parameters
    ----------
    step
        Function (x, u, t, period, p, generator) -> the state a period later, p the parameters of the judge by name.
    judge
        The controller's problem, whose stage cost counts.
    """

    def __init__(self, step: Callable[..., Any], judge: Problem) -> None:
        self._step, self._judge = step, judge
        self._functions, self._named = _functions(judge), _named(judge)

    def change(self, parameters: Mapping[str, Any]) -> None:
        """Take new values."""
        self._judge = self._judge.at(parameters=parameters)
        self._functions, self._named = _functions(self._judge), _named(self._judge)

    def advance(
        self, x: Array, u: Array, t: float, period: float, generator: np.random.Generator
    ) -> tuple[Array, float]:
        """Call the function on copies; see `Plant.advance`."""
        following = np.asarray(self._step(x.copy(), u.copy(), t, period, self._named, generator), float)
        if following.shape != x.shape:
            raise InvalidProblem(
                f"the plant returned shape {following.shape}, but the next state of shape {x.shape} was expected; "
                "correct the function."
            )
        cost = self._functions.stage_cost(x, u, t)
        if self._judge.dynamics.continuous:
            cost = 0.5 * period * (cost + self._functions.stage_cost(following, u, t + period))
        return following, cost


def flow(problem: Problem, functions: Any, x: Array, u: Array, t: float, period: float) -> tuple[Array, float]:
    """Return the state at the end of a period under a held control, and the cost of the period.

    ``functions`` are a `PlainFunctions`, or whatever has its dynamics, stage_cost and integrands.
    """
    integrals = 1 + len(functions.integrands(x, u, t))
    integrator = IntervalIntegrator(problem, functions, np.maximum(1.0, np.abs(x)), integrals)
    start = np.concatenate([x, np.zeros(integrals)])
    y, failure = integrator.advance(u[None], t, t + period, start)
    return (np.full(problem.nx, np.nan), np.nan) if failure else (y[: problem.nx], float(y[problem.nx]))


def make_plant(plant: Any, problem: Problem) -> Plant:
    """The plant that a user means.

    Parameters
    ----------
    plant
        None for the model itself; a `Problem`, dynamics, or a function (x, u, t) -> x of one period.
    problem
        The controller's.
    """
    if isinstance(plant, Problem):
        _check_sizes(plant.dynamics, problem)
        if isinstance(plant.dynamics, BatchDynamics):
            return StepPlant(_steps(plant.dynamics, _named(plant)), problem)
        if plant.dynamics.continuous != problem.dynamics.continuous:
            raise InvalidProblem(
                "one of plant and controller's problem is in continuous and the other in discrete time, but the same "
                "kind of time was expected; give the plant as a function (x, u, t) -> x of one period."
            )
        return ModelPlant(plant, problem)
    dynamics = problem.dynamics if plant is None else plant
    if isinstance(dynamics, BatchDynamics):
        _check_sizes(dynamics, problem)
        return StepPlant(_steps(dynamics), problem)
    if plant is None:
        return ModelPlant(problem, problem)
    if isinstance(plant, Dynamics):
        _check_sizes(plant, problem)
        return ModelPlant(dataclasses.replace(problem, dynamics=plant), problem)
    if not callable(plant):
        raise InvalidProblem(
            f"plant={plant!r} was given, but None, a Problem, dynamics or a function (x, u, t) -> x was expected; "
            "pass one of them."
        )
    return StepPlant(lambda x, u, t, period, p, generator: plant(x, u, t), problem)


def make_disturbance(given: Disturbance | ArrayLike | None, nx: int, what: str) -> Disturbance:
    """A function from a function, or from a covariance: a number, (nx,) variances or an (nx, nx) matrix."""
    if given is None:
        return lambda x, u, t, generator: np.zeros(nx)
    if callable(given):
        return given
    values = np.asarray(given, float)
    matrix = np.diag(np.broadcast_to(values, nx)) if values.ndim < 2 and values.size in (1, nx) else values
    valid = matrix.shape == (nx, nx) and np.isfinite(matrix).all() and np.allclose(matrix, matrix.T)
    eigenvalues, vectors = np.linalg.eigh(matrix) if valid else (np.full(1, -1.0), matrix)
    if eigenvalues[0] < -1e-12 * max(1.0, eigenvalues[-1]):  # rounding of a semidefinite matrix
        raise InvalidProblem(
            f"{what}={given!r} was given, but a function (x, u, t, generator) or a covariance was expected: a number, "
            f"{nx} variances, or a symmetric positive semidefinite matrix of shape ({nx}, {nx})."
        )
    root = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    return lambda x, u, t, generator: root @ generator.standard_normal(nx)


def _steps(dynamics: BatchDynamics, own: Parameters | None = None) -> Callable[..., Array]:
    """A simulator's step for one state; its time is the number of the step, its parameters perhaps its own."""

    def step(x: Array, u: Array, t: float, period: float, p: Any, generator: np.random.Generator) -> Array:
        return dynamics.step(x[None], u[None], float(round(t / period)), p if own is None else own, generator)[0]

    return step


def _check_sizes(dynamics: Dynamics, problem: Problem) -> None:
    if (dynamics.nx, dynamics.nu) != (problem.nx, problem.nu):
        raise InvalidProblem(
            f"the plant has {dynamics.nx} states and {dynamics.nu} controls, but the controller's problem has "
            f"{problem.nx} and {problem.nu}; give a function (x, u, t) -> x that translates."
        )


def _functions(problem: Problem) -> PlainFunctions:
    return PlainFunctions(problem, problem.layout.pack(problem.parameters))


def _named(problem: Problem) -> Parameters:
    return Parameters(problem.layout.unpack(problem.layout.pack(problem.parameters)))
