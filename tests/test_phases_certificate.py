"""The certificate of several phases: it sees what a phase alone does not show, and names what is wrong."""

from __future__ import annotations

from dataclasses import replace

import casadi as ca
import numpy as np
import pytest
from phase_cases import double_integrator, reach, two_stages

import trajopt as to
from trajopt.guess import make_guess
from trajopt.phase_guesses import make_guesses
from trajopt.solvers import Collocation, MultipleShooting
from trajopt.status import Status
from trajopt.transcription.phases import compile_phases, pose_phases


def solved_apart(problem, out, back):
    """Each phase solved alone, with the state at the joint prescribed: ``out`` for its end, ``back`` for its start."""
    first, second = problem.joined
    first = replace(first, constraints=[*first.constraints, to.TerminalConstraint(out)])
    parts = [to.solve(phase, Collocation()) for phase in (first, replace(second, initial_state=back))]
    phases = tuple(replace(part, problem=own) for part, own in zip(parts, problem.joined, strict=True))
    assert all(part.success for part in parts)
    return to.MultiPhaseSolution(
        problem, "apart", Status.SOLVED, problem.names, phases, sum(part.cost for part in parts), 0
    )


def test_phases_that_are_optimal_alone_are_not_optimal_together():
    """Through the wrong speed each phase is optimal by itself, and only all conditions together tell."""
    wrong = solved_apart(reach(), [0.5, 1.0], [0.5, 1.0])
    made = wrong.certificate
    assert made.violation < 1e-9
    assert made.cost_error < 1e-9
    assert made.stationarity > 0.1
    assert not wrong.certified
    assert any("stationary" in finding for finding in made.findings)
    right = solved_apart(reach(), [0.5, 1.5], [0.5, 1.5])
    assert right.certified
    assert right.certificate.stationarity < 1e-9


def test_a_torn_link_is_named():
    """Phases that do not meet: the link, its row and its time are in the findings, and in the explanation."""
    torn = solved_apart(reach(), [0.5, 1.5], [0.5, 1.4])
    made = torn.certificate
    assert made.links[0].name == "out to in: speed"
    assert made.links[0].time == 0.5
    assert made.links[0].amount == pytest.approx(0.1 / 1.5)  # relative to the speed that should go on
    assert not made.passed
    assert "Link 'out to in: speed' is violated by 0.0667 at t=0.5" in "\n".join(made.findings)
    assert "out to in: speed" in torn.explain()


def test_unequal_shared_parameters_are_named():
    """One name is one number, also in an answer that comes from elsewhere."""
    dynamics = to.ContinuousDynamics(lambda x, u, p: np.array([p.rate]), nu=0, states=["x"])
    part = {"horizon": to.Horizon(1.0, steps=2), "parameters": {"rate": to.Free(0.0, 5.0)}}
    first = to.Problem(dynamics, initial_state=[0.0], name="a", **part)
    second = to.Problem(dynamics, constraints=[to.TerminalConstraint([4.0])], name="b", **part)
    solution = to.solve(to.MultiPhaseProblem([first, second]), Collocation())
    assert solution.certified
    moved = replace(solution["b"].trajectory, parameters={"rate": 2.5})
    wrong = replace(solution, phases=(solution["a"], replace(solution["b"], trajectory=moved)))
    assert "shared parameter rate" in [record.name for record in wrong.certificate.links]
    assert not wrong.certified


def test_a_changed_phase_is_judged_alone():
    """A copy with other numbers is no part of the answer any more, whose certificate would not be about it."""
    solution = to.solve(reach(), Collocation())
    phase = solution["in"]
    other = replace(phase, cost=phase.cost + 1.0)
    assert phase.certificate.passed
    assert other.certificate.cost_error == pytest.approx(1.0 / 6.0)


def test_an_infeasible_link_is_named():
    """A jump that bounds on both sides forbid: the solve ends as infeasible, and the explanation says which link."""
    bounded = {"dynamics": double_integrator(), "horizon": to.Horizon(1.0, steps=6)}
    limits = to.Bounds(state=([None, -1.0], [None, 1.0]), control=(-1.0, 1.0))
    first = to.Problem(**bounded, initial_state=[0.0, 0.0], constraints=[limits], name="a")
    second = to.Problem(**bounded, constraints=[limits], name="b")
    jump = to.Link("a", "b", lambda xf, x0: x0[1] - xf[1], 5.0, 5.0, name="kick")
    solution = to.solve(to.MultiPhaseProblem([first, second], [jump, to.Link("a", "b", ["position"])]), Collocation())
    assert solution.status is Status.INFEASIBLE
    assert not solution.certified
    assert solution.certificate.worst[0].name == "kick"
    assert "Relax or remove 'kick'" in solution.explain()


def test_numbers_that_cannot_be_integrated_are_refused():
    """Knots that are not finite: a certificate without numbers, and a sentence that names the phase."""
    solution = to.solve(reach(), Collocation())
    x = solution["in"].x.copy()
    x[3, 0] = np.nan
    part = replace(solution["in"], trajectory=replace(solution["in"].trajectory, x=x))
    broken = replace(solution, phases=(solution["out"], part))
    assert broken.certificate.findings == ("Phase 'in': The trajectory has numbers in x that are not finite.",)
    assert np.isnan(broken.certificate.cost)
    assert not broken["out"].certified


@pytest.mark.parametrize("solver", [Collocation(), Collocation("trapezoidal"), MultipleShooting()], ids=str)
def test_derivatives_of_the_joint_program(solver):
    """Gradient, Jacobian and Hessian put together from the parts are those that CasADi finds for the whole."""
    parameters = {"rate": to.Free(0.5, 2.0, guess=1.2), "scale": 1.5}

    def phase(name, **changes):
        dynamics = to.ContinuousDynamics(lambda x, u, p: np.array([x[1] * p.rate, u[0] - x[0] ** 2]), nx=2, nu=1)
        return to.Problem(
            dynamics,
            stage_cost=lambda x, u, t, p: p.rate * u[0] ** 2 + t * x[0] ** 2,
            terminal_cost=lambda x, t, p: p.rate * x[0] ** 3 * t,
            horizon=to.Horizon(to.Free(0.5, 2.0, guess=0.9), steps=3),
            parameters=parameters,
            name=name,
            **changes,
        )

    links = [
        to.Link("a", "b", lambda xf, x0, tf, p: x0 - p.scale * xf * np.sin(tf) * p.rate),
        to.Link("b", "a", lambda xf, x0, tf, t0, p: xf[0] * x0[1] * (tf - t0) * p.rate, -1.0, 1.0),
        to.Link("b", "b", lambda xf, x0: xf @ x0, -9.0, 9.0),
    ]
    problem = to.MultiPhaseProblem([phase("a", initial_state=[1.0, None]), phase("b")], links)
    structure = compile_phases(problem, solver.interval_scheme())
    whole, _ = pose_phases(structure, problem, make_guesses(problem, None), scaled=True)
    functions, p = whole.program.functions, whole.parameters
    v, lam_f, lam_g = ca.MX.sym("v", whole.program.size), ca.MX.sym("f"), ca.MX.sym("g", whole.program.rows)
    f, g = functions["nlp"](v, p)
    lagrangian = lam_f * f + ca.dot(lam_g, g)
    oracle = ca.Function(
        "oracle", [v, lam_f, lam_g],
        [ca.gradient(f, v), ca.jacobian(g, v), ca.triu(ca.hessian(lagrangian, v)[0]), ca.gradient(lagrangian, v)],
    )  # fmt: skip
    random = np.random.default_rng(3)
    place, multipliers = random.normal(size=v.numel()), random.normal(size=g.numel())
    found = (
        functions["grad_f"](place, p)[1],
        functions["jac_g"](place, p)[1],
        functions["hess_lag"](place, p, 1.0, multipliers),
        whole.program.gradients(place, p, multipliers)[0],
    )
    for ours, theirs in zip(found, oracle(place, 1.0, multipliers), strict=True):
        difference = np.abs((ours - theirs).full()).max()
        assert difference <= 1e-10 * max(1.0, np.abs(theirs.full()).max())


def test_link_multipliers_are_sensitivities():
    """What a larger drop of mass costs, by solving again with another one: the multiplier of its link."""

    def dropping(mass):
        problem = two_stages(20)
        drop = to.Link("booster", "sustainer", lambda xf, x0: xf[2] - x0[2], mass, mass, name="separation")
        return to.solve(to.MultiPhaseProblem(problem.phases, [problem.links[0], drop]), MultipleShooting())

    step = 1e-3
    slope = (dropping(0.1 + step).cost - dropping(0.1 - step).cost) / (2 * step)
    solution = dropping(0.1)
    # A larger right-hand side moves the optimum by minus the multiplier; central differences, to their second order.
    assert -solution.multipliers["separation"][0] == pytest.approx(slope, rel=1e-2)
    assert -solution.certificate.multipliers["separation"][0] == pytest.approx(slope, rel=1e-2)


def test_tolerances_and_parts_of_the_certificate():
    """The parts add up, a stricter tolerance is stricter, and the text says the verdict."""
    solution = to.solve(two_stages(20), Collocation())
    made = solution.certificate
    assert made.cost == pytest.approx(sum(phase.cost for phase in made.phases))
    assert made.gap == pytest.approx(sum(phase.gap for phase in made.phases))
    assert made.defect == max(phase.defect for phase in made.phases)
    shares = np.array([phase.stationarity for phase in made.phases])
    assert np.linalg.norm(shares) == pytest.approx(made.stationarity)  # nothing is shared here
    strict = solution.certify(1e-9)
    assert not strict.passed
    assert strict.phases[0].findings == solution["booster"].certify(1e-9).findings
    assert "certificate of 2 phases NOT PASSED" in str(strict)
    assert "certificate of 2 phases passed" in str(made)
    with pytest.raises(to.InvalidProblem, match="positive tolerance"):
        solution.certify(0.0)


def test_the_guess_itself_is_judged_honestly():
    """A guess that was never solved for fails the check."""
    problem = two_stages(10)
    guesses = make_guesses(problem, None)
    assert guesses[0].t[-1] == guesses[1].t[0]
    stopped = to.solve(problem, Collocation(iterations=0))
    assert not stopped.certificate.passed
    assert make_guess(problem.joined[0], stopped["booster"]).t == pytest.approx(guesses[0].t)
