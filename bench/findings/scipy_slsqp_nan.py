"""SciPy: SLSQP takes steps to where the function is NaN, and returns NaN.

Defect, found by `a_number_that_is_not_finite_never_wins`. A trial point whose value is NaN is accepted, and the search
goes on from there. The status is honest (no success), but the answer is NaN where the guess had a value.
"""

import warnings

import numpy as np
import scipy
from scipy.optimize import minimize

print("scipy", scipy.__version__)
warnings.simplefilter("ignore")  # NumPy's, of the root of a negative number
found = minimize(lambda x: (x[0] - 3.0) ** 2 + np.sqrt(1.0 - x[0]), [0.0], method="SLSQP")
print(f"success {found.success}: {found.message}; x = {found.x}, f = {found.fun}; at the guess f = 10")
