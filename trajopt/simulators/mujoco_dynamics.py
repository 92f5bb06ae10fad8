"""A MuJoCo model as dynamics: whole batches of rollouts in threads, derivatives by finite differences.

The state is what MuJoCo calls the full physics state, without the time: positions, velocities, activations, and where a
model has them histories and states of plugins; from it and the control a step follows exactly, bit for bit, whatever
was simulated before. Costs and constraints are functions of (x, u), so where they need the place of a hand, the place
is made part of the state: an *output* is a further entry, which every step fills from the new physics state and no step
reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.batch_dynamics import DIFFERENCE, BatchDynamics
from trajopt.constraints import Bounds
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.simulators.mujoco_derivatives import Transitions
from trajopt.simulators.mujoco_model import (
    control_names,
    import_mujoco,
    read_model,
    read_outputs,
    state_names,
    with_flags,
)
from trajopt.simulators.mujoco_rollout import Rollouts, silent_warnings
from trajopt.threads import read_threads

Array = NDArray[np.float64]

_MOST_THREADS = 1024
"""More would only be a mistake; MuJoCo needs a workspace for each."""


@final
@dataclass(frozen=True, init=False, eq=False)
class MuJoCoDynamics(BatchDynamics):
    """A MuJoCo model that is stepped under held controls.

    A step is a function of state and control alone: the constraint solver's warm start is off, so that `step`,
    `rollout`, any number of threads and the certificate give the same bits; an answer differs from a simulation with
    warm start within the solver's tolerance, which contacts may amplify. A state that is not finite, or beyond MuJoCo's
    limit of 1e10, makes the rest of its rollout NaN.

    Quaternions take part with their four numbers. MuJoCo normalises them, so that derivatives across the unit sphere
    are zero, and differences between near states are rotations to first order; a cost of a rotation is best written as
    1 - (q @ target) ** 2, which does not care about the sign.

    Parameters
    ----------
    model
        Path of an MJCF or URDF file, its text (beginning with "<"), an `mujoco.MjSpec` or an `mujoco.MjModel`. It is
        copied; changes that are made later do not reach the dynamics.
    frame_skip
        Physics steps for each control step, which therefore lasts ``timestep`` seconds.
    outputs
        Names of sensors of positions or velocities, or "body NAME", "geom NAME", "site NAME" for the place of a frame
        in the world [m], whose values are appended to the state, under these names with x, y, z behind them.
    threads
        How many threads simulate; None for as many as there are processors.

    Attributes
    ----------
    states
        Joints ("slider"; free joints "NAME x ... NAME qz" and ball joints "NAME qw ... NAME qz"), their velocities
        ("slider velocity"; "NAME vx ... NAME wz"), "activation 0" ..., "internal 0" ... for histories and plugins, and
        the outputs.
    physics
        Number of leading entries of the state that are physics; the outputs stand behind them.
    controls
        Actuators, or the joints that unnamed actuators drive; " control" is added to one that is called like a joint.

    Raises
    ------
    MissingExtra
        When mujoco is not installed.
    InvalidProblem
        When the model cannot be read, an output is unknown or depends on more than the state, or a number is no whole
        one of at least 1.
    """

    model: Any
    frame_skip: int
    outputs: tuple[str, ...]
    threads: int
    physics: int
    stochastic = False

    def __init__(
        self,
        model: str | Path | Any,
        *,
        frame_skip: int = 1,
        outputs: Sequence[str] = (),
        threads: int | None = None,
    ) -> None:
        if isinstance(frame_skip, bool) or not isinstance(frame_skip, int) or frame_skip < 1:
            raise InvalidProblem(
                f"frame_skip={frame_skip!r} was given, but a whole number of at least 1 was expected; correct it."
            )
        if isinstance(outputs, str):
            raise InvalidProblem(f"outputs={outputs!r} was given, but a list was expected; write [{outputs!r}].")
        read = read_model(model, outputs)
        mujoco = import_mujoco()
        size = mujoco.mj_stateSize(read, mujoco.mjtState.mjSTATE_FULLPHYSICS) - 1
        names = state_names(read, size)
        values = {
            "model": read,
            "frame_skip": frame_skip,
            "outputs": tuple(outputs),
            "threads": read_threads(threads, _MOST_THREADS),
            "physics": size,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        super().__init__(states=[*names, *self._outputs[0]], controls=control_names(read, names))

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles carry: no threads."""
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    @property
    def timestep(self) -> float:
        """Length of a control step [s]."""
        return float(self.model.opt.timestep) * self.frame_skip

    @property
    def bounds(self) -> Bounds:
        """The ranges of the actuators, None where they are not limited."""
        limited, limits = self.model.actuator_ctrllimited, self.model.actuator_ctrlrange
        sides = [
            [float(pair[side]) if on else None for on, pair in zip(limited, limits, strict=True)] for side in (0, 1)
        ]
        return Bounds(control=(sides[0], sides[1]))

    def state(
        self, positions: ArrayLike | None = None, velocities: ArrayLike | None = None, *, keyframe: str | None = None
    ) -> Array:
        """Return a state (nx,) with its outputs filled.

        Parameters
        ----------
        positions, velocities
            (nq,) and (nv,); those of the keyframe, or of the model at rest, where left out. Quaternions are normalised.
        keyframe
            Name of a keyframe of the model.

        Raises
        ------
        InvalidProblem
            When a shape is wrong or the keyframe is unknown.
        """
        mujoco = import_mujoco()
        data = mujoco.MjData(self.model)
        if keyframe is not None:
            key = mujoco.mj_name2id(self.model, mujoco.mjtObj.mjOBJ_KEY, keyframe)
            if key < 0:
                known = ", ".join(self.model.key(i).name for i in range(self.model.nkey)) or "none"
                raise InvalidProblem(
                    f"keyframe={keyframe!r} was given, but a keyframe of the model ({known}) was expected; correct it."
                )
            mujoco.mj_resetDataKeyframe(self.model, data, key)
        for what, given, target in (("positions", positions, data.qpos), ("velocities", velocities, data.qvel)):
            if given is not None:
                values = np.asarray(given, dtype=float)
                if values.shape != target.shape or not np.isfinite(values).all():
                    raise InvalidProblem(
                        f"{what} of shape {values.shape} were given, but {target.size} finite numbers were expected; "
                        "correct them."
                    )
                target[:] = values
        mujoco.mj_normalizeQuat(self.model, data.qpos)
        return self._read(data)

    def data(self, x: ArrayLike, u: ArrayLike | None = None) -> Any:
        """Return an `mujoco.MjData` in state x, (nx,), with everything computed, to draw it or to read any quantity."""
        mujoco = import_mujoco()
        data = mujoco.MjData(self.model)
        full = np.concatenate([[0.0], np.asarray(x, dtype=float)[: self.physics]])
        mujoco.mj_setState(self.model, data, full, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        data.ctrl[:] = 0.0 if u is None else u
        mujoco.mj_forward(self.model, data)
        return data

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Advance by ``frame_skip`` physics steps; see `BatchDynamics.step`."""
        return self._rollouts.run(x[:, : self.physics], u[:, None], t)[:, 0]

    def rollout(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Simulate whole horizons in threads; see `BatchDynamics.rollout`."""
        states = self._rollouts.run(x[:, : self.physics], u, t)
        return np.concatenate([x[:, None], states], axis=1)

    def linearise(self, x: Array, u: Array, t: float, p: Any) -> tuple[Array, Array]:
        """Return derivatives, (K, nx, nx) and (K, nx, nu), zero by the outputs; at a control's limit those inside.

        By ``mjd_transitionFD`` where the integrator permits, else by central differences of the step.

        Raises
        ------
        UnsupportedProblem
            When the model has histories or plugins, whose states cannot be perturbed.
        """
        if any(name.startswith("internal ") for name in self.states[: self.physics]):
            raise UnsupportedProblem(
                "derivatives of a MuJoCo model with histories or plugins were asked for, but their states cannot be "
                "perturbed; use a solver without derivatives, such as MPPI."
            )
        if self.model.opt.integrator == import_mujoco().mjtIntegrator.mjINT_RK4:
            return BatchDynamics.linearise(self._unlimited, x, u, t, p)
        by_state, by_control = np.zeros((len(x), self.nx, self.nx)), np.empty((len(x), self.nx, self.nu))
        with silent_warnings():
            for row, (state, control) in enumerate(zip(x[:, : self.physics], u, strict=True)):
                by_state[row, :, : self.physics], by_control[row] = self._transitions.at(state, control, t)
        return by_state, by_control

    def _read(self, data: Any) -> Array:
        """The state of MuJoCo's workspace, with its outputs."""
        mujoco = import_mujoco()
        full = np.empty(self.physics + 1)
        mujoco.mj_forward(self.model, data)
        mujoco.mj_getState(self.model, data, full, mujoco.mjtState.mjSTATE_FULLPHYSICS)
        return np.concatenate([full[1:], data.sensordata[self._outputs[1]]])

    @cached_property
    def _outputs(self) -> tuple[list[str], NDArray[np.intp]]:
        return read_outputs(self.model, self.outputs)

    @cached_property
    def _unlimited(self) -> MuJoCoDynamics:
        """The same without limits of the controls, where differences would see only one side of a corner."""
        model = with_flags(self.model, "mjDSBL_CLAMPCTRL")
        return MuJoCoDynamics(model, frame_skip=self.frame_skip, outputs=self.outputs, threads=self.threads)

    @cached_property
    def _rollouts(self) -> Rollouts:
        return Rollouts(self.model, self.frame_skip, self._outputs[1], self.threads)

    @cached_property
    def _transitions(self) -> Transitions:
        return Transitions(self.model, self.frame_skip, self._outputs[1], DIFFERENCE)
