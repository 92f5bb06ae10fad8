"""Checks must be able to fail: toy solvers with one thing wrong each, and the check that catches it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import pytest

import trajopt as to
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import Claim, Outcome, Solver
from trajopt.solvers import CEM, ILQR
from trajopt.status import Status
from trajopt.testing import Symmetry, check_dynamics, check_problem, check_solver
from trajopt.testing.registry import all_checks
from trajopt.testing.suite import make_subject, run_check
from trajopt.trajectory import Trajectory

CLAIMS = frozenset({Claim.STATIONARY, Claim.ONE_STEP, Claim.WARM_START, Claim.SCALE})
HANDLES = ILQR.handles
COUNTER = {"calls": 0}

Fault = Callable[[Outcome, Problem], Outcome]


@final
@dataclass(frozen=True)
class Faulty(Solver):
    """iLQR, and then one thing is done to its answer, its problem, its guess or its surroundings."""

    fault: str = "none"
    tolerance: float = 1e-8
    constraint_tolerance: float = 1e-6
    iterations: int = 500

    handles: ClassVar[frozenset[Feature]] = HANDLES
    claims: ClassVar[frozenset[Claim]] = CLAIMS

    def missing(self, features: frozenset[Feature]) -> frozenset[Feature]:
        return ILQR().missing(features)

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        inner = ILQR(iterations=self.iterations)
        before = BEFORE.get(self.fault)
        if before is not None:
            problem, guess, inner, monitor = before(problem, guess, inner, monitor)
        outcome = inner.run(problem, guess, monitor)
        after = AFTER.get(self.fault)
        return outcome if after is None else after(outcome, problem)


def changed(outcome: Outcome, **arrays: Any) -> Outcome:
    return replace(outcome, trajectory=replace(outcome.trajectory, **arrays))


def with_costates(outcome: Outcome, change: Callable[[np.ndarray], np.ndarray]) -> Outcome:
    found = dict(outcome.multipliers)
    if "costates" in found:
        found["costates"] = change(found["costates"])
    return replace(outcome, multipliers=found)


def count(outcome: Outcome) -> Outcome:
    """An answer that depends on how often the solver ran in this process."""
    COUNTER["calls"] += 1
    return changed(outcome, u=outcome.trajectory.u * (1.0 + 2.0**-40 * COUNTER["calls"]))


def draw(outcome: Outcome) -> Outcome:
    np.random.random()  # noqa: NPY002 - the fault
    return outcome


def detuned(outcome: Outcome, problem: Problem) -> Outcome:
    """Controls a little off and rolled out honestly, with their honest cost: only optimality can object."""
    if Feature.DISCRETE_TIME not in problem.features or Feature.BLACK_BOX in problem.features:
        return outcome
    u = np.clip(outcome.trajectory.u + 0.02, *problem.control_bounds)
    plain = to.plain.PlainFunctions(problem, problem.layout.pack(problem.parameters))
    x, cost = [outcome.trajectory.x[0]], 0.0
    for k, control in enumerate(u):
        cost += plain.stage_cost(x[-1], control, float(k))
        x.append(plain.dynamics(x[-1], control, float(k)))
    return replace(changed(outcome, u=u, x=np.array(x)), cost=cost + plain.terminal_cost(x[-1], float(len(u))))


AFTER: dict[str, Fault] = {
    "always solved": lambda o, _: replace(o, status=Status.SOLVED),
    "cost understated": lambda o, _: replace(o, cost=0.999 * o.cost - 1e-3),
    "states tampered": lambda o, _: changed(o, x=o.trajectory.x + 1e-3 * (np.arange(len(o.trajectory.x)) > 3)[:, None]),
    "controls beyond bounds": lambda o, _: changed(o, u=1.01 * o.trajectory.u),
    "costates of the wrong sign": lambda o, _: with_costates(o, np.negative),
    "costates off by one": lambda o, _: with_costates(o, lambda y: np.vstack([y[1:], y[-1:]])),
    "gains of the wrong sign": lambda o, _: o if o.feedback is None else replace(o, feedback=-o.feedback),
    "detuned": detuned,
    "NaN in the answer": lambda o, _: changed(o, x=np.where(np.arange(len(o.trajectory.x))[:, None] > 2, np.nan,
                                                             o.trajectory.x)),
    "counts its calls": lambda o, _: count(o),
    "draws from the global generator": lambda o, _: draw(o),
    "iterations miscounted": lambda o, _: replace(o, iterations=1000),
    "float32": lambda o, _: changed(o, u=np.clip(o.trajectory.u, -1e30, 1e30).astype(np.float32).astype(float)),
}  # fmt: skip

Before = Callable[[Problem, Trajectory, ILQR, Monitor], tuple[Problem, Trajectory, ILQR, Monitor]]


class Deaf(Monitor):
    """Records, and listens to nobody."""

    def observe(self, *numbers: Any, **named: Any) -> None:
        super().observe(*numbers, **named)


def unlistening(problem: Problem, guess: Trajectory, inner: ILQR, monitor: Monitor):
    deaf = Deaf()
    deaf.history = monitor.history
    return problem, guess, inner, deaf


def scribble(problem: Problem, guess: Trajectory, inner: ILQR, monitor: Monitor):
    guess.u[...] = 0.5 if guess.u.flags.writeable else guess.u
    return problem, guess, inner, monitor


def without(kind: type) -> Before:
    def change(problem: Problem, guess: Trajectory, inner: ILQR, monitor: Monitor):
        kept = [row for row in problem.constraints if not isinstance(row, kind)]
        return replace(problem, constraints=kept), guess, inner, monitor

    return change


def frozen_parameters(problem: Problem, guess: Trajectory, inner: ILQR, monitor: Monitor):
    if "weight" in (problem.parameters or {}):
        problem = problem.at(parameters={"weight": 1.0})
    return problem, guess, inner, monitor


def other_cost(problem: Problem, guess: Trajectory, inner: ILQR, monitor: Monitor):
    """A hidden regularisation of the controls."""
    own = problem.stage_cost
    if own is None or problem.parameters or problem.stage_cost_function.arguments != ("x", "u"):
        return problem, guess, inner, monitor
    return replace(problem, stage_cost=lambda x, u: own(x, u) + 0.01 * (u @ u)), guess, inner, monitor


BEFORE: dict[str, Before] = {
    "limits ignored": unlistening,
    "guess overwritten": scribble,
    "bounds ignored": without(to.Bounds),
    "targets ignored": without(to.TerminalConstraint),
    "path ignored": without(to.PathConstraint),
    "parameters frozen": frozen_parameters,
    "hidden regularisation": other_cost,
    "Euler called Runge-Kutta": lambda p, g, s, m: (p, g, replace(s, integrator="euler"), m),
    "one iteration called solved": lambda p, g, s, m: (p, g, replace(s, iterations=1), m),
}

KILLERS: dict[str, set[str]] = {
    "always solved": {"an_unreachable_target_is_never_solved", "planted_infeasibility_is_never_solved"},
    "cost understated": {"reported_cost_is_that_of_the_trajectory", "nothing_costs_less_than_the_optimum"},
    "states tampered": {"states_obey_the_dynamics", "success_is_certified"},
    "controls beyond bounds": {"controls_stay_within_bounds"},
    "costates of the wrong sign": {"costates_are_derivatives_of_the_remaining_cost",
                                   "gains_and_costates_are_those_of_riccati",
                                   "costates_are_slopes_of_the_optimal_cost"},
    "costates off by one": {"costates_are_derivatives_of_the_remaining_cost",
                            "gains_and_costates_are_those_of_riccati"},
    "gains of the wrong sign": {"gains_and_costates_are_those_of_riccati"},
    "detuned": {"linear_quadratic_answers_are_exact", "no_neighbour_is_cheaper", "least_energy_is_the_closed_form",
                "the_value_of_a_linear_problem_is_quadratic", "a_mirror_image_has_the_mirrored_answer"},
    "NaN in the answer": {"answers_fit_their_problem"},
    "counts its calls": {"the_same_call_gives_the_same_bits", "a_batch_is_its_members"},
    "draws from the global generator": {"the_global_random_state_is_untouched"},
    "iterations miscounted": {"the_history_tells_the_solve", "an_iteration_limit_is_kept"},
    "float32": {"reported_cost_is_that_of_the_trajectory", "a_warm_start_takes_one_iteration"},
    "limits ignored": {"a_time_limit_is_kept", "a_callback_can_stop"},
    "guess overwritten": {"inputs_are_left_alone"},
    "bounds ignored": {"controls_stay_within_bounds", "the_wording_of_a_limit_does_not_matter",
                       "box_constrained_answers_are_exact"},
    "targets ignored": {"least_energy_is_the_closed_form"},
    "path ignored": {"success_is_certified"},
    "parameters frozen": {"parameters_are_not_frozen"},
    "hidden regularisation": {"a_cost_in_other_units_has_the_same_controls", "reported_cost_is_that_of_the_trajectory"},
    "Euler called Runge-Kutta": {"success_is_certified"},
}  # fmt: skip


def verdicts(solver: Solver, names: set[str]) -> dict[str, bool]:
    """Whether each of the checks passed."""
    subject = make_subject(solver, None, "fast")
    chosen = [entry for entry in all_checks() if entry.name in names]
    assert {entry.name for entry in chosen} == names
    assert all(entry.concerns(subject) for entry in chosen)
    return {entry.name: run_check(entry, subject, None).passed for entry in chosen}


@pytest.mark.parametrize("fault", KILLERS)
def test_a_fault_is_caught_by_its_checks(fault):
    """Each check named beside a fault fails on it."""
    found = verdicts(Faulty(fault), KILLERS[fault])
    assert not any(found.values()), found


def test_without_a_fault_the_same_checks_pass():
    """The toy itself is sound, or the kills above would say nothing."""
    names = set().union(*KILLERS.values())
    found = verdicts(Faulty(), names)
    assert all(found.values()), found


@final
@dataclass(frozen=True, kw_only=True)
class Sampler(Solver):
    """Random search around the guess with one thing wrong."""

    fault: str = "none"
    samples: int = 16
    iterations: int = 40
    seed: int = 0
    threads: int | None = None
    tolerance: float = 1e-2
    constraint_tolerance: float = 1e-2

    handles: ClassVar[frozenset[Feature]] = CEM.handles
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.MONOTONE})

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        if self.fault == "more samples do worse":
            inner = CEM(samples=max(2, 4096 // self.samples), iterations=self.iterations, seed=self.seed)
        else:
            seed = {"seed ignored": 0, "threads in the seed": self.seed + (self.threads or 0)}.get(
                self.fault, self.seed
            )
            inner = CEM(samples=self.samples, iterations=self.iterations, seed=seed, tolerance=self.tolerance)
        outcome = inner.run(problem, guess, monitor)
        if self.fault == "last instead of best":
            # The plan after the best one, a little worse, with its honest cost.
            worse = outcome.cost + 0.01 * abs(outcome.cost)
            return replace(outcome, cost=worse)
        if self.fault == "noise on the bounds":
            return changed(outcome, u=outcome.trajectory.u + 0.125)
        return outcome


SAMPLING_KILLERS = {
    "seed ignored": {"another_seed_is_another_search"},
    "threads in the seed": {"threads_change_no_bit"},
    "more samples do worse": {"more_samples_do_better"},
    "last instead of best": {"the_best_so_far_is_kept", "a_feasible_guess_is_never_made_worse"},
    "noise on the bounds": {"samples_keep_to_the_bounds"},
}


@pytest.mark.parametrize("fault", SAMPLING_KILLERS)
def test_a_fault_of_a_sampler_is_caught(fault):
    """The same for solvers that draw."""
    found = verdicts(Sampler(fault=fault), SAMPLING_KILLERS[fault])
    assert not any(found.values()), found


def test_a_sound_sampler_passes_them():
    """And the sampler itself is sound."""
    found = verdicts(Sampler(), set().union(*SAMPLING_KILLERS.values()))
    assert all(found.values()), found


def pendulum(sign: float = 1.0) -> Problem:
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + 0.125 * x[1], x[1] + 0.125 * (u[0] - np.sin(x[0]))]), 2, 1),
        stage_cost=lambda x, u: (x[0] - (1.0 - sign)) ** 2 + u @ u,
        initial_state=[1.0, 0.0],
        horizon=to.Horizon(steps=20),
        name="pendulum",
    )


def failed(results: list[Any]) -> set[str]:
    return {result.name for result in results if not result.passed}


def test_faults_of_a_problem_are_caught():
    """A symmetry that does not hold, a wrong optimum, a function that remembers, a trace that froze a global."""
    mirror = [Symmetry([-1.0, -1.0], [-1.0], "mirror")]
    assert not failed(check_problem(pendulum(), symmetries=mirror))
    assert failed(check_problem(pendulum(-1.0), symmetries=mirror)) == {"symmetries_hold"}
    truth = to.solve(pendulum()).certificate.cost
    assert not failed(check_problem(pendulum(), optimum=truth))
    assert failed(check_problem(pendulum(), optimum=1.1 * truth)) == {"the_stated_optimum_is_reached"}
    calls = iter(range(10**6))
    moody = replace(pendulum(), stage_cost=lambda x, u: x @ x + 1e-3 * next(calls))
    assert {"functions_are_pure", "traces_are_the_functions"} <= failed(check_problem(moody))
    world = {"gravity": 1.0}
    frozen = replace(pendulum(), terminal_cost=lambda x: world["gravity"] * (x @ x))
    world["gravity"] = 2.0
    assert {"traces_are_the_functions", "derivatives_are_slopes"} <= failed(check_problem(frozen))


def test_faults_of_dynamics_are_caught():
    """Rows that see their neighbours, hidden random numbers, arguments that are written to, and a file of another."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(5, 2)), rng.normal(size=(5, 1))
    generator = np.random.default_rng(1)

    def of(step: Callable[..., Any]) -> to.BlackBoxDynamics:
        return to.BlackBoxDynamics(step, nx=2, nu=1)

    def sound(x, u):
        return 0.5 * x + u

    assert not failed(check_dynamics(of(sound), x, u, reload=lambda model: model))
    mixed = failed(check_dynamics(of(lambda x, u: 0.5 * x + u + 1e-6 * x.mean()), x, u))
    assert "batches_are_their_rows" in mixed
    random = failed(check_dynamics(of(lambda x, u: 0.5 * x + u + 1e-3 * generator.normal(size=x.shape)), x, u))
    assert {"steps_are_deterministic", "batches_are_their_rows"} <= random
    idle = to.BlackBoxDynamics(lambda x, u, rng: 0.5 * x + u, nx=2, nu=1)
    assert failed(check_dynamics(idle, x, u)) == {"steps_are_deterministic"}
    loaded = of(lambda x, u: 0.5 * x + u + 2.0**-40)
    assert failed(check_dynamics(of(sound), x, u, reload=lambda _: loaded)) == {"a_file_brings_the_model_back"}


def test_every_family_has_two_faults_at_least():
    """Of the families of solvers, each is the killer of two of the faults above or more."""
    families: dict[str, set[str]] = {}
    every = KILLERS | SAMPLING_KILLERS
    for entry in all_checks():
        killed = {fault for fault, names in every.items() if entry.name in names}
        families.setdefault(entry.family, set()).update(killed)
    kernels = families.pop("kernels and models")
    assert len(kernels) >= 1
    assert all(len(faults) >= 2 for faults in families.values()), families


def test_statuses_and_finite_numbers_of_a_crashing_solver():
    """A solver that raises fails with what it raised, and the suite goes on to the end."""

    @dataclass(frozen=True)
    class Crash(Solver):
        handles: ClassVar[frozenset[Feature]] = HANDLES

        def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
            raise ZeroDivisionError("of the toy")

    results = check_solver(Crash())
    assert failed(results)
    assert any("ZeroDivisionError was raised: of the toy" in result.message for result in results)
    assert all(math.isfinite(result.seconds) for result in results)
