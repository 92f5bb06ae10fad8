"""Simulations of many trees: walk, evaluate and back up, in one piece or with an evaluation from outside in between."""

from __future__ import annotations

import math

import numpy as np

from trajopt.lowering.call import STREAM, STREAM_LOW, VALUE, call_entry
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_expand import RAISED, expand
from trajopt.solvers.kernels.tree_memory import (
    CANDIDATES,
    DECISION,
    EDGES,
    LARGEST,
    NODES,
    SIMULATIONS,
    add_node,
    find_or_enter,
    tree_of,
)
from trajopt.solvers.kernels.tree_random import draw_word
from trajopt.solvers.kernels.tree_settings import DEAD, DONE, EVALUATE, FAULTY, FULL
from trajopt.solvers.kernels.tree_walk import back_up, end_walk, last_edge, walk

_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@kernel(forceinline=True)
def evaluate(tree, rules, desk, index):
    """Value of a node by the entry ``evaluate``, which may spoil its copy of the state; priors stay in the weights."""
    for k in range(tree.states.shape[1]):
        desk.state[0, k] = tree.states[index, k]
    word = draw_word(tree.stream)
    desk.numbers[STREAM] = np.float64(word >> _HALF)
    desk.numbers[STREAM_LOW] = np.float64(word & _LOW)
    if call_entry(rules.evaluate, desk.state, 0, desk.numbers, desk.weights, desk.mask) != 0:
        return RAISED
    for k in range(desk.priors.shape[0]):
        desk.priors[k] = desk.weights[k]
    return 0


@kernel(forceinline=True)
def finish(tree, rules, settings, desk, paths, slot, value):
    """Expand the node where a walk ended, if it is new, and back up; returns how that went."""
    how, index = paths.ends[slot, 0], paths.ends[slot, 2]
    if how == EVALUATE:
        if not math.isfinite(value):
            tree.nodes[index].dead = True
            how = DEAD
        else:
            status = expand(tree, rules, settings, desk, index, value)
            if status < 0:
                how = FAULTY if status == RAISED else FULL
            elif tree.nodes[index].dead:
                how = DEAD
    paths.ends[slot, 0] = how
    if how in (EVALUATE, DONE):
        back_up(tree, settings, paths, slot, value)
    else:
        end_walk(tree, settings, paths, slot)
    if how in (FULL, FAULTY):
        return how
    tree.counters[SIMULATIONS] += 1
    return DONE


@kernel(forceinline=True)
def has_room(tree, settings):
    """Whether a simulation can be begun; see `Settings`. One block of edges may grow, and new nodes have small ones."""
    nodes = tree.counters[NODES] + settings.new_nodes
    edges = tree.counters[EDGES] + 2 * tree.counters[LARGEST] + settings.new_nodes
    candidates = tree.counters[CANDIDATES] + settings.new_candidates
    fits = nodes <= tree.nodes.shape[0] and edges <= tree.edges.shape[0] and candidates <= tree.candidates.shape[0]
    return fits or settings.frozen


@kernel(forceinline=True)
def simulate(tree, rules, settings, desk, paths, slot):
    """One simulation with the entry ``evaluate``; returns `DONE`, or `FULL` or `FAULTY`, and then it does not count."""
    walk(tree, rules, settings, desk, paths, slot)
    value = paths.values[slot]
    if paths.ends[slot, 0] == EVALUATE:
        if evaluate(tree, rules, desk, paths.ends[slot, 2]) < 0:
            paths.ends[slot, 0] = FAULTY
        value = desk.numbers[VALUE]
    return finish(tree, rules, settings, desk, paths, slot, value)


@kernel
def search(forest, rules, settings, desk, paths, first, last, limit):
    """Simulate in the trees from ``first`` up to ``last`` until each has done ``limit`` or its root is settled.

    Returns `DONE`, or `FULL` or `FAULTY` as soon as a tree meets that.
    """
    for t in range(first, last):
        tree = tree_of(forest, t)
        root = tree.nodes[0]
        while tree.counters[SIMULATIONS] < limit and not (root.exact or root.dead):
            how = FULL
            if has_room(tree, settings):
                how = simulate(tree, rules, settings, desk, paths, first)
            if how != DONE:
                return how
    return DONE


@kernel
def traverse(forest, rules, settings, desk, paths, first, last, limit, states):
    """Walk with each slot of the trees from ``first`` up to ``last``; ``states`` (S, words) are what to evaluate.

    Walks that need no evaluation are finished at once. Slots of trees that have done ``limit`` or whose root is settled
    rest, and so do walks that found no room; their end is `DONE`. Returns `DONE`, or the worst of `FULL` and `FAULTY`.
    """
    worst = DONE
    for t in range(first, last):
        tree = tree_of(forest, t)
        for slot in range(t * settings.slots, (t + 1) * settings.slots):
            paths.ends[slot, 0] = DONE
        for slot in range(t * settings.slots, (t + 1) * settings.slots):
            done = tree.counters[SIMULATIONS] + slot - t * settings.slots
            if done >= limit or tree.nodes[0].exact or tree.nodes[0].dead:
                break
            if not has_room(tree, settings):
                worst = max(worst, FULL)
                break
            walk(tree, rules, settings, desk, paths, slot)
            how, index = paths.ends[slot, 0], paths.ends[slot, 2]
            if how == EVALUATE and rules.advance == 0 and tree.nodes[index].evaluated:  # a path may be no longer
                how = DONE
                paths.ends[slot, 0] = DONE
                paths.values[slot] = tree.nodes[index].raw
            if how == EVALUATE:
                for k in range(states.shape[1]):
                    states[slot, k] = tree.states[paths.ends[slot, 2], k]
            else:
                how = finish(tree, rules, settings, desk, paths, slot, paths.values[slot])
                paths.ends[slot, 0] = DONE
                worst = max(worst, how)
    return worst


@kernel
def list_actions(forest, settings, paths, first, last, actions):
    """Tell in ``actions`` (S,) by which action each slot is to step from what `traverse` gathered; -1: by none."""
    for t in range(first, last):
        tree = tree_of(forest, t)
        for slot in range(t * settings.slots, (t + 1) * settings.slots):
            actions[slot] = -1
            if paths.ends[slot, 0] == EVALUATE and paths.ends[slot, 1] > 0:
                actions[slot] = tree.edges[last_edge(tree, paths, slot)].action


@kernel
def receive_steps(forest, rules, settings, desk, paths, first, last, states, rewards, discounts):
    """Enter the steps of a model that were taken as `list_actions` told; `receive` must follow.

    ``states`` (S, words), ``rewards`` (S,), ``discounts`` (S,). Returns as `traverse`.
    """
    worst = DONE
    for t in range(first, last):
        tree = tree_of(forest, t)
        for slot in range(t * settings.slots, (t + 1) * settings.slots):
            if paths.ends[slot, 0] != EVALUATE or paths.ends[slot, 1] == 0:
                continue
            how = _enter_step(tree, settings, paths, slot, states, rewards[slot], discounts[slot])
            if how != EVALUATE:
                paths.ends[slot, 0] = how
                worst = max(worst, finish(tree, rules, settings, desk, paths, slot, 0.0))
                paths.ends[slot, 0] = DONE
    return worst


@kernel
def _enter_step(tree, settings, paths, slot, states, reward, discount):
    """Enter one step into the last edge of a walk; returns how the walk ends then."""
    index, edge = paths.ends[slot, 2], tree.edges[last_edge(tree, paths, slot)]
    edge.reward = reward
    edge.discount = discount
    if not (math.isfinite(reward) and math.isfinite(discount)):
        edge.dead = True
        return DEAD
    if discount == 0.0:
        edge.value = reward
        edge.exact = settings.proven != 0
        edge.child = -1
        if settings.slots == 1:  # with more, another walk may wait for the same node
            tree.counters[NODES] -= 1
        return DONE
    for k in range(states.shape[1]):
        tree.states[index, k] = states[slot, k]
    return EVALUATE


@kernel
def receive(forest, rules, settings, desk, paths, first, last, values, priors):
    """Expand and back up what `traverse` gathered, with ``values`` (S,) and ``priors`` (S, A); returns as that does."""
    worst = DONE
    for t in range(first, last):
        tree = tree_of(forest, t)
        for slot in range(t * settings.slots, (t + 1) * settings.slots):
            if paths.ends[slot, 0] != EVALUATE:
                continue
            for k in range(desk.priors.shape[0]):
                desk.priors[k] = priors[slot, k] if k < priors.shape[1] else 0.0
            worst = max(worst, finish(tree, rules, settings, desk, paths, slot, values[slot]))
    return worst


@kernel
def plant(forest, roots, evaluated):
    """Begin each tree with a root of a state of ``roots`` (B, words), which may count as ``evaluated``."""
    for t in range(roots.shape[0]):
        tree = tree_of(forest, t)
        index = add_node(tree, DECISION, -1)
        tree.nodes[index].evaluated = evaluated
        for k in range(roots.shape[1]):
            tree.states[index, k] = roots[t, k]
        if tree.table.shape[0] > 0:
            find_or_enter(tree, index)
