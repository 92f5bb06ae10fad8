"""Linear-quadratic problems made backwards from their answers.

States, controls, costates and multipliers are drawn first, in quarter steps; the offsets of the dynamics and
the gradients of the cost are what feasibility and stationarity then leave. The Hessians are positive definite by
construction, so the drawn point is the only optimum, and it is exact: all of its numbers are dyadic.

Every active row moves with a control of its own: a bound with the control that it bounds, a path row with the only
control that it contains, a bound on the first state, and the terminal row, with the first control of the step before,
which is free of other rows there. So the gradients of active rows are independent, multipliers are unique, and every
inequality can be left: there are trajectories strictly inside of all of them.

A case is a list of stages, of which Hypothesis drops those that it can do without, each with numbers enough for the
largest sizes, so that a smaller size leaves the others as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from trajopt.testing.oracles.linear_quadratic import LinearQuadratic
from trajopt.testing.strategies.numbers import Quarters, quarters, tame
from trajopt.testing.strategies.planted import Planted

Array = NDArray[np.float64]

FREE = (-np.inf, np.inf)
BOXES = ((-1.0, 1.0), (-0.5, 1.0), (-1.0, np.inf), (-np.inf, 0.5))
"""Few of them, so that problems share their compiled functions; zero lies inside of all."""

STATE_BAND = (-2.0, 1.0)
"""Bounds of the first state."""

_ROOM = 0.25
"""Distance of inactive controls, states and rows from their limits."""


def linear_quadratic_problems(
    *,
    states: st.SearchStrategy[int] | None = None,
    controls: st.SearchStrategy[int] | None = None,
    steps: st.SearchStrategy[int] | None = None,
) -> st.SearchStrategy[Planted]:
    """Problems without inequalities, with every cross and affine term, changing from stage to stage.

    Parameters
    ----------
    states, controls, steps
        Strategies of the sizes. Default: up to 3 states, 2 controls and 5 steps, so that functions of few sizes are
        compiled and examples can be read.
    """
    return _problems(states, controls, steps, control_bounds=False, state_bounds=False, path=False, end=False)


def box_linear_quadratic_problems(
    *,
    states: st.SearchStrategy[int] | None = None,
    controls: st.SearchStrategy[int] | None = None,
    steps: st.SearchStrategy[int] | None = None,
    degenerate: bool | None = None,
) -> st.SearchStrategy[Planted]:
    """The same with bounds on the controls, at which any of them may be held.

    Parameters
    ----------
    states, controls, steps
        Strategies of the sizes; as for `linear_quadratic_problems`.
    degenerate
        Whether the multiplier of an active row may be zero. False: it never is; True: all of them are; None: any mix.
    """
    return _problems(
        states, controls, steps, control_bounds=True, state_bounds=False, path=False, end=False, degenerate=degenerate
    )


def constrained_linear_quadratic_problems(
    *,
    states: st.SearchStrategy[int] | None = None,
    controls: st.SearchStrategy[int] | None = None,
    steps: st.SearchStrategy[int] | None = None,
    control_bounds: bool | None = None,
    state_bounds: bool | None = None,
    path: bool | None = None,
    end: bool | None = None,
    degenerate: bool | None = None,
) -> st.SearchStrategy[Planted]:
    """The same with bounds on controls and states, a mixed path inequality and a terminal equality.

    Parameters
    ----------
    states, controls, steps
        Strategies of the sizes; as for `linear_quadratic_problems`.
    control_bounds, state_bounds, path, end
        Whether there are such rows; None: drawn.
    degenerate
        As for `box_linear_quadratic_problems`.
    """
    kinds = {"control_bounds": control_bounds, "state_bounds": state_bounds, "path": path, "end": end}
    drawn = {name: st.booleans() if chosen is None else st.just(chosen) for name, chosen in kinds.items()}
    return st.fixed_dictionaries(drawn).flatmap(
        lambda chosen: _problems(states, controls, steps, degenerate=degenerate, **chosen)
    )


class _Sizes(NamedTuple):
    """Of one case: its states and controls, and the numbers of them for which numbers are drawn."""

    nx: int
    nu: int

    @property
    def room(self) -> tuple[int, int]:
        return max(self.nx, 3), max(self.nu, 2)


class _Kinds(NamedTuple):
    """Which rows a case has: bounds of every control, bounds of the first state, a path row, a terminal row."""

    box: tuple[float, float]
    band: tuple[float, float]
    path: int
    end: int


class _Stage(NamedTuple):
    """One step and the knot behind it: what holds each control at the answer, and numbers."""

    holders: tuple[str, ...]
    x: Array
    u: Array
    costate: Array
    F: Array
    H: Array
    sizes: Array
    """Of the multipliers of (controls, first state, path row)."""


@st.composite
def _problems(
    draw: Any, states: Any, controls: Any, steps: Any, *, control_bounds: bool, state_bounds: bool, path: bool,
    end: bool, degenerate: bool | None = None,
) -> Planted:  # fmt: skip
    sizes = _Sizes(draw(states or st.integers(1, 3)), draw(controls or st.integers(1, 2)))
    box = draw(st.sampled_from(BOXES)) if control_bounds else FREE
    kinds = _Kinds(box, STATE_BAND if state_bounds else FREE, int(path), int(end))
    head = draw(_heads(sizes))
    count = None if steps is None else draw(steps)
    stages = draw(st.lists(_stages(sizes, kinds), min_size=count or 1, max_size=count or 5))
    return _assemble(sizes, kinds, head, stages, degenerate)


class _Head(NamedTuple):
    """First state and costate, Hessian of the end, and the rows."""

    x: Array
    costate: Array
    P: Array
    G: Array
    E: Array
    end_multiplier: Array


def _heads(sizes: _Sizes) -> st.SearchStrategy[_Head]:
    (nx, nu), (X, U) = sizes, sizes.room

    def read(numbers: Quarters) -> _Head:
        return _Head(
            numbers.take(X)[:nx], numbers.take(X)[:nx], numbers.gram(X)[:nx, :nx],
            np.hstack([numbers.take(X)[:nx], numbers.take(U)[: nu - 1], 1.0]),
            np.append(1.0, numbers.take(X)[1:nx]), numbers.take(1),
        )  # fmt: skip

    return quarters(4 * X + U + X * (X + 1) // 2 + 1).map(read)


def _stages(sizes: _Sizes, kinds: _Kinds) -> st.SearchStrategy[_Stage]:
    (nx, nu), (X, U) = sizes, sizes.room
    chosen = [*range(nx), *range(X, X + nu)]

    def read(drawn: tuple[tuple[str, ...], Quarters]) -> _Stage:
        holders, numbers = drawn
        x, u, costate = numbers.take(X)[:nx], numbers.take(U)[:nu], numbers.take(X)[:nx]
        A, B = numbers.take(X, X)[:nx, :nx], numbers.take(X, U)[:nx, :nu]
        H = numbers.gram(X + U)[np.ix_(chosen, chosen)] + 0.5 * np.eye(nx + nu)
        multipliers = np.abs(numbers.take(U + 2))
        return _Stage(holders, x, u, costate, np.hstack([tame(A), B]), H, np.append(multipliers[:nu], multipliers[U:]))

    count = 2 * X + U + X * (X + U) + (X + U) * (X + U + 1) // 2 + U + 2
    return st.tuples(_holders(nu, kinds), quarters(count)).map(read)


def _holders(controls: int, kinds: _Kinds) -> st.SearchStrategy[tuple[str, ...]]:
    """What holds each control at the answer: "nothing", or the row that moves with it."""

    def choices(control: int) -> st.SearchStrategy[str]:
        names = [
            "nothing",
            *(name for name, bound in zip(("lower", "upper"), kinds.box, strict=True) if np.isfinite(bound)),
        ]
        names += ["path"] if kinds.path and control == controls - 1 else []
        names += ["below", "above"] if kinds.band != FREE and control == 0 else []
        return st.sampled_from(names)

    return st.tuples(*(choices(control) for control in range(controls)))


def _assemble(sizes: _Sizes, kinds: _Kinds, head: _Head, stages: list[_Stage], degenerate: bool | None) -> Planted:
    """The problem whose answer these numbers are."""
    nx, nu = sizes
    held = np.array([stage.holders for stage in stages])
    if kinds.end:
        held[-1, 0] = "nothing"  # it moves the terminal row
    x, u = _trajectory(head, stages, held, kinds)
    F = np.array([stage.F for stage in stages])
    if kinds.band != FREE:
        F[:, 0, nx] = 1.0
    if kinds.end:
        F[-1, :, nx] = np.eye(nx)[0]
    z, G, E = np.hstack([x[:-1], u]), np.tile(head.G, (kinds.path, 1)), np.tile(head.E, (kinds.end, 1))
    active = _active(held, nx, kinds)
    data = LinearQuadratic.make(
        F,
        [stage.H for stage in stages],
        head.P,
        x[0],
        offset=x[1:] - np.einsum("kij,kj->ki", F, z),
        control_bounds=np.repeat(np.array(kinds.box)[:, None], nu, axis=1),
        state_bounds=np.hstack([np.array(kinds.band)[:, None], np.tile([[-np.inf], [np.inf]], nx - 1)]),
        rows=G,
        limits=z @ G.T + _ROOM * (1.0 - active["path"]),
        end_rows=E,
        end_values=E @ x[-1],
    )
    costates = np.array([head.costate, *(stage.costate for stage in stages)])
    return Planted.make(data, u, costates, active, _multipliers(active, head, stages, degenerate))


def _trajectory(head: _Head, stages: list[_Stage], held: NDArray[Any], kinds: _Kinds) -> tuple[Array, Array]:
    """States (N+1, nx) and controls (N, nu) at the bounds that hold them, and away from all others."""
    x, u = np.array([head.x, *(stage.x for stage in stages)]), np.array([stage.u for stage in stages])
    if kinds.box != FREE:
        u = np.clip(u, -_ROOM, _ROOM)
    for name, bound in zip(("lower", "upper"), kinds.box, strict=True):
        u[held == name] = bound
    x[:, 0] = np.clip(x[:, 0], kinds.band[0] + _ROOM, kinds.band[1] - _ROOM)
    for name, bound in zip(("below", "above"), kinds.band, strict=True):
        x[1:, 0][held[:, 0] == name] = bound
    return x, u


def _active(held: NDArray[Any], nx: int, kinds: _Kinds) -> dict[str, Array]:
    """Which rows are tight; see `Planted`."""
    state = np.zeros((len(held) + 1, nx))
    state[1:, 0] = (held[:, 0] == "above") * 1.0 - (held[:, 0] == "below")
    return {
        "control": (held == "upper") * 1.0 - (held == "lower"),
        "state": state,
        "path": (held[:, held.shape[1] - kinds.path :] == "path") * 1.0,
        "end": np.ones(kinds.end),
    }


def _multipliers(
    active: dict[str, Array], head: _Head, stages: list[_Stage], degenerate: bool | None
) -> dict[str, Array]:
    """Of the sign that each active row allows, and zero elsewhere."""
    sizes, nu = np.array([stage.sizes for stage in stages]), len(stages[0].u)
    if degenerate is not None:
        sizes = np.zeros_like(sizes) if degenerate else np.maximum(sizes, 0.25)
    state = np.zeros_like(active["state"])
    state[1:, 0] = sizes[:, nu]
    return {
        "control": active["control"] * sizes[:, :nu],
        "state": active["state"] * state,
        "path": active["path"] * sizes[:, nu + 1 :],
        "end": active["end"] * head.end_multiplier,
    }
