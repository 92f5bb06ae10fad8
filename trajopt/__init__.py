"""trajopt: one optimal-control problem, many interchangeable solvers, and an answer that is checked."""

from importlib.metadata import PackageNotFoundError, version

from trajopt.batch import solve_batch
from trajopt.batch_dynamics import BlackBoxDynamics
from trajopt.casadi_function import casadi_function
from trajopt.compare import compare
from trajopt.constraints import (
    BoundaryConstraint,
    Bounds,
    Choices,
    IntegralConstraint,
    PathConstraint,
    TerminalConstraint,
)
from trajopt.control_grid import process_of
from trajopt.decide import decide, decide_batch
from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.dynamics import ContinuousDynamics, DiscreteDynamics
from trajopt.errors import (
    InvalidProblem,
    MissingExtra,
    NotDifferentiable,
    SolveFailed,
    TracingError,
    TrajoptError,
    UnknownName,
    UnsupportedProblem,
)
from trajopt.horizon import Free, Horizon
from trajopt.link import Link
from trajopt.model_process import ModelProcess
from trajopt.mpc import MPC
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.planner import Planner
from trajopt.problem import Problem
from trajopt.simulators import GymnasiumDynamics, MuJoCoDynamics, to_gymnasium
from trajopt.solution import Solution
from trajopt.solve import solve
from trajopt.status import Status
from trajopt.torch_layer import torch_layer

try:
    __version__ = version("trajopt")
except PackageNotFoundError:  # a bare checkout
    __version__ = "0+checkout"

__all__ = [
    "MPC",
    "BlackBoxDynamics",
    "BoundaryConstraint",
    "Bounds",
    "Choices",
    "ContinuousDynamics",
    "Decision",
    "DecisionProcess",
    "DiscreteDynamics",
    "Free",
    "GymnasiumDynamics",
    "Horizon",
    "IntegralConstraint",
    "InvalidProblem",
    "Link",
    "MissingExtra",
    "ModelProcess",
    "MuJoCoDynamics",
    "MultiPhaseProblem",
    "MultiPhaseSolution",
    "NotDifferentiable",
    "PathConstraint",
    "Planner",
    "Problem",
    "Solution",
    "SolveFailed",
    "Status",
    "TerminalConstraint",
    "TracingError",
    "TrajoptError",
    "UnknownName",
    "UnsupportedProblem",
    "__version__",
    "casadi_function",
    "compare",
    "decide",
    "decide_batch",
    "process_of",
    "solve",
    "solve_batch",
    "to_gymnasium",
    "torch_layer",
]
