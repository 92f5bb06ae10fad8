"""What is done at roots alone: their legal actions and priors before a search, the answer after it."""

from __future__ import annotations

from trajopt.lowering.call import NATURE
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.tree_expand import rank_next, weigh
from trajopt.solvers.kernels.tree_memory import CANDIDATES, CHANCE, DECISION, SAMPLED, tree_of
from trajopt.solvers.kernels.tree_select import show


@kernel
def inspect_roots(forest, rules, desk, possible, nature):
    """Fill ``possible`` (B, A) with what each root allows, ``nature`` (B,) with who moves; -1 if a rule raised."""
    for t in range(forest.nodes.shape[0]):
        tree = tree_of(forest, t)
        if weigh(tree, rules, desk, 0) < 0:
            return -1
        nature[t] = desk.numbers[NATURE] > 0.0
        for k in range(possible.shape[1]):
            possible[t, k] = desk.weights[k] > 0.0
    return 0


@kernel
def read_priors(forest, possible, priors):
    """Fill ``priors`` (B, A) with those of the roots' actions."""
    for t in range(forest.nodes.shape[0]):
        tree = tree_of(forest, t)
        node = tree.nodes[0]
        count = 0
        for k in range(possible.shape[1]):
            count += 1 if possible[t, k] else 0
        for k in range(possible.shape[1]):
            priors[t, k] = 1.0 / count if possible[t, k] else 0.0
        if node.ranked >= 0:
            for k in range(node.ranked, node.ranked + node.total):
                priors[t, tree.candidates[k].action] = tree.candidates[k].prior


@kernel
def set_priors(forest, settings, possible, priors):
    """Give the roots other priors (B, A); there is room for as many candidates."""
    for t in range(forest.nodes.shape[0]):
        tree = tree_of(forest, t)
        node = tree.nodes[0]
        if node.kind != DECISION:
            continue
        start = tree.counters[CANDIDATES]
        k = start
        for number in range(node.first, node.first + node.made):  # place i belongs to edge i
            edge = tree.edges[number]
            edge.prior = priors[t, edge.action]
            tree.candidates[k].action = edge.action
            tree.candidates[k].prior = edge.prior
            show(tree, settings, number, node.kind)
            k += 1
        for action in range(possible.shape[1]):
            made = not possible[t, action]
            for number in range(node.first, node.first + node.made):
                made = made or tree.edges[number].action == action
            if not made:
                tree.candidates[k].action = action
                tree.candidates[k].prior = priors[t, action]
                k += 1
        tree.counters[CANDIDATES] = k
        node.ranked = start
        node.total = k - start
        if node.made < node.total:
            rank_next(tree, 0)


@kernel
def read_roots(forest, visits, values, certain, dead):
    """Fill arrays (B, A) with what is known of the roots' actions; ``values`` of those never tried stay as they are."""
    for t in range(forest.nodes.shape[0]):
        tree = tree_of(forest, t)
        node = tree.nodes[0]
        if node.kind != DECISION:
            continue
        for number in range(node.first, node.first + node.made):
            edge = tree.edges[number]
            visits[t, edge.action] = edge.visits
            certain[t, edge.action] = edge.exact
            dead[t, edge.action] = edge.dead
            if edge.visits > 0:
                values[t, edge.action] = edge.value


@kernel
def _best_edge(tree, index):
    """Most visited edge of a node, or its best certain one where the node is certain; -1 if none was visited."""
    node = tree.nodes[index]
    by_value = node.exact and node.kind == DECISION
    best = -1
    for number in range(node.first, node.first + node.made):
        edge = tree.edges[number]
        if edge.visits == 0 or edge.dead or (by_value and not edge.exact):
            continue
        if best >= 0:
            rival = tree.edges[best]
            better = edge.value > rival.value
            if not by_value and edge.visits != rival.visits:
                better = edge.visits > rival.visits
            if not better:
                continue
        best = number
    return best


@kernel
def read_variations(forest, actions, variations, lengths):
    """Fill ``variations`` (B, L) with the best play after the chosen ``actions`` (B,), and ``lengths`` (B,)."""
    for t in range(forest.nodes.shape[0]):
        tree = tree_of(forest, t)
        index, length = 0, 0
        while index >= 0 and length < variations.shape[1]:
            node = tree.nodes[index]
            number = _best_edge(tree, index)
            if index == 0 and node.kind == DECISION:
                for other in range(node.first, node.first + node.made):
                    if tree.edges[other].action == actions[t]:
                        number = other
            if number < 0 or (node.kind == CHANCE and node.made == 0):
                break
            if node.kind != SAMPLED:
                variations[t, length] = tree.edges[number].action
                length += 1
            index = tree.edges[number].child
        lengths[t] = length
