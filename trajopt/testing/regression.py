"""``record`` and ``compare``: what a solver did, kept in a file, and what has become of it since."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, final

from trajopt.errors import CheckFailed, InvalidProblem, TrajoptError
from trajopt.files import write_atomically
from trajopt.problem import Problem
from trajopt.solve import solve
from trajopt.solver import Solver
from trajopt.testing.subject import Subject
from trajopt.testing.suite import make_subject

_FORMAT: Final = 1
_REPEATS: Final = 3
"""Solves of which the fastest counts: the first may compile, and others may be disturbed."""

Problems = Iterable[Problem | str] | Mapping[str, Problem]


@final
@dataclass(frozen=True)
class Row:
    """What a solver did with one problem; numbers that are not finite are None in the file.

    Attributes
    ----------
    status
        Short name.
    iterations
        As reported.
    cost, true_cost
        As reported, and as certified.
    decrement
        How far the cost of a success may be from the optimum, by what the solver promises.
    certified
        Whether it succeeded and the certificate confirms it.
    violation, stationarity
        Of the certificate.
    seconds
        The fastest of three solves.
    """

    status: str
    iterations: int
    cost: float
    true_cost: float
    decrement: float
    certified: bool
    violation: float
    stationarity: float
    seconds: float


@final
@dataclass(frozen=True)
class Change:
    """One problem, then and now.

    Attributes
    ----------
    problem
        Its name.
    before, after
        What was recorded, and what happened now; None if there was no such problem then, or is none now.
    worse
        What got worse, one phrase each; empty if nothing did.
    """

    problem: str
    before: Row | None
    after: Row | None
    worse: tuple[str, ...]

    @property
    def time_ratio(self) -> float:
        """Seconds now over seconds then."""
        if self.before is None or self.after is None or not self.before.seconds > 0.0:
            return math.nan
        return self.after.seconds / self.before.seconds


def record(solver: str | Solver, problems: Problems, path: str | Path) -> dict[str, Row]:
    """Solve every problem, and write what happened to a JSON file; returns the rows by name.

    Parameters
    ----------
    solver
        A solver, or the name of one.
    problems
        Problems with names, names of the library, or a dictionary of problems.
    path
        The file; an older one is replaced in one step.
    """
    subject, rows = _measure(solver, problems)
    table = {name: {key: _finite(value) for key, value in asdict(row).items()} for name, row in rows.items()}
    text = json.dumps({"format": _FORMAT, "solver": str(subject.solver), "rows": table}, indent=1, sort_keys=True)
    write_atomically(Path(path), lambda file: file.write(text.encode() + b"\n"))
    return rows


def compare(solver: str | Solver, problems: Problems, path: str | Path, *, slower: float | None = None) -> list[Change]:
    """Solve every problem again, and fail if anything got worse than what `record` wrote.

    Worse is: no longer solved or certified, a cost that rose by more than both answers may be off, more iterations, a
    problem that is missing now, and with ``slower`` a time that rose by more than that factor.

    Parameters
    ----------
    solver, problems, path
        As for `record`.
    slower
        Factor of the time that is still accepted; None: times are shown and not judged, for they belong to a machine.

    Returns
    -------
    list of Change
        One for each problem, worst first.

    Raises
    ------
    CheckFailed
        With a table, worst rows first, and how to accept the change.
    TrajoptError
        When the file is not one of `record`.
    """
    before = _read(Path(path))
    _, after = _measure(solver, problems)
    names = list(dict.fromkeys([*before, *after]))
    changes = [_judge(name, before.get(name), after.get(name), slower) for name in names]
    changes.sort(key=lambda change: (-len(change.worse), -_finite_or(change.time_ratio, 0.0)))
    worse = [change for change in changes if change.worse]
    if worse:
        raise CheckFailed(
            f"{len(worse)} of {len(changes)} problems got worse than {path} says:\n{table_of(changes)}\n"
            f"If that is intended, accept it: trajopt.testing.record(solver, problems, {str(path)!r})."
        )
    return changes


def table_of(changes: Iterable[Change]) -> str:
    """The rows as text, in the order given."""
    lines = []
    for change in changes:
        then, now = (f"{row.status}, {row.iterations} iterations, cost {row.cost:.9g}" if row else "nothing"
                     for row in (change.before, change.after))  # fmt: skip
        mark = "; ".join(change.worse) or "as good"
        lines.append(f"  {change.problem}: {mark}\n    {then} -> {now}, time x {change.time_ratio:.2f}")
    return "\n".join(lines)


def _judge(name: str, before: Row | None, after: Row | None, slower: float | None) -> Change:
    if before is None:
        return Change(name, before, after, ())
    if after is None:
        return Change(name, before, after, ("it is not among the problems any more",))
    worse = []
    if before.status == "solved" != after.status:
        worse.append(f"it ends {after.status} instead of solved")
    if before.certified and not after.certified:
        worse.append("it is not certified any more")
    # Rule 4: two answers that keep their promise differ by no more than the sum of what each may be off.
    allowed = _finite_or(before.decrement, 0.0) + _finite_or(after.decrement, 0.0)
    if not _finite_or(after.cost, math.inf) <= _finite_or(before.cost, math.inf) + allowed:
        worse.append(f"the cost rose by {after.cost - before.cost:.3g}")
    if after.iterations > before.iterations:
        worse.append(f"{after.iterations} iterations instead of {before.iterations}")
    change = Change(name, before, after, tuple(worse))
    if slower is not None and change.time_ratio > slower:
        return Change(name, before, after, (*worse, f"it takes {change.time_ratio:.2f} times as long"))
    return change


def _measure(solver: str | Solver, problems: Problems) -> tuple[Subject, dict[str, Row]]:
    subject = make_subject(solver, None, "fast")
    return subject, {name: _solve(subject, problem) for name, problem in _named(problems).items()}


def _solve(subject: Subject, problem: Problem) -> Row:
    solutions = [solve(problem, subject.solver) for _ in range(_REPEATS)]
    solution, certificate = solutions[0], solutions[0].certificate
    return Row(
        solution.status.label, solution.iterations, solution.cost, certificate.cost, subject.decrement(solution),
        solution.certified, certificate.violation, certificate.stationarity, min(s.seconds for s in solutions),
    )  # fmt: skip


def _named(problems: Problems) -> dict[str, Problem]:
    if isinstance(problems, Mapping):
        return {str(name): problem for name, problem in problems.items()}
    found: dict[str, Problem] = {}
    for entry in problems:
        if isinstance(entry, str):
            from trajopt.problems import load  # noqa: PLC0415 - the core does not know the library; the suite may

            found[entry] = load(entry)
            continue
        if not isinstance(entry, Problem) or entry.name is None or entry.name in found:
            raise InvalidProblem(
                f"problems contains {entry!r}, but problems with names of their own, or names of the library, were "
                "expected; give a dictionary where problems have no names."
            )
        found[entry.name] = entry
    return found


def _read(path: Path) -> dict[str, Row]:
    try:
        content = json.loads(path.read_text())
        if content["format"] != _FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {_FORMAT}")
        return {name: _row(row) for name, row in content["rows"].items()}
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrajoptError(
            f"{path} was given, but a file written by trajopt.testing.record was expected ({error}); record again."
        ) from error


def _row(entries: Mapping[str, Any]) -> Row:
    """A row of the file, with NaN where it has nothing."""
    read: dict[str, Any] = {key: math.nan if value is None else value for key, value in entries.items()}
    return Row(**read)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _finite_or(value: float, other: float) -> float:
    return value if math.isfinite(value) else other
