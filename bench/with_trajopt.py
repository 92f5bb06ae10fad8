"""This library's solvers as competitors: through `trajopt.solve`, the way a user calls them."""

from __future__ import annotations

from bench.competitor import Answer, Competitor
from bench.discretisation import Discretisation
from trajopt import Solution, solve
from trajopt.solvers import DDP, ILQR
from trajopt.transcription.stages import compile_stages


class Trajopt(Competitor):
    """A solver of this library with its defaults, on its own RK4 stages."""

    solver: ILQR | DDP

    def __init__(self, discretisation: Discretisation) -> None:
        self.problem = discretisation.problem
        compile_stages(self.problem, self.solver.integrator, second_order=self.solver.second_order)

    def solve(self) -> object:
        """Solve from the problem's guess."""
        return solve(self.problem, self.solver)

    def read(self, result: object) -> Answer:
        """Take the trajectory from the solution."""
        assert isinstance(result, Solution)
        return Answer(result.success, str(result.status), result.x, result.u, result.iterations)


class Ilqr(Trajopt):
    """Gauss-Newton."""

    name = "trajopt ILQR"
    solver = ILQR()


class Ddp(Trajopt):
    """Full second order."""

    name = "trajopt DDP"
    solver = DDP()
