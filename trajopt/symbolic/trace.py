"""Run a user's NumPy function once on symbolic values and collect the expression that it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import casadi as ca

from trajopt.errors import TracingError, TrajoptError
from trajopt.symbolic.context import where_raised
from trajopt.symbolic.parameters import traced_argument
from trajopt.symbolic.patch import tracing
from trajopt.symbolic.traced import plain, to_array, to_sx


def vector(name: str, size: int) -> ca.SX:
    """Make a column of symbols, shape (size, 1); size may be 0."""
    return ca.SX.sym(name, size, 1)


def trace(function: Callable[..., Any], *arguments: Any, name: str) -> tuple[ca.SX, tuple[int, ...]]:
    """Turn a plain NumPy function into a CasADi expression.

    Parameters
    ----------
    function : callable
        Runs once, on traced values.
    *arguments : Scalar, Vector, Matrix, Parameters, float or ndarray
        What the function is called with, by position.
    name : str
        The function's role, for messages: "dynamics", "stage_cost", "constraint 'rail'".

    Returns
    -------
    expression : casadi.SX, shape (m, 1)
        The result, flattened in C order.
    shape : tuple of int
        The shape that NumPy would have returned, ``()`` for a scalar; m is its product.

    Raises
    ------
    TracingError
        If the function branches on a symbolic value, asks for its number, calls what cannot be traced, raises an
        exception of its own, or returns something other than real numbers.
    """
    with tracing(name):
        try:
            result = function(*map(traced_argument, arguments))
        except TrajoptError:
            raise
        except Exception as error:
            raise TracingError(
                f"{name} raised {type(error).__name__}{where_raised(error.__traceback__)}: {error}."
            ) from error
        return _collect(result, name)


def _collect(result: Any, name: str) -> tuple[ca.SX, tuple[int, ...]]:
    if result is None:
        raise TracingError(f"{name} returned None, but numbers were expected; it probably forgot its return statement.")
    if isinstance(result, (str, bytes, Mapping, set, ca.SX, ca.MX, ca.DM)):
        raise TracingError(
            f"{name} returned a {type(result).__name__}, but numbers were expected; return a number, an array or a "
            "list."
        )
    try:
        array = to_array(result)
    except (TypeError, ValueError) as error:
        raise TracingError(f"{name} returned something other than an array of real numbers: {error}.") from error
    return ca.vertcat(ca.SX(0, 1), *map(to_sx, plain(array).flat)), array.shape
