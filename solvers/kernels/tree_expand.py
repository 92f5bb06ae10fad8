"""Expansion: children as they are first visited, their legal actions, and what an evaluation says of them."""

from __future__ import annotations

import math

import numpy as np

from trajopt.lowering.call import ACTION, DISCOUNT, NATURE, REWARD, UNIFORM, call_entry
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_memory import (
    CANDIDATES,
    CHANCE,
    DECISION,
    FAILURES,
    NODES,
    PRIOR_FAULTS,
    SAMPLED,
    add_edge,
    add_node,
    copy_state,
    find_or_enter,
    same_state,
)
from trajopt.solvers.kernels.tree_random import below, draw_word, unit
from trajopt.solvers.kernels.tree_select import may_widen, show

NO_ROOM, RAISED = -1, -2
"""In place of an edge, or of success: there is no room; a rule raised."""


@kernel
def _weigh_by_priors(desk):
    """What is possible in a model, which knows no rules: what has a prior; if nothing has, what has NaN for one."""
    possible = False
    for k in range(desk.priors.shape[0]):
        possible = possible or desk.priors[k] > 0.0
    for k in range(desk.priors.shape[0]):
        faulty = math.isnan(desk.priors[k])
        desk.weights[k] = 1.0 if desk.priors[k] > 0.0 or (faulty and not possible) else 0.0


@kernel(forceinline=True)
def weigh(tree, rules, desk, index):
    """Ask the rules who moves in a node and what may happen; returns how many weights are not zero, or `RAISED`."""
    words = tree.states.shape[1]
    if rules.weigh == 0:
        _weigh_by_priors(desk)
    elif call_entry(rules.weigh, tree.states, index * words, desk.numbers, desk.weights, desk.mask) != 0:
        return RAISED
    count = 0
    for k in range(desk.priors.shape[0]):
        if desk.weights[k] > 0.0:
            count += 1
    return count


@kernel(forceinline=True)
def rank_next(tree, index):
    """Bring the best candidate that was not tried to where the next edge looks for it; ties are broken by lot."""
    node = tree.nodes[index]
    start = node.ranked + node.made
    best, ties = start, 1
    for k in range(start + 1, node.ranked + node.total):
        if tree.candidates[k].prior > tree.candidates[best].prior:
            best, ties = k, 1
        elif tree.candidates[k].prior == tree.candidates[best].prior:
            ties += 1
            if below(draw_word(tree.stream), ties) == 0:
                best = k
    if best != start:
        prior, action = tree.candidates[best].prior, tree.candidates[best].action
        tree.candidates[best].prior = tree.candidates[start].prior
        tree.candidates[best].action = tree.candidates[start].action
        tree.candidates[start].prior = prior
        tree.candidates[start].action = action


@kernel(forceinline=True)
def rank(tree, desk, index, total):
    """Give node ``index``, which has no edges, candidates of the priors on the desk that are not zero or allowed to be.

    ``desk.weights`` says which actions there are. Returns 0, or `NO_ROOM`.
    """
    start = tree.counters[CANDIDATES]
    if start + total > tree.candidates.shape[0]:
        return NO_ROOM
    tree.counters[CANDIDATES] = start + total
    k = start
    for action in range(desk.priors.shape[0]):
        if desk.weights[action] > 0.0:
            tree.candidates[k].prior = desk.priors[action]
            tree.candidates[k].action = action
            k += 1
    node = tree.nodes[index]
    node.ranked = start
    node.total = total
    if total > 0:
        rank_next(tree, index)
    return 0


@kernel(forceinline=True)
def settle(tree, rules, desk, index):
    """Find out who moves in node ``index`` and how many children it can have; returns 0, `NO_ROOM` or `RAISED`."""
    total = weigh(tree, rules, desk, index)
    if total < 0:
        return total
    node = tree.nodes[index]
    if desk.numbers[NATURE] > 0.0:
        for k in range(desk.priors.shape[0]):
            desk.priors[k] = desk.weights[k]
        if rank(tree, desk, index, total) < 0:
            return NO_ROOM
        node.kind = CHANCE
        node.evaluated = True
        return 0
    node.total = total
    if total == 0:  # no way on from a state that was not said to be the end
        node.dead = True
    return 0


@kernel(forceinline=True)
def normalise_priors(tree, desk):
    """Make a distribution over the legal actions of the priors on the desk; equal where that is impossible."""
    total, count, faulty = 0.0, 0, False
    for k in range(desk.priors.shape[0]):
        if not (0.0 <= desk.priors[k] < math.inf):
            desk.priors[k] = 0.0
            faulty = True
        if desk.weights[k] > 0.0:
            total += desk.priors[k]
            count += 1
    usable = 0.0 < total < math.inf
    if faulty or not usable:
        tree.counters[PRIOR_FAULTS] += 1
    for k in range(desk.priors.shape[0]):
        desk.priors[k] = desk.priors[k] / total if usable else 1.0 / max(count, 1)


@kernel(forceinline=True)
def expand(tree, rules, settings, desk, index, value):
    """Enter the evaluation of a node: its value and, where there are any, the priors on the desk.

    Returns 0, `NO_ROOM` or `RAISED`. A node that was evaluated already, by another walk, stays as it is.
    """
    node = tree.nodes[index]
    if node.evaluated:
        return 0
    if settings.priors:
        total = weigh(tree, rules, desk, index)
        if total < 0:
            return total
        normalise_priors(tree, desk)
        if rank(tree, desk, index, total) < 0:
            return 0 if settings.frozen else NO_ROOM
        if total == 0:
            node.dead = True
    node.evaluated = True
    node.raw = value
    node.value = value
    node.visits = 1
    return 0


@kernel(forceinline=True)
def _untried_action(tree, rules, desk, index):
    """An action of node ``index`` that has no edge yet, by lot; `RAISED` if a rule raised."""
    node = tree.nodes[index]
    if weigh(tree, rules, desk, index) < 0:
        return RAISED
    for number in range(node.first, node.first + node.made):
        desk.weights[tree.edges[number].action] = 0.0
    remaining = below(draw_word(tree.stream), node.total - node.made)
    for action in range(desk.priors.shape[0]):
        if desk.weights[action] > 0.0:
            if remaining == 0:
                return action
            remaining -= 1
    return RAISED  # the rule legal says another thing than before


@kernel(forceinline=True)
def _follow(tree, rules, desk, parent, action, uniform):
    """Take a step from ``parent`` to a new node, with reward and discount on the desk; its number, or as an edge."""
    words = tree.states.shape[1]
    child = add_node(tree, DECISION, parent)
    if child < 0:
        return NO_ROOM
    copy_state(tree.states, parent, child)
    if rules.advance == 0:  # who evaluates the child takes the step as well, see `receive_steps`
        desk.numbers[REWARD] = 0.0
        desk.numbers[DISCOUNT] = 1.0
        return child
    desk.numbers[ACTION] = action
    desk.numbers[UNIFORM] = uniform
    if call_entry(rules.advance, tree.states, child * words, desk.numbers, desk.weights, desk.mask) != 0:
        tree.counters[NODES] -= 1
        return RAISED
    return child


@kernel(forceinline=True)
def _connect(tree, settings, number, child, reward, discount):
    """Enter what a step led to into its edge; the last node made is given back where it is not needed."""
    edge = tree.edges[number]
    edge.reward = reward
    edge.discount = discount
    if not (math.isfinite(reward) and math.isfinite(discount)):
        edge.dead = True
        tree.counters[NODES] -= 1
        return
    if discount == 0.0:
        edge.value = reward
        edge.exact = settings.proven != 0
        tree.counters[NODES] -= 1
        return
    found = child
    if tree.table.shape[0] > 0:
        found = find_or_enter(tree, child)
    edge.child = found
    if found != child:
        tree.counters[NODES] -= 1


@kernel(forceinline=True)
def make_child(tree, rules, settings, desk, index):
    """Edge to the next child of node ``index``, which is not a sampled one; or `NO_ROOM`, or `RAISED`."""
    node = tree.nodes[index]
    prior = np.float32(1.0 / node.total)
    if node.ranked >= 0:
        action = np.int64(tree.candidates[node.ranked + node.made].action)
        prior = tree.candidates[node.ranked + node.made].prior
    else:
        action = _untried_action(tree, rules, desk, index)
        if action < 0:
            return action
    awaits = settings.random_step and node.kind == DECISION
    if awaits:
        child = add_node(tree, SAMPLED, index)
        if child < 0:
            return NO_ROOM
        copy_state(tree.states, index, child)
        tree.nodes[child].action = action
        tree.nodes[child].evaluated = True
    else:
        child = _follow(tree, rules, desk, index, action, 0.0)
        if child < 0:
            return child
    reward, discount = desk.numbers[REWARD], desk.numbers[DISCOUNT]
    number = add_edge(tree, index, action, prior)
    if number < 0:
        tree.counters[NODES] -= 1
        return NO_ROOM
    if awaits:
        tree.edges[number].child = child
    else:
        _connect(tree, settings, number, child, reward, discount)
    if node.ranked >= 0 and node.made < node.total:
        rank_next(tree, index)
    show(tree, settings, number, node.kind)
    return number


@kernel(forceinline=True)
def _same_outcome(tree, index, child, reward, discount):
    """Edge of a sampled node whose step came out just like this one, or -1."""
    node = tree.nodes[index]
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        alike = edge.reward == reward and edge.discount == discount
        if alike and (discount == 0.0 or same_state(tree.states, edge.child, child)):
            return number
    return -1


@kernel(forceinline=True)
def sample_outcome(tree, rules, settings, desk, index):
    """Edge of a sampled node: a fresh step, or where widening forbids another child one of those that were drawn."""
    node = tree.nodes[index]
    visits = float(node.visits + node.pending)
    widen = may_widen(settings.outcome_factor, settings.outcome_exponent, visits, node.made)
    if (widen and not settings.frozen) or node.made == 0:
        child = _follow(tree, rules, desk, index, node.action, unit(draw_word(tree.stream)))
        if child < 0:
            return child
        reward, discount = desk.numbers[REWARD], desk.numbers[DISCOUNT]
        number = _same_outcome(tree, index, child, reward, discount)
        if number >= 0:
            tree.counters[NODES] -= 1
            tree.edges[number].drawn += 1
            return number
        number = add_edge(tree, index, node.made, np.float32(0.0))
        if number < 0:
            tree.counters[NODES] -= 1
            return NO_ROOM
        _connect(tree, settings, number, child, reward, discount)
        return number
    draws = 0
    for number in range(node.first, node.first + node.made):
        draws += tree.edges[number].drawn
    remaining = below(draw_word(tree.stream), draws)
    for number in range(node.first, node.first + node.made):
        remaining -= tree.edges[number].drawn
        if remaining < 0:
            return number
    return node.first


@kernel(forceinline=True)
def count_failure(tree):
    """Note that a number was not finite."""
    tree.counters[FAILURES] += 1
