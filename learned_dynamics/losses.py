"""What networks are trained to: losses that write their own gradients.

`SquaredError` is the mean squared error. `GaussianLikelihood` is that of probabilistic ensembles (Chua et al. 2018,
appendix A.1): the network gives a mean m and a raw log variance r, bounded softly to v,

    v = lower + softplus(upper - softplus(upper - r) - lower),
    loss = mean((m - y)^2 exp(-v) + v) + 0.01 (sum upper - sum lower),

where the bounds are learned too, and the last term pulls them towards each other. A head for termination adds the
cross-entropy of a logit.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

INITIAL_BOUNDS = (-10.0, 0.5)
"""Of the log variance at unit scale, and the weight of the distance of the bounds: those of the authors' code."""

BOUND_WEIGHT = 0.01


class Loss(Protocol):
    """A loss over the outputs of E networks."""

    parameters: list[Tensor]
    """What is learned beside the networks; their ``.grad`` is written by `gradient`."""

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of each member, (E,), and the gradient of their sum by ``output``, both (E, B, ...)."""
        ...

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """What a hold-out is judged by, (E,): the mean squared error, whose scale does not change in training."""
        ...


class SquaredError:
    """Mean squared error of outputs (E, B, D)."""

    def __init__(self) -> None:
        self.parameters: list[Tensor] = []

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`."""
        difference = output - target
        return difference.square().mean(dim=(1, 2)), difference * (2.0 / difference[0].numel())

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """See `Loss`."""
        return (output - target).square().mean(dim=(1, 2))


def bounded(raw: Tensor, bounds: Tensor) -> Tensor:
    """Log variances between the rows of ``bounds`` (2, D): lower and upper."""
    softplus = torch.nn.functional.softplus
    below = bounds[1] - softplus(bounds[1] - raw)
    # Rounding may carry the sum past the upper bound by a bit of the last place.
    return torch.minimum(bounds[0] + softplus(below - bounds[0]), torch.maximum(bounds[0], bounds[1]))


class GaussianLikelihood:
    """Negative log-likelihood of D targets, with outputs (E, B, 2 D) or (E, B, 2 D + 1) with a termination logit.

    Attributes
    ----------
    bounds
        (2, D) lower and upper limits of the log variance; learned.
    """

    def __init__(self, bounds: Tensor, *, termination: bool) -> None:
        self.bounds = bounds
        self.parameters = [bounds]
        self.size = bounds.shape[1]
        self.termination = termination

    def gradient(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """See `Loss`."""
        size, (lower, upper) = self.size, self.bounds
        difference = output[..., :size] - target[..., :size]
        raw = output[..., size : 2 * size]
        inner = upper - raw
        below = upper - torch.nn.functional.softplus(inner)
        open_above, open_below = torch.sigmoid(inner), torch.sigmoid(below - lower)
        log_variance = lower + torch.nn.functional.softplus(below - lower)
        weighted = difference * torch.exp(-log_variance)
        squared = difference * weighted
        share = 1.0 / difference[0].numel()
        by_log_variance = (1.0 - squared) * share
        by_below = by_log_variance * open_below
        gradient = torch.empty_like(output)
        torch.mul(weighted, 2.0 * share, out=gradient[..., :size])
        torch.mul(by_below, open_above, out=gradient[..., size : 2 * size])
        by_lower = (by_log_variance - by_below).sum(dim=(0, 1)) - BOUND_WEIGHT
        by_upper = (by_below - gradient[..., size : 2 * size]).sum(dim=(0, 1)) + BOUND_WEIGHT
        self.bounds.grad = torch.stack([by_lower, by_upper])
        loss = (squared + log_variance).mean(dim=(1, 2))
        if self.termination:
            logit, ended = output[..., -1], target[..., -1]
            loss = loss + torch.nn.functional.softplus(logit).sub_(logit * ended).mean(dim=1)
            gradient[..., -1] = (torch.sigmoid(logit) - ended) / logit.shape[1]
        return loss, gradient

    def error(self, output: Tensor, target: Tensor) -> Tensor:
        """See `Loss`; a termination counts by its probability's squared error."""
        errors = (output[..., : self.size] - target[..., : self.size]).square()
        if self.termination:
            ended = (torch.sigmoid(output[..., -1:]) - target[..., -1:]).square()
            errors = torch.cat([errors, ended.expand(errors.shape[0], -1, -1)], dim=2)
        return errors.mean(dim=(1, 2))
