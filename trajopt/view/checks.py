"""Tables and the page of what checks found."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from trajopt.files import write_atomically
from trajopt.testing.results import CheckResult, Verdict, tally
from trajopt.view.page import card, header, page, section, tiles

_TONES = {
    Verdict.PASSED: ("green", "good"),
    Verdict.FAILED: ("red", "bad"),
    Verdict.NOT_APPLICABLE: ("dim", "none"),
    Verdict.EXPECTED_FAILURE: ("yellow", "warn"),
    Verdict.UNEXPECTED_PASS: ("red", "bad"),
}


def checks_table(results: Sequence[CheckResult], every: bool = True) -> Table:
    """One row for each check, or only for those that did not simply pass."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("family", style="dim", overflow="fold", width=12)
    table.add_column("check", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("what is wrong, or why", overflow="fold", ratio=1)
    last = ""
    for result in results:
        if not every and result.verdict is Verdict.PASSED:
            continue
        family = "" if result.family == last else result.family
        last = result.family
        cells = (family, result.name, Text(result.verdict, _TONES[result.verdict][0]), f"{result.seconds:.2f}")
        table.add_row(*cells, Text(result.message))
    return table


def write_checks(results: Sequence[CheckResult], path: str | Path) -> Path:
    """Write what the checks of one or several subjects found as one self-contained HTML file; returns its path."""
    path = Path(path)
    subjects = list(dict.fromkeys(result.subject for result in results))
    wrong = [result for result in results if not result.passed]
    title = subjects[0] if len(subjects) == 1 else f"{len(subjects)} subjects"
    badge = f"{len(wrong)} wrong" if wrong else "conforms"
    seconds = sum(result.seconds for result in results)
    counts = [(verdict, sum(result.verdict is verdict for result in results)) for verdict in Verdict]
    content = [
        header(title, badge, "bad" if wrong else "good", "Conformance by trajopt.testing"),
        tiles(
            [(verdict, str(count), "", _TONES[verdict][1]) for verdict, count in counts if count]
            + [("time", f"{seconds:.1f} s", f"{len(results)} checks", "")]
        ),
        section("What is wrong", card(_rows(wrong, len(subjects) > 1)) if wrong else ""),
    ]
    for subject in subjects:
        own = [result for result in results if result.subject == subject]
        families = list(dict.fromkeys(result.family for result in own))
        heading = f"{subject}: " if len(subjects) > 1 else ""
        for family in families:
            content.append(
                section(heading + family.capitalize(), card(_rows([r for r in own if r.family == family], False)))
            )
    text = page(f"{title}: {tally(results)}", content)
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def _rows(results: Sequence[CheckResult], with_subject: bool) -> str:
    lines = []
    for result in results:
        subject = f"<br><small>{escape(result.subject)}</small>" if with_subject else ""
        message = f"<br><small>{escape(result.message)}</small>" if result.message else ""
        lines.append(
            f"<tr><th>{escape(result.name.replace('_', ' '))}{subject}</th>"
            f'<td class="mark {_TONES[result.verdict][1]}">{result.verdict}</td>'
            f'<td class="number">{result.seconds:.2f} s</td><td class="number">{escape(result.rule)}</td>'
            f"<td>{escape(result.meaning)}{message}</td></tr>"
        )
    head = "".join(f"<th>{title}</th>" for title in ("check", "verdict", "time", "tolerance", "meaning"))
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"
