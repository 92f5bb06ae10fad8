"""Figures show the numbers of the solution, whatever these are, and leave no trace in Matplotlib."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from view_samples import Steady, chain, slide, solution_of

import trajopt as to
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.view.panels import control_samples, margin_panels, race, state_panels
from trajopt.view.plot import figure_of, plot_solution


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def words(figure):
    legends = [axes.get_legend() for axes in figure.axes]
    return {text.get_text() for legend in legends if legend for text in legend.get_texts()} | set(titles(figure))


@pytest.mark.parametrize("interpolation", list(Interpolation))
def test_control_is_drawn_as_it_runs(interpolation):
    """Straight lines between the drawn points give the control at any time, to the truncation error of a parabola."""
    solution = chain(1, 7, interpolation)
    t, u = control_samples(solution)
    times = np.random.default_rng(1).uniform(0.0, 3.0, 200)
    expected = solution(times)[1][:, 0]
    curvature = 0.0
    if interpolation is Interpolation.QUADRATIC:
        mid, u_knots, h = solution.trajectory.u_mid, solution.u, 3.0 / 7.0
        curvature = np.max(np.abs(4.0 * (u_knots[:-1] - 2.0 * mid + u_knots[1:]) / h**2))
    if interpolation is Interpolation.POLYNOMIAL:
        bends = np.diff(solution.trajectory.pieces.u, n=2, axis=1)
        curvature = np.max(np.abs(6.0 * bends)) / (3.0 / 7.0) ** 2  # second derivative of a cubic by its coefficients
    error = (3.0 / 7.0 / 8.0) ** 2 / 8.0 * curvature  # of linear interpolation on an eighth of an interval
    np.testing.assert_allclose(np.interp(times, t, u[:, 0]), expected, atol=error + 1e-9)


@pytest.mark.parametrize(("nx", "steps"), [(1, 1), (2, 30), (5, 40), (13, 50), (3, 5000)])
def test_every_state_and_control_is_there(nx, steps, tmp_path):
    """Any size draws and saves without a warning, and every state and control is named in a title or legend."""
    solution = chain(nx, steps, nu=2)
    figure = plot_solution(solution)
    figure.savefig(tmp_path / "plot.png")
    assert {*solution.problem.dynamics.states, "u0", "u1"} <= words(figure)
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_state_curves_pass_through_the_knots():
    """What is drawn of a state contains the values at the knots."""
    solution = chain(2, 10)
    for panel in state_panels(solution):
        for curve in panel.curves:
            i = solution.problem.dynamics.states.index(curve.label or panel.title)
            np.testing.assert_allclose(np.interp(solution.t, curve.x, curve.y), solution.x[:, i], atol=1e-12)


def test_families_share_a_panel_unless_their_sizes_differ():
    """Names that differ in an axis or number are grouped; words that happen to end so, and small ones, are not."""
    names = ["x", "y", "z", "vx", "vy", "velocity", "angle 1", "angle 2", "w0", "w1"]
    solution = chain(10, 5, states=names)
    x = solution.x.copy()
    x[:, 9] *= 1e-3
    solution = replace(solution, trajectory=replace(solution.trajectory, x=x))
    assert [panel.title for panel in state_panels(solution)] == ["position", "v", "velocity", "angle", "w0", "w1"]


def test_bounds_are_dashed_lines():
    """A finite control bound is a dashed line at its value."""
    figure = plot_solution(chain(1, 6))
    axes = figure.axes[titles(figure).index("u0")]
    dashed = {line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"}
    assert dashed == {-1.5, 1.5}


def test_margin_is_distance_to_the_limit():
    """The margin of speed <= 3 under a constant push of one is 3 - t."""
    solution = to.solve(slide(), Steady())
    (panel,) = margin_panels(solution)
    assert panel.title == "margin of limit"
    np.testing.assert_allclose(panel.curves[0].y, 3.0 - panel.curves[0].x, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e300])
def test_numbers_that_no_axis_can_show(bad, tmp_path):
    """States, controls and costs that are not finite leave gaps and raise no warning."""
    good = chain(3, 10)
    x, u = good.x.copy(), good.u.copy()
    x[4:, 0] = bad
    x[:, 1] = bad
    u[:] = bad
    trajectory = replace(good.trajectory, x=x, u=u)
    solution = solution_of(good.problem, trajectory, (1.0, bad, np.nan), to.Status.NUMERICAL_FAILURE)
    figure = plot_solution(solution)
    figure.savefig(tmp_path / "plot.svg")
    assert "no finite values" in (tmp_path / "plot.svg").read_text()


def test_no_history_no_controls():
    """A problem without controls and a solution without history draw their states alone."""
    dynamics = to.ContinuousDynamics(lambda x, u: -x, nx=1, nu=0)
    problem = to.Problem(dynamics, initial_state=[1.0], horizon=to.Horizon(1.0, 2))
    t = problem.horizon.knots()
    trajectory = Trajectory(t, np.exp(-t)[:, None], np.zeros((2, 0)), Interpolation.HOLD)
    figure = plot_solution(solution_of(problem, trajectory, ()))
    assert titles(figure) == ["x0"]


def test_discrete_states_are_shown_at_steps_alone():
    """Between steps of discrete dynamics there is nothing to draw."""
    dynamics = to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1)
    problem = to.Problem(dynamics, initial_state=[0.0], horizon=to.Horizon(steps=4))
    trajectory = Trajectory(np.arange(5.0), np.arange(5.0)[:, None], np.ones((4, 1)), Interpolation.HOLD)
    (panel,) = state_panels(solution_of(problem, trajectory))
    assert panel.horizontal == "step"
    np.testing.assert_array_equal(panel.curves[0].x, np.arange(5.0))


def test_measured_trajectory_appears_only_where_it_departs():
    """A re-integrated trajectory is drawn when it visibly differs from the plan, and not otherwise."""
    solution = chain(1, 10)
    same = state_panels(solution, (solution.t, solution.x))
    other = state_panels(solution, (solution.t, solution.x + 0.1))
    assert [len(panel.curves) for panel in same + other] == [1, 2]


def test_race_is_logarithmic_in_time_when_solvers_differ():
    """Milliseconds beside seconds get a logarithmic axis, equals do not."""
    fast = chain(1, 5)
    slow = replace(fast, history=tuple(replace(record, seconds=100.0 * record.seconds) for record in fast.history))
    assert all(panel.logarithmic_time for panel in race(["a", "b"], [fast, slow]))
    assert not any(panel.logarithmic_time for panel in race(["a", "b"], [fast, fast]))
    assert len(figure_of(race(["a", "b"], [fast, slow], 1.0), "race", shared_legend=True).axes) == 2


def test_matplotlib_is_left_as_it_was():
    """Drawing changes no setting of Matplotlib."""
    before = dict(matplotlib.rcParams)
    plot_solution(chain(2, 5))
    assert dict(matplotlib.rcParams) == before


def test_pyplot_is_never_imported():
    """A figure needs no pyplot, so no window system and no global list of figures."""
    code = "import sys, trajopt.view.plot, trajopt.view.report; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
