"""Derivatives of control steps by MuJoCo's own finite differences.

``mjd_transitionFD`` differentiates one physics step by central differences, recomputing only what a perturbation can
change. In its coordinates a rotation has three numbers, v, while a state has the four of a quaternion q. Near a unit
quaternion q(v) = q * exp(v / 2), so

    dq = G(q) dv,    G(q) = 1/2 L(q)[:, 1:],    and    dv = 4 G(q)^T dq,    because G^T G = I / 4,

L(q) being the matrix of the product from the left. Across the sphere of unit quaternions, where MuJoCo normalises, the
derivative is zero. Physics steps are chained, and the derivatives of the sensors at the end follow the last one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.simulators.mujoco_model import import_mujoco, with_flags

Array = NDArray[np.float64]

_QUATERNIONS = {0: 3, 1: 0}
"""Where the quaternion begins among the positions, and the rotation among the velocities, of a free or ball joint."""


class Transitions:
    """Derivatives of control steps of a model.

    A control at its limit would be differentiated on one side of a corner; the limits are switched off here, so the
    derivative is that of the inside.

    Parameters
    ----------
    model
        `mujoco.MjModel`, which is copied; its integrator must not be RK4, which ``mjd_transitionFD`` refuses.
    frame_skip
        Physics steps for each control step.
    places
        Which sensor values are outputs.
    step
        Perturbation of the central differences.
    """

    def __init__(self, model: Any, frame_skip: int, places: NDArray[np.intp], step: float) -> None:
        self.model = with_flags(model, "mjDSBL_WARMSTART", "mjDSBL_AUTORESET", "mjDSBL_CLAMPCTRL")
        self._skip, self._places, self._step = frame_skip, places, step
        self._size = 2 * model.nv + model.na

    def at(self, physics: Array, u: Array, t: float) -> tuple[Array, Array]:
        """Derivatives of one step by the physics state and by the control, (physics + outputs, physics), (.., nu)."""
        mujoco, model = import_mujoco(), self.model
        data = mujoco.MjData(model)
        start = t * self._skip * model.opt.timestep
        mujoco.mj_setState(model, data, np.concatenate([[start], physics]), mujoco.mjtState.mjSTATE_FULLPHYSICS)
        data.ctrl[:] = u
        by_state, by_control = np.eye(self._size), np.zeros((self._size, model.nu))
        inwards = to_tangent(model, data.qpos)
        for _ in range(self._skip):
            a, b = np.empty((self._size, self._size)), np.empty((self._size, model.nu))
            mujoco.mjd_transitionFD(model, data, self._step, True, a, b, None, None)
            mujoco.mj_step(model, data)
            by_state, by_control = a @ by_state, a @ by_control + b
        outwards = from_tangent(model, data.qpos)
        if self._places.size:
            sensors = np.empty((model.nsensordata, self._size))
            mujoco.mjd_transitionFD(model, data, self._step, True, None, None, sensors, None)
            outwards = np.concatenate([outwards, sensors[self._places]])
        return outwards @ by_state @ inwards, outwards @ by_control


def from_tangent(model: Any, positions: Array) -> Array:
    """Derivative of the state (positions, velocities, activations) by MuJoCo's tangent coordinates."""
    nq, nv, na = model.nq, model.nv, model.na
    result = np.zeros((nq + nv + na, 2 * nv + na))
    result[nq:, nv:] = np.eye(nv + na)
    for j in range(model.njnt):
        row, column = int(model.jnt_qposadr[j]), int(model.jnt_dofadr[j])
        straight = _QUATERNIONS.get(int(model.jnt_type[j]), 1)
        result[row : row + straight, column : column + straight] = np.eye(straight)
        if int(model.jnt_type[j]) in _QUATERNIONS:
            row, column = row + straight, column + straight
            result[row : row + 4, column : column + 3] = _half_product(positions[row : row + 4])
    return result


def to_tangent(model: Any, positions: Array) -> Array:
    """Derivative of MuJoCo's tangent coordinates by the state: G^T G = I / 4 makes the inverse of G four times G^T."""
    result = from_tangent(model, positions).T
    for j in range(model.njnt):
        if int(model.jnt_type[j]) in _QUATERNIONS:
            place = _QUATERNIONS[int(model.jnt_type[j])]
            row, column = int(model.jnt_dofadr[j]) + place, int(model.jnt_qposadr[j]) + place
            result[row : row + 3, column : column + 4] *= 4.0
    return result


def _half_product(q: Array) -> Array:
    """G(q), (4, 3): half the product from the left with a pure quaternion."""
    w, x, y, z = q / np.linalg.norm(q)
    return 0.5 * np.array([[-x, -y, -z], [w, -z, y], [z, w, -x], [-y, x, w]])
