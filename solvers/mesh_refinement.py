"""Solve, certify, refine, and solve again from there, until the certificate meets a tolerance.

What is asked for: defect, cost error and violation of the certificate within the tolerance, and the gap, what the
control gives away between its nodes, within the tolerance times the cost. The gap is an estimate that errs on the large
side at switches; where two finer meshes change the cost by less than a tenth of what is allowed, it is not waited for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.certificate import Certificate, certify
from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.solver import Outcome
from trajopt.solvers.direct import read_outcome
from trajopt.status import Status
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation import compile_on, compile_problem, pose
from trajopt.transcription.mesh import Mesh
from trajopt.transcription.refinement import refine

if TYPE_CHECKING:
    from trajopt.solvers.collocation import Collocation

Array = NDArray[np.float64]

_LARGEST = 1e6
"""Errors beyond this many tolerances, and those of failed integrations, say no more than that."""

_SETTLED = 0.1
"""Part of the tolerance below which a change of the cost from mesh to mesh counts as none."""

_ENDINGS = frozenset({Status.TIME_LIMIT, Status.INTERRUPTED, Status.STOPPED})
"""How a user ends a solve; the best so far is then returned under that status."""


@dataclass(frozen=True, eq=False)
class _Round:
    """A solved mesh and its certificate."""

    mesh: Mesh
    outcome: Outcome
    certificate: Certificate


def solve_with_refinement(solver: Collocation, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
    """Refine the mesh of a collocation method from the problem's own uniform knots on.

    The iterations of all rounds are reported to the monitor, one after the other. A round that the solver of the
    nonlinear program does not finish ends the refinement, and the last finished one is returned under an honest status.
    """
    assert solver.mesh_tolerance is not None
    tolerance, iterations = solver.mesh_tolerance, 0
    mesh = Mesh.uniform(problem.horizon.steps, solver.interval_scheme())
    last: _Round | None = None
    costs: list[float] = []
    for number in range(solver.mesh_rounds + 1):
        structure = compile_problem(problem, solver.interval_scheme()) if number == 0 else compile_on(problem, mesh)
        instance = pose(structure, problem, guess, scaled=solver.scaling == "auto")
        found = read_outcome(structure, problem, guess, instance, solver.minimise(instance, monitor))
        iterations += found.iterations
        if found.status is not Status.SOLVED:
            return _give_up(last, found, iterations, number)
        costs.append(found.cost)
        change = float(np.ptp(costs[-3:])) if len(costs) > 2 else math.inf
        last = _Round(
            mesh, replace(found, iterations=iterations, transcription=mesh), _certify(problem, solver, found, tolerance)
        )
        if _shortfall(last.certificate, tolerance, change) <= 1.0:
            return _report(last, Status.SOLVED, number, "")
        mesh = refine(mesh, found.trajectory, _errors(problem, last, tolerance), problem.control_bounds)
        if _points(mesh) > solver.mesh_points:
            return _report(last, Status.ITERATION_LIMIT, number, f"the limit of {solver.mesh_points} points came first")
        guess = found.trajectory.subdivide(mesh.knots(found.trajectory.t[0], np.ptp(found.trajectory.t)))
    assert last is not None
    limit = f"the limit of {solver.mesh_rounds} rounds came first"
    return _report(last, Status.ITERATION_LIMIT, solver.mesh_rounds, limit)


def _certify(problem: Problem, solver: Collocation, outcome: Outcome, tolerance: float) -> Certificate:
    solution = Solution(problem, str(solver), outcome.status, outcome.trajectory, outcome.cost, outcome.iterations)
    return certify(solution, tolerance=tolerance)


def _shortfall(certificate: Certificate, tolerance: float, change: float) -> float:
    """How far the certificate is from what is asked for: at most 1 is enough."""
    scale = max(abs(certificate.cost), tolerance)
    # NaN where there are no derivatives, which asks for nothing.
    gap = 0.0 if math.isnan(certificate.gap) or change <= _SETTLED * tolerance * scale else certificate.gap / scale
    return max(certificate.defect, certificate.cost_error, certificate.violation, gap) / tolerance


def _errors(problem: Problem, last: _Round, tolerance: float) -> Array:
    """(N,) errors of the intervals over the tolerance."""
    certificate = last.certificate
    errors = np.maximum(np.nan_to_num(certificate.defects, nan=np.inf), _violations(problem, last))
    # A constraint that is violated beyond the tolerance is not taken for active, and then the costates are wrong.
    if certificate.gaps.size and certificate.violation <= tolerance:
        errors = np.maximum(errors, certificate.gaps / max(abs(certificate.cost), tolerance))
    return np.minimum(errors / tolerance, _LARGEST)


def _violations(problem: Problem, last: _Round) -> Array:
    """(N,) largest scaled violation of state bounds and path constraints on each interval, as re-integrated."""
    found, trajectory = last.certificate, last.outcome.trajectory
    model, steps = problem.model, trajectory.steps
    parameters = problem.layout.pack({**(problem.parameters or {}), **trajectory.parameters})
    path = ca.Function("path", [model.x, model.u, model.t, model.p], [model.path.expression])
    rows = path.map(len(found.t))(found.x.T, found.u.T, found.t[None, :], np.tile(parameters[:, None], len(found.t)))
    values = np.hstack([found.x, rows.full().T])
    lower = np.concatenate([problem.state_bounds[0], model.path.lower])
    upper = np.concatenate([problem.state_bounds[1], model.path.upper])
    with np.errstate(invalid="ignore"):
        beyond = [(lower - values) / np.maximum(1.0, np.abs(lower)), (values - upper) / np.maximum(1.0, np.abs(upper))]
    beyond = np.where(np.isfinite(beyond), beyond, 0.0)
    return np.max(beyond, axis=(0, 2), initial=0.0).reshape(steps, -1).max(axis=1)


def _points(mesh: Mesh) -> int:
    """Collocation points, knots between neighbours counted once."""
    return sum(1 + scheme.inner_points for scheme in mesh.schemes)


def _report(last: _Round, status: Status, number: int, limit: str) -> Outcome:
    """The outcome of the last round, with what was reached."""
    found = last.certificate
    reached = f"defect {found.defect:.1e}, cost error {found.cost_error:.1e}, gap {found.gap:.1e}"
    detail = (
        f"{last.outcome.detail} Mesh after {number} refinements: {last.mesh.steps} intervals, {_points(last.mesh)} "
    )
    ending = f"points, {reached}; {limit}." if limit else f"points, {reached}."
    return replace(last.outcome, status=status, detail=detail + ending)


def _give_up(last: _Round | None, found: Outcome, iterations: int, number: int) -> Outcome:
    """What is returned when a round fails: it, if it was the first one, else the one before."""
    if last is None:
        return found
    status = found.status if found.status in _ENDINGS else Status.STALLED
    limit = f"then the refined problem ended with status {found.status}"
    return replace(_report(last, status, number - 1, limit), iterations=iterations)
