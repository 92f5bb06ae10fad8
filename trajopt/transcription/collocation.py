"""From an optimal-control problem to a nonlinear program and back.

`DirectProgram` is the compiled structure: it depends on the traced functions, the mesh and on what is free, but on no
other number, and is kept for as long as the problem's model lives. `pose` adds the numbers of one solve.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.horizon import Free
from trajopt.model import Model
from trajopt.problem import Problem
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.black_box import BlackBoxStep
from trajopt.transcription.collocation_elements import Symbols, boundary_element, end_element, interval_element
from trajopt.transcription.collocation_layout import RowLayout, VariableLayout
from trajopt.transcription.held_steps import DISCRETE_STEP
from trajopt.transcription.interval import IntervalScheme
from trajopt.transcription.mesh import Mesh
from trajopt.transcription.nlp import Instance, Program, assemble
from trajopt.transcription.scaling import Scaling, magnitude_scales

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DirectProgram:
    """A problem's structure under a scheme, compiled.

    Attributes
    ----------
    mesh
        Where the knots lie, and what happens between them.
    variables, rows
        Where things lie.
    repeated
        (n,) which path constraints hold at the last knot too.
    free
        (n_free,) which entries of (start, duration, packed parameters) are decision variables.
    program
        The compiled functions.
    defects
        (variables of one interval, its place, shared parameters) -> its defects, for the first scheme of the mesh;
        without the step of a black box.
    dynamics
        (x, u, t, p) -> dynamics at the first N knots, all as columns, with p shared.
    """

    mesh: Mesh
    variables: VariableLayout
    rows: RowLayout
    repeated: NDArray[np.intp]
    free: NDArray[np.intp]
    program: Program
    defects: ca.Function
    dynamics: ca.Function

    @property
    def scheme(self) -> IntervalScheme:
        """What happens within the first interval; what its knots are to it, they are to all."""
        return self.mesh.schemes[0]

    @property
    def controls(self) -> NDArray[np.intp]:
        """Places of the controls at the knots as a trajectory has them, (N, nu) if held, else (N+1, nu)."""
        layout = self.variables
        if self.scheme.interpolation is not Interpolation.POLYNOMIAL:
            return layout.u
        last = layout.u_inner if self.mesh.schemes[-1].inner_controls else layout.u
        return np.vstack([layout.u, last[-1:]])


_TINY = 1e-3
"""Changes of the cost from here on leave five digits to a tolerance of 1e-8."""

_ROUNDING = 1e-12
"""Changes of the cost that rounding explains, summed over some thousand variables."""

_compiled: WeakKeyDictionary[Model, dict[tuple[object, ...], DirectProgram]] = WeakKeyDictionary()


def compile_problem(problem: Problem, scheme: IntervalScheme | Mesh) -> DirectProgram:
    """Return the program of a problem on its own knots, compiled at the first call and kept with the problem's model.

    That on a mesh of another solve's is compiled anew.

    Parameters
    ----------
    problem
        Only its functions, number of steps and what is free matter.
    scheme
        For continuous dynamics, discrete ones need none; or a whole mesh.
    """
    if isinstance(scheme, Mesh):
        return compile_on(problem, scheme)
    chosen = scheme if problem.dynamics.continuous else DISCRETE_STEP
    key = (chosen, problem.horizon.steps, tuple(_free_entries(problem).tolist()))
    known = _compiled.setdefault(problem.model, {})
    if key not in known:
        known[key] = compile_on(problem, Mesh.uniform(problem.horizon.steps, chosen))
    return known[key]


def compile_on(problem: Problem, mesh: Mesh) -> DirectProgram:
    """Compile the program of a problem on any mesh; it is not kept.

    Parameters
    ----------
    problem
        Its own number of steps does not matter.
    mesh
        Whose schemes treat the knots alike.
    """
    model, free = problem.model, _free_entries(problem)
    closed = mesh.schemes[0].closed
    repeated = _repeated_rows(problem, closed=closed)
    counts = {kind: len(getattr(model, kind)) for kind in ("path", "terminal", "boundary", "integral")}
    variables = VariableLayout.of(mesh.schemes, problem.nx, problem.nu, len(free))
    rows = RowLayout.of(
        mesh.schemes, problem.nx, counts | {"path_end": len(repeated), "path_right": len(model.path) - len(repeated)}
    )
    symbols = Symbols.of(problem, free)
    groups, step = mesh.groups(), BlackBoxStep.of(problem, mesh.steps)
    intervals = [
        interval_element(
            model, scheme, symbols, mesh, repeated, variables.intervals(chosen), rows.intervals(chosen), chosen, step
        )
        for scheme, chosen in groups
    ]
    elements = [
        *intervals,
        end_element(model, repeated, symbols, variables, rows, closed=closed),
        boundary_element(model, symbols, variables, rows),
    ]
    program = assemble(elements, symbols.shared, variables.size, rows.size)
    first = intervals[0]
    one = [first.variables, first.copy, symbols.shared]
    defects = ca.Function("defects", one, [first.rows[: (groups[0][0].inner + 1) * problem.nx, :]])
    dynamics = ca.Function("dynamics", [model.x, model.u, model.t, model.p], [model.dynamics])
    along = dynamics.map("along", "serial", mesh.steps, [3], []) if step is None else step.following
    return DirectProgram(mesh, variables, rows, repeated, free, program, defects, along)


def _free_entries(problem: Problem) -> NDArray[np.intp]:
    horizon = problem.horizon
    times = [i for i, value in enumerate((horizon.start, horizon.duration)) if isinstance(value, Free)]
    return np.concatenate([np.array(times, dtype=np.intp), 2 + problem.layout.free_entries])


def _repeated_rows(problem: Problem, *, closed: bool) -> NDArray[np.intp]:
    """Path constraints that hold at the last knot: all if there is a control, else those that no control enters.

    Path constraints of discrete dynamics belong to the steps, of which the last knot has none.
    """
    path = problem.model.path
    if closed or not len(path):
        return np.arange(len(path))
    if not problem.dynamics.continuous:
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(~np.array(ca.which_depends(path.expression, problem.model.u, 1, True), dtype=bool))


def pose(structure: DirectProgram, problem: Problem, guess: Trajectory, *, scaled: bool) -> Instance:
    """Fill in the numbers of one solve: limits, guess and scales.

    Parameters
    ----------
    structure
        Of ``compile_problem``.
    problem
        Gives limits and parameter values.
    guess
        On the knots of the structure's mesh.
    scaled
        Scale the variables by their magnitude, and the defects like their states.
    """
    layout, rows = structure.variables, structure.rows
    limits = np.empty((2, layout.size))
    for places, bounds in (
        (layout.x, problem.state_bounds),
        (layout.x_inner, problem.state_bounds),
        (layout.u, problem.control_bounds),
        (layout.u_inner, problem.control_bounds),
    ):
        limits[:, places] = bounds[:, None]
    start = problem.initial_values
    fixed = ~np.isnan(start)
    limits[:, layout.x[0, fixed]] = start[fixed]
    limits[:, layout.free] = _global_limits(problem)[:, structure.free]
    whole = _globals(problem, guess)
    w = _guess_vector(structure, guess, whole)
    row_limits = _row_limits(structure, problem.model)
    scaling = _scales(structure, limits, w, whole) if scaled else Scaling.identity(layout.size, rows.size)
    shared = np.delete(whole, structure.free)
    instance = Instance(structure.program, w, limits[0], limits[1], row_limits[0], row_limits[1], shared, scaling)
    unit = cost_unit(instance) if scaled else 1.0
    return replace(instance, cost_unit=unit, chain_broken_by=_chain_broken_by(structure), stages=_stages(structure))


def cost_unit(instance: Instance) -> float:
    """A power of two: how much the cost changes with all variables by their scales, if that is tiny; else 1.

    Without it an optimiser takes any trajectory for optimal whose cost is below its tolerance. Large costs are left to
    the optimiser's own scaling. The curvature counts as well, since at rest many costs have no slope.
    """
    v, functions = instance.scaling.apply(instance.guess), instance.program.functions
    cost, slope = functions["grad_f"](v, instance.parameters)
    curvature = functions["hess_lag"](v, instance.parameters, 1.0, np.zeros(instance.program.rows))
    change = float(np.abs(slope.full()).sum() + np.abs(ca.diag(curvature).full()).sum())
    least = max(_ROUNDING, _ROUNDING * abs(float(cost)))  # a cost that is constant but for rounding has no unit
    return float(np.exp2(np.round(np.log2(change)))) if least < change < _TINY else 1.0


def _stages(structure: DirectProgram) -> NDArray[np.intp]:
    """(3, N+1) numbers of states, of other variables, and of rows but those that lead to the next stage."""
    (nx, nu), rows = (part.shape[1] for part in (structure.variables.x, structure.variables.u)), structure.rows
    path, right = rows.path.shape[1], rows.path_right.shape[1]
    columns = [
        (
            nx,
            nu + scheme.inner * nx + scheme.inner_controls * nu,
            scheme.inner * nx + path * (1 + scheme.inner_points) + right * scheme.ends,
        )
        for scheme in structure.mesh.schemes
    ]
    return np.array([*columns, (nx, 0, len(rows.path_end) + len(rows.terminal))], dtype=np.intp).T


def _chain_broken_by(structure: DirectProgram) -> str:
    """What ties distant stages, in words; "" if nothing does."""
    rows = structure.rows
    causes = {
        "a control that neighbours share at their knot": structure.scheme.closed,
        "steps that depend on the state they end in": structure.scheme.ends,
        "free times or parameters": len(structure.free) > 0,
        "boundary constraints": len(rows.boundary) > 0,
        "integral constraints": len(rows.integral) > 0,
    }
    return next((cause for cause, holds in causes.items() if holds), "")


def _global_limits(problem: Problem) -> Array:
    """Limits of (start, duration, packed parameters), shape (2, 2 + np)."""
    horizon = problem.horizon
    values = (horizon.start, float(horizon.steps) if horizon.duration is None else horizon.duration)
    times = [(value.lower, value.upper) if isinstance(value, Free) else (value, value) for value in values]
    return np.hstack([np.array(times, dtype=float).T, problem.layout.bounds(problem.parameters or {})])


def _globals(problem: Problem, guess: Trajectory) -> Array:
    """(start, duration, packed parameters): the numbers of the problem where fixed, of the guess where free."""
    whole = np.concatenate([[guess.t[0], guess.t[-1] - guess.t[0]], problem.layout.pack(guess.parameters)])
    lower, upper = _global_limits(problem)
    return np.clip(whole, lower, upper)


def _guess_vector(structure: DirectProgram, guess: Trajectory, whole: Array) -> Array:
    layout = structure.variables
    w = np.empty(layout.size)
    w[layout.x] = guess.x
    w[layout.free] = whole[structure.free]
    for scheme, chosen in structure.mesh.groups():
        x, u = layout.inside(chosen)
        w[layout.u], w[u] = scheme.guess_controls(guess, chosen)
        begin, length = guess.t[:-1][chosen], np.diff(guess.t)[chosen]
        for j, c in enumerate(scheme.nodes[1:-1] if scheme.inner else ()):
            w[x[:, j]] = guess.state(begin + c * length)
    return w


def _row_limits(structure: DirectProgram, model: Model) -> Array:
    """Limits of the rows, (2, m); the defects are zero."""
    rows = structure.rows
    limits = np.zeros((2, rows.size))
    for side, name in enumerate(("lower", "upper")):
        path = getattr(model.path, name)
        limits[side, rows.path] = path
        limits[side, rows.path_inner] = path
        limits[side, rows.path_end] = path[structure.repeated]
        limits[side, rows.path_right] = np.delete(path, structure.repeated)
        for kind in ("terminal", "boundary", "integral"):
            limits[side, getattr(rows, kind)] = getattr(getattr(model, kind), name)
    return limits


def _scales(structure: DirectProgram, limits: Array, w: Array, whole: Array) -> Scaling:
    """Scale states by their bounds, else by the guess and how far its slopes would lead; controls by bounds or guess.

    The slopes matter where the guess is zero because nothing is known: without them a velocity would be left in metres
    per second beside a position in multiples of its bounds.
    """
    layout, rows = structure.variables, structure.rows
    reached = np.vstack([w[layout.x], _reach(structure, w, whole)])
    # The initial state is pinned by its limits, which therefore say nothing of the size of the state: look at the end.
    states = magnitude_scales(limits[0, layout.x[-1]], limits[1, layout.x[-1]], reached)
    controls = magnitude_scales(limits[0, layout.u[-1]], limits[1, layout.u[-1]], w[layout.u])
    variables, units = np.ones(layout.size), np.ones(rows.size)
    for places, scale in (
        (layout.x, states),
        (layout.x_inner, states),
        (layout.u, controls),
        (layout.u_inner, controls),
    ):
        variables[places] = scale
    variables[layout.free] = magnitude_scales(limits[0, layout.free], limits[1, layout.free], w[None, layout.free])
    units[rows.defects] = states
    return Scaling(variables, units)


def _reach(structure: DirectProgram, w: Array, whole: Array) -> Array:
    """How far the guess' slopes lead within the horizon, (N, nx); next states for discrete dynamics."""
    _layout, (start, duration) = structure.variables, whole[:2]
    slopes = knot_slopes(structure, w, start, duration, whole[2:])
    reach = slopes if structure.scheme is DISCRETE_STEP else duration * slopes
    return np.where(np.isfinite(reach), reach, 0.0)


def knot_slopes(structure: DirectProgram, w: Array, start: float, duration: float, p: Array) -> Array:
    """Dynamics at the first N knots, (N, nx)."""
    layout, n = structure.variables, structure.mesh.steps
    times = structure.mesh.knots(start, duration)[None, :-1]
    return structure.dynamics(w[layout.x[:n]].T, w[layout.u[:n]].T, times, p).full().T
