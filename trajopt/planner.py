"""What a planner is: a frozen record of settings, and one method that decides what to do in a state."""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from dataclasses import MISSING, fields
from importlib.metadata import entry_points
from typing import Any, ClassVar

import numpy as np

from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, UnknownName
from trajopt.monitor import Monitor

GROUP = "trajopt.planners"


class Planner(ABC):
    """Base class of all planners. A subclass is a frozen dataclass of settings and keeps no state between decisions.

    Attributes
    ----------
    handles_models
        Whether it plans with a `ModelProcess`, of which nobody knows the rules.
    """

    handles_models: ClassVar[bool] = False

    def __str__(self) -> str:
        """The planner with those settings that are not the defaults."""
        changed = []
        for setting in fields(self):  # type: ignore[arg-type]
            default = setting.default if setting.default_factory is MISSING else setting.default_factory()
            value = getattr(self, setting.name)
            if value is not default and repr(value) != repr(default):
                changed.append(f"{setting.name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"

    @abstractmethod
    def plan(self, process: DecisionProcess, state: np.ndarray, *, tree: Any = None, monitor: Monitor) -> Decision:
        """Decide in ``state``, an array like the process's initial state; ``tree`` is an earlier decision's, or None.

        ``monitor`` has the time limit and the callback, as for solvers.
        """

    def plan_batch(self, process: DecisionProcess, states: np.ndarray, monitor: Monitor) -> list[Decision]:
        """Decide in each of states (B, ...); here one after the other."""
        return [self.plan(process, process.check_state(state), monitor=monitor) for state in states]


def planner_names() -> list[str]:
    """Names that ``decide(process, name)`` understands."""
    return sorted(set(entry_points(group=GROUP).names))


def find_planner(planner: str | Planner) -> Planner:
    """The planner itself, or the one of that name with its defaults.

    Raises
    ------
    UnknownName
        When nobody registered the name.
    InvalidProblem
        When it is neither a planner nor a name.
    """
    if isinstance(planner, Planner):
        return planner
    if isinstance(planner, type) and issubclass(planner, Planner):
        raise InvalidProblem(
            f"the class {planner.__name__} was given as planner, but an instance was expected; "
            f"write {planner.__name__}()."
        )
    names = ", ".join(planner_names())
    if not isinstance(planner, str):
        raise InvalidProblem(
            f"planner={planner!r} was given, but a planner or a name was expected; known names: {names}."
        )
    for entry in entry_points(group=GROUP, name=planner):
        found = entry.load()()
        if not isinstance(found, Planner):
            raise InvalidProblem(f"the entry point {entry.value!r} is registered as a planner, but gives {found!r}.")
        return found
    near = difflib.get_close_matches(planner, planner_names(), n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known names: {names}."
    raise UnknownName(f"planner {planner!r} was given, but nobody registered that name; {hint}")
