"""A plan in a control loop: a solution that is followed, and from which the next one starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.solver import Memory
from trajopt.status import Status
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]

_ON_GRID = 1e-6
"""Part of an interval by which a clock may miss a knot: far above the rounding of sums of periods, far below a tick."""

USABLE = frozenset({Status.SOLVED, Status.ITERATION_LIMIT, Status.TIME_LIMIT, Status.STALLED})
"""Endings that leave a plan behind: the best so far. After the others there is none."""


def is_usable(plan: Solution) -> bool:
    """Whether a plan may reach a plant: the solve did not fail, and every number is finite."""
    numbers = (plan.x, plan.u, np.array(plan.cost))
    return plan.status in USABLE and all(bool(np.isfinite(values).all()) for values in numbers)


def control_law(plan: Solution, t: float, x: Array) -> Array:
    """Return the plan's control at ``t``, with its feedback on the deviation of ``x`` if it has gains: (nu,)."""
    trajectory = plan.trajectory
    k = int(trajectory.interval(t))
    h = trajectory.t[k + 1] - trajectory.t[k]
    if abs(trajectory.t[k + 1] - t) <= _ON_GRID * h and k + 1 < trajectory.steps:
        k, t = k + 1, trajectory.t[k + 1]  # rounding of the clock must not hold the control of the interval before
    control = trajectory.control(t)
    if plan.feedback is None:
        return control
    planned = trajectory.x[k] if abs(t - trajectory.t[k]) <= _ON_GRID * h else plan(t)[0]
    return control + plan.feedback[k] @ (x - planned)


def warm_start(plan: Solution, problem: Problem) -> Trajectory:
    """The plan moved to the horizon and the initial state of ``problem``, with its multipliers: the next guess.

    On the plan's own grid it is shifted by whole intervals, else interpolated; behind its end its last values are held.
    """
    knots, h = problem.horizon.knots(), _step(plan)
    shift = _advance(plan, problem)
    same = plan.steps == problem.horizon.steps and abs(knots[-1] - knots[0] - plan.steps * h) <= _ON_GRID * h
    if same and shift.is_integer() and 0 <= shift <= plan.steps:
        moved = plan.shift(int(shift))
    else:
        moved = replace(plan.trajectory, multipliers=plan.multipliers).resample(knots)
    x = moved.x.copy()
    x[0] = np.where(np.isnan(problem.initial_values), x[0], problem.initial_values)
    return replace(moved, t=knots, x=x)


def move_memory(memory: Memory, plan: Solution, problem: Problem) -> Memory | None:
    """What a solver remembers of ``plan``, moved to the horizon of ``problem``; None where that is out of its reach.

    Nothing is left where the clock went back, beyond the plan's end, or the steps have another length.
    """
    shift, h = _advance(plan, problem), _step(plan)
    steps = problem.horizon.steps
    knots = problem.horizon.knots()
    if not 0 <= shift < plan.steps or abs((knots[-1] - knots[0]) / steps - h) > _ON_GRID * h:
        return None
    return memory.shift(shift, steps)


def _step(plan: Solution) -> float:
    return float(plan.t[-1] - plan.t[0]) / plan.steps


def _advance(plan: Solution, problem: Problem) -> float:
    """Steps of the plan from its beginning to that of the problem, a whole number where rounding alone misses it."""
    shift = float(problem.horizon.knots()[0] - plan.t[0]) / _step(plan)
    return float(round(shift)) if abs(shift - round(shift)) <= _ON_GRID else shift
