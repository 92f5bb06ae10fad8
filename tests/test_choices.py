"""Discrete controls in the language: what is accepted, refused, checked, shown and kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

import trajopt as to
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.guess import make_guess
from trajopt.problem import Feature
from trajopt.registry import load_solver, solver_names
from trajopt.solvers import CEM, CMAES, MPPI, Chain, GradientShooting, MultiStart, PredictiveSampling, RandomShooting
from trajopt.status import Status

mpl.use("Agg")


def switched(values: Any = (-1.0, 0.0, 0.5), *, steps: int = 6, **options: Any) -> to.Problem:
    """A pendulum whose torque is one of a few."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] - np.sin(x[0])]), states=["a", "r"], controls=["m"]),
        lambda x, u: x @ x + 0.1 * u @ u,
        initial_state=[1.0, 0.0],
        horizon=to.Horizon(2.0, steps=steps),
        constraints=[to.Choices(values), *options.pop("constraints", [])],
        **options,
    )


def test_choices_are_read_and_the_nearest_is_found() -> None:
    """One number a row for one control, rows for several; distances count in units of each control's spread."""
    problem = switched()
    assert np.array_equal(problem.choices, [[-1.0], [0.0], [0.5]])
    assert Feature.DISCRETE_CONTROLS in problem.features
    assert np.array_equal(problem.admissible([[-0.6], [0.2], [9.0]]), [[-1.0], [0.0], [0.5]])
    double = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=2, nu=2),
        constraints=[to.Choices([[0.0, 0.0], [1.0, 1000.0]])],
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(steps=2),
    )
    assert np.array_equal(double.admissible([0.9, 200.0]), [1.0, 1000.0])
    assert replace(problem, constraints=[]).choices is None


@pytest.mark.parametrize("values", [[], [[]], [1.0, 1.0], [np.nan], [None, 1.0], "ab", [[1.0], [1.0, 2.0]], 3.0])
def test_choices_that_are_none_are_refused(values: Any) -> None:
    """What is no table of different finite rows is refused when it is made."""
    with pytest.raises(InvalidProblem, match=r"Choices\("):
        to.Choices(values)


@pytest.mark.parametrize(
    "constraints",
    [
        [to.Choices([[1.0, 2.0]])],
        [to.Choices([1.0]), to.Choices([2.0])],
        [to.Choices([-1.0, 2.0]), to.Bounds(control=(-1.0, 1.0))],
    ],
)
def test_choices_that_do_not_fit_the_problem_are_refused(constraints: Any) -> None:
    """Other sizes, several tables, and values outside the bounds."""
    with pytest.raises(InvalidProblem, match=r"choices|Choices"):
        replace(switched(), constraints=constraints)


def test_solvers_that_do_not_handle_them_say_so_and_name_those_that_do() -> None:
    """Five solvers handle discrete controls; all others refuse them by name, and "auto" takes a sampler."""
    problem, able = switched(), {"cem", "gradient_shooting", "mcts", "predictive_sampling", "random_shooting"}
    for name in solver_names():
        if name in able:
            assert Feature.DISCRETE_CONTROLS in load_solver(name).handles
            continue
        with pytest.raises(UnsupportedProblem, match=r"discrete controls.*cem or gradient_shooting"):
            to.solve(problem, name)
    for method in ("lbfgs", "newton"):
        with pytest.raises(UnsupportedProblem, match="discrete controls"):
            to.solve(problem, GradientShooting(method=method))
    assert to.solve(problem).solver == "CEM()"
    for solver in (MPPI(), CMAES()):
        with pytest.raises(UnsupportedProblem, match="use CEM"):
            solver.make_discrete_update(np.zeros((2, 1)))


def test_the_certificate_measures_the_distance_from_the_choices() -> None:
    """It is zero on them, and elsewhere a violation by name; stationarity has no meaning and is not claimed."""
    solution = to.solve(switched(), CEM(samples=64))
    certificate = solution.certificate
    assert certificate.passed
    assert {v.name: v.amount for v in certificate.worst} == {"choices of the controls": 0.0}
    assert np.isnan(certificate.stationarity)
    assert any("discrete" in remark for remark in certificate.remarks)
    assert "'choices of the controls' holds with a margin of 0 at" in solution.explain()
    off = replace(solution, trajectory=replace(solution.trajectory, u=solution.u + 0.125))
    worst = off.certificate.worst[0]
    assert not off.certificate.passed
    assert (worst.name, worst.amount) == ("choices of the controls", pytest.approx(0.125))


def test_guesses_begin_among_the_choices() -> None:
    """Relaxed solutions, interpolated arrays and nothing at all become held choices."""
    problem = switched((-1.0, 0.3))
    relaxed = to.solve(replace(problem, constraints=[to.Bounds(control=(-1.0, 0.5))]), "collocation")
    t = np.linspace(0.0, 2.0, 7)
    for guess in (relaxed, (t, np.zeros((7, 2)), np.linspace(-1.0, 1.0, 7)[:, None]), None):
        found = make_guess(problem, guess)
        assert found.u.shape == (6, 1)
        assert np.isin(found.u, problem.choices).all()
    assert np.array_equal(make_guess(problem, None).u[0], [0.3])  # the nearest to rest


def test_control_loops_send_choices_alone() -> None:
    """Also before the first plan, under delay, and where the solver fails at every tick."""
    problem = switched((-1.0, 0.3, 0.8))
    loop = to.MPC(problem, CEM(samples=64), iterations=2, delay=1).run(steps=6, disturbance=0.01)
    assert np.isin(loop.u, problem.choices).all()
    broken = replace(problem, stage_cost=lambda x, u: np.log(x[0] - 10.0))
    held = to.MPC(broken, CEM(samples=16), iterations=1).command([1.0, 0.0])
    assert np.array_equal(held, [0.3])


def test_chains_multistarts_and_batches_keep_to_the_choices() -> None:
    """Compositions hand choices on."""
    problem = switched()
    chain = to.solve(problem, Chain(RandomShooting(samples=16, iterations=2), CEM(samples=64)))
    several = to.solve(problem, MultiStart(CEM(samples=32), starts=3))
    batch = to.solve_batch(problem, CEM(samples=32), initial_states=[[1.0, 0.0], [0.5, 0.0]])
    for solution in (chain, several, *batch):
        assert solution.status is Status.SOLVED
        assert np.isin(solution.u, problem.choices).all()
    with pytest.raises(UnsupportedProblem, match="discrete controls"):
        to.solve(problem, Chain(CEM(samples=32), "ilqr"))


def test_answers_are_kept_and_drawn_as_steps(tmp_path) -> None:
    """A saved solution is the same when it is loaded; its picture and its report show the control in steps."""
    problem = switched()
    solution = to.solve(problem, PredictiveSampling(samples=64))
    again = to.Solution.load(solution.save(tmp_path / "s.npz"), problem)
    assert np.array_equal(again.u, solution.u)
    assert again.certificate.passed
    figure = solution.plot()
    drawn = [line.get_ydata() for axes in figure.axes if axes.get_title(loc="left") + axes.get_title() == "m"
             for line in axes.get_lines()]  # fmt: skip
    assert any(len(y) >= problem.horizon.steps and np.isin(y[np.isfinite(y)], problem.choices).all() for y in drawn)
    assert "choices of the controls" in solution.report(tmp_path / "r.html").read_text()


def test_an_environment_has_a_discrete_action_space() -> None:
    """An action is the number of a choice, and an episode's rewards are minus the cost."""
    checker = pytest.importorskip("gymnasium.utils.env_checker")
    problem = switched()
    environment = to.to_gymnasium(problem)
    checker.check_env(environment, skip_render_check=True)
    solution = to.solve(problem, CEM(samples=64))
    environment.reset()
    total = 0.0
    for control in solution.u:
        _, reward, _, _, info = environment.step(int(np.flatnonzero(problem.choices[:, 0] == control[0])[0]))
        total += reward
    assert total == pytest.approx(-solution.certificate.cost, rel=1e-9)
    assert info["violation"] == 0.0
    environment.reset()
    with pytest.raises(InvalidProblem, match="number from 0 to 2"):
        environment.step(3)
