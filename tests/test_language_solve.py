"""`solve`, guesses and solutions: the road around the solvers."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, final

import numpy as np
import pytest

import trajopt as to
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.problem import Feature
from trajopt.solver import Outcome, Solver
from trajopt.trajectory import Interpolation, Trajectory


@final
@dataclass(frozen=True)
class Echo(Solver):
    """Returns its guess after some iterations of falling cost."""

    iterations: int = 3
    handles: ClassVar[frozenset[Feature]] = frozenset(Feature) - {Feature.INTEGRAL_CONSTRAINTS}

    def run(self, problem, guess, monitor):
        status = monitor.run(lambda: (None, {"cost": 1.0 / len(monitor.history or [0])}), self.iterations)
        return Outcome(status, guess, 0.25, len(monitor.history))


def integrator(**changes):
    settings = {
        "dynamics": to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        "stage_cost": lambda x, u: u[0] ** 2,
        "initial_state": [0.0],
        "constraints": [to.TerminalConstraint([3.0])],
        "horizon": to.Horizon(1.5, steps=3),
    }
    return to.Problem(**(settings | changes))


def test_import_is_light():
    """`import trajopt` imports none of the heavy packages and compiles nothing."""
    heavy = ["casadi", "numba", "llvmlite", "torch", "matplotlib", "scipy", "pandas", "rich"]
    script = f"import sys, trajopt; print([m for m in {heavy!r} if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_folder_names_give_the_same_objects():
    """The top-level folders and their names inside the package are the same modules, thanks to absolute imports."""
    from trajopt.solvers import ILQR  # noqa: PLC0415
    from trajopt.solvers.ilqr import ILQR as DIRECT  # noqa: PLC0415

    assert ILQR is DIRECT


@pytest.mark.parametrize(
    ("solver", "error", "expected"),
    [
        ("ilqt", to.UnknownName, "did you mean 'ilqr'"),
        ("zzz", to.UnknownName, "known names"),
        (Echo, to.InvalidProblem, "Echo()"),
        (7, to.InvalidProblem, "solver=7"),
    ],
)
def test_unknown_solvers_are_refused_with_a_hint(solver, error, expected):
    """The nearest name, or how to write it."""
    with pytest.raises(error) as caught:
        to.solve(integrator(), solver)
    assert expected in str(caught.value)


def test_unsupported_features_are_refused_by_name():
    """The message names the feature and a solver that has it."""
    problem = integrator(constraints=[to.IntegralConstraint(lambda x, u: u[0], 0.0, 1.0)])
    with pytest.raises(to.UnsupportedProblem) as caught:
        to.solve(problem, Echo())
    assert "integral constraints" in str(caught.value)
    assert "collocation" in str(caught.value)


@pytest.mark.parametrize(
    ("guess", "expected"),
    [
        ((np.zeros(3), np.zeros((3, 2)), np.zeros((3, 1))), "x of shape (3, 2)"),
        ((np.array([0.0, 1.0]), np.zeros((2, 1)), np.zeros((5, 1))), "u of shape (5, 1)"),
        ((np.array([0.0, 1.0]), np.array([[0.0], [np.nan]]), np.zeros((2, 1))), "NaN"),
        ((np.array([1.0, 0.0]), np.zeros((2, 1)), np.zeros((2, 1))), "increase"),
        ("straight", "type str"),
        ((["a", "b"], [0, 0], [0, 0]), "numbers"),
    ],
)
def test_bad_guesses_get_one_sentence(guess, expected):
    """Wrong shapes, NaN, unsorted times and other types are refused before the solver starts."""
    with pytest.raises(to.InvalidProblem) as caught:
        to.solve(integrator(), Echo(), guess=guess)
    assert expected in str(caught.value)


def test_default_guess_is_a_straight_line_to_the_target():
    """From the initial state to the terminal target, the control at rest, moved into its bounds."""
    problem = integrator(constraints=[to.TerminalConstraint([3.0]), to.Bounds(control=(1.0, 2.0))])
    guess = make_guess(problem, None)
    np.testing.assert_allclose(guess.x[:, 0], [0.0, 1.0, 2.0, 3.0])
    np.testing.assert_array_equal(guess.u, np.ones((3, 1)))


def test_guesses_of_another_length_are_stretched():
    """A guess over [0, 1] on 2 knots becomes one over the problem's horizon on its knots."""
    guess = make_guess(integrator(), (np.array([0.0, 1.0]), np.array([[0.0], [6.0]]), np.array([[1.0], [4.0]])))
    np.testing.assert_allclose(guess.t, [0.0, 0.5, 1.0, 1.5])
    np.testing.assert_allclose(guess.x[:, 0], [0.0, 2.0, 4.0, 6.0])
    np.testing.assert_allclose(guess.u[:, 0], [1.0, 2.0, 3.0, 4.0])
    assert guess.interpolation is Interpolation.LINEAR


def test_free_times_of_a_guess_are_moved_into_their_bounds():
    """A guess longer than the longest duration allowed starts at that duration."""
    problem = integrator(horizon=to.Horizon(to.Free(1.0, 2.0), steps=3))
    guess = make_guess(problem, (np.array([0.0, 5.0]), np.zeros((2, 1)), np.zeros((2, 1))))
    assert (guess.t[0], guess.t[-1]) == (0.0, 2.0)


def test_limits_and_callbacks_end_a_solve_with_their_own_status():
    """Iteration limit, time limit, a callback that returns True, Ctrl-C: each says so and returns the best so far."""

    def interrupt(_):
        raise KeyboardInterrupt

    ends = {
        to.Status.ITERATION_LIMIT: {},
        to.Status.TIME_LIMIT: {"max_time": 1e-9},
        to.Status.STOPPED: {"callback": lambda iteration: iteration.number == 1},
        to.Status.INTERRUPTED: {"callback": interrupt},
    }
    for status, settings in ends.items():
        solution = to.solve(integrator(), Echo(), **settings)
        assert solution.status is status
        assert not solution.success
        assert status.sentence in solution.message
        assert solution.x.shape == (4, 1)


def test_failure_raises_when_asked_and_carries_the_solution():
    """`raise_on_failure` turns a status into an exception that loses nothing."""
    with pytest.raises(to.SolveFailed) as caught:
        to.solve(integrator(), Echo(), raise_on_failure=True)
    assert caught.value.solution.status is to.Status.ITERATION_LIMIT


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_cost_that_is_not_finite_ends_the_solve(number):
    """The trap for non-finite numbers sits in the monitor, so that no solver can forget it."""
    monitor = Monitor()
    assert monitor.run(lambda: (None, {"cost": number}), 5) is to.Status.NUMERICAL_FAILURE
    assert len(monitor.history) == 1


def test_time_limit_must_be_positive():
    """Zero seconds would be no solve."""
    with pytest.raises(to.InvalidProblem, match="max_time=0"):
        to.solve(integrator(), Echo(), max_time=0)


def held_solution(problem):
    t = np.array([0.0, 0.5, 1.0, 1.5])
    trajectory = Trajectory(t, np.array([[0.0], [1.0], [2.0], [3.0]]), np.full((3, 1), 2.0), Interpolation.HOLD)
    solution = to.solve(problem, Echo(), guess=trajectory)
    return replace(solution, feedback=np.ones((3, 1, 1)), multipliers={"costates": np.arange(4.0)})


def test_solutions_survive_the_disk(tmp_path):
    """Everything but the problem's functions comes back from the file, bit by bit."""
    problem = integrator(parameters={"mass": 2.0, "gain": [1.0, 2.0]})
    solution = held_solution(problem)
    loaded = to.Solution.load(solution.save(tmp_path / "s.npz"), problem)
    for name in ("t", "x", "u", "feedback"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(solution, name))
    assert repr(loaded.history) == repr(solution.history)  # NaN is not equal to itself
    assert (loaded.status, loaded.cost, loaded.solver) == (solution.status, solution.cost, solution.solver)
    assert loaded.parameters["mass"] == 2.0
    np.testing.assert_array_equal(loaded.parameters["gain"], [1.0, 2.0])
    np.testing.assert_array_equal(loaded.multipliers["costates"], np.arange(4.0))
    assert [p.name for p in tmp_path.iterdir()] == ["s.npz"]


def test_files_that_are_no_solutions_are_refused(tmp_path):
    """A damaged file, a foreign file and one with a pickle in it get a sentence; nothing in them is executed."""

    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the file was executed",))

    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "foreign.npz", a=np.zeros(3))
    np.savez(tmp_path / "bomb.npz", head=np.array([Bomb()], dtype=object), allow_pickle=True)
    whole = held_solution(integrator()).save(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    for name in ("text", "foreign", "bomb", "cut"):
        with pytest.raises(to.TrajoptError, match=r"Solution\.save was expected"):
            to.Solution.load(tmp_path / f"{name}.npz")


def test_a_solution_without_its_problem_says_so(tmp_path):
    """What needs functions asks for the problem."""
    path = held_solution(integrator()).save(tmp_path / "s.npz")
    with pytest.raises(to.TrajoptError, match=r"Solution\.load\(path, problem\)"):
        to.Solution.load(path)(0.5)
    with pytest.raises(to.TrajoptError, match="1 states"):
        to.Solution.load(path, integrator(dynamics=to.ContinuousDynamics(lambda x, u: u, nx=2, nu=2),
                                          initial_state=[0, 0], constraints=[]))  # fmt: skip


def test_solutions_interpolate_by_the_dynamics():
    """Between knots the state is the cubic with the slopes of the dynamics, and the control is as it was held."""
    solution = held_solution(integrator())
    x, u = solution(0.25)
    np.testing.assert_allclose(x, [0.5], rtol=1e-15)
    np.testing.assert_array_equal(u, [2.0])
    x, u = solution(np.array([-1.0, 0.75, 9.0]))
    np.testing.assert_allclose(x[:, 0], [0.0, 1.5, 3.0], rtol=1e-15)
    assert u.shape == (3, 1)


def test_shift_drops_the_past_and_holds_the_end():
    """What remains after one interval, on the same clock, with the last values repeated."""
    shifted = held_solution(integrator()).shift(1)
    np.testing.assert_array_equal(shifted.x[:, 0], [1.0, 2.0, 3.0, 3.0])
    np.testing.assert_array_equal(shifted.t, [0.0, 0.5, 1.0, 1.5])
    assert to.solve(integrator(), Echo(), guess=shifted).x[0, 0] == 1.0


def test_resample_keeps_the_curve():
    """On a finer grid the trajectory runs through the same points."""
    finer = held_solution(integrator()).resample(steps=6)
    np.testing.assert_allclose(finer.x[:, 0], np.linspace(0, 3, 7), rtol=1e-15)
    assert finer.u.shape == (6, 1)


def test_dataframe_has_a_row_for_each_knot():
    """Columns by name; a held control has no value at the last knot."""
    frame = held_solution(integrator()).to_dataframe()
    assert list(frame.columns) == ["t", "x0", "u0"]
    assert len(frame) == 4
    assert np.isnan(frame["u0"].iloc[-1])


def test_global_random_state_is_not_touched():
    """No solve draws from, or seeds, NumPy's global generator."""
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - this is what must not change
    to.solve(integrator(), "ilqr")
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


@pytest.mark.parametrize("solver", ["ilqr", "ddp", "mppi"])
@pytest.mark.parametrize("kind", ["path", "terminal"])
def test_a_constraint_that_is_nan_is_not_satisfied(solver, kind):
    """NaN compares false with every limit; that must not pass for feasible."""
    constraint = {
        "path": to.PathConstraint(lambda x, u: np.sqrt(x[0] - 9.0), upper=1.0),
        "terminal": to.TerminalConstraint(lambda x: np.sqrt(x[0] - 9.0), lower=-1.0, upper=1.0),
    }[kind]
    problem = integrator(constraints=[constraint])
    assert not to.solve(problem, solver, max_time=20.0).success


def test_a_rollout_that_fails_has_no_cost():
    """Where the guess diverges there is nothing to report, and zero would be a lie."""
    dynamics = to.ContinuousDynamics(lambda x, u: np.exp(np.exp(x)) + u, nx=1, nu=1)
    solution = to.solve(integrator(dynamics=dynamics, initial_state=[5.0], constraints=[]), "ilqr")
    assert solution.status is to.Status.NUMERICAL_FAILURE
    assert np.isnan(solution.cost)


def test_saving_follows_links_and_leaves_devices(tmp_path):
    """A link stays a link, and its target is replaced; the null device stays one."""
    solution = held_solution(integrator())
    (tmp_path / "link.npz").symlink_to(tmp_path / "target.npz")
    solution.save(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert to.Solution.load(tmp_path / "target.npz").cost == solution.cost
    solution.save("/dev/null")
    assert not Path("/dev/null").is_file()


def test_terminal_costs_in_any_unit():
    """A cost a million times as large is the same problem: constraints stay feasible and the plan the same."""
    answers = []
    for unit in (1.0, 1e6):
        problem = to.Problem(
            to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), nx=2, nu=1),
            lambda x, u, unit=unit: unit * u[0] ** 2,
            initial_state=[1.0, 0.0],
            constraints=[to.TerminalConstraint([0.0, 0.0])],
            horizon=to.Horizon(1.0, steps=20),
        )
        answers.append(to.solve(problem, "ilqr"))
    assert all(answer.success for answer in answers)
    # Two answers whose decrement is below 1e-8 of the cost differ by the root of that, 1e-4, relative to the control.
    np.testing.assert_allclose(answers[1].u, answers[0].u, rtol=0.0, atol=1e-4 * np.abs(answers[0].u).max())
