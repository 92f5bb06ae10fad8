"""Solvers of other packages and our own through `trajopt.testing.check_solver`, and the page of what that found.

``python -m bench.conformance`` runs every solver that is installed in its own process, two at a time, and writes
``docs/conformance.md``; ``--theirs`` leaves ours out, and prints instead. The whole takes some minutes of two cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

from bench.adapters import ADAPTERS, installed
from bench.conformance_cases import SOLVERS, expected_failures
from bench.conformance_page import Example, markdown
from trajopt.solver import Solver
from trajopt.testing import CheckResult, check_solver
from trajopt.testing.results import tally

PAGE = Path("docs/conformance.md")
FINDINGS = Path(__file__).parent / "findings"
WORKERS = 2
PATIENCE = 60.0
"""Seconds that an example may take: each takes less than three, of which most are imports."""


@dataclass(frozen=True)
class Trial:
    """A solver and where it comes from: the distribution and its version, or this library."""

    solver: Solver
    origin: str

    def run(self) -> list[CheckResult]:
        """The fast profile, in a process of its own."""
        warnings.simplefilter("ignore")  # what a foreign solver warns of is no part of its answer
        expected = expected_failures(self.solver) if self.origin == "trajopt" else {}
        return check_solver(self.solver, expected_failures=expected)


def trials(*, ours: bool) -> list[Trial]:
    """Adapters of what is installed, then our own solvers."""
    found = [Trial(solver, f"{name} {version(name)}") for solver, name in installed() if solver is not None]
    return found + [Trial(solver, "trajopt") for solver in SOLVERS if ours]


def run_all(chosen: list[Trial]) -> list[tuple[Trial, list[CheckResult]]]:
    """Results in the order of the trials; spawned, since forks of a process with threads may hang."""
    results: dict[int, list[CheckResult]] = {}
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = {pool.submit(trial.run): number for number, trial in enumerate(chosen)}
        for done in as_completed(running):
            number = running[done]
            results[number] = done.result()
            print(f"{chosen[number].solver}: {tally(results[number])}", file=sys.stderr, flush=True)
    return [(trial, results[number]) for number, trial in enumerate(chosen)]


def examples() -> list[Example]:
    """Every script of ``bench/findings`` with what it prints today, where its package is installed."""
    present = {name for solver, name in installed() if solver is not None}
    found = []
    for path in sorted(FINDINGS.glob("[!_]*.py")):
        if not any(path.name.startswith(name.replace("-", "_")) for name in present):
            continue
        ended = subprocess.run(
            [sys.executable, str(path)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )  # fmt: skip
        found.append(Example(path.read_text(), ended.stdout + ended.stderr, ended.returncode))
    return found


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(prog="python -m bench.conformance", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--theirs", action="store_true", help="other packages alone, printed instead of written")
    chosen = parser.parse_args(arguments)
    results = run_all(trials(ours=not chosen.theirs))
    absent = sorted({name for *_, name in ADAPTERS} - {name for solver, name in installed() if solver is not None})
    page = markdown([(str(trial.solver), trial.origin, found) for trial, found in results], examples(), absent)
    if chosen.theirs:
        print(page)
    else:
        PAGE.write_text(page)


if __name__ == "__main__":
    main()
