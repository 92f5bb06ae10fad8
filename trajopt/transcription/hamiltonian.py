"""The Hamiltonian H = L + costate' f + prices' integrands + densities' path rows of a traced problem.

Costs are minimised and the costate is the derivative of the remaining cost by the state, so that the optimal control
minimises H, the costate obeys lambda' = -H_x, and at a free end lambda(T) is the gradient of what is paid there.
"""

from __future__ import annotations

from dataclasses import dataclass

import casadi as ca

from trajopt.model import Model


@dataclass(frozen=True, eq=False)
class Hamiltonian:
    """The Hamiltonian as an expression.

    Attributes
    ----------
    model
        Whose symbols x, u, t, p it uses.
    costate, prices, densities
        Symbols of shapes (nx), one for each integrand, one for each path row.
    expression
        H, a scalar.
    """

    model: Model
    costate: ca.SX
    prices: ca.SX
    densities: ca.SX
    expression: ca.SX

    @classmethod
    def of(cls, model: Model) -> Hamiltonian:
        """Derive it from a traced model."""
        parts = (model.dynamics, model.integral.expression, model.path.expression)
        sizes = [part.numel() for part in parts]
        costate, prices, densities = symbols = [ca.SX.sym(*pair) for pair in zip("lqm", sizes, strict=True)]
        expression = model.stage_cost + sum(
            ca.dot(symbol, part) for symbol, part in zip(symbols, parts, strict=True) if part.numel()
        )
        return cls(model, costate, prices, densities, expression)

    @property
    def gradient(self) -> ca.SX:
        """H_u, a column."""
        return ca.gradient(self.expression, self.model.u)
