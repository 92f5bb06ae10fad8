"""Pictures and the page of a comparison of solvers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from trajopt.compare import Comparison
from trajopt.files import write_atomically
from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.solution import Solution
from trajopt.view.facts import COLUMNS, Facts, texts
from trajopt.view.page import bullets, card, header, page, pictures, section
from trajopt.view.panels import Panel, overlaid, race
from trajopt.view.phases import overlaid_phases
from trajopt.view.plot import figure_of
from trajopt.view.style import SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trajopt.problems.reference import Reference


def plot_comparison(comparison: Comparison, reference: Reference | None = None) -> Figure:
    """States and controls of all answers over each other, and cost and violation over wall time."""
    solutions = comparison.solutions
    labels, answers = list(solutions), list(solutions.values())
    optimum = None if reference is None else reference.cost
    panels = [*_course(labels, answers), *race(labels, answers, optimum)] if answers else []
    title = f"{comparison.problem.name or 'problem'}: {', '.join(labels) or 'no solver took it'}"
    return figure_of(panels, title, shared_legend=True)


def write_comparison(comparison: Comparison, path: str | Path, reference: Reference | None = None) -> Path:
    """Write the comparison as one self-contained HTML file; returns its path."""
    path = Path(path)
    solutions = comparison.solutions
    labels, answers = list(solutions), list(solutions.values())
    name = comparison.problem.name or "problem"
    every = {label: Facts.gather(solution, reference) for label, solution in solutions.items()}
    certified = sum(facts.passed and facts.solution.success for facts in every.values())
    optimum = next((facts.optimum for facts in every.values()), None)
    known = [facts.optimum_text for facts in every.values()][:1] if reference is not None else []
    legend = _legend(labels)
    findings = [f"{label}: {sentence}" for label, facts in every.items() for sentence in facts.sentences]
    content = [
        header(
            name,
            f"{certified} of {len(comparison.rows)} certified",
            "good" if certified == len(comparison.rows) else "warn" if certified else "bad",
            "; ".join(["Comparison of solvers", *(f"known optimum {text}" for text in known)]),
        ),
        section("Results", card(_table(comparison))),
        section("What the certificates found", card(bullets(findings))),
    ]
    if answers:
        for title, panels in (
            ("Convergence over wall time", race(labels, answers, optimum)),
            ("States and controls", _course(labels, answers)),
        ):
            content.append(section(title, legend + pictures(panels, panels[0].section, legend=False)))
    text = page(f"{name}: comparison of solvers", content)
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def _course(labels: list[str], answers: Sequence[Solution | MultiPhaseSolution]) -> list[Panel]:
    """States and controls of all answers; all are of one problem, and so of one kind."""
    single = [answer for answer in answers if isinstance(answer, Solution)]
    several = [answer for answer in answers if isinstance(answer, MultiPhaseSolution)]
    return overlaid(labels, single) if single else overlaid_phases(labels, several)


def _legend(labels: list[str]) -> str:
    entries = (
        f'<li><i style="background:{color}"></i>{escape(label)}</li>'
        for color, label in zip(itertools.cycle(SERIES), labels, strict=False)
    )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def _table(comparison: Comparison) -> str:
    lines = []
    for record in comparison.records():
        cells = f'<td class="warn" colspan="7">{escape(record["refusal"])}</td>'
        if not record["refusal"]:
            tones = {"status": _tone(record["status"] == "solved"), "certified": _tone(record["certified"])}
            cells = "".join(
                f'<td class="number {tones.get(name, "")}">{escape(text)}</td>' for name, text in texts(record).items()
            )
        lines.append(f"<tr><th>{escape(record['solver'])}</th>{cells}</tr>")
    head = "".join(f"<th>{title}</th>" for title in ("solver", *COLUMNS))
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _tone(good: bool) -> str:
    return "good" if good else "bad"
