"""What the direct methods share: settings, and the road from a problem through a nonlinear program and its solver.

Direct: first discretise, then optimise. The methods differ in what they make of an interval (`IntervalScheme`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import TRACED, Claim, Outcome, Solver
from trajopt.solvers.nlp_plugins import find_plugin
from trajopt.solvers.nonlinear_program import NonlinearResult, solve_program
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation import DirectProgram, compile_problem, pose
from trajopt.transcription.collocation_reading import read_trajectory
from trajopt.transcription.held_steps import HeldSteps
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.interval import IntervalScheme
from trajopt.transcription.multipliers import read_multipliers
from trajopt.transcription.nlp import Instance
from trajopt.validation import check, check_choice, check_positive, check_whole


@dataclass(frozen=True)
class DirectMethod(Solver, ABC):
    """A transcription whose program a nonlinear-programming solver inside CasADi solves, IPOPT by default.

    It handles every kind of constraint and of unknown.

    Parameters
    ----------
    nlp
        The solver of the nonlinear program, by its name in CasADi: "ipopt"; "fatrop" for problems of plain stages; the
        active-set methods "uno", "sleqp" and "sqpmethod". All but IPOPT and "uno" are best where the guess is good.
    tolerance
        Largest violation and stationarity at the solution, as that solver measures them on the scaled program.
    iterations
        At most.
    scaling
        "auto" measures states, controls and time by their bounds, else by the guess and its slopes, so that the choice
        of units hardly matters; None leaves them alone.
    options
        More options of that solver's own, by their names in its manual, for example ``{"mu_strategy": "adaptive"}``.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    nlp: str = field(default="ipopt", kw_only=True)
    tolerance: float = field(default=1e-8, kw_only=True)
    iterations: int = field(default=3000, kw_only=True)
    scaling: Literal["auto"] | None = field(default="auto", kw_only=True)
    options: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    handles: ClassVar[frozenset[Feature]] = TRACED
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY, Claim.ONE_STEP})

    def __post_init__(self) -> None:
        find_plugin(self.nlp)
        check_positive(self.tolerance, "tolerance")
        check_whole(self.iterations, "iterations", 0)
        check(self.scaling, "scaling", "'auto' or None", self.scaling is None or self.scaling == "auto")
        if not isinstance(self.options, Mapping) or not all(isinstance(key, str) for key in self.options):
            raise InvalidProblem(
                f"options={self.options!r} was given, but a dictionary of names and values was expected; write for "
                'example {"mu_strategy": "adaptive"}.'
            )

    @abstractmethod
    def interval_scheme(self) -> IntervalScheme:
        """What the method makes of an interval of continuous time; discrete dynamics are taken as they are."""

    def transcribe(self, problem: Problem, guess: Trajectory) -> tuple[DirectProgram, Instance]:
        """Return the compiled structure, and the numbers of this solve."""
        structure = compile_problem(problem, self.interval_scheme())
        return structure, pose(structure, problem, guess, scaled=self.scaling == "auto")

    def minimise(self, instance: Instance, monitor: Monitor, **options: Any) -> NonlinearResult:
        """Solve a program with the method's settings; the user's options come after ``options``."""
        return solve_program(
            instance,
            monitor,
            find_plugin(self.nlp),
            tolerance=self.tolerance,
            iterations=self.iterations,
            options=options | dict(self.options),
        )


@dataclass(frozen=True)
class ShootingMethod(DirectMethod, ABC):
    """A direct method whose intervals are Runge-Kutta steps under a held control.

    Parameters
    ----------
    integrator
        "rk4", "rk3", "midpoint" or "euler": how continuous dynamics and costs advance.
    substeps
        Steps of it in each interval of the horizon; more for stiff dynamics.
    tolerance, iterations, scaling, options
        As in every `DirectMethod`.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    integrator: str = field(default="rk4", kw_only=True)
    substeps: int = field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.integrator, "integrator", INTEGRATORS)
        check_whole(self.substeps, "substeps", 1)

    def interval_scheme(self) -> HeldSteps:
        """Return the steps of an interval."""
        return HeldSteps(INTEGRATORS[self.integrator], self.substeps)


def read_outcome(
    structure: DirectProgram, problem: Problem, guess: Trajectory, instance: Instance, result: NonlinearResult
) -> Outcome:
    """Return the result as a trajectory with costates and multipliers; the guess in place of one that is not finite."""
    trajectory = read_trajectory(structure, problem, instance, result.w)
    finite = np.isfinite(trajectory.x).all() and np.isfinite(trajectory.u).all()
    return Outcome(
        status=result.status,
        trajectory=trajectory if finite else guess,
        cost=result.cost,
        iterations=result.iterations,
        detail=result.detail,
        multipliers=read_multipliers(
            structure,
            problem.initial_values,
            trajectory,
            result.row_multipliers,
            result.bound_multipliers,
            result.element_gradients,
        ),
        transcription=structure.scheme,
    )
