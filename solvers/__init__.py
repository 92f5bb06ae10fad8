"""Solvers, one file a method. Each is imported when it is first asked for, so that one does not pay for all."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trajopt.solvers.alpha_beta import AlphaBeta
    from trajopt.solvers.cem import CEM
    from trajopt.solvers.chain import Chain, MultiStart
    from trajopt.solvers.cmaes import CMAES
    from trajopt.solvers.collocation import Collocation
    from trajopt.solvers.dial import DIAL
    from trajopt.solvers.expectimax import Expectimax
    from trajopt.solvers.gradient_shooting import GradientShooting
    from trajopt.solvers.icem import ICEM
    from trajopt.solvers.ilqr import DDP, ILQR
    from trajopt.solvers.indirect import Indirect
    from trajopt.solvers.interior_point import InteriorPoint
    from trajopt.solvers.lqr import LQR
    from trajopt.solvers.mcts import MCTS
    from trajopt.solvers.mppi import MPPI
    from trajopt.solvers.multiple_shooting import MultipleShooting
    from trajopt.solvers.policy_iteration import PolicyIteration
    from trajopt.solvers.pomcp import POMCP
    from trajopt.solvers.predictive_sampling import PredictiveSampling
    from trajopt.solvers.prioritised_sweeping import PrioritisedSweeping
    from trajopt.solvers.random_shooting import RandomShooting
    from trajopt.solvers.scvx import SCvx
    from trajopt.solvers.single_shooting import SingleShooting
    from trajopt.solvers.value_iteration import ValueIteration

_HOME = {
    "AlphaBeta": "alpha_beta",
    "Expectimax": "expectimax",
    "POMCP": "pomcp",
    "PolicyIteration": "policy_iteration",
    "PrioritisedSweeping": "prioritised_sweeping",
    "ValueIteration": "value_iteration",
    "RandomShooting": "random_shooting",
    "PredictiveSampling": "predictive_sampling",
    "ICEM": "icem",
    "DIAL": "dial",
    "CMAES": "cmaes",
    "CEM": "cem",
    "Chain": "chain",
    "Collocation": "collocation",
    "DDP": "ilqr",
    "GradientShooting": "gradient_shooting",
    "ILQR": "ilqr",
    "Indirect": "indirect",
    "InteriorPoint": "interior_point",
    "LQR": "lqr",
    "MCTS": "mcts",
    "MPPI": "mppi",
    "MultiStart": "chain",
    "MultipleShooting": "multiple_shooting",
    "SCvx": "scvx",
    "SingleShooting": "single_shooting",
}

__all__ = [
    "CEM",
    "CMAES",
    "DDP",
    "DIAL",
    "ICEM",
    "ILQR",
    "LQR",
    "MCTS",
    "MPPI",
    "POMCP",
    "AlphaBeta",
    "Chain",
    "Collocation",
    "Expectimax",
    "GradientShooting",
    "Indirect",
    "InteriorPoint",
    "MultiStart",
    "MultipleShooting",
    "PolicyIteration",
    "PredictiveSampling",
    "PrioritisedSweeping",
    "RandomShooting",
    "SCvx",
    "SingleShooting",
    "ValueIteration",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trajopt.solvers' has no solver {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(f"trajopt.solvers.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
