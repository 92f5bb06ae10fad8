"""The decision problems of the library: their rules, and the values that are known of them."""

from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trajopt as to
from trajopt import problems
from trajopt.errors import InvalidProblem, UnknownName
from trajopt.problems import connect_four, piglet, synthetic_tree
from trajopt.problems.decision_reference import KINDS
from trajopt.solvers import AlphaBeta, Expectimax, PolicyIteration, ValueIteration

NAMES = problems.decision_names()
SOLVABLE = [
    "d-chain",
    "frozen-lake",
    "grid-world",
    "maze-blocking",
    "maze-dyna",
    "nim",
    "nim-fifteen",
    "piglet",
    "synthetic-tree",
    "tic-tac-toe",
]


@cache
def load(name):
    """One process a name, so that its rules are compiled once."""
    return problems.load(name)


def play(process, moves):
    """State after some moves."""
    state = process.initial_state
    for move in moves:
        state, *_ = process.apply(state, move)
    return state


def test_library_keeps_both_kinds_apart():
    """Decision problems have names of their own, and what is known of one kind is not asked of the other."""
    assert len(NAMES) >= 15
    assert not set(NAMES) & set(problems.names())
    for name in NAMES:
        known = problems.decision_reference(name)
        assert known.source
        assert set(known.tags) <= set(KINDS)
        assert problems.extra(name) is None
    with pytest.raises(UnknownName, match=r"decision_reference\('nim'\)"):
        problems.reference("nim")
    with pytest.raises(UnknownName, match=r"reference\('pendulum'\)"):
        problems.decision_reference("pendulum")
    with pytest.raises(UnknownName, match="'tic-tac-toe'"):
        problems.load("tic-tac-to")


@pytest.mark.parametrize("name", NAMES)
def test_compiled_rules_agree_with_python(name):
    """Along random play every rule gives the same, compiled by Numba and as it stands; and states can be drawn."""
    process, rng = load(name), np.random.default_rng(0)
    plain = replace(process, compiled=False)
    assert process.name == name
    state, seen = process.initial_state, 0
    for _ in range(60):
        assert process.render(state).strip()
        probabilities = process.outcome_probabilities(state)
        np.testing.assert_array_equal(probabilities, plain.outcome_probabilities(state))
        nature = bool(np.any(probabilities))
        legal = process.legal_actions(state)
        np.testing.assert_array_equal(legal, plain.legal_actions(state))
        action = int(rng.choice(len(probabilities), p=probabilities) if nature else rng.choice(np.flatnonzero(legal)))
        uniform = rng.random() if process.random_step else None
        following, reward, discount = process.apply(state, action, uniform)
        again = plain.apply(state, action, uniform)
        np.testing.assert_array_equal(following, again[0])
        assert (reward, discount) == again[1:]
        settled = not np.any(process.outcome_probabilities(following))
        if process.observe is not None and not nature and discount != 0.0 and settled:
            arguments = following, action, rng.random()
            observed = process.rules.call("observe", *arguments)
            assert observed == plain.rules.call("observe", *arguments)
            assert 0 <= observed < process.observations
            seen += 1
        state = following if discount != 0.0 else process.initial_state
    assert process.observe is None or seen > 0


@pytest.mark.parametrize("name", SOLVABLE)
def test_values_are_those_of_the_source(name):
    """Policy iteration finds the values that sources give, within their last digit, and best actions among theirs."""
    process = load(name)
    table = to.decide(process, PolicyIteration()).tree
    assert table.error <= 1e-9
    known = problems.decision_reference(name).values
    for entry in known:
        state = play(process, entry.moves) if entry.state is None else np.array(entry.state, process.dtype)
        assert abs(table.value(state) - entry.value) <= entry.error + table.error
        assert not entry.best or table.action(state) in entry.best


def test_tic_tac_toe_has_the_known_games_and_positions():
    """Enumeration finds 255,168 games with their results, and 5,478 positions."""
    process, positions = load("tic-tac-toe"), set()

    @cache
    def results(key, crosses_move):
        """How many games from here crosses win, noughts win, are drawn."""
        state = np.frombuffer(key, np.int64)
        total = np.zeros(3, int)
        for action in np.flatnonzero(process.legal_actions(state)):
            following, reward, discount = process.apply(state, int(action))
            positions.add(following.tobytes())
            if discount != 0.0:
                total += results(following.tobytes(), not crosses_move)
            else:
                total[2 if reward == 0.0 else 0 if crosses_move else 1] += 1
        return total

    start = process.initial_state.tobytes()
    positions.add(start)
    assert results(start, True).tolist() == [131_184, 77_904, 46_080]
    assert len(positions) == 5_478


PONS = {
    "4455": 18,
    "44455554221": -15,
    "2252576253462244111563365343671351441": -1,
    "7422341735647741166133573473242566": 1,
    "23163416124767223154467471272416755633": 0,
}
"""Positions by the columns played, and their scores: of Pons's text, and the first lines of his test set L3-R1."""


def test_connect_four_has_pons_scores():
    """Alpha-beta proves the scores of Pons's perfect solver."""
    process, planner = problems.load("connect-four", score=True), AlphaBeta(bounds=connect_four.score_bounds())
    for moves, score in PONS.items():
        decision = to.decide(process, planner, state=play(process, [int(move) - 1 for move in moves]))
        assert (decision.value, decision.proven) == (score, "exact")


@given(st.integers(2, 4), st.integers(2, 5), st.integers(2, 4), st.data())
@settings(max_examples=15, deadline=None)
def test_connect_four_rules_are_those_of_a_grid(rows, columns, length, data):
    """Bit boards of any size say who wins as a search for runs in a grid does."""
    length = min(length, max(rows, columns))
    process = replace(problems.load("connect-four", rows=rows, columns=columns, length=length), compiled=False)
    grid, state, player = np.zeros((rows, columns), int), process.initial_state, 1
    for _ in range(rows * columns):
        legal = process.legal_actions(state)
        np.testing.assert_array_equal(legal, grid[-1] == 0)
        column = data.draw(st.sampled_from(np.flatnonzero(legal).tolist()))
        row = int(np.count_nonzero(grid[:, column]))
        grid[row, column] = player
        state, reward, discount = process.apply(state, column)
        won = any(
            all(
                0 <= r + i * down < rows
                and 0 <= c + i * right < columns
                and grid[r + i * down, c + i * right] == player
                for i in range(length)
            )
            for r in range(rows)
            for c in range(columns)
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1))
        )
        assert reward == float(won)
        assert (discount == 0.0) == (won or bool((grid != 0).all()))
        if discount == 0.0:
            return
        player = 3 - player


def test_connect_three_is_won_by_who_begins():
    """Alpha-beta finds the value that the enumeration of all positions gives."""
    decision = to.decide(load("connect-three"), AlphaBeta())
    assert (decision.value, decision.proven) == (1.0, "exact")


@pytest.mark.parametrize("goal", [2, 3])
def test_piglet_has_the_published_probabilities(goal):
    """Winning probabilities of all listed states, and at goal 2 those of the optimality equations in fractions."""
    process = problems.load("piglet", goal=goal)
    table = to.decide(process, ValueIteration(tolerance=1e-12)).tree
    for state, probability in piglet.PROBABILITIES[goal].items():
        assert abs(table.value((*state, 0)) - (2 * probability - 1)) <= table.error
    if goal == 2:
        first, second = Fraction(4, 7), Fraction(5, 7)  # of (0, 0, 0) and (0, 0, 1)
        assert first == Fraction(1, 2) * (1 - first) + Fraction(1, 2) * second


def test_pig_agrees_with_its_optimality_equations():
    """A short race of Pig: the table agrees with a plain iteration of the equations of Neller and Presser."""
    goal = 12
    table = to.decide(problems.load("pig", goal=goal), ValueIteration(tolerance=1e-10)).tree
    win = np.full((goal, goal, goal), 0.5)
    for _ in range(400):
        before = win.copy()
        for own, other in np.ndindex(goal, goal):
            for turn in range(goal - own):
                lose = 1.0 - win[other, own, 0]
                ahead = [1.0 if own + turn + k >= goal else win[own, other, turn + k] for k in range(2, 7)]
                hold = 1.0 - win[other, own + turn, 0] if turn else 0.0
                win[own, other, turn] = max((lose + sum(ahead)) / 6.0, hold)
        if np.abs(win - before).max() < 1e-13:
            break
    for row, (own, other, turn, rolling) in enumerate(table.states):
        if not rolling:
            assert abs(table.values[row] - (2 * win[own, other, turn] - 1)) <= 1e-9


@pytest.mark.parametrize(("after", "steps"), [(False, 10), (True, 16)])
def test_blocking_maze_has_its_ways(after, steps):
    """The shortest way is that of the book before and after the change; its value is the discount's power."""
    decision = to.decide(problems.load("maze-blocking", after=after), "value_iteration")
    assert len(decision.principal_variation) == steps
    assert decision.value == pytest.approx(0.95 ** (steps - 1), abs=1e-9)


def test_dyna_maze_takes_fourteen_steps():
    """The shortest way through the Dyna maze."""
    assert len(to.decide(load("maze-dyna"), "prioritised_sweeping").principal_variation) == 14


def test_frozen_lake_without_discount_is_crossed_fourteen_times_in_seventeen():
    """The known success without a discount: a fixed point, for which no bound holds, since one may dawdle."""
    decision = to.decide(problems.load("frozen-lake", discount=1.0), ValueIteration())
    assert decision.value == pytest.approx(14 / 17, abs=1e-6)
    assert decision.status is to.Status.STALLED
    assert decision.proven is None
    dry = to.decide(problems.load("frozen-lake", slippery=False), "policy_iteration")
    assert dry.value == pytest.approx(0.99**5, abs=1e-9)


@pytest.mark.parametrize("players", [1, 2])
@pytest.mark.parametrize("seed", [0, 1])
def test_synthetic_trees_have_their_values(players, seed):
    """Alpha-beta finds what the dynamic program over the whole tree finds."""
    sizes = {"branching": 3, "depth": 5, "players": players, "seed": seed}
    decision = to.decide(problems.load("synthetic-tree", **sizes), AlphaBeta())
    assert decision.value == pytest.approx(synthetic_tree.values(**sizes)[0][0], abs=1e-12)


def test_noise_of_synthetic_trees_has_its_spread():
    """Leaf rewards have the mean of the tree without noise, and the standard deviation asked for."""
    quiet = problems.load("synthetic-tree", branching=2, depth=1)
    loud = problems.load("synthetic-tree", branching=2, depth=1, noise=0.05)
    middles = (np.arange(1000) + 0.5) / 1000
    rewards = np.array([loud.apply(loud.initial_state, 1, uniform)[1] for uniform in middles])
    assert rewards.mean() == pytest.approx(quiet.apply(quiet.initial_state, 1)[1], abs=1e-12)
    assert rewards.std() == pytest.approx(0.05, rel=1e-5)  # of 1000 midpoints: 1 - 1e-6 of it


@pytest.mark.parametrize("depth", [1, 5, 12])
def test_d_chain_is_worth_one(depth):
    """Going on to the end is worth 1 at any depth."""
    decision = to.decide(problems.load("d-chain", depth=depth), Expectimax(depth=None))
    assert (decision.value, decision.action, decision.proven) == (1.0, 1, "exact")


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_2048_merges_like_the_original(rows):
    """A slide to the left merges each tile at most once, from the border on, and pays the merged tiles."""
    line = (rows + [0] * 4)[:4]
    tiles = [tile for tile in line if tile]
    merged, gained = [], 0
    while tiles:
        tile = tiles.pop(0)
        if tiles and tiles[0] == tile:
            tiles.pop(0)
            tile += 1
            gained += 2**tile
        merged.append(tile)
    merged += [0] * (4 - len(merged))
    board = np.zeros(16, np.int64)
    board[:4] = line
    process = replace(load("game-2048"), compiled=False)
    assert process.legal_actions(board)[2] == (merged != line)
    if merged != line:
        following, reward, _ = process.apply(board, 2, 0.999)
        assert (following[:4].tolist(), reward) == (merged, gained)
        assert np.count_nonzero(following) == np.count_nonzero(merged) + 1


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("connect-four", {"rows": 9, "columns": 9}),
        ("connect-four", {"length": 1}),
        ("nim", {"heaps": ()}),
        ("pig", {"goal": 0}),
        ("grid-world", {"start": (0, 1)}),
        ("maze-dyna", {"drawing": ("S.", "G")}),
        ("frozen-lake", {"drawing": ("SX",)}),
        ("game-2048", {"seed": -1}),
        ("d-chain", {"depth": 0}),
        ("synthetic-tree", {"players": 3}),
        ("tiger", {"accuracy": 1.5}),
        ("rock-sample", {"rocks": ((0, 0), (0, 0))}),
    ],
)
def test_constants_without_meaning_are_refused(name, wrong):
    """Each factory refuses what makes no game, in a sentence."""
    with pytest.raises(InvalidProblem, match=r"was given|were given"):
        problems.load(name, **wrong)
