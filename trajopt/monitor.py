"""The one place that watches a solve: iteration and time limits, callback, progress, and the trap for non-finite costs.

A solver reports every iteration to `Monitor.observe` and stops when that returns a status. Solvers that own their loop
are driven by `Monitor.run`; a solver inside a library (IPOPT) reports from that library's callback.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from trajopt.status import Status


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
        self, cost: float, violation: float = 0.0, stationarity: float = math.nan, step: float = math.nan
    ) -> Status | None:
        """Record an iteration; returns why the solve must stop now, or None to go on."""
        record = Iteration(
            len(self.history), float(cost), float(violation), float(stationarity), float(step), self.seconds
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
