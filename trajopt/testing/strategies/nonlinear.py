"""Smooth random dynamics of bounded curvature, problems with them, and the library's problems with drawn constants."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, final

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from trajopt import problems
from trajopt.constraints import Bounds
from trajopt.dynamics import ContinuousDynamics, DiscreteDynamics
from trajopt.errors import InvalidProblem
from trajopt.horizon import Horizon
from trajopt.problem import Problem
from trajopt.testing.strategies.numbers import arrays, positive_definite_matrices, tame_matrices

Array = NDArray[np.float64]

_STEEPEST = 4.0 / (3.0 * np.sqrt(3.0))
"""Largest second derivative of tanh."""


@final
@dataclass(frozen=True, eq=False)
class SmoothDynamics:
    """f(x, u) = A x + B u + bend tanh(W z + w), z = (x, u), as the next state or as the rate.

    Attributes
    ----------
    A, B, W, w
        (nx, nx), (nx, nu), (nx, nx + nu) and (nx,).
    bend
        Weight of the part that is not linear.
    continuous
        Whether it is the rate.
    """

    A: Array
    B: Array
    W: Array
    w: Array
    bend: float
    continuous: bool

    @property
    def dynamics(self) -> ContinuousDynamics | DiscreteDynamics:
        """As dynamics of this library."""
        nx, nu = self.B.shape
        return (ContinuousDynamics if self.continuous else DiscreteDynamics)(self.__call__, nx=nx, nu=nu)

    def __call__(self, x: Array, u: Array) -> Any:
        """Next state or rate, (nx,)."""
        return self.A @ x + self.B @ u + self.bend * np.tanh(self.W @ np.concatenate([x, u]) + self.w)

    @property
    def curvature(self) -> float:
        """Bound of the spectral norm of the Hessian of every entry of f, anywhere."""
        return float(self.bend * _STEEPEST * (self.W**2).sum(axis=1).max())


@st.composite
def smooth_dynamics(
    draw: Any,
    *,
    states: st.SearchStrategy[int] | None = None,
    controls: st.SearchStrategy[int] | None = None,
    continuous: bool | None = None,
) -> SmoothDynamics:
    """Dynamics that are not linear anywhere, and nowhere more curved than `SmoothDynamics.curvature` says.

    Parameters
    ----------
    states, controls
        Strategies of the sizes. Default: up to 3 and 2.
    continuous
        In continuous or discrete time; None: drawn.
    """
    nx, nu = draw(states or st.integers(1, 3)), draw(controls or st.integers(1, 2))
    return SmoothDynamics(
        draw(tame_matrices(nx)),
        draw(arrays((nx, nu))),
        draw(arrays((nx, nx + nu))),
        draw(arrays(nx)),
        draw(st.sampled_from([0.125, 0.25, 0.5])),
        draw(st.booleans()) if continuous is None else continuous,
    )


@st.composite
def nonlinear_problems(draw: Any, *, continuous: bool | None = None, control_bounds: bool | None = None) -> Problem:
    """Smooth dynamics with a strictly convex quadratic cost about a drawn target.

    Parameters
    ----------
    continuous
        In continuous or discrete time; None: drawn.
    control_bounds
        Whether there are any; None: drawn.
    """
    model = draw(smooth_dynamics(continuous=continuous))
    bounded = draw(st.booleans()) if control_bounds is None else control_bounds
    (nx, nu), steps = model.B.shape, draw(st.integers(2, 6))
    numbers = {
        "A": model.A, "B": model.B, "W": model.W, "w": model.w, "bend": model.bend,
        "hessian": draw(positive_definite_matrices(nx + nu)),
        "end_hessian": draw(positive_definite_matrices(nx)),
        "target": draw(arrays(nx)),
    }  # fmt: skip
    traced = _traced(nx, nu, steps, model.continuous, bounded)
    return traced.at(parameters=numbers, initial_state=draw(arrays(nx)))


@lru_cache(maxsize=128)
def _traced(nx: int, nu: int, steps: int, continuous: bool, bounded: bool) -> Problem:
    """A problem of that size whose numbers are parameters, so that draws share its compiled functions."""

    def dynamics(x: Array, u: Array, p: Any) -> Any:
        return p.A @ x + p.B @ u + p.bend * np.tanh(p.W @ np.concatenate([x, u]) + p.w)

    def stage_cost(x: Array, u: Array, p: Any) -> Any:
        z = np.concatenate([x - p.target, u])
        return 0.5 * (z @ p.hessian @ z)

    nz = nx + nu
    shapes = {"A": (nx, nx), "B": (nx, nu), "W": (nx, nz), "w": (nx,), "hessian": (nz, nz), "end_hessian": (nx, nx)}
    return Problem(
        (ContinuousDynamics if continuous else DiscreteDynamics)(dynamics, nx=nx, nu=nu),
        stage_cost=stage_cost,
        terminal_cost=lambda x, p: 0.5 * ((x - p.target) @ p.end_hessian @ (x - p.target)),
        initial_state=np.zeros(nx),
        parameters={name: np.zeros(shape) for name, shape in shapes.items()} | {"bend": 0.0, "target": np.zeros(nx)},
        constraints=[Bounds(control=(-0.5, 0.5))] if bounded else [],
        horizon=Horizon(steps * 0.25, steps=steps) if continuous else Horizon(steps=steps),
        name="smooth",
    )


def library_problems(
    names: Iterable[str] | None = None, *, steps: st.SearchStrategy[int] | None = None
) -> st.SearchStrategy[Problem]:
    """Problems of `trajopt.problems` with each constant at, below or above its published value by an eighth.

    A constant stays as published where its problem cannot be made otherwise: no arm reaches beyond its length.

    Parameters
    ----------
    names
        Which ones. Default: all that need no extra.
    steps
        Strategy of the number of steps. Default: each problem's own.

    Raises
    ------
    UnknownName
        When no problem has such a name.
    """
    chosen = sorted(problems.names(extras=False) if names is None else names)
    for name in chosen:
        problems.reference(name)
    return st.sampled_from(chosen).flatmap(lambda name: _settings(name, steps)).map(_load)


def _settings(name: str, steps: st.SearchStrategy[int] | None) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    """A name and settings for it; whole numbers count something and stay."""
    eighths = st.integers(-1, 1).map(lambda count: 1.0 + count / 8.0)
    known = problems.settings(name)
    drawn = {key: eighths.map(lambda f, v=value: f * v) for key, value in known.items() if isinstance(value, float)}
    if steps is not None and "steps" in known:
        drawn["steps"] = steps
    return st.tuples(st.just(name), st.fixed_dictionaries(drawn))


@lru_cache(maxsize=64)
def _build(name: str, settings: tuple[tuple[str, Any], ...]) -> Problem:
    return problems.load(name, **dict(settings))


def _load(drawn: tuple[str, dict[str, Any]]) -> Problem:
    """The problem with all of the settings, or, where together they make no problem, with those that do, in order."""
    name, settings = drawn
    try:
        return _build(name, tuple(sorted(settings.items())))
    except InvalidProblem:
        kept: tuple[tuple[str, Any], ...] = ()
        for setting in settings.items():
            with contextlib.suppress(InvalidProblem):
                _build(name, (*kept, setting))
                kept = (*kept, setting)
        return _build(name, kept)
