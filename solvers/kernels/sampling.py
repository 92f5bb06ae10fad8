"""Sampling planners: Gaussian proposals, rollouts over blocks of samples, exponential weights and weighted means.

Samples lie in blocks of W, a number of vector lanes, and every array of theirs has the lane as its last index: one call
of a compiled function advances W samples by a step, and the whole horizon runs while their states stay in the cache.
Nothing is allocated here. Sums over samples run over the blocks in order, so that threads cannot change a bit.

Compiled functions (double*; W numbers an element unless marked shared; constraint rows enter the merit as in
`trajopt.solvers.kernels.shooting`, with the same multipliers l and penalty r):

    stage   x, u, merit, and shared: time, p, l, r, limits   -> x+, merit + L + rows
    end     x, merit, and shared: time, p, l, r, limits      -> merit + phi + rows
    normal  four uniform numbers                             -> four normal variates
    decay   c, and shared: rate                              -> exp(-rate c)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.lowering import MachineCode, compile_functions, preferred_lanes
from trajopt.lowering.call import call3, call8, call10
from trajopt.lowering.kernel import kernel
from trajopt.problem import Problem
from trajopt.solvers.kernels.random import WORDS, box_muller, draw_normal
from trajopt.transcription.stages import Stages

Array = NDArray[np.float64]

_SHARED = ("time", "p", "l", "r", "limits")


class Functions(NamedTuple):
    """Addresses of the functions in the module docstring."""

    stage: int
    end: int
    normal: int
    decay: int


class Data(NamedTuple):
    """Numbers of the problem.

    ``initial_state`` (nx); ``times`` (N, 2) of (t_k, h); ``end_time`` (2); packed ``parameters``; control bounds
    ``lower`` and ``upper`` (nu); lower and upper limits of path and end rows, ``path_limits`` (2, nc), ``end_limits``
    (2, ne); seed ``key``, a numpy.uint64.
    """

    initial_state: Array
    times: Array
    end_time: Array
    parameters: Array
    lower: Array
    upper: Array
    path_limits: Array
    end_limits: Array
    key: np.uint64


class Proposal(NamedTuple):
    """Independent normal distributions of the controls: ``mean`` (N, nu) and ``deviation`` (N, nu)."""

    mean: Array
    deviation: Array


class Population(NamedTuple):
    """Samples: ``controls`` (blocks, rows, W), ``merits``, ``relative`` merits and ``weights`` (blocks, W).

    Row s nu + i is control i of step s; rows behind those of the horizon fill up the last draw of four. Samples beyond
    ``samples`` fill up the last block and have merit infinity.
    """

    controls: Array
    merits: Array
    relative: Array
    weights: Array
    samples: int


class Work(NamedTuple):
    """Work of one thread: states (nx, W) and uniform numbers (4, W)."""

    x: Array
    uniform: Array


def make_population(samples: int, size: int, lanes: int) -> Population:
    """Room for ``samples`` samples of ``size`` numbers."""
    blocks, rows = -(-samples // lanes), -(-size // WORDS) * WORDS
    merits, relative, weights = (np.zeros((blocks, lanes)) for _ in range(3))
    return Population(np.zeros((blocks, rows, lanes)), merits, relative, weights, samples)


def make_work(nx: int, lanes: int) -> Work:
    """Work for one thread."""
    return Work(np.zeros((nx, lanes)), np.zeros((WORDS, lanes)))


def compile_rollouts(problem: Problem, stages: Stages) -> MachineCode:
    """The functions of the module docstring for the stages' integrator; compiled once for them."""
    kept: dict[Stages, MachineCode] = problem.model.__dict__.setdefault("_rollouts", {})
    if stages not in kept:
        expressions = _expressions(problem, stages)
        kept[stages] = compile_functions(expressions, lanes=preferred_lanes(), shared=(*_SHARED, "rate"))
    return kept[stages]


def _expressions(problem: Problem, stages: Stages) -> dict[str, ca.Function]:
    model, values = problem.model, stages.values
    step = values.step
    merit, relative, rate = (ca.SX.sym(name) for name in ("merit", "c", "rate"))
    path_symbols, path_penalty = _penalty(values.path)
    end_symbols, end_penalty = _penalty(values.end)
    stage_inputs = [model.x, model.u, merit, step.time, model.p, *path_symbols]
    end_inputs = [model.x, merit, step.time, model.p, *end_symbols]
    stage_outputs = ca.cse([step.next_state, merit + step.cost + path_penalty])
    end_outputs = ca.cse([merit + values.end_cost + end_penalty])
    return {
        "stage": ca.Function("stage", stage_inputs, stage_outputs, ["x", "u", "merit", *_SHARED], ["next", "sum"]),
        "end": ca.Function("end", end_inputs, end_outputs, ["x", "merit", *_SHARED], ["sum"]),
        "normal": box_muller(),
        "decay": ca.Function("decay", [relative, rate], [ca.exp(-rate * relative)], ["c", "rate"], ["weight"]),
    }


def _penalty(rows: ca.SX) -> tuple[list[ca.SX], ca.SX]:
    """What constraint rows add to the merit, with its symbols multipliers l, penalty r and limits."""
    count = rows.numel()
    multipliers, weight, limits = ca.SX.sym("l", count), ca.SX.sym("r"), ca.SX.sym("limits", 2 * count)
    shifted = rows + multipliers / weight
    residual = shifted - ca.fmin(ca.fmax(shifted, limits[:count]), limits[count:])
    penalty = 0.5 * weight * ca.sumsqr(residual) - ca.sumsqr(multipliers) / (2.0 * weight)
    return [multipliers, weight, limits], penalty if count else ca.SX(0.0)


@kernel
def propose(functions, data, proposal, population, block, iteration, work):
    """Draw the controls of a block from the proposal, moved into their bounds."""
    controls = population.controls[block]
    lanes = controls.shape[1]
    steps, nu = proposal.mean.shape
    draw_normal(functions.normal, block * lanes, iteration, data.key, work.uniform, controls)
    for s in range(steps):
        for i in range(nu):
            mean, deviation = proposal.mean[s, i], proposal.deviation[s, i]
            lower, upper = data.lower[i], data.upper[i]
            for lane in range(lanes):
                control = mean + deviation * controls[s * nu + i, lane]
                controls[s * nu + i, lane] = min(max(control, lower), upper)


@kernel
def roll_out(functions, data, penalty, population, block, work):
    """Simulate a block and value it; merits are infinite where a state or the merit is not finite."""
    x = work.x
    nx, lanes = x.shape
    rows = population.controls.shape[1]
    steps, nu = data.times.shape[0], data.lower.shape[0]
    nc = data.path_limits.shape[1]
    merits, lost = population.merits, population.relative[block]
    for lane in range(lanes):
        merits[block, lane] = lost[lane] = 0.0
        for i in range(nx):
            x[i, lane] = data.initial_state[i]
    for s in range(steps):
        call10(functions.stage, x, 0, population.controls, (block * rows + s * nu) * lanes, merits, block * lanes,
               data.times, 2 * s, data.parameters, 0, penalty.path, s * nc, penalty.weight, 0, data.path_limits, 0,
               x, 0, merits, block * lanes)  # fmt: skip
        for i in range(nx):
            for lane in range(lanes):
                lost[lane] += 0.0 * x[i, lane]  # NaN from the first state on that is not finite, else zero
    call8(functions.end, x, 0, merits, block * lanes, data.end_time, 0, data.parameters, 0, penalty.end, 0,
          penalty.weight, 0, data.end_limits, 0, merits, block * lanes)  # fmt: skip
    for lane in range(lanes):
        if not math.isfinite(merits[block, lane] + lost[lane]) or block * lanes + lane >= population.samples:
            merits[block, lane] = math.inf


@kernel
def sample_blocks(functions, data, proposal, penalty, population, first, last, iteration, work):
    """Draw, simulate and value the blocks from ``first`` to before ``last``."""
    for block in range(first, last):
        propose(functions, data, proposal, population, block, iteration, work)
        roll_out(functions, data, penalty, population, block, work)


@kernel
def weigh_at(decay, rate, population):
    """Weights exp(-rate c) of the relative merits c; exp(-inf) is exactly zero.

    Returns their sum and effective number (sum w)^2 / sum w^2. ``rate`` has shape (1,).
    """
    weights, relative = population.weights, population.relative
    total, squares = 0.0, 0.0
    blocks, lanes = weights.shape
    for block in range(blocks):
        call3(decay, relative, block * lanes, rate, 0, weights, block * lanes)
        for lane in range(lanes):
            weight = weights[block, lane]
            total += weight
            squares += weight * weight
    return total, total * total / squares


@kernel
def measure_merits(population):
    """Smallest merit, mean above it, and number of the samples whose merit is finite."""
    least, above, count = math.inf, 0.0, 0
    for merit in population.merits.flat:
        least = min(least, merit)
    for merit in population.merits.flat:
        if merit < math.inf:
            above += merit - least
            count += 1
    return least, above / max(count, 1), count


@kernel
def relate(population, least, unit):
    """Relative merits c = (S - least) / unit."""
    blocks, lanes = population.merits.shape
    for block in range(blocks):
        for lane in range(lanes):
            population.relative[block, lane] = (population.merits[block, lane] - least) / unit


@kernel
def weigh_by_temperature(functions, population, temperature, rate):
    """Weights exp(-(S - min S) / temperature); returns the effective number of samples, 0 if no merit is finite."""
    least, _, count = measure_merits(population)
    if count == 0:
        return 0.0
    relate(population, least, temperature)
    rate[0] = 1.0
    total, effective = weigh_at(functions.decay, rate, population)
    normalise(population, total)
    return effective


@kernel
def weigh_by_effective_number(functions, population, share, rate):
    """As `weigh_by_temperature`, at the temperature that makes a ``share`` of the finite samples effective.

    The effective number falls as the rate grows, from all samples to the number of those that tie for the best, so a
    bisection over the rate's exponent finds it. Merits are related to their mean above the best: multiplied by a power
    of two they give the same bits.
    """
    least, unit, count = measure_merits(population)
    if count == 0:
        return 0.0
    relate(population, least, unit if 0.0 < unit < math.inf else 1.0)
    target = max(share * count, 1.0)
    below, above = -10.0, 110.0  # no merit matters at 2^-10; at 2^110 the best alone does, even among outliers of 1e30
    total, effective = 0.0, 0.0
    for _ in range(60):
        middle = 0.5 * (below + above)
        rate[0] = 2.0**middle
        total, effective = weigh_at(functions.decay, rate, population)
        # Nobody can tell a percent of the effective number, which is a rule of thumb itself.
        if abs(effective - target) <= 0.01 * target:
            break
        if effective > target:
            below = middle
        else:
            above = middle
    normalise(population, total)
    return effective


@kernel
def normalise(population, total):
    """Divide the weights by their sum."""
    blocks, lanes = population.weights.shape
    for block in range(blocks):
        for lane in range(lanes):
            population.weights[block, lane] /= total


@kernel
def weighted_mean(population, sums, mean):
    """``mean`` (N, nu) becomes the weighted mean of the controls; ``sums`` (rows, W) is work.

    Rounding may carry it over a bound by a bit; who simulates it clips it.
    """
    blocks, rows, lanes = population.controls.shape
    nu = mean.shape[1]
    sums[:] = 0.0
    for block in range(blocks):
        for row in range(rows):
            for lane in range(lanes):
                sums[row, lane] += population.weights[block, lane] * population.controls[block, row, lane]
    for s in range(mean.shape[0]):
        for i in range(nu):
            total = 0.0
            for lane in range(lanes):
                total += sums[s * nu + i, lane]
            mean[s, i] = total


@kernel
def best_sample(population, out):
    """Copy the controls of the sample of least merit to ``out`` (N, nu)."""
    lanes = population.merits.shape[1]
    best = population.merits.argmin()
    for s in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[s, i] = population.controls[best // lanes, s * out.shape[1] + i, best % lanes]
