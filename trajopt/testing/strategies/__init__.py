"""Hypothesis strategies: problems whose answers are known, problems without an answer, guesses and settings.

They construct and never reject, they shrink to numbers that can be read, and their own promises are tested.
"""

try:
    import hypothesis as _hypothesis  # noqa: F401
except ImportError as error:
    from trajopt.errors import MissingExtra

    raise MissingExtra(
        "trajopt.testing.strategies was imported without Hypothesis, but that package was expected; run "
        "`pip install trajopt[testing]`."
    ) from error

from trajopt.testing.strategies.decision import SyntheticTree, decision_processes, synthetic_trees
from trajopt.testing.strategies.guesses import guesses, malformed_guesses
from trajopt.testing.strategies.infeasible import Infeasible, infeasible_problems
from trajopt.testing.strategies.linear_quadratic import (
    box_linear_quadratic_problems,
    constrained_linear_quadratic_problems,
    linear_quadratic_problems,
)
from trajopt.testing.strategies.nonlinear import SmoothDynamics, library_problems, nonlinear_problems, smooth_dynamics
from trajopt.testing.strategies.planted import Planted
from trajopt.testing.strategies.settings import solver_settings
from trajopt.testing.strategies.types import problems

__all__ = [
    "Infeasible",
    "Planted",
    "SmoothDynamics",
    "SyntheticTree",
    "box_linear_quadratic_problems",
    "constrained_linear_quadratic_problems",
    "decision_processes",
    "guesses",
    "infeasible_problems",
    "library_problems",
    "linear_quadratic_problems",
    "malformed_guesses",
    "nonlinear_problems",
    "problems",
    "smooth_dynamics",
    "solver_settings",
    "synthetic_trees",
]
