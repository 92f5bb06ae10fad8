"""MuJoCo models that come with Gymnasium, and what the problems made of them share.

An environment's reward belongs to a step and often reads the state after it, while a stage cost reads the state before.
Here the costs are arranged such that the cost of the first k steps, for every k, is minus the return of k steps from
the problem's initial state: what depends on the next state is counted at the next knot, the last one in the terminal
cost, and what the first knot adds is taken off again.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from trajopt.errors import MissingExtra
from trajopt.simulators.mujoco_model import import_mujoco
from trajopt.simulators.mujoco_rollout import silent_warnings

EXTRA = "gym,mujoco"
"""Gymnasium has the models, MuJoCo simulates them."""

PAPER = (
    "Towers et al. 2024, Gymnasium (arXiv 2407.17032), environment {} with its default settings; MuJoCo: Todorov 2012"
)


def model_file(name: str) -> Path:
    """Return the file of a model, such as ``hopper.xml``.

    Raises
    ------
    MissingExtra
        When gymnasium is not installed.
    """
    found = importlib.util.find_spec("gymnasium")
    if found is None or found.origin is None:
        raise MissingExtra(
            f'a model of Gymnasium was asked for, but gymnasium is not installed; write pip install "trajopt[{EXTRA}]".'
        )
    return Path(found.origin).parent / "envs" / "mujoco" / "assets" / name


def load_model(name: str) -> Any:
    """Return the `mujoco.MjModel` of a file, read as the environment does; its outdated attributes are Gymnasium's."""
    with silent_warnings():
        return import_mujoco().MjModel.from_xml_path(str(model_file(name)))
