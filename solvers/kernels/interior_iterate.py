"""One iteration of the interior-point method.

Reference: Waechter, Biegler 2006: inertia correction by algorithm IC, barrier parameter by eq. 7.
"""

from __future__ import annotations

import math

from trajopt.solvers.kernels.interior_functions import evaluate, expand
from trajopt.solvers.kernels.interior_refinement import norm, solve
from trajopt.solvers.kernels.interior_riccati import factorise
from trajopt.solvers.kernels.interior_search import leap, search, set_reference, take
from trajopt.solvers.kernels.interior_space import inner
from trajopt.solvers.kernels.interior_system import (
    barrier_value,
    condense,
    error_of,
    infeasibility,
    longest_step,
    move_multipliers,
    recover,
    set_gradient,
)

CONTINUE, CONVERGED, STUCK, NOT_FINITE, UNREGULAR, DIVERGED, TINY = 0, 1, 2, 3, 4, 5, 6
"""Verdicts of an iteration."""

LEAST_DELTA, FIRST_DELTA, MOST_DELTA = 1e-20, 1e-4, 1e40
DELTA_FALL, DELTA_RISE, DELTA_FIRST_RISE = 1.0 / 3.0, 8.0, 100.0
"""Algorithm IC."""

BARRIER_FACTOR, BARRIER_POWER, BARRIER_ERROR = 0.2, 1.5, 10.0
"""kappa_mu, theta_mu and kappa_epsilon of eqs. 7 and 8."""

SOFTNESS, SOFTENING, SOFTENINGS = 1e-8, 1e5, 3
"""Delta of equality rows, IPOPT's delta_c: refinement converges with the factor delta / (delta + C H^-1 C'), and less
would cost digits in the factorisation; by how much it grows where those are lost all the same, and how often.
"""

UNBOUNDED = 4.5e15
"""Size of a variable, 1 / rounding, at which the iterates count as diverging: a change of one is lost in it."""

SHORTENED, LEAPS = 10, 3
"""Shortened steps in a row that wake the watchdog, and its long steps (section 3.2)."""

TINY_STEP, TINY_STEPS = 2.2e-15, 10
"""Ten units of rounding: a relative step below it changes nothing (section 3.9); how many may follow each other, while
multipliers still converge, each by its factor of at least 0.99.
"""


@inner
def measure(data, point, expansion, system, work, progress):
    """Derivatives and errors at the current point; False unless finite."""
    return expand(data, point, expansion, work) and assess(data, point, expansion, system, progress)


@inner
def assess(data, point, expansion, system, progress):
    """Errors from residuals and derivatives that are there; False unless finite."""
    set_gradient(data, point, expansion, system)
    theta, largest, violation = infeasibility(data, point)
    progress[0].theta, progress[0].primal_error, progress[0].violation = theta, largest, violation
    progress[0].error = error_of(data, point, system, progress, 0.0)
    return math.isfinite(progress[0].error)


@inner
def lower_barrier(data, point, system, work, progress, tolerance):
    """Lower mu while the barrier problem is solved well enough for it, and then empty the filter."""
    least = tolerance / 10.0
    lowered = False
    while progress[0].mu > least:
        if error_of(data, point, system, progress, progress[0].mu) > BARRIER_ERROR * progress[0].mu:
            break
        mu = progress[0].mu
        progress[0].mu = max(least, min(BARRIER_FACTOR * mu, mu**BARRIER_POWER))
        lowered = True
    if lowered:
        progress[0].filter_count = 0
        progress[0].barrier = progress[0].cost + barrier_value(data, point.v, progress[0].mu)
    return lowered


@inner(inline="always")
def regularise(data, expansion, system, factor, work, progress):
    """Factor with the least delta of algorithm IC that gives the right inertia; False if none does."""
    progress[0].factorisations += 1
    progress[0].regularisation = 0.0
    if factorise(data, expansion, system, factor, work, 0.0):
        return True
    last = progress[0].last_regularisation
    delta = FIRST_DELTA if last == 0.0 else max(LEAST_DELTA, DELTA_FALL * last)
    while delta <= MOST_DELTA:
        progress[0].factorisations += 1
        if factorise(data, expansion, system, factor, work, delta):
            progress[0].regularisation = progress[0].last_regularisation = delta
            return True
        delta *= DELTA_FIRST_RISE if last == 0.0 else DELTA_RISE
    return False


@inner
def find_step(data, point, expansion, system, factor, step, work, progress):
    """Newton step of the barrier problem; rows are softened for this step where refinement cannot do without."""
    progress[0].softness = SOFTNESS
    for _ in range(SOFTENINGS + 1):
        condense(data, point, system, progress[0].mu, progress[0].softness)
        if not regularise(data, expansion, system, factor, work, progress):
            return False
        for j in range(point.r.shape[0]):
            system.rhs[j] = point.r[j] + system.shift[j]
        settled = solve(data, expansion, system, factor, system.b, system.rhs, work, progress[0].regularisation, step.v,
                        step.m, progress)  # fmt: skip
        if settled or data.elastic[0] > 0.0:
            break
        progress[0].softness *= SOFTENING
    recover(data, point, expansion, point.r, step, progress[0].mu, work)
    return True


@inner
def is_tiny(point, step):
    """Whether a step changes no variable beyond rounding."""
    largest = 0.0
    for i in range(point.v.shape[0]):
        largest = max(largest, abs(step.v[i]) / (1.0 + abs(point.v[i])))
    return largest <= TINY_STEP


@inner
def iterate(data, point, expansion, system, factor, step, correction, watch, work, progress, tolerance, row_tolerance):
    """One iteration from a measured point to the next; returns a verdict."""
    if lower_barrier(data, point, system, work, progress, tolerance):
        progress[0].watching = progress[0].shortened = 0
    if not find_step(data, point, expansion, system, factor, step, work, progress):
        return UNREGULAR
    if is_tiny(point, step) and progress[0].theta <= row_tolerance:
        progress[0].tiny_steps += 1
        if progress[0].tiny_steps > TINY_STEPS:
            return TINY
        take_tiny_step(data, point, step, work, progress, tolerance)
    else:
        progress[0].tiny_steps = 0
        verdict = take_step(data, point, expansion, system, factor, step, correction, watch, work, progress)
        if verdict != CONTINUE:
            return verdict
    if not measure(data, point, expansion, system, work, progress):
        return NOT_FINITE
    if norm(point.v, point.v) > UNBOUNDED:
        return DIVERGED
    solved = progress[0].error <= tolerance and progress[0].violation <= row_tolerance
    return CONVERGED if solved else CONTINUE


@inner(inline="always")
def take_tiny_step(data, point, step, work, progress, tolerance):
    """Accept a step within rounding, which no line search could judge; the second in a row lowers mu (section 3.9)."""
    progress[0].step, progress[0].dual_step = longest_step(data, point, step, 0.99)
    take(data, point.v, step.v, progress[0].step, work.trial)
    progress[0].cost = evaluate(data, work.trial, work.trial_r, work)
    accept(data, point, step, work, progress)
    if progress[0].tiny_steps > 1:
        progress[0].mu = max(tolerance / 10.0, min(BARRIER_FACTOR * progress[0].mu, progress[0].mu ** BARRIER_POWER))
        progress[0].filter_count = 0
    progress[0].barrier = progress[0].cost + barrier_value(data, point.v, progress[0].mu)


@inner(inline="always")
def take_step(data, point, expansion, system, factor, step, correction, watch, work, progress):
    """Move by a step that the line search finds, or by a long one on watch."""
    if progress[0].shortened >= SHORTENED:
        progress[0].watching, progress[0].shortened = 1, 0
        copy_point(point, watch)
        set_reference(data, point, expansion, step, progress)
    if progress[0].watching > 0:
        finite, passed = leap(data, point, step, work, progress)
        if finite and (passed or progress[0].watching < LEAPS):
            progress[0].watching = 0 if passed else progress[0].watching + 1
            accept(data, point, step, work, progress)
            return CONTINUE
        progress[0].watching = 0
        copy_point(watch, point)
        progress[0].cost = evaluate(data, point.v, point.r, work)
        progress[0].barrier = progress[0].cost + barrier_value(data, point.v, progress[0].mu)
        measure(data, point, expansion, system, work, progress)
        if not find_step(data, point, expansion, system, factor, step, work, progress):
            return UNREGULAR
    found, corrected = search(data, point, expansion, system, factor, step, correction, work, progress)
    if not found:
        return STUCK
    if corrected:
        accept(data, point, correction, work, progress)
    else:
        accept(data, point, step, work, progress)
    return CONTINUE


@inner
def copy_point(source, target):
    """Copy all arrays of a point."""
    for i in range(source.v.shape[0]):
        target.v[i], target.zl[i], target.zu[i] = source.v[i], source.zl[i], source.zu[i]
    for j in range(source.m.shape[0]):
        target.m[j], target.r[j] = source.m[j], source.r[j]


@inner
def accept(data, point, step, work, progress):
    """Move to the trial point."""
    for i in range(point.v.shape[0]):
        point.v[i] = work.trial[i]
    for j in range(point.r.shape[0]):
        point.r[j] = work.trial_r[j]
    move_multipliers(data, point, step, progress[0].step, progress[0].dual_step, progress[0].mu)
