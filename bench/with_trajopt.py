"""This library's solvers as competitors: through `trajopt.solve`, the way a user calls them."""

from __future__ import annotations

from abc import abstractmethod

from bench.competitor import Answer, Competitor, Unavailable
from bench.discretisation import Discretisation
from trajopt import Solution, solve
from trajopt.solver import Solver
from trajopt.solvers import DDP, ILQR, Collocation
from trajopt.transcription.collocation import compile_problem
from trajopt.transcription.collocation_schemes import SCHEMES
from trajopt.transcription.stages import compile_stages


class Trajopt(Competitor):
    """A solver of this library with its defaults."""

    solver: Solver

    def __init__(self, discretisation: Discretisation) -> None:
        self.problem = discretisation.problem
        self.compile()

    @abstractmethod
    def compile(self) -> None:
        """Do what the first solve of a problem does before it starts."""

    def solve(self) -> object:
        """Solve from the problem's guess."""
        return solve(self.problem, self.solver)

    def read(self, result: object) -> Answer:
        """Take the trajectory from the solution."""
        assert isinstance(result, Solution)
        return Answer(result.success, str(result.status), result.x, result.u, result.iterations)


class Ilqr(Trajopt):
    """Gauss-Newton, on RK4 stages."""

    name = "trajopt ILQR"
    solver = ILQR()

    def compile(self) -> None:
        """Compile the stages."""
        compile_stages(self.problem, self.solver.integrator, second_order=False)


class Ddp(Trajopt):
    """Full second order, on RK4 stages."""

    name = "trajopt DDP"
    solver = DDP()

    def compile(self) -> None:
        """Compile the stages."""
        compile_stages(self.problem, self.solver.integrator, second_order=True)


class DirectCollocation(Trajopt):
    """IPOPT on this library's own evaluation of the program; only for difference equations is it the same program."""

    name = "trajopt Collocation"
    solver = Collocation()

    def compile(self) -> None:
        """Compile the program."""
        if self.problem.dynamics.continuous:
            raise Unavailable("Hermite-Simpson, not RK4: another program")
        compile_problem(self.problem, SCHEMES[self.solver.scheme])
