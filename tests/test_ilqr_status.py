"""How a solve by iLQR or DDP ends: limits, interruptions, numbers that are not finite, and misuse."""

from __future__ import annotations

import numpy as np
import pytest
from ilqr_cases import cartpole, edge, held, pendulum

import trajopt as to
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.solvers import DDP, ILQR
from trajopt.status import Status

BOTH = pytest.mark.parametrize("solver", [ILQR(), DDP()], ids=["ilqr", "ddp"])


@BOTH
def test_steps_into_nan_are_rejected_and_the_answer_is_finite(solver):
    """From far away the first full step leads beyond the edge; the search comes back to the optimum before it."""
    problem = edge(0.9)
    solution = to.solve(problem, solver, guess=held(problem, np.full((10, 1), -30.0)))
    near = to.solve(problem, solver, guess=held(problem, np.full((10, 1), 1.0)))
    assert solution.history[1].step < 1.0
    assert solution.success
    assert np.isfinite(solution.x).all()
    assert solution.cost == pytest.approx(near.cost, abs=2.0 * solver.tolerance * (1.0 + near.cost))


@BOTH
def test_an_optimum_behind_nan_is_never_a_success(solver):
    """The cost falls until the edge, where no derivative vanishes: finite states, no success."""
    problem = edge(2.0)
    solution = to.solve(problem, solver, guess=held(problem, np.zeros((10, 1))))
    assert not solution.success
    assert solution.status in (Status.STALLED, Status.ITERATION_LIMIT)
    assert np.isfinite(solution.x).all()
    assert np.isfinite(solution.cost)
    assert solution.cost < solution.history[0].cost
    assert np.all(solution.x[:-1] <= 1.0)  # the dynamics are not evaluated at the end


@BOTH
def test_a_guess_that_is_not_finite_is_named(solver):
    """Where states and the rollout of the controls both meet NaN, a numerical failure says what to give instead."""
    problem = edge(2.0)
    solution = to.solve(problem, solver, guess=held(problem, np.full((10, 1), 3.0), np.full((11, 1), 2.0)))
    assert solution.status is Status.NUMERICAL_FAILURE
    assert "guess" in solution.message
    assert solution.iterations == 0


@BOTH
def test_iteration_limit_keeps_the_best_so_far(solver):
    """Two iterations are done, counted and recorded, and the cost is that of the trajectory returned."""
    limited = type(solver)(iterations=2)
    solution = to.solve(cartpole(), limited)
    assert solution.status is Status.ITERATION_LIMIT
    assert solution.iterations == 2
    assert len(solution.history) == 3
    assert solution.cost == solution.history[-1].cost < solution.history[0].cost


def test_time_limit_stops_after_at_most_one_iteration():
    """The status says so; the trajectory is there."""
    solution = to.solve(cartpole(), ILQR(), max_time=1e-9)
    assert solution.status is Status.TIME_LIMIT
    assert solution.iterations <= 1
    assert np.isfinite(solution.x).all()


def test_a_callback_stops_the_solve():
    """Iteration 3 is the last, and what it reached is returned."""
    solution = to.solve(cartpole(), ILQR(), callback=lambda iteration: iteration.number == 3)
    same = to.solve(cartpole(), ILQR(iterations=3))
    assert solution.status is Status.STOPPED
    np.testing.assert_array_equal(solution.u, same.u)


def test_an_interrupt_returns_what_was_reached():
    """Control-C in the third iteration gives its trajectory, not an exception."""

    def interrupt(iteration):
        if iteration.number == 3:
            raise KeyboardInterrupt

    solution = to.solve(cartpole(), ILQR(), callback=interrupt)
    same = to.solve(cartpole(), ILQR(iterations=3))
    assert solution.status is Status.INTERRUPTED
    np.testing.assert_array_equal(solution.u, same.u)


@BOTH
def test_control_bounds_hold_exactly(solver):
    """No control leaves the box by a single bit, and some rest on it."""
    solution = to.solve(cartpole(), solver)
    assert solution.success
    assert np.abs(solution.u).max() == 8.0
    assert np.sum(np.abs(solution.u) == 8.0) > 1


def variant(**changes):
    """An integrator with a feature that shooting with fixed data cannot have."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        **(
            {"initial_state": [0.0], "horizon": to.Horizon(1.0, steps=4), "stage_cost": lambda x, u: u[0] ** 2}
            | changes
        ),
    )


@BOTH
@pytest.mark.parametrize(
    ("feature", "changes"),
    [
        ("free duration", {"horizon": to.Horizon(to.Free(1.0, 2.0), steps=4)}),
        ("free start", {"horizon": to.Horizon(1.0, steps=4, start=to.Free(0.0, 1.0))}),
        ("free initial state", {"initial_state": [None]}),
        ("free parameters", {"parameters": {"mass": to.Free(1.0, 2.0)}}),
        ("boundary constraints", {"constraints": [to.BoundaryConstraint(lambda x0, xf: xf - x0)]}),
        ("integral constraints", {"constraints": [to.IntegralConstraint(lambda x, u: u[0], 0.0, 1.0)]}),
    ],
)
def test_features_it_lacks_are_refused_by_name(solver, feature, changes):
    """Nothing is dropped silently."""
    with pytest.raises(UnsupportedProblem, match=feature):
        to.solve(variant(**changes), solver)


@pytest.mark.parametrize("kind", [ILQR, DDP])
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("integrator", "rk45"), ("tolerance", 0.0), ("tolerance", float("nan")), ("constraint_tolerance", -1.0),
        ("iterations", 0), ("penalty_growth", 1.0), ("largest_penalty", 0.0), ("shortest_step", 0.0),
    ],
)  # fmt: skip
def test_bad_settings_get_a_sentence(kind, setting, value):
    """What was given, by name, and what was expected, at construction."""
    with pytest.raises(InvalidProblem, match=rf"{setting}=.*was given, but .* was expected"):
        kind(**{setting: value})


def test_inputs_stay_as_they_were():
    """Guess arrays, also read-only ones, are not written to."""
    t, x, u = held(pendulum(), np.ones((30, 1)))
    for array in (t, x, u):
        array.flags.writeable = False
    to.solve(pendulum(), ILQR(), guess=(t, x, u))
    np.testing.assert_array_equal(u, np.ones((30, 1)))
