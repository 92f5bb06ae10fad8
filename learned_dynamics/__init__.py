"""Models that are dynamics: a user's network, models fitted to data, physical parameters fitted to data, and agents.

Those that need PyTorch are imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from trajopt.learned_dynamics.data import transitions
from trajopt.learned_dynamics.extras import require_torch
from trajopt.learned_dynamics.gaussian_process import GaussianProcess
from trajopt.learned_dynamics.identification import Identification, system_identification
from trajopt.learned_dynamics.linear import Linear
from trajopt.learned_dynamics.model import LearnedDynamics, Score
from trajopt.learned_dynamics.neighbours import Kernel, NearestNeighbours

if TYPE_CHECKING:
    from trajopt.learned_dynamics.alpha_zero import AlphaZero, SelfPlay
    from trajopt.learned_dynamics.ensemble import ProbabilisticEnsemble
    from trajopt.learned_dynamics.network import NeuralNetwork
    from trajopt.learned_dynamics.pets import PETS
    from trajopt.learned_dynamics.torch_dynamics import TorchDynamics
    from trajopt.learned_dynamics.torch_model import torch_process

_NEED_TORCH = {
    "AlphaZero": "alpha_zero",
    "NeuralNetwork": "network",
    "PETS": "pets",
    "ProbabilisticEnsemble": "ensemble",
    "SelfPlay": "alpha_zero",
    "TorchDynamics": "torch_dynamics",
    "torch_process": "torch_model",
}

__all__ = [
    "PETS",
    "AlphaZero",
    "GaussianProcess",
    "Identification",
    "Kernel",
    "LearnedDynamics",
    "Linear",
    "NearestNeighbours",
    "NeuralNetwork",
    "ProbabilisticEnsemble",
    "Score",
    "SelfPlay",
    "TorchDynamics",
    "system_identification",
    "torch_process",
    "transitions",
]


def __getattr__(name: str) -> Any:
    if name not in _NEED_TORCH:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    require_torch(name)
    return getattr(import_module(f"trajopt.learned_dynamics.{_NEED_TORCH[name]}"), name)
