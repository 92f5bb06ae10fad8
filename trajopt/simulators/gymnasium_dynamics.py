"""A Gymnasium environment as dynamics: its state is set, it is stepped, and its state is read again.

An environment has a reward and an end where a problem has a cost and a horizon. Both become states, so that they can be
read wherever a state can: ``reward`` is what has been collected so far, ``ended`` is 0 until the environment terminates
and 1 from then on. A state that has ended stays as it is, and collects nothing more. The return of an episode is thus
the reward at the final state, and ``terminal_cost=lambda x: -x[dynamics.reward]`` maximises it, whatever the
environment.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.constraints import Bounds
from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, MissingExtra, UnsupportedProblem
from trajopt.simulators.environment_process import process_of_environment
from trajopt.simulators.environment_state import Restore, Save, find_store

Array = NDArray[np.float64]

_PLAIN_WRAPPERS = frozenset({"TimeLimit", "OrderEnforcing", "PassiveEnvChecker"})
"""Wrappers that change neither state nor reward: the time limit is the horizon's matter, the others check."""

_TRIAL = 5
"""Steps of the trial that the environment repeats; hidden state shows in the first, counters soon after."""


@final
@dataclass(frozen=True, init=False, eq=False)
class GymnasiumDynamics(BatchDynamics):
    """An environment whose state can be saved and restored.

    The states of classic control (``env.unwrapped.state``), of toy text (``env.unwrapped.s``) and of MuJoCo
    environments (the full physics state without time, and the accelerations from which the constraint solver starts)
    are found without help, so that a rollout is the episode that the environment itself would run. An environment whose
    reward compares body positions before and after a step (Ant, Humanoid) reads those of the last physics step in an
    episode and those of the state here. Rows of a batch are stepped one after the other; `MuJoCoDynamics` uses
    threads.

    Parameters
    ----------
    env
        The environment, which belongs to the dynamics from now on: it is reset. Without ``get_state`` the wrappers that
        only limit time or check are taken off, and others are refused.
    get_state, set_state
        Functions env -> numbers (n,) and (env, numbers) -> None that save and restore everything that a step depends
        on.

    Attributes
    ----------
    states
        "state 0" ..., "reward", "ended".
    controls
        "action 0" ...; of a discrete action space the number of the action, to which a control is rounded.
    stochastic
        Whether a step draws random numbers; they are drawn from the generator that the step is given.

    Raises
    ------
    MissingExtra
        When gymnasium is not installed.
    UnsupportedProblem
        When the environment cannot be reset to a state, is wrapped, or has no box or discrete actions.
    InvalidProblem
        When only one of the two functions is given, or ``env`` is no environment.
    """

    env: Any
    get_state: Save
    set_state: Restore
    _lock: threading.Lock
    stochastic: bool

    def __init__(
        self,
        env: Any,
        *,
        get_state: Save | None = None,
        set_state: Restore | None = None,
    ) -> None:
        if (get_state is None) != (set_state is None):
            raise InvalidProblem(
                "one of get_state and set_state was given, but both or none were expected; add the other."
            )
        env = _check(env) if get_state is None else _check_type(env)
        env.reset(seed=0)
        store = find_store(env) if get_state is None or set_state is None else (get_state, set_state)
        self.__setstate__({"env": env, "get_state": store[0], "set_state": store[1]})
        actions = self._action_limits()[0].size
        size = self._read().size
        states = [*(f"state {i}" for i in range(size)), "reward", "ended"]
        super().__init__(states=states, controls=[f"action {i}" for i in range(actions)])
        object.__setattr__(self, "stochastic", self._try())

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles carry: everything but the lock."""
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in {**state, "_lock": threading.Lock()}.items():
            object.__setattr__(self, name, value)

    @property
    def reward(self) -> int:
        """Number of the state that is the reward collected so far."""
        return self.nx - 2

    @property
    def ended(self) -> int:
        """Number of the state that is 1 once the environment has terminated, and 0 before."""
        return self.nx - 1

    @property
    def bounds(self) -> Bounds:
        """The limits of the actions, None where they are infinite."""
        low, high = ([float(entry) if np.isfinite(entry) else None for entry in side] for side in self._action_limits())
        return Bounds(control=(low, high))

    def reset(self, seed: int = 0) -> Array:
        """Return the state (nx,) in which the environment starts with that seed."""
        with self._lock:
            self.env.reset(seed=seed)
            return np.concatenate([self._read(), [0.0, 0.0]])

    def to_process(
        self,
        actions: ArrayLike | None = None,
        *,
        random: bool | None = None,
        discount: float = 1.0,
        seed: int = 0,
    ) -> DecisionProcess:
        """Return the environment as a decision process, for `trajopt.decide`.

        Parameters
        ----------
        actions
            (A, nu) actions to choose from, (A,) for a single one; None: all of a discrete action space.
        random
            Whether steps have several outcomes; None: whether the environment draws numbers. Some draw them and do the
            same whatever they are: False lets planners that need certain steps take those.
        discount
            Of each step, above 0 and up to 1.
        seed
            Of the reset that gives the initial state.

        Raises
        ------
        InvalidProblem
            When the actions are missing or have another shape, or the discount makes no sense.
        """
        return process_of_environment(self, actions, random=random, discount=discount, seed=seed)

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Step the environment from each row that has not ended; see `BatchDynamics.step`."""
        result = np.array(x)
        with self._lock:
            for row, (state, control) in enumerate(zip(x, u, strict=True)):
                if not (np.isfinite(state).all() and np.isfinite(control).all()):
                    result[row] = np.nan
                elif state[self.ended] < 0.5:
                    result[row] = self._step_one(state, control, generator)
        return result

    def _step_one(self, state: Array, control: Array, generator: np.random.Generator) -> Array:
        if self.stochastic:
            self.env.unwrapped.np_random = generator
        self.set_state(self.env, state[: self.reward].copy())
        _, reward, terminated, _, _ = self.env.step(self._action(control))
        after = np.concatenate([self._read(), [state[self.reward] + float(reward), float(terminated)]])
        if terminated:
            self.env.reset(seed=0)  # environments count steps after their end, and complain
        return after

    def _action(self, control: Array) -> Any:
        space = self.env.action_space
        if self._discrete:
            low, high = self._action_limits()
            return int(np.clip(np.rint(control[0]), low[0], high[0]))
        return control.astype(space.dtype).reshape(space.shape)

    @cached_property
    def _discrete(self) -> bool:
        from gymnasium import spaces  # noqa: PLC0415 - an extra

        return isinstance(self.env.action_space, spaces.Discrete)

    def _action_limits(self) -> tuple[Array, Array]:
        """Least and greatest actions, (nu,) each."""
        from gymnasium import spaces  # noqa: PLC0415 - an extra

        space = self.env.action_space
        if isinstance(space, spaces.Discrete):
            return np.array([float(space.start)]), np.array([float(space.start + space.n - 1)])
        if isinstance(space, spaces.Box):
            return space.low.astype(float).ravel(), space.high.astype(float).ravel()
        raise UnsupportedProblem(
            f"an environment with the action space {space} was given, but a Box or Discrete one was expected; wrap its "
            "actions."
        )

    def _read(self) -> Array:
        """The state of the environment now, as numbers."""
        return np.array(self.get_state(self.env), dtype=float).reshape(-1)

    def _try(self) -> bool:
        """Whether steps draw random numbers; steps that do not repeat after the state was restored are refused.

        Numbers of the environment's own generator are drawn again alike, so that chance does not look like hidden
        state.
        """
        env, space = self.env, self.env.action_space
        space.seed(0)
        start, drew, first = self._read(), False, []
        actions = [space.sample() for _ in range(_TRIAL)]
        for action in actions:
            before = env.unwrapped.np_random.bit_generator.state
            self.set_state(env, start.copy())
            outcome, seen = env.step(action), self._read()
            drew = drew or env.unwrapped.np_random.bit_generator.state != before
            first.append((start, before, seen, outcome[1:3]))
            if outcome[2]:
                env.reset(seed=0)
                break
            start = seen
        for action, (start, before, seen, told) in reversed(list(zip(actions, first, strict=False))):
            env.unwrapped.np_random.bit_generator.state = before
            self.set_state(env, start.copy())
            outcome = env.step(action)
            if not np.array_equal(self._read(), seen, equal_nan=True) or outcome[1:3] != told:
                raise UnsupportedProblem(
                    f"the environment {_name(env)} did not repeat a step after its state had been restored, but a step "
                    "was expected to depend on the state alone; give get_state and set_state that carry all of it."
                )
        env.reset(seed=0)
        return drew


def _name(env: Any) -> str:
    return type(env.unwrapped).__name__


def _check_type(env: Any) -> Any:
    """The environment, if it is one."""
    try:
        import gymnasium  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise MissingExtra(
            'an environment was given, but gymnasium is not installed; write pip install "trajopt[gym]".'
        ) from error
    if not isinstance(env, gymnasium.Env):
        raise InvalidProblem(
            f"an environment of type {type(env).__name__} was given, but a gymnasium.Env was expected; write "
            "gymnasium.make(...)."
        )
    return env


def _check(env: Any) -> Any:
    """The environment without wrappers that change nothing."""
    inner = _check_type(env)
    while inner is not inner.unwrapped:
        if type(inner).__name__ not in _PLAIN_WRAPPERS:
            raise UnsupportedProblem(
                f"an environment in a {type(inner).__name__} was given, which may hide a state or change the reward, "
                "but one without wrappers was expected; pass env.unwrapped, or give get_state and set_state."
            )
        inner = inner.env
    return inner
