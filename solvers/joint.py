"""Direct methods on several phases: one program, solved by whatever solves that of one phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from trajopt.errors import UnsupportedProblem
from trajopt.monitor import Monitor
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.problem import Feature, Problem
from trajopt.solver import TRACED, MultiPhaseOutcome, MultiPhaseSolver, Outcome
from trajopt.solvers.direct import DirectMethod, read_outcome
from trajopt.solvers.nlp_plugins import find_plugin
from trajopt.solvers.nonlinear_program import NonlinearResult
from trajopt.trajectory import Trajectory
from trajopt.transcription.black_box import own_errors
from trajopt.transcription.nlp import Instance
from trajopt.transcription.phases import JoinedProgram, compile_phases, pose_phases


class JointDirectMethod(DirectMethod, MultiPhaseSolver):
    """A direct method that treats several phases as one program, and takes black boxes that have derivatives."""

    handles: ClassVar[frozenset[Feature]] = TRACED | {Feature.BLACK_BOX}

    def missing(self, features: frozenset[Feature]) -> frozenset[Feature]:
        """What is not handled; beside a black box that is free parameters too, by which it has no derivatives."""
        absent = super().missing(features)
        return absent | (features & {Feature.FREE_PARAMETERS}) if Feature.BLACK_BOX in features else absent

    def rank(self, features: frozenset[Feature]) -> int:
        """Behind those that simulate, if there is a black box: nobody knows whether its derivatives are any good."""
        return -1 if Feature.BLACK_BOX in features else super().rank(features)

    def run_once(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Transcribe and solve on the problem's own knots; see `Solver.run`.

        Raises
        ------
        UnsupportedProblem
            When the dynamics are a black box, and the solver of the program needs more derivatives than they give.
        """
        self._check_black_box(problem.features)
        with own_errors():
            structure, instance = self.transcribe(problem, guess)
            return read_outcome(structure, problem, guess, instance, self.minimise(instance, monitor))

    def _check_black_box(self, features: frozenset[Feature]) -> None:
        if Feature.BLACK_BOX in features and not find_plugin(self.nlp).black_boxes:
            raise UnsupportedProblem(
                f"nlp={self.nlp!r} was given for black-box dynamics, but a solver that needs no derivative beside "
                "theirs was expected; take nlp='ipopt'."
            )

    def run_phases(
        self, problem: MultiPhaseProblem, guesses: Sequence[Trajectory], monitor: Monitor
    ) -> MultiPhaseOutcome:
        """Solve from ``guesses``; see `MultiPhaseSolver.run_phases`."""
        self._check_black_box(problem.features)
        with own_errors():
            structure = compile_phases(problem, self.interval_scheme())
            whole, parts = pose_phases(structure, problem, guesses, scaled=self.scaling == "auto")
            result = self.minimise(whole, monitor)
            outcomes = tuple(
                read_outcome(compiled, phase, guess, part, _part_of(structure, result, part, number))
                for number, (compiled, phase, guess, part) in enumerate(
                    zip(structure.phases, problem.joined, guesses, parts, strict=True)
                )
            )
        return MultiPhaseOutcome(outcomes, result.row_multipliers[structure.rows[-1]])


def _part_of(structure: JoinedProgram, result: NonlinearResult, part: Instance, number: int) -> NonlinearResult:
    """What the result says of one phase: as if its program had been solved alone."""
    place, rows = structure.places[number], structure.rows[number]
    w = result.w[place]
    counts = [program.gradients.n_out() - 1 for program in (compiled.program for compiled in structure.phases)]
    first = sum(counts[:number])
    return NonlinearResult(
        status=result.status,
        detail=result.detail,
        w=w,
        cost=float(part.program.functions["nlp"](part.scaling.apply(w), part.parameters)[0]),
        iterations=result.iterations,
        row_multipliers=result.row_multipliers[rows],
        bound_multipliers=np.asarray(result.bound_multipliers[place]),
        element_gradients=result.element_gradients[first : first + counts[number]],
    )
