"""A problem and a guess as the arrays of the interior-point method."""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Problem
from trajopt.solvers.kernels.interior_instance import Instance, allocate
from trajopt.solvers.kernels.interior_space import EQUALITY, FIXED, INEQUALITY, UNUSED, Data
from trajopt.solvers.kernels.shooting import Functions
from trajopt.trajectory import Trajectory
from trajopt.transcription.augmentation import Augmentation
from trajopt.transcription.stages import Stages

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Outline:
    """What of the arrays no number of a guess, an initial state or a parameter changes.

    Attributes
    ----------
    path_rows, end_rows
        Rows of the compiled functions that are rows here.
    names
        Their names.
    limits
        (2, M) of all rows.
    settled
        (nr) whether no control enters a row, so that a fixed initial state decides it.
    kind, group, held
        As in `Data`.
    lower, upper
        Bounds of all variables, not relaxed; those of slacks are infinite yet.
    """

    path_rows: NDArray[np.int64]
    end_rows: NDArray[np.int64]
    names: tuple[str, ...]
    limits: Array
    settled: NDArray[np.bool_]
    kind: NDArray[np.int64]
    group: NDArray[np.int64]
    held: NDArray[np.int64]
    lower: Array
    upper: Array


def outline(augmentation: Augmentation, stages: Stages) -> Outline:
    """Make the outline, or take it from the model, which keeps one for any steps, free entries and bounds."""
    problem = augmentation.problem
    kept: dict[tuple[int | bytes, ...], Outline] = problem.model.__dict__.setdefault("_outlines", {})
    free = np.isnan(problem.initial_values)
    key = (problem.horizon.steps, free.tobytes(), problem.state_bounds.tobytes(), problem.control_bounds.tobytes())
    if key not in kept:
        kept[key] = _outline(augmentation, stages)
    return kept[key]


def _outline(augmentation: Augmentation, stages: Stages) -> Outline:
    problem = augmentation.problem
    steps, model = problem.horizon.steps, problem.model
    group = _group(augmentation)
    path_rows, end_rows, names, limits = _rows(augmentation, stages)
    finite = np.isfinite(limits).any(axis=0)
    kind = np.where(limits[0] == limits[1], EQUALITY, np.where(finite, INEQUALITY, UNUSED))
    size = steps * (problem.nx + problem.nu) + problem.nx + len(kind)
    settled = [row >= len(model.path) or not ca.depends_on(model.path.expression[row], model.u) for row in path_rows]
    held = (problem.control_bounds[0] == problem.control_bounds[1]).astype(np.int64)
    lower, upper = _bounds(augmentation, group, size)
    return Outline(
        path_rows, end_rows, names, limits, np.array(settled, bool), kind.astype(np.int64), group, held, lower, upper
    )


def pose(augmentation: Augmentation, stages: Stages, guess: Trajectory) -> tuple[Instance, Outline]:
    """Arrays for a problem, with the guess in the variables as it is."""
    problem, frame = augmentation.problem, outline(augmentation, stages)
    steps, nx, nu = problem.horizon.steps, problem.nx, problem.nu
    n, rows = steps * (nx + nu) + nx, len(frame.kind)
    lengths = np.diff(guess.t)
    times = np.empty((steps, 2))
    times[:, 0], times[:, 1] = guess.t[:-1], lengths
    data = Data(
        Functions(*(stages.code.address(name) for name in Functions._fields)),
        times, np.array([guess.t[-1], lengths[-1]]), problem.layout.pack(problem.parameters),
        frame.path_rows, frame.end_rows, frame.kind.copy(), np.zeros(rows), np.ones(rows), frame.group, frame.held,
        frame.lower.copy(), frame.upper.copy(), np.ones(1), np.zeros(2), np.zeros(n), np.ones(n),
    )  # fmt: skip
    instance = allocate(data, stages, n + rows, rows + steps * nx, frame.names, problem.dynamics.states)
    _place(instance, problem, guess)
    instance.progress[0]["step"] = np.nan
    return instance, frame


def _place(instance: Instance, problem: Problem, guess: Trajectory) -> None:
    """Put the guess into the variables; what is fixed has its own value."""
    steps, nx, nu, _ = instance.sizes
    n = len(instance.data.reference)
    stages, last = instance.point.v[: n - nx].reshape(steps, nx + nu), instance.point.v[n - nx : n]
    stages[:, :nx], stages[:, nx:], last[:] = guess.x[:-1], guess.held(), guess.x[-1]
    fixed = problem.initial_values
    stages[0, :nx] = np.where(np.isnan(fixed), guess.x[0], fixed)
    held = np.flatnonzero(instance.data.held)
    if len(held):
        stages[:, nx + held] = problem.control_bounds[0, held]


def _group(augmentation: Augmentation) -> NDArray[np.int64]:
    """Entries of the initial state that move as one have the same number, or are FIXED."""
    group = np.where(np.isnan(augmentation.problem.initial_values), 0, FIXED)
    tied = dict(augmentation.ties)
    count = 0
    for i in range(len(group)):
        if group[i] != FIXED:
            group[i] = group[tied[i]] if i in tied else count  # a copy stands behind its original
            count += i not in tied
    return group.astype(np.int64)


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


def _bounds(augmentation: Augmentation, group: NDArray[np.int64], size: int) -> tuple[Array, Array]:
    """Bounds of all variables; slacks get theirs later."""
    problem = augmentation.problem
    steps, nx, nz = problem.horizon.steps, problem.nx, problem.nx + problem.nu
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
    return [
        state
        for row in range(len(rows))
        for state in range(problem.nx)
        if rows.lower[row] == rows.upper[row]
        and lower[state] <= rows.lower[row] <= upper[state]
        and ca.is_equal(rows.expression[row], problem.model.x[state])
    ]
