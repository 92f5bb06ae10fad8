r"""What a control gives away between its nodes, estimated with Pontryagin's minimum principle.

The optimal control minimises the Hamiltonian H = L + lambda' f + mu' g at every time, a control of few nodes only on
average. To second order in the difference of cost that is

    gap = \int -min_{du} (H_u du + 1/2 du' H_uu du) dt   over du that keep u + du within its bounds,

with the costate lambda(t) along the re-integrated trajectory. A held control gives away O(h^2).

Approximate are: the costate, which belongs to the trajectory at hand and not to the optimum; multipliers mu of
constraints on state and control together, spread evenly over each interval; and multipliers of pure state constraints,
which stay impulses at knots and midpoints. Where H is linear in a control without a bound in the direction of descent,
nothing limits du: such controls are left out and named.

Where a control is free to move both ways, a minimum needs H_uu >= 0 (Legendre and Clebsch): a stationary maximum is
found out by that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.active_rows import ActiveRows
from trajopt.problem import Problem
from trajopt.reintegration import GAUSS_NODES, GAUSS_WEIGHTS, Reintegration
from trajopt.sensitivity import Linearisation, evaluate
from trajopt.trajectory import Trajectory
from trajopt.transcription.hamiltonian import Hamiltonian

Array = NDArray[np.float64]

_SWEEPS = 50
"""Of coordinate descent; its error falls geometrically, and the gap is an estimate anyway."""


_CONCAVE = 1e-3
"""Share of a control's largest curvature, and of the way to a bound, that is no matter of rounding or truncation."""

_LASTING = 0.05
"""Share of the horizon from which on curvature of the wrong sign counts; less may be due to an inaccurate costate."""


@dataclass(frozen=True, eq=False)
class Minimum:
    """How well a control minimises the Hamiltonian.

    Attributes
    ----------
    gaps
        (N,) cost that the control gives away on each interval.
    left_out
        Controls that could not be counted.
    concave
        Controls that are free to move while the Hamiltonian curves downwards in them.
    """

    gaps: Array
    left_out: tuple[str, ...] = ()
    concave: tuple[str, ...] = ()


def check_minimum(
    problem: Problem, trajectory: Trajectory, parameters: Array, path: Reintegration, linear: Linearisation,
    active: ActiveRows, nu: Array, costates: Array,
) -> Minimum:  # fmt: skip
    """Measure what the control gives away, and whether it is a minimum at all.

    Parameters
    ----------
    problem, trajectory, parameters, path, linear, active
        The trajectory and what belongs to it.
    nu
        (R,) multipliers of the active rows.
    costates
        (S+1, nx) at the begin of each step.
    """
    if not problem.dynamics.continuous or not problem.nu:
        return Minimum(np.zeros(trajectory.steps))
    steps = path.steps
    assert steps is not None
    lengths = steps.end - steps.begin
    times = steps.begin[:, None] + lengths[:, None] * GAUSS_NODES
    interval = np.broadcast_to(steps.interval[:, None], times.shape)
    s = (times - trajectory.t[interval]) / np.diff(trajectory.t)[interval]
    prices = _integral_prices(path, active, nu)
    weights = np.concatenate([[1.0], prices])
    nx = problem.nx
    lost = np.einsum("q,sgqi->sgi", weights, linear.inside[:, :, nx:])
    remaining = costates[:-1, None] - lost
    costate = np.linalg.solve(np.swapaxes(linear.inside[:, :, :nx], -1, -2), remaining[..., None])[..., 0]
    density, shift = _spread(problem, trajectory, active, nu)
    later = np.array([0.0, 0.5, 1.0]) > s[..., None]
    costate += np.einsum("sgl,sgli->sgi", (1.0 - s)[..., None] - later, shift[interval])
    u = linear.decisions.nodes.control(interval, s)
    prices = np.broadcast_to(prices, (*s.shape, prices.size))
    gradient, curvature = _hamiltonian(problem, steps.x, u, times, parameters, costate, prices, density[interval])
    lower, upper = np.minimum(problem.control_bounds[0] - u, 0.0), np.maximum(problem.control_bounds[1] - u, 0.0)
    gain, unlimited = _box_decrease(gradient, curvature, lower, upper)
    gaps = np.zeros(trajectory.steps)
    np.add.at(gaps, steps.interval, lengths * (gain @ GAUSS_WEIGHTS))
    alone = (density[interval] == 0.0).all(
        axis=-1
    )  # a path constraint that acts may hold a control in a concave direction
    wrong = _concave(curvature, lower, upper) & np.asarray(alone)[..., None]
    lasting = np.einsum("s,sgj,g->j", lengths, wrong, GAUSS_WEIGHTS) > _LASTING * lengths.sum()
    names = np.array(problem.dynamics.controls)
    return Minimum(gaps, tuple(names[unlimited.any(axis=(0, 1))].tolist()), tuple(names[lasting].tolist()))


def _concave(curvature: Array, lower: Array, upper: Array) -> NDArray[np.bool_]:
    """Where each control, free to move both ways, curves the Hamiltonian downwards, (..., nu)."""
    own = np.einsum("...jj->...j", curvature)
    largest = np.abs(own).max(axis=(0, 1))
    with np.errstate(invalid="ignore"):
        near = _CONCAVE * np.where(np.isfinite(upper - lower), upper - lower, 0.0)
    return (own < -_CONCAVE * largest) & (largest > 0.0) & (-lower > near) & (upper > near)


def _integral_prices(path: Reintegration, active: ActiveRows, nu: Array) -> Array:
    """Multiplier of each integrand, (nq,)."""
    ends = len(active.functionals.by_final) - 1
    return nu[:ends] @ active.functionals.by_running[1:, 1:] if path.running.size > 1 else np.zeros(0)


def _spread(problem: Problem, trajectory: Trajectory, active: ActiveRows, nu: Array) -> tuple[Array, Array]:
    """Impulses of rows that depend on the control, as densities: (N, rows of path), and their costates' parts.

    The second result, (N, 3, nx), holds what each interval's impulses at its start, middle and end contribute to the
    costate before them, so that the caller can replace these jumps by the even flow of the density.
    """
    points, spans = active.functionals.points, np.diff(trajectory.t)
    masses = nu[len(nu) - points.step.size :]
    density = np.zeros((trajectory.steps, len(problem.model.path)))
    shift = np.zeros((trajectory.steps, 3, problem.nx))
    jumps = trajectory.interpolation.jumps
    for row in np.flatnonzero(active.mixed):
        k, place = points.interval[row], round(2 * points.s[row])
        # An impulse at a knot belongs half to each interval, unless the limits of a control that jumps differ.
        shared = not jumps and place == 0 and k > 0
        for interval, where, share in ((k, place, 0.5), (k - 1, 2, 0.5)) if shared else ((k, place, 1.0),):
            density[interval, active.path_row[row]] += share * masses[row] / spans[interval]
            shift[interval, where] += share * masses[row] * points.by_x[row]
    return density, shift


def _hamiltonian(
    problem: Problem, x: Array, u: Array, t: Array, p: Array, costate: Array, prices: Array, density: Array
) -> tuple[Array, Array]:
    """First and second derivative of the Hamiltonian by the control, (..., nu) and (..., nu, nu)."""
    model, hamiltonian = problem.model, Hamiltonian.of(problem.model)
    symbols = [model.u, model.x, model.t, model.p, hamiltonian.costate, hamiltonian.prices, hamiltonian.densities]
    values = [u, x, t[..., None], np.broadcast_to(p, (*t.shape, p.size)), costate, prices, density]
    return evaluate(hamiltonian.gradient, symbols, values, by=1)


def _box_decrease(gradient: Array, curvature: Array, lower: Array, upper: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Decrease of a quadratic in a box that contains zero, (...,), and where it has no limit, (..., nu).

    Coordinate descent: exact for one control, monotone for several.
    """
    # Curvature below rounding of the largest is none.
    flat_below = 1e-12 * max(1.0, float(np.abs(curvature).max(initial=0.0)))
    move, unlimited = np.zeros_like(gradient), np.zeros(gradient.shape, bool)
    gradient, curvature, dropped = _without_saddles(gradient, curvature, ~np.isfinite(upper - lower), flat_below)
    for _ in range(_SWEEPS if gradient.shape[-1] > 1 else 1):
        for j in range(gradient.shape[-1]):
            own = curvature[..., j, j]
            slope = gradient[..., j] + np.einsum("...i,...i->...", curvature[..., j, :], move) - own * move[..., j]
            curved = own > flat_below
            newton = np.clip(-slope / np.where(curved, own, 1.0), lower[..., j], upper[..., j])
            # Without curvature the best place is the bound ahead; a concave direction may end at the other one.
            ends = np.stack([lower[..., j], upper[..., j]])
            with np.errstate(invalid="ignore"):
                values = slope * ends + 0.5 * own * ends**2
            best = np.where(values[0] < values[1], ends[0], ends[1])
            noticed = (np.abs(slope) > 1e-9 * max(1.0, float(np.abs(gradient).max()))) | (own < -flat_below)
            flat = np.where(noticed & np.isfinite(best), best, 0.0)
            unlimited[..., j] = ~curved & noticed & ~np.isfinite(best)
            move[..., j] = np.where(curved, newton, flat)
    quadratic = 0.5 * np.einsum("...i,...ij,...j->...", move, curvature, move)
    return np.maximum(0.0, -(np.einsum("...i,...i->...", gradient, move) + quadratic)), unlimited | dropped


def _without_saddles(
    gradient: Array, curvature: Array, unbounded: NDArray[np.bool_], flat_below: float
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Leave out directions of negative curvature where no bound stops the descent along them.

    What does stop it there, if anything, are nonlinear constraints, which the quadratic knows by their curvature alone.

    Returns
    -------
    gradient, curvature
        Of the convex part at such points, as given at others.
    dropped
        (..., nu) the unbounded controls that such a direction moves.
    """
    values, vectors = np.linalg.eigh(curvature)
    down = values < -flat_below
    moved = np.einsum("...ji,...i->...j", vectors**2, down) > _CONCAVE
    dropped = moved & unbounded
    saddle = dropped.any(axis=-1)[..., None]
    kept = np.where(down, 0.0, 1.0)
    convex = np.einsum("...ai,...i,...bi->...ab", vectors, kept * values, vectors)
    along = np.einsum("...ai,...i,...bi,...b->...a", vectors, kept, vectors, gradient)
    return np.where(saddle, along, gradient), np.where(saddle[..., None], convex, curvature), dropped
