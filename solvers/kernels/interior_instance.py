"""A problem as the arrays of the interior-point method: sizes, limits, scales and the first point."""

from __future__ import annotations

from dataclasses import dataclass, replace

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Problem
from trajopt.solvers.kernels.interior_functions import evaluate, expand
from trajopt.solvers.kernels.interior_space import (
    EQUALITY,
    FIXED,
    INEQUALITY,
    PROGRESS,
    UNUSED,
    Data,
    Expansion,
    Factor,
    Point,
    Step,
    System,
    Work,
    make_work,
)
from trajopt.solvers.kernels.shooting import Functions
from trajopt.trajectory import Trajectory
from trajopt.transcription.augmentation import Augmentation
from trajopt.transcription.stages import Stages

Array = NDArray[np.float64]

RELAXATION = 1e-8
"""By how much limits are relaxed, relative to max(1, |limit|); IPOPT's bound_relax_factor."""

PUSH = 1e-2
"""How far inside its bounds a variable starts, relative to the bound and to the range; kappa_1 and kappa_2 of IPOPT."""

STEEPEST = 100.0
"""Largest gradient at the first point after scaling; IPOPT's."""

LEAST_SCALE = 1e-8
"""Of cost and rows; IPOPT's."""


@dataclass(frozen=True, eq=False)
class Instance:
    """Everything that the kernels work on.

    Attributes
    ----------
    names
        Name of each row of the stages, then of the end.
    """

    data: Data
    point: Point
    expansion: Expansion
    system: System
    factor: Factor
    step: Step
    correction: Step
    saved: Point
    watch: Point
    work: Work
    progress: NDArray[np.void]
    names: tuple[str, ...]
    states: tuple[str, ...]

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """N, nx, nu, nr."""
        data = self.data
        return len(data.times), len(data.group), len(data.held), len(data.path_rows)

    def trajectory(self) -> tuple[Array, Array]:
        """States (N+1, nx) and controls (N, nu)."""
        return self._split(self.point.v)

    def _split(self, v: Array) -> tuple[Array, Array]:
        steps, nx, nu, _ = self.sizes
        stages = v[: steps * (nx + nu)].reshape(steps, nx + nu)
        last = v[steps * (nx + nu) : steps * (nx + nu) + nx]
        return np.vstack([stages[:, :nx], last]), stages[:, nx:].copy()

    def row_name(self, row: int) -> str:
        """What to call a residual, with its step."""
        steps, nx, _, nr = self.sizes
        rows = len(self.data.kind)
        if row >= rows:
            step, state = divmod(row - rows, nx)
            return f"dynamics of {self.states[state]!r} at step {step}"
        if row >= steps * nr:
            return f"{self.names[nr + row - steps * nr]!r} at the end"
        step, which = divmod(row, nr)
        return f"{self.names[which]!r} at step {step}"

    def multipliers(self, augmentation: Augmentation) -> dict[str, Array]:
        """Costates and multipliers by kind, in the problem's own units; positive ones press on upper limits."""
        steps, nx, _, nr = self.sizes
        data, point = self.data, self.point
        rows, old = len(data.kind), augmentation.original.nx
        scale = data.cost_scale[0]
        y = point.m[:rows] * data.row_scale / scale
        costates = point.m[rows:].reshape(steps, nx) / scale
        zx, zu = self._split(point.zu - point.zl)
        model = augmentation.original.model
        ends = np.cumsum([len(model.terminal), len(model.boundary), len(model.integral)])
        kinds = ("terminal", "boundary", "integral", "path_end")
        return {
            "costates": np.vstack([self._first_costate(zx[0]), costates])[:, :old],
            "path": y[: steps * nr].reshape(steps, nr),
            **dict(zip(kinds, np.split(y[steps * nr :], ends), strict=True)),
            "state_bounds": zx[:, :old] / scale,
            "control_bounds": zu / scale,
        }

    def _first_costate(self, bounds: Array) -> Array:
        """The change of the cost with the initial state: what the Lagrangian's gradient leaves, as no gap is before."""
        _, nx, nu, nr = self.sizes
        width = nx + nu
        F = self.expansion.F[: nx * width].reshape(nx, width)[:, :nx]
        C = self.expansion.C[: nr * width].reshape(nr, width)[:, :nx]
        rows = len(self.data.kind)
        gradient = self.expansion.g[:nx] + self.point.m[rows : rows + nx] @ F + self.point.m[:nr] @ C + bounds
        return gradient / self.data.cost_scale[0]


def pose(augmentation: Augmentation, stages: Stages, guess: Trajectory, relaxation: float, mu: float) -> Instance:
    """Arrays for a problem, at the guess moved inside its bounds.

    ``relaxation`` is the most by which a limit may be relaxed, ``mu`` the first barrier parameter.
    """
    problem = augmentation.problem
    steps, nx, nu = problem.horizon.steps, problem.nx, problem.nu
    n = steps * (nx + nu) + nx
    group, start = _initial_state(augmentation, guess)
    x, u = guess.x.copy(), guess.held()
    x[0] = start
    path_rows, end_rows, names, limits = _rows(augmentation, stages)
    nr, ne = len(path_rows), len(end_rows)
    rows = steps * nr + ne
    kind = np.where(limits[0] == limits[1], EQUALITY, np.where(np.isfinite(limits).any(axis=0), INEQUALITY, UNUSED))
    lower, upper = _bounds(augmentation, group, n + rows, steps)
    _relax(lower, upper, relaxation)
    data = Data(
        Functions(*(stages.code.address(name) for name in Functions._fields)),
        np.ascontiguousarray(np.column_stack([guess.t[:-1], np.diff(guess.t)])),
        np.array([guess.t[-1], guess.t[-1] - guess.t[-2]]),
        problem.layout.pack(problem.parameters),
        path_rows, end_rows, kind, np.zeros(rows), np.ones(rows), group,
        (problem.control_bounds[0] == problem.control_bounds[1]).astype(np.int64),
        lower, upper, np.ones(1), np.zeros(2), np.zeros(n), np.ones(n),
    )  # fmt: skip
    instance = _allocate(data, stages, n + rows, rows + steps * nx, names, problem.dynamics.states)
    _place(instance, augmentation, x, u)
    _drop_settled_rows(instance, problem, stages, limits, 2.0 * relaxation)
    _scale(instance)
    _set_limits(instance, limits, relaxation)
    _start_slacks(instance)
    instance.progress[0]["mu"] = mu
    instance.progress[0]["step"] = np.nan
    return instance


def _place(instance: Instance, augmentation: Augmentation, x: Array, u: Array) -> None:
    """Put states (N+1, nx) and controls (N, nu) into the variables, inside their bounds."""
    steps, nx, nu, _ = instance.sizes
    data, v, n = instance.data, instance.point.v, len(instance.data.reference)
    v[:n] = np.concatenate([np.hstack([x[:-1], u]).ravel(), x[-1]])
    v[:n] = _inside(v[:n], data.lower[:n], data.upper[:n])
    held = data.held == 1
    v[: n - nx].reshape(steps, nx + nu)[:, nx:][:, held] = augmentation.problem.control_bounds[0][held]
    for copy, state in augmentation.ties:
        v[copy] = v[state]


def soften(hard: Instance) -> Instance:
    """Room for the soft problem of feasibility restoration; derivatives, system and factors are shared."""
    old = hard.data
    count = len(hard.point.m)
    more = np.zeros(2 * count)
    n = len(old.reference)
    data = old._replace(
        lower=np.concatenate([old.lower, more]),
        upper=np.concatenate([old.upper, np.full(2 * count, np.inf)]),
        cost_scale=np.zeros(1),
        elastic=np.ones(2),
        reference=np.zeros(n),
        measure=np.ones(n),
    )
    size = len(data.lower)
    point, step, correction, saved, watch = _vectors(size, count)
    work = hard.work._replace(
        trial=np.zeros(size),
        trial_r=np.zeros(count),
        correction_r=np.zeros(count),
        filter=np.zeros_like(hard.work.filter),
    )
    progress = np.zeros(1, PROGRESS)
    return replace(
        hard, data=data, point=point, step=step, correction=correction, saved=saved, watch=watch, work=work,
        progress=progress,
    )  # fmt: skip


def _vectors(size: int, count: int) -> tuple[Point, Step, Step, Point, Point]:
    """A point, two steps and two more points."""

    def step() -> Step:
        return Step(np.zeros(size), np.zeros(count), np.zeros(size), np.zeros(size))

    def point() -> Point:
        return Point(np.zeros(size), np.zeros(count), np.zeros(size), np.zeros(size), np.zeros(count))

    return point(), step(), step(), point(), point()


def _allocate(
    data: Data, stages: Stages, size: int, count: int, names: tuple[str, ...], states: tuple[str, ...]
) -> Instance:
    steps, nx, nu, nr = len(data.times), len(data.group), len(data.held), len(data.path_rows)
    nz, n, ne = nx + nu, len(data.reference), len(data.end_rows)
    point, step, correction, saved, watch = _vectors(size, count)
    expansion = Expansion(
        np.zeros(steps * nx * nz), np.zeros(n), np.zeros(steps * nz * nz + nx * nx), np.zeros(steps * nr * nz + ne * nx)
    )
    system = System(np.zeros(n), np.zeros(n), np.zeros(n), *(np.zeros(count) for _ in range(4)))
    factor = Factor(
        np.zeros((steps, nu, nx)), np.zeros((steps, nu, nu)), np.zeros((steps + 1, nx, nx)), np.zeros((nx, nx))
    )
    work = make_work(steps, nx, nu, len(stages.path_names), len(stages.end_names), size, count)
    progress = np.zeros(1, PROGRESS)
    return Instance(
        data, point, expansion, system, factor, step, correction, saved, watch, work, progress, names, states
    )


def _initial_state(augmentation: Augmentation, guess: Trajectory) -> tuple[NDArray[np.int64], Array]:
    """Groups of entries that move as one, and the first initial state."""
    values = augmentation.problem.initial_values
    group = np.where(np.isnan(values), 0, FIXED)
    tied = dict(augmentation.ties)
    count = 0
    for i in range(len(group)):
        if group[i] != FIXED:
            group[i] = group[tied[i]] if i in tied else count  # a copy stands behind its original
            count += i not in tied
    return group.astype(np.int64), np.where(np.isnan(values), guess.x[0], values)


def _rows(
    augmentation: Augmentation, stages: Stages
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...], Array]:
    """Rows of the compiled functions that are rows here, their names, and the limits (2, M) of all of them.

    State bounds are bounds of variables here, but where they leave no width, which a barrier could not bear.
    """
    problem = augmentation.problem
    path_lower, path_upper, end_lower, end_upper = stages.limits(problem)
    general = len(problem.model.path)
    moving = np.array([state not in augmentation.constants for state in stages.bounded], bool)
    pinned = path_lower[general:] == path_upper[general:]
    chosen = np.concatenate([np.ones(general, bool), pinned & moving])
    path_rows = np.flatnonzero(chosen).astype(np.int64)
    terminal = len(problem.model.terminal)
    repeated = np.array([chosen[row] for row in stages.repeated], bool)
    end_rows = np.flatnonzero(np.concatenate([np.ones(terminal, bool), repeated])).astype(np.int64)
    names = tuple(stages.path_names[row] for row in path_rows) + tuple(stages.end_names[row] for row in end_rows)
    steps = problem.horizon.steps
    limits = np.stack(
        [
            np.concatenate([np.tile(path[path_rows], steps), end[end_rows]])
            for path, end in ((path_lower, end_lower), (path_upper, end_upper))
        ]
    )
    return path_rows, end_rows, names, limits


def _bounds(augmentation: Augmentation, group: NDArray, size: int, steps: int) -> tuple[Array, Array]:
    """Bounds of all variables; slacks get theirs later."""
    problem = augmentation.problem
    nx, nz = problem.nx, problem.nx + problem.nu
    sides, aimed = [], _aimed_at(problem)
    for side, infinite in ((0, -np.inf), (1, np.inf)):
        state, control = problem.state_bounds[side].copy(), problem.control_bounds[side].copy()
        state[problem.state_bounds[0] == problem.state_bounds[1]] = infinite
        control[problem.control_bounds[0] == problem.control_bounds[1]] = infinite
        first = np.where(group == FIXED, infinite, state)
        state[list(augmentation.constants)] = infinite  # they hold at the start, hence everywhere
        bound = np.full(size, infinite)
        bound[: steps * nz] = np.tile(np.concatenate([state, control]), steps)
        state[aimed] = infinite  # the target says it already, and leaves a barrier no room
        bound[steps * nz : steps * nz + nx] = state
        bound[:nx] = first
        sides.append(bound)
    return sides[0], sides[1]


def _aimed_at(problem: Problem) -> list[int]:
    """States of which a terminal constraint prescribes the final value, within their bounds."""
    rows, (lower, upper) = problem.model.terminal, problem.state_bounds
    pairs = problem.model.__dict__.setdefault("_terminal_states", None)
    if pairs is None:  # kept with the model, for comparing expressions takes longer than an iteration
        x = problem.model.x
        pairs = [
            (row, state)
            for row in range(len(rows))
            for state in range(problem.nx)
            if ca.is_equal(rows.expression[row], x[state])
        ]
        problem.model.__dict__["_terminal_states"] = pairs
    return [
        state
        for row, state in pairs
        if rows.lower[row] == rows.upper[row] and lower[state] <= rows.lower[row] <= upper[state]
    ]


def _relax(lower: Array, upper: Array, most: float) -> None:
    """Move limits outwards, in place."""
    for limit, sign in ((lower, -1.0), (upper, 1.0)):
        finite = np.isfinite(limit)
        limit[finite] += sign * np.minimum(RELAXATION * np.maximum(1.0, np.abs(limit[finite])), most)


def _inside(values: Array, lower: Array, upper: Array) -> Array:
    """Values moved off their bounds (section 3.6 of Waechter and Biegler)."""
    room = PUSH * (upper - lower)
    at_low, at_high = np.isfinite(lower), np.isfinite(upper)
    low, high = lower.copy(), upper.copy()
    low[at_low] += np.minimum(PUSH * np.maximum(1.0, np.abs(lower)), room)[at_low]
    high[at_high] -= np.minimum(PUSH * np.maximum(1.0, np.abs(upper)), room)[at_high]
    return np.clip(values, low, high)


def _drop_settled_rows(instance: Instance, problem: Problem, stages: Stages, limits: Array, tolerance: float) -> None:
    """Leave out rows that only see a fixed initial state and hold there: nothing can move them."""
    data, model = instance.data, problem.model
    if (data.group != FIXED).any() or not len(data.path_rows):
        return
    nx, nu = len(data.group), len(data.held)
    v = instance.point.v
    values = stages.code.evaluate("path", v[:nx], v[nx : nx + nu], data.times[0], data.parameters)[0].ravel()
    kept = problem.model.__dict__
    if "_uncontrolled" not in kept:
        rows = range(len(model.path))
        kept["_uncontrolled"] = [not ca.depends_on(model.path.expression[row], model.u) for row in rows]
    for place, row in enumerate(data.path_rows):
        settled = row >= len(model.path) or kept["_uncontrolled"][row]
        if settled and limits[0, place] - tolerance <= values[row] <= limits[1, place] + tolerance:
            data.kind[place] = UNUSED


def _scale(instance: Instance) -> None:
    """Scale cost and rows so that no gradient at the first point exceeds `STEEPEST`."""
    data, expansion = instance.data, instance.expansion
    expand(data, instance.point, expansion, instance.work)
    steps, nx, nu, nr = instance.sizes
    split = steps * nr * (nx + nu)
    stage_rows = np.abs(expansion.C[:split].reshape(steps * nr, nx + nu))
    end_rows = np.abs(expansion.C[split:].reshape(len(data.end_rows), nx))
    steepest = np.concatenate([stage_rows.max(axis=1, initial=0.0), end_rows.max(axis=1, initial=0.0)])
    for scale, largest in ((data.row_scale, steepest), (data.cost_scale, np.abs(expansion.g).max(keepdims=True))):
        with np.errstate(divide="ignore", invalid="ignore"):
            wanted = np.maximum(LEAST_SCALE, np.minimum(1.0, STEEPEST / largest))
        scale[:] = np.where(np.isfinite(wanted), wanted, 1.0)


def _set_limits(instance: Instance, limits: Array, relaxation: float) -> None:
    """Targets of equalities, and bounds of the slacks of inequalities, relaxed in the problem's unit."""
    data, n = instance.data, len(instance.data.reference)
    equal, slack = data.kind == EQUALITY, data.kind == INEQUALITY
    data.target[equal] = limits[0, equal] * data.row_scale[equal]
    lower, upper = limits[0].copy(), limits[1].copy()
    _relax(lower, upper, relaxation)
    rows = slice(n, n + len(data.kind))
    data.lower[rows] = np.where(slack, lower * data.row_scale, -np.inf)
    data.upper[rows] = np.where(slack, upper * data.row_scale, np.inf)


def _start_slacks(instance: Instance) -> None:
    """Slacks at the values of their rows, moved inside; multipliers of bounds at one."""
    data, point = instance.data, instance.point
    n, rows = len(data.reference), len(data.kind)
    slack = data.kind == INEQUALITY
    evaluate(data, point.v, point.r, instance.work)
    values = np.where(slack & np.isfinite(point.r[:rows]), point.r[:rows], 0.0)
    point.v[n : n + rows] = np.where(slack, _inside(values, data.lower[n : n + rows], data.upper[n : n + rows]), 0.0)
    point.zl[:] = np.isfinite(data.lower)
    point.zu[:] = np.isfinite(data.upper)
