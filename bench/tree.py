"""Tree search: simulations a second of known rules, against what OpenSpiel and mctx were measured to do.

Run with ``python -m bench.tree``. One thread, and the processor's time of this process, so that others on the machine
disturb less; mctx had both cores. The first search of each process of decisions compiles its rules, which is timed too.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

import trajopt as to
from bench.measure import Row
from trajopt.solvers import MCTS
from trajopt.solvers.mcts import LeafRule

ACTIONS = 4
_ONE, _SEVEN = np.uint64(1), np.uint64(7)
_MULTIPLIER, _SHIFT = np.uint64(0xBF58476D1CE4E5B9), np.uint64(29)


def connect_four() -> to.DecisionProcess:
    """Two bit boards, of the player to move and of the other; bit ``7 column + row``."""
    top = np.array([1 << (7 * column + 5) for column in range(7)], np.uint64)
    full = np.uint64(sum(0b111111 << (7 * column) for column in range(7)))
    directions = np.array([1, 6, 7, 8], np.uint64)
    two = np.uint64(2)

    def step(state, action):
        mine, theirs = state[0], state[1]
        taken = mine | theirs
        column = np.uint64(action) * _SEVEN
        mine |= (taken + (_ONE << column)) & (np.uint64(0b111111) << column)
        state[0], state[1] = theirs, mine
        for direction in directions:
            pairs = mine & (mine >> direction)
            if pairs & (pairs >> (two * direction)):
                return state, 1.0, 0.0
        return state, 0.0, 0.0 if mine | theirs == full else -1.0

    def legal(state, out):
        taken = state[0] | state[1]
        for column in range(7):
            out[column] = taken & top[column] == np.uint64(0)

    return to.DecisionProcess(step, np.zeros(2, np.uint64), 7, legal=legal, returns=(-1.0, 1.0), name="connect four")


def synthetic_model() -> to.DecisionProcess:
    """Endless tree whose rewards are hashes of the path."""

    def step(state, action):
        state[0] = (state[0] ^ (np.uint64(action) + _ONE)) * _MULTIPLIER
        state[0] = state[0] ^ (state[0] >> _SHIFT)
        return state, np.float64(state[0] & np.uint64(1023)) / 1024.0, 0.99

    return to.DecisionProcess(step, np.ones(1, np.uint64), ACTIONS, name="synthetic model")


def hashed_heads(state, priors):
    """Value and priors that are hashes of the state, in place of a network."""
    word = state[0]
    for action in range(ACTIONS):
        word = (word ^ (word >> _SHIFT)) * _MULTIPLIER
        priors[action] = 0.1 + np.float64(word & np.uint64(1023)) / 1024.0
    return np.float64(word & np.uint64(2047)) / 1024.0 - 1.0


def simulations_a_second(call: Callable[[], list[to.Decision]], rounds: int) -> float:
    """Median over rounds of simulations by seconds of the processor; one uncounted call loads everything."""
    call()
    rates = []
    for _ in range(rounds):
        start = time.process_time()
        decisions = call()
        seconds = time.process_time() - start
        rates.append(sum(decision.simulations for decision in decisions) / seconds)
    return statistics.median(rates)


def compile_seconds(process: to.DecisionProcess, planner: MCTS) -> float:
    """Seconds from rules that no cache knows to their first decision, with the search's kernels loaded."""
    mark = time.time_ns()  # a constant of the rules that no other run has
    inner = process.step

    def step(state, action):
        if action == mark:
            return state, 0.0, 0.0
        return inner(state, action)

    import numba  # noqa: PLC0415 - the rule calls another

    inner = numba.njit(inner)
    start = time.process_time()
    to.decide(replace(process, step=step), replace(planner, simulations=1))
    return time.process_time() - start


def tree_rows(*, quick: bool) -> list[Row]:
    """All rows, in simulations a second."""
    rounds = 3 if quick else 9
    rows, game, model = [], connect_four(), synthetic_model()
    uct = MCTS(threads=1)
    for count in (1_000, 10_000, 100_000):
        planner = replace(uct, simulations=count)
        rate = simulations_a_second(lambda planner=planner: [to.decide(game, planner)], rounds)
        rows.append(Row(f"connect four, UCT, one rollout, {count:,} simulations", "OpenSpiel 163,000", ">= 1,000,000",
                        rate, unit="1/s"))  # fmt: skip
    puct = MCTS(selection="puct", normalisation="siblings", evaluation=LeafRule(hashed_heads), threads=1)
    for trees, count, anchor in ((1, 256, "19,500"), (64, 256, "51,000"), (1_024, 64, "191,000")):
        states = np.arange(1, trees + 1, dtype=np.uint64)[:, None]
        planner = replace(puct, simulations=count)
        rate = simulations_a_second(lambda p=planner, s=states: to.decide_batch(model, p, s), rounds)
        rows.append(Row(f"synthetic model, PUCT, {trees:,} x {count} simulations", f"mctx {anchor}", ">= 1,000,000",
                        rate, unit="1/s"))  # fmt: skip
    for process, planner in ((game, uct), (model, puct)):
        rows.append(Row(f"rules of {process.name} never seen before, to the first decision", "mctx 2-3 s", "no wait",
                        compile_seconds(process, planner)))  # fmt: skip
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a line for each row."""
    parser = argparse.ArgumentParser(prog="python -m bench.tree", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    for row in tree_rows(quick=parser.parse_args(arguments).quick):
        measured = f"{row.ours:,.0f}/s" if row.unit == "1/s" else f"{row.ours:.2f} s"
        sys.stdout.write(f"{row.what:70s} {measured:>14s}   {row.anchor} (to reach: {row.target})\n")


if __name__ == "__main__":
    main()
