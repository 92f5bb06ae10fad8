"""Problems of several phases: each a problem of its own, joined by links, with parameters in common."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, final

import numpy as np

from trajopt.errors import InvalidProblem, UnknownName
from trajopt.horizon import Free
from trajopt.link import Joint, Link, state_joint, time_joint
from trajopt.parameters import ParameterLayout
from trajopt.phase_times import follow
from trajopt.problem import Feature, Problem

if TYPE_CHECKING:
    from trajopt.link_model import LinkModel


@final
@dataclass(frozen=True, eq=False)
class MultiPhaseProblem:
    """A sequence of problems, joined end to start; their costs are summed.

    Every phase has dynamics, sizes, horizon, constraints and costs of its own. A phase that is joined to an earlier one
    starts when that one ends: its ``Horizon`` needs no start (zero, the default, follows; another number must agree
    with the end; a `Free` start is limited besides). Entries of its initial state are free unless it gives them.

    A parameter of the same name in several phases is one parameter: the same number in all of them, or one unknown that
    they share.

    Parameters
    ----------
    phases
        Problems with distinct names; those without are called "phase 1", "phase 2", ...
    links
        `Link` objects; or "continuous" for one between each phase and the next, through which all states go on.
    name
        What reports call it.

    Attributes
    ----------
    phases
        The problems, with their names.
    joined
        The problems with the starts that follow from the links: numbers, or `Free`.

    Raises
    ------
    InvalidProblem
        When parts disagree: names, sizes, times, parameters.
    TracingError
        When the function of a link cannot be turned into expressions.
    """

    phases: Sequence[Problem]
    links: str | Iterable[Link] = "continuous"
    name: str | None = field(default=None, kw_only=True)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles carry: the fields, and not what was derived from them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", _read_phases(self.phases))
        object.__setattr__(self, "links", _read_links(self.links, self.names))
        _ = self.layout, self.model  # mistakes surface here and not in a solver

    @property
    def names(self) -> tuple[str, ...]:
        """Of the phases."""
        return tuple(str(phase.name) for phase in self.phases)

    def __getitem__(self, name: str) -> Problem:
        """The phase of that name, as it was given."""
        return self.phases[self.index(name)]

    def index(self, name: str) -> int:
        """Number of the phase of that name.

        Raises
        ------
        UnknownName
            When there is none.
        """
        return _find(name, self.names, "the problem")

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """Parameters of all phases, by name."""
        merged: dict[str, Any] = {}
        owner: dict[str, Problem] = {}
        for phase in self.phases:
            for key, value in (phase.parameters or {}).items():
                if key in merged and not _same(merged[key], value):
                    raise InvalidProblem(
                        f"parameter {key!r} is {_shown(merged[key])} in phase {owner[key].name!r} and {_shown(value)} "
                        f"in phase {phase.name!r}, but phases share what has the same name; make them equal, or rename "
                        "one."
                    )
                merged.setdefault(key, value)
                owner.setdefault(key, phase)
        return merged

    @cached_property
    def layout(self) -> ParameterLayout:
        """How the parameters of all phases are packed into one vector."""
        return ParameterLayout.of(self.parameters)

    def places(self, number: int) -> np.ndarray:
        """Where the packed parameters of a phase stand in the packed vector of all."""
        slices = self.layout.slices
        parts = [np.arange(slices[key].start, slices[key].stop) for key in self.phases[number].layout.shapes]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.intp)

    @cached_property
    def _followed(self) -> tuple[tuple[Problem, ...], tuple[tuple[int, int], ...]]:
        before: dict[int, list[int]] = {}
        for link in self.links:
            assert isinstance(link, Link)
            first, second = self.index(link.first), self.index(link.second)
            continuous = self.phases[first].dynamics.continuous and self.phases[second].dynamics.continuous
            if link.time and first < second and continuous and first not in before.setdefault(second, []):
                before[second].append(first)
        joined, ties = follow(self.phases, before)
        return tuple(joined), tuple(ties)

    @cached_property
    def joined(self) -> tuple[Problem, ...]:
        """The phases with the starts that follow from the links."""
        return self._followed[0]

    @cached_property
    def joints(self) -> tuple[Joint, ...]:
        """What the links say, of states and of times, between phases by their numbers."""
        untold = set(self._followed[1])
        found: list[Joint] = []
        for link in self.links:
            assert isinstance(link, Link)
            pair = self.index(link.first), self.index(link.second)
            found.append(state_joint(link, *pair, self.phases))
            if link.time and pair in untold:
                found.append(time_joint(link, *pair))
                untold.remove(pair)
        return tuple(found)

    @cached_property
    def model(self) -> LinkModel:
        """The rows of the links as expressions."""
        from trajopt.link_model import trace_links  # noqa: PLC0415 - keeps CasADi out of `import trajopt`

        return trace_links(self)

    @cached_property
    def features(self) -> frozenset[Feature]:
        """What a solver must handle in the phases, besides joining them."""
        return frozenset().union(*(phase.features for phase in self.joined))

    def at(self, *, parameters: Mapping[str, Any] | None = None) -> MultiPhaseProblem:
        """The same problem with new values of some parameters, sharing the traced functions.

        Raises
        ------
        InvalidProblem
            When no phase has a parameter of that name, or its shape changes.
        """
        if not parameters:
            return self
        self.layout.update(self.parameters, parameters)
        variant = object.__new__(MultiPhaseProblem)
        variant.__dict__.update(self.__dict__)  # the cached model too: that is the point

        def changed(phases: Iterable[Problem]) -> tuple[Problem, ...]:
            mine = ({key: value for key, value in parameters.items() if key in p.layout.shapes} for p in phases)
            return tuple(phase.at(parameters=some) for phase, some in zip(phases, mine, strict=True))

        variant.__dict__["phases"] = changed(self.phases)
        variant.__dict__["joined"] = changed(self.joined)
        variant.__dict__.pop("parameters", None)
        return variant

    def __repr__(self) -> str:
        return f"MultiPhaseProblem({', '.join(self.names)})"


def _read_phases(given: Any) -> tuple[Problem, ...]:
    """The phases with names, all distinct."""
    if isinstance(given, Problem) or not isinstance(given, Iterable):
        raise InvalidProblem(f"phases={given!r} was given, but a list of problems was expected; put them in brackets.")
    phases = tuple(given)
    if not phases:
        raise InvalidProblem("no phases were given, but at least one Problem was expected; add one.")
    for phase in phases:
        if not isinstance(phase, Problem):
            raise InvalidProblem(
                f"phases contains a {type(phase).__name__}, but Problem was expected; make one with Problem(...)."
            )
    names = [phase.name or f"phase {number}" for number, phase in enumerate(phases, start=1)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InvalidProblem(
            f"two phases are called {twice[0]!r}, but distinct names were expected; rename one, for example with "
            "dataclasses.replace(phase, name=...)."
        )
    named = (p if p.name == n else replace(p, name=n) for p, n in zip(phases, names, strict=True))
    return tuple(named)


def _read_links(given: Any, names: tuple[str, ...]) -> tuple[Link, ...]:
    """The links, all between phases that exist."""
    if isinstance(given, str) and given == "continuous":
        return tuple(Link(first, second) for first, second in pairwise(names))
    if isinstance(given, str | Link) or not isinstance(given, Iterable):
        raise InvalidProblem(
            f"links={given!r} was given, but 'continuous' or a list of Link was expected; put them in brackets."
        )
    links = tuple(given)
    for link in links:
        if not isinstance(link, Link):
            raise InvalidProblem(
                f"links contains {link!r}, but Link was expected; write Link({names[0]!r}, {names[-1]!r}, ...)."
            )
        for end in (link.first, link.second):
            _find(end, names, f"link {link.name!r}")
    return links


def _find(name: str, names: tuple[str, ...], who: str) -> int:
    if name in names:
        return names.index(name)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"the phases are {', '.join(map(repr, names))}."
    raise UnknownName(f"{who} was asked for phase {name!r}, but there is no such phase; {hint}")


def _same(one: Any, other: Any) -> bool:
    """Whether two phases mean the same by a parameter; guesses may differ."""
    if isinstance(one, Free) != isinstance(other, Free):
        return False
    if isinstance(one, Free):
        return bool(np.array_equal(one.lower, other.lower) and np.array_equal(one.upper, other.upper))
    return bool(np.array_equal(one, other))


def _shown(value: Any) -> str:
    return f"Free({value.lower}, {value.upper})" if isinstance(value, Free) else str(value)
