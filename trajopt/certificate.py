"""The certificate: an answer checked by the core, from the user's own functions, and never by the solver.

`certify` integrates the dynamics again under the returned control, values the cost along that trajectory, measures
every constraint between the knots, and where derivatives exist recovers costates and multipliers and measures
stationarity. `trajopt.reintegration`, `trajopt.tracking`, `trajopt.violations`, `trajopt.stationarity` and
`trajopt.pontryagin` say how.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.optimality import Optimality, check_optimality
from trajopt.plain import PlainFunctions
from trajopt.problem import Problem
from trajopt.reintegration import Reintegration, reintegrate
from trajopt.sensitivity import Feedback
from trajopt.solution import Solution
from trajopt.tracking import Tracked, track
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.validation import is_number
from trajopt.violations import Measurement, Violation, evaluate_plainly, measure

Array = NDArray[np.float64]
_NAN = float("nan")

_UNDER_FEEDBACK = (
    "Judged under feedback: the plant amplifies deviations, so that the control alone drifts from the answer."
)


@final
@dataclass(frozen=True, eq=False)
class Certificate:
    """What an answer is worth.

    A quantity that could not be computed is NaN, or infinite where "how bad at most" is meant; nothing is raised.

    Attributes
    ----------
    findings
        One sentence for each reason why the answer did not pass; empty if it passed.
    remarks
        Sentences about what the numbers leave out; they do not count against the answer.
    tolerance
        What was asked for.
    cost
        True cost of the returned control, on the true dynamics, from the returned initial state.
    reported
        The solver's own number.
    cost_error
        |reported - cost| / max(|cost|, tolerance): digits, whatever the unit of the cost; a cost below the tolerance
        counts as zero.
    defect
        Largest local error of the dynamics: each interval integrated from the returned knot, compared with the next
        one, each state divided by max(1, its largest magnitude at the knots).
    defects
        (N,) the same for each interval.
    drift
        The same distance between one trajectory from the initial state to the end and the returned knots. An unstable
        plant amplifies defects: a large drift with small defects says that the answer needs feedback, and everything
        below is judged under feedback then.
    correction
        Largest change of the control by that feedback, in units of the width between its bounds, else of max(1, its
        largest magnitude); zero if the control alone was judged.
    violation
        Largest violation of any constraint on that trajectory, between knots too, divided by max(1, |limit|); zero if
        there is none.
    worst
        Every constraint with its worst time, worst first; negative amounts are margins.
    stationarity
        Scaled norm of the gradient of the Lagrangian; zero for an exact optimum of the same control parametrisation,
        and the truncation error for a solver that optimises its own discretisation. NaN without derivatives.
    costates
        (N+1, nx) derivative of the remaining cost by the state just after each knot, in cost per unit of state.
    multipliers
        By the names of the constraints' rows, as in ``worst``, a repeated name with " (2)" behind it; zero where
        inactive. (1,) for terminal, boundary and integral rows; (N+1,) for path rows and state bounds, the impulses
        lumped at the knots, whose sum is the integral over time; (nodes,) for control bounds. The Lagrangian is
        cost + multiplier * function.
    gap
        Estimated cost that the control gives away between its nodes. NaN without derivatives.
    gaps
        (N,) the same for each interval; empty without derivatives.
    error
        Estimate, not a bound, of |true cost - optimum| near this answer: |reported - cost| + gap + the sum of
        |multiplier| times violation or slack.
    t, x, u
        (M,), (M, nx), (M, nu) re-integrated trajectory; each knot twice, for the two sides of the control.
    seconds
        Wall time of the check.
    """

    findings: tuple[str, ...]
    tolerance: float
    cost: float
    reported: float
    cost_error: float
    defect: float
    defects: Array
    drift: float
    correction: float
    violation: float
    t: Array
    x: Array
    u: Array
    worst: tuple[Violation, ...] = ()
    stationarity: float = _NAN
    costates: Array = field(default_factory=lambda: np.zeros((0, 0)))
    multipliers: dict[str, Array] = field(default_factory=dict)
    gap: float = _NAN
    gaps: Array = field(default_factory=lambda: np.zeros(0))
    error: float = _NAN
    remarks: tuple[str, ...] = ()
    seconds: float = _NAN

    @property
    def passed(self) -> bool:
        """Whether there is no finding."""
        return not self.findings

    def __str__(self) -> str:
        worst = self.worst[0] if self.worst else None
        where = f"{worst.name} at t={worst.time:.4g}" if worst and worst.amount > 0.0 else ""
        rows = [
            ("cost", self.cost, f"reported {self.reported:.8g}"),
            ("cost error", self.cost_error, "relative"),
            ("defect", self.defect, "scaled, largest interval"),
            ("drift", self.drift, "scaled, end to end"),
            ("correction", self.correction, "of the control by feedback"),
            ("violation", self.violation, where),
            ("stationarity", self.stationarity, "scaled"),
            ("gap", self.gap, "between control nodes"),
            ("error", self.error, "estimate"),
        ]
        head = f"certificate {'passed' if self.passed else 'NOT PASSED'} at tolerance {self.tolerance:g}"
        table = [f"  {name:<13} {value:>14.8g}  {note}".rstrip() for name, value, note in rows]
        return "\n".join([head, *table, *(f"  - {finding}" for finding in self.findings)])


def certify(solution: Solution, *, tolerance: float = 1e-3) -> Certificate:
    """Check an answer.

    Parameters
    ----------
    solution
        Any solver's answer, with its problem.
    tolerance
        What defect, violation and relative cost error must not exceed, and the square of what stationarity and
        correction must not: the cost is flat at an optimum, so a gradient, or a change of the control, of
        sqrt(tolerance) costs about tolerance. The default stands
        for three digits, to which published optima are usually printed.

    Returns
    -------
    Certificate
        With ``passed`` and the reasons why not.

    Raises
    ------
    InvalidProblem
        When the solution has no problem, or the tolerance is not positive.
    """
    if solution.problem is None or not (is_number(tolerance) and tolerance > 0.0):
        raise InvalidProblem(
            f"certify got tolerance={tolerance!r} and a solution {'with' if solution.problem else 'without'} its "
            "problem, but a positive tolerance and a solution with its problem were expected; correct them."
        )
    begin = time.perf_counter()
    traced = retrace(solution.problem, solution.trajectory, tolerance)
    if isinstance(traced, str):
        return refuse(solution, tolerance, traced)
    problem, some = solution.problem, traced
    optimality = check_optimality(
        problem, some.trajectory, some.parameters, some.path, some.found, some.cost, tolerance, some.feedback
    )
    return replace(judge(solution, traced, optimality, tolerance), seconds=time.perf_counter() - begin)


@dataclass(frozen=True, eq=False)
class Retraced:
    """What the control of an answer really does, under feedback if need be: its re-integration, measured and valued."""

    trajectory: Trajectory
    parameters: Array
    path: Reintegration
    found: Measurement
    cost: float
    correction: float
    feedback: Feedback | None


def retrace(problem: Problem, trajectory: Trajectory, tolerance: float) -> Retraced | str:
    """Integrate, value and measure; where nothing can be integrated, a sentence that says why."""
    malformed = _malformed(problem, trajectory)
    if malformed:
        return malformed
    try:
        parameters = problem.layout.pack({**(problem.parameters or {}), **trajectory.parameters})
    except InvalidProblem as error:
        return f"The parameters of the answer do not fit: {error}"
    functions = PlainFunctions(problem, parameters)
    path = reintegrate(problem, trajectory, functions)
    tracked = _under_feedback(problem, trajectory, parameters, functions, path, tolerance)
    if tracked is not None:
        again = reintegrate(problem, tracked.trajectory, functions)
        trajectory, path = tracked.trajectory, replace(again, defects=path.defects, drift=path.drift)
    correction, feedback = (tracked.correction, tracked.feedback) if tracked is not None else (0.0, None)
    final = evaluate_plainly(functions.terminal_cost, 1, path.knots[-1], float(path.t[-1]))
    found = measure(problem, trajectory, functions, parameters, path)
    return Retraced(trajectory, parameters, path, found, float(path.running[0] + final[0]), correction, feedback)


def judge(
    solution: Solution, traced: Retraced, optimality: Optimality, tolerance: float, whole: float | None = None
) -> Certificate:
    """Collect the numbers, and say what is not within the tolerance.

    Parameters
    ----------
    solution, traced, optimality, tolerance
        What was found.
    whole
        Cost of all phases together, if this is one of them: errors of the cost are relative to it.
    """
    path, cost, trajectory = traced.path, traced.cost, traced.trajectory
    correction, feedback = traced.correction, traced.feedback
    worst, difference = traced.found.worst(), abs(solution.cost - cost)
    violation = max(0.0, worst[0].amount) if worst else 0.0
    size = abs(cost if whole is None else whole)
    numbers = {
        "cost_error": or_infinity(difference / max(size, tolerance)),
        "defect": or_infinity(float(path.defects.max())),
        "violation": np.inf if path.failure else violation,
    }
    remarks = (_UNDER_FEEDBACK,) if feedback else ()
    judged = numbers | {"correction": correction}
    reasons = _reasons(judged, optimality, path, trajectory, worst, solution.cost, cost, tolerance)
    return Certificate(
        findings=tuple(reasons),
        tolerance=tolerance,
        cost=cost,
        reported=solution.cost,
        defects=path.defects,
        drift=or_infinity(path.drift),
        correction=correction,
        t=path.t,
        x=path.x,
        u=path.u,
        worst=worst,
        stationarity=optimality.stationarity,
        costates=optimality.costates,
        multipliers=optimality.multipliers,
        gap=optimality.gap,
        gaps=optimality.gaps,
        error=difference + optimality.gap + optimality.priced,
        remarks=remarks + optimality.remarks,
        **numbers,
    )


def _under_feedback(
    problem: Problem, trajectory: Trajectory, parameters: Array, functions: PlainFunctions, path: Reintegration,
    tolerance: float,
) -> Tracked | None:  # fmt: skip
    """Follow the answer with feedback where it obeys the dynamics and its control alone leads astray nevertheless."""
    if not path.defects.max() <= tolerance or (path.drift <= tolerance and not path.failure):
        return None
    return track(problem, trajectory, parameters, functions, tolerance)


def or_infinity(number: float) -> float:
    """Put infinity in place of NaN: what could not be measured is as bad as can be."""
    return float("inf") if np.isnan(number) else float(number)


def _malformed(problem: Problem, trajectory: Trajectory) -> str:
    """Say why a trajectory cannot even be integrated, or ""."""
    n = trajectory.t.size - 1
    rows = n if trajectory.interpolation is Interpolation.HOLD else n + 1
    wanted = {"t": (n + 1,), "x": (n + 1, problem.nx), "u": (rows, problem.nu)}
    if trajectory.u_mid is not None:
        wanted["u_mid"] = (n, problem.nu)
    for name, shape in wanted.items():
        array = getattr(trajectory, name)
        if array.shape != shape or n < 1:
            return f"The trajectory has {name} of shape {array.shape} instead of {shape}."
        if not np.isfinite(array).all():
            return f"The trajectory has numbers in {name} that are not finite."
    if not (np.diff(trajectory.t) > 0.0).all():
        return "The times of the knots do not increase."
    if not problem.dynamics.continuous and not np.array_equal(np.diff(trajectory.t), np.ones(n)):
        return "The knots of discrete dynamics are not one step apart."
    return _malformed_pieces(problem, trajectory)


def _malformed_pieces(problem: Problem, trajectory: Trajectory) -> str:
    """The same of the polynomials between the knots, if there are to be any."""
    if trajectory.interpolation is not Interpolation.POLYNOMIAL:
        return ""
    found = trajectory.pieces
    if found is None or found.u.ndim != 3 or (len(found.u), found.u.shape[2]) != (trajectory.steps, problem.nu):
        return f"The trajectory has no polynomials of {problem.nu} controls on {trajectory.steps} intervals."
    return "" if np.isfinite(found.u).all() else "The trajectory has polynomials that are not finite."


def refuse(solution: Solution, tolerance: float, finding: str) -> Certificate:
    """Make a certificate without numbers."""
    nan, inf, nothing = float("nan"), float("inf"), np.zeros((0, 0))
    return Certificate(
        (finding,), tolerance, nan, solution.cost, inf, inf, np.zeros(0), inf, nan, inf, np.zeros(0), nothing, nothing
    )


def _reasons(
    numbers: dict[str, float], optimality: Optimality, path: Reintegration, trajectory: Trajectory,
    worst: tuple[Violation, ...], reported: float, cost: float, tolerance: float,
) -> Iterator[str]:  # fmt: skip
    """Write one sentence for everything that is not within the tolerance."""
    if path.failure:
        yield path.failure
        return
    if numbers["defect"] > tolerance:
        k = int(np.argmax(path.defects))
        span = f"{trajectory.t[k]:.4g} to {trajectory.t[k + 1]:.4g}"
        yield f"The states do not obey the dynamics: the defect is {numbers['defect']:.3g} in the interval t={span}."
    if numbers["cost_error"] > tolerance:
        direction = "less" if reported < cost else "more"
        yield f"The reported cost {reported:.8g} is {direction} than the true cost {cost:.8g} of the control."
    if numbers["correction"] > np.sqrt(tolerance):
        yield f"The control does not lead along the states: feedback changes it by {numbers['correction']:.3g}."
    beyond = [record for record in worst if record.amount > tolerance]
    for record in beyond[:1]:
        more = f" (and {len(beyond) - 1} others)" if len(beyond) > 1 else ""
        yield f"Constraint {record.name!r} is violated by {record.amount:.3g} at t={record.time:.4g}{more}."
    if optimality.stationarity > np.sqrt(tolerance):
        yield f"The control is not stationary: the scaled gradient of the Lagrangian is {optimality.stationarity:.3g}."
    for name in optimality.concave:
        yield f"The control {name!r} is no minimum: the Hamiltonian curves downwards in it where nothing holds it."
