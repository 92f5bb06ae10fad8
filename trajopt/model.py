"""A problem's functions as expressions: the form that solvers differentiate and compile.

Made once, when the problem is made. Parameter values, bounds, initial state and horizon are numbers outside of it, so
they may change from solve to solve while the expressions, and whatever was compiled from them, stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.constraints import FunctionConstraint, TerminalConstraint
from trajopt.dynamics import TracedDynamics
from trajopt.errors import InvalidProblem
from trajopt.parameters import ParameterLayout
from trajopt.signature import UserFunction
from trajopt.symbolic import Matrix, Parameters, Scalar, Vector, trace

if TYPE_CHECKING:
    from trajopt.problem import Problem


@dataclass(frozen=True, eq=False)
class Rows:
    """Stacked constraint functions of one kind.

    Attributes
    ----------
    expression
        SX column of n rows.
    lower, upper
        Limits, each of shape (n,).
    names
        For each row the name of its constraint, with the row's number where it has several.
    """

    expression: ca.SX
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, eq=False)
class Model:
    """Symbols and expressions of a problem; every expression is an SX column.

    Attributes
    ----------
    x, u, t, p
        Symbols of the state (nx), control (nu), time (1) and packed parameters.
    x0, xf, t0, tf
        Symbols of both ends, which appear in ``boundary`` alone.
    dynamics
        Time derivative of the state, or the next state; (nx) of x, u, t, p. NaN for dynamics that are not traced.
    stage_cost
        Scalar of x, u, t, p; integrated over time, or summed.
    terminal_cost
        Scalar of x, t, p.
    path, terminal, boundary, integral
        Constraint rows: of (x, u, t, p), (x, t, p), (x0, xf, t0, tf, p), and integrands of (x, u, t, p).
    """

    x: ca.SX
    u: ca.SX
    t: ca.SX
    p: ca.SX
    x0: ca.SX
    xf: ca.SX
    t0: ca.SX
    tf: ca.SX
    dynamics: ca.SX
    stage_cost: ca.SX
    terminal_cost: ca.SX
    path: Rows
    terminal: Rows
    boundary: Rows
    integral: Rows


def trace_model(problem: Problem) -> Model:
    """Run every function of the problem once on symbols.

    Raises
    ------
    TracingError
        When a function cannot be traced.
    InvalidProblem
        When a function returns the wrong number of values.
    """
    nx, nu = problem.nx, problem.nu
    sizes = {"x": nx, "u": nu, "t": 1, "p": problem.layout.size, "x0": nx, "xf": nx, "t0": 1, "tf": 1}
    symbols = {name: ca.SX.sym(name, size) for name, size in sizes.items()}
    values = _wrap(symbols, problem.layout)
    dynamics, shape = _trace_dynamics(problem, values)
    if dynamics.numel() != nx or len(shape) > 1:
        raise InvalidProblem(
            f"the dynamics returned shape {shape}, but {nx} numbers were expected, one for each of the states "
            f"{', '.join(problem.dynamics.states)}; return np.array([...]) of that length."
        )
    groups = problem.constraints_by_kind()
    rows = {kind: _stack(groups[kind], values, problem.dynamics.states) for kind in groups}
    return Model(
        **symbols,
        dynamics=dynamics,
        stage_cost=_scalar(problem.stage_cost_function, values),
        terminal_cost=_scalar(problem.terminal_cost_function, values),
        path=rows["path"],
        terminal=rows["terminal"],
        boundary=rows["boundary"],
        integral=rows["integral"],
    )


def _trace_dynamics(problem: Problem, values: Mapping[str, Any]) -> tuple[ca.SX, tuple[int, ...]]:
    """The dynamics; NaN in place of a black box, lest anybody compute with it."""
    if isinstance(problem.dynamics, TracedDynamics):
        return _run(problem.dynamics.function, values)
    return ca.SX.nan(problem.nx), (problem.nx,)


def _wrap(symbols: Mapping[str, ca.SX], layout: ParameterLayout) -> dict[str, Any]:
    """The symbols in the form in which a user's function receives them."""
    values: dict[str, Any] = {name: Vector(symbols[name]) for name in ("x", "u", "x0", "xf")}
    values |= {name: Scalar(symbols[name]) for name in ("t", "t0", "tf")}
    values["p"] = wrap_parameters(symbols["p"], layout)
    return values


def wrap_parameters(p: ca.SX, layout: ParameterLayout) -> Parameters:
    """Packed parameters by name, each of its own shape."""
    return Parameters({name: _wrap_parameter(p[part], layout.shapes[name]) for name, part in layout.slices.items()})


def _wrap_parameter(entries: ca.SX, shape: tuple[int, ...]) -> Scalar | Vector | Matrix:
    """A parameter of its own shape; it is packed in C order, and CasADi reshapes in Fortran order."""
    if shape == ():
        return Scalar(entries)
    return Vector(entries) if len(shape) == 1 else Matrix(ca.reshape(entries, shape[1], shape[0]).T)


def _run(function: UserFunction, values: Mapping[str, Any]) -> tuple[ca.SX, tuple[int, ...]]:
    return trace(function.function, *(values[name] for name in function.arguments), name=function.role)


def _scalar(function: UserFunction | None, values: Mapping[str, Any]) -> ca.SX:
    """A cost; zero where the problem has none."""
    if function is None:
        return ca.SX.zeros(1)
    expression, shape = _run(function, values)
    if expression.numel() != 1:
        raise InvalidProblem(
            f"{function.role} returned shape {shape}, but one number was expected; sum its terms, for example with x @ "
            "x."
        )
    return expression


def _stack(constraints: Sequence[FunctionConstraint], values: Mapping[str, Any], states: tuple[str, ...]) -> Rows:
    """All constraints of one kind below each other."""
    expressions, lower, upper, names = [], [np.zeros(0)], [np.zeros(0)], []
    for constraint in constraints:
        expression, _ = _run(constraint.function, values)
        rows = expression.numel()
        limits = constraint.limits(rows)
        expressions.append(expression)
        lower.append(limits[0])
        upper.append(limits[1])
        names += _row_names(constraint, rows, states)
    stacked = ca.vertcat(*expressions) if expressions else ca.SX(0, 1)
    return Rows(stacked, np.concatenate(lower), np.concatenate(upper), tuple(names))


def _row_names(constraint: FunctionConstraint, rows: int, states: tuple[str, ...]) -> list[str]:
    """What reports call the rows: the constraint's name, with the state of a target or the row's number behind it."""
    target = constraint.target if isinstance(constraint, TerminalConstraint) else None
    if target is not None:
        return [f"{constraint.name} {state}" for state, value in zip(states, target, strict=True) if value is not None]
    return [constraint.name] if rows == 1 else [f"{constraint.name}[{row}]" for row in range(rows)]
