"""Many calls in threads, with results in order and Ctrl-C under control.

The kernels of the solvers release the interpreter lock, so threads are enough; nothing is copied between processes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from threading import Event
from types import FrameType
from typing import Any, TypeVar

from trajopt.errors import InvalidProblem

Result = TypeVar("Result")

_GLANCE = 0.1
"""Seconds after which a waiting thread looks up: a signal to another thread, or any on Windows, ends no wait."""


def read_threads(threads: Any, most: int) -> int:
    """The number of threads to use: as given, or for None as many as this process may use, but at most ``most``."""
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    elif isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InvalidProblem(
            f"threads={threads!r} was given, but a whole number of at least 1 was expected, or None for as many as "
            "there are processors; correct it."
        )
    return max(1, min(threads, most))


def run_in_order(
    call: Callable[[int], Result],
    count: int,
    threads: int,
    stop: Event,
    after: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Return [call(0), ..., call(count - 1)].

    The first call runs alone: it compiles what the others share. On Ctrl-C ``stop`` is set and the rest is called all
    the same: ``call`` must look at ``stop`` and return soon. An exception from a call sets ``stop`` as well and is
    raised when the running calls have ended.

    Parameters
    ----------
    call
        Function of the index.
    count
        How many.
    threads
        At most so many calls at a time; with 1 they run in the calling thread.
    stop
        Tells calls to end.
    after
        Called in the calling thread with each result, in order.
    """
    results: list[Result] = []

    def keep(result: Result) -> None:
        results.append(result)
        if after is not None:
            after(result)

    with interrupts_set(stop):
        for index in range(count if threads == 1 else min(count, 1)):
            keep(call(index))
        if len(results) == count:
            return results
        with ThreadPoolExecutor(threads) as pool:
            try:
                for future in [pool.submit(call, index) for index in range(1, count)]:
                    keep(_wait_for(future))
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return results


@contextmanager
def interrupts_set(stop: Event) -> Iterator[None]:
    """Let Ctrl-C set ``stop`` instead of raising anywhere; a second one raises. A handler of the user's own stays."""
    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _wait_for(future: Future[Result]) -> Result:
    while not wait([future], timeout=_GLANCE).done:
        pass
    return future.result()
