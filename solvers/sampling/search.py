"""One search: it draws, values and updates, keeps the best plan, and turns to new noise and multipliers at a rest."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering import preferred_lanes
from trajopt.monitor import Monitor
from trajopt.problem import Problem
from trajopt.solver import Memory as SolverMemory
from trajopt.solver import Outcome
from trajopt.solvers.kernels import random, sampling, shooting, weights
from trajopt.solvers.sampling import noise
from trajopt.solvers.sampling.categorical import check_discrete
from trajopt.solvers.sampling.engine import make_engine
from trajopt.solvers.sampling.memory import Memory, Noise, fit
from trajopt.solvers.sampling.solver import SamplingSolver, deviation_of
from trajopt.solvers.sampling.update import Generation
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Trajectory

Array = NDArray[np.float64]

_LARGEST_PENALTY = 1e8
"""Beyond it, rounding of the violation's square hides the cost."""


def make_proposal(solver: SamplingSolver, problem: Problem, guess: Trajectory, room: int) -> sampling.Proposal:
    """The first proposal: around the controls of the guess; ``room`` samples at most."""
    n, nu = problem.horizon.steps, problem.nu
    lower, upper = problem.control_bounds
    controls = problem.admissible(guess.held())
    basis = np.zeros((0, 0))
    if solver.increments:
        basis = np.tril(np.ones((n, n)))
        controls = np.diff(controls, axis=0, prepend=0.0)
        lower, upper = np.full(nu, -np.inf), np.full(nu, np.inf)  # of the changes; the controls keep theirs
    elif solver.knots is not None and solver.knots < n:
        basis = noise.make_basis(n, solver.knots, solver.order)
        controls = np.clip(np.linalg.lstsq(basis, controls)[0], lower, upper)
    size = controls.size
    shaping = np.zeros((0, 0, 0))
    if solver.full_covariance:
        shaping = np.eye(size)[None].copy()
    elif solver.noise_exponent > 0.0:
        shaping = np.tile(noise.colour_filter(len(controls), solver.noise_exponent), (nu, 1, 1))
    rows = -(-size // random.WORDS) * random.WORDS
    points = np.zeros((0, 0, 0))
    if solver.quasi_random:
        points = noise.quasi_points(room, rows, preferred_lanes(solver.precision))
    deviation = np.tile(deviation_of(solver, problem, guess), (len(controls), 1))
    return sampling.Proposal(
        controls.copy(), deviation, shaping, basis, np.zeros((0, size)), points, np.zeros(rows), lower, upper
    )


class Search:
    """Arrays and progress of one solve."""

    def __init__(
        self, solver: SamplingSolver, problem: Problem, guess: Trajectory, memory: SolverMemory | None = None
    ) -> None:
        self.solver, self.guess = solver, guess
        if problem.choices is None:
            self.update = solver.make_update()
        else:
            check_discrete(solver)
            self.update = solver.make_discrete_update(problem.choices)
        self.start = problem.admissible(guess.held())
        room = solver.samples + self.update.room
        self.proposal = make_proposal(solver, problem, guess, room)
        self.engine, self.arrays = make_engine(solver, problem, guess, room, self.proposal.mean.size)
        self.population = sampling.first_samples(self.arrays, solver.samples)
        self.candidate, self.best = self.engine.make_plan(), self.engine.make_plan()
        self.first_deviation, self.first_filter = self.proposal.deviation.copy(), self.proposal.filter.copy()
        self.scale = 1.0
        self.plan = np.zeros_like(self.proposal.mean)
        self.constrained = self.engine.nc + self.engine.ne > 0
        self.best_cost = self.best_merit = self.reference = self.rested = math.inf
        self.violation = self.previous_violation = math.inf
        self.iteration = self.generation = self.idle = 0
        self.drawn = self.finite = 0
        self.detail = ""
        if isinstance(memory, Memory):
            self._recall(memory)

    def _recall(self, memory: Memory) -> None:
        """Go on where an earlier search was, unless it was of another size."""
        memory = memory.on(self.proposal.basis)
        if memory.mean.shape != self.proposal.mean.shape:
            return
        self.iteration = memory.iteration
        self.proposal.mean[:] = np.clip(memory.mean, self.proposal.lower, self.proposal.upper)
        if memory.penalty.path.shape == self.engine.penalty.path.shape:
            for now, then in zip(self.engine.penalty, memory.penalty, strict=True):
                now[:] = then
        noise = memory.noise
        if noise is not None and (noise.method, noise.filter.shape) == (self._method, self.proposal.filter.shape):
            self.proposal.deviation[:], self.proposal.filter[:] = noise.deviation, noise.filter
            self.update.recall(noise.learnt)
        else:
            self.update.adopt(memory.elites)

    @property
    def _method(self) -> str:
        return type(self.update).__name__

    def solve(self, monitor: Monitor) -> Outcome:
        """Value the guess, then iterate."""
        with self.engine.open():
            self._consider_controls(self.start)
            if not math.isfinite(self.best_merit):
                self.advance()  # the guess leads nowhere, but samples around it may
            if not math.isfinite(self.best_merit):
                self.detail = "Neither the guess nor any sample around it has a finite rollout; give another guess."
                return Outcome(Status.NUMERICAL_FAILURE, self.guess, math.nan, 0, detail=self.detail)
            self.reference = self.best_merit
            stop = monitor.observe(self.best_cost, self.violation)
            status = stop if stop is not None else monitor.run(self.step, self.solver.iterations)
        trajectory = replace(self.guess, x=self.best.x, u=self.best.u, u_mid=None, interpolation=Interpolation.HOLD)
        if self.finite < self.drawn:
            lost = f"{self.drawn - self.finite} of {self.drawn} samples were not finite; they counted as the worst."
            self.detail = f"{self.detail} {lost}".strip()
        iterations = len(monitor.history) - 1
        return Outcome(status, trajectory, self.best_cost, iterations, detail=self.detail, memory=self._remember())

    def _remember(self) -> Memory:
        elites = self.update.elites
        kept = np.zeros((0, self.proposal.mean.size)) if elites is None else elites
        proposal = self.proposal
        noise = Noise(self._method, proposal.deviation, proposal.filter, self.update.learnt())
        return Memory(proposal.mean, kept, self.iteration, proposal.basis, self.engine.penalty, noise)

    def step(self) -> tuple[Status | None, dict[str, float]]:
        """One iteration, and what follows when the plan stops improving."""
        status = self.advance()
        if self.best_merit < self.reference - self.solver.tolerance * (1.0 + abs(self.reference)):
            self.reference, self.idle = self.best_merit, 0
        else:
            self.idle += 1
        if status is None and self.idle >= self.update.patience(self.solver.patience, self.plan.size):
            status = self._settle()
        return status, {"cost": self.best_cost, "violation": self.violation}

    def advance(self) -> Status | None:
        """Sample and update; keep the new plan, and remember it if it is the best."""
        self.sample()
        least = self.population.merits.min()
        if not least < math.inf:
            self.detail = "No sample has a finite rollout; give a smaller sigma."
            return Status.NUMERICAL_FAILURE
        weighting = self.update.weighting(self.population)
        if weighting is None or not self.engine.average(weighting, self.proposal):
            self._move(least)
        if not math.isfinite(self.consider(self.proposal.mean)):
            # The mean of two ways round a region where nothing is finite lies in it; a sample does not.
            self.engine.fetch(self.population)
            weights.best_sample(self.population, self.proposal.mean)
            self.consider(self.proposal.mean)
        return None

    def _move(self, least: float) -> None:
        """The update, and before it the best sample if that may be the answer."""
        self.engine.fetch(self.population)
        if self.update.takes_best_sample and least < self.best_merit:
            weights.best_sample(self.population, self.plan)
            self.consider(self.plan)
        self.update.move(self.engine.functions, self.population, self.proposal)

    def sample(self) -> None:
        """Draw and value the next generation; its parameters may stay where they were drawn (`Engine.fetch`)."""
        self.generation += 1
        asked = self.update.prepare(self.proposal, self.generation == self.solver.iterations, self.iteration)
        if asked is None:
            asked = Generation(self.solver.samples, self.proposal.given[:0])
        self.proposal = self.proposal._replace(given=np.ascontiguousarray(asked.given))
        self.population = sampling.first_samples(self.arrays, asked.samples + len(asked.given))
        if self.solver.quasi_random:
            generator = np.random.default_rng([self.solver.seed, self.iteration])
            self.proposal.shift[:] = generator.random(self.proposal.shift.size)
        self.engine.sample(self.proposal, self.population, self.iteration)
        self.iteration += 1
        self.drawn += self.population.samples
        self.finite += int(np.isfinite(self.population.merits).sum())

    def consider(self, parameters: Array) -> float:
        """Value the plan of these parameters and keep it if it is the best; returns its merit."""
        basis = self.proposal.basis
        return self._consider_controls(parameters if basis.size == 0 else basis @ parameters)

    def _consider_controls(self, controls: Array) -> float:
        cost, merit = self.engine.value(controls, self.candidate)
        if merit < self.best_merit:
            self.best, self.candidate = self.candidate, self.best
            self.best_cost, self.best_merit = cost, merit
            self.violation, _ = shooting.measure_all(self.engine.scalar_data, self.best, self.engine.penalty)
        return merit

    def _settle(self) -> Status | None:
        """Judge the best plan, then go on from it with less noise and new multipliers."""
        solver = self.solver
        if not self.update.moves:
            return Status.STALLED
        margin = solver.tolerance * (1.0 + abs(self.best_merit))
        if self.update.adapts:
            quiet = self.rested - self.best_merit <= margin
        else:
            merits = self.population.merits[np.isfinite(self.population.merits)]
            quiet = float(np.median(np.abs(merits - self.best_merit))) <= margin
        quiet = quiet or (solver.shrink == 1.0 and not self.update.adapts)
        violated = self.violation > solver.constraint_tolerance
        if quiet and not violated:
            return Status.SOLVED
        # Noise that adapts shrinks by itself; while it still finds ways to meet the constraints it begins as before.
        finding = violated and not quiet
        if not finding if self.update.adapts else not quiet:
            self.scale *= solver.shrink
        if self.constrained:
            self._update_multipliers()
        self._restart()
        self.reference = self.rested = self.best_merit
        self.idle = 0
        return None

    def _restart(self) -> None:
        """Centre the proposal on the best plan."""
        self.proposal.mean[:] = fit(self.best.u, self.proposal.basis)
        self.proposal.deviation[:] = self.first_deviation * self.scale
        self.proposal.filter[:] = self.first_filter
        self.update.restart(self.proposal)

    def _update_multipliers(self) -> None:
        penalty, solver = self.engine.penalty, self.solver
        shooting.update_multipliers(self.engine.scalar_data, self.best, penalty)
        if self.violation > max(0.25 * self.previous_violation, solver.constraint_tolerance):
            weight = min(penalty.weight[0] * solver.penalty_growth, _LARGEST_PENALTY)
            shooting.set_penalty(penalty, weight, weight)
        self.previous_violation = self.violation
        self.best_merit = math.inf  # the old merit has other multipliers
        self._consider_controls(self.best.u.copy())
