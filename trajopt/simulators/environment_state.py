"""How the state of an environment is saved and restored, for the kinds that Gymnasium itself has."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import UnsupportedProblem
from trajopt.simulators.mujoco_model import import_mujoco

Array = NDArray[np.float64]

Save = Callable[[Any], ArrayLike]
"""env -> numbers (n,): everything that a step depends on."""

Restore = Callable[[Any, Array], None]
"""(env, numbers) -> None: the other way round; the numbers may be kept."""


def find_store(env: Any) -> tuple[Save, Restore]:
    """Return how the state of a known kind of environment is read and set.

    Raises
    ------
    UnsupportedProblem
        When the kind is not known.
    """
    mujoco = sys.modules.get("mujoco")  # an environment that simulates with it has imported it
    if mujoco is not None and isinstance(getattr(env, "data", None), mujoco.MjData):
        return _get_physics, _set_physics
    for attribute in ("state", "s"):
        value = getattr(env, attribute, None)
        if value is not None and np.issubdtype(np.asarray(value).dtype, np.number):
            whole = np.ndim(value) == 0
            return (
                partial(_get_attribute, attribute=attribute),
                partial(_set_attribute, attribute=attribute, whole=whole),
            )
    raise UnsupportedProblem(
        f"the environment {type(env).__name__} was given, but one whose state can be saved and restored was expected; "
        "give get_state and set_state."
    )


def _get_attribute(env: Any, *, attribute: str) -> Any:
    """A state that is an attribute of the environment."""
    return getattr(env, attribute)


def _set_attribute(env: Any, state: Array, *, attribute: str, whole: bool) -> None:
    """Set it, as an array or as a whole number."""
    setattr(env, attribute, int(state[0]) if whole else state)


def _physics_kind() -> int:
    """What determines the next step of a MuJoCo environment: the physics, and where its constraint solver starts."""
    kinds = import_mujoco().mjtState
    return int(kinds.mjSTATE_FULLPHYSICS) | int(kinds.mjSTATE_WARMSTART)


def _get_physics(env: Any) -> Array:
    """The physics without the time, which comes first and on which the environments' models do not depend."""
    mujoco = import_mujoco()

    state = np.empty(mujoco.mj_stateSize(env.model, _physics_kind()))
    mujoco.mj_getState(env.model, env.data, state, _physics_kind())
    return state[1:]


def _set_physics(env: Any, state: Array) -> None:
    """Restore it, and compute the positions that rewards read, which moves the start of the solver."""
    mujoco = import_mujoco()

    full = np.concatenate([[0.0], state])
    mujoco.mj_setState(env.model, env.data, full, _physics_kind())
    mujoco.mj_forward(env.model, env.data)
    mujoco.mj_setState(env.model, env.data, full, _physics_kind())
