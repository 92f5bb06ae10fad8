"""Sampling on a GPU: one thread draws, simulates and values one sample over the whole horizon; blocks reduce.

The numbers are those of `trajopt.solvers.kernels.sampling`: the same counters and keys, hence the same random words,
the same stage functions, the same weights. A tick is three launches, and only its answer goes to the host:

    roll_out   a thread a sample      draws theta = mean + deviation (F z), moves it into its bounds, simulates, values
    weigh      one block              min S, weights exp(-(S - min S) / temperature), their sum and effective number
    average    a block a parameter    mean = sum of w theta

Samples are the last index of every array, so that neighbouring threads read neighbouring numbers. Sums run over samples
in an order that depends on the number of threads of a block alone: same seed, same bits.

`answer` (4 + rows): least merit, effective number, count of finite merits, index of the best sample, mean.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
from numba import float64

from trajopt.lowering.cuda import PRECISIONS, compile_expression, cuda, device_function, kernel, mathematical_function
from trajopt.solvers.kernels import random
from trajopt.solvers.kernels.random import WORDS

LEAST, EFFECTIVE, COUNT, BEST, HEAD = range(5)

exponential = mathematical_function("exp", "float64")
philox = device_function(random.philox.py_func)


@device_function
def clip(value, lower, upper):
    """Into the bounds, by comparisons: numba.cuda compiles no min and max of two numbers in functions of the device."""
    if value < lower:
        return lower
    return upper if value > upper else value


class Data(NamedTuple):
    """As `trajopt.solvers.kernels.sampling.Data` without its key; limits are flat, (2 nc) and (2 ne)."""

    initial_state: Any
    times: Any
    end_time: Any
    parameters: Any
    lower: Any
    upper: Any
    path_limits: Any
    end_limits: Any


class Proposal(NamedTuple):
    """Normal distribution of a plan's M nu parameters, as `trajopt.solvers.kernels.sampling.Proposal` describes it.

    ``mean`` and ``deviation`` (M, nu), ``lower`` and ``upper`` (nu), ``filter`` (groups, m, m), ``basis`` (N, M) and
    ``given`` (count, M nu); the last three are of any size where the kernel is made without them.
    """

    mean: Any
    deviation: Any
    lower: Any
    upper: Any
    filter: Any
    basis: Any
    given: Any


class Penalty(NamedTuple):
    """Multipliers ``path`` (N, nc) and ``end`` (ne), and penalty ``weight`` (1)."""

    path: Any
    end: Any
    weight: Any


class Population(NamedTuple):
    """``parameters`` and ``noise`` (rows, samples), ``merits``, ``relative`` and ``weights`` (samples).

    Noise is of any size where it is white.
    """

    parameters: Any
    noise: Any
    merits: Any
    relative: Any
    weights: Any


@functools.cache
def make_propose(precision: str, filtered: bool) -> Any:
    """Device function that draws the parameters of a sample; ``filtered``: noise is coloured or correlated."""
    real: Any = PRECISIONS[precision]
    normal = compile_expression("normal", random.box_muller(), precision)
    half, unit, zero = real(0.5), real(2.0**-32), real(0.0)

    @device_function
    def draw(out, sample, iteration, low, high):
        uniform, normals = cuda.local.array(WORDS, real), cuda.local.array(WORDS, real)
        column, call = np.uint64(sample), np.uint64(iteration)
        for row in range(0, out.shape[0], WORDS):
            w0, w1, w2, w3 = philox(np.uint64(row), column, call, np.uint64(0), low, high)
            uniform[0], uniform[1] = (real(w0) + half) * unit, (real(w1) + half) * unit
            uniform[2], uniform[3] = (real(w2) + half) * unit, (real(w3) + half) * unit
            normal(uniform, normals)
            for word in range(WORDS):
                if row + word < out.shape[0]:
                    out[row + word, sample] = normals[word]

    @device_function
    def filtered_noise(matrices, noise, row, sample):
        groups, total = matrices.shape[0], zero
        group, place = row % groups, row // groups
        for k in range(matrices.shape[1]):
            total += matrices[group, place, k] * noise[group + groups * k, sample]
        return total

    @device_function
    def propose(proposal, population, sample, given_from, iteration, low, high):
        parameters, nu = population.parameters, proposal.mean.shape[1]
        draw(population.noise if filtered else parameters, sample, iteration, low, high)
        for row in range(parameters.shape[0]):
            s, i = row // nu, row % nu
            z = filtered_noise(proposal.filter, population.noise, row, sample) if filtered else parameters[row, sample]
            value = proposal.mean[s, i] + proposal.deviation[s, i] * z
            if sample < given_from:
                parameters[row, sample] = clip(value, proposal.lower[i], proposal.upper[i])
            else:
                parameters[row, sample] = proposal.given[sample - given_from, row]

    return propose


@functools.cache
def make_roll_out(stage: Any, end: Any, nx: int, nu: int, precision: str, filtered: bool, steered: bool) -> Any:
    """Kernel that draws and values all samples; ``steered``: controls are the basis times the parameters.

    ``stage`` and ``end`` are the functions of `trajopt.solvers.kernels.sampling`, compiled for the device.
    """
    real: Any = PRECISIONS[precision]
    propose = make_propose(precision, filtered)
    zero, infinity = real(0.0), real(math.inf)

    @kernel
    def roll_out(data, proposal, penalty, population, given_from, iteration, low, high):
        sample = cuda.grid(1)
        if sample >= population.merits.shape[0]:
            return
        parameters = population.parameters
        propose(proposal, population, sample, given_from, iteration, low, high)
        x, u, merit = cuda.local.array(nx, real), cuda.local.array(nu, real), cuda.local.array(1, real)
        merit[0], finite = zero, True
        for i in range(nx):
            x[i] = data.initial_state[i]
        for s in range(data.times.shape[0]):
            for i in range(nu):
                control = parameters[s * nu + i, sample] if not steered else zero
                if steered:
                    for m in range(proposal.mean.shape[0]):
                        control += proposal.basis[s, m] * parameters[m * nu + i, sample]
                u[i] = clip(control, data.lower[i], data.upper[i])
            stage(
                x, u, merit, data.times[s], data.parameters, penalty.path[s], penalty.weight, data.path_limits, x, merit
            )
            for i in range(nx):
                finite = finite and math.isfinite(x[i])
        end(x, merit, data.end_time, data.parameters, penalty.end, penalty.weight, data.end_limits, merit)
        population.merits[sample] = merit[0] if finite and math.isfinite(merit[0]) else infinity

    return roll_out


@device_function
def block_sum(value, scratch):
    """Sum over the threads of a block, a power of two of them, by halves; every thread gets it."""
    thread, half = cuda.threadIdx.x, cuda.blockDim.x // 2
    scratch[thread] = value
    cuda.syncthreads()
    while half > 0:
        if thread < half:
            scratch[thread] += scratch[thread + half]
        cuda.syncthreads()
        half //= 2
    total = scratch[0]
    cuda.syncthreads()  # before the next reduction overwrites it
    return total


@device_function
def block_least(value, scratch):
    """As `block_sum`, the least."""
    thread, half = cuda.threadIdx.x, cuda.blockDim.x // 2
    scratch[thread] = value
    cuda.syncthreads()
    while half > 0:
        if thread < half and scratch[thread + half] < scratch[thread]:
            scratch[thread] = scratch[thread + half]
        cuda.syncthreads()
        half //= 2
    least = scratch[0]
    cuda.syncthreads()
    return least


@device_function
def measure_merits(merits, scratch):
    """Smallest merit, mean above it, number of samples whose merit is finite, and the first sample with the least."""
    least, above, count, best = math.inf, 0.0, 0.0, float(merits.shape[0])
    for k in range(cuda.threadIdx.x, merits.shape[0], cuda.blockDim.x):
        if merits[k] < least:
            least = float(merits[k])
    least = block_least(least, scratch)
    for k in range(cuda.threadIdx.x, merits.shape[0], cuda.blockDim.x):
        merit = float(merits[k])
        if merit < math.inf:
            above += merit - least
            count += 1.0
        if merit == least and k < best:
            best = float(k)
    count = block_sum(count, scratch)
    mean = block_sum(above, scratch) / count if count > 0.0 else 0.0
    return least, mean, count, block_least(best, scratch)


@device_function
def weigh_at(rate, relative, weights, scratch):
    """Weights exp(-rate c) of the relative merits c; returns their sum and effective number (sum w)^2 / sum w^2."""
    total, squares = 0.0, 0.0
    for k in range(cuda.threadIdx.x, relative.shape[0], cuda.blockDim.x):
        weight = exponential(-rate * relative[k])
        weights[k] = weight
        total += weight
        squares += weight * weight
    total = block_sum(total, scratch)
    return total, total * total / block_sum(squares, scratch)


@device_function
def weigh_by_effective_number(target, relative, weights, scratch):
    """The bisection of `trajopt.solvers.kernels.sampling`, where its numbers are explained."""
    below, above = -10.0, 110.0
    total, effective = 0.0, 0.0
    for _ in range(60):
        middle = 0.5 * (below + above)
        total, effective = weigh_at(2.0**middle, relative, weights, scratch)
        if abs(effective - target) <= 0.01 * target:
            break
        if effective > target:
            below = middle
        else:
            above = middle
    return total, effective


@kernel
def weigh(population, temperature, share, answer):
    """Weights at a ``temperature``, or, where ``share`` is positive, at the one that makes this share effective.

    One block. The effective number is 0, and the weights stay as they were, if no merit is finite.
    """
    scratch = cuda.shared.array(0, float64)
    relative, weights = population.relative, population.weights
    least, mean, count, best = measure_merits(population.merits, scratch)
    effective = 0.0
    if count > 0.0:
        unit = temperature
        if share > 0.0:
            unit = mean if 0.0 < mean < math.inf else 1.0
        for k in range(cuda.threadIdx.x, relative.shape[0], cuda.blockDim.x):
            relative[k] = (float(population.merits[k]) - least) / unit
        if share > 0.0:
            target = share * count if share * count > 1.0 else 1.0
            total, effective = weigh_by_effective_number(target, relative, weights, scratch)
        else:
            total, effective = weigh_at(1.0, relative, weights, scratch)
        for k in range(cuda.threadIdx.x, relative.shape[0], cuda.blockDim.x):
            weights[k] /= total
    if cuda.threadIdx.x == 0:
        answer[LEAST], answer[EFFECTIVE], answer[COUNT], answer[BEST] = least, effective, count, best


@kernel
def average(proposal, population, answer):
    """The mean becomes the weighted mean of the parameters, moved into its bounds; it stays if no merit is finite.

    One block for each parameter, row m nu + i.
    """
    scratch = cuda.shared.array(0, float64)
    row, nu = cuda.blockIdx.x, proposal.mean.shape[1]
    s, i = row // nu, row % nu
    total = 0.0
    if answer[COUNT] > 0.0:
        for k in range(cuda.threadIdx.x, population.weights.shape[0], cuda.blockDim.x):
            total += population.weights[k] * population.parameters[row, k]
        total = block_sum(total, scratch)
        if cuda.threadIdx.x == 0:
            # Rounding may have carried it over a bound by a bit.
            proposal.mean[s, i] = clip(total, float(proposal.lower[i]), float(proposal.upper[i]))
    if cuda.threadIdx.x == 0:
        answer[HEAD + row] = proposal.mean[s, i]


@kernel
def take_best(proposal, population, answer):
    """The mean becomes the sample of least merit; it stays if no merit is finite. One thread for each parameter."""
    row, nu = cuda.grid(1), proposal.mean.shape[1]
    if row < proposal.mean.shape[0] * nu:
        if answer[COUNT] > 0.0:
            proposal.mean[row // nu, row % nu] = population.parameters[row, int(answer[BEST])]
        answer[HEAD + row] = proposal.mean[row // nu, row % nu]
