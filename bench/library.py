"""``python -m bench.library [--all] [--markdown FILE] [--resume FILE] [NAME ...]``: the library against its optima.

Every problem is solved by every solver below that handles it, from the problem's own guess, on its own mesh, with the
solver's defaults; the certificate says what the answer is worth. ``docs/problems.md`` is the output of ``--all``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cases import Instance
from bench.sheet import show
from trajopt import problems, solve
from trajopt.errors import MissingExtra
from trajopt.problem import Problem
from trajopt.problems.reference import Reference
from trajopt.solver import Solver
from trajopt.solvers import DDP, ILQR, Collocation, InteriorPoint, MultipleShooting

SOLVERS: dict[str, Solver] = {
    "Collocation": Collocation(),
    "InteriorPoint": InteriorPoint(),
    "IPOPT": MultipleShooting(),
    "ILQR": ILQR(),
    "DDP": DDP(),
}
"""What stands in the table. The first is IPOPT on Hermite-Simpson; the third is IPOPT on the transcription of the
second, multiple shooting with held controls."""

SLOW = frozenset({"car-escape", *(name for name in problems.names() if problems.extra(name) == "robots")})
"""Half a minute and more, on solving or on compiling: only with ``--all``, or by name."""

SIMULATED = frozenset(name for name in problems.names() if "black-box" in problems.reference(name).tags)
"""Problems whose dynamics are a simulator: the solvers of the table need expressions."""

LONGEST = 60.0
"""Seconds after which a solve is stopped."""


@dataclass(frozen=True)
class Case:
    """A problem of the library and what is known of it at that size."""

    instance: Instance
    reference: Reference


@dataclass(frozen=True)
class Line:
    """One solver on one case, as plain data.

    Attributes
    ----------
    title, solver
        What was solved, and by what.
    success, status, iterations, seconds
        How the solve ended.
    cost, error, passed, finding
        What the certificate says: the true cost, the estimated distance from the optimum, the verdict, and the first
        reason against it.
    """

    title: str
    solver: str
    success: bool
    status: str
    iterations: int
    seconds: float
    cost: float
    error: float
    passed: bool
    finding: str


def large(title: str, name: str, optimum: float, digits: int, **settings: int) -> Case:
    """Return a case at a size for which other software published optimum and time."""
    return Case(Instance(title, name, settings), Reference(optimum, digits, "FATROP and IPOPT"))


LARGE = (
    large("dtoc1l, 1000 knots, (5, 10)", "dtoc1l", 125.338129736, 12, controls=5, states=10, steps=999),
    large("dtoc3, 5000 knots", "dtoc3", 235.262481035, 12, steps=4999),
    large("dtoc6, 5001 knots", "dtoc6", 134850.616259, 10, steps=5000),
)
"""Only with ``--all``."""


def cases(names: Sequence[str] = (), *, everything: bool = False) -> list[Case]:
    """Return the cases by those names; without names all but the simulated, sorted, slow and large ones on request."""
    traced = [name for name in problems.names() if name not in SIMULATED]
    chosen = names or [name for name in traced if everything or name not in SLOW]
    found = [Case(Instance(name, name), problems.reference(name)) for name in chosen]
    large_ones = LARGE if everything and not names else ()
    return sorted([*found, *large_ones], key=lambda case: case.instance.title)


def run(title: str, problem: Problem, label: str) -> Line:
    """Solve one case with one solver, twice, and certify the second answer."""
    solver = SOLVERS[label]
    first = solve(problem, solver, max_time=LONGEST)
    # What ends after seconds without success would do so again.
    answer = first if first.seconds > 5.0 and not first.success else solve(problem, solver, max_time=LONGEST)
    certificate = answer.certificate
    return Line(
        title, label, answer.status.success, str(answer.status), answer.iterations, answer.seconds,
        certificate.cost, certificate.error, certificate.passed, (*certificate.findings, "")[0],
    )  # fmt: skip


def run_all(
    chosen: Sequence[Case], progress: Callable[[str], None], known: Iterable[Line] = (), keep: Path | None = None
) -> list[Line]:
    """Solve every case with every solver that handles it.

    Parameters
    ----------
    chosen
        What to solve; a case whose extra is not installed is left out, and said.
    progress
        Told what comes next.
    known
        Lines of an earlier run, which are taken as they are.
    keep
        File to which each new line is added at once.
    """
    done = {(line.title, line.solver): line for line in known}
    lines = []
    for number, case in enumerate(chosen, 1):
        title = case.instance.title
        try:
            problem = case.instance.load()
        except MissingExtra as error:
            progress(f"left out: {title}: {error}")
            continue
        for label in (label for label, solver in SOLVERS.items() if problem.features <= solver.handles):
            line = done.get((title, label))
            if line is None:
                progress(f"{number} of {len(chosen)}: {title}, {label}")
                line = run(title, problem, label)
                if keep is not None:
                    with keep.open("a") as file:
                        file.write(json.dumps(dataclasses.asdict(line)) + "\n")
            lines.append(line)
    return lines


def read_lines(file: Path) -> Iterator[Line]:
    """Lines that an earlier run has kept."""
    if file.exists():
        for text in file.read_text().splitlines():
            yield Line(**json.loads(text))


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


def verdict(line: Line, reference: Reference) -> str:
    """Return how the answer compares with the published optimum."""
    if reference.cost is None:
        return "-"
    margin = reference.tolerance + line.error
    if line.success and line.passed and line.cost < reference.cost - margin:
        return "better"
    return f"{agreeing_digits(line.cost, reference)} of {reference.digits}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and do what it says."""
    from bench import library_page  # noqa: PLC0415 - the page is made of this module's lines

    parser = argparse.ArgumentParser(prog="python -m bench.library", description="Solve and certify the whole library.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="problems to run; default: all but the slow ones")
    parser.add_argument("--all", action="store_true", help="the slow ones and the large sizes as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page of the documentation there")
    parser.add_argument(
        "--resume", type=Path, metavar="FILE", help="keep every result in FILE as it comes, and take those it has"
    )
    chosen: Any = parser.parse_args(arguments)
    selected = cases(chosen.names, everything=chosen.all)
    lines = run_all(
        selected,
        progress=lambda text: print(text, file=sys.stderr, flush=True),
        known=[] if chosen.resume is None else read_lines(chosen.resume),
        keep=chosen.resume,
    )
    references = {case.instance.title: case.reference for case in selected}
    show([library_page.sheet(lines, references)], library_page.summary(lines))
    if chosen.markdown is not None:
        chosen.markdown.write_text(library_page.markdown(lines, references))


if __name__ == "__main__":
    main()
