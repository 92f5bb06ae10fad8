"""``torch_layer``: a solver as a differentiable function of PyTorch tensors; torch loads only when it is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from trajopt.errors import InvalidProblem, MissingExtra
from trajopt.problem import Problem
from trajopt.solver import Solver

if TYPE_CHECKING:
    from trajopt.derivatives.torch_function import SolverLayer


def torch_layer(
    problem: Problem,
    solver: str | Solver = "auto",
    *,
    on_failure: Literal["raise", "zero"] = "raise",
    threads: int | None = None,
) -> SolverLayer:
    """A function of tensors that solves ``problem``, and through which gradients flow back to what was given.

        layer = trajopt.torch_layer(problem, InteriorPoint())
        u, x, cost = layer(initial_state=states, parameters={"mass": mass})

    Parameters
    ----------
    problem
        What to solve; the numbers that a call does not give are its own.
    solver
        As for `trajopt.solve`; one that finds local optima. Its tolerance is the accuracy of the result.
    on_failure
        "raise" an error when an instance is not solved or has no derivatives; or "zero": such an instance returns NaN
        and passes zero gradients back, so that ``cost.isfinite()`` tells which instances count.
    threads
        Instances of a batch at a time, as for `trajopt.solve_batch`.

    Raises
    ------
    MissingExtra
        When PyTorch is not installed.
    InvalidProblem
        When the problem is none, or ``on_failure`` is something else.
    """
    if not isinstance(problem, Problem):
        raise InvalidProblem(
            f"torch_layer got a {type(problem).__name__}, but a Problem was expected; make one with Problem(...)."
        )
    if on_failure not in ("raise", "zero"):
        raise InvalidProblem(f"on_failure={on_failure!r} was given, but 'raise' or 'zero' was expected; pick one.")
    try:
        import torch  # noqa: F401, PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise MissingExtra(
            'torch_layer was called, but PyTorch is not installed; write pip install "trajopt[learned]".'
        ) from error
    from trajopt.derivatives.torch_function import SolverLayer  # noqa: PLC0415 - needs torch

    return SolverLayer(problem, solver, on_failure, threads)
