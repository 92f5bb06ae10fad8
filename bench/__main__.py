"""``python -m bench [--quick] [--json FILE] [--markdown [FILE]]``: measure, and print one table."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from bench.report import as_json, markdown, preamble, solve_sheet, target_sheet
from bench.sheet import show
from bench.solves import run_cases
from bench.targets import target_rows


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure against CasADi and Crocoddyl.",
        epilog="The library against its known optima: python -m bench.library.",
    )
    parser.add_argument("--quick", action="store_true", help="fewer problems and repetitions, in under a minute")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there")
    parser.add_argument("--markdown", nargs="?", const="-", metavar="FILE", help="write Markdown there, or print it")
    chosen = parser.parse_args(arguments)

    def progress(title: str) -> None:
        print(f"measuring: {title}", file=sys.stderr, flush=True)

    runs = run_cases(quick=chosen.quick, progress=progress)
    rows = target_rows(quick=chosen.quick, progress=progress)
    sheets = [target_sheet(rows), solve_sheet(runs)]
    if chosen.markdown == "-":
        print(markdown(sheets))
    else:
        show(sheets, [preamble()])
    if chosen.markdown not in (None, "-"):
        Path(chosen.markdown).write_text(markdown(sheets))
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(as_json(rows, runs), indent=1))


if __name__ == "__main__":
    main()
