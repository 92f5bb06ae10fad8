"""A `Problem` as a decision process: at each step, which control of a grid to hold.

    state   (x, k): the problem's state, and the number of the step
    step    x+ by one step of an integrator with the control held, reward -(cost of the step), discount 1
    end     after the last step -(terminal cost), discount 0

so that the sum of rewards along a plan is minus the problem's own cost, as the integrator's quadrature values it.
Constraint rows that miss their limits by r add weight r^2 / 2 to the cost, as in the first iteration of the sampling
solvers, and states that stop being finite end with a reward of NaN, which no planner takes for the best.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION
from trajopt.validation import check_choice, check_positive, check_whole

Array = NDArray[np.float64]


def process_of(
    problem: Problem, controls: ArrayLike | None = None, *, hold: int = 1, integrator: str = "rk4", penalty: float = 1.0
) -> DecisionProcess:
    """Make a decision process that chooses among given controls at each step.

    Parameters
    ----------
    problem
        Traced, with fixed initial state, horizon and parameters.
    controls
        (A, nu) the controls to choose from; (A,) for a single control; None: the problem's `Choices`.
    hold
        Steps for which each choice is held; the last may be cut short.
    integrator
        A name in ``trajopt.transcription.integrators.INTEGRATORS``; discrete dynamics ignore it.
    penalty
        Weight of half the squared violations of constraint rows.

    Raises
    ------
    InvalidProblem
        When the controls have another size, are not finite or leave the problem's bounds.
    UnsupportedProblem
        When something of the problem is free, or its dynamics are not traced.
    """
    if not isinstance(problem, Problem):
        raise InvalidProblem(
            f"process_of got a {type(problem).__name__}, but a Problem was expected; make one with "
            "trajopt.Problem(...)."
        )
    missing = problem.features - SIMULATION - {Feature.DISCRETE_CONTROLS}
    if missing:
        raise UnsupportedProblem(
            f"the problem has {', '.join(sorted(map(str, missing)))}, which a process of single steps cannot hold; fix "
            "or replace them."
        )
    check_whole(hold, "hold", 1)
    check_positive(penalty, "penalty")
    # Compiling is loaded by who compiles.
    from trajopt.transcription.grid_step import make_rule  # noqa: PLC0415
    from trajopt.transcription.integrators import INTEGRATORS  # noqa: PLC0415
    from trajopt.transcription.stages import compile_stages  # noqa: PLC0415

    check_choice(integrator, "integrator", INTEGRATORS)
    grid = _grid(problem, controls)
    stages = compile_stages(problem, integrator, second_order=None)
    names = tuple(", ".join(f"{entry:g}" for entry in row) for row in grid)
    start = np.append(problem.initial_values, 0.0)
    name = f"{problem.name} over a grid" if problem.name else None
    return DecisionProcess(
        make_rule(problem, stages, grid, hold, penalty), start, len(grid), render=_render(problem), action_names=names,
        name=name,
    )  # fmt: skip


def _grid(problem: Problem, controls: ArrayLike | None) -> Array:
    """(A, nu) controls that the problem allows."""
    given = problem.choices if controls is None else controls
    if given is None:
        raise InvalidProblem(
            "process_of got no controls, but the problem has no Choices either; give the controls to choose from."
        )
    grid = np.array(given, float)
    grid = grid[:, None] if grid.ndim == 1 and problem.nu == 1 else grid
    if grid.ndim != 2 or grid.shape[1] != problem.nu or not len(grid) or not np.isfinite(grid).all():
        raise InvalidProblem(
            f"controls of shape {np.shape(given)} were given, but finite numbers of shape (A, {problem.nu}) were "
            "expected; give one row for each choice."
        )
    refused = np.flatnonzero((problem.admissible(grid) != grid).any(axis=1))
    if len(refused):
        raise InvalidProblem(
            f"the control {grid[refused[0]].tolist()} was given, but one that the problem's bounds or choices admit "
            "was expected; keep the grid inside of them."
        )
    return grid


def _render(problem: Problem) -> Any:
    names, steps = problem.dynamics.states, problem.horizon.steps

    def render(state: Array) -> str:
        values = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, state[:-1], strict=True))
        return f"step {int(state[-1])} of {steps}: {values}"

    return render
