"""The arrays of one solve by the interior-point method, and what they say in the problem's own words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trajopt.solvers.kernels.interior_space import (
    FIXED,
    PROGRESS,
    Data,
    Expansion,
    Factor,
    Point,
    Step,
    System,
    Work,
    make_work,
)
from trajopt.transcription.stages import Stages

Array = NDArray[np.float64]


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
        return self.split(self.point.v)

    def split(self, v: Array) -> tuple[Array, Array]:
        """States (N+1, nx) and controls (N, nu) in a vector over all variables."""
        steps, nx, nu, _ = self.sizes
        stages = v[: steps * (nx + nu)].reshape(steps, nx + nu)
        last = v[steps * (nx + nu) : steps * (nx + nu) + nx]
        return np.vstack([stages[:, :nx], last]), stages[:, nx:].copy()

    def place_states(self, x: Array, first: int) -> None:
        """Put values (N+1, ...) of the states from ``first`` on into the variables, but for a fixed initial state."""
        steps, nx, nu, _ = self.sizes
        n, last = steps * (nx + nu) + nx, first + x.shape[1]
        stages = self.point.v[: n - nx].reshape(steps, nx + nu)
        stages[1:, first:last], self.point.v[n - nx + first : n - nx + last] = x[1:-1], x[-1]
        stages[0, first:last] = np.where(self.data.group[first:last] == FIXED, stages[0, first:last], x[0])

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


def allocate(
    data: Data, stages: Stages, size: int, count: int, names: tuple[str, ...], states: tuple[str, ...]
) -> Instance:
    """Room for ``size`` variables and ``count`` residuals."""
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
