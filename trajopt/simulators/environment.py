"""The environment behind `to_gymnasium`, which documents it; imported only there, because gymnasium is an extra."""

from __future__ import annotations

import re
from typing import Any, final

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.plain import PlainFunctions
from trajopt.problem import Feature, Problem
from trajopt.reintegration import Reintegration, reintegrate
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.violations import Rows, Violation, measure

Array = NDArray[np.float64]

_REFUSED = (
    Feature.FREE_DURATION, Feature.FREE_START, Feature.FREE_INITIAL_STATE, Feature.FREE_PARAMETERS, Feature.STOCHASTIC
)  # fmt: skip
_MOST = float(np.finfo(np.float32).max)
"""Bound of observations: infinite ones are no box to sample from, in double precision their difference overflows."""


@final
class ProblemEnvironment(gymnasium.Env[Any, Any]):
    """An episode walks along the horizon of a problem; see `trajopt.to_gymnasium`."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - declared so by Gymnasium

    def __init__(self, problem: Problem, dtype: Any = "float32") -> None:
        _check(problem)
        if np.dtype(dtype) not in (np.dtype("float32"), np.dtype("float64")):
            raise InvalidProblem(f'dtype={dtype!r} was given, but "float32" or "float64" was expected; choose one.')
        self.problem, self._dtype = problem, np.dtype(dtype)
        self._parameters = problem.layout.pack(problem.parameters or {})
        self._functions = PlainFunctions(problem, self._parameters)
        self._times = problem.horizon.knots()
        self.action_space = self._actions()
        self.observation_space = self._box(_MOST, problem.nx)
        name = re.sub(r"[^\w.-]", "-", problem.name or "Problem")
        # A specification without registration: tools that make a second environment from this one need it.
        self.spec = EnvSpec(id=f"trajopt/{name}-v0", entry_point=lambda **_: ProblemEnvironment(problem, dtype))
        self._x: list[Array] = [problem.initial_values]
        self._u: list[Array] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start at the initial state, or at that of the options."""
        super().reset(seed=seed)
        start = (options or {}).get("state")
        problem = self.problem if start is None else self.problem.at(initial_state=_numbers(start, self.problem.nx))
        self._x, self._u = [problem.initial_values.copy()], []
        return self._observe(), self._info({}, "")

    def step(self, action: ArrayLike) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Hold a control for one interval of the horizon."""
        k = len(self._u)
        if k == self.problem.horizon.steps:
            raise InvalidProblem("a step was asked for after the end of the horizon; call reset() first.")
        control = self._control(action)
        path = self._integrate(self._times[k : k + 2], self._x[-1], control[None])
        if path.failure:
            return self._observe(), -_MOST, True, False, self._info({}, path.failure)
        self._x.append(path.knots[-1])
        self._u.append(control)
        ended = k + 1 == self.problem.horizon.steps
        cost = float(path.running[0])
        if ended:
            cost += self._functions.terminal_cost(self._x[-1], float(self._times[-1]))
        violations = self._violations(path, k) if not ended else self._all_violations()
        return self._observe(), -cost, False, ended, self._info(violations, "")

    def _control(self, action: ArrayLike) -> Array:
        """What an action means."""
        choices = self.problem.choices
        if choices is not None:
            if not self.action_space.contains(action):
                raise InvalidProblem(
                    f"the action {action!r} was given to an environment, but a number from 0 to {len(choices) - 1}, "
                    "that of a choice, was expected; correct it."
                )
            return choices[int(np.asarray(action))]
        lower, upper = self.problem.control_bounds
        share = (np.clip(_numbers(action, self.problem.nu), -1.0, 1.0) + 1.0) / 2.0
        return (1.0 - share) * lower + share * upper  # exact at both ends

    def _actions(self) -> gymnasium.spaces.Space[Any]:
        choices = self.problem.choices
        return self._box(1.0, self.problem.nu) if choices is None else gymnasium.spaces.Discrete(len(choices))

    def _integrate(self, times: Array, start: Array, controls: Array) -> Reintegration:
        trajectory = Trajectory(times, np.tile(start, (times.size, 1)), controls, Interpolation.HOLD)
        return reintegrate(self.problem, trajectory, self._functions)

    def _violations(self, path: Reintegration, k: int) -> dict[str, float]:
        """Bounds and path constraints in one step."""
        trajectory = Trajectory(self._times[k : k + 2], path.knots, np.array(self._u[-1:]), Interpolation.HOLD)
        found = measure(self.problem, trajectory, self._functions, self._parameters, path)
        return _exceeded([violation for rows in (found.state, found.control, found.path) for violation in _worst(rows)])

    def _all_violations(self) -> dict[str, float]:
        """All constraints in the whole episode, as the certificate measures them."""
        start = self.problem.at(initial_state=self._x[0])
        trajectory = Trajectory(self._times, np.array(self._x), np.array(self._u), Interpolation.HOLD)
        path = reintegrate(start, trajectory, self._functions)
        return _exceeded(measure(start, trajectory, self._functions, self._parameters, path).worst())

    def _observe(self) -> Any:
        return np.clip(self._x[-1], -_MOST, _MOST).astype(self._dtype)

    def _info(self, violations: dict[str, float], failure: str) -> dict[str, Any]:
        return {
            "t": float(self._times[len(self._u)]),
            "state": self._x[-1].copy(),
            "violations": violations,
            "violation": max(violations.values(), default=0.0),
            "failure": failure,
        }

    def _box(self, limit: float, size: int) -> gymnasium.spaces.Box:
        limits = np.full(size, limit, dtype=self._dtype)
        return gymnasium.spaces.Box(-limits, limits, dtype=self._dtype.type)


def _check(problem: Problem) -> None:
    """Refuse what an episode cannot walk along."""
    if not isinstance(problem, Problem):
        raise InvalidProblem(f"to_gymnasium got a {type(problem).__name__}, but a Problem was expected; pass one.")
    for feature in _REFUSED:
        if feature in problem.features:
            raise UnsupportedProblem(
                f"a problem with {feature} was given, but an environment needs a fixed horizon, start and parameters "
                "and steps that repeat; fix them."
            )
    if problem.choices is None and not np.isfinite(problem.control_bounds).all():
        raise UnsupportedProblem(
            "a problem with unbounded controls was given, but an environment needs a box of actions; add "
            "Bounds(control=(lower, upper))."
        )


def _numbers(values: ArrayLike, size: int) -> Array:
    """An array (size,), or a sentence about what was given."""
    numbers = np.asarray(values, dtype=float)
    if numbers.shape != (size,) or not np.isfinite(numbers).all():
        raise InvalidProblem(
            f"numbers of shape {numbers.shape} were given to an environment, but {size} finite ones were expected; "
            "correct them."
        )
    return numbers


def _worst(rows: Rows) -> list[Violation]:
    """One record for each row; none where there was no sample."""
    return rows.worst() if rows.times.size else []


def _exceeded(records: Any) -> dict[str, float]:
    """Positive amounts by name."""
    return {record.name: record.amount for record in records if record.amount > 0.0}
