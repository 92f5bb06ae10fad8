"""Crocoddyl: bounds on one side alone are ignored without a word.

Defect, found by `box_constrained_answers_are_exact`. Box solvers look at bounds where ``has_control_limits`` holds, and
that needs a finite lower *and* a finite upper bound of some control. With upper bounds alone the solver reports
convergence at a control of 1 beyond its bound of 0.5; a lower bound of -1000, which is not active, gives 0.5. With such
bounds in place of missing ones BoxFDDP passes the check.
"""

import crocoddyl
import numpy as np

print("crocoddyl", crocoddyl.__version__)
one, zero = np.eye(1), np.zeros(1)
for lower in (-np.inf, -1000.0):  # min u^2/2 + (x_1 - 2)^2/2 with x_1 = u <= 0.5
    model = crocoddyl.ActionModelLQR(one, one, one, one, np.zeros((1, 1)), zero, np.array([-2.0]), zero)
    model.u_lb, model.u_ub = np.array([lower]), np.array([0.5])
    solver = crocoddyl.SolverBoxFDDP(crocoddyl.ShootingProblem(zero, [model], model))
    converged = solver.solve()
    print(f"lower bound {lower}: converged {converged}, u = {solver.us[0]}, limits {model.has_control_limits}")
