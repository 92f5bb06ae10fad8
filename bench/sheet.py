"""Tables of text, on the terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Sheet:
    """A titled table of text; rows of which the first cell is empty continue the row above."""

    title: str
    head: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Return the table, without its title."""
        rule = ("---",) * len(self.head)
        rows = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in (self.head, rule, *self.lines))
        return "\n".join(f"| {row} |" for row in rows)


def show(sheets: Sequence[Sheet], remarks: Sequence[str] = ()) -> None:
    """Print remarks, and sheets below their titles, to the terminal; 200 columns wide in a pipe or a file."""
    console = Console(width=None if Console().is_terminal else 200)
    for remark in remarks:
        console.print(remark)
    for sheet in sheets:
        table = Table(title=sheet.title, title_justify="left")
        for name in sheet.head:
            table.add_column(name, overflow="fold")
        for line in sheet.lines:
            table.add_row(*line)
        console.print(table)
