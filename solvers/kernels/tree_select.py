"""Selection: which child a simulation goes on to.

Both rules, and the choice of outcomes, have the form

    argmax_k  value_k + range * scale(N) * bonus_k

with N the visits of the node. What belongs to an edge alone is kept with it and changes when the edge is backed up, so
that a walk reads two numbers of each edge and computes one logarithm a node:

    UCT     scale = c sqrt(ln N),                             bonus = 1 / sqrt(n)   (Kocsis, Szepesvari 2006)
    PUCT    scale = (c + ln((N + base + 1) / base)) sqrt(N),  bonus = p / (1 + n)   (Silver 2018, Schrittwieser 2020)
    chance  scale = 1, value = 0,                             bonus = p / (1 + n)   (visits within 1/N of p)

Values are normalised by the range of all that the tree has seen (MuZero) or of the siblings and the parent (mctx):
argmax (v - low) / range + s b is argmax v + range s b. UCT takes actions that were not tried first; for PUCT they have
the value ``first_play``, or the least of the range. An edge whose value is certain is shown without a bonus, as
OpenSpiel does; one that is not finite is never chosen. The rules of Gumbel search are in `tree_gumbel`.
"""

from __future__ import annotations

import math

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_gumbel import select_at_root, select_inside
from trajopt.solvers.kernels.tree_memory import BONUS, CHANCE, SHOWN
from trajopt.solvers.kernels.tree_settings import BY_SIBLINGS, BY_TREE, GUMBEL, NEW, NOTHING, UCT

_UNSEEN = 1e30
"""Bonus of an edge that was made and never backed up, because the memory was full: infinity times zero is no number."""

_NARROW = 1e-8
"""Least range of siblings' values, mctx's."""


@kernel(forceinline=True)
def show(tree, settings, number, kind):
    """Renew what selection reads of an edge below a node of that kind."""
    edge = tree.edges[number]
    if edge.dead:
        tree.scores[number, SHOWN] = -math.inf
        tree.scores[number, BONUS] = 0.0
        return
    visits = edge.visits + edge.pending
    if kind == CHANCE:
        tree.scores[number, SHOWN] = 0.0
        tree.scores[number, BONUS] = edge.prior / (1.0 + visits)
        return
    shown = edge.value
    if edge.pending > 0:
        # Pending simulations count as if they had come back worse by the virtual loss.
        shown -= settings.virtual_loss * edge.pending / visits
    tree.scores[number, SHOWN] = shown
    if edge.exact:
        tree.scores[number, BONUS] = 0.0
    elif settings.selection == UCT:
        tree.scores[number, BONUS] = 1.0 / math.sqrt(visits) if visits > 0 else _UNSEEN
    else:
        tree.scores[number, BONUS] = edge.prior / (1.0 + visits)


@kernel(forceinline=True)
def scale_of(settings, visits):
    """How much bonuses count at a node of so many visits."""
    if settings.selection == UCT:
        return settings.exploration * math.sqrt(math.log(max(visits, 1.0)))
    return (settings.exploration + math.log1p((visits + 1.0) / settings.base)) * math.sqrt(visits)


@kernel(forceinline=True)
def value_range(tree, settings, node):
    """Least value and range by which values at a node are normalised."""
    if settings.normalisation == BY_TREE:
        low, high = tree.limits[0], tree.limits[1]
        return (low, high - low) if high > low else (0.0, 1.0)
    low, high = math.inf, -math.inf
    if node.visits > 0:
        low, high = node.value, node.value
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        if edge.visits > 0 and not edge.dead:
            low, high = min(low, edge.value), max(high, edge.value)
    return (low, max(high - low, _NARROW)) if high >= low else (0.0, 1.0)


@kernel(forceinline=True)
def may_widen(factor, exponent, visits, made):
    """Whether a node of so many visits may have another child."""
    return factor == math.inf or made < factor * math.pow(max(visits, 1.0), exponent)


@kernel(forceinline=True)
def untried_score(tree, settings, node, visits, scale, low):
    """Score of the next action that was not tried; -inf where none is allowed."""
    # Without memory a node that lacks children is valued as it is: its few children alone would mislead. Not the root.
    if node.made >= node.total or (settings.frozen and node.made > 0 and node.parent < 0):
        return -math.inf
    if node.kind == CHANCE:
        return tree.candidates[node.ranked + node.made].prior
    if not may_widen(settings.action_factor, settings.action_exponent, visits, node.made):
        return -math.inf
    if settings.selection == UCT:
        return math.inf
    prior = 1.0 / node.total
    if node.ranked >= 0:
        prior = tree.candidates[node.ranked + node.made].prior
    first = low
    if settings.normalisation not in (BY_TREE, BY_SIBLINGS):
        first = settings.first_play if settings.first_play == settings.first_play else node.value
    return first + scale * prior


@kernel(forceinline=True)
def select(tree, settings, index):
    """Edge of node ``index`` to follow, or `NEW`, or `NOTHING`."""
    node = tree.nodes[index]
    if settings.selection == GUMBEL and node.kind != CHANCE:
        return select_inside(tree, settings, index) if index > 0 else select_at_root(tree, settings)
    visits = float(node.visits + node.pending)
    low, scale = 0.0, 1.0
    if node.kind != CHANCE:
        scale = scale_of(settings, visits)
        if settings.normalisation in (BY_TREE, BY_SIBLINGS):
            low, width = value_range(tree, settings, node)
            scale *= width
    best, chosen = untried_score(tree, settings, node, visits, scale, low), NEW
    if best == math.inf:
        return NEW
    if best == -math.inf:
        chosen = NOTHING
    for number in range(node.first, node.first + node.made):
        score = tree.scores[number, SHOWN] + scale * tree.scores[number, BONUS]
        if score > best:
            best, chosen = score, number
    if chosen == NOTHING and node.made < node.total:
        return NEW  # widening held it back, but all others are of no use
    return chosen
