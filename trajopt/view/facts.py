"""What a summary says about an answer, as labels and sentences that a terminal and a page show alike."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.solution import Solution

if TYPE_CHECKING:
    from trajopt.certificate import Certificate
    from trajopt.multi_phase_certificate import MultiPhaseCertificate
    from trajopt.problems.reference import Reference


@dataclass(frozen=True)
class Check:
    """One number of a certificate.

    Attributes
    ----------
    name, value
        The number.
    sentence
        What it measures, in plain words.
    limit
        What it must not exceed; None for numbers that inform and do not judge.
    """

    name: str
    value: float
    sentence: str
    limit: float | None = None

    @property
    def passed(self) -> bool | None:
        """Whether it is within its limit; None without a limit or a number."""
        return None if self.limit is None or math.isnan(self.value) else self.value <= self.limit


@dataclass(frozen=True)
class Facts:
    """A solution with whatever is known about it; made once for all views of it.

    Attributes
    ----------
    solution
        The answer.
    certificate
        Its certificate, None where none could be made.
    trouble
        Why there is no certificate; else empty.
    reference
        What was known beforehand, or None.
    """

    solution: Solution | MultiPhaseSolution
    certificate: Certificate | MultiPhaseCertificate | None
    trouble: str
    reference: Reference | None

    @classmethod
    def gather(cls, solution: Solution | MultiPhaseSolution, reference: Reference | None = None) -> Facts:
        """Look at the certificate once; a check that breaks is a fact as well, and must not hide the answer."""
        try:
            return cls(solution, solution.certificate, "", reference)
        except Exception as error:  # whatever the user's functions raise on the states of a failed solve
            return cls(solution, None, f"The certificate could not be made: {type(error).__name__}: {error}", reference)

    @property
    def name(self) -> str:
        """The problem's name."""
        problem = self.solution.problem
        return (problem.name if problem is not None else None) or "problem"

    @property
    def solver(self) -> str:
        """The solver's name without its settings."""
        return self.solution.solver.partition("(")[0]

    @property
    def passed(self) -> bool:
        """Whether the certificate found nothing against the answer."""
        return self.certificate is not None and self.certificate.passed

    @property
    def verdict(self) -> str:
        """The certificate in a word."""
        if self.certificate is None:
            return "not checked"
        if not self.passed:
            return "not confirmed"
        return "certified" if self.solution.success else "consistent, but not solved"

    @property
    def true_cost(self) -> float:
        """What the control really costs; NaN without a certificate."""
        return math.nan if self.certificate is None else self.certificate.cost

    @property
    def optimum(self) -> float | None:
        """The known optimum as a minimised cost."""
        return None if self.reference is None else self.reference.cost

    @property
    def optimum_text(self) -> str:
        """The known optimum in the sense in which it was published."""
        reference = self.reference
        if reference is None or reference.optimum is None:
            return "none known"
        shown = f"{reference.optimum:.{min(max(reference.digits, 1), 12)}g}"
        return shown if reference.kind == "minimum" else f"{shown}, a maximum: its negative is the cost here"

    @property
    def difference_text(self) -> str:
        """Relative difference of the true cost from the known optimum, or "" where there is none."""
        if self.reference is None or self.optimum is None:
            return ""
        cost = self.true_cost if math.isfinite(self.true_cost) else self.solution.cost
        difference = cost - self.optimum
        if not math.isfinite(difference):
            return "not a number"
        text = f"{difference / max(abs(self.optimum), 1e-12):+.2e}"
        if abs(difference) <= self.reference.tolerance:
            text += f", equal in all {self.reference.digits} trusted digits"
        return text

    @property
    def checks(self) -> list[Check]:
        """Every number of the certificate with its meaning."""
        made = self.certificate
        if made is None:
            return []
        limit = made.tolerance
        worst = made.worst[0] if made.worst else None
        where = f" The tightest is {worst.name} at t = {worst.time:.4g}." if worst is not None else ""
        return [
            Check("cost error", made.cost_error, f"The solver reported a cost of {number(made.reported)}; simulated "
                  f"again, its control costs {number(made.cost)}. The difference is relative.", limit),
            Check("defect", made.defect, "How far the states are from obeying the dynamics on the worst interval, "
                  "integrated again with an independent method.", limit),
            Check("violation", made.violation, "How far the simulated trajectory exceeds any limit, between the knots "
                  f"as well.{where}", limit),
            Check("stationarity", made.stationarity, "How far the cost still slopes: the scaled gradient of the "
                  "Lagrangian, zero at an optimum.", math.sqrt(limit)),
            Check("drift", made.drift, "How far one simulation from start to end strays from the planned states; large "
                  "for unstable systems, which need feedback."),
            Check("correction", made.correction, "How much feedback has to change the control to stay with the planned "
                  "states; zero where it was simulated alone.", math.sqrt(limit)),
            Check("gap", made.gap, "Estimated cost that the control's shape between its nodes gives away."),
            Check("error", made.error, "Estimated distance of the true cost from the optimum near this answer."),
        ]  # fmt: skip

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The summary: labels and values."""
        solution = self.solution
        rows = [
            ("solver", solution.solver),
            ("status", f"{solution.status}: {solution.message}"),
            ("cost", number(solution.cost, 9)),
            ("true cost", number(self.true_cost, 9)),
            ("known optimum", self.optimum_text),
        ]
        if self.difference_text:
            rows.append(("relative difference", self.difference_text))
        rows += [
            ("certificate", self.verdict),
            ("iterations", str(solution.iterations)),
            ("time", duration(solution.seconds)),
        ]
        span = " to ".join(number(time) for time in solution.span)
        return [*rows, ("horizon", f"{span}, {solution.steps} steps")]

    @property
    def sentences(self) -> list[str]:
        """What speaks against the answer, and what the numbers leave out."""
        if self.certificate is None:
            return [self.trouble]
        return [*self.certificate.findings, *self.certificate.remarks]


COLUMNS = ("status", "cost", "true cost", "certified", "violation", "iterations", "time")
"""Columns of a comparison behind the solver's name."""


def texts(record: Mapping[str, Any]) -> dict[str, str]:
    """A record of `trajopt.compare.Comparison.records` as text, by column."""
    cells = (
        str(record["status"]),
        number(record["cost"], 8),
        number(record["true_cost"], 8),
        "yes" if record["certified"] else "no",
        number(record["violation"], 2),
        str(record["iterations"]),
        duration(record["seconds"]),
    )
    return dict(zip(COLUMNS, cells, strict=True))


def number(value: float, digits: int = 6) -> str:
    """A number as text; what is missing is called so."""
    if math.isnan(value):
        return "not available"
    if math.isinf(value):
        return "infinite" if value > 0.0 else "minus infinite"
    return f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if not math.isfinite(seconds):
        return "not available"
    if seconds < 0.1:
        return f"{1e3 * seconds:.3g} ms"
    if seconds < 120.0:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"
