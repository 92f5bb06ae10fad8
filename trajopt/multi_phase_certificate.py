"""The certificate of several phases: each integrated again from its own initial state, and links between real ends.

Every phase is re-integrated, valued and measured as a problem of its own is; the rows of the links are evaluated by the
user's plain functions at the ends that the re-integration reached. First-order conditions are those of all phases
together (`trajopt.joint_stationarity`): a phase by itself is not optimal, and need not be.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, final

import numpy as np
from numpy.typing import NDArray

from trajopt.certificate import Certificate, Retraced, judge, or_infinity, refuse, retrace
from trajopt.errors import InvalidProblem
from trajopt.joint_stationarity import JointStationarity, recover_joint_multipliers
from trajopt.link_model import PhaseEnds
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.optimality import NOT_FINITE, Linearised, Optimality, conclude, linearise_answer
from trajopt.validation import is_number
from trajopt.violations import Violation

if TYPE_CHECKING:
    from trajopt.multi_phase_solution import MultiPhaseSolution

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class MultiPhaseCertificate:
    """What an answer in several phases is worth; quantities as in `trajopt.certificate.Certificate`.

    Attributes
    ----------
    findings, remarks
        Sentences, those on a phase with its name.
    tolerance
        What was asked for.
    phases
        A certificate for each phase, by its part in the whole: errors of its cost are relative to the whole cost, its
        costates and multipliers are those of all phases together, and its stationarity is its share in the whole.
    cost, reported, cost_error
        Of all phases together.
    defect, drift, correction
        The largest of any phase.
    links
        Every row of the links, worst first: positive amounts are violations, in the row's unit divided by max(1, size),
        where the size is that of the state or time that goes on, and for a function that of its limit.
    violation
        Largest of any constraint in any phase, and of any link; zero if there is none.
    worst
        Every constraint and every link, worst first, with the name of the phase.
    stationarity
        Of all phases and links together.
    multipliers
        (1,) for each row of the links by its name, zero where inactive; the Lagrangian is cost + multiplier * function.
    gap, error
        Sums over the phases; the error includes what violated links are worth.
    seconds
        Wall time of the check.
    """

    findings: tuple[str, ...]
    tolerance: float
    phases: tuple[Certificate, ...]
    cost: float
    reported: float
    cost_error: float
    defect: float
    drift: float
    correction: float
    links: tuple[Violation, ...]
    violation: float
    worst: tuple[Violation, ...]
    stationarity: float = float("nan")
    multipliers: dict[str, Array] = field(default_factory=dict)
    gap: float = float("nan")
    error: float = float("nan")
    remarks: tuple[str, ...] = ()
    seconds: float = float("nan")

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
            ("defect", self.defect, "scaled, largest interval of any phase"),
            ("drift", self.drift, "scaled, end to end of any phase"),
            ("correction", self.correction, "of the control by feedback, in any phase"),
            ("violation", self.violation, where),
            ("stationarity", self.stationarity, "scaled, of all phases and links"),
            ("gap", self.gap, "between control nodes"),
            ("error", self.error, "estimate"),
        ]
        verdict = "passed" if self.passed else "NOT PASSED"
        head = f"certificate of {len(self.phases)} phases {verdict} at tolerance {self.tolerance:g}"
        table = [f"  {name:<13} {value:>14.8g}  {note}".rstrip() for name, value, note in rows]
        return "\n".join([head, *table, *(f"  - {finding}" for finding in self.findings)])


def certify_phases(solution: MultiPhaseSolution, *, tolerance: float = 1e-3) -> MultiPhaseCertificate:
    """Check an answer in several phases.

    Parameters
    ----------
    solution
        With its problem.
    tolerance
        As for `trajopt.certificate.certify`; the violation of links must not exceed it either.

    Raises
    ------
    InvalidProblem
        When the solution has no problem, or the tolerance is not positive.
    """
    problem = solution.problem
    if problem is None or not (is_number(tolerance) and tolerance > 0.0):
        raise InvalidProblem(
            f"certify got tolerance={tolerance!r} and a solution {'with' if problem else 'without'} its problem, but a "
            "positive tolerance and a solution with its problem were expected; correct them."
        )
    begin = time.perf_counter()
    traced = [
        retrace(phase, part.trajectory, tolerance) for phase, part in zip(problem.joined, solution.phases, strict=True)
    ]
    good = [some for some in traced if isinstance(some, Retraced)]
    if len(good) < len(traced):
        found = _malformed(solution, traced, tolerance)
    else:
        found = _Examination(solution, problem, good, tolerance).certificate()
    return replace(found, seconds=time.perf_counter() - begin)


def _malformed(
    solution: MultiPhaseSolution, traced: Sequence[Retraced | str], tolerance: float
) -> MultiPhaseCertificate:
    """Make a certificate without numbers, because a phase cannot even be integrated."""
    nan, inf = float("nan"), float("inf")
    unknown = "Another phase could not be integrated."
    phases = tuple(
        refuse(part, tolerance, some if isinstance(some, str) else unknown)
        for part, some in zip(solution.phases, traced, strict=True)
    )
    reasons = tuple(
        f"Phase {name!r}: {some}" for name, some in zip(solution.names, traced, strict=True) if isinstance(some, str)
    )
    return MultiPhaseCertificate(reasons, tolerance, phases, nan, solution.cost, inf, inf, inf, inf, (), inf, ())


class _Examination:
    """One check of an answer whose phases could be integrated."""

    def __init__(
        self, solution: MultiPhaseSolution, problem: MultiPhaseProblem, traced: Sequence[Retraced], tolerance: float
    ) -> None:
        self.solution, self.problem, self.traced, self.tolerance = solution, problem, traced, tolerance
        self.cost = float(sum(some.cost for some in traced))
        self.ends = [
            PhaseEnds(some.path.knots[0], some.path.knots[-1], float(part.t[0]), float(part.t[-1]))
            for some, part in zip(traced, solution.phases, strict=True)
        ]
        self.parameters: dict = {}
        for part in reversed(solution.phases):
            self.parameters |= part.parameters
        self.values, self.sizes = problem.model.evaluate(self.ends, self.parameters)

    def certificate(self) -> MultiPhaseCertificate:
        """Collect the numbers, and say what is not within the tolerance."""
        solution, names = self.solution, self.problem.names
        joint, optimality = self._optimality()
        phases = tuple(
            judge(part, some, found, self.tolerance, self.cost)
            for part, some, found in zip(solution.phases, self.traced, optimality, strict=True)
        )
        links = tuple(sorted([*self._links(), *self._shared()], key=lambda record: -record.amount))
        inside = [
            replace(record, name=f"{name}: {record.name}")
            for name, phase in zip(names, phases, strict=True)
            for record in phase.worst
        ]
        worst = tuple(sorted([*inside, *links], key=lambda record: -record.amount))
        largest = max([0.0, *(phase.violation for phase in phases), *(record.amount for record in links)])
        difference = abs(solution.cost - self.cost)
        prices = np.zeros(len(self.problem.model)) if joint is None else joint.links
        certificate = MultiPhaseCertificate(
            findings=(),
            tolerance=self.tolerance,
            phases=phases,
            cost=self.cost,
            reported=solution.cost,
            cost_error=or_infinity(difference / max(abs(self.cost), self.tolerance)),
            defect=max(phase.defect for phase in phases),
            drift=max(phase.drift for phase in phases),
            correction=max(phase.correction for phase in phases),
            links=links,
            violation=largest,
            worst=worst,
            stationarity=float("nan") if joint is None else joint.value,
            multipliers=self.problem.model.by_name(prices),
            gap=float(sum(phase.gap for phase in phases)),
            error=difference + float(sum(f.gap + f.priced for f in optimality)) + self._priced(prices),
            remarks=tuple(dict.fromkeys(remark for phase in phases for remark in phase.remarks)),
        )
        return replace(certificate, findings=tuple(self._reasons(certificate)))

    def _optimality(self) -> tuple[JointStationarity | None, list[Optimality]]:
        """First-order conditions of all phases together, and what they mean for each."""
        parts = [
            linearise_answer(
                phase, some.trajectory, some.parameters, some.path, some.found, self.tolerance, some.feedback
            )
            for phase, some in zip(self.problem.joined, self.traced, strict=True)
        ]
        good = [part for part in parts if isinstance(part, Linearised)]
        if len(good) < len(parts):
            failed = next(part for part in parts if isinstance(part, Optimality))
            return None, [failed] * len(parts)
        packed = self.problem.layout.pack({**self.problem.parameters, **self.parameters})
        with np.errstate(all="ignore"):
            try:
                links = self.values, self.sizes
                joint = recover_joint_multipliers(
                    self.problem, good, self.ends, packed, links, self.cost, self.tolerance
                )
                return joint, [conclude(part, state) for part, state in zip(good, joint.phases, strict=True)]
            except (np.linalg.LinAlgError, ValueError):  # a derivative of a link that is not finite
                return None, [NOT_FINITE] * len(parts)

    def _links(self) -> Iterator[Violation]:
        """How far each row of the links is from its limits."""
        model = self.problem.model
        with np.errstate(invalid="ignore"):
            beyond = np.maximum(model.lower - self.values, self.values - model.upper) / self.sizes
        for row, amount in enumerate(beyond):
            start = self.ends[self.problem.joints[model.joint[row]].second].t0
            yield Violation(model.names[row], start, or_infinity(amount), row)

    def _shared(self) -> Iterator[Violation]:
        """How far the phases disagree on parameters that they share; silent where they agree."""
        for row, name in enumerate(self.parameters):
            held = [
                np.asarray(part.parameters[name], float) for part in self.solution.phases if name in part.parameters
            ]
            apart = max(float(np.abs(other - held[0]).max(initial=0.0)) for other in held)
            if apart > 0.0:
                yield Violation(
                    f"shared parameter {name}", self.ends[0].t0, apart / max(1.0, np.abs(held[0]).max()), row
                )

    def _priced(self, prices: Array) -> float:
        """What departures of the active links from their limits are worth."""
        model = self.problem.model
        with np.errstate(invalid="ignore"):
            distance = np.maximum(model.lower - self.values, self.values - model.upper)
        return float(np.abs(prices[prices != 0.0]) @ np.abs(distance[prices != 0.0]))

    def _reasons(self, made: MultiPhaseCertificate) -> Iterator[str]:
        """One sentence for everything that is not within the tolerance."""
        for name, phase in zip(self.problem.names, made.phases, strict=True):
            yield from (f"Phase {name!r}: {finding}" for finding in phase.findings)
        if made.cost_error > self.tolerance and not any(phase.cost_error > self.tolerance for phase in made.phases):
            direction, cost = "less" if made.reported < made.cost else "more", f"{made.cost:.8g}"
            yield f"The reported cost {made.reported:.8g} is {direction} than the true cost {cost} of the control."
        beyond = [record for record in made.links if record.amount > self.tolerance]
        for record in beyond[:1]:
            more = f" (and {len(beyond) - 1} others)" if len(beyond) > 1 else ""
            yield f"Link {record.name!r} is violated by {record.amount:.3g} at t={record.time:.4g}{more}."
        told = any(phase.stationarity > np.sqrt(self.tolerance) for phase in made.phases)
        if made.stationarity > np.sqrt(self.tolerance) and not told:
            yield (
                "The phases are not stationary together: the scaled gradient of the Lagrangian is "
                f"{made.stationarity:.3g}."
            )
