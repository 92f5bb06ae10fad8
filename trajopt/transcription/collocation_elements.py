"""The elements of a transcribed problem: its intervals, its final knot, and what ties both ends."""

from __future__ import annotations

from dataclasses import dataclass, replace

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.model import Model
from trajopt.problem import Problem
from trajopt.transcription.black_box import BlackBoxStep
from trajopt.transcription.collocation_layout import RowLayout, VariableLayout
from trajopt.transcription.interval import IntervalScheme
from trajopt.transcription.mesh import Mesh
from trajopt.transcription.nlp import Element


@dataclass(frozen=True, eq=False)
class Symbols:
    """Start, duration and packed parameters, apart into decision variables and numbers."""

    start: ca.SX
    duration: ca.SX
    p: ca.SX
    free: ca.SX
    shared: ca.SX
    copy: ca.SX

    @classmethod
    def of(cls, problem: Problem, free: NDArray[np.intp]) -> Symbols:
        """Symbols of a problem of which those entries of (start, duration, packed parameters) are variables."""
        whole = ca.SX.sym("globals", 2 + problem.layout.size)
        fixed = np.setdiff1d(np.arange(whole.numel()), free)
        return cls(
            start=whole[0],
            duration=whole[1],
            p=whole[2:],
            free=whole[free.tolist()],
            shared=whole[fixed.tolist()],
            copy=ca.SX.sym("place", 2),
        )

    @property
    def end(self) -> ca.SX:
        """Final time."""
        return self.start + self.duration


def interval_element(
    model: Model,
    scheme: IntervalScheme,
    symbols: Symbols,
    mesh: Mesh,
    repeated: NDArray[np.intp],
    variables: NDArray[np.intp],
    rows: NDArray[np.intp],
    chosen: NDArray[np.intp],
    step: BlackBoxStep | None,
) -> Element:
    """Defects, quadratures and path constraints of the intervals of one scheme; a black box's step comes besides."""
    if step is not None:
        model = replace(model, dynamics=ca.SX.zeros(step.nx))
    begin, width, total = symbols.copy[0], symbols.copy[1], mesh.marks[-1]

    def time(node: float) -> ca.SX:
        return symbols.start + symbols.duration * (begin + node * width) / total

    interval = scheme.interval(model, symbols.p, time, symbols.duration * width / total)
    # Those that no control enters are the next interval's, or the final knot's.
    own = np.setdiff1d(np.arange(len(model.path)), repeated)
    at_end = () if interval.end is None else (interval.end[own.tolist(), :],)
    return Element(
        ca.vertcat(interval.variables, symbols.free),
        symbols.copy,
        interval.cost,
        ca.vertcat(interval.defects, *interval.paths, *at_end, interval.integrals),
        variables,
        rows,
        mesh.places[:, chosen],
        step,
        time(0.0),
        symbols.p,
    )


def end_element(
    model: Model,
    repeated: NDArray[np.intp],
    symbols: Symbols,
    variables: VariableLayout,
    rows: RowLayout,
    *,
    closed: bool,
) -> Element:
    """Terminal cost and constraints, and the path constraints of the final knot."""
    x, u = ca.SX.sym("x", model.x.numel()), ca.SX.sym("u", model.u.numel() if closed else 0)
    terminal = ca.Function("terminal", [model.x, model.t, model.p], [model.terminal_cost, model.terminal.expression])
    cost, constraints = terminal(x, symbols.end, symbols.p)
    path = ca.Function("path", [model.x, model.u, model.t, model.p], [model.path.expression])
    # Where no control belongs to the final knot, none of the repeated constraints depends on it.
    values = path(x, u if closed else ca.SX(model.u.numel(), 1), symbols.end, symbols.p)
    at_end = ca.vertcat(ca.SX(0, 1), *(values[int(row)] for row in repeated))
    local = ca.vertcat(x, u, symbols.free)
    number = ca.SX.sym("k")
    return Element(local, number, cost, ca.vertcat(at_end, constraints), variables.end(), rows.end())


def boundary_element(model: Model, symbols: Symbols, variables: VariableLayout, rows: RowLayout) -> Element:
    """Constraints that tie both ends."""
    x0, xf = ca.SX.sym("x0", model.x.numel()), ca.SX.sym("xf", model.x.numel())
    function = ca.Function("boundary", [model.x0, model.xf, model.t0, model.tf, model.p], [model.boundary.expression])
    tied = function(x0, xf, symbols.start, symbols.end, symbols.p)
    local = ca.vertcat(x0, xf, symbols.free)
    return Element(local, ca.SX.sym("k"), ca.SX(0), tied, variables.both_ends(), rows.boundary[None, :])
