"""The race car against the forward and backward pass over speeds: an oracle that knows no optimal control."""

import numpy as np
import pytest

import trajopt as to
from trajopt import problems
from trajopt.problems.race_car import ENGINE, GRIP, LENGTH, RADIUS, SPEED, curvature, place, profile_time, slowness
from trajopt.solvers import Collocation

ARC = np.linspace(0.0, LENGTH, 6001)


def test_profile_of_a_straight_road():
    """Full engine on a straight road: constant acceleration, to rounding."""
    time = (np.sqrt(SPEED**2 + 2.0 * ENGINE * GRIP * LENGTH) - SPEED) / (ENGINE * GRIP)
    assert profile_time(ARC, np.zeros_like(ARC)) == pytest.approx(time, rel=1e-12)


def test_profile_of_a_circle():
    """A circle driven at the speed that grip allows: constant speed, to rounding."""
    speed = np.sqrt(GRIP * RADIUS)
    assert profile_time(ARC, np.full_like(ARC, 1.0 / RADIUS), speed) == pytest.approx(LENGTH / speed, rel=1e-12)


def test_centre_line_turns_round():
    """The turn is one by pi, and offsets are perpendicular distances."""
    assert np.trapezoid(curvature(ARC), ARC) == pytest.approx(np.pi, abs=1e-9)
    np.testing.assert_allclose(np.linalg.norm(place(ARC, 2.0) - place(ARC, -1.0), axis=0), 3.0)


@pytest.fixture(scope="module")
def solution():
    return to.solve(problems.load("race-car"), Collocation())


def test_speed_is_the_best_on_the_path(solution):
    """On the path that collocation found the pass over speeds takes the same time; on the centre it takes longer."""
    offset, angle, _ = np.array([solution(s)[0] for s in ARC]).T  # neither speeds nor controls are used
    stretch = (1.0 - offset * curvature(ARC)) / np.cos(angle)
    travelled = np.concatenate([[0.0], np.cumsum(0.5 * np.diff(ARC) * (stretch[1:] + stretch[:-1]))])
    bend = (curvature(ARC) + np.gradient(angle, ARC)) / stretch
    # The pass is of first order, and differences see the kinks of the angle between two steps: a few ten-thousandths.
    assert profile_time(travelled, bend) == pytest.approx(solution.cost, rel=1e-3)
    assert profile_time(ARC, curvature(ARC)) > solution.cost + 0.5


def test_slowness_is_the_time_of_a_metre(solution):
    """The integral of the slowness along the returned states is the cost."""
    rates = [slowness(solution(s)[0], s) for s in ARC]
    assert np.trapezoid(rates, ARC) == pytest.approx(solution.cost, rel=1e-5)
