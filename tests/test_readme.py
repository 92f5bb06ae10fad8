"""The README's Python snippets run as they stand, one after the other, in one namespace."""

from __future__ import annotations

import re
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_snippets_run(tmp_path, monkeypatch, capsys):
    """What a reader copies works, and prints what the comments beside it say."""
    monkeypatch.chdir(tmp_path)
    snippets = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(snippets) >= 3
    namespace: dict = {}
    for snippet in snippets:
        exec(compile(snippet, str(README), "exec"), namespace)  # our own documentation
    printed = capsys.readouterr().out
    assert "The solver met its tolerances." in printed
    assert namespace["solution"].certified
