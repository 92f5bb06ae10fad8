"""The page of the documentation that `bench.library` writes: the table, what does not pass, what is printed wrongly."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from bench.library import SOLVERS, Line, verdict
from bench.machine import describe_machine
from bench.measure import duration
from bench.sheet import Sheet
from trajopt import problems
from trajopt.problems.reference import Reference

References = Mapping[str, Reference]
"""What is known of each case, by title."""

HEAD = (
    "problem", "optimum", "solver", "ours", "digits", "certificate", "error", "iterations", "time", "IPOPT", "status",
)  # fmt: skip

INTRODUCTION = """\
# The problem library against its known optima

One command makes this page: `python -m bench.library --all --markdown docs/problems.md`. Without `--all` it leaves out
what takes long; with names it runs those problems alone; without a file it prints to the terminal; `--resume FILE`
keeps results and continues. Times are from {machine}.

Every problem is solved by every solver that handles it, from the problem's own guess, on its own mesh, with the
solver's defaults. Nothing is tuned to an optimum. The columns:

- **optimum**: that of `trajopt.problems.reference(name)`, to the digits that can be trusted, in the sense in which its
  source optimises (maxima are marked): published, or recomputed where the printed number is that of a grid (the list is
  below, and `reference(name).source` says how); *-* where there is none.
- **ours**: what the returned control really costs, on the true dynamics (`certificate.cost`), in the same sense.
- **digits**: how many of the trusted digits agree, by the rule that a digit agrees when the difference is at most half
  a unit of it. *better*: a certified answer beats the optimum by more than both errors allow.
- **certificate**, **error**: its verdict at the default tolerance of three digits, and its estimate of the distance
  from the optimum nearby. A mesh limits both: digits that are missing are mostly the error of the default mesh.
- **iterations**, **time**: of `solve(problem, solver)` without the certificate, the second time, with all code loaded.
- **IPOPT**: its time for the same transcription, multiple shooting with held controls (`MultipleShooting`), from the
  same guess and with exact sparse derivatives; in brackets where it did not succeed. Collocation's time is IPOPT's.
- **status**: what the solver says of itself.
"""

PRINTED: dict[str, tuple[float, str]] = {
    "alpha-pinene": (19.8721, "COPS 3.0"),
    "beam": (8.898598, "CTDirect.jl"),
    "brachistochrone": (1.8016, "Dymos"),
    "bryson-denham": (3.999539, "PSOPT"),
    "catalyst-mixing": (-0.0480532, "PSOPT"),
    "catalyst-mixing-long": (0.192011, "CTDirect.jl"),
    "dtoc6": (727.9505731659, "DTOC6.SIF"),
    "fuller-free-end": (0.268336059, "PROPT"),
    "goddard-rocket-speed-limit": (1.25714, "CTBenchmarks.jl"),
    "hanging-chain": (5.06891, "COPS 3.0"),
    "linear-tangent-steering": (0.554577, "COPS 3.0"),
    "marine-population": (19.7462, "COPS 3.0"),
    "methanol": (0.00902229, "COPS 3.0"),
    "missile-bunt": (40.91862, "PSOPT"),
    "neuenhofen-kerrigan": (-0.257351960, "Hermite-Simpson, 41 nodes"),
    "parallel-reactions": (0.573540787, "DYNOPT"),
    "robot-arm": (9.14138, "COPS 3.0"),
    "singular-control-luus": (1.252389645, "PROPT"),
    "singular-control-yeo": (0.1192613, "PSOPT"),
    "stirred-tank": (1857.687, "JModelica.org"),
    "time-delay": (2.525738, "PSOPT"),
    "two-link-arm": (2.988662, "PSOPT"),
    "two-phase-robot": (1.042568, "PSOPT"),
    "van-der-pol": (1.047921, "CTDirect.jl"),
    "van-der-pol-bounded": (2.867259538, "PROPT"),
}
"""Numbers in print, in the unit of the library's reference; those that contradict it are listed with the difference."""

NOT_HERE: dict[str, str] = {
    "alp-rider (Betts; 2030.856)": "reached to five digits (2030.85) on a graded mesh of 600 steps with a stabilising "
    "feedback put into the plant, but the certificate's gap between nodes stays at 3e4, so it confirms nothing",
    "barrel roll (ALTRO; YakPlane)": "its size and its times are published; the airplane's aerodynamics stand in the "
    "program alone",
    "delta-III ascent (Betts; 7529.712287), finite-burn orbit raise (Dymos; 0.3995)": "phases of free length",
    "heat equation (Bocop)": "its definition could not be found, three digits",
    "insurance (Bocop; 2.059511)": "the answer depends on mesh and scheme in the third digit: Hermite-Simpson ends at "
    "2.0575, the trapezoidal rule at 2.0577, 2.0592 and 2.0597 for 100, 500 and 2000 steps",
    "low-thrust transfer (Betts)": "needs a propagated guess of several revolutions",
    "minimum time to climb (Bryson)": "defined by tables whose interpolation moves the third digit",
    "swimmer (Bocop)": "a local optimum of an unpublished guess",
    "truck with trailers (rockit)": "from a straight guess collocation ends in a poor local minimum; three digits",
}
"""Published problems that are not in the library, and why."""


def published(reference: Reference) -> str:
    """Return the optimum to its trusted digits."""
    if reference.optimum is None:
        return "-"
    digits = f"{reference.optimum:.{reference.digits}g}"
    return f"{digits} (max)" if reference.kind == "maximum" else digits


def ours(line: Line, reference: Reference) -> str:
    """Return the true cost in the sense of the source, to one digit more than is trusted."""
    sign = -1.0 if reference.kind == "maximum" else 1.0
    return f"{sign * line.cost:.{max(reference.digits, 7) + 1}g}"


def ipopt_time(line: Line, lines: Sequence[Line]) -> str:
    """Return how long IPOPT took on the transcription of a line, in brackets if it did not succeed."""
    beside = [other for other in lines if other.title == line.title and other.solver == "IPOPT"]
    if not beside or line.solver in ("IPOPT", "Collocation"):
        return "-"
    time = duration(beside[0].seconds)
    return time if beside[0].success else f"({time})"


def sheet(lines: Sequence[Line], references: References) -> Sheet:
    """Return the table; the name and the optimum stand in the first line of each problem only."""
    rows, before = [], None
    for line in lines:
        fresh, before = line.title != before, line.title
        reference = references[line.title]
        rows.append((
            line.title if fresh else "",
            published(reference) if fresh else "",
            line.solver,
            ours(line, reference),
            verdict(line, reference),
            "passed" if line.passed else "not passed",
            f"{line.error:.0e}",
            str(line.iterations),
            duration(line.seconds),
            ipopt_time(line, lines),
            line.status,
        ))  # fmt: skip
    return Sheet("The library against its known optima", HEAD, tuple(rows))


def summary(lines: Sequence[Line]) -> list[str]:
    """Return how many problems each solver was given, solved, and had certified, and `InteriorPoint` beside IPOPT."""
    parts = []
    for label in SOLVERS:
        own = [line for line in lines if line.solver == label]
        solved = [line for line in own if line.success]
        parts.append(f"{label}: {len(own)} handled, {len(solved)} solved, {sum(s.passed for s in solved)} certified")
    return ["; ".join(parts) + ".", *_beside_ipopt(lines)]


def _beside_ipopt(lines: Sequence[Line]) -> list[str]:
    """Return what share each of the two solves from the same guess on the same transcription, and how fast."""
    by_solver = {label: {line.title: line for line in lines if line.solver == label} for label in SOLVERS}
    ours, theirs = by_solver["InteriorPoint"], by_solver["IPOPT"]
    both = [title for title in ours if title in theirs]
    if not both:
        return []
    solved = {
        label: [title for title in both if by_solver[label][title].success] for label in ("InteriorPoint", "IPOPT")
    }
    alone = {
        label: ", ".join(title for title in solved[label] if title not in solved[other]) or "none"
        for label, other in (("InteriorPoint", "IPOPT"), ("IPOPT", "InteriorPoint"))
    }
    # The same optimum to the tolerances of the solvers; another optimum makes times incomparable.
    same = [
        title
        for title in solved["InteriorPoint"]
        if title in solved["IPOPT"]
        and abs(ours[title].cost - theirs[title].cost) <= 1e-5 * (1.0 + abs(ours[title].cost))
    ]
    ratios = [theirs[title].seconds / ours[title].seconds for title in same]
    speed = f"the median of IPOPT's time by ours is {statistics.median(ratios):.2g}" if ratios else "none in common"
    return [
        f"From the same guess on the same transcription, InteriorPoint solves {len(solved['InteriorPoint'])} of "
        f"{len(both)} problems and IPOPT {len(solved['IPOPT'])}; InteriorPoint alone: {alone['InteriorPoint']}; IPOPT "
        f"alone: {alone['IPOPT']}. Of the {len(same)} that both solve to the same cost, {speed}."
    ]


def notes(lines: Sequence[Line], references: References) -> list[str]:
    """Return what did not pass, with the certificate's first reason, and what beats its published optimum."""
    found = []
    for line in lines:
        who, reference = f"**{line.title}**, {line.solver}", references[line.title]
        if verdict(line, reference) == "better":
            found.append(f"{who}: certified to be better than {published(reference)}; {reference.note}")
        elif not line.passed:
            found.append(f"{who}: {line.finding}")
    return found


def contradicted() -> list[tuple[str, ...]]:
    """Return the printed numbers that are off by more than the optimum's tolerance and their own last digit."""
    rows = []
    for name, (number, where) in sorted(PRINTED.items()):
        reference = problems.reference(name)
        assert reference.optimum is not None
        last_digit = 10.0 ** -len(repr(number).partition(".")[2])
        if abs(number - reference.optimum) > reference.tolerance + last_digit:
            relative = (number - reference.optimum) / abs(reference.optimum)
            rows.append((name, repr(number), where, published(reference), f"{relative:+.0e}"))
    return rows


def markdown(lines: Sequence[Line], references: References) -> str:
    """Return the page of the documentation."""
    remarks = "\n".join(f"- {note}" for note in notes(lines, references)) or "None."
    missing = "\n".join(f"- **{name}**: {reason}." for name, reason in NOT_HERE.items())
    head = ("problem", "printed", "by", "optimum", "relative difference")
    printed = Sheet("Numbers in print that are off", head, tuple(contradicted()))
    return "\n\n".join([
        INTRODUCTION.format(machine=describe_machine()).rstrip(),
        *summary(lines),
        sheet(lines, references).markdown(),
        f"## Not certified, or better than the optimum\n\n{remarks}",
        f"## {printed.title}\n\nMost are values of grids. A number worse than the optimum is merely not optimal; a "
        "better one belongs to no trajectory: it is what collocation gains by cheating between its nodes.",
        printed.markdown(),
        f"## Published, but not in the library\n\n{missing}\n",
    ])  # fmt: skip
