"""POMCP and beliefs against exact beliefs."""

from functools import cache

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.problems import tiger
from trajopt.solvers import POMCP


@cache
def load(discount):
    """Tiger, compiled once for each discount."""
    return problems.load("tiger", discount=discount)


def tiger_value(discount, count=2001):
    """Value of Tiger at even odds, by value iteration on a grid of beliefs with linear interpolation."""
    p = np.linspace(0.0, 1.0, count)  # that the tiger is on the right
    right = 0.85 * p + 0.15 * (1.0 - p)  # of hearing it there
    heard_right, heard_left = 0.85 * p / right, 0.15 * p / (1.0 - right)
    v = np.zeros(count)
    for _ in range(2000):
        listen = -1.0 + discount * (right * np.interp(heard_right, p, v) + (1.0 - right) * np.interp(heard_left, p, v))
        again = discount * v[count // 2]
        new = np.maximum.reduce([listen, 10.0 * p - 100.0 * (1.0 - p) + again, 10.0 * (1.0 - p) - 100.0 * p + again])
        if np.abs(new - v).max() < 1e-12:
            break
        v = new
    return v[count // 2]


def test_tiger_has_its_known_values():
    """The rules' numbers are those whose exact values are published; interpolation on 2001 points errs by 1e-3."""
    known = problems.decision_reference("tiger").values[0].value
    assert tiger_value(0.95) == pytest.approx(known, abs=1e-3)
    assert tiger_value(0.75) == pytest.approx(1.933439, abs=1e-3)


def test_search_encloses_the_value_of_tiger():
    """Begun with too little and with too much in new histories, the search comes from below and from above."""
    process, exact = load(0.75), 1.933439
    gaps = []
    for simulations in (2_000, 100_000):
        low, high = (
            to.decide(process, POMCP(simulations=simulations, cutoff=1e-3, evaluate=evaluate))
            for evaluate in (lambda state: -4.0, lambda state: 40.0)  # listening for ever; 10 for ever
        )
        assert low.action == high.action == tiger.LISTEN
        assert low.value <= exact <= high.value
        gaps.append(high.value - low.value)
    assert gaps[1] < gaps[0]


def test_beliefs_follow_bayes_and_open_the_right_door():
    """Particles of a belief show Bayes's odds within Monte Carlo error; once sure enough, the right door is opened."""
    process, count = load(0.95), 20_000
    planner = POMCP(particles=count, simulations=20_000, evaluate=lambda state: 0.0)
    belief = to.decide(process, planner).tree
    for heard in range(1, 4):
        belief = belief.after(tiger.LISTEN, 1)
        exact = 1.0 / (1.0 + (0.15 / 0.85) ** heard)
        share = np.mean(belief.particles == 1)
        # Errors add up over the updates; 5 standard deviations of each.
        assert abs(share - exact) <= 5.0 * heard * np.sqrt(exact * (1.0 - exact) / count)
        decision = to.decide(process, planner, tree=belief)
        # Exact beliefs: listening is best up to two noises from one side, opening from the third on at the latest.
        assert decision.action == (tiger.LISTEN if heard < 2 else tiger.OPEN_LEFT) or heard == 2
    fresh = belief.after(tiger.OPEN_LEFT, 0)
    assert abs(np.mean(fresh.particles == 1) - 0.5) <= 5.0 * np.sqrt(0.25 / count)


def rock_bounds(size, rock, depth, discount):
    """Bounds of RockSample with one rock: exact beliefs for a while, then leaving at once, or all for nothing."""

    @cache
    def bounds(x, y, good, left):
        if x == size:
            return 0.0, 0.0
        if left == 0:
            return 10.0 * discount ** (size - 1 - x), 10.0 + 10.0 * good
        found = []
        for (dx, dy), reward in (((0, 1), 0.0), ((0, -1), 0.0), ((-1, 0), 0.0), ((1, 0), 10.0)):
            if x + dx >= 0 and 0 <= y + dy < size:
                low, high = bounds(x + dx, y + dy, good, left - 1)
                gain = reward if x + dx == size else 0.0
                found.append((gain + discount * low, gain + discount * high))
        if (x, y) == rock:
            low, high = bounds(x, y, 0.0, left - 1)
            gain = 20.0 * good - 10.0
            found.append((gain + discount * low, gain + discount * high))
        right = 0.5 * (1.0 + 2.0 ** (-np.hypot(x - rock[0], y - rock[1]) / 20.0))
        seen = good * right + (1.0 - good) * (1.0 - right)
        parts = []
        for share, posterior in ((seen, good * right), (1.0 - seen, good * (1.0 - right))):
            if share > 0.0:
                low, high = bounds(x, y, round(posterior / share, 12), left - 1)
                parts.append((discount * share * low, discount * share * high))
        found.append((sum(low for low, _ in parts), sum(high for _, high in parts)))
        return max(low for low, _ in found), max(high for _, high in found)

    return bounds(0, 0, 0.5, depth)


def test_search_values_rock_sample():
    """On 2 x 2 cells with one rock the search comes within 2 % of the value that exact beliefs enclose."""
    size, rock, discount = 2, (1, 1), 0.95
    process = problems.load("rock-sample", size=size, rocks=(rock,), start=(0, 0), discount=discount)
    low, high = rock_bounds(size, rock, 10, discount)
    assert high - low <= 0.01 * low
    assert to.decide(process, POMCP(simulations=50_000, cutoff=1e-3)).value == pytest.approx(low, rel=0.02)


def test_equal_returns_do_not_stop_the_search_from_trying():
    """As long as all returns are alike, every action is tried about as often as any other."""

    def step(state, action):
        return state, 0.0, 0.9

    blind = to.DecisionProcess(step, np.zeros(1), 3, observe=lambda s, a, u: 0, observations=1, compiled=False)
    visits = to.decide(blind, POMCP(simulations=300, depth=3)).visits
    assert visits.min() >= 80


def test_same_seed_same_decision():
    """Decisions depend on the seed alone, not on whether the work came in one piece."""
    process = load(0.75)
    one, two = (to.decide(process, POMCP(simulations=3000, seed=5)) for _ in range(2))
    watched = to.decide(process, POMCP(simulations=3000, seed=5), callback=lambda iteration: False)
    other = to.decide(process, POMCP(simulations=3000, seed=6))
    np.testing.assert_array_equal(one.visits, two.visits)
    np.testing.assert_array_equal(one.visits, watched.visits)
    assert one.value == two.value == watched.value != other.value


def test_mean_backup_is_below_the_best():
    """Averaged returns hold all exploring actions, so they stay below what the best means give."""
    process = load(0.75)
    values = [to.decide(process, POMCP(simulations=5000, backup=name)).value for name in ("mean", "max")]
    assert values[0] < values[1]


def test_what_makes_no_sense_is_refused():
    """Impossible observations, beliefs of another process, processes without observations: a sentence each."""
    process = load(0.75)
    decision = to.decide(process, POMCP(simulations=100))
    with pytest.raises(InvalidProblem, match="observation=7"):
        decision.tree.after(0, 7)
    certain = problems.load("tiger", accuracy=1.0)
    sure = to.decide(certain, POMCP(simulations=100, particles=50)).tree.after(0, 1)
    with pytest.raises(InvalidProblem, match="none of"):
        sure.after(0, 0)
    with pytest.raises(InvalidProblem, match="same process"):
        to.decide(certain, POMCP(), tree=decision.tree)
    with pytest.raises(UnsupportedProblem, match="no rule observe"):
        to.decide(problems.load("nim"), POMCP())
    with pytest.raises(InvalidProblem, match="backup"):
        POMCP(backup="median")
    quick = to.decide(process, POMCP(simulations=10**7), max_time=1e-3)
    assert quick.status is to.Status.TIME_LIMIT
