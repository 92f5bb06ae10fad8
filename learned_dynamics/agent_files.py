"""Agents in files: settings and trials as JSON, model and experience as arrays. Nothing in a file is executed.

A solver is written by the name of its class and its settings, and read back only if trajopt has a class of that name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trajopt import solvers
from trajopt.errors import TrajoptError
from trajopt.files import write_atomically
from trajopt.learned_dynamics.ensemble import ProbabilisticEnsemble
from trajopt.learned_dynamics.experience import Experience
from trajopt.learned_dynamics.learning_log import Trial
from trajopt.solver import Solver
from trajopt.solvers.sampling import risk

if TYPE_CHECKING:
    from trajopt.learned_dynamics.pets import PETS

_FORMAT = 1
_SETTINGS = ("horizon", "iterations", "random_steps", "trial_steps", "seed")
_RISKS = {kind.__name__: kind for kind in (risk.Mean, risk.Worst, risk.CVaR, risk.Exponential)}


@dataclass(frozen=True, eq=False)
class SavedAgent:
    """What a file holds.

    Attributes
    ----------
    settings
        Arguments of the agent that are numbers.
    solver
        What plans; None where it is none of trajopt's.
    model, experience, trials
        As the agent's.
    head
        The settings as they were written.
    """

    settings: dict[str, Any]
    solver: Solver | None
    model: ProbabilisticEnsemble
    experience: Experience
    trials: tuple[Trial, ...]
    head: dict[str, Any]

    def check_same(self, agent: PETS, path: Path) -> None:
        """Refuse to go on with an agent of other settings."""
        here = json.loads(json.dumps(_head(agent), default=_plain))
        different = [name for name in ("settings", "solver", "model") if here[name] != self.head[name]]
        if different:
            raise TrajoptError(
                f"{path} was found, but it is the checkpoint of an agent with another "
                f"{' and another '.join(different)}; give another folder, or the settings that it has."
            )


def _plain(number: Any) -> Any:
    return number.item()


def _head(agent: PETS) -> dict[str, Any]:
    """What is written as JSON."""
    return {
        "format": _FORMAT,
        "kind": "PETS",
        "settings": {name: getattr(agent, name) for name in _SETTINGS},
        "solver": _solver_text(agent.solver),
        "model": agent.model._settings(),
        "trials": [asdict(trial) for trial in agent.trials],
    }


def write_agent(agent: PETS, path: Path) -> Path:
    """Write an agent; see `PETS.save`."""
    arrays = {f"model/{name}": values for name, values in agent.model.learned.items()}
    arrays |= {f"experience/{entry.name}": getattr(agent.experience, entry.name) for entry in fields(Experience)}
    text = json.dumps(_head(agent), default=_plain)
    write_atomically(path, lambda file: np.savez(file, head=np.array(text), **arrays))
    return path


def read_agent(path: Path) -> SavedAgent:
    """Read what `write_agent` wrote.

    Raises
    ------
    TrajoptError
        When the file is something else, or its parts do not fit each other.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _restore(json.loads(str(arrays.pop("head"))), arrays)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise TrajoptError(
            f"{path} was given, but a file written by PETS.save was expected ({error}); save the agent again."
        ) from error


def _restore(head: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> SavedAgent:
    if (head["format"], head["kind"]) != (_FORMAT, "PETS"):
        raise ValueError(f"it is a {head['kind']!r} of format {head['format']}, not a PETS of format {_FORMAT}")
    learned = _group(arrays, "model")
    described = {"format": 1, "kind": "ProbabilisticEnsemble", "settings": head["model"]}
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in head["model"].items()}
    model = ProbabilisticEnsemble._restore(described, learned) if learned else ProbabilisticEnsemble(**settings)
    experience = Experience(**_group(arrays, "experience"))
    trials = tuple(Trial(**record) for record in head["trials"])
    _check(experience, model, trials)
    return SavedAgent(
        {name: head["settings"][name] for name in _SETTINGS},
        _read_solver(head["solver"]),
        model,
        experience,
        trials,
        head,
    )


def _check(experience: Experience, model: ProbabilisticEnsemble, trials: tuple[Trial, ...]) -> None:
    """Refuse parts that do not fit each other."""
    count = trials[-1].steps if trials else 0
    shapes = {"x": (count, model.observed), "u": (count, model.nu), "x_next": (count, model.observed)}
    shapes |= {"reward": (count,), "terminated": (count,)}
    for name, shape in shapes.items():
        values = getattr(experience, name)
        if values.shape != shape or values.dtype.kind not in "fb" or not np.isfinite(values).all():
            raise ValueError(f"its {name} has shape {values.shape} or is not finite, {shape} was expected")


def _group(arrays: Mapping[str, NDArray[Any]], name: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(f"{name}/"): arrays[key] for key in arrays if key.startswith(f"{name}/")}


def _solver_text(solver: Solver) -> dict[str, Any] | None:
    """A solver by name and settings, or None if it is not trajopt's own or has a setting that is no number or name."""
    kind = type(solver).__name__
    if getattr(solvers, kind, None) is not type(solver) or not is_dataclass(solver):
        return None
    values = {entry.name: getattr(solver, entry.name) for entry in fields(solver)}
    if isinstance(values.get("risk"), risk.Risk):
        values["risk"] = {"kind": type(values["risk"]).__name__, "settings": asdict(values["risk"])}
    try:
        return json.loads(json.dumps({"kind": kind, "settings": values}, default=_plain))
    except (TypeError, AttributeError):
        return None


def _read_solver(text: dict[str, Any] | None) -> Solver | None:
    """The solver of such a description; settings are checked by its constructor."""
    if text is None:
        return None
    kind = getattr(solvers, text["kind"]) if text["kind"] in solvers.__all__ else None
    if not (isinstance(kind, type) and issubclass(kind, Solver)):
        raise ValueError(f"it names a solver {text['kind']!r}")
    values = dict(text["settings"])
    if isinstance(values.get("risk"), dict):
        values["risk"] = _RISKS[values["risk"]["kind"]](**values["risk"]["settings"])
    return kind(**values)
