"""The report on one answer: a single HTML file that opens without a network."""

from __future__ import annotations

from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from trajopt.files import write_atomically
from trajopt.multi_phase_certificate import MultiPhaseCertificate
from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.view.animation import animation_element
from trajopt.view.facts import Facts, duration, number
from trajopt.view.page import bullets, card, facts_list, header, page, pictures, section, tiles
from trajopt.view.panels import control_panels, convergence_panels, costate_panels, margin_panels, state_panels
from trajopt.view.phases import describe_phases, link_rows, phase_costates, phase_panels

if TYPE_CHECKING:
    from trajopt.problems.drawing import Drawing
    from trajopt.problems.reference import Reference

_MARKS = {True: ("good", "✓ within"), False: ("bad", "✗ beyond"), None: ("none", "· for information")}


def write_report(
    solution: Solution | MultiPhaseSolution,
    path: str | Path,
    reference: Reference | None = None,
    drawing: Drawing | None = None,
) -> Path:
    """Write the report on a solution.

    Parameters
    ----------
    solution
        What to report on; it may have failed.
    path
        The file, replaced only when the new one is complete.
    reference
        What was known about the problem beforehand.
    drawing
        How to animate the system; default: the reference's picture.

    Returns
    -------
    Path
        Of the file.
    """
    path = Path(path)
    text = report_page(Facts.gather(solution, reference), drawing)
    write_atomically(path, lambda file: file.write(text.encode()))
    return path


def report_page(facts: Facts, drawing: Drawing | None = None) -> str:
    """The report as HTML."""
    solution, reference = facts.solution, facts.reference
    if drawing is None and reference is not None:
        drawing = reference.picture
    single = isinstance(solution, Solution)
    moving = "" if drawing is None or not single else card(animation_element(solution, drawing, facts.name))
    words, table = card(_words(facts)), card(facts_list(facts.rows))
    happened = f'<div class="pair">{words}{moving}</div>' if moving else words
    return page(
        f"{facts.name}: {facts.solver}",
        [
            header(facts.name, str(solution.status), "good" if solution.success else "bad", _subtitle(facts)),
            _tiles(facts),
            section("What happened", _stack(happened, table)),
            section("Certificate", _stack(card(_certificate(facts), "certificate"), card(_worst(facts)))),
            *_plots(facts),
            "" if single else section("Links", card(facts_list(link_rows(solution)))),
            section("The problem", card(facts_list(_description(facts)))),
        ],
    )


def _subtitle(facts: Facts) -> str:
    source = "" if facts.reference is None else f"  ·  {facts.reference.source}"
    return f"answer of {facts.solver}{source}"


def _stack(*parts: str) -> str:
    return f'<div class="stack">{"".join(parts)}</div>'


def _tiles(facts: Facts) -> str:
    solution, certificate = facts.solution, facts.certificate
    cost_note = "as the solver reports it"
    if certificate is not None and np.isfinite(certificate.cost):
        cost_note = f"simulated again: {number(certificate.cost, 7)}"
    known = facts.reference is not None and facts.reference.optimum is not None
    tone = "good" if facts.passed and solution.success else "warn" if facts.passed else "bad"
    count = len(facts.certificate.findings) if facts.certificate is not None else 0
    note = f"at tolerance {certificate.tolerance:g}" if certificate is not None else "no certificate"
    if count:
        note = f"{count} finding{'s' if count > 1 else ''} {note}"
    entries = [
        ("Cost", number(solution.cost, 7), cost_note, ""),
        ("Known optimum", facts.optimum_text.partition(",")[0], _optimum_note(facts) if known else "", ""),
        ("Certificate", facts.verdict, note, tone),
        ("Iterations", str(solution.iterations), "", ""),
        ("Time", duration(solution.seconds), "without the certificate", ""),
    ]
    return tiles(entry for entry in entries if entry[0] != "Known optimum" or known)


def _optimum_note(facts: Facts) -> str:
    sense = "a maximum; " if facts.reference is not None and facts.reference.kind == "maximum" else ""
    return f"{sense}relative difference {facts.difference_text.partition(',')[0]}"


def _words(facts: Facts) -> str:
    try:
        text = facts.solution.explain()
    except Exception as error:  # as for the certificate: an explanation that breaks must not hide the answer
        text = f"{facts.solution.message}\nNo explanation could be made: {type(error).__name__}: {error}"
    parts = []
    for listed, lines in groupby(text.splitlines(), key=lambda line: line.lstrip().startswith("- ")):
        if listed:
            parts.append(bullets([line.lstrip()[2:] for line in lines]))
        else:
            parts += [f"<p>{escape(line)}</p>" for line in lines if line.strip()]
    return f'<div class="explanation">{"".join(parts)}</div>'


def _certificate(facts: Facts) -> str:
    if facts.certificate is None:
        return f'<p class="bad">{escape(facts.trouble)}</p>'
    rows = []
    for check in facts.checks:
        tone, mark = _MARKS[check.passed]
        limit = "" if check.limit is None else f" {check.limit:.1e}"
        rows.append(
            f'<tr><th>{escape(check.name)}</th><td class="number">{number(check.value, 3)}</td>'
            f'<td class="mark {tone}">{mark}{limit}</td><td>{escape(check.sentence)}</td></tr>'
        )
    verdict = "Nothing speaks against this answer." if facts.passed else "The check found the following."
    tone = "good" if facts.passed else "bad"
    return (
        f'<table>{"".join(rows)}</table><p class="{tone}"><b>{verdict}</b></p>'
        f"{bullets(facts.certificate.findings)}{bullets(facts.certificate.remarks, 'none')}"
    )


def _worst(facts: Facts) -> str:
    """The constraints that are violated or nearest to it."""
    if facts.certificate is None or not facts.certificate.worst:
        return ""
    records = facts.certificate.worst[:8]
    lines = "".join(
        f'<tr><td>{escape(record.name)}</td><td class="number">{number(record.time, 4)}</td><td class="number">'
        f"{number(abs(record.amount), 3)}</td><td>{_manner(record.amount, facts.certificate.tolerance)}</td></tr>"
        for record in records
    )
    head = "<tr><th>tightest limits</th><th>time</th><th>amount</th><th></th></tr>"
    return f"<table>{head}{lines}</table>"


def _manner(amount: float, tolerance: float) -> str:
    if amount <= 0.0:
        return "margin"
    return '<span class="bad">violated</span>' if not amount <= tolerance else "exceeded, within the tolerance"


def _plots(facts: Facts) -> list[str]:
    solution, certificate = facts.solution, facts.certificate
    if isinstance(solution, MultiPhaseSolution):
        return _phase_plots(facts, solution)
    assert not isinstance(certificate, MultiPhaseCertificate)
    measured = None
    if certificate is not None and certificate.x.size and certificate.x.shape[1:] == solution.x.shape[1:]:
        measured = (certificate.t, certificate.x)
    groups = [
        ("States and controls", "course", [*state_panels(solution, measured), *control_panels(solution)]),
        ("Constraint margins", "margins", margin_panels(solution)),
        ("Convergence", "convergence", convergence_panels(solution, facts.optimum)),
    ]
    if certificate is not None and certificate.costates.shape == solution.x.shape:
        groups.append(("Costates", "costates", costate_panels(solution, certificate.costates)))
    return [section(title, pictures(panels, key)) for title, key, panels in groups]


def _phase_plots(facts: Facts, solution: MultiPhaseSolution) -> list[str]:
    groups = [
        ("States and controls", "course", phase_panels(solution, measured=facts.certificate is not None)),
        ("Convergence", "convergence", convergence_panels(solution, facts.optimum)),
    ]
    if facts.certificate is not None:
        groups.append(("Costates", "costates", phase_costates(solution)))
    return [section(title, pictures(panels, key)) for title, key, panels in groups]


def _description(facts: Facts) -> list[tuple[str, str]]:
    problem, reference = facts.solution.problem, facts.reference
    assert problem is not None
    if isinstance(facts.solution, MultiPhaseSolution):
        rows = describe_phases(facts.solution)
    else:
        assert isinstance(problem, Problem)
        kind = "continuous time" if problem.dynamics.continuous else "discrete time"
        rows = [
            ("dynamics", f"{kind}, {problem.nx} states, {problem.nu} controls"),
            ("states", ", ".join(problem.dynamics.states)),
            ("controls", ", ".join(problem.dynamics.controls) or "none"),
        ]
    rows.append(("has", ", ".join(sorted(problem.features))))
    values = facts.solution.parameters
    if values:
        rows.append(("parameters", ", ".join(f"{name} = {_value(value)}" for name, value in values.items())))
    if reference is not None:
        rows += [("tags", ", ".join(reference.tags)), ("source", reference.source), ("note", reference.note)]
    return [(label, value) for label, value in rows if value]


def _value(value: object) -> str:
    array = np.asarray(value, float)
    return f"{float(array):.6g}" if array.ndim == 0 else np.array2string(array, precision=6, threshold=20)
