"""NumPy's modules answer differently to the tracing thread alone, and only while it traces."""

from __future__ import annotations

import threading
from types import ModuleType

import casadi as ca
import numpy as np
import pytest
import scipy.interpolate
import scipy.linalg
from numpy import array, concatenate, sin, where, zeros

from trajopt.errors import TracingError
from trajopt.symbolic import Vector, trace, vector

EPS = np.finfo(float).eps
NAMES = ("array", "asarray", "zeros", "empty", "where", "maximum", "sin", "concatenate", "stack", "eye")
ORIGINALS = {name: getattr(np, name) for name in NAMES} | {"norm": np.linalg.norm}


def current():
    return {name: getattr(np, name) for name in NAMES} | {"norm": np.linalg.norm}


def traced(function, size=3):
    return trace(function, Vector(vector("x", size)), name="dynamics")


def value_of(function, point):
    x = vector("x", len(point))
    expression, _ = trace(function, Vector(x), name="dynamics")
    return ca.Function("f", [x], [expression])(point.tolist()).full().ravel()


def assert_restored():
    assert type(np) is type(np.linalg) is ModuleType
    assert all(current()[name] is original for name, original in ORIGINALS.items())


def test_restored_after_success():
    """NumPy is patched inside the trace, and its own afterwards."""
    seen = []
    traced(lambda x: seen.append(current()) or x)
    assert all(seen[0][name] is not ORIGINALS[name] for name in NAMES)
    assert_restored()


@pytest.mark.parametrize("error", [ValueError("own"), KeyboardInterrupt()])
def test_restored_after_failure(error):
    """Also when the function raises, be it Ctrl-C, which passes through as it is."""

    def function(x):
        raise error

    with pytest.raises(TracingError if isinstance(error, Exception) else KeyboardInterrupt):
        traced(function)
    assert_restored()


def test_nested_traces():
    """An inner trace, failed or not, leaves the outer one in force and its role in messages."""

    def outer(x):
        traced(lambda y: np.array([y[0]]))
        with pytest.raises(TracingError, match=r"^inner"):
            trace(lambda y: 1.0 if y[0] > 0 else 0.0, Vector(vector("y", 1)), name="inner")
        out = np.zeros(2)
        out[0] = x[0]
        return float(x[0])

    with pytest.raises(TracingError, match=r"^dynamics needs"):
        traced(outer)
    assert_restored()


def test_other_threads_see_plain_numpy():
    """While one thread is inside a trace, another finds NumPy's own functions and gets plain arrays."""
    results = {}

    def other():
        results.update(current(), made=[np.array([1.0, 2.0]), np.zeros(2), np.maximum([1.0], 0.0)])

    def function(x):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        return np.zeros(3) + x

    traced(function)
    assert all(results[name] is original for name, original in ORIGINALS.items())
    assert all(type(made) is np.ndarray and made.dtype == float for made in results["made"])


def test_two_threads_trace():
    """Traces of several threads at once all succeed and restore NumPy."""
    results = []

    count, repeats = 4, 20

    def work():
        for _ in range(repeats):
            results.append(value_of(lambda x: np.array([x[1], np.zeros(1)[0]]), np.array([1.0, 2.0])))

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count * repeats
    assert all(np.array_equal(result, [2.0, 0.0]) for result in results)
    assert_restored()


def test_arguments_are_not_shared_between_traces():
    """A function that writes into its argument does not change what the next trace sees."""

    def function(x):
        x[0] = 5.0
        x += 1.0
        return x

    x = Vector(vector("x", 2))
    first, _ = trace(function, x, name="dynamics")
    second, _ = trace(function, x, name="dynamics")
    assert ca.is_equal(first, second, 10)


def test_constants_reach_numpy_and_scipy():
    """Calls on constants alone, also made from traced-time arrays, give what they give outside."""

    def function(x):
        a = np.array([[0.0, 1.0], [-1.0, 0.0]])
        spline = scipy.interpolate.CubicSpline(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0, 5.0]))
        parts = [
            scipy.linalg.expm(a).ravel(),
            np.linalg.inv(np.eye(2) * 3.0).ravel(),
            np.linalg.eigvalsh(np.eye(2)),
            np.sort(np.array([3.0, 1.0])),
            np.array([spline(0.5), np.interp(0.25, np.array([0.0, 1.0]), [1.0, 3.0]), np.median(np.ones(3))]),
            np.linspace(0.0, 1.0, 3)[np.array([0, 2])],
        ]
        return np.concatenate(parts) * x[0]

    # The same library code on the same constants: only the product with x[0] could round, and x[0] is 1.
    assert np.array_equal(value_of(function, np.array([1.0])), function(np.array([1.0])))


def test_names_imported_from_numpy():
    """NumPy's own functions, bound at the top of the user's module, work as far as NumPy lets objects through."""

    def function(x):
        matrix = array([[x[0], 1.0], [2.0, x[1]]])
        moved = concatenate([x[:1], matrix[0] * 2.0, matrix @ x[:2]])
        return zeros(5) + where(moved > 1.0, moved, sin(array([x[0], x[1], x[2], x[0], x[1]])))

    point = np.array([0.5, 1.5, -0.25])
    np.testing.assert_allclose(value_of(function, point), function(point), rtol=4 * EPS)


def test_unassigned_entries_are_nan():
    """An entry of np.empty that is never assigned is NaN, not whatever was in memory."""

    def function(x):
        out = np.empty(2)
        out[0] = x[0]
        return out

    assert np.array_equal(value_of(function, np.array([1.0])), [1.0, np.nan], equal_nan=True)


def test_integer_arrays_stay_numpys():
    """Arrays of integers and booleans made inside a trace are NumPy's own, so they can index."""

    def function(x):
        index = np.zeros(2, dtype=int) + np.array([0, 2])
        assert type(index) is np.ndarray
        return x[index] + x[np.eye(3)[1] > 0]

    point = np.array([1.0, 2.0, 4.0])
    assert np.array_equal(value_of(function, point), [3.0, 6.0])


def test_determinant_does_not_divide():
    """The determinant of a singular matrix with a zero leading entry is exact, which elimination would not be."""
    matrix = np.array([[0.0, 1.0, 2.0, 0.0], [1.0, 0.0, 0.0, 3.0], [0.0, 2.0, 4.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    assert value_of(lambda x: np.linalg.det(x.reshape(4, 4)), matrix.ravel())[0] == 0.0


@pytest.mark.parametrize(("size", "power"), [(1, 2), (2, 2), (3, 2), (4, 1), (6, 1)])
def test_solve_is_as_accurate_as_the_condition_allows(size, power):
    """Symbolic solutions of random systems, also with zero diagonals, have errors of condition times rounding."""
    generator = np.random.default_rng(size)
    x, b = vector("a", size * size), generator.normal(size=size)
    expression, _ = trace(lambda a: np.linalg.solve(a.reshape(size, size), b), Vector(x), name="dynamics")
    solve = ca.Function("f", [x], [expression])
    for _ in range(20):
        a = generator.normal(size=(size, size))
        if size > 1:
            np.fill_diagonal(a, 0.0)
        expected = np.linalg.solve(a, b)
        error = np.abs(solve(a.ravel().tolist()).full().ravel() - expected).max()
        # size^3 operations, each of which rounds; minors lose a second factor of the condition at most.
        assert error <= size**3 * EPS * np.linalg.cond(a) ** power * np.abs(expected).max()
