"""``solution.explain()``: what happened, what is worst by name and time, and what to try, in plain sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator

from trajopt.certificate import Certificate
from trajopt.solution import Solution
from trajopt.status import Status
from trajopt.trajectory import Interpolation
from trajopt.violations import Violation

SHOWN = 3
"""Constraints listed: a cause and its neighbours; the certificate has them all."""

BY_STATUS = {
    Status.ITERATION_LIMIT: "Allow more iterations, or start from this solution: solve(problem, guess=solution).",
    Status.TIME_LIMIT: "Allow more time, or start from this solution: solve(problem, guess=solution).",
    Status.INTERRUPTED: "Continue from this solution: solve(problem, guess=solution).",
    Status.STOPPED: "Continue from this solution: solve(problem, guess=solution).",
    Status.STALLED: "Try another guess, another solver, or scale the states so that typical values are near one.",
    Status.DIVERGED: "Bound the controls and states, or check the sign of the cost: it may fall without limit.",
    Status.NUMERICAL_FAILURE: "Keep the states where the functions are finite, with bounds or another guess.",
}
"""What to try after a solve that ended so."""


def explain(solution: Solution) -> str:
    """Say what happened to a solution that has its problem.

    Parameters
    ----------
    solution
        Any solver's answer.

    Returns
    -------
    str
        Several lines: the status, the verdict of the certificate, the worst constraints, what to try.
    """
    certificate = solution.certificate
    lines = [solution.message]
    if certificate.passed:
        lines.append(f"The certificate confirms the answer at tolerance {certificate.tolerance:g}.")
    else:
        lines += ["The certificate does not confirm the answer:", *map("  - {}".format, certificate.findings)]
    if certificate.worst:
        lines += ["The constraints closest to their limits, or beyond:"]
        lines += [f"  - {describe(record)}" for record in certificate.worst[:SHOWN]]
    lines += certificate.remarks
    advice = list(dict.fromkeys(_advice(solution, certificate)))
    if advice:
        lines += ["What to try:", *(f"  - {sentence}" for sentence in advice)]
    return "\n".join(lines)


def describe(record: Violation) -> str:
    """One constraint by name and time."""
    if record.amount > 0.0:
        return f"{record.name!r} is violated by {record.amount:.3g} at t={record.time:.4g}."
    return f"{record.name!r} holds with a margin of {abs(record.amount):.3g} at t={record.time:.4g}."


def _advice(solution: Solution, certificate: Certificate) -> Iterator[str]:
    """Say what to try, most promising first."""
    tolerance = certificate.tolerance
    violated = [record for record in certificate.worst if record.amount > tolerance]
    if solution.status in BY_STATUS:
        yield BY_STATUS[solution.status]
    if solution.status is Status.INFEASIBLE:
        if violated:
            yield f"Relax or remove {violated[0].name!r}, which is farthest from being satisfied."
        yield "Give a guess that goes another way, or a longer horizon."
    if certificate.passed or not solution.success:
        return
    if math.isnan(certificate.cost) or math.isinf(certificate.defect):
        yield "Look at the functions of the problem near the time named above: they are not finite or not smooth there."
        return
    if certificate.defect > tolerance or certificate.cost_error > tolerance:
        yield f"Refine the mesh: {2 * solution.trajectory.steps} steps instead of {solution.trajectory.steps}."
    if certificate.drift > 10.0 * max(certificate.defect, tolerance):
        yield "The plant amplifies small errors: refine the mesh, or apply the answer with feedback or in MPC."
    if violated:
        yield from _advice_on(violated[0], solution)
    if certificate.stationarity > tolerance**0.5:
        yield "Tighten the solver's tolerance, or start a gradient-based solver from this solution."


def _advice_on(record: Violation, solution: Solution) -> Iterator[str]:
    """Say what to do about a constraint that the solver believed satisfied."""
    inside = bool((abs(solution.t - record.time) > 1e-9 * (solution.t[-1] - solution.t[0])).all())
    controls = () if solution.problem is None else solution.problem.dynamics.controls
    of_control = any(record.name.startswith((f"{name} <=", f"{name} >=")) for name in controls)
    if of_control and inside and solution.trajectory.interpolation is Interpolation.QUADRATIC:
        yield f"{record.name!r} is overshot by the parabola of the control: use a finer mesh or another interpolation."
    elif inside:
        yield f"{record.name!r} is violated between knots only: refine the mesh or tighten its limit a little."
    else:
        yield f"{record.name!r} is missed by the control as it is: refine the mesh or tighten the solver's tolerance."
