"""Derivatives of an optimal solution by the numbers of its problem, by the implicit function theorem.

With theta the parameters and the fixed entries of the initial state, L = f + lambda' g the Lagrangian of the
transcribed program, w its variables and A = dg/dw of the active rows g = limit, the optimality conditions give

    [ L_ww  A' ] [ dw      ]     [ L_w theta ]
    [ A     0  ] [ dlambda ] = - [ g_theta   ] dtheta,

for the variables that are not at an active bound, which stay there. The matrix is the one of Newton's method at the
solution: one more factorisation, linear in the number of intervals, then two sweeps for each direction. The other way
round, a gradient by w becomes one by all of theta with a single pair of sweeps (`SolutionDerivatives.vjp`). The optimal
cost needs no sweep at all: dJ*/dtheta = dL/dtheta (the envelope theorem).

Where a constraint touches its limit without pressing on it, the solution has a kink: derivatives there are those of the
problem without that constraint, right for changes that lead away from it. `SolutionDerivatives.degenerate` says so.

References: Fiacco, Introduction to Sensitivity and Stability Analysis in Nonlinear Programming, 1983, theorem 3.2.2;
Jin, Mou, Pappas, Safe Pontryagin Differentiable Programming, NeurIPS 2021; Oshin, Almubarak, Theodorou, Differentiable
Robust MPC, RSS 2024 (the adjoint by one more Riccati sweep).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from trajopt.derivatives.inputs import INITIAL_STATE, pack_inputs, read_array
from trajopt.derivatives.kkt import DIGITS
from trajopt.derivatives.linearisation import lineariser
from trajopt.derivatives.names import row_names, variable_names
from trajopt.derivatives.optimum import Optimum, polish
from trajopt.errors import InvalidProblem, NotDifferentiable
from trajopt.problem import Feature, Problem
from trajopt.solution import Solution
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation import DirectProgram, compile_problem, pose
from trajopt.transcription.collocation_reading import read_trajectory
from trajopt.transcription.nlp import Instance

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Tangent:
    """How the optimal solution moves along one direction.

    Attributes
    ----------
    x
        (N+1, nx) states at the knots.
    u
        Controls, of the shape of ``solution.u``.
    cost
        Of the transcribed problem.
    start, duration
        Zero unless they are free.
    parameters
        Free parameters by name.
    """

    x: Array
    u: Array
    cost: float
    start: float
    duration: float
    parameters: dict[str, Any]


@final
class SolutionDerivatives:
    """Derivatives of a solution by ``initial_state`` and by every fixed parameter; made by `Solution.derivatives`.

    Jacobians are dictionaries by the name of what is varied, whose shape stands behind that of what varies:
    ``derivatives.x["mass"]`` is (N+1, nx) and ``derivatives.u["initial_state"]`` is (N, nu, nx). Columns of free
    entries of the initial state are zero: the solver chooses those, nobody can vary them.

    Attributes
    ----------
    solution
        What was differentiated.
    trajectory
        The same, polished until only rounding is left.
    weakly_active
        Constraints and bounds, with the knot, that touch their limit without pressing on it.
    dependent
        Whether active constraints depend on each other. Multipliers, and with them the derivatives of the cost, are
        then one choice of several; those of the trajectory are not affected.
    """

    def __init__(self, solution: Solution, structure: DirectProgram, instance: Instance, optimum: Optimum) -> None:
        assert solution.problem is not None
        self.solution = solution
        self._problem: Problem = solution.problem
        self._structure, self._instance, self._optimum = structure, instance, optimum
        self._parts, self._inputs = pack_inputs(self._problem, structure)
        self._size = len(optimum.w)
        self._shapes = {INITIAL_STATE: (self._problem.nx,), **self._problem.layout.shapes}
        self._slopes = optimum.at.gradient @ self._inputs
        program, at = lineariser(structure.program), optimum.at
        matrices = [program.hessian.matrix(at.hessian), program.jacobian.matrix(at.jacobian)]
        self._sides = optimum.system.moving[:, None] * np.vstack(
            [sp.csr_array(part @ self._inputs).toarray() for part in matrices]
        )

    @cached_property
    def trajectory(self) -> Trajectory:
        """The polished solution."""
        return read_trajectory(self._structure, self._problem, self._instance, self._optimum.w)

    @property
    def dependent(self) -> bool:
        """Whether active constraints depend on each other."""
        return self._optimum.dependent

    @cached_property
    def weakly_active(self) -> tuple[str, ...]:
        """Names of the constraints and bounds that touch without pressing."""
        rows, bounds = np.flatnonzero(self._optimum.weak_rows), np.flatnonzero(self._optimum.weak_bounds)
        names = row_names(self._structure, self._problem, rows)
        return tuple(names + variable_names(self._structure, self._problem, bounds))

    @property
    def degenerate(self) -> bool:
        """Whether the derivatives hold for some directions only, because a constraint is weakly active."""
        return bool(self.weakly_active)

    @property
    def cost(self) -> dict[str, Array]:
        """Gradient of the optimal cost: by the initial state it is the costate there."""
        return self._split(self._slopes)

    @property
    def x(self) -> dict[str, Array]:
        """Jacobians of the states at the knots, (N+1, nx, ...)."""
        return self._split(self._jacobian[self._structure.variables.x])

    @property
    def u(self) -> dict[str, Array]:
        """Jacobians of the controls, (N, nu, ...), or (N+1, nu, ...) where they are interpolated."""
        return self._split(self._jacobian[self._structure.controls])

    @property
    def start(self) -> dict[str, Array]:
        """Gradients of the initial time; zero unless it is free."""
        return self._split(self._unknowns[0])

    @property
    def duration(self) -> dict[str, Array]:
        """Gradients of the duration; zero unless it is free."""
        return self._split(self._unknowns[1])

    @property
    def final_time(self) -> dict[str, Array]:
        """Gradients of the final time."""
        return self._split(self._unknowns[0] + self._unknowns[1])

    @property
    def parameters(self) -> dict[str, dict[str, Array]]:
        """For each free parameter its Jacobians."""
        layout = self._problem.layout
        return {
            name: self._split(self._unknowns[2:][part].reshape(*layout.shapes[name], -1))
            for name, part in layout.slices.items()
            if name in layout.free
        }

    def jvp(self, *, initial_state: ArrayLike | None = None, parameters: Mapping[str, Any] | None = None) -> Tangent:
        """How the solution moves when its problem does: derivatives along one direction.

        Parameters
        ----------
        initial_state
            (nx,) change of the initial state.
        parameters
            Changes of fixed parameters by name; no change where left out.
        """
        direction = self._direction(initial_state, parameters)
        w, layout = self._move(direction), self._structure.variables
        unknowns = self._read_unknowns(w)
        named = self._problem.layout.unpack(unknowns[2:])
        return Tangent(
            w[layout.x], w[self._structure.controls],
            float(self._slopes @ direction), float(unknowns[0]), float(unknowns[1]),
            {name: value for name, value in named.items() if name in self._problem.layout.free},
        )  # fmt: skip

    def vjp(
        self,
        x_bar: ArrayLike | None = None,
        u_bar: ArrayLike | None = None,
        cost_bar: float = 0.0,
        *,
        start_bar: float = 0.0,
        duration_bar: float = 0.0,
        parameters_bar: Mapping[str, Any] | None = None,
    ) -> dict[str, Array]:
        """Gradient of a function of the solution by everything that can be varied, with a single adjoint solve.

        Parameters
        ----------
        x_bar, u_bar, cost_bar, start_bar, duration_bar
            Derivatives of that function by ``solution.x``, ``solution.u``, cost and times, of their shapes.
        parameters_bar
            Those by free parameters, by name.

        Returns
        -------
        dict
            ``initial_state`` and each fixed parameter with its gradient.
        """
        optimum, layout = self._optimum, self._structure.variables
        bar = np.zeros(self._size)
        for places, given, name in ((layout.x, x_bar, "x_bar"), (self._structure.controls, u_bar, "u_bar")):
            if given is not None:
                np.add.at(bar, places, read_array(name, given, places.shape))  # a place may stand for two rows
        unknowns = np.zeros(2 + self._problem.layout.size)
        unknowns[:2] = start_bar, duration_bar
        for name, value in (parameters_bar or {}).items():
            self._check_name(name, self._problem.layout.free, "free")
            unknowns[2:][self._problem.layout.slices[name]] = read_array(
                f"parameters_bar[{name!r}]", value, self._problem.layout.shapes[name]
            ).ravel()
        bar[layout.free] = unknowns[self._structure.free]
        gradient = cost_bar * self._slopes + bar @ self._inputs[: self._size]
        side = np.concatenate([bar, np.zeros(len(optimum.multipliers))]) * optimum.system.moving
        if side.any():
            gradient = gradient - self._solve(side) @ self._sides
        return self._split(gradient)

    def predict(
        self, *, initial_state: ArrayLike | None = None, parameters: Mapping[str, Any] | None = None
    ) -> Trajectory:
        """The solution of a nearby problem to first order, moved into its bounds: a guess for solving it.

        Parameters
        ----------
        initial_state
            (nx,) of that problem; None for the same.
        parameters
            Those that differ, by name.
        """
        problem = self._problem.at(initial_state=initial_state, parameters=parameters)
        start = np.nan_to_num(problem.initial_values - self._problem.initial_values)
        packed = problem.layout.pack(problem.parameters) - self._problem.layout.pack(self._problem.parameters)
        direction = np.concatenate([start, *(packed[part] for part in self._packed_parts)])
        w = self._optimum.w + self._move(direction)
        fixed = ~np.isnan(problem.initial_values)
        lower, upper = self._instance.lower.copy(), self._instance.upper.copy()
        places = self._structure.variables.x[0, fixed]
        lower[places] = upper[places] = problem.initial_values[fixed]
        shared = self._instance.shared + (self._inputs @ direction)[self._size :]
        instance = replace(self._instance, shared=shared)
        return read_trajectory(self._structure, problem, instance, np.clip(w, lower, upper))

    @cached_property
    def _jacobian(self) -> Array:
        """(size, n) of all variables by all that can be varied."""
        return self._move(np.eye(len(self._slopes)))

    @cached_property
    def _unknowns(self) -> Array:
        return self._read_unknowns(self._jacobian)

    @property
    def _packed_parts(self) -> list[slice]:
        """Places of the fixed parameters in the packed vector."""
        slices = self._problem.layout.slices
        return [slices[name] for name in self._parts if name != INITIAL_STATE]

    def _read_unknowns(self, w: Array) -> Array:
        """Changes of start, duration and packed parameters."""
        whole = np.zeros((2 + self._problem.layout.size, *w.shape[1:]))
        whole[self._structure.free] = w[self._structure.variables.free]
        return whole

    def _move(self, direction: Array) -> Array:
        """Changes of all variables for a change (n,) or several (n, k) of what can be varied."""
        w = self._inputs[: self._size] @ direction
        return w - self._solve(self._sides @ direction)[: self._size]

    def _solve(self, side: Array) -> Array:
        """Solve the optimality system, and refuse sides that dependent constraints cannot follow."""
        system = self._optimum.system
        solution = system.solve(side)
        if system.residual(solution, side) > DIGITS:
            raise NotDifferentiable(
                "active constraints depend on each other and contradict one another once the problem changes, but a "
                "solution that can follow the change was expected; leave out constraints that others imply."
            )
        return solution

    def _split(self, values: Array) -> dict[str, Array]:
        """Values (..., n) by name, each of shape (..., shape of the name)."""
        outer = values.shape[:-1]
        return {name: values[..., part].reshape((*outer, *self._shapes[name])) for name, part in self._parts.items()}

    def _direction(self, initial_state: ArrayLike | None, parameters: Mapping[str, Any] | None) -> Array:
        direction = np.zeros(len(self._slopes))
        given = dict(parameters or {})
        for name in given:
            self._check_name(name, set(self._parts) - {INITIAL_STATE}, "fixed")
        if initial_state is not None:
            given[INITIAL_STATE] = initial_state
        for name, value in given.items():
            direction[self._parts[name]] = read_array(name, value, self._shapes[name]).ravel()
        return direction

    def _check_name(self, name: str, allowed: Any, kind: str) -> None:
        if name not in allowed:
            raise InvalidProblem(
                f"the parameter {name!r} was given, but one of the {kind} parameters was expected "
                f"({', '.join(sorted(allowed)) or 'there are none'}); correct the name."
            )

    def __repr__(self) -> str:
        note = f", degenerate at {', '.join(self.weakly_active)}" if self.degenerate else ""
        return f"SolutionDerivatives(of {self.solution.solver} by {', '.join(self._parts)}{note})"


def differentiate(solution: Solution) -> SolutionDerivatives:
    """Derivatives of a solution by the parameters and the initial state of its problem.

    Parameters
    ----------
    solution
        Of a solver that finds a local optimum of a transcription: `ILQR`, `DDP`, `InteriorPoint`, `MultipleShooting`,
        `SingleShooting`, `LQR`, `Collocation`, or a composition that ends with one.

    Raises
    ------
    NotDifferentiable
        When the solution is no local optimum, the optimality system is singular, or nobody knows its transcription.
    InvalidProblem
        When a parameter is called "initial_state".
    """
    problem, scheme = solution.problem, solution.transcription
    if problem is None or scheme is None:
        raise NotDifferentiable(
            f"derivatives of a solution by {solution.solver} were asked for, which does not say which equations it "
            "solved, but one of a gradient-based solver was expected, as solve returned it; solve with InteriorPoint() "
            "or Collocation() from this one as a guess."
        )
    if Feature.BLACK_BOX in problem.features:
        raise NotDifferentiable(
            "derivatives of a solution with black-box dynamics were asked for, but traced dynamics were expected; "
            "write the dynamics as a NumPy function in ContinuousDynamics or DiscreteDynamics."
        )
    if not solution.success:
        raise NotDifferentiable(
            f"derivatives of a solution with status {solution.status} were asked for, but a local optimum was "
            f"expected; {solution.message}"
        )
    if INITIAL_STATE in problem.layout.shapes:
        raise InvalidProblem(
            f"a parameter is called {INITIAL_STATE!r}, but derivatives keep that name for the initial state; rename it."
        )
    structure = compile_problem(problem, scheme)
    instance = _at_solution(structure, solution)
    program = lineariser(structure.program)
    return SolutionDerivatives(solution, structure, instance, polish(program, instance))


def _at_solution(structure: DirectProgram, solution: Solution) -> Instance:
    """The program with the solution as its guess, the states inside the intervals from its own interpolation."""
    assert solution.problem is not None
    instance = pose(structure, solution.problem, solution.trajectory, scaled=False)
    spans = np.diff(solution.t)
    for scheme, chosen in structure.mesh.groups():
        inside, _ = structure.variables.inside(chosen)
        for j, node in enumerate(scheme.nodes[1:-1] if scheme.inner else ()):
            instance.guess[inside[:, j]] = solution(solution.t[chosen] + node * spans[chosen])[0]
    return instance
