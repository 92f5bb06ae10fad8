"""From an extremal to a trajectory with costates and multipliers, and what speaks against its structure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.horizon import Free
from trajopt.reintegration import GAUSS_NODES, GAUSS_WEIGHTS
from trajopt.solvers.indirect_methods import Extremal, terminal_cost
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.transcription.arcs import Kind, find_limits
from trajopt.transcription.boundary_value import BoundaryValueProblem

Array = NDArray[np.float64]

_CONTROL = 1e-8
"""Largest error of the returned parabolas, relative to 1 + |u|; the cost is flat and loses its square."""

_INTERVALS = 2048
"""Of one arc at most: parabolas gain three digits for ten times as many."""

_RAMP = 1e-7
"""Share of the horizon over which a jump of the control is drawn, centred: its square, 1e-14, is what states lose."""

_LOOKS = 65
"""Places on each arc at which signs are looked at."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What is returned of an extremal."""

    trajectory: Trajectory
    cost: float
    multipliers: dict[str, Any]


class Reader:
    """Evaluates an extremal along its arcs."""

    def __init__(self, bvp: BoundaryValueProblem, found: Extremal) -> None:
        self.bvp, self.found = bvp, found
        self.times, self.parameters = bvp.read_numbers(found.P)

    def look(self, i: int, s: Array) -> dict[str, Array]:
        """Everything about arc i at places s, with time along the last axis."""
        seen = self.bvp.inspections[i].call({"s": s[None, :], "Y": self.found.at(s), "P": self.found.P})
        return {name: np.asarray(value) for name, value in seen.items()}

    def answer(self) -> Answer:
        """The trajectory on knots that are dense enough for its control, its cost and multipliers."""
        total = self.times[-1] - self.times[0]
        kept = [i for i in range(len(self.bvp.arcs)) if self.times[i + 1] - self.times[i] > 4.0 * _RAMP * total]
        jumps = [self._jumps(a, b) for a, b in pairwise(kept)]
        pieces, middles, cost = [], [], 0.0
        for place, i in enumerate(kept):
            margin = 0.5 * _RAMP * total / (self.times[i + 1] - self.times[i])
            begin = margin if place > 0 and jumps[place - 1] else 0.0
            end = 1.0 - margin if place < len(kept) - 1 and jumps[place] else 1.0
            knots = self._knots(i, begin, end, total)
            piece, cost = self.look(i, knots), cost + self._running(i, knots, begin, end)
            if place > 0 and not jumps[place - 1]:
                pieces[-1] = {name: value[:, :-1] for name, value in pieces[-1].items()}
            elif place > 0:
                middles.append(0.5 * (pieces[-1]["u"][:, -1:] + piece["u"][:, :1]))
            pieces.append(piece | {"table": self._tables(i, piece)})
            middles.append(self.look(i, 0.5 * (knots[:-1] + knots[1:]))["u"])
        joined = {name: np.concatenate([piece[name] for piece in pieces], axis=1).T for name in _JOINED}
        layout = self.bvp.problem.layout
        trajectory = Trajectory(
            joined["t"][:, 0],
            joined["x"],
            self._inside(joined["u"]),
            Interpolation.QUADRATIC,
            self._inside(np.concatenate(middles, axis=1).T),
            layout.unpack(self.parameters),
        )
        cost += terminal_cost(self.bvp, self.found.at(np.ones(1))[:, 0], self.found.P)
        return Answer(trajectory, cost, self._multipliers(joined))

    def _inside(self, u: Array) -> Array:
        """Controls without the rounding that puts them outside of their bounds."""
        lower, upper = self.bvp.problem.control_bounds
        slack = 1e-9 * (1.0 + np.abs(u))
        return np.where((u < lower) & (u > lower - slack), lower, np.where((u > upper) & (u < upper + slack), upper, u))

    def _jumps(self, a: int, b: int) -> bool:
        left, right = self.look(a, np.ones(1))["u"], self.look(b, np.zeros(1))["u"]
        return bool((np.abs(left - right) > _CONTROL * (1.0 + np.abs(left))).any())

    def _knots(self, i: int, begin: float, end: float, total: float) -> Array:
        """Equal intervals, halved until parabolas through their ends and middles are the control."""
        share = abs(self.times[i + 1] - self.times[i]) / total
        count = max(2, math.ceil(self.bvp.problem.horizon.steps * share))
        while True:
            fine = np.linspace(begin, end, 4 * count + 1)
            u = self.look(i, fine)["u"]
            left, middle, right = u[:, 0:-1:4], u[:, 2::4], u[:, 4::4]
            parabola = 0.375 * left + 0.75 * middle - 0.125 * right
            if 2 * count > _INTERVALS or (np.abs(parabola - u[:, 1::4]) <= _CONTROL * (1.0 + np.abs(middle))).all():
                return fine[::4]
            count *= 2

    def _running(self, i: int, knots: Array, begin: float, end: float) -> float:
        """Integral of the stage cost over the arc, ramps included."""
        knots = np.concatenate([[0.0] if begin > 0.0 else [], knots, [1.0] if end < 1.0 else []])
        lengths = np.diff(knots)
        places = knots[:-1, None] + lengths[:, None] * GAUSS_NODES
        rate = self.look(i, places.ravel())["cost"].reshape(places.shape)
        return float((self.times[i + 1] - self.times[i]) * (lengths @ (rate @ GAUSS_WEIGHTS)))

    def _tables(self, i: int, piece: dict[str, Array]) -> Array:
        """Densities of control bounds, state bounds and path rows below each other, (nu + nx + n_path, n)."""
        problem, arc = self.bvp.problem, self.bvp.arcs[i]
        first = {"state_bounds": problem.nu, "path": problem.nu + problem.nx}
        table = np.zeros((problem.nu + problem.nx + len(problem.model.path), piece["t"].shape[1]))
        for j, kind in enumerate(arc.kinds):
            if kind in (Kind.LOWER, Kind.UPPER):
                table[j] = -piece["gradient"][j]
        row = 0
        for limit, ladder in zip(arc.limits, arc.densities or (), strict=False):
            table[first[limit.table] + limit.row] += limit.sign * piece["densities"][row]
            row += ladder.numel()
        return table

    def _multipliers(self, joined: dict[str, Array]) -> dict[str, Any]:
        problem, P, slices = self.bvp.problem, self.found.P, self.bvp.slices
        nu, nx = problem.nu, problem.nx
        control, state, path = np.split(joined["table"], [nu, nu + nx], axis=1)
        result = {
            "costates": joined["costate"] + joined["correction"],
            "control_bounds": control,
            "state_bounds": state,
            "path": path,
            "hamiltonian": joined["hamiltonian"][:, 0],
            "switching_times": self.times[1:-1],
        }
        for kind in ("terminal", "boundary", "integral"):
            result[kind] = np.zeros(len(getattr(problem.model, kind)))
            chosen = [row.row for row in self.bvp.rows if row.kind == kind]
            result[kind][chosen] = P[slices[kind]]
        return result


_JOINED = ("t", "x", "u", "costate", "correction", "hamiltonian", "table")


def objections(reader: Reader, tolerance: float) -> Iterator[str]:
    """Say what speaks against the structure of an extremal, a sentence for each.

    Signs are judged with half of the digits: a switching function is small near its zeros, and costates are known less
    well than the equations are solved.
    """
    bvp, slack = reader.bvp, math.sqrt(tolerance)
    for i in range(len(bvp.arcs)):
        begin, end = reader.times[i], reader.times[i + 1]
        if end - begin < slack * (reader.times[-1] - reader.times[0]):
            yield f"Arc {i + 1} would last from t={begin:.6g} to t={end:.6g}; leave it out of the structure."
            return
    seen = [reader.look(i, np.linspace(0.0, 1.0, _LOOKS)) for i in range(len(bvp.arcs))]
    for i, look in enumerate(seen):
        yield from _of_controls(reader, i, look, slack, seen)
        yield from _of_limits(reader, i, look, slack)
    yield from _of_numbers(reader, slack)


def _at(look: dict[str, Array], amounts: Array) -> str:
    return f"t={look['t'][0, int(np.argmax(amounts))]:.4g}"


def _of_controls(
    reader: Reader, i: int, look: dict[str, Array], slack: float, seen: list[dict[str, Array]]
) -> Iterator[str]:
    """Signs of H_u at bounds, bounds elsewhere, and second-order conditions."""
    problem, arc = reader.bvp.problem, reader.bvp.arcs[i]
    for j, kind in enumerate(arc.kinds):
        name, scale = (
            problem.dynamics.controls[j],
            max(np.abs(other["gradient"][j]).max() for other in seen),
        )
        if kind in (Kind.LOWER, Kind.UPPER):
            wrong = look["gradient"][j] * (1.0 if kind is Kind.UPPER else -1.0)
            if wrong.max() > slack * max(scale, slack):
                yield (
                    f"The switching function of {name!r} has the wrong sign on arc {i + 1} at {_at(look, wrong)}, "
                    f"where it shall be {kind}; change the structure there."
                )
        lower, upper = problem.control_bounds[:, j]
        beyond = np.maximum(lower - look["u"][j], look["u"][j] - upper)
        if beyond.max() > slack * (1.0 + np.abs(look["u"][j]).max()):
            yield (
                f"The control {name!r} leaves its bounds by {beyond.max():.3g} on arc {i + 1} at {_at(look, beyond)}; "
                "put an arc there on which it is at its bound."
            )
    if look["switching"].size and np.abs(look["switching"]).max() > slack * (1.0 + np.abs(look["costate"]).max()):
        yield f"H_u does not vanish on the singular arc {i + 1}; change the structure."
    for what, law in (("curvature", "Legendre and Clebsch"), ("kelley", "Kelley")):
        if look[what].size:
            n = look[what].shape[0]
            matrices = look[what].reshape(n, _LOOKS, n).transpose(1, 0, 2)
            lowest = np.linalg.eigvalsh(0.5 * (matrices + matrices.transpose(0, 2, 1)))[:, 0]
            if lowest.min() < -slack * np.abs(matrices).max():
                yield (
                    f"The condition of {law} is violated on arc {i + 1} at {_at(look, -lowest)}: the control maximises "
                    "the Hamiltonian there; start from another guess."
                )


def _of_limits(reader: Reader, i: int, look: dict[str, Array], slack: float) -> Iterator[str]:
    """Limits that are violated, and multipliers of the wrong sign."""
    problem, arc = reader.bvp.problem, reader.bvp.arcs[i]
    first = {"state_bounds": 0, "path": problem.nx}
    bounds = {"state_bounds": problem.state_bounds, "path": (problem.model.path.lower, problem.model.path.upper)}
    for limit in find_limits(problem):
        value = bounds[limit.table][int(limit.sign > 0.0)][limit.row]
        beyond = limit.sign * (look["along"][first[limit.table] + limit.row] - value)
        if beyond.max() > slack * max(1.0, abs(value)):
            yield (
                f"The limit {limit.name!r} is violated by {beyond.max():.3g} on arc {i + 1} at {_at(look, beyond)}; "
                "put an arc there on which it is active."
            )
    row = 0
    for limit, ladder in zip(arc.limits, arc.densities or (), strict=False):
        values = look["densities"][row : row + ladder.numel()]
        row += ladder.numel()
        equality = bounds[limit.table][0][limit.row] == bounds[limit.table][1][limit.row]
        if not equality and -values.min() > slack * (1.0 + np.abs(values).max()):
            yield (
                f"The multiplier of the limit {limit.name!r} has the wrong sign on arc {i + 1} at "
                f"{_at(look, -values.min(axis=0))}; the optimum leaves it there."
            )


def _of_numbers(reader: Reader, slack: float) -> Iterator[str]:
    """Free times and parameters outside of their bounds."""
    horizon, layout = reader.bvp.problem.horizon, reader.bvp.problem.layout
    values = (
        ("start", horizon.start, reader.times[0]),
        ("duration", horizon.duration, reader.times[-1] - reader.times[0]),
    )
    for name, given, value in values:
        if isinstance(given, Free) and not float(given.lower) - slack <= value <= float(given.upper) + slack:
            yield f"The free {name} {value:.6g} leaves its bounds; fix it at its bound."
    lower, upper = layout.bounds(reader.bvp.problem.parameters)
    outside = (reader.parameters < lower - slack) | (reader.parameters > upper + slack)
    if outside.any():
        yield "A free parameter leaves its bounds; fix it at its bound."
