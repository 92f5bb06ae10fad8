"""From a solver's answer to a point that satisfies the optimality conditions to rounding, with its active constraints.

Solvers stop where the cost no longer changes, which leaves half of their digits in the variables, and interior-point
methods a little off their bounds. Both would show in derivatives. So the answer is polished first by Newton's method on

    dL/dw + nu = 0,    g_i = limit_i for active rows i,    w_j = limit_j for active bounds j,    L = f + lambda' g,

in which rows and bounds leave the active set when their multiplier has the wrong sign, and enter it when they are
violated (a primal-dual active-set method). The first multipliers are those that make dL/dw smallest; of the candidates
near their limits, those are active whose multiplier would push them further than they are away, at their curvature.

Reference: Hintermueller, Ito, Kunisch, The primal-dual active set strategy as a semismooth Newton method, SIAM J.
Optim. 13(3), 2002.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trajopt.derivatives.kkt import KktSystem, entered, kkt_pattern, stiffness
from trajopt.derivatives.linearisation import Linearisation, Lineariser
from trajopt.errors import NotDifferentiable
from trajopt.transcription.nlp import Instance

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

CLOSE = 1e-3
"""Relative distance from its limit at which a constraint is a candidate for the first active set. Barriers leave
mu / multiplier, with mu about 1e-9."""

WEAK = 1e-6
"""Slack relative to the limit, and multiplier relative to the largest slope, below which both count as zero. Newton's
method leaves rounding of both, about 1e-10; the multipliers that matter are larger by the same factor."""

SETTLED = 1e-8
"""Newton step, relative to 1 + |w|, after which nothing but rounding is left: the next one gains three more digits."""

NEAR = 1e-3
"""Newton step, in the same measure, after which the system is kept: each further step then gains about three digits,
for a tenth of the time (the simplified Newton method)."""

NEWTON_STEPS = 30
"""At most. Beside a solution a few suffice; each may also exchange active constraints."""

SAME = 1e-2
"""How far polishing may move variables, relative to 1 + the largest of their kind. Solvers that stop at a relative
decrease of 1e-8 leave some 1e-4; two digits more are granted to flat costs."""


@dataclass(frozen=True, eq=False)
class Side:
    """Limits of rows or variables, and which of them are active.

    Attributes
    ----------
    lower, upper
        (n,) limits.
    active
        (n,) -1 at the lower limit, +1 at the upper one, 0 where neither holds with equality. For equalities +1.
    """

    lower: Array
    upper: Array
    active: NDArray[np.int8]

    @classmethod
    def near(cls, lower: Array, upper: Array, values: Array) -> Side:
        """Take for active what is close to a limit."""
        reach = [CLOSE * np.maximum(1.0, np.abs(np.where(np.isfinite(limit), limit, 0.0))) for limit in (lower, upper)]
        low, high = values - lower, upper - values
        active = np.where((high <= reach[1]) & (high <= low), 1, np.where(low <= reach[0], -1, 0))
        return cls(lower, upper, np.where(lower == upper, 1, active).astype(np.int8))

    @property
    def equal(self) -> Mask:
        """(n,) equalities, which are always active."""
        return self.lower == self.upper

    @property
    def on(self) -> Mask:
        """(n,) whether active."""
        return self.active != 0

    @property
    def limit(self) -> Array:
        """(n,) the active limit; zero where there is none."""
        return np.where(self.active > 0, self.upper, np.where(self.active < 0, self.lower, 0.0))

    def slack(self, values: Array) -> Array:
        """(n,) distance to the nearer limit, relative to max(1, |limit|); negative where violated."""
        with np.errstate(invalid="ignore"):
            low = (values - self.lower) / np.maximum(1.0, np.abs(self.lower))
            high = (self.upper - values) / np.maximum(1.0, np.abs(self.upper))
        low[~np.isfinite(self.lower)], high[~np.isfinite(self.upper)] = np.inf, np.inf
        return np.minimum(low, high)

    def confirm(self, values: Array, multipliers: Array, curvature: Array) -> Side:
        """Keep those whose ``multipliers`` push further than the limit is away, at a ``curvature`` of the cost."""
        distance = np.abs(np.where(self.on, values - self.limit, 0.0))
        pressing = multipliers * self.active > curvature * distance
        return replace(self, active=np.where(self.equal | pressing, self.active, 0))

    def update(self, values: Array, multipliers: Array, small: float) -> Side:
        """Drop what pulls by more than ``small``, add what is violated by more than rounding of a Newton step."""
        pulls = self.on & ~self.equal & (multipliers * self.active < -small)
        violated = ~self.on & (self.slack(values) < -SETTLED)
        side = np.where(self.upper - values < values - self.lower, 1, -1)
        return replace(self, active=np.where(pulls, 0, np.where(violated, side, self.active)).astype(np.int8))

    def weak(self, values: Array, multipliers: Array, small: float) -> Mask:
        """(n,) inequalities that touch their limit without pressing on it."""
        return ~self.equal & (np.abs(self.slack(values)) <= WEAK) & (np.abs(multipliers) <= small)


@dataclass(frozen=True, eq=False)
class Optimum:
    """A polished solution of a program.

    Attributes
    ----------
    w, multipliers
        Variables, and multipliers of the rows; positive at an upper limit.
    weak_rows, weak_bounds
        (rows,) and (size,): which touch their limit although their multiplier is zero. They are not taken for active.
    at
        The derivatives there.
    system
        The factored optimality system.
    dependent
        Whether active rows depend on each other.
    """

    w: Array
    multipliers: Array
    weak_rows: Mask
    weak_bounds: Mask
    at: Linearisation
    system: KktSystem
    dependent: bool


def polish(program: Lineariser, instance: Instance) -> Optimum:
    """Bring the guess of an instance, a solver's answer, to the optimum beside it.

    Raises
    ------
    NotDifferentiable
        When there is none beside it, or the optimality system is singular.
    """
    return _Polish(program, instance).run()


class _Polish:
    """One run of Newton's method."""

    def __init__(self, program: Lineariser, instance: Instance) -> None:
        self.program, self.pattern, self.instance = program, kkt_pattern(program), instance
        self.w = instance.guess.copy()
        self.multipliers = np.zeros(program.count)
        self.point = program.at(self.w, instance.shared, self.multipliers)
        if not all(np.isfinite(part).all() for part in (self.point.rows, self.point.gradient, self.point.jacobian)):
            raise _no_optimum("the problem's functions or their derivatives are not finite there")
        self.bounds = Side.near(instance.lower, instance.upper, self.w)
        self.rows = Side.near(instance.row_lower, instance.row_upper, self.point.rows)
        self.slope = np.abs(self.point.gradient[: program.size]).max(initial=0.0)

    def run(self) -> Optimum:
        """Iterate until nothing but rounding is left."""
        self._estimate()
        system, length = None, np.inf
        for _ in range(NEWTON_STEPS):
            self.point = self._linearise()
            exchanged = self._exchange()
            if exchanged or system is None or not length <= NEAR:
                system = KktSystem(self.pattern, self.point.hessian, self.point.jacobian, self._moving())
            length = self._step(system)
            if not np.isfinite(length):
                break
            if not exchanged and length <= SETTLED:
                self._check_same()
                return self._finish()
        raise _no_optimum("Newton's method on the optimality conditions does not converge from there")

    def _linearise(self) -> Linearisation:
        """Derivatives with the active variables at their bounds."""
        self.w = np.where(self.bounds.on, self.bounds.limit, self.w)
        return self.program.at(self.w, self.instance.shared, self.multipliers)

    @property
    def _small(self) -> float:
        """Below which a multiplier counts as zero."""
        return WEAK * max(self.slope, np.abs(self.multipliers).max(initial=0.0))

    @property
    def _pressing(self) -> Array:
        """Multipliers of the bounds."""
        return np.where(self.bounds.on, -self.point.gradient[: self.program.size], 0.0)

    def _moving(self) -> Mask:
        """Variables that may move, and active rows that any of them enters."""
        free = ~self.bounds.on
        return np.concatenate([free, self.rows.on & entered(self.program, self.point, free)])

    def _estimate(self) -> None:
        """Multipliers of the candidates that make the gradient of the Lagrangian smallest, and the first active set."""
        size, moving = self.program.size, self._moving()
        system = KktSystem(self.pattern, None, self.point.jacobian, moving)
        side = np.concatenate([-self.point.gradient[:size], np.zeros(self.program.count)])
        self.multipliers = system.solve(side * moving)[size:]
        self.point = self.program.at(self.w, self.instance.shared, self.multipliers)
        along_variables, along_rows = stiffness(self.program, self.point)
        self.bounds = self.bounds.confirm(self.w, self._pressing, along_variables)
        self.rows = self.rows.confirm(self.point.rows, self.multipliers, along_rows)
        self.multipliers = np.where(self.rows.on, self.multipliers, 0.0)

    def _exchange(self) -> bool:
        """Drop rows and bounds that pull, add violated ones, and linearise again if there were any."""
        before = self.rows.active, self.bounds.active
        self.rows = self.rows.update(self.point.rows, self.multipliers, self._small)
        self.bounds = self.bounds.update(self.w, self._pressing, self._small)
        if np.array_equal(before[0], self.rows.active) and np.array_equal(before[1], self.bounds.active):
            return False
        self.multipliers = np.where(self.rows.on, self.multipliers, 0.0)
        self.point = self._linearise()
        return True

    def _step(self, system: KktSystem) -> float:
        """Take a Newton step, and return how far it moves the variables, relative to 1 + |w|."""
        size, point = self.program.size, self.point
        left = np.concatenate([-point.gradient[:size], self.rows.limit - point.rows])
        solution = system.solve(np.where(system.moving, left, 0.0))
        self.w = self.w + solution[:size]
        self.multipliers = self.multipliers + solution[size:]
        return float((np.abs(solution[:size]) / (1.0 + np.abs(self.w))).max(initial=0.0))

    def _check_same(self) -> None:
        """Refuse an optimum that is another one."""
        moved = np.abs(self.w - self.instance.guess) / (1.0 + np.abs(self.w))
        if moved.max(initial=0.0) > SAME:
            raise _no_optimum(f"the nearest one differs from it by {moved.max():.2g}")

    def _finish(self) -> Optimum:
        """Factor the system at the optimum, without the rows and bounds that do not press."""
        self.point = self._linearise()
        weak_rows = self.rows.weak(self.point.rows, self.multipliers, self._small)
        weak_bounds = self.bounds.weak(self.w, self._pressing, self._small)
        self.rows = replace(self.rows, active=np.where(weak_rows, 0, self.rows.active))
        self.bounds = replace(self.bounds, active=np.where(weak_bounds, 0, self.bounds.active))
        system = KktSystem(self.pattern, self.point.hessian, self.point.jacobian, self._moving())
        return Optimum(self.w, self.multipliers, weak_rows, weak_bounds, self.point, system, system.examine())


def _no_optimum(reason: str) -> NotDifferentiable:
    return NotDifferentiable(
        f"derivatives were asked for at an answer that does not satisfy the optimality conditions ({reason}), but a "
        "local optimum was expected; solve with a smaller tolerance, or with InteriorPoint() or Collocation() from it."
    )
