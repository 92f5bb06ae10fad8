"""The benchmark's judge and its competitors: their answers to one problem check each other."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from bench.cases import Case, Instance, Unicycle
from bench.competitor import Unavailable
from bench.discretisation import Discretisation
from bench.measure import Row, duration, take_turns
from bench.mppi import CELL, SQUARES, texture
from bench.report import as_json, markdown, solve_sheet, target_sheet
from bench.solves import run_case
from bench.with_casadi import TOLERANCE, Fatrop, Ipopt
from bench.with_crocoddyl import Crocoddyl
from bench.with_trajopt import Ddp

PENDULUM = Case(Instance("pendulum", "pendulum", {"steps": 25, "damping": 0.0}), soft=True, model="pendulum")
CUTEST_DTOC3 = 224.5903818850981  # N = 10, by Riccati recursion


@pytest.fixture(scope="module")
def pendulum():
    return PENDULUM.build()


def allowed_difference(shape: Discretisation, cost: float) -> float:
    """How far apart two solved answers may be: Newton decrements, barriers, and bounds that IPOPT relaxes.

    A decrement d leaves d to be gained, to second order. An interior-point method leaves one complementarity of at most
    its tolerance for each bound, and gains as much again by relaxing each bound by 1e-8 (1 + |bound|), at the price of
    the bound's multiplier, which here is below 1.
    """
    bounds = np.abs(shape.problem.control_bounds[np.isfinite(shape.problem.control_bounds)])
    return 2 * Ddp.solver.tolerance * (1 + abs(cost)) + shape.steps * float(np.sum(TOLERANCE + 1e-8 * (1 + bounds)))


@pytest.mark.parametrize("competitor", [Ipopt, Fatrop])
def test_an_independent_transcription_and_solver_find_the_same_cost(pendulum, competitor):
    """CasADi's NLP, written apart from our stages, has the optimum that DDP finds, within what tolerances leave."""
    ours, theirs = Ddp(pendulum), competitor(pendulum)
    answers = [one.read(one.solve()) for one in (ours, theirs)]
    verdicts = [pendulum.judge(answer.x, answer.u) for answer in answers]
    assert all(answer.solved for answer in answers)
    assert max(verdict.violation for verdict in verdicts) <= 10 * TOLERANCE  # IPOPT relaxes |u| <= 3 by 4e-8
    assert abs(verdicts[0].cost - verdicts[1].cost) <= allowed_difference(pendulum, verdicts[0].cost)


def test_the_judge_values_a_rollout_as_the_solver_does(pendulum):
    """The cost that ILQR reports and the judge's differ by rounding alone."""
    ours = Ddp(pendulum)
    solution = ours.solve()
    verdict = pendulum.judge(solution.x, solution.u)
    assert verdict.cost == pytest.approx(solution.cost, rel=1e-12)  # rounding of 25 steps, amplified by their growth
    assert verdict.violation <= 1e-12


@pytest.mark.parametrize("amount", [1e-6, 0.3])
def test_the_judge_sees_a_state_that_the_dynamics_do_not_reach(amount):
    """A final state moved by some amount is a defect of that amount."""
    shape = Discretisation(Unicycle("unicycle", steps=5).load())
    answer = Ddp(shape).read(Ddp(shape).solve())
    moved = answer.x.copy()
    moved[-1, 0] += amount
    assert shape.judge(moved, answer.u).violation == pytest.approx(amount, rel=1e-6)


def test_the_judge_sees_a_control_beyond_its_bounds(pendulum):
    """A control 0.5 above its bound is a violation of at least 0.5."""
    x, u = (array.copy() for array in pendulum.guess)
    u[3] = 3.5
    assert pendulum.judge(x, u).violation >= 0.5


@pytest.mark.parametrize("model", ["unicycle", "pendulum"])
def test_crocoddyl_solves_the_same_problem(pendulum, model):
    """Crocoddyl's own C++ models have our optimum; a model that does not match is refused."""
    shape = pendulum if model == "pendulum" else Discretisation(Unicycle("unicycle", steps=20).load())
    try:
        theirs = Crocoddyl(shape, model)
    except Unavailable as reason:
        pytest.skip(str(reason))
    ours = Ddp(shape)
    answers = [one.read(one.solve()) for one in (ours, theirs)]
    costs = [shape.judge(answer.x, answer.u).cost for answer in answers]
    assert abs(costs[0] - costs[1]) <= allowed_difference(shape, costs[0])


def test_a_case_runs_and_is_reported():
    """Every competitor reaches the published optimum of a small DTOC3, and the report holds them all."""
    runs = run_case(Case(Instance("small", "dtoc3", {"steps": 9}), model="dtoc3"), quick=True)
    measured = [run for run in runs if run.verdict is not None]
    assert len(measured) >= 4
    assert len(runs) == 7
    for run in measured:
        assert run.answer.solved
        assert run.seconds > 0
        assert run.verdict.violation <= TOLERANCE
        # linear-quadratic: one Newton step is exact up to rounding, which the solvers' linear algebra amplifies
        assert run.verdict.cost == pytest.approx(CUTEST_DTOC3, rel=1e-9)
    text = markdown([solve_sheet(runs)])
    assert all(run.solver in text for run in runs)
    assert json.loads(json.dumps(as_json([], runs)))["solves"][0]["cost"] == measured[0].verdict.cost


def test_a_missing_competitor_is_a_row_that_says_why(monkeypatch, pendulum):
    """Without Crocoddyl its row names the extra to install."""
    monkeypatch.setattr("bench.with_crocoddyl.crocoddyl", None)
    with pytest.raises(Unavailable, match=r"trajopt\[bench\]"):
        Crocoddyl(pendulum, "pendulum")


def test_a_problem_that_crocoddyl_cannot_state_is_refused():
    """Terminal constraints are refused rather than dropped."""
    hard = replace(PENDULUM, soft=False).build()
    with pytest.raises(Unavailable):
        Crocoddyl(hard, "pendulum")


def test_taking_turns_interleaves():
    """In each round every competitor runs once; the first round is not counted."""
    calls: list[str] = []
    seconds = take_turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert all(value >= 0 for value in seconds.values())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (2.0, "2 s"), (0.00345, "3.45 ms"), (0.9996e-3, "1 ms"), (4.2e-6, "4.2 us"), (5e-9, "5 ns")],
)
def test_durations_are_readable(seconds, text):
    """Three digits and the unit that fits."""
    assert duration(seconds) == text


def test_targets_show_the_ratio_to_the_competitor():
    """The ratio is the competitor's time over ours."""
    sheet = target_sheet([Row("iteration", "1 ms", "2 ms", 0.5e-3, {"X": 1e-3})])
    assert sheet.lines[0][3:6] == ("500 us", "X 1 ms", "2x")


def test_the_cost_map_is_the_bilinear_table() -> None:
    """What the diff-drive benchmark computes from ramps is SciPy's bilinear reading of the map's 110 x 110 cells."""
    places = CELL * np.arange(111)
    table = np.zeros((111, 111))
    for (a, b), width in SQUARES:
        inside = [(places > first - 1e-9) & (places < first + width + 1e-9) for first in (a, b)]
        table[np.ix_(*inside)] = 250.0
    points = np.random.default_rng(0).uniform(3.0, 9.0, size=(5000, 2))
    read = RegularGridInterpolator((places, places), table)(points)
    assert (read > 0.0).sum() > 50
    np.testing.assert_allclose([texture(point) for point in points], read, rtol=0.0, atol=1e-9)
