"""The Python snippets of the README and of the guides run as they stand, one after the other, in one namespace."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import pytest
from robot_cases import needs_robots

ROOT = Path(__file__).parents[1]
NEEDS = {"<!-- needs: robots -->": (needs_robots, pytest.mark.robots)}
"""First lines of guides that need an extra, and the marks that skip them where it is missing."""


def _guide(page: Path):
    first = page.read_text().partition("\n")[0]
    assert not first.startswith("<!-- needs:") or first in NEEDS, f"{page}: {first}"
    return pytest.param(page, marks=NEEDS.get(first, ()), id=page.stem)


GUIDES = [_guide(page) for page in sorted((ROOT / "docs" / "guide").glob("*.md"))]


def run_snippets(page: Path) -> dict:
    snippets = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert snippets
    namespace: dict = {}
    for snippet in snippets:
        exec(compile(snippet, str(page), "exec"), namespace)  # our own documentation
    return namespace


def test_snippets_run(tmp_path, monkeypatch, capsys):
    """What a reader of the README copies works, and prints what the comments beside it say."""
    monkeypatch.chdir(tmp_path)
    namespace = run_snippets(ROOT / "README.md")
    printed = capsys.readouterr().out
    assert "The solver met its tolerances." in printed
    assert namespace["solution"].certified


@pytest.mark.parametrize("page", GUIDES)
def test_guide_runs(page, tmp_path, monkeypatch):
    """What a reader of a guide copies works, and what its snippets assert holds."""
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    run_snippets(page)
