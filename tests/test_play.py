"""A match in the terminal: turns, chance, take-backs and the score are right, and nothing typed can break it."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

import trajopt as to
from trajopt import problems
from trajopt.cli import main
from trajopt.play import Match, play


def talk(process, typed: Iterable[str], planner="alpha_beta", **options) -> tuple[Match, str]:
    """Play with these answers, and leave when they are used up."""
    answers, page = iter(typed), io.StringIO()

    def ask(prompt: str) -> str:
        page.write(prompt)
        for answer in answers:
            return answer
        raise EOFError

    console = Console(file=page, width=100, highlight=False)
    return play(process, planner, ask=ask, console=console, **options), page.getvalue()


def nim() -> to.DecisionProcess:
    """Five sticks, one or two a move, who takes the last wins."""

    def step(state, action):
        state[0] -= action + 1
        return state, 1.0 if state[0] == 0 else 0.0, 0.0 if state[0] == 0 else -1.0

    def legal(state):
        return np.array([state[0] >= 1, state[0] >= 2])

    return to.DecisionProcess(
        step, np.array([5]), 2, legal=legal, action_names=("one", "two"), name="nim", compiled=False,
        render=lambda state: "|" * int(state[0]),
    )  # fmt: skip


def test_a_person_wins_a_won_game_and_is_told():
    """Two of five leave three, a lost position for the planner, whatever it takes."""
    match, page = talk(nim(), ["two", "?", "two", "one"], you="first", max_time=None)
    assert match.over
    assert match.scores == (1.0, -1.0)
    assert page.rstrip().endswith("You win.")
    assert "The planner plays" in page


def test_the_planner_wins_what_a_person_gives_away():
    """One of five leaves four; perfect play takes one, then what is left."""
    match, page = talk(nim(), ["one", "one", "one", "one", "one"], max_time=None)
    assert match.over
    assert match.scores == (-1.0, 1.0)
    assert page.rstrip().endswith("The planner wins.")


def test_a_move_is_taken_back_with_the_answer_to_it():
    """The position and the score of before; nothing to take back is a sentence."""
    match, page = talk(nim(), ["u", "one", "u", "q"], max_time=None)
    assert match.state[0] == 5
    assert match.side == 0
    assert not match.history
    assert "There is no move of yours to take back." in page


def test_what_is_no_move_is_told_and_asked_again():
    """A sentence for words that mean nothing, another for moves that are not legal now."""
    _, page = talk(nim(), ["three", "two", "two", "two"], you="both", planner="alpha_beta")
    assert "'three' was typed, but one of one, two was expected; type one of them." in page
    assert "'two' was typed, but one of one was expected; it is not legal here." in page


def test_who_may_play_is_checked():
    """One sentence."""
    with pytest.raises(to.InvalidProblem, match="first, second, both, nobody"):
        talk(nim(), [], you="me")


def test_chance_moves_by_the_seed_alone():
    """Two planners throw dice: the same match for the same seed, and the goal decides."""
    piglet = problems.load("piglet")
    first, page = talk(piglet, [], planner="value_iteration", you="nobody", seed=3)
    again, same = talk(piglet, [], planner="value_iteration", you="nobody", seed=3)
    assert first.over
    assert "chance: " in page
    assert abs(first.scores[0]) == 1.0
    assert [move.state.tobytes() for move in first.history] == [move.state.tobytes() for move in again.history]
    assert page.splitlines()[-1] == same.splitlines()[-1]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    typed=st.lists(st.sampled_from(["0", "1", "2", "a1", "b2", "c3", "?", "u", "", "'; drop", "9" * 30]), max_size=12)
)
def test_nothing_typed_breaks_a_match(typed: list[str]):
    """The state is always one that legal moves lead to, and the scores of a game add up to nothing."""
    match, _ = talk(problems.load("tic-tac-toe"), typed)
    assert match.scores[0] + match.scores[1] == 0.0
    assert match.over or len(match.legal) > 0


def test_the_command_plays_and_leaves(monkeypatch, capsys):
    """From the shell: code 1 for a match that was left, 2 with a sentence for what is no game."""

    def leave(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", leave)
    assert main(["play", "connect-four", "--set", "simulations=10"]) == 1
    assert ". . . . . . ." in capsys.readouterr().out
    assert main(["play", "cartpole-swingup"]) == 2
    assert "a decision problem was expected" in capsys.readouterr().err
    assert main(["play", "nim", "--set", "colour=3"]) == 2
