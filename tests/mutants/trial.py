"""Try mutants one after another, each in a process of its own that is forked before `trajopt` is imported.

``python -m tests.mutants.trial`` reads a JSON list of trials from its input, and writes one JSON line for each. What
all need (CasADi, Numba, SciPy, Hypothesis) is imported once, before the first fork.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .loader import Finder
from .registry import MUTANTS

HEAVY = ("casadi", "numba", "numba.extending", "hypothesis", "pytest", "scipy.integrate", "scipy.special",
         "scipy.stats", "scipy.sparse.linalg", "concurrent.futures.thread", "rich.table")  # fmt: skip
TESTS = Path(__file__).parent.parent


@dataclass(frozen=True)
class Trial:
    """What to run on which library.

    Attributes
    ----------
    mutant
        Name of the mutant, "" for the library as it is.
    solver
        See `Mutant.solver`.
    names
        Checks and tests to run, in this order; empty: all checks that concern the solver.
    compiled
        See `Mutant.compiled`.
    """

    mutant: str
    solver: str
    names: tuple[str, ...] = ()
    compiled: bool = False


@dataclass
class Found:
    """What came of a trial: messages of failures by names, names of what passed, and why nothing ran."""

    failed: dict[str, str] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    error: str = ""


def run(trial: Trial) -> Found:
    """Run checks and tests on the library with the mutant in it; for a process that has not imported it."""
    begin, found = time.perf_counter(), Found()
    sys.meta_path.insert(0, Finder(MUTANTS[trial.mutant] if trial.mutant else None, trial.compiled))
    checks = _checks(trial.solver) if trial.solver else {}
    for name in trial.names or checks:
        message = _run_test(name) if "::" in name else checks[name]()
        if message:
            found.failed[name] = message
        else:
            found.passed.append(name)
    found.seconds = time.perf_counter() - begin
    return found


def _checks(solver: str) -> dict[str, Callable[[], str]]:
    """The checks that concern a solver: functions that say what failed, or ""."""
    from trajopt import solvers  # noqa: PLC0415 - only now, with the finder in place
    from trajopt.testing.registry import Check, all_checks  # noqa: PLC0415
    from trajopt.testing.suite import make_subject, run_check  # noqa: PLC0415

    made = eval(solver, {name: getattr(solvers, name) for name in solvers.__all__})  # the registry's own text
    subject = make_subject(made, None, "fast")

    def look(entry: Check) -> str:
        result = run_check(entry, subject, None)
        return "" if result.passed else result.message

    return {entry.name: functools.partial(look, entry) for entry in all_checks() if entry.concerns(subject)}


def _run_test(name: str) -> str:
    """What a test of this repository fails with, or ""."""
    import pytest  # noqa: PLC0415 - beside its one use

    settings = ["-q", "-x", "--tb=line", "-p", "no:cacheprovider", "-o", "filterwarnings=", "-o", "addopts="]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        code = pytest.main([*settings, str(TESTS / name)])
    return "" if code == pytest.ExitCode.OK else f"the test ended with {code!s}"


def in_a_fork(trial: Trial) -> Found:
    """The same, from a child of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            found = run(trial)
        except BaseException:
            found = Found(error=traceback.format_exc())
        with os.fdopen(writing, "w") as stream:
            json.dump(asdict(found), stream)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return Found(**json.loads(text)) if text else Found(error="the process died")


def main() -> None:
    """Read trials, write what came of them."""
    # Plain Python warns where compiled code says infinity or NaN in silence.
    warnings.simplefilter("ignore")
    for module in HEAVY:
        __import__(module)
    for entry in json.load(sys.stdin):
        trial = Trial(**entry)
        with tempfile.TemporaryDirectory() as folder:
            if trial.compiled:  # what a mutant compiles must never be found by anybody else
                os.environ["TRAJOPT_CACHE_DIR"] = folder
            print(json.dumps(asdict(in_a_fork(trial))), flush=True)


if __name__ == "__main__":
    main()
