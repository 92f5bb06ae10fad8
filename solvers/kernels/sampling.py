"""Sampling planners: proposals of plans and rollouts over blocks of samples.

Samples lie in blocks of W, a number of vector lanes, and every array of theirs has the lane as its last index: one call
of a compiled function advances W samples by a step, and the whole horizon runs while their states stay in the cache.
Nothing is allocated here. Sums over samples run over the blocks in order, so that threads cannot change a bit.

Draws and rollouts are in double or single precision, which every array of theirs has; random numbers, merits at the end
of a rollout and weights are in double precision in any case. In single precision samples have the same noise, rounded.

Compiled functions (W numbers an element unless marked shared; the first three in the precision of the rollouts, the
others in double precision; constraint rows enter the merit as in
`trajopt.solvers.kernels.shooting`, with the same multipliers l and penalty r):

    stage   x, u, merit, and shared: time, p, l, r, limits   -> x+, merit + L + rows
    value   x, u, merit, and shared: time, p, l, r, limits   -> merit + L + rows, for states that are known already
    end     x, merit, and shared: time, p, l, r, limits      -> merit + phi + rows
    normal  four uniform numbers                             -> four normal variates
    decay   c, and shared: rate                              -> exp(-rate c)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.lowering import MachineCode, compile_functions, preferred_lanes
from trajopt.lowering.call import call5, call6, call8, call9, call10
from trajopt.lowering.kernel import kernel
from trajopt.problem import Problem
from trajopt.solvers.kernels.random import WORDS, box_muller, draw_normal, transform
from trajopt.solvers.kernels.shooting import penalty_of
from trajopt.transcription.stages import Stages

Array = NDArray[np.float64]

_SHARED = ("time", "p", "l", "r", "limits")

_LEAST_UNIFORM = 2.0**-33
"""In place of zero, whose logarithm is infinite; it is the least of the pseudo-random numbers too."""


class Functions(NamedTuple):
    """Addresses of the functions in the module docstring."""

    stage: int
    value: int
    end: int
    normal: int
    decay: int


class Data(NamedTuple):
    """Numbers of the problem, in the precision of the rollouts.

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
    """Normal distribution of a plan's M nu parameters, theta = mean + deviation (F z), z white, and how they steer.

    ``mean`` and ``deviation`` (M, nu). ``filter`` F (groups, m, m): group g holds the parameters g, g + groups, ..., so
    that nu groups colour each control's noise over time, and a single one correlates all parameters; of size 0 where
    noise is white. ``basis`` B (N, M): controls u = B theta; of size 0 where the parameters are the controls. ``given``
    (count, M nu) are plans that take the place of the last samples. ``points`` (blocks, rows, W) in [0, 1) with
    ``shift`` (rows) are the quasi-random numbers behind z; of size 0 where these are pseudo-random. ``lower`` and
    ``upper`` (nu) hold for the parameters.
    """

    mean: Array
    deviation: Array
    filter: Array
    basis: Array
    given: Array
    points: Array
    shift: Array
    lower: Array
    upper: Array


class Population(NamedTuple):
    """Samples: ``parameters`` (blocks, rows, W), ``merits``, ``relative`` merits and ``weights`` (blocks, W).

    Parameters have the precision of the rollouts, the others double precision. Row m nu + i is parameter m of control
    i; rows behind the last one fill up the last draw of four. Samples beyond ``samples`` fill up the last block and
    have merit infinity.
    """

    parameters: Array
    merits: Array
    relative: Array
    weights: Array
    samples: int


class Work(NamedTuple):
    """Work of one thread.

    States (nx, W), uniform numbers (4, W) in double precision, white noise (rows, W), controls (N nu, W), and of each
    sample the merit so far and a number that is NaN once a state was not finite, (W).
    """

    x: Array
    uniform: Array
    normal: Array
    controls: Array
    merit: Array
    lost: Array


def make_population(samples: int, size: int, lanes: int, real: Any = np.float64) -> Population:
    """Room for ``samples`` samples of ``size`` numbers of a precision."""
    blocks, rows = -(-samples // lanes), -(-size // WORDS) * WORDS
    merits, relative, weights = (np.zeros((blocks, lanes)) for _ in range(3))
    return Population(np.zeros((blocks, rows, lanes), real), merits, relative, weights, samples)


def first_samples(population: Population, samples: int) -> Population:
    """The same arrays for fewer samples."""
    blocks = -(-samples // population.merits.shape[1])
    return Population(*(part[:blocks] for part in population[:-1]), samples)


def make_work(nx: int, controls: int, rows: int, lanes: int, real: Any = np.float64) -> Work:
    """Work for one thread."""
    x, normal, planned = (np.zeros((size, lanes), real) for size in (nx, rows, controls))
    return Work(x, np.zeros((WORDS, lanes)), normal, planned, np.zeros(lanes, real), np.zeros(lanes, real))


def compile_rollouts(problem: Problem, stages: Stages, precision: str = "float64") -> tuple[Functions, int]:
    """The functions of the module docstring for the stages' integrator, compiled once for them, and their lanes."""
    kept: dict[tuple[Stages, str], tuple[MachineCode, MachineCode]] = problem.model.__dict__.setdefault("_rollouts", {})
    lanes = preferred_lanes(precision)
    if (stages, precision) not in kept:
        expressions = roll_out_expressions(problem, stages)
        kept[stages, precision] = (
            compile_functions(expressions, lanes=lanes, shared=_SHARED, precision=precision),
            compile_functions(_noise_expressions(), lanes=lanes, shared=("rate",)),
        )
    rollouts, noise = kept[stages, precision]
    return Functions(
        *(rollouts.address(name) for name in Functions._fields[:3]),
        *(noise.address(name) for name in Functions._fields[3:]),
    ), lanes


def _noise_expressions() -> dict[str, ca.Function]:
    relative, rate = ca.SX.sym("c"), ca.SX.sym("rate")
    decay = ca.Function("decay", [relative, rate], [ca.exp(-rate * relative)], ["c", "rate"], ["weight"])
    return {"normal": box_muller(), "decay": decay}


def roll_out_expressions(problem: Problem, stages: Stages) -> dict[str, ca.Function]:
    """Those of the functions that simulate, as expressions."""
    model, values = problem.model, stages.values
    step = values.step
    merit = ca.SX.sym("merit")
    path_symbols, path_penalty = _penalty(values.path)
    end_symbols, end_penalty = _penalty(values.end)
    stage_inputs = [model.x, model.u, merit, step.time, model.p, *path_symbols]
    end_inputs = [model.x, merit, step.time, model.p, *end_symbols]
    stage_outputs = ca.cse([step.next_state, merit + step.cost + path_penalty])
    stage_names = ["x", "u", "merit", *_SHARED]
    end_outputs = ca.cse([merit + values.end_cost + end_penalty])
    return {
        "stage": ca.Function("stage", stage_inputs, stage_outputs, stage_names, ["next", "sum"]),
        "value": ca.Function("value", stage_inputs, stage_outputs[1:], stage_names, ["sum"]),
        "end": ca.Function("end", end_inputs, end_outputs, ["x", "merit", *_SHARED], ["sum"]),
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
def draw(functions, data, proposal, block, iteration, uniform, out):
    """White noise of a block, (rows, W)."""
    lanes = out.shape[1]
    if proposal.points.size == 0:
        draw_normal(functions.normal, block * lanes, iteration, data.key, uniform, out)
        return
    for row in range(0, out.shape[0], WORDS):
        for word in range(WORDS):
            for lane in range(lanes):
                point = proposal.points[block, row + word, lane] + proposal.shift[row + word]
                uniform[word, lane] = max(point - math.floor(point), _LEAST_UNIFORM)
        transform(functions.normal, uniform, out, row)


@kernel
def multiply(matrix, source, out, first, stride):
    """Rows first + stride j of ``out`` become the matrix (n, m) times those of ``source``, for all lanes.

    Four columns are taken at once, since what a lane adds costs less than the sum's way to memory and back.
    """
    columns, lanes = matrix.shape[1], out.shape[1]
    for j in range(matrix.shape[0]):
        row = first + stride * j
        for lane in range(lanes):
            out[row, lane] = 0.0
        for k in range(0, columns - columns % 4, 4):
            a, b, c, d = matrix[j, k], matrix[j, k + 1], matrix[j, k + 2], matrix[j, k + 3]
            if a == 0.0 and b == 0.0 and c == 0.0 and d == 0.0:
                continue  # a spline of low order touches few knots
            s = first + stride * k
            for lane in range(lanes):
                out[row, lane] += (a * source[s, lane] + b * source[s + stride, lane]) + (
                    c * source[s + 2 * stride, lane] + d * source[s + 3 * stride, lane]
                )
        for k in range(columns - columns % 4, columns):
            for lane in range(lanes):
                out[row, lane] += matrix[j, k] * source[first + stride * k, lane]


@kernel
def propose(functions, data, proposal, population, block, iteration, work):
    """Draw the parameters of a block from the proposal, moved into their bounds, and put the given plans in."""
    parameters = population.parameters[block]
    lanes = parameters.shape[1]
    knots, nu = proposal.mean.shape
    groups = proposal.filter.shape[0]
    if proposal.filter.size == 0:
        draw(functions, data, proposal, block, iteration, work.uniform, parameters)
    else:
        draw(functions, data, proposal, block, iteration, work.uniform, work.normal)
        for group in range(groups):
            multiply(proposal.filter[group], work.normal, parameters, group, groups)
    for s in range(knots):
        for i in range(nu):
            mean, deviation = proposal.mean[s, i], proposal.deviation[s, i]
            lower, upper = proposal.lower[i], proposal.upper[i]
            for lane in range(lanes):
                parameter = mean + deviation * parameters[s * nu + i, lane]
                parameters[s * nu + i, lane] = min(max(parameter, lower), upper)
    first = population.samples - proposal.given.shape[0]
    for lane in range(max(0, first - block * lanes), min(lanes, population.samples - block * lanes)):
        for row in range(knots * nu):
            parameters[row, lane] = proposal.given[block * lanes + lane - first, row]


@kernel
def steer(data, proposal, parameters, controls):
    """Controls (N nu, W) of a block's parameters (rows, W), moved into their bounds."""
    nu = proposal.mean.shape[1]
    for i in range(nu):
        multiply(proposal.basis, parameters, controls, i, nu)
    for row in range(controls.shape[0]):
        lower, upper = data.lower[row % nu], data.upper[row % nu]
        for lane in range(controls.shape[1]):
            controls[row, lane] = min(max(controls[row, lane], lower), upper)


@kernel
def close_merits(population, block, work):
    """Merits of a block: infinite where a state or the merit is not finite, and behind the last sample."""
    lanes = population.merits.shape[1]
    for lane in range(lanes):
        finite = math.isfinite(work.merit[lane] + work.lost[lane]) and block * lanes + lane < population.samples
        population.merits[block, lane] = work.merit[lane] if finite else math.inf


@kernel
def roll_out(functions, data, penalty, population, block, controls, offset, work):
    """Simulate a block under ``controls``, which begin at element ``offset``, and value it."""
    x, merit, lost = work.x, work.merit, work.lost
    nx, lanes = x.shape
    steps, nu = data.times.shape[0], data.lower.shape[0]
    nc = data.path_limits.shape[1]
    for lane in range(lanes):
        merit[lane] = lost[lane] = 0.0
        for i in range(nx):
            x[i, lane] = data.initial_state[i]
    for s in range(steps):
        call10(functions.stage, x, 0, controls, offset + s * nu * lanes, merit, 0,
               data.times, 2 * s, data.parameters, 0, penalty.path, s * nc, penalty.weight, 0, data.path_limits, 0,
               x, 0, merit, 0)  # fmt: skip
        for i in range(nx):
            for lane in range(lanes):
                lost[lane] += x[i, lane] - x[i, lane]  # NaN from the first state on that is not finite, else zero
    call8(functions.end, x, 0, merit, 0, data.end_time, 0, data.parameters, 0, penalty.end, 0,
          penalty.weight, 0, data.end_limits, 0, merit, 0)  # fmt: skip
    close_merits(population, block, work)


@kernel
def sample_blocks(functions, data, proposal, penalty, population, first, last, iteration, work):
    """Draw, simulate and value the blocks from ``first`` to before ``last``."""
    rows, lanes = population.parameters.shape[1:]
    for block in range(first, last):
        propose(functions, data, proposal, population, block, iteration, work)
        if proposal.basis.size == 0:
            offset = block * rows * lanes
            roll_out(functions, data, penalty, population, block, population.parameters, offset, work)
        else:
            steer(data, proposal, population.parameters[block], work.controls)
            roll_out(functions, data, penalty, population, block, work.controls, 0, work)


@kernel
def propose_blocks(functions, data, proposal, population, iteration, controls, work):
    """Draw all blocks and write their plans to ``controls``, (samples, N, nu)."""
    lanes = population.merits.shape[1]
    steps, nu = controls.shape[1:]
    for block in range(population.merits.shape[0]):
        propose(functions, data, proposal, population, block, iteration, work)
        if proposal.basis.size > 0:
            steer(data, proposal, population.parameters[block], work.controls)
        else:
            for row in range(steps * nu):
                for lane in range(lanes):
                    work.controls[row, lane] = population.parameters[block, row, lane]
        for lane in range(min(lanes, population.samples - block * lanes)):
            for s in range(steps):
                for i in range(nu):
                    controls[block * lanes + lane, s, i] = work.controls[s * nu + i, lane]


@kernel
def value_blocks(functions, data, penalty, population, controls, states, work):
    """Value rollouts that are there already: ``controls`` (samples, N, nu) and ``states`` (samples, N+1, nx)."""
    lanes, samples = population.merits.shape[1], population.samples
    steps, nu = controls.shape[1:]
    nx, nc = states.shape[2], data.path_limits.shape[1]
    x, merit, lost = work.x, work.merit, work.lost
    for block in range(population.merits.shape[0]):
        for lane in range(lanes):
            merit[lane] = lost[lane] = 0.0
        for s in range(steps + 1):
            for lane in range(lanes):
                sample = min(block * lanes + lane, samples - 1)
                for i in range(nx):
                    x[i, lane] = states[sample, s, i]
                    lost[lane] += x[i, lane] - x[i, lane]
                for i in range(nu if s < steps else 0):
                    work.controls[i, lane] = controls[sample, s, i]
            if s < steps:
                call9(functions.value, x, 0, work.controls, 0, merit, 0, data.times, 2 * s,
                      data.parameters, 0, penalty.path, s * nc, penalty.weight, 0, data.path_limits, 0,
                      merit, 0)  # fmt: skip
        call8(functions.end, x, 0, merit, 0, data.end_time, 0, data.parameters, 0, penalty.end, 0,
              penalty.weight, 0, data.end_limits, 0, merit, 0)  # fmt: skip
        close_merits(population, block, work)


@kernel
def value_rollout(functions, data, rollout, penalty, cost, following):
    """Rows of a rollout whose states are known, and its cost and merit, infinite when anything is not finite.

    ``functions`` and ``data`` are those of `trajopt.solvers.kernels.shooting`; ``cost`` (1) and ``following`` (nx) are
    work.
    """
    steps, nu = rollout.u.shape
    nx, nc = rollout.x.shape[1], rollout.path.shape[1]
    weight, total, merit = penalty.weight[0], 0.0, 0.0
    for state in rollout.x.flat:
        if not math.isfinite(state):
            return math.inf, math.inf
    for s in range(steps):
        call6(functions.step, rollout.x, s * nx, rollout.u, s * nu, data.times, 2 * s, data.parameters, 0,
              following, 0, cost, 0)  # fmt: skip
        total += cost[0]
        if nc > 0:
            call5(functions.path, rollout.x, s * nx, rollout.u, s * nu, data.times, 2 * s, data.parameters, 0,
                  rollout.path, s * nc)  # fmt: skip
            merit += penalty_of(rollout.path[s], penalty.path[s], weight, data.path_lower, data.path_upper)
    call5(functions.end, rollout.x, steps * nx, data.end_time, 0, data.parameters, 0, cost, 0, rollout.end, 0)
    total += cost[0]
    merit += total + penalty_of(rollout.end, penalty.end, weight, data.end_lower, data.end_upper)
    return (total, merit) if math.isfinite(merit) else (math.inf, math.inf)
