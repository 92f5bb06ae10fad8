"""Connect three on a board of 4 rows and 5 columns: connect four made small enough to be solved in no time."""

from __future__ import annotations

from trajopt.decision_process import DecisionProcess
from trajopt.problems import connect_four
from trajopt.problems.decision_reference import DecisionEntry, DecisionReference, KnownValue


def build(*, rows: int = 4, columns: int = 5, score: bool = False) -> DecisionProcess:
    """Connect three on ``rows`` x ``columns`` from the empty board."""
    return connect_four.build(rows=rows, columns=columns, length=3, score=score, name="connect-three")


ENTRIES = (
    DecisionEntry(
        "connect-three",
        build,
        DecisionReference(
            source="enumeration of all positions",
            values=(KnownValue(1.0),),
            note="who begins wins",
            tags=("two players",),
        ),
    ),
)
