"""Threaded rollouts of a MuJoCo model, whose results are a function of state and control alone.

Three traps of the simulator are closed here. The constraint solver starts from the last acceleration, so that a step
would depend on the past: the warm start is switched off (on Gymnasium's models that costs nothing). A state that blows
up is replaced by the model's initial one, which would look fine: that is switched off too, and everything from the
first bad number on is NaN, as it is from the first control that is not finite, which MuJoCo would take for zero. And a
warning is written into a file ``MUJOCO_LOG.TXT`` of the working folder: while rollouts run it is not.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.simulators.mujoco_model import import_mujoco, with_flags

Array = NDArray[np.float64]

_BUFFER = 2**23
"""Numbers (64 MiB) that the states of all physics steps of a block of rollouts may take."""


class Rollouts:
    """A model, a thread pool, and one MuJoCo workspace a thread. Calls from several threads take turns.

    Parameters
    ----------
    model
        `mujoco.MjModel`, which is copied.
    frame_skip
        Physics steps for each control step.
    places
        Which sensor values are outputs.
    threads
        How many threads simulate.
    """

    def __init__(self, model: Any, frame_skip: int, places: NDArray[np.intp], threads: int) -> None:
        mujoco = import_mujoco()
        self.model = with_flags(model, "mjDSBL_WARMSTART", "mjDSBL_AUTORESET")
        self._skip, self._places = frame_skip, places
        self._workspaces = [mujoco.MjData(self.model) for _ in range(threads)]
        self._pool = mujoco.rollout.Rollout(nthread=threads if threads > 1 else 0)
        self._most = float(mujoco.mjMAXVAL)
        self._lock = threading.Lock()

    def run(self, physics: Array, u: Array, t: float) -> Array:
        """States after each step, (K, N, physics + outputs), from (K, physics) states under (K, N, nu) controls."""
        count, steps, _ = u.shape
        results = np.empty((count, steps, physics.shape[1] + self._places.size))
        each = (steps * self._skip + 1) * (physics.shape[1] + 1 + self.model.nsensordata)
        rows = max(1, _BUFFER // each)
        with self._lock, silent_warnings():
            for begin in range(0, count, rows):
                block = slice(begin, begin + rows)
                results[block] = self._run_block(physics[block], u[block], t)
        return results

    def _run_block(self, physics: Array, u: Array, t: float) -> Array:
        """Simulate some rows; values of sensors belong to the beginning of a physics step, hence one step more."""
        start = t * self._skip * self.model.opt.timestep
        initial = np.column_stack([np.full(len(physics), start), physics])
        controls = np.repeat(u, self._skip, axis=1)
        if self._places.size:
            controls = np.concatenate([controls, controls[:, -1:]], axis=1)
        states, sensors = self._pool.rollout(self.model, self._workspaces, initial, controls)
        last = u.shape[1] * self._skip
        ends = states[:, self._skip - 1 : last : self._skip]
        outputs = sensors[:, self._skip :: self._skip, self._places] if self._places.size else ends[:, :, :0]
        result = np.concatenate([ends[:, :, 1:], outputs], axis=2)
        result[self._failed(start, ends, u)] = np.nan
        return result

    def _failed(self, start: float, ends: Array, u: Array) -> NDArray[np.bool_]:
        """Whether a row has come to grief by the end of each step, (K, N); MuJoCo stops the clock when it warns."""
        stopped = np.diff(ends[:, :, 0], axis=1, prepend=start) <= 0.0
        with np.errstate(invalid="ignore"):
            sane = (np.abs(ends) <= self._most).all(axis=2) & np.isfinite(u).all(axis=2)
        return np.logical_or.accumulate(stopped | ~sane, axis=1)


_warnings_lock = threading.Lock()
_warnings_depth = 0
_warnings_before: Any = None


@contextmanager
def silent_warnings() -> Iterator[None]:
    """Keep MuJoCo from writing its warnings into a file and on the screen; the states tell what happened.

    The handler belongs to the process: the first that comes replaces it, the last that goes puts it back.
    """
    global _warnings_depth, _warnings_before  # noqa: PLW0603 - MuJoCo's handler is global as well
    mujoco = import_mujoco()
    with _warnings_lock:
        if _warnings_depth == 0:
            _warnings_before = mujoco.get_mju_user_warning()
            mujoco.set_mju_user_warning(lambda message: None)
        _warnings_depth += 1
    try:
        yield
    finally:
        with _warnings_lock:
            _warnings_depth -= 1
            if _warnings_depth == 0:
                mujoco.set_mju_user_warning(_warnings_before)
