"""Episodes that a model imagines: a reward that is collected, and an end after which nothing counts.

A learned model advances observed states x. `Imagination` adds what an agent is after, as further states, so that a plan
is valued where every solver looks, at the state:

    return_{k+1} = return_k + alive_k r(x_k, u_k, x_{k+1}),      alive_{k+1} = alive_k (1 - ended(x_k, u_k, x_{k+1})).

Reward and end are functions that are known, heads that the model learned, or not there. A learned end is a probability,
and the reward behind it is discounted by it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.errors import InvalidProblem
from trajopt.problem import Problem

Array = NDArray[np.float64]

Judge = Callable[[Array, Array, Array], Any]
"""Function (x, u, x_next) -> (K,) of K transitions: rewards, or whether the episode ended there."""

RETURN, ALIVE = "return", "alive"


def judged(judge: Judge, x: Array, u: Array, x_next: Array, what: str) -> Array:
    """What a user's function says of transitions, (K,); NaN stays, for planners know what to do with it.

    Raises
    ------
    InvalidProblem
        When it returns another shape.
    """
    with np.errstate(all="ignore"):
        values = np.asarray(judge(x, u, x_next), dtype=float)
    if values.shape != (len(x),):
        raise InvalidProblem(
            f"{what} returned shape {values.shape} for {len(x)} transitions, but ({len(x)},) was expected; it gets "
            "rows x, u, x_next and returns a number for each."
        )
    return values


def imagined_state(x: Array, states: tuple[str, ...]) -> Array:
    """An observed state as a planner's: nothing is collected yet, and the episode goes on."""
    added = [float(name == ALIVE) for name in states[len(x) :] if name in (RETURN, ALIVE)]
    return np.concatenate([x, added])


@final
@dataclass(frozen=True, init=False, eq=False)
class Imagination(BatchDynamics):
    """A model of observed states with ``return`` and ``alive`` behind them.

    Parameters
    ----------
    model
        Dynamics of the observed states, which may have learned heads as `ProbabilisticEnsemble` has.
    reward, termination
        Known functions of transitions, `Judge`; None where a head of the model gives it, or nothing does.
    """

    model: BatchDynamics
    observed: int
    reward: Judge | None
    termination: Judge | None

    def __init__(self, model: BatchDynamics, reward: Judge | None, termination: Judge | None) -> None:
        observed = [name for name in model.states if name not in (RETURN, ALIVE)]
        pays, ends = reward or RETURN in model.states, termination or ALIVE in model.states
        states = [*observed, *[RETURN] * bool(pays), *[ALIVE] * bool(ends)]
        super().__init__(states=states, controls=model.controls)
        fields = {"model": model, "observed": len(observed), "reward": reward, "termination": termination}
        for name, value in (fields | {"stochastic": model.stochastic}).items():
            object.__setattr__(self, name, value)

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the next states; see `BatchDynamics.step`."""
        return self.rollout(x, u[:, None], t, p, generator)[:, 1]

    def rollout(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the states of K rollouts; see `BatchDynamics.rollout`."""
        n, names = self.observed, self.states
        blank = [np.full(len(x), float(name == ALIVE)) for name in self.model.states[n:]]
        inner = self.model.rollout(np.column_stack([x[:, :n], *blank]), u, t, p, generator)
        seen, heads = inner[..., :n], dict(zip(self.model.states[n:], np.moveaxis(inner[..., n:], 2, 0), strict=True))
        result = np.empty((*inner.shape[:2], self.nx))
        result[..., :n] = seen
        alive = np.ones(inner.shape[:2])
        if ALIVE in names:
            start = x[:, names.index(ALIVE), None]
            alive = start * (heads[ALIVE] if self.termination is None else self._survival(seen, u))
            result[..., names.index(ALIVE)] = alive
        if RETURN in names:
            rewards = np.diff(heads[RETURN], axis=1) if self.reward is None else self._judge(self.reward, seen, u)
            if self.reward is not None or self.termination is not None:  # a head has discounted by its own end
                rewards = np.where(alive[:, :-1] > 0.0, alive[:, :-1] * rewards, 0.0)
            collected = np.cumsum(rewards, axis=1)
            place = names.index(RETURN)
            result[:, 0, place], result[:, 1:, place] = x[:, place], x[:, place, None] + collected
        return result

    def _judge(self, judge: Judge, seen: Array, u: Array) -> Array:
        """What a function says of all transitions of rollouts, (K, N)."""
        n, nu = self.observed, self.nu
        what = "reward" if judge is self.reward else "termination"
        rows = seen[:, :-1].reshape(-1, n), u.reshape(-1, nu), seen[:, 1:].reshape(-1, n)
        return judged(judge, *rows, what).reshape(u.shape[:2])

    def _survival(self, seen: Array, u: Array) -> Array:
        """Whether no end has come yet, (K, N+1)."""
        assert self.termination is not None
        going = np.cumprod(1.0 - self._judge(self.termination, seen, u), axis=1)
        return np.concatenate([np.ones((len(seen), 1)), going], axis=1)


@final
@dataclass(frozen=True, init=False, eq=False)
class TracedSteps(BatchDynamics):
    """The traced dynamics of a problem as steps of a batch: one of its own, or one of Runge-Kutta for an interval."""

    stochastic = False

    def __init__(self, problem: Problem) -> None:
        super().__init__(states=problem.dynamics.states, controls=problem.dynamics.controls)
        model = problem.model
        arguments = [model.x, model.u, model.t, model.p]
        f = ca.Function("f", arguments, [model.dynamics])
        if problem.dynamics.continuous:
            f = _runge_kutta(f, problem.horizon.duration_guess / problem.horizon.steps, arguments)
        values = problem.layout.pack(problem.parameters)
        for name, value in {"_function": f, "_parameters": values, "_start": problem.horizon.start_guess}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_period", _period(problem))

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the next states; see `BatchDynamics.step`."""
        kept = self.__dict__
        now = kept["_start"] + t * kept["_period"]
        return np.array(kept["_function"](x.T, u.T, now, kept["_parameters"]), dtype=float).T


def _period(problem: Problem) -> float:
    """Time of an interval; 1 in discrete time."""
    return problem.horizon.duration_guess / problem.horizon.steps


def _runge_kutta(f: ca.Function, h: float, arguments: list[ca.SX]) -> ca.Function:
    """One classical step of order 4 over an interval with held control."""
    x, u, t, p = arguments
    k1 = f(x, u, t, p)
    k2 = f(x + 0.5 * h * k1, u, t + 0.5 * h, p)
    k3 = f(x + 0.5 * h * k2, u, t + 0.5 * h, p)
    k4 = f(x + h * k3, u, t + h, p)
    return ca.Function("step", arguments, [x + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)])
