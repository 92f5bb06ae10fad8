"""The language: what a problem is, and what bad input gets."""

from __future__ import annotations

import copy
import dataclasses

import casadi as ca
import numpy as np
import pytest

import trajopt as to
from trajopt.problem import Feature


def oscillator(x, u):
    return np.array([x[1], u[0] - x[0]])


def make(**changes):
    settings = {
        "dynamics": to.ContinuousDynamics(oscillator, nx=2, nu=1),
        "stage_cost": lambda x, u: x @ x + u[0] ** 2,
        "initial_state": [1.0, 0.0],
        "horizon": to.Horizon(2.0, steps=10),
    }
    return to.Problem(**(settings | changes))


BAD_INPUT = {
    "a dynamics function of the wrong length": (
        lambda: make(dynamics=to.ContinuousDynamics(lambda x, u: np.array([x[1]]), nx=2, nu=1)),
        ["returned shape (1,)", "2 numbers were expected", "x0, x1"],
    ),
    "a branch on a symbolic value": (
        lambda: make(dynamics=to.ContinuousDynamics(lambda x, u: [x[1], u[0] if x[0] > 0 else 0.0], nx=2, nu=1)),
        ["np.where", "test_language_problem.py"],
    ),
    "a NaN at the initial state": (
        lambda: make(
            dynamics=to.ContinuousDynamics(lambda x, u: np.array([x[1], np.sqrt(x[0])]), states=["p", "v"], nu=1),
            initial_state=[-1.0, 0.0],
        ),
        ["nan", "initial state", "first bad entry: v"],
    ),
    "sizes that disagree": (
        lambda: to.ContinuousDynamics(oscillator, nx=3, states=["a", "b"], nu=1),
        ["nx=3 and 2 names", "leave nx out"],
    ),
    "neither size nor names": (lambda: to.ContinuousDynamics(oscillator, nx=2), ["neither nu nor controls"]),
    "an initial state of the wrong length": (
        lambda: make(initial_state=[1.0]),
        ["1 entries", "2 were expected", "x0, x1"],
    ),
    "an initial state that is NaN": (lambda: make(initial_state=[np.nan, 0.0]), ["finite", "None"]),
    "lower above upper": (
        lambda: make(constraints=[to.Bounds(control=(1.0, -1.0))]),
        ["lower=1 and upper=-1", "lower <= upper"],
    ),
    "bounds that exclude each other": (
        lambda: make(constraints=[to.Bounds(control=(0, 1)), to.Bounds(control=(2, 3))]),
        ["intersection", "lower=2 and upper=1"],
    ),
    "an initial state outside its bounds": (
        lambda: make(constraints=[to.Bounds(state=([-0.5, None], [0.5, None]))]),
        ["x0=1", "[-0.5, 0.5]"],
    ),
    "bounds of the wrong length": (
        lambda: make(constraints=[to.Bounds(state=([0, 0, 0], 1.0))]),
        ["lower state bound", "2 entries"],
    ),
    "zero steps": (lambda: to.Horizon(1.0, steps=0), ["steps=0", "positive whole number"]),
    "negative steps": (lambda: to.Horizon(1.0, steps=-3), ["steps=-3"]),
    "half a step": (lambda: to.Horizon(1.0, steps=2.5), ["steps=2.5"]),
    "a negative duration": (lambda: to.Horizon(-1.0, steps=5), ["duration=-1.0", "positive"]),
    "continuous dynamics without a duration": (lambda: make(horizon=to.Horizon(steps=5)), ["without duration"]),
    "discrete dynamics with a duration": (
        lambda: make(dynamics=to.DiscreteDynamics(oscillator, nx=2, nu=1)),
        ["number of steps alone", "Horizon(steps=100)"],
    ),
    "crossed free bounds": (lambda: to.Free(2.0, 1.0), ["Free(2.0, 1.0)", "lower <= upper"]),
    "a guess outside its free bounds": (lambda: to.Free(0.0, 1.0, guess=2.0), ["guess=2.0", "between the bounds"]),
    "a cost that is a vector": (lambda: make(stage_cost=lambda x, u: x), ["stage_cost", "one number"]),
    "a function of too few arguments": (lambda: make(stage_cost=lambda x: x[0]), ["takes (x)", "(x, u)"]),
    "a function of unknown arguments": (lambda: make(stage_cost=lambda x, u, mass: 0.0), ["t or p"]),
    "something that is no function": (lambda: make(stage_cost=3.0), ["stage_cost is 3.0", "function"]),
    "something that is no dynamics": (lambda: make(dynamics=oscillator), ["ContinuousDynamics(f, nx=2, nu=1)"]),
    "something that is no constraint": (lambda: make(constraints=[(0, 1)]), ["(0, 1)", "Bounds"]),
    "an unknown parameter": (
        lambda: make(stage_cost=lambda x, u, p: p.mas * u[0] ** 2, parameters={"mass": 1.0}),
        ["mas", "mass"],
    ),
    "a parameter that is NaN": (lambda: make(parameters={"mass": np.nan}), ["'mass'", "finite"]),
    "a parameter of three dimensions": (lambda: make(parameters={"mass": np.zeros((1, 1, 1))}), ["(1, 1, 1)"]),
    "a target of the wrong length": (
        lambda: make(constraints=[to.TerminalConstraint([0.0])]),
        ["target of 1 entries", "2 were expected"],
    ),
    "a constraint outside a list": (lambda: make(constraints=to.Bounds(control=(0, 1))), ["brackets"]),
    "a target that is text": (lambda: to.TerminalConstraint("up"), ["'up'", "finite numbers"]),
    "a duration that is text": (lambda: to.Horizon("long", steps=3), ["duration='long'", "number"]),
    "no steps": (lambda: to.Horizon(1.0, steps=None), ["steps=None"]),
    "a size that is text": (lambda: to.ContinuousDynamics(oscillator, nx="two", nu=1), ["nx=two", "whole number"]),
    "parameters in a list": (lambda: make(parameters=[1.0]), ["[1.0]", "dictionary"]),
    "an array for a number": (
        lambda: make(dynamics=to.ContinuousDynamics(lambda x, u: np.array([x[1], u]), nx=2, nu=1)),
        ["shape (1,)", "u[0]"],
    ),
    "steps that are NaN": (lambda: to.Horizon(1.0, steps=float("nan")), ["steps=nan"]),
    "a start that is nothing": (lambda: to.Horizon(1.0, steps=3, start=None), ["start=None"]),
    "free bounds that are text": (lambda: to.Free("a", 1), ["Free('a', 1)", "numbers"]),
    "a free duration of zero": (lambda: to.Horizon(to.Free(0, 0), steps=3), ["from 0 to 0"]),
    "limits of a target that are text": (lambda: to.TerminalConstraint([0.0], lower="a"), ["'a'"]),
    "a guess of another shape": (lambda: make(guess=(np.zeros(2), np.zeros((2, 3)), np.zeros((2, 1)))), ["(2, 3)"]),
    "a guess that is a list": (lambda: make(guess=[1.0]), ["guess of type list"]),
    "a parameter that Python would rename": (lambda: make(parameters={"\u00b5": 1.0}), ["NFKC"]),
    "an empty target": (lambda: to.TerminalConstraint([None, None]), ["at least one number"]),
    "names twice": (lambda: to.ContinuousDynamics(oscillator, states=["a", "a"], nu=1), ["distinct names"]),
}


@pytest.mark.parametrize("what", BAD_INPUT)
def test_bad_input_gets_one_sentence(what):
    """What was given, what was expected, what to do; raised when the problem is made, as a class of ours."""
    build, expected = BAD_INPUT[what]
    with pytest.raises(to.TrajoptError) as caught:
        build()
    message = str(caught.value)
    assert all(part in message for part in expected), message
    assert "\n" not in message
    assert message.rstrip().endswith(".")


def test_features_are_read_off_the_problem():
    """Each part of the description shows as the feature that a solver must handle."""
    plain = make()
    assert plain.features == {Feature.CONTINUOUS_TIME}
    everything = make(
        initial_state=[1.0, None],
        horizon=to.Horizon(to.Free(1, 3), steps=10, start=to.Free(0, 1)),
        parameters={"k": to.Free(0, 1), "m": 2.0},
        constraints=[
            to.Bounds(state=([None, -9], None), control=(-1, 1)),
            to.Choices([-1.0, 1.0]),
            to.PathConstraint(lambda x, u: x[0]),
            to.TerminalConstraint([0.0, None]),
            to.BoundaryConstraint(lambda x0, xf: x0[0] - xf[0]),
            to.IntegralConstraint(lambda x, u: u[0] ** 2, 0.0, 1.0),
        ],
    )
    assert everything.features == set(Feature) - {Feature.DISCRETE_TIME, Feature.BLACK_BOX, Feature.STOCHASTIC}


def test_functions_get_the_arguments_that_they_name():
    """t and p reach a function when, and only when, it names them; a default of its own stays its own."""
    gain = 3.0
    problem = make(
        stage_cost=lambda x, u, t, p, gain=gain: gain * t * p["mass"] * u[0] + p.offset[1],
        terminal_cost=lambda x, p: p.mass * x[0],
        parameters={"mass": 2.0, "offset": [5.0, 7.0]},
    )
    model = problem.model
    value = ca.Function("f", [model.x, model.u, model.t, model.p], [model.stage_cost])
    packed = problem.layout.pack(problem.parameters)
    assert float(value([0, 0], [1.0], 4.0, packed)) == 3.0 * 4.0 * 2.0 * 1.0 + 7.0


def test_matrix_parameters_keep_their_rows():
    """A matrix parameter multiplies as NumPy does: it is packed by rows, which CasADi would read as columns."""
    matrix = np.array([[1.0, 2.0], [3.0, 4.0]])
    problem = make(dynamics=to.ContinuousDynamics(lambda x, u, p: p.A @ x, nx=2, nu=1), parameters={"A": matrix})
    model = problem.model
    f = ca.Function("f", [model.x, model.u, model.t, model.p], [model.dynamics])
    np.testing.assert_array_equal(np.array(f([1.0, 10.0], [0], 0, matrix.ravel())).ravel(), matrix @ [1.0, 10.0])


def test_replace_makes_a_variant_and_leaves_the_original():
    """`dataclasses.replace` is the way to a variant; the problem itself is frozen."""
    problem = make()
    variant = dataclasses.replace(problem, initial_state=[2.0, 0.0], name="variant")
    assert (problem.initial_state, variant.initial_state) == ((1.0, 0.0), (2.0, 0.0))
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.name = "other"


def test_new_numbers_share_the_traced_model():
    """`at` changes parameters and initial state without tracing again, and leaves the original alone."""
    problem = make(stage_cost=lambda x, u, p: p.w * x @ x, parameters={"w": 1.0})
    variant = problem.at(parameters={"w": 5.0}, initial_state=[0.5, 0.5])
    assert variant.model is problem.model
    assert (problem.parameters, variant.parameters) == ({"w": 1.0}, {"w": 5.0})
    np.testing.assert_array_equal(variant.initial_values, [0.5, 0.5])
    np.testing.assert_array_equal(problem.initial_values, [1.0, 0.0])


@pytest.mark.parametrize(
    ("change", "expected"),
    [({"v": 1.0}, "'v'"), ({"w": [1.0, 2.0]}, "shape (2,)"), ({"w": to.Free(0, 1)}, "fixed and free")],
)
def test_new_parameters_are_checked(change, expected):
    """A new value must have the name, the shape and the kind that the problem was made with."""
    problem = make(stage_cost=lambda x, u, p: p.w * x @ x, parameters={"w": 1.0})
    with pytest.raises(to.InvalidProblem) as caught:
        to.solve(problem, "ilqr", parameters=change)
    assert expected in str(caught.value)


def test_user_functions_cannot_reach_the_trajectory():
    """A function that writes into its argument changes its own copy, when traced and when evaluated."""

    def careless(x, u):
        x[0] = x[0] + 1.0
        return np.array([x[1], -x[0]])

    problem = make(dynamics=to.ContinuousDynamics(careless, nx=2, nu=1))
    model = problem.model
    f = ca.Function("f", [model.x, model.u, model.t, model.p], [model.dynamics])
    np.testing.assert_array_equal(np.array(f([1.0, 2.0], [0], 0, [])).ravel(), [2.0, -2.0])
    assert problem.initial_state == (1.0, 0.0)


def test_problems_can_be_copied_after_a_solve():
    """A copy carries the fields, not the machine code, and gives the same answer to the bit."""
    problem = make()
    first = to.solve(problem, "ilqr")
    again = to.solve(copy.deepcopy(problem), "ilqr")
    np.testing.assert_array_equal(first.u, again.u)
