"""Which intervals of a mesh to divide, and whose degree to raise: hp mesh refinement.

Every interval has an error e_k relative to the tolerance, from the certificate: its local defect of the dynamics, the
largest violation of a state bound or path constraint on it, and what its control gives away between its nodes (by
Pontryagin's principle, relative to the cost). Intervals with e_k > 1 are refined; if none is and the certificate asks
for more, those with the largest errors are.

- Where the scheme's degree is fixed, an interval of order q is divided into (e_k)^(1/(q+1)) equal parts, at most four.
- Where it is not, the Legendre coefficients of the control and of the slope of the state on the interval tell how
  smooth these are. If they fall by more than one half a degree, the degree is raised by log(e_k) over the logarithm of
  that rate, at most by four, up to `HIGHEST`; beyond that, the interval is halved. If they do not, there is a switch, a
  corner or a layer, and the interval is divided, each part beginning again with a low degree: where a control that runs
  through more than half of its bounds crosses their middle, a fifth of the interval is cut out around that place; else
  it is divided into two or, far above the tolerance, four equal parts.

References: Betts, Practical Methods for Optimal Control, 2010, section 4.7; Patterson, Hager, Rao, A ph mesh refinement
method for optimal control, OCAM 36, 2015; Liu, Hager, Rao, Adaptive mesh refinement by detection of discontinuities, J.
Franklin Institute 352, 2015. Differs from them: the error is that of the re-integration and not of a finer collocation.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray

from trajopt import bernstein
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation_schemes import Scheme, family_of, find_scheme
from trajopt.transcription.mesh import Mesh

Array = NDArray[np.float64]

HIGHEST = 12
"""Degree beyond which an interval is rather halved; Patterson and Rao take 10 to 14."""

LOWEST = 3
"""Degree with which the parts of a divided interval begin; Patterson and Rao's least."""

_SMOOTH = 0.5
"""Fall of the Legendre coefficients a degree: a function with a singularity at 1.25 half-lengths from the middle."""

_FAR = 100.0
"""Errors above so many tolerances take more than one halving even of a corner, whose error falls as the square."""

_LARGEST_STEP = 4
"""Parts, or degrees, added at most in one round: errors far above the tolerance tell little of the asymptotic rate."""


def refine(mesh: Mesh, trajectory: Trajectory, errors: Array, control_bounds: Array) -> Mesh:
    """Return a finer mesh.

    Parameters
    ----------
    mesh
        Of collocation schemes.
    trajectory
        On that mesh.
    errors
        (N,) errors over the tolerance.
    control_bounds
        (2, nu) of the problem.
    """
    chosen = errors > 1.0
    if not chosen.any():
        chosen = errors >= 0.3 * errors.max()
    marks, schemes = [0.0], []
    for k, scheme in enumerate(mesh.schemes):
        assert isinstance(scheme, Scheme)
        begin, length = mesh.fractions[k], mesh.widths[k]
        cuts, each = (
            ([], scheme)
            if not chosen[k]
            else _refined(scheme, trajectory, control_bounds, k, max(2.0, float(errors[k])))
        )
        marks += [begin + length * cut for cut in cuts] + [mesh.fractions[k + 1]]
        schemes += [each] * (len(cuts) + 1)
    return Mesh(tuple(float(mark) for mark in marks), tuple(schemes))


def _refined(
    scheme: Scheme, trajectory: Trajectory, control_bounds: Array, k: int, error: float
) -> tuple[list[float], Scheme]:
    """Where to cut an interval, and the scheme of its parts."""
    name = family_of(scheme)
    if name is None or trajectory.pieces is None:
        parts = min(_LARGEST_STEP, max(2, math.ceil(error ** (1.0 / (scheme.order + 1)))))
        return (np.arange(1, parts) / parts).tolist(), scheme
    rate = _rate(trajectory, k, scheme.degree)
    least = max(2, min(LOWEST, scheme.degree))
    if rate > _SMOOTH and scheme.degree >= LOWEST:
        switch = _switch(trajectory, control_bounds, k)
        parts = _LARGEST_STEP if error > _FAR else 2
        cuts = (np.arange(1, parts) / parts).tolist() if switch is None else switch
        return cuts, find_scheme(name, least)
    more = min(_LARGEST_STEP, max(1, math.ceil(math.log(error) / -math.log(min(max(rate, 1e-3), _SMOOTH)))))
    if scheme.degree < HIGHEST:
        return [], find_scheme(name, min(HIGHEST, scheme.degree + more))
    return [0.5], scheme


def _rate(trajectory: Trajectory, k: int, degree: int) -> float:
    """Factor by which Legendre coefficients of control and slope fall a degree, the worst of all entries.

    Coefficients below 1e-6 of what the entry does over the whole horizon are rounding or do not matter.
    """
    assert trajectory.pieces is not None
    slopes = np.diff(trajectory.pieces.x, axis=1) / np.diff(trajectory.t)[:, None, None]
    worst = 0.0
    for pieces in (trajectory.pieces.u, slopes):
        span = np.abs(pieces).max(axis=(0, 1), initial=0.0)
        places = bernstein.nodes(max(2, 2 * degree))
        values = bernstein.evaluate(np.broadcast_to(pieces[k], (len(places), *pieces[k].shape)), places)
        found = np.abs(legendre.legfit(2.0 * places - 1.0, values, max(1, degree - 1)))
        for entry, size in zip(found.T, span, strict=True):
            lead = entry[1:].max(initial=0.0)
            if lead <= 1e-6 * size or len(entry) < 3:
                continue
            tail = max(entry[-1], entry[-2] if len(entry) > 3 else 0.0)
            worst = max(worst, float((max(tail, 1e-16 * size) / lead) ** (1.0 / (len(entry) - 2))))
    return worst


def _switch(trajectory: Trajectory, bounds: Array, k: int) -> list[float] | None:
    """Cuts around the place where a control that runs through more than half of its bounds crosses their middle."""
    assert trajectory.pieces is not None
    coefficients, width = trajectory.pieces.u[k], bounds[1] - bounds[0]
    crossing = np.ptp(coefficients, axis=0) > 0.5 * width
    if not crossing.any():
        return None
    places = np.linspace(0.0, 1.0, 201)
    controls = bernstein.evaluate(np.broadcast_to(coefficients, (len(places), *coefficients.shape)), places)
    above = controls[:, crossing] > 0.5 * (bounds[0] + bounds[1])[crossing]
    changes = np.flatnonzero((above[1:] != above[:-1]).any(axis=1))
    if not changes.size:
        return None
    around = places[changes[0]] + np.array([-0.1, 0.1])
    return [float(cut) for cut in around if 0.05 < cut < 0.95]  # no slivers next to the knots
