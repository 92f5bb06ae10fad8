"""Monte Carlo tree search: grow a tree of what may happen where it is promising, and learn from the ends what to do.

A simulation walks from the root along the edges that selection prefers, until it makes a new leaf, values that, and
carries the value back (Coulom 2006; Kocsis, Szepesvari 2006). With Q the value of an edge, n its visits, N the node's
and p its prior,

    uct     argmax Q + c sqrt(ln N / n),                                          c = sqrt(2) for returns in [-1, 1]
    puct    argmax Q + p sqrt(N) / (1 + n) (c + ln((N + base + 1) / base)),       c = 1.25, base = 19652
    gumbel  sequential halving at the root, argmax pi' - n / (1 + N) inside, pi' proportional to p exp(sigma(Q))

with the constants of AlphaZero and MuZero; Gumbel search is in `trajopt.solvers.kernels.tree_gumbel`. All kinds of
turns are one: an edge carries reward and discount, and a return is reward + discount * (what follows, as seen by who
moves there), see `trajopt.decision_process`.

Compositions: selection x evaluation (random rollouts, a compiled rule, a batched function for values and priors) x
backup (mean, maximum) x normalisation of values. Where the process ends values are certain, and certainty is carried
back like values (MCTS-Solver, Winands 2008), also through chance.

Chance that the rules tell of is followed as its probabilities ask for, argmax p / (1 + n), so that visits are within
one of them. A random step is sampled; equal outcomes share a node, and with ``outcome_widening=(k, a)`` a new one is
drawn only while there are fewer than k N^a (double progressive widening, Couetoux 2011).

What differs from the papers: ties are broken by lot; leaves are evaluated once when made; certain values take the place
of means at once; a number that is not finite removes its edge, and the message says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.model_process import ModelProcess
from trajopt.monitor import Monitor
from trajopt.planner import Planner
from trajopt.problem import Feature, Problem
from trajopt.solver import SIMULATION, Outcome, Solver
from trajopt.solvers.kernels.tree_settings import (
    BY_SIBLINGS,
    BY_TREE,
    GUMBEL,
    MAXIMUM,
    MEAN,
    PLAIN,
    PUCT,
    UCT,
    Settings,
)
from trajopt.solvers.search.answer import decide_all
from trajopt.solvers.search.evaluation import LeafRule, Rollouts, read_evaluation
from trajopt.solvers.search.growth import grow
from trajopt.solvers.search.gumbel import Gumbel
from trajopt.solvers.search.model import EmbeddedProcess
from trajopt.solvers.search.shooting import solve_by_search
from trajopt.threads import read_threads
from trajopt.trajectory import Trajectory
from trajopt.validation import check, check_choice, check_positive, check_whole, is_number

__all__ = ["MCTS", "Gumbel", "LeafRule", "Rollouts"]

SELECTIONS = {"uct": UCT, "puct": PUCT, "gumbel": GUMBEL}
NORMALISATIONS = {"none": PLAIN, "tree": BY_TREE, "siblings": BY_SIBLINGS}
BACKUPS = {"mean": MEAN, "maximum": MAXIMUM}

_CHANCES = 16
"""Nodes that a simulation may make on its way through chance; where it makes more, it is begun anew with more room."""

_MCTX = Gumbel()

_EXPLORATION = {"uct": math.sqrt(2.0), "puct": 1.25, "gumbel": 0.0}
"""Auer 2002 for returns of range 1, doubled as OpenSpiel does for [-1, 1]; MuZero."""


@dataclass(frozen=True)
class MCTS(Planner, Solver):
    """Monte Carlo tree search.

    Attributes
    ----------
    simulations
        How many at most; 0 answers from the prior alone.
    selection
        "uct"; "puct", which uses priors; or "gumbel", which improves on priors however few the simulations are.
    evaluation
        `Rollouts`, `LeafRule`, or a function of a batch of states (B, ...) that returns values (B,), as the players to
        move see them, and priors (B, actions), or values alone. It is called once for all leaves of all trees. None:
        one rollout, or with a `ModelProcess` what the model itself says, again in one call.
    exploration
        Constant c; None: sqrt(2) for "uct", 1.25 for "puct".
    exploration_base
        How slowly exploration grows with visits in "puct" (19652: AlphaZero, MuZero); infinity: not at all.
    backup
        "mean", or "maximum", which suits deterministic single-player problems.
    proven
        Whether certain values end the search of what they settle.
    normalisation
        Of values in selection: "none", "tree" (least and largest of the tree, MuZero), or "siblings" (mctx).
    gumbel
        Settings of "gumbel".
    first_play
        Value of actions that were not tried yet, for "puct" without normalisation; None: their parent's.
    noise
        (alpha, fraction) of Dirichlet noise in the root's priors, drawn once a search; AlphaZero in chess: (0.3, 0.25).
    temperature
        The action is drawn as visits ** (1 / temperature); 0: the most visited one.
    action_widening
        (k, a): a node may have k N^a actions; the best priors come first. None: all of them.
    outcome_widening
        The same for outcomes of random steps.
    parallel
        Simulations of one tree under way at a time, for evaluations that take a batch.
    virtual_loss
        By how much those under way count as worse than what they set out from.
    transpositions
        Whether equal states share a node.
    max_depth
        Decisions after which a walk is evaluated where it is.
    max_memory
        Bytes of the trees of a search; beyond them nothing is expanded, but the search goes on.
    threads
        For batches of trees; None: as many as there are processors.
    seed
        The same seed gives the same bits; in a batch tree b has the seed ``seed + b``.
    levels, hold
        Where a `Problem` is solved: values of each control, evenly between its bounds, unless the problem has
        `Choices`, and steps for which each choice is held. There is one search of ``simulations`` for each choice,
        with the settings above but for values that the tree normalises, since costs have units, and backs up by their
        maximum, since plans are certain.
    """

    handles_models: ClassVar[bool] = True

    simulations: int = 1_000
    selection: str = "uct"
    evaluation: Rollouts | LeafRule | Callable[..., Any] | None = None
    exploration: float | None = None
    exploration_base: float = 19_652.0
    backup: str = "mean"
    proven: bool = True
    normalisation: str = "none"
    gumbel: Gumbel = _MCTX
    first_play: float | None = 0.0
    noise: tuple[float, float] | None = None
    temperature: float = 0.0
    action_widening: tuple[float, float] | None = None
    outcome_widening: tuple[float, float] | None = None
    parallel: int = 1
    virtual_loss: float = 1.0
    transpositions: bool = False
    max_depth: int = 1_000
    max_memory: float = 2.0**31
    threads: int | None = None
    seed: int = 0
    levels: int = 9
    hold: int = 1

    handles: ClassVar[frozenset[Feature]] = SIMULATION | {Feature.DISCRETE_CONTROLS}
    preference: ClassVar[int] = -20

    def __post_init__(self) -> None:
        check_whole(self.simulations, "simulations", 0)
        check_choice(self.selection, "selection", SELECTIONS)
        check_choice(self.backup, "backup", BACKUPS)
        check_choice(self.normalisation, "normalisation", NORMALISATIONS)
        if self.evaluation is not None:
            read_evaluation(self.evaluation)
        for name in ("exploration", "first_play"):
            value = getattr(self, name)
            check(value, name, "a number, or None", value is None or is_number(value))
        check(self.exploration_base, "exploration_base", "a positive number, or infinity",
              isinstance(self.exploration_base, float | int) and self.exploration_base > 0)  # fmt: skip
        for name in ("temperature", "virtual_loss"):
            value = getattr(self, name)
            check(value, name, "a number of at least 0", is_number(value) and value >= 0)
        _check_pair(self.noise, "noise", "(alpha, fraction) with alpha > 0 and 0 <= fraction <= 1")
        for name in ("action_widening", "outcome_widening"):
            _check_pair(getattr(self, name), name, "(k, a) with k > 0 and 0 <= a <= 1")
        for name in ("proven", "transpositions"):
            check(getattr(self, name), name, "True or False", isinstance(getattr(self, name), bool))
        check_whole(self.parallel, "parallel", 1)
        check_whole(self.max_depth, "max_depth", 1)
        check_positive(self.max_memory, "max_memory")
        read_threads(self.threads, 1)
        check_whole(self.seed, "seed", 0)
        check_whole(self.levels, "levels", 2)
        check_whole(self.hold, "hold", 1)
        check(self.gumbel, "gumbel", "Gumbel(...)", isinstance(self.gumbel, Gumbel))
        if self.selection == "gumbel":
            self._check_gumbel()
        if isinstance(self.evaluation, Rollouts | LeafRule):
            self.check_parallel(self.evaluation)

    def _check_gumbel(self) -> None:
        """Refuse what Gumbel search has its own ways for."""
        for name, plain in (("temperature", 0.0), ("noise", None), ("action_widening", None), ("backup", "mean")):
            value = getattr(self, name)
            if value != plain:
                raise InvalidProblem(
                    f"{name}={value!r} was given with selection='gumbel', but its variates draw the action, it samples "
                    f"the actions that it considers, and its theory is that of means; leave out {name}."
                )

    def check_parallel(self, evaluation: Rollouts | LeafRule) -> None:
        """Refuse several simulations at a time with an evaluation that takes one."""
        if self.parallel > 1:
            raise InvalidProblem(
                f"parallel={self.parallel} was given with {evaluation}, but several simulations of a tree at a "
                "time only help an evaluation that takes a batch; give a function of states, or leave out parallel."
            )

    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Decide for one control of a grid after the other; see `trajopt.solvers.search.shooting`."""
        return solve_by_search(self, problem, guess, monitor)

    def plan(
        self, process: DecisionProcess | ModelProcess, state: np.ndarray, *, tree: Any = None, monitor: Monitor
    ) -> Decision:
        """Decide in a state; see `trajopt.decide`."""
        search = grow(self, process, state[None], tree, monitor)
        return decide_all(self, search)[0]

    def plan_batch(
        self, process: DecisionProcess | ModelProcess, states: Sequence[ArrayLike] | np.ndarray, monitor: Monitor
    ) -> list[Decision]:
        """Decide in several states, whose trees grow side by side; see `trajopt.decide_batch`."""
        return decide_all(self, grow(self, process, np.asarray(states), None, monitor))

    def settings(self, process: DecisionProcess | EmbeddedProcess, *, priors: bool) -> Settings:
        """What the kernels are told."""
        _, high = process.returns or (-math.inf, math.inf)
        actions = self.action_widening or (math.inf, 0.0)
        outcomes = self.outcome_widening or (math.inf, 0.0)
        nodes = 1 if process.chance is None and not process.random_step else _CHANCES
        exploration = _EXPLORATION[self.selection] if self.exploration is None else self.exploration
        return Settings(
            selection=SELECTIONS[self.selection],
            exploration=float(exploration),
            base=float(self.exploration_base),
            normalisation=NORMALISATIONS[self.normalisation],
            first_play=math.nan if self.first_play is None else float(self.first_play),
            backup=BACKUPS[self.backup],
            proven=int(self.proven),
            high=float(high),
            chance=int(process.chance is not None),
            random_step=int(process.random_step),
            priors=int(priors),
            action_factor=float(actions[0]),
            action_exponent=float(actions[1]),
            outcome_factor=float(outcomes[0]),
            outcome_exponent=float(outcomes[1]),
            max_depth=int(self.max_depth),
            slots=int(self.parallel),
            virtual_loss=float(self.virtual_loss),
            frozen=0,
            new_nodes=nodes,
            new_candidates=int(priors) * process.actions * self.parallel + nodes * process.outcomes,
            considered=int(self.gumbel.considered),
            planned=int(self.simulations),
            value_scale=float(self.gumbel.value_scale),
            visit_offset=float(self.gumbel.visit_offset),
            rescale=int(self.gumbel.rescale),
        )


def _check_pair(value: Any, what: str, expected: str) -> None:
    good = value is None or (
        isinstance(value, tuple)
        and len(value) == 2
        and all(is_number(part) for part in value)
        and value[0] > 0
        and 0 <= value[1] <= 1
    )
    check(value, what, f"None or {expected}", good)
