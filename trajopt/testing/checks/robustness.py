"""What a caller relies on: purity, determinism, limits, refusals, odd sizes, and numbers that are not finite."""

from __future__ import annotations

import pickle
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from trajopt.batch import solve_batch
from trajopt.dynamics import ContinuousDynamics, DiscreteDynamics
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.horizon import Horizon
from trajopt.problem import Feature, Problem
from trajopt.solution import Solution
from trajopt.solve import solve
from trajopt.solver import Claim
from trajopt.status import Status
from trajopt.testing import cases
from trajopt.testing.answers import fingerprint, flat_guess
from trajopt.testing.registry import Family, NotApplicable, at_most, check, close, require
from trajopt.testing.subject import Subject
from trajopt.testing.tolerances import Rule, optimality
from trajopt.trajectory import Interpolation, Trajectory


@check(Family.ROBUSTNESS, Rule.EXACT)
def what_it_claims_to_handle_it_solves(subject: Subject) -> None:
    """For every feature that it handles, the suite has a problem with it that the solver does not refuse."""
    taken: set[Feature] = set()
    for problem in {id(p): p for clock in Feature for p in subject.problems(frozenset({clock}) & _CLOCKS)}.values():
        try:
            subject.solution(problem)
        except NotApplicable:
            continue
        taken |= problem.features
    shown = {f for p in (*cases.standard_problems(False), *cases.standard_problems(True)) for f in p.features}
    missing = (subject.solver.handles & shown) - taken
    require(not missing, f"it refuses every problem with {', '.join(sorted(missing))}, which it claims to handle")


_CLOCKS = frozenset({Feature.CONTINUOUS_TIME, Feature.DISCRETE_TIME})


@check(Family.ROBUSTNESS, Rule.EXACT)
def what_it_does_not_handle_it_refuses(subject: Subject) -> None:
    """A problem with a feature that it does not handle raises UnsupportedProblem, and the message names the feature."""
    for problem in (*cases.standard_problems(False), *cases.standard_problems(True)):
        missing = subject.solver.missing(problem.features)
        if not missing:
            continue
        try:
            solve(problem, subject.solver)
        except UnsupportedProblem as refusal:
            named = [feature for feature in missing if str(feature) in str(refusal)]
            require(named, f"the refusal of {problem.name!r} names none of {', '.join(missing)}: {refusal}")
        else:
            require(False, f"it took {problem.name!r}, which has {', '.join(missing)}")


@check(Family.ROBUSTNESS, Rule.EXACT)
def settings_are_a_frozen_record(subject: Subject) -> None:
    """The solver is a frozen dataclass: equal copies, no assignment, a pickle that comes back, a text that names it."""
    solver = subject.solver
    require(is_dataclass(solver), "it is no dataclass")
    require(type(solver).__name__ in str(solver), f"its text is {solver}")
    kind = type(solver)
    if getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind:  # else no pickle could find it again
        again = pickle.loads(pickle.dumps(solver))
        require(str(again) == str(solver) and type(again) is kind, f"a pickle of {solver} came back as {again}")
    for setting in fields(solver):  # type: ignore[arg-type]
        try:
            setattr(solver, setting.name, getattr(solver, setting.name))
        except FrozenInstanceError:
            continue
        require(False, f"its setting {setting.name!r} can be assigned")


@check(Family.ROBUSTNESS, Rule.EXACT)
def the_same_call_gives_the_same_bits(subject: Subject) -> None:
    """Solving A, then another problem, then A again gives every bit of the first answer."""
    first = fingerprint(subject.solve(subject.base))
    subject.solve(subject.plant("other", initial_state=(0.5, 0.25)))
    require(fingerprint(subject.solve(subject.base)) == first, "the second answer differs from the first")


@check(Family.ROBUSTNESS, Rule.EXACT)
def a_failed_solve_leaves_no_trace(subject: Subject) -> None:
    """After a solve that was stopped in the middle, the next answer has the bits of one without it."""
    first = fingerprint(subject.solve(subject.base))
    subject.solve(subject.base, callback=lambda _: True)
    require(fingerprint(subject.solve(subject.base)) == first, "the answer after a stopped solve differs")


@check(Family.ROBUSTNESS, Rule.EXACT)
def threads_do_not_meet(subject: Subject) -> None:
    """Solves of different problems at the same time give the bits that each gives alone."""
    problems = [subject.plant(f"start {k}", initial_state=(0.125 * k, 0.0)) for k in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = [fingerprint(solution) for solution in pool.map(subject.solve, problems)]
    require(together == [fingerprint(subject.solve(p)) for p in problems], "solves at the same time changed an answer")


@check(Family.ROBUSTNESS, Rule.EXACT)
def the_global_random_state_is_untouched(subject: Subject) -> None:
    """Neither NumPy's global generator nor Python's moves."""
    before = random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002 - that is the one that is watched
    subject.solve(subject.base)
    after = random.getstate(), pickle.dumps(np.random.get_state())  # noqa: NPY002
    require(before == after, "a global generator was used")


@check(Family.ROBUSTNESS, Rule.EXACT)
def inputs_are_left_alone(subject: Subject) -> None:
    """Neither the guess nor the problem's own arrays are written to."""
    guess = flat_guess(subject.base)
    before = [part.copy() for part in guess], subject.base.initial_values.copy()
    for part in guess:
        part.flags.writeable = False
    subject.solve(subject.base, guess=guess)
    t, x, u = (np.array(part) for part in guess)
    subject.solve(subject.base, guess=Trajectory(t, x, u, Interpolation.HOLD))
    same = all(np.array_equal(a, b) for a, b in zip(before[0], (t, x, u), strict=True))
    require(same, "the guess was written to")
    require(np.array_equal(before[1], subject.base.initial_values), "the initial state was written to")


@check(Family.ROBUSTNESS, Rule.EXACT)
def the_form_of_a_guess_does_not_matter(subject: Subject) -> None:
    """Lists, single precision and strided views of a guess give the bits of plain arrays."""
    t, x, u = flat_guess(subject.base)
    wide = np.zeros((len(x), 2 * subject.base.nx))
    wide[:, ::2] = x
    forms = [(t.tolist(), x.tolist(), u.tolist()), (t, wide[:, ::2], np.asfortranarray(u)),
             (t, x.astype(np.float32), u.astype(np.float32))]  # fmt: skip
    expected = fingerprint(subject.solve(subject.base, guess=(t, x, u)))
    for form in forms:
        require(fingerprint(subject.solve(subject.base, guess=form)) == expected, "another form changed the answer")


@check(Family.ROBUSTNESS, Rule.EXACT)
def malformed_guesses_are_refused(subject: Subject) -> None:
    """A guess of the wrong size or with a NaN raises InvalidProblem before the first iteration."""
    t, x, u = flat_guess(subject.base)
    for bad in ((t, x[:, :1], u), (t, x, u[:-1]), (t[::-1], x, u), (t, x, np.full_like(u, np.nan))):
        try:
            solve(subject.base, subject.solver, guess=bad)
        except InvalidProblem:
            continue
        require(False, "a malformed guess was taken")


@check(Family.ROBUSTNESS, Rule.EXACT)
def a_callback_can_stop(subject: Subject) -> None:
    """A callback that says stop at the first record ends the solve there with the status stopped, an answer in hand."""
    records: list[Any] = []
    solution = subject.solve(subject.base, callback=lambda record: records.append(record) or True)
    require(len(records) == 1, f"the callback was called {len(records)} times after it said stop")
    require(solution.status is Status.STOPPED, f"the status is {solution.status}")
    require(np.isfinite(solution.x).all() and np.isfinite(solution.u).all(), "the answer is not finite")


@check(Family.ROBUSTNESS, Rule.EXACT)
def an_interrupt_returns_the_best_so_far(subject: Subject) -> None:
    """Ctrl-C in the middle ends with the status interrupted and a finite answer, without an exception."""

    def interrupt(record: Any) -> None:
        if record.number == 1:
            raise KeyboardInterrupt

    solution = subject.solve(subject.base, callback=interrupt)
    if len(solution.history) < 2:
        raise NotApplicable("it has no second record in which to be interrupted")
    require(solution.status is Status.INTERRUPTED, f"the status is {solution.status}")
    require(np.isfinite(solution.x).all() and np.isfinite(solution.u).all(), "the answer is not finite")


@check(Family.ROBUSTNESS, Rule.EXACT)
def a_time_limit_is_kept(subject: Subject) -> None:
    """With a nanosecond to go the solve ends at its next record with the status time limit."""
    full = subject.solution(subject.base)
    solution = subject.solve(subject.base, max_time=1e-9)
    limited = solution.status is Status.TIME_LIMIT
    require(limited, f"the status is {solution.status} after {len(solution.history)} records and no time at all")
    at_most(float(len(solution.history)), min(2.0, len(full.history)), optimality(0.0), "the number of records")


@check(Family.ROBUSTNESS, Rule.EXACT, settings=["iterations"])
def an_iteration_limit_is_kept(subject: Subject) -> None:
    """With a limit of two iterations at most two are reported, and no more records than those and the guess."""
    solution = subject.solve(subject.base, solver=subject.with_settings(iterations=2))
    require(solution.iterations <= 2, f"{solution.iterations} iterations were taken")


def _wall(x: Any, u: Any) -> Any:
    """A root that is not real beyond an angle of 0.75, on the way to the best angle of 1; the torque reaches it."""
    return np.array([x[1], u[0] - 0.125 * np.sqrt(0.75 - x[0])])


@check(Family.ROBUSTNESS, Rule.EXACT)
def a_number_that_is_not_finite_never_wins(subject: Subject) -> None:
    """Dynamics that become NaN on the way to the target never end in a success, or in an answer, with a NaN in it."""
    if subject.linear:
        raise NotApplicable("it takes linear dynamics alone")
    problem = subject.plant("wall", rate=_wall)
    solution = subject.solve(problem)
    require(np.isfinite(solution.x).all() and np.isfinite(solution.u).all(), "states or controls are not finite")
    if solution.success:
        require(np.isfinite(solution.cost), f"a success costs {solution.cost}")
        # No step begins in the last state, which may lie anywhere.
        require(float(solution.x[:-1, 0].max()) <= 0.75, "a success passes through the region without dynamics")


@check(Family.ROBUSTNESS, Rule.EXACT)
def a_guess_without_a_cost_is_survived(subject: Subject) -> None:
    """From a guess at which the dynamics are not finite the solve returns, finite or with a status that says so."""
    if subject.linear:
        raise NotApplicable("it takes linear dynamics alone")
    problem = subject.plant("wall", rate=_wall)
    t, x, u = flat_guess(problem)
    solution = subject.solve(problem, guess=(t, x + 2.0 * (np.arange(len(t)) > 4)[:, None], u))
    if solution.success:
        finite = np.isfinite(solution.x).all() and np.isfinite(solution.u).all() and np.isfinite(solution.cost)
        require(finite, "a success is not finite")


@check(Family.ROBUSTNESS, Rule.OPTIMALITY)
def small_problems_are_solved(subject: Subject) -> None:
    """One state, one control, one step: (x + u)^2 + u^2 from x = 1, whose minimum is 1/2 at u = -1/2."""
    clock = subject.clock is Feature.DISCRETE_TIME
    dynamics = (DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1) if clock
                else ContinuousDynamics(lambda x, u: u + 0.0 * x, nx=1, nu=1))  # fmt: skip
    problem = Problem(dynamics, lambda x, u: u[0] ** 2, lambda x: x[0] ** 2, initial_state=[1.0], name="one step",
                      horizon=Horizon(steps=1) if clock else Horizon(1.0, steps=1))  # fmt: skip
    solution = subject.solve(problem)
    require(np.isfinite(solution.cost), "the cost is not finite")
    if subject.claims(Claim.STATIONARY):
        require(solution.success, f"it ends with the status {solution.status}")
        close(solution.cost, 0.5, subject.cost_tolerance(solution), "the cost")


@check(Family.ROBUSTNESS, Rule.OPTIMALITY, claims=[Claim.STATIONARY])
def steps_that_overshoot_are_held_back(subject: Subject) -> None:
    """From x = 4, sqrt(1 + (x + u)^2) + u^2 / 1024 is minimised, on which plain Newton steps jump between +-512."""
    if subject.linear:
        raise NotApplicable("it takes quadratic costs alone")
    weight, start = 2.0**-10, 4.0
    clock = subject.clock is Feature.DISCRETE_TIME
    dynamics = (DiscreteDynamics(lambda x, u: x + u, nx=1, nu=1) if clock
                else ContinuousDynamics(lambda x, u: u + 0.0 * x, nx=1, nu=1))  # fmt: skip
    problem = Problem(dynamics, lambda x, u: weight * u[0] ** 2, lambda x: np.sqrt(1.0 + x[0] ** 2),
                      initial_state=[start], name="overshoot",
                      horizon=Horizon(steps=1) if clock else Horizon(1.0, steps=1))  # fmt: skip
    low, high = -start, 0.0  # of the control; the slope is -0.008 and 0.97 there, and rises
    for _ in range(100):
        middle = 0.5 * (low + high)
        x = start + middle
        slope = x / np.sqrt(1.0 + x**2) + 2.0 * weight * middle
        low, high = (middle, high) if slope < 0.0 else (low, middle)
    least = float(np.sqrt(1.0 + (start + low) ** 2) + weight * low**2)
    solution = subject.success_or_fail(problem, guess=flat_guess(problem, 0.0))
    close(solution.cost, least, subject.cost_tolerance(solution), "the cost")


@check(Family.ROBUSTNESS, Rule.EXACT)
def failures_are_raised_on_request_alone(subject: Subject) -> None:
    """With raise_on_failure a solve that was stopped raises SolveFailed, which carries the answer."""
    from trajopt.errors import SolveFailed  # noqa: PLC0415 - beside its one use

    try:
        subject.solve(subject.base, callback=lambda _: True, raise_on_failure=True)
    except SolveFailed as failure:
        require(isinstance(failure.solution, Solution), "the exception carries no solution")
    else:
        require(False, "nothing was raised")


@check(Family.ROBUSTNESS, Rule.EXACT, each=True)
def answers_survive_a_file(subject: Subject, problem: Problem) -> None:
    """A saved answer comes back with every bit, its status, its history and its multipliers."""
    solution = subject.solution(problem)
    with tempfile.TemporaryDirectory() as folder:
        again = Solution.load(solution.save(Path(folder) / "answer.npz"), problem)
    require(fingerprint(again) == fingerprint(solution), "numbers changed in the file")
    same = (again.status, again.iterations, again.solver) == (solution.status, solution.iterations, solution.solver)
    require(same, "status, iterations or solver changed in the file")
    require(len(again.history) == len(solution.history), "the history changed in the file")
    require(set(again.multipliers) == set(solution.multipliers), "multipliers were lost in the file")


@check(Family.ROBUSTNESS, Rule.EXACT)
def a_batch_is_its_members(subject: Subject) -> None:
    """Each answer of solve_batch has the bits of the solve alone, whatever the order and the number of threads."""
    starts = [[0.0, 0.0], [0.25, -0.125], [0.125, 0.25]]
    problem = subject.base
    alone = [fingerprint(subject.solve(problem.at(initial_state=start))) for start in starts]
    try:
        together = solve_batch(problem, subject.solver, initial_states=starts, threads=2)
        backwards = solve_batch(problem, subject.solver, initial_states=starts[::-1], threads=1)
    except UnsupportedProblem as refusal:
        raise NotApplicable(str(refusal)) from refusal
    require([fingerprint(s) for s in together] == alone, "an answer depends on its neighbours")
    require([fingerprint(s) for s in backwards[::-1]] == alone, "an answer depends on the order")


@check(Family.ROBUSTNESS, Rule.EXACT)
def new_numbers_are_a_new_problem(subject: Subject) -> None:
    """A variant by Problem.at, which shares what was compiled, has the bits of the problem made afresh."""
    start = (0.25, -0.125)
    shared = subject.solve(subject.base.at(initial_state=start))
    fresh = subject.solve(replace(subject.base, initial_state=start))
    require(fingerprint(shared) == fingerprint(fresh), "a variant of the problem differs from the same made afresh")


@check(Family.ROBUSTNESS, Rule.EXACT)
def the_wall_clock_is_honest(subject: Subject) -> None:
    """The seconds that an answer reports are those that passed."""
    begin = time.perf_counter()
    solution = subject.solve(subject.base)
    passed = time.perf_counter() - begin
    require(0.0 <= solution.seconds <= passed, f"{solution.seconds} seconds are reported, but {passed} passed")
