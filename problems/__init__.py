"""The problem library: published optimal-control problems and decision problems, with what is known of them.

One file a problem, or a small family of one system. A file lists its problems in ``ENTRIES``; the registry finds
files by their names, so adding a problem is adding a file. Files are imported when a name of theirs is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from functools import cache
from typing import TYPE_CHECKING, Any

from trajopt.errors import InvalidProblem, UnknownName
from trajopt.problems.decision_reference import KINDS, DecisionEntry, DecisionReference, KnownValue
from trajopt.problems.reference import TAGS, ClosedForm, Entry, Reference

if TYPE_CHECKING:
    from trajopt.problem import Problem

__all__ = [
    "KINDS",
    "TAGS",
    "ClosedForm",
    "DecisionEntry",
    "DecisionReference",
    "Entry",
    "KnownValue",
    "Reference",
    "decision_names",
    "decision_reference",
    "extra",
    "load",
    "names",
    "reference",
    "settings",
]

_SUPPORT = frozenset({"arm_reach", "decision_reference", "drawing", "gymnasium_models", "parameter_fit", "reference"})
"""Files of this folder that hold no problem."""


def load(name: str, **settings: Any) -> Problem | Any:
    """Build a problem of the library.

    Parameters
    ----------
    name
        One of `names` or of `decision_names`.
    **settings
        Constants of the problem that differ from the published ones, and ``steps`` unless data fix their number.

    Returns
    -------
    Problem or DecisionProcess

    Raises
    ------
    UnknownName
        When no problem has this name.
    InvalidProblem
        When the problem has no such setting.
    MissingExtra
        When the problem needs an extra that is not installed.
    """
    build = _entry(name).build
    known = inspect.signature(build).parameters
    for setting in settings:
        if setting not in known:
            raise InvalidProblem(
                f"the setting {setting!r} was given for the problem {name!r}, but one of {', '.join(known)} was "
                "expected; correct its name."
            )
    return build(**settings)


def settings(name: str) -> dict[str, Any]:
    """Return the constants that `load` can change, with their published values.

    Raises
    ------
    UnknownName
        When no problem has this name.
    """
    return {key: entry.default for key, entry in inspect.signature(_entry(name).build).parameters.items()}


def names(*, extras: bool = True) -> list[str]:
    """Names of all optimal-control problems, sorted; without ``extras`` of those that every installation can load."""
    entries = [entry for file in _files() for entry in _entries(file).values() if isinstance(entry, Entry)]
    return sorted(entry.name for entry in entries if extras or entry.extra is None)


def decision_names() -> list[str]:
    """Names of all decision problems, sorted."""
    return sorted(name for file in _files() for name, entry in _entries(file).items() if not isinstance(entry, Entry))


def reference(name: str) -> Reference:
    """Return what is known of a problem beforehand: optimum, source, tags, closed form, picture.

    Raises
    ------
    UnknownName
        When no optimal-control problem has this name.
    """
    entry = _entry(name)
    if not isinstance(entry, Entry):
        raise UnknownName(
            f"the reference of {name!r} was asked for, but it is a decision problem; call decision_reference({name!r})."
        )
    return entry.reference


def decision_reference(name: str) -> DecisionReference:
    """Return what is known of a decision problem beforehand: values of states, source, tags.

    Raises
    ------
    UnknownName
        When no decision problem has this name.
    """
    entry = _entry(name)
    if isinstance(entry, Entry):
        raise UnknownName(
            f"the values of {name!r} were asked for, but it is no decision problem; call reference({name!r})."
        )
    return entry.reference


def extra(name: str) -> str | None:
    """Return the extra of trajopt that a problem needs, such as "robots"; None where the core is enough.

    Raises
    ------
    UnknownName
        When no problem has this name.
    """
    entry = _entry(name)
    return entry.extra if isinstance(entry, Entry) else None


def _entry(name: str) -> Entry | DecisionEntry:
    """Return the entry of that name, from the one file whose name it begins with."""
    for file in _files():
        if f"{name}-".startswith(f"{file.replace('_', '-')}-"):
            entry = _entries(file).get(name)
            if entry is not None:
                return entry
    nearest = difflib.get_close_matches(str(name), [*names(), *decision_names()], n=3, cutoff=0.4)
    advice = f"did you mean {' or '.join(map(repr, nearest))}?" if nearest else "trajopt.problems.names() lists them."
    raise UnknownName(f"the problem {name!r} was asked for, but a name of the library was expected; {advice}")


@cache
def _files() -> tuple[str, ...]:
    """Names of the files that hold problems."""
    return tuple(info.name for info in pkgutil.iter_modules(__path__) if info.name not in _SUPPORT)


@cache
def _entries(file: str) -> dict[str, Entry | DecisionEntry]:
    """Return the problems of one file, by name."""
    return {entry.name: entry for entry in importlib.import_module(f"trajopt.problems.{file}").ENTRIES}
