"""The walk of one simulation from the root to where something is to be evaluated, and the way back.

Backed up along the path is q = reward + discount * v, with v the value of the child as seen by who moves there:

    mean      the edge's and the node's value are means of all q
    maximum   the edge's value is q of the child's value, the node's the largest of its edges'

A chance node takes the mean, with visits as its outcomes' probabilities ask for. A value is certain where the process
ends, at a node one of whose edges certainly has the largest possible return, and at a node all of whose edges are
certain: their largest where a player moves, their mean where nature does. It takes the place of means (Winands 2008).
"""

from __future__ import annotations

import math

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_expand import NO_ROOM, count_failure, make_child, sample_outcome, settle
from trajopt.solvers.kernels.tree_memory import CHANCE, DECISION, SAMPLED
from trajopt.solvers.kernels.tree_select import select, show
from trajopt.solvers.kernels.tree_settings import DEAD, DONE, EVALUATE, FAULTY, FULL, MAXIMUM, NEW, NOTHING


@kernel(forceinline=True)
def walk(tree, rules, settings, desk, paths, slot):
    """Go down from the root and note in ``paths`` how that ended; `end_walk` or `back_up` must follow."""
    index, depth = 0, 0
    how, value = DONE, 0.0
    while True:
        node = tree.nodes[index]
        if node.dead:
            how = DEAD
            break
        if settings.chance and node.total < 0 and node.kind == DECISION:
            how = _settled(tree, rules, desk, index)
            if how != DONE:
                break
        if node.exact:
            value = node.value
            break
        deepest = depth >= settings.max_depth and node.kind == DECISION
        if not node.evaluated or deepest or depth == paths.nodes.shape[1]:
            how = EVALUATE
            break
        edge, how = _next_edge(tree, rules, settings, desk, index)
        if how != DONE:
            break
        paths.nodes[slot, depth] = index
        paths.places[slot, depth] = edge - tree.nodes[index].first  # which stays when the block moves
        depth += 1
        how = DEAD if tree.edges[edge].dead else DONE
        if how == DEAD or tree.edges[edge].child < 0:
            break
        index = tree.edges[edge].child
    _note_end(tree, settings, paths, slot, how, depth, index)
    paths.values[slot] = value


@kernel(forceinline=True)
def _note_end(tree, settings, paths, slot, how, depth, index):
    """Enter how a walk ended; where nothing may grow any more, the last state of a player is valued again."""
    if how == FULL and settings.frozen:
        while tree.nodes[index].kind != DECISION:
            depth -= 1
            index = paths.nodes[slot, depth]
        how = EVALUATE
    paths.ends[slot, 0] = how
    paths.ends[slot, 1] = depth
    paths.ends[slot, 2] = index
    if settings.slots > 1:
        _mark(tree, settings, paths, slot, 1)


@kernel(forceinline=True)
def _settled(tree, rules, desk, index):
    """`DONE`, or why node ``index`` cannot be settled."""
    status = settle(tree, rules, desk, index)
    if status < 0:
        return FULL if status == NO_ROOM else FAULTY
    return DEAD if tree.nodes[index].dead else DONE


@kernel(forceinline=True)
def _next_edge(tree, rules, settings, desk, index):
    """Edge to follow from a node, made if need be, and `DONE` or why there is none."""
    node = tree.nodes[index]
    if node.kind == SAMPLED:
        edge = sample_outcome(tree, rules, settings, desk, index)
    else:
        if node.total < 0:
            how = _settled(tree, rules, desk, index)
            if how != DONE:
                return -1, how
        edge = select(tree, settings, index)
        if edge == NOTHING:
            node.dead = True
            return -1, DEAD
        if edge == NEW:
            if settings.frozen:
                return -1, FULL
            edge = make_child(tree, rules, settings, desk, index)
    if edge < 0:
        return -1, FULL if edge == NO_ROOM else FAULTY
    return edge, DONE


@kernel(forceinline=True)
def last_edge(tree, paths, slot):
    """Number of the last edge of a walk, which has one."""
    k = paths.ends[slot, 1] - 1
    return tree.nodes[paths.nodes[slot, k]].first + paths.places[slot, k]


@kernel(forceinline=True)
def _mark(tree, settings, paths, slot, change):
    """Count a simulation that is under way in everything on its path, or no more."""
    for k in range(paths.ends[slot, 1]):
        node = tree.nodes[paths.nodes[slot, k]]
        number = node.first + paths.places[slot, k]
        node.pending += change
        tree.edges[number].pending += change
        show(tree, settings, number, node.kind)


@kernel(forceinline=True)
def end_walk(tree, settings, paths, slot):
    """Give up a walk that led nowhere; where it met what is not finite, that is never chosen again."""
    if settings.slots > 1:
        _mark(tree, settings, paths, slot, -1)
    if paths.ends[slot, 0] != DEAD:
        return
    count_failure(tree)
    for k in range(paths.ends[slot, 1] - 1, -1, -1):
        node = tree.nodes[paths.nodes[slot, k]]
        number = node.first + paths.places[slot, k]
        tree.edges[number].dead = True
        show(tree, settings, number, node.kind)
        alive = node.kind == DECISION and node.made < node.total
        for other in range(node.first, node.first + node.made):
            alive = alive or (node.kind == DECISION and not tree.edges[other].dead)
        if alive:
            return
        node.dead = True


@kernel(forceinline=True)
def back_up(tree, settings, paths, slot, value):
    """Carry a finite value of where the walk ended up to the root."""
    if settings.slots > 1:
        _mark(tree, settings, paths, slot, -1)
    for k in range(paths.ends[slot, 1] - 1, -1, -1):
        node = tree.nodes[paths.nodes[slot, k]]
        number = node.first + paths.places[slot, k]
        edge = tree.edges[number]
        edge.visits += 1
        node.visits += 1
        q = edge.reward + edge.discount * value if edge.discount != 0.0 else edge.reward
        if settings.proven and not edge.exact and edge.child >= 0 and tree.nodes[edge.child].exact:
            edge.exact = True
        if edge.exact or settings.backup == MAXIMUM:
            edge.value = q
        else:
            edge.value += (q - edge.value) / edge.visits
        tree.limits[0] = min(tree.limits[0], edge.value)
        tree.limits[1] = max(tree.limits[1], edge.value)
        show(tree, settings, number, node.kind)
        node.value += (q - node.value) / node.visits
        value = q
        if settings.backup == MAXIMUM:
            node.value = _combine(tree, node)
            value = node.value
        if edge.exact and not node.exact and _is_certain(tree, settings, node, edge):
            node.exact = True
            node.value = _combine(tree, node)
            value = node.value


@kernel(forceinline=True)
def _combine(tree, node):
    """Largest value of the edges of a node where a player moves, their mean where nature does."""
    largest, total, weight = -math.inf, 0.0, 0.0
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        share = 0.0 if edge.visits == 0 else edge.prior if node.kind == CHANCE else float(edge.drawn)
        if edge.visits > 0 and not edge.dead:
            largest = max(largest, edge.value)
            total += share * edge.value
            weight += share
    return largest if node.kind == DECISION else total / weight


@kernel(forceinline=True)
def _is_certain(tree, settings, node, edge):
    """Whether the value of a node is certain, now that this edge's is."""
    if node.kind == SAMPLED:
        return False
    if node.kind == DECISION and edge.value >= settings.high:
        return True
    if node.made < node.total:
        return False
    open_edges = 0
    for number in range(node.first, node.first + node.made):
        open_edges += not tree.edges[number].exact
    return open_edges == 0
