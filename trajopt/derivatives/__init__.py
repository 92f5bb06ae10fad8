"""Derivatives of optimal solutions by the numbers of their problem."""

from trajopt.derivatives.solution_derivatives import SolutionDerivatives, Tangent, differentiate

__all__ = ["SolutionDerivatives", "Tangent", "differentiate"]
