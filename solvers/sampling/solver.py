"""The base of all sampling solvers: the settings that they share. A method adds its own, and the update."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION, Claim, Memory, Outcome, Solver
from trajopt.solvers.sampling.risk import Mean, Risk
from trajopt.solvers.sampling.update import Update
from trajopt.trajectory import Trajectory
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.validation import check, check_choice, check_positive, check_whole, is_number, is_whole

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SamplingSolver(Solver):
    """Settings of a search among sampled plans, iterated until the plan stops improving; it needs no derivatives.

    The answer is the best plan met, under held controls. Bounds of the controls hold exactly; all other constraints
    enter the merit as an augmented Lagrangian. Where dynamics are random the answer's controls are the plan of least
    risk, its states those of one rollout, its cost and violation the risk and the mean rows over the particles.

    Solved means: over ``patience`` iterations the best plan improved by less than ``tolerance`` (1 + |S|), no
    constraint is violated by more than ``constraint_tolerance``, and less noise would not help: half of the finite
    samples differ from that plan by less than the same amount (or, for methods that adapt their noise, a restart from
    the best plan brought less than it). Derivatives are never asked for, so this says nothing of stationarity.

    Parameters
    ----------
    samples
        Rollouts an iteration.
    iterations
        Limit on iterations.
    sigma
        Standard deviation of the noise, a number or one for each control, in the controls' units; None: an eighth of
        the width between bounds, where both are finite (from the middle the bounds are four deviations away), else the
        largest control of the guess in magnitude, at least 1. Where controls are discrete, the probability that a stage
        of the plan is drawn anew; None: 1.
    noise_exponent
        beta of noise with the spectrum 1 / f^beta over the horizon: 0 is white, 2 a random walk.
    quasi_random
        Whether samples are Sobol points, shifted anew in each iteration, instead of independent ones.
    knots
        Parameters of each control, which a spline joins; None: one for each step.
    order
        Of the spline: 0 holds, 1 is linear, 3 cubic.
    increments
        Whether noise moves the changes of the controls from step to step instead of the controls, as in SMPPI; sigma is
        then that of a change.
    particles
        Rollouts of each sample where dynamics are random.
    risk
        What the merits of the particles are worth together: `Mean`, `Worst`, `CVaR` or `Exponential`.
    common_random_numbers
        Whether all samples meet the same random numbers, which compares them with less noise. Off by default, because
        each sample is then a call of its own, while a simulator is fast on all of them at once. The best plans are
        always compared under common numbers.
    shrink
        Factor on sigma when the plan stops improving; 1 keeps the noise as it is.
    patience
        Iterations without improvement after which the plan counts as not improving.
    tolerance
        Relative change of the merit that counts as improvement.
    constraint_tolerance
        Violation allowed, in the constraints' own units.
    initial_penalty
        First penalty r.
    penalty_growth
        Factor by which r grows when the violation has not fallen to a quarter.
    integrator
        "rk4", "rk3", "midpoint" or "euler": how continuous dynamics and cost advance over a step.
    seed
        Whole number from 0 to 2^64 - 1.
    threads
        Threads that simulate; None: as many as there are processors and work for.
    device
        "cpu", or "cuda" for rollouts on an NVIDIA GPU, with the same random numbers (`trajopt.lowering.cuda`).
    precision
        "float64", or "float32" for samples and rollouts of half the size, which take little more than half the time.
        Merits then have six digits, less where the dynamics amplify rounding; random numbers, weights, moments and the
        answer itself are in double precision in any case.
    """

    samples: int = 1024
    iterations: int = 2000
    sigma: float | Sequence[float] | None = None
    noise_exponent: float = 0.0
    quasi_random: bool = False
    knots: int | None = None
    order: int = 0
    increments: bool = False
    particles: int = 20
    risk: Risk = field(default_factory=Mean)
    common_random_numbers: bool = False
    shrink: float = 0.5
    patience: int = 10
    tolerance: float = 1e-4
    constraint_tolerance: float = 1e-2
    initial_penalty: float = 1.0
    penalty_growth: float = 4.0
    integrator: str = "rk4"
    seed: int = 0
    threads: int | None = None
    device: str = "cpu"
    precision: str = "float64"

    handles: ClassVar[frozenset[Feature]] = SIMULATION | {Feature.BLACK_BOX, Feature.STOCHASTIC}
    claims: ClassVar[frozenset[Claim]] = frozenset({Claim.MONOTONE})
    reach: ClassVar[float] = 0.125
    """Default sigma as a share of the width between bounds."""
    full_covariance: ClassVar[bool] = False
    """Whether all parameters of a plan are drawn together, by a filter that the update adapts."""

    def __post_init__(self) -> None:
        check_choice(self.integrator, "integrator", INTEGRATORS)
        check_whole(self.samples, "samples", 2)
        for name in ("iterations", "patience", "particles"):
            check_whole(getattr(self, name), name, 1)
        threads, seed, sigma, knots = self.threads, self.seed, self.sigma, self.knots
        check(threads, "threads", "a whole number of at least 1, or None", threads is None or is_whole(threads, 1))
        check(seed, "seed", "a whole number from 0 to 2**64 - 1", is_whole(seed, 0) and seed < 2**64)
        for name in ("tolerance", "constraint_tolerance", "initial_penalty"):
            check_positive(getattr(self, name), name)
        check_share(self.shrink, "shrink")
        growth, exponent = self.penalty_growth, self.noise_exponent
        check(growth, "penalty_growth", "a number above 1", is_number(growth) and growth > 1.0)
        check(exponent, "noise_exponent", "a number from 0 up", is_number(exponent) and exponent >= 0.0)
        check(self.risk, "risk", "a Risk such as CVaR(0.1)", isinstance(self.risk, Risk))
        check(self.device, "device", '"cpu" or "cuda"', self.device in ("cpu", "cuda"))
        check_choice(self.precision, "precision", ("float64", "float32"))
        host = self.device == "cpu" or not self.quasi_random
        check(self.quasi_random, "quasi_random", 'pseudo-random noise beside device="cuda"', host)
        check(self.order, "order", "0, 1 or 3", is_whole(self.order, 0) and self.order in (0, 1, 3))
        check(knots, "knots", "a whole number of at least 2, or None", knots is None or is_whole(knots, 2))
        alone = not (self.increments and knots is not None)
        check(self.increments, "increments", "no knots beside it", alone)
        positive = sigma is None or _positive_numbers(sigma)
        check(sigma, "sigma", "a positive number, one for each control, or None", positive)

    @abstractmethod
    def make_update(self) -> Update:
        """The piece that is the method: how the proposal moves."""

    def make_discrete_update(self, choices: Array) -> Update:
        """The same for discrete controls, which are rows of ``choices`` (k, nu); by those methods that handle them."""
        raise UnsupportedProblem(
            f"{type(self).__name__} was given discrete controls, but a method over tables of probabilities was "
            "expected; use CEM, PredictiveSampling or RandomShooting."
        )

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Search from the controls of ``guess``; its states do not matter."""
        return self.resume(problem, guess, monitor, None)

    def resume(self, problem: Problem, guess: Trajectory, monitor: Monitor, memory: Memory | None) -> Outcome:
        """As `run`, from the proposal of ``memory``; ``guess`` is the first plan to compare with."""
        from trajopt.solvers.sampling.search import Search  # noqa: PLC0415 - kernels load when they are needed

        return Search(self, problem, guess, memory).solve(monitor)

    def read_memory(self, arrays: Mapping[str, Any]) -> Memory:
        """See `trajopt.solver.Solver.read_memory`."""
        from trajopt.solvers.sampling.memory import Memory as Search  # noqa: PLC0415 - as above

        return Search.from_arrays(arrays)


def check_share(value: Any, what: str) -> None:
    """Refuse what is no number above 0 and up to 1."""
    check(value, what, "a number above 0 and up to 1", is_number(value) and 0.0 < value <= 1.0)


def _positive_numbers(values: Any) -> bool:
    """Whether it is a positive number, or a list of them."""
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        return False
    return array.ndim <= 1 and bool((np.isfinite(array) & (array > 0.0)).all())


def deviation_of(solver: SamplingSolver, problem: Problem, guess: Trajectory) -> Array:
    """Standard deviation of each control, (nu,); of discrete ones the probability to be drawn anew."""
    if problem.choices is not None:
        return np.full(problem.nu, 1.0 if solver.sigma is None else float(np.asarray(solver.sigma)))
    if solver.sigma is not None:
        given = np.asarray(solver.sigma, float)
        if given.ndim == 1 and given.size != problem.nu:
            raise InvalidProblem(
                f"sigma has {given.size} numbers, but the problem has {problem.nu} controls; give one for each."
            )
        return np.broadcast_to(given, problem.nu)
    lower, upper = problem.control_bounds
    width, reach = upper - lower, np.maximum(1.0, np.abs(guess.u).max(axis=0, initial=0.0))
    # A control without room stays where it is, whatever its noise; none at all would have no covariance.
    return np.where(np.isfinite(width) & (width > 0.0), solver.reach * width, reach)
