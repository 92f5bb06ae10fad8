"""``check_problem`` and ``check_dynamics``: what the author of a problem or of a model wants to know."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.dynamics import Dynamics
from trajopt.errors import InvalidProblem
from trajopt.guess import make_guess
from trajopt.problem import Problem
from trajopt.solver import Solver
from trajopt.testing.registry import all_checks
from trajopt.testing.results import CheckResult
from trajopt.testing.suite import read_expected, run_check

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class Symmetry:
    """Linear maps of state and control that leave a problem as it is: f(G x, H u) = G f(x, u), equal costs.

    Attributes
    ----------
    state
        G, (nx, nx), or the diagonal of it.
    control
        H, (nu, nu), or the diagonal of it.
    name
        For messages.
    """

    state: ArrayLike
    control: ArrayLike
    name: str = "symmetry"

    def matrices(self) -> tuple[Array, Array]:
        """G and H."""
        first, second = (np.asarray(part, float) for part in (self.state, self.control))
        return (np.diag(first) if first.ndim == 1 else first), (np.diag(second) if second.ndim == 1 else second)


@final
@dataclass(frozen=True, eq=False)
class ProblemSubject:
    """A problem on trial; see `check_problem`."""

    problem: Problem
    symmetries: tuple[Symmetry, ...]
    optimum: float | None
    digits: int
    solver: str | Solver
    thorough: bool

    def __str__(self) -> str:
        return self.problem.name or "problem"

    def region(self) -> tuple[Array, Array]:
        """Centre and spread (nx + nu,) of where states and controls live: about the guess, within the bounds."""
        guess = make_guess(self.problem, None)
        z = np.concatenate([guess.x[0], guess.held()[0]])
        reach = np.concatenate([np.ptp(guess.x, axis=0), np.ptp(guess.u, axis=0)])
        lower, upper = np.hstack([self.problem.state_bounds, self.problem.control_bounds])
        both = np.isfinite(lower) & np.isfinite(upper)
        with np.errstate(invalid="ignore"):
            centre = np.where(both, 0.5 * (lower + upper), z)
            spread = np.where(both, 0.5 * (upper - lower), np.maximum(1.0, reach))
        return centre, 0.5 * spread


@final
@dataclass(frozen=True, eq=False)
class DynamicsSubject:
    """A model on trial; see `check_dynamics`."""

    dynamics: Dynamics
    states: Array
    controls: Array
    parameters: Mapping[str, Any] = field(default_factory=dict)
    precision: type = np.float64
    reload: Callable[[Any], Any] | None = None

    def __str__(self) -> str:
        return type(self.dynamics).__name__


def check_problem(
    problem: Problem,
    *,
    symmetries: Sequence[Symmetry] = (),
    optimum: float | None = None,
    digits: int = 3,
    solver: str | Solver = "auto",
    expected_failures: Mapping[str, str] | None = None,
    profile: Literal["fast", "thorough"] = "fast",
) -> list[CheckResult]:
    """Check a problem: its functions against their traces and derivatives, its symmetries, its stated optimum.

    Parameters
    ----------
    problem
        What to check.
    symmetries
        Those that it is meant to have.
    optimum
        The least cost, if it is known from elsewhere.
    digits
        How many digits of it are to be trusted.
    solver
        Which one is to reach it.
    expected_failures, profile
        As for `check_solver`.

    Raises
    ------
    InvalidProblem
        When an argument cannot mean anything.
    """
    if not isinstance(problem, Problem):
        raise InvalidProblem(
            f"check_problem got a {type(problem).__name__}, but a trajopt.Problem was expected; pass one."
        )
    subject = ProblemSubject(problem, tuple(symmetries), optimum, digits, solver, profile == "thorough")
    return run_suite("problem", subject, expected_failures)


def check_dynamics(
    dynamics: Dynamics,
    states: ArrayLike,
    controls: ArrayLike,
    *,
    parameters: Mapping[str, Any] | None = None,
    precision: type = np.float64,
    reload: Callable[[Any], Any] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> list[CheckResult]:
    """Check a model of dynamics: batches against single steps, derivatives, determinism, purity, and its file.

    Parameters
    ----------
    dynamics
        Traced dynamics or `BatchDynamics`: black boxes, simulators, learned models.
    states, controls
        (K, nx) and (K, nu) points at which to look.
    parameters
        The problem's parameters by name, if the model reads any.
    precision
        In which the model computes: `numpy.float32` for most networks.
    reload
        Function that saves the model, loads it again, and returns what came back. None: its file is not looked at.
    expected_failures
        As for `check_solver`.

    Raises
    ------
    InvalidProblem
        When an argument cannot mean anything.
    """
    if not isinstance(dynamics, Dynamics):
        raise InvalidProblem(f"check_dynamics got a {type(dynamics).__name__}, but dynamics were expected; pass some.")
    x, u = np.array(states, float), np.array(controls, float)
    if x.ndim != 2 or x.shape[1] != dynamics.nx or u.shape != (len(x), dynamics.nu):
        raise InvalidProblem(
            f"check_dynamics got states of shape {x.shape} and controls of shape {u.shape}, but (K, {dynamics.nx}) and "
            f"(K, {dynamics.nu}) were expected; correct them."
        )
    subject = DynamicsSubject(dynamics, x, u, dict(parameters or {}), precision, reload)
    return run_suite("dynamics", subject, expected_failures)


def check_decision_process(
    process: Any, *, states: int = 200, expected_failures: Mapping[str, str] | None = None
) -> list[CheckResult]:
    """Check the rules of a decision process on the states that random play reaches.

    Parameters
    ----------
    process
        A `trajopt.DecisionProcess`.
    states
        How many of them, at most.
    expected_failures
        As for `check_solver`.
    """
    from trajopt.testing.checks.decision_process import ProcessSubject  # noqa: PLC0415 - which imports this module

    return run_suite("decision process", ProcessSubject(process, states), expected_failures)


def run_suite(suite: str, subject: Any, expected_failures: Mapping[str, str] | None) -> list[CheckResult]:
    """Run all checks of a suite."""
    checks, expected = all_checks(suite), read_expected(expected_failures, str(subject))
    idle = expected.keys() - {entry.name for entry in checks}
    if idle:
        raise InvalidProblem(
            f"{', '.join(sorted(idle))} was given in expected_failures, but names of checks were expected "
            f"({', '.join(entry.name for entry in checks)}); correct them."
        )
    return [run_check(entry, subject, expected.get(entry.name)) for entry in checks]
