"""Where everything of a transcribed problem lies: variables in the vector w, constraints in the rows g.

Both run stage after stage in time: all variables of an interval before those of the next one, and among its rows the
defect that leads to the next knot first, which is the order that structure-exploiting solvers ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajopt.transcription.interval import IntervalScheme

Index = NDArray[np.intp]


def _offsets(counts: Sequence[int]) -> Index:
    """(N+1,) where the part of each interval begins among things laid end to end."""
    return np.concatenate([[0], np.cumsum(np.array(counts, dtype=np.intp))]).astype(np.intp)


def _slices(offsets: Index, intervals: Index) -> Index:
    """(n, count) places of what belongs to intervals that all have equally much of it."""
    count = int(offsets[intervals[0] + 1] - offsets[intervals[0]]) if len(intervals) else 0
    return offsets[intervals][:, None] + np.arange(count)


@dataclass(frozen=True, eq=False)
class VariableLayout:
    """Places in the vector of decision variables, node after node in time, then the globals.

    Attributes
    ----------
    x
        (N+1, nx) states at the knots.
    u
        Controls at the knots: (N+1, nu), or (N, nu) if they are held.
    x_inner, u_inner
        (M, nx) and (K, nu), interval after interval: states at the unknown nodes inside, and Bernstein coefficients of
        the control there (see `Scheme`).
    x_first, u_first
        (N+1,) where those of each interval begin.
    free
        (n_free,) the free ones of start, duration and packed parameters.
    size
        Number of variables.
    """

    x: Index
    u: Index
    x_inner: Index
    u_inner: Index
    x_first: Index
    u_first: Index
    free: Index
    size: int

    @classmethod
    def of(cls, schemes: Sequence[IntervalScheme], nx: int, nu: int, free: int) -> VariableLayout:
        """Lay out one interval for each scheme, and ``free`` globals behind them."""
        knots_x, knots_u, inner_x, inner_u = [], [], [], []
        place = 0
        for scheme in schemes:
            knots_x.append(place + np.arange(nx))
            knots_u.append(place + nx + np.arange(nu))
            place += nx + nu
            for j in range(scheme.inner_controls):
                if j < scheme.inner:
                    inner_x.append(place + np.arange(nx))
                    place += nx
                inner_u.append(place + np.arange(nu))
                place += nu
        knots_x.append(place + np.arange(nx))
        place += nx
        if schemes[-1].closed:
            knots_u.append(place + np.arange(nu))
            place += nu
        return cls(
            x=_table(knots_x, nx),
            u=_table(knots_u, nu),
            x_inner=_table(inner_x, nx),
            u_inner=_table(inner_u, nu),
            x_first=_offsets([scheme.inner for scheme in schemes]),
            u_first=_offsets([scheme.inner_controls for scheme in schemes]),
            free=place + np.arange(free),
            size=place + free,
        )

    @property
    def steps(self) -> int:
        """Number of intervals N."""
        return len(self.x) - 1

    def inside(self, intervals: Index) -> tuple[Index, Index]:
        """(n, inner, nx) and (n, inner_controls, nu) of some intervals of one scheme."""
        return self.x_inner[_slices(self.x_first, intervals)], self.u_inner[_slices(self.u_first, intervals)]

    def intervals(self, chosen: Index) -> Index:
        """(n, m) variables of intervals of one scheme: left knot, inner nodes, right knot, globals."""
        n = len(chosen)
        x, u = self.inside(chosen)
        parts = [self.x[chosen], self.u[chosen]]
        for j in range(u.shape[1]):
            parts += [x[:, j], u[:, j]] if j < x.shape[1] else [u[:, j]]
        parts += [self.x[chosen + 1]]
        if len(self.u) == self.steps + 1:
            parts += [self.u[chosen + 1]]
        return np.hstack([*parts, np.broadcast_to(self.free, (n, len(self.free)))])

    def end(self) -> Index:
        """(1, n) variables of the final knot, and the globals."""
        control = self.u[-1] if len(self.u) == len(self.x) else self.u[-1, :0]
        return np.concatenate([self.x[-1], control, self.free])[None, :]

    def both_ends(self) -> Index:
        """(1, n) states of the first and the final knot, and the globals."""
        return np.concatenate([self.x[0], self.x[-1], self.free])[None, :]


@dataclass(frozen=True, eq=False)
class RowLayout:
    """Places in the vector of constraint rows.

    Attributes
    ----------
    defects
        (D, nx) interval after interval, one for each unknown node but the first.
    path
        (N, n_path) path constraints at all knots but the last.
    path_inner
        (K, n_path), interval after interval: path constraints at the points inside.
    path_right
        (N, n) those that the control enters, at the right knots under the controls of the intervals themselves; no rows
        where the schemes have no such controls.
    defects_first, path_first
        (N+1,) where those of each interval begin.
    path_end
        (n,) those that hold at the last knot too.
    terminal, boundary, integral
        (n,) each.
    size
        Number of rows.
    """

    defects: Index
    path: Index
    path_inner: Index
    path_right: Index
    defects_first: Index
    path_first: Index
    path_end: Index
    terminal: Index
    boundary: Index
    integral: Index
    size: int

    @classmethod
    def of(cls, schemes: Sequence[IntervalScheme], nx: int, counts: dict[str, int]) -> RowLayout:
        """Lay out the rows; ``counts`` holds how many there are by kind, as the attributes are called."""
        width, place = counts["path"], 0
        defects, path, path_inner, path_right = [], [], [], []
        for scheme in schemes:
            own = place + nx * np.arange(scheme.inner + 1)
            defects += [first + np.arange(nx) for first in np.roll(own, -1)]  # the last one comes first
            place += nx * (scheme.inner + 1)
            path.append(place + np.arange(width))
            path_inner += [place + width * (j + 1) + np.arange(width) for j in range(scheme.inner_points)]
            place += width * (1 + scheme.inner_points)
            if scheme.ends:
                path_right.append(place + np.arange(counts["path_right"]))
                place += counts["path_right"]
        tail = {}
        for kind in ("path_end", "terminal", "boundary", "integral"):
            tail[kind] = place + np.arange(counts[kind])
            place += counts[kind]
        return cls(
            defects=_table(defects, nx),
            path=_table(path, width),
            path_inner=_table(path_inner, width),
            defects_first=_offsets([scheme.inner + 1 for scheme in schemes]),
            path_right=_table(path_right, counts["path_right"]),
            path_first=_offsets([scheme.inner_points for scheme in schemes]),
            **tail,
            size=place,
        )

    def intervals(self, chosen: Index) -> Index:
        """(n, m) rows of intervals of one scheme: defects, path constraints from left to right, integrals."""
        n = len(chosen)
        shared = np.broadcast_to(self.integral, (n, len(self.integral)))
        defects = self.defects[_slices(self.defects_first, chosen)].reshape(n, -1)
        inside = self.path_inner[_slices(self.path_first, chosen)].reshape(n, -1)
        right = self.path_right[chosen] if len(self.path_right) else np.zeros((n, 0), dtype=np.intp)
        return np.hstack([defects, self.path[chosen], inside, right, shared])

    def end(self) -> Index:
        """(1, m) rows of the final knot: path constraints and terminal constraints."""
        return np.concatenate([self.path_end, self.terminal])[None, :]


def _table(rows: list[Index], width: int) -> Index:
    """Rows of equal width as one array, even if there are none."""
    return np.array(rows, dtype=np.intp).reshape(len(rows), width)
