"""Direct collocation: states and controls at all nodes are unknowns, the dynamics are equations; IPOPT solves them.

On an interval of length h, with f_j = f(x_j, u_j, t_j) at left knot 0, midpoint m and right knot 1, the defects are

    trapezoidal       x_1 - x_0 - h/2 (f_0 + f_1) = 0                                 control linear, state quadratic
    Hermite-Simpson   x_1 - x_0 - h/6 (f_0 + 4 f_m + f_1) = 0                         control quadratic, state cubic
                      x_m - x_0 - h/24 (5 f_0 + 8 f_m - f_1) = 0

(the second is the Hermite midpoint (x_0 + x_1)/2 + h/8 (f_0 - f_1) with the first put in). Stage cost and integral
constraints are integrated by the same weights: h/2 (1, 1) and h/6 (1, 4, 1). Where the control is smooth, the errors of
state, costate and cost shrink as h^2 and h^4, those of the control at the knots as h and h^2. Initial time, duration
and parameters may be unknowns too: t_k = t_0 + T k/N. Discrete dynamics x_{k+1} = f(x_k, u_k) are taken as they are,
with held controls.

Control bounds hold at every time: the middle unknown of a parabola is its Bernstein coefficient. State bounds and path
constraints hold at the knots and, for Hermite-Simpson, at the midpoints. In between the answer may cheat: its cost can
be *below* the optimum. ``solution.certificate`` integrates again and tells.

With the multipliers mu of L = J + mu' defects, the costate at a knot is the gradient by its state of that part of L
that lies in the future, dJ*/dx. At an inner knot it equals minus the gradient of the past, up to the jump that an
active state constraint makes there; the mean of both is returned. So H = l + costate' f.

References: Betts, Practical Methods for Optimal Control and Estimation, 2010, ch. 4; Kelly, SIAM Review 59(4), 2017.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import Outcome, Solver
from trajopt.solvers.ipopt import IpoptResult, run_ipopt
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation import CollocationProgram, compile_problem, pose, read_trajectory
from trajopt.transcription.collocation_schemes import SCHEMES

Array = NDArray[np.float64]


@final
@dataclass(frozen=True)
class Collocation(Solver):
    """Direct collocation with exact sparse derivatives, solved by IPOPT; it handles every kind of constraint.

    Parameters
    ----------
    scheme
        "hermite_simpson" (order 4, control quadratic) or "trapezoidal" (order 2, control linear).
    tolerance
        Largest violation and stationarity at the solution, as IPOPT measures them on the scaled program.
    iterations
        At most.
    scaling
        "auto" measures states, controls and time by their bounds, else by the guess and its slopes, so that the choice
        of units hardly matters; None leaves them alone.
    options
        More options of IPOPT's own, by their names in its manual, for example ``{"mu_strategy": "monotone"}``.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    scheme: Literal["hermite_simpson", "trapezoidal"] = "hermite_simpson"
    tolerance: float = 1e-8
    iterations: int = 3000
    scaling: Literal["auto"] | None = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)

    handles: ClassVar[frozenset[Feature]] = frozenset(Feature)
    preference: ClassVar[int] = 20

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise InvalidProblem(
                f"Collocation got scheme={self.scheme!r}, but {' or '.join(map(repr, SCHEMES))} was expected."
            )
        if not (math.isfinite(self.tolerance) and self.tolerance > 0.0):
            raise InvalidProblem(
                f"Collocation got tolerance={self.tolerance}, but a positive number was expected; try 1e-8."
            )
        if isinstance(self.iterations, bool) or int(self.iterations) != self.iterations or self.iterations < 0:
            raise InvalidProblem(
                f"Collocation got iterations={self.iterations}, but a whole number of at least zero was expected; "
                "correct it."
            )
        if self.scaling not in ("auto", None):
            raise InvalidProblem(
                f"Collocation got scaling={self.scaling!r}, but 'auto' or None was expected; correct it."
            )

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``; see `Solver.run`."""
        structure = compile_problem(problem, SCHEMES[self.scheme])
        instance = pose(structure, problem, guess, scaled=self.scaling == "auto")
        result = run_ipopt(
            instance, monitor, tolerance=self.tolerance, iterations=self.iterations, options=dict(self.options)
        )
        trajectory = read_trajectory(structure, problem, instance, result.w)
        return Outcome(
            status=result.status,
            trajectory=trajectory,
            cost=result.cost,
            iterations=result.iterations,
            detail=result.detail,
            multipliers=_multipliers(structure, trajectory, result),
        )


def _multipliers(structure: CollocationProgram, trajectory: Trajectory, result: IpoptResult) -> dict[str, Array]:
    """Costates, and the multipliers of the constraints by kind.

    Those that act along the time are densities: multiplier of the node over the time that it stands for, so that they
    approach the multipliers mu(t) of the continuous problem.
    """
    layout, rows = structure.variables, structure.rows
    steps = trajectory.steps
    if structure.scheme is None:
        weights, at_knots = np.ones(0), np.ones((steps + 1, 1))
    else:
        weights = (trajectory.t[-1] - trajectory.t[0]) / steps * structure.scheme.weights
        at_knots = np.full((steps + 1, 1), weights[0] + weights[-1])
        at_knots[[0, -1], 0] = weights[0], weights[-1]
    lam, mu = result.row_multipliers, result.bound_multipliers
    found = {
        "costates": _costates(structure, result),
        "path": lam[rows.path] / at_knots[: len(rows.path)],
        "state_bounds": mu[layout.x] / at_knots,
        "control_bounds": mu[layout.u] / at_knots[: len(layout.u)],
        "terminal": lam[rows.terminal],
        "boundary": lam[rows.boundary],
        "integral": lam[rows.integral],
    }
    if structure.scheme is not None and structure.scheme.inner:
        found["path_mid"] = lam[rows.path_inner[:, 0]] / weights[1]
    return found


def _costates(structure: CollocationProgram, result: IpoptResult) -> Array:
    """(N+1, nx) gradients dJ*/dx at the knots."""
    layout = structure.variables
    nx = layout.x.shape[1]
    gradients = result.element_gradients[0]
    right = gradients.shape[0] - len(layout.free) - nx - (layout.u.shape[1] if len(layout.u) == len(layout.x) else 0)
    future, past = gradients[:nx].T, -gradients[right : right + nx].T
    return np.vstack([future[:1], 0.5 * (future[1:] + past[:-1]), past[-1:]])
