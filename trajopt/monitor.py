"""The one place that watches a solve: iteration and time limits, callback, progress, and the trap for non-finite costs.

A solver reports every iteration to `Monitor.observe` and stops when that returns a status. Solvers that own their loop
are driven by `Monitor.run`; a solver inside a library (IPOPT) reports from that library's callback.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trajopt.status import Status

_BATCH = 0.02
"""Seconds that iterations may take before somebody looks at the clock and the keyboard: nobody notices less."""


@dataclass(frozen=True)
class Iteration:
    """What one iteration reached.

    Attributes
    ----------
    number
        0 for the guess, then 1, 2, ...
    cost
        In the problem's unit, without penalties.
    violation
        Largest constraint violation, in the constraint's unit.
    stationarity
        The solver's own measure of optimality; NaN if it has none.
    step
        Step length accepted; NaN if the solver has none.
    seconds
        Since the solve began.
    """

    number: int
    cost: float
    violation: float
    stationarity: float
    step: float
    seconds: float


class Monitor:
    """Limits, callback and progress of one solve.

    Parameters
    ----------
    max_time
        Seconds after which the solve ends; None: no limit.
    callback
        Called with each `Iteration`; if it returns something true, the solve stops.
    show
        Called with each `Iteration` for a live display.
    """

    def __init__(
        self,
        max_time: float | None = None,
        callback: Callable[[Iteration], object] | None = None,
        show: Callable[[Iteration], None] | None = None,
    ) -> None:
        self._start = time.perf_counter()
        self._max_time = math.inf if max_time is None else max_time
        self._callback = callback
        self._show = show
        self.history: list[Iteration] = []

    @property
    def seconds(self) -> float:
        """Seconds since the solve began."""
        return time.perf_counter() - self._start

    @property
    def seconds_left(self) -> float:
        """Seconds until the time limit, infinite without one."""
        return self._max_time - self.seconds

    def observe(
        self,
        cost: float,
        violation: float = 0.0,
        stationarity: float = math.nan,
        step: float = math.nan,
        seconds: float | None = None,
    ) -> Status | None:
        """Record an iteration, which ended now or ``seconds`` into the solve; returns why it must stop, or None."""
        time_stamp = self.seconds if seconds is None else seconds
        record = Iteration(
            len(self.history), float(cost), float(violation), float(stationarity), float(step), time_stamp
        )
        self.history.append(record)
        if self._show is not None:
            self._show(record)
        if self._callback is not None and self._callback(record):
            return Status.STOPPED
        if not (math.isfinite(record.cost) and math.isfinite(record.violation)):
            return Status.NUMERICAL_FAILURE
        return Status.TIME_LIMIT if self.seconds_left <= 0.0 else None

    def run(self, step: Callable[[], tuple[Status | None, dict[str, float]]], limit: int) -> Status:
        """Call ``step`` until it returns a status, a limit is reached or the user interrupts.

        ``step`` returns its verdict (None: go on) and the numbers of `observe`. It must leave its best iterate in place
        before it returns, so that an interruption loses nothing.
        """
        try:
            for _ in range(limit):
                verdict, numbers = step()
                stop = self.observe(**numbers)
                if verdict is not None:
                    return verdict
                if stop is not None:
                    return stop
        except KeyboardInterrupt:
            return Status.INTERRUPTED
        return Status.ITERATION_LIMIT

    def run_batches(
        self, advance: Callable[[int], tuple[Status | None, Sequence[dict[str, float]]]], limit: int
    ) -> Status:
        """Like `run`, for a solver that iterates without Python.

        ``advance`` is told how many iterations it may do before it returns its verdict and the numbers of each of them:
        one where somebody watches, else as many as take about `_BATCH` seconds. Within a batch the times of iterations
        are interpolated.
        """
        try:
            done, count = 0, 1
            while done < limit:
                start = self.seconds
                verdict, numbers = advance(min(count, limit - done))
                duration = (self.seconds - start) / len(numbers)
                stop = None
                for k, values in enumerate(numbers):
                    stop = stop or self.observe(**values, seconds=start + (k + 1) * duration)
                if verdict is not None:
                    return verdict
                if stop is not None:
                    return stop
                done += len(numbers)
                watched = self._callback is not None or self._show is not None
                count = 1 if watched else max(1, int(min(_BATCH, self.seconds_left) / max(duration, 1e-9)))
        except KeyboardInterrupt:
            return Status.INTERRUPTED
        return Status.ITERATION_LIMIT
