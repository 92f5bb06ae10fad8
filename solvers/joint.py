"""Direct methods on several phases: one program, solved by whatever solves that of one phase."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trajopt.monitor import Monitor
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.solver import MultiPhaseOutcome, MultiPhaseSolver
from trajopt.solvers.direct import DirectMethod, read_outcome
from trajopt.solvers.nonlinear_program import NonlinearResult
from trajopt.trajectory import Trajectory
from trajopt.transcription.nlp import Instance
from trajopt.transcription.phases import JoinedProgram, compile_phases, pose_phases


class JointDirectMethod(DirectMethod, MultiPhaseSolver):
    """A direct method that treats several phases as one program."""

    def run_phases(
        self, problem: MultiPhaseProblem, guesses: Sequence[Trajectory], monitor: Monitor
    ) -> MultiPhaseOutcome:
        """Solve from ``guesses``; see `MultiPhaseSolver.run_phases`."""
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
