"""A problem as stages: compiled functions of one step, of the constraints along it, and of the end.

Shooting methods and sampling planners see the problem through these functions. State bounds become rows of the path
constraints. They hold at the final state as well; so do path constraints that do not involve the control, if time is
continuous (in discrete time a path constraint is one of the steps, and the last step begins before the end).

Arguments of the compiled functions (all double*; time is (t, h), p the packed parameters, z = (x, u), nz = nx + nu):

    step         x, u, time, p             -> x+ (nx), cost (1)
    expand       x, u, time, p, y (nx)     -> F (nx, nz), g (nz), H (nz, nz)       H weighs the dynamics' curvature by y
    path         x, u, time, p             -> c (nc)
    path_expand  x, u, time, p, w (nc)     -> dc/dz (nc, nz), d2(w'c)/dz2 (nz, nz)
    end          x, time, p                -> cost (1), e (ne)
    end_expand   x, time, p, w (ne)        -> gradient (nx), Hessian (nx, nx), de/dx (ne, nx), d2(w'e)/dx2 (nx, nx)

Without second order, y and w are ignored and the curvatures of dynamics and constraints are left out (Gauss-Newton).
Sampling planners need no derivatives, and compile the values alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.lowering import MachineCode, compile_functions
from trajopt.model import Model, Rows
from trajopt.problem import Problem
from trajopt.transcription.integrators import DISCRETE, INTEGRATORS, Step, build_step

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Values:
    """What a stage and the end give, as expressions of the model's x, u, p and of ``step.time`` = (t, h).

    Attributes
    ----------
    step
        Next state and cost of the step.
    path
        (nc) path constraints, then the bounded states.
    end_cost, end
        Terminal cost and (ne) terminal constraints, then the path rows that hold at the final state too.
    """

    step: Step
    path: ca.SX
    end_cost: ca.SX
    end: ca.SX


@dataclass(frozen=True, eq=False)
class Stages:
    """Compiled stage functions of one problem and one integrator.

    Attributes
    ----------
    values
        What was compiled, as expressions.
    code
        The machine code; addresses by the names in the module docstring.
    path_names, end_names
        For each row of the path and the end constraints the constraint's name.
    bounded
        Indices of the states whose bounds are rows, behind those of the path constraints.
    repeated
        Indices of the path rows that hold at the final state too, behind the terminal constraints.
    """

    values: Values
    code: MachineCode
    path_names: tuple[str, ...]
    end_names: tuple[str, ...]
    bounded: tuple[int, ...]
    repeated: tuple[int, ...]

    def limits(self, problem: Problem) -> tuple[Array, Array, Array, Array]:
        """Lower and upper limits of the path rows, then of the end rows, with today's numbers of the problem."""
        model, (lower, upper) = problem.model, problem.state_bounds
        bounded, repeated = list(self.bounded), list(self.repeated)
        path_lower = np.concatenate([model.path.lower, lower[bounded]])
        path_upper = np.concatenate([model.path.upper, upper[bounded]])
        end_lower = np.concatenate([model.terminal.lower, path_lower[repeated]])
        end_upper = np.concatenate([model.terminal.upper, path_upper[repeated]])
        return path_lower, path_upper, end_lower, end_upper


def compile_stages(problem: Problem, integrator: str, *, second_order: bool | None) -> Stages:
    """Compile the stage functions, or take them from the problem, which keeps those it was asked for before.

    Parameters
    ----------
    problem
        Gives model and bounds.
    integrator
        A name in ``INTEGRATORS``; discrete dynamics need none and ignore it.
    second_order
        Whether second derivatives hold the curvature of dynamics and constraints; None: no derivatives at all.
    """
    kept: dict[tuple[str, bool | None], Stages] = problem.model.__dict__.setdefault("_stages", {})
    key = (integrator if problem.dynamics.continuous else "discrete", second_order)
    if key not in kept:
        kept[key] = _compile(problem, integrator, second_order)
    return kept[key]


def _compile(problem: Problem, integrator: str, second_order: bool | None) -> Stages:
    model = problem.model
    tableau = INTEGRATORS[integrator] if problem.dynamics.continuous else DISCRETE
    step = build_step(model, tableau, second_order=bool(second_order))
    path, bounded = _path_rows(problem)
    untimed = [path.expression, model.terminal_cost, model.terminal.expression]
    path_rows, end_cost, terminal = ca.substitute(untimed, [model.t], [step.time[0]])
    first = 0 if problem.dynamics.continuous else len(model.path)
    repeated = _state_only(path_rows, model.u, first)
    values = Values(step, path_rows, end_cost, ca.vertcat(terminal, _pick(path_rows, repeated)))
    functions = _value_functions(model, values)
    if second_order is not None:
        functions |= _derivative_functions(model, values, second_order)
    end_names = model.terminal.names + tuple(path.names[row] for row in repeated)
    return Stages(values, compile_functions(functions), path.names, end_names, bounded, repeated)


def _path_rows(problem: Problem) -> tuple[Rows, tuple[int, ...]]:
    """Path constraints with the bounded states below them."""
    model, (lower, upper) = problem.model, problem.state_bounds
    bounded = tuple(int(i) for i in np.flatnonzero(np.isfinite(lower) | np.isfinite(upper)))
    chosen = list(bounded)
    rows = Rows(
        ca.vertcat(model.path.expression, _pick(model.x, bounded)),
        np.concatenate([model.path.lower, lower[chosen]]),
        np.concatenate([model.path.upper, upper[chosen]]),
        model.path.names + tuple(problem.dynamics.states[i] for i in bounded),
    )
    return rows, bounded


def _pick(column: ca.SX, rows: tuple[int, ...]) -> ca.SX:
    """Those rows of a column; indexing with an empty list would not give an empty column."""
    return ca.vertcat(ca.SX(0, 1), *(column[row] for row in rows))


def _state_only(rows: ca.SX, u: ca.SX, first: int) -> tuple[int, ...]:
    """Rows from ``first`` on that no control enters."""
    return tuple(i for i in range(first, rows.numel()) if not ca.depends_on(rows[i], u))


def _value_functions(model: Model, values: Values) -> dict[str, ca.Function]:
    step = values.step
    inputs, end_inputs = [model.x, model.u, step.time, model.p], [model.x, step.time, model.p]
    return {
        "step": ca.Function("step", inputs, ca.cse([step.next_state, step.cost])),
        "path": ca.Function("path", inputs, ca.cse([values.path])),
        "end": ca.Function("end", end_inputs, ca.cse([values.end_cost, values.end])),
    }


def _derivative_functions(model: Model, values: Values, second_order: bool) -> dict[str, ca.Function]:
    step, z = values.step, ca.vertcat(model.x, model.u)
    path_weights, end_weights = ca.SX.sym("w", values.path.numel()), ca.SX.sym("w", values.end.numel())
    inputs, end_inputs = [model.x, model.u, step.time, model.p], [model.x, step.time, model.p]
    expand = [step.jacobian, step.gradient, step.hessian]
    path = [ca.jacobian(values.path, z), _curvature(values.path, path_weights, z, second_order)]
    hessian, gradient = ca.hessian(values.end_cost, model.x)
    end = [gradient, hessian, ca.jacobian(values.end, model.x)]
    end += [_curvature(values.end, end_weights, model.x, second_order)]
    return {
        "expand": ca.Function("expand", [*inputs, step.weights], expand),
        "path_expand": ca.Function("path_expand", [*inputs, path_weights], ca.cse(path)),
        "end_expand": ca.Function("end_expand", [*end_inputs, end_weights], ca.cse(end)),
    }


def _curvature(rows: ca.SX, weights: ca.SX, variables: ca.SX, second_order: bool) -> ca.SX:
    """Second derivative of the weighted rows; nothing at all for Gauss-Newton."""
    return ca.hessian(ca.dot(weights, rows), variables)[0] if second_order else ca.SX(0, 0)
