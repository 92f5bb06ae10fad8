"""CasADi models inside a problem's functions: the same numbers, exact derivatives, and refusals in words."""

import casadi as ca
import numpy as np
import pytest

import trajopt as to
from trajopt.solvers import ILQR


def pendulum_of(kind):
    x, u = kind.sym("x", 2), kind.sym("u")
    return ca.Function("pendulum", [x, u], [ca.vertcat(x[1], u - ca.sin(x[0]))])


@pytest.mark.parametrize("kind", [ca.SX, ca.MX])
def test_a_casadi_model_solves_like_its_numpy_twin(kind):
    """A model of SX or MX gives the trajectory that the same model in NumPy gives, and is certified."""
    model = to.casadi_function(pendulum_of(kind))

    def problem(dynamics):
        return to.Problem(
            to.ContinuousDynamics(dynamics, nx=2, nu=1),
            stage_cost=lambda x, u: u[0] ** 2,
            initial_state=[0.0, 0.0],
            constraints=[to.TerminalConstraint([1.0, 0.0])],
            horizon=to.Horizon(2.0, steps=40),
        )

    ours = to.solve(problem(lambda x, u: model(x, u[0])), ILQR())
    twin = to.solve(problem(lambda x, u: np.array([x[1], u[0] - np.sin(x[0])])), ILQR())
    assert ours.certified
    np.testing.assert_allclose(ours.x, twin.x, atol=1e-9)  # the same operations, perhaps in another order


def test_shapes_follow_numpy():
    """Columns are vectors, 1 x 1 outputs numbers, matrices keep shape and order, several outputs are a tuple."""
    a, b = ca.SX.sym("a", 2, 3), ca.SX.sym("b")
    call = to.casadi_function(ca.Function("f", [a, b], [b * a.T, ca.sum1(ca.sum2(a)), a[:, 1]]))
    matrix = np.arange(6.0).reshape(2, 3)
    for scale in (2.0, [2.0], [[2.0]]):
        turned, total, column = call(matrix, scale)
        np.testing.assert_array_equal(turned, 2.0 * matrix.T)
        assert total == 15.0
        np.testing.assert_array_equal(column, matrix[:, 1])
    problem = to.Problem(
        to.DiscreteDynamics(
            lambda x, u: call(np.array([[x[0], x[1], 1.0], [u[0], 2.0, x[0]]]), u)[0][:2, 0], nx=2, nu=1
        ),
        stage_cost=lambda x, u: 0.0,
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(steps=1),
    )
    symbols = ca.symvar(problem.model.dynamics)
    by_name = {"x_0": 3.0, "x_1": 5.0, "u": 7.0}
    values = ca.Function("values", symbols, [problem.model.dynamics])(*[by_name[s.name()] for s in symbols])
    np.testing.assert_array_equal(values.full()[:, 0], [21.0, 35.0])


def test_models_without_inputs_of_a_kind_work():
    """An input of no entries, as the controls of an autonomous plant are, takes an empty array."""
    x, u = ca.SX.sym("x", 1), ca.SX.sym("u", 0)
    assert to.casadi_function(ca.Function("decay", [x, u], [-x]))([2.0], np.zeros(0)) == -2.0


def rootfinder():
    z = ca.MX.sym("z")
    return ca.rootfinder("root", "newton", {"x": z, "g": z * z - 2.0})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (lambda: len, "a builtin_function_or_method was given to casadi_function, but a casadi.Function was expected"),
        (rootfinder, "'root' calls a solver, an interpolant"),
        (lambda: ca.interpolant("table", "linear", [[0.0, 1.0]], [1.0, 2.0]), "'table' calls a solver, an interpolant"),
        (lambda: ca.Function("empty", [ca.SX.sym("x")], []), "'empty' has no output"),
    ],
)
def test_what_is_no_expression_is_refused(given, sentence):
    """Only expressions can be plugged in, and a sentence says what was given instead."""
    with pytest.raises(to.InvalidProblem, match=sentence):
        to.casadi_function(given())


def test_wrong_arguments_are_refused():
    """Too few arguments, and arguments of another size, are named with what was expected."""
    call = to.casadi_function(pendulum_of(ca.SX))
    with pytest.raises(to.InvalidProblem, match="was given 1 arguments, but 2 were expected"):
        call([0.0, 0.0])
    with pytest.raises(to.InvalidProblem, match=r"argument 0 .* has the shape \(3,\), but \(2,\) was expected"):
        call([0.0, 0.0, 0.0], 1.0)
