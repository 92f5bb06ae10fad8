"""What is known about a decision problem beforehand: values of states that are exact or published, and their source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trajopt.decision_process import DecisionProcess

KINDS = {
    "one player": "rewards are collected by one player",
    "two players": "the players alternate, what one wins the other loses",
    "irregular turns": "a player may move several times in a row",
    "chance": "nature moves with known probabilities",
    "sampled": "steps are drawn, without known probabilities",
    "hidden": "the state is not seen, only observations of it",
    "trap": "greedy or optimistic search is led astray for long",
}
"""Every tag that a decision problem may carry."""


@dataclass(frozen=True)
class KnownValue:
    """The value of one state under best play, seen by the player to move there.

    Attributes
    ----------
    value
        Expected sum of discounted rewards.
    error
        Half a unit of the last digit that the source gives; 0 where the value is exact.
    state
        Entries of the state; None for the one that ``moves`` lead to.
    moves
        Actions from the initial state, of processes without chance.
    best
        The best actions; empty where the source names none.
    """

    value: float
    error: float = 0.0
    state: tuple[int, ...] | None = None
    moves: tuple[int, ...] = ()
    best: tuple[int, ...] = ()


@dataclass(frozen=True)
class DecisionReference:
    """What is known about a decision problem, for the default settings of its factory.

    Attributes
    ----------
    source
        Where problem and numbers come from.
    values
        States whose values are known.
    note
        What a planner or a test should know.
    tags
        Keys of `KINDS`.
    """

    source: str
    values: tuple[KnownValue, ...] = ()
    note: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class DecisionEntry:
    """One line of the library: the name, the factory, what is known; see `trajopt.problems.reference.Entry`.

    Attributes
    ----------
    name
        In kebab case; the file's own name, alone or followed by a variant.
    build
        Factory of the process, its constants being keyword settings.
    reference
        What is known for the default settings.
    """

    name: str
    build: Callable[..., DecisionProcess]
    reference: DecisionReference
