"""What a control loop promises when something goes wrong, and what it keeps to itself."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from mpc_cases import CONTROL, STATE, Broken, Endless, Sweep, cart, pendulum, pendulum_step, regulator

import trajopt as to
from trajopt.solvers import ILQR, LQR, MPPI, Collocation, InteriorPoint


def commands(controller, states):
    return np.array([controller.command(state) for state in states])


@pytest.mark.parametrize(
    "state",
    [[math.nan, 0.0], [0.0, math.inf], [0.0], "up", [[0.0, 0.0]], None],
    ids=["nan", "inf", "short", "text", "matrix", "none"],
)
def test_measurements_that_are_none_are_refused(state):
    """No plan is made from a measurement that is not nx finite numbers, and the session stays as it was."""
    controller = to.MPC(pendulum(steps=20), ILQR())
    controller.command([1.0, 0.0])
    before = controller.state()
    with pytest.raises(to.InvalidProblem, match=r"2 (finite )?numbers were expected"):
        controller.command(state)
    after = controller.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("t", [math.nan, math.inf, 0.5])
def test_times_that_are_none_are_refused(t):
    """A measurement has a finite time, in discrete time that of a step."""
    with pytest.raises(to.InvalidProblem, match="finite time was expected"):
        to.MPC(pendulum(), ILQR()).command([1.0, 0.0], t=t)


@pytest.mark.parametrize("way", ["failure", "nan", "error"])
def test_failed_solves_fall_back_to_the_plan(way):
    """Ticks whose solve fails, returns NaN or raises send the last plan's control, which here is the optimal one."""
    sound = to.MPC(regulator(), LQR()).run(steps=12, disturbance=1e-4)
    loop = to.MPC(regulator(), Broken((3.0, 4.0, 5.0), way)).run(steps=12, disturbance=1e-4)
    assert [tick.source for tick in loop.ticks[2:7]] == ["planned", *["fallback"] * 3, "planned"]
    assert np.abs(loop.u - sound.u).max() <= 1e-9
    assert loop.statuses == {"solved": 9, "no plan": 3}
    assert all(tick.detail for tick in loop.ticks[3:6])


def test_without_any_plan_the_backup_takes_over():
    """Where not even the first solve succeeds, the user's law decides; without one the first control is held."""
    failing = Broken(tuple(range(10)))
    law = np.array([[-1.0, -2.0, 0.5], [0.3, 0.0, -1.0]])
    backed = to.MPC(regulator(), failing, backup=lambda x, t: law @ x).run(steps=4)
    assert np.allclose(backed.u, backed.x[:-1] @ law.T)
    assert backed.sources == {"backup": 4}
    alone = to.MPC(regulator(), failing).run(steps=4)
    assert not alone.u.any()
    assert alone.sources == {"held": 4}
    broken = to.MPC(regulator(), failing, backup=lambda x, t: np.full(2, np.nan)).run(steps=4)
    assert not broken.u.any()


def test_plans_end_and_gains_go_on():
    """When every solve fails for longer than a plan, its last gains go on, or the backup if there is one."""
    failing = Broken(tuple(float(k) for k in range(1, 60)))
    loop = to.MPC(regulator(steps=20), failing, backup=lambda x, t: np.ones(2)).run(steps=30)
    assert loop.sources == {"planned": 1, "fallback": 19, "backup": 10}
    assert np.isfinite(to.MPC(regulator(steps=20), failing).run(steps=30).u).all()


def test_a_budget_returns_in_time_and_counts():
    """A solver that never ends is stopped after a millisecond; the command is within bounds and the tick counted."""
    controller = to.MPC(pendulum(), Endless(), budget=1e-3)
    states = np.linspace([1.0, 0.0], [1.2, 0.1], 5)
    sent = commands(controller, states)
    assert np.isfinite(sent).all()
    assert controller.overruns == 5
    assert {tick.status for tick in controller.log} == {to.Status.TIME_LIMIT}
    assert all(tick.iterations <= 2 for tick in controller.log)  # 5 without the budget
    generous = to.MPC(pendulum(), Endless(), budget=10.0)
    commands(generous, states)
    assert generous.overruns == 0


def test_states_outside_their_bounds_are_planned_from_the_nearest_one():
    """A disturbance over a bound does not end the loop: the plan begins at the bound, and leads back."""
    problem = cart()
    controller = to.MPC(problem, InteriorPoint())
    outside, at_bound = controller.command([2.0, 1.3]), to.solve(problem.at(initial_state=[2.0, 1.0]), InteriorPoint())
    assert controller.log[-1].source == "planned"
    gained = at_bound.u[0] + at_bound.feedback[0] @ [0.0, 0.3]
    assert outside == pytest.approx(np.clip(gained, -2, 2), abs=1e-6)


def test_violations_of_the_loop_are_reported_by_name():
    """A plant that is pushed over a bound is seen in the record, with name, time and amount."""
    loop = to.MPC(cart(), InteriorPoint()).run(
        steps=20, disturbance=lambda x, u, t, generator: np.array([0.0, -1.5 if abs(t - 0.5) < 1e-9 else 0.0])
    )
    worst = loop.violations()[0]
    assert worst.name == "speed >= -1"
    assert worst.time == pytest.approx(0.5)
    assert worst.amount == pytest.approx(-1.0 - loop.x[10, 1])
    assert loop.sources == {"planned": 20}


@pytest.mark.parametrize("solver", [ILQR(), InteriorPoint(), MPPI(samples=64, iterations=4)], ids=str)
@pytest.mark.parametrize("settings", [{}, {"delay": 2, "replan": 2}], ids=["plain", "delay"])
def test_loops_side_by_side_do_not_disturb_each_other(solver, settings):
    """Two controllers of one solver and problem, tick by tick in turns, send what they send alone, bit by bit."""
    problem = pendulum(steps=20)
    tracks = [np.linspace(start, [3.0, 0.2], 6) for start in ([1.0, 0.0], [4.0, -1.0])]
    alone = [commands(to.MPC(problem, solver, **settings), track) for track in tracks]
    pair = [to.MPC(problem, solver, **settings) for _ in tracks]
    mixed = np.array(
        [[c.command(state) for c, state in zip(pair, states, strict=True)] for states in zip(*tracks, strict=True)]
    )
    assert np.array_equal(mixed.transpose(1, 0, 2), alone)


@pytest.mark.parametrize("settings", [{}, {"delay": 2}, {"real_time": True}, {"shrink": True, "replan": 3}], ids=str)
def test_sessions_are_saved_and_restored(settings):
    """A controller that is restored from a file goes on bit by bit, and the other one can too."""
    problem, states = cart(), np.linspace([1.0, 0.0], [0.3, -0.6], 8)

    def drive(controller, part):
        sent = []
        for state in part:
            sent.append(controller.command(state, parameters={"target": 0.2}))
            controller.prepare()
        return np.array(sent)

    first = to.MPC(problem, InteriorPoint(), **settings)
    first.reset(states[0], t=0.0)
    drive(first, states[:4])
    file = io.BytesIO()
    np.savez(file, **first.state())
    file.seek(0)
    second = to.MPC(problem, InteriorPoint(), **settings)
    with np.load(file, allow_pickle=False) as arrays:
        second.restore(arrays)
    assert np.array_equal(drive(first, states[4:]), drive(second, states[4:]))


def test_sessions_of_something_else_are_refused():
    """Arrays that are no session, or of other sizes, give a sentence."""
    controller = to.MPC(pendulum(), ILQR())
    with pytest.raises(to.TrajoptError, match=r"no session of MPC\.state"):
        controller.restore({"x": np.zeros(3)})
    with pytest.raises(to.TrajoptError, match=r"no session of MPC\.state"):
        controller.restore(to.MPC(regulator(), LQR()).state())
    with pytest.raises(to.InvalidProblem, match="delay"):
        controller.restore(to.MPC(pendulum(), ILQR(), delay=1).state())


def test_same_seed_same_bits():
    """Loops with noise and a sampling planner repeat bit by bit; another seed gives another loop."""
    controller = to.MPC(pendulum(steps=20), MPPI(samples=64), iterations=3)

    def run(seed):
        return controller.run(steps=8, disturbance=np.diag([1e-4, 1e-2]), noise=1e-4, seed=seed)

    first, again, other = run(1), run(1), run(2)
    assert np.array_equal(first.x, again.x)
    assert np.array_equal(first.u, again.u)
    assert not np.array_equal(first.x[1], other.x[1])


def test_disturbances_have_the_covariance_that_was_asked_for():
    """Over many ticks pushes of a full matrix have its covariance, within four deviations of the estimate."""
    wanted = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, 0.0], [0.0, 0.0, 0.0]])
    loop = to.MPC(regulator(steps=3), Broken(tuple(range(1000)))).run(
        lambda x, u, t: 0.0 * x, steps=1000, disturbance=wanted
    )
    found = loop.x[1:].T @ loop.x[1:] / 1000
    assert np.abs(found - wanted).max() <= 4.0 * math.sqrt(2.0 * 4.0 / 1000)


def test_every_kind_of_plant_is_driven_alike():
    """The model itself, a problem, dynamics, a batch simulator and a function of one period are one plant here."""
    problem = pendulum(steps=20)
    batch = to.BlackBoxDynamics(lambda x, u: np.array([pendulum_step(*pair) for pair in zip(x, u, strict=True)]), 2, 1)
    plants = [None, problem, problem.dynamics, batch, lambda x, u, t: pendulum_step(x, u)]
    loops = [to.MPC(problem, ILQR()).run(plant, steps=10) for plant in plants]
    for loop in loops[1:]:
        assert np.allclose(loop.x, loops[0].x, rtol=0.0, atol=1e-12)
        assert loop.cost == pytest.approx(loops[0].cost, rel=1e-12)


def test_a_simulator_is_planned_over_as_well():
    """Black-box dynamics have no derivatives: they predict over the delay, are planned over, and are driven."""
    batch = to.BlackBoxDynamics(
        lambda x, u: np.stack([x[:, 0] + 0.5 * x[:, 1], 0.5 * x[:, 1] + 0.5 * u[:, 0]], axis=1), 2, 1
    )
    problem = to.Problem(
        batch,
        stage_cost=lambda x, u: x @ x + 0.01 * u @ u,
        initial_state=[1.0, 0.0],
        constraints=[to.Bounds(control=(-2, 2))],
        horizon=to.Horizon(steps=8),
    )
    loop = to.MPC(problem, Sweep(), delay=2).run(steps=60)
    assert loop.sources == {"planned": 60}
    assert np.abs(loop.x[-1]).max() < 0.1  # twice the spacing of the controls
    assert np.allclose(loop.ticks[10].start, loop.x[12])  # the prediction over the delay


@pytest.mark.parametrize("solver", [ILQR(), InteriorPoint()], ids=str)
def test_real_time_without_preparation_is_one_iteration_a_tick(solver):
    """Where nobody calls prepare, commands are those of ticks with one iteration, bit by bit."""
    track = np.linspace([2.0, 0.0], [3.0, 0.5], 6)
    unprepared, single = to.MPC(pendulum(), solver, real_time=True), to.MPC(pendulum(), solver, iterations=1)
    assert np.array_equal(commands(unprepared, track), commands(single, track))
    assert {tick.preparation for tick in unprepared.log} == {0.0}


def test_cost_of_the_loop_is_that_of_its_own_certificate():
    """The running cost in continuous time is what integrating the loop's states and controls again gives."""
    problem = cart()
    loop = to.MPC(problem, InteriorPoint(), shrink=True).run()
    optimum = to.solve(problem, InteriorPoint())
    assert loop.t[-1] == pytest.approx(2.0)
    assert loop.cost == pytest.approx(optimum.certificate.cost, rel=1e-6)
    with pytest.raises(to.InvalidProblem, match="shrinking horizon ends"):
        to.MPC(problem, InteriorPoint(), shrink=True).command([0.0, 0.0], t=2.0)


def test_parameters_change_from_tick_to_tick():
    """A target that moves while the loop runs is followed, and unknown parameters are refused."""
    controller = to.MPC(cart(), InteriorPoint())
    loop = controller.run(steps=160, parameters=lambda t: {"target": 0.0 if t < 4.0 else -0.5})
    assert np.abs(loop.x[70:80, 0]).max() < 0.02
    assert np.abs(loop.x[-10:, 0] + 0.5).max() < 0.02
    with pytest.raises(to.InvalidProblem, match="'weight'"):
        controller.command([0.0, 0.0], parameters={"weight": 1.0})
    assert cart().parameters == {"target": 0.0}


def test_replanning_every_few_ticks_follows_the_plan_in_between():
    """Undisturbed, plans that are followed for five ticks are the controls that were planned."""
    loop = to.MPC(pendulum(), InteriorPoint(), replan=5).run(steps=10)
    assert [str(tick.source) for tick in loop.ticks] == ["planned", *["followed"] * 4] * 2
    assert np.allclose(loop.u[:5], loop.plans[0].u[:5], atol=1e-9)


def test_cold_starts_can_be_asked_for():
    """Without shift every plan starts from the problem's guess, and takes more iterations."""
    warm, cold = (to.MPC(pendulum(), InteriorPoint(), shift=shift).run(steps=10) for shift in (True, False))
    assert sum(t.iterations for t in warm.ticks[1:]) < 0.7 * sum(t.iterations for t in cold.ticks[1:])
    assert np.allclose(warm.u, cold.u, atol=1e-4)


def test_a_plant_that_explodes_ends_the_loop():
    """When the plant's state is no number any more, the record ends there and says so."""
    loop = to.MPC(pendulum(), ILQR()).run(lambda x, u, t: x if t < 5 else x * np.nan, steps=20)
    assert len(loop.u) == len(loop.ticks) == len(loop.plans) == 5
    assert "not finite" in loop.failure
    loop.plot()


FREE = to.Horizon(to.Free(1.0, 3.0), steps=10)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"replan": 0}, "replan"),
        ({"replan": 1.5}, "replan"),
        ({"budget": 0.0}, "budget"),
        ({"budget": math.nan}, "budget"),
        ({"delay": -1}, "delay"),
        ({"delay": 0.5}, "delay"),
        ({"iterations": 0}, "iterations"),
        ({"period": 0.5}, "ticks are one step"),
        ({"real_time": True, "replan": 2}, "prepares every tick"),
    ],
)
def test_settings_without_meaning_are_refused(settings, message):
    """At construction, by name."""
    with pytest.raises(to.InvalidProblem, match=message):
        to.MPC(pendulum(), ILQR(), **settings)


def test_problems_and_solvers_that_do_not_fit_are_refused():
    """A free duration, a solver that cannot, a solver without gains in real time, and a plant of other sizes."""
    free = to.Problem(to.ContinuousDynamics(lambda x, u: u, 1, 1), lambda x, u: 1.0, initial_state=[0.0], horizon=FREE)
    with pytest.raises(to.UnsupportedProblem, match="a free duration"):
        to.MPC(free, InteriorPoint())
    with pytest.raises(to.UnsupportedProblem, match="control bounds"):
        to.MPC(pendulum(), LQR())
    with pytest.raises(to.UnsupportedProblem, match="no feedback gains"):
        to.MPC(pendulum(), Collocation(), real_time=True).command([1.0, 0.0])
    controller = to.MPC(pendulum(), ILQR())
    for plant, message in ((regulator(), "3 states"), (3.0, "plant=3.0"), (lambda x, u, t: x[:1], "returned shape")):
        with pytest.raises(to.InvalidProblem, match=message):
            controller.run(plant, steps=2)
    with pytest.raises(to.InvalidProblem, match="without steps"):
        controller.run()
    with pytest.raises(to.InvalidProblem, match="covariance"):
        controller.run(steps=2, disturbance=[[1.0, 2.0], [2.0, 1.0]])


def test_free_initial_states_are_given_by_the_measurement():
    """Where the problem leaves the initial state open, the loop closes it."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: STATE @ x + CONTROL @ u, 3, 2),
        stage_cost=lambda x, u: x @ x + u @ u,
        horizon=to.Horizon(steps=20),
    )
    assert to.MPC(problem, ILQR()).command([1.0, 0.0, 0.0]).any()


def test_loops_can_be_looked_at(tmp_path):
    """The table, the figure and the page of a loop hold its ticks, its states and controls, and its plans."""
    from trajopt.problems import reference  # noqa: PLC0415 - the library is only needed here

    loop = to.MPC(pendulum(), ILQR(), budget=1e-9).run(steps=12)
    table = loop.to_dataframe()
    assert list(table.columns[:4]) == ["t", "angle", "rate", "torque"]
    assert len(table) == 13
    assert loop.overruns == 12
    assert set(loop.timing()) == {"p50", "p95", "p99", "max"}
    figure = loop.plot(every=4)
    lines = {axes.get_title(loc="left"): len(axes.get_lines()) for axes in figure.axes}
    assert {"angle", "rate", "torque", "cost of the period", "milliseconds of the tick"} <= set(lines)
    assert lines["angle"] >= 4  # three plans and the loop
    text = loop.report(tmp_path / "loop.html", reference("pendulum").picture).read_text()
    assert "<canvas" in text
    assert "Overruns" in text
