r"""Pontryagin's minimum principle: first optimise, then discretise.

An optimal control minimises the Hamiltonian H = L + lambda' f at every time, where state and costate obey

    x' = H_lambda,   lambda' = -H_x,

with transversality conditions at both ends. From the traced functions, H, the costate equations and the law
u(x, lambda) are derived symbolically, arc by arc (`trajopt.transcription.arcs`: closed form where H is quadratic in u;
at a bound or singular where it is linear; the control as a further state otherwise; limits on states by their
derivatives). What is left is a boundary-value problem for x, lambda, switching times, free times, parameters and
multipliers (`trajopt.transcription.boundary_value`), solved by collocation or by multiple shooting with a damped Newton
method (`trajopt.solvers.indirect_methods`), to ten digits where direct methods give four to eight.

The order of the arcs, the structure, is given by the user or read from the guess, ideally the answer of a direct
solver. Where H is strictly convex in a control with bounds and the guess says nothing, the law is first clipped at the
bounds, which minimises H for a diagonal H_uu, and the structure is read from that solution. The principle is checked
afterwards: signs of H_u at bounds and of multipliers, Legendre's and Kelley's conditions, limits in between. A wrong
structure is told, with arc and time, and is no success.

The radius of convergence is small, costates have to be guessed (by least squares along the guess), and singular arcs of
higher order or chattering are beyond it: such problems are refused, or are for `Collocation`.

References: Bryson and Ho, Applied Optimal Control, 1975; Hartl, Sethi, Vickson, SIAM Review 37(2), 1995.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, final

import numpy as np

from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import TRACED, Claim, Outcome, Solver
from trajopt.solvers.indirect_answer import Answer, Reader, objections
from trajopt.solvers.indirect_ends import active_rows, corrected_rows
from trajopt.solvers.indirect_guess import first_guess
from trajopt.solvers.indirect_methods import Extremal, Shooting, collocate
from trajopt.solvers.indirect_structure import (
    Structure,
    detect,
    parse_structure,
    says_nothing,
    spread_evenly,
    without_short_arcs,
)
from trajopt.status import Status
from trajopt.trajectory import Trajectory
from trajopt.transcription.arcs import Kind, derive_arc, is_linear
from trajopt.transcription.boundary_value import BoundaryValueProblem, EndRow
from trajopt.transcription.hamiltonian import Hamiltonian
from trajopt.validation import check, check_choice, check_whole, is_number

_INTEGRATORS = ("DOP853", "RK45", "Radau", "LSODA")

_ROUNDS = 5
"""Changes of active end rows and of vanishing arcs, at most; each takes a new solve."""

_SKETCH = 1e-4
"""Tolerance of the clipped solve, whose kinks cost a fine mesh, and from which the structure alone is read."""


@final
@dataclass(frozen=True)
class Indirect(Solver):
    """Pontryagin's principle as a boundary-value problem: few unknowns and ten digits, from a good guess.

    ``solution.multipliers`` holds ``costates`` (N+1, nx), the derivative of the remaining cost by the state,
    ``hamiltonian`` (N+1,), ``switching_times``, densities ``control_bounds``, ``state_bounds`` and ``path`` at the
    knots, positive at an active upper limit, and ``terminal``, ``boundary``, ``integral``. A limit of order two or more
    acts with impulses at the ends of its arc besides its density. A jump of the control is returned as a ramp of 1e-7
    of the horizon.

    Parameters
    ----------
    method
        "collocation" (SciPy's `solve_bvp`) or "shooting" (multiple shooting).
    structure
        Arcs in order; each is a word, or a tuple of one word for each control: "lower", "upper", "interior",
        "singular", or the name of a state with a bound or of a path row (with " lower" or " upper" behind it where it
        has both) that this control keeps at its limit. None: read it from the guess.
    tolerance
        Residual of collocation, or Newton step of shooting, both relative.
    iterations
        Newton steps, at most.
    segments
        Of shooting, on each arc; more for unstable or long arcs.
    integrator
        Of shooting: a method of SciPy's `solve_ivp`, "DOP853", "RK45", "Radau" or "LSODA".

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    method: Literal["collocation", "shooting"] = "collocation"
    structure: Sequence[str | Sequence[str]] | None = None
    tolerance: float = 1e-10
    iterations: int = 200
    segments: int = 10
    integrator: str = "DOP853"

    handles: ClassVar[frozenset[Feature]] = TRACED - {Feature.DISCRETE_TIME}
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY})
    preference: ClassVar[int] = -10

    def __post_init__(self) -> None:
        check_choice(self.method, "method", ("collocation", "shooting"))
        possible = is_number(self.tolerance) and 1e-13 <= self.tolerance < 1.0
        check(self.tolerance, "tolerance", "a number from 1e-13 to 1", possible, "try 1e-10")
        check_whole(self.iterations, "iterations", 0)
        check_whole(self.segments, "segments", 1)
        check_choice(self.integrator, "integrator", _INTEGRATORS)
        if self.structure is not None and (isinstance(self.structure, str) or not isinstance(self.structure, Sequence)):
            raise InvalidProblem(
                f"structure={self.structure!r} was given, but a sequence of arcs was expected; write for example "
                "('upper', 'singular', 'lower')."
            )

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``.

        Raises
        ------
        UnsupportedProblem
            When the conditions do not determine a control, or its structure is needed and not known.
        InvalidProblem
            When the structure does not fit the problem.
        """
        linear = is_linear(Hamiltonian.of(problem.model))
        if self.structure is not None:
            return self._solve(problem, spread_evenly(parse_structure(self.structure, problem), guess), guess, monitor)
        if not says_nothing(problem, guess):
            return self._solve(problem, detect(problem, guess, linear), guess, monitor)
        if linear.any():
            names = [name for name, flat in zip(problem.dynamics.controls, linear, strict=True) if flat]
            raise UnsupportedProblem(
                f"Indirect was given a Hamiltonian that is linear in {', '.join(names)} and a guess that says nothing "
                "about it, but a structure was expected, such as ('upper', 'singular', 'lower'); give it, or the "
                "answer of Collocation() as guess."
            )
        bounded = np.isfinite(problem.control_bounds).any(axis=0)
        if not bounded.any():
            return self._solve(problem, self._single(problem, guess, bounded), guess, monitor)
        return self._clip_first(problem, guess, monitor, bounded, linear)

    def _single(self, problem: Problem, guess: Trajectory, clipped: Any) -> Structure:
        kinds = tuple(Kind.CLIPPED if clip else Kind.INTERIOR for clip in clipped)
        return spread_evenly([kinds], guess)

    def _clip_first(self, problem: Problem, guess: Trajectory, monitor: Monitor, bounded: Any, linear: Any) -> Outcome:
        """Read the structure from a rough solution under the clipped law."""
        try:
            sketch = self._attempt(
                problem, self._single(problem, guess, bounded), guess, monitor, active_rows(problem, guess, _SKETCH),
                max(_SKETCH, self.tolerance),
            )  # fmt: skip
        except UnsupportedProblem:  # no closed form to clip: perhaps the bounds are not active
            return self._solve(problem, self._single(problem, guess, 0 * bounded), guess, monitor)
        found, reader = sketch
        if found.status is not Status.SOLVED:
            answer = _answer(reader, guess)
            return _outcome(found, answer, found.iterations)
        answer = reader.answer()
        return self._solve(
            problem, detect(problem, answer.trajectory, linear), answer.trajectory, monitor, found.iterations
        )

    def _attempt(
        self, problem: Problem, structure: Structure, guess: Trajectory, monitor: Monitor, rows: tuple[EndRow, ...],
        tolerance: float,
    ) -> tuple[Extremal, Reader]:  # fmt: skip
        """Derive, compile, and solve once."""
        h = Hamiltonian.of(problem.model)
        names = problem.dynamics.controls
        kinds = {pattern: derive_arc(h, pattern, problem.control_bounds, names) for pattern in structure.patterns}
        bvp = BoundaryValueProblem(problem, h, [kinds[pattern] for pattern in structure.patterns], rows)
        start = first_guess(bvp, structure, guess)
        if self.method == "collocation":
            found = collocate(bvp, start, tolerance, self.iterations, monitor)
        else:
            shooting = Shooting(bvp, start, self.segments, self.integrator, tolerance)
            found = shooting.solve(self.iterations, monitor)
        return found, Reader(bvp, found)

    def _solve(
        self, problem: Problem, structure: Structure, guess: Trajectory, monitor: Monitor, before: int = 0
    ) -> Outcome:
        """Solve for a structure; change what its answer refutes, active rows and arcs that vanish; check."""
        rows, slack, iterations = active_rows(problem, guess, 1e-3), math.sqrt(self.tolerance), before
        for _ in range(_ROUNDS):
            found, reader = self._attempt(problem, structure, guess, monitor, rows, self.tolerance)
            iterations += found.iterations
            answer = _answer(reader, guess)
            least = slack * (reader.times[-1] - reader.times[0])
            shorter = None if self.structure is not None else without_short_arcs(structure, reader.times, least)
            if found.status not in (Status.SOLVED, Status.STALLED):
                break
            if shorter is not None:
                structure = shorter
                continue
            if found.status is Status.STALLED:
                break
            against = list(objections(reader, self.tolerance))
            better = corrected_rows(problem, answer.trajectory, rows, answer.multipliers, slack)
            if answer.multipliers == {} or set(better) == set(rows):
                return _outcome(found, answer, iterations, " ".join(against))
            rows = better
        else:
            return _outcome(found, answer, iterations, "No set of active rows at the ends has the right signs.")
        return _outcome(found, answer, iterations)


def _answer(reader: Reader, guess: Trajectory) -> Answer:
    """Read the answer, or keep the guess where an iterate is no trajectory."""
    answer = reader.answer() if np.all(np.diff(reader.times) > 0.0) else None
    if answer is None or not (np.isfinite(answer.trajectory.x).all() and np.isfinite(answer.trajectory.u).all()):
        return Answer(guess, math.nan, {})
    return answer


def _outcome(found: Extremal, answer: Answer, iterations: int, against: str = "") -> Outcome:
    """Return an outcome; a structure that something speaks against is no success."""
    status = Status.STALLED if found.status is Status.SOLVED and against else found.status
    detail = against or found.detail
    return Outcome(status, answer.trajectory, answer.cost, iterations, None, detail, answer.multipliers)
