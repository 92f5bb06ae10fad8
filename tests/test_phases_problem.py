"""`MultiPhaseProblem` and `Link`: what follows from the parts, and what is refused in a sentence."""

from __future__ import annotations

import numpy as np
import pytest
from phase_cases import double_integrator, reach, two_stages

import trajopt as to
from trajopt.registry import load_solver, solver_names
from trajopt.solver import MultiPhaseSolver
from trajopt.solvers import Collocation


def phase(name=None, *, duration=1.0, start=0.0, **changes):
    settings = {"initial_state": None, "horizon": to.Horizon(duration, steps=4, start=start), "name": name}
    return to.Problem(changes.pop("dynamics", double_integrator()), **(settings | changes))


def test_phases_follow_each_other():
    """Fixed durations give fixed starts, a free one gives free starts from there on, and nothing else is touched."""
    free = to.Free(0.5, 2.0, guess=0.75)
    problem = to.MultiPhaseProblem([phase(start=1.0), phase(), phase(duration=free), phase(), phase()])
    starts = [part.horizon.start for part in problem.joined]
    assert starts[:3] == [1.0, 2.0, 3.0]
    assert [start.guess for start in starts[3:]] == [3.75, 4.75]
    assert problem.names == ("phase 1", "phase 2", "phase 3", "phase 4", "phase 5")
    assert [part.horizon.start for part in problem.phases] == [1.0, 0.0, 0.0, 0.0, 0.0]
    timed = [name for name in problem.model.names if "time" in name]
    assert timed == ["phase 3 to phase 4: time", "phase 4 to phase 5: time"]


def test_a_start_may_limit_the_end_before():
    """A fixed start behind a free duration is an appointment: the phase before has to end then."""
    target = to.TerminalConstraint([1.0, 0.0])
    effort = {"stage_cost": lambda x, u: u[0] ** 2}
    first = phase("a", duration=to.Free(0.1, 5.0, guess=1.0), initial_state=[0.0, 0.0], **effort)
    second = phase("b", start=2.0, constraints=[target], **effort)
    solution = to.solve(to.MultiPhaseProblem([first, second]), Collocation())
    assert solution.certified
    assert solution["a"].t[-1] == pytest.approx(2.0)
    assert solution.cost == pytest.approx(12.0 / 3.0**3, rel=1e-6)  # least effort over a unit distance in time 3


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (phase("a"), phase("b", start=3.0), "phase 'b' starts at t=3, but phase 'a', which it follows, ends at t=1"),
        (phase("a", duration=to.Free(0.1, 2.0)), phase("b", start=3.0), "ends between t=0.1 and t=2"),
        (phase("a"), phase("b", start=to.Free(2.0, 3.0)), "starts between t=2 and t=3"),
    ],
)
def test_contradictory_times_are_refused(first, second, message):
    """A start that no end can meet."""
    with pytest.raises(to.InvalidProblem, match=message):
        to.MultiPhaseProblem([first, second])


def test_times_need_not_follow():
    """`time=False` leaves clocks alone, and so does a link backwards, as in a periodic motion."""
    problem = to.MultiPhaseProblem(
        [phase("a"), phase("b", start=7.0)], [to.Link("a", "b", time=False), to.Link("b", "a")]
    )
    assert [part.horizon.start for part in problem.joined] == [0.0, 7.0]
    assert len(problem.model) == 4


def sized(nx, names=None):
    return to.ContinuousDynamics(lambda x, u: 0.0 * x, nx, 1, states=names)


@pytest.mark.parametrize(
    ("phases", "links", "error", "message"),
    [
        ([], "continuous", to.InvalidProblem, "no phases were given"),
        (phase("a"), "continuous", to.InvalidProblem, "a list of problems"),
        ([phase("a"), "b"], "continuous", to.InvalidProblem, "contains a str"),
        ([phase("a"), phase("a")], "continuous", to.InvalidProblem, "two phases are called 'a'"),
        ([phase("a"), phase("b")], "smooth", to.InvalidProblem, "links='smooth' was given"),
        ([phase("a"), phase("b")], to.Link("a", "b"), to.InvalidProblem, "put them in brackets"),
        ([phase("a"), phase("b")], [("a", "b")], to.InvalidProblem, "Link was expected"),
        ([phase("climb"), phase("b")], [to.Link("climbs", "b")], to.UnknownName, "did you mean 'climb'"),
        ([phase("a"), phase("b")], [to.Link("a", "b", ["height"])], to.InvalidProblem, "'height' goes on, but phase"),
        (
            [phase("a"), phase("b")], [to.Link("a", "b", lambda xf, x0: x0 - xf, [0.0] * 3)], to.InvalidProblem,
            "lower limit",
        ),
        ([phase("a"), phase("b")], [to.Link("a", "b", lambda xf, x0: x0[4])], to.TracingError, "link 'a to b'"),
        (
            [phase("a"), phase("b", dynamics=sized(3))], "continuous", to.InvalidProblem,
            "joins 2 states .* to 3 .* name the states",
        ),
        (
            [phase("a", dynamics=sized(2)), phase("b", dynamics=sized(3))], "continuous", to.InvalidProblem,
            "joins 2 states .* to 3",
        ),
    ],
)  # fmt: skip
def test_misuse_is_refused(phases, links, error, message):
    """Each in one sentence, when the problem is made."""
    with pytest.raises(error, match=message) as raised:
        to.MultiPhaseProblem(phases, links)
    assert str(raised.value).rstrip(".?").count(". ") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, "b"), "the name of a phase"),
        (("a", "b", "height"), "a list of names"),
        (("a", "b", lambda x, y, z: x), "takes \\(x, y, z\\)"),
    ],
)
def test_a_bad_link_is_refused(arguments, message):
    """When it is made."""
    with pytest.raises(to.InvalidProblem, match=message):
        to.Link(*arguments)


def test_states_go_on_by_name_or_by_place():
    """Common names are joined wherever they stand; without common names, equal numbers are joined in order."""
    dynamics = {"a": sized(2, ["x", "y"]), "b": sized(3, ["y", "z", "x"]), "c": sized(3)}
    joints = to.MultiPhaseProblem([phase(name, dynamics=some) for name, some in dynamics.items()]).joints
    assert [joint.carried for joint in joints] == [((0, 2), (1, 0)), ((0, 0), (1, 1), (2, 2))]


@pytest.mark.parametrize(
    ("one", "other", "message"),
    [
        (1.0, 2.0, "'m' is 1.0 in phase 'a' and 2.0 in phase 'b'"),
        (to.Free(0.0, 1.0), to.Free(0.0, 2.0), "Free\\(0.0, 1.0\\) in phase 'a' and Free\\(0.0, 2.0\\)"),
        (to.Free(0.0, 1.0), 0.5, "in phase 'b'"),
    ],
)
def test_shared_parameters_must_agree(one, other, message):
    """One name is one number, or one unknown within one interval."""
    with pytest.raises(to.InvalidProblem, match=message):
        to.MultiPhaseProblem([phase("a", parameters={"m": one}), phase("b", parameters={"m": other})])


def test_parameters_change_without_compiling_again():
    """`at` and `solve(parameters=...)` reach every phase and every link that reads the parameter."""
    effort = {"stage_cost": lambda x, u, p: p.price * u[0] ** 2, "parameters": {"price": 1.0, "gap": 0.0}}
    first = phase("a", initial_state=[0.0, 0.0], duration=0.5, **effort)
    second = phase("b", constraints=[to.TerminalConstraint([1.0, 0.0])], duration=0.5, **effort)
    jump = to.Link("a", "b", lambda xf, x0, p: np.array([x0[0] - xf[0] - p.gap, x0[1] - xf[1]]))
    problem = to.MultiPhaseProblem([first, second], [jump])
    other = problem.at(parameters={"price": 3.0})
    assert other.model is problem.model
    assert [part.parameters["price"] for part in (*other.phases, *other.joined)] == [3.0] * 4
    assert to.solve(other).cost == pytest.approx(36.0)
    assert to.solve(problem, parameters={"gap": 0.5}).cost == pytest.approx(12.0 * 0.25)
    with pytest.raises(to.InvalidProblem, match="'prices' was given"):
        problem.at(parameters={"prices": 1.0})


def test_a_link_may_speak_of_times():
    """A rest between two phases, priced by its length: b(tf, t0) with `time=False`."""
    effort = {"stage_cost": lambda x, u: u[0] ** 2}
    target = to.TerminalConstraint([1.0, 0.0])
    first = phase("a", duration=to.Free(0.5, 3.0), initial_state=[0.0, 0.0], constraints=[target], **effort)
    second = phase("b", start=to.Free(0.0, 9.0), terminal_cost=lambda x, t: t, **effort)
    rest = to.Link("a", "b", lambda xf, x0, tf, t0: t0 - tf, 0.25, 2.0, name="rest", time=False)
    solution = to.solve(to.MultiPhaseProblem([first, second], [to.Link("a", "b", time=False), rest]), Collocation())
    assert solution.certified
    # 12 / T^3 + T is least where T^4 = 36; the rest costs 1 for each unit of time.
    assert solution["a"].t[-1] == pytest.approx(36.0**0.25, rel=1e-5)
    assert solution["b"].t[0] - solution["a"].t[-1] == pytest.approx(0.25)
    assert solution.certificate.multipliers["rest"] == pytest.approx(-1.0, rel=1e-5)


@pytest.mark.parametrize("name", solver_names())
def test_every_other_solver_refuses_by_name(name):
    """Who does not join phases says so, and who does; no solver gets a problem that it would misread."""
    solver = load_solver(name)
    if isinstance(solver, MultiPhaseSolver):
        assert to.solve(reach(), solver).success
        return
    with pytest.raises(to.UnsupportedProblem, match=r"several phases.*use collocation or multiple_shooting"):
        to.solve(reach(), solver)


def test_the_preferred_solver_joins_phases():
    """`solve` without a solver picks one that can."""
    assert to.solve(reach()).solver.startswith("Collocation")


def test_copies_carry_fields_alone():
    """What was traced stays behind and is made again, so that copies and pickles are small and whole."""
    problem = two_stages(10)
    again = to.MultiPhaseProblem(**problem.__getstate__())
    assert again.model is not problem.model
    assert again.model.names == problem.model.names
    assert to.solve(again).cost == to.solve(problem).cost


@pytest.mark.parametrize(
    ("guess", "message"),
    [
        ([None], "for 2 phases"),
        ("straight", "for 2 phases"),
        ([None, (np.zeros(2), np.zeros((2, 2)), np.zeros((2, 1)))], "phase 'in': the guess has times"),
        ({"inn": None}, "did you mean 'in'"),
    ],
)
def test_a_guess_that_does_not_fit_is_refused(guess, message):
    """In a sentence that names the phase."""
    with pytest.raises(to.TrajoptError, match=message):
        to.solve(reach(), guess=guess)


def test_a_solution_is_a_guess():
    """From its own answer, or from that of a coarser mesh, a solve takes fewer iterations."""
    cold = to.solve(two_stages(20), Collocation())
    warm = to.solve(two_stages(20), Collocation(options={"mu_init": 1e-8}), guess=to.solve(two_stages(20)))
    named = to.solve(
        two_stages(20), Collocation(options={"mu_init": 1e-8}), guess={p.problem.name: p for p in cold.phases}
    )
    assert cold.success
    assert warm.success
    assert warm.iterations == named.iterations < cold.iterations / 2


def test_limits_callbacks_and_statuses():
    """Those of any solve: a callback sees the joint cost and stops it, and failure is raised when asked for."""
    seen = []
    stopped = to.solve(two_stages(10), callback=lambda iteration: seen.append(iteration.cost) or len(seen) == 3)
    assert stopped.status is to.Status.STOPPED
    assert len(seen) == 3
    assert stopped.history[-1].cost == seen[-1]
    with pytest.raises(to.SolveFailed) as raised:
        to.solve(two_stages(10), Collocation(iterations=1), raise_on_failure=True)
    assert isinstance(raised.value.solution, to.MultiPhaseSolution)
