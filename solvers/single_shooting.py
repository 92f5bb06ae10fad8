"""Direct single shooting: the controls are the only unknowns, the states follow from them by simulation.

With held controls u_k, free initial states, times and parameters as the unknowns y, and the states x_{k+1} = F_k(x_k,
u_k) of s Runge-Kutta steps an interval (or of discrete dynamics), minimise

    J(y) = sum_k L_k(x_k, u_k) + phi(x_N)    subject to the constraints as functions of y alone.

The gradient comes from one sweep backwards, the discrete adjoint

    lambda_N = phi_x,    lambda_k = L_x + F_x' lambda_{k+1},    dJ/du_k = L_u + F_u' lambda_{k+1},

in which active constraints stand with their multipliers, so that lambda is the costate dJ*/dx. "newton" takes the exact
Hessian, which condensing gives from the same stages (`trajopt.transcription.condensing`); "quasi-newton" builds one
from gradients (limited-memory BFGS), which is cheaper an iteration when unknowns are many and needs more of them.

IPOPT solves the dense program: control bounds by its barrier, state bounds and all others as rows. A trial control
whose simulation is not finite is refused, and the step shortened. Every iterate obeys the dynamics: stopped at any
time, the answer is a true trajectory. In return the guess of the states is not used, and unstable or chaotic dynamics
spoil the conditioning over a long horizon: then prefer `MultipleShooting`, whose program and optima are the same.

References: Hicks, Ray 1971; Betts, Practical Methods for Optimal Control, 2010, section 3.3; Nocedal, Wright 2006,
section 15.3. Differs from them: an interior-point method in place of sequential quadratic programming.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, final

from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solver import Outcome
from trajopt.solvers.direct import ShootingMethod, read_outcome
from trajopt.trajectory import Trajectory
from trajopt.transcription.condensing import condense
from trajopt.validation import check_choice

_METHODS: dict[str, dict[str, Any]] = {
    "newton": {},
    "quasi-newton": {"hessian_approximation": "limited-memory", "limited_memory_max_history": 30},
}
"""Options of IPOPT for each way to a Hessian."""


@final
@dataclass(frozen=True)
class SingleShooting(ShootingMethod):
    """Direct single shooting with adjoint gradients, solved by IPOPT; it handles every kind of constraint.

    Parameters
    ----------
    method
        "newton" with exact Hessians, or "quasi-newton" with limited-memory BFGS.
    integrator, substeps, tolerance, iterations, scaling, options
        As in every `ShootingMethod`.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    method: Literal["newton", "quasi-newton"] = "newton"

    preference: ClassVar[int] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.method, "method", _METHODS)

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from the controls of ``guess``; its states do not matter, but for free initial ones."""
        structure, full = self.transcribe(problem, guess)
        condensed = condense(structure, problem)
        found = self.minimise(condensed.pose(full), monitor, **_METHODS[self.method])
        w, rows, bounds = condensed.restore(full, found.w, found.row_multipliers, found.bound_multipliers)
        result = replace(found, w=w, row_multipliers=rows, bound_multipliers=bounds)
        return read_outcome(structure, problem, guess, full, result)
