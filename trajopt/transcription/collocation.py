"""From an optimal-control problem to a nonlinear program and back.

`DirectProgram` is the compiled structure: it depends on the traced functions, the scheme, the number of steps and
on what is free, but on no number, and is kept for as long as the problem's model lives. `pose` adds the numbers of one
solve.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.horizon import Free
from trajopt.model import Model
from trajopt.problem import Problem
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.collocation_layout import RowLayout, VariableLayout
from trajopt.transcription.held_steps import DISCRETE_STEP
from trajopt.transcription.interval import IntervalScheme
from trajopt.transcription.nlp import Element, Instance, Program, assemble
from trajopt.transcription.scaling import Scaling, magnitude_scales

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class DirectProgram:
    """A problem's structure under a scheme, compiled.

    Attributes
    ----------
    scheme
        What happens within an interval.
    variables, rows
        Where things lie.
    repeated
        (n,) which path constraints hold at the last knot too.
    free
        (n_free,) which entries of (start, duration, packed parameters) are decision variables.
    program
        The compiled functions.
    defects
        (variables of one interval, its number, shared parameters) -> its defects.
    dynamics
        (x, u, t, p) -> dynamics at the first N knots, all as columns, with p shared.
    """

    scheme: IntervalScheme
    variables: VariableLayout
    rows: RowLayout
    repeated: NDArray[np.intp]
    free: NDArray[np.intp]
    program: Program
    defects: ca.Function
    dynamics: ca.Function


_compiled: WeakKeyDictionary[Model, dict[tuple[object, ...], DirectProgram]] = WeakKeyDictionary()


def compile_problem(problem: Problem, scheme: IntervalScheme) -> DirectProgram:
    """Return the program of a problem, compiled at the first call and then kept with the problem's model.

    Parameters
    ----------
    problem
        Only its functions, number of steps and what is free matter.
    scheme
        For continuous dynamics; discrete ones need none.
    """
    chosen = scheme if problem.dynamics.continuous else DISCRETE_STEP
    free = _free_entries(problem)
    key = (chosen, problem.horizon.steps, tuple(free.tolist()))
    known = _compiled.setdefault(problem.model, {})
    if key not in known:
        known[key] = _compile(problem, chosen, free)
    return known[key]


def _free_entries(problem: Problem) -> NDArray[np.intp]:
    horizon = problem.horizon
    times = [i for i, value in enumerate((horizon.start, horizon.duration)) if isinstance(value, Free)]
    return np.concatenate([np.array(times, dtype=np.intp), 2 + problem.layout.free_entries])


def _compile(problem: Problem, scheme: IntervalScheme, free: NDArray[np.intp]) -> DirectProgram:
    model, steps = problem.model, problem.horizon.steps
    held = scheme.interpolation is Interpolation.HOLD
    repeated = _repeated_rows(problem, held=held)
    counts = {kind: len(getattr(model, kind)) for kind in ("path", "terminal", "boundary", "integral")}
    variables = VariableLayout.of(steps, problem.nx, problem.nu, scheme.inner, len(free), held=held)
    rows = RowLayout.of(steps, problem.nx, scheme.inner, counts | {"path_end": len(repeated)})
    symbols = _Symbols.of(problem, free)
    interval = _interval(model, scheme, symbols, variables, rows)
    elements = [
        interval,
        _end(model, repeated, symbols, variables, rows, held=held),
        _boundary(model, symbols, variables, rows),
    ]
    program = assemble(elements, symbols.shared, variables.size, rows.size)
    one = [interval.variables, interval.copy, symbols.shared]
    defects = ca.Function("defects", one, [interval.rows[: (scheme.inner + 1) * problem.nx, :]])
    dynamics = ca.Function("dynamics", [model.x, model.u, model.t, model.p], [model.dynamics])
    along = dynamics.map("along", "serial", steps, [3], [])
    return DirectProgram(scheme, variables, rows, repeated, free, program, defects, along)


def _repeated_rows(problem: Problem, *, held: bool) -> NDArray[np.intp]:
    """Path constraints that hold at the last knot: all if there is a control, else those that no control enters.

    Path constraints of discrete dynamics belong to the steps, of which the last knot has none.
    """
    path = problem.model.path
    if not (held and len(path)):
        return np.arange(len(path))
    if not problem.dynamics.continuous:
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(~np.array(ca.which_depends(path.expression, problem.model.u, 1, True), dtype=bool))


@dataclass(frozen=True, eq=False)
class _Symbols:
    """Start, duration and packed parameters, apart into decision variables and numbers."""

    start: ca.SX
    duration: ca.SX
    p: ca.SX
    free: ca.SX
    shared: ca.SX
    copy: ca.SX
    steps: int

    @classmethod
    def of(cls, problem: Problem, free: NDArray[np.intp]) -> _Symbols:
        whole = ca.SX.sym("globals", 2 + problem.layout.size)
        fixed = np.setdiff1d(np.arange(whole.numel()), free)
        return cls(
            start=whole[0],
            duration=whole[1],
            p=whole[2:],
            free=whole[free.tolist()],
            shared=whole[fixed.tolist()],
            copy=ca.SX.sym("k"),
            steps=problem.horizon.steps,
        )

    @property
    def end(self) -> ca.SX:
        return self.start + self.duration


def _interval(
    model: Model, scheme: IntervalScheme, symbols: _Symbols, variables: VariableLayout, rows: RowLayout
) -> Element:
    """Defects, quadratures and path constraints of one interval."""

    def time(node: float) -> ca.SX:
        return symbols.start + symbols.duration * (symbols.copy + node) / symbols.steps

    interval = scheme.interval(model, symbols.p, time, symbols.duration / symbols.steps)
    return Element(
        ca.vertcat(interval.variables, symbols.free),
        symbols.copy,
        interval.cost,
        ca.vertcat(interval.defects, *interval.paths, interval.integrals),
        variables.intervals(),
        rows.intervals(),
    )


def _end(
    model: Model,
    repeated: NDArray[np.intp],
    symbols: _Symbols,
    variables: VariableLayout,
    rows: RowLayout,
    *,
    held: bool,
) -> Element:
    """Terminal cost and constraints, and the path constraints of the final knot."""
    x, u = ca.SX.sym("x", model.x.numel()), ca.SX.sym("u", 0 if held else model.u.numel())
    terminal = ca.Function("terminal", [model.x, model.t, model.p], [model.terminal_cost, model.terminal.expression])
    cost, constraints = terminal(x, symbols.end, symbols.p)
    path = ca.Function("path", [model.x, model.u, model.t, model.p], [model.path.expression])
    # Where the control is held, none of the repeated constraints depends on it.
    values = path(x, ca.SX(model.u.numel(), 1) if held else u, symbols.end, symbols.p)
    at_end = ca.vertcat(ca.SX(0, 1), *(values[int(row)] for row in repeated))
    local = ca.vertcat(x, u, symbols.free)
    return Element(local, symbols.copy, cost, ca.vertcat(at_end, constraints), variables.end(), rows.end())


def _boundary(model: Model, symbols: _Symbols, variables: VariableLayout, rows: RowLayout) -> Element:
    """Constraints that tie both ends."""
    x0, xf = ca.SX.sym("x0", model.x.numel()), ca.SX.sym("xf", model.x.numel())
    function = ca.Function("boundary", [model.x0, model.xf, model.t0, model.tf, model.p], [model.boundary.expression])
    tied = function(x0, xf, symbols.start, symbols.end, symbols.p)
    local = ca.vertcat(x0, xf, symbols.free)
    return Element(local, symbols.copy, ca.SX(0), tied, variables.both_ends(), rows.boundary[None, :])


def pose(structure: DirectProgram, problem: Problem, guess: Trajectory, *, scaled: bool) -> Instance:
    """Fill in the numbers of one solve: limits, guess and scales.

    Parameters
    ----------
    structure
        Of ``compile_problem``.
    problem
        Gives limits and parameter values.
    guess
        On the problem's own knots.
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
        limits[:, places] = bounds.reshape(2, *(1,) * (places.ndim - 1), -1)
    start = problem.initial_values
    fixed = ~np.isnan(start)
    limits[:, layout.x[0, fixed]] = start[fixed]
    limits[:, layout.free] = _global_limits(problem)[:, structure.free]
    whole = _globals(problem, guess)
    w = _guess_vector(structure, guess, whole)
    row_limits = _row_limits(structure, problem.model)
    scaling = _scales(structure, limits, w, whole) if scaled else Scaling.identity(layout.size, rows.size)
    shared = np.delete(whole, structure.free)
    return Instance(structure.program, w, limits[0], limits[1], row_limits[0], row_limits[1], shared, scaling)


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
    w[layout.u], w[layout.u_inner] = structure.scheme.guess_controls(guess)
    for j, c in enumerate(structure.scheme.nodes[1:-1]):
        w[layout.x_inner[:, j]] = (1.0 - c) * guess.x[:-1] + c * guess.x[1:]
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
    layout, (start, duration) = structure.variables, whole[:2]
    n = layout.steps
    times = start + duration * np.arange(n)[None, :] / n
    slopes = structure.dynamics(w[layout.x[:n]].T, w[layout.u[:n]].T, times, whole[2:]).full().T
    reach = slopes if structure.scheme is DISCRETE_STEP else duration * slopes
    return np.where(np.isfinite(reach), reach, 0.0)


def read_trajectory(structure: DirectProgram, problem: Problem, instance: Instance, w: Array) -> Trajectory:
    """Return the trajectory that a vector of variables stands for."""
    layout, scheme = structure.variables, structure.scheme
    whole = np.empty(2 + problem.layout.size)
    whole[structure.free] = w[layout.free]
    whole[np.setdiff1d(np.arange(len(whole)), structure.free)] = instance.shared
    u, u_mid = w[layout.u], scheme.middle_controls(w[layout.u], w[layout.u_inner])
    knots = problem.horizon.knots(whole[0], whole[1])
    return Trajectory(knots, w[layout.x], u, scheme.interpolation, u_mid, problem.layout.unpack(whole[2:]))
