"""One iteration of iLQR on the cart-pole at its guess, in parts, beside Crocoddyl's on the same problem."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

from numba.core.runtime import _nrt_python, rtsys

from bench.cases import CASES
from bench.competitor import Unavailable
from bench.measure import Row, take_turns
from bench.with_crocoddyl import Crocoddyl
from trajopt.guess import make_guess
from trajopt.lowering.kernel import kernel
from trajopt.monitor import Monitor
from trajopt.solvers import ilqr, ilqr_run
from trajopt.solvers.kernels import ddp, shooting
from trajopt.transcription.stages import compile_stages

REPEAT = 20
"""Passes in one kernel call, so that the call from Python does not count; it does not belong to the kernels."""


@kernel
def repeat_expansion(count, functions, data, current, penalty, expansion, gains, rows):
    """Expand all stages, ``count`` times."""
    for _ in range(count):
        ddp.expand_all(functions, data, current, penalty, expansion, gains, rows, False)


@kernel
def repeat_sweep(count, functions, data, current, penalty, expansion, gains, rows, work, state):
    """Sweep backwards, ``count`` times."""
    for _ in range(count):
        ddp.sweep(functions, data, current, penalty, expansion, gains, rows, work, state, False)


@kernel
def repeat_rollout(count, functions, data, current, gains, candidate, penalty, rows):
    """Roll out with a full step, ``count`` times."""
    for _ in range(count):
        shooting.simulate(functions, data, current, gains.k, gains.K, 1.0, candidate, penalty, rows)


def prepare() -> ilqr_run.Run:
    """Return a run of ILQR whose first iteration is done."""
    problem, solver = CASES[0].build().problem, ilqr.ILQR(iterations=1)
    stages = compile_stages(problem, solver.integrator, second_order=False)
    run = ilqr_run.Run(solver, problem, stages, make_guess(problem, None))
    run.solve(Monitor())
    return run


def our_parts(run: ilqr_run.Run) -> dict[str, Callable[[], object]]:
    """`REPEAT` passes of each part."""
    shared = (run.functions, run.data, run.current, run.penalty, run.expansion, run.gains, run.rows)
    rollout = (run.functions, run.data, run.current, run.gains, run.candidate, run.penalty, run.rows)
    return {
        "derivatives": lambda: repeat_expansion(REPEAT, *shared),
        "backward pass": lambda: repeat_sweep(REPEAT, *shared, run.work, run.state),
        "forward pass": lambda: repeat_rollout(REPEAT, *rollout),
    }


def their_parts() -> dict[str, Callable[[], object]]:
    """Return single passes of each part of Crocoddyl's iteration, which are calls into C++."""
    solver = Crocoddyl(CASES[0].build(), CASES[0].model).at_guess()
    return {
        "derivatives": solver.calcDiff,
        "backward pass": solver.backwardPass,
        "forward pass": lambda: solver.forwardPass(1.0),
    }


def iteration_rows(*, quick: bool) -> list[Row]:
    """Return rows for the parts, for their sum, and for one step as Python drives it."""
    run = prepare()
    ours = our_parts(run)
    note = "cart-pole, RK4, N = 100, bounded control; without the call from Python"
    try:
        theirs = their_parts()
    except Unavailable as reason:
        theirs, note = {}, f"{note}; Crocoddyl {reason}"
    calls = {f"our {part}": call for part, call in ours.items()}
    calls |= {f"their {part}": call for part, call in theirs.items()}
    seconds = take_turns(calls, rounds=50 if quick else 300)
    anchors = {"backward pass": ("Crocoddyl 0.033 ms", "<= 0.03 ms")}
    rows, total, their_total = [], 0.0, 0.0
    for part in ours:
        mine, other = seconds[f"our {part}"] / REPEAT, seconds.get(f"their {part}")
        total += mine
        their_total += other or 0.0
        others = {} if other is None else {"Crocoddyl": other}
        rows.append(Row(f"- {part}", *anchors.get(part, ("-", "-")), mine, others))
    others = {"Crocoddyl": their_total} if theirs else {}
    rows.insert(0, Row("one iLQR iteration", "Crocoddyl 0.45 ms", "<= 0.08 ms", total, others, note=note))
    step = take_turns({"step": run.step}, rounds=50)["step"]
    driven = "with its line search and the solver's own Python around it"
    return [*rows, Row("- the next iterations, as driven from Python", "-", "-", step, note=driven)]


def allocation_rows() -> list[Row]:
    """Return what kernels allocate in one more pass of each part, and the bytes that Python takes in one more step."""
    run = prepare()
    run.step()
    _nrt_python.memsys_enable_stats()
    shared = (run.functions, run.data, run.current, run.penalty, run.expansion, run.gains, run.rows)
    rollout = (run.functions, run.data, run.current, run.gains, run.candidate, run.penalty, run.rows)
    arrays = 0
    for count, sign in ((1, -1), (2, 1)):  # the difference leaves out the records that a call from Python makes
        before = rtsys.get_allocation_stats().alloc
        repeat_expansion(count, *shared)
        repeat_sweep(count, *shared, run.work, run.state)
        repeat_rollout(count, *rollout)
        arrays += sign * (rtsys.get_allocation_stats().alloc - before)
    tracemalloc.start()
    run.step()
    tracemalloc.reset_peak()
    level = tracemalloc.get_traced_memory()[0]
    run.step()
    peak = tracemalloc.get_traced_memory()[1] - level
    tracemalloc.stop()
    note = f"by the kernels; Python's own objects take {peak} bytes at most"
    return [Row("arrays allocated in an iteration", "Altro.jl: 0", "0", arrays, unit="arrays", note=note)]
