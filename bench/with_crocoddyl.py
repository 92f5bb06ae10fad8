"""Crocoddyl as a competitor: its C++ solvers on its own C++ models, for the problems that it has models for.

Dynamics come from Pinocchio: a model derived in Python would be called thousands of times an iteration, which says
nothing about Crocoddyl. Its C++ actuations drive all joints, or all but the first; the cart-pole therefore gets a motor
in the pole too, clamped to zero by its bounds, which SolverBoxDDP honours. It has no terminal constraints.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.competitor import Answer, Competitor, Unavailable
from bench.discretisation import Discretisation

try:
    import crocoddyl
    import pinocchio
except ImportError:
    crocoddyl = pinocchio = None

STOP = 1e-9
"""Crocoddyl's default threshold of |Q_u|^2."""
ITERATIONS = 500


class Crocoddyl(Competitor):
    """SolverBoxDDP, which is DDP where nothing is bounded; one thread, as everyone here."""

    name = "Crocoddyl BoxDDP"
    method = "SolverBoxDDP"

    def __init__(self, discretisation: Discretisation, model: str | None) -> None:
        if crocoddyl is None:
            raise Unavailable("not installed: pip install trajopt[bench]")
        if model is None:
            raise Unavailable("no C++ model of this problem")
        if len(discretisation.problem.model.terminal):
            raise Unavailable("DDP solvers take no terminal constraint")
        problem, steps = discretisation.problem, discretisation.steps
        running, end = MODELS[model](discretisation)
        self.nu, self.columns = running.nu, problem.nu
        _check(running, discretisation)
        self.problem = crocoddyl.ShootingProblem(problem.initial_values, [running] * steps, end)
        self.problem.nthreads = 1
        controls = np.zeros((steps, self.nu))
        controls[:, : self.columns] = discretisation.guess[1]
        self.controls = list(controls)
        self.states = list(self.problem.rollout(self.controls))
        self.solver = getattr(crocoddyl, self.method)(self.problem)
        self.solver.th_stop = STOP

    def solve(self) -> object:
        """Solve from the rollout of the guess's controls, with the regularisation a fresh solver has."""
        return self.solver.solve(self.states, self.controls, ITERATIONS, False)

    def read(self, result: object) -> Answer:
        """Copy the trajectory out of the solver."""
        solver = self.solver
        status = "solved" if result else "iteration limit" if solver.iter >= ITERATIONS - 1 else "stalled"
        x, u = np.array([np.array(x) for x in solver.xs]), np.array([np.array(u) for u in solver.us])
        return Answer(bool(result), status, x, u[:, : self.columns].copy(), int(solver.iter) + 1)

    def at_guess(self) -> Any:
        """Return the solver with the guess loaded and swept, for timing the parts of one iteration."""
        self.solver.solve(self.states, self.controls, 2, False)  # in a first iteration calcDiff would simulate as well
        self.solver.setCandidate(self.states, self.controls, True)
        self.solver.calcDiff()
        self.solver.backwardPass()
        return self.solver


class CrocoddylFeasible(Crocoddyl):
    """SolverFDDP with bounds."""

    name = "Crocoddyl BoxFDDP"
    method = "SolverBoxFDDP"


def _check(running: Any, shape: Discretisation) -> None:
    """Refuse a model that is not the problem: Crocoddyl 3.2.1 reads gravity from the wrong place in Pinocchio 4.1."""
    problem, data, rng = shape.problem, running.createData(), np.random.default_rng(0)
    x, u = rng.standard_normal(problem.nx), rng.standard_normal(problem.nu)
    running.calc(data, x, np.concatenate([u, np.zeros(running.nu - problem.nu)]))
    following, cost = shape.step(x, u, shape.times[0], shape.times[1] - shape.times[0])
    expected = np.append(np.asarray(following), float(cost))
    if not np.allclose(np.append(data.xnext, data.cost), expected, rtol=1e-9, atol=1e-12):  # rounding of one step
        raise Unavailable(
            f"its model does not match the problem with Pinocchio {pinocchio.__version__}: "
            "pip install crocoddyl==3.2.1 libpinocchio==4.0.0 pin==4.0.0"
        )


def _cartpole(shape: Discretisation) -> tuple[Any, Any]:
    """Build the cart-pole with the default numbers of ``trajopt.problems``."""
    model = pinocchio.Model()
    model.gravity.linear = np.array([0.0, 0.0, -9.81])
    place, point = pinocchio.SE3.Identity(), np.zeros((3, 3))
    cart = model.addJoint(0, pinocchio.JointModelPX(), place, "cart")
    model.appendBodyToJoint(cart, pinocchio.Inertia(1.0, np.zeros(3), point), place)
    axis = np.array([0.0, -1.0, 0.0])  # anticlockwise, seen with x to the right and z up
    pole = model.addJoint(cart, pinocchio.JointModelRevoluteUnaligned(axis), place, "pole")
    model.appendBodyToJoint(pole, pinocchio.Inertia(0.2, np.array([0.0, 0.0, -0.5]), point), place)
    return _swing_up(shape, model, np.array([0.0, np.pi, 0.0, 0.0]), (1e-2, 1e-1, 100.0))


def _pendulum(shape: Discretisation) -> tuple[Any, Any]:
    """Build the pendulum without damping, which Pinocchio's forward dynamics do not have."""
    model = pinocchio.Model()
    model.gravity.linear = np.array([0.0, 0.0, -9.81])
    place = pinocchio.SE3.Identity()
    axis = np.array([0.0, -1.0, 0.0])
    joint = model.addJoint(0, pinocchio.JointModelRevoluteUnaligned(axis), place, "pivot")
    bob = pinocchio.Inertia(1.0, np.array([0.0, 0.0, -0.5]), np.zeros((3, 3)))
    model.appendBodyToJoint(joint, bob, place)
    return _swing_up(shape, model, np.array([np.pi, 0.0]), (1e-3, 1e-3, 1.0))


def _swing_up(shape: Discretisation, model: Any, goal: np.ndarray, weights: tuple[float, ...]) -> tuple[Any, Any]:
    """Running and terminal RK4 models with weights of state, control and final state; joint 1 has the motor."""
    state = crocoddyl.StateMultibody(model)
    actuation = crocoddyl.ActuationModelFull(state)
    driven = np.eye(1, actuation.nu)[0]
    distance = crocoddyl.CostModelResidual(state, crocoddyl.ResidualModelState(state, goal, actuation.nu))
    effort = crocoddyl.CostModelResidual(
        state, crocoddyl.ActivationModelWeightedQuad(driven), crocoddyl.ResidualModelControl(state, actuation.nu)
    )
    running, ending = (crocoddyl.CostModelSum(state, actuation.nu) for _ in range(2))
    running.addCost("state", distance, weights[0])
    running.addCost("control", effort, weights[1])
    ending.addCost("state", distance, weights[2])
    models = []
    for costs, step in ((running, shape.times[1] - shape.times[0]), (ending, 0.0)):
        rates = crocoddyl.DifferentialActionModelFreeFwdDynamics(state, actuation, costs)
        models.append(crocoddyl.IntegratedActionModelRK(rates, crocoddyl.RKType.four, step))
    lower, upper = shape.problem.control_bounds
    models[0].u_lb, models[0].u_ub = driven * lower[0], driven * upper[0]
    return models[0], models[1]


def _unicycle(shape: Discretisation) -> tuple[Any, Any]:
    """Return Crocoddyl's own example; `bench.cases.Unicycle` is the same in this library's terms."""
    model = crocoddyl.ActionModelUnicycle()
    return model, model


def _dtoc3(shape: Discretisation) -> tuple[Any, Any]:
    """Build the linear-quadratic stages of ``trajopt.problems.dtoc3``, the cost written in terms of x and u."""
    knots = shape.steps + 1
    a, b = np.array([[1.0, 1.0 / knots], [-1.0 / knots, 1.0]]), np.array([[0.0], [1.0 / knots]])
    weight = np.diag([2.0, 1.0]) / knots
    nothing = (np.zeros(2), np.zeros(2), np.zeros(1))  # no drift, no linear costs
    effort = np.array([[6.0 / knots]]) + b.T @ weight @ b
    running = crocoddyl.ActionModelLQR(a, b, a.T @ weight @ a, effort, a.T @ weight @ b, *nothing)
    ending = crocoddyl.ActionModelLQR(a, b, np.zeros((2, 2)), np.eye(1), np.zeros((2, 1)), *nothing)
    return running, ending


MODELS: dict[str, Callable[[Discretisation], tuple[Any, Any]]] = {
    "cartpole": _cartpole,
    "pendulum": _pendulum,
    "unicycle": _unicycle,
    "dtoc3": _dtoc3,
}
