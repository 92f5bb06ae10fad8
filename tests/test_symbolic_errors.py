"""What a function that cannot be traced gets: a sentence with the line and the remedy."""

from __future__ import annotations

import math
from pathlib import Path

import casadi as ca
import numpy as np
import pytest

from trajopt.errors import TracingError, TrajoptError
from trajopt.symbolic import Matrix, Parameters, Scalar, Vector, trace, vector


def if_statement(x):
    if x[0] > 0:  # the line
        return x
    return -x


def while_loop(x):
    while x[0] < 1:  # the line
        x = x + 1
    return x


def chained(x):
    return x[0] * (0 < x[1] < 1)  # the line


def python_and(x):
    return x[0] > 0 and x[1] > 0  # the line


def python_max(x):
    return max(x[0], 0.0)  # the line


def python_bool(x):
    return bool(x[0])  # the line


def python_sorted(x):
    return sorted(x)  # the line


def math_sin(x):
    return math.sin(x[0])  # the line


def python_float(x):
    return float(x[0])  # the line


def python_int(x):
    return int(x[0])  # the line


def python_round(x):
    return round(x[0])  # the line


def fill_foreign(x):
    CONSTANT[0] = x[0]  # the line
    return CONSTANT


def fill_in_place(x):
    constant = np.arange(3) * np.pi
    constant += x  # the line
    return constant


def symbolic_index(x):
    return x[x[0]]  # the line


def list_index(x):
    return [1.0, 2.0][x[0]]  # the line


def symbolic_mask(x):
    return x[x > 0]  # the line


def sort(x):
    return np.sort(x)  # the line


def eig(x):
    return np.linalg.eig(np.outer(x, x))[0]  # the line


def isnan(x):
    return np.isnan(x)  # the line


def nonzero(x):
    return np.where(x)  # the line


def masked_ufunc(x):
    return np.add(x, 1, where=np.array([True, False, True]))  # the line


def spectral_norm(x):
    return np.linalg.norm(np.outer(x, x), 2)  # the line


def to_integers(x):
    return x.astype(int)  # the line


def out_of_range(x):
    return x[7]  # the line


def unpack(x):
    a, b = x  # the line
    return a + b


def missing_key(x):
    return x[0] * {"a": 1.0}["b"]  # the line


def bitwise_on_numbers(x):
    return x & 1  # the line


def negated_truth(x):
    return -(x > 0)  # the line


def truth_difference(x):
    return (x > 0) - (x > 1)  # the line


def number_into_mask(x):
    mask = x > 0
    mask[0] = x[1]  # the line
    return mask


def counted(x):
    return np.cumsum(x > 0)  # the line


def not_square(x):
    return np.linalg.solve(np.outer(x, x[:2]), x)  # the line


CONSTANT = np.zeros(3)
BRANCHES = [if_statement, while_loop, chained, python_and, python_max, python_bool, python_sorted]
NUMBERS = [math_sin, python_float, python_int, python_round, fill_foreign, list_index]
UNSUPPORTED = {
    sort: "np.sort",
    eig: "np.linalg.eig",
    isnan: "np.isnan",
    nonzero: "np.where with one argument",
    masked_ufunc: "np.add with where=",
    counted: "np.cumsum of truth values",
    spectral_norm: "np.linalg.norm with ord=2",
}
OWN = {
    out_of_range: IndexError,
    unpack: ValueError,
    missing_key: KeyError,
    bitwise_on_numbers: TypeError,
    negated_truth: TypeError,
    truth_difference: TypeError,
    number_into_mask: TypeError,
    not_square: np.linalg.LinAlgError,
}


def error_of(function, *arguments):
    """Trace and return the error, having checked that it names the role, the marked line and its source."""
    with pytest.raises(TracingError) as caught:
        trace(function, *(arguments or (Vector(vector("x", 3)),)), name="dynamics")
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    start = function.__code__.co_firstlineno
    line = next(i for i, text in enumerate(lines[start:], start + 1) if text.endswith("# the line"))
    message = str(caught.value)
    assert message.startswith("dynamics ")
    assert f"at {__file__}:{line} (`{lines[line - 1].strip()}`)" in message
    return caught.value


@pytest.mark.parametrize("function", BRANCHES)
def test_branch_says_where(function):
    """Asking for the truth of a symbolic value names the line and np.where."""
    message = str(error_of(function))
    assert "branches on a symbolic value" in message
    assert "np.where" in message
    assert "np.maximum" in message


@pytest.mark.parametrize("function", NUMBERS)
def test_number_says_numpy_counterpart(function):
    """Asking for the number behind a symbolic value names the line and the np. counterpart."""
    message = str(error_of(function))
    assert "needs the number behind a symbolic value" in message
    assert "np. counterpart" in message


@pytest.mark.parametrize("function", [symbolic_index, symbolic_mask])
def test_index_says_where(function):
    """A symbolic index or mask names the line and np.where."""
    assert "indexes with a symbolic value" in str(error_of(function))


def test_conversions_name_the_line():
    """Writing into a foreign array, and integers of symbols, name the line and what to do."""
    assert "np.zeros" in str(error_of(fill_in_place))
    assert "np.floor" in str(error_of(to_integers))


@pytest.mark.parametrize("function", UNSUPPORTED)
def test_unsupported_function_is_named(function):
    """A NumPy function that cannot be traced is named, with what can be."""
    message = str(error_of(function))
    assert f"calls {UNSUPPORTED[function]} on" in message
    assert "np.linalg.norm/solve/inv/det" in message


@pytest.mark.parametrize("function", OWN)
def test_own_exceptions_are_wrapped(function):
    """An exception of the user's code is the cause of an error that names its type and line."""
    error = error_of(function)
    assert f"raised {OWN[function].__name__}" in str(error)
    assert type(error.__cause__) is OWN[function]


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (None, "forgot its return"),
        ({"a": 1.0}, "a dict"),
        ("text", "a str"),
        ([[1.0, 2.0], [3.0]], "real numbers"),
        (1j, "real numbers"),
        (np.array([1j]), "real numbers"),
        (object(), "real numbers"),
    ],
)
def test_return_values(result, said):
    """What is not an array of real numbers is refused with its kind."""
    with pytest.raises(TracingError, match=f"^stage_cost returned .*{said}"):
        trace(lambda: result, name="stage_cost")


def test_wrong_number_of_arguments():
    """A call that fails before the first line says so, without a line."""
    with pytest.raises(TracingError, match=r"^dynamics raised TypeError: .*positional"):
        trace(lambda x, u: x, Vector(vector("x", 1)), name="dynamics")


def test_unknown_parameter_lists_the_known():
    """Both ways to read a parameter fail with the list of names, also while tracing; hasattr stays usable."""
    parameters = Parameters({"mass": 1.0, "length": 2.0})
    for read in (lambda p: p["mas"], lambda p: p.mas):
        for call in (read, lambda p, read=read: trace(read, p, name="dynamics")):
            with pytest.raises(TrajoptError, match=r"'mas'.*'mass', 'length'"):
                call(parameters)
    assert hasattr(parameters, "mass")
    assert not hasattr(parameters, "mas")


def test_parameters_are_immutable():
    """Neither names nor the entries of arrays can be changed, and the caller's array is not shared."""
    offset = np.zeros(2)
    parameters = Parameters({"offset": offset, "list": [1.0, 2.0]})
    offset[0] = 1.0
    assert parameters.offset[0] == 0.0
    with pytest.raises(AttributeError, match="cannot be changed"):
        parameters.offset = 1
    for name in parameters:
        with pytest.raises(ValueError, match="read-only"):
            parameters[name][0] = 1.0


def test_traced_parameters_reach_the_function():
    """Scalars, vectors, matrices and plain numbers all arrive by name, with NumPy's shapes."""
    values = {"mass": 2.0, "k": np.array([1.0, 2.0]), "J": np.arange(6.0).reshape(2, 3), "g": 9.81}

    def function(t, p):
        assert (np.shape(p.mass), p.k.shape, p.J.shape) == ((), (2,), (2, 3))
        return p["mass"] * p.k @ p.J * p.g * t

    symbols = {"mass": Scalar(vector("m", 1)), "k": Vector(vector("k", 2)), "J": Matrix(vector("J", 6).reshape((2, 3)))}
    expression, shape = trace(function, 0.5, Parameters({**symbols, "g": 9.81}), name="dynamics")
    columns = [value.sx for value in symbols.values()]
    evaluate = ca.Function("f", columns, [expression])
    value = evaluate(2.0, values["k"].tolist(), ca.DM(values["J"].tolist())).full().ravel()
    assert shape == (3,)
    # Four products and a sum of two a component.
    np.testing.assert_allclose(value, function(0.5, Parameters(values)), rtol=6 * np.finfo(float).eps)
