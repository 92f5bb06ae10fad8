"""Plain NumPy functions to CasADi expressions.

A function runs once on symbolic values, which answer NumPy's functions and Python's operators with expressions; see
`trajopt.symbolic.traced` for the values, `trajopt.symbolic.patch` for what happens to ``np.array`` and ``np.zeros``,
and `trajopt.symbolic.elementwise` for what holds of derivatives.
"""

from trajopt.symbolic.parameters import Matrix, Parameters, Scalar, Vector
from trajopt.symbolic.trace import trace, vector

__all__ = ["Matrix", "Parameters", "Scalar", "Vector", "trace", "vector"]
