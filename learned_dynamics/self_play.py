"""What self-play leaves behind: positions to learn from, a line for each round, agents in files of numbers and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from trajopt.decision_process import DecisionProcess
from trajopt.errors import TrajoptError
from trajopt.files import write_atomically

_FORMAT = 1


@dataclass(frozen=True)
class Round:
    """What one round of games brought.

    Attributes
    ----------
    number
        From 0.
    games, positions
        Played in all when it ended.
    length
        Mean number of decisions in one of its games, openings apart.
    policy_loss, value_loss
        Means over its steps of Adam: the cross-entropy, and the squared error of the value.
    """

    number: int
    games: int
    positions: int
    length: float
    policy_loss: float
    value_loss: float


@dataclass(frozen=True, eq=False)
class Positions:
    """n positions that were played: states, legal actions, improved policies and returns."""

    states: np.ndarray
    legal: NDArray[np.bool_]
    policies: NDArray[np.float32]
    returns: NDArray[np.float32]

    @classmethod
    def of(cls, process: DecisionProcess, rows: Sequence[tuple[Any, ...]]) -> Self:
        """Positions from one row each, (state, legal, policy, return)."""
        states, legal, policies, returns = zip(*rows, strict=True) if rows else ((), (), (), ())
        sizes = (len(rows), process.actions)
        return cls(
            np.array(states, process.dtype).reshape(len(rows), *process.shape),
            np.array(legal, np.bool_).reshape(sizes),
            np.array(policies, np.float32).reshape(sizes),
            np.array(returns, np.float32),
        )

    def __len__(self) -> int:
        return len(self.returns)

    def joined(self, later: Self, most: int) -> Self:
        """These and later ones, of which the last ``most`` are kept."""
        pairs = ((getattr(self, entry.name), getattr(later, entry.name)) for entry in fields(self))
        return type(self)(*(np.concatenate(pair)[-most:] for pair in pairs))

    def arrays(self) -> dict[str, np.ndarray]:
        """The columns by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @classmethod
    def read(cls, process: DecisionProcess, arrays: Mapping[str, np.ndarray]) -> Self:
        """Positions of a process from their columns.

        Raises
        ------
        ValueError
            When they are those of another process, or do not fit each other.
        """
        for name, empty in cls.of(process, []).arrays().items():
            found = arrays.get(name)
            if found is None or found.shape != (len(arrays["returns"]), *empty.shape[1:]) or found.dtype != empty.dtype:
                raise ValueError(f"its {name} are not those of {process.label}")
        return cls(**arrays)


def table(rounds: Sequence[Round]) -> str:
    """The rounds as CSV, a header first; numbers to their last bit."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([entry.name for entry in fields(Round)])
    writer.writerows([[repr(value) for value in astuple(entry)] for entry in rounds])
    return text.getvalue()


def write_agent(path: Path, head: Mapping[str, Any], groups: Mapping[str, Mapping[str, Any]]) -> None:
    """Write what `read_agent` reads: a head of plain numbers and names, and groups of arrays."""
    arrays = {f"{group}/{name}": array for group, members in groups.items() for name, array in members.items()}
    text = json.dumps({"format": _FORMAT, "kind": "AlphaZero"} | dict(head))
    write_atomically(path, lambda file: np.savez(file, head=np.array(text), **arrays))


def read_agent(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, np.ndarray]]]:
    """Head and groups of arrays of a file that `write_agent` wrote; nothing in it is executed.

    Raises
    ------
    TrajoptError
        When the file is something else, or damaged.
    """
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        head = json.loads(str(arrays.pop("head")))
        if (head["format"], head["kind"]) != (_FORMAT, "AlphaZero"):
            raise ValueError(f"it is a {head['kind']!r} of format {head['format']}")
    except FileNotFoundError:
        raise
    except Exception as error:
        raise damaged(path, error) from error
    groups: dict[str, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        group, _, member = name.partition("/")
        groups.setdefault(group, {})[member] = array
    return head, groups


def damaged(path: Path, error: Exception) -> TrajoptError:
    """What is raised for a file that no agent can be made of."""
    return TrajoptError(
        f"{path} was given, but a file written by AlphaZero.save for the same process and features was expected "
        f"({error}); save the agent again."
    )
