"""Policies of a finite model: their values by one sparse linear system, and how they improve.

Edges with a negative weight hand over to an opponent. A policy of the player who is to move would then have to be
improved for both at once, which need not converge (van der Wal 1978). So such a model is unfolded: each state twice, as
the first player sees it when the first or the second is to move; values are the first player's, and the second
minimises. Weights are then all positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, identity
from scipy.sparse.linalg import splu

from trajopt.solvers.kernels.tabular import Table
from trajopt.solvers.tabular.bounds import CERTAIN

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Game:
    """A table whose weights are not negative, and who is to move.

    Attributes
    ----------
    table
        States and edges.
    owners
        (E,) the state that each edge leaves.
    minimises
        (S,) whether the player to move wants a small value.
    """

    table: Table
    owners: NDArray[np.int64]
    minimises: NDArray[np.bool_]

    @property
    def sign(self) -> NDArray[np.int64]:
        """(E,) -1 where the player to move wants a small value, else 1."""
        return np.where(self.minimises, -1, 1)[self.owners]

    def values(self, policy: NDArray[np.int64]) -> Array:
        """(S,) value of every state where each decision state takes its edge of ``policy`` (S,).

        Raises
        ------
        RuntimeError
            By SuperLU, when the policy never ends somewhere and the system is singular.
        """
        table, count = self.table, self.minimises.size
        kept = table.chance[self.owners]
        kept[policy[~table.chance]] = True
        rows, weights = self.owners[kept], table.weight[kept]
        transitions = csc_array((weights, (rows, table.following[kept])), shape=(count, count))
        rewards = np.bincount(rows, table.reward[kept], count)
        return splu(csc_array(identity(count)) - transitions).solve(rewards)

    def improve(self, policy: NDArray[np.int64], values: Array, minimisers: bool, threshold: float) -> bool:
        """Change ``policy`` where one side gains more than ``threshold`` by another edge; returns whether it did."""
        table, starts = self.table, self.table.first[:-1]
        gains = self.sign * (table.reward + table.weight * values[table.following])
        best = np.maximum.reduceat(gains, starts)
        edges = np.where(gains == best[self.owners], np.arange(gains.size), gains.size)
        better = ~table.chance & (self.minimises == minimisers) & (best > gains[policy] + threshold)
        policy[better] = np.minimum.reduceat(edges, starts)[better]
        return bool(better.any())

    def ending_policy(self) -> NDArray[np.int64]:
        """(S,) an edge of each state that brings the end nearer, so that the values of this policy exist.

        A state is settled when one of its edges ends, is discounted, or leads to a settled state.
        """
        table, starts = self.table, self.table.first[:-1]
        totals = np.add.reduceat(table.weight, starts)
        ends = np.where(table.chance[self.owners], totals[self.owners], table.weight) < CERTAIN
        policy, settled = starts.copy(), np.zeros(self.minimises.size, bool)
        while True:
            edges = np.where(ends | settled[table.following], np.arange(ends.size), ends.size)
            first = np.minimum.reduceat(edges, starts)
            fresh = ~settled & (first < ends.size)
            if not fresh.any():
                return policy
            policy[fresh] = first[fresh]
            settled |= fresh


def unfold(table: Table) -> Game:
    """Give each of two players states of their own, if there are two."""
    owners = np.repeat(np.arange(table.chance.size), np.diff(table.first))
    if (table.weight >= 0.0).all():
        return Game(table, owners, np.zeros(table.chance.size, bool))
    states, edges = table.chance.size, table.weight.size
    crosses = states * (table.weight < 0.0)
    doubled = Table(
        np.concatenate([table.first, table.first[1:] + edges]),
        np.tile(table.chance, 2),
        np.concatenate([table.following + crosses, table.following + states - crosses]),
        np.concatenate([table.reward, -table.reward]),
        np.tile(np.abs(table.weight), 2),
    )
    return Game(doubled, np.concatenate([owners, owners + states]), np.arange(2 * states) >= states)
