"""Where everything of a transcribed problem lies: variables in the vector w, constraints in the rows g."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.intp]


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
        (N, inner, nx) and (N, inner, nu): states at the nodes inside the intervals, and Bernstein coefficients of the
        control there (see `Scheme`).
    free
        (n_free,) the free ones of start, duration and packed parameters.
    size
        Number of variables.
    """

    x: Index
    u: Index
    x_inner: Index
    u_inner: Index
    free: Index
    size: int

    @classmethod
    def of(cls, steps: int, nx: int, nu: int, inner: int, free: int, *, held: bool) -> VariableLayout:
        """Lay out ``steps`` intervals of ``inner`` inner nodes each and ``free`` globals."""
        nodes = inner + 1
        body = np.arange(steps * nodes * (nx + nu)).reshape(steps, nodes, nx + nu)
        last = body.size + np.arange(nx if held else nx + nu)
        knots_x = np.vstack([body[:, 0, :nx], last[None, :nx]])
        knots_u = body[:, 0, nx:] if held else np.vstack([body[:, 0, nx:], last[None, nx:]])
        size = body.size + len(last) + free
        return cls(knots_x, knots_u, body[:, 1:, :nx], body[:, 1:, nx:], np.arange(size - free, size), size)

    @property
    def steps(self) -> int:
        """Number of intervals N."""
        return len(self.x) - 1

    def intervals(self) -> Index:
        """(N, n) variables of each interval: left knot, inner nodes, right knot, globals."""
        n = self.steps
        inner = np.concatenate([self.x_inner, self.u_inner], axis=2).reshape(n, -1)
        globals_ = np.broadcast_to(self.free, (n, len(self.free)))
        right_u = self.u[1:] if len(self.u) == n + 1 else np.zeros((n, 0), dtype=np.intp)
        return np.hstack([self.x[:-1], self.u[:n], inner, self.x[1:], right_u, globals_])

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
        (N, s, nx) one for each node of an interval but the first.
    path
        (N, n_path) path constraints at all knots but the last.
    path_inner
        (N, inner, n_path) path constraints inside the intervals.
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
    path_end: Index
    terminal: Index
    boundary: Index
    integral: Index
    size: int

    @classmethod
    def of(cls, steps: int, nx: int, inner: int, counts: dict[str, int]) -> RowLayout:
        """Lay out the rows; ``counts`` holds how many there are by kind, as the attributes are called."""
        path, width = counts["path"], (inner + 1) * nx
        body = np.arange(steps * (width + (inner + 1) * counts["path"])).reshape(steps, -1)
        position, tail = body.size, {}
        for kind in ("path_end", "terminal", "boundary", "integral"):
            tail[kind] = position + np.arange(counts[kind])
            position += counts[kind]
        return cls(
            defects=body[:, :width].reshape(steps, inner + 1, nx),
            path=body[:, width : width + path],
            path_inner=body[:, width + path :].reshape(steps, inner, path),
            **tail,
            size=position,
        )

    def intervals(self) -> Index:
        """(N, m) rows of each interval: defects, path constraints at its left knot and inside, integrals."""
        n = len(self.defects)
        shared = np.broadcast_to(self.integral, (n, len(self.integral)))
        return np.hstack([self.defects.reshape(n, -1), self.path, self.path_inner.reshape(n, -1), shared])

    def end(self) -> Index:
        """(1, m) rows of the final knot: path constraints and terminal constraints."""
        return np.concatenate([self.path_end, self.terminal])[None, :]
