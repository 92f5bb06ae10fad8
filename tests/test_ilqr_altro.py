"""The problems of ALTRO's test-suite from its starting points: what is reached, beside ALTRO's own counts."""

from __future__ import annotations

import pytest

from bench.altro import ANCHORS, run
from trajopt.solvers import DDP, ILQR

TIGHTER = (
    "ALTRO's tests end at gradients of 1e-3 to 1e-2 with penalties chosen for the problem; here the cost is minimal"
)
MORE_THAN_ALTRO = {
    "double-integrator": (15, 15, "the rows that act change while the multipliers are still guesses"),
    "pendulum": (110, 60, TIGHTER),
    "cartpole": (120, 100, TIGHTER),
    "acrobot": (160, 170, TIGHTER),
    "parallel-park": (140, 110, TIGHTER),
    "three-obstacles": (60, 120, TIGHTER),
    "car-escape": (60, 100, TIGHTER),
}
"""Iterations of ILQR and DDP at most, a tenth above those measured lest rounding decides, and why ALTRO takes fewer."""

UNSOLVED = {"quadrotor": "way-points are spread over time in our version; Gauss-Newton and DDP creep to its optimum"}


@pytest.mark.parametrize("name", MORE_THAN_ALTRO)
@pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])
def test_solved_within_the_counts_that_were_measured(name, solver):
    """With defaults, to 1e-8 in constraints and cost; a count within ALTRO's belongs off the list."""
    most = MORE_THAN_ALTRO[name][0 if isinstance(solver, ILQR) else 1]
    solution = run(name, solver)
    assert solution.success
    assert solution.history[-1].violation <= 1e-8
    assert ANCHORS[name].iterations < solution.iterations <= most


@pytest.mark.parametrize("name", UNSOLVED)
def test_what_is_not_solved_says_so(name):
    """No success within the limit."""
    assert not run(name, ILQR(iterations=100)).success


def test_every_problem_of_the_suite_stands_in_one_list():
    """Nothing is left out."""
    assert {*MORE_THAN_ALTRO, *UNSOLVED} == set(ANCHORS)
