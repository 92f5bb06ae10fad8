"""The table of targets: what was published, what this library is to reach, what this machine measured just now."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

import casadi as ca

from bench import fresh
from bench.iteration import allocation_rows, iteration_rows
from bench.lowering import pendulum_hessian
from bench.measure import Row
from bench.mppi import median_time, prepare
from bench.solves import empty_cache
from trajopt.lowering import compile_functions

LINKS = {1_000: 3, 10_000: 6}
"""Pendulum chains whose Hessians have roughly that many operations."""


def lowering_rows(*, quick: bool) -> list[Row]:
    """Seconds from an expression that no cache knows to an address; per operation, scaled to the round number."""
    rows = []
    published = {1_000: ("Numba's front end 0.7 s", "<= 0.05 s"), 10_000: ("Numba's front end 8 s", "<= 0.6 s")}
    for operations, (anchor, target) in published.items():
        base = pendulum_hessian(LINKS[operations])
        count = base.n_instructions()
        seconds = []
        for _ in range(2 if quick else 5):
            inputs = [ca.SX.sym(base.name_in(i), base.size1_in(i)) for i in range(base.n_in())]
            unseen = ca.Function("unseen", inputs, [(1.0 + random.random()) * base(*inputs)])
            with empty_cache():
                start = time.perf_counter()
                compile_functions({"unseen": unseen})
                seconds.append(time.perf_counter() - start)
        measured = statistics.median(seconds)
        note = f"{measured:.3g} s for a pendulum Hessian of {count:,} instructions, scaled to {operations:,}"
        scaled = measured / count * operations
        rows.append(Row(f"lowering {operations:,} operations", anchor, target, scaled, note=note))
    return rows


def fresh_rows(*, quick: bool) -> list[Row]:
    """First solution and imports in fresh processes; the first round, which fills the kernel cache, does not count."""
    modes = ("trajopt", "ipopt", "import-trajopt", "import-casadi")
    found: dict[str, list[dict]] = {mode: [] for mode in modes}
    for turn in range((3 if quick else 9) + 1):
        for mode in modes:
            result = fresh.run(mode)
            if turn:
                found[mode].append(result)
    seconds = {mode: statistics.median(one["seconds"] for one in found[mode]) for mode in modes}
    imports = statistics.median(one["import"] for one in found["trajopt"])
    costs = f"costs {found['trajopt'][-1]['cost']:.4f} and {found['ipopt'][-1]['cost']:.4f}, gravity drawn anew"
    heavy = ", ".join(found["import-trajopt"][-1]["heavy"]) or "none of " + ", ".join(fresh.HEAVY)
    return [
        Row(
            "fresh process, import to first solution", "CasADi + IPOPT about 0.5 s", "<= 1.0 s", seconds["trajopt"],
            {"CasADi + IPOPT": seconds["ipopt"]}, note=f"{imports:.2f} s of ours are imports; {costs}",
        ),
        Row(
            "`import trajopt`", "`import casadi` about 0.2 s", "<= 0.3 s", seconds["import-trajopt"],
            {"import casadi": seconds["import-casadi"]}, note=f"imports {heavy}",
        ),
    ]  # fmt: skip


def mppi_rows(*, quick: bool) -> list[Row]:
    """One iteration of MPPI with one thread and with two."""
    rows = []
    for threads in (1, 2):
        _, run = prepare(1024, threads)
        with run.engine.open():
            seconds = median_time(run.advance, 50 if quick else 300)
        title = f"MPPI, cart-pole RK4, 1,024 samples x 50 steps, {threads} thread{'s' * (threads > 1)}"
        rows.append(Row(title, "pytorch_mppi 13 ms", "<= 1 ms", seconds))
    return rows


def target_rows(*, quick: bool, progress: Callable[[str], None]) -> list[Row]:
    """All rows in the order of the table."""
    rows = []
    for title, section in (
        ("one iteration", iteration_rows),
        ("lowering", lowering_rows),
        ("fresh processes", fresh_rows),
        ("MPPI", mppi_rows),
    ):
        progress(title)
        rows += section(quick=quick)
    return rows + allocation_rows()
