"""From the multipliers of a transcribed program to costates and multipliers of the optimal-control problem.

With the multipliers mu of L = J + mu' defects, the costate at a knot is the gradient by its state of that part of L
that lies in the future, dJ*/dx. At an inner knot it equals minus the gradient of the past, up to the jump that an
active state constraint makes there; the mean of both is returned. So H = l + costate' f.

At the collocation points of an interval the control is stationary where h b_j dl/du - h sum_i a_ij mu_i' df/du = 0.
That is dH/du = 0 with the costate

    lambda_j = -sum_i a_ij mu_i / b_j,

the covector mapping (Garg et al., Automatica 46, 2010; Hager, Numerische Mathematik 87, 2000).

What acts along the time becomes a density: the multiplier of a node over the time that it stands for, so that it
approaches the mu(t) of the continuous problem; the multiplier of a control's bound over the integral of its
coefficient's basis function. Under a held control, what involves the control stands for the whole interval behind its
knot; in discrete time a multiplier stays as it is, and so does one at a knot that stands for no time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.collocation import DirectProgram
from trajopt.transcription.collocation_schemes import Scheme
from trajopt.transcription.held_steps import DISCRETE_STEP

Array = NDArray[np.float64]


def read_multipliers(
    structure: DirectProgram, initial: Array, trajectory: Trajectory, rows: Array, bounds: Array,
    gradients: Sequence[Array],
) -> dict[str, Array]:  # fmt: skip
    """Return costates, and the multipliers of the constraints by kind.

    Parameters
    ----------
    structure
        Says what lies where.
    initial
        (nx,) the initial state, NaN where free. What is given has bounds in the program, but none in the problem.
    trajectory
        Gives the times of the intervals.
    rows, bounds
        (rows,) and (size,): multipliers of the program, positive at an active upper limit.
    gradients
        For each element of the program the gradient of the Lagrangian by its own variables, (n, copies).
    """
    layout, places = structure.variables, structure.rows
    discrete = structure.scheme is DISCRETE_STEP
    bounds = bounds.copy()
    bounds[layout.x[0, np.isfinite(initial)]] = 0.0
    shares = _Shares(structure, np.ones(trajectory.steps) if discrete else np.diff(trajectory.t))
    found = {
        "costates": _costates(structure, gradients),
        "path": _path(structure, rows, shares)[: len(places.path) if discrete else None],
        "state_bounds": bounds[layout.x] / shares.knots(discrete),
        "control_bounds": bounds[layout.u] / shares.controls(),
        "terminal": rows[places.terminal],
        "boundary": rows[places.boundary],
        "integral": rows[places.integral],
    }
    if structure.scheme.interpolation is Interpolation.QUADRATIC:
        found["path_mid"] = rows[places.path_inner] / (shares.spans[:, None] * structure.scheme.weights[1])
    if isinstance(structure.scheme, Scheme) and not structure.scheme.compressed:
        found |= _at_points(structure, trajectory, rows)
    return found


class _Shares:
    """For how much time each unknown or row stands, (n, 1)."""

    def __init__(self, structure: DirectProgram, spans: Array) -> None:
        self.spans, schemes = spans, structure.mesh.schemes
        self._left = spans * [scheme.weights[0] for scheme in schemes]
        self._right = spans * [scheme.weights[-1] for scheme in schemes]
        self._each = spans / [1 + scheme.inner_controls + scheme.closed for scheme in schemes]
        self._closed = structure.scheme.closed

    def knots(self, discrete: bool = False) -> Array:
        """States at the knots."""
        if discrete:
            return np.ones((len(self.spans) + 1, 1))
        return self._join(self._left, self._right)

    def controls(self) -> Array:
        """Bernstein coefficients at the knots: the basis functions of a polynomial have equal integrals."""
        return self._join(self._each, self._each) if self._closed else self._each[:, None]

    def _join(self, left: Array, right: Array) -> Array:
        total = np.append(left, 0.0) + np.concatenate([[0.0], right])
        return np.where(total > 0.0, total, 1.0)[:, None]


def _path(structure: DirectProgram, rows: Array, shares: _Shares) -> Array:
    """(N+1, n_path) densities of the path constraints, zero at the last knot for those that do not hold there."""
    places, repeated, held = structure.rows, structure.repeated, structure.scheme.interpolation is Interpolation.HOLD
    knots = shares.knots(structure.scheme is DISCRETE_STEP)
    found, times = np.zeros((len(knots), places.path.shape[1])), np.tile(knots, places.path.shape[1])
    found[:-1], found[-1, repeated] = rows[places.path], rows[places.path_end]
    own = np.setdiff1d(np.arange(found.shape[1]), repeated)
    if len(places.path_right):
        found[1:, own] += rows[places.path_right]
    if held:
        times[:-1, own] = shares.spans[:, None]
    return found / times


def _costates(structure: DirectProgram, gradients: Sequence[Array]) -> Array:
    """(N+1, nx) gradients dJ*/dx at the knots."""
    layout, steps = structure.variables, structure.mesh.steps
    nx, nu = layout.x.shape[1], layout.u.shape[1]
    behind = len(layout.free) + (nu if structure.scheme.closed else 0)
    future, past = np.empty((steps, nx)), np.empty((steps, nx))
    for (_, chosen), gradient in zip(structure.mesh.groups(), gradients, strict=False):  # behind them those of the ends
        right = len(gradient) - behind - nx
        future[chosen], past[chosen] = gradient[:nx].T, -gradient[right : right + nx].T
    return np.vstack([future[:1], 0.5 * (future[1:] + past[:-1]), past[-1:]])


def _at_points(structure: DirectProgram, trajectory: Trajectory, rows: Array) -> dict[str, Array]:
    """Times, costates and path densities at the collocation points inside the intervals, in order of time."""
    places, offsets = structure.rows, structure.rows.path_first
    spans, count = np.diff(trajectory.t), int(offsets[-1])
    times, weights = np.empty(count), np.empty(count)
    costates = np.empty((count, structure.variables.x.shape[1]))
    for scheme, chosen in structure.mesh.groups():
        assert isinstance(scheme, Scheme)
        inside = offsets[chosen][:, None] + np.arange(scheme.inner_points)
        defects = places.defects[places.defects_first[chosen][:, None] + np.arange(scheme.inner + 1)]
        b, points = scheme.weights[1:-1], scheme.nodes[1:-1]
        times[inside] = trajectory.t[chosen][:, None] + spans[chosen][:, None] * points
        weights[inside] = spans[chosen][:, None] * b
        costates[inside] = -np.einsum("ij,nik->njk", scheme.coefficients[:, 1:-1] / b, rows[defects])
    found = {"point_times": times, "point_costates": costates}
    return found | {"point_path": rows[places.path_inner] / weights[:, None]} if places.path.shape[1] else found
