"""From states and settings to grown trees: roots prepared, simulations in portions that somebody can interrupt."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.model_process import ModelProcess
from trajopt.monitor import Monitor
from trajopt.solvers.kernels.tree_memory import FAILURES, SIMULATIONS, Forest
from trajopt.solvers.kernels.tree_root import inspect_roots, read_priors, set_priors
from trajopt.solvers.kernels.tree_settings import Settings
from trajopt.solvers.search.evaluation import LeafRule, Rollouts
from trajopt.solvers.search.forest import first_room, make_forest, resize, words_of
from trajopt.solvers.search.gumbel import draw_samples
from trajopt.solvers.search.model import EmbeddedProcess
from trajopt.solvers.search.run import TreeSearch
from trajopt.solvers.search.tree import SearchTree
from trajopt.status import Status
from trajopt.threads import read_threads

if TYPE_CHECKING:
    from trajopt.solvers.mcts import MCTS

Array = NDArray[np.float64]

_FIRST_ROOM = 1 << 17
"""Nodes that all trees together have room for at first; memory that is never touched costs nothing."""

_LEAST_ROOM = 32
"""Nodes that each tree has room for, even where that is more than the limit: no answer comes from less."""

_FIRST_RANKED = 512
"""Of so many of them the candidates have room at first: there may be many actions."""

_TREES_EACH = 256
"""Trees for each thread where leaves are evaluated outside: a walk takes a microsecond, waking a thread some tens."""

_PORTION = 0.02
"""Seconds between two looks at the clock and the keyboard: nobody notices less."""

_FIRST_PORTION = {True: 16, False: 1_024}
"""Simulations before the first look, some microseconds each, with a time limit and without."""


@dataclass(frozen=True, eq=False)
class Grown:
    """Trees that have grown, and how that ended.

    Attributes
    ----------
    search
        The trees.
    possible
        (B, A) what is legal in the roots.
    priors
        (B, A) priors of the roots, without noise.
    status
        Why the growth ended.
    """

    search: TreeSearch
    possible: NDArray[np.bool_]
    priors: Array
    status: Status


def grow(planner: MCTS, process: DecisionProcess, states: np.ndarray, tree: Any, monitor: Monitor) -> Grown:
    """Grow trees from states (B, ...), or go on with a tree whose root is the only state."""
    leaf, evaluate, with_priors = None, None, True
    if isinstance(process, ModelProcess):
        process, states = _embedded(planner, process, states, tree)
    elif planner.evaluation is None or isinstance(planner.evaluation, Rollouts | LeafRule):
        evaluation = Rollouts() if planner.evaluation is None else planner.evaluation
        planner.check_parallel(evaluation)
        leaf, with_priors = evaluation.entry(process), evaluation.has_priors
    else:
        evaluate = _Outside(planner.evaluation, process.actions)
    roots = words_of(_checked(process, states))
    settings = planner.settings(process, priors=with_priors)
    forest = _first_forest(planner, settings, process, roots, tree, needs_evaluation=leaf is None or with_priors)
    search = TreeSearch(
        process,
        settings,
        forest,
        leaf,
        read_threads(planner.threads, max(1, len(roots) // (1 if leaf else _TREES_EACH))),
        planner.max_memory,
    )
    with closing(search):
        return _grow(planner, search, evaluate, tree, monitor)


def _grow(planner: MCTS, search: TreeSearch, evaluate: _Outside | None, tree: Any, monitor: Monitor) -> Grown:
    """Prepare the roots, and simulate."""
    possible = _possible(search)
    _evaluate_roots(search, evaluate)
    priors = np.zeros(possible.shape)
    read_priors(search.forest, possible, priors)
    if isinstance(tree, SearchTree) and tree.priors is not None:
        priors[0] = tree.priors
    if planner.noise is not None:
        _enter_priors(search, possible, _with_noise(planner, search, possible, priors))
    if planner.selection == "gumbel":
        _enter_priors(search, possible, priors)
        samples = draw_samples(search.forest, search.process.actions, planner.gumbel.scale)
        search.forest = search.forest._replace(samples=samples)
    status = _simulate(planner, search, evaluate, monitor)
    if search.forest.nodes[:, 0]["dead"].any():
        status = Status.NUMERICAL_FAILURE
    return Grown(search, possible, priors, status)


def _checked(process: DecisionProcess, states: np.ndarray) -> np.ndarray:
    if states.ndim != len(process.shape) + 1 or len(states) == 0:
        raise InvalidProblem(
            f"states of shape {states.shape} were given, but (B, {', '.join(map(str, process.shape))}) was expected, "
            "one state in each row; correct it."
        )
    if states.dtype == process.dtype and states.shape[1:] == process.shape:
        return states
    return np.stack([process.check_state(state) for state in states])


def _embedded(
    planner: MCTS, model: ModelProcess, observations: np.ndarray, tree: Any
) -> tuple[EmbeddedProcess, np.ndarray]:
    """The embeddings of observations (B, ...), and the process whose states they are."""
    if tree is not None:
        raise UnsupportedProblem(
            f"a tree was given with {model.label}, but a search over a model begins from what is observed; leave it "
            "out."
        )
    if planner.evaluation is not None:
        raise UnsupportedProblem(
            f"evaluation={planner.evaluation!r} was given with {model.label}, but a model values its states itself; "
            "leave it out."
        )
    if planner.transpositions:
        raise UnsupportedProblem(
            f"transpositions=True was given with {model.label}, but embeddings of equal states need not be equal; "
            "leave it out."
        )
    roots = model.predict(observations)
    return EmbeddedProcess(model, roots), roots.embeddings


def _first_forest(
    planner: MCTS, settings: Settings, process: DecisionProcess, roots: np.ndarray, tree: Any, *, needs_evaluation: bool
) -> Forest:
    if tree is None:
        seeds = planner.seed + np.arange(len(roots), dtype=np.uint64)
        allowed = min(_FIRST_ROOM // len(roots), first_room(len(roots), roots.shape[1], planner.max_memory))
        room = max(min(planner.simulations + settings.new_nodes + 1, allowed), _LEAST_ROOM)
        return make_forest(
            roots,
            seeds,
            room,
            candidates=min(room, _FIRST_RANKED) * settings.new_candidates,
            table=planner.transpositions,
            evaluated=not needs_evaluation,
        )
    if not isinstance(tree, SearchTree):
        raise InvalidProblem(
            f"tree={tree!r} was given, but the tree of an earlier decision of MCTS was expected; pass decision.tree, "
            "or decision.tree.after(action) when somebody has moved."
        )
    if tree.process is not process or not np.array_equal(words_of(tree.state[None]), roots):
        raise InvalidProblem(
            f"a tree with the root state {tree.state.tolist()} was given, but the decision is about another state or "
            "process; move the tree on by what has happened: decision.tree.after(action)."
        )
    forest = tree.transplanted(table=planner.transpositions)
    forest.counters[:, SIMULATIONS : FAILURES + 1] = 0
    root = forest.nodes[0, 0]
    if not needs_evaluation:
        root["evaluated"] = True
    return forest


def _possible(search: TreeSearch) -> NDArray[np.bool_]:
    """(B, actions) what is legal in the roots; roots without anything are refused."""
    process, trees = search.process, search.forest.nodes.shape[0]
    if isinstance(process, EmbeddedProcess):
        if not process.possible.any(axis=1).all():
            raise InvalidProblem(
                f"root of {process.label} returned logits of -inf for all actions of observation "
                f"{int(np.argmin(process.possible.any(axis=1)))}, but one must be possible; correct it."
            )
        return process.possible
    possible = np.zeros((trees, process.rules.width), np.bool_)
    nature = np.zeros(trees, np.bool_)
    if inspect_roots(search.forest, search.rules, search.desks[0], possible, nature) < 0:
        search.raise_fault()
    empty = ~possible.any(axis=1)
    if empty.any():
        state = SearchTree(process, search.forest, int(np.argmax(empty))).state
        raise InvalidProblem(
            f"the state {state.tolist()} was given, but no action is legal in it, so that there is nothing to decide; "
            "an end is said by a discount of 0 of the step that leads to it."
        )
    possible[nature] = False
    return possible[:, : process.actions]


def _evaluate_roots(search: TreeSearch, evaluate: _Outside | None) -> None:
    """Evaluate roots that need it, which is no simulation; a value that is not finite counts as 0."""
    if search.forest.nodes[:, 0]["evaluated"].all():
        return
    for _ in range(2):  # the first time there may be no room
        if evaluate is not None:
            search.run_outside(1, evaluate)
        elif isinstance(search.process, EmbeddedProcess):
            search.run_model(1)
        else:
            search.run(1)
    if evaluate is not None and not evaluate.gives_priors:
        search.settings = search.settings._replace(priors=0, new_candidates=0)
    roots = search.forest.nodes[:, 0]
    lost = ~roots["evaluated"]
    for field, value in (("dead", False), ("evaluated", True), ("raw", 0.0), ("value", 0.0), ("visits", 1)):
        roots[field][lost] = value
    search.forest.counters[:, SIMULATIONS] = 0


def _with_noise(planner: MCTS, search: TreeSearch, possible: np.ndarray, priors: Array) -> Array:
    """The roots' priors with Dirichlet noise; it is drawn anew for each search, and once."""
    assert planner.noise is not None
    alpha, fraction = planner.noise
    mixed = priors.copy()
    for t, row in enumerate(possible):
        if row.any():
            key = search.forest.streams[t] ^ np.array([0, 1 << 63], np.uint64)  # no word of the tree's own stream
            generator = np.random.Generator(np.random.Philox(key=key))
            mixed[t, row] = (1.0 - fraction) * priors[t, row] + fraction * generator.dirichlet([alpha] * row.sum())
    return mixed


def _enter_priors(search: TreeSearch, possible: np.ndarray, priors: Array) -> None:
    """Give the roots these priors, in candidates of their own."""
    forest = search.forest
    needed = forest.candidates.shape[1] + int(possible.sum(axis=1).max())
    search.forest = resize(forest, forest.nodes.shape[1], forest.edges.shape[1], needed)
    set_priors(search.forest, search.settings, possible, priors)


def _simulate(planner: MCTS, search: TreeSearch, evaluate: _Outside | None, monitor: Monitor) -> Status:
    """Simulate until a limit comes, or nothing is left to find out."""
    portion, last_look = _FIRST_PORTION[monitor.seconds_left < math.inf], time.perf_counter()
    try:
        while search.simulations < planner.simulations and not search.settled:
            if search.simulations > 0 and monitor.seconds_left <= 0.0:
                return Status.TIME_LIMIT
            start = time.perf_counter()
            if evaluate is not None:
                search.run_outside(planner.simulations, evaluate)
            elif isinstance(search.process, EmbeddedProcess):
                search.run_model(planner.simulations)
            else:
                search.run(min(search.simulations + portion, planner.simulations))
            now = time.perf_counter()
            if evaluate is None and now - start < 0.5 * min(_PORTION, max(monitor.seconds_left, 0.0)):
                portion *= 2
            if now - last_look >= _PORTION:
                last_look = now
                root = search.forest.nodes[0, 0]
                stop = monitor.observe(-float(root["value"]))
                if stop is not None:
                    return stop
    except KeyboardInterrupt:
        return Status.INTERRUPTED
    return Status.SOLVED


class _Outside:
    """A user's function of a batch of states, whose answers are checked."""

    def __init__(self, function: Callable[..., Any], actions: int) -> None:
        self._function, self._actions = function, actions
        self.gives_priors = False

    def __call__(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Values (S,) and priors (S, A) of states (S, ...)."""
        found = self._function(states)
        values, priors = found if isinstance(found, tuple) and len(found) == 2 else (found, None)
        values = np.asarray(values, np.float64)
        priors = None if priors is None else np.asarray(priors, np.float64)
        count = len(states)
        if values.shape != (count,) or (priors is not None and priors.shape != (count, self._actions)):
            shapes = f"{values.shape}" + ("" if priors is None else f" and {priors.shape}")
            raise InvalidProblem(
                f"evaluation returned shapes {shapes} for {count} states, but ({count},) for the values and "
                f"({count}, {self._actions}) for the priors was expected; correct it."
            )
        self.gives_priors = priors is not None
        return values, priors
