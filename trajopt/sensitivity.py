"""Exact gradients of cost and constraints of a re-integrated trajectory with respect to everything a solver may choose.

The decision variables are w = (control nodes, start, duration, free parameters, free initial states). With the knots at
fixed fractions sigma of the horizon, t = t0 + T sigma, deviations along the trajectory obey the variational equations

    d(dx)/dt = f_x dx + f_u basis(s) du + f_p dp + f_t dt0 + (f_t sigma + f / T) dT,

and stage cost and integrands likewise. They are linear, so the four-stage Gauss method (order 8) solves them without
iteration on the very steps that the adaptive integrator of the same order needed. A step is then one linear map from
(dx, dw) to (dx, d integrals), and one backward sweep over the steps gives the gradient of any number of functions, and
the costates on the way. Discrete dynamics are the special case in which the map is the Jacobian itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.control_nodes import ControlNodes
from trajopt.horizon import Free
from trajopt.problem import Problem
from trajopt.reintegration import GAUSS_NODES, GAUSS_WEIGHTS, Reintegration
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]


def _gauss_matrix() -> Array:
    """Runge-Kutta matrix of the Gauss method: integrals of the Lagrange polynomials from 0 to each node."""
    degrees = np.arange(1, GAUSS_NODES.size + 1)
    return (GAUSS_NODES[:, None] ** degrees / degrees) @ np.linalg.inv(GAUSS_NODES[:, None] ** (degrees - 1))


_GAUSS_MATRIX = _gauss_matrix()

_BLOCK = 4_000_000
"""Entries of the linear systems that are set up at once: 32 MB."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """Where each decision variable stands in w.

    Attributes
    ----------
    nodes
        The control; node i, entry j stands at i * nu + j.
    times
        Which of "start", "duration" are free, in this order.
    parameters
        Free entries of the packed parameter vector.
    states
        Free entries of the initial state.
    nu
        Number of controls.
    """

    nodes: ControlNodes
    times: tuple[str, ...]
    parameters: NDArray[np.intp]
    states: NDArray[np.intp]
    nu: int

    @classmethod
    def of(cls, problem: Problem, trajectory: Trajectory) -> Decisions:
        """Decision variables of a problem whose control is parametrised like the trajectory's."""
        horizon = problem.horizon
        free = (("start", horizon.start), ("duration", horizon.duration))
        return cls(
            ControlNodes.of(trajectory),
            tuple(name for name, value in free if isinstance(value, Free)),
            problem.layout.free_entries,
            np.flatnonzero(np.isnan(problem.initial_values)),
            problem.nu,
        )

    @property
    def controls(self) -> int:
        """Number of control variables; those that do not depend on time stand behind them."""
        return self.nodes.values.size

    @property
    def static(self) -> int:
        """Number of times and parameters."""
        return len(self.times) + self.parameters.size

    @property
    def size(self) -> int:
        """Length of w."""
        return self.controls + self.static + self.states.size

    def columns(self, interval: int) -> NDArray[np.intp]:
        """Places in w of what acts on one interval: its nodes, then times and parameters."""
        control = self.nodes.index[interval][:, None] * self.nu + np.arange(self.nu)
        return np.concatenate([control.ravel(), self.controls + np.arange(self.static)])

    def static_columns(self, by_time: Array, by_parameters: Array, sigma: Array, rate: Array | float = 0.0) -> Array:
        """Gather derivatives by times and parameters, (..., static), from those by t (...,) and p (..., np).

        ``rate`` is what the derivative by the duration has besides: the integrand over the duration.
        """
        by = {"start": by_time, "duration": by_time * sigma + rate}
        return np.concatenate(
            [*(by[name][..., None] for name in self.times), by_parameters[..., self.parameters]], axis=-1
        )


@dataclass(frozen=True, eq=False)
class PointRows:
    """Functions of the state and control at one time each, as columns of equal length R.

    Attributes
    ----------
    step
        (R,) step at whose begin the time lies; S for the final time.
    interval
        (R,) interval whose control formula applies.
    s
        (R,) place in that interval.
    by_x, by_u, by_static
        (R, nx), (R, nu), (R, static) derivatives.
    """

    step: NDArray[np.intp]
    interval: NDArray[np.intp]
    s: Array
    by_x: Array
    by_u: Array
    by_static: Array


@dataclass(frozen=True, eq=False)
class Functionals:
    """Functions of a trajectory whose gradients are wanted: R of final state and integrals, then those at points.

    Attributes
    ----------
    by_final, by_initial
        (R, nx) derivatives with respect to both ends.
    by_running
        (R, 1 + nq) derivatives with respect to the integrals.
    by_static
        (R, static) direct derivatives.
    points
        The others.
    """

    by_final: Array
    by_initial: Array
    by_running: Array
    by_static: Array
    points: PointRows

    def split(self, length: int) -> Iterator[Functionals]:
        """Give the functionals of the ends, then those at points by themselves, at most ``length`` at once."""
        every, points = fields(PointRows), self.points

        def take(ends: slice, some: slice) -> Functionals:
            chosen = PointRows(*(getattr(points, column.name)[some] for column in every))
            return Functionals(
                self.by_final[ends], self.by_initial[ends], self.by_running[ends], self.by_static[ends], chosen
            )

        yield take(slice(None), slice(0))
        for begin in range(0, points.step.size, length):
            yield take(slice(0), slice(begin, begin + length))

    def weighted(self, weights: Array) -> Functionals:
        """Return the one functional sum_r weights[r] * functional r; its parts at points remain points."""
        ends = len(self.by_final)
        w, v, points = weights[:ends], weights[ends:, None], self.points
        scaled = PointRows(
            points.step, points.interval, points.s, v * points.by_x, v * points.by_u, v * points.by_static
        )
        ends_parts = (self.by_final, self.by_initial, self.by_running, self.by_static)
        final, initial, running, static = ((w @ part)[None] for part in ends_parts)
        return Functionals(final, initial, running, static, scaled)


@dataclass(frozen=True, eq=False)
class Feedback:
    """How control nodes of an interval answer a deviation at its begin: dw[columns[k]] += gains[k] @ dx_k.

    What is varied besides are the same nodes; a trajectory is stationary in one sense if it is in the other. On a plant
    that amplifies deviations, however, only the gradient under feedback can be told from rounding and truncation.

    Attributes
    ----------
    columns
        (N, c) places of the nodes in w.
    gains
        (N, c, nx), zero for nodes at their bounds.
    """

    columns: NDArray[np.intp]
    gains: Array


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Linear maps of all steps.

    Attributes
    ----------
    decisions
        The variables.
    maps
        (S, nx + 1 + nq, nx + columns) derivatives of the state after a step, and of its integrals, with respect to the
        state before it and the variables of its interval.
    interval
        (S,) interval of each step.
    inside
        (S, G, nx + 1 + nq, nx) the same at the Gauss points, with respect to the state alone.
    feedback
        What answers deviations, or None.
    """

    decisions: Decisions
    maps: Array
    interval: NDArray[np.intp]
    inside: Array
    feedback: Feedback | None = None

    def sweep(self, rows: Functionals, *, merged: bool = False) -> tuple[Array, Array]:
        """Gradients of functionals, and the costates of the first.

        Parameters
        ----------
        rows
            R functionals and P point functionals.
        merged
            Add the point functionals to the first functional, instead of treating each by itself.

        Returns
        -------
        gradients
            (R + P, size of w), or (R, size of w) if merged.
        costates
            (S+1, nx) derivative of the first functional by the state at the begin of each step, without what points at
            that very time contribute.
        """
        ends, points, nx = len(rows.by_final), rows.points, rows.by_final.shape[1]
        count = ends if merged else ends + points.step.size
        target = np.zeros(points.step.size, np.intp) if merged else ends + np.arange(points.step.size)
        gradients, adjoint, running = (np.zeros((count, width)) for width in self._widths(rows))
        adjoint[:ends], running[:ends] = rows.by_final, rows.by_running
        static = slice(self.decisions.controls, self.decisions.controls + self.decisions.static)
        gradients[:ends, static] = rows.by_static
        self._add_direct(gradients, target, points)
        costates, steps = np.empty((len(self.maps) + 1, nx)), len(self.maps)
        at = _group(points.step, steps + 1)
        for step in range(steps, -1, -1):
            if step < steps:
                change = adjoint @ self.maps[step, :nx] + running @ self.maps[step, nx:]
                gradients[:, self.decisions.columns(self.interval[step])] += change[:, nx:]
                adjoint = change[:, :nx]
                if self.feedback is not None and self.begins_interval(step):
                    k = self.interval[step]
                    adjoint = adjoint + gradients[:, self.feedback.columns[k]] @ self.feedback.gains[k]
            costates[step] = adjoint[0]
            np.add.at(adjoint, target[at[step]], points.by_x[at[step]])
        gradients[:, static.stop :] += adjoint[:, self.decisions.states]
        gradients[:ends, static.stop :] += rows.by_initial[:, self.decisions.states]
        return gradients, costates

    def begins_interval(self, step: int) -> bool:
        """Whether a step is the first one of its interval."""
        return step == 0 or self.interval[step - 1] != self.interval[step]

    def direct(self, rows: Functionals) -> Array:
        """Return what the sum of all functionals depends on without the states' help, (size of w,)."""
        decisions, running = self.decisions, rows.by_running.sum(axis=0)
        gradient = np.zeros((1, decisions.size))
        gradient[0, decisions.controls : decisions.controls + decisions.static] = rows.by_static.sum(axis=0)
        nx = rows.by_final.shape[1]
        for interval, step in zip(self.interval, self.maps, strict=True):
            gradient[0, decisions.columns(interval)] += running @ step[nx:, nx:]
        self._add_direct(gradient, np.zeros(rows.points.step.size, np.intp), rows.points)
        return gradient[0]

    def _widths(self, rows: Functionals) -> tuple[int, int, int]:
        return self.decisions.size, rows.by_final.shape[1], rows.by_running.shape[1]

    def _add_direct(self, gradients: Array, target: NDArray[np.intp], points: PointRows) -> None:
        """Add what points depend on directly: the control there, times and parameters."""
        basis = self.decisions.nodes.basis(points.s)
        for i, (row, interval) in enumerate(zip(target, points.interval, strict=True)):
            direct = np.concatenate([np.outer(basis[i], points.by_u[i]).ravel(), points.by_static[i]])
            gradients[row, self.decisions.columns(interval)] += direct


def _group(keys: NDArray[np.intp], count: int) -> list[NDArray[np.intp]]:
    """For each key from 0 to count - 1 the places where it stands."""
    order = np.argsort(keys, kind="stable")
    return np.split(order, np.searchsorted(keys[order], np.arange(1, count)))


def linearise(
    problem: Problem, trajectory: Trajectory, parameters: Array, path: Reintegration, decisions: Decisions,
    feedback: Feedback | None = None,
) -> Linearisation:  # fmt: skip
    """Linear maps of the steps of a re-integration that did not fail.

    Parameters
    ----------
    problem, trajectory
        What was integrated.
    parameters
        Packed parameter vector.
    path
        Its re-integration.
    decisions
        The variables.
    feedback
        What answers deviations.
    """
    steps = path.steps
    assert steps is not None
    count, points = steps.x.shape[:2]
    interval = np.broadcast_to(steps.interval[:, None], (count, points))
    fractions = GAUSS_NODES if problem.dynamics.continuous else np.zeros(1)
    times = steps.begin[:, None] + (steps.end - steps.begin)[:, None] * fractions
    spans = np.diff(trajectory.t)
    s = (times - trajectory.t[interval]) / spans[interval]
    u = decisions.nodes.control(interval, s)
    values, jacobians = evaluate_rates(problem, steps.x, u, times, parameters)
    duration = trajectory.t[-1] - trajectory.t[0]
    by_x, by_w = _split(problem, decisions, values, jacobians, s, (times - trajectory.t[0]) / duration, duration)
    if not problem.dynamics.continuous:
        maps = np.concatenate([by_x[:, 0], by_w[:, 0]], axis=-1)
        return Linearisation(decisions, maps, steps.interval, by_x, feedback)
    maps, inside = gauss_steps(by_x, by_w, steps.end - steps.begin)
    return Linearisation(decisions, maps, steps.interval, inside, feedback)


def evaluate_rates(problem: Problem, x: Array, u: Array, t: Array, p: Array) -> tuple[Array, Array]:
    """Dynamics, stage cost and integrands at points (..., nx), (..., nu), (...,): values (..., nz) and Jacobians.

    The Jacobians are (..., nz, nx + nu + 1 + np), with respect to x, u, t and p.
    """
    model = problem.model
    return evaluate(
        ca.vertcat(model.dynamics, model.stage_cost, model.integral.expression),
        [model.x, model.u, model.t, model.p],
        [x, u, t[..., None], np.broadcast_to(p, (*t.shape, p.size))],
    )


def evaluate(
    expression: ca.SX, symbols: list[ca.SX], values: list[Array], *, by: int | None = None
) -> tuple[Array, Array]:
    """Return values (..., m) and dense Jacobian (..., m, n) at points; n runs over the first ``by`` symbols."""
    shape, rows = values[0].shape[:-1], expression.numel()
    variables = ca.vertcat(*symbols[:by])
    columns, points = variables.numel(), int(np.prod(shape))
    if rows == 0 or points == 0:
        return np.zeros((*shape, rows)), np.zeros((*shape, rows, columns))
    outputs = [ca.densify(expression), ca.densify(ca.jacobian(expression, variables))]
    function = ca.Function("rates", symbols, outputs).map(points)
    value, jacobian = function(*(ca.DM(value.reshape(points, value.shape[-1]).T) for value in values))
    jacobian = np.asarray(jacobian).reshape(rows, points, columns).transpose(1, 0, 2)
    return np.asarray(value).T.reshape(*shape, rows), jacobian.reshape(*shape, rows, columns)


def _split(
    problem: Problem, decisions: Decisions, values: Array, jacobians: Array, s: Array, sigma: Array, duration: float
) -> tuple[Array, Array]:
    """Jacobians by the state, (S, G, nz, nx), and by the variables of the interval, (S, G, nz, columns)."""
    nx, nu = problem.nx, problem.nu
    by_x, by_u, by_t, by_p = np.split(jacobians, [nx, nx + nu, nx + nu + 1], axis=-1)
    basis = decisions.nodes.basis(s)
    by_nodes = np.einsum("sga,sgij->sgiaj", basis, by_u).reshape(*by_u.shape[:3], -1)
    by_static = decisions.static_columns(by_t[..., 0], by_p, sigma[..., None], values / duration)
    return by_x, np.concatenate([by_nodes, by_static], axis=-1)


def gauss_steps(by_x: Array, by_w: Array, lengths: Array) -> tuple[Array, Array]:
    """One Gauss step of the variational equations for all steps, in blocks: the maps, and what they are inside."""
    count, points, _, nx = by_x.shape
    blocks = -(-count * (points * nx) ** 2 // _BLOCK)
    split = (np.array_split(array, blocks) for array in (by_x, by_w, lengths))
    parts = [_gauss_block(*block) for block in zip(*split, strict=True)]
    maps, inside = zip(*parts, strict=True)
    return np.concatenate(maps), np.concatenate(inside)


def _gauss_block(by_x: Array, by_w: Array, lengths: Array) -> tuple[Array, Array]:
    """Solve for the slopes dx'_i = f_x (dx + h sum_j a_ij dx'_j) + f_w dw at the Gauss points of some steps."""
    count, points, _, nx = by_x.shape
    A = lengths[:, None, None] * _GAUSS_MATRIX
    state = by_x[:, :, :nx]
    system = np.eye(points * nx) - np.einsum("sij,sirc->sirjc", A, state).reshape(count, points * nx, points * nx)
    forcing = np.concatenate([by_x, by_w], axis=-1)
    slopes = np.linalg.solve(system, forcing[:, :, :nx].reshape(count, points * nx, -1)).reshape(count, points, nx, -1)
    start = np.eye(nx, forcing.shape[-1])
    at_points = start + np.einsum("sij,sjrc->sirc", A, slopes)
    direct = np.concatenate([np.zeros_like(by_x), by_w], axis=-1)[:, :, nx:]
    rates = np.concatenate([slopes, by_x[:, :, nx:] @ at_points + direct], axis=2)
    maps = lengths[:, None, None] * np.einsum("i,sirc->src", GAUSS_WEIGHTS, rates)
    maps[:, :nx] += start
    inside = np.concatenate([at_points, np.einsum("sij,sjrc->sirc", A, rates[:, :, nx:])], axis=2)[..., :nx]
    return maps, inside
