"""Direct multiple shooting: the states at all knots are unknowns beside held controls, and must meet the integrator.

On each interval the control is held and the dynamics are integrated from the interval's own initial state x_k by s
steps of an explicit Runge-Kutta method, the stage cost and the integrands q by the same steps:

    minimise  sum_k L_k(x_k, u_k, p) + phi(x_N, t_N, p)
    subject to  x_{k+1} - F_k(x_k, u_k, p) = 0,    sum_k Q_k(x_k, u_k, p) in [lower, upper],    and all others.

Initial time, duration and parameters may be unknowns too: t_k = t_0 + T k/N. Discrete dynamics x_{k+1} = f(x_k, u_k)
are taken as they are, black boxes too, all intervals in one batch (`trajopt.transcription.black_box`). The trajectory
may be torn at the knots while IPOPT iterates, so that a guess of the states helps, unstable dynamics are integrated
over one interval alone, and all derivatives are exact and sparse.

For a fixed control, state and costs are accurate to the order of the method in h/s. That a held control cannot follow a
smooth optimum costs O(h^2) more: the answer is the optimum among held controls.

Control bounds hold at every time; state bounds and path constraints at the knots (those that the control enters behind
each knot, with the control that begins there). In between the answer may cheat; ``solution.certificate`` tells.

References: Bock, Plitt, A multiple shooting algorithm for direct solution of optimal control problems, IFAC World
Congress, 1984; Betts, Practical Methods for Optimal Control, 2010, section 3.4. Differs from the paper: an
interior-point method in place of sequential quadratic programming, with exact Hessians and sparse linear algebra in
place of condensing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solver import Outcome
from trajopt.solvers.direct import ShootingMethod
from trajopt.solvers.joint import JointDirectMethod
from trajopt.trajectory import Trajectory


@final
@dataclass(frozen=True)
class MultipleShooting(ShootingMethod, JointDirectMethod):
    """Direct multiple shooting with exact sparse derivatives, solved by IPOPT; it handles every kind of constraint."""

    __doc__ = f"{__doc__}\n{ShootingMethod.__doc__}"
    preference: ClassVar[int] = 15

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``; see `Solver.run`."""
        return self.run_once(problem, guess, monitor)
