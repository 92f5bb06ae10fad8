"""Problems of several phases against oracles: the same problem in one piece, closed forms, an independent program."""

from __future__ import annotations

from functools import cache

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phase_cases import GRAVITY, double_integrator, halves, reach, two_stages

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.phase_guesses import make_guesses
from trajopt.solvers import Collocation, MultipleShooting

SPLIT = ["bryson-denham", "dtoc1l", "neuenhofen-kerrigan", "pendulum", "van-der-pol", "velocity-limited"]
"""Fixed times, no constraint that ties both ends, and no second local optimum nearby."""

TOLERANCE = 1e-8
"""Of the solver: costs of the same program agree to about that."""


@cache
def in_one_piece(name):
    return to.solve(problems.load(name, steps=24), MultipleShooting())


@settings(max_examples=20, deadline=None, derandomize=True)
@given(name=st.sampled_from(SPLIT), at=st.integers(1, 23))
def test_two_halves_make_the_whole(name, at):
    """Held controls have nothing in common across a knot, so that both are one program: equal costs and states."""
    whole = in_one_piece(name)
    split = to.solve(halves(problems.load(name, steps=24), at), MultipleShooting())
    assert whole.success
    assert split.success
    assert split.cost == pytest.approx(whole.cost, abs=100 * TOLERANCE * max(1.0, abs(whole.cost)))
    # The cost is flat at the optimum: states agree to the root of what costs do.
    x = np.vstack([split.x[0], split.x[1][1:]])
    assert np.abs(x - whole.x).max() <= 10 * np.sqrt(TOLERANCE) * max(1.0, np.abs(whole.x).max())


@pytest.mark.parametrize("name", ["double-integrator", "velocity-limited", "van-der-pol"])
@pytest.mark.parametrize("at", [1, 10])
def test_cutting_does_not_change_the_guess(name, at):
    """The straight line between known states goes through the cut."""
    problem = problems.load(name, steps=24)
    whole = make_guess(problem, None)
    split = make_guesses(halves(problem, at), None)
    assert np.vstack([split[0].x, split[1].x[1:]]) == pytest.approx(whole.x)
    assert np.concatenate([split[0].t, split[1].t[1:]]) == pytest.approx(whole.t)


@pytest.mark.parametrize("scheme", ["trapezoidal", "hermite_simpson"])
def test_halves_of_a_collocated_problem_have_a_control_more(scheme):
    """The control may jump where two halves meet: never a higher cost, and the same one up to the certificates."""
    problem = problems.load("van-der-pol", steps=24)
    whole = to.solve(problem, Collocation(scheme))
    split = to.solve(halves(problem, 9), Collocation(scheme))
    assert split.success
    assert split.cost <= whole.cost * (1 + 100 * TOLERANCE)
    allowed = split.certificate.error + whole.certificate.error
    assert abs(split.certificate.cost - whole.certificate.cost) <= allowed


def test_links_cost_what_costates_say():
    """Least effort over unit distance and time: 12, costates -24 and 24 t - 12 in closed form, also across the link."""
    solution = to.solve(reach(middle=0.25), Collocation())
    link = "out to in: "
    assert solution.cost == pytest.approx(12.0, rel=TOLERANCE)
    for found in (solution.multipliers, solution.certificate.multipliers):
        assert found[link + "position"] == pytest.approx(24.0, rel=1e-6)
        assert found[link + "speed"] == pytest.approx(12.0 - 24.0 * 0.25, rel=1e-6)
    for phase in solution.phases:
        expected = np.stack([np.full(len(phase.t), -24.0), 24.0 * phase.t - 12.0], axis=1)
        assert np.abs(phase.certificate.costates - expected).max() < 1e-6
    assert solution.certified
    assert all(phase.certified for phase in solution.phases)


def test_switching_time_is_found():
    """Accelerate at up to 2, then brake at up to 1, three units in least time: peak speed 2 after 1, 3 in all."""
    first = to.Problem(
        double_integrator(),
        initial_state=[0.0, 0.0],
        constraints=[to.Bounds(control=(0.0, 2.0))],
        horizon=to.Horizon(to.Free(0.1, 10.0), steps=6),
        name="accelerate",
    )
    second = to.Problem(
        double_integrator(),
        terminal_cost=lambda x, t: t,
        constraints=[to.Bounds(control=(-1.0, 0.0)), to.TerminalConstraint([3.0, 0.0])],
        horizon=to.Horizon(to.Free(0.1, 10.0), steps=6),
        name="brake",
    )
    solution = to.solve(to.MultiPhaseProblem([first, second]), Collocation())
    assert solution.certified
    assert solution["accelerate"].t[-1] == pytest.approx(1.0, rel=1e-6)
    assert solution.cost == pytest.approx(3.0, rel=1e-6)
    assert solution.span == pytest.approx((0.0, 3.0), rel=1e-6)
    # One more unit of distance: T = sqrt(3 d), dT/dd = 1/2, which the link of the position has to pay.
    assert solution.certificate.multipliers["accelerate to brake: position"] == pytest.approx(0.5, rel=1e-4)


def test_a_ball_bounces():
    """Thrown down so that it returns to 2 from 1 after losing speed: energy balance gives the speed of the throw."""
    restitution = 0.8
    ball = to.ContinuousDynamics(lambda x, u: np.array([x[1], -GRAVITY]), nu=0, states=["height", "speed"])
    fall = to.Problem(
        ball,
        terminal_cost=lambda x, p: p.throw**2,
        initial_state=[1.0, None],
        constraints=[
            to.TerminalConstraint([0.0, None]),
            to.BoundaryConstraint(lambda x0, xf, p: x0[1] + p.throw),
        ],
        horizon=to.Horizon(to.Free(0.05, 2.0, guess=0.3), steps=4),
        parameters={"throw": to.Free(0.0, 20.0)},
        name="fall",
    )
    rise = to.Problem(
        ball,
        constraints=[to.TerminalConstraint([2.0, 0.0])],
        horizon=to.Horizon(to.Free(0.05, 2.0, guess=0.3), steps=4),
        name="rise",
    )
    bounce = to.Link("fall", "rise", lambda xf, x0: np.array([x0[0] - xf[0], x0[1] + restitution * xf[1]]))
    solution = to.solve(to.MultiPhaseProblem([fall, rise], [bounce]), Collocation())
    throw = np.sqrt(2 * GRAVITY * (2.0 / restitution**2 - 1.0))
    assert solution.certified
    assert solution.parameters["throw"] == pytest.approx(throw, rel=1e-7)
    assert solution["rise"].t[-1] - solution["rise"].t[0] == pytest.approx(np.sqrt(2 * 2.0 / GRAVITY), rel=1e-7)


def test_phases_of_different_sizes():
    """Full thrust in a vacuum, then a coast without a mass to keep: the apex is Tsiolkovsky's, in closed form."""
    exhaust, burn, flow = 3.0, 0.5, 1.0  # one unit of mass, half of it fuel: burnt out after half a unit of time

    def powered(x, u):
        return np.array([x[1], exhaust * u[0] / x[2] - 1.0, -u[0]])

    boost = to.Problem(
        to.ContinuousDynamics(powered, states=["height", "speed", "mass"], controls=["flow"]),
        initial_state=[0.0, 0.0, 1.0],
        constraints=[to.Bounds(control=(0.0, flow), state=([None, None, 1.0 - burn], None))],
        horizon=to.Horizon(to.Free(0.1, 1.0), steps=20),
        name="boost",
    )
    coast = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], -1.0]), nu=0, states=["height", "speed"]),
        terminal_cost=lambda x: -x[0],
        constraints=[to.TerminalConstraint([None, 0.0])],
        horizon=to.Horizon(to.Free(0.1, 10.0), steps=4),
        name="coast",
    )
    solution = to.solve(to.MultiPhaseProblem([boost, coast]), Collocation())
    ratio, time = 1.0 / (1.0 - burn), burn / flow
    speed = exhaust * np.log(ratio) - time
    height = exhaust * time * (1.0 - np.log(ratio) / (ratio - 1.0)) - 0.5 * time**2
    assert solution.certified
    assert -solution.cost == pytest.approx(height + 0.5 * speed**2, rel=1e-6)
    assert [x.shape[1] for x in solution.x] == [3, 2]


def test_a_parameter_of_several_phases_is_one():
    """(p - 1)^2 in one phase and 2 (p - 4)^2 in the other: 3 for both, at a cost of 6, where each alone would pay 0."""
    parameters = {"p": to.Free(-10.0, 10.0, guess=0.5)}
    dynamics = to.ContinuousDynamics(lambda x, u, p: np.array([p.p]), nu=0, states=["x"])
    horizon = to.Horizon(1.0, steps=3)
    first = to.Problem(
        dynamics, stage_cost=lambda x, u, p: (p.p - 1.0) ** 2, initial_state=[0.0], horizon=horizon,
        parameters=parameters, name="a",
    )  # fmt: skip
    second = to.Problem(
        dynamics, stage_cost=lambda x, u, p: 2.0 * (p.p - 4.0) ** 2, horizon=horizon, parameters=parameters, name="b"
    )
    solution = to.solve(to.MultiPhaseProblem([first, second]), Collocation())
    assert solution.certified
    assert solution.parameters == pytest.approx({"p": 3.0})
    assert solution.cost == pytest.approx(6.0)
    assert solution["b"].x[-1, 0] == pytest.approx(6.0)


def test_a_periodic_link_closes_the_cycle():
    """Heated for 1, cooled for 2, again and again: the temperature at the switch is (1 - 1/e) / (1 - 1/e^3)."""

    def phase(heat, duration, name):
        dynamics = to.ContinuousDynamics(lambda x, u: heat - x, nu=0, states=["temperature"])
        return to.Problem(dynamics, horizon=to.Horizon(duration, steps=30), name=name)

    links = [to.Link("heat", "cool"), to.Link("cool", "heat", name="again")]
    problem = to.MultiPhaseProblem([phase(1.0, 1.0, "heat"), phase(0.0, 2.0, "cool")], links)
    solution = to.solve(problem, Collocation())
    expected = (1.0 - np.exp(-1.0)) / (1.0 - np.exp(-3.0))
    assert solution.certified
    assert solution["heat"].x[-1, 0] == pytest.approx(expected, rel=1e-7)
    assert solution["cool"].x[-1, 0] == pytest.approx(solution["heat"].x[0, 0])
    assert solution.span == (0.0, 3.0)


def test_phases_may_branch():
    """A carrier lets two probes go from one place and time: each is a phase that follows it, at its own times."""
    effort = {"dynamics": double_integrator(), "stage_cost": lambda x, u: u[0] ** 2}
    carrier = to.Problem(**effort, initial_state=[0.0, 0.0], horizon=to.Horizon(0.5, steps=8), name="carrier")

    def probe(place, name):
        target = to.TerminalConstraint([place, None])
        return to.Problem(**effort, constraints=[target], horizon=to.Horizon(0.5, steps=8), name=name)

    links = [to.Link("carrier", "left"), to.Link("carrier", "right")]
    problem = to.MultiPhaseProblem([carrier, probe(-1.0, "left"), probe(1.0, "right")], links)
    solution = to.solve(problem, Collocation())
    # By symmetry the carrier stays; a probe from rest over d in T with a free speed at the end costs 3 d^2 / T^3.
    assert solution.certified
    assert solution.cost == pytest.approx(2 * 3.0 / 0.5**3, rel=1e-6)
    assert np.abs(solution["carrier"].x).max() < 1e-6
    assert solution["left"].t[0] == solution["right"].t[0] == 0.5
    with pytest.raises(to.InvalidProblem, match="overlap"):
        solution(0.7)


def opti_trapezoidal(steps):
    """The two-stage rocket written down once more, as one program of CasADi's own, by trapezoidal rules."""
    opti = ca.Opti()
    ends, cost = [], None
    for thrust_limit, dry in ((3.5, 0.7), (1.5, 0.45)):
        x, u, duration = opti.variable(3, steps + 1), opti.variable(1, steps + 1), opti.variable()
        drag = 310.0 * x[1, :] ** 2 * ca.exp(-500.0 * (x[0, :] - 1.0))
        f = ca.vertcat(x[1, :], (u - drag) / x[2, :] - 1.0 / x[0, :] ** 2, -2.0 * u)
        opti.subject_to(ca.vec(x[:, 1:] - x[:, :-1] - duration / steps / 2 * (f[:, 1:] + f[:, :-1])) == 0)
        opti.subject_to(opti.bounded(0.0, u, thrust_limit))
        opti.subject_to(opti.bounded(0.001, duration, 0.3))
        opti.subject_to(ca.vec(x[1, :]) >= 0.0)
        opti.subject_to(ca.vec(x[2, :]) >= dry)
        opti.set_initial(x, np.array([[1.0, 0.0, 1.0]]).T * np.ones(steps + 1))
        opti.set_initial(duration, 0.05)
        ends.append(x)
        cost = -x[0, -1]
    opti.subject_to(ends[0][:, 0] == np.array([1.0, 0.0, 1.0]))
    opti.subject_to(ends[1][:, 0] == ends[0][:, -1] - np.array([0.0, 0.0, 0.1]))
    opti.minimize(cost)
    opti.solver("ipopt", {"print_time": False}, {"print_level": 0, "sb": "yes", "tol": TOLERANCE})
    return opti.solve().value(cost)


def test_two_stages_agree_with_an_independent_program():
    """A rocket with drag that drops a tenth of its mass: the trapezoidal optimum of a program written independently."""
    solution = to.solve(two_stages(20), Collocation("trapezoidal"))
    assert solution.success
    assert solution.cost == pytest.approx(opti_trapezoidal(20), rel=1e-7)
    assert solution["sustainer"].x[0, 2] == pytest.approx(solution["booster"].x[-1, 2] - 0.1, rel=1e-8)


def test_two_stages_are_certified():
    """Free times, a drop of mass, drag: what multiple shooting and collocation find, the certificate confirms."""
    found = [to.solve(two_stages(40), solver) for solver in (Collocation(), MultipleShooting())]
    for solution in found:
        assert solution.certified, solution.certificate
    first, second = (solution.certificate for solution in found)
    assert abs(first.cost - second.cost) <= first.error + second.error
