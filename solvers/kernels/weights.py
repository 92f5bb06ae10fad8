"""Weights of samples: exponential in the merit, at a given temperature or at one that makes a share effective.

Sums over samples run over the blocks in order, so that threads cannot change a bit. Nothing is allocated.
"""

from __future__ import annotations

import math

from trajopt.lowering.call import call3
from trajopt.lowering.kernel import kernel


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
    """``mean`` (M, nu) becomes the weighted mean of the parameters; ``sums`` (rows, W) is work.

    Rounding may carry it over a bound by a bit; who simulates it clips it.
    """
    blocks, rows, lanes = population.parameters.shape
    nu = mean.shape[1]
    sums[:] = 0.0
    for block in range(blocks):
        for row in range(rows):
            for lane in range(lanes):
                sums[row, lane] += population.weights[block, lane] * population.parameters[block, row, lane]
    for s in range(mean.shape[0]):
        for i in range(nu):
            total = 0.0
            for lane in range(lanes):
                total += sums[s * nu + i, lane]
            mean[s, i] = total


@kernel
def best_sample(population, out):
    """Copy the parameters of the sample of least merit to ``out`` (M, nu)."""
    lanes = population.merits.shape[1]
    best = population.merits.argmin()
    for s in range(out.shape[0]):
        for i in range(out.shape[1]):
            out[s, i] = population.parameters[best // lanes, s * out.shape[1] + i, best % lanes]


@kernel
def add_control_cost(population, proposal, weight):
    """Add weight u' Sigma^-1 (v - u) to the merits, with mean u and samples v of independent noise."""
    blocks, lanes = population.merits.shape
    size, nu = proposal.mean.size, proposal.mean.shape[1]
    for block in range(blocks):
        for row in range(size):
            mean, deviation = proposal.mean[row // nu, row % nu], proposal.deviation[row // nu, row % nu]
            slope = weight * mean / (deviation * deviation)
            for lane in range(lanes):
                population.merits[block, lane] += slope * (population.parameters[block, row, lane] - mean)
