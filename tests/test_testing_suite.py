"""The suite itself: which checks a solver is subject to, strict expected failures, files, the command, the pages."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import trajopt as to
from trajopt.cli import main
from trajopt.errors import CheckFailed, InvalidProblem, TrajoptError
from trajopt.problem import Feature, Problem
from trajopt.solver import Claim, Solver
from trajopt.solvers import ILQR, LQR
from trajopt.testing import all_checks, check_solver, compare, parametrize_with_checks, record, summary
from trajopt.testing.__main__ import tables
from trajopt.testing.cases import standard_problems
from trajopt.testing.registry import Check, at_most, check, close
from trajopt.testing.results import CheckResult, Verdict
from trajopt.testing.subject import Subject
from trajopt.testing.suite import make_subject, run_check
from trajopt.testing.tolerances import EPSILON, EXACT, Rule, Tolerance, optimality, rounding, statistical, truncation
from trajopt.view.checks import write_checks

ROOT = Path(__file__).parents[1]


def subjected(solver: Solver) -> set[str]:
    return {entry.name for entry in all_checks() if entry.concerns(make_subject(solver, None, "fast"))}


def test_claims_subject_a_solver_to_their_checks():
    """One claim more is some checks more, and a feature too; without claims the basic ones remain."""

    @dataclass(frozen=True)
    class Silent(LQR.__mro__[1]):
        handles: ClassVar[frozenset[Feature]] = frozenset({Feature.DISCRETE_TIME})
        claims: ClassVar[frozenset[Claim]] = frozenset()

        def run(self, problem, guess, monitor):
            raise NotImplementedError

    class Claiming(Silent):
        claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY})

    class Bounded(Claiming):
        handles: ClassVar[frozenset[Feature]] = Silent.handles | {Feature.CONTROL_BOUNDS}

    silent, claiming, bounded = subjected(Silent()), subjected(Claiming()), subjected(Bounded())
    assert silent < claiming < bounded
    assert "linear_quadratic_answers_are_exact" in claiming - silent
    assert "box_constrained_answers_are_exact" in bounded - claiming
    assert "an_iteration_limit_is_kept" not in bounded


def test_every_feature_has_a_problem():
    """No feature can be claimed without a problem of the suite that asks for it."""
    shown = {
        feature for discrete in (False, True) for problem in standard_problems(discrete) for feature in problem.features
    }
    assert shown == set(Feature)


def test_every_check_has_a_meaning_a_rule_and_a_row_in_the_guide():
    """The guide's tables are those that the docstrings make; `python -m trajopt.testing` prints them."""
    page = (ROOT / "docs" / "guide" / "testing.md").read_text()
    written = page.partition("<!-- checks -->")[2].partition("<!-- end of checks -->")[0]
    assert written.strip() == tables().strip(), "write what `python -m trajopt.testing` prints between the markers"
    for entry in all_checks():
        assert entry.meaning.endswith("."), entry.name
        assert isinstance(entry.rule, Rule)
    for claim in Claim:
        assert f"| `{claim.name}` |" in page


def own(name: str, function) -> Check:
    return Check(name, "mine", Rule.EXACT, function, frozenset(), frozenset(), frozenset(), False, False, "mine")


def fine(subject: Subject) -> None:
    """It holds."""


def wrong(subject: Subject) -> None:
    """It does not hold."""
    raise CheckFailed("of the test")


def test_expected_failures_are_strict():
    """A failure with a reason is expected, and a pass with one is wrong."""
    subject = make_subject(ILQR(), None, "fast")
    verdicts = [run_check(own("one", f), subject, r).verdict for f in (fine, wrong) for r in (None, "known")]
    assert verdicts == [Verdict.PASSED, Verdict.UNEXPECTED_PASS, Verdict.FAILED, Verdict.EXPECTED_FAILURE]
    assert [run_check(own("one", f), subject, "known").passed for f in (fine, wrong)] == [False, True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"expected_failures": {"no_such_check": "why"}}, "no_such_check"),
        ({"expected_failures": {"a_time_limit_is_kept": " "}}, "say why"),
        ({"profile": "slow"}, "'fast' or 'thorough'"),
        ({"problems": [3]}, "problems contains 3"),
    ],
)
def test_bad_arguments_are_refused(arguments, words):
    """One sentence says what was wrong, before anything runs."""
    with pytest.raises(InvalidProblem, match=words):
        check_solver(ILQR(), **arguments)


def test_a_class_is_no_solver():
    """Nor is anything else."""
    with pytest.raises(InvalidProblem, match="an instance"):
        check_solver(ILQR)  # type: ignore[arg-type]


def test_parametrisation_has_readable_ids_and_strict_marks():
    """Ids are the check's name and the solver with its settings; expected failures are strict xfails."""
    mark = parametrize_with_checks(
        [ILQR(tolerance=1e-9)], expected_failures=lambda solver: {"a_time_limit_is_kept": "of the test"}
    )
    parameters = mark.mark.args[1]
    ids = [parameter.id for parameter in parameters]
    assert "a_time_limit_is_kept[ILQR(tolerance=1e-09)]" in ids
    assert len(ids) == len(set(ids)) == len(subjected(ILQR()))
    marks = {parameter.id.partition("[")[0]: parameter.marks for parameter in parameters if parameter.marks}
    assert list(marks) == ["a_time_limit_is_kept"]
    assert marks["a_time_limit_is_kept"][0].kwargs["strict"]
    with pytest.raises(InvalidProblem, match="nothing_like_it"):
        parametrize_with_checks([ILQR()], expected_failures=lambda solver: {"nothing_like_it": "why"})


def test_the_registry_is_open(monkeypatch):
    """A decorated function is a check like ours; a name that is taken, or no docstring, is refused."""
    registered = {}
    monkeypatch.setattr("trajopt.testing.registry._CHECKS", registered)
    check("mine", Rule.EXACT)(fine)
    assert registered["fine"].meaning == "It holds."
    twin = type(fine)(fine.__code__, fine.__globals__, "fine")
    twin.__doc__, twin.__module__ = "Another.", "elsewhere"
    with pytest.raises(InvalidProblem, match="rename it"):
        check("mine", Rule.EXACT)(twin)
    with pytest.raises(InvalidProblem, match="no docstring"):
        check("mine", Rule.EXACT)(lambda subject: None)


def test_tolerances_follow_their_rules():
    """Amounts are the formulas of the module, and their rules are remembered."""
    assert EXACT.amount == 0.0
    assert rounding(100.0, [-3.0, 2.0]).amount == pytest.approx(300.0 * EPSILON, rel=1e-12)
    assert truncation(2.0).amount == pytest.approx(2.0 * EPSILON ** (2 / 3))
    assert truncation(2.0, order=3, step=0.5).amount == 0.25
    assert optimality(8.0, curvature=4.0).amount == 2.0
    # Two hundred comparisons at one in a million: five and a half deviations and more.
    assert 5.5 < float(statistical(1.0, 1, 200).amount) < 7.0
    both = 2.0 * rounding(1.0) + optimality(1.0)
    assert both.rules == {Rule.ROUNDING, Rule.OPTIMALITY}
    with pytest.raises(ValueError, match="no digit"):
        rounding(1e16)


def test_comparisons_fail_beyond_their_tolerance_alone():
    """`close` shows the worst place; NaN is never close, equal infinities are, and shapes count."""
    allowed = Tolerance(0.5, frozenset({Rule.ROUNDING}))
    close([1.0, np.inf], [1.5, np.inf], allowed, "it")
    with pytest.raises(CheckFailed, match=r"it at \(1,\) is 3, but 1 was expected, within 0.5 \(rounding\)"):
        close([1.2, 3.0], [1.0, 1.0], allowed, "it")
    for bad in (np.nan, np.inf):
        with pytest.raises(CheckFailed):
            close([bad], [1.0], allowed, "it")
        with pytest.raises(CheckFailed):
            at_most(bad, 1.0, allowed, "it")
    with pytest.raises(CheckFailed, match="shape"):
        close([1.0], [1.0, 1.0], allowed, "it")
    at_most(1.5, 1.0, allowed, "it")


def slide(steps: int = 10) -> Problem:
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: x + 0.25 * u - 0.125 * np.sin(x), nx=1, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u,
        initial_state=[1.0],
        horizon=to.Horizon(steps=steps),
        name="slide",
    )


def test_a_record_compares_with_itself(tmp_path):
    """Nothing is worse than itself, and the file is plain JSON with a row for each problem."""
    path = tmp_path / "baseline.json"
    record(ILQR(), [slide(), "regulator-1d"], path)
    content = json.loads(path.read_text())
    assert content["solver"] == "ILQR()"
    assert set(content["rows"]) == {"slide", "regulator-1d"}
    changes = compare(ILQR(), [slide(), "regulator-1d"], path)
    assert not any(change.worse for change in changes)
    assert all(change.time_ratio > 0.0 for change in changes)


def test_what_got_worse_is_said_worst_first(tmp_path):
    """Status, certificate, cost and iterations are compared; the message says how to accept the change."""
    path = tmp_path / "baseline.json"
    problems = {"short": slide(), "same": slide(5)}
    rows = record(ILQR(), problems, path)
    with pytest.raises(CheckFailed) as failure:
        compare(ILQR(iterations=1), problems, path)
    message = str(failure.value)
    assert "iteration limit instead of solved" in message
    assert "trajopt.testing.record(solver, problems" in message
    content = json.loads(path.read_text())
    content["rows"]["same"] |= {"cost": rows["same"].cost - 0.01, "iterations": rows["same"].iterations - 1}
    content["rows"]["gone"] = content["rows"]["short"]
    path.write_text(json.dumps(content))
    with pytest.raises(CheckFailed) as failure:
        compare(ILQR(), problems, path)
    lines = [line.strip() for line in str(failure.value).splitlines() if line.startswith("  ") and "->" not in line]
    assert lines[0].startswith("same: the cost rose by 0.01; ")
    assert lines[1] == "gone: it is not among the problems any more"
    assert lines[2] == "short: as good"


def test_a_slower_solver_is_judged_on_request_alone(tmp_path):
    """Times count with ``slower`` only."""
    path = tmp_path / "baseline.json"
    record(ILQR(), [slide()], path)
    content = json.loads(path.read_text())
    content["rows"]["slide"]["seconds"] = 1e-9
    path.write_text(json.dumps(content))
    assert compare(ILQR(), [slide()], path)[0].time_ratio > 2.0
    with pytest.raises(CheckFailed, match="times as long"):
        compare(ILQR(), [slide()], path, slower=2.0)


def test_damaged_baselines_and_nameless_problems_are_refused(tmp_path):
    """One sentence each."""
    path = tmp_path / "baseline.json"
    path.write_text("{}")
    with pytest.raises(TrajoptError, match="record again"):
        compare(ILQR(), [slide()], path)
    with pytest.raises(InvalidProblem, match="names of their own"):
        record(ILQR(), [replace(slide(), name=None)], path)


def results() -> list[CheckResult]:
    rows = zip(
        Verdict, ["", "the cost is <3>", "it gives no costates", "known", "it was expected to fail"], strict=True
    )
    return [CheckResult(f"check_{k}", "mine", "ILQR()", verdict, message, "What holds.", "exact", 0.25)
            for k, (verdict, message) in enumerate(rows)]  # fmt: skip


def test_tables_and_the_page_say_what_is_wrong(tmp_path):
    """The table has a row for each check; the page escapes what it shows and opens with what is wrong."""
    text = summary(results())
    assert "1 passed, 1 failed, 1 not applicable, 1 expected failure, 1 unexpected pass" in text
    assert all(f"check_{k}" in text for k in range(5))
    page = write_checks(results(), tmp_path / "checks.html").read_text()
    assert "2 wrong" in page
    assert "the cost is &lt;3&gt;" in page
    assert page.index("What is wrong") < page.index("check 0")


SOUND = """
from trajopt.solvers import LQR as Sound
import numpy as np
import trajopt as to
problem = to.Problem(to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1), lambda x, u: x @ x + u @ u,
                     initial_state=[1.0], horizon=to.Horizon(steps=3), name="tiny")
number = 3
"""


def test_the_command_checks_what_it_is_pointed_at(tmp_path, capsys, monkeypatch):
    """A problem of a file, a module's solver, a name: a table, a report, and an exit code."""
    monkeypatch.chdir(tmp_path)
    Path("sound.py").write_text(SOUND)
    assert main(["check", "sound.py:problem", "--report", "tiny.html"]) == 0
    printed = capsys.readouterr().out
    assert "tiny" in printed
    assert "traces_are_the_functions" in printed
    assert "conforms" in Path("tiny.html").read_text()
    ran = []

    def record_subject(subject, profile):
        ran.append((str(subject), profile))
        return results()[:1] if "LQR" in str(subject) else results()

    monkeypatch.setattr("trajopt.testing.command.check_subject", record_subject)
    assert main(["check", "sound:Sound", "--profile", "thorough", "--set", "tolerance=1e-6"]) == 0
    assert main(["check", "ddp", "--quiet"]) == 1
    assert ran == [("LQR(tolerance=1e-06)", "thorough"), ("DDP()", "fast")]
    assert "check_0" not in capsys.readouterr().out.partition("DDP")[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], "nothing to check"),
        (["check", "ilqr", "--all"], "--all beside ilqr"),
        (["check", "nowhere:Solver"], "such a module was expected"),
        (["check", "nowhere.py:Solver"], "no such file"),
        (["check", "sound.py:nothing"], "defines no 'nothing'"),
        (["check", "sound.py:number"], "is a int"),
        (["check", "sound.py:problem", "--set", "a=1"], "settings belong to solvers"),
        (["check", "ilqr", "--set", "tolerance=-1"], "tolerance"),
        (["check", "ilqr", "--report", "nowhere/a.html"], "existing folder"),
    ],
)
def test_misuse_of_the_command_is_one_sentence(arguments, words, tmp_path, capsys, monkeypatch):
    """Exit code 2."""
    monkeypatch.chdir(tmp_path)
    Path("sound.py").write_text(SOUND)
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


def test_neither_pytest_nor_hypothesis_is_needed():
    """Without both the package imports, checks that draw are left out with a sentence, and the others run."""
    script = """
import sys
sys.modules["pytest"] = sys.modules["hypothesis"] = None
from trajopt.errors import MissingExtra
from trajopt.solvers import LQR
from trajopt.testing import all_checks, parametrize_with_checks
from trajopt.testing.suite import make_subject, run_check
subject = make_subject(LQR(), None, "fast")
wanted = {"linear_quadratic_answers_are_exact": "not applicable", "a_callback_can_stop": "passed"}
found = {c.name: run_check(c, subject, None) for c in all_checks() if c.name in wanted}
assert {name: str(result.verdict) for name, result in found.items()} == wanted, found
assert "install trajopt[testing]" in found["linear_quadratic_answers_are_exact"].message
try:
    parametrize_with_checks([LQR()])
except MissingExtra as error:
    assert "pytest" in str(error)
else:
    raise SystemExit("no error")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
