"""What all sampling planners are made of: a proposal, an engine that simulates, an update, and a measure of risk.

A method is a short file beside this folder: settings, and the update that it composes.
"""

from trajopt.solvers.sampling.memory import Memory
from trajopt.solvers.sampling.risk import CVaR, Exponential, Mean, Risk, Worst
from trajopt.solvers.sampling.solver import SamplingSolver
from trajopt.solvers.sampling.update import Update

__all__ = ["CVaR", "Exponential", "Mean", "Memory", "Risk", "SamplingSolver", "Update", "Worst"]
