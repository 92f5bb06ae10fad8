"""The line search of the interior-point method: a filter on infeasibility and barrier cost, with corrections.

A trial point passes if it lowers the infeasibility theta (sum of all residuals) or the barrier cost phi enough, and no
pair in the filter dominates it; where theta is small and the step promises a fall of phi, it must keep the promise
(Armijo). If the first trial raises theta, second-order corrections aim at the residuals that it found. Where the filter
blocks one search after the other, it is emptied; where steps stay short, a watchdog (`leap`) takes a few long ones.

Reference: Waechter, Biegler 2006, sections 2.3, 2.4 and 3.2, with their constants.
"""

from __future__ import annotations

import math

from trajopt.solvers.kernels.interior_functions import evaluate
from trajopt.solvers.kernels.interior_refinement import solve
from trajopt.solvers.kernels.interior_space import FILTER_SIZE, inner
from trajopt.solvers.kernels.interior_system import barrier_value, directional_slope, longest_step, recover

GAMMA_THETA, GAMMA_PHI, GAMMA_ALPHA = 1e-5, 1e-5, 0.05
S_THETA, S_PHI, SWITCH, ARMIJO = 1.1, 2.3, 1.0, 1e-4
CORRECTIONS, CORRECTION_GAIN = 4, 0.99
ROUNDING = 2.2e-15
"""Ten units of rounding of phi, below which differences say nothing; the reference's section 3.1."""

BLOCKS, FILTER_RESETS = 5, 5
"""Line searches in a row that the filter alone cut short, after which it is emptied, and how often; IPOPT's."""

FAILED, PASSED, PASSED_BY_ARMIJO = 0, 1, 2


@inner
def take(data, v, step, alpha, trial):
    """The point v + alpha step, kept off its bounds against rounding."""
    for i in range(v.shape[0]):
        value = v[i] + alpha * step[i]
        lower, upper = data.lower[i], data.upper[i]
        if lower > -math.inf:
            value = max(value, lower + 1e-15 * max(1.0, abs(lower)))
        if upper < math.inf:
            value = min(value, upper - 1e-15 * max(1.0, abs(upper)))
        trial[i] = value


@inner
def try_point(data, v, step, alpha, mu, work):
    """Value a trial point, left in the work; returns its cost, theta and phi, infinite unless finite."""
    take(data, v, step, alpha, work.trial)
    cost = evaluate(data, work.trial, work.trial_r, work)
    theta = 0.0
    for value in work.trial_r:
        theta += abs(value)
    phi = cost + barrier_value(data, work.trial, mu)
    if not (math.isfinite(theta) and math.isfinite(phi)):
        return math.inf, math.inf, math.inf
    return cost, theta, phi


@inner
def in_filter(work, progress, theta, phi):
    """Whether some pair in the filter dominates this one."""
    slack = ROUNDING * max(1.0, abs(phi))
    dominated = False
    for i in range(progress[0].filter_count):
        dominated = dominated or (theta >= work.filter[i, 0] and phi - slack >= work.filter[i, 1])
    return dominated


@inner
def add_to_filter(work, progress):
    """Enter the reference with its margins; pairs that it dominates leave, or the oldest if there is no room."""
    theta = (1.0 - GAMMA_THETA) * progress[0].reference_theta
    phi = progress[0].reference_barrier - GAMMA_PHI * progress[0].reference_theta
    kept = 0
    first = 1 if progress[0].filter_count == FILTER_SIZE else 0
    for i in range(first, progress[0].filter_count):
        if work.filter[i, 0] < theta or work.filter[i, 1] < phi:
            work.filter[kept, 0], work.filter[kept, 1] = work.filter[i, 0], work.filter[i, 1]
            kept += 1
    work.filter[kept, 0], work.filter[kept, 1] = theta, phi
    progress[0].filter_count = kept + 1


@inner
def judge(work, progress, alpha, theta, phi):
    """FAILED, PASSED or PASSED_BY_ARMIJO for a trial pair, against the reference and then the filter."""
    now, slope = progress[0].reference_theta, progress[0].slope
    rise = phi - progress[0].reference_barrier
    slack = ROUNDING * max(1.0, abs(progress[0].reference_barrier))
    promising = slope < 0.0 and alpha * (-slope) ** S_PHI > SWITCH * now**S_THETA
    verdict = FAILED
    if not theta <= progress[0].theta_most:
        verdict = FAILED
    elif promising and now <= progress[0].theta_least:
        verdict = PASSED_BY_ARMIJO if rise <= ARMIJO * alpha * slope + slack else FAILED
    elif theta <= (1.0 - GAMMA_THETA) * now or rise <= -GAMMA_PHI * now + slack:
        verdict = PASSED
    if verdict == FAILED:
        progress[0].blocked = 0
    elif in_filter(work, progress, theta, phi):
        progress[0].blocked = 1
        verdict = FAILED
    return verdict


@inner
def shortest(progress):
    """Step length below which restoration takes over (eq. 23).

    Of a feasible point that is zero, which no number of halvings goes below: steps shorter than rounding count as it.
    """
    theta, slope = progress[0].reference_theta, progress[0].slope
    least = GAMMA_THETA
    if slope < 0.0:
        least = min(least, GAMMA_PHI * theta / -slope)
        if theta <= progress[0].theta_least:
            least = min(least, SWITCH * theta**S_THETA / (-slope) ** S_PHI)
    return max(ROUNDING, GAMMA_ALPHA * least)


@inner(inline="always")
def correct(data, point, expansion, system, factor, step, correction, work, progress, alpha, theta, tau):
    """Second-order corrections of a first trial that raised theta; returns verdict, cost, theta and phi."""
    mu, count = progress[0].mu, point.r.shape[0]
    before = progress[0].theta
    for j in range(count):
        work.correction_r[j] = point.r[j]
    for _ in range(CORRECTIONS):
        for j in range(count):
            work.correction_r[j] = alpha * work.correction_r[j] + work.trial_r[j]
            system.rhs[j] = work.correction_r[j] + system.shift[j]
        solve(data, expansion, system, factor, system.b, system.rhs, work, progress[0].regularisation, correction.v,
              correction.m, progress)  # fmt: skip
        recover(data, point, expansion, work.correction_r, correction, mu, work)
        alpha, _ = longest_step(data, point, correction, tau)
        cost, new_theta, phi = try_point(data, point.v, correction.v, alpha, mu, work)
        verdict = judge(work, progress, alpha, new_theta, phi)
        if verdict != FAILED:
            _, dual = longest_step(data, point, correction, tau)
            progress[0].step, progress[0].dual_step = alpha, dual
            progress[0].corrections += 1
            return verdict, cost, new_theta, phi
        if not new_theta <= CORRECTION_GAIN * theta or before == 0.0:
            break
        theta = new_theta
    return FAILED, math.inf, math.inf, math.inf


@inner
def set_reference(data, point, expansion, step, progress):
    """Make the current point the one that trials are judged against; forget the filter where it blocks all the time."""
    progress[0].slope = directional_slope(data, point, expansion, step, progress[0].mu)
    progress[0].reference_theta, progress[0].reference_barrier = progress[0].theta, progress[0].barrier
    progress[0].blocks = progress[0].blocks + 1 if progress[0].blocked == 1 else 0
    if progress[0].blocks >= BLOCKS and progress[0].filter_resets < FILTER_RESETS:
        progress[0].filter_resets += 1
        progress[0].filter_count = progress[0].blocks = 0
    progress[0].blocked = 0


@inner
def settle(work, progress, verdict, cost, theta, phi):
    """Note the values of a point that passed."""
    if verdict == PASSED:
        add_to_filter(work, progress)
    progress[0].cost, progress[0].theta, progress[0].barrier = cost, theta, phi


@inner(inline="always")
def search(data, point, expansion, system, factor, step, correction, work, progress):
    """Find a step that passes; the trial point is left in the work. Returns whether one was found, and if corrected."""
    mu = progress[0].mu
    tau = max(0.99, 1.0 - mu)
    set_reference(data, point, expansion, step, progress)
    alpha, progress[0].dual_step = longest_step(data, point, step, tau)
    least, first, corrected = shortest(progress), True, False
    while True:
        cost, theta, phi = try_point(data, point.v, step.v, alpha, mu, work)
        verdict = judge(work, progress, alpha, theta, phi)
        progress[0].step = alpha
        if verdict == FAILED and first and theta >= progress[0].theta and theta < math.inf:
            verdict, cost, theta, phi = correct(
                data, point, expansion, system, factor, step, correction, work, progress, alpha, theta, tau
            )
            corrected = verdict != FAILED
        if verdict != FAILED:
            settle(work, progress, verdict, cost, theta, phi)
            progress[0].shortened = 0 if first else progress[0].shortened + 1
            return True, corrected
        first = False
        alpha *= 0.5
        if not alpha >= least:
            return False, False


@inner
def leap(data, point, step, work, progress):
    """Take the longest step and judge it by the reference; returns whether it is finite, and whether it passed."""
    tau = max(0.99, 1.0 - progress[0].mu)
    alpha, progress[0].dual_step = longest_step(data, point, step, tau)
    cost, theta, phi = try_point(data, point.v, step.v, alpha, progress[0].mu, work)
    progress[0].step = alpha
    if theta == math.inf:
        return False, False
    verdict = judge(work, progress, alpha, theta, phi)
    settle(work, progress, verdict, cost, theta, phi)
    return True, verdict != FAILED
