"""Collocation schemes as tables: where an interval is collocated, and with which weights.

On an interval of length h the state is a polynomial of degree m whose slope equals f at m points c_j, in integral form

    x_i = x_0 + h sum_j a_ij f_j,    integral of l over the interval = h sum_j b_j l_j,    f_j = f(x_j, u_j),

with a_ij the integral from 0 to c_i of the Lagrange polynomial of point j, and b_j that from 0 to 1. All have c_0 = 0.

- Lobatto points have 1 among them: Lobatto IIIA, of order 2m - 2 at the knots. The trapezoidal rule (m = 2) and
  Hermite-Simpson (m = 3) share the control at a knot between its neighbours; in the family "lobatto" it may jump. A
  shared control spoils the pairing with Lobatto IIIB in the costates from m = 4 on: the states lose two orders.
- Radau points end before 1: the standard Legendre-Gauss-Radau method, of order 2m - 1 (Garg et al., Automatica 46,
  2010, whose integral form this is; the differential form has the same solutions). The control may jump at knots.

The textbook's Legendre-Gauss-Lobatto method differs: it fits a polynomial of degree m - 1 at m points, its
differentiation matrix is singular, and its costates have a null space (Garg et al.). Lobatto IIIA has neither fault.

The control is a polynomial through its values at the points. What is unknown is not the value there but the Bernstein
coefficient: the polynomial lies in the convex hull of its coefficients, so that bounds on these hold at every time.
Bounds on the values alone would let a parabola through (1, 1, -1) swing up to 9/8. The price: from degree two on,
polynomials that obey a bound with coefficients beyond it are left out, which matters where a control leaves its bound.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import casadi as ca
import numpy as np
from numpy.polynomial import Legendre
from numpy.typing import NDArray

from trajopt import bernstein
from trajopt.errors import InvalidProblem
from trajopt.model import Model
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.interval import Interval
from trajopt.validation import check_choice

Array = NDArray[np.float64]

LARGEST_DEGREE = 20
"""Beyond it the Bernstein coefficients of a control lose half of all digits: their condition grows as 2^degree."""


@dataclass(frozen=True, eq=False)
class Scheme:
    """A table of collocation coefficients.

    Attributes
    ----------
    points
        (m,) collocation points as fractions c of the interval, the first 0.
    interpolation
        How the control runs through its points.
    order
        Of the state at the knots, of the costate and of the cost, for smooth controls.
    compressed
        Whether the states inside follow from those at the knots instead of being unknowns: Hermite-Simpson alone.
    """

    points: Array
    interpolation: Interpolation
    order: int
    compressed: bool = False

    @property
    def degree(self) -> int:
        """Degree m of the state, as many as there are points."""
        return len(self.points)

    @property
    def _to_the_end(self) -> bool:
        return bool(self.points[-1] == 1.0)

    @property
    def closed(self) -> bool:
        """Whether neighbours share the control at their knot."""
        return self._to_the_end and not self.interpolation.jumps

    @property
    def ends(self) -> bool:
        """Whether the right knot is a point with a control of the interval's own."""
        return self._to_the_end and self.interpolation.jumps

    @property
    def inner_points(self) -> int:
        """Number of points strictly inside an interval."""
        return len(self.points) - 1 - self._to_the_end

    @property
    def inner_controls(self) -> int:
        """Number of unknown controls behind that of the left knot that no neighbour shares."""
        return self.inner_points + self.ends

    @property
    def inner(self) -> int:
        """Number of unknown states strictly inside an interval."""
        return 0 if self.compressed else self.inner_points

    @cached_property
    def nodes(self) -> Array:
        """(inner_points+2,) the points, and 1."""
        return self.points if self._to_the_end else np.append(self.points, 1.0)

    @cached_property
    def coefficients(self) -> Array:
        """(n, n+1) matrix a, n = inner_points + 1; row i-1 belongs to node i, the column of a mere node is zero."""
        return self._pad(_integrals(self.points, self.nodes[1:]))

    @cached_property
    def weights(self) -> Array:
        """(inner_points+2,) quadrature weights b, zero for a mere node."""
        return self._pad(_integrals(self.points, np.ones(1)))[0]

    @cached_property
    def blend(self) -> Array:
        """(m, m) matrix that gives the controls at the points from the Bernstein coefficients."""
        return bernstein.basis(len(self.points) - 1, self.points)

    def _pad(self, columns: Array) -> Array:
        return columns if self._to_the_end else np.hstack([columns, np.zeros((len(columns), 1))])

    def interval(self, model: Model, p: ca.SX, time: Callable[[float], ca.SX], h: ca.SX) -> Interval:
        """Return the equations of an interval of length ``h``, whose node c in [0, 1] lies at ``time(c)``."""
        stage = ca.Function(
            "stage",
            [model.x, model.u, model.t, model.p],
            [model.dynamics, model.stage_cost, model.integral.expression, model.path.expression],
        )
        x = [ca.SX.sym(f"x{j}", model.x.numel()) for j in range(self.inner + 2)]
        u = [ca.SX.sym(f"u{j}", model.u.numel()) for j in range(len(self.points))]
        unknowns = list(
            itertools.chain(*itertools.zip_longest(x[:-1], u[: 1 + self.inner_controls], fillvalue=ca.SX(0, 1)))
        )
        unknowns += [x[-1], *u[1 + self.inner_controls :]]
        controls = [ca.horzcat(*u) @ ca.DM(row) for row in self.blend]
        states = [x[0], self._midpoint(stage, x, controls, p, time, h), x[-1]] if self.compressed else x
        used = len(self.points)
        points = zip(states[:used], controls, map(time, self.points), strict=True)
        values = [stage(*point, p) for point in points]
        slopes, costs, integrands = (ca.horzcat(*(value[i] for value in values)) for i in range(3))
        steps = [x[0] + h * slopes @ ca.DM(a[:used]) for a in self.coefficients[-1 - self.inner :]]
        return Interval(
            variables=ca.vertcat(*unknowns),
            defects=ca.vertcat(*(state - step for state, step in zip(x[1:], steps, strict=True))),
            paths=[value[3] for value in values[: 1 + self.inner_points]],
            cost=h * costs @ ca.DM(self.weights[:used]),
            integrals=h * integrands @ ca.DM(self.weights[:used]),
            end=values[-1][3] if self.ends else None,
        )

    def _midpoint(
        self, stage: ca.Function, x: list[ca.SX], u: list[ca.SX], p: ca.SX, time: Callable[[float], ca.SX], h: ca.SX
    ) -> ca.SX:
        """Return the state in the middle, from the cubic through the ends with their slopes (Betts 2010, 4.116)."""
        left, right = stage(x[0], u[0], time(0.0), p)[0], stage(x[-1], u[-1], time(1.0), p)[0]
        return 0.5 * (x[0] + x[-1]) + h / 8 * (left - right)

    def guess_controls(self, guess: Trajectory, intervals: NDArray[np.intp] | None = None) -> tuple[Array, Array]:
        """Return the controls at the knots, (N, nu), or (N+1, nu) if closed, and inner Bernstein coefficients."""
        chosen = np.arange(guess.steps) if intervals is None else intervals
        begin, length = guess.t[:-1][chosen], np.diff(guess.t)[chosen]
        values = np.stack([guess.control_on(chosen, begin + c * length) for c in self.points], axis=1)
        if not self.closed:
            knots = guess.control_on(np.arange(guess.steps), guess.t[:-1])
            return knots, np.einsum("ij,njk->nik", np.linalg.inv(self.blend), values)[:, 1:]
        knots = guess.control(guess.t)
        ends = self.blend[1:-1, :1] * knots[chosen][:, None] + self.blend[1:-1, -1:] * knots[chosen + 1][:, None]
        return knots, np.einsum("ij,njk->nik", np.linalg.inv(self.blend[1:-1, 1:-1]), values[:, 1:-1] - ends)

    def read_controls(self, knots: Array, inside: Array, intervals: NDArray[np.intp]) -> Array:
        """Return the Bernstein coefficients of the control on intervals, (n, m, nu); see `IntervalScheme`."""
        parts = [knots[intervals][:, None], inside]
        return np.concatenate([*parts, knots[intervals + 1][:, None]] if self.closed else parts, axis=1)

    def read_states(self, left: Array, inside: Array, right: Array, slopes: Array, lengths: Array) -> Array:
        """Return the Bernstein coefficients of the state on intervals, (n, m+1, nx); see `IntervalScheme`."""
        used = len(self.points)
        if self.compressed:
            raise AssertionError("a compressed scheme has no polynomial pieces")
        rises = (np.concatenate([inside, right[:, None]], axis=1) - left[:, None]) / lengths[:, None, None]
        a = self.coefficients[:, :used]
        if self._to_the_end:  # the slope on the left and m - 1 states make the slopes at m points; Radau's has m states
            rest = np.einsum("ij,njk->nik", np.linalg.inv(a[:, 1:]), rises - a[:, :1] * slopes[:, None])
            at_points = np.concatenate([slopes[:, None], rest], axis=1)
        else:
            at_points = np.einsum("ij,njk->nik", np.linalg.inv(a), rises)
        slope = np.einsum("ij,njk->nik", np.linalg.inv(self.blend), at_points)
        return left[:, None] + lengths[:, None, None] * bernstein.antiderivative(slope)


def _integrals(points: Array, ends: Array) -> Array:
    """(n, m) integrals from 0 to each end of the Lagrange polynomials of the points, by Gauss quadrature, exact."""
    gauss, weights = np.polynomial.legendre.leggauss(len(points))
    places = 0.5 * ends[:, None] * (gauss + 1.0)
    others = [np.delete(points, j) for j in range(len(points))]
    values = [
        np.prod((places[..., None] - rest) / (point - rest), axis=-1)
        for point, rest in zip(points, others, strict=True)
    ]
    return 0.5 * ends[:, None] * np.stack([value @ weights for value in values], axis=1)


def radau_points(count: int) -> Array:
    """Points on [0, 1) with 0 among them, whose quadrature is exact up to degree 2 count - 2."""
    roots = (Legendre.basis(count - 1) + Legendre.basis(count)).roots() if count > 1 else np.array([-1.0])
    points = 0.5 * (np.sort(np.real(roots)) + 1.0)
    points[0] = 0.0
    return points


def lobatto_points(count: int) -> Array:
    """Points on [0, 1] with both ends among them, whose quadrature is exact up to degree 2 count - 3."""
    roots = np.sort(np.real(Legendre.basis(count - 1).deriv().roots()))
    return np.concatenate([[0.0], 0.5 * (0.5 * (roots - roots[::-1]) + 1.0), [1.0]])


_QUADRATIC = np.array([0.0, 0.5, 1.0])
TRAPEZOIDAL = Scheme(np.array([0.0, 1.0]), Interpolation.LINEAR, 2)
HERMITE_SIMPSON = Scheme(_QUADRATIC, Interpolation.QUADRATIC, 4)
COMPRESSED = Scheme(_QUADRATIC, Interpolation.QUADRATIC, 4, compressed=True)

SCHEMES = {"trapezoidal": TRAPEZOIDAL, "hermite_simpson": HERMITE_SIMPSON, "hermite_simpson_compressed": COMPRESSED}
"""The schemes of a fixed degree by the name that users give."""

LEAST_DEGREE = {"radau": 1, "lobatto": 2}
"""The families of schemes by the name that users give, with the least degree of each."""

DEFAULT_DEGREE = 4
"""Of the families: what GPOPS-II starts its meshes with (Patterson, Rao, ACM TOMS 41, 2014)."""


@cache
def _family(name: str, degree: int) -> Scheme:
    """Make each scheme once, so that equal settings are equal schemes."""
    if name == "radau":
        return Scheme(radau_points(degree), Interpolation.POLYNOMIAL, 2 * degree - 1)
    return Scheme(lobatto_points(degree), Interpolation.POLYNOMIAL, 2 * degree - 2)


def find_scheme(name: str, degree: int | None = None) -> Scheme:
    """Return the scheme of that name and degree; see `LEAST_DEGREE`.

    Raises
    ------
    InvalidProblem
        When there is none.
    """
    check_choice(name, "scheme", (*SCHEMES, *LEAST_DEGREE))
    if name in SCHEMES:
        if degree is not None:
            raise InvalidProblem(
                f"degree={degree!r} was given with scheme={name!r}, whose degree is fixed, but None was expected; "
                f"leave it out, or take {' or '.join(map(repr, LEAST_DEGREE))}."
            )
        return SCHEMES[name]
    degree, least = DEFAULT_DEGREE if degree is None else degree, LEAST_DEGREE[name]
    if isinstance(degree, bool) or not isinstance(degree, int) or not least <= degree <= LARGEST_DEGREE:
        raise InvalidProblem(
            f"degree={degree!r} was given with scheme={name!r}, but a whole number from {least} to {LARGEST_DEGREE} "
            "was expected; take more intervals in place of a higher degree."
        )
    return _family(name, degree)


def family_of(scheme: Scheme) -> str | None:
    """Return the family that a scheme belongs to, so that its degree can be changed; None for the fixed ones."""
    if not scheme.interpolation.jumps:
        return None
    return "lobatto" if scheme.ends else "radau"
