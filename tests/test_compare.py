"""A comparison runs each solver on the same problem and says why one did not run."""

from __future__ import annotations

import numpy as np
import pytest
from view_samples import Steady, slide

import trajopt as to
from trajopt.compare import compare
from trajopt.problems.reference import Reference


@pytest.fixture(scope="module")
def result():
    return compare(slide(), [Steady(), Steady(push=0.5), Steady(succeed=False), Steady()])


def test_rows_are_the_solutions(result):
    """Each record holds the numbers of its solution and of its certificate."""
    frame = result.to_dataframe()
    assert list(frame["solver"]) == ["Steady", "Steady(push=0.5)", "Steady(succeed=False)", "Steady #2"]
    assert list(frame["status"]) == ["solved", "solved", "stalled", "solved"]
    np.testing.assert_allclose(frame["cost"], [2.0, 0.5, 2.0, 2.0])
    np.testing.assert_allclose(frame["true_cost"], [2.0, 0.5, 2.0, 2.0], rtol=1e-9)
    assert list(frame["iterations"]) == [3] * 4
    assert list(frame["certified"]) == [solution.certified for solution in result.solutions.values()]


def test_refusal_is_a_row(tmp_path):
    """A solver that does not handle the problem is listed with its reason, in every view."""
    problem = slide()
    free = to.Problem(
        problem.dynamics, problem.stage_cost, initial_state=[0.0, 0.0], parameters={"weight": 1.0},
        horizon=to.Horizon(to.Free(1.0, 2.0), steps=4), name="free",
    )  # fmt: skip
    result = compare(free, [Steady()])
    (row,) = result.rows
    assert row.solution is None
    assert "a free duration" in row.refusal
    assert "a free duration" in " ".join(str(result).split())
    assert "a free duration" in result.report(tmp_path / "report.html").read_text()
    assert result.records()[0]["status"] == "not run"
    assert result.plot().axes == []


def test_interruption_ends_the_comparison():
    """After Ctrl-C in one solver, those behind it are not started."""
    first, second = compare(slide(), [Steady(interrupt=True), Steady()]).rows
    assert first.solution.status is to.Status.INTERRUPTED
    assert second.solution is None
    assert "interrupted" in second.refusal


def test_table_has_a_line_for_each_solver(result):
    """The printed table shows label, status and cost of every solver."""
    lines = str(result).splitlines()
    for row in result.rows:
        (line,) = [line for line in lines if line.split("  ")[0].strip() == row.label]
        assert f"{row.solution.cost:.8g}" in line
        assert str(row.solution.status) in line


def test_picture_overlays_all_answers(result):
    """Every state and control has one curve for each solver, and the cost is drawn over wall time."""
    figure = result.plot(Reference(0.1, 2, ""))
    drawn = {axes.get_title(loc="left"): axes for axes in figure.axes}
    for name in ("position", "speed", "push"):
        assert len([line for line in drawn[name].lines if line.get_linestyle() == "-"]) == 4
    assert {line.get_label() for line in drawn["cost"].lines} >= {*result.solutions, "known optimum"}


def test_report_shows_every_solver(result, tmp_path):
    """The page has a row for each label, escaped, and needs no network."""
    text = result.report(tmp_path / "report.html").read_text()
    assert all(f"<th>{row.label}</th>" in text for row in result.rows)
    assert "<script" not in text
    assert "src=" not in text


@pytest.mark.parametrize(
    ("problem", "solvers", "message"),
    [(None, ["ilqr"], "Problem was expected"), ("slide", [], "at least one"), ("slide", "ilqr", "a list"),
     ("slide", ["ilqrr"], "'ilqr'")],
)  # fmt: skip
def test_misuse_is_refused_before_anything_runs(problem, solvers, message):
    """Wrong arguments raise one sentence."""
    with pytest.raises(to.TrajoptError, match=message):
        compare(slide() if problem else problem, solvers)
