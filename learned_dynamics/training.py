"""Training of E networks at once: Adam on batches, every member in its own order or on its own bootstrap sample.

After each epoch the members are judged on transitions that none has seen. A member keeps the weights with which it was
best, and training ends when no member has improved by one per cent for some epochs (Janner et al. 2019, Pineda et al.
2021). Bits depend on the seed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trajopt.errors import InvalidProblem
from trajopt.learned_dynamics.batched_network import BatchedNetwork
from trajopt.learned_dynamics.extras import one_thread
from trajopt.learned_dynamics.losses import Loss
from trajopt.validation import check, check_positive, check_whole, is_number

Array = NDArray[np.float32]

_IMPROVEMENT = 0.01
"""Relative fall of the error that counts, as in the reference implementations."""

_BLOCK = 4096
"""Rows of the hold-out evaluated at a time, so that memory stays bounded."""


@dataclass(frozen=True)
class Schedule:
    """How long and how fast networks are trained.

    Attributes
    ----------
    epochs
        Passes over the data, at most.
    patience
        Epochs without improvement of any member after which training ends.
    batch
        Transitions in a step of Adam.
    learning_rate, weight_decay
        Of Adam.
    holdout
        Share of the transitions kept aside, see `held_out`.
    bootstrap
        Whether every member draws its data with replacement.
    """

    epochs: int
    patience: int
    batch: int
    learning_rate: float
    weight_decay: float
    holdout: float
    bootstrap: bool

    def __post_init__(self) -> None:
        for name in ("epochs", "patience", "batch"):
            check_whole(getattr(self, name), name, 1)
        check_positive(self.learning_rate, "learning_rate")
        decay, share = self.weight_decay, self.holdout
        check(decay, "weight_decay", "a number >= 0", is_number(decay) and decay >= 0.0)
        check(share, "holdout", "a share from 0 to below 1", is_number(share) and 0.0 <= share < 1.0)


@dataclass(frozen=True)
class Epoch:
    """What the callback of `fit` is told after an epoch.

    Attributes
    ----------
    number, total
        The epoch, from 1, and how many there are at most.
    loss
        (E,) mean training loss of each member.
    error
        (E,) mean squared error on the hold-out at unit scale; NaN where nothing is held out.
    """

    number: int
    total: int
    loss: Array
    error: Array


def train(
    network: BatchedNetwork,
    loss: Loss,
    inputs: Array,
    targets: Array,
    schedule: Schedule,
    generator: np.random.Generator,
    callback: Callable[[Epoch], object] | None,
) -> Array:
    """Train the network in place; return the members' errors (E,), on the hold-out if there is one.

    Raises
    ------
    InvalidProblem
        When the weights are not finite in the end.
    """
    kept_aside = held_out(len(inputs), schedule.holdout)
    order = np.concatenate([np.flatnonzero(kept_aside), generator.permutation(np.flatnonzero(~kept_aside))])
    held = int(kept_aside.sum())
    with one_thread(), torch.no_grad():
        z, y = torch.from_numpy(inputs[order]), torch.from_numpy(targets[order])
        judged = (z[:held], y[:held]) if held else (z, y)
        rows = held + _draw_rows(len(z) - held, network.members, generator, bootstrap=schedule.bootstrap)
        best = network.vector.clone()
        errors = _errors(network, loss, *judged)
        waited = 0
        optimiser = _optimiser(network, loss, schedule)
        for number in range(1, schedule.epochs + 1):
            losses = _epoch(network, loss, optimiser, z, y, generator.permuted(rows, axis=1), schedule.batch)
            judgement = _errors(network, loss, *judged) if held else torch.full_like(errors, torch.nan)
            better = (judgement < (1.0 - _IMPROVEMENT) * errors) | (errors.isnan() & judgement.isfinite())
            waited = 0 if better.any() or not held else waited + 1
            if better.any():
                errors = torch.where(better, judgement, errors)
                network.copy_members(network.vector, best, better)
            told = Epoch(number, schedule.epochs, losses.numpy().copy(), judgement.numpy().copy())
            if (callback is not None and callback(told)) or waited >= schedule.patience:
                break
        if held:
            network.vector.copy_(best)
        else:
            errors = _errors(network, loss, *judged)
        if not network.vector.isfinite().all():
            raise InvalidProblem(
                f"training at learning_rate={schedule.learning_rate} ended in weights that are not finite, but it "
                "should converge; lower the rate."
            )
    return errors.numpy()


def held_out(count: int, share: float) -> NDArray[np.bool_]:
    """Which of the rows are kept aside, (count,).

    That depends on a row's number alone, so that a model which goes on with more rows is never judged by rows that it
    was trained on: it would look better than it is, and training would end before it has begun. The multiples of the
    golden section are the most even ones modulo 1, and fall into step with no period of the data.
    """
    return (np.arange(1, count + 1) * (0.5 * (np.sqrt(5.0) - 1.0)) % 1.0) < share


def _draw_rows(count: int, members: int, generator: np.random.Generator, *, bootstrap: bool) -> NDArray[np.intp]:
    """Which rows each member learns from, (E, count)."""
    if bootstrap and members > 1:
        return generator.integers(count, size=(members, count))
    return np.tile(np.arange(count), (members, 1))


def _optimiser(network: BatchedNetwork, loss: Loss, schedule: Schedule) -> torch.optim.Adam:
    network.vector.grad = network.gradient
    groups = [{"params": [network.vector], "weight_decay": schedule.weight_decay}]
    if loss.parameters:
        groups.append({"params": loss.parameters, "weight_decay": 0.0})
    return torch.optim.Adam(groups, lr=schedule.learning_rate, fused=True)


def _epoch(
    network: BatchedNetwork,
    loss: Loss,
    optimiser: torch.optim.Adam,
    z: Tensor,
    y: Tensor,
    rows: NDArray[np.intp],
    batch: int,
) -> Tensor:
    """One pass over ``rows`` (E, n); returns the members' mean losses."""
    chosen = torch.from_numpy(rows)
    inputs, targets = z[chosen], y[chosen]
    total = torch.zeros(network.members)
    for first in range(0, rows.shape[1], batch):
        part = inputs[:, first : first + batch]
        losses, gradient = loss.gradient(network.forward(part, keep=True), targets[:, first : first + batch])
        network.backward(gradient)
        optimiser.step()
        total += losses * part.shape[1]
    return total / rows.shape[1]


def _errors(network: BatchedNetwork, loss: Loss, z: Tensor, y: Tensor) -> Tensor:
    """The members' errors on the same rows, (E,)."""
    total = torch.zeros(network.members)
    for first in range(0, len(z), _BLOCK):
        part = z[first : first + _BLOCK]
        output = network.forward(part.expand(network.members, -1, -1))
        total += loss.error(output, y[first : first + _BLOCK].expand(network.members, -1, -1)) * len(part)
    return total / len(z)
