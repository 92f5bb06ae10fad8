"""Gumbel search: which child is visited next at the root, and inside the tree.

Both rules compare completed values. A child without visits has the mixed value (equation 33 of the paper)

    v_mix = (v + N sum_visited p q / sum_visited p) / (1 + N),    N = sum n,

with v the evaluator's value of the node and p the prior, and q enters as sigma(q) = (c_visit + max n) c_scale q, where
q was scaled to [0, 1] by the least and greatest completed value of the node, if so asked.

At the root, m actions are sampled without replacement as those of greatest g + ln p, g independent Gumbel variates, and
sequential halving spends S simulations on them (Karnin, Koren, Somekh 2013): in ceil(log2 m) phases every remaining
action has max(1, floor(S / (ceil(log2 m) c))) visits, c being the number that remains, and the better half by

    g + ln p + sigma(q)

goes on to the next phase, never fewer than two. Nobody has to remember who remains: in the s-th simulation only the
children with `considered_visits` (m, S, s) visits are considered, and the best of them is visited. The answer is the
best of the most visited. It is never worse than the best of g + ln p, the sample of the prior that it began with.

Inside the tree the choice is deterministic: argmax of pi' - n / (1 + N), pi' proportional to p exp(sigma(q)), whose
visit frequencies approach the improved policy pi' (section 5). All actions that were not tried share sigma(v_mix): the
likeliest of them stands for all, and nothing is kept for the others but their share of the prior.

Reference: Danihelka, Guez, Schrittwieser, Silver, Policy Improvement by Planning with Gumbel, ICLR 2022; mctx (Google
DeepMind, Apache-2.0), whose searches these rules reproduce.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_memory import BONUS
from trajopt.solvers.kernels.tree_settings import NEW, NOTHING

GUMBEL, BEFORE = 0, 1
"""What a tree's ``sample`` (A, 2) says of an action of the root: its variate, and its visits before this search."""

_SMALLEST = 2.2250738585072014e-308
"""Least normal number, in place of a prior that has underflowed: its action can be chosen still."""

_NARROW = 1e-8
"""Least range of a node's values, mctx's."""


class Completion(NamedTuple):
    """Completed values of a node: that of a child without visits is ``mixed``; all lie between ``low`` and ``high``.

    sigma(q) is ``scale`` (q - c), with a c that the rules do not depend on. ``visits`` are those of all children,
    ``rest`` is the prior of what was not tried.
    """

    mixed: float
    scale: float
    low: float
    high: float
    visits: float
    rest: float


@kernel
def considered_visits(actions, simulations, index):
    """Visits of the children considered in simulation ``index`` of sequential halving over so many actions."""
    if actions <= 1:
        return index
    phases = 0
    while (1 << phases) < actions:
        phases += 1
    remaining, visits, start = actions, 0, 0
    while True:
        extra = max(1, simulations // (phases * remaining))
        if index < start + extra * remaining:
            return visits + (index - start) // remaining
        start += extra * remaining
        visits += extra
        remaining = max(2, remaining // 2)


@kernel
def complete(tree, settings, index):
    """The `Completion` of a node. Simulations under way count as visits, but have no values."""
    node = tree.nodes[index]
    visits, most, tried = 0.0, 0.0, 0.0
    count, weight, total = 0.0, 0.0, 0.0
    low, high = math.inf, -math.inf
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        tried += edge.prior
        if edge.dead:
            continue
        visits += edge.visits + edge.pending
        most = max(most, float(edge.visits + edge.pending))
        if edge.visits > 0:
            prior = max(float(edge.prior), _SMALLEST)
            count += edge.visits
            weight += prior
            total += prior * edge.value
            low, high = min(low, edge.value), max(high, edge.value)
    mixed = (node.raw + count * (total / weight)) / (1.0 + count) if count > 0.0 else node.raw
    if node.made < node.total or count == 0.0:
        low, high = min(low, mixed), max(high, mixed)
    scale = (settings.visit_offset + most) * settings.value_scale
    if settings.rescale:
        scale /= max(high - low, _NARROW)
    return Completion(mixed, scale, low, high, visits, max(1.0 - tried, 0.0))


@kernel
def _value(edge, completion):
    """Completed value of an edge."""
    return edge.value if edge.visits > 0 else completion.mixed


@kernel
def select_inside(tree, settings, index):
    """Edge of greatest pi' - n / (1 + N) of a node inside the tree, or `NEW`, or `NOTHING`."""
    node = tree.nodes[index]
    completion = complete(tree, settings, index)
    total = 0.0
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        weight = 0.0
        if not edge.dead:
            weight = math.exp(completion.scale * (_value(edge, completion) - completion.high))
            weight *= max(float(edge.prior), _SMALLEST)
        tree.scores[number, BONUS] = weight  # nothing else of these rules is kept with edges
        total += weight
    untried = math.exp(completion.scale * (completion.mixed - completion.high))
    if node.made < node.total:
        total += completion.rest * untried
    chosen, best = NOTHING, -math.inf
    if node.made < node.total:
        prior = 1.0 / node.total
        if node.ranked >= 0:
            prior = max(float(tree.candidates[node.ranked + node.made].prior), _SMALLEST)
        chosen, best = NEW, prior * untried / total
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        score = tree.scores[number, BONUS] / total - (edge.visits + edge.pending) / (1.0 + completion.visits)
        if not edge.dead and score > best:
            chosen, best = number, score
    return chosen


@kernel
def select_at_root(tree, settings):
    """Edge of the root by sequential halving, or `NEW`, whose candidate was brought to its place, or `NOTHING`."""
    node = tree.nodes[0]
    completion = complete(tree, settings, 0)
    begun = 0.0
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        begun += edge.visits + edge.pending - tree.sample[edge.action, BEFORE]
    actions = min(settings.considered, node.total)
    wanted = considered_visits(actions, settings.planned, int(begun))
    chosen, best = NOTHING, -math.inf
    fallback, second = NOTHING, -math.inf
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        if edge.dead:
            continue
        score = _root_score(tree, edge.action, edge.prior, _value(edge, completion), completion)
        if edge.visits + edge.pending - tree.sample[edge.action, BEFORE] == wanted and score > best:
            chosen, best = number, score
        if score > second:
            fallback, second = number, score
    grows = node.made < node.total and not (settings.frozen and node.made > 0)  # without room the tried ones go on
    if grows and (wanted == 0 or fallback == NOTHING):
        place = _bring_forward(tree, node)
        candidate = tree.candidates[place]
        if _root_score(tree, candidate.action, candidate.prior, completion.mixed, completion) > best:
            return NEW
    return chosen if chosen != NOTHING else fallback


@kernel
def _root_score(tree, action, prior, value, completion):
    """g + ln p + sigma(q) of an action of the root, up to what all have in common."""
    logit = math.log(max(float(prior), _SMALLEST))
    return tree.sample[action, GUMBEL] + logit + completion.scale * (value - completion.low)


@kernel
def _bring_forward(tree, node):
    """Put the candidate of greatest g + ln p where the next edge looks for it; returns the place."""
    place = node.ranked + node.made
    found, best = place, -math.inf
    for k in range(place, node.ranked + node.total):
        candidate = tree.candidates[k]
        score = math.log(max(float(candidate.prior), _SMALLEST)) + tree.sample[candidate.action, GUMBEL]
        if score > best:
            found, best = k, score
    prior, action = tree.candidates[found].prior, tree.candidates[found].action
    tree.candidates[found].prior = tree.candidates[place].prior
    tree.candidates[found].action = tree.candidates[place].action
    tree.candidates[place].prior = prior
    tree.candidates[place].action = action
    return place
