"""Rows of rollouts arranged in tiles for the machine code of `rollout_code`, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trajopt.learned_dynamics.batched_network import BatchedNetwork
from trajopt.learned_dynamics.data import Array, Scale
from trajopt.learned_dynamics.rollout_code import Shape, compiled
from trajopt.threads import read_threads

Result = TypeVar("Result")

_CHUNK = 1024
"""Rows that go together: a thread has some 0.1 ms of work with the smallest networks, far more than it costs."""
_WIDE = 4
"""Vectors of a tile: with four outputs at a time, their sums fill half of the registers of AVX-512."""
_NARROW_SHARE = 0.4
"""Time of a tile of one vector beside one of four, measured: its sums wait for each other."""
_ALIGNED = 64
"""Bytes of a cache line, which a vector of 512 bits fills."""


def in_threads(call: Callable[[int], Result], count: int) -> list[Result]:
    """[call(0), ..., call(count - 1)], in threads if there are several."""
    if count == 1:
        return [call(0)]
    with ThreadPoolExecutor(read_threads(None, count)) as pool:
        return list(pool.map(call, range(count)))


@dataclass(frozen=True)
class Deal:
    """Which member carries which row, and where.

    Attributes
    ----------
    order
        (K,) places of the rows: member m has those from m ``each`` on.
    each
        Places of a member.
    shape
        Of the tiles.
    tiles
        Of a member.
    tile, lane
        (K,) where the rows lie.
    seed
        What random numbers follow from.
    """

    order: NDArray[np.intp]
    each: int
    shape: Shape
    tiles: int
    tile: NDArray[np.intp]
    lane: NDArray[np.intp]
    seed: tuple[int, ...]

    @property
    def per_chunk(self) -> int:
        """Tiles that go together."""
        return max(1, _CHUNK // self.shape.rows)


class Tiles:
    """E trained members as arrays for the machine code; the settings are those of `EnsembleRollout`."""

    def __init__(
        self,
        network: BatchedNetwork,
        bounds: Any,
        inputs: Scale,
        targets: Scale,
        angles: Sequence[int],
        observed: int,
        *,
        termination: bool,
    ) -> None:
        arrays = network.arrays()
        layers = len(arrays) // 2
        sizes = (arrays["weight_0"].shape[1], *(arrays[f"weight_{i}"].shape[2] for i in range(layers)))
        count, controls = len(targets.mean), sizes[0] - observed - len(angles)
        shape = (sizes, network.activation, observed, controls, count, termination, tuple(angles))
        self._shapes = {vectors: Shape(*shape, vectors) for vectors in (1, _WIDE)}
        self.members, self.columns = network.members, self._shapes[1].columns
        padded = self._shapes[1].padded
        parts = [
            np.pad(arrays[f"{kind}_{i}"], [(0, 0), (0, 0), (0, padded[i] - sizes[i + 1])]).reshape(self.members, -1)
            for i in range(layers)
            for kind in ("weight", "bias")
        ]
        self._weights = _aligned((self.members, sum(part.shape[1] for part in parts)), np.float32)
        self._weights[:] = np.concatenate(parts, axis=1)
        self._scales = np.concatenate([inputs.mean, 1.0 / inputs.deviation, targets.mean, targets.deviation])
        lower, upper = np.asarray(bounds, dtype=float)
        heads = [upper, np.exp(lower), np.exp(upper), np.exp(np.maximum(lower, upper))]
        self._heads = np.ascontiguousarray(heads, dtype=np.float32)

    def deal(self, count: int, seed: Sequence[int]) -> Deal:
        """Deal rows to the members."""
        each = -(-count // self.members)
        order = np.random.default_rng([*seed, 0]).permutation(each * self.members)[:count]
        shape = self._shapes[self._vectors(each)]
        tiles = -(-each // shape.rows)
        tile, lane = np.divmod(order % each, shape.rows)
        return Deal(order, each, shape, tiles, tile + order // each * tiles, lane, tuple(seed))

    def noise_of_rows(self, deal: Deal, steps: int, *, noisy: bool) -> NDArray[np.float32]:
        """The normal numbers of each row, (K, N, gaussians)."""
        chunks = range(-(-deal.tiles * self.members // deal.per_chunk))
        noise = np.concatenate([self._noise(deal, number, steps, noisy=noisy) for number in chunks])
        return noise.transpose(0, 3, 1, 2)[deal.tile, deal.lane]

    def carry(self, x: Array, u: Array, seed: Sequence[int], *, noisy: bool) -> Array:
        """What the steps of K rollouts write, (K, N+1, columns), behind states (K, observed) under (K, N, nu).

        Columns are the states, the reward of the step, and the probability that it was the last; the first row holds
        the states alone.
        """
        deal = self.deal(len(x), seed)
        total, rows, place = deal.tiles * self.members, deal.shape.rows, (deal.tile, deal.lane)
        states = _aligned((total, u.shape[1] + 1, self.columns, rows), np.float64)
        states[:, 0] = 0.0
        states[deal.tile, 0, : x.shape[1], deal.lane] = x
        controls = np.zeros((total, *u.shape[1:], rows))
        controls.transpose(0, 3, 1, 2)[place] = u
        self._run(deal, states, controls, noisy=noisy)
        return states.transpose(0, 3, 1, 2)[place]

    def _vectors(self, each: int) -> int:
        """The kind of tile that takes less time for so many rows of a member."""
        wide, narrow = (-(-each // self._shapes[vectors].rows) for vectors in (_WIDE, 1))
        return _WIDE if wide <= _NARROW_SHARE * narrow else 1

    def _noise(self, deal: Deal, chunk: int, steps: int, *, noisy: bool) -> NDArray[np.float32]:
        """The normal numbers of a chunk, (tiles, N, gaussians, L), or zeros."""
        count = min(deal.per_chunk, deal.tiles * self.members - chunk * deal.per_chunk)
        drawn = (count, steps, deal.shape.gaussians, deal.shape.rows)
        generator = np.random.Generator(np.random.SFC64([*deal.seed, 1, chunk]))
        return generator.standard_normal(drawn, dtype=np.float32) if noisy else np.zeros(drawn, np.float32)

    def _run(self, deal: Deal, states: Array, controls: Array, *, noisy: bool) -> None:
        """Carry all tiles."""
        roll, steps = compiled(deal.shape), controls.shape[1]
        addresses = self._scales.ctypes.data, self._heads.ctypes.data

        def chunk(number: int) -> None:
            noise = self._noise(deal, number, steps, noisy=noisy)
            work = _aligned((deal.shape.work,), np.float32)
            for i, drawn in enumerate(noise):
                place = number * deal.per_chunk + i
                arrays = states[place], controls[place], drawn, self._weights[place // deal.tiles]
                roll(*(array.ctypes.data for array in arrays), *addresses, work.ctypes.data, steps)

        in_threads(chunk, -(-len(states) // deal.per_chunk))


def _aligned(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array that begins at a cache line: a load that crosses one takes twice as long."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + _ALIGNED, np.uint8)
    first = -memory.ctypes.data % _ALIGNED
    return memory[first : first + size].view(dtype).reshape(shape)
