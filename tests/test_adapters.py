"""Adapters of other packages' solvers, where those are here with the tests, and the page of what the suite found."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from bench.adapters.with_opti import OptiIpopt
from bench.adapters.with_scipy import ScipyMinimize
from bench.conformance import FINDINGS
from bench.conformance_page import Example, markdown
from trajopt.errors import CheckFailed
from trajopt.solve import solve
from trajopt.status import Status
from trajopt.testing import CheckResult, Subject, Verdict, all_checks
from trajopt.testing.cases import STEP, TORQUE, cost_rate, end_cost, problem, rate_of_change, standard_problems

FEW = (
    "success_is_certified", "states_obey_the_dynamics", "controls_stay_within_bounds", "the_history_tells_the_solve",
    "costates_are_derivatives_of_the_remaining_cost", "least_energy_is_the_closed_form", "a_callback_can_stop",
    "an_interrupt_returns_the_best_so_far", "small_problems_are_solved",
)  # fmt: skip
"""Those that see what an adapter may get wrong: signs, indices, units, limits, and who may stop it."""

KINDS = ("limited torque", "limited rate", "path", "target")
"""Problems of the suite with one kind of row each."""


@pytest.fixture(scope="module", params=[OptiIpopt(), ScipyMinimize()], ids=str)
def subject(request):
    chosen = [standard for standard in standard_problems(True) if standard.name in KINDS]
    return Subject(request.param, (*chosen, problem("continuous", False, constraints=[TORQUE])))


@pytest.mark.parametrize("name", FEW)
def test_adapters_pass_the_checks_that_see_a_wrong_translation(subject, name):
    """IPOPT and SLSQP have no known defect under these checks, so that a failure is the adapter's."""
    (check,) = [check for check in all_checks() if check.name == name]
    if not check.concerns(subject):
        pytest.skip("it is not subject to this check")
    if name.startswith("costates") and "costates" not in subject.solution(subject.base).multipliers:
        pytest.skip("SciPy gives no costates")
    check.run(subject)


@pytest.mark.parametrize("adapter", [OptiIpopt(), ScipyMinimize(), ScipyMinimize("trust-constr", iterations=30)])
def test_an_adapter_reports_the_cost_of_its_own_trajectory(adapter):
    """Cost and states are those of the user's functions; rows kept, whatever the package says of the rest."""
    limited = problem("limited", True, constraints=[TORQUE])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # trust-constr warns of its own quasi-Newton matrix
        solution = solve(limited, adapter)
    x, cost = np.zeros(2), 0.0
    for u in solution.u:
        cost += STEP * cost_rate(x, u)
        x = x + STEP * rate_of_change(x, u)
    assert solution.cost == pytest.approx(cost + end_cost(x), rel=1e-7)  # IPOPT's defects, at their prices
    np.testing.assert_allclose(solution.x[-1], x, atol=1e-7)
    assert np.abs(solution.u).max() <= 0.75 * (1.0 + 1e-7)  # IPOPT relaxes bounds by 1e-8


def test_limits_of_iterations_are_told_from_success():
    """Two iterations solve nothing, and the status of both packages becomes ours."""
    for adapter in (OptiIpopt(iterations=2), ScipyMinimize(iterations=2)):
        assert solve(problem("short", True, constraints=[TORQUE]), adapter).status is Status.ITERATION_LIMIT


def test_a_wrong_sign_in_an_adapter_is_found():
    """The costates of Opti with their sign turned, as one reads them in its documentation, fail their check."""
    (check,) = [check for check in all_checks() if check.name == "costates_are_derivatives_of_the_remaining_cost"]
    with pytest.raises(CheckFailed, match="a costate"):
        check.run(Subject(TurnedCostates()))


@dataclass(frozen=True)
class TurnedCostates(OptiIpopt):  # type: ignore[misc] - final, but here a mutant
    handles: ClassVar = OptiIpopt.handles

    def run(self, problem, guess, monitor):
        outcome = super().run(problem, guess, monitor)
        outcome.multipliers["costates"] *= -1.0
        return outcome


def result(name: str, verdict: Verdict, message: str = "") -> CheckResult:
    return CheckResult(name, "certificates", "Some()", verdict, message, "", "exact", 0.5)


def test_the_page_shows_verdicts_failures_and_examples():
    """A solver is a line of each table; a failure is told in the check's own words; the signal of a crash is named."""
    found = [result("success_is_certified", Verdict.PASSED), result("answers_fit_their_problem", Verdict.FAILED, "no")]
    script = '"""A title.\n\nDefect, found so.\n"""\n\nprint(1)\n'
    page = markdown([("Some()", "some 1.0", found)], [Example(script, "1\n", -6)], ["other"])
    assert "| `Some()` | some 1.0 | 1 | 1 | 0 | 0 | 1 s | `answers_fit_their_problem` |" in page
    assert "- `Some()`, `answers_fit_their_problem`: no" in page
    assert "| `Some()` | + | **failed** |" in page
    assert "### A title\n\nDefect, found so.\n\n```python\nprint(1)\n```" in page
    assert "(ended by signal 6)" in page
    assert "left out: other" in page


@pytest.mark.parametrize("path", sorted(FINDINGS.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_every_finding_says_what_it_is_and_which_check_found_it(path: Path):
    """Titles name the package; kinds are told apart; checks that are named exist."""
    title, explanation = Example(path.read_text(), "", 0).text
    assert ": " in title
    assert explanation.startswith(("Defect, ", "By design, ", "Documentation, "))
    named = {word for word in explanation.split("`") if "_" in word and word.islower() and " " not in word}
    known = {check.name for check in all_checks()}
    assert named & known or "met " in explanation
