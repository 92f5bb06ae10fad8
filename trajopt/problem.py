"""The problem: dynamics, cost, constraints and horizon, as one immutable record."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.constraints import (
    BoundaryConstraint,
    Bounds,
    Choices,
    Constraint,
    FunctionConstraint,
    IntegralConstraint,
    PathConstraint,
    TerminalConstraint,
    check_order,
    nearest_choices,
)
from trajopt.dynamics import Dynamics, TracedDynamics
from trajopt.errors import InvalidProblem
from trajopt.horizon import Free, Horizon
from trajopt.parameters import ParameterLayout
from trajopt.signature import STAGE, TERMINAL, UserFunction
from trajopt.validation import check

if TYPE_CHECKING:
    from trajopt.model import Model


class Feature(StrEnum):
    """What a problem may have and a solver may or may not handle; the text is how messages call it."""

    CONTINUOUS_TIME = "continuous-time dynamics"
    DISCRETE_TIME = "discrete-time dynamics"
    FREE_DURATION = "a free duration"
    FREE_START = "a free start time"
    FREE_INITIAL_STATE = "free initial state entries"
    FREE_PARAMETERS = "free parameters"
    CONTROL_BOUNDS = "control bounds"
    STATE_BOUNDS = "state bounds"
    PATH_CONSTRAINTS = "path constraints"
    TERMINAL_CONSTRAINTS = "terminal constraints"
    BOUNDARY_CONSTRAINTS = "boundary constraints"
    INTEGRAL_CONSTRAINTS = "integral constraints"
    BLACK_BOX = "black-box dynamics"
    STOCHASTIC = "stochastic dynamics"
    DISCRETE_CONTROLS = "discrete controls"


_KINDS = {
    "path": PathConstraint,
    "terminal": TerminalConstraint,
    "boundary": BoundaryConstraint,
    "integral": IntegralConstraint,
}


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """An optimal-control problem: minimise a cost over trajectories that obey the dynamics and the constraints.

    Functions are plain NumPy and take ``(x, u)``, with ``t`` and ``p`` behind them if they name them. They are traced
    when the problem is made, so a global that they read is frozen from then on; what shall vary is a parameter.

    Parameters
    ----------
    dynamics
        `ContinuousDynamics` or `DiscreteDynamics`, or for what cannot be traced `BlackBoxDynamics`.
    stage_cost
        Function (x, u[, t][, p]) -> number, integrated over time (summed, if the dynamics are discrete).
    terminal_cost
        Function (x[, t][, p]) -> number of the final state.
    initial_state
        (nx,) numbers, None where free; None altogether frees every entry.
    constraints
        Any of `Bounds`, `Choices`, `PathConstraint`, `TerminalConstraint`, `BoundaryConstraint`, `IntegralConstraint`.
    horizon
        `Horizon`.
    parameters
        Dictionary of numbers, arrays, or `Free`, which functions read as ``p["name"]`` or ``p.name``.
    guess
        Where solvers start: a `Solution`, or arrays ``(t, x, u)`` of shapes (n,), (n, nx), (n, nu).
    name
        What reports call it.

    Raises
    ------
    InvalidProblem
        When parts disagree in size, bounds are crossed, the initial state violates them, or the dynamics are not
        finite there.
    TracingError
        When a function cannot be turned into expressions.
    """

    dynamics: Dynamics
    stage_cost: Callable[..., Any] | None = None
    terminal_cost: Callable[..., Any] | None = None
    initial_state: Sequence[float | None] | NDArray[Any] | None = field(default=None, kw_only=True)
    constraints: Iterable[Constraint] = field(default=(), kw_only=True)
    horizon: Horizon = field(kw_only=True)
    parameters: Mapping[str, Any] | None = field(default=None, kw_only=True)
    guess: Any = field(default=None, kw_only=True)
    name: str | None = field(default=None, kw_only=True)

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles carry: the fields, and not what was traced and compiled from them."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def __post_init__(self) -> None:
        self._check_types()
        object.__setattr__(self, "constraints", tuple(self.constraints))
        object.__setattr__(self, "initial_state", _initial_state(self.initial_state, self.dynamics))
        object.__setattr__(self, "parameters", dict(self.parameters or {}))
        self.layout.pack(self.parameters)
        _ = self.choices
        _ = self.model  # traces every function, so that mistakes surface here and not in a solver
        self._check_initial_state()

    def _check_types(self) -> None:
        if not isinstance(self.dynamics, Dynamics):
            raise InvalidProblem(
                f"dynamics={self.dynamics!r} was given, but ContinuousDynamics, DiscreteDynamics or BlackBoxDynamics "
                "was expected; wrap the function, for example ContinuousDynamics(f, nx=2, nu=1)."
            )
        if not isinstance(self.horizon, Horizon):
            raise InvalidProblem(
                f"horizon={self.horizon!r} was given, but a Horizon was expected; write Horizon(5.0, steps=100)."
            )
        if isinstance(self.constraints, Constraint) or not isinstance(self.constraints, Iterable):
            raise InvalidProblem(
                f"constraints={self.constraints!r} was given, but a list of constraints was expected; put it in "
                "brackets."
            )
        if self.parameters is not None and not isinstance(self.parameters, Mapping):
            raise InvalidProblem(
                f"parameters={self.parameters!r} was given, but a dictionary was expected; write {{'mass': 1.0}}."
            )
        for constraint in tuple(self.constraints):
            if not isinstance(constraint, Constraint):
                raise InvalidProblem(
                    f"constraints contains {constraint!r}, but Bounds, Choices, PathConstraint, TerminalConstraint, "
                    "BoundaryConstraint or IntegralConstraint was expected; wrap it in one of them."
                )
            target = constraint.target if isinstance(constraint, TerminalConstraint) else None
            if target is not None and len(target) != self.nx:
                raise InvalidProblem(
                    f"a TerminalConstraint has a target of {len(target)} entries, but {self.nx} were expected, one for "
                    f"each of {', '.join(self.dynamics.states)}; write None for a free one."
                )
        if self.dynamics.continuous and self.horizon.duration is None:
            raise InvalidProblem(
                "continuous dynamics got a horizon without duration, but a length of time was expected; "
                "write Horizon(5.0, steps=100)."
            )
        if not self.dynamics.continuous and (self.horizon.duration is not None or self.horizon.start != 0.0):
            raise InvalidProblem(
                "discrete dynamics got a horizon with a duration or a start, but a number of steps alone was expected; "
                "write Horizon(steps=100)."
            )

    @property
    def nx(self) -> int:
        """Number of states."""
        return self.dynamics.nx

    @property
    def nu(self) -> int:
        """Number of controls."""
        return self.dynamics.nu

    @cached_property
    def initial_values(self) -> NDArray[np.float64]:
        """The initial state as an array (nx,), NaN where free."""
        return np.array([np.nan if entry is None else entry for entry in self.initial_state or ()])

    @cached_property
    def layout(self) -> ParameterLayout:
        """How the parameters are packed into one vector."""
        return ParameterLayout.of(self.parameters)

    @cached_property
    def stage_cost_function(self) -> UserFunction | None:
        """The stage cost with its signature read."""
        return None if self.stage_cost is None else UserFunction.read(self.stage_cost, STAGE, "stage_cost")

    @cached_property
    def terminal_cost_function(self) -> UserFunction | None:
        """The terminal cost with its signature read."""
        return None if self.terminal_cost is None else UserFunction.read(self.terminal_cost, TERMINAL, "terminal_cost")

    @cached_property
    def model(self) -> Model:
        """The functions as expressions."""
        from trajopt.model import trace_model  # noqa: PLC0415 - keeps CasADi out of `import trajopt`

        return trace_model(self)

    @cached_property
    def state_bounds(self) -> NDArray[np.float64]:
        """Lower and upper bounds of the state, shape (2, nx), infinite where free."""
        return self._bounds("state", self.nx)

    @cached_property
    def control_bounds(self) -> NDArray[np.float64]:
        """Lower and upper bounds of the control, shape (2, nu), infinite where free."""
        return self._bounds("control", self.nu)

    def _bounds(self, what: str, size: int) -> NDArray[np.float64]:
        """Intersection of all `Bounds`."""
        every = [bounds.resolve(what, size) for bounds in self.constraints if isinstance(bounds, Bounds)]
        lower = np.max([limits[0] for limits in every], axis=0, initial=-np.inf) if every else np.full(size, -np.inf)
        upper = np.min([limits[1] for limits in every], axis=0, initial=np.inf) if every else np.full(size, np.inf)
        check_order(lower, upper, f"the intersection of all Bounds({what}=...)")
        return np.stack([lower, upper])

    @cached_property
    def choices(self) -> NDArray[np.float64] | None:
        """Values of which the control is one at every time, (k, nu); None where it may be any within its bounds."""
        given = [constraint.values for constraint in self.constraints if isinstance(constraint, Choices)]
        if not given:
            return None
        values, (lower, upper) = np.asarray(given[0]), self.control_bounds
        if len(given) > 1 or values.shape[1] != self.nu:
            raise InvalidProblem(
                f"{len(given)} Choices of {values.shape[1]} controls were given, but one of {self.nu}, "
                f"{', '.join(self.dynamics.controls)}, was expected; list their combinations as rows."
            )
        if not ((lower <= values) & (values <= upper)).all():
            raise InvalidProblem(
                f"the choices {values.tolist()} were given, but values within the controls' bounds were expected; drop "
                "those outside, or the bounds."
            )
        return values

    def admissible(self, controls: ArrayLike) -> NDArray[np.float64]:
        """The nearest of the choices for each row of ``controls``, (..., nu); without choices, within the bounds."""
        if self.choices is None:
            return np.clip(np.asarray(controls, float), *self.control_bounds)
        return self.choices[nearest_choices(self.choices, controls)]

    def constraints_by_kind(self) -> dict[str, list[FunctionConstraint]]:
        """Function constraints under "path", "terminal", "boundary" and "integral", each in the order given."""
        functions = [c for c in self.constraints if isinstance(c, FunctionConstraint)]
        return {kind: [c for c in functions if isinstance(c, cls)] for kind, cls in _KINDS.items()}

    @cached_property
    def features(self) -> frozenset[Feature]:
        """What a solver must handle in order to solve this problem."""
        groups = self.constraints_by_kind()
        present = {
            Feature.CONTINUOUS_TIME: self.dynamics.continuous,
            Feature.DISCRETE_TIME: not self.dynamics.continuous,
            Feature.FREE_DURATION: isinstance(self.horizon.duration, Free),
            Feature.FREE_START: isinstance(self.horizon.start, Free),
            Feature.FREE_INITIAL_STATE: None in (self.initial_state or ()),
            Feature.FREE_PARAMETERS: bool(self.layout.free),
            Feature.CONTROL_BOUNDS: bool(np.isfinite(self.control_bounds).any()),
            Feature.STATE_BOUNDS: bool(np.isfinite(self.state_bounds).any()),
            Feature.PATH_CONSTRAINTS: bool(groups["path"]),
            Feature.TERMINAL_CONSTRAINTS: bool(groups["terminal"]),
            Feature.BOUNDARY_CONSTRAINTS: bool(groups["boundary"]),
            Feature.INTEGRAL_CONSTRAINTS: bool(groups["integral"]),
            Feature.BLACK_BOX: not isinstance(self.dynamics, TracedDynamics),
            Feature.STOCHASTIC: isinstance(self.dynamics, BatchDynamics) and self.dynamics.stochastic,
            Feature.DISCRETE_CONTROLS: self.choices is not None,
        }
        return frozenset(feature for feature, there in present.items() if there)

    def at(
        self,
        *,
        parameters: Mapping[str, Any] | None = None,
        initial_state: ArrayLike | None = None,
        horizon: Horizon | None = None,
    ) -> Problem:
        """The same problem with other numbers, sharing the traced functions.

        Parameters
        ----------
        parameters
            New values of some parameters, of unchanged shapes.
        initial_state
            (nx,) new initial state.
        horizon
            New span of time. What was free stays free, and what was a number stays one. In discrete time its start is
            the number of the first step.
        """
        if parameters is None and initial_state is None and horizon is None:
            return self
        variant = object.__new__(Problem)
        variant.__dict__.update(self.__dict__)  # the cached model too: that is the point
        object.__setattr__(variant, "parameters", self.layout.update(self.parameters, parameters))
        if horizon is not None:
            _check_same_kind(self.horizon, horizon)
            object.__setattr__(variant, "horizon", horizon)
        if initial_state is not None:
            object.__setattr__(variant, "initial_state", _initial_state(initial_state, self.dynamics))
            for derived in ("features", "initial_values"):
                variant.__dict__.pop(derived, None)
        variant._check_initial_state()
        return variant

    def _check_initial_state(self) -> None:
        """Refuse an initial state outside its bounds, or where the dynamics are not finite."""
        state, (lower, upper) = self.initial_values, self.state_bounds
        control, time = self._first_control(), self.horizon.start_guess
        for i in np.flatnonzero((state < lower) | (state > upper)):
            raise InvalidProblem(
                f"the initial state has {self.dynamics.states[i]}={state[i]:g}, but a value within its bounds "
                f"[{lower[i]:g}, {upper[i]:g}] was expected; move the state or the bounds."
            )
        if np.isnan(state).any():
            return
        from trajopt.plain import PlainFunctions  # noqa: PLC0415 - keeps CasADi out of `import trajopt`

        functions = PlainFunctions(self, self.layout.pack(self.parameters))
        derivative = functions.dynamics(state, control, time)
        if not np.isfinite(derivative).all():
            entry = self.dynamics.states[int(np.flatnonzero(~np.isfinite(derivative))[0])]
            raise InvalidProblem(
                f"the dynamics return {derivative.tolist()} at the initial state with control {control.tolist()}, but "
                f"finite numbers were expected (first bad entry: {entry}); check the function there, or give a guess "
                "that starts with another control."
            )

    def _first_control(self) -> NDArray[np.float64]:
        """The control of the guess at the start; without a guess, zero moved to where it may be."""
        if self.guess is None:  # at once, because control loops come here at every step
            return self.admissible(np.zeros(self.nu))
        from trajopt.guess import make_guess  # noqa: PLC0415 - which imports this module

        return make_guess(self, None).held()[0]


def _check_same_kind(old: Horizon, new: Horizon) -> None:
    """Refuse another kind of horizon: what is free is a feature of the problem."""
    check(new, "horizon", "a Horizon", isinstance(new, Horizon), "write for example Horizon(5.0, steps=100)")
    kinds = [(type(h.duration) is Free, h.duration is None, type(h.start) is Free) for h in (old, new)]
    if kinds[0] != kinds[1]:
        raise InvalidProblem(
            f"{new} was given in place of {old}, but one with the same free and fixed times was expected; make a "
            "variant with dataclasses.replace(problem, horizon=...)."
        )


def _initial_state(entries: Any, dynamics: Dynamics) -> tuple[float | None, ...]:
    """The initial state as nx floats, None where free."""
    if entries is None:
        return (None,) * dynamics.nx
    try:
        state = tuple(None if entry is None else float(entry) for entry in entries)
    except (TypeError, ValueError) as error:
        raise InvalidProblem(
            f"initial_state={entries!r} was given, but {dynamics.nx} numbers or None were expected; correct it."
        ) from error
    if len(state) != dynamics.nx:
        raise InvalidProblem(
            f"initial_state has {len(state)} entries, but {dynamics.nx} were expected, one for each of "
            f"{', '.join(dynamics.states)}; correct its length."
        )
    if not all(entry is None or math.isfinite(entry) for entry in state):
        raise InvalidProblem(
            f"initial_state={entries!r} was given, but finite numbers were expected; write None for a free entry."
        )
    return state
