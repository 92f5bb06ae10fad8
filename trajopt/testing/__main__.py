"""``python -m trajopt.testing``: every check and what it means, as the tables of docs/guide/testing.md."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from trajopt.testing.registry import SOLVERS, Check, Family, all_checks


def tables() -> str:
    """One Markdown table for each family, generated from the docstrings of the checks."""
    suites = (SOLVERS, Family.PROBLEM, Family.DYNAMICS, Family.DECISION_PROCESS)
    checks = [entry for suite in suites for entry in all_checks(suite)]
    parts = []
    for family, members in groupby(checks, key=lambda entry: entry.family):
        rows = [f"| `{entry.name}` | {entry.meaning} | {', '.join(_subjects(entry)) or 'all'} | {entry.rule} |"
                for entry in members]  # fmt: skip
        head = ["| check | what holds | of whom | tolerance |", "| --- | --- | --- | --- |"]
        parts.append("\n".join([f"### {str(family).capitalize()}", "", *head, *rows]))
    return "\n\n".join(parts) + "\n"


def _subjects(entry: Check) -> Iterator[str]:
    """What a solver must say of itself to be subject to a check."""
    yield from (f"`{claim.name}`" for claim in sorted(entry.claims))
    yield from sorted(map(str, entry.features))
    yield from (f"setting `{name}`" for name in sorted(entry.settings))
    if entry.thorough:
        yield "thorough profile"


if __name__ == "__main__":
    print(tables(), end="")
