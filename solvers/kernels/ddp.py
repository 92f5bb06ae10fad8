"""One iteration of iLQR or DDP: expand, sweep backwards, search along the new gains, accept or reject.

The regularisation is relative to each control's largest entry on the diagonal of Q_uu, so that units change nothing;
its schedule is that of Tassa, Erez, Todorov, IROS 2012, section F, but a short step does not lower it. A step is
accepted when the merit falls by at least 1e-4 of what the quadratic model predicts for its length (Armijo; Nocedal,
Wright 2006, section 3.1).

Gaps c of the dynamics enter the sweep through the slope v + V c, and a step of length s leaves (1 - s) c of them
(Mastalli et al., Crocoddyl, ICRA 2020). While there are any, the merit has their l1 norm on top, with a weight at which
the step is a descent direction (Nocedal, Wright 2006, eq. 18.36).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.box_qp import Box, make_box
from trajopt.solvers.kernels.riccati import action_value, linear_gap, minimise_action, pull_gap, update_value
from trajopt.solvers.kernels.shooting import expand_end, expand_stage, simulate

Array = NDArray[np.float64]


BOLD, TIMID = 0.5, 0.1
"""Step lengths from which on the regularisation falls, and up to which it rises: the model was good, or poor."""

ACCEPTED, CONVERGED, REJECTED, STALLED, NOT_FINITE, ENDING = 0, 1, 2, 3, 4, 5
"""What `iterate` returns: a better trajectory, nothing left to gain, no better one yet, none at any regularisation.

And that the quadratic models hold NaN or infinity, and that little is left to gain.
"""

SMALLEST, LARGEST, GROWTH = 1e-8, 1e10, 2.0
"""Limits of the relative regularisation (below the smallest it is zero) and the factor that its change grows by."""


GAP_SHARE = 0.1
"""Part of the gaps' weight that a full step must promise to gain, rho of Nocedal, Wright, eq. 18.36; as in IPOPT."""


class Gains(NamedTuple):
    """The law u + k + K dx: k (N, nu), K (N, nu, nx); ``costate`` (N+1, nx) is the value function's gradient."""

    k: Array
    K: Array
    costate: Array


class Work(NamedTuple):
    """Work of the backward pass: value v (nx), V (nx, nx); q (nz), Q (nz, nz), T (nx, nz), Tu (nu, nx).

    And ``Quu`` (nu, nu), ``box`` for the minimisation, ``largest`` (nu) diagonal entries of Q_uu so far, and ``dz``
    (2, nz) of a linear rollout, ``none`` (nx) zeros, and the adjoint ``costate`` (nx) of a Newton step.
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
    dz: Array
    none: Array
    costate: Array


def make_work(nx: int, nu: int) -> Work:
    """Work for states and controls of these sizes."""
    nz = nx + nu
    before = [(nx,), (nx, nx), (nz,), (nz, nz), (nx, nz), (nu, nx), (nu, nu)]
    behind = [(nu,), (2, nz), (nx,), (nx,)]
    return Work(*(np.zeros(shape) for shape in before), make_box(nu), *(np.zeros(shape) for shape in behind))


class State(NamedTuple):
    """What lasts from iteration to iteration: arrays of length 1, and ``scale`` (nu) of the regularisation."""

    cost: Array
    merit: Array
    regularisation: Array
    change: Array
    scale: Array
    decrement: Array
    length: Array
    gap: Array
    gap_weight: Array
    state_scale: Array
    row_weight: Array
    gain: Array


def make_state(nx: int, nu: int) -> State:
    """Start of a solve."""
    sizes = {"scale": nu, "state_scale": nx}
    return State(*(np.zeros(sizes.get(name, 1)) for name in State._fields))


@kernel
def sweep(functions, data, rollout, penalty, expansion, gains, constraint_work, work, state, second_order):
    """Backward pass over all stages.

    While there are gaps, the curvature of the dynamics is left out, for no trajectory gave the costates that weigh it;
    and the states are regularised as well: without feedback, which regularised controls give up, a rollout that leaves
    its states by the gaps alone diverges. In a Newton step (`trajopt.solvers.kernels.newton`) the curvature is weighed
    by the adjoint at the present multipliers, since the slope of the value function has the stiff penalty in it.

    Returns success, the predicted linear and quadratic change (without gaps; with them `predict` knows), and how far
    the linear model can fall within the bounds.
    """
    steps, nx = rollout.u.shape[0], rollout.x.shape[1]
    nu = rollout.u.shape[1]
    linear, quadratic, gap = 0.0, 0.0, 0.0
    for i in range(nu):
        work.largest[i] = 0.0
    newton = penalty.weight[0] != penalty.judge[0]
    for i in range(nx):
        work.costate[i] = constraint_work.slope[i]
        work.v[i] = expansion.end_gradient[i]
        gains.costate[steps, i] = work.v[i]
        for j in range(nx):
            work.V[i, j] = expansion.end_hessian[i, j]
    for s in range(steps - 1, -1, -1):
        if state.gap[0] > 0.0:
            pull_gap(s, rollout.gap, work.v, work.V, work.T)
        if second_order:
            weights = work.none if state.gap[0] > 0.0 else work.costate if newton else work.v
            expand_stage(s, functions, data, rollout, weights, penalty, expansion, constraint_work, second_order)
            if newton:
                pull_costate(s, expansion.F, constraint_work.slope, work.costate)
        action_value(s, expansion.F, expansion.g, expansion.H, work.v, work.V, work.q, work.Q, work.T, work.Quu)
        if state.gap[0] > 0.0:
            regularise_states(s, expansion.H, work.Q, state)
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
def regularise_states(s, H, Q, state):
    """Regularise the states too, each relative to the largest entry of its row of H: see `sweep`."""
    nz = H.shape[1]
    for i in range(state.state_scale.shape[0]):
        for j in range(nz):
            state.state_scale[i] = max(state.state_scale[i], abs(H[s, max(i, j), min(i, j)]))
        Q[i, i] += state.regularisation[0] * state.state_scale[i]


@kernel
def pull_costate(s, F, slope, costate):
    """Adjoint of stage ``s``: the costate becomes slope + F_x'costate; ``slope`` is work afterwards."""
    nx = costate.shape[0]
    for i in range(nx):
        for j in range(nx):
            slope[i] += F[s, j, i] * costate[j]
    for i in range(nx):
        costate[i] = slope[i]


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
    copy(source.gap, target.gap)


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
def predict(expansion, gains, gap, work):
    """Linear and quadratic change of the merit's model along a full step that closes the gaps: g'dz and dz'H dz."""
    steps, nx, nz = expansion.F.shape
    linear, quadratic = 0.0, 0.0
    dz = work.dz
    for i in range(nx):
        dz[0, i] = 0.0
    for s in range(steps):
        for i in range(nz - nx):
            dz[0, nx + i] = gains.k[s, i]
            for j in range(nx):
                dz[0, nx + i] += gains.K[s, i, j] * dz[0, j]
        for i in range(nz):
            linear += expansion.g[s, i] * dz[0, i]
            quadratic += expansion.H[s, i, i] * dz[0, i] * dz[0, i]
            for j in range(i):
                quadratic += 2.0 * expansion.H[s, i, j] * dz[0, i] * dz[0, j]
        for i in range(nx):
            dz[1, i] = gap[s, i]
            for j in range(nz):
                dz[1, i] += expansion.F[s, i, j] * dz[0, j]
        for i in range(nx):
            dz[0, i] = dz[1, i]
    for i in range(nx):
        linear += expansion.end_gradient[i] * dz[0, i]
        quadratic += expansion.end_hessian[i, i] * dz[0, i] * dz[0, i]
        for j in range(i):
            quadratic += 2.0 * expansion.end_hessian[i, j] * dz[0, i] * dz[0, j]
    return linear, quadratic


@kernel
def weigh_gaps(state, linear, quadratic):
    """Raise the weight of the gaps until a full step promises a tenth of what closing them is worth."""
    needed = (linear + 0.5 * max(0.0, quadratic)) / ((1.0 - GAP_SHARE) * state.gap[0])
    state.gap_weight[0] = max(state.gap_weight[0], needed)


@kernel
def search(functions, data, current, candidate, penalty, gains, constraint_work, state, linear, quadratic, shortest):
    """Backtrack along the gains; on success ``current`` and the state's cost and merit are the new ones."""
    length, gaps = 1.0, state.gap_weight[0] * state.gap[0]
    while length >= shortest:
        predicted = length * gaps - (length * linear + 0.5 * length * length * quadratic)
        cost, merit = simulate(functions, data, current, gains.k, gains.K, length, candidate, penalty, constraint_work)
        gain = state.merit[0] - merit + length * gaps
        free = gain == 0.0 and gaps == 0.0 and state.gap[0] > 0.0  # closing gaps costs nothing
        if (gain > 0.0 or free) and gain >= 1e-4 * predicted:
            copy_rollout(candidate, current)
            state.cost[0], state.merit[0], state.length[0] = cost, merit, length
            state.gap[0] *= 1.0 - length
            return True
        length *= 0.5
    return False


@kernel
def find_direction(functions, data, current, penalty, expansion, gains, constraint_work, work, state, tolerance, loose,
                   second_order):  # fmt: skip
    """Sweep with as little regularisation as it takes.

    Returns ACCEPTED (a direction was found), ENDING (and the merit can fall by less than the loose tolerance),
    CONVERGED, STALLED or NOT_FINITE, and the predicted linear and quadratic change.
    """
    kept, checked = 0.0, False  # the regularisation, left out once to see whether the step is small because of it
    while True:
        success, linear, quadratic, gap = sweep(
            functions, data, current, penalty, expansion, gains, constraint_work, work, state, second_order
        )
        set_scale(work, state, success)
        if success and state.gap[0] > 0.0:
            linear, quadratic = predict(expansion, gains, current.gap, work)
            weigh_gaps(state, linear, quadratic)
            state.decrement[0] = -(linear + 0.5 * quadratic)
            return (ACCEPTED if math.isfinite(state.decrement[0]) else NOT_FINITE), linear, quadratic
        if success:
            state.decrement[0] = -(linear + 0.5 * quadratic)
            verdict = judge_decrement(state, gap, tolerance, loose, checked)
            if verdict != REJECTED:
                return verdict, linear, quadratic
            kept, checked, state.regularisation[0] = state.regularisation[0], True, 0.0
        elif checked and state.regularisation[0] < kept:
            state.regularisation[0] = kept
        else:
            raise_regularisation(state)
            if state.regularisation[0] > LARGEST:
                return STALLED, linear, quadratic


@kernel
def judge_decrement(state, gap, tolerance, loose, checked):
    """Return a verdict of `find_direction`, or REJECTED: the step is small, perhaps because it is regularised."""
    if not math.isfinite(state.decrement[0]):
        return NOT_FINITE
    plain = state.regularisation[0] == 0.0
    enough, small = tolerance * magnitude(state), loose * magnitude(state)
    if gap <= enough or (state.decrement[0] <= enough and plain):
        return CONVERGED
    if state.decrement[0] <= small and plain:
        return ENDING
    return ACCEPTED if state.decrement[0] > small or checked else REJECTED


@kernel
def iterate(functions, data, current, candidate, penalty, expansion, gains, constraint_work, work, state,
            tolerance, loose, shortest, second_order, expanded):  # fmt: skip
    """One iteration; ``expanded`` tells that the quadratic models of the current trajectory are already there.

    Returns ACCEPTED, ENDING, CONVERGED, REJECTED, STALLED or NOT_FINITE. Converged means that the merit can fall by
    less than tolerance times its `magnitude`: by a full step of the unregularised model, or by any step within the
    bounds to first order (bang-bang controls have no curvature to speak of). Ending, that this holds with the loose
    tolerance; then the step is taken first.
    """
    if not expanded:
        expand_all(functions, data, current, penalty, expansion, gains, constraint_work, second_order)
    state.length[0] = 0.0
    verdict, linear, quadratic = find_direction(
        functions, data, current, penalty, expansion, gains, constraint_work, work, state, tolerance, loose,
        second_order,
    )  # fmt: skip
    if verdict not in (ACCEPTED, ENDING):
        return verdict
    if search(functions, data, current, candidate, penalty, gains, constraint_work, state, linear, quadratic, shortest):
        if state.length[0] >= BOLD:
            lower_regularisation(state)
        elif state.length[0] <= TIMID:
            raise_regularisation(state)
        return verdict
    if verdict == ENDING:
        return ENDING
    raise_regularisation(state)
    return STALLED if state.regularisation[0] > LARGEST else REJECTED
