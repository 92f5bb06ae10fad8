"""Gumbel search at the root, in Python's hands: settings, variates, and what the search says in the end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.solvers.kernels.tree_gumbel import BEFORE, GUMBEL
from trajopt.solvers.kernels.tree_memory import Forest
from trajopt.validation import check, check_positive, check_whole, is_number

Array = NDArray[np.float64]

_NARROW = 1e-8
"""Least range of values, that of the kernels."""


@dataclass(frozen=True)
class Gumbel:
    """How Gumbel search weighs values against priors; see `trajopt.solvers.kernels.tree_gumbel`. Defaults are mctx's.

    Attributes
    ----------
    considered
        How many actions of the root are sampled, and halved step by step.
    scale
        Factor of the Gumbel variates: 1 samples actions, 0 takes the likeliest, for games without chance (the paper's
        choice when strength is measured).
    value_scale, visit_offset
        c_scale and c_visit of sigma(q) = (c_visit + max n) c_scale q.
    rescale
        Whether values are brought to [0, 1] by the least and greatest of a node first.

    Raises
    ------
    InvalidProblem
        When a setting cannot mean anything.
    """

    considered: int = 16
    scale: float = 1.0
    value_scale: float = 0.1
    visit_offset: float = 50.0
    rescale: bool = True

    def __post_init__(self) -> None:
        check_whole(self.considered, "considered", 1)
        check_positive(self.value_scale, "value_scale")
        for name in ("scale", "visit_offset"):
            value = getattr(self, name)
            check(value, name, "a number of at least 0", is_number(value) and value >= 0)
        check(self.rescale, "rescale", "True or False", isinstance(self.rescale, bool))


def draw_samples(forest: Forest, actions: int, scale: float) -> Array:
    """(B, A, 2) Gumbel variates of the roots' actions, and their visits so far, for `Forest.samples`."""
    samples = np.zeros((len(forest.nodes), actions, 2))
    for t, sample in enumerate(samples):
        key = forest.streams[t] ^ np.array([0, 1 << 62], np.uint64)  # no word of the tree's own stream
        sample[:, GUMBEL] = scale * np.random.Generator(np.random.Philox(key=key)).gumbel(size=actions)
        root = forest.nodes[t, 0]
        edges = forest.edges[t, root["first"] : root["first"] + root["made"]]
        sample[edges["action"], BEFORE] = edges["visits"]
    return samples


def judge_root(
    settings: Gumbel,
    raw_value: float,
    priors: Array,
    visits: NDArray[np.int64],
    values: Array,
    possible: NDArray[np.bool_],
) -> tuple[Array, Array]:
    """What a search says of the root's actions in the end.

    Parameters
    ----------
    settings
        Of the search.
    raw_value
        The evaluator's value of the root.
    priors, visits, values
        (A,) each; values where there are visits.
    possible
        (A,) what can be chosen.

    Returns
    -------
    logits, policy
        (A,) ln p + sigma(q), -inf for what cannot be chosen, and the improved policy, their exponentials to a sum of 1.
    """
    seen = possible & (visits > 0)
    least = np.finfo(float).tiny
    weights, count = np.maximum(priors[seen], least), visits[seen].sum()
    mixed = (raw_value + count * (weights @ values[seen]) / weights.sum()) / (1.0 + count) if count else raw_value
    completed = np.where(seen, values, mixed)
    if settings.rescale:
        span = completed[possible]
        completed = (completed - span.min()) / max(np.ptp(span), _NARROW)
    sigma = (settings.visit_offset + visits[possible].max()) * settings.value_scale * completed
    logits = np.where(possible, np.log(np.maximum(priors, least)) + sigma, -np.inf)
    policy = np.exp(logits - logits.max())
    return logits, policy / policy.sum()
