"""Gradients over discrete controls: Gumbel-softmax with straight-through gradients, then exchanges one by one.

A plan takes in stage n the choice argmax_c (theta_nc + G_nc) with logits theta (N, k) and Gumbel noise G, which draws
it with the probabilities softmax(theta_n). The plan is simulated as it is, hard, and so is every plan that may become
the answer. Only its gradient goes through the soft choice s = softmax((theta + G) / tau) (straight-through),

    dJ/dtheta_n = (diag(s) - s s') C dJ/du_n / tau,    C (k, nu) the choices,

averaged over the plans of an iteration, and Adam moves the logits. tau falls geometrically over ``annealing``
iterations. Then the best plan is exchanged: of all plans that differ from it in a single stage the best one takes its
place, until none is better. Such a plan is what solved means here; constraints that it violates move the multipliers
as in the continuous case, and another annealing begins around it.

References: Jang, Gu, Poole, Categorical Reparameterization with Gumbel-Softmax, ICLR 2017; Maddison, Mnih, Teh, ICLR
2017. The exchanges are not in them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trajopt.constraints import nearest_choices
from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solver import Outcome
from trajopt.solvers.gradient.descent import Moments
from trajopt.solvers.gradient.objective import Plan, make_objective
from trajopt.solvers.gradient.search import finish, first_penalty, update_multipliers
from trajopt.solvers.kernels import shooting
from trajopt.status import Status
from trajopt.trajectory import Trajectory

if TYPE_CHECKING:
    from trajopt.solvers.gradient_shooting import GradientShooting

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_CHANCE = 0.5
"""Probability with which a stage is drawn anew around a plan: half way between that plan and knowing nothing."""


class RelaxedSearch:
    """Logits and progress of one solve."""

    def __init__(self, solver: GradientShooting, problem: Problem, guess: Trajectory) -> None:
        assert problem.choices is not None
        self.solver, self.choices, self.guess = solver, problem.choices, guess
        self.objective = make_objective(solver, problem, guess)
        controls = problem.admissible(guess.held())
        self.penalty = first_penalty(solver, self.objective, controls)
        self.generator = np.random.default_rng([solver.seed, 1])
        self.best = self.objective.values(controls[None], [self.penalty])[0]
        self.answer = self.best
        self.indices = nearest_choices(self.choices, controls)
        self.error = math.inf
        self.age = self.drawn = self.lost = 0
        self._restart()

    def solve(self, monitor: Monitor) -> Outcome:
        """Value the guess, then iterate."""
        if not math.isfinite(self.best.merit):
            self._advance()  # the guess leads nowhere, but plans around it may
        if not math.isfinite(self.best.merit):
            detail = "Neither the guess nor any plan around it has a finite rollout; give another guess."
            return Outcome(Status.NUMERICAL_FAILURE, self.guess, math.nan, 0, detail=detail)
        status = monitor.observe(**self._numbers()) or monitor.run(self.step, self.solver.iterations)
        detail = ""
        if self.lost:
            detail = f"{self.lost} of {self.drawn} plans or their gradients were not finite; they were left out."
        return finish(status, self.guess, self.answer, len(monitor.history) - 1, detail)

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """One iteration of the descent, or one exchange."""
        status = None
        if self.age < self.solver.annealing:
            self._advance()
        elif not self._exchange():
            status = self._settle()
        return status, self._numbers()

    def _restart(self) -> None:
        """Logits around the best plan."""
        count = len(self.choices)
        self.logits = np.log((1.0 - _CHANCE) * np.eye(count)[self.indices] + _CHANCE / count)
        self.moments = Moments(self.logits.shape)
        self.age = 0

    def _advance(self) -> None:
        """Draw plans, simulate them, and move the logits by their gradients."""
        solver, (steps, count) = self.solver, self.logits.shape
        share = self.age / solver.annealing
        temperature = solver.temperature * (solver.final_temperature / solver.temperature) ** share
        perturbed = self.logits + self.generator.gumbel(size=(solver.plans, steps, count))
        indices = perturbed.argmax(axis=2)
        controls = self.choices[indices]
        plans, gradients = self.objective.gradients(controls, [self.penalty] * len(controls))
        self._consider(plans, indices)
        self.age += 1
        sound = np.isfinite(gradients).all(axis=(1, 2))
        self.drawn, self.lost = self.drawn + len(sound), self.lost + int((~sound).sum())
        if sound.any():
            self._move(perturbed[sound] / temperature, gradients[sound], temperature)

    def _move(self, scaled: Array, gradients: Array, temperature: float) -> None:
        """Adam on the mean of the straight-through gradients."""
        soft = np.exp(scaled - scaled.max(axis=2, keepdims=True))
        soft /= soft.sum(axis=2, keepdims=True)
        slopes = gradients @ self.choices.T
        slope = (soft * (slopes - (soft * slopes).sum(axis=2, keepdims=True))).mean(axis=0) / temperature
        self.logits -= self.solver.rate(self.age) * self.moments.direction(slope)

    def _exchange(self) -> bool:
        """Go on to the best plan that differs in one stage; returns whether one is better."""
        steps, count = self.logits.shape
        others = (self.indices[:, None] + np.arange(1, count)) % count  # (N, k-1): the other choices of each stage
        if not others.size:
            return False
        neighbours = np.tile(self.indices, (steps, count - 1, 1))
        stages = np.arange(steps)
        neighbours[stages, :, stages] = others
        neighbours = neighbours.reshape(-1, steps)
        plans = self.objective.values(self.choices[neighbours], [self.penalty] * len(neighbours))
        before = self.best.merit
        self._consider(plans, neighbours)
        return self.best.merit < before - self.solver.tolerance * (1.0 + abs(before))

    def _consider(self, plans: list[Plan], indices: Index) -> None:
        """Keep the best plan under today's multipliers, and the best answer."""
        least = min(range(len(plans)), key=lambda i: plans[i].merit)
        if plans[least].merit < self.best.merit:
            self.best, self.indices = plans[least], indices[least]
        self.answer = min([self.answer, *plans], key=self._rank)

    def _settle(self) -> Status | None:
        """Judge a plan that no exchange betters."""
        solver = self.solver
        _, error = shooting.measure_all(self.objective.data, self.best.rollout, self.penalty)
        if self.best.violation <= solver.constraint_tolerance:
            self.answer = min(self.answer, self.best, key=self._rank)
            return Status.SOLVED
        if not update_multipliers(solver, self.objective, self.best, self.penalty, error, self.error):
            return Status.INFEASIBLE
        self.error = error
        self.best = self.objective.values(self.best.rollout.u[None], [self.penalty])[0]
        self._restart()
        return None

    def _rank(self, plan: Plan) -> tuple[float, float]:
        return max(plan.violation, self.solver.constraint_tolerance), plan.cost

    def _numbers(self) -> dict[str, float]:
        return {"cost": self.answer.cost, "violation": self.answer.violation}
