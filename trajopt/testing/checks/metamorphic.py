"""How answers of related problems must relate, without anybody knowing either."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from trajopt.constraints import Bounds, PathConstraint, TerminalConstraint
from trajopt.horizon import Horizon
from trajopt.problem import Feature, Problem
from trajopt.solution import Solution
from trajopt.solver import Claim
from trajopt.testing import cases
from trajopt.testing.answers import flat_guess
from trajopt.testing.cases import CURVATURE, FINE, STEP, STEPS
from trajopt.testing.registry import Family, NotApplicable, at_most, check, close, require
from trajopt.testing.subject import Subject
from trajopt.testing.tolerances import EXACT, Rule, Tolerance, rounding, truncation

STATIONARY = [Claim.STATIONARY]


def _same_controls(subject: Subject, expected: Solution, found: Solution, *, factor: float = 1.0) -> None:
    """Controls, times a factor, are those of the other answer; answers on grids of their own have none to compare."""
    if expected.u.shape != found.u.shape:
        return
    allowed = subject.control_tolerance(CURVATURE, expected, found)
    close(factor * found.u, expected.u, allowed, "a control")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def a_cost_in_other_units_has_the_same_controls(subject: Subject) -> None:
    """A cost times eight has the same controls, and eight times the cost."""
    base, scaled = subject.success(subject.base), subject.success(_scaled(subject, 8.0))
    close(scaled.cost / 8.0, base.cost, subject.cost_tolerance(base, scaled), "the cost over its factor")
    _same_controls(subject, base, scaled)


@check(Family.METAMORPHIC, Rule.EXACT, claims=[Claim.SCALE])
def a_power_of_two_changes_no_bit(subject: Subject) -> None:
    """A cost times 2^10 or 2^-10 changes no bit of the controls: no absolute tolerance or weight is hidden anywhere."""
    base = subject.solution(subject.base)
    for factor in (2.0**10, 2.0**-10):
        scaled = subject.solution(_scaled(subject, factor))
        close(scaled.u, base.u, EXACT, f"a control with the cost times {factor:g}")
        close(scaled.cost, factor * base.cost, EXACT, f"the cost times {factor:g}")


def _scaled(subject: Subject, factor: float) -> Problem:
    return subject.plant(
        f"cost times {factor:g}",
        cost=lambda x, u: factor * cases.cost_rate(x, u),
        end=lambda x: factor * cases.end_cost(x),
    )


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def a_constant_in_the_cost_changes_no_control(subject: Subject) -> None:
    """A cost plus four has the same controls, and four more."""
    shifted = subject.success(subject.plant("cost plus four", end=lambda x: cases.end_cost(x) + 4.0))
    base = subject.success(subject.base)
    close(shifted.cost - 4.0, base.cost, subject.cost_tolerance(base, shifted), "the cost less its constant")
    _same_controls(subject, base, shifted)


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def state_coordinates_do_not_matter(subject: Subject) -> None:
    """In other coordinates of the state, x = T z, controls and cost are the same, and costates are T' times the old."""
    T = np.array([[2.0, 0.5], [0.0, 0.25]])
    inverse = np.array([[0.5, -1.0], [0.0, 4.0]])
    rate = cases.linear_rate if subject.linear else cases.rate_of_change
    moved = subject.plant(
        "other coordinates",
        rate=lambda z, u: inverse @ rate(T @ z, u),
        cost=lambda z, u: cases.cost_rate(T @ z, u),
        end=lambda z: cases.end_cost(T @ z),
        initial_state=inverse @ np.array([0.125, -0.25]),
    )
    plain = subject.success(subject.plant("plant", initial_state=(0.125, -0.25)))
    other = subject.success(moved)
    close(other.cost, plain.cost, subject.cost_tolerance(plain, other), "the cost in other coordinates")
    _same_controls(subject, plain, other)
    ours, theirs = (s.multipliers.get("costates") for s in (plain, other))
    if ours is not None and theirs is not None and np.shape(ours) == np.shape(theirs):
        steepness = 4.0 * (1.0 + float(np.abs(ours).max()))
        allowed = steepness * subject.control_tolerance(1.0, plain, other)
        close(theirs, ours @ T, allowed, "a costate in other coordinates")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def control_coordinates_do_not_matter(subject: Subject) -> None:
    """With the torque in other units, u = -4 v, bounds and all, cost and states are the same and v = -u / 4."""
    rate = cases.linear_rate if subject.linear else cases.rate_of_change
    bounds = [Bounds(control=(-0.1875, 0.1875))] if subject.handles(Feature.CONTROL_BOUNDS) else []
    moved = subject.plant(
        "other units of torque",
        rate=lambda x, v: rate(x, -4.0 * v),
        cost=lambda x, v: cases.cost_rate(x, -4.0 * v),
        constraints=bounds,
        limited=False,
    )
    base, other = subject.success(subject.base), subject.success(moved)
    close(other.cost, base.cost, subject.cost_tolerance(base, other), "the cost in other units")
    _same_controls(subject, base, other, factor=-4.0)


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.CONTINUOUS_TIME])
def the_unit_of_time_does_not_matter(subject: Subject) -> None:
    """With time in half seconds, rates and cost rates halved and the horizon doubled, nothing else changes."""
    rate = cases.linear_rate if subject.linear else cases.rate_of_change
    slow = subject.plant(
        "half seconds",
        discrete=False,
        rate=lambda x, u: 0.5 * rate(x, u),
        cost=lambda x, u: 0.5 * cases.cost_rate(x, u),
        horizon=Horizon(2.0 * cases.DURATION, steps=FINE),
    )
    base, other = subject.success(subject.plant("plant", discrete=False)), subject.success(slow)
    close(other.cost, base.cost, subject.cost_tolerance(base, other), "the cost in half seconds")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.CONTINUOUS_TIME])
def the_clock_can_start_anywhere(subject: Subject) -> None:
    """A problem that does not look at the clock has at t = 8 the cost and controls of t = 0."""
    late = subject.plant("late", discrete=False, horizon=Horizon(cases.DURATION, steps=FINE, start=8.0))
    base, other = subject.success(subject.plant("plant", discrete=False)), subject.success(late)
    close(other.cost, base.cost, subject.cost_tolerance(base, other), "the cost at another time")
    if len(base.t) == FINE + 1:
        close(other.t - 8.0, base.t, rounding(4.0, 8.0 + cases.DURATION), "a time less the shift")
        _same_controls(subject, base, other)


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def a_mirror_image_has_the_mirrored_answer(subject: Subject) -> None:
    """The plant is odd in state and torque: from the mirrored start to the mirrored target controls are mirrored."""
    mirrored = subject.plant(
        "mirror image", cost=lambda x, u: cases.cost_rate(-x, -u), end=lambda x: cases.end_cost(-x),
        initial_state=(-0.125, 0.25),
    )  # fmt: skip
    base = subject.success(subject.plant("plant", initial_state=(0.125, -0.25)))
    other = subject.success(mirrored)
    close(other.cost, base.cost, subject.cost_tolerance(base, other), "the cost of the mirror image")
    _same_controls(subject, base, other, factor=-1.0)


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.DISCRETE_TIME])
def the_tail_of_an_optimum_is_optimal(subject: Subject) -> None:
    """Solved again from a state on the way, the rest of the answer comes back (principle of optimality)."""
    whole, first = subject.success(subject.base), 12
    tail = subject.plant("tail", initial_state=whole.x[first], horizon=Horizon(steps=STEPS - first))
    rest = subject.success(tail)
    allowed = subject.control_tolerance(CURVATURE, whole, rest)
    close(rest.u, whole.u[first:], allowed, "a control of the tail")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.CONTROL_BOUNDS])
def tighter_bounds_never_pay(subject: Subject) -> None:
    """The cost does not fall when the bounds on the torque come closer."""
    solutions = []
    for limit in (4.0, 1.0, 0.75, 0.5):
        bounds = [Bounds(control=(-limit, limit))]
        solutions.append(subject.success(subject.plant(f"torque {limit}", limited=False, constraints=bounds)))
    for looser, tighter in itertools.pairwise(solutions):
        at_most(looser.cost, tighter.cost, subject.cost_tolerance(looser, tighter), "the cost with looser bounds")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.PATH_CONSTRAINTS])
def a_row_without_effect_has_no_effect(subject: Subject) -> None:
    """A path constraint that the answer keeps with room to spare changes neither cost nor controls."""
    idle = [PathConstraint(lambda x, u: x @ x, upper=100.0)]
    base, other = subject.success(subject.base), subject.success(subject.plant("idle row", constraints=idle))
    close(other.cost, base.cost, subject.cost_tolerance(base, other), "the cost beside an idle row")
    _same_controls(subject, base, other)


@check(
    Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.STATE_BOUNDS, Feature.PATH_CONSTRAINTS]
)
def the_wording_of_a_limit_does_not_matter(subject: Subject) -> None:
    """A limit on the rate as a bound, as a path constraint, and as both has one optimum."""
    bound = Bounds(state=(None, [None, 0.5]))
    row = PathConstraint(lambda x, u: x[1], upper=0.5)
    ways = {"bound": [bound], "row": [row], "both": [bound, row]}
    found = {word: subject.success(subject.plant(word, constraints=ways[word])) for word in ways}
    require(found["bound"].x[:, 1].max() > 0.499, "the limit on the rate is not active, or is kept with room to spare")
    for word in ("row", "both"):
        allowed = subject.cost_tolerance(found["bound"], found[word])
        close(found[word].cost, found["bound"].cost, allowed, f"the cost of the limit as {word}")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.TERMINAL_CONSTRAINTS])
def the_wording_of_a_target_does_not_matter(subject: Subject) -> None:
    """A target as numbers, as a function between equal limits, and with its sign turned has one optimum."""
    ways = [TerminalConstraint([0.75, None]), TerminalConstraint(lambda x: x[0], lower=0.75, upper=0.75),
            TerminalConstraint(lambda x: 0.75 - x[0])]  # fmt: skip
    found = [subject.success(subject.plant(f"target {k}", constraints=[way])) for k, way in enumerate(ways)]
    for other in found[1:]:
        close(other.cost, found[0].cost, subject.cost_tolerance(found[0], other), "the cost of another wording")


@check(Family.METAMORPHIC, Rule.TRUNCATION, claims=STATIONARY, features=[Feature.DISCRETE_TIME])
def costates_are_slopes_of_the_optimal_cost(subject: Subject) -> None:
    """Central differences of solves from neighbouring states are the first costate, the solver's and the core's."""
    start, h = np.array([0.125, 0.0]), 2.0**-7
    solution = subject.success(subject.plant("plant", initial_state=start))
    slopes, decrement = [], 0.0
    for step in h * np.eye(2):
        ends = [subject.success(subject.base.at(initial_state=start + sign * step)) for sign in (1.0, -1.0)]
        slopes.append((ends[0].cost - ends[1].cost) / (2.0 * h))
        decrement = max(decrement, *(subject.decrement(end) for end in ends))
    # The third derivative of the cost is of the size of its terms; two decrements over 2h.
    size = 1.0 + abs(solution.cost) + float(np.abs(solution.certificate.costates).max())
    allowed = truncation(size, order=2, step=h) + (1.0 / h) * subject.cost_tolerance(solution)
    close(solution.certificate.costates[0], slopes, allowed, "the core's costate")
    found = solution.multipliers.get("costates")
    if found is not None:
        close(found[0], slopes, allowed, "the solver's costate")


@check(Family.METAMORPHIC, Rule.TRUNCATION, claims=STATIONARY, features=[Feature.TERMINAL_CONSTRAINTS])
def multipliers_of_a_target_are_slopes_of_the_cost(subject: Subject) -> None:
    """Central differences of solves to neighbouring targets are minus the target's multipliers, if it gives any."""
    h = 2.0**-7

    def reach(target: np.ndarray) -> Solution:
        rows = [TerminalConstraint(target.tolist())]
        return subject.success(subject.plant(f"target {target}", limited=False, end=None, constraints=rows))

    target = np.array([0.75, 0.125])
    solution = reach(target)
    given = [values for name in ("terminal", "end") if (values := solution.multipliers.get(name)) is not None]
    if not given or np.shape(given[0]) != (2,):
        raise NotApplicable("it gives no multipliers of the target")
    ends = [[reach(target + sign * step) for sign in (1.0, -1.0)] for step in h * np.eye(2)]
    slopes = [(above.cost - below.cost) / (2.0 * h) for above, below in ends]
    # As for costates: a third derivative of the size of the cost's terms, and two decrements over 2h.
    size = 1.0 + abs(solution.cost) + float(np.abs(solution.certificate.costates).max())
    allowed = truncation(size, order=2, step=h) + (1.0 / h) * subject.cost_tolerance(solution)
    close(-given[0], slopes, allowed, "minus a multiplier of the target")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.DISCRETE_TIME])
def longer_horizons_cost_more(subject: Subject) -> None:
    """Where stages cost something and the end nothing, the optimal cost grows with the number of stages."""
    solutions = [subject.success(subject.plant(f"{n} steps", end=None, horizon=Horizon(steps=n))) for n in (8, 15, 30)]
    for shorter, longer in itertools.pairwise(solutions):
        at_most(shorter.cost, longer.cost, subject.cost_tolerance(shorter, longer), "the cost of fewer steps")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def the_value_of_a_linear_problem_is_quadratic(subject: Subject) -> None:
    """Linear-quadratic about the origin, four times the cost from twice the state, and twice the controls."""
    values = []
    for factor in (1.0, 2.0):
        problem = subject.plant(
            f"start times {factor:g}", limited=False, rate=cases.linear_rate, initial_state=(factor, 0.25 * factor),
            cost=lambda x, u: x[0] ** 2 + 0.25 * x[1] ** 2 + cases.TORQUE_WEIGHT * u[0] ** 2,
            end=lambda x: x @ x + 2.0 * x[0] * x[1],
        )  # fmt: skip
        values.append(subject.success(problem))
    one, two = values
    close(two.cost / 4.0, one.cost, subject.cost_tolerance(one, two), "a quarter of the cost from twice the state")
    _same_controls(subject, two, one, factor=2.0)


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def its_own_answer_as_guess_is_confirmed(subject: Subject) -> None:
    """From its own answer the solver comes back to it, and does not drift when that is repeated."""
    first = subject.success(subject.base)
    again = first
    for _ in range(3):
        again = subject.solve(subject.base, guess=again)
        require(again.success, f"from its own answer it ends with the status {again.status}")
    close(again.cost, first.cost, subject.cost_tolerance(first, again), "the cost from its own answer")
    _same_controls(subject, first, again)


@check(Family.METAMORPHIC, Rule.EXACT, claims=[Claim.WARM_START])
def a_warm_start_takes_one_iteration(subject: Subject) -> None:
    """From its own answer at most one iteration is taken."""
    first = subject.success(subject.base)
    again = subject.solve(subject.base, guess=first)
    at_most(again.iterations, 1.0, EXACT, "the number of iterations from its own answer")


@check(Family.METAMORPHIC, Rule.EXACT, claims=[Claim.MONOTONE])
def a_feasible_guess_is_never_made_worse(subject: Subject) -> None:
    """However early the solve is stopped, the answer costs no more than a feasible guess, here its own best plan."""
    guess = subject.solution(subject.base)
    # In discrete time the core's own sum is exact, and no solver can talk its guess up.
    limit = guess.certificate.cost if subject.clock is Feature.DISCRETE_TIME else guess.cost
    for stop_at in (0, 1, 2, None):

        def stop(record: Any, number: int | None = stop_at) -> bool:
            return number is not None and record.number >= number

        found = subject.solve(subject.base, guess=guess, callback=stop)
        at_most(found.cost, limit, _replayed(guess), "the cost from its own answer")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def the_guess_does_not_matter_here(subject: Subject) -> None:
    """The plant has one optimum nearby: from a flat guess with a constant torque it is found as well."""
    base = subject.success(subject.base)
    other = subject.solve(subject.base, guess=flat_guess(subject.base, 0.5))
    require(other.success, f"from another guess it ends with the status {other.status}")
    close(other.cost, base.cost, subject.cost_tolerance(base, other), "the cost from another guess")
    _same_controls(subject, base, other)


def _replayed(solution: Solution) -> Tolerance:
    """Rounding of a cost that is summed again along the horizon."""
    return rounding(64.0 * STEPS, 1.0 + abs(solution.cost))


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY, features=[Feature.DISCRETE_TIME])
def no_neighbour_is_cheaper(subject: Subject) -> None:
    """No random feasible change of the controls, large or small, costs less than the answer by the user's functions."""
    solution = subject.success(subject.base)
    problem = subject.base
    generator = np.random.default_rng(0)
    lower, upper = problem.control_bounds
    allowed = subject.cost_tolerance(solution) + _replayed(solution)
    for scale in 2.0 ** -np.arange(0, 16, 2):
        for _ in range(4):
            u = np.clip(solution.u + scale * generator.normal(size=solution.u.shape), lower, upper)
            cost, x = 0.0, np.array(problem.initial_values)
            for k in range(STEPS):
                cost += float(problem.stage_cost(x, u[k]))  # type: ignore[misc]
                x = np.asarray(problem.dynamics.function.function(x, u[k]), float)  # type: ignore[attr-defined]
            cost += float(problem.terminal_cost(x))  # type: ignore[misc]
            at_most(solution.cost, cost, allowed, f"the cost beside one of {scale:g} away")


@check(Family.METAMORPHIC, Rule.OPTIMALITY, claims=STATIONARY)
def half_the_step_is_the_same_plant(subject: Subject) -> None:
    """With twice the steps the cost of the continuous plant moves by no more than the grid explains: order two."""
    if not subject.handles(Feature.CONTINUOUS_TIME):
        raise NotApplicable("it handles discrete time alone")
    costs = []
    for steps in (15, 30, 60):
        span = Horizon(cases.DURATION, steps=steps)
        costs.append(subject.success(subject.plant(f"{steps} steps", discrete=False, limited=False, horizon=span)))
    coarse, fine = abs(costs[0].cost - costs[1].cost), abs(costs[1].cost - costs[2].cost)
    # Held controls and trapezoids are of order two; whoever is better is below this line as well.
    allowed = subject.cost_tolerance(*costs) + truncation(costs[2].cost, order=4, step=STEP)
    at_most(fine, 2.0 ** -(2.0 - 0.2) * coarse, allowed, "the change of the cost from 30 to 60 steps")
