"""``python -m tests.mutants``: try every mutant against the killers that the registry names, and write docs/mutants.md.

With names of mutants as arguments all checks that concern their solvers run, which tells who else kills them; nothing
is written. The exit status says whether every mutant was killed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from .mutant import Mutant
from .registry import MUTANTS
from .trial import Found, Trial
from .trials import ROOT, baselines, run_trials

PAGE = ROOT / "docs" / "mutants.md"
INTRODUCTION = """# Mutants: proof that the suite bites

A suite that never fails proves nothing. Each row below is a mistake that somebody could make: one passage of the
library's source, replaced while it is imported. A check kills a mutant if it fails on it and passes on the library as
it is.

`python -m tests.mutants` tries them all and writes this page. CI tries one of each kind in every run, and all of them
in the thorough one: `pytest -m thorough tests/test_mutants.py`. The registry is in `tests/mutants`; a passage that is
no longer there exactly once fails the tests, so that mutants follow the source.

Names with `::` are tests of this repository, for what no solver shows by its answers: a certificate that is blind, how
fast a method converges, or what a tree keeps count of.
"""


def judge(mutants: Iterable[Mutant], *, wide: bool) -> Iterator[tuple[Mutant, Found]]:
    """What came of each mutant; ``wide``: by all checks that concern its solver, else by the killers of the registry.

    Raises
    ------
    RuntimeError
        When a check fails without a mutant, or nothing could be run.
    """
    for compiled in (False, True):
        chosen = [mutant for mutant in mutants if mutant.compiled == compiled]
        trials = [Trial(m.name, m.solver, () if wide else m.killers, compiled=compiled) for m in chosen]
        for trial, found in zip(sound := baselines(trials), run_trials(sound), strict=True):
            if found.failed or found.error:
                raise RuntimeError(f"Without a mutant {trial.solver} fails: {found.failed} {found.error}")
        for mutant, found in zip(chosen, run_trials(trials), strict=True):
            if found.error:
                raise RuntimeError(f"{mutant.name}: {found.error}")
            yield mutant, found


def page(verdicts: dict[str, Found]) -> str:
    """The table, in the order of the registry."""
    rows = []
    for name, mutant in MUTANTS.items():
        killers = ", ".join(f"`{killer}`" for killer in verdicts[name].failed)
        solver = f"`{mutant.solver}`" if mutant.solver else ""
        rows.append(f"| {name} | `{mutant.module}` | {solver} | {killers or '**survives**'} |")
    killed = sum(bool(found.failed) for found in verdicts.values())
    head = ["| what is wrong | in | on trial | killed by |", "| --- | --- | --- | --- |"]
    return "\n".join([INTRODUCTION, f"{killed} of {len(verdicts)} are killed.", "", *head, *rows, ""])


def main() -> int:
    """Try, print, and write."""
    chosen, verdicts = sys.argv[1:], {}
    for mutant, found in judge([MUTANTS[name] for name in chosen or MUTANTS], wide=bool(chosen)):
        verdicts[mutant.name] = found
        idle = [name for name in mutant.killers if name in found.passed]
        print(f"{mutant.name}: {', '.join(found.failed) or 'SURVIVES'}", flush=True)
        if idle:
            print(f"  the registry names {', '.join(idle)}, which passed: correct it.", flush=True)
    if not chosen:
        PAGE.write_text(page(verdicts))
    return int(not all(found.failed for found in verdicts.values()))


if __name__ == "__main__":
    sys.exit(main())
