"""From the multipliers of a transcribed program to costates and multipliers of the optimal-control problem.

With the multipliers mu of L = J + mu' defects, the costate at a knot is the gradient by its state of that part of L
that lies in the future, dJ*/dx. At an inner knot it equals minus the gradient of the past, up to the jump that an
active state constraint makes there; the mean of both is returned. So H = l + costate' f.

What acts along the time becomes a density: the multiplier of a node over the time that it stands for, so that it
approaches the mu(t) of the continuous problem. Under a held control, what involves the control stands for the whole
interval behind its knot; in discrete time a multiplier stays as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.collocation import DirectProgram
from trajopt.transcription.held_steps import DISCRETE_STEP

Array = NDArray[np.float64]


def read_multipliers(
    structure: DirectProgram, trajectory: Trajectory, rows: Array, bounds: Array, gradients: Sequence[Array]
) -> dict[str, Array]:
    """Return costates, and the multipliers of the constraints by kind.

    Parameters
    ----------
    structure
        Says what lies where.
    trajectory
        Gives the time of an interval.
    rows, bounds
        (rows,) and (size,): multipliers of the program, positive at an active upper limit.
    gradients
        For each element of the program the gradient of the Lagrangian by its own variables, (n, copies).
    """
    layout, places, scheme = structure.variables, structure.rows, structure.scheme
    held, discrete = scheme.interpolation is Interpolation.HOLD, scheme is DISCRETE_STEP
    h = (trajectory.t[-1] - trajectory.t[0]) / trajectory.steps
    at_knots = np.full((trajectory.steps + 1, 1), h)
    if not discrete:
        at_knots[[0, -1], 0] = h * scheme.weights[0], h * scheme.weights[-1]
        at_knots[1:-1] = h * (scheme.weights[0] + scheme.weights[-1])
    found = {
        "costates": _costates(structure, gradients[0]),
        "path": _path(structure, rows, at_knots, h)[: len(places.path) if discrete else None],
        "state_bounds": bounds[layout.x] / at_knots,
        "control_bounds": bounds[layout.u] / (h if held else at_knots),
        "terminal": rows[places.terminal],
        "boundary": rows[places.boundary],
        "integral": rows[places.integral],
    }
    if scheme.inner:
        found["path_mid"] = rows[places.path_inner[:, 0]] / (h * scheme.weights[1])
    return found


def _path(structure: DirectProgram, rows: Array, at_knots: Array, h: float) -> Array:
    """(N+1, n_path) densities of the path constraints, zero at the last knot for those that do not hold there."""
    places, repeated = structure.rows, structure.repeated
    found, times = np.zeros((len(at_knots), places.path.shape[1])), np.tile(at_knots, places.path.shape[1])
    found[:-1], found[-1, repeated] = rows[places.path], rows[places.path_end]
    times[:, np.setdiff1d(np.arange(found.shape[1]), repeated)] = h
    return found / times


def _costates(structure: DirectProgram, gradients: Array) -> Array:
    """(N+1, nx) gradients dJ*/dx at the knots."""
    layout = structure.variables
    nx = layout.x.shape[1]
    right = gradients.shape[0] - len(layout.free) - nx - (layout.u.shape[1] if len(layout.u) == len(layout.x) else 0)
    future, past = gradients[:nx].T, -gradients[right : right + nx].T
    return np.vstack([future[:1], 0.5 * (future[1:] + past[:-1]), past[-1:]])
