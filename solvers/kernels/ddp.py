"""One iteration of iLQR or DDP: expand, sweep backwards, search along the new gains, accept or reject.

The regularisation is relative to each control's largest entry on the diagonal of Q_uu, so that units change nothing;
its schedule is that of Tassa, Erez, Todorov, IROS 2012, section F, but a short step does not lower it. A step is
accepted when the merit falls by at least 1e-4 of what the quadratic model predicts for its length (Armijo; Nocedal,
Wright 2006, section 3.1).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.box_qp import Box, make_box
from trajopt.solvers.kernels.riccati import action_value, linear_gap, minimise_action, update_value
from trajopt.solvers.kernels.shooting import expand_end, expand_stage, simulate

Array = NDArray[np.float64]

BOLD, TIMID = 0.5, 0.1
"""Step lengths from which on the regularisation falls, and up to which it rises: the model was good, or poor."""

ACCEPTED, CONVERGED, REJECTED, STALLED, NOT_FINITE = 0, 1, 2, 3, 4
"""What `iterate` returns: a better trajectory, nothing left to gain, no better one yet, none at any regularisation.

And that the quadratic models hold NaN or infinity.
"""

SMALLEST, LARGEST, GROWTH = 1e-8, 1e10, 2.0
"""Limits of the relative regularisation (below the smallest it is zero) and the factor that its change grows by."""


class Gains(NamedTuple):
    """The law u + k + K dx: k (N, nu), K (N, nu, nx); ``costate`` (N+1, nx) is the value function's gradient."""

    k: Array
    K: Array
    costate: Array


class Work(NamedTuple):
    """Work of the backward pass: value v (nx), V (nx, nx); q (nz), Q (nz, nz), T (nx, nz), Tu (nu, nx).

    And ``Quu`` (nu, nu), ``box`` for the minimisation, ``largest`` (nu) diagonal entries of Q_uu so far.
    """

    v: Array
    V: Array
    q: Array
    Q: Array
    T: Array
    Tu: Array
    Quu: Array
    box: Box
    largest: Array


def make_work(nx: int, nu: int) -> Work:
    """Work for states and controls of these sizes."""
    nz = nx + nu
    shapes = [(nx,), (nx, nx), (nz,), (nz, nz), (nx, nz), (nu, nx), (nu, nu)]
    return Work(*(np.zeros(shape) for shape in shapes), make_box(nu), np.zeros(nu))


class State(NamedTuple):
    """What lasts from iteration to iteration: arrays of length 1, and ``scale`` (nu) of the regularisation."""

    cost: Array
    merit: Array
    regularisation: Array
    change: Array
    scale: Array
    decrement: Array
    length: Array


@kernel
def sweep(functions, data, rollout, penalty, expansion, gains, constraint_work, work, state, second_order):
    """Backward pass over all stages.

    Returns success, the predicted linear and quadratic change, and how far the linear model can fall within the bounds.
    """
    steps, nx = rollout.u.shape[0], rollout.x.shape[1]
    nu = rollout.u.shape[1]
    linear, quadratic, gap = 0.0, 0.0, 0.0
    for i in range(nu):
        work.largest[i] = 0.0
    for i in range(nx):
        work.v[i] = expansion.end_gradient[i]
        gains.costate[steps, i] = work.v[i]
        for j in range(nx):
            work.V[i, j] = expansion.end_hessian[i, j]
    for s in range(steps - 1, -1, -1):
        if second_order:
            expand_stage(s, functions, data, rollout, work.v, penalty, expansion, constraint_work, second_order)
        action_value(s, expansion.F, expansion.g, expansion.H, work.v, work.V, work.q, work.Q, work.T, work.Quu)
        for i in range(nu):
            work.largest[i] = max(work.largest[i], abs(work.Quu[i, i]))
        if not minimise_action(s, work.q, work.Q, work.Quu, state.regularisation[0], state.scale, data.lower,
                               data.upper, rollout.u, gains.k, gains.K, work.box):  # fmt: skip
            return False, linear, quadratic, gap
        gap += linear_gap(s, work.box.q, data.lower, data.upper, rollout.u)
        one, other = update_value(
            s, work.q, work.Q, work.Quu, gains.k, gains.K, work.v, work.V, work.Tu, work.box.trial
        )
        linear += one
        quadratic += other
        for i in range(nx):
            gains.costate[s, i] = work.v[i]
    return True, linear, quadratic, gap


@kernel
def set_scale(work, state, complete):
    """Regularise each control relative to its largest curvature; one that has none borrows from the others.

    A sweep that broke off has not seen all of it, so it may only raise the scale.
    """
    most = 0.0
    for i in range(work.largest.shape[0]):
        most = max(most, work.largest[i])
    for i in range(work.largest.shape[0]):
        scale = work.largest[i] if work.largest[i] > 0.0 else most
        if not complete:
            scale = max(scale, state.scale[i])
        state.scale[i] = scale if scale > 0.0 else 1.0


@kernel
def raise_regularisation(state):
    """Make the next attempt more cautious."""
    state.change[0] = max(GROWTH, state.change[0] * GROWTH)
    state.regularisation[0] = max(SMALLEST, state.regularisation[0] * state.change[0])


@kernel
def lower_regularisation(state):
    """Make the next attempt bolder."""
    state.change[0] = min(1.0 / GROWTH, state.change[0] / GROWTH)
    state.regularisation[0] *= state.change[0]
    if state.regularisation[0] < SMALLEST:
        state.regularisation[0] = 0.0


@kernel
def expand_all(functions, data, rollout, penalty, expansion, gains, constraint_work, second_order):
    """Quadratic models of all stages; with full second order the stages are expanded in the sweep instead."""
    expand_end(functions, data, rollout, penalty, expansion, constraint_work, second_order)
    if not second_order:
        for s in range(rollout.u.shape[0]):
            expand_stage(s, functions, data, rollout, gains.costate[s + 1], penalty, expansion, constraint_work, False)


@kernel
def copy_rollout(source, target):
    """Copy every array."""
    copy(source.x, target.x)
    copy(source.u, target.u)
    copy(source.path, target.path)
    copy(source.end, target.end)


@kernel
def copy(source, target):
    """Copy element by element: an assignment of whole arrays would allocate, lest they overlap."""
    flat_source, flat_target = source.reshape(source.size), target.reshape(target.size)
    for i in range(flat_source.size):
        flat_target[i] = flat_source[i]


@kernel
def magnitude(state):
    """The size of the cost, which tolerances are relative to; one that vanishes counts as ten digits less than one."""
    return max(abs(state.cost[0]), abs(state.merit[0]), 1e-10)


@kernel
def search(functions, data, current, candidate, penalty, gains, constraint_work, state, linear, quadratic, shortest):
    """Backtrack along the gains; on success ``current`` and the state's cost and merit are the new ones."""
    length = 1.0
    while length >= shortest:
        predicted = -(length * linear + 0.5 * length * length * quadratic)
        cost, merit = simulate(functions, data, current, gains.k, gains.K, length, candidate, penalty, constraint_work)
        if merit < state.merit[0] and state.merit[0] - merit >= 1e-4 * predicted:
            copy_rollout(candidate, current)
            state.cost[0], state.merit[0], state.length[0] = cost, merit, length
            return True
        length *= 0.5
    return False


@kernel
def iterate(functions, data, current, candidate, penalty, expansion, gains, constraint_work, work, state,
            tolerance, shortest, second_order, expanded):  # fmt: skip
    """One iteration; ``expanded`` tells that the quadratic models of the current trajectory are already there.

    Returns ACCEPTED, CONVERGED, REJECTED, STALLED or NOT_FINITE. Converged means that the merit can fall by less than
    tolerance times its `magnitude`: by a full step of the unregularised model, or by any step within the bounds to
    first order (bang-bang controls have no curvature to speak of).
    """
    if not expanded:
        expand_all(functions, data, current, penalty, expansion, gains, constraint_work, second_order)
    state.length[0] = 0.0
    kept, checked = 0.0, False  # the regularisation, left out once to see whether the step is small because of it
    while True:
        success, linear, quadratic, gap = sweep(
            functions, data, current, penalty, expansion, gains, constraint_work, work, state, second_order
        )
        set_scale(work, state, success)
        if success:
            state.decrement[0] = -(linear + 0.5 * quadratic)
            if not math.isfinite(state.decrement[0]):
                return NOT_FINITE
            enough = tolerance * magnitude(state)
            if gap <= enough or (state.decrement[0] <= enough and state.regularisation[0] == 0.0):
                return CONVERGED
            if state.decrement[0] > enough or checked:
                break
            kept, checked, state.regularisation[0] = state.regularisation[0], True, 0.0
        elif checked and state.regularisation[0] < kept:
            state.regularisation[0] = kept
        else:
            raise_regularisation(state)
            if state.regularisation[0] > LARGEST:
                return STALLED
    if search(functions, data, current, candidate, penalty, gains, constraint_work, state, linear, quadratic, shortest):
        if state.length[0] >= BOLD:
            lower_regularisation(state)
        elif state.length[0] <= TIMID:
            raise_regularisation(state)
        return ACCEPTED
    raise_regularisation(state)
    return STALLED if state.regularisation[0] > LARGEST else REJECTED
