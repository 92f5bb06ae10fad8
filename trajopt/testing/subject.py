"""A solver on trial: its settings, the problems that it handles, and what it answered so far."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import cached_property
from typing import Any, Literal, final

import numpy as np

from trajopt.errors import UnsupportedProblem
from trajopt.problem import Feature, Problem
from trajopt.solution import Solution
from trajopt.solve import solve
from trajopt.solver import Claim, Solver
from trajopt.testing import cases
from trajopt.testing.registry import NotApplicable, require
from trajopt.testing.tolerances import Tolerance, optimality

Profile = Literal["fast", "thorough"]

_UNSTATED = 1e-3
"""What a solver is held to that has no setting of its tolerance: three digits, as the certificate by default."""


@final
class Subject:
    """What checks are given.

    Parameters
    ----------
    solver
        On trial.
    problems
        For checks of every answer, in place of the suite's own.
    profile
        "fast" or "thorough".
    """

    def __init__(self, solver: Solver, problems: tuple[Problem, ...] | None = None, profile: Profile = "fast") -> None:
        self.solver, self.profile = solver, profile
        self._problems = problems
        self._answers: dict[int, tuple[Problem, Solution | UnsupportedProblem]] = {}

    def __str__(self) -> str:
        return str(self.solver)

    @property
    def thorough(self) -> bool:
        """Whether time does not matter."""
        return self.profile == "thorough"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The solver's own, by name."""
        return {entry.name: getattr(self.solver, entry.name) for entry in fields(self.solver)}  # type: ignore[arg-type]

    @property
    def tolerance(self) -> float:
        """The decrement of the cost at which it calls a problem solved, relative to 1 + |cost|."""
        return float(self.settings.get("tolerance", _UNSTATED))

    @property
    def constraint_tolerance(self) -> float:
        """How far it lets constraints be missed."""
        return float(self.settings.get("constraint_tolerance", self.tolerance))

    def claims(self, claim: Claim) -> bool:
        """Whether the solver says that of itself."""
        return claim in self.solver.claims

    def handles(self, *features: Feature) -> bool:
        """Whether the solver takes problems with these features."""
        return not self.solver.missing(frozenset(features))

    def with_settings(self, **settings: Any) -> Solver:
        """The solver with other settings."""
        return replace(self.solver, **settings)  # type: ignore[type-var]

    @property
    def clock(self) -> Feature:
        """Discrete time where it is handled, since answers are exact there; else continuous time."""
        return Feature.DISCRETE_TIME if self.handles(Feature.DISCRETE_TIME) else Feature.CONTINUOUS_TIME

    def problems(self, features: frozenset[Feature] = frozenset()) -> list[Problem]:
        """Problems that the solver handles: in continuous time where it can, unless ``features`` say discrete time."""
        if self._problems is not None:
            chosen = [problem for problem in self._problems if features <= problem.features]
        else:
            discrete = Feature.DISCRETE_TIME in features or not self.handles(Feature.CONTINUOUS_TIME)
            both = self.thorough and not features
            chosen = [p for clock in ((False, True) if both else (discrete,)) for p in cases.standard_problems(clock)]
        return [problem for problem in chosen if not self.solver.missing(problem.features)]

    @cached_property
    def linear(self) -> bool:
        """Whether it takes nothing but linear dynamics and quadratic costs, which no feature tells."""
        try:
            self.solution(self._plant("pendulum", cases.rate_of_change))
        except NotApplicable:
            return True
        return False

    def plant(self, name: str, *, limited: bool = True, discrete: bool | None = None, **options: Any) -> Problem:
        """A variant of the suite's plant, linear where the solver needs that, with a limited torque where it can."""
        rate = options.pop("rate", cases.linear_rate if self.linear else cases.rate_of_change)
        if limited and self.handles(Feature.CONTROL_BOUNDS):
            options["constraints"] = [*options.get("constraints", ()), cases.TORQUE]
        return self._plant(name, rate, discrete, **options)

    def _plant(self, name: str, rate: Any, discrete: bool | None = None, **options: Any) -> Problem:
        clock = self.clock is Feature.DISCRETE_TIME if discrete is None else discrete
        return cases.problem(name, clock, rate=rate, **options)

    @cached_property
    def base(self) -> Problem:
        """The plant as it is, against which variants are held."""
        return self.plant("plant")

    def solve(self, problem: Problem, **options: Any) -> Solution:
        """Solve anew.

        Raises
        ------
        NotApplicable
            When the solver refuses the problem for what it is, which its features do not tell.
        """
        try:
            return solve(problem, options.pop("solver", self.solver), **options)
        except UnsupportedProblem as refusal:
            raise NotApplicable(f"it refuses the problem: {refusal}") from refusal

    def solution(self, problem: Problem) -> Solution:
        """The answer to a problem, found once and looked at by many checks."""
        if id(problem) not in self._answers:
            try:
                found: Solution | UnsupportedProblem = solve(problem, self.solver)
            except UnsupportedProblem as refusal:
                found = refusal
            self._answers[id(problem)] = (problem, found)
        found = self._answers[id(problem)][1]
        if isinstance(found, UnsupportedProblem):
            raise NotApplicable(f"it refuses the problem: {found}")
        return found

    def success(self, problem: Problem) -> Solution:
        """The same, where it is a success; a failure is no answer of which anything is promised."""
        solution = self.solution(problem)
        if not solution.success:
            raise NotApplicable(f"it ends with the status {solution.status}, which promises nothing")
        return solution

    def success_or_fail(self, problem: Problem, **options: Any) -> Solution:
        """A new answer to a problem that has one nearby: anything but a success is a failure of the check."""
        solution = self.solve(problem, **options)
        require(solution.success, f"a problem with a known answer ends with the status {solution.status}")
        return solution

    def decrement(self, solution: Solution) -> float:
        """How far from the optimal cost a success may be (rule 4), in the unit of the cost.

        The tolerance once for the cost and once for each row, since an interior method ends that much early in each;
        and what rows and dynamics may be missed by, at the price that the core's multipliers give it.
        """
        certificate = solution.certificate
        rows = sum(np.size(values) for values in certificate.multipliers.values())
        prices = sum(float(np.abs(values).sum()) for values in certificate.multipliers.values())
        prices += float(np.abs(certificate.costates).sum())
        size = 1.0 + abs(solution.cost)
        return self.tolerance * size * (1 + rows) + self.constraint_tolerance * (prices if np.isfinite(prices) else 0.0)

    def cost_tolerance(self, *solutions: Solution) -> Tolerance:
        """How far costs may be apart that should be equal."""
        return optimality(sum(self.decrement(solution) for solution in solutions))

    def control_tolerance(self, curvature: float, *solutions: Solution) -> Tolerance:
        """How far controls may be apart that should be equal, where the cost curves by ``curvature`` at least."""
        return sum((optimality(self.decrement(s), curvature) for s in solutions[1:]),
                   optimality(self.decrement(solutions[0]), curvature))  # fmt: skip
