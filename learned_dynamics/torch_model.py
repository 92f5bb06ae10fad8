"""Models of decision processes in PyTorch, for search: `torch_process` makes a `ModelProcess` of three functions.

    embedding = representation(observation)
    logits, value = prediction(embedding)
    embedding, reward, discount = dynamics(embedding, action)

They are the functions h, f and g of MuZero (Schrittwieser et al. 2020). Each is called once for all roots of a search,
and ``prediction`` follows ``dynamics`` at once, so that a simulation costs one pass through the network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajopt.learned_dynamics.extras import one_thread
from trajopt.model_process import ModelProcess


def torch_process(
    representation: Callable[[Tensor], Any],
    dynamics: Callable[[Tensor, Tensor], Any],
    prediction: Callable[[Tensor], Any],
    actions: int,
    *,
    device: str | torch.device = "cpu",
    name: str | None = None,
) -> ModelProcess:
    """Return a process for search over a model in PyTorch.

    The functions are called without gradients. Modules should be in the mode that they are to be used in: ``eval()``.

    Parameters
    ----------
    representation
        Function or module: observations (B, ...), of the type that they are given in, to embeddings (B, ...).
    dynamics
        Embeddings and actions (B,), int64, to embeddings, rewards (B,) and discounts (B,); the embeddings have the
        shape and type of the representation's.
    prediction
        Embeddings to logits (B, actions) and values (B,), as the player to move sees them.
    actions
        How many actions there are.
    device
        Where the functions compute.
    name
        For messages and tables.
    """

    def root(observations: np.ndarray) -> tuple[np.ndarray, ...]:
        with one_thread(), torch.no_grad():
            embeddings = representation(torch.from_numpy(np.ascontiguousarray(observations)).to(device))
            return _arrays(embeddings, *prediction(embeddings))

    def step(embeddings: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        with one_thread(), torch.no_grad():
            before = torch.from_numpy(np.ascontiguousarray(embeddings)).to(device)
            after, rewards, discounts = dynamics(before, torch.from_numpy(chosen).to(device))
            return _arrays(after, rewards, discounts, *prediction(after))

    return ModelProcess(root, step, actions, name=name)


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.cpu().numpy() for tensor in tensors)
