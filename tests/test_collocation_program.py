"""Assembly of sparse programs, schemes and scaling against CasADi's own differentiation and definitions."""

import casadi as ca
import numpy as np
import pytest

from trajopt.transcription.collocation_schemes import SCHEMES
from trajopt.transcription.nlp import Element, assemble
from trajopt.transcription.scaling import Scaling, magnitude_scales


def program():
    """Three overlapping copies of a nonlinear element and one of another, which shares a row with them."""
    y, k, p = ca.SX.sym("y", 3), ca.SX.sym("k"), ca.SX.sym("p", 2)
    first = Element(
        y, k, ca.sin(y[0] * y[2]) + (k + 1) * y[1] ** 2, ca.vertcat(y[0] * y[1] + p[0] * k, ca.exp(y[2]) * y[0]),
        np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]]), np.array([[0, 3], [1, 3], [2, 3]]),
    )  # fmt: skip
    z = ca.SX.sym("z", 2)
    second = Element(z, k, p[1] * z[0] ** 3, ca.vertcat(z[0] * z[1] ** 2), np.array([[0, 4]]), np.array([[3]]))
    return assemble([first, second], p, 5, 4)


def written_out(w, p):
    """The same program by hand."""
    f = sum(ca.sin(w[k] * w[k + 2]) + (k + 1) * w[k + 1] ** 2 for k in range(3)) + p[1] * w[0] ** 3
    single = [w[k] * w[k + 1] + p[0] * k for k in range(3)]
    summed = sum(ca.exp(w[k + 2]) * w[k] for k in range(3)) + w[0] * w[4] ** 2
    return f, ca.vertcat(*single, summed)


def test_assembled_derivatives_equal_casadi_on_the_whole():
    """Values, gradient, Jacobian, Hessian and element gradients, in scaled variables and rows."""
    generator = np.random.default_rng(0)
    scaling = Scaling(2.0 ** generator.integers(-3, 4, 5), 2.0 ** generator.integers(-3, 4, 4))
    v, lam_g, shared = generator.normal(size=5), generator.normal(size=4), generator.normal(size=2)
    symbol = ca.SX.sym("v", 5)
    f, g = written_out(symbol * scaling.variables, ca.DM(shared))
    g = g / scaling.rows
    lagrangian = 0.7 * f + ca.dot(lam_g, g)
    expected = ca.Function(
        "expected", [symbol], [f, ca.gradient(f, symbol), g, ca.jacobian(g, symbol), ca.hessian(lagrangian, symbol)[0]]
    )(v)
    made, parameters = program(), np.concatenate([shared, scaling.variables, scaling.rows])
    functions = made.functions
    value, gradient = functions["grad_f"](v, parameters)
    rows, jacobian = functions["jac_g"](v, parameters)
    hessian = functions["hess_lag"](v, parameters, 0.7, lam_g)
    assert hessian.sparsity().is_triu()
    upper = hessian.full()
    found = [value, gradient, rows, jacobian, upper + np.triu(upper, 1).T]
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.array(ours), theirs.full(), rtol=1e-12, atol=1e-12)
    total, *_ = made.gradients(v, parameters, lam_g)
    np.testing.assert_allclose(total, expected[1].full() + expected[3].full().T @ lam_g[:, None], rtol=1e-12)


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_integrate_polynomials(name):
    """Row i of the coefficients integrates polynomials up to degree s exactly; the weights up to the order less one."""
    scheme = SCHEMES[name]
    for degree in range(len(scheme.nodes)):
        antiderivative = scheme.nodes[1:] ** (degree + 1) / (degree + 1)
        np.testing.assert_allclose(scheme.coefficients @ scheme.nodes**degree, antiderivative, atol=1e-15)
    for degree in range(scheme.order):
        assert scheme.weights @ scheme.nodes**degree == pytest.approx(1 / (degree + 1), abs=1e-15)
    assert scheme.weights @ scheme.nodes**scheme.order != pytest.approx(1 / (scheme.order + 1), abs=1e-3)


def test_scaling_is_undone_to_the_bit():
    """Scales are powers of two, so that primal and dual quantities come back exactly, and their products agree."""
    generator = np.random.default_rng(1)
    scale = magnitude_scales(np.full(6, -np.inf), np.full(6, np.inf), 10.0 ** generator.uniform(-9, 9, (4, 6)))
    scaling = Scaling(scale, scale[::-1])
    w, mu = generator.normal(size=(2, 6))
    np.testing.assert_array_equal(scaling.invert(scaling.apply(w)), w)
    np.testing.assert_array_equal(scaling.invert_rows(scaling.apply_rows(w)), w)
    np.testing.assert_array_equal(scaling.invert_variable_multipliers(scaling.apply_variable_multipliers(mu)), mu)
    np.testing.assert_array_equal(scaling.invert_row_multipliers(scaling.apply_row_multipliers(mu)), mu)
    assert scaling.apply(w) @ scaling.apply_variable_multipliers(mu) == pytest.approx(w @ mu, rel=1e-12)


def test_scales_follow_bounds_before_guesses():
    """Two finite bounds tell the size; else a large guess does; what is near one is left alone."""
    inf = np.inf
    lower, upper = np.array([-1e4, 0, -inf, -inf, -5, 0]), np.array([10, 1e-3, inf, 1.0, 5, 0])
    guess = np.array([[0, 1e3, -3e5, 1e-5, 100, 0]])
    scales = magnitude_scales(lower, upper, guess)
    np.testing.assert_array_equal(scales, [2.0**13, 2.0**-10, 2.0**18, 1.0, 1.0, 1.0])
