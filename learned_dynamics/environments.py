"""What an agent learns in: a problem, whose dynamics are the plant, or a Gymnasium environment.

Both are driven through the same few calls, and both say how to plan in them: `Environment.planning` makes the problem
of a sliding horizon over a learned model, or over the true one, with the same reward, end and limits.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.constraints import Bounds, FunctionConstraint, PathConstraint, TerminalConstraint
from trajopt.errors import InvalidProblem, MissingExtra, UnsupportedProblem
from trajopt.horizon import Horizon
from trajopt.learned_dynamics.imagination import ALIVE, RETURN, Imagination, Judge, TracedSteps, judged
from trajopt.plant import make_plant
from trajopt.problem import Feature, Problem
from trajopt.signature import UserFunction

Array = NDArray[np.float64]

Start = Callable[[np.random.Generator], Any]
"""Draws the state (nx,) in which an episode begins."""

_REFUSED = (
    Feature.FREE_DURATION, Feature.FREE_START, Feature.FREE_PARAMETERS, Feature.BOUNDARY_CONSTRAINTS,
    Feature.INTEGRAL_CONSTRAINTS,
)  # fmt: skip


class Outcome(NamedTuple):
    """What a step brought.

    Attributes
    ----------
    x
        (nx,) the state observed next.
    reward
        Of the step.
    terminated
        Whether the episode has ended by itself.
    truncated
        Whether it was cut off.
    """

    x: Array
    reward: float
    terminated: bool
    truncated: bool


class Environment(ABC):
    """What an agent acts in.

    Attributes
    ----------
    states, controls
        Names of what is observed and of what is sent.
    limits
        (2, nu) least and greatest controls.
    """

    states: tuple[str, ...]
    controls: tuple[str, ...]
    limits: Array

    @abstractmethod
    def reset(self, seed: int) -> Array:
        """Begin the episode of that seed; returns the state, (nx,)."""

    @abstractmethod
    def step(self, u: Array) -> Outcome:
        """Hold a control (nu,) for one step."""

    @abstractmethod
    def planning(self, model: BatchDynamics | None, horizon: int) -> Problem:
        """The problem of ``horizon`` steps from a state onwards, over a learned model, or for None over the true one.

        Raises
        ------
        UnsupportedProblem
            When the true model cannot be planned with.
        """

    @abstractmethod
    def true_state(self) -> Array:
        """The state of the true model now."""


@final
class ProblemEnvironment(Environment):
    """The plant of a problem, in its own or in continuous time; rewards are minus its costs.

    An episode walks along the horizon. The terminal cost stands at its end, and, as in any receding horizon, at the
    end of every plan.
    """

    def __init__(self, problem: Problem, termination: Judge | Literal["bounds"] | None, start: Start | None) -> None:
        for feature in _REFUSED:
            if feature in problem.features:
                raise UnsupportedProblem(
                    f"a problem with {feature} was given to an agent, but fixed times and parameters and costs that "
                    "add up were expected; fix them."
                )
        if start is None and np.isnan(problem.initial_values).any():
            raise UnsupportedProblem(
                "a problem with a free initial state was given to an agent, but episodes begin somewhere; give start=, "
                "a function of a generator, or fix the state."
            )
        self._problem, self._draw = problem, start
        self._bounded = termination == "bounds"
        self._termination = self._outside if self._bounded else termination
        self.states, self.controls = problem.dynamics.states, problem.dynamics.controls
        self.limits = problem.control_bounds
        self._plant, self._times = make_plant(None, problem), problem.horizon.knots()
        self._costs = _terminal_cost(problem)
        self._k, self._x, self._generator = 0, problem.initial_values, np.random.default_rng(0)

    def _outside(self, x: Array, u: Array, x_next: Array) -> Any:
        lower, upper = self._problem.state_bounds
        return ~((x_next >= lower) & (x_next <= upper)).all(axis=1)

    def reset(self, seed: int) -> Array:
        """Draw the first state; see `Environment.reset`."""
        self._generator, self._k = np.random.default_rng(seed), 0
        drawn = self._problem.initial_values if self._draw is None else self._draw(self._generator)
        self._x = np.array(drawn, dtype=float)
        if self._x.shape != (len(self.states),):
            raise InvalidProblem(
                f"start returned shape {self._x.shape}, but the {len(self.states)} states were expected; correct it."
            )
        return self._x.copy()

    def step(self, u: Array) -> Outcome:
        """Advance the plant; see `Environment.step`."""
        before, (now, then) = self._x, self._times[self._k : self._k + 2]
        self._x, cost = self._plant.advance(before, u, now, then - now, self._generator)
        self._k += 1
        ended = self._termination is not None and bool(
            judged(self._termination, before[None], u[None], self._x[None], "termination")[0]
        )
        truncated = self._k == len(self._times) - 1
        if truncated and not ended:
            cost += self._costs(self._x, then)
        return Outcome(self._x.copy(), -cost, ended, truncated)

    def true_state(self) -> Array:
        """See `Environment.true_state`."""
        return self._x.copy()

    def planning(self, model: BatchDynamics | None, horizon: int) -> Problem:
        """See `Environment.planning`; the stage cost of continuous time counts by the rectangle rule."""
        problem = self._problem
        if model is None:
            own = problem.dynamics
            model = own if isinstance(own, BatchDynamics) else TracedSteps(problem)
        dynamics = Imagination(model, None, self._termination)
        seen = _Embedding(problem, ends=ALIVE in dynamics.states)
        kept = [seen.constraint(c) for c in problem.constraints]
        return Problem(
            dynamics,
            seen.stage(problem.stage_cost_function),
            seen.terminal(problem.terminal_cost_function),
            initial_state=[*np.nan_to_num(problem.initial_values), *[1.0] * seen.ends],
            constraints=[replace(c, state=None) if isinstance(c, Bounds) and self._bounded else c for c in kept],
            horizon=Horizon(steps=horizon),
            parameters=problem.parameters,
            name=problem.name,
        )


@dataclass(frozen=True)
class _Embedding:
    """Functions of a problem's state and time as functions of the imagined state and the number of the step."""

    problem: Problem
    ends: bool

    def _values(self, x: Any, t: Any, p: Any) -> dict[str, Any]:
        horizon = self.problem.horizon
        period = horizon.duration_guess / horizon.steps
        return {"x": x[: self.problem.nx], "t": horizon.start_guess + t * period, "p": p}

    def stage(self, function: UserFunction | None) -> Any:
        """The stage cost of a step, while the episode goes on."""
        if function is None:
            return None
        horizon = self.problem.horizon
        weight = horizon.duration_guess / horizon.steps if self.problem.dynamics.continuous else 1.0

        def cost(x: Any, u: Any, t: Any, p: Any) -> Any:
            value = weight * function(self._values(x, t, p) | {"u": u})
            return x[-1] * value if self.ends else value

        return cost

    def terminal(self, function: UserFunction | None) -> Any:
        """The terminal cost, if the episode has not ended."""
        if function is None:
            return None

        def cost(x: Any, t: Any, p: Any) -> Any:
            value = function(self._values(x, t, p))
            return x[-1] * value if self.ends else value

        return cost

    def constraint(self, constraint: Any) -> Any:
        """The same condition on the imagined state."""
        if isinstance(constraint, Bounds) and constraint.state is not None and self.ends:
            lower, upper = constraint.resolve("state", self.problem.nx)
            free = [[None if np.isinf(v) else v for v in (*side, np.inf)] for side in (lower, upper)]
            return replace(constraint, state=tuple(free))
        if not isinstance(constraint, FunctionConstraint):
            return constraint
        g = constraint.function
        limits = {"lower": constraint.lower, "upper": constraint.upper, "name": constraint.name}
        if isinstance(constraint, PathConstraint):
            return PathConstraint(lambda x, u, t, p: g(self._values(x, t, p) | {"u": u}), **limits)
        return TerminalConstraint(lambda x, t, p: g(self._values(x, t, p)), **limits)


def _terminal_cost(problem: Problem) -> Callable[[Array, float], float]:
    from trajopt.plain import PlainFunctions  # noqa: PLC0415 - loads CasADi

    return PlainFunctions(problem, problem.layout.pack(problem.parameters)).terminal_cost


@final
class GymEnvironment(Environment):
    """A Gymnasium environment with boxes of observations and actions; both are flattened.

    Reward and termination are functions, or None where heads of the model learn them.
    """

    def __init__(self, env: Any, reward: Judge | None, termination: Judge | None) -> None:
        space, actions = _boxes(env)
        self._env, self._reward, self._termination = env, reward, termination
        self.states = tuple(f"state {i}" for i in range(int(np.prod(space.shape))))
        self.controls = tuple(f"action {i}" for i in range(int(np.prod(actions.shape))))
        self.limits = np.stack([actions.low.astype(float).ravel(), actions.high.astype(float).ravel()])
        self._true: Any = None

    def reset(self, seed: int) -> Array:
        """See `Environment.reset`."""
        return np.asarray(self._env.reset(seed=seed)[0], dtype=float).ravel()

    def step(self, u: Array) -> Outcome:
        """See `Environment.step`."""
        space = self._env.action_space
        observed, reward, terminated, truncated, _ = self._env.step(u.astype(space.dtype).reshape(space.shape))
        return Outcome(np.asarray(observed, dtype=float).ravel(), float(reward), bool(terminated), bool(truncated))

    def true_state(self) -> Array:
        """See `Environment.true_state`."""
        dynamics = self._dynamics()
        return np.concatenate([np.asarray(dynamics.get_state(self._env.unwrapped), dtype=float).ravel(), [0.0, 0.0]])

    def _dynamics(self) -> Any:
        """A copy of the environment as dynamics, made once."""
        if self._true is None:
            from trajopt.simulators import GymnasiumDynamics  # noqa: PLC0415 - simulators are loaded when asked for

            self._true = GymnasiumDynamics(copy.deepcopy(self._env.unwrapped))
        return self._true

    def planning(self, model: BatchDynamics | None, horizon: int) -> Problem:
        """See `Environment.planning`; without functions or heads nothing would be maximised."""
        dynamics = self._dynamics() if model is None else Imagination(model, self._reward, self._termination)
        place = dynamics.reward if model is None else dynamics.states.index(RETURN)
        first = [float(name == ALIVE) for name in dynamics.states]
        return Problem(
            dynamics,
            terminal_cost=lambda x: -x[place],
            initial_state=dynamics.reset(0) if model is None else first,
            constraints=[Bounds(control=(self.limits[0], self.limits[1]))],
            horizon=Horizon(steps=horizon),
            name=type(self._env.unwrapped).__name__,
        )


def _boxes(env: Any) -> tuple[Any, Any]:
    """The spaces of an environment, if both are boxes and that of the actions is finite."""
    from gymnasium import spaces  # noqa: PLC0415 - whoever has an environment has it

    for what, space in (("observations", env.observation_space), ("actions", env.action_space)):
        if not isinstance(space, spaces.Box):
            raise UnsupportedProblem(
                f"an environment whose {what} are {space} was given, but a Box was expected, as the agent plans with "
                f"continuous numbers; wrap its {what}."
            )
    actions = env.action_space
    if not (np.isfinite(actions.low).all() and np.isfinite(actions.high).all()):
        raise UnsupportedProblem(
            f"an environment with the actions {actions} was given, but finite limits were expected, to draw random "
            "actions between; wrap it in gymnasium.wrappers.RescaleAction."
        )
    return env.observation_space, actions


def read_environment(
    environment: Any,
    reward: Judge | None,
    termination: Judge | Literal["bounds", "learned"] | None,
    start: Start | None,
) -> Environment:
    """The environment that a user means; see `trajopt.learned_dynamics.PETS`.

    Raises
    ------
    InvalidProblem, UnsupportedProblem
        When it is neither a problem nor an environment, or has something that an agent cannot learn.
    """
    if isinstance(environment, Problem):
        if reward is not None or termination == "learned":
            raise InvalidProblem(
                "a reward or a learned termination was given with a Problem, but its costs are the reward, and its end "
                'is known; give termination="bounds", a function or None alone.'
            )
        made = ProblemEnvironment(environment, termination, start)
        if not np.isfinite(made.limits).all():
            raise UnsupportedProblem(
                "a problem with unbounded controls was given to an agent, but finite limits were expected, to draw "
                "random controls between; add Bounds(control=(lower, upper))."
            )
        return made
    try:
        import gymnasium  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(
            f"an environment of type {type(environment).__name__} was given, but gymnasium is not installed; give a "
            'Problem, or write pip install "trajopt[gym]".'
        ) from error
    if not isinstance(environment, gymnasium.Env):
        raise InvalidProblem(
            f"an environment of type {type(environment).__name__} was given, but a Problem or a gymnasium.Env was "
            "expected; pass one of them."
        )
    if start is not None or termination == "bounds":
        raise InvalidProblem(
            'start or termination="bounds" was given with an environment, which has its own starts and no bounds; '
            "leave it out."
        )
    return GymEnvironment(environment, reward, None if termination == "learned" else termination)
