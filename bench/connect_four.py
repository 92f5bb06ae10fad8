"""``python -m bench.connect_four``: how often tree search keeps the value of a game, beside OpenSpiel's.

Positions are drawn by random play, those kept in which some moves keep the game's value (win, draw or loss) and others
give it away. A perfect solver says which (bitbully); `pip install bitbully bitbully-databases open_spiel` brings it and
the competitor. Both search by UCT with one random rollout a simulation and proven values, with OpenSpiel's constant 2.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.table import Table

import trajopt as to
from trajopt import problems
from trajopt.solvers import MCTS

PLIES = (8, 24)
"""Least and most moves before a position: earlier ones take the perfect solver long, later ones are easy."""

COLUMNS = 7
EXPLORATION = 2.0


@dataclass(frozen=True)
class Position:
    """Moves that led here, the state, and the moves that keep the value."""

    moves: tuple[int, ...]
    state: np.ndarray
    keeping: frozenset[int]


def draw_positions(count: int, seed: int = 0) -> list[Position]:
    """Positions in which it matters what is played."""
    import bitbully.bitbully_core as core  # noqa: PLC0415 - a guest of this benchmark

    solver, process, generator = core.BitBullyCore(), problems.load("connect-four"), np.random.default_rng(seed)
    found: list[Position] = []
    while len(found) < count:
        state, board, moves = np.array(process.initial_state), core.BoardCore(), []
        for _ in range(int(generator.integers(*PLIES))):
            legal = np.flatnonzero(process.legal_actions(state))
            move = int(generator.choice(legal))
            state, _, discount = process.apply(state, move)
            moves.append(move)
            board.play(move)
            if discount == 0.0:
                break
        else:
            legal = np.flatnonzero(process.legal_actions(state))
            signs = np.sign(np.array(solver.scoreMoves(board)))[legal]
            if signs.min() < signs.max():
                keeping = frozenset(int(move) for move in legal[signs == signs.max()])
                found.append(Position(tuple(moves), state, keeping))
    return found


def ours(simulations: int) -> Callable[[Position, int], int]:
    """Our search."""
    process = problems.load("connect-four")

    def choose(position: Position, seed: int) -> int:
        planner = MCTS(simulations=simulations, exploration=EXPLORATION, seed=seed, threads=1)
        return to.decide(process, planner, state=position.state).action

    return choose


def openspiel(simulations: int) -> Callable[[Position, int], int]:
    """OpenSpiel's C++ search."""
    import pyspiel  # noqa: PLC0415 - a guest of this benchmark

    game = pyspiel.load_game("connect_four")

    def choose(position: Position, seed: int) -> int:
        state = game.new_initial_state()
        for move in position.moves:
            state.apply_action(move)
        evaluator = pyspiel.RandomRolloutEvaluator(1, seed)
        bot = pyspiel.MCTSBot(game, evaluator, EXPLORATION, simulations, 1000, True, seed, False)
        return int(bot.step(state))

    return choose


def share_kept(choose: Callable[[Position, int], int], positions: list[Position]) -> tuple[float, float]:
    """Share of positions in which the move keeps the value, and its standard error."""
    kept = np.array([choose(position, seed) in position.keeping for seed, position in enumerate(positions)])
    return float(kept.mean()), float(kept.std() / np.sqrt(len(kept)))


def main() -> None:
    """Print the curve."""
    parser = argparse.ArgumentParser(description="Moves that keep the value of connect four, by simulations.")
    parser.add_argument("--positions", type=int, default=1000)
    options = parser.parse_args()
    positions = draw_positions(options.positions)
    chance = np.mean([len(position.keeping) / COLUMNS for position in positions])
    table = Table(title=f"{len(positions)} positions; a random column keeps the value in {chance:.1%}")
    for head in ("simulations", "trajopt", "OpenSpiel"):
        table.add_column(head, justify="right")
    for simulations in (100, 1_000, 10_000):
        cells = [share_kept(make(simulations), positions) for make in (ours, openspiel)]
        table.add_row(f"{simulations:,}", *(f"{share:.1%} ± {error:.1%}" for share, error in cells))
    Console().print(table)


if __name__ == "__main__":
    main()
