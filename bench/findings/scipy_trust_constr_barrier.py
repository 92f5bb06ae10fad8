"""SciPy: trust-constr reports success long before its barrier parameter is small.

Defect, found by `constrained_answers_are_exact`. The documentation of ``barrier_tol`` (1e-8) says: "When inequality
constraints are present, the algorithm will terminate only when the barrier parameter is less than `barrier_tol`." The
test of ``gtol`` does not look at it: once the gradient of a barrier subproblem happens to be below 1e-8, its minimum is
called the answer, here 1.6e-4 away from a bound that holds.
"""

import numpy as np
import scipy
from scipy.optimize import Bounds, minimize

print("scipy", scipy.__version__)
found = minimize(lambda x: (x[0] - 1.0) ** 2, [0.0], jac=lambda x: 2.0 * (x - 1.0), method="trust-constr",
                 bounds=Bounds(-np.inf, 0.5))  # fmt: skip
print(f"success {found.success}: {found.message}")
print(f"x = {found.x[0]:.6f} instead of 0.5, barrier parameter {found.barrier_parameter:.1e}")
