"""Crocoddyl: an exception in a model's ``calc`` ends the process.

Defect, met when the adapter's own model raised. An exception of Python in a callback of the solver reaches the caller;
the same in ``calc`` of an action model calls ``std::terminate``, which nothing in Python can catch.
"""

import crocoddyl
import numpy as np


class Model(crocoddyl.ActionModelAbstract):
    def __init__(self):
        crocoddyl.ActionModelAbstract.__init__(self, crocoddyl.StateVector(1), 1, 1)

    def calc(self, data, x, u=None):
        raise ValueError("the simulator has diverged")


print("crocoddyl", crocoddyl.__version__, flush=True)
problem = crocoddyl.ShootingProblem(np.zeros(1), [Model()], Model())
try:
    problem.calc([np.zeros(1)] * 2, [np.zeros(1)])
except ValueError as error:
    print("caught:", error)  # this line is never reached
