"""Mistakes in tree search: the way back, and what is counted."""

from __future__ import annotations

from .mutant import Mutant

WALK = "trajopt.solvers.kernels.tree_walk"

MUTANTS = [
    Mutant(
        "a value is not turned over to the other player", WALK,
        "q = edge.reward + edge.discount * value if edge.discount != 0.0 else edge.reward",
        "q = edge.reward + abs(edge.discount) * value if edge.discount != 0.0 else edge.reward",
        "", ("test_mcts.py::test_openspiel_won_position", "test_mcts.py::test_openspiel_lost_position"),
    ),
    Mutant(
        "the discount is applied twice", WALK,
        "q = edge.reward + edge.discount * value if edge.discount != 0.0 else edge.reward",
        "q = edge.reward + edge.discount * edge.discount * value if edge.discount != 0.0 else edge.reward",
        "", ("test_mcts.py::test_discounts_multiply_along_the_way",),
    ),
    Mutant(
        "visits of an edge are not counted", WALK,
        "edge.visits += 1\n",
        "edge.visits = 1\n",
        "", ("test_mcts.py::test_ucb1_bound_of_visits",),
    ),
    Mutant(
        "the range of values is never updated", WALK,
        "tree.limits[1] = max(tree.limits[1], edge.value)",
        "tree.limits[1] = max(tree.limits[1], -math.inf)",
        "", ("test_mcts.py::test_normalised_search_is_blind_to_units",),
    ),
]  # fmt: skip
