"""The frame of an HTML report: one file with its style inside, light or dark, from a phone to a wide screen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from string import Template

from trajopt.view.panels import Panel
from trajopt.view.plot import svg_of

_STYLE = """
:root { color-scheme: light dark; --ground: #f5f6f9; --card: #ffffff; --ink: #1b2331; --muted: #5b6677; --grid: #e2e6ed;
  --good: #157a55; --bad: #c02f47; --warn: #9a6700; --body: #2f6fde; --accent: #e07b22; --obstacle: #d6455d;
  --target: #1f9e78; }
@media (prefers-color-scheme: dark) { :root { --ground: #11151c; --card: #1a202b; --ink: #e8ecf3; --muted: #9aa6b8;
  --grid: #2c3543; --good: #4cc795; --bad: #ff7d90; --warn: #e3b341; --body: #6fa0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI",
  Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 28px 20px 48px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 17px; margin: 34px 0 12px; }
header { display: flex; flex-wrap: wrap; gap: 8px 16px; align-items: center; }
header p { color: var(--muted); margin: 0; flex-basis: 100%; overflow-wrap: anywhere; }
.badge { border: 1.5px solid currentColor; border-radius: 999px; padding: 1px 12px; font-size: 14px; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .none { color: var(--muted); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-top: 20px; }
.card, .tiles div { background: var(--card); border: 1px solid var(--grid); border-radius: 12px; padding: 14px 16px; }
.tiles b { display: block; font-size: 20px; font-weight: 650; overflow-wrap: anywhere; line-height: 1.3; }
.tiles span, .tiles small { color: var(--muted); font-size: 13px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 430px), 1fr)); gap: 14px;
  align-items: start; }
.stack { display: grid; gap: 14px; grid-template-columns: minmax(0, 1fr); align-content: start; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 14px; }
.panels figure { margin: 0; background: var(--card); border: 1px solid var(--grid); border-radius: 12px; padding: 8px; }
svg { display: block; width: 100%; height: auto; }
svg text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif !important; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; font-weight: 600; color: var(--muted); }
th, td { padding: 7px 12px 7px 0; border-bottom: 1px solid var(--grid); vertical-align: top; overflow-wrap: anywhere; }
tr > :first-child { overflow-wrap: normal; }
tr:last-child th, tr:last-child td { border-bottom: 0; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
td.mark { white-space: nowrap; font-weight: 600; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); column-gap: 36px;
  margin: -7px 0; font-size: 14px; }
.facts div { display: grid; grid-template-columns: 11.5em minmax(0, 1fr); padding: 7px 0; align-content: start;
  border-bottom: 1px solid var(--grid); margin-bottom: -1px; }
.facts dt { color: var(--muted); font-weight: 600; } .facts dd { margin: 0; overflow-wrap: anywhere; }
.explanation p { margin: 10px 0 0; } .explanation p:first-child { margin: 0; }
ul { margin: 4px 0 0; padding-left: 1.2em; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 10px; padding: 0; list-style: none;
  font-size: 14px; }
.legend i { display: inline-block; width: 18px; height: 3px; border-radius: 2px; vertical-align: middle;
  margin-right: 7px; }
.film { margin: 0; }
.film canvas { display: block; width: 100%; }
.film { --ground: var(--muted); }
.controls { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; margin-top: 10px; font-size: 14px; }
.controls input { flex: 1 1 140px; accent-color: var(--body); min-width: 0; }
.controls button { min-width: 5em; min-height: 34px; border-radius: 8px; border: 1px solid var(--grid);
  background: var(--body); color: #fff; font: inherit; cursor: pointer; }
@media (prefers-color-scheme: dark) { .controls button { color: #11151c; } }
.controls output { font-variant-numeric: tabular-nums; min-width: 8.5em; }
.controls select { font: inherit; background: var(--card); color: var(--ink); border: 1px solid var(--grid);
  border-radius: 6px; padding: 3px; }
code { font: 13px/1.5 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: 13px; margin-top: 36px; }
@media (max-width: 560px) {
  main { padding: 20px 12px 36px; } h1 { font-size: 22px; }
  .certificate td:nth-child(4) { display: block; }
  .certificate tr { display: grid; grid-template-columns: 1fr auto auto; column-gap: 12px; padding: 8px 0;
    border-bottom: 1px solid var(--grid); }
  .certificate th, .certificate td { border: 0; padding: 0; } .certificate td:nth-child(4) { grid-column: 1 / -1; }
  .facts div { grid-template-columns: 7.5em minmax(0, 1fr); }
}
@media print { .controls { display: none; } .card, .panels figure { break-inside: avoid; } }
"""

_PAGE = Template(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style>
</head>
<body>
<main>
$body
<footer>Written by trajopt $version.</footer>
</main>
</body>
</html>
"""
)


def page(title: str, body: Iterable[str]) -> str:
    """A whole document; ``body`` is HTML, ``title`` is text."""
    from trajopt import __version__  # noqa: PLC0415 - the package imports its modules before it knows its version

    parts = "\n".join(part for part in body if part)
    return _PAGE.substitute(title=escape(title), style=_STYLE, body=parts, version=escape(__version__))


def header(title: str, badge: str, tone: str, subtitle: str) -> str:
    """The head of the page: a title, a coloured verdict, a line below."""
    return (
        f'<header><h1>{escape(title)}</h1><span class="badge {tone}">{escape(badge)}</span>'
        f"<p>{escape(subtitle)}</p></header>"
    )


def tiles(entries: Iterable[tuple[str, str, str, str]]) -> str:
    """The most important numbers: (label, value, note, tone) each."""
    cells = (
        f'<div><span>{escape(label)}</span><b class="{tone}">{escape(value)}</b><small>{escape(note)}</small></div>'
        for label, value, note, tone in entries
    )
    return f'<div class="tiles">{"".join(cells)}</div>'


def section(title: str, content: str) -> str:
    """A titled part; "" without content."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def card(content: str, kind: str = "") -> str:
    """Content on a ground of its own."""
    return f'<div class="card table {kind}">{content}</div>' if content else ""


def facts_list(rows: Iterable[tuple[str, str]]) -> str:
    """Labels and values."""
    lines = (f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in rows)
    return f'<dl class="facts">{"".join(lines)}</dl>'


def bullets(sentences: Sequence[str], tone: str = "") -> str:
    """A list of sentences; "" without any."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{tone}">{items}</ul>' if items else ""


def pictures(panels: Sequence[Panel], key: str, legend: bool = True) -> str:
    """All panels, each in an SVG of its own, so that a phone shows them below each other; ``key`` keeps ids apart."""
    drawn = (f"<figure>{svg_of(panel, f'{key}{k}', legend)}</figure>" for k, panel in enumerate(panels))
    return f'<div class="panels">{"".join(drawn)}</div>' if panels else ""
