"""CasADi models inside a problem's functions: the bridge between `casadi.Function` and NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trajopt.errors import InvalidProblem

if TYPE_CHECKING:
    import casadi as ca


def casadi_function(function: ca.Function) -> Callable[..., Any]:
    """Make a `casadi.Function` callable like a NumPy function, with numbers and inside dynamics, costs and constraints.

    Whoever has a model in CasADi (of a robot, from adam-robotics or Pinocchio; of a plant, from a code generator) plugs
    it in: ``model = to.casadi_function(f)``, then ``ContinuousDynamics(lambda x, u: model(x, u), ...)``. Its
    expressions become part of the problem's own, so that derivatives are exact and every solver can use them.

    Parameters
    ----------
    function : casadi.Function
        Of SX, or of MX that can be expanded to scalar operations. Its inputs are taken by position.

    Returns
    -------
    callable
        Takes one array for each input: of as many entries as the input, a column (n, 1) being a vector (n,). Gives a
        number for an output of shape (1, 1), an array (n,) for one of shape (n, 1), else an array of the output's own
        shape; a tuple of these if there are several outputs.

    Raises
    ------
    InvalidProblem
        When something else than a `casadi.Function` is given, one without outputs or one that calls foreign code (a
        solver, an interpolant, a callback) and has no scalar operations; by the callable, when arguments do not fit.
    """
    import casadi as ca  # noqa: PLC0415 - `import trajopt` does not import CasADi

    if not isinstance(function, ca.Function):
        raise InvalidProblem(
            f"a {type(function).__name__} was given to casadi_function, but a casadi.Function was expected; wrap "
            "expressions as casadi.Function('model', [x, u], [xdot])."
        )
    name, sizes = function.name(), [function.size_in(i) for i in range(function.n_in())]
    if function.n_out() == 0:
        raise InvalidProblem(f"the casadi.Function {name!r} has no output, but a value was expected; give it one.")
    scalar = _expanded(function)

    def call(*arguments: Any) -> Any:
        _check(name, arguments, sizes)
        results = _evaluate(scalar, arguments, sizes)
        return results[0] if len(results) == 1 else tuple(results)

    call.__name__ = name
    return call


def _expanded(function: ca.Function) -> ca.Function:
    """The function in scalar operations, which are what tracing collects."""
    import casadi as ca  # noqa: PLC0415 - `import trajopt` does not import CasADi

    try:
        scalar = function.expand()
    except RuntimeError:
        scalar = None
    if scalar is None or ca.OP_CALL in [scalar.instruction_id(i) for i in range(scalar.n_instructions())]:
        raise InvalidProblem(
            f"the casadi.Function {function.name()!r} calls a solver, an interpolant, a callback or foreign code, but "
            "expressions were expected; write out what it computes."
        )
    return scalar


def _check(name: str, arguments: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> None:
    if len(arguments) != len(sizes):
        raise InvalidProblem(
            f"the casadi.Function {name!r} was given {len(arguments)} arguments, but {len(sizes)} were expected; give "
            "one array for each of its inputs."
        )
    for position, (argument, size) in enumerate(zip(arguments, sizes, strict=True)):
        column = size[1] == 1
        if np.shape(argument) not in (size, size[:1] if column else size, () if size == (1, 1) else size):
            raise InvalidProblem(
                f"argument {position} of the casadi.Function {name!r} has the shape {np.shape(argument)}, but "
                f"{size[:1] if column else size} was expected; give it as many entries."
            )


def _evaluate(function: ca.Function, arguments: Sequence[Any], sizes: Sequence[tuple[int, int]]) -> list[Any]:
    """Values of all outputs: symbolic if an argument is."""
    import casadi as ca  # noqa: PLC0415 - `import trajopt` does not import CasADi

    from trajopt.symbolic import traced  # noqa: PLC0415 - imports CasADi

    pairs = list(zip(arguments, sizes, strict=True))
    if any(traced.has_symbol(argument) for argument in arguments):
        results = function.call([traced.to_matrix(traced.plain(traced.to_array(a)).reshape(size)) for a, size in pairs])
        return [_shaped(traced.elements_of(result).view(traced.TracedArray)) for result in results]
    results = function.call([ca.DM(np.asarray(a, dtype=float).reshape(size)) for a, size in pairs])
    return [_shaped(result.full()) for result in results]


def _shaped(matrix: Any) -> Any:
    """A number from 1 x 1, a vector from a column; other matrices as they are."""
    if matrix.shape == (1, 1):
        return matrix[0, 0]
    return matrix[:, 0] if matrix.shape[1] == 1 else matrix
