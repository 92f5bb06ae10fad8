"""Iterative LQR and differential dynamic programming.

Minimise sum_k L_k(x_k, u_k) + phi(x_N) subject to x_{k+1} = F_k(x_k, u_k), controls in a box, and lower <= c <= upper
on states and controls. F_k and L_k are a Runge-Kutta step of the dynamics and of the cost under a held control.

The states of the guess are taken as they are, with gaps c_k = F_k(x_k, u_k) - x_{k+1}, and so are its multipliers.
Each iteration expands the stages to second order around the current trajectory, sweeps backwards through the Riccati
recursion for the gains

    du = k + K dx,     k = argmin of q_u'd + 1/2 d'Q_uu d in the box,     K = -Q_uu^-1 Q_ux on the free entries,

and rolls the dynamics out under u + s k + K dx, less (1 - s) c, for s = 1, 1/2, ... until the merit falls (Armijo): a
full step closes the gaps. ILQR leaves the curvature of dynamics and constraints out of Q (Gauss-Newton), DDP keeps it.

Control bounds are met exactly, by the box in k and by clipping in the rollout; all other constraints by an augmented
Lagrangian around that loop, with multipliers l = r s (`trajopt.solvers.kernels.shooting`) and a penalty r that grows
where the error did not fall to a quarter. Once its inner problems end, Newton's method on the rows that act takes over
(`trajopt.solvers.kernels.newton`), with full second order in both solvers, and hands back where it does not converge.

Solved means: no gap; a full Newton step would change the cost by less than ``tolerance`` |cost| (the Newton decrement);
no constraint is violated, nor complementarity missed, by more than ``constraint_tolerance``. ``iterations`` counts
backward passes with their line search: those of the inner problems, Newton's, and the last one, which only confirms.

References: Li, Todorov 2004; Tassa, Erez, Todorov 2012; Tassa, Mansard, Todorov 2014; Howell, Jackson, Manchester,
ALTRO, 2019; Mastalli et al. 2020 (gaps); Birgin, Martinez 2014. Differs from ALTRO: gaps in place of slack controls,
Newton's method in place of a projection, and bounds on controls are not penalised.
"""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION, Claim, Outcome, Solver
from trajopt.solvers.batch_ilqr import HANDLED, BatchRun
from trajopt.solvers.ilqr_run import Run
from trajopt.trajectory import Trajectory
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.stages import compile_stages
from trajopt.validation import check, check_choice, check_positive, check_whole, is_number


@dataclass(frozen=True)
class DifferentialDynamicProgramming(Solver, ABC):
    """Settings that `ILQR` and `DDP` share.

    Parameters
    ----------
    integrator
        "rk4", "rk3", "midpoint" or "euler": how continuous dynamics and cost advance over a step.
    tolerance
        Newton decrement at which the cost counts as minimal, relative to |cost|. 1e-8 lies between the digits that
        users print and the rounding of a rollout.
    constraint_tolerance
        Violation allowed, in the constraints' own units; ALTRO's default.
    iterations
        Limit on iterations of all kinds together.
    initial_penalty
        First penalty r; None takes the value that balances cost and violation of the first rollout (Birgin, Martinez
        2014, section 12.4).
    penalty_growth
        Factor by which r grows; ALTRO's default.
    largest_penalty
        Relative to max(1, |cost|). Beyond it rounding spoils the Riccati sweep, and the constraints count as
        infeasible.
    shortest_step
        Where the line search gives up; the paper searches ten halvings.
    newton
        Whether Newton's method ends the solve. Without it, iterations stay those of the two names to the end.
    """

    integrator: str = "rk4"
    tolerance: float = 1e-8
    constraint_tolerance: float = 1e-6
    iterations: int = 500
    initial_penalty: float | None = None
    penalty_growth: float = 10.0
    largest_penalty: float = 1e8
    shortest_step: float = 2.0**-10
    newton: bool = True

    handles: ClassVar[frozenset[Feature]] = SIMULATION
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.STATIONARY, Claim.ONE_STEP, Claim.WARM_START, Claim.SCALE})
    second_order: ClassVar[bool]

    def __post_init__(self) -> None:
        check_choice(self.integrator, "integrator", INTEGRATORS)
        for name in ("tolerance", "constraint_tolerance", "largest_penalty", "shortest_step"):
            check_positive(getattr(self, name), name)
        check_whole(self.iterations, "iterations", 1)
        if self.initial_penalty is not None:
            check_positive(self.initial_penalty, "initial_penalty")
        growth = self.penalty_growth
        check(growth, "penalty_growth", "a number above 1", is_number(growth) and growth > 1.0, "the default is 10")

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``: its states as they are, or where they are not finite, the rollout of its controls."""
        stages = compile_stages(problem, self.integrator, second_order=self.second_order)
        return Run(self, problem, stages, guess).solve(monitor)


@final
@dataclass(frozen=True)
class ILQR(DifferentialDynamicProgramming):
    """Iterative LQR: Gauss-Newton steps from states with gaps, bounds and constraints included."""

    __doc__ = f"{__doc__}\n{DifferentialDynamicProgramming.__doc__}"
    second_order: ClassVar[bool] = False
    handles: ClassVar[frozenset[Feature]] = SIMULATION | {Feature.BLACK_BOX}
    preference: ClassVar[int] = 5

    def missing(self, features: frozenset[Feature]) -> frozenset[Feature]:
        """What is not handled; beside a black box that is all but control bounds."""
        return features - (HANDLED if Feature.BLACK_BOX in features else self.handles)

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """As for DDP; black boxes are linearised and rolled out in batches (`trajopt.solvers.batch_ilqr`)."""
        if Feature.BLACK_BOX in problem.features:
            return BatchRun(self, problem, guess).solve(monitor)
        return super().run(problem, guess, monitor)


@final
@dataclass(frozen=True)
class DDP(DifferentialDynamicProgramming):
    """Differential dynamic programming: as `ILQR`, with the curvature of dynamics and constraints (second order)."""

    __doc__ = f"{__doc__}\n{DifferentialDynamicProgramming.__doc__}"
    second_order: ClassVar[bool] = True
