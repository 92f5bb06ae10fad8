"""``compare``: several solvers on one problem, in one table and one picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from trajopt.errors import InvalidProblem, MissingExtra, UnsupportedProblem
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.problem import Problem
from trajopt.registry import find_solver
from trajopt.solution import Solution
from trajopt.solve import solve
from trajopt.solver import Solver
from trajopt.status import Status

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from trajopt.problems.reference import Reference


@final
@dataclass(frozen=True, eq=False)
class Row:
    """One solver of a comparison.

    Attributes
    ----------
    label
        What tables and pictures call the solver; unique in the comparison.
    solution
        Its answer, or None if it did not run.
    refusal
        Why it refused, or did not run; else empty.
    """

    label: str
    solution: Solution | MultiPhaseSolution | None
    refusal: str = ""


@final
@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` returns; print it for a table.

    Attributes
    ----------
    problem
        What was solved.
    rows
        One for each solver, in the order given.
    """

    problem: Problem | MultiPhaseProblem
    rows: tuple[Row, ...]

    @property
    def solutions(self) -> dict[str, Solution | MultiPhaseSolution]:
        """Answers by label, without those of solvers that refused."""
        return {row.label: row.solution for row in self.rows if row.solution is not None}

    def records(self) -> list[dict[str, Any]]:
        """One dictionary for each solver, NaN or zero where one that refused has nothing; certificates are computed."""
        from trajopt.view.facts import Facts  # noqa: PLC0415 - views load only when asked for

        rows = []
        for row in self.rows:
            record: dict[str, Any] = {"solver": row.label, "status": "not run", "cost": math.nan, "true_cost": math.nan,
                                      "certified": False, "violation": math.nan, "iterations": 0, "seconds": math.nan,
                                      "refusal": row.refusal}  # fmt: skip
            if row.solution is not None:
                facts = Facts.gather(row.solution)
                record |= {
                    "status": str(row.solution.status),
                    "cost": row.solution.cost,
                    "true_cost": facts.true_cost,
                    "certified": facts.passed and row.solution.success,
                    "violation": math.nan if facts.certificate is None else facts.certificate.violation,
                    "iterations": row.solution.iterations,
                    "seconds": row.solution.seconds,
                }
            rows.append(record)
        return rows

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each solver: status, cost, true cost, certified, violation, iterations, seconds, refusal."""
        import pandas as pd  # noqa: PLC0415 - slow to import

        return pd.DataFrame(self.records())

    def plot(self, reference: Reference | None = None) -> Figure:
        """States and controls of all answers over each other, and their cost over wall time."""
        from trajopt.view.comparison import plot_comparison  # noqa: PLC0415 - matplotlib loads only when asked for

        return plot_comparison(self, reference)

    def report(self, path: str | Path, reference: Reference | None = None) -> Path:
        """Write table and pictures to one self-contained HTML file; returns its path."""
        from trajopt.view.comparison import write_comparison  # noqa: PLC0415 - matplotlib loads only when asked for

        return write_comparison(self, path, reference)

    def __str__(self) -> str:
        from rich.console import Console  # noqa: PLC0415 - loads only when printed

        from trajopt.view.tables import comparison_table  # noqa: PLC0415

        text = io.StringIO()
        Console(file=text, width=110, color_system=None).print(comparison_table(self))
        return text.getvalue().rstrip()


def compare(
    problem: Problem | MultiPhaseProblem,
    solvers: Sequence[str | Solver],
    *,
    guess: Any = None,
    max_time: float | None = None,
    progress: bool = False,
) -> Comparison:
    """Run several solvers on one problem.

    Parameters
    ----------
    problem
        What to solve.
    solvers
        Names, or solvers such as ``ILQR(tolerance=1e-8)``.
    guess
        Where each starts, as for `trajopt.solve`.
    max_time
        Seconds for each solver.
    progress
        Show the iterations live on standard error.

    Returns
    -------
    Comparison
        A solver that cannot treat the problem has a row that says why.

    Raises
    ------
    InvalidProblem, UnknownName
        When what was given makes no sense; before the first solver runs.
    """
    if not isinstance(problem, Problem | MultiPhaseProblem):
        raise InvalidProblem(
            f"compare got a {type(problem).__name__}, but a Problem was expected; make one with trajopt.Problem(...)."
        )
    if isinstance(solvers, str | Solver) or not len(solvers):
        raise InvalidProblem(
            f"compare got solvers={solvers!r}, but a list of at least one solver was expected; "
            "write ['ilqr', 'collocation']."
        )
    found = [_find(solver, problem) for solver in solvers]
    rows: list[Row] = []
    for label, solver in zip(_labels(solvers), found, strict=True):
        if isinstance(solver, str):
            rows.append(Row(label, None, solver))
        elif any(row.solution is not None and row.solution.status is Status.INTERRUPTED for row in rows):
            rows.append(Row(label, None, "It did not run, because the solve before it was interrupted."))
        else:
            try:
                solution = solve(problem, solver, guess=guess, max_time=max_time, progress=progress)
            except (UnsupportedProblem, MissingExtra) as error:  # what a solver finds only when it runs
                rows.append(Row(label, None, str(error)))
            else:
                rows.append(Row(label, solution))
    return Comparison(problem, tuple(rows))


def _find(solver: str | Solver, problem: Problem | MultiPhaseProblem) -> Solver | str:
    """The solver, or why it does not treat the problem."""
    try:
        return find_solver(solver, problem)
    except (UnsupportedProblem, MissingExtra) as error:
        return str(error)


def _labels(solvers: Sequence[str | Solver]) -> list[str]:
    """A name for each solver: as given, or its class with the settings that are not its defaults; numbered if equal."""
    labels: list[str] = []
    for solver in solvers:
        name = solver if isinstance(solver, str) else str(solver).removesuffix("()")
        twins = sum(label == name or label.startswith(f"{name} #") for label in labels)
        labels.append(f"{name} #{twins + 1}" if twins else name)
    return labels
