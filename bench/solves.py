"""Time to solution on the same discretised problems from the same guesses, with status, cost and violation."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.cases import CASES, Case
from bench.competitor import Answer, Competitor, Unavailable
from bench.discretisation import Discretisation, Verdict
from bench.measure import take_turns
from bench.with_casadi import Fatrop, Ipopt
from bench.with_crocoddyl import Crocoddyl, CrocoddylFeasible
from bench.with_trajopt import Ddp, DirectCollocation, Ilqr
from trajopt import problems, solve
from trajopt.solvers import DDP, ILQR

BUDGET = 2.0
"""Seconds that the slowest competitor of a case may use up in the full run; a fifth of it in the short one."""


@dataclass(frozen=True)
class Run:
    """One competitor on one case; times in seconds.

    Attributes
    ----------
    case, solver
        Titles.
    remark
        Why there are no numbers, else empty.
    setup
        From the problem to a solver that can start, nothing of it cached.
    seconds
        Median of a solve.
    ratio
        ``seconds`` over that of this library's ILQR, where both solved the problem.
    answer, verdict
        What came out, and what it is worth.
    """

    case: str
    solver: str
    remark: str = ""
    setup: float | None = None
    seconds: float | None = None
    ratio: float | None = None
    answer: Answer | None = None
    verdict: Verdict | None = None


@contextlib.contextmanager
def empty_cache() -> Iterator[None]:
    """Make every compilation of expressions inside of it a real one; kernels that are loaded stay."""
    before = os.environ.get("TRAJOPT_CACHE_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRAJOPT_CACHE_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["TRAJOPT_CACHE_DIR"]
            else:
                os.environ["TRAJOPT_CACHE_DIR"] = before


def builders(case: Case) -> dict[str, Callable[[Discretisation], Competitor]]:
    """Constructors of the competitors, in the order of the table."""
    return {
        Ilqr.name: Ilqr,
        Ddp.name: Ddp,
        DirectCollocation.name: DirectCollocation,
        Crocoddyl.name: lambda shape: Crocoddyl(shape, case.model),
        CrocoddylFeasible.name: lambda shape: CrocoddylFeasible(shape, case.model),
        Fatrop.name: Fatrop,
        Ipopt.name: Ipopt,
    }


def run_case(case: Case, *, quick: bool) -> list[Run]:
    """All competitors on one case, taking turns."""
    shape = case.build()
    ready: dict[str, Competitor] = {}
    setups, remarks = {}, {}
    for name, build in builders(case).items():
        start = time.perf_counter()
        try:
            with empty_cache():
                ready[name] = build(shape)
        except Unavailable as reason:
            remarks[name] = str(reason)
        setups[name] = time.perf_counter() - start
    slowest = max(take_turns({name: one.solve}, rounds=1)[name] for name, one in ready.items())
    budget = BUDGET / 5 if quick else BUDGET
    rounds = int(min(max(budget / slowest, 3), 25))  # three are the fewest that have a median
    seconds = take_turns({name: one.solve for name, one in ready.items()}, rounds)
    answers = {name: one.read(one.solve()) for name, one in ready.items()}
    runs = []
    for name in builders(case):
        if name in remarks:
            runs.append(Run(case.title, name, remarks[name]))
            continue
        answer, both = answers[name], answers[name].solved and answers[Ilqr.name].solved
        ratio = seconds[name] / seconds[Ilqr.name] if both else None
        verdict = shape.judge(answer.x, answer.u)
        runs.append(Run(case.title, name, "", setups[name], seconds[name], ratio, answer, verdict))
    return runs


def run_cases(*, quick: bool, progress: Callable[[str], None]) -> list[Run]:
    """Every case; the kernels are loaded before, so that no set-up pays for them."""
    for solver in (ILQR(iterations=2), DDP(iterations=2)):
        solve(problems.load("acrobot"), solver)  # none of the cases, whose code must stay unknown
    runs = []
    for case in CASES:
        if case.quick or not quick:
            progress(case.title)
            runs += run_case(case, quick=quick)
    return runs
