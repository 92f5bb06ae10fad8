"""What the kernels of tree search are told: the rules by address, the settings as numbers, and memory to work in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

UCT, PUCT, GUMBEL = 0, 1, 2
"""Selection."""

NEW, NOTHING = -1, -2
"""What is selected in place of a child: make the next one; there is none."""

PLAIN, BY_TREE, BY_SIBLINGS = 0, 1, 2
"""Normalisation of values."""

MEAN, MAXIMUM = 0, 1
"""Backup."""

EVALUATE, DONE, DEAD, FULL, FAULTY = 0, 1, 2, 3, 4
"""How a walk ended: at a node to evaluate, where the value is known, where a number is not finite; without room, or
with a rule that raised."""


class Rules(NamedTuple):
    """Addresses of entries (see `trajopt.process_rules`).

    ``evaluate`` is 0 where values come from outside, ``advance`` and ``weigh`` where a model's steps do as well.
    """

    advance: int
    weigh: int
    evaluate: int


class Settings(NamedTuple):
    """Numbers of a search.

    ``exploration`` and ``base`` as in `tree_select`; ``first_play`` value of an action not tried yet, NaN for the
    parent's; ``high`` largest possible return; ``chance``, ``random_step``, ``priors``, ``proven``, ``frozen`` are 0 or
    1; widening allows ``factor * visits ** exponent`` children, without limit where the factor is infinite. A
    simulation is only begun with room for ``new_nodes`` and ``new_candidates``: what it finds must not depend on that.
    From ``considered`` on they are of `tree_gumbel`: m and S of sequential halving, c_scale, c_visit, 1 to rescale.
    """

    selection: int
    exploration: float
    base: float
    normalisation: int
    first_play: float
    backup: int
    proven: int
    high: float
    chance: int
    random_step: int
    priors: int
    action_factor: float
    action_exponent: float
    outcome_factor: float
    outcome_exponent: float
    max_depth: int
    slots: int
    virtual_loss: float
    frozen: int
    new_nodes: int
    new_candidates: int
    considered: int
    planned: int
    value_scale: float
    visit_offset: float
    rescale: int


class Desk(NamedTuple):
    """Work memory of a thread: ``numbers``, ``weights``, ``mask`` of entries, ``priors`` (W,), ``state`` (1, words)."""

    numbers: NDArray[np.float64]
    weights: NDArray[np.float64]
    mask: NDArray[np.bool_]
    priors: NDArray[np.float64]
    state: NDArray[np.uint64]


class Paths(NamedTuple):
    """Walks of S slots.

    ``nodes`` that were passed and the ``places`` of the edges in their blocks (S, D); ``ends`` (S, 3) how each ended,
    at which depth and node; ``values`` (S,).
    """

    nodes: NDArray[np.int32]
    places: NDArray[np.int32]
    ends: NDArray[np.int64]
    values: NDArray[np.float64]
