"""Free times, free parameters, boundary and integral constraints as states: a problem that has none of them.

    duration T, start t0    constant states; the clock becomes s in [0, 1], t = t0 + T s, and f and l are scaled by T
    free parameters         constant states
    boundary constraints    constant states that begin as copies of the initial state; then terminal constraints
    integral constraints    states q' = integrand from q = 0 (sums, if time is discrete); then terminal constraints

The new states stand behind the old ones, in this order. It is done on the expressions of the traced model, and
`Augmentation.restore` takes a trajectory back. What a `Problem` has no words for stays beside it: which states are
constant, so that their bounds need to hold but once, and which of them begin as copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.constraints import BoundaryConstraint, IntegralConstraint
from trajopt.dynamics import ContinuousDynamics, DiscreteDynamics
from trajopt.horizon import Free, Horizon
from trajopt.model import Model, Rows
from trajopt.parameters import ParameterLayout
from trajopt.problem import Feature, Problem
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]

_REASONS = frozenset(
    {
        Feature.FREE_DURATION,
        Feature.FREE_START,
        Feature.FREE_PARAMETERS,
        Feature.BOUNDARY_CONSTRAINTS,
        Feature.INTEGRAL_CONSTRAINTS,
    }
)


@dataclass(frozen=True, eq=False)
class Augmentation:
    """A problem, and the same problem with more states and fewer features.

    Attributes
    ----------
    original, problem
        Before and after; without a reason to add states they are the same.
    timed
        Whether the clock was normalised: the new horizon lasts from 0 to 1.
    parameter_entries
        Entries of the packed parameters that became states.
    copied
        States of the original of whose initial values copies are kept.
    integrals
        Number of integral constraint rows.
    """

    original: Problem
    problem: Problem
    timed: bool
    parameter_entries: tuple[int, ...]
    copied: tuple[int, ...]
    integrals: int

    @property
    def constants(self) -> tuple[int, ...]:
        """States of the new problem that never change."""
        return tuple(range(self.original.nx, self.problem.nx - self.integrals))

    @property
    def ties(self) -> tuple[tuple[int, int], ...]:
        """Pairs of states of the new problem that begin equal: the copy, and what it is a copy of."""
        first = self.original.nx + 2 * self.timed + len(self.parameter_entries)
        return tuple((first + i, state) for i, state in enumerate(self.copied))

    def extend(self, trajectory: Trajectory) -> Trajectory:
        """A trajectory of the new problem from one of the original."""
        if self.problem is self.original:
            return trajectory
        problem, n = self.original, trajectory.steps
        values = []
        if self.timed:
            values += [trajectory.t[-1] - trajectory.t[0], trajectory.t[0]]
        packed = problem.layout.pack({**(problem.parameters or {}), **_numbers(trajectory.parameters)})
        values += list(packed[list(self.parameter_entries)])
        values += list(trajectory.x[0, list(self.copied)])
        constants = np.broadcast_to(np.array(values, float), (n + 1, len(values)))
        x = np.hstack([trajectory.x, constants, np.zeros((n + 1, self.integrals))])
        t = np.linspace(0.0, 1.0, n + 1) if self.timed else trajectory.t
        return replace(trajectory, t=t, x=x)

    def restore(self, trajectory: Trajectory) -> Trajectory:
        """The trajectory of the original problem in one of the new problem."""
        if self.problem is self.original:
            return trajectory
        nx, layout = self.original.nx, self.original.layout
        x, t = trajectory.x[:, :nx].copy(), trajectory.t
        constants = trajectory.x[0, nx:]
        if self.timed:
            duration, start = constants[:2]
            t = start + duration * np.linspace(0.0, 1.0, trajectory.steps + 1)
        packed = layout.pack(self.original.parameters)
        first = 2 * self.timed
        packed[list(self.parameter_entries)] = constants[first : first + len(self.parameter_entries)]
        return replace(trajectory, t=t, x=x, parameters=layout.unpack(packed))


def augment(problem: Problem) -> Augmentation:
    """Turn free times, free parameters, boundary and integral constraints into states.

    The expressions are rewritten once for a model and kept with it, so that compiled functions are found again.
    """
    if not problem.features & _REASONS:
        return Augmentation(problem, problem, False, (), (), 0)
    model = problem.model
    timed = bool(problem.features & {Feature.FREE_DURATION, Feature.FREE_START})
    entries = tuple(int(i) for i in problem.layout.free_entries)
    kept = model.__dict__.setdefault("_augmented", {})
    # A fixed start is a number in the rewritten boundary constraints, if they name it.
    named = not timed and ca.depends_on(model.boundary.expression, model.t0)
    start = problem.horizon.start_guess if named else 0.0
    key = (timed, entries, problem.horizon.steps if not problem.dynamics.continuous else 0, start)
    if key not in kept:
        kept[key] = _rewrite(problem, timed, entries)
    rewritten, copied = kept[key]
    integrals = len(model.integral)
    variant = _variant(problem, rewritten, timed, entries, copied, integrals)
    return Augmentation(problem, variant, timed, entries, copied, integrals)


def _numbers(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if not isinstance(value, Free)}


def _rewrite(problem: Problem, timed: bool, entries: Sequence[int]) -> tuple[Model, tuple[int, ...]]:
    """The model with more states, and the states of which it keeps initial copies."""
    model, continuous = problem.model, problem.dynamics.continuous
    copied = tuple(i for i in range(problem.nx) if ca.depends_on(model.boundary.expression, model.x0[i]))
    chosen, copies = ca.SX.sym("p_free", len(entries)), ca.SX.sym("x_start", len(copied))
    quadratures, clock, s = ca.SX.sym("q", len(model.integral)), ca.SX.sym("clock", 2 * timed), ca.SX.sym("s")
    duration, start = (clock[0], clock[1]) if timed else (ca.SX(1.0), ca.SX(problem.horizon.start_guess))
    now, end = (start + duration * s, start + duration) if timed else (s, s)
    parameters = ca.SX(model.p)
    for place, entry in enumerate(entries):
        parameters[entry] = chosen[place]
    initial = ca.SX.zeros(problem.nx)
    for place, state in enumerate(copied):
        initial[state] = copies[place]

    def stage(expression: ca.SX) -> ca.SX:
        return ca.substitute([expression], [model.t, model.p], [now, parameters])[0]

    def final(expression: ca.SX) -> ca.SX:
        old = [model.t, model.p, model.x0, model.xf, model.t0, model.tf]
        return ca.substitute([expression], old, [end, parameters, initial, model.x, start, end])[0]

    constants = ca.vertcat(clock, chosen, copies)
    still = ca.SX.zeros(constants.numel()) if continuous else constants
    integrands = stage(model.integral.expression)
    rates = ca.vertcat(duration * stage(model.dynamics), still)
    rates = ca.vertcat(rates, duration * integrands if continuous else quadratures + integrands)
    terminal = [
        _with(model.terminal, final(model.terminal.expression)),
        _with(model.boundary, final(model.boundary.expression)),
        _with(model.integral, quadratures),
    ]
    rewritten = replace(
        model,
        x=ca.vertcat(model.x, constants, quadratures),
        t=s,
        dynamics=rates,
        stage_cost=duration * stage(model.stage_cost),
        terminal_cost=final(model.terminal_cost),
        path=_with(model.path, stage(model.path.expression)),
        terminal=_stack(terminal),
        boundary=_nothing(),
        integral=_nothing(),
    )
    return rewritten, copied


def _with(rows: Rows, expression: ca.SX) -> Rows:
    return Rows(expression, rows.lower, rows.upper, rows.names)


def _stack(parts: Sequence[Rows]) -> Rows:
    """Rows below each other."""
    return Rows(
        ca.vertcat(*(part.expression for part in parts)),
        np.concatenate([part.lower for part in parts]),
        np.concatenate([part.upper for part in parts]),
        tuple(name for part in parts for name in part.names),
    )


def _nothing() -> Rows:
    return Rows(ca.SX(0, 1), np.zeros(0), np.zeros(0), ())


def _variant(
    problem: Problem, model: Model, timed: bool, entries: Sequence[int], copied: Sequence[int], integrals: int
) -> Problem:
    """The problem around the rewritten model, with today's bounds and initial values."""
    names, lower, upper, start = _constants(problem, timed, entries)
    count = len(copied)
    names += [f"initial {problem.dynamics.states[i]}" for i in copied] + [f"integral {i}" for i in range(integrals)]
    free, zero = np.full(count + integrals, np.inf), np.zeros(integrals)
    bounds = np.hstack([problem.state_bounds, [np.r_[lower, -free], np.r_[upper, free]]])
    initial = np.concatenate([problem.initial_values, start, problem.initial_values[list(copied)], zero])
    kind = ContinuousDynamics if problem.dynamics.continuous else DiscreteDynamics
    dynamics = kind(_unavailable, states=[*problem.dynamics.states, *names], controls=problem.dynamics.controls)
    variant = object.__new__(Problem)  # to make one in the usual way would trace plain functions, which it has not
    derived = ("features", "initial_values", "state_bounds")
    variant.__dict__.update({name: value for name, value in problem.__dict__.items() if name not in derived})
    parameters = problem.layout.unpack(problem.layout.pack(problem.parameters))
    settings = {
        "dynamics": dynamics,
        "horizon": Horizon(1.0, problem.horizon.steps) if timed else problem.horizon,
        "initial_state": tuple(None if np.isnan(value) else float(value) for value in initial),
        "constraints": tuple(
            c for c in problem.constraints if not isinstance(c, BoundaryConstraint | IntegralConstraint)
        ),
        "parameters": parameters,
        "layout": ParameterLayout(problem.layout.shapes, frozenset()),
        "state_bounds": bounds,
        "model": model,
    }
    for name, value in settings.items():
        object.__setattr__(variant, name, value)
    return variant


def _unavailable(x: Array, u: Array) -> Array:
    """Stand for the dynamics of a rewritten problem, which exist as expressions alone."""
    raise NotImplementedError("an augmented problem has expressions, and no plain functions")


def _constants(problem: Problem, timed: bool, entries: Sequence[int]) -> tuple[list[str], Array, Array, Array]:
    """Names, bounds and fixed values (NaN: free) of duration, start and parameters."""
    names, lower, upper = [], [], []
    if timed:
        for name, value in (("duration", problem.horizon.duration), ("start", problem.horizon.start)):
            names.append(name)
            free = isinstance(value, Free)
            lower.append(float(value.lower) if free else float(value))  # type: ignore[arg-type,union-attr]
            upper.append(float(value.upper) if free else float(value))  # type: ignore[arg-type,union-attr]
    limits = problem.layout.bounds(problem.parameters)[:, list(entries)]
    names += [f"parameter {entry}" for entry in entries]
    low, high = np.concatenate([lower, limits[0]]), np.concatenate([upper, limits[1]])
    return names, low, high, np.where(low == high, low, np.nan)
