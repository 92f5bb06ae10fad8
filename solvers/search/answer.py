"""From grown trees to decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.decision import Decision
from trajopt.solvers.kernels.tree_gumbel import BEFORE, GUMBEL
from trajopt.solvers.kernels.tree_memory import DECISION, FAILURES, PRIOR_FAULTS, SIMULATIONS
from trajopt.solvers.kernels.tree_random import mix, unit
from trajopt.solvers.kernels.tree_root import read_roots, read_variations
from trajopt.solvers.search.growth import Grown
from trajopt.solvers.search.gumbel import judge_root
from trajopt.solvers.search.tree import SearchTree

if TYPE_CHECKING:
    from trajopt.solvers.mcts import MCTS

_LONGEST = 256
"""Moves of a principal variation that are told."""


def decide_all(planner: MCTS, grown: Grown) -> list[Decision]:
    """One decision for each tree."""
    search = grown.search
    forest, shape = search.forest, grown.possible.shape
    visits, values = np.zeros(shape, np.int64), np.full(shape, np.nan)
    certain, dead = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    read_roots(forest, visits, values, certain, dead)
    actions = np.full(len(visits), -1)
    totals = visits.sum(axis=1, keepdims=True)
    shares = np.where(totals > 0, visits / np.maximum(totals, 1), grown.priors[:, : shape[1]])
    for t in range(len(visits)):
        if grown.possible[t].any():
            word = mix(forest.streams[t, 0] ^ mix(forest.streams[t, 1] + np.uint64(1)))
            found = _Found(visits[t], values[t], certain[t], dead[t])
            if planner.selection == "gumbel":
                eligible, shares[t] = _judge_gumbel(planner, grown, t, found)
            else:
                eligible = _eligible(planner, grown, t, found)
            actions[t] = _draw(eligible, unit(np.uint64(word)))
    variations, lengths = np.zeros((len(visits), _LONGEST), np.int64), np.zeros(len(visits), np.int64)
    read_variations(forest, actions, variations, lengths)
    roots = forest.nodes[:, 0]
    return [
        Decision(
            action=int(actions[t]),
            value=float(roots[t]["value"]) if roots[t]["visits"] > 0 else np.nan,
            probabilities=shares[t],
            visits=visits[t],
            action_values=values[t],
            principal_variation=tuple(variations[t, : lengths[t]].tolist()),
            proven=_proven(roots[t], search.process.returns),
            simulations=int(forest.counters[t, SIMULATIONS]),
            status=grown.status,
            detail=_detail(grown, t),
            tree=SearchTree(search.process, forest, t, priors=grown.priors[t]),
        )
        for t in range(len(visits))
    ]


class _Found(NamedTuple):
    """What was found out about the actions of a root, (A,) each; values are NaN where there are no visits."""

    visits: NDArray[np.int64]
    values: np.ndarray
    certain: NDArray[np.bool_]
    dead: NDArray[np.bool_]


def _eligible(planner: MCTS, grown: Grown, t: int, found: _Found) -> np.ndarray:
    """(A,) weights by which the action is drawn; those that tie for the best have the same.

    The order is OpenSpiel's: a certain win, then certain values above what is uncertain, visits, values; and a certain
    loss last. An uncertain value stands in the middle of the possible returns.
    """
    visits, values = found.visits, found.values
    tried = (visits > 0) & ~found.dead
    if not tried.any():
        return _largest(_usable(grown, t, found), [grown.priors[t]])
    if planner.temperature > 0.0:
        powers = np.where(tried, np.log(np.maximum(visits, 1)), -np.inf) / planner.temperature
        return np.exp(powers - powers.max())
    if grown.search.forest.nodes[t, 0]["exact"]:
        return _largest(tried & found.certain, [values, visits])
    standing = _standing(grown, found)
    return _largest(tried, [standing, values] if planner.backup == "maximum" else [standing, visits, values])


def _judge_gumbel(planner: MCTS, grown: Grown, t: int, found: _Found) -> tuple[np.ndarray, np.ndarray]:
    """(A,) weights as of `_eligible`, and the improved policy; see `tree_gumbel`.

    Among equals in certainty it is the best of the most visited, by the visits of this search and g + ln p + sigma(q).
    """
    forest, usable = grown.search.forest, _usable(grown, t, found)
    raw_value = float(forest.nodes[t, 0]["raw"])
    logits, policy = judge_root(planner.gumbel, raw_value, grown.priors[t], found.visits, found.values, usable)
    scores = logits + forest.samples[t, :, GUMBEL]
    tried = usable & (found.visits > 0)
    if not tried.any():
        return _largest(usable, [scores]), policy
    if forest.nodes[t, 0]["exact"]:
        return _largest(tried & found.certain, [found.values, scores]), policy
    return _largest(tried, [_standing(grown, found), found.visits - forest.samples[t, :, BEFORE], scores]), policy


def _usable(grown: Grown, t: int, found: _Found) -> NDArray[np.bool_]:
    """(A,) what is possible and does not lead to numbers that are not finite; if nothing is left, all that is."""
    usable = grown.possible[t] & ~found.dead
    return usable if usable.any() else grown.possible[t]


def _standing(grown: Grown, found: _Found) -> np.ndarray:
    """(A,) certain values, as differences to the middle of the possible returns; 0 for what is uncertain."""
    returns = grown.search.process.returns
    if returns is None:
        return np.zeros(len(found.visits))
    return np.where(found.certain, found.values - 0.5 * (returns[0] + returns[1]), 0.0)


def _largest(eligible: NDArray[np.bool_], keys: list[np.ndarray]) -> np.ndarray:
    """1 for what is largest in the first key, among equals in the next, and so on; 0 for the others."""
    left = eligible
    for key in keys:
        left = left & (key == key[left].max())
    return left.astype(float)


def _draw(weights: np.ndarray, uniform: float) -> int:
    """Index drawn by weights."""
    sums = np.cumsum(weights)
    return int(np.searchsorted(sums, uniform * sums[-1], side="right"))


def _proven(root: np.void, returns: tuple[float, float] | None) -> str | None:
    if not root["exact"] or root["kind"] != DECISION:
        return "exact" if root["exact"] else None
    if returns is not None:
        low, high = returns
        for name, bound in (("win", high), ("loss", low), ("draw", 0.5 * (low + high))):
            if root["value"] == bound:
                return name
    return "exact"


def _detail(grown: Grown, t: int) -> str:
    counters = grown.search.forest.counters[t]
    parts = []
    if counters[FAILURES]:
        parts.append(
            f"{counters[FAILURES]} simulations met a reward, discount or value that is not finite, or a state without "
            "legal action; what led there counts as impossible."
        )
    if counters[PRIOR_FAULTS]:
        parts.append(
            f"{counters[PRIOR_FAULTS]} priors were negative, not finite or zero for all legal actions, and were "
            "replaced by zeros or equal ones."
        )
    if grown.search.frozen:
        parts.append("The memory limit was reached, from where on nothing was expanded.")
    return " ".join(parts)
