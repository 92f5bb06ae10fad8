"""Rollouts on a GPU: what a sampling planner asks of it, with all memory allocated once.

A tick is `sample`, `weigh` and `average`, one launch each, and `read`, which copies a few numbers and the mean to the
host. Nothing waits for the device but what reads from it, and the mean stays there from tick to tick.
"""

from __future__ import annotations

from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.lowering.cuda import PRECISIONS, SIMULATED, Launch, check_device, compile_expression, make_array, to_device
from trajopt.problem import Problem
from trajopt.solvers.kernels import sampling, shooting
from trajopt.solvers.sampling.precision import inwards
from trajopt.transcription.stages import Stages

Array = NDArray[np.float64]

_ROLLOUT_THREADS = 64
"""A rollout waits for arithmetic, not for memory: small blocks spread few samples over all multiprocessors."""

_REDUCTION_THREADS = 8 if SIMULATED else 512
"""A power of two. One block weighs all samples, and 512 threads leave each of them 128 registers.

The simulator's are threads of Python, which wait for each other in every sum: few of them.
"""


class Answer(NamedTuple):
    """What a tick tells the host.

    ``least`` merit, ``effective`` number of samples (0 if no merit is finite), ``finite`` merits, ``best`` sample, and
    the plan ``mean`` (M, nu) after the update.
    """

    least: float
    effective: float
    finite: int
    best: int
    mean: Array


@final
class CudaRollouts:
    """Samples of one problem on the GPU.

    Parameters
    ----------
    problem, stages
        The problem, and its stages as compiled for the processor.
    data
        Numbers of the problem and the seed, as the kernels for the processor take them.
    samples
        Rollouts a tick, K.
    precision
        "float64" or "float32", of noise, rollouts and merits; weights and sums are in double precision in any case.
    basis
        (N, M) from a plan's parameters to its controls; None: the parameters are the controls, M = N.
    noise_filter
        (groups, m, m) as in `trajopt.solvers.kernels.sampling`; None: noise is white.
    given
        Plans that may take the place of the last samples, at most.
    bounds
        Lower and upper bounds (nu) of the parameters; None: those of the controls.
    threads
        Threads of a block in rollouts and in reductions, the latter a power of two. The order of sums depends on it.

    Raises
    ------
    MissingExtra, InvalidProblem
        When no kernel can run here, or the precision is none of these.
    TrajoptError
        When the problem's functions are too large for the device.
    """

    def __init__(
        self,
        problem: Problem,
        stages: Stages,
        data: sampling.Data,
        samples: int,
        *,
        precision: str = "float64",
        basis: Array | None = None,
        noise_filter: Array | None = None,
        given: int = 0,
        bounds: tuple[Array, Array] | None = None,
        threads: tuple[int, int] = (_ROLLOUT_THREADS, _REDUCTION_THREADS),
    ) -> None:
        check_device()
        if precision not in PRECISIONS:
            raise InvalidProblem(f'precision={precision!r} was given, but "float64" or "float32" was expected.')
        from trajopt.solvers.kernels import cuda as kernels  # noqa: PLC0415 - only loads where kernels can run

        self._kernels, self._real = kernels, PRECISIONS[precision]
        steps, nu = len(data.times), len(data.lower)
        self._shape = (steps if basis is None else basis.shape[1]), nu
        self.samples, self._rows = samples, self._shape[0] * nu
        self._key = data.key & np.uint64(0xFFFFFFFF), data.key >> np.uint64(32)
        nc, ne = data.path_limits.shape[1], data.end_limits.shape[1]
        self._data = self._buffers(*_flat(data, self._real))
        self._penalty = self._buffers(np.zeros((steps, nc)), np.zeros(ne), np.ones(1))
        lower, upper = bounds or (data.lower, data.upper)
        self._proposal = self._buffers(
            np.zeros(self._shape), np.ones(self._shape), *inwards(lower, upper, self._real),
            np.zeros((0, 0, 0)) if noise_filter is None else noise_filter,
            np.zeros((0, 0)) if basis is None else basis,
            np.zeros((given, self._rows)),
        )  # fmt: skip
        self._given = 0
        self._answer = _Buffer(np.zeros(kernels.HEAD + self._rows), np.float64)
        self._population = kernels.Population(
            make_array((self._rows, samples), self._real),
            make_array((1, 1) if noise_filter is None else (self._rows, samples), self._real),
            make_array((samples,), self._real),
            *(make_array((samples,), np.float64) for _ in range(2)),
        )
        self._host = np.empty((self._rows, samples), self._real), np.empty(samples, self._real)
        self._on_device = (
            kernels.Data(*_devices(self._data)),
            kernels.Proposal(*_devices(self._proposal)),
            kernels.Penalty(*_devices(self._penalty)),
        )
        functions = sampling.roll_out_expressions(problem, stages)
        stage, end = (compile_expression(name, functions[name], precision) for name in ("stage", "end"))
        flags = noise_filter is not None, basis is not None
        self._make_launches(kernels.make_roll_out(stage, end, problem.nx, nu, precision, *flags), *threads)

    def _make_launches(self, roll_out: Any, threads: int, reduction_threads: int) -> None:
        kernels, population, answer = self._kernels, self._population, self._answer.device
        _, proposal, _ = self._on_device
        shared = 8 * reduction_threads
        blocks, row_blocks = -(-self.samples // threads), -(-self._rows // threads)
        self._roll_out = Launch(roll_out, blocks, threads, 0, (*self._on_device, population, 0, 0, *self._key))
        self._weigh = Launch(kernels.weigh, 1, reduction_threads, shared, (population, 1.0, 0.0, answer))
        reduced = proposal, population, answer
        self._average = Launch(kernels.average, self._rows, reduction_threads, shared, reduced)
        self._take_best = Launch(kernels.take_best, row_blocks, threads, 0, reduced)

    def write_data(self, data: sampling.Data) -> None:
        """Take over other numbers of the same problem; the seed stays."""
        for buffer, values in zip(self._data, _flat(data, self._real), strict=True):
            buffer.write(values)

    def write_state(self, initial_state: Array) -> None:
        """Begin rollouts at another state, (nx)."""
        self._data[0].write(initial_state)

    def write_penalty(self, penalty: shooting.Penalty) -> None:
        """Take over multipliers and penalty."""
        for buffer, values in zip(self._penalty, (penalty.path, penalty.end, penalty.weight), strict=True):
            buffer.write(values)

    def write_proposal(self, mean: Array, deviation: Array, noise_filter: Array | None = None) -> None:
        """Take over mean and deviation, both (M, nu), and a filter of the same shape as before."""
        self._proposal[0].write(mean)
        self._proposal[1].write(deviation)
        if noise_filter is not None:
            self._proposal[4].write(noise_filter)

    def write_given(self, plans: Array) -> None:
        """Let these plans (count, M nu) take the place of the last samples."""
        self._given = len(plans)
        room = np.zeros(self._proposal[6].shape)
        room[: len(plans)] = plans
        self._proposal[6].write(room)

    def sample(self, iteration: int) -> None:
        """Draw, simulate and value all samples; ``iteration`` is their place in the stream of random numbers."""
        self._roll_out(*self._on_device, self._population, self.samples - self._given, iteration, *self._key)

    def weigh(self, *, temperature: float = 1.0, share: float = 0.0) -> None:
        """Weights at a temperature, or, where ``share`` is positive, at the one that makes this share effective."""
        self._weigh(self._population, float(temperature), float(share), self._answer.device)

    def average(self) -> None:
        """The mean becomes the weighted mean; it stays where no merit is finite."""
        self._average(self._on_device[1], self._population, self._answer.device)

    def take_best(self) -> None:
        """The mean becomes the best sample; it stays where no merit is finite."""
        self._take_best(self._on_device[1], self._population, self._answer.device)

    def read(self) -> Answer:
        """Wait, and copy the numbers of `weigh` and the mean of `average` or `take_best` to the host."""
        numbers = self._answer.read()
        least, effective, finite, best = (float(number) for number in numbers[: self._kernels.HEAD])
        mean = numbers[self._kernels.HEAD :].reshape(self._shape)
        return Answer(least, effective, int(finite), int(best), mean)

    def read_merits(self, merits: Array) -> None:
        """Wait, and copy the merits to the host, (blocks, W)."""
        self._population.merits.copy_to_host(self._host[1])
        merits[:] = np.inf
        merits.flat[: self.samples] = self._host[1]

    def read_parameters(self, parameters: Array) -> None:
        """Wait, and copy the samples to the host, (blocks, rows, W).

        This is the layout of `trajopt.solvers.kernels.sampling.Population`, for updates that run on the processor.
        """
        lanes = parameters.shape[2]
        self._population.parameters.copy_to_host(self._host[0])
        for block in range(-(-self.samples // lanes)):
            part = self._host[0][:, block * lanes : (block + 1) * lanes]
            parameters[block, : self._rows, : part.shape[1]] = part

    def read_weights(self, weights: Array) -> None:
        """Wait, and copy the weights to the host, (blocks, W)."""
        weights[:] = 0.0
        weights.flat[: self.samples] = self._population.weights.copy_to_host()

    def _buffers(self, *values: Array) -> list[_Buffer]:
        return [_Buffer(part, self._real) for part in values]


class _Buffer:
    """An array on the device and its copy on the host, both allocated once.

    A device has no arrays without elements: a dimension of zero becomes one, which no kernel reads.
    """

    def __init__(self, values: Array, real: type) -> None:
        self.shape = values.shape
        self._host = np.zeros([max(1, size) for size in values.shape], real)
        self.device = to_device(self._host)
        self.write(values)

    def write(self, values: Array) -> None:
        """Copy to the device; a number beyond single precision becomes infinite."""
        if values.size > 0:
            with np.errstate(over="ignore"):
                self._host[...] = values
            self.device.copy_to_device(self._host)

    def read(self) -> Array:
        """Copy from the device; the array is overwritten by the next call."""
        self.device.copy_to_host(self._host)
        return self._host


def _devices(buffers: list[_Buffer]) -> list[Any]:
    return [buffer.device for buffer in buffers]


def _flat(data: sampling.Data, real: Any) -> list[Array]:
    """The data without its key, with flat limits, and bounds that hold exactly."""
    lower, upper = inwards(data.lower, data.upper, real)
    limits = {"path_limits": data.path_limits.ravel(), "end_limits": data.end_limits.ravel()}
    parts = data._replace(lower=lower, upper=upper, **limits)._asdict()
    del parts["key"]
    return list(parts.values())
