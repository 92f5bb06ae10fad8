"""MuJoCo models: read from files, given the sensors that a problem asks for, and their entries named."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem, MissingExtra

_FRAMES = {"body": "mjOBJ_XBODY", "geom": "mjOBJ_GEOM", "site": "mjOBJ_SITE"}
"""What an output may name beside a sensor, and the type of MuJoCo's object; XBODY is the frame that a file gives."""

_JOINTS: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {
    0: (("x", "y", "z", "qw", "qx", "qy", "qz"), ("vx", "vy", "vz", "wx", "wy", "wz")),
    1: (("qw", "qx", "qy", "qz"), ("wx", "wy", "wz")),
}
"""Names of positions and velocities of free (0) and ball (1) joints; the others have one of each."""


def import_mujoco() -> Any:
    """Return the package; where it is missing, say which extra has it."""
    try:
        import mujoco  # noqa: PLC0415 - an extra
        import mujoco.rollout  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(
            'a MuJoCo model was asked for, but mujoco is not installed; write pip install "trajopt[mujoco]".'
        ) from error
    return mujoco


def read_model(model: Any, outputs: Sequence[str]) -> Any:
    """Return an `mujoco.MjModel` of its own, with a sensor for each output that names a body, geom or site.

    Raises
    ------
    InvalidProblem
        When the model cannot be read or compiled, or a frame is asked of a model that is compiled already.
    """
    mujoco = import_mujoco()
    frames = [output for output in outputs if output.partition(" ")[0] in _FRAMES]
    if isinstance(model, mujoco.MjModel):
        frames = [name for name in frames if mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, name) < 0]
        if frames:
            raise InvalidProblem(
                f"the output {frames[0]!r} was asked of a compiled MjModel, but a sensor can only be added to a file, "
                "its text or an MjSpec; give one of them, or add the sensor before compiling."
            )
        return copy.copy(model)
    if not isinstance(model, str | Path | mujoco.MjSpec):
        raise InvalidProblem(
            f"a MuJoCo model of type {type(model).__name__} was given, but the path of an MJCF file, its text, an "
            "MjSpec or an MjModel was expected; give one of these."
        )
    if not isinstance(model, mujoco.MjSpec) and not _is_text(model) and not Path(model).is_file():
        raise InvalidProblem(
            f"the MuJoCo model {str(model)!r} was given, but a file, its text or a model was expected; no such file "
            "exists, correct the path."
        )
    try:
        spec = _read_spec(mujoco, model)
        for frame in frames:
            kind, _, name = frame.partition(" ")
            sensor, target = mujoco.mjtSensor.mjSENS_FRAMEPOS, getattr(mujoco.mjtObj, _FRAMES[kind])
            spec.add_sensor(name=frame, type=sensor, objtype=target, objname=name)
        return spec.compile()
    except ValueError as error:
        told = " ".join(str(error).split())
        raise InvalidProblem(
            f"a MuJoCo model was given which MuJoCo refuses ({told}), but a valid MJCF or URDF model was expected; "
            "correct it."
        ) from error


def _read_spec(mujoco: Any, model: Any) -> Any:
    """The model before compilation, from a path, its text or an `mujoco.MjSpec`, which is copied."""
    if isinstance(model, mujoco.MjSpec):
        return model.copy()
    return mujoco.MjSpec.from_string(model) if _is_text(model) else mujoco.MjSpec.from_file(str(model))


def _is_text(model: str | Path) -> bool:
    return isinstance(model, str) and model.lstrip().startswith("<")


def with_flags(model: Any, *names: str) -> Any:
    """Return a copy of a model with parts of MuJoCo switched off, such as "mjDSBL_WARMSTART"."""
    mujoco = import_mujoco()
    changed = copy.copy(model)
    for name in names:
        changed.opt.disableflags |= int(getattr(mujoco.mjtDisableBit, name))
    return changed


def state_names(model: Any, size: int) -> list[str]:
    """Names of the physics state: positions, velocities, activations, and what else MuJoCo keeps."""
    positions: list[str] = []
    velocities: list[str] = []
    for j in range(model.njnt):
        joint = model.joint(j).name or f"joint{j}"
        several = _JOINTS.get(int(model.jnt_type[j]))
        positions += [joint] if several is None else [f"{joint} {entry}" for entry in several[0]]
        velocities += [f"{joint} velocity"] if several is None else [f"{joint} {entry}" for entry in several[1]]
    names = [*positions, *velocities, *(f"activation {i}" for i in range(model.na))]
    return [*names, *(f"internal {i}" for i in range(size - len(names)))]


def control_names(model: Any, taken: Sequence[str]) -> list[str]:
    """Names of the actuators; one without name is called after its joint, and none like a state."""
    transmission_joint = int(import_mujoco().mjtTrn.mjTRN_JOINT)
    names: list[str] = []
    for i in range(model.nu):
        name = model.actuator(i).name
        if not name and int(model.actuator_trntype[i]) == transmission_joint:
            name = model.joint(int(model.actuator_trnid[i, 0])).name
        name = name or f"actuator{i}"
        names.append(f"{name} control" if name in taken else name)
    repeated = {name for name in names if names.count(name) > 1}
    return [f"{name} {i}" if name in repeated else name for i, name in enumerate(names)]


def read_outputs(model: Any, outputs: Sequence[str]) -> tuple[list[str], NDArray[np.intp]]:
    """Return the names of the outputs' entries and where they stand among the sensor values.

    Raises
    ------
    InvalidProblem
        When a sensor does not exist, or its value depends on more than the state.
    """
    mujoco = import_mujoco()
    names: list[str] = []
    places: list[int] = []
    for output in outputs:
        sensor = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SENSOR, output)
        if sensor < 0:
            known = ", ".join(model.sensor(i).name for i in range(model.nsensor)) or "none"
            raise InvalidProblem(
                f"the output {output!r} was asked for, but a sensor of the model ({known}), or a body, geom or site, "
                "as in 'body hand', was expected; correct its name."
            )
        if model.sensor_needstage[sensor] == mujoco.mjtStage.mjSTAGE_ACC:
            raise InvalidProblem(
                f"the output {output!r} measures accelerations or forces, which depend on the control as well, but a "
                "sensor of positions or velocities was expected; leave it out."
            )
        size, begin = int(model.sensor_dim[sensor]), int(model.sensor_adr[sensor])
        entries = "xyz" if size == 3 else [str(i) for i in range(size)]
        names += [output] if size == 1 else [f"{output} {entry}" for entry in entries]
        places += range(begin, begin + size)
    return names, np.array(places, dtype=np.intp)
