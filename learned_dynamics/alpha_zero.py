"""AlphaZero: a network learns from games that a search plays with it against itself.

    play    a round of games at once: in every position a search of few simulations, whose leaves the network values in
            one call for all games, improves the network's policy p to pi' and draws an action;
    keep    position, pi', and what became of the game, z_t = reward_t + discount_t z_{t+1}, as the player sees it who
            is to move (a discount of -1 hands over to the opponent, 0 ends);
    learn   (p, v) = network(position) by steps of Adam on positions drawn from the last rounds, with the loss

                - pi' . log p + (v - z)^2.

What differs from the paper: Gumbel search in place of PUCT with Dirichlet noise and temperature (Danihelka et al.
2022), so that pi' improves on p however few the simulations are; random openings; a perceptron in place of a residual
network. Everything random follows from the seed and the number of the round, so that a learning that was killed goes on
to the same bits.

Reference: Silver et al., A general reinforcement learning algorithm that masters chess, shogi, and Go through
self-play, Science 362 (2018).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, TrajoptError
from trajopt.files import write_atomically
from trajopt.learned_dynamics.network import check_shape
from trajopt.learned_dynamics.policy_value import PolicyValueNetwork
from trajopt.learned_dynamics.self_play import Positions, Round, damaged, read_agent, table, write_agent
from trajopt.monitor import Monitor
from trajopt.solvers.mcts import MCTS, Gumbel
from trajopt.validation import check, check_positive, check_whole, is_number

Features = Callable[[np.ndarray], np.ndarray]

CHECKPOINT, TABLE = "checkpoint.npz", "rounds.csv"
_PLAY, _LEARN, _START = range(3)
"""What the random numbers of a round are for: each has a stream of its own."""


@final
@dataclass(frozen=True)
class SelfPlay:
    """How AlphaZero plays and learns.

    Attributes
    ----------
    hidden, activation
        Of the network, as for `NeuralNetwork`.
    value_scale
        Greatest magnitude of a return.
    simulations
        Of the search in a position.
    games
        Of a round, played at once.
    openings
        A game begins with up to so many random actions, so that positions are seen that nobody would choose.
    longest
        Decisions after which a game is cut off; what would follow is worth what the network says.
    window
        How many positions are learned from, the last ones.
    batch, passes
        Positions of a step of Adam, and how often a position is drawn on average in the round that brought it.
    learning_rate, weight_decay
        Of Adam.
    seed
        Of all that is random.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    hidden: tuple[int, ...] = (128, 128)
    activation: str = "relu"
    value_scale: float = 1.0
    simulations: int = 32
    games: int = 64
    openings: int = 6
    longest: int = 1_000
    window: int = 20_000
    batch: int = 128
    passes: float = 16.0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    seed: int = 0

    def __post_init__(self) -> None:
        check_shape(self.hidden, self.activation)
        for name in ("simulations", "games", "longest", "window", "batch"):
            check_whole(getattr(self, name), name, 1)
        for name in ("openings", "seed"):
            check_whole(getattr(self, name), name, 0)
        for name in ("value_scale", "passes", "learning_rate"):
            check_positive(getattr(self, name), name)
        decay = self.weight_decay
        check(decay, "weight_decay", "a number of at least 0", is_number(decay) and decay >= 0)
        object.__setattr__(self, "hidden", tuple(self.hidden))


@final
class AlphaZero:
    """An agent that learns a decision process by playing it.

        agent = AlphaZero(process, SelfPlay(seed=1)).learn(2000)
        probabilities, value = agent.predict(state)
        decision = trajopt.decide(process, agent.planner(), state=state)

    Parameters
    ----------
    process
        A game of two players, or a decision process of one; rewards and discounts say who gains what.
    settings
        How it plays and learns.
    features
        Function of states (B, ...) to (B, F) numbers for the network; None: the bits of whole numbers, and other
        numbers as they are.

    Attributes
    ----------
    rounds
        What happened so far, a tuple of `Round`.
    """

    def __init__(
        self, process: DecisionProcess, settings: SelfPlay | None = None, *, features: Features | None = None
    ) -> None:
        self.process, self.settings = process, SelfPlay() if settings is None else settings
        self.rounds: tuple[Round, ...] = ()
        self._features = bits if features is None else features
        count = self._inputs(np.asarray(process.initial_state)[None]).shape[1]
        self._sizes = (count, *self.settings.hidden, process.actions + 1)
        self._network = self._network_of(PolicyValueNetwork.initial_arrays(self._sizes, self._random(0, _START)))
        self._positions = Positions.of(process, [])

    @property
    def games(self) -> int:
        """Games played so far."""
        return self.rounds[-1].games if self.rounds else 0

    def learn(
        self,
        games: int,
        *,
        folder: str | Path | None = None,
        callback: Callable[[Round], object] | None = None,
    ) -> Self:
        """Learn until ``games`` games have been played in all; the round in which that happens is finished.

        Parameters
        ----------
        games
            Those of earlier calls included.
        folder
            Where to write ``rounds.csv`` and, after every round, a checkpoint. A folder that has one is gone on with:
            the same call after a kill ends with the same bits as if nothing had happened.
        callback
            Called with each `Round`; a true value ends the learning.

        Raises
        ------
        InvalidProblem
            When ``games`` is not positive, or a rule fails.
        TrajoptError
            When the folder holds the checkpoint of another agent, or a damaged one.
        """
        check_whole(games, "games", 1)
        path = None if folder is None else Path(folder)
        if path is not None:
            path.mkdir(parents=True, exist_ok=True)
            if (path / CHECKPOINT).exists():
                self._resume(path / CHECKPOINT)
        while self.games < games:
            self.rounds = (*self.rounds, self._run_round(len(self.rounds)))
            if path is not None:
                text = table(self.rounds)
                write_atomically(path / TABLE, lambda file, text=text: file.write(text.encode()))
                self.save(path / CHECKPOINT)
            if callback is not None and callback(self.rounds[-1]):
                break
        return self

    def predict(self, state: ArrayLike) -> tuple[NDArray[np.float64], float]:
        """Return the network's probabilities of the actions, (actions,), and its value of a state, without search."""
        array = self.process.check_state(state)
        values, priors = self.evaluate(array[None])
        weights = priors[0] * self.process.legal_actions(array)
        return weights / weights.sum(), float(values[0])

    def evaluate(self, states: np.ndarray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return values (B,) and priors (B, actions) of states (B, ...), as searches want them."""
        logits, values = self._network.predict(self._inputs(states))
        weights = np.exp(logits - logits.max(axis=1, keepdims=True))
        return values, weights / weights.sum(axis=1, keepdims=True)

    def planner(self, simulations: int | None = None, **settings: Any) -> MCTS:
        """Return the search over the network, as for a match: without random variates, unless they are given.

        Parameters
        ----------
        simulations
            None: as in self-play.
        **settings
            Further ones of `MCTS`.
        """
        count = self.settings.simulations if simulations is None else simulations
        chosen: dict[str, Any] = {"selection": "gumbel", "gumbel": Gumbel(scale=0.0)}
        return MCTS(simulations=count, evaluation=self.evaluate, **(chosen | settings))

    def save(self, path: str | Path) -> Path:
        """Write settings, network, rounds and positions to an ``.npz`` file of numbers and JSON; returns its path."""
        head = {"settings": asdict(self.settings), "rounds": [asdict(entry) for entry in self.rounds]}
        groups = {"network": self._network.arrays(), "positions": self._positions.arrays()}
        write_agent(Path(path), head, groups)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, process: DecisionProcess, *, features: Features | None = None) -> Self:
        """Read what `save` wrote; nothing in the file is executed, so process and features are given again.

        Raises
        ------
        TrajoptError
            When the file is not a saved agent, was damaged, or belongs to another process.
        """
        head, groups = read_agent(Path(path))
        try:
            settings = SelfPlay(**head["settings"])
        except (KeyError, TypeError, InvalidProblem) as error:
            raise damaged(Path(path), error) from error
        agent = cls(process, settings, features=features)
        agent._take(head, groups, Path(path))
        return agent

    def _resume(self, path: Path) -> None:
        """Go on from a checkpoint of an agent with the same settings, unless this one is as far itself."""
        head, groups = read_agent(path)
        if head.get("settings") != json.loads(json.dumps(asdict(self.settings))):
            raise TrajoptError(
                f"{path} was found, but it is the checkpoint of an agent with other settings; give another folder, or "
                "the settings that it has."
            )
        if len(head["rounds"]) > len(self.rounds):
            self._take(head, groups, path)

    def _take(self, head: dict[str, Any], groups: dict[str, Any], path: Path) -> None:
        """Become what a file holds."""
        try:
            rounds = tuple(Round(**entry) for entry in head["rounds"])
            positions = Positions.read(self.process, groups["positions"])
            if not PolicyValueNetwork.fits(self._sizes, groups["network"]):
                raise ValueError(f"its network has other layers than {self._sizes}")
        except (KeyError, TypeError, ValueError) as error:
            raise damaged(path, error) from error
        self.rounds, self._positions, self._network = rounds, positions, self._network_of(groups["network"])

    def _random(self, number: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.settings.seed, number, purpose])

    def _network_of(self, arrays: dict[str, Any]) -> PolicyValueNetwork:
        chosen = self.settings
        return PolicyValueNetwork(
            arrays, chosen.activation, chosen.value_scale, chosen.learning_rate, chosen.weight_decay
        )

    def _inputs(self, states: np.ndarray) -> NDArray[np.float32]:
        """The features of states, if they are what they should be."""
        found = np.asarray(self._features(states))
        if found.ndim != 2 or len(found) != len(states) or not np.isfinite(found).all():
            raise InvalidProblem(
                f"features returned shape {found.shape} for {len(states)} states, but finite numbers of shape "
                f"({len(states)}, F) were expected; correct it."
            )
        return np.ascontiguousarray(found, np.float32)

    def _run_round(self, number: int) -> Round:
        """Play games, and learn from what is kept of all games."""
        rows, lengths = self._play(number)
        before = self.rounds[-1] if self.rounds else Round(-1, 0, 0, 0.0, 0.0, 0.0)
        self._positions = self._positions.joined(Positions.of(self.process, rows), self.settings.window)
        losses = self._train(number, len(rows))
        played = (before.games + len(lengths), before.positions + len(rows))
        return Round(number, *played, float(np.mean(lengths)), *losses)

    def _train(self, number: int, count: int) -> tuple[float, float]:
        """Steps of Adam after ``count`` new positions; the means of both losses."""
        kept, chosen, random = self._positions, self.settings, self._random(number, _LEARN)
        losses = []
        for _ in range(max(1, round(chosen.passes * count / chosen.batch))):
            rows = random.integers(len(kept), size=chosen.batch)
            inputs = self._inputs(kept.states[rows])
            losses.append(self._network.train_step(inputs, kept.legal[rows], kept.policies[rows], kept.returns[rows]))
        policy, value = np.mean(losses, axis=0)
        return float(policy), float(value)

    def _play(self, number: int) -> tuple[list[tuple[Any, ...]], list[int]]:
        """One round of games: a row (state, legal, policy, return) for each decision, and the games' lengths."""
        random = self._random(number, _PLAY)
        games = [self._open(random) for _ in range(self.settings.games)]
        playing = list(games)
        while playing:
            search = self.planner(seed=int(random.integers(2**31)), gumbel=Gumbel())
            decisions = search.plan_batch(self.process, np.stack([game.state for game in playing]), Monitor())
            for game, decision in zip(playing, decisions, strict=True):
                game.play(decision.action, decision.probabilities, random)
            playing = [game for game in playing if not game.ended and len(game.rows) < self.settings.longest]
        cut_off = [game for game in games if not game.ended]
        if cut_off:
            values, _ = self.evaluate(np.stack([game.state for game in cut_off]))
            for game, value in zip(cut_off, values, strict=True):
                game.value = float(value)
        return [row for game in games for row in game.returns()], [len(game.rows) for game in games]

    def _open(self, random: np.random.Generator) -> Game:
        """A game after some random actions, which did not end it."""
        while True:
            game = Game(self.process, random)
            for _ in range(random.integers(self.settings.openings + 1)):
                if not game.ended:
                    game.step(int(random.choice(np.flatnonzero(self.process.legal_actions(game.state)))), random)
            if not game.ended:
                return game


class Game:
    """One game under way; nature's moves are made at once, so that ``state`` is a player's."""

    def __init__(self, process: DecisionProcess, random: np.random.Generator) -> None:
        self.process, self.state, self.ended = process, np.array(process.initial_state), False
        self.rows: list[tuple[Any, ...]] = []
        self.value = 0.0
        self._let_nature_move(0.0, 1.0, random)

    def play(self, action: int, policy: NDArray[np.float64], random: np.random.Generator) -> None:
        """Take an action, and keep what it was chosen by and what it brought."""
        state, legal = self.state, self.process.legal_actions(self.state)
        self.rows.append((state, legal, policy, *self.step(action, random)))

    def step(self, action: int, random: np.random.Generator) -> tuple[float, float]:
        """Take an action; reward and discount until somebody is to move again."""
        uniform = random.random() if self.process.random_step else None
        self.state, reward, discount = self.process.apply(self.state, action, uniform)
        return self._let_nature_move(reward, discount, random)

    def _let_nature_move(self, reward: float, discount: float, random: np.random.Generator) -> tuple[float, float]:
        while discount != 0.0 and (chances := self.process.outcome_probabilities(self.state)).any():
            outcome = int(random.choice(len(chances), p=chances / chances.sum()))
            self.state, gained, factor = self.process.apply(self.state, outcome)
            reward, discount = reward + discount * gained, discount * factor
        self.ended = discount == 0.0
        return reward, discount

    def returns(self) -> list[tuple[Any, ...]]:
        """Each row with its return in place of reward and discount."""
        value, found = self.value, []
        for state, legal, policy, reward, discount in reversed(self.rows):
            value = reward + discount * value
            found.append((state, legal, policy, value))
        return found[::-1]


def bits(states: np.ndarray) -> NDArray[np.float32]:
    """The bits of states (B, ...) that are whole numbers, as (B, F) zeros and ones; other numbers as they are."""
    rows = np.ascontiguousarray(states).reshape(len(states), -1)
    if rows.dtype.kind == "f":
        return rows.astype(np.float32)
    return np.unpackbits(rows.view(np.uint8), axis=1).astype(np.float32)
