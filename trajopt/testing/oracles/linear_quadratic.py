"""A linear-quadratic problem as tables of numbers, and as a problem of this library.

With z = (x, u), minimise sum_k 1/2 z_k'H_k z_k + g_k'z_k, k < N, plus 1/2 x_N'P x_N + p'x_N, over trajectories with

    x_0 given,    x_{k+1} = F_k z_k + c_k,    bounds on controls and on states after the first,
    G z_k <= h_k,    E x_N = e.

Every matrix may change from stage to stage, and the cross and affine terms are all there. The Lagrangian adds
costates l_{k+1} times F_k z_k + c_k - x_{k+1} and each multiplier times its row; multipliers of bounds are positive at
the upper one and negative at the lower. It is stationary where

    H_k z_k + g_k + F_k'l_{k+1} + G'm_k + (s_k, b_k) = (l_k, 0),    P x_N + p + E'v + s_N = l_N.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.constraints import Bounds, Constraint, PathConstraint, TerminalConstraint
from trajopt.dynamics import DiscreteDynamics
from trajopt.errors import InvalidProblem
from trajopt.horizon import Horizon
from trajopt.plain import PlainFunctions
from trajopt.problem import Problem

Array = NDArray[np.float64]
Multipliers = Mapping[str, Array]
"""Of ``"control"`` bounds (N, nu), ``"state"`` bounds (N+1, nx), ``"path"`` rows (N, m) and ``"end"`` rows (q,)."""


@final
@dataclass(frozen=True, eq=False)
class LinearQuadratic:
    """The tables; `make` fills in what a problem does not have.

    Attributes
    ----------
    dynamics, offset
        F_k = [A_k B_k] (N, nx, nz) and c_k (N, nx).
    hessian, gradient
        H_k (N, nz, nz), symmetric, and g_k (N, nz).
    end_hessian, end_gradient
        P (nx, nx), symmetric, and p (nx,).
    initial_state
        (nx,).
    control_bounds, state_bounds
        Lower and upper, (2, nu) and (2, nx), infinite where there is none; those of states hold for k >= 1.
    rows, limits
        G (m, nz) and h_k (N, m).
    end_rows, end_values
        E (q, nx) and e (q,).
    """

    dynamics: Array
    offset: Array
    hessian: Array
    gradient: Array
    end_hessian: Array
    end_gradient: Array
    initial_state: Array
    control_bounds: Array
    state_bounds: Array
    rows: Array
    limits: Array
    end_rows: Array
    end_values: Array

    @classmethod
    def make(
        cls, dynamics: ArrayLike, hessian: ArrayLike, end_hessian: ArrayLike, initial_state: ArrayLike,
        **others: ArrayLike,
    ) -> LinearQuadratic:  # fmt: skip
        """Tables of which only these four must be given; no affine terms, bounds and rows unless they are given too.

        Raises
        ------
        InvalidProblem
            When a table has a wrong shape.
        """
        F = np.asarray(dynamics, float)
        if F.ndim != 3 or not F.shape[2] > F.shape[1]:
            raise InvalidProblem(
                f"the dynamics of a linear-quadratic problem have shape {F.shape}, but (N, nx, nx + nu) was expected; "
                "stack [A B] of every stage."
            )
        steps, nx, nz = F.shape
        shapes = {
            "offset": (steps, nx), "hessian": (steps, nz, nz), "gradient": (steps, nz), "end_hessian": (nx, nx),
            "end_gradient": (nx,), "initial_state": (nx,), "control_bounds": (2, nz - nx), "state_bounds": (2, nx),
            "rows": (len(np.asarray(others.get("rows", ()))), nz),
            "end_rows": (len(np.asarray(others.get("end_rows", ()))), nx),
        }  # fmt: skip
        shapes |= {"limits": (steps, shapes["rows"][0]), "end_values": shapes["end_rows"][:1]}
        tables = {name: np.zeros(shape) for name, shape in shapes.items()}
        for name in ("control_bounds", "state_bounds"):
            tables[name] += [[-np.inf], [np.inf]]
        given = {"hessian": hessian, "end_hessian": end_hessian, "initial_state": initial_state, **others}
        for name, table in given.items():
            if name not in shapes or np.shape(table) != shapes[name]:
                raise InvalidProblem(
                    f"a linear-quadratic problem was given {name} of shape {np.shape(table)}, but "
                    f"{shapes.get(name, 'no such table')} was expected; correct it."
                )
            tables[name] = np.array(table, float)
        return cls(F, **tables)

    @property
    def steps(self) -> int:
        """N."""
        return len(self.dynamics)

    @property
    def nx(self) -> int:
        """Number of states."""
        return self.dynamics.shape[1]

    @property
    def nu(self) -> int:
        """Number of controls."""
        return self.dynamics.shape[2] - self.nx

    def roll_out(self, controls: Array) -> Array:
        """States (N+1, nx) under controls (N, nu)."""
        states = [self.initial_state]
        for k in range(self.steps):
            states.append(self.dynamics[k] @ np.concatenate([states[-1], controls[k]]) + self.offset[k])
        return np.array(states)

    def cost(self, states: Array, controls: Array) -> float:
        """Cost of states (N+1, nx) and controls (N, nu), which need not obey the dynamics."""
        total = 0.5 * states[-1] @ self.end_hessian @ states[-1] + self.end_gradient @ states[-1]
        for k in range(self.steps):
            z = np.concatenate([states[k], controls[k]])
            total += 0.5 * z @ self.hessian[k] @ z + self.gradient[k] @ z
        return float(total)

    def tail(self, stage: int, state: Array) -> LinearQuadratic:
        """What remains from a stage on, when it is entered in ``state``."""
        stages = {name: getattr(self, name)[stage:] for name in ("offset", "hessian", "gradient", "limits")}
        constant = ("end_hessian", "end_gradient", "control_bounds", "state_bounds", "rows", "end_rows", "end_values")
        return LinearQuadratic.make(
            self.dynamics[stage:], initial_state=state, **stages, **{name: getattr(self, name) for name in constant}
        )

    def problem(self, *constraints: Constraint) -> Problem:
        """The same as a problem of this library, with more constraints if any are given.

        The tables are its parameters, so that problems of one size share their traced and compiled functions; two
        more, ``factor`` and ``constant``, turn its cost J into factor J + constant.
        """
        bounds = tuple(tuple(map(tuple, getattr(self, name).tolist())) for name in ("control_bounds", "state_bounds"))
        traced = _traced(self.steps, self.nx, self.nu, len(self.rows), len(self.end_rows), *bounds)
        tables = {name: getattr(self, name) for name in traced.parameters or {} if hasattr(self, name)}
        flat = {name: table.reshape(len(table), -1) if table.ndim == 3 else table for name, table in tables.items()}
        problem = traced.at(parameters=flat, initial_state=self.initial_state)
        return replace(problem, constraints=(*problem.constraints, *constraints)) if constraints else problem

    @classmethod
    def random(cls, seed: int, nx: int, nu: int, steps: int) -> LinearQuadratic:
        """Full tables from a seed, without bounds and rows, for sizes at which nobody reads the numbers.

        A has a spectral norm of at most 1.1, so that nothing grows fast, and no eigenvalue of H is below one.
        """
        rng, nz = np.random.default_rng(seed), nx + nu
        F, D = rng.normal(size=(nx, nz)), rng.normal(size=(steps, nx, nz))
        F[:, :nx] /= np.linalg.norm(F[:, :nx], 2)
        D *= 0.1 / np.linalg.norm(D, 2, axis=(1, 2))[:, None, None]
        roots, end = rng.normal(size=(steps, nz, nz)), rng.normal(size=(nx, nx))
        return cls.make(
            F + D,
            roots @ roots.transpose(0, 2, 1) / nz + np.eye(nz),
            end @ end.T / nx,
            rng.normal(size=nx),
            offset=rng.normal(size=(steps, nx)),
            gradient=rng.normal(size=(steps, nz)),
            end_gradient=rng.normal(size=nx),
        )

    @classmethod
    def of(cls, problem: Problem) -> LinearQuadratic:
        """Read the tables from a discrete-time problem without constraints, by differences of its plain functions.

        Of linear and quadratic functions these are exact but for rounding. Whether the problem is linear-quadratic is
        not checked here.
        """
        functions = PlainFunctions(problem, problem.layout.pack(problem.parameters))
        first, steps, nx, nz = (
            int(problem.horizon.start_guess),
            problem.horizon.steps,
            problem.nx,
            problem.nx + problem.nu,
        )
        tables: dict[str, list[Array]] = {name: [] for name in ("dynamics", "offset", "hessian", "gradient")}
        for t in range(first, first + steps):
            base = functions.dynamics(np.zeros(nx), np.zeros(nz - nx), t)
            columns = [functions.dynamics(z[:nx], z[nx:], t) - base for z in np.eye(nz)]
            hessian, gradient = _second_differences(lambda z, t=t: functions.stage_cost(z[:nx], z[nx:], t), nz)
            for name, table in zip(tables, (np.array(columns).T, base, hessian, gradient), strict=True):
                tables[name].append(table)
        end = _second_differences(lambda x: functions.terminal_cost(x, first + steps), nx)
        arrays = {name: np.array(table) for name, table in tables.items()}
        return cls.make(**arrays, end_hessian=end[0], end_gradient=end[1], initial_state=problem.initial_values)


def _second_differences(function: Any, size: int) -> tuple[Array, Array]:
    """Hessian and gradient at zero of a quadratic function of ``size`` numbers."""
    unit, base = np.eye(size), function(np.zeros(size))
    plus, minus = (np.array([function(sign * step) for step in unit]) for sign in (1.0, -1.0))
    hessian = np.diag(plus + minus - 2.0 * base)
    for i in range(size):
        for j in range(i):
            hessian[i, j] = hessian[j, i] = function(unit[i] + unit[j]) - plus[i] - plus[j] + base
    return hessian, 0.5 * (plus - minus)


@lru_cache(maxsize=256)
def _traced(steps: int, nx: int, nu: int, rows: int, end_rows: int, control_bounds: Any, state_bounds: Any) -> Problem:
    """A problem of that size whose tables are parameters, all zero."""
    nz = nx + nu

    def at(table: Any, t: Any) -> Any:  # the row of a table by a symbolic step number
        return sum(np.where(t == k, 1.0, 0.0) * table[k] for k in range(steps))

    def dynamics(x: Array, u: Array, t: float, p: Any) -> Any:
        return at(p.dynamics, t).reshape(nx, nz) @ np.concatenate([x, u]) + at(p.offset, t)

    def stage_cost(x: Array, u: Array, t: float, p: Any) -> Any:
        z = np.concatenate([x, u])
        return p.factor * (0.5 * (z @ at(p.hessian, t).reshape(nz, nz) @ z) + at(p.gradient, t) @ z)

    constraints: list[Any] = []
    if np.isfinite([control_bounds]).any() or np.isfinite([state_bounds]).any():
        constraints.append(Bounds(control=control_bounds, state=state_bounds))
    if rows:
        constraints.append(
            PathConstraint(lambda x, u, t, p: p.rows @ np.concatenate([x, u]) - at(p.limits, t), name="path")
        )
    if end_rows:
        constraints.append(TerminalConstraint(lambda x, p: p.end_rows @ x - p.end_values, name="end"))
    shapes = {
        "dynamics": (steps, nx * nz), "offset": (steps, nx), "hessian": (steps, nz * nz), "gradient": (steps, nz),
        "end_hessian": (nx, nx), "end_gradient": (nx,),
    }  # fmt: skip
    shapes |= {"rows": (rows, nz), "limits": (steps, rows)} if rows else {}
    shapes |= {"end_rows": (end_rows, nx), "end_values": (end_rows,)} if end_rows else {}
    return Problem(
        DiscreteDynamics(dynamics, nx=nx, nu=nu),
        stage_cost=stage_cost,
        terminal_cost=lambda x, p: p.factor * (0.5 * (x @ p.end_hessian @ x) + p.end_gradient @ x) + p.constant,
        initial_state=np.clip(np.zeros(nx), *state_bounds),
        parameters={name: np.zeros(shape) for name, shape in shapes.items()} | {"factor": 1.0, "constant": 0.0},
        constraints=constraints,
        horizon=Horizon(steps=steps),
        name="linear-quadratic",
    )
