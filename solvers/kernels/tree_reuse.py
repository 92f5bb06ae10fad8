"""Tables and trees made anew: after growth, and from what lies below a node that has become the root."""

from __future__ import annotations

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_memory import (
    BONUS,
    CANDIDATES,
    EDGES,
    NODES,
    SAMPLED,
    SHOWN,
    find_or_enter,
    tree_of,
)


@kernel
def enter_all(forest):
    """Fill the empty tables of states with all nodes."""
    for t in range(forest.nodes.shape[0]):
        tree = tree_of(forest, t)
        for index in range(tree.counters[NODES]):
            if tree.nodes[index].kind != SAMPLED:
                find_or_enter(tree, index)


@kernel
def _enlist(source, target, numbers, index, parent):
    """Number in the target of a node of the source, which is copied when it is first met."""
    if numbers[index] < 0:
        fresh = target.counters[NODES]
        numbers[index] = fresh
        target.counters[NODES] = fresh + 1
        target.nodes[fresh] = source.nodes[index]
        target.nodes[fresh].parent = parent
        target.nodes[fresh].pending = 0
        for k in range(source.states.shape[1]):
            target.states[fresh, k] = source.states[index, k]
    return numbers[index]


@kernel
def transplant(old, t, root, new, u, numbers, origins):
    """Copy what lies below node ``root`` of tree ``t`` of the forest ``old`` into the empty tree ``u`` of ``new``.

    The new tree has at least as much room. ``numbers`` (N,) of the old, all -1, and ``origins`` (N,) are work memory.
    """
    source, target = tree_of(old, t), tree_of(new, u)
    _enlist(source, target, numbers, root, -1)
    origins[0] = root
    done = 0
    while done < target.counters[NODES]:
        node, fresh = source.nodes[origins[done]], target.nodes[done]
        # A block of the same size at once: grown step by step, blocks would leave holes and need more room in all.
        first = target.counters[EDGES]
        target.counters[EDGES] = first + node.room
        fresh.first = first if node.room > 0 else -1
        for k in range(node.made):
            edge, number = source.edges[node.first + k], first + k
            target.edges[number] = edge
            target.edges[number].pending = 0
            target.scores[number, SHOWN] = source.scores[node.first + k, SHOWN]
            target.scores[number, BONUS] = source.scores[node.first + k, BONUS]
            if edge.child >= 0:
                met = target.counters[NODES]
                target.edges[number].child = _enlist(source, target, numbers, edge.child, done)
                if target.counters[NODES] > met:
                    origins[met] = edge.child
        if node.ranked >= 0:
            start = target.counters[CANDIDATES]
            for k in range(node.total):
                target.candidates[start + k] = source.candidates[node.ranked + k]
            target.counters[CANDIDATES] = start + node.total
            fresh.ranked = start
        done += 1
