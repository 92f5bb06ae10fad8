"""A problem as stages: compiled functions of one step, of the constraints along it, and of the end.

Shooting methods and sampling planners see the problem through these functions. State bounds become rows of the path
constraints; path constraints and state bounds that do not involve the control hold at the final state as well.

Arguments of the compiled functions (all double*; time is (t, h), p the packed parameters, z = (x, u), nz = nx + nu):

    step         x, u, time, p             -> x+ (nx), cost (1)
    expand       x, u, time, p, y (nx)     -> F (nx, nz), g (nz), H (nz, nz)       H weighs the dynamics' curvature by y
    path         x, u, time, p             -> c (nc)
    path_expand  x, u, time, p, w (nc)     -> dc/dz (nc, nz), d2(w'c)/dz2 (nz, nz)
    end          x, time, p                -> cost (1), e (ne)
    end_expand   x, time, p, w (ne)        -> gradient (nx), Hessian (nx, nx), de/dx (ne, nx), d2(w'e)/dx2 (nx, nx)

Without second order, y and w are ignored and the curvatures of dynamics and constraints are left out (Gauss-Newton).
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.lowering import MachineCode, compile_functions
from trajopt.model import Model, Rows
from trajopt.problem import Problem
from trajopt.transcription.integrators import DISCRETE, INTEGRATORS, build_step

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Stages:
    """Compiled stage functions of one problem and one integrator.

    Attributes
    ----------
    code
        The machine code; addresses by the names in the module docstring.
    path_names, end_names
        For each row of the path and the end constraints the constraint's name.
    bounded
        Indices of the states whose bounds are rows, behind those of the path constraints.
    repeated
        Indices of the path rows that hold at the final state too, behind the terminal constraints.
    """

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


def compile_stages(problem: Problem, integrator: str, *, second_order: bool) -> Stages:
    """Compile the stage functions, or take them from the problem, which keeps those it was asked for before.

    Parameters
    ----------
    problem
        Gives model and bounds.
    integrator
        A name in ``INTEGRATORS``; discrete dynamics need none and ignore it.
    second_order
        Whether second derivatives hold the curvature of dynamics and constraints.
    """
    kept: dict[tuple[str, bool], Stages] = problem.model.__dict__.setdefault("_stages", {})
    key = (integrator if problem.dynamics.continuous else "discrete", second_order)
    if key not in kept:
        kept[key] = _compile(problem, integrator, second_order)
    return kept[key]


def _compile(problem: Problem, integrator: str, second_order: bool) -> Stages:
    model = problem.model
    path, bounded = _path_rows(problem)
    time = ca.SX.sym("time", 2)
    timed = ca.substitute([path.expression, model.terminal_cost, model.terminal.expression], [model.t], [time[0]])
    path_rows, end_cost, terminal_rows = timed
    repeated = _state_only(path_rows, model.u)
    end_rows = ca.vertcat(terminal_rows, _pick(path_rows, repeated))
    tableau = INTEGRATORS[integrator] if problem.dynamics.continuous else DISCRETE
    functions = _step_functions(model, tableau, second_order)
    functions |= _path_functions(model, time, path_rows, second_order)
    functions |= _end_functions(model, time, end_cost, end_rows, second_order)
    return Stages(
        compile_functions(functions),
        path.names,
        model.terminal.names + tuple(path.names[row] for row in repeated),
        bounded,
        repeated,
    )


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


def _state_only(rows: ca.SX, u: ca.SX) -> tuple[int, ...]:
    """Rows that no control enters."""
    return tuple(i for i in range(rows.numel()) if not ca.depends_on(rows[i], u))


def _step_functions(model: Model, tableau, second_order: bool) -> dict[str, ca.Function]:
    step = build_step(model, tableau, second_order=second_order)
    inputs = [model.x, model.u, step.time, model.p]
    return {
        "step": ca.Function("step", inputs, ca.cse([step.next_state, step.cost])),
        "expand": ca.Function("expand", [*inputs, step.weights], [step.jacobian, step.gradient, step.hessian]),
    }


def _path_functions(model: Model, time: ca.SX, rows: ca.SX, second_order: bool) -> dict[str, ca.Function]:
    z, weights = ca.vertcat(model.x, model.u), ca.SX.sym("w", rows.numel())
    inputs = [model.x, model.u, time, model.p]
    jacobian = ca.jacobian(rows, z)
    curvature = ca.hessian(ca.dot(weights, rows), z)[0] if second_order else ca.SX(0, 0)
    return {
        "path": ca.Function("path", inputs, ca.cse([rows])),
        "path_expand": ca.Function("path_expand", [*inputs, weights], ca.cse([jacobian, curvature])),
    }


def _end_functions(model: Model, time: ca.SX, cost: ca.SX, rows: ca.SX, second_order: bool) -> dict[str, ca.Function]:
    weights = ca.SX.sym("w", rows.numel())
    inputs = [model.x, time, model.p]
    hessian, gradient = ca.hessian(cost, model.x)
    curvature = ca.hessian(ca.dot(weights, rows), model.x)[0] if second_order else ca.SX(0, 0)
    outputs = [gradient, hessian, ca.jacobian(rows, model.x), curvature]
    return {
        "end": ca.Function("end", inputs, ca.cse([cost, rows])),
        "end_expand": ca.Function("end_expand", [*inputs, weights], ca.cse(outputs)),
    }
