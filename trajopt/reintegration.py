"""The dynamics integrated again under a returned control, by an adaptive method of order 8 that no solver uses.

Two passes over the N intervals, both restarted at every knot because the control has corners there:

- end to end: one trajectory from the returned initial state, with running cost and integrands as further states;
- local: from each returned knot to the next, whose distance from the returned one is the defect.

Both evaluate the user's plain NumPy functions. Discrete dynamics are simulated step by step, with sums for integrals.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import DOP853

from trajopt.control_nodes import ControlNodes
from trajopt.plain import PlainFunctions
from trajopt.problem import Problem
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]

TOLERANCE = 1e-10
"""Local error of the integrator: far below what is judged, far above the rounding of sums of ten thousand steps."""

EVALUATIONS = 10_000
"""Evaluations per interval after which the step size counts as collapsed; a smooth interval takes 15 to 100."""

SUBINTERVALS = 8
"""Pieces into which each interval is cut for looking at constraints; even, so that the midpoint is a sample."""

_LEGENDRE = np.polynomial.legendre.leggauss(4)
GAUSS_NODES, GAUSS_WEIGHTS = (np.asarray(_LEGENDRE[0]) + 1.0) / 2.0, np.asarray(_LEGENDRE[1]) / 2.0
"""Four Gauss points on [0, 1]: order 8 as the integrator, whose steps they share."""


@dataclass(frozen=True, eq=False)
class Steps:
    """The S steps that the integrator chose, cut at interval midpoints; for discrete dynamics one for each interval.

    Attributes
    ----------
    begin, end
        (S,) times.
    interval
        (S,) interval of each step.
    x
        (S, 4, nx) states at the Gauss points; (S, 1, nx) states at the start for discrete dynamics.
    first
        (N+1,) step that begins at each knot; S for the last knot.
    middle
        (N,) step that begins at each midpoint; for discrete dynamics, which have none, that of the knot.
    """

    begin: Array
    end: Array
    interval: NDArray[np.intp]
    x: Array
    first: NDArray[np.intp]
    middle: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Reintegration:
    """What the control really does.

    Attributes
    ----------
    t, x, u
        Samples of the end-to-end trajectory, (M,), (M, nx), (M, nu): SUBINTERVALS + 1 for each interval, so that a knot
        appears twice, with the control from the left and from the right. Discrete: the knots, with the last control
        repeated.
    samples
        How many samples each interval has.
    stages
        At how many leading samples stage functions apply: all; all but the last knot for discrete dynamics.
    knots
        (N+1, nx) states of the end-to-end trajectory at the knots.
    running
        (1 + nq,) integrals of stage cost and integrands.
    defects
        (N,) local errors, scaled per state by max(1, largest magnitude of that state at the returned knots).
    drift
        The same distance between the end-to-end trajectory and the returned knots.
    steps
        Where the integrator stepped; None if the integration failed.
    failure
        Sentence about what went wrong, or "".
    """

    t: Array
    x: Array
    u: Array
    samples: int
    stages: int
    knots: Array
    running: Array
    defects: Array
    drift: float
    steps: Steps | None
    failure: str


@dataclass
class _Collector:
    """Steps gathered interval by interval."""

    begin: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)
    interval: list[int] = field(default_factory=list)
    x: list[Array] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    middle: list[int] = field(default_factory=list)

    def finish(self) -> Steps:
        """As arrays; the last knot begins no step."""
        return Steps(
            np.array(self.begin),
            np.array(self.end),
            np.array(self.interval, dtype=np.intp),
            np.array(self.x),
            np.array([*self.first, len(self.begin)], dtype=np.intp),
            np.array(self.middle, dtype=np.intp),
        )


class _RightHandSide:
    """Time derivative of the state, with running cost and integrands behind it if they are wanted."""

    def __init__(self, functions: PlainFunctions, nx: int, extra: int) -> None:
        self._functions, self._nx, self._extra = functions, nx, extra
        self._coefficients, self._begin, self._span = np.zeros((1, 0)), 0.0, 1.0

    def enter(self, coefficients: Array, begin: float, end: float) -> None:
        """Take the control of the next interval; a method of order 8 must not step across its corners."""
        self._coefficients, self._begin, self._span = coefficients, begin, end - begin

    def __call__(self, t: float, y: Array) -> Array:
        control = self._coefficients[-1]
        s = (t - self._begin) / self._span
        for coefficient in self._coefficients[-2::-1]:
            control = coefficient + s * control
        x, functions = y[: self._nx], self._functions
        try:
            derivative = functions.dynamics(x, control, t)
            if self._extra:
                rate = functions.stage_cost(x, control, t)
                derivative = np.concatenate([derivative, [rate], functions.integrands(x, control, t)])
        except (ArithmeticError, ValueError):  # a singular matrix or math.sqrt(-1) is one more way to say NaN
            return np.full(y.shape, np.nan)
        return derivative


class IntervalIntegrator:
    """Carries a state over one interval at a time, with the accuracy of the re-integration.

    Parameters
    ----------
    problem, functions
        Whose dynamics.
    scale
        (nx,) typical magnitudes of the states.
    integrals
        How many integrals (stage cost, then integrands) are carried behind the state, all or none of them; in discrete
        time they are those of the step alone.
    """

    def __init__(self, problem: Problem, functions: PlainFunctions, scale: Array, integrals: int = 0) -> None:
        self._derivative = _RightHandSide(functions, problem.nx, integrals)
        self._continuous = problem.dynamics.continuous
        self._tolerance = TOLERANCE * np.concatenate([scale, np.ones(integrals)])

    def advance(self, coefficients: Array, begin: float, end: float, x: Array) -> tuple[Array, str]:
        """Return the state at ``end`` from that at ``begin``, and a sentence if something failed.

        ``coefficients`` are those of the control in powers of s, as `ControlNodes.coefficients` gives them.
        """
        self._derivative.enter(coefficients, begin, end)
        if not self._continuous:
            return self._derivative(begin, x), ""
        with np.errstate(all="ignore"):
            state, _, failure = _advance(self._derivative, begin, end, x, self._tolerance, dense=False)
        return state, failure


def reintegrate(problem: Problem, trajectory: Trajectory, functions: PlainFunctions) -> Reintegration:
    """Integrate again; nothing is raised, failures are told in ``failure`` and leave NaN behind.

    Parameters
    ----------
    problem
        Whose dynamics.
    trajectory
        Knots and control, finite and of the problem's sizes.
    functions
        The problem's functions at the trajectory's parameters.
    """
    with np.errstate(all="ignore"):
        run = _integrate if problem.dynamics.continuous else _simulate
        return run(problem, trajectory, functions)


def _integrate(problem: Problem, trajectory: Trajectory, functions: PlainFunctions) -> Reintegration:
    """Both passes for continuous dynamics."""
    nodes = ControlNodes.of(trajectory)
    scale = np.maximum(1.0, np.abs(trajectory.x).max(axis=0))
    end_to_end = _end_to_end(problem, trajectory, functions, nodes, scale)
    t, states, knots, running, steps, failure = end_to_end
    ends, local_failure = _local(problem, trajectory, functions, nodes, scale, knots)
    s = np.broadcast_to(np.linspace(0.0, 1.0, SUBINTERVALS + 1), t.shape)
    u = nodes.control(np.broadcast_to(np.arange(len(t))[:, None], t.shape), s)
    distance = np.abs(knots - trajectory.x) / scale
    return Reintegration(
        t.ravel(),
        states.reshape(t.size, -1),
        u.reshape(t.size, -1),
        SUBINTERVALS + 1,
        t.size,
        knots,
        running,
        (np.abs(ends - trajectory.x[1:]) / scale).max(axis=1),
        float(distance.max()),
        steps,
        failure or local_failure,
    )


def _end_to_end(
    problem: Problem, trajectory: Trajectory, functions: PlainFunctions, nodes: ControlNodes, scale: Array
) -> tuple[Array, Array, Array, Array, Steps | None, str]:
    """One trajectory from the initial state: sample times and states, knots, integrals, steps, failure."""
    n, nx = trajectory.steps, problem.nx
    y = np.concatenate([trajectory.x[0], np.zeros(1 + len(problem.model.integral))])
    atol = TOLERANCE * np.concatenate([scale, np.ones(y.size - nx)])
    t = np.linspace(trajectory.t[:-1], trajectory.t[1:], SUBINTERVALS + 1, axis=1)
    samples, knots = np.full((*t.shape, nx), np.nan), np.full((n + 1, nx), np.nan)
    knots[0] = samples[0, 0] = y[:nx]
    derivative, steps = _RightHandSide(functions, nx, y.size - nx), _Collector()
    for k in range(n):
        begin, end = trajectory.t[k], trajectory.t[k + 1]
        derivative.enter(nodes.coefficients(k), begin, end)
        y, pieces, failure = _advance(derivative, begin, end, y, atol, dense=True)
        if failure:
            return t, samples, knots, np.full(y.size - nx, np.nan), None, failure
        knots[k + 1] = y[:nx]
        _collect(k, t[k], pieces, steps, samples[k])
        samples[k, -1] = y[:nx]
    return t, samples, knots, y[nx:], steps.finish(), ""


def _advance(
    derivative: _RightHandSide, begin: float, end: float, y: Array, atol: Array, *, dense: bool
) -> tuple[Array, list, str]:
    """Integrate one interval: final state, interpolants of the steps, failure."""
    # The whole interval is the first step tried: on a sensible mesh it is accepted, and two evaluations are saved.
    settings: Any = {"rtol": TOLERANCE, "atol": atol}  # an array for atol is documented, but not in SciPy's types
    solver = DOP853(derivative, begin, y, end, first_step=end - begin, **settings)
    pieces = []
    while solver.status == "running":
        solver.step()
        where = f"near t={solver.t:.6g}"
        if not np.isfinite(solver.f).all():
            return solver.y, [], f"The functions of the problem are not finite {where}."
        if solver.status == "failed":
            return solver.y, [], f"The integration cannot proceed {where}: a function is not finite or jumps there."
        if solver.nfev > EVALUATIONS:
            return solver.y, [], f"The integration took {EVALUATIONS} evaluations in one interval and gave up {where}."
        if dense:
            pieces.append(solver.dense_output())
    return solver.y, pieces, ""


def _collect(k: int, times: Array, pieces: list, steps: _Collector, samples: Array) -> None:
    """Evaluate the interpolants at the sample times and at the Gauss points of the steps, cut at the midpoint."""
    nx, middle = samples.shape[1], times[SUBINTERVALS // 2]
    slack = 1e-9 * (times[-1] - times[0])  # a step that ends this close to the midpoint is not cut
    steps.first.append(len(steps.begin))
    found = False
    for piece in pieces:
        cuts = [piece.t_min, middle, piece.t_max] if piece.t_min + slack < middle < piece.t_max - slack else None
        cuts = cuts or [piece.t_min, piece.t_max]
        inside = np.flatnonzero((times >= piece.t_min) & (times < piece.t_max))
        gauss = np.concatenate([a + (b - a) * GAUSS_NODES for a, b in itertools.pairwise(cuts)])
        values = piece(np.concatenate([times[inside], gauss]))[:nx].T
        samples[inside] = values[: inside.size]
        for i, (a, b) in enumerate(itertools.pairwise(cuts)):
            if not found and a > middle - slack:
                steps.middle.append(len(steps.begin))
                found = True
            steps.begin.append(a)
            steps.end.append(b)
            steps.interval.append(k)
            steps.x.append(values[inside.size + 4 * i : inside.size + 4 * (i + 1)])


def _local(
    problem: Problem, trajectory: Trajectory, functions: PlainFunctions, nodes: ControlNodes, scale: Array, knots: Array
) -> tuple[Array, str]:
    """States reached from each returned knot, (N, nx), and the first failure, after which NaN is left."""
    ends = np.full((trajectory.steps, trajectory.x.shape[1]), np.nan)
    integrator = IntervalIntegrator(problem, functions, scale)
    for k in range(trajectory.steps):
        if (np.abs(knots[k] - trajectory.x[k]) <= 1e-3 * TOLERANCE * scale).all() and np.isfinite(knots[k + 1]).all():
            ends[k] = knots[k + 1]  # the end-to-end pass started from the same place
            continue
        begin, end = trajectory.t[k], trajectory.t[k + 1]
        ends[k], failure = integrator.advance(nodes.coefficients(k), begin, end, trajectory.x[k])
        if failure:
            ends[k] = np.nan
            return ends, failure
    return ends, ""


def _simulate(problem: Problem, trajectory: Trajectory, functions: PlainFunctions) -> Reintegration:
    """Both passes for discrete dynamics."""
    t, u, n = trajectory.t, trajectory.held(), trajectory.steps
    knots, ends = np.full_like(trajectory.x, np.nan), np.full_like(trajectory.x[1:], np.nan)
    knots[0] = trajectory.x[0]
    derivative = _RightHandSide(functions, problem.nx, 1)
    total, failure = 0.0, ""
    for k in range(n):
        derivative.enter(u[k : k + 1], t[k], t[k + 1])
        after = derivative(t[k], knots[k])
        knots[k + 1], total = after[: problem.nx], total + after[problem.nx :]
        coincide = np.array_equal(knots[k], trajectory.x[k])
        ends[k] = knots[k + 1] if coincide else derivative(t[k], trajectory.x[k])[: problem.nx]
        if not failure and not (np.isfinite(after).all() and np.isfinite(ends[k]).all()):
            failure = f"The functions of the problem are not finite at step {k}."
    scale = np.maximum(1.0, np.abs(trajectory.x).max(axis=0))
    index = np.arange(n)
    steps = Steps(t[:-1], t[1:], index, knots[:-1, None], np.arange(n + 1), index)
    return Reintegration(
        t,
        knots,
        u[np.minimum(np.arange(n + 1), n - 1)],
        1,
        n,
        knots,
        np.asarray(total),
        (np.abs(ends - trajectory.x[1:]) / scale).max(axis=1),
        float((np.abs(knots - trajectory.x) / scale).max()),
        None if failure else steps,
        failure,
    )
