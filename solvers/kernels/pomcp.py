"""Partially observable Monte Carlo planning by the entries of a decision process (`trajopt.lowering.rules`).

A node is a history of actions and observations. Its row of statistics has one place for each action; its children, one
for each (action, observation) that has occurred, hang in a list. One simulation draws a state from the belief, walks
down by upper confidence bounds while it stays in the tree, adds one node, goes on at random, and takes the return of
each suffix into the statistics on its way back.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.call import ACTION, DISCOUNT, NATURE, REWARD, UNIFORM, VALUE, call_entry
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_random import below, draw_word, unit

DONE, FAULT, NO_ACTION, NOT_FINITE, OPPONENT = range(5)
"""How simulations may come back."""

GAIN, WEIGHT, SEEN = range(3)
"""Places of `Walk.step`: reward and discount of an edge with the chance that follows it, and the observation."""


class Rules(NamedTuple):
    """Addresses of the entries; 0 where there is no ``evaluate``.

    ``observe`` takes action and uniform number and gives the observation as value, ``evaluate`` gives the value of a
    state.
    """

    advance: int
    weigh: int
    observe: int
    evaluate: int


class Tree(NamedTuple):
    """Histories.

    Attributes
    ----------
    count
        (1,) nodes so far; the first is the root.
    visits, values
        (nodes, actions) how often each action was taken, and the mean of the returns.
    child, sibling
        (nodes, actions), (nodes,) first child of an action, and the next child of the same action; -1 for none.
    observation
        (nodes,) by which a node is reached.
    extremes
        (2,) least and largest return of any suffix so far.
    """

    count: NDArray[np.int64]
    visits: NDArray[np.int64]
    values: NDArray[np.float64]
    child: NDArray[np.int64]
    sibling: NDArray[np.int64]
    observation: NDArray[np.int64]
    extremes: NDArray[np.float64]


class Walk(NamedTuple):
    """Work of one simulation.

    Attributes
    ----------
    states
        (2, words) the current state, and a copy for rules to write in.
    numbers, weights, mask
        Memory of the entries.
    step
        (3,) see `GAIN`.
    node, action, reward, discount
        (depth,) the path.
    stream
        (2,) of random numbers.
    """

    states: NDArray[np.float64]
    numbers: NDArray[np.float64]
    weights: NDArray[np.float64]
    mask: NDArray[np.bool_]
    step: NDArray[np.float64]
    node: NDArray[np.int64]
    action: NDArray[np.int64]
    reward: NDArray[np.float64]
    discount: NDArray[np.float64]
    stream: NDArray[np.uint64]


@kernel
def _advance(rules, walk, action):
    """One edge, in place."""
    walk.numbers[ACTION] = action
    walk.numbers[UNIFORM] = unit(draw_word(walk.stream))
    if call_entry(rules.advance, walk.states, 0, walk.numbers, walk.weights, walk.mask) != 0:
        return FAULT
    if not np.isfinite(walk.numbers[REWARD] + walk.numbers[DISCOUNT]):
        return NOT_FINITE
    return DONE if walk.numbers[DISCOUNT] >= 0.0 else OPPONENT


@kernel
def weigh(rules, walk):
    """Legal actions of the current state, or probabilities of outcomes, into the weights."""
    words = walk.states.shape[1]
    for k in range(words):
        walk.states[1, k] = walk.states[0, k]
    return call_entry(rules.weigh, walk.states, words, walk.numbers, walk.weights, walk.mask)


@kernel
def settle(rules, walk):
    """Let nature move until a player is to; adds to the reward and discount in ``walk.step``."""
    while walk.step[WEIGHT] != 0.0:
        if weigh(rules, walk) != 0:
            return FAULT
        if walk.numbers[NATURE] == 0.0:
            return DONE
        rest, outcome = unit(draw_word(walk.stream)), -1
        for k in range(walk.weights.size):
            if walk.weights[k] > 0.0:  # rounding of the sum falls to the last possible outcome
                outcome = k
                rest -= walk.weights[k]
                if rest < 0.0:
                    break
        code = _advance(rules, walk, outcome)
        if code != DONE:
            return code
        walk.step[GAIN] += walk.step[WEIGHT] * walk.numbers[REWARD]
        walk.step[WEIGHT] *= walk.numbers[DISCOUNT]
    return DONE


@kernel
def observe(rules, walk, action):
    """Observation of the current state, which an action has led to."""
    words = walk.states.shape[1]
    for k in range(words):
        walk.states[1, k] = walk.states[0, k]
    walk.numbers[ACTION] = action
    walk.numbers[UNIFORM] = unit(draw_word(walk.stream))
    code = call_entry(rules.observe, walk.states, words, walk.numbers, walk.weights, walk.mask)
    walk.step[SEEN] = walk.numbers[VALUE]
    return code


@kernel
def take(rules, walk, action):
    """An action and the chance that follows it: reward and discount into ``walk.step``, the state in place."""
    code = _advance(rules, walk, action)
    if code != DONE:
        return code
    walk.step[GAIN], walk.step[WEIGHT] = walk.numbers[REWARD], walk.numbers[DISCOUNT]
    return settle(rules, walk)


@kernel
def _choose_evenly(walk):
    """Any legal action, -1 without one."""
    count = 0
    for action in range(walk.mask.size):
        count += walk.weights[action] != 0.0
    if count == 0:
        return -1
    chosen = below(draw_word(walk.stream), count)
    for action in range(walk.mask.size):
        if walk.weights[action] != 0.0:
            if chosen == 0:
                return action
            chosen -= 1
    return -1


@kernel
def _choose(tree, walk, node, exploration):
    """Untried legal actions first, in random order; then the largest upper confidence bound."""
    total, untried = 0, 0
    for action in range(walk.mask.size):
        if walk.weights[action] != 0.0:
            total += tree.visits[node, action]
            untried += tree.visits[node, action] == 0
    if untried > 0:
        for action in range(walk.mask.size):
            if tree.visits[node, action] > 0:
                walk.weights[action] = 0.0
        return _choose_evenly(walk)
    spread = tree.extremes[1] - tree.extremes[0]
    spread = exploration * (spread if spread > 0.0 else 1.0)  # as long as all returns are the same, any scale will do
    best, chosen = -np.inf, -1
    for action in range(walk.mask.size):
        if walk.weights[action] != 0.0:
            count = tree.visits[node, action]
            bound = tree.values[node, action] + spread * np.sqrt(np.log(total) / count)
            if bound > best:
                best, chosen = bound, action
    return chosen


@kernel
def _find_child(tree, node, action, observation):
    """The child of that observation, -1 if there is none yet."""
    child = tree.child[node, action]
    while child >= 0 and tree.observation[child] != observation:
        child = tree.sibling[child]
    return child


@kernel
def _add_child(tree, node, action, observation):
    child = tree.count[0]
    if child == tree.observation.size:
        return
    tree.count[0] += 1
    tree.observation[child] = observation
    tree.sibling[child] = tree.child[node, action]
    tree.child[node, action] = child


@kernel
def _roll_out(rules, walk, weight, depth, cutoff):
    """How random play comes back, and its return."""
    total, factor = 0.0, 1.0
    for _ in range(depth):
        if abs(weight * factor) < cutoff:
            break
        if weigh(rules, walk) != 0:
            return FAULT, total
        action = _choose_evenly(walk)
        if action < 0:
            return NO_ACTION, total
        code = take(rules, walk, action)
        if code != DONE:
            return code, total
        total += factor * walk.step[GAIN]
        factor *= walk.step[WEIGHT]
        if factor == 0.0:
            break
    return DONE, total


@kernel
def _value_leaf(rules, walk, weight, depth, cutoff):
    """How valuing a new history comes back, and its value: by the function for that, or random play."""
    if rules.evaluate == 0:
        return _roll_out(rules, walk, weight, depth, cutoff)
    code = call_entry(rules.evaluate, walk.states, 0, walk.numbers, walk.weights, walk.mask)
    return FAULT if code != 0 else DONE, walk.numbers[VALUE]


@kernel
def simulate(rules, tree, walk, exploration, cutoff, greedy):
    """One simulation from the state in ``walk``; returns one of `DONE` and the others."""
    node, weight, length, tail, most = 0, 1.0, 0, 0.0, walk.node.size
    while length < most and abs(weight) >= cutoff:
        if weigh(rules, walk) != 0:
            return FAULT
        action = _choose(tree, walk, node, exploration)
        if action < 0:
            return NO_ACTION
        code = take(rules, walk, action)
        if code != DONE:
            return code
        walk.node[length], walk.action[length] = node, action
        walk.reward[length], walk.discount[length] = walk.step[GAIN], walk.step[WEIGHT]
        length += 1
        weight *= walk.step[WEIGHT]
        if weight == 0.0:
            break
        if observe(rules, walk, action) != 0:
            return FAULT
        seen = np.int64(walk.step[SEEN])
        child = _find_child(tree, node, action, seen)
        if child < 0:
            _add_child(tree, node, action, seen)
            code, tail = _value_leaf(rules, walk, weight, most - length, cutoff)
            if code != DONE:
                return code
            break
        node = child
    _back_up(tree, walk, length, tail, greedy)
    return DONE


@kernel
def _back_up(tree, walk, length, tail, greedy):
    """Take the returns along the path into the statistics, from its end, where ``tail`` is what followed.

    A greedy backup hands on the best mean of a history in place of the return; its means then weigh later targets more,
    since earlier ones knew less: with the rate 2 / (n + 1) target k of n counts in proportion to k.
    """
    for k in range(length - 1, -1, -1):
        node, action = walk.node[k], walk.action[k]
        tail = walk.reward[k] + walk.discount[k] * tail
        tree.extremes[0], tree.extremes[1] = min(tree.extremes[0], tail), max(tree.extremes[1], tail)
        tree.visits[node, action] += 1
        count = tree.visits[node, action]
        rate = 2.0 / (count + 1.0) if greedy else 1.0 / count
        tree.values[node, action] += (tail - tree.values[node, action]) * rate
        if greedy:
            tail = -np.inf
            for other in range(walk.mask.size):
                if tree.visits[node, other] > 0:
                    tail = max(tail, tree.values[node, other])


@kernel
def search(rules, tree, walk, particles, exploration, cutoff, greedy, limit):
    """Run ``limit`` simulations from states of the belief (K, words)."""
    for _ in range(limit):
        chosen = below(draw_word(walk.stream), particles.shape[0])
        for k in range(particles.shape[1]):
            walk.states[0, k] = particles[chosen, k]
        code = simulate(rules, tree, walk, exploration, cutoff, greedy)
        if code != DONE:
            return code
    return DONE


@kernel
def draw_initial(rules, walk, start, out):
    """Fill particles (K, words) with what nature makes of a state."""
    for row in range(out.shape[0]):
        for k in range(out.shape[1]):
            walk.states[0, k] = start[k]
        walk.step[GAIN], walk.step[WEIGHT] = 0.0, 1.0
        code = settle(rules, walk)
        if code != DONE:
            return code
        for k in range(out.shape[1]):
            out[row, k] = walk.states[0, k]
    return DONE


@kernel
def filter_particles(rules, walk, particles, action, observation, out, count, attempts):
    """Draw particles, act, and keep those that show the observation: rejection; ``count`` (1,) is how many of them."""
    for _ in range(attempts):
        if count[0] == out.shape[0]:
            return DONE
        chosen = below(draw_word(walk.stream), particles.shape[0])
        for k in range(particles.shape[1]):
            walk.states[0, k] = particles[chosen, k]
        code = take(rules, walk, action)
        if code != DONE:
            return code
        if walk.step[WEIGHT] == 0.0:
            continue  # it would be over, but it is not
        if observe(rules, walk, action) != 0:
            return FAULT
        if np.int64(walk.step[SEEN]) == observation:
            for k in range(out.shape[1]):
                out[count[0], k] = walk.states[0, k]
            count[0] += 1
    return DONE
