"""GradientShooting: optima, bounds, statuses, starts, chance, and discrete controls, against independent oracles."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import trajopt as to
from tests.sampling_cases import regulator, swing
from tests.test_categorical import enumerate_plans, pushed
from tests.test_gradient_objective import fitted_ensemble, torch_swing
from trajopt import problems
from trajopt.errors import InvalidProblem
from trajopt.guess import make_guess
from trajopt.learned_dynamics import TorchDynamics
from trajopt.monitor import Monitor
from trajopt.registry import find_solver
from trajopt.solvers import CEM, ILQR, Chain, GradientShooting, SingleShooting
from trajopt.solvers.gradient.descent import Adam
from trajopt.solvers.gradient.objective import make_objective
from trajopt.solvers.sampling import CVaR, Mean, Worst
from trajopt.status import Status

METHODS = ["adam", "lbfgs", "newton"]
COSTLY = replace(regulator(), stage_cost=lambda x, u: 0.5 * (x @ x) + 0.5 * (u @ u))
"""The double integrator over ten steps with a cost of the control: a strictly convex quadratic."""


@pytest.mark.parametrize("method", METHODS)
def test_the_linear_quadratic_optimum_is_riccatis(method: Any) -> None:
    """Solved, and no farther above Riccati's value than the gap allows; Newton needs one step."""
    optimum, solution = to.solve(COSTLY, "lqr").cost, to.solve(COSTLY, GradientShooting(method=method))
    assert solution.status is Status.SOLVED
    assert -1e-12 <= solution.cost - optimum <= 1e-4 * (1.0 + optimum)
    assert np.abs(solution.u - to.solve(COSTLY, "lqr").u).max() < 0.01
    if method == "newton":
        assert solution.iterations == 1
        assert solution.cost == pytest.approx(optimum, rel=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_bounds_hold_exactly_and_are_left_again(method: Any) -> None:
    """From a guess on the wrong bounds to the optimum, some of whose controls rest on a bound to the bit."""
    bounded = replace(COSTLY, constraints=[to.Bounds(control=(-0.3, 0.1))])
    guess = (np.arange(11.0), np.zeros((11, 2)), np.where(np.arange(10) < 3, 0.1, -0.3)[:, None])
    optimum, solution = to.solve(bounded, "ilqr"), to.solve(bounded, GradientShooting(method=method), guess=guess)
    assert solution.status is Status.SOLVED
    assert -1e-9 <= solution.cost - optimum.cost <= 1e-4 * (1.0 + optimum.cost)
    assert solution.u.min() == -0.3
    assert solution.u.max() <= 0.1
    assert np.array_equal(solution.u == -0.3, np.abs(optimum.u + 0.3) < 1e-6)


WEIGHED = to.Problem(
    to.DiscreteDynamics(lambda x, u, p: np.array([x[0] + 0.3 * x[1], x[1] + p.gain * u[0]]), nx=2, nu=1),
    lambda x, u, p: 0.5 * (x @ x) + p.effort * u[0] ** 2,
    lambda x, p: p.end * (x @ x),
    initial_state=[1.0, 0.0],
    constraints=[to.Bounds(control=(-0.5, 0.8))],
    parameters={"gain": 1.0, "effort": 1.0, "end": 1.0},
    horizon=to.Horizon(steps=8),
)
"""Strictly convex in the controls, whatever its numbers."""


@given(
    st.tuples(st.floats(0.1, 2.0), st.floats(1e-3, 10.0), st.floats(0.0, 50.0)),
    st.tuples(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0)),
    st.sampled_from(METHODS),
    st.integers(1, 30),
)
@settings(max_examples=40, deadline=None)
def test_the_gap_bounds_what_is_lost(numbers: Any, state: Any, method: Any, iterations: int) -> None:
    """Wherever a solve of a convex problem stops, its value is above the optimum by no more than the gap says."""
    problem = WEIGHED.at(parameters=dict(zip(("gain", "effort", "end"), numbers, strict=True)), initial_state=state)
    optimum = to.solve(problem, "ilqr").cost
    solution = to.solve(problem, GradientShooting(method=method, iterations=iterations))
    lost, rounding = solution.cost - optimum, 1e-7 * (1.0 + optimum)  # iLQR's tolerance is 1e-8
    assert -rounding <= lost <= solution.history[-1].stationarity * (1.0 + abs(solution.cost)) + rounding
    assert (solution.status is Status.SOLVED) == (solution.history[-1].stationarity <= 1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["van-der-pol", "obstacle-avoidance", "double-integrator-min-energy"])
def test_library_problems_agree_with_ilqr_and_single_shooting(name: str, method: Any) -> None:
    """The certificate confirms what is solved, and the values of three methods agree to the tolerances."""
    problem = problems.load(name)
    solution = to.solve(problem, GradientShooting(method=method))
    assert solution.status is Status.SOLVED
    assert solution.certified
    for other in (to.solve(problem, ILQR()), to.solve(problem, SingleShooting())):
        # A violation of 1e-4 is worth that times a multiplier, which here are of the size of the cost.
        assert solution.cost == pytest.approx(other.cost, rel=5e-4)


@pytest.mark.parametrize("method", METHODS)
def test_constraints_of_all_kinds_and_twins(method: Any) -> None:
    """State bounds, path and terminal rows are met; a black box and a network give the same as the traced model."""
    reference = to.solve(swing(), "interior_point").cost
    network = replace(swing(), dynamics=TorchDynamics(torch_swing, nx=2, nu=1))
    for problem in (swing(), swing(black_box=True) if method == "adam" else network):
        solution = to.solve(problem, GradientShooting(method=method))
        assert solution.status is Status.SOLVED
        assert solution.history[-1].violation <= 1e-4
        assert solution.cost == pytest.approx(reference, rel=1e-3)
        assert solution.certified


def test_the_plans_are_those_of_pytorchs_adam() -> None:
    """Every iterate of torch.optim.Adam on an objective that is written in PyTorch, under a constant rate."""
    problem = to.Problem(
        swing().dynamics, lambda x, u: (x[0] - 1.0) ** 2 + 0.1 * u @ u, initial_state=[0.1, 0.0],
        horizon=to.Horizon(steps=10),
    )  # fmt: skip
    solver = GradientShooting(schedule="constant", learning_rate=0.03)
    objective = make_objective(solver, problem, make_guess(problem, None))
    penalty = objective.make_penalty(1.0)
    descent = Adam(np.array([[-np.inf], [np.inf]]), np.ones(1), solver.rate, shrink=1.0, patience=1)
    (plan,), gradients = objective.gradients(np.zeros((1, 10, 1)), [penalty])
    descent.start(plan, gradients[0])
    u = torch.zeros((10, 1), dtype=torch.float64, requires_grad=True)
    # Epsilon is relative to the first gradient here.
    theirs = torch.optim.Adam([u], lr=0.03, eps=1e-8 * float(np.abs(gradients).max()))
    for _ in range(50):
        x, cost = torch.tensor([[0.1, 0.0]], dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for k in range(10):
            cost = cost + (x[0, 0] - 1.0) ** 2 + 0.1 * u[k] @ u[k]
            x = torch_swing(x, u[k : k + 1])
        theirs.zero_grad()
        cost.backward()
        theirs.step()
        trial = descent.ask()
        assert np.abs(trial - u.detach().numpy()).max() < 1e-12
        (plan,), gradients = objective.gradients(trial[None], [penalty])
        descent.tell(plan, gradients[0])


def test_lbfgs_finds_what_scipys_finds() -> None:
    """The bounded minimum of an objective that is not convex, beside L-BFGS-B on the same function."""
    problem = replace(problems.load("van-der-pol"), constraints=[to.Bounds(control=(-0.3, 0.5))])
    solution = to.solve(problem, GradientShooting(method="lbfgs", tolerance=1e-7))
    objective = make_objective(GradientShooting(), problem, make_guess(problem, None))
    penalty = objective.make_penalty(1.0)

    def merit(z: np.ndarray) -> tuple[float, np.ndarray]:
        plans, gradients = objective.gradients(z.reshape(1, -1, 1), [penalty])
        return plans[0].merit, gradients[0].ravel()

    bounds = [(-0.3, 0.5)] * problem.horizon.steps
    theirs = scipy.optimize.minimize(merit, np.zeros(len(bounds)), jac=True, method="L-BFGS-B", bounds=bounds)
    assert solution.status is Status.SOLVED
    assert solution.cost == pytest.approx(theirs.fun, rel=1e-6)
    assert solution.cost <= theirs.fun * (1.0 + 1e-8)
    assert solution.u.max() == 0.5  # some controls rest on the bound, exactly


@pytest.mark.parametrize("method", METHODS)
def test_no_answer_is_worse_than_its_guess_and_bits_repeat(method: Any) -> None:
    """After any number of iterations; the same seed gives the same bits, and several starts are no worse than one."""
    problem = replace(problems.load("van-der-pol"), constraints=[to.Bounds(control=(-1.0, 1.0))])
    costs = []
    for iterations in (1, 2, 5, 20):
        one, other = (to.solve(problem, GradientShooting(method=method, iterations=iterations)) for _ in range(2))
        assert np.array_equal(one.u, other.u)
        assert one.cost <= one.history[0].cost
        assert one.status in (Status.SOLVED, Status.ITERATION_LIMIT)
        costs.append(one.cost)
    assert costs == sorted(costs, reverse=True)
    several = to.solve(problem, GradientShooting(method=method, iterations=5, starts=6, seed=2))
    again = to.solve(problem, GradientShooting(method=method, iterations=5, starts=6, seed=2))
    assert several.cost <= costs[2]
    assert np.array_equal(several.u, again.u)


def test_starts_find_another_valley() -> None:
    """A double well: from the guess the local minimum, from nine starts the global one."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        terminal_cost=lambda x: (x[0] ** 2 - 1.0) ** 2 + 0.3 * x[0],
        initial_state=[0.5],
        constraints=[to.Bounds(control=(-2.0, 2.0))],
        horizon=to.Horizon(steps=1),
        guess=(np.arange(2.0), np.zeros((2, 1)), np.array([[0.3]])),
    )
    well = [
        scipy.optimize.brentq(lambda x: 4.0 * x * (x * x - 1.0) + 0.3, *ends) for ends in ((0.8, 1.2), (-1.2, -0.8))
    ]
    for method in METHODS:
        local, best = (to.solve(problem, GradientShooting(method=method, starts=n, spread=1.0)) for n in (1, 9))  # type: ignore[arg-type]
        assert local.x[-1, 0] == pytest.approx(well[0], abs=1e-3)
        assert best.x[-1, 0] == pytest.approx(well[1], abs=1e-3)
        assert best.cost < local.cost - 0.5


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_breaks_never_wins(method: Any) -> None:
    """The cost falls towards where it is not a number: steps stop before; and hopeless starts are a failure."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1),
        lambda x, u: -np.sqrt(1.0 - u[0]),  # falls towards -infinity, and is NaN above 1
        lambda x: 4.0 * (x[0] - 3.0) ** 2,
        initial_state=[0.0],
        horizon=to.Horizon(steps=2),
    )
    solution = to.solve(problem, GradientShooting(method=method, iterations=300))
    assert np.isfinite(solution.cost)
    assert solution.u.max() < 1.0
    assert solution.cost < solution.history[0].cost
    broken = (np.arange(3.0), np.zeros((3, 1)), np.full((2, 1), 2.0))
    failed = to.solve(problem, GradientShooting(method=method), guess=broken)
    assert failed.status is Status.NUMERICAL_FAILURE
    some = to.solve(problem, GradientShooting(method=method, starts=8, spread=2.0, iterations=50), guess=broken)
    assert np.isfinite(some.cost)
    assert "starts were not finite" in some.detail


def test_statuses_say_what_happened() -> None:
    """Limits, callbacks, and constraints that no control can meet."""
    problem = problems.load("van-der-pol")
    assert to.solve(problem, GradientShooting(iterations=3)).status is Status.ITERATION_LIMIT
    assert to.solve(problem, GradientShooting(), max_time=1e-9).status is Status.TIME_LIMIT
    assert to.solve(problem, GradientShooting(), callback=lambda _: True).status is Status.STOPPED
    reach = [to.Bounds(control=(-0.1, 0.1)), to.TerminalConstraint([9.0, None])]
    for method in ("lbfgs", "newton"):
        impossible = to.solve(replace(COSTLY, constraints=reach), GradientShooting(method=method))
        assert impossible.status is Status.INFEASIBLE
        assert impossible.history[-1].violation > 1.0
        assert not impossible.certified


def test_an_answer_is_a_start_and_the_optimum_stays() -> None:
    """From iLQR's optimum every method ends at once; a second-order solver goes on from a rough descent."""
    problem = problems.load("van-der-pol")
    optimum = to.solve(problem, ILQR())
    for method in METHODS:
        again = to.solve(problem, GradientShooting(method=method), guess=optimum)  # type: ignore[arg-type]
        assert again.status is Status.SOLVED
        assert again.iterations <= 1
        assert again.cost <= optimum.cost * (1.0 + 1e-9)
    chain = to.solve(problem, Chain(GradientShooting(iterations=10), ILQR()))
    assert chain.cost == pytest.approx(optimum.cost, rel=1e-9)


def test_it_plans_in_closed_loop() -> None:
    """With a few iterations a tick and warm starts it is as good as iLQR solved at every tick, within a hundredth."""
    problem = replace(problems.load("van-der-pol"), constraints=[to.Bounds(control=(-1.0, 1.0))])
    ours = to.MPC(problem, GradientShooting(method="lbfgs"), iterations=5).run(steps=10)
    theirs = to.MPC(problem, ILQR()).run(steps=10)
    assert ours.cost == pytest.approx(theirs.cost, rel=1e-2)
    assert np.abs(ours.u).max() <= 1.0


def test_random_models_are_planned_under_risk() -> None:
    """The longer the jump, the less certain its end: closed form of the mean, and caution keeps shorter of it."""

    def jump(x, u, rng):  # fmt: skip
        return x + u * (1.0 + 0.5 * torch.randn(u.shape, generator=rng, dtype=u.dtype))

    problem = to.Problem(
        TorchDynamics(jump, nx=1, nu=1), terminal_cost=lambda x: (x[0] - 1.0) ** 2, initial_state=[0.0],
        horizon=to.Horizon(steps=1),
    )  # fmt: skip
    found = {}
    for risk in (Mean(), CVaR(0.2), Worst()):
        solution = to.solve(problem, GradientShooting(risk=risk, particles=200, iterations=150))
        found[str(risk)] = solution.u[0, 0]
    # E (u (1 + n / 2) - 1)^2 is least at u = 1 / (1 + 1/4); its Monte Carlo error with 200 particles is about 0.03.
    assert found["Mean()"] == pytest.approx(0.8, abs=0.12)
    assert found["Worst()"] < found["CVaR(level=0.2)"] < found["Mean()"]


def test_an_ensemble_is_planned_over_with_particles() -> None:
    """Learned members, TS-infinity: the descent is no worse than CEM on the same particles' model."""
    problem = to.Problem(
        fitted_ensemble("tsinf"), lambda x, u: x @ x + 0.1 * u @ u, initial_state=[0.5, 0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0))], horizon=to.Horizon(steps=6),
    )  # fmt: skip
    ours = to.solve(problem, GradientShooting(method="lbfgs", particles=20, iterations=60))
    theirs = to.solve(problem, CEM(samples=64, particles=20, iterations=20))
    assert ours.cost <= ours.history[0].cost
    objective = make_objective(GradientShooting(particles=20), problem, make_guess(problem, None))
    penalties = [objective.make_penalty(1.0)] * 2
    values = objective.values(np.array([ours.u, theirs.u]), penalties)
    assert values[0].merit <= values[1].merit + 1e-6


@pytest.mark.parametrize("steps", [5, 7])
def test_discrete_controls_reach_the_best_of_all_plans(steps: int) -> None:
    """Gumbel-softmax and exchanges, by enumeration, with 5 of 5 seeds; and the answer is on the choices."""
    costs, plans = enumerate_plans(steps)
    for seed in range(5):
        solution = to.solve(pushed(steps=steps), GradientShooting(seed=seed, annealing=60))
        assert solution.status is Status.SOLVED
        assert np.array_equal(solution.u[:, 0], plans[costs.argmin()])
        assert solution.certified


def test_solved_means_that_no_exchange_helps() -> None:
    """After hardly any descent the exchanges alone end where no single stage can be changed for the better."""
    costs, plans = enumerate_plans(7)
    solution = to.solve(pushed(steps=7), GradientShooting(starts=1, annealing=1, seed=4))
    assert solution.status is Status.SOLVED
    apart = (plans != solution.u[:, 0]).sum(axis=1)
    assert costs[apart == 0][0] == pytest.approx(solution.cost, rel=1e-12)
    assert solution.cost <= costs[apart == 1].min() + 1e-4 * (1.0 + solution.cost)
    limited = to.solve(pushed(steps=7), GradientShooting(iterations=3))
    assert limited.status is Status.ITERATION_LIMIT
    assert limited.cost <= limited.history[0].cost


def test_discrete_controls_under_constraints_chance_and_failure() -> None:
    """Targets are met, networks and particles work, and what is not finite is left out."""
    costs, plans = enumerate_plans(6, target=-0.3)
    constrained = to.solve(pushed(target=-0.3), GradientShooting())
    assert constrained.status is Status.SOLVED
    assert np.array_equal(constrained.u[:, 0], plans[costs.argmin()])
    out_of_reach = to.solve(pushed(target=9.0), GradientShooting(annealing=2, penalty_growth=100.0))
    assert out_of_reach.status is Status.INFEASIBLE
    black = to.solve(pushed(black_box=True), GradientShooting(seed=1))
    assert black.cost == pytest.approx(to.solve(pushed(), GradientShooting(seed=1)).cost, rel=1e-12)
    hopeless = to.solve(pushed(initial_state=[1e200, 1e200]), GradientShooting())
    assert hopeless.status is Status.NUMERICAL_FAILURE
    partly = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1), lambda x, u: u[0] - 2.0 * np.sqrt(1.0 - u[0]),
        initial_state=[0.0], constraints=[to.Choices([-1.0, 0.0, 2.0])], horizon=to.Horizon(steps=4),
    )  # fmt: skip
    solution = to.solve(partly, GradientShooting())
    assert np.array_equal(solution.u[:, 0], [-1.0] * 4)
    assert "not finite" in solution.detail


def test_gumbel_gradients_point_along_the_expected_cost() -> None:
    """For a cost that is linear in the choice the straight-through gradient has the sign of the true one."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x, nx=1, nu=1), lambda x, u: 3.0 * u[0], initial_state=[0.0],
        constraints=[to.Choices([-1.0, 0.0, 1.0])], horizon=to.Horizon(steps=3),
    )  # fmt: skip
    from trajopt.solvers.gradient.relaxation import RelaxedSearch  # noqa: PLC0415

    search = RelaxedSearch(GradientShooting(starts=200), problem, make_guess(problem, None))
    before = search.logits.copy()
    search.step()
    moved = search.logits - before
    assert (moved[:, 0] > 0.0).all()
    assert (moved[:, 2] < 0.0).all()


@pytest.mark.parametrize(
    "changes",
    [{"method": "sgd"}, {"schedule": "step"}, {"integrator": "rk9"}, {"starts": 0}, {"iterations": 0},
     {"learning_rate": -1.0}, {"shrink": 1.0}, {"tolerance": math.nan}, {"final_temperature": 2.0}, {"risk": "mean"},
     {"seed": -1}, {"penalty_growth": 1.0}, {"particles": 1.5}],
    ids=str,
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(changes: dict[str, Any]) -> None:
    """In one sentence that names the setting."""
    with pytest.raises(InvalidProblem, match=next(iter(changes))):
        GradientShooting(**changes)


def test_schedules_and_automatic_choice() -> None:
    """Cosine falls to nothing, constant does not; "auto" never takes this solver while another handles the problem."""
    cosine, constant = GradientShooting(schedule="cosine", iterations=10), GradientShooting(schedule="constant")
    assert cosine.rate(0) == constant.rate(0) == constant.rate(9) == 0.05
    assert cosine.rate(10) == pytest.approx(0.0, abs=1e-15)
    for problem in (COSTLY, swing(), swing(black_box=True), pushed(), pushed(black_box=True)):
        assert not isinstance(find_solver("auto", problem), GradientShooting)
    annealed = to.solve(problems.load("van-der-pol"), GradientShooting(schedule="cosine", iterations=150))
    assert annealed.cost == pytest.approx(1.0479006890933933, rel=1e-5)  # Newton's value
    outcome = GradientShooting().run(COSTLY, make_guess(COSTLY, None), Monitor())
    assert outcome.status is Status.SOLVED
