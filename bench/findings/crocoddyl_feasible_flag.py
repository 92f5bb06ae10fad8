"""Crocoddyl: BoxFDDP does not confirm its own answer unless it is told that the guess is feasible.

By design, seen in `its_own_answer_as_guess_is_confirmed`. While the guess counts as infeasible, the backward pass
ignores the bounds (the two modes of Mastalli et al., "A feasibility-driven approach to control-limited DDP"). ``solve``
takes ``is_feasible=False`` by default and does not look at the gaps, which are zero here; no step improves, and it ends
without convergence. The adapter passes whether the gaps are zero.
"""

import crocoddyl
import numpy as np

print("crocoddyl", crocoddyl.__version__)
one, zero = np.eye(1), np.zeros(1)
model = crocoddyl.ActionModelLQR(one, one, one, one, np.zeros((1, 1)), zero, np.array([-2.0]), zero)
model.u_lb, model.u_ub = np.array([-0.5]), np.array([0.5])
problem = crocoddyl.ShootingProblem(zero, [model], model)
first = crocoddyl.SolverBoxFDDP(problem)
print("first solve: converged", first.solve())
for feasible in (False, True):
    again = crocoddyl.SolverBoxFDDP(problem)
    converged = again.solve(first.xs, first.us, 100, feasible)
    print(f"from its own answer, is_feasible={feasible}: converged {converged}, iterations {again.iter}")
