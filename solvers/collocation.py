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

References: Betts, Practical Methods for Optimal Control and Estimation, 2010, ch. 4; Kelly, SIAM Review 59(4), 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solver import Outcome
from trajopt.solvers.direct import read_outcome
from trajopt.solvers.joint import JointDirectMethod
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation_schemes import SCHEMES, Scheme


@final
@dataclass(frozen=True)
class Collocation(JointDirectMethod):
    """Direct collocation with exact sparse derivatives, solved by IPOPT; it handles every kind of constraint.

    Parameters
    ----------
    scheme
        "hermite_simpson" (order 4, control quadratic) or "trapezoidal" (order 2, control linear).
    tolerance, iterations, scaling, options
        As in every `DirectMethod`.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    scheme: Literal["hermite_simpson", "trapezoidal"] = "hermite_simpson"

    preference: ClassVar[int] = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheme not in SCHEMES:
            raise InvalidProblem(
                f"Collocation got scheme={self.scheme!r}, but {' or '.join(map(repr, SCHEMES))} was expected."
            )

    def interval_scheme(self) -> Scheme:
        """Return the table of the scheme."""
        return SCHEMES[self.scheme]

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``; see `Solver.run`."""
        structure, instance = self.transcribe(problem, guess)
        return read_outcome(structure, problem, guess, instance, self.minimise(instance, monitor))
