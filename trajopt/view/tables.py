"""Tables for the terminal, made with rich."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from trajopt.view.facts import COLUMNS, Facts, number, texts

if TYPE_CHECKING:
    from trajopt.compare import Comparison
    from trajopt.problems.decision_reference import DecisionReference

_LOOK: dict[str, Any] = {"box": box.SIMPLE_HEAD, "header_style": "bold", "pad_edge": False}


def summary_table(facts: Facts) -> Table:
    """Solver, status, cost, known optimum, verdict and time of one answer."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    tones = {"status": _tone(facts.solution.success), "certificate": _tone(facts.passed)}
    for label, value in facts.rows:
        table.add_row(label, Text(value, tones.get(label, "")))
    return table


def certificate_table(facts: Facts) -> Table | None:
    """Each number of the certificate with its verdict; None without a certificate."""
    if facts.certificate is None:
        return None
    table = Table(**_LOOK)
    table.add_column("certificate", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("meaning", style="dim", overflow="fold")
    for check in facts.checks:
        verdict = Text("for information", "dim")
        if check.passed is not None:
            word = "within" if check.passed else "beyond"
            verdict = Text(f"{word} {check.limit:.1e}", _tone(check.passed))
        table.add_row(check.name, number(check.value, 3), verdict, Text(check.sentence))
    return table


def comparison_table(comparison: Comparison) -> Table:
    """One row for each solver; one that refused says why."""
    table = Table(**_LOOK)
    table.add_column("solver", overflow="fold")
    table.add_column("status", overflow="fold", ratio=1)
    for title in COLUMNS[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    for record in comparison.records():
        if record["refusal"]:
            table.add_row(Text(record["solver"]), Text(record["refusal"], "yellow"))
            continue
        tones = {"status": _tone(record["status"] == "solved"), "certified": _tone(record["certified"])}
        cells = (Text(text, tones.get(name, "")) for name, text in texts(record).items())
        table.add_row(Text(record["solver"]), *cells)
    return table


def library_table(entries: list[tuple[str, str, str, str, str]]) -> Table:
    """Problems of the library: name, sizes, optimum, tags, source."""
    table = Table(**_LOOK)
    table.add_column("problem", no_wrap=True)
    table.add_column("x/u", justify="right", no_wrap=True)
    table.add_column("known optimum", justify="right", no_wrap=True)
    table.add_column("tags", overflow="fold", ratio=2)
    table.add_column("source", style="dim", overflow="fold", ratio=3)
    for entry in entries:
        table.add_row(*map(Text, entry))
    return table


def decision_table(entries: list[tuple[str, DecisionReference]]) -> Table:
    """Decision problems of the library: name, value of the initial state, tags, source."""
    table = Table(**_LOOK)
    table.add_column("decision problem", no_wrap=True)
    table.add_column("known value", justify="right", no_wrap=True)
    table.add_column("tags", overflow="fold", ratio=2)
    table.add_column("source", style="dim", overflow="fold", ratio=3)
    for name, known in entries:
        initial = [f"{entry.value:.6g}" for entry in known.values if entry.state is None and not entry.moves]
        table.add_row(*map(Text, (name, *(initial or [""]), ", ".join(known.tags), known.source)))
    return table


def solver_table(entries: list[tuple[str, str]]) -> Table:
    """Registered solvers and what they cannot treat."""
    table = Table(**_LOOK)
    table.add_column("solver", no_wrap=True)
    table.add_column("does not handle", style="dim", overflow="fold")
    for entry in entries:
        table.add_row(*map(Text, entry))
    return table


def _tone(good: bool) -> str:
    return "green" if good else "red"
