"""Model predictive path integral control (MPPI): a plan as the weighted mean of sampled plans.

Each iteration draws K control sequences around the plan u, simulates them, and averages them by their cost,

    v^k = clip(u + sigma eps^k),   eps^k ~ N(0, I),    w^k = exp(-(S(v^k) - min S) / lambda) / sum,    u <- sum w^k v^k.

This is the step from N(u, Sigma) to the mean of its product with exp(-S / lambda). For S = 1/2 u'Hu + g'u it is
u <- (Sigma^-1 + H / lambda)^-1 (Sigma^-1 u - g / lambda), a proximal Newton step, whose fixed point is the optimum of S
itself. Information-theoretic MPPI (Williams et al.) adds lambda u'Sigma^-1 eps to S and thereby solves another problem,
with the control cost lambda/2 u'Sigma^-1 u on top. Here the problem states its whole cost: that term is left out.

Costs come in any unit. Unless lambda is given, each iteration takes the one at which a share of the samples is
effective, (sum w)^2 / sum w^2 = share K, which does not depend on the unit.

The mean of white noise stays noisy: when the best plan has not improved for a while, sigma shrinks and the search goes
on from the best plan (annealing, as in DIAL-MPC). Control bounds hold exactly, because samples are clipped before they
are simulated and averaged. All other constraints enter S as an augmented Lagrangian, whose multipliers and penalty are
updated at the same moments (`trajopt.solvers.kernels.shooting`).

Solved means: over ``patience`` iterations the best plan improved by less than ``tolerance`` (1 + |S|), the noise is so
small that half of the finite samples differ from that plan by less than the same amount, and no constraint is violated
by more than ``constraint_tolerance``. Derivatives are never asked for, so this says nothing of stationarity.

A rollout that is not finite has weight zero. Random numbers are functions of the seed and of their place, and sums have
a fixed order: same seed, same bits, whatever the number of threads.

References: Williams, Aldrich, Theodorou, JGCD 40(2), 2017; Williams et al., IEEE T-RO 34(6), 2018; Xue et al.,
Full-Order Sampling-Based MPC (DIAL-MPC), 2024.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION, Outcome, Solver
from trajopt.solvers.kernels import sampling, shooting
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.integrators import INTEGRATORS
from trajopt.transcription.stages import compile_stages

Array = NDArray[np.float64]

_BLOCKS_OF_A_THREAD = 32
"""Measured on swing-ups of 50 steps: with fewer blocks a further thread costs more than it saves."""

_LARGEST_PENALTY = 1e8
"""Beyond it, rounding of the violation's square hides the cost."""


@final
@dataclass(frozen=True)
class MPPI(Solver):
    """Model predictive path integral control, iterated until the plan stops improving; it needs no derivatives.

    Parameters
    ----------
    samples
        Rollouts an iteration, K.
    iterations
        Limit on iterations.
    temperature
        lambda, in the unit of the cost; None adapts it to ``effective_share``.
    effective_share
        Share of the samples that is to be effective while the temperature adapts. Ten of a thousand: on swing-ups and
        obstacle courses more than that averages unlike plans, and less than that follows the noise.
    sigma
        Standard deviation of the noise, a number or one for each control, in the controls' units; None: an eighth of
        the width between bounds, where both are finite (from the middle the bounds are four deviations away), else the
        largest control of the guess in magnitude, at least 1.
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
    """

    samples: int = 1024
    iterations: int = 2000
    temperature: float | None = None
    effective_share: float = 0.01
    sigma: float | Sequence[float] | None = None
    shrink: float = 0.5
    patience: int = 10
    tolerance: float = 1e-4
    constraint_tolerance: float = 1e-2
    initial_penalty: float = 1.0
    penalty_growth: float = 4.0
    integrator: str = "rk4"
    seed: int = 0
    threads: int | None = None

    handles: ClassVar[frozenset[Feature]] = SIMULATION

    def __post_init__(self) -> None:
        names = ", ".join(INTEGRATORS)
        _check("integrator", self.integrator, f"one of {names}", self.integrator in INTEGRATORS)
        _check("samples", self.samples, "a whole number of at least 2", _whole(self.samples, 2))
        for name in ("iterations", "patience"):
            value = getattr(self, name)
            _check(name, value, "a whole number of at least 1", _whole(value, 1))
        threads, seed, temperature, sigma = self.threads, self.seed, self.temperature, self.sigma
        _check("threads", threads, "a whole number of at least 1, or None", threads is None or _whole(threads, 1))
        _check("seed", seed, "a whole number from 0 to 2**64 - 1", _whole(seed, 0) and seed < 2**64)
        for name in ("tolerance", "constraint_tolerance", "initial_penalty"):
            value = getattr(self, name)
            _check(name, value, "a positive number", 0.0 < value < math.inf)
        for name in ("effective_share", "shrink"):
            value = getattr(self, name)
            _check(name, value, "a number above 0 and up to 1", 0.0 < value <= 1.0)
        _check("penalty_growth", self.penalty_growth, "a number above 1", 1.0 < self.penalty_growth < math.inf)
        warm = temperature is None or 0.0 < temperature < math.inf
        _check("temperature", temperature, "a positive number, or None", warm)
        if sigma is not None:
            values = np.asarray(sigma, float)
            positive = values.ndim <= 1 and bool((np.isfinite(values) & (values > 0.0)).all())
            _check("sigma", sigma, "a positive number, one for each control, or None", positive)

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Search from the controls of ``guess``; its states do not matter."""
        return _Run(self, problem, guess).solve(monitor)


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _check(name: str, value: object, expected: str, valid: bool) -> None:
    if not valid:
        raise InvalidProblem(f"{name}={value!r} was given, but {expected} was expected; correct it.")


def _deviation(sigma: float | Sequence[float] | None, problem: Problem, guess: Trajectory) -> Array:
    """Standard deviation of each control, (nu,)."""
    if sigma is not None:
        given = np.asarray(sigma, float)
        if given.ndim == 1 and given.size != problem.nu:
            raise InvalidProblem(
                f"sigma has {given.size} numbers, but the problem has {problem.nu} controls; give one for each."
            )
        return np.broadcast_to(given, problem.nu)
    lower, upper = problem.control_bounds
    reach = np.maximum(1.0, np.abs(guess.u).max(axis=0, initial=0.0))
    return np.where(np.isfinite(upper - lower), 0.125 * (upper - lower), reach)


class _Run:
    """Arrays and progress of one solve."""

    def __init__(self, solver: MPPI, problem: Problem, guess: Trajectory) -> None:
        self.solver, self.problem, self.guess = solver, problem, guess
        n, nx, nu = problem.horizon.steps, problem.nx, problem.nu
        self.stages = stages = compile_stages(problem, solver.integrator, second_order=None)
        addresses = {name: stages.code.address(name) for name in ("step", "path", "end")}
        # Nothing is differentiated, so the kernels of the values never call the other functions.
        self.scalar = shooting.Functions(**addresses, expand=0, path_expand=0, end_expand=0)
        self.scalar_data = shooting.make_data(problem, stages, guess.t)
        code = sampling.compile_rollouts(problem, stages)
        self.functions = sampling.Functions(*(code.address(name) for name in sampling.Functions._fields))
        self.data = sampling_data(problem, self.scalar_data, solver.seed)
        nc, ne = len(stages.path_names), len(stages.end_names)
        self.constrained = nc + ne > 0
        self.source, self.candidate, self.best = (shooting.make_rollout(n, nx, nu, nc, ne) for _ in range(3))
        for rollout in (self.source, self.candidate, self.best):
            rollout.x[0] = problem.initial_values
        self.penalty = shooting.make_penalty(n, nc, ne, solver.initial_penalty)
        self.rows = shooting.make_constraint_work(nx, nu, nc, ne)
        self.no_gains = np.zeros((n, nu)), np.zeros((n, nu, nx))
        deviation = np.tile(_deviation(solver.sigma, problem, guess), (n, 1))
        self.proposal = sampling.Proposal(np.clip(guess.held(), self.data.lower, self.data.upper), deviation)
        self.population = sampling.make_population(solver.samples, n * nu, code.lanes)
        self.sums, self.rate = np.zeros(self.population.controls.shape[1:]), np.zeros(1)
        blocks = len(self.population.merits)
        threads = solver.threads or max(1, min(os.cpu_count() or 1, blocks // _BLOCKS_OF_A_THREAD))
        self.limits = [blocks * i // threads for i in range(threads + 1)]
        self.work = [sampling.make_work(nx, code.lanes) for _ in range(threads)]
        self.executor: Executor | None = None
        self.best_cost = self.best_merit = self.reference = math.inf
        self.violation = self.previous_violation = math.inf
        self.iteration = self.idle = 0
        self.detail = ""

    def solve(self, monitor: Monitor) -> Outcome:
        """Value the guess, then iterate."""
        with self.open_threads():
            self._consider(self.proposal.mean)
            if not math.isfinite(self.best_merit):
                self.advance()  # the guess leads nowhere, but samples around it may
            if not math.isfinite(self.best_merit):
                self.detail = "Neither the guess nor any sample around it has a finite rollout; give another guess."
                return Outcome(Status.NUMERICAL_FAILURE, self.guess, math.nan, 0, detail=self.detail)
            self.reference = self.best_merit
            stop = monitor.observe(self.best_cost, self.violation)
            status = stop if stop is not None else monitor.run(self.step, self.solver.iterations)
        trajectory = replace(self.guess, x=self.best.x, u=self.best.u, u_mid=None, interpolation=Interpolation.HOLD)
        return Outcome(status, trajectory, self.best_cost, len(monitor.history) - 1, detail=self.detail)

    @contextmanager
    def open_threads(self) -> Iterator[None]:
        """Keep the threads that `advance` needs; the calling one is the first."""
        if len(self.work) == 1:
            yield
            return
        with ThreadPoolExecutor(len(self.work) - 1) as self.executor:
            yield

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """One iteration, and what follows when the plan stops improving."""
        status = self.advance()
        if self.best_merit < self.reference - self.solver.tolerance * (1.0 + abs(self.reference)):
            self.reference, self.idle = self.best_merit, 0
        else:
            self.idle += 1
        if status is None and self.idle >= self.solver.patience:
            status = self._settle()
        return status, {"cost": self.best_cost, "violation": self.violation}

    def advance(self) -> Status | None:
        """Sample, weigh and average; keep the new plan, and remember it if it is the best."""
        self._sample()
        if self.weigh() == 0.0:
            self.detail = "No sample has a finite rollout; give a smaller sigma."
            return Status.NUMERICAL_FAILURE
        sampling.weighted_mean(self.population, self.sums, self.proposal.mean)
        if not math.isfinite(self._consider(self.proposal.mean)):
            # The mean of two ways round a region where nothing is finite lies in it; a sample does not.
            sampling.best_sample(self.population, self.proposal.mean)
            self._consider(self.proposal.mean)
        return None

    def _sample(self) -> None:
        """Draw and simulate all blocks, spread over the threads."""
        arguments = self.functions, self.data, self.proposal, self.penalty, self.population
        parts = list(zip(self.limits[:-1], self.limits[1:], self.work, strict=True))
        futures = []
        if self.executor is not None:
            futures = [
                self.executor.submit(sampling.sample_blocks, *arguments, first, last, self.iteration, work)
                for first, last, work in parts[1:]
            ]
        first, last, work = parts[0]
        sampling.sample_blocks(*arguments, first, last, self.iteration, work)
        for future in futures:
            future.result()
        self.iteration += 1

    def weigh(self) -> float:
        """Weights of the samples; returns their effective number."""
        if self.solver.temperature is not None:
            return sampling.weigh_by_temperature(self.functions, self.population, self.solver.temperature, self.rate)
        share = self.solver.effective_share
        return sampling.weigh_by_effective_number(self.functions, self.population, share, self.rate)

    def _consider(self, controls: Array) -> float:
        """Simulate a plan with the scalar functions and keep it if it is the best; returns its merit."""
        self.source.u[:] = controls
        cost, merit = shooting.simulate(
            self.scalar, self.scalar_data, self.source, *self.no_gains, 0.0, self.candidate, self.penalty, self.rows
        )
        if merit < self.best_merit:
            self.best, self.candidate = self.candidate, self.best
            self.best_cost, self.best_merit = cost, merit
            self.violation, _ = shooting.measure_all(self.scalar_data, self.best, self.penalty)
        return merit

    def _settle(self) -> Status | None:
        """Judge the best plan, then go on from it with less noise and new multipliers."""
        solver = self.solver
        margin = solver.tolerance * (1.0 + abs(self.best_merit))
        merits = self.population.merits[np.isfinite(self.population.merits)]
        spread = float(np.median(np.abs(merits - self.best_merit)))
        quiet = spread <= margin or solver.shrink == 1.0
        if quiet and self.violation <= solver.constraint_tolerance:
            return Status.SOLVED
        if not quiet:
            self.proposal.deviation[:] *= solver.shrink
        if self.constrained:
            self._update_multipliers()
        self.proposal.mean[:] = self.best.u
        self.reference, self.idle = self.best_merit, 0
        return None

    def _update_multipliers(self) -> None:
        shooting.update_multipliers(self.scalar_data, self.best, self.penalty)
        if self.violation > max(0.25 * self.previous_violation, self.solver.constraint_tolerance):
            weight = min(self.penalty.weight[0] * self.solver.penalty_growth, _LARGEST_PENALTY)
            shooting.set_penalty(self.penalty, weight, weight)
        self.previous_violation = self.violation
        self.best_merit = math.inf  # the old merit has other multipliers
        self._consider(self.best.u)


def sampling_data(problem: Problem, data: shooting.Data, seed: int) -> sampling.Data:
    """The numbers that sampling kernels need."""
    return sampling.Data(
        problem.initial_values,
        data.times,
        data.end_time,
        data.parameters,
        data.lower,
        data.upper,
        np.stack([data.path_lower, data.path_upper]),
        np.stack([data.end_lower, data.end_upper]),
        np.uint64(seed),
    )
