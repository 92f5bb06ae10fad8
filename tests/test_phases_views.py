"""Answers in several phases as numbers in time, files, pictures, pages, tables and from the shell."""

from __future__ import annotations

import re

import numpy as np
import pytest
from phase_cases import reach, two_stages

import trajopt as to
from trajopt import cli
from trajopt.solvers import Collocation


@pytest.fixture(scope="module")
def rocket():
    return to.solve(two_stages(12), Collocation())


def test_times_lie_in_phases():
    """x(t) of the phase that t lies in, of the later one where they meet, held constant outside."""
    solution = to.solve(reach(), Collocation())
    t = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
    x, u = solution(t)
    assert x == pytest.approx(np.stack([3 * t**2 - 2 * t**3, 6 * t - 6 * t**2], axis=1))
    assert u[:, 0] == pytest.approx(6.0 - 12.0 * t)
    assert solution(0.2)[0] == pytest.approx(solution["out"](0.2)[0])
    assert solution(2.0)[0] == pytest.approx(solution["in"].x[-1])
    assert len(solution.t) == len(solution.u) == 2
    with pytest.raises(to.UnknownName, match="'out', 'in'"):
        solution["up"]


def test_a_jump_belongs_to_the_later_phase(rocket):
    """At the time of separation the mass is that of the stage that flies on."""
    time = rocket["booster"].t[-1]
    assert rocket(time)[0][2] == pytest.approx(rocket["sustainer"].x[0, 2])
    assert rocket(time - 1e-6)[0][2] > rocket(time)[0][2] + 0.09


def test_sizes_that_differ_do_not_make_one_array():
    """A single time is fine, an array across phases of two sizes is refused."""
    small = to.ContinuousDynamics(lambda x, u: np.zeros(1), nu=1, states=["position"])
    first = reach().phases[0]
    second = to.Problem(small, horizon=to.Horizon(0.5, steps=2), name="rest")
    solution = to.solve(to.MultiPhaseProblem([first, second]), Collocation())
    assert solution(0.7)[0].shape == (1,)
    assert solution([0.1, 0.2])[0].shape == (2, 2)
    with pytest.raises(to.InvalidProblem, match="different sizes"):
        solution([0.1, 0.7])


def test_files_keep_everything(rocket, tmp_path):
    """Saved and loaded, an answer is the same, is certified the same, and is a guess."""
    path = rocket.save(tmp_path / "rocket.npz")
    again = to.MultiPhaseSolution.load(path, rocket.problem)
    for one, other in zip(rocket.phases, again.phases, strict=True):
        assert np.array_equal(one.t, other.t)
        assert np.array_equal(one.x, other.x)
        assert np.array_equal(one.trajectory.u_mid, other.trajectory.u_mid)
    assert again.multipliers.keys() == rocket.multipliers.keys()
    assert (again.cost, again.status, again.names) == (rocket.cost, rocket.status, rocket.names)
    assert [record.cost for record in again.history] == [record.cost for record in rocket.history]
    assert again.certificate.cost == rocket.certificate.cost
    bare = to.MultiPhaseSolution.load(path)
    assert bare["booster"].x == pytest.approx(rocket["booster"].x)
    with pytest.raises(to.TrajoptError, match="without its problem"):
        bare.explain()


def test_other_files_are_refused(rocket, tmp_path):
    """A solution of one phase, a problem with other phases, and no file of ours at all."""
    single = rocket["booster"].save(tmp_path / "single.npz")
    with pytest.raises(to.TrajoptError, match=r"loaded by Solution\.load"):
        to.MultiPhaseSolution.load(single)
    with pytest.raises(to.TrajoptError, match=r"Solution\.save was expected"):
        to.Solution.load(rocket.save(tmp_path / "rocket.npz"))
    with pytest.raises(to.TrajoptError, match="holds the phases booster, sustainer"):
        to.MultiPhaseSolution.load(tmp_path / "rocket.npz", reach())
    (tmp_path / "text.npz").write_text("no numbers")
    with pytest.raises(to.TrajoptError, match=r"written by MultiPhaseSolution\.save"):
        to.MultiPhaseSolution.load(tmp_path / "text.npz")


def test_the_picture_has_a_curve_for_each_phase(rocket):
    """Each state and control in one panel, with the phases side by side and named."""
    figure = rocket.plot()
    panels = {axes.get_title(loc="left"): axes for axes in figure.axes}
    assert {"height", "speed", "mass", "thrust", "cost"} <= panels.keys()
    for name in ("height", "speed", "mass", "thrust"):
        assert [line.get_label() for line in panels[name].lines][:2] == ["booster", "sustainer"]
    assert panels["mass"].lines[0].get_ydata()[-1] == pytest.approx(panels["mass"].lines[1].get_ydata()[0] + 0.1)


def test_the_page_names_phases_and_links(rocket, tmp_path):
    """One file without a network: phases, links with their multipliers, certificate, and costates."""
    text = rocket.report(tmp_path / "rocket.html").read_text()
    for word in ("phase booster", "separation", "multiplier", "costate of mass", "certified", "two stages"):
        assert word in text
    assert not re.search(r'(src|href)="http', text)


def test_a_failed_solve_can_be_shown(tmp_path):
    """Numbers that are no answer make pictures and pages all the same."""
    failed = to.solve(two_stages(6), Collocation(iterations=2))
    assert not failed.success
    failed.plot()
    assert "not confirmed" in failed.report(tmp_path / "failed.html").read_text()


def test_solvers_are_compared(tmp_path):
    """Those that can in the table, the others with the reason; pictures overlay the phases."""
    table = to.compare(two_stages(8), ["collocation", "multiple_shooting", "ilqr"])
    assert list(table.solutions) == ["collocation", "multiple_shooting"]
    assert "several phases" in table.rows[2].refusal
    assert [record["certified"] for record in table.records()][2] is False
    assert {axes.get_title(loc="left") for axes in table.plot().figure.axes} >= {"height", "thrust"}
    assert "multiple_shooting" in table.report(tmp_path / "table.html").read_text()


FILE = """
import trajopt as to
force = to.ContinuousDynamics(lambda x, u: x[1:].tolist() + u.tolist(), 2, 1)
def part(**changes):
    horizon, parameters = to.Horizon(0.5, 4), {"price": 1.0}
    return to.Problem(force, lambda x, u, p: p.price * u[0] ** 2, horizon=horizon, parameters=parameters, **changes)
problem = to.MultiPhaseProblem([part(initial_state=[0, 0]), part(constraints=[to.TerminalConstraint([1, 0])])])
"""


def test_the_shell_takes_a_file(tmp_path, monkeypatch, capsys):
    """Solved, saved, drawn and compared like any problem of a file, with parameters set; steps are the file's own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(FILE)
    outputs = ["--report", "a.html", "--plot", "a.png", "--save", "a.npz"]
    assert cli.main(["solve", "mine.py:problem", "--quiet", "--set", "price=2", *outputs]) == cli.SOLVED
    assert "cost 24" in capsys.readouterr().out
    assert to.MultiPhaseSolution.load("a.npz").cost == pytest.approx(24.0)
    assert cli.main(["solve", "mine.py:problem"]) == cli.SOLVED
    assert cli.main(["compare", "mine.py:problem", "--quiet"]) == cli.SOLVED
    assert "collocation solved" in re.sub(" +", " ", capsys.readouterr().out)
    assert cli.main(["solve", "mine.py:problem", "--steps", "9"]) == cli.MISUSE
    assert "several phases" in capsys.readouterr().err


def test_the_list_says_who_joins_phases(capsys):
    """What a solver does not handle includes several phases."""
    assert "several phases" not in cli._refuses("collocation")
    assert "several phases" in cli._refuses("interior_point")
