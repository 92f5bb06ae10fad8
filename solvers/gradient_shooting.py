"""Gradient shooting: descend on the control sequence through the model's own gradients.

The controls u of N stages are the only unknowns, the states follow by simulation, and the merit J(u), the cost with
constraint rows as an augmented Lagrangian, comes with its gradient from one sweep backwards:

    dJ/du_k = g_u + F_u' lambda_{k+1},    lambda_k = g_x + F_x' lambda_{k+1},

by compiled adjoints where the dynamics are traced, and by the model's own backward pass where it is a network, along
the particles that it draws. Three methods move u, all projected onto the bounds of the controls:

    adam     u <- P(u - rate m / sqrt(v)), m and v running means of the gradient and its square;
    lbfgs    u <- P(u - step H g), H the inverse Hessian that the last ten steps show;
    newton   u <- u + argmin g'd + d'(d2J/du2 + damping I) d / 2 within the bounds.

The first two go along the projection P onto the bounds. Projection keeps bounds exactly, and controls that rest on one
leave it as soon as the gradient says so; squashed by tanh no control could reach its bound, and near it all gradients
vanish. L-BFGS and Newton's method accept only steps that fall (Armijo); Adam accepts all, and keeps the best plan.
Newton's Hessian is exact where the dynamics are traced, and leaves their curvature out elsewhere.

Several ``starts`` descend in one batch, which costs a network little more than one. `SingleShooting` is the other
solver whose unknowns are the controls: it hands them to IPOPT with constraints as rows, one start and traced models
alone, and converges to ten digits. This one takes any model, random ones under a measure of risk, and stops anywhere.
Both suffer on long unstable motions, where the merit is a narrow curved valley: begin there from another solver's plan.

Discrete controls are descended on by Gumbel-softmax with straight-through gradients
(`trajopt.solvers.gradient.relaxation`).

References: Kingma, Ba, ICLR 2015; Nocedal, Math. Comp. 35, 1980; Bertsekas, SIAM J. Control Optim. 20(2), 1982; Jang,
Gu, Poole, ICLR 2017. As a planner: Bharadhwaj, Xie, Shkurti, L4DC 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar, Literal, final

from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION, Outcome, Solver
from trajopt.solvers.sampling.risk import Mean, Risk
from trajopt.trajectory import Trajectory
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.validation import check, check_choice, check_positive, check_whole

_DISCRETE_STARTS = 16
"""Plans an iteration where controls are discrete: the mean of their gradients has a quarter of one's deviation."""


@final
@dataclass(frozen=True, kw_only=True)
class GradientShooting(Solver):
    """Descent on the controls through the model's gradients.

    The answer is the best plan met, under held controls. Bounds of the controls hold exactly; all other constraints
    enter as an augmented Lagrangian, and what is left of them is ``solution.history[-1].violation``. Where dynamics are
    random, all plans meet the same random numbers, and cost and violation are the risk and the mean rows over the
    particles.

    Solved means: to first order the merit can fall by no more than ``tolerance`` (1 + |merit|) within the bounds of the
    controls, or within 1 + |u| where there are none, and no constraint is violated by more than
    ``constraint_tolerance``; with discrete controls, that changing the choice of any single stage lowers it by no more.

    Parameters
    ----------
    method
        "adam", "lbfgs" or "newton". The last one needs dynamics that are not random; discrete controls need "adam".
    starts
        Plans that descend together: the guess, and smooth random neighbours of it. With discrete controls, plans that
        are drawn in each iteration. None: 1, and 16 with discrete controls.
    spread
        Size of the neighbours' distance, see `trajopt.solvers.perturbation`.
    iterations
        Limit on evaluations of value and gradient.
    learning_rate
        Of Adam, in half widths between the bounds of a control, or where there are none in its largest magnitude in the
        guess, at least 1; with discrete controls of the logits.
    schedule
        Of Adam's rate: "plateau" multiplies it by ``shrink`` whenever the plan has not improved for a while, "cosine"
        lets it fall to zero over ``iterations``, "constant" leaves it.
    shrink, patience
        Of "plateau"; the latter in iterations.
    temperature, final_temperature, annealing
        Of Gumbel-softmax: from the one to the other in so many iterations. Jang et al. go from 1 to 0.5, where a soft
        answer is wanted in the end; here it is a hard one.
    particles, risk
        Rollouts of each plan where dynamics are random, and what they are worth together: `Mean`, `Worst`, `CVaR` or
        `Exponential`.
    tolerance
        See above.
    constraint_tolerance
        Violation allowed, in the constraints' own units.
    initial_penalty
        First penalty; None balances cost and violation of the guess (Birgin, Martinez 2014, section 12.4).
    penalty_growth
        Factor by which it grows when the violation has not fallen to a quarter; that of iLQR.
    integrator
        "rk4", "rk3", "midpoint" or "euler": how continuous dynamics and cost advance over a step.
    seed
        Whole number from 0 on, of starts, particles and Gumbel noise.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    method: Literal["adam", "lbfgs", "newton"] = "adam"
    starts: int | None = None
    spread: float = 0.5
    iterations: int = 2000
    learning_rate: float = 0.05
    schedule: Literal["plateau", "cosine", "constant"] = "plateau"
    shrink: float = 0.5
    patience: int = 10
    temperature: float = 1.0
    final_temperature: float = 0.1
    annealing: int = 100
    particles: int = 20
    risk: Risk = field(default_factory=Mean)
    tolerance: float = 1e-4
    constraint_tolerance: float = 1e-4
    initial_penalty: float | None = None
    penalty_growth: float = 10.0
    integrator: str = "rk4"
    seed: int = 0

    handles: ClassVar[frozenset[Feature]] = SIMULATION | {
        Feature.BLACK_BOX,
        Feature.STOCHASTIC,
        Feature.DISCRETE_CONTROLS,
    }
    preference: ClassVar[int] = -10
    """Behind every solver that needs no gradients where a model has none, or knows a better use of them."""

    def __post_init__(self) -> None:
        check_choice(self.method, "method", ("adam", "lbfgs", "newton"))
        check_choice(self.schedule, "schedule", ("plateau", "cosine", "constant"))
        check_choice(self.integrator, "integrator", INTEGRATORS)
        for name in ("iterations", "patience", "annealing", "particles"):
            check_whole(getattr(self, name), name, 1)
        check_whole(self.seed, "seed", 0)
        if self.starts is not None:
            check_whole(self.starts, "starts", 1)
        names = ("spread", "learning_rate", "shrink", "temperature", "final_temperature", "tolerance")
        for name in (*names, "constraint_tolerance", "penalty_growth"):
            check_positive(getattr(self, name), name)
        if self.initial_penalty is not None:
            check_positive(self.initial_penalty, "initial_penalty")
        check(self.shrink, "shrink", "a number below 1", self.shrink < 1.0)
        check(self.penalty_growth, "penalty_growth", "a number above 1", self.penalty_growth > 1.0)
        colder = self.final_temperature <= self.temperature
        check(self.final_temperature, "final_temperature", "a number up to the temperature", colder)
        check(self.risk, "risk", "a Risk such as CVaR(0.1)", isinstance(self.risk, Risk))

    def missing(self, features: frozenset[Feature]) -> frozenset[Feature]:
        """As in `Solver`; line searches need smooth controls, and second derivatives steps that are not random."""
        refused = {
            "adam": frozenset(),
            "lbfgs": frozenset({Feature.DISCRETE_CONTROLS}),
            "newton": frozenset({Feature.DISCRETE_CONTROLS, Feature.STOCHASTIC}),
        }
        return features - (self.handles - refused[self.method])

    def rate(self, step: int) -> float:
        """Adam's rate at a step, before plateaus."""
        share = min(1.0, step / self.iterations) if self.schedule == "cosine" else 0.0
        return self.learning_rate * 0.5 * (1.0 + math.cos(math.pi * share))

    @property
    def plans(self) -> int:
        """Plans that are drawn in an iteration where controls are discrete."""
        return _DISCRETE_STARTS if self.starts is None else self.starts

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Descend from the controls of ``guess``; its states do not matter."""
        from trajopt.solvers.gradient.relaxation import RelaxedSearch  # noqa: PLC0415 - kernels load when needed
        from trajopt.solvers.gradient.search import Search  # noqa: PLC0415 - as above

        kind = Search if problem.choices is None else RelaxedSearch
        return kind(self, problem, guess).solve(monitor)
