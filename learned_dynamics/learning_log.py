"""What a learning tells: a CSV file, events for TensorBoard, and a live line."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from trajopt.errors import MissingExtra
from trajopt.files import write_atomically
from trajopt.view.progress import sparkline

TABLE = "trials.csv"


@dataclass(frozen=True)
class Trial:
    """One trial of a learning.

    Attributes
    ----------
    number
        From 0.
    steps
        Taken in the environment when it ended, in all.
    length
        Its own steps.
    value
        Its return, the sum of its rewards.
    terminated
        Whether it ended by itself.
    model_error
        Mean squared error on the hold-out after the fit behind it, at unit scale, mean over the members; NaN without a
        fit, as behind random trials that are followed by another.
    epochs
        Of that fit.
    act_seconds, fit_seconds
        How long acting and fitting took.
    """

    number: int
    steps: int
    length: int
    value: float
    terminated: bool
    model_error: float
    epochs: int
    act_seconds: float
    fit_seconds: float


class LearningLog:
    """Writes what happens while it is open.

    Parameters
    ----------
    folder
        Of the files; None: no files.
    steps
        How far the learning goes, for the bar.
    progress
        Whether to draw on standard error; where nobody watches nothing is drawn.
    tensorboard
        Whether to write events.

    Raises
    ------
    MissingExtra
        When tensorboard is asked for and not installed.
    """

    def __init__(
        self,
        folder: str | Path | None,
        steps: int,
        *,
        progress: bool,
        tensorboard: bool,
        console: Console | None = None,
    ) -> None:
        self._folder = None if folder is None else Path(folder)
        self._stack = ExitStack()
        self._events = _event_writer(self._folder) if tensorboard else None
        console = Console(stderr=True) if console is None else console
        self._bar: Progress | None = None
        if progress and console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total} steps"))
            self._bar = Progress(*columns, TextColumn("{task.fields[told]}"), TimeElapsedColumn(), console=console)
            self._task = self._bar.add_task("PETS", total=steps, told="")
        self._taken = 0
        self._told = ""

    def __enter__(self) -> Self:
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
        if self._bar is not None:
            self._stack.enter_context(self._bar)
        if self._events is not None:
            self._stack.callback(self._events.close)
        return self

    def __exit__(self, *what: object) -> None:
        self._stack.close()

    def begin(self, trials: Sequence[Trial]) -> None:
        """Show where a learning goes on."""
        self._tell(trials)

    def show(self, what: str) -> None:
        """Say what is being done."""
        if self._bar is not None:
            self._bar.update(self._task, told=f"{self._told}  {what}")

    def show_step(self, step: int) -> None:
        """Show a step of the current trial."""
        if self._bar is not None:
            self._bar.update(self._task, completed=self._taken + step, told=self._told)

    def write(self, trials: Sequence[Trial]) -> None:
        """Write the last of the trials; the table is written anew as a whole, so that it always fits a checkpoint."""
        self._tell(trials)
        if self._folder is not None:
            write_atomically(self._folder / TABLE, lambda file: file.write(table(trials).encode()))
        if self._events is not None:
            record = asdict(trials[-1])
            steps = record.pop("steps")
            for name, value in record.items():
                self._events.add_scalar(f"trial/{name}", float(value), steps)
            self._events.flush()

    def _tell(self, trials: Sequence[Trial]) -> None:
        if not trials:
            return
        last, self._taken = trials[-1], trials[-1].steps
        # The line of progress falls with the cost, so it is drawn of minus the returns, upside down for the reader.
        self._told = f"trial {last.number}  return {last.value:.4g}  {sparkline([trial.value for trial in trials])}"
        if self._bar is not None:
            self._bar.update(self._task, completed=self._taken, told=self._told)


def table(trials: Sequence[Trial]) -> str:
    """The trials as CSV, a header first; numbers to their last bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [entry.name for entry in fields(Trial)]
    writer.writerow(["return" if name == "value" else name for name in names])
    for trial in trials:
        values = asdict(trial)
        writer.writerow([int(v) if isinstance(v, bool) else repr(v) for v in (values[name] for name in names)])
    return text.getvalue()


def _event_writer(folder: Path | None) -> Any:
    """TensorBoard's writer."""
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(
            'tensorboard=True was given, but tensorboard is not installed; write pip install "trajopt[tensorboard]".'
        ) from error
    return SummaryWriter(None if folder is None else str(folder))
