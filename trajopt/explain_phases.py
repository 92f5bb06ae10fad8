"""``solution.explain()`` for several phases: what happened, which link or constraint is worst, and what to try."""

from __future__ import annotations

from collections.abc import Iterator

from trajopt.explain import BY_STATUS, SHOWN, describe
from trajopt.multi_phase_certificate import MultiPhaseCertificate
from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.status import Status


def explain_phases(solution: MultiPhaseSolution) -> str:
    """Say what happened to a solution that has its problem.

    Returns
    -------
    str
        Several lines: the status, the phases, the verdict of the certificate, the worst constraints and links, what to
        try.
    """
    certificate = solution.certificate
    lines = [solution.message]
    lines += [
        f"Phase {name!r} runs from t={part.t[0]:.6g} to t={part.t[-1]:.6g} and costs {part.cost:.6g}."
        for name, part in zip(solution.names, solution.phases, strict=True)
    ]
    if certificate.passed:
        lines.append(f"The certificate confirms the answer at tolerance {certificate.tolerance:g}.")
    else:
        lines += ["The certificate does not confirm the answer:", *map("  - {}".format, certificate.findings)]
    if certificate.worst:
        lines += ["The constraints and links closest to their limits, or beyond:"]
        lines += [f"  - {describe(record)}" for record in certificate.worst[:SHOWN]]
    lines += certificate.remarks
    advice = list(dict.fromkeys(_advice(solution, certificate)))
    if advice:
        lines += ["What to try:", *(f"  - {sentence}" for sentence in advice)]
    return "\n".join(lines)


def _advice(solution: MultiPhaseSolution, certificate: MultiPhaseCertificate) -> Iterator[str]:
    """Say what to try, most promising first."""
    if solution.status in BY_STATUS:
        yield BY_STATUS[solution.status]
    worst = certificate.worst[0] if certificate.worst else None
    if solution.status is Status.INFEASIBLE:
        if worst is not None and worst.amount > certificate.tolerance:
            yield f"Relax or remove {worst.name!r}, which is farthest from being satisfied."
        yield "Give a guess for each phase, or a longer horizon: solve(problem, guess=[..., ...])."
    if certificate.passed or not solution.success:
        return
    for name, part, phase in zip(solution.names, solution.phases, certificate.phases, strict=True):
        if phase.defect > certificate.tolerance or phase.cost_error > certificate.tolerance:
            yield f"Refine the mesh of phase {name!r}: {2 * part.steps} steps instead of {part.steps}."
    if worst is not None and worst.amount > certificate.tolerance:
        yield f"{worst.name!r} is missed by the control as it is: refine the meshes of the phases that it concerns."
    if certificate.stationarity > certificate.tolerance**0.5:
        yield "Tighten the solver's tolerance, or refine the meshes."
