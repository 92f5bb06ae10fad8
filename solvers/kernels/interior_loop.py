"""Many iterations of the interior-point method in one call: Python and its arguments cost as much as a short one."""

from __future__ import annotations

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.interior_iterate import CONTINUE, STUCK, iterate
from trajopt.solvers.kernels.interior_restoration import soft_step


@kernel
def advance(
    data, point, expansion, system, factor, step, correction, saved, watch, work, progress, tolerance, row_tolerance,
    log,
):  # fmt: skip
    """Iterate until there is a verdict or the log is full; returns the verdict and how many iterations there were.

    Where the filter refuses every step, the error of the barrier problem has a say. ``log`` (count, 4) receives cost,
    violation, error and step length of each iteration.
    """
    for count in range(log.shape[0]):
        verdict = iterate(
            data, point, expansion, system, factor, step, correction, watch, work, progress, tolerance, row_tolerance
        )
        if verdict == STUCK:
            verdict = soft_step(data, point, expansion, system, step, saved, work, progress, tolerance, row_tolerance)
        log[count, 0], log[count, 1] = progress[0].cost, progress[0].violation
        log[count, 2], log[count, 3] = progress[0].error, progress[0].step
        if verdict != CONTINUE:
            return verdict, count + 1
    return CONTINUE, log.shape[0]
