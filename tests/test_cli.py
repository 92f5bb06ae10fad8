"""The command runs in the process: what it prints, what it writes, and with which code it ends."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

import trajopt as to
from trajopt import problems
from trajopt.cli import main
from trajopt.errors import InvalidProblem
from trajopt.target import find_target, read_setting

OWN = """
import numpy as np
from view_samples import slide
problem = slide()
number = 3
"""


@pytest.fixture
def own(tmp_path):
    """A file of a user's with one problem."""
    path = tmp_path / "mine.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def steady(monkeypatch):
    """The tiny solver as the only registered one."""
    entries = EntryPoints([EntryPoint("steady", "view_samples:Steady", "trajopt.solvers")])
    monkeypatch.setattr("trajopt.registry.entry_points", entries.select)


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, " ".join(out.split()), err


def test_version(capsys):
    """``--version`` prints the version and ends well."""
    assert run(capsys, "--version") == (0, f"trajopt {to.__version__}", "")


def test_module_is_the_command():
    """``python -m trajopt`` is the same command."""
    done = subprocess.run([sys.executable, "-m", "trajopt", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, f"trajopt {to.__version__}")


def test_list_shows_every_problem(capsys):
    """Each problem of the library and each solver has a line."""
    code, out, _ = run(capsys, "list")
    assert code == 0
    shown = [*problems.names(), *problems.decision_names(), "ilqr", "collocation", "alpha_beta"]
    assert [name for name in shown if name not in out] == []
    assert "0.25 max" in out  # of double-integrator-max-distance, as published


def test_decision_problems_are_not_for_solvers(capsys):
    """A decision problem given to a solver is a sentence that names the call for it."""
    code, out, err = run(capsys, "solve", "nim")
    assert (code, out) == (2, "")
    assert "trajopt.decide" in err


@pytest.mark.usefixtures("steady")
def test_solve_own_file(capsys, own, tmp_path):
    """A problem of a file is solved, and report, picture and numbers are written."""
    files = [tmp_path / name for name in ("r.html", "p.png", "s.npz")]
    code, out, err = run(
        capsys, "solve", f"{own}:problem", "--report", files[0], "--plot", files[1], "--save", files[2], "--steps", 5
    )
    assert (code, err) == (0, "")
    for part in ("slide", "Steady()", "solved", "known optimum none known", "0 to 2, 5 steps", "stationarity"):
        assert part in out
    assert all(file.stat().st_size > 500 for file in files)
    assert to.Solution.load(files[2]).cost == 2.0


@pytest.mark.usefixtures("steady")
def test_settings_reach_problem_and_solver(capsys, own):
    """``--set`` gives parameters to the problem and settings to the solver: cost = weight * push^2 * 2."""
    code, out, _ = run(capsys, "solve", f"{own}:problem", "--quiet", "--set", "weight=3", "--set", "push=0.5")
    assert code == 0
    assert "cost 1.5 " in out


@pytest.mark.usefixtures("steady")
@pytest.mark.parametrize(("setting", "code"), [("succeed=False", 1), ("interrupt=True", 130), ("push=1.0", 0)])
def test_exit_code_tells_how_it_ended(capsys, own, setting, code):
    """Not solved is 1, interrupted 130, and what was reached is printed all the same."""
    got, out, err = run(capsys, "solve", f"{own}:problem", "--set", setting)
    assert got == code
    assert "cost 2 " in out
    assert err == ""


@pytest.mark.usefixtures("steady")
def test_interruption_outside_a_solve(capsys, own, monkeypatch):
    """Ctrl-C while the answer is being checked ends with 130 and one line."""

    def interrupted(solution):
        raise KeyboardInterrupt

    monkeypatch.setattr("trajopt.certificate.certify", interrupted)
    code, _, err = run(capsys, "solve", f"{own}:problem")
    assert (code, err) == (130, "trajopt: interrupted.\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["solve", "brachistochrome"], "'brachistochrone'"),
        (["solve", "beam", "--solver", "ilqrr"], "did you mean 'ilqr'"),
        (["solve", "beam", "--set", "tolerance"], "key=value was expected"),
        (["solve", "beam", "--set", "nonsense=1"], "Settings of the solver are"),
        (["solve", "beam", "--steps", "0"], "positive whole number"),
        (["solve", "beam", "--max-time", "-1"], "max_time=-1.0"),
        (["solve", "beam", "--report", "/no/such/folder/r.html"], "existing folder"),
        (["solve", "missing.py:problem"], "there is no such file"),
        (["solve", "missing.py"], "write my_problem.py:problem"),
        (["solve", "{own}:other"], "it has the problems problem"),
        (["solve", "{own}:number"], "is a int, but a Problem was expected"),
        (["solve", "{own}:problem", "--set", "nonsense=1"], "(weight)"),
        (["solve", "{broken}:problem"], "line 3: the file raised ZeroDivisionError"),
        (["solve", "{invalid}:problem"], "line 3: Horizon got steps=0"),
        (["solve", "{syntax}:problem"], "SyntaxError"),
        (["compare", "beam", "--solvers", "ilqr,ilqrr"], "did you mean 'ilqr'"),
    ],
)
def test_misuse_gets_one_sentence(capsys, own, tmp_path, arguments, message):
    """Misuse ends with code 2 and one line on standard error, without a traceback."""
    invalid = "import trajopt\n\ntrajopt.Horizon(1.0, 0)\n"
    files = {"own": OWN, "broken": "\n\n1 / 0\n", "invalid": invalid, "syntax": "x ="}
    for name, content in files.items():
        (tmp_path / f"{name}.py").write_text(content)
    places = {name: tmp_path / f"{name}.py" for name in files}
    code, out, err = run(capsys, *(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("trajopt: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["solve"], ["nonsense"], ["solve", "beam", "--steps", "many"]])
def test_unreadable_command_lines(capsys, arguments):
    """What argparse refuses ends with code 2 as well."""
    assert run(capsys, *arguments)[0] == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1", 1), ("a=1e-8", 1e-8), ("a=inf", float("inf")), ("a=[1, 2]", [1, 2]), ("a=rk4", "rk4"), ("a=None", None),
     ("a = x=y ", "x=y")],
)  # fmt: skip
def test_settings_are_read_as_python(text, value):
    """Literals are values, everything else is text."""
    assert read_setting(text) == ("a", value)


def test_changed_constants_lose_the_published_optimum():
    """The known optimum is that of the published constants; more steps do not change it, another wall does."""
    assert find_target("bryson-denham", steps=20).reference.optimum == 4.0
    changed = find_target("bryson-denham", settings={"wall": 0.2})
    assert changed.reference.optimum is None
    assert changed.problem.state_bounds[1, 0] == 0.2


def test_wrong_kind_of_setting():
    """A value that a problem's factory cannot take is told as such."""
    with pytest.raises(InvalidProblem, match="numbers or None were expected"):
        find_target("bryson-denham", settings={"wall": "high"})


def test_end_to_end(capsys, tmp_path):
    """A published problem, solved by two families of solver, certified, compared with its optimum and reported."""
    report, table = tmp_path / "report.html", tmp_path / "table.html"
    code, out, _ = run(capsys, "solve", "double-integrator-min-energy", "--solver", "collocation", "--report", report)
    assert code == 0
    assert "known optimum 6" in out
    assert "certificate certified" in out
    assert "<canvas" in report.read_text()
    code, out, _ = run(
        capsys, "compare", "double-integrator-min-energy", "--solvers", "ilqr,collocation", "--report", table
    )
    assert code == 0
    assert Path(table).read_text().count("<tr>") == 3


def test_compare_lists_what_does_not_fit(capsys):
    """A solver that refuses the problem is a row of the table."""
    code, out, _ = run(capsys, "compare", "double-integrator-min-time", "--solvers", "ilqr,collocation")
    assert code == 0
    assert "ilqr ILQR was given a problem with a free duration" in out.replace("- ", "-")
