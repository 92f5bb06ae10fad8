"""How Collocation behaves when something is wrong, changes, or interrupts it."""

import gc
import os
import signal

import numpy as np
import pytest

import trajopt as to
from trajopt.solvers.collocation import Collocation
from trajopt.status import Status
from trajopt.trajectory import Interpolation
from trajopt.transcription import collocation as transcription


def line(*constraints, steps=20, start=(0.0,), **settings):
    """x' = u from 0, least effort."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        initial_state=start,
        constraints=constraints,
        **{"stage_cost": lambda x, u: u @ u, "horizon": to.Horizon(1.0, steps=steps)} | settings,
    )


def pendulum(steps=50, **settings):
    """Swing-up with parameters; takes a few dozen iterations."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u, p: np.array([x[1], (u[0] - p.gravity * np.sin(x[0])) / p.mass]), nx=2, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(-5, 5)), to.TerminalConstraint([np.pi, 0.0])],
        parameters={"mass": 1.0, "gravity": 9.81},
        horizon=to.Horizon(3.0, steps=steps),
        **settings,
    )


def test_an_impossible_target_is_infeasible():
    """|u| <= 1 cannot reach 2 within one second."""
    solution = to.solve(line(to.Bounds(control=(-1, 1)), to.TerminalConstraint([2.0])), Collocation())
    assert solution.status is Status.INFEASIBLE
    assert "Infeasible" in solution.message
    assert np.isfinite(solution.x).all()


def test_an_unbounded_problem_diverges():
    """Nothing limits the control that is rewarded."""
    assert to.solve(line(stage_cost=lambda x, u: -u[0]), Collocation()).status is Status.DIVERGED


def test_steps_into_nan_are_cut_back():
    """Newton's step for x log x from x = 30 lands at -x log x < 0, where it is NaN; the minimum is at 1/e."""
    problem = line(
        start=(None,),
        stage_cost=lambda x, u: 10 * x[0] * np.log(x[0]) + u @ u,
        guess=([0, 1], [[30.0], [30.0]], [[0.0], [0.0]]),
    )
    solution = to.solve(problem, Collocation())
    assert solution.success
    np.testing.assert_allclose(solution.x, np.exp(-1), rtol=1e-6)


def test_nan_at_the_guess_is_a_numerical_failure(capfd):
    """Where nothing is finite there is no step to cut; the guess comes back and nothing is printed."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u + np.sqrt(x - 2.0), nx=1, nu=1),
        stage_cost=lambda x, u: u @ u,
        horizon=to.Horizon(1.0, steps=5),
    )
    solution = to.solve(problem, Collocation())
    assert solution.status is Status.NUMERICAL_FAILURE
    assert np.isfinite(solution.x).all()
    assert capfd.readouterr() == ("", "")


def test_more_equations_than_unknowns_are_refused(capfd):
    """An autonomous decay has its end already; CasADi would only warn."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: -x, nx=1, nu=0),
        initial_state=[1.0],
        constraints=[to.TerminalConstraint([0.5])],
        horizon=to.Horizon(1.0, steps=5),
    )
    with pytest.raises(to.InvalidProblem, match=r"11 equations .* for 10 unknowns"):
        to.solve(problem, Collocation())
    assert capfd.readouterr() == ("", "")


def test_a_simulation_has_one_answer():
    """Without controls and conditions the dynamics alone are solved: x = e^-t."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: -x, nx=1, nu=0), initial_state=[1.0], horizon=to.Horizon(1.0, steps=20)
    )
    solution = to.solve(problem, Collocation())
    assert solution.success
    np.testing.assert_allclose(solution.x[:, 0], np.exp(-solution.t), rtol=1e-8)  # h^4/2880 = 2.2e-9


def test_iteration_and_time_limits():
    """Each limit has its own status, and what was reached comes back."""
    few = to.solve(pendulum(), Collocation(iterations=2))
    assert (few.status, few.iterations) == (Status.ITERATION_LIMIT, 2)
    late = to.solve(pendulum(), Collocation(), max_time=1e-6)
    assert late.status is Status.TIME_LIMIT
    assert np.isfinite(late.x).all()


def test_every_iteration_is_reported_and_the_callback_can_stop():
    """Numbers count from 0, the guess; True ends the solve with the iterate of that moment."""
    seen = []
    solution = to.solve(pendulum(), Collocation(), callback=lambda i: seen.append(i) or i.number == 3)
    assert solution.status is Status.STOPPED
    assert [i.number for i in seen] == [0, 1, 2, 3]
    assert solution.cost == pytest.approx(seen[-1].cost, rel=1e-9)


def test_history_ends_at_the_tolerances():
    """The violation and stationarity reported are those of the answer."""
    last = to.solve(pendulum(), Collocation()).history[-1]
    assert last.violation <= 1e-8
    assert last.stationarity <= 1e-6  # IPOPT's own measure is divided by the mean multiplier, at most 100 here


def test_keyboard_interrupt_in_the_callback(capfd):
    """Ctrl-C during the callback ends with the last iterate and no word from CasADi."""

    def interrupt(iteration):
        if iteration.number == 2:
            raise KeyboardInterrupt

    solution = to.solve(pendulum(), Collocation(), callback=interrupt)
    assert (solution.status, solution.iterations) == (Status.INTERRUPTED, 2)
    assert capfd.readouterr() == ("", "")


def test_the_signal_of_ctrl_c_ends_the_solve(capfd):
    """A real SIGINT is noted by our handler, and Python's own is back afterwards."""
    before = signal.getsignal(signal.SIGINT)

    def press(iteration):
        if iteration.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    solution = to.solve(pendulum(), Collocation(), callback=press)
    assert (solution.status, solution.iterations) == (Status.INTERRUPTED, 2)
    assert signal.getsignal(signal.SIGINT) is before
    assert capfd.readouterr() == ("", "")


def test_an_error_of_the_callback_reaches_its_owner():
    """It passes through IPOPT unchanged."""

    def fail(iteration):
        raise LookupError("the user's own")

    with pytest.raises(LookupError, match="the user's own"):
        to.solve(pendulum(), Collocation(), callback=fail)


def test_new_numbers_compile_nothing(monkeypatch):
    """Parameters and initial states are numbers of the compiled program, which is kept with the model."""
    built = []
    assemble = transcription.assemble
    monkeypatch.setattr(transcription, "assemble", lambda *parts: built.append(1) or assemble(*parts))
    problem = pendulum()
    first = to.solve(problem, Collocation())
    heavy = to.solve(problem, Collocation(), parameters={"mass": 1.5})
    to.solve(problem.at(initial_state=[0.3, 0.0]), Collocation())
    again = to.solve(problem, Collocation())
    assert len(built) == 1
    assert heavy.cost != pytest.approx(first.cost, rel=1e-3)
    np.testing.assert_array_equal(again.x, first.x)  # no hidden state: the same bits
    fresh = to.solve(pendulum(), Collocation(), parameters={"mass": 1.5})
    np.testing.assert_array_equal(fresh.x, heavy.x)


def test_compiled_programs_die_with_their_problem():
    """The cache holds its problems weakly."""
    gc.collect()
    before = len(transcription._compiled)
    problem = line()
    to.solve(problem, Collocation())
    assert len(transcription._compiled) == before + 1
    del problem
    gc.collect()
    assert len(transcription._compiled) == before


@pytest.mark.parametrize("rows", [2, 21, 33])
@pytest.mark.parametrize("held", [True, False])
def test_guesses_of_any_length(rows, held):
    """Held and interpolated guesses, coarse and fine, lead to the same answer."""
    guess = (np.linspace(0, 2, rows), np.ones((rows, 1)), np.ones((rows - held, 1)))
    solution = to.solve(line(to.TerminalConstraint([1.0])), Collocation(), guess=guess)
    assert solution.success
    assert solution.cost == pytest.approx(1.0, rel=1e-8)


@pytest.mark.parametrize("scheme", ["trapezoidal", "hermite_simpson"])
def test_own_answers_are_good_guesses(scheme):
    """Restarted at the answer, fewer iterations are needed, and none moves it."""
    problem = pendulum()
    cold = to.solve(problem, Collocation(scheme))
    warm = to.solve(problem, Collocation(scheme), guess=cold)
    assert warm.success
    assert warm.iterations < cold.iterations
    np.testing.assert_allclose(warm.x, cold.x, atol=1e-6)


def test_a_guess_of_the_wrong_shape_is_refused():
    """Before anything is solved, in words."""
    with pytest.raises(to.InvalidProblem, match="guess"):
        to.solve(line(), Collocation(), guess=([0, 1], [[0.0, 1.0]] * 2, [[0.0]] * 2))


def test_trapezoidal_controls_are_linear():
    """The trajectory says how its control is to be read."""
    trajectory = to.solve(line(to.TerminalConstraint([1.0])), Collocation("trapezoidal")).trajectory
    assert trajectory.interpolation is Interpolation.LINEAR
    assert trajectory.u_mid is None


def test_control_bounds_hold_at_every_time():
    """At the knots and midpoints to the bit, on the parabolas between them to rounding, switches included."""
    solution = to.solve(pendulum(), Collocation())
    trajectory = solution.trajectory
    assert solution.success
    assert np.abs(trajectory.u).max() <= 5.0
    assert np.abs(trajectory.u_mid).max() <= 5.0
    assert np.ptp(trajectory.u) > 5.0  # the bounds matter here
    assert np.abs(trajectory.control(np.linspace(0.0, 3.0, 5001))).max() <= 5.0 * (1 + 1e-14)


@pytest.mark.parametrize(
    "settings",
    [{"scheme": "simpson"}, {"tolerance": 0.0}, {"tolerance": np.nan}, {"iterations": -1}, {"scaling": "yes"}],
)
def test_senseless_settings_are_refused(settings):
    """At construction, and the message names the setting."""
    with pytest.raises(to.InvalidProblem, match=next(iter(settings))):
        Collocation(**settings)


def test_unknown_options_of_ipopt_are_refused():
    """The message names the option and hides CasADi."""
    with pytest.raises(to.InvalidProblem, match="nonsense") as caught:
        to.solve(line(), Collocation(options={"nonsense": 3}))
    assert ".cpp" not in str(caught.value)


def test_one_interval_and_no_cost():
    """The smallest problem: one step, any trajectory that arrives."""
    solution = to.solve(line(to.TerminalConstraint([1.0]), steps=1, stage_cost=None), Collocation())
    assert solution.success
    assert solution.x[-1, 0] == pytest.approx(1.0, abs=1e-8)
