"""What a solver is: a frozen record of settings, the features that it handles, and one method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem
from trajopt.monitor import Monitor
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.problem import Feature, Problem
from trajopt.status import Status
from trajopt.trajectory import Trajectory

if TYPE_CHECKING:
    from trajopt.transcription.interval import IntervalScheme
    from trajopt.transcription.mesh import Mesh

Array = NDArray[np.float64]

TRACED = frozenset(Feature) - {Feature.BLACK_BOX, Feature.STOCHASTIC, Feature.DISCRETE_CONTROLS}
"""Everything that a problem may have whose functions are all traced and whose controls are continuous."""

SIMULATION = frozenset(
    {
        Feature.CONTINUOUS_TIME,
        Feature.DISCRETE_TIME,
        Feature.CONTROL_BOUNDS,
        Feature.STATE_BOUNDS,
        Feature.PATH_CONSTRAINTS,
        Feature.TERMINAL_CONSTRAINTS,
    }
)
"""What solvers handle that roll the stages out from a fixed initial state, over fixed times, with fixed parameters."""


class Claim(StrEnum):
    """What a solver says of its answers, beside the features that it handles; `trajopt.testing` checks it."""

    STATIONARY = "a success meets the first-order conditions"
    """Of its own discretisation, to its ``tolerance``; a method that only compares samples does not know."""
    MINIMA = "a success is no maximum and no saddle"
    """Second-order conditions are looked at too; first-order methods may stay on a ridge where the guess puts them."""
    ONE_STEP = "one step solves a linear-quadratic problem"
    """From any guess, as Newton's method does."""
    MONOTONE = "the answer costs no more than a feasible guess"
    """Whenever the solve ends; the best so far is kept."""
    WARM_START = "its own answer as guess is confirmed at once"
    """With multipliers, if it has any: at most one iteration."""
    SCALE = "the unit of the cost does not matter"
    """A cost times a power of two changes no bit of the controls."""


class Memory(ABC):
    """What a solver keeps of one solve for the next one on a receding horizon, beside the trajectory."""

    @abstractmethod
    def shift(self, steps: float, length: int | None = None) -> Memory:
        """What is left of it when the horizon has moved on by that many steps, 0 or more, whole or not.

        Parameters
        ----------
        steps
            How far it moved, in its own steps.
        length
            Steps of the new horizon; None: as many as before.
        """

    @abstractmethod
    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays by name, without objects; `Solver.read_memory` makes it again."""


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a solver hands back; `trajopt.solve` makes a `Solution` of it.

    Attributes
    ----------
    status
        How it ended.
    trajectory
        The answer, or the best so far.
    cost
        As the solver's own discretisation values it.
    iterations
        How many it took.
    feedback
        (N, nu, nx) gains K of the law u = u_k + K_k (x - x_k), if the solver has them.
    detail
        A sentence behind the status's own, for example the library's return code.
    multipliers
        Whatever costates and multipliers the solver has, by name.
    transcription
        What it made of an interval, if the answer is a local optimum of that program: this is what
        ``solution.derivatives()`` differentiates.
    memory
        What `Solver.resume` goes on from, if the solver remembers more than its answer.
    """

    status: Status
    trajectory: Trajectory
    cost: float
    iterations: int
    feedback: Array | None = None
    detail: str = ""
    multipliers: Mapping[str, Any] = field(default_factory=dict)
    transcription: IntervalScheme | Mesh | None = None
    memory: Memory | None = None


@dataclass(frozen=True, eq=False)
class MultiPhaseOutcome:
    """What a solver hands back of a problem of several phases.

    Attributes
    ----------
    phases
        One outcome for each phase, all with the same status and number of iterations; their costs add up.
    links
        (L,) multiplier of each row of the links, positive at an active upper limit; empty if the solver has none.
    """

    phases: tuple[Outcome, ...]
    links: Array = field(default_factory=lambda: np.zeros(0))


class Solver(ABC):
    """Base class of all solvers. A subclass is a frozen dataclass of settings and keeps no state between solves.

    Attributes
    ----------
    handles
        Features that it can treat; any other is refused by name before it starts.
    claims
        What it says of its answers.
    preference
        Where ``solve(problem)`` without a solver looks first: the largest among those that handle the problem.
    """

    handles: ClassVar[frozenset[Feature]]
    claims: ClassVar[frozenset[Claim]] = frozenset()
    preference: ClassVar[int] = 0

    def __str__(self) -> str:
        """The solver with those settings that are not the defaults."""
        changed = []
        for setting in fields(self):  # type: ignore[arg-type]
            default = setting.default if setting.default_factory is MISSING else setting.default_factory()
            value = getattr(self, setting.name)
            if value is not default and repr(value) != repr(default):
                changed.append(f"{setting.name}={value!r}")
        return f"{type(self).__name__}({', '.join(changed)})"

    def missing(self, features: frozenset[Feature]) -> frozenset[Feature]:
        """Which of the features of a problem the solver does not handle, at least not all together."""
        return features - self.handles

    def rank(self, features: frozenset[Feature]) -> int:
        """The preference among solvers that handle a problem of these features."""
        return self.preference

    @abstractmethod
    def run(self, problem: Problem, guess: Trajectory, monitor: Monitor) -> Outcome:
        """Solve from ``guess``, which lies on the problem's own knots, reporting every iteration to ``monitor``."""

    def resume(self, problem: Problem, guess: Trajectory, monitor: Monitor, memory: Memory | None) -> Outcome:
        """As `run`, going on from an earlier outcome's memory; here, for solvers without any, it is `run`."""
        return self.run(problem, guess, monitor)

    def read_memory(self, arrays: Mapping[str, Any]) -> Memory:
        """The memory that `Memory.to_arrays` wrote, of an outcome of this solver."""
        raise InvalidProblem(
            f"{self} was given a memory of {', '.join(arrays)}, but remembers nothing between solves; leave it out."
        )


class MultiPhaseSolver(Solver, ABC):
    """A solver that treats problems of several phases as well; others refuse them by name."""

    @abstractmethod
    def run_phases(
        self, problem: MultiPhaseProblem, guesses: Sequence[Trajectory], monitor: Monitor
    ) -> MultiPhaseOutcome:
        """Solve from ``guesses``, one for each of ``problem.joined`` on its knots; see `Solver.run`."""
