"""A live line on standard error while a solver runs; silent where nobody watches."""

from __future__ import annotations

import math
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trajopt.monitor import Iteration
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.problem import Problem
from trajopt.solver import Solver

_PAUSE = 0.05
"""Seconds between redraws: twenty a second look smooth, and cost a fast solver little."""
_BARS = "▁▂▃▄▅▆▇█"
_WIDTH = 24


class Progress:
    """Shows iteration, cost, violation, step and elapsed time of one solve.

    Parameters
    ----------
    problem, solver
        What is being solved and by whom.
    console
        Where to draw; default: standard error. A console that is no terminal shows nothing.
    """

    def __init__(self, problem: Problem | MultiPhaseProblem, solver: Solver, console: Console | None = None) -> None:
        self._console = Console(stderr=True) if console is None else console
        self._head = f"{problem.name or 'problem'}  {type(solver).__name__}"
        self._live: Live | None = None
        self._last: Iteration | None = None
        self._costs: list[float] = []
        self._drawn = 0.0

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(self._table(), console=self._console, auto_refresh=False, transient=False)
            self._live.start()
            self._live.refresh()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
            self._live.stop()
            self._live = None

    def show(self, iteration: Iteration) -> None:
        """Draw an iteration, unless the last drawing was just now."""
        if self._live is None:
            return
        self._last = iteration
        self._costs.append(iteration.cost)
        if time.perf_counter() - self._drawn >= _PAUSE:
            self._live.update(self._table(), refresh=True)
            self._drawn = time.perf_counter()

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True)
        cells = [Text(self._head, "bold")]
        if self._last is None:
            cells.append(Text("preparing; the first solve on a machine compiles kernels, some ten seconds", "dim"))
        else:
            record = self._last
            numbers = [("iteration", f"{record.number:d}"), ("cost", f"{record.cost:.6g}")]
            numbers += [("violation", f"{record.violation:.1e}")]
            numbers += [("step", f"{record.step:.2g}")] if math.isfinite(record.step) else []
            numbers += [("", f"{record.seconds:.1f} s")]
            cells += [Text.assemble((f"{name} " if name else "", "dim"), value) for name, value in numbers]
            cells.append(Text(sparkline(self._costs), "cyan"))
        for _ in cells[1:]:
            table.add_column(no_wrap=True)
        table.add_row(*cells)
        return table


def sparkline(costs: list[float]) -> str:
    """The course of the costs in at most 24 bars, the lowest for the least; unusable numbers are left out."""
    shown = [cost for cost in costs if math.isfinite(cost)]
    if len(shown) < 2 or min(shown) == max(shown):
        return ""
    step = max(1.0, len(shown) / _WIDTH)
    picked = [shown[min(len(shown) - 1, int((k + 1) * step) - 1)] for k in range(min(_WIDTH, len(shown)))]
    low, span = min(shown), max(shown) - min(shown)
    # Logarithmic over two decades: on a linear scale the fall of the first iterations would leave all others flat.
    heights = [math.log1p(100.0 * (cost - low) / span) / math.log1p(100.0) for cost in picked]
    return "".join(_BARS[round(height * (len(_BARS) - 1))] for height in heights)
