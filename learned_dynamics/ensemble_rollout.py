"""Rollouts of an ensemble in PyTorch: every member advances its own rows, in one batched product a layer.

Rows are dealt to the members like shuffled cards, which spreads them evenly however a planner orders its plans and
particles. They stay sorted by member over the horizon, unless every step deals anew. Blocks of rows of a fixed
size go through the whole horizon, each in a thread and with random numbers of its own: they stay in the cache, and the
number of threads does not matter.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajopt.learned_dynamics.batched_network import BatchedNetwork
from trajopt.learned_dynamics.data import Array, Scale
from trajopt.learned_dynamics.extras import one_thread
from trajopt.learned_dynamics.losses import bounded
from trajopt.threads import read_threads

_BLOCK = 2048
"""Rows that advance together: enough to hide the cost of a call, few enough for 200 numbers each to stay in cache."""


class EnsembleRollout:
    """E trained members and how they advance states; the settings are those of `ProbabilisticEnsemble`."""

    def __init__(
        self, network: BatchedNetwork, bounds: Any, inputs: Scale, targets: Scale, *, reward: bool, termination: bool
    ) -> None:
        self.network = network
        self.reward = reward
        self.termination = termination
        self._bounds = torch.tensor(bounds, dtype=torch.float32)
        self._inputs = _tensors(inputs)
        self._targets = _tensors(targets)
        self._gaussians = len(targets.mean)
        self._observed = self._gaussians - reward

    def members(self, x: Array, u: Array) -> tuple[Array, Array, Array]:
        """Means and deviations of changes and reward, (E, K, D) each, and probabilities of termination (E, K)."""
        with one_thread(), torch.no_grad():
            z = torch.tensor(np.concatenate([x, u], axis=1)).expand(self.network.members, -1, -1)
            mean, deviation, ended = self._normals(z)
            mean, deviation = self._in_units(mean), self._targets[1] * deviation.double()
            ended = torch.zeros(mean.shape[:2]) if ended is None else ended
        return mean.numpy(), deviation.numpy(), ended.numpy()

    def expected_change(self, z: Tensor) -> Tensor:
        """The mean over the members of the change of state, (K, observed), of inputs (K, nz)."""
        mean, _, _ = self._normals(z.expand(self.network.members, -1, -1))
        return self._in_units(mean).mean(dim=0)[:, : self._observed]

    def _normals(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Means and deviations at unit scale, and probabilities of termination, of inputs (E, R, nz)."""
        output = self.network.forward(((z - self._inputs[0]) / self._inputs[1]).float())
        size = self._gaussians
        deviation = torch.exp(0.5 * bounded(output[..., size : 2 * size], self._bounds))
        return output[..., :size], deviation, torch.sigmoid(output[..., -1]).double() if self.termination else None

    def _in_units(self, scaled: Tensor) -> Tensor:
        """Changes and rewards in the units of the data, in float64."""
        return torch.addcmul(self._targets[0], self._targets[1], scaled.double())

    def rollout(self, x: Array, u: Array, propagation: str, generator: np.random.Generator) -> Array:
        """The states of K rollouts, (K, N+1, nx), of states (K, nx) and controls (K, N, nu)."""
        seed = _seed_of(propagation, generator)

        def block(number: int) -> Any:
            rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
            with torch.no_grad():  # holds for a thread
                return self._advance(torch.tensor(x[rows]), torch.tensor(u[rows]), propagation, seed + number).numpy()

        count = max(1, -(-len(x) // _BLOCK))
        if count == 1:
            return block(0)
        with one_thread(), ThreadPoolExecutor(read_threads(None, count)) as pool:
            return np.concatenate(list(pool.map(block, range(count))))

    def tracked(self, x: Array, u: Tensor, propagation: str, generator: np.random.Generator) -> Tensor:
        """The states of `rollout` with the same random numbers, which autograd can follow back to ``u``."""
        seed, parts = _seed_of(propagation, generator), []
        for number in range(max(1, -(-len(x) // _BLOCK))):
            rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
            parts.append(self._advance(torch.tensor(x[rows]), u[rows], propagation, seed + number))
        return torch.cat(parts)

    def _advance(self, x: Tensor, u: Tensor, propagation: str, seed: int) -> Tensor:
        """The rollouts of one block."""
        random = torch.Generator().manual_seed(seed)
        if propagation in ("expectation", "moment_matching"):
            return self._together(x, u, random if propagation == "moment_matching" else None)
        return self._dealt(x, u, propagation, random)

    def _together(self, x: Tensor, u: Tensor, random: torch.Generator | None) -> Tensor:
        """Rollouts in which all members advance every row, by their mean or by draws from its normal."""
        states = [x]
        for k in range(u.shape[1]):
            z = torch.cat([states[k][:, : self._observed], u[:, k]], dim=1)
            mean, deviation, ended = self._normals(z.expand(self.network.members, -1, -1))
            drawn = mean.mean(dim=0)
            if random is not None:
                spread = (deviation.square().mean(dim=0) + mean.var(dim=0, correction=0)).sqrt()
                drawn = drawn + spread * _normal(drawn, random)
            states.append(self._assemble(states[k], drawn, None if ended is None else ended.mean(dim=0)))
        return torch.stack(states, dim=1)

    def _dealt(self, x: Tensor, u: Tensor, propagation: str, random: torch.Generator) -> Tensor:
        """Rollouts in which a member advances its rows alone: the same ones to the end, or under "ts1" for a step."""
        members, anew = self.network.members, propagation == "ts1"
        places = -(-len(x) // members) * members
        order = torch.randperm(places, generator=random)[: len(x)]
        state, controls = _deal(x, order, places, members), _deal(u, order, places, members)
        states = [x]
        for k in range(u.shape[1]):
            control = controls[:, :, k]
            if anew and k:
                order = torch.randperm(places, generator=random)[: len(x)]
                state, control = (_deal(rows, order, places, members) for rows in (states[k], u[:, k]))
            mean, deviation, ended = self._normals(torch.cat([state[..., : self._observed], control], dim=2))
            drawn = mean if propagation == "mean_sample" else mean + deviation * _normal(mean, random)
            state = self._assemble(state, drawn, ended)
            states.append(state.reshape(places, -1)[order])
        return torch.stack(states, dim=1)

    def _assemble(self, state: Tensor, drawn: Tensor, ended: Tensor | None) -> Tensor:
        """States from changes at unit scale, with ``return`` and ``alive`` where they are learned."""
        change = self._in_units(drawn)
        if not self.reward and ended is None:
            return state + change
        parts = [state[..., : self._observed] + change[..., : self._observed]]
        alive = state[..., -1] if self.termination else torch.ones_like(state[..., -1])
        if self.reward:
            parts.append((state[..., self._observed] + alive * change[..., -1])[..., None])
        if ended is not None:
            parts.append((alive * (1.0 - ended))[..., None])
        return torch.cat(parts, dim=-1)


def _seed_of(propagation: str, generator: np.random.Generator) -> int:
    return 0 if propagation == "expectation" else int(generator.integers(2**62))


def _tensors(scale: Scale) -> tuple[Tensor, Tensor]:
    return torch.tensor(scale.mean), torch.tensor(scale.deviation)


def _normal(like: Tensor, random: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=random, dtype=torch.float32)


def _deal(rows: Tensor, order: Tensor, places: int, members: int) -> Tensor:
    """Rows (K, ...) as (E, R, ...), row i at place ``order[i]``; free places repeat the first row."""
    dealt = rows[:1].expand(places, *rows.shape[1:]).clone()
    dealt[order] = rows
    return dealt.view(members, -1, *rows.shape[1:])
