"""Descents: how one control sequence moves, told the merit and its gradient at what it asked for.

The search asks all descents for their next trials, evaluates these together, and tells each what became of its own. So
one evaluation of value and gradient is one iteration of every method, and all plans advance in one batch.

Controls are measured in units of their width: half the distance of their bounds, else their largest magnitude in the
guess, at least 1. Bounds are kept by projection, which for a box is clipping, in every diagonal metric. How far the
merit could still fall to first order,

    gap = sum_i |g_i| room_i,    room_i = distance of the bound downhill, or 1 + |u_i| where there is none,

is zero at stationary points alone, carries the merit's unit, does not change with the number of steps, and bounds what
is lost where the merit is convex and the controls are bounded. It is what iLQR is judged by as well.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.solvers.gradient.objective import Plan
from trajopt.solvers.kernels import box_qp

Array = NDArray[np.float64]

_ARMIJO = 1e-4
"""Part of the predicted change that a step must reach (Nocedal, Wright 2006, section 3.1)."""

_LEAST = float(np.sqrt(np.finfo(float).eps))
"""Relative step below which the merit's change drowns in rounding, as it is quadratic near an optimum."""

_ROUNDING = 1e-11
"""Of a merit, relative to 1 + |merit|: unstable dynamics amplify the rounding of a state by some ten thousand."""

_NEAR = 1e-3
"""Distance from a bound, in widths, up to which a control that pushes outwards may count as held (Bertsekas)."""

_MEMORY = 10
"""Pairs of the limited-memory method; L-BFGS-B's default."""

_FIRST_DAMPING, _STRAIN, _EASE = 1e-4, 4.0, 4.0
"""Newton's first damping, relative to the Hessian's largest entry, and the factors by which it grows and falls."""

_CURVATURE = 1e-10
"""Least s'y of a pair relative to |s| |y|: with less, the inverse Hessian that it stands for is rounding."""


class Descent(ABC):
    """One plan on its way down.

    Attributes
    ----------
    plan, gradient
        The best so far under today's multipliers, and the merit's gradient there, (N, nu).
    rests
        Whether progress just came to an end for the steps of today's size.
    stalled
        Whether no step of a size that means something lowers the merit.
    """

    def __init__(self, bounds: Array, width: Array) -> None:
        self.lower, self.upper = bounds
        self.width = width
        self.plan: Plan
        self.gradient: Array
        self.rests = self.stalled = False

    @property
    def controls(self) -> Array:
        """(N, nu) of the plan."""
        return self.plan.rollout.u

    @property
    def gap(self) -> float:
        """How far the merit could fall, relative to 1 + |merit|."""
        return self._gap_at(self.plan, self.gradient)

    def _gap_at(self, plan: Plan, gradient: Array) -> float:
        falls = np.abs(gradient * self._room(plan.rollout.u, gradient))
        return float(falls.sum() / (1.0 + abs(plan.merit)))

    def _room(self, controls: Array, gradient: Array) -> Array:
        downhill = np.where(gradient > 0.0, controls - self.lower, self.upper - controls)
        return np.where(np.isfinite(downhill), downhill, 1.0 + np.abs(controls))

    def start(self, plan: Plan, gradient: Array) -> None:
        """Begin at a plan, or go on from it under other multipliers."""
        self.plan, self.gradient, self.rests, self.stalled = plan, gradient, False, False
        self.restart()

    @abstractmethod
    def restart(self) -> None:
        """Forget what was learnt of another merit."""

    @abstractmethod
    def ask(self) -> Array:
        """The next controls (N, nu) to try, within their bounds."""

    @abstractmethod
    def tell(self, plan: Plan, gradient: Array) -> None:
        """What became of them; a merit that is not finite is infinite."""


@final
class Moments:
    """Running means of a gradient and of its square, as Adam has them (Kingma, Ba 2015, algorithm 1)."""

    first: ClassVar[float] = 0.9
    second: ClassVar[float] = 0.999
    epsilon: ClassVar[float] = 1e-8
    """Kingma and Ba's settings; the last is relative to the first gradient's largest entry, for costs have any unit."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.mean, self.square = np.zeros(shape), np.zeros(shape)
        self.age, self.unit = 0, 1.0

    def direction(self, slope: Array) -> Array:
        """Take a gradient in; returns the mean over the root of the square, both without their bias."""
        if self.age == 0:
            self.unit = float(np.abs(slope).max()) or 1.0
        self.age += 1
        self.mean += (1.0 - self.first) * (slope - self.mean)
        self.square += (1.0 - self.second) * (slope**2 - self.square)
        spread = np.sqrt(self.square / (1.0 - self.second**self.age))
        return self.mean / (1.0 - self.first**self.age) / (spread + self.epsilon * self.unit)


@final
class Adam(Descent):
    """Adam in widths, projected after each step.

    With ``shrink`` below 1 the rate falls by it, and the descent returns to its best plan, whenever ``patience`` steps
    brought nothing better.
    """

    def __init__(
        self, bounds: Array, width: Array, rate: Callable[[int], float], *, shrink: float, patience: int
    ) -> None:
        super().__init__(bounds, width)
        self.rate, self.shrink, self.patience = rate, shrink, patience
        self.factor, self.steps = 1.0, 0

    def restart(self) -> None:
        """See `Descent.restart`; the rate stays what it has become, unless it is used up."""
        self.factor = 1.0 if self.factor * self.rate(self.steps) < _LEAST else self.factor
        self._return_to_best()

    def _return_to_best(self) -> None:
        self.place, self.slope = self.controls.copy(), self.gradient
        self.moments, self.idle = Moments(self.place.shape), 0

    def ask(self) -> Array:
        """See `Descent.ask`."""
        step = self.factor * self.rate(self.steps) * self.moments.direction(self.slope * self.width)
        self.steps += 1
        self.place = np.clip(self.place - self.width * step, self.lower, self.upper)
        return self.place

    def tell(self, plan: Plan, gradient: Array) -> None:
        """See `Descent.tell`."""
        if not (math.isfinite(plan.merit) and np.isfinite(gradient).all()):
            self._slow_down(0.5)
            return
        self.slope = gradient
        self.rests = False
        self.idle += 1
        if plan.merit < self.plan.merit:
            self.plan, self.gradient, self.idle = plan, gradient, 0
        if self.shrink < 1.0 and self.idle >= self.patience:
            self._slow_down(self.shrink)

    def _slow_down(self, by: float) -> None:
        self.factor *= by
        self.rests = True
        self.stalled = self.factor * self.rate(self.steps) < _LEAST
        self._return_to_best()


class LineSearch(Descent, ABC):
    """A direction, and the first step along its projection onto the bounds that falls enough (Armijo)."""

    def restart(self) -> None:
        """See `Descent.restart`."""
        self.forget()
        self._aim(self.direct())

    def ask(self) -> Array:
        """See `Descent.ask`."""
        return np.clip(self.controls + self.length * self.direction, self.lower, self.upper)

    def tell(self, plan: Plan, gradient: Array) -> None:
        """See `Descent.tell`."""
        predicted = float(np.sum(self.gradient * (plan.rollout.u - self.controls)))
        change = plan.merit - self.plan.merit
        # Where the change drowns in rounding the gradient still tells; it has to halve, so that this comes to an end.
        drowned = abs(change) <= _ROUNDING * (1.0 + abs(self.plan.merit))
        falls = change <= _ARMIJO * predicted or (drowned and self._gap_at(plan, gradient) <= 0.5 * self.gap)
        if np.isfinite(gradient).all() and predicted < 0.0 and falls:
            self.learn(plan, gradient)
            self.plan, self.gradient = plan, gradient
            self._aim(self.direct())
            return
        self.length *= 0.5
        shorter = None if self.plain else self.shorten()
        if shorter is not None:
            self._aim(shorter)
        if self.length * float(np.abs(self.direction / self.width).max()) < _LEAST:
            self.stalled = self.plain
            self.forget()
            self._aim(None)

    def _aim(self, direction: Array | None) -> None:
        """Search along a direction (N, nu) from its full length on, or along steepest descent where there is none."""
        self.length = 1.0
        self.plain = direction is None or not np.sum(self.gradient * direction) < 0.0
        if direction is None or self.plain:
            # In widths; the length of a gradient means nothing, and a tenth of a width is enough for a first step.
            scaled = self.width * self.gradient
            direction = -0.1 * self.width * scaled / (np.abs(scaled).max() or 1.0)
        self.direction = direction

    @abstractmethod
    def direct(self) -> Array | None:
        """Direction (N, nu) at a new plan; None or an ascent asks for steepest descent."""

    @abstractmethod
    def shorten(self) -> Array | None:
        """Another direction, after the last one led too far; None asks for half of it."""

    @abstractmethod
    def learn(self, plan: Plan, gradient: Array) -> None:
        """Note a step that was accepted, before it becomes the plan."""

    @abstractmethod
    def forget(self) -> None:
        """Forget what was noted."""


@final
class LimitedMemory(LineSearch):
    """Limited-memory BFGS (Nocedal 1980): curvature from the last steps, by the two-loop recursion.

    Controls within a small distance of a bound that push outwards are sent to it, and the recursion runs on the others
    alone, for a metric that mixed both would not descend (Bertsekas's two-metric projection).
    """

    def __init__(self, bounds: Array, width: Array) -> None:
        super().__init__(bounds, width)
        self.pairs: deque[tuple[Array, Array]] = deque(maxlen=_MEMORY)

    def learn(self, plan: Plan, gradient: Array) -> None:
        """See `LineSearch.learn`; in widths, in which the first Hessian is a multiple of one."""
        step = ((plan.rollout.u - self.controls) / self.width).ravel()
        change = ((gradient - self.gradient) * self.width).ravel()
        self.pairs.append((step, change))

    def shorten(self) -> None:
        """See `LineSearch.shorten`."""

    def forget(self) -> None:
        """See `LineSearch.forget`."""
        self.pairs.clear()

    def direct(self) -> Array | None:
        """See `LineSearch.direct`."""
        room = self._room(self.controls, self.gradient)
        bounded = np.isfinite(np.where(self.gradient > 0.0, self.lower, self.upper))
        # The distance shrinks with the gap, lest it hold controls whose optimum lies just inside.
        held = bounded & (room <= min(_NEAR, self.gap) * self.width) & (self.gradient != 0.0)
        free = np.flatnonzero(~held)
        pairs = [(step[free], change[free]) for step, change in self.pairs]
        pairs = [(s, y) for s, y in pairs if s @ y > _CURVATURE * np.linalg.norm(s) * np.linalg.norm(y)]
        if not pairs:
            return None
        direction = -np.sign(self.gradient) * room * held
        slope = (self.width * self.gradient).ravel()[free]
        direction.ravel()[free] = -two_loops(pairs, slope) * np.broadcast_to(self.width, held.shape).ravel()[free]
        return direction


def two_loops(pairs: list[tuple[Array, Array]], q: Array) -> Array:
    """Inverse Hessian of the pairs (s, y), oldest first, times q (Nocedal, Wright 2006, algorithm 7.4)."""
    shares = []
    for s, y in reversed(pairs):
        shares.append((s @ q) / (s @ y))
        q = q - shares[-1] * y
    s, y = pairs[-1]
    q = q * (s @ y) / (y @ y)
    for (s, y), share in zip(pairs, reversed(shares), strict=True):
        q = q + (share - (y @ q) / (s @ y)) * s
    return q


@final
class Newton(LineSearch):
    """Newton's method: the quadratic model's minimum within the bounds, by projected Newton steps on the model.

    Where the model is not convex, or its minimum fails, a multiple of one in widths is added to the Hessian (Levenberg,
    Marquardt), which turns the step towards the gradient as it shortens it: in the narrow curved valleys of stiff
    constraints that leads on where half of the same step does not.

    ``hessian`` gives the merit's at a plan, (N nu, N nu).
    """

    def __init__(self, bounds: Array, width: Array, hessian: Callable[[Plan], Array]) -> None:
        super().__init__(bounds, width)
        self.hessian = hessian
        self.damping, self.size = 0.0, 1.0
        self.matrix, self.box = np.zeros((0, 0)), box_qp.make_box(0)

    def learn(self, plan: Plan, gradient: Array) -> None:
        """See `LineSearch.learn`: the next Hessian is computed anew, and damped less."""
        self.damping = self.damping / _EASE if self.damping > _LEAST else 0.0

    def forget(self) -> None:
        """See `LineSearch.forget`."""
        self.damping = 0.0

    def direct(self) -> Array | None:
        """See `LineSearch.direct`."""
        shape = self.gradient.shape
        unit = np.broadcast_to(self.width, shape).ravel()
        self.matrix = self.hessian(self.plan) * np.outer(unit, unit)
        if not np.isfinite(self.matrix).all():
            return None
        self.size = float(np.abs(self.matrix).max()) or 1.0
        if self.box.q.size != unit.size:
            self.box = box_qp.make_box(unit.size)
        self.box.q[:] = (self.gradient * self.width).ravel()
        self.box.lower[:] = ((self.lower - self.controls) / self.width).ravel()
        self.box.upper[:] = ((self.upper - self.controls) / self.width).ravel()
        return self._solve()

    def shorten(self) -> Array | None:
        """See `LineSearch.shorten`."""
        self._damp()
        return self._solve()

    def _damp(self) -> None:
        self.damping = max(_STRAIN * self.damping, _FIRST_DAMPING)

    def _solve(self) -> Array | None:
        """The model's minimum under the least damping from today's on that makes it convex where it was looked at."""
        step = np.zeros((1, self.box.q.size))
        while self.damping < 1.0 / _LEAST:
            self.box.Q[:] = self.matrix + self.damping * self.size * np.eye(step.size)
            step[:] = 0.0
            if box_qp.solve_box_qp(0, step, self.box) >= 0:
                return step.reshape(self.gradient.shape) * self.width
            self._damp()
        return None
