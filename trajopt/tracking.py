r"""A trajectory under feedback: what an answer is worth on a plant whose deviations grow.

From knot to knot an answer may obey the dynamics to nine digits, and yet its control alone leads astray, because the
plant multiplies each of these defects by exp(growth * time). Such an answer is used with feedback, so that is how it is
judged: at each knot the control nodes that the next interval does not share with those before are moved by
K_k (x - x_k), within the control bounds. The result is a trajectory of the true dynamics under an admissible control of
the same parametrisation, with cost, constraints and optimality conditions of its own.

The gains are those of the linear-quadratic regulator along the returned knots,

    dx+ = A_k dx + B_k du,   [A_k B_k; 0 I] = exp(h [f_x f_u; 0 0]) at the middle of the interval,

with weights by which one typical deviation of a state costs as much as one of a control. They need not be exact: any
gains that stabilise would do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from trajopt.active_rows import Pressing
from trajopt.batch_dynamics import BatchDynamics
from trajopt.control_nodes import ControlNodes
from trajopt.plain import PlainFunctions
from trajopt.problem import Problem
from trajopt.reintegration import IntervalIntegrator
from trajopt.sensitivity import Feedback, evaluate_rates
from trajopt.symbolic import Parameters
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Tracked:
    """What results from following a trajectory with feedback.

    Attributes
    ----------
    trajectory
        The true states at the knots, and the control that led there.
    correction
        Largest change of a control, in units of the width between its bounds, else of max(1, its largest magnitude).
    feedback
        What answered the deviations.
    """

    trajectory: Trajectory
    correction: float
    feedback: Feedback


def track(
    problem: Problem, trajectory: Trajectory, parameters: Array, functions: PlainFunctions, tolerance: float
) -> Tracked | None:
    """Follow a trajectory with feedback; None where that cannot be, or a derivative or state is not finite.

    Nodes within ``tolerance`` of a bound count as at it: variations of them answer nothing.
    """
    nodes = ControlNodes.of(trajectory)
    typical_state = np.maximum(1.0, np.abs(trajectory.x).max(axis=0))
    lower, upper = problem.control_bounds
    largest = np.maximum(1.0, np.abs(nodes.values).max(axis=0, initial=0.0))
    typical_control = np.where(np.isfinite(upper - lower), np.maximum(upper - lower, 1e-300), largest)
    if not problem.nu:
        return None
    try:
        gains = _gains(*_linear_steps(problem, trajectory, parameters), typical_state, typical_control)
    except (np.linalg.LinAlgError, ValueError):  # NaN or infinity
        return None
    values, knots = nodes.values.copy(), trajectory.x.copy()
    integrator = IntervalIntegrator(problem, functions, typical_state)
    follower = ControlNodes(values, nodes.index, nodes.powers)
    last = -1
    for k in range(trajectory.steps):
        new = nodes.index[k][nodes.index[k] > last]
        last = int(nodes.index[k].max())
        moved = np.clip(nodes.values[new] + gains[k] @ (knots[k] - trajectory.x[k]), lower, upper)
        # A control outside of its bounds as returned stays as it is: that is for the violations to tell.
        outside = (nodes.values[new] < lower) | (nodes.values[new] > upper)
        values[new] = np.where(outside, nodes.values[new], moved)
        begin, end = trajectory.t[k], trajectory.t[k + 1]
        knots[k + 1], failure = integrator.advance(follower.coefficients(k), begin, end, knots[k])
        if failure or not np.isfinite(knots[k + 1]).all():
            return None
    correction = float((np.abs(values - nodes.values) / typical_control).max())
    held, pressing = np.zeros(values.shape, bool), Pressing.of(values, lower, upper, tolerance)
    held[pressing.place, pressing.index] = True
    return Tracked(follower.put_into(trajectory, knots), correction, _feedback(nodes, held, gains))


def _feedback(nodes: ControlNodes, held: NDArray[np.bool_], gains: Array) -> Feedback:
    """The gains for the nodes that each interval does not share with those before; none for the first interval.

    There is no deviation at the begin, and a free initial state is a decision of its own.
    """
    nu = held.shape[1]
    count = int(nodes.index[-1].max() - nodes.index[0].max()) // max(1, len(nodes.index) - 1)
    new = nodes.index[:, nodes.index.shape[1] - count :] if count else nodes.index[:, :1]
    columns = (new[:, :, None] * nu + np.arange(nu)).reshape(len(new), -1)
    every = np.where(held[new][..., None], 0.0, gains[:, None])
    every[0] = 0.0
    return Feedback(columns, every.reshape(*columns.shape, -1))


def _linear_steps(problem: Problem, trajectory: Trajectory, parameters: Array) -> tuple[Array, Array]:
    """A (N, nx, nx) and B (N, nx, nu) of the intervals."""
    t, x, u = trajectory.t, trajectory.x, trajectory.held()
    if isinstance(problem.dynamics, BatchDynamics):
        p = Parameters(problem.layout.unpack(parameters))
        return problem.dynamics.linearise_along(x[:-1], u, t[:-1], p)
    if not problem.dynamics.continuous:
        _, jacobians = evaluate_rates(problem, x[:-1], u, t[:-1], parameters)
        return jacobians[:, : problem.nx, : problem.nx], jacobians[:, : problem.nx, problem.nx :][..., : problem.nu]
    _, jacobians = evaluate_rates(problem, 0.5 * (x[:-1] + x[1:]), u, 0.5 * (t[:-1] + t[1:]), parameters)
    size = problem.nx + problem.nu
    generator = np.zeros((len(u), size, size))
    generator[:, : problem.nx] = jacobians[:, : problem.nx, :size] * np.diff(t)[:, None, None]
    maps = np.asarray(expm(generator), float)
    return maps[:, : problem.nx, : problem.nx], maps[:, : problem.nx, problem.nx :]


def _gains(A: Array, B: Array, typical_state: Array, typical_control: Array) -> Array:
    """Gains K (N, nu, nx) of the law du = K dx, by the Riccati recursion."""
    Q, R = np.diag(typical_state**-2.0), np.diag(typical_control**-2.0)
    gains, P = np.empty((len(A), B.shape[2], A.shape[1])), Q
    for k in range(len(A) - 1, -1, -1):
        gains[k] = -np.linalg.solve(R + B[k].T @ P @ B[k], B[k].T @ P @ A[k])
        P = Q + A[k].T @ P @ (A[k] + B[k] @ gains[k])
        P = 0.5 * (P + P.T)
    if not np.isfinite(gains).all():
        raise ValueError("a gain is not finite")
    return gains
