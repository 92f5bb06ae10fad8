"""The command ``trajopt``: list, solve, compare, check and play from the shell.

Exit codes: 0 solved or passed, 1 not, 2 misuse, 130 interrupted. Answers go to standard output, progress and
complaints to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from trajopt.compare import compare
from trajopt.errors import InvalidProblem, MissingExtra, TrajoptError
from trajopt.multi_phase_solution import MultiPhaseSolution
from trajopt.planner import planner_names
from trajopt.problem import Feature
from trajopt.registry import SEVERAL_PHASES, load_solver, solver_names
from trajopt.solution import Solution
from trajopt.solve import solve
from trajopt.solver import MultiPhaseSolver
from trajopt.status import Status
from trajopt.target import Target, find_target, read_setting

SOLVED, NOT_SOLVED, MISUSE, INTERRUPTED = 0, 1, 2, 130
_UNLIMITED = 10**9
"""Simulations that no clock leaves time for."""
_WIDTH = 120
"""Columns where the output is no terminal: a pipe or a file has no width of its own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    arguments
        Without the program's name; default: those of the process.

    Returns
    -------
    int
        Exit code.
    """
    try:
        options = _parser().parse_args(arguments)
        return options.run(options)
    except SystemExit as end:  # of argparse, which has said why
        return int(end.code or 0)
    except KeyboardInterrupt:
        print("trajopt: interrupted.", file=sys.stderr)
        return INTERRUPTED
    except (TrajoptError, OSError) as error:
        print(f"trajopt: {error}", file=sys.stderr)
        return MISUSE


def _parser() -> argparse.ArgumentParser:
    from trajopt import __version__  # noqa: PLC0415 - the package imports this module's neighbours first

    parser = argparse.ArgumentParser(prog="trajopt", description="Solve optimal-control problems, check the answers.")
    parser.add_argument("--version", action="version", version=f"trajopt {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="list the problems of the library and the solvers")
    listing.set_defaults(run=_list)

    solving = commands.add_parser("solve", help="solve a problem and check the answer")
    solving.set_defaults(run=_solve)
    _add_target(solving)
    solving.add_argument("--solver", default="auto", metavar="NAME", help="see `trajopt list`; default: what fits best")
    solving.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="a parameter of the problem, a setting of the solver or a constant of a library problem; may be repeated",
    )  # fmt: skip
    solving.add_argument("--report", type=Path, metavar="FILE.html", help="write a self-contained report")
    solving.add_argument("--plot", type=Path, metavar="FILE.png", help="write a picture: png, pdf or svg")
    solving.add_argument("--save", type=Path, metavar="FILE.npz", help="write the numbers")

    checking = commands.add_parser("check", help="run the conformance suite of trajopt.testing")
    checking.set_defaults(run=_check)
    checking.add_argument(
        "subject", metavar="SUBJECT", nargs="?",
        help="a solver's name, module:name or file.py:name of a solver, its class, a problem or a decision process",
    )  # fmt: skip
    checking.add_argument("--all", action="store_true", help="every registered solver instead")
    checking.add_argument("--profile", choices=("fast", "thorough"), default="fast", help="default: fast")
    checking.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="a setting of the solver; may be repeated",
    )  # fmt: skip
    checking.add_argument("--report", type=Path, metavar="FILE.html", help="write a self-contained report")
    checking.add_argument("--quiet", action="store_true", help="show what is wrong alone")

    comparing = commands.add_parser("compare", help="run several solvers on one problem")
    comparing.set_defaults(run=_compare)
    _add_target(comparing)
    comparing.add_argument("--solvers", metavar="A,B,C", help="names, separated by commas; default: all")
    comparing.add_argument("--report", type=Path, metavar="FILE.html", help="write a self-contained report")
    comparing.add_argument("--plot", type=Path, metavar="FILE.png", help="write a picture: png, pdf or svg")

    playing = commands.add_parser("play", help="play a game of the library against a planner")
    playing.set_defaults(run=_play)
    playing.add_argument("game", metavar="GAME", help="a decision problem of the library, such as connect-four")
    playing.add_argument("--planner", default="mcts", metavar="NAME", help="who plays the other side; default: mcts")
    playing.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="a setting of the planner, else of the game; may be repeated",
    )  # fmt: skip
    playing.add_argument("--you", default="first", metavar="WHO", help="first, second, both or nobody")
    playing.add_argument(
        "--seconds", type=float, default=1.0, metavar="S", help="for a move of the planner; default: 1"
    )
    playing.add_argument("--seed", type=int, default=0, metavar="N", help="of nature's moves")
    return parser


def _add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("problem", metavar="PROBLEM", help="a name of the library, or file.py:variable")
    parser.add_argument("--steps", type=int, metavar="N", help="number of intervals instead of the problem's own")
    parser.add_argument("--max-time", type=float, metavar="SECONDS", help="end each solve after this time")
    parser.add_argument("--quiet", action="store_true", help="show no progress, and one line instead of tables")


def _list(options: argparse.Namespace) -> int:
    from trajopt import problems  # noqa: PLC0415 - the core does not know the library; its command line does
    from trajopt.view.tables import decision_table, library_table, solver_table  # noqa: PLC0415 - rich loads when shown

    entries = []
    for name in problems.names():
        known = problems.reference(name)
        optimum = "" if known.optimum is None else f"{known.optimum:.{min(max(known.digits, 1), 8)}g}"
        optimum += " max" if optimum and known.kind == "maximum" else ""
        entries.append((name, _sizes(name), optimum, ", ".join(known.tags), known.source))
    console = _console()
    console.print(library_table(entries))
    console.print(decision_table([(name, problems.decision_reference(name)) for name in problems.decision_names()]))
    console.print(solver_table([(name, _refuses(name)) for name in solver_names()]))
    console.print(f"Planners of decision problems: {', '.join(planner_names())}.")
    return SOLVED


def _sizes(name: str) -> str:
    """States and controls of a problem, or the extra that it needs."""
    from trajopt import problems  # noqa: PLC0415 - the core does not know the library; its command line does

    try:
        problem = problems.load(name)
    except MissingExtra:
        return f"needs trajopt[{problems.extra(name)}]"
    return f"{problem.nx}/{problem.nu}"


def _refuses(name: str) -> str:
    """What a solver does not handle, or why it is not here."""
    try:
        solver = load_solver(name)
    except (MissingExtra, ImportError) as error:
        return f"not installed: {error}"
    missing = [str(feature) for feature in Feature if feature not in solver.handles]
    return ", ".join(missing if isinstance(solver, MultiPhaseSolver) else [*missing, SEVERAL_PHASES])


def _solve(options: argparse.Namespace) -> int:
    _check_outputs(options.report, options.plot, options.save)
    settings = dict(read_setting(text) for text in options.settings)
    target = find_target(options.problem, options.solver, steps=options.steps, settings=settings)
    solution = solve(target.problem, target.solver, max_time=options.max_time, progress=not options.quiet)
    # Numbers first: they are cheap, and survive whatever happens to the views.
    if options.save is not None:
        solution.save(options.save)
    _show(solution, target, options.quiet)
    if options.plot is not None:
        from trajopt.view.plot import plot_solution  # noqa: PLC0415 - matplotlib loads only when asked for

        optimum = None if target.reference is None else target.reference.cost
        plot_solution(solution, optimum).savefig(options.plot)
    if options.report is not None:
        from trajopt.view.report import write_report  # noqa: PLC0415 - matplotlib loads only when asked for

        write_report(solution, options.report, target.reference)
    _announce(options.quiet, options.save, options.plot, options.report)
    return _exit_code(solution.status)


def _show(solution: Solution | MultiPhaseSolution, target: Target, quiet: bool) -> None:
    """The summary on standard output."""
    from trajopt.view.facts import Facts, duration, number  # noqa: PLC0415 - views load when shown
    from trajopt.view.tables import certificate_table, summary_table  # noqa: PLC0415

    facts, console = Facts.gather(solution, target.reference), _console()
    if quiet:
        words = (facts.name, facts.solver, solution.status, f"cost {number(solution.cost, 9)}", facts.verdict)
        print(*words, duration(solution.seconds), sep="  ")
        return
    console.print()
    console.print(Text(facts.name, "bold"))
    console.print(summary_table(facts))
    table = certificate_table(facts)
    if table is not None:
        console.print()
        console.print(table)
    for sentence in facts.sentences:
        console.print(Text.assemble(("- ", "yellow"), sentence))


def _compare(options: argparse.Namespace) -> int:
    from trajopt.view.tables import comparison_table  # noqa: PLC0415 - rich tables load when shown

    _check_outputs(options.report, options.plot)
    names = solver_names() if options.solvers is None else [name.strip() for name in options.solvers.split(",")]
    target = find_target(options.problem, steps=options.steps)
    result = compare(target.problem, names, max_time=options.max_time, progress=not options.quiet)
    if options.solvers is None:  # every solver was meant that can; those that cannot are no news
        result = replace(result, rows=tuple(row for row in result.rows if row.solution is not None))
    if options.quiet:
        for record in result.records():
            print(record["solver"], record["status"], f"cost {record['cost']:.9g}", sep="  ")
    else:
        console = _console()
        console.print()
        console.print(comparison_table(result))
    if options.plot is not None:
        result.plot(target.reference).savefig(options.plot)
    if options.report is not None:
        result.report(options.report, target.reference)
    _announce(options.quiet, options.plot, options.report)
    statuses = [solution.status for solution in result.solutions.values()]
    if Status.INTERRUPTED in statuses:
        return INTERRUPTED
    return SOLVED if Status.SOLVED in statuses else NOT_SOLVED


def _check(options: argparse.Namespace) -> int:
    from trajopt.testing.command import check_subject, find_subjects  # noqa: PLC0415 - the suite loads when asked for
    from trajopt.testing.results import CheckResult, tally  # noqa: PLC0415
    from trajopt.view.checks import checks_table, write_checks  # noqa: PLC0415

    _check_outputs(options.report)
    settings = dict(read_setting(text) for text in options.settings)
    subjects = find_subjects(options.subject, settings, every=options.all)
    console, results = _console(), list[CheckResult]()
    for subject in subjects:
        found = check_subject(subject, options.profile)
        results += found
        wrong = [result for result in found if not result.passed]
        shown = wrong if options.quiet else found
        console.print()
        console.print(Text(str(subject), "bold"), Text(tally(found), "red" if wrong else "green"))
        if shown:
            console.print(checks_table(shown))
    if options.report is not None:
        write_checks(results, options.report)
    _announce(options.quiet, options.report)
    return SOLVED if all(result.passed for result in results) else NOT_SOLVED


def _play(options: argparse.Namespace) -> int:
    from trajopt import problems  # noqa: PLC0415 - the core does not know the library; its command line does
    from trajopt.planner import find_planner  # noqa: PLC0415 - search loads when it is played against
    from trajopt.play import play  # noqa: PLC0415

    if options.game not in problems.decision_names():
        names = ", ".join(problems.decision_names())
        raise InvalidProblem(f"{options.game!r} was given, but a decision problem was expected; pick one of {names}.")
    planner = find_planner(options.planner)
    settings = dict(read_setting(text) for text in options.settings)
    fields = getattr(planner, "__dataclass_fields__", {})
    own = {key: value for key, value in settings.items() if key in fields}
    if "simulations" in fields:
        own = {"simulations": _UNLIMITED} | own  # the clock decides, unless the command line does
    process: Any = problems.load(options.game, **{key: value for key, value in settings.items() if key not in fields})
    match = play(
        process,
        replace(planner, **own),  # type: ignore[type-var]
        you=options.you,
        max_time=options.seconds,
        seed=options.seed,
        console=_console(),
    )
    return SOLVED if match.over else NOT_SOLVED


def _check_outputs(*paths: Path | None) -> None:
    """Refuse a file that cannot be written before time is spent on solving."""
    for path in paths:
        if path is not None and (not path.parent.is_dir() or path.is_dir()):
            raise InvalidProblem(
                f"{path} was given for an output, but a file in an existing folder was expected; make the folder first."
            )


def _announce(quiet: bool, *paths: Path | None) -> None:
    for path in paths:
        if path is not None and not quiet:
            print(f"wrote {path}")


def _exit_code(status: Status) -> int:
    if status is Status.INTERRUPTED:
        return INTERRUPTED
    return SOLVED if status.success else NOT_SOLVED


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)
