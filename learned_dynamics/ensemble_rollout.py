"""Rollouts of an ensemble: every member advances its own rows, in machine code (`rollout_code`) a tile at a time.

Rows are dealt to the members like shuffled cards, which spreads them evenly however a planner orders its plans and
particles. They stay with their member over the horizon, unless every step deals anew. Tiles are carried through the
whole horizon in chunks of a fixed size, each in a thread and with random numbers of its own: states stay in the cache,
and the number of threads does not matter. Where all members advance every row, PyTorch computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajopt.learned_dynamics.batched_network import BatchedNetwork
from trajopt.learned_dynamics.data import Array, Scale, kept
from trajopt.learned_dynamics.extras import one_thread
from trajopt.learned_dynamics.losses import bounded
from trajopt.learned_dynamics.tiles import Tiles, in_threads

_BLOCK = 2048
"""Rows that advance together: enough to hide the cost of a call, few enough for 200 numbers each to stay in cache."""


_DEALT = ("ts1", "tsinf", "mean_sample")
"""Propagations in which a row has a member."""


class EnsembleRollout:
    """E trained members and how they advance states; the settings are those of `ProbabilisticEnsemble`."""

    def __init__(
        self,
        network: BatchedNetwork,
        bounds: Any,
        inputs: Scale,
        targets: Scale,
        *,
        angles: Sequence[int],
        reward: bool,
        termination: bool,
    ) -> None:
        self.network = network
        self.angles = list(angles)
        self.reward = reward
        self.termination = termination
        self._bounds = torch.tensor(bounds, dtype=torch.float32)
        self._inputs = _tensors(inputs)
        self._targets = _tensors(targets)
        self._gaussians = len(targets.mean)
        self._observed = self._gaussians - reward
        self._tiles = Tiles(network, bounds, inputs, targets, self.angles, self._observed, termination=termination)

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
        if self.angles:
            turned = z[..., self.angles]
            z = torch.cat([turned.sin(), turned.cos(), z[..., kept(z.shape[-1], self.angles)]], dim=-1)
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
        if propagation in _DEALT:
            return self._dealt(x, u, propagation, seed)

        def block(number: int) -> Any:
            rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
            with torch.no_grad():  # holds for a thread
                return self._together(torch.tensor(x[rows]), torch.tensor(u[rows]), propagation, seed + number).numpy()

        return np.concatenate(in_threads(block, max(1, -(-len(x) // _BLOCK))))

    def tracked(self, x: Array, u: Tensor, propagation: str, generator: np.random.Generator) -> Tensor:
        """The states of `rollout` with the same random numbers, which autograd can follow back to ``u``."""
        seed, parts = _seed_of(propagation, generator), []
        if propagation in _DEALT:
            return self._followed(torch.tensor(x), u, propagation, seed)
        for number in range(max(1, -(-len(x) // _BLOCK))):
            rows = slice(number * _BLOCK, (number + 1) * _BLOCK)
            parts.append(self._together(torch.tensor(x[rows]), u[rows], propagation, seed + number))
        return torch.cat(parts)

    def _together(self, x: Tensor, u: Tensor, propagation: str, seed: int) -> Tensor:
        """Rollouts in which all members advance every row, by their mean or by draws from its normal."""
        random = torch.Generator().manual_seed(seed) if propagation == "moment_matching" else None
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

    def _dealt(self, x: Array, u: Array, propagation: str, seed: int) -> Array:
        """Rollouts in which a member advances its rows alone: the same ones to the end, or under "ts1" for a step."""
        noisy, n = propagation != "mean_sample", self._observed
        if propagation == "ts1":
            steps = [x[:, :n]]
            raw = np.zeros((len(x), u.shape[1] + 1, self._tiles.columns))
            for k in range(u.shape[1]):
                raw[:, k + 1] = self._tiles.carry(steps[k], u[:, k : k + 1], [seed, k], noisy=noisy)[:, 1]
                steps.append(raw[:, k + 1, :n])
        else:
            raw = self._tiles.carry(x[:, :n], u, [seed, 0], noisy=noisy)
        result = np.empty((len(x), u.shape[1] + 1, x.shape[1]))
        result[:, 0], result[:, 1:, :n] = x, raw[:, 1:, :n]
        alive = np.ones((len(x), u.shape[1] + 1))
        if self.termination:
            np.cumprod(1.0 - raw[:, 1:, -1], axis=1, out=alive[:, 1:])
            alive *= x[:, -1, None]
            result[..., -1] = alive
        if self.reward:
            result[:, 1:, n] = x[:, n, None] + np.cumsum(alive[:, :-1] * raw[:, 1:, n], axis=1)
        return result

    def _followed(self, x: Tensor, u: Tensor, propagation: str, seed: int) -> Tensor:
        """The rollouts of `_dealt` in PyTorch, with the numbers that those draw."""
        members, noisy, states = self.network.members, propagation != "mean_sample", [x]
        length = 1 if propagation == "ts1" else u.shape[1]  # steps between two deals
        for first in range(0, u.shape[1], length):
            deal = self._tiles.deal(len(x), [seed, first])
            noise = torch.from_numpy(self._tiles.noise_of_rows(deal, length, noisy=noisy))
            order, places = torch.from_numpy(deal.order), deal.each * members
            rows = states[-1], u[:, first : first + length], noise
            state, controls, drawn = (_deal(part, order, places, members) for part in rows)
            for k in range(length):
                z = torch.cat([state[..., : self._observed], controls[:, :, k]], dim=2)
                mean, deviation, ended = self._normals(z)
                state = self._assemble(state, mean + deviation * drawn[:, :, k], ended)
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
