"""Direct collocation: states and controls at all nodes are unknowns, the dynamics are equations.

On an interval of length h the state is a polynomial of degree m whose slope obeys the dynamics at m points c_j h:

    x_i = x_0 + h sum_j a_ij f(x_j, u_j, t_j),    stage cost and integrands = h sum_j b_j l(x_j, u_j, t_j).

    trapezoidal               m = 2, order 2     control linear
    hermite_simpson           m = 3, order 4     control quadratic; "_compressed": the midpoints' states are eliminated
    lobatto                   any m, order 2m-2  control of degree m - 1, which may jump at knots
    radau                     any m, order 2m-1  the same; the Legendre-Gauss-Radau pseudospectral method

The order is that of the state at the knots, the costate and the cost, where the control is smooth. One interval of a
high degree is a global pseudospectral method, many of a low one are a finite-element method; ``mesh_tolerance`` mixes
both by hp refinement (`trajopt.transcription.refinement`). Initial time, duration and parameters may be unknowns too.
Discrete dynamics x_{k+1} = f(x_k, u_k) are taken as they are, with held controls, black boxes too (see
`MultipleShooting`).

Control bounds hold at every time: the unknowns are Bernstein coefficients. State bounds and path constraints hold at
the collocation points (state bounds of the compressed scheme at the knots alone). In between the answer may cheat: its
cost can be *below* the optimum. ``solution.certificate`` integrates again and tells. Like every first-order method it
may end at a stationary point that is no minimum, such as u = 0 for the cost -u^2.

References: Betts, Practical Methods for Optimal Control, 2010, ch. 4; Kelly, SIAM Review 59(4), 2017; Garg et al.,
Automatica 46, 2010.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

from trajopt.errors import UnsupportedProblem
from trajopt.monitor import Monitor
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.problem import Problem
from trajopt.solver import MultiPhaseOutcome, Outcome
from trajopt.solvers.joint import JointDirectMethod
from trajopt.solvers.mesh_refinement import solve_with_refinement
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation_schemes import Scheme, find_scheme
from trajopt.validation import check_positive, check_whole


@final
@dataclass(frozen=True)
class Collocation(JointDirectMethod):
    """Direct collocation with exact sparse derivatives; it handles every kind of constraint.

    Parameters
    ----------
    scheme
        "hermite_simpson", "hermite_simpson_compressed", "trapezoidal", "radau" or "lobatto".
    degree
        Degree m of the state on an interval, as many points; "radau" (from 1) and "lobatto" (from 2) alone, at most 20.
        Default: 4, with which GPOPS-II begins.
    mesh_tolerance
        Refine the mesh, from the problem's own knots on, until the certificate's defect, relative cost error and
        violation are below this number; None leaves the mesh alone. The solution has its own knots. Without meaning in
        discrete time, where there is no mesh.
    mesh_rounds, mesh_points
        Most refinements, and most collocation points; the solve ends with the status ITERATION_LIMIT there.
    nlp, tolerance, iterations, scaling, options
        As in every `DirectMethod`; ``iterations`` counts for each mesh.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    scheme: Literal["hermite_simpson", "hermite_simpson_compressed", "trapezoidal", "radau", "lobatto"] = (
        "hermite_simpson"
    )
    degree: int | None = None
    mesh_tolerance: float | None = field(default=None, kw_only=True)
    mesh_rounds: int = field(default=15, kw_only=True)
    mesh_points: int = field(default=2000, kw_only=True)

    preference: ClassVar[int] = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        self.interval_scheme()
        if self.mesh_tolerance is not None:
            check_positive(self.mesh_tolerance, "mesh_tolerance")
        check_whole(self.mesh_rounds, "mesh_rounds", 0)
        check_whole(self.mesh_points, "mesh_points", 1)

    def interval_scheme(self) -> Scheme:
        """Return the table of the scheme."""
        return find_scheme(self.scheme, self.degree)

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``; see `Solver.run`."""
        if self.mesh_tolerance is not None and problem.dynamics.continuous:
            return solve_with_refinement(self, problem, guess, monitor)
        return self.run_once(problem, guess, monitor)

    def run_phases(
        self, problem: MultiPhaseProblem, guesses: Sequence[Trajectory], monitor: Monitor
    ) -> MultiPhaseOutcome:
        """Solve several phases as one program; see `MultiPhaseSolver.run_phases`. Their meshes are not refined."""
        if self.mesh_tolerance is not None:
            raise UnsupportedProblem(
                f"mesh_tolerance={self.mesh_tolerance} was given for several phases, but None was expected; "
                "leave it out, and give the phases more steps where the certificate asks for them."
            )
        return super().run_phases(problem, guesses, monitor)
