"""Engines: what draws and values samples: compiled rollouts, on the processor or a GPU, or batches of a black box."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BatchDynamics, check_batch
from trajopt.errors import UnsupportedProblem
from trajopt.lowering.formats import FORMATS
from trajopt.problem import Problem
from trajopt.solvers.kernels import sampling, shooting
from trajopt.solvers.sampling.precision import round_data, round_penalty, round_proposal
from trajopt.symbolic import Parameters
from trajopt.trajectory import Trajectory
from trajopt.transcription.stages import compile_stages

if TYPE_CHECKING:
    from trajopt.solvers.cuda_rollouts import CudaRollouts
    from trajopt.solvers.sampling.solver import SamplingSolver
    from trajopt.solvers.sampling.update import Weighting

Array = NDArray[np.float64]

_BLOCKS_OF_A_THREAD = 32
"""Measured on swing-ups of 50 steps: with fewer blocks a further thread costs more than it saves."""


class Engine(ABC):
    """Values plans of one problem by their merit, the cost and what constraint rows add to it."""

    def __init__(self, solver: SamplingSolver, problem: Problem, guess: Trajectory) -> None:
        n, nx, nu = problem.horizon.steps, problem.nx, problem.nu
        stages = compile_stages(problem, solver.integrator, second_order=None)
        addresses = {name: stages.code.address(name) for name in ("step", "path", "end")}
        # Nothing is differentiated, so the kernels of the values never call the other functions.
        self.scalar = shooting.Functions(**addresses, expand=0, path_expand=0, end_expand=0)
        self.scalar_data = shooting.make_data(problem, stages, guess.t)
        self.real: Any = FORMATS[solver.precision].dtype
        self.functions, self.lanes = sampling.compile_rollouts(problem, stages, solver.precision)
        self.data = sampling_data(problem, self.scalar_data, solver.seed)
        self.initial_state = problem.initial_values
        self.nc, self.ne = len(stages.path_names), len(stages.end_names)
        self.shape = n, nx, nu
        self.penalty = shooting.make_penalty(n, self.nc, self.ne, solver.initial_penalty)
        self.rows = shooting.make_constraint_work(nx, nu, self.nc, self.ne)

    def make_plan(self) -> shooting.Rollout:
        """Room for one plan."""
        plan = shooting.make_rollout(*self.shape, self.nc, self.ne)
        plan.x[0] = self.initial_state
        return plan

    def make_work(self, rows: int) -> sampling.Work:
        """Work of one thread for plans of so many parameters."""
        n, nx, nu = self.shape
        return sampling.make_work(nx, n * nu, rows, self.lanes, self.real)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep ready whatever `sample` needs."""
        yield

    @abstractmethod
    def sample(self, proposal: sampling.Proposal, population: sampling.Population, iteration: int) -> None:
        """Draw and value the samples of a population."""

    def average(self, weighting: Weighting, proposal: sampling.Proposal) -> bool:
        """Move the proposal to the weighted mean of the last samples, where these are; False if they are here."""
        return False

    def fetch(self, population: sampling.Population) -> None:  # noqa: B027 - most samples are here
        """Bring the parameters of the last samples here."""

    @abstractmethod
    def value(self, controls: Array, out: shooting.Rollout) -> tuple[float, float]:
        """Simulate one plan, controls (N, nu), into ``out``; returns cost and merit, infinite if not finite."""


class TracedEngine(Engine):
    """What engines of traced problems share: single plans are simulated by the processor."""

    def __init__(self, solver: SamplingSolver, problem: Problem, guess: Trajectory) -> None:
        super().__init__(solver, problem, guess)
        n, nx, nu = self.shape
        self.source = self.make_plan()
        self.no_gains = np.zeros((n, nu)), np.zeros((n, nu, nx))

    def value(self, controls: Array, out: shooting.Rollout) -> tuple[float, float]:
        """See `Engine.value`."""
        self.source.u[:] = controls
        return shooting.simulate(
            self.scalar, self.scalar_data, self.source, *self.no_gains, 0.0, out, self.penalty, self.rows
        )


class CompiledEngine(TracedEngine):
    """Rollouts in machine code, over vector lanes and threads."""

    def __init__(self, solver: SamplingSolver, problem: Problem, guess: Trajectory) -> None:
        super().__init__(solver, problem, guess)
        self.threads = solver.threads
        self.rounded_data = self.data if self.real is np.float64 else round_data(self.data, self.real)
        self.work: list[sampling.Work] = []
        self.executor: Executor | None = None

    def prepare(self, population: sampling.Population) -> None:
        """Make the work of all threads."""
        blocks, rows = population.parameters.shape[:2]
        threads = self.threads or max(1, min(os.cpu_count() or 1, blocks // _BLOCKS_OF_A_THREAD))
        self.work = [self.make_work(rows) for _ in range(threads)]

    @contextmanager
    def open(self) -> Iterator[None]:
        """Keep the threads that `sample` needs; the calling one is the first."""
        if len(self.work) <= 1:
            yield
            return
        with ThreadPoolExecutor(len(self.work) - 1) as self.executor:
            yield

    def sample(self, proposal: sampling.Proposal, population: sampling.Population, iteration: int) -> None:
        """Spread all blocks over the threads."""
        blocks, threads = len(population.merits), len(self.work)
        limits = [blocks * i // threads for i in range(threads + 1)]
        penalty = self.penalty
        if self.real is not np.float64:
            proposal, penalty = round_proposal(proposal, self.real), round_penalty(penalty, self.real)
        arguments = self.functions, self.rounded_data, proposal, penalty, population
        parts = list(zip(limits[:-1], limits[1:], self.work, strict=True))
        futures = []
        if self.executor is not None:
            futures = [
                self.executor.submit(sampling.sample_blocks, *arguments, first, last, iteration, work)
                for first, last, work in parts[1:]
            ]
            parts = parts[:1]
        for first, last, work in parts:
            sampling.sample_blocks(*arguments, first, last, iteration, work)
        for future in futures:
            future.result()


class CudaEngine(TracedEngine):
    """Rollouts on a GPU, where the samples stay; only merits and weighted means come to the host, unless asked."""

    def __init__(self, solver: SamplingSolver, problem: Problem, guess: Trajectory) -> None:
        from trajopt.lowering.cuda import check_device  # noqa: PLC0415 - CUDA loads where it is asked for

        check_device()
        super().__init__(solver, problem, guess)
        self.problem, self.stages = problem, compile_stages(problem, solver.integrator, second_order=None)
        self.precision = solver.precision
        self.sessions: dict[tuple[int, int], CudaRollouts] = {}
        self.last: CudaRollouts | None = None

    def prepare(self, population: sampling.Population) -> None:
        """Sessions are opened when they are needed, one for each number of samples and of given plans."""

    def sample(self, proposal: sampling.Proposal, population: sampling.Population, iteration: int) -> None:
        """See `Engine.sample`."""
        from trajopt.solvers.cuda_rollouts import CudaRollouts  # noqa: PLC0415 - as above

        shaping = proposal.filter if proposal.filter.size > 0 else None
        key = population.samples, len(proposal.given)
        if key not in self.sessions:
            self.sessions[key] = CudaRollouts(
                self.problem, self.stages, self.data, key[0], precision=self.precision,
                basis=proposal.basis if proposal.basis.size > 0 else None, noise_filter=shaping, given=key[1],
                bounds=(proposal.lower, proposal.upper),
            )  # fmt: skip
        rollouts = self.sessions[key]
        rollouts.write_penalty(self.penalty)
        rollouts.write_proposal(proposal.mean, proposal.deviation, shaping)
        rollouts.write_given(proposal.given)
        rollouts.sample(iteration)
        rollouts.read_merits(population.merits)
        self.last = rollouts

    def average(self, weighting: Weighting, proposal: sampling.Proposal) -> bool:
        """See `Engine.average`."""
        assert self.last is not None
        self.last.weigh(temperature=weighting.temperature, share=weighting.share)
        self.last.average()
        proposal.mean[:] = self.last.read().mean
        return True

    def fetch(self, population: sampling.Population) -> None:
        """See `Engine.fetch`."""
        assert self.last is not None
        self.last.read_parameters(population.parameters)


class BatchEngine(Engine):
    """Rollouts by the dynamics themselves, all samples and particles at once; costs and rows in machine code.

    Of random dynamics each plan has several rollouts. Samples draw new random numbers in each iteration; the plans of
    `value` always meet the same.
    """

    def __init__(self, solver: SamplingSolver, problem: Problem, guess: Trajectory) -> None:
        super().__init__(solver, problem, guess)
        assert isinstance(problem.dynamics, BatchDynamics)
        self.dynamics, self.risk, self.seed = problem.dynamics, solver.risk, solver.seed
        self.parameters, self.start = Parameters(problem.layout.unpack(self.scalar_data.parameters)), float(guess.t[0])
        self.particles = solver.particles if self.dynamics.stochastic else 1
        self.common = solver.common_random_numbers
        self.following = np.zeros(problem.nx)
        self.work = self.make_work(0)

    def prepare(self, population: sampling.Population) -> None:
        """Make room for the noise."""
        self.work = self.make_work(population.parameters.shape[1])

    def sample(self, proposal: sampling.Proposal, population: sampling.Population, iteration: int) -> None:
        """See `Engine.sample`."""
        n, _, nu = self.shape
        controls = np.zeros((population.samples, n, nu))
        sampling.propose_blocks(self.functions, self.data, proposal, population, iteration, controls, self.work)
        merits = np.empty((self.particles, *population.merits.shape))
        for particle, states in enumerate(self._roll_out(controls, iteration + 1)):
            sampling.value_blocks(self.functions, self.data, self.penalty, population, controls, states, self.work)
            merits[particle] = population.merits
        population.merits[:] = self.risk.aggregate(merits.reshape(self.particles, -1)).reshape(population.merits.shape)

    def value(self, controls: Array, out: shooting.Rollout) -> tuple[float, float]:
        """The first particle's states, and the mean of the rows over the particles."""
        out.u[:] = np.clip(controls, self.data.lower, self.data.upper)
        all_states = self._roll_out(out.u[None], 0)[:, 0]
        path, end = np.zeros_like(out.path), np.zeros_like(out.end)
        values = np.empty((2, self.particles, 1))
        for particle, states in enumerate(all_states):
            out.x[:] = states
            values[:, particle, 0] = sampling.value_rollout(
                self.scalar, self.scalar_data, out, self.penalty, self.rows.cost, self.following
            )
            path += out.path
            end += out.end
        out.x[:], out.path[:], out.end[:] = all_states[0], path / self.particles, end / self.particles
        cost, merit = (float(self.risk.aggregate(part)[0]) for part in values)
        return cost, merit

    def _roll_out(self, controls: Array, stream: int) -> Array:
        """States (particles, K, N+1, nx) of the plans (K, N, nu)."""
        count, particles = len(controls), self.particles
        if self.common and particles > 1:
            each = [self._simulate(np.repeat(plan[None], particles, axis=0), stream) for plan in controls]
            return np.ascontiguousarray(np.stack(each, axis=1))
        together = np.broadcast_to(controls, (particles, *controls.shape)).reshape(-1, *controls.shape[1:])
        return self._simulate(together, stream).reshape(particles, count, -1, self.shape[1])

    def _simulate(self, controls: Array, stream: int) -> Array:
        n, nx, _ = self.shape
        start = np.tile(self.initial_state, (len(controls), 1))
        generator = np.random.default_rng([self.seed, stream])
        with np.errstate(all="ignore"):
            states = self.dynamics.rollout(start, controls, self.start, self.parameters, generator)
        return np.ascontiguousarray(check_batch(states, (len(controls), n + 1, nx)))


def make_engine(
    solver: SamplingSolver, problem: Problem, guess: Trajectory, population_size: int, parameters: int
) -> tuple[Engine, sampling.Population]:
    """The engine for the problem's kind of dynamics, and room for its samples."""
    batch, kinds = isinstance(problem.dynamics, BatchDynamics), {"cpu": CompiledEngine, "cuda": CudaEngine}
    for name, own in (("device", "cpu"), ("precision", "float64")):
        if batch and getattr(solver, name) != own:
            raise UnsupportedProblem(
                f"{name}={getattr(solver, name)!r} was given, but black-box dynamics step their batches themselves; "
                f'give {name}="{own}", or dynamics that can be traced.'
            )
    kind = BatchEngine if batch else kinds[solver.device]
    engine = kind(solver, problem, guess)
    population = sampling.make_population(population_size, parameters, engine.lanes, engine.real)
    engine.prepare(population)
    return engine, population


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
