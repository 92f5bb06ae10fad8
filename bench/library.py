"""``python -m bench.library [--all] [--markdown FILE] [NAME ...]``: the problem library against its known optima.

Every problem is solved by every solver below that handles it, from the problem's own guess, on its own mesh, with the
solver's defaults; the certificate says what the answer is worth. ``docs/problems.md`` is the output of ``--all``.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.machine import describe_machine
from bench.measure import duration
from trajopt import problems, solve
from trajopt.certificate import Certificate
from trajopt.problem import Problem
from trajopt.problems.reference import Reference
from trajopt.solver import Solver
from trajopt.solvers import DDP, ILQR, Collocation
from trajopt.status import Status

SOLVERS: dict[str, Solver] = {"Collocation": Collocation(), "ILQR": ILQR(), "DDP": DDP()}
"""What stands in the table; the first is IPOPT on Hermite-Simpson, which handles every problem."""

SLOW = frozenset({"car-escape"})
"""Half a minute and more: only with ``--all``, or by name."""

LONGEST = 60.0
"""Seconds after which a solve is stopped."""

HEAD = (
    "problem", "optimum", "solver", "ours", "digits", "certificate", "error", "iterations", "time", "status",
)  # fmt: skip

INTRODUCTION = """\
# The problem library against its known optima

One command makes this page: `python -m bench.library --all --markdown docs/problems.md`. Without `--all` it leaves out
what takes long; with names it runs those problems alone; without a file it prints to the terminal. Times are from
{machine}.

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
- **iterations**, **time**: of the solver, without the certificate; the second solve is timed, with all code loaded. For
  Collocation both are IPOPT's. **status**: what the solver says of itself.
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
    "van-der-pol": (1.047921, "CTDirect.jl"),
    "van-der-pol-bounded": (2.867259538, "PROPT"),
}
"""Numbers in print, in the unit of the library's reference; those that contradict it are listed with the difference."""

NOT_HERE: dict[str, str] = {
    "alp-rider (Betts; 2030.856)": "reached to five digits (2030.85) on a graded mesh of 600 steps with a stabilising "
    "feedback put into the plant, but the certificate's gap between nodes stays at 3e4, so it confirms nothing",
    "delta-III ascent, finite-burn orbit raise, interior-point condition, two-phase robot": "several phases",
    "heat equation (Bocop)": "its definition could not be found, three digits",
    "insurance (Bocop; 2.059511)": "the answer depends on mesh and scheme in the third digit: Hermite-Simpson ends at "
    "2.0575, the trapezoidal rule at 2.0577, 2.0592 and 2.0597 for 100, 500 and 2000 steps",
    "low-thrust transfer (Betts)": "needs a propagated guess of several revolutions",
    "minimum time to climb (Bryson)": "defined by tables whose interpolation moves the third digit",
    "swimmer (Bocop)": "a local optimum of an unpublished guess",
    "truck with trailers (rockit)": "from a straight guess collocation ends in a poor local minimum; three digits",
}
"""Published problems that are not in the library, and why."""


@dataclass(frozen=True)
class Case:
    """A problem of the library, possibly at another size than its default.

    Attributes
    ----------
    title
        What the table calls it.
    name, settings
        For `trajopt.problems.load`.
    reference
        What is known of it.
    """

    title: str
    name: str
    reference: Reference
    settings: Mapping[str, int] = field(default_factory=dict)

    def load(self) -> Problem:
        """Build the problem."""
        return problems.load(self.name, **self.settings)


@dataclass(frozen=True)
class Line:
    """One solver on one case.

    Attributes
    ----------
    case, solver
        What was solved, and by what.
    status, iterations, seconds
        How the solve ended.
    certificate
        What the answer is worth.
    """

    case: Case
    solver: str
    status: Status
    iterations: int
    seconds: float
    certificate: Certificate


def large(title: str, name: str, optimum: float, digits: int, **settings: int) -> Case:
    """Return a case at a size for which other software published optimum and time."""
    return Case(title, name, Reference(optimum, digits, "FATROP and IPOPT"), settings)


LARGE = (
    large("dtoc1l, 1000 knots, (5, 10)", "dtoc1l", 125.338129736, 12, controls=5, states=10, steps=999),
    large("dtoc3, 5000 knots", "dtoc3", 235.262481035, 12, steps=4999),
    large("dtoc6, 5001 knots", "dtoc6", 134850.616259, 10, steps=5000),
)
"""Only with ``--all``."""


def cases(names: Sequence[str] = (), *, everything: bool = False) -> list[Case]:
    """Return the cases by those names; without names the whole library, sorted, the slow and large ones on request."""
    chosen = names or [name for name in problems.names() if everything or name not in SLOW]
    found = [Case(name, name, problems.reference(name)) for name in chosen]
    return sorted([*found, *(LARGE if everything and not names else ())], key=lambda case: case.title)


def run(case: Case, label: str) -> Line | None:
    """Solve one case with one solver, twice, and certify the second answer; None where the solver refuses it."""
    problem, solver = case.load(), SOLVERS[label]
    if not problem.features <= solver.handles:
        return None
    first = solve(problem, solver, max_time=LONGEST)
    # A solve that takes seconds owes nothing of them to the loading of code.
    answer = first if first.seconds > 5.0 else solve(problem, solver, max_time=LONGEST)
    return Line(case, label, answer.status, answer.iterations, answer.seconds, answer.certificate)


def run_all(chosen: Iterable[Case], progress: Callable[[str], None]) -> list[Line]:
    """Solve every case with every solver that handles it."""
    lines = []
    for case in chosen:
        progress(case.title)
        lines += [line for label in SOLVERS if (line := run(case, label)) is not None]
    return lines


def agreeing_digits(value: float, reference: Reference) -> int:
    """Return how many significant digits of the optimum agree, at most the trusted ones.

    Digit d of the optimum agrees when the difference is at most half a unit of it, as in `Reference.tolerance`.
    """
    assert reference.cost is not None
    difference = abs(value - reference.cost)
    if not math.isfinite(difference):
        return 0
    first = math.floor(math.log10(abs(reference.cost))) + 1
    agreeing = reference.digits if difference == 0.0 else math.floor(first - math.log10(2.0 * difference))
    return min(max(agreeing, 0), reference.digits)


def verdict(line: Line) -> str:
    """Return how the answer compares with the published optimum."""
    reference, certificate = line.case.reference, line.certificate
    if reference.cost is None:
        return "-"
    margin = reference.tolerance + certificate.error
    if line.status.success and certificate.passed and certificate.cost < reference.cost - margin:
        return "better"
    return f"{agreeing_digits(certificate.cost, reference)} of {reference.digits}"


def published(reference: Reference) -> str:
    """Return the optimum to its trusted digits."""
    if reference.optimum is None:
        return "-"
    digits = f"{reference.optimum:.{reference.digits}g}"
    return f"{digits} (max)" if reference.kind == "maximum" else digits


def ours(line: Line) -> str:
    """Return the true cost in the sense of the source, to one digit more than is trusted."""
    sign = -1.0 if line.case.reference.kind == "maximum" else 1.0
    return f"{sign * line.certificate.cost:.{max(line.case.reference.digits, 7) + 1}g}"


def cells(lines: Sequence[Line]) -> list[tuple[str, ...]]:
    """Return the text of the table; the name and the optimum stand in the first line of each problem only."""
    rows, before = [], None
    for line in lines:
        fresh, before = line.case is not before, line.case
        rows.append((
            line.case.title if fresh else "",
            published(line.case.reference) if fresh else "",
            line.solver,
            ours(line),
            verdict(line),
            "passed" if line.certificate.passed else "not passed",
            f"{line.certificate.error:.0e}",
            str(line.iterations),
            duration(line.seconds),
            str(line.status),
        ))  # fmt: skip
    return rows


def summary(lines: Sequence[Line]) -> str:
    """Return, for each solver, how many problems it was given, solved, and had certified."""
    parts = []
    for label in SOLVERS:
        own = [line for line in lines if line.solver == label]
        solved = [line for line in own if line.status.success]
        certified = [line for line in solved if line.certificate.passed]
        parts.append(f"{label}: {len(own)} handled, {len(solved)} solved, {len(certified)} certified")
    return "; ".join(parts) + "."


def notes(lines: Sequence[Line]) -> list[str]:
    """Return what did not pass, with the certificate's first reason, and what beats its published optimum."""
    found = []
    for line in lines:
        who, reference = f"**{line.case.title}**, {line.solver}", line.case.reference
        if verdict(line) == "better":
            found.append(f"{who}: certified to be better than {published(reference)}; {reference.note}")
        elif not line.certificate.passed:
            found.append(f"{who}: {line.certificate.findings[0]}")
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


def as_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def markdown(lines: Sequence[Line]) -> str:
    """Return the page of the documentation."""
    remarks = "\n".join(f"- {note}" for note in notes(lines)) or "None."
    missing = "\n".join(f"- **{name}**: {reason}." for name, reason in NOT_HERE.items())
    printed = as_table(("problem", "printed", "by", "optimum", "relative difference"), contradicted())
    return (
        f"{INTRODUCTION.format(machine=describe_machine())}\n{summary(lines)}\n\n{as_table(HEAD, cells(lines))}\n\n"
        f"## Not certified, or better than the optimum\n\n{remarks}\n\n"
        "## Numbers in print that are off\n\nMost are values of grids. A number worse than the optimum is merely not "
        "optimal; a better one belongs to no trajectory: it is what collocation gains by cheating between its nodes."
        f"\n\n{printed}\n\n## Published, but not in the library\n\n{missing}\n"
    )


def show(lines: Sequence[Line]) -> None:
    """Print the table to the terminal."""
    console = Console(width=None if Console().is_terminal else 160)
    table = Table(title="The library against its known optima", title_justify="left")
    for name in HEAD:
        table.add_column(name, overflow="fold")
    for row in cells(lines):
        table.add_row(*row)
    console.print(table)
    console.print(summary(lines))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m bench.library", description="Solve and certify the whole library.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="problems to run; default: all but the slow ones")
    parser.add_argument("--all", action="store_true", help="the slow ones and the large sizes as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page of the documentation there")
    chosen: Any = parser.parse_args(arguments)
    lines = run_all(
        cases(chosen.names, everything=chosen.all),
        progress=lambda title: print(f"solving: {title}", file=sys.stderr, flush=True),
    )
    show(lines)
    if chosen.markdown is not None:
        chosen.markdown.write_text(markdown(lines))


if __name__ == "__main__":
    main()
