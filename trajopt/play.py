"""``trajopt play``: a person against a planner in the terminal, with what the planner thinks of it.

A `Match` holds the position and keeps the score; `play` is the conversation around it. Everything that is said goes to
one console, and everything that is asked comes through one function, so that a program can play too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trajopt.decide import decide
from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.planner import Planner

PLAYERS = ("the first player", "the second player")
WHO = ("first", "second", "both", "nobody")
_BAR = 20
"""Columns of a full bar."""
_SHOWN = 12
"""Actions in a table, the best; more would not fit a screen."""
_HELP = "a move, or: ? what the planner would do · u take back · q leave"


@dataclass(frozen=True)
class Move:
    """Where a match was before a move, so that it can be taken back."""

    state: np.ndarray
    side: int
    scores: tuple[float, float]
    weight: float
    human: bool


@dataclass
class Match:
    """A position, whose turn it is, and what both players have won so far.

    Attributes
    ----------
    process
        The rules.
    generator
        Nature's random numbers.
    state
        The position.
    side
        0 or 1: who is to move; a negative discount hands over.
    scores
        Returns of both players so far. What one wins the other loses, in a game where the move changes hands.
    weight
        Product of the discounts' sizes so far.
    over
        Whether the last step ended it.
    """

    process: DecisionProcess
    generator: np.random.Generator
    state: np.ndarray = field(init=False)
    side: int = 0
    scores: tuple[float, float] = (0.0, 0.0)
    weight: float = 1.0
    over: bool = False
    shared: bool = False
    history: list[Move] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.state = np.array(self.process.initial_state)

    @property
    def natures_turn(self) -> bool:
        """Whether chance moves here."""
        return bool(self.process.outcome_probabilities(self.state).any())

    @property
    def legal(self) -> np.ndarray:
        """Actions that may be taken here."""
        return np.flatnonzero(self.process.legal_actions(self.state))

    def draw(self) -> int:
        """Let nature move; returns the outcome."""
        probabilities = self.process.outcome_probabilities(self.state)
        outcome = int(self.generator.choice(len(probabilities), p=probabilities / probabilities.sum()))
        self._step(outcome, None)
        return outcome

    def take(self, action: int, *, human: bool) -> None:
        """Let the player to move do this."""
        self.history.append(Move(self.state.copy(), self.side, self.scores, self.weight, human))
        self._step(action, float(self.generator.random()) if self.process.random_step else None)

    def _step(self, action: int, uniform: float | None) -> None:
        self.state, reward, discount = self.process.apply(self.state, action, uniform)
        gain = self.weight * reward if self.side == 0 else -self.weight * reward
        self.scores = (self.scores[0] + gain, self.scores[1] - gain)
        self.over = discount == 0.0
        if discount < 0.0:
            self.side, self.shared = 1 - self.side, True
        self.weight *= abs(discount)

    def take_back(self) -> bool:
        """Return to before the last move of a person; False where there was none."""
        while self.history:
            last = self.history.pop()
            if last.human:
                self.state, self.side, self.scores, self.weight = last.state, last.side, last.scores, last.weight
                self.over = False
                return True
        return False


def play(
    process: DecisionProcess,
    planner: str | Planner = "mcts",
    *,
    you: str = "first",
    max_time: float | None = 1.0,
    seed: int = 0,
    ask: Callable[[str], str] | None = None,
    console: Console | None = None,
) -> Match:
    """Play in the terminal until the game ends or the person leaves.

    Parameters
    ----------
    process
        The rules; their ``render`` draws positions, their ``action_names`` are what is typed.
    planner
        Who plays the other side, and gives advice.
    you
        "first" or "second" player, "both" to be advised only, "nobody" to watch.
    max_time
        Seconds for a move of the planner; None for as many as its settings take.
    seed
        Of nature's moves.
    ask
        Shows its argument and returns what is typed, where ``EOFError`` leaves; default: ``input``.
    console
        Where everything is shown; default: the standard output.

    Returns
    -------
    Match
        As it was left: ``match.over`` and ``match.scores`` tell how it ended.

    Raises
    ------
    InvalidProblem
        When ``you`` is none of these, or a position has neither legal actions nor chance.
    """
    if you not in WHO:
        raise InvalidProblem(f"you={you!r} was given, but one of {', '.join(WHO)} was expected; pick one.")
    match = Match(process, np.random.default_rng(seed))
    table = _Conversation(match, planner, max_time, ask or input, console or Console(highlight=False))
    sides = {"first": (0,), "second": (1,), "both": (0, 1), "nobody": ()}[you]
    while not match.over:
        if not match.natures_turn and not len(match.legal):
            raise InvalidProblem(
                f"{process.label} has neither a legal action nor chance where the match arrived, but a step of "
                "discount 0 was expected to end it; correct its rules."
            )
        if match.natures_turn:
            table.say(f"chance: {match.draw()}")
        elif match.side in sides:
            if not table.ask_person():
                return match
        else:
            table.let_planner_move()
    table.show_position()
    table.say(verdict(match, sides))
    return match


def verdict(match: Match, sides: tuple[int, ...]) -> str:
    """How a match ended, in a sentence."""
    if not match.shared:
        return f"The end, with a return of {match.scores[0]:g}."
    if match.scores[0] == match.scores[1]:
        return "A draw."
    winner = int(match.scores[1] > match.scores[0])
    if len(sides) == 1:
        return "You win." if winner in sides else "The planner wins."
    return f"{PLAYERS[winner].capitalize()} wins."


@dataclass
class _Conversation:
    """What is shown and asked during a match."""

    match: Match
    planner: str | Planner
    max_time: float | None
    ask: Callable[[str], str]
    console: Console

    def say(self, text: str) -> None:
        self.console.print(Text(text))

    def show_position(self) -> None:
        render = self.match.process.render
        self.console.print()
        self.console.print(Text(render(self.match.state) if render is not None else str(self.match.state)))

    def ask_person(self) -> bool:
        """Show the position and take a move; False where the person leaves."""
        self.show_position()
        whose = f"{PLAYERS[self.match.side]}'s move" if self.match.shared else "your move"
        while True:
            try:
                typed = self.ask(f"{whose} ({self._choices()}; ? for help): ").strip()
            except EOFError:
                return False
            if typed == "q":
                return False
            if typed == "?":
                self.say(_HELP)
                self.show_thoughts(self.think())
            elif typed == "u":
                if not self.match.take_back():
                    self.say("There is no move of yours to take back.")
                self.show_position()
            else:
                action = self.read(typed)
                if action is not None:
                    self.match.take(action, human=True)
                    return True

    def read(self, typed: str) -> int | None:
        """The action that was typed, by its name or number; None, with a sentence, where it is none."""
        legal = {self.name(action): int(action) for action in self.match.legal}
        if typed in legal:
            return legal[typed]
        possible = typed in {self.name(action) for action in range(self.match.process.actions)}
        reason = "it is not legal here" if possible else "type one of them"
        self.say(f"{typed!r} was typed, but one of {self._choices()} was expected; {reason}.")
        return None

    def think(self) -> Decision:
        return decide(self.match.process, self.planner, state=self.match.state, max_time=self.max_time)

    def let_planner_move(self) -> None:
        """Search, show what was found, and move."""
        self.show_position()
        decision = self.think()
        self.show_thoughts(decision)
        self.say(f"The planner plays {self.name(decision.action)}.")
        self.match.take(decision.action, human=False)

    def show_thoughts(self, decision: Decision) -> None:
        """The evaluation: value, certainty, effort and each action with its share of the visits."""
        known = f", proven {decision.proven}" if decision.proven else ""
        line = " ".join(self.name(action) for action in decision.principal_variation[:8])
        self.say(
            f"value {decision.value:+.3f}{known} for who is to move · {decision.simulations:,} simulations in "
            f"{decision.seconds:.2f} s{f' · expects {line}' if line and not self.match.process.chance else ''}"
        )
        self.console.print(thoughts_table(decision, self.name))

    def name(self, action: int) -> str:
        names = self.match.process.action_names
        return str(action) if names is None or action >= len(names) else names[action]

    def _choices(self) -> str:
        names = [self.name(action) for action in self.match.legal]
        return ", ".join(names if len(names) <= _SHOWN else [*names[:_SHOWN], "..."])


def thoughts_table(decision: Decision, name: Callable[[int], str]) -> Table:
    """One row for each action, the most visited first: its value, its share and a bar of it."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title, justify in (("move", "left"), ("value", "right"), ("share", "right"), ("", "left")):
        table.add_column(title, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    shares = np.nan_to_num(decision.probabilities)
    tried = np.flatnonzero((shares > 0.0) | np.isfinite(decision.action_values))
    order = sorted(tried, key=lambda action: (-shares[action], -np.nan_to_num(decision.action_values[action])))
    for action in order[:_SHOWN]:
        value = decision.action_values[action]
        table.add_row(
            Text(name(int(action)), "bold" if action == decision.action else ""),
            Text("" if np.isnan(value) else f"{value:+.3f}"),
            Text(f"{shares[action]:.0%}"),
            Text("━" * round(_BAR * float(shares[action])), "cyan"),
        )
    return table
