"""How the direct shooting methods behave when something is wrong, changes, or interrupts them."""

import numpy as np
import pytest

import trajopt as to
from trajopt.solvers.multiple_shooting import MultipleShooting
from trajopt.solvers.single_shooting import SingleShooting
from trajopt.status import Status
from trajopt.transcription import collocation as transcription

SOLVERS = [MultipleShooting(), SingleShooting(), SingleShooting("quasi-newton")]
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=str)


def line(*constraints, start=(0.0,), **settings):
    """x' = u from 0, least effort."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        initial_state=start,
        constraints=constraints,
        **{"stage_cost": lambda x, u: u @ u, "horizon": to.Horizon(1.0, steps=10)} | settings,
    )


def pendulum():
    """Swing-up with parameters; takes dozens of iterations."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u, p: np.array([x[1], (u[0] - p.gravity * np.sin(x[0])) / p.mass]), nx=2, nu=1),
        stage_cost=lambda x, u: u[0] ** 2,
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(-5, 5)), to.TerminalConstraint([np.pi, 0.0])],
        parameters={"mass": 1.0, "gravity": 9.81},
        horizon=to.Horizon(3.0, steps=30),
    )


@every_solver
def test_an_impossible_target_is_infeasible(solver):
    """|u| <= 1 cannot reach 2 within one second."""
    solution = to.solve(line(to.Bounds(control=(-1, 1)), to.TerminalConstraint([2.0])), solver)
    assert solution.status is Status.INFEASIBLE
    assert np.isfinite(solution.x).all()


@every_solver
def test_an_unbounded_problem_diverges(solver):
    """Nothing limits the control that is rewarded; without curvature, quasi-Newton steps do not grow."""
    status = to.solve(line(stage_cost=lambda x, u: -u[0]), solver).status
    assert status is (Status.ITERATION_LIMIT if solver == SOLVERS[2] else Status.DIVERGED)


@every_solver
def test_nan_at_the_guess_is_a_numerical_failure(solver, capfd):
    """Where nothing is finite there is no step to cut; what comes back is finite and nothing is printed."""
    problem = line(start=(None,), stage_cost=lambda x, u: u @ u + np.sqrt(x[0] - 2.0))
    solution = to.solve(problem, solver)
    assert solution.status is Status.NUMERICAL_FAILURE
    assert np.isfinite(solution.x).all()
    assert capfd.readouterr() == ("", "")


@every_solver
def test_steps_into_nan_are_cut_back(solver):
    """Newton's step for x log x from x = 30 lands at -x log x < 0, where it is NaN; the minimum is at 1/e."""
    problem = line(
        start=(None,),
        stage_cost=lambda x, u: 10 * x[0] * np.log(x[0]) + u @ u,
        guess=([0, 1], [[30.0], [30.0]], [[0.0], [0.0]]),
    )
    solution = to.solve(problem, solver)
    assert solution.success
    np.testing.assert_allclose(solution.x, np.exp(-1), rtol=1e-5)


@every_solver
def test_iteration_and_time_limits(solver):
    """Each limit has its own status, and what was reached comes back."""
    few = to.solve(pendulum(), type(solver)(iterations=2))
    assert (few.status, few.iterations) == (Status.ITERATION_LIMIT, 2)
    late = to.solve(pendulum(), solver, max_time=1e-6)
    assert late.status is Status.TIME_LIMIT
    assert np.isfinite(late.x).all()


@every_solver
def test_every_iteration_is_reported_and_the_callback_can_stop(solver):
    """Numbers count from 0, the guess; True ends the solve with the iterate of that moment."""
    seen = []
    solution = to.solve(pendulum(), solver, callback=lambda i: seen.append(i) or i.number == 3)
    assert solution.status is Status.STOPPED
    assert [i.number for i in seen] == [0, 1, 2, 3]
    assert solution.cost == pytest.approx(seen[-1].cost, rel=1e-9)


@every_solver
def test_keyboard_interrupt(solver, capfd):
    """Ctrl-C ends with the last iterate and no word from CasADi."""

    def interrupt(iteration):
        if iteration.number == 2:
            raise KeyboardInterrupt

    solution = to.solve(pendulum(), solver, callback=interrupt)
    assert (solution.status, solution.iterations) == (Status.INTERRUPTED, 2)
    assert capfd.readouterr() == ("", "")


@every_solver
def test_new_numbers_build_nothing_and_leave_no_trace(solver, monkeypatch):
    """Other parameters and initial states in between: the same bits come back, from one program."""
    built = []
    assemble = transcription.assemble
    monkeypatch.setattr(transcription, "assemble", lambda *parts: built.append(1) or assemble(*parts))
    problem = pendulum()
    first = to.solve(problem, solver)
    heavy = to.solve(problem, solver, parameters={"mass": 1.2})
    to.solve(problem.at(initial_state=[0.3, 0.0]), solver)
    again = to.solve(problem, solver)
    assert len(built) == 1
    assert first.success
    assert heavy.cost != pytest.approx(first.cost, rel=1e-3)
    np.testing.assert_array_equal(again.x, first.x)
    np.testing.assert_array_equal(again.u, first.u)


@every_solver
def test_units_change_nothing_but_the_road(solver):
    """In millimetres or in metres, scaled or not: the same cost and costates."""
    unit = 1e3
    metres = to.solve(line(to.TerminalConstraint([0.5]), to.Bounds(state=(-2, 2))), solver)
    problem = line(
        to.TerminalConstraint([0.5 * unit]), to.Bounds(state=(-2 * unit, 2 * unit)),
        stage_cost=lambda x, u: u @ u / unit**2,
    )  # fmt: skip
    solution = to.solve(problem, solver)
    assert solution.success
    assert solution.cost == pytest.approx(metres.cost, rel=1e-7)
    np.testing.assert_allclose(
        solution.multipliers["costates"] * unit, metres.multipliers["costates"], rtol=1e-5, atol=1e-7
    )


@every_solver
def test_more_equations_than_unknowns_are_refused(solver):
    """An autonomous decay has its end already."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: -x, nx=1, nu=0),
        initial_state=[1.0],
        constraints=[to.TerminalConstraint([0.5])],
        horizon=to.Horizon(1.0, steps=5),
    )
    with pytest.raises(to.InvalidProblem, match="more equations"):
        to.solve(problem, solver)


@every_solver
def test_a_simulation_has_one_answer(solver):
    """Without controls and conditions the dynamics alone remain: x = e^-t."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: -x, nx=1, nu=0), initial_state=[1.0], horizon=to.Horizon(1.0, steps=20)
    )
    solution = to.solve(problem, solver)
    assert solution.success
    np.testing.assert_allclose(solution.x[:, 0], np.exp(-solution.t), rtol=1e-7)  # h^4 / 120 = 5e-8
