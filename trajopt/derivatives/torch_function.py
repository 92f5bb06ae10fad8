"""A solver inside a learning loop: `trajopt.torch_layer` returns a `SolverLayer`.

Forward solves, in double precision, the instances of a batch in threads. Backward is the adjoint of the implicit
function theorem, one pair of sweeps for each instance whatever the number of parameters (`SolutionDerivatives.vjp`).
What backward needs is factored on the way forward, where an instance that has no derivatives can still be told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.autograd.function import once_differentiable

from trajopt.batch import solve_batch
from trajopt.derivatives.inputs import INITIAL_STATE
from trajopt.derivatives.solution_derivatives import SolutionDerivatives, differentiate
from trajopt.errors import InvalidProblem, NotDifferentiable, SolveFailed
from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.solver import Solver

Array = NDArray[np.float64]


class LayerOutput(NamedTuple):
    """Optimal solutions as tensors; a batch stands in front.

    Attributes
    ----------
    u
        ([B,] N, nu) held controls, or ([B,] N+1, nu) interpolated ones.
    x
        ([B,] N+1, nx) states at the knots.
    cost
        ([B]) as the solver's discretisation values it.
    """

    u: torch.Tensor
    x: torch.Tensor
    cost: torch.Tensor


@final
class SolverLayer(torch.nn.Module):
    """A differentiable solver without weights of its own; made by `trajopt.torch_layer`, which documents it."""

    def __init__(self, problem: Problem, solver: str | Solver, on_failure: str, threads: int | None) -> None:
        super().__init__()
        self.problem, self.solver, self.on_failure, self.threads = problem, solver, on_failure, threads

    def forward(
        self, initial_state: torch.Tensor | None = None, parameters: Mapping[str, torch.Tensor] | None = None
    ) -> LayerOutput:
        """Solve, for one instance or a batch.

        Parameters
        ----------
        initial_state
            (nx,), or (B, nx) for a batch; free entries of the problem's stay free, whatever stands there.
        parameters
            Fixed parameters by name, of their own shapes, or with B in front.

        Raises
        ------
        InvalidProblem
            When a name, a shape or a number makes no sense.
        SolveFailed, NotDifferentiable
            When an instance is not solved, or has no derivatives although they are needed; unless
            ``on_failure="zero"``.
        """
        given = dict(parameters or {}) | ({} if initial_state is None else {INITIAL_STATE: initial_state})
        names, tensors = tuple(given), tuple(given.values())
        batch = self._batch(given)
        call = _Call(self, names, batch)
        return LayerOutput(*_Solve.apply(call, *tensors))  # pyright: ignore[reportGeneralTypeIssues]

    def _batch(self, given: Mapping[str, torch.Tensor]) -> int | None:
        """Number of instances, or None for a single one without a batch in front."""
        layout, sizes = self.problem.layout, set()
        for name, tensor in given.items():
            if not isinstance(tensor, torch.Tensor):
                raise InvalidProblem(f"{name} of type {type(tensor).__name__} was given, but a tensor was expected.")
            if name != INITIAL_STATE and (name not in layout.shapes or name in layout.free):
                fixed = [known for known in layout.shapes if known not in layout.free]
                raise InvalidProblem(
                    f"the parameter {name!r} was given, but one of the fixed parameters was expected "
                    f"({', '.join(fixed) or 'there are none'}); correct the name."
                )
            shape = (self.problem.nx,) if name == INITIAL_STATE else layout.shapes[name]
            if tuple(tensor.shape) != shape and tuple(tensor.shape[1:]) != shape:
                raise InvalidProblem(
                    f"{name} has shape {tuple(tensor.shape)}, but {shape} was expected, or that with the size of a "
                    "batch in front; reshape it."
                )
            if tensor.ndim > len(shape):
                sizes.add(tensor.shape[0])
        if len(sizes) > 1:
            raise InvalidProblem(f"batches of {sorted(sizes)} instances were given, but one size was expected.")
        if sizes == {0}:
            raise InvalidProblem("a batch of no instances was given, but one at least was expected; give some.")
        return sizes.pop() if sizes else None

    def extra_repr(self) -> str:
        """What torch prints between the brackets."""
        return f"{self.problem.name or 'problem'}, {self.solver}, on_failure={self.on_failure!r}"


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a layer: which tensors it was given, and how many instances they make."""

    layer: SolverLayer
    names: tuple[str, ...]
    batch: int | None

    def solve(self, tensors: Sequence[torch.Tensor]) -> list[Solution]:
        """Solutions of all instances."""
        problem, count = self.layer.problem, 1 if self.batch is None else self.batch
        columns: dict[str, Any] = {}
        states: list[list[float | None]] = [list(problem.initial_state or ())] * count
        for name, tensor in zip(self.names, tensors, strict=True):
            values = tensor.detach().cpu().double().numpy()
            shape = (problem.nx,) if name == INITIAL_STATE else problem.layout.shapes[name]
            values = np.broadcast_to(values, (count, *shape))
            if name == INITIAL_STATE:
                free = np.isnan(problem.initial_values)
                states = [[None if f else float(v) for f, v in zip(free, row, strict=True)] for row in values]
            else:
                columns[name] = list(values)
        return solve_batch(
            problem, self.layer.solver, initial_states=states, parameters=columns, threads=self.layer.threads
        )

    def differentiate(self, index: int, solution: Solution, needed: bool) -> SolutionDerivatives | None:
        """Derivatives of an instance; None where they are not needed, or where its failure is to pass zeros.

        Raises
        ------
        SolveFailed, NotDifferentiable
            When the layer is to raise.
        """
        quiet = self.layer.on_failure == "zero"
        if not solution.success:
            if quiet:
                return None
            raise SolveFailed(
                f"instance {index} ended with status {solution.status}: {solution.message} Give it another guess, or "
                "make the layer with on_failure='zero'.",
                solution,
            )
        if not needed:
            return None
        try:
            return differentiate(solution)
        except NotDifferentiable as error:
            if quiet:
                return None
            raise NotDifferentiable(f"instance {index}: {error}") from error


class _Solve(torch.autograd.Function):
    """Solutions as a function of tensors, with the adjoint as its backward."""

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        needed = any(ctx.needs_input_grad)
        solutions = call.solve(tensors)
        found = [call.differentiate(index, solution, needed) for index, solution in enumerate(solutions)]
        ctx.call, ctx.derivatives, ctx.shapes = call, found, [tensor.shape for tensor in tensors]
        like = _like(tensors)
        ctx.like = [(tensor.dtype, tensor.device) for tensor in tensors]
        outputs = []
        for values in ([s.u for s in solutions], [s.x for s in solutions], [np.array(s.cost) for s in solutions]):
            kept = [
                value if solution.success and (not needed or one is not None) else np.full(value.shape, np.nan)
                for value, solution, one in zip(values, solutions, found, strict=True)
            ]
            stacked = torch.as_tensor(np.stack(kept)).to(**like)
            outputs.append(stacked if call.batch is not None else stacked[0])
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, u_bar: Any, x_bar: Any, cost_bar: Any) -> tuple[Any, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        call: _Call = ctx.call
        bars = [bar.detach().cpu().double().numpy() for bar in (u_bar, x_bar, cost_bar)]
        if call.batch is None:
            bars = [bar[None] for bar in bars]
        gradients = [
            None if one is None else one.vjp(x_bar=x, u_bar=u, cost_bar=float(cost))
            for one, u, x, cost in zip(ctx.derivatives, *bars, strict=True)
        ]
        answers = []
        for name, shape, (dtype, device) in zip(call.names, ctx.shapes, ctx.like, strict=True):
            own = (call.layer.problem.nx,) if name == INITIAL_STATE else call.layer.problem.layout.shapes[name]
            each = np.stack([np.zeros(own) if one is None else one[name] for one in gradients])
            batched = call.batch is not None and len(shape) > len(own)
            total = each if batched else each.sum(axis=0)  # what all instances share gathers their gradients
            answers.append(torch.as_tensor(total).to(dtype=dtype, device=device))
        return (None, *answers)


def _like(tensors: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Device of the first tensor, and the widest of their floating types; double without any."""
    dtype = torch.float64
    if tensors:
        dtype = max((tensor.dtype for tensor in tensors), key=lambda kind: kind.itemsize)
        dtype = dtype if dtype.is_floating_point else torch.float64
    return {"dtype": dtype, "device": tensors[0].device if tensors else torch.device("cpu")}
