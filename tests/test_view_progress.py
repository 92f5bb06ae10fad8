"""The live display shows the iterations on a terminal and nothing elsewhere."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from view_samples import Steady, slide

import trajopt as to
from trajopt.monitor import Iteration
from trajopt.view.progress import Progress, sparkline


def shown(terminal):
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    with Progress(slide(), Steady(), console) as display:
        for k in range(5):
            display.show(Iteration(k, 10.0 - k, 0.5, 0.1, 0.25, 0.1 * k))
    return text.getvalue()


def test_terminal_shows_the_last_iteration():
    """However fast the iterations come, the last one is on the screen at the end."""
    text = shown(terminal=True)
    for part in ("slide", "Steady", "iteration", "4", "6", "5.0e-01", "0.25"):
        assert part in text


def test_nothing_without_a_terminal(capsys):
    """A file or pipe receives nothing, and neither does the standard error of `solve`."""
    assert shown(terminal=False) == ""
    to.solve(slide(), Steady(), progress=True)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("costs", "bars"),
    [([], ""), ([1.0], ""), ([2.0, 2.0], ""), ([float("nan"), 1.0, 0.0], "█▁"), ([0.0, 1e300], "▁█")],
)
def test_sparkline_edges(costs, bars):
    """The largest cost is the highest bar, the least the lowest; constants and single numbers draw nothing."""
    assert sparkline(costs) == bars


def test_sparkline_is_short_and_ends_with_the_last():
    """A thousand costs become 24 bars, and the last bar stands for the last cost."""
    bars = sparkline([1000.0 - k for k in range(1000)])
    assert len(bars) == 24
    assert bars[-1] == "▁"
    assert list(bars) == sorted(bars, reverse=True)
