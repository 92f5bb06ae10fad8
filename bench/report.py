"""The result of `python -m bench` as tables of text, or as numbers in JSON."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from bench.machine import describe_machine, package_versions
from bench.measure import Row, duration
from bench.sheet import Sheet
from bench.solves import Run


def quantity(row: Row, value: float | None) -> str:
    """Return the value with its unit."""
    if value is None:
        return "-"
    return duration(value) if row.unit == "s" else f"{value:g} {row.unit}"


def target_sheet(rows: Sequence[Row]) -> Sheet:
    """One line for each target, with whatever competitors could be run."""
    lines = []
    for row in rows:
        others = "; ".join(f"{name} {quantity(row, value)}" for name, value in row.others.items())
        ratios = "; ".join(f"{value / row.ours:.2g}x" for value in row.others.values() if row.ours)
        here = quantity(row, row.ours)
        lines.append((row.what, row.anchor, row.target, here, others or "-", ratios or "-", row.note))
    head = ("what", "published", "target", "here, now", "other, here, now", "other / ours", "remark")
    return Sheet("How fast", head, tuple(lines))


def solve_sheet(runs: Sequence[Run]) -> Sheet:
    """One line for each competitor on each case."""
    lines, before = [], None
    for run in runs:
        title = "" if run.case == before else run.case
        before = run.case
        if run.answer is None or run.verdict is None:
            lines.append((title, run.solver, run.remark, *["-"] * 7))
            continue
        each = run.seconds / max(run.answer.iterations, 1)
        lines.append((
            title, run.solver, run.answer.status, f"{run.verdict.cost:.8g}", f"{run.verdict.violation:.0e}",
            str(run.answer.iterations), duration(run.setup), duration(run.seconds), duration(each),
            "-" if run.ratio is None else f"{run.ratio:.2g}x",
        ))  # fmt: skip
    head = ("problem", "solver", "status", "cost", "violation", "iterations", "set-up", "solve", "iteration", "/ ILQR")
    return Sheet("The same discretised problem from the same guess", head, tuple(lines))


def preamble() -> str:
    """Date, machine, versions, and how it was measured."""
    versions = ", ".join(f"{name} {number}" for name, number in package_versions().items())
    return (
        f"{datetime.date.today().isoformat()}; {describe_machine()}; {versions}. "
        "Competitors take turns in one process; "
        "medians are shown. One judge computes cost and violation from the returned trajectory. Multiple shooting "
        "starts from the states of the guess as well, shooting from its controls alone. Set-up: from the problem to a "
        "solver that can start, with nothing of it cached."
    )


def markdown(sheets: Sequence[Sheet]) -> str:
    """Return the sheets for the documentation."""
    return "\n\n".join([preamble(), *(f"### {sheet.title}\n\n{sheet.markdown()}" for sheet in sheets)]) + "\n"


def as_json(rows: Sequence[Row], runs: Sequence[Run]) -> dict[str, Any]:
    """Numbers in seconds, for machines."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": describe_machine(),
        "versions": package_versions(),
        "targets": [{**vars(row), "others": dict(row.others)} for row in rows],
        "solves": [_run_record(run) for run in runs],
    }


def _run_record(run: Run) -> dict[str, Any]:
    record = {name: getattr(run, name) for name in ("case", "solver", "remark", "setup", "seconds", "ratio")}
    if run.answer is not None and run.verdict is not None:
        record |= {"solved": run.answer.solved, "status": run.answer.status, "iterations": run.answer.iterations}
        record |= vars(run.verdict)
    return record
