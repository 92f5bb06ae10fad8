"""The page that `bench.conformance` writes: how many checks each solver passes, which check, and what was found."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.machine import describe_machine
from bench.sheet import Sheet
from trajopt.testing import CheckResult, Verdict, all_checks

SIGNS = {
    Verdict.PASSED: "+",
    Verdict.FAILED: "**failed**",
    Verdict.NOT_APPLICABLE: "n/a",
    Verdict.EXPECTED_FAILURE: "expected",
    Verdict.UNEXPECTED_PASS: "**unexpected**",
}

INTRODUCTION = """\
# Conformance of other packages' solvers, and of ours

One command makes this page: `python -m bench.conformance` (after `pip install -c constraints.txt -e ".[bench,test]"`).
It runs the fast profile of `trajopt.testing.check_solver` ([the guide](guide/testing.md) says what each check means) on
{machine}.

Solvers of other packages pass through thin adapters, `bench/adapters/`: the problem is translated, solved with the
package's own tolerances, and what comes back is given back as it is. A solver is subject to those checks that its
features and claims ask for. Crocoddyl's solvers claim first-order optimality and one step on linear-quadratic
problems, CasADi's `Opti` with IPOPT the same, SciPy's methods first-order optimality, and pytorch_mppi nothing. Not
applicable (n/a) also means that there was nothing to look at: pytorch_mppi knows no convergence, so that no answer of
it is a success; SciPy's answers have no costates.

A check that fails is no verdict by itself: the section "What the suite found" shows each cause in the package's own
words, without an adapter, and tells defects from what is so by design.
"""

DIFFERENCES = """\
## Differences by design that the adapters heed

- Crocoddyl's DDP solvers govern no terminal, path or state constraints: the adapters do not declare them.
- `Opti.callback` can end a solve only by an exception, whose traceback CasADi prints; the adapter therefore passes an
  `iteration_callback`, as `nlpsol` has it.
- First-order methods may end on a maximum if they start there: nobody but us claims more, and none is checked for it.
- `ftol` is SLSQP's "precision goal for the value of f", set to 1e-8 here (its default is 1e-6); the suite's costs are
  about one.
- pytorch_mppi's temperature (0.01) and noise (0.5) were chosen for the suite's costs after `more_samples_do_better` had
  failed with 0.1 and 0.25 (256 samples beat 16 for 16 of 24 seeds). With its own default temperature of 1 it fails too
  (9 to 13 of 24, noise 0.25 to 1): at that temperature nearly all samples weigh the same, which is no defect.
- Limits of iterations are wider than the packages' own: 500 for Crocoddyl (100), 1000 for SLSQP (100).
- mctx is left out: it brings JAX, and plays decision processes, for which `check_solver` has no checks.
"""

Row = tuple[str, str, Sequence[CheckResult]]
"""Solver, where it comes from, results."""


@dataclass(frozen=True)
class Example:
    """A script of ``bench/findings`` and what it printed.

    Attributes
    ----------
    source
        The whole file.
    output
        Of both streams.
    code
        With which it exited; negative: the signal that ended it.
    """

    source: str
    output: str
    code: int

    @cached_property
    def text(self) -> tuple[str, str]:
        """Title and explanation."""
        title, _, rest = (ast.get_docstring(ast.parse(self.source)) or "").partition("\n\n")
        return title.rstrip("."), rest

    def markdown(self) -> str:
        """Title, explanation, code and output."""
        title, explanation = self.text
        code = self.source.split('"""', 2)[2].strip()
        ended = f"\n(ended by signal {-self.code})" if self.code < 0 else f"\n(exit status {self.code})"
        output = self.output.strip() + (ended if self.code else "")
        return f"### {title}\n\n{explanation}\n\n```python\n{code}\n```\n\nprints\n\n```text\n{output}\n```"


def counts(rows: Sequence[Row]) -> Sheet:
    """One line for each solver: how many checks passed, failed and were not applicable, and how long they took."""
    lines = []
    for solver, origin, results in rows:
        count = {verdict: sum(result.verdict is verdict for result in results) for verdict in Verdict}
        wrong = ", ".join(f"`{result.name}`" for result in results if not result.passed)
        numbers = (count[Verdict.PASSED], count[Verdict.FAILED] + count[Verdict.UNEXPECTED_PASS],
                   count[Verdict.EXPECTED_FAILURE], count[Verdict.NOT_APPLICABLE])  # fmt: skip
        seconds = f"{sum(result.seconds for result in results):.0f} s"
        lines.append((f"`{solver}`", origin, *map(str, numbers), seconds, wrong or "-"))
    head = ("solver", "of", "passed", "failed", "expected failures", "n/a", "time", "what failed")
    return Sheet("All checks", head, tuple(lines))


def by_family(rows: Sequence[Row]) -> list[str]:
    """For each family of checks a table: solvers down, checks across by their numbers in the list above it."""
    families: dict[str, list[str]] = {}
    for entry in all_checks():
        families.setdefault(entry.family, []).append(entry.name)
    parts = []
    for family, known in families.items():
        found = [(solver, {r.name: r for r in results if r.family == family}) for solver, _, results in rows]
        names = [name for name in known if any(name in results for _, results in found)]
        lines = tuple(
            (f"`{solver}`", *(SIGNS[results[name].verdict] if name in results else "" for name in names))
            for solver, results in found
        )  # fmt: skip
        legend = ", ".join(f"{number} `{name}`" for number, name in enumerate(names, 1))
        sheet = Sheet(family, ("solver", *map(str, range(1, len(names) + 1))), lines)
        parts.append(f"### {family.capitalize()}\n\n{legend}\n\n{sheet.markdown()}")
    return parts


def messages(rows: Sequence[Row]) -> str:
    """What each failed check of each solver says."""
    lines = [
        f"- `{solver}`, `{result.name}`: {' '.join(result.message.split())}"
        for solver, _, results in rows
        for result in results
        if not result.passed
    ]
    return "\n".join(lines) or "None."


def markdown(rows: Sequence[Row], examples: Sequence[Example], absent: Sequence[str]) -> str:
    """The page; ``absent`` names the packages that were not installed."""
    left_out = f"Not installed, and therefore left out: {', '.join(absent)}.\n" if absent else ""
    return "\n\n".join([
        INTRODUCTION.format(machine=describe_machine()).rstrip(),
        *([left_out.rstrip()] if left_out else []),
        counts(rows).markdown(),
        f"The failures, in the words of the checks:\n\n{messages(rows)}",
        "## What the suite found",
        *(example.markdown() for example in examples),
        DIFFERENCES.rstrip(),
        "## Every solver and every check",
        f"{', '.join(f'{sign}: {verdict}' for verdict, sign in SIGNS.items())}; empty: it is not subject to the check.",
        *by_family(rows),
    ]) + "\n"  # fmt: skip
