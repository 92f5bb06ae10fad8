"""A Gymnasium environment as a decision process, for tree search and dynamic programming over its own rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem
from trajopt.validation import check, is_number

if TYPE_CHECKING:
    from trajopt.simulators.gymnasium_dynamics import GymnasiumDynamics

Array = NDArray[np.float64]

_SEEDS = 2.0**53
"""Numbers in [0, 1) that a float tells apart: as many random steps are there of each state and action."""


def process_of_environment(
    dynamics: GymnasiumDynamics, actions: ArrayLike | None, *, random: bool | None, discount: float, seed: int
) -> DecisionProcess:
    """See `GymnasiumDynamics.to_process`."""
    check(discount, "discount", "a number above 0 and up to 1", is_number(discount) and 0.0 < discount <= 1.0)
    check(random, "random", "True, False or None", random is None or isinstance(random, bool))
    choices = _choices(dynamics, actions)
    reward, ended = dynamics.reward, dynamics.ended

    def advance(state: Array, action: int, generator: np.random.Generator) -> tuple[Array, float, float]:
        following = dynamics.step(state[None], choices[action][None], 0.0, None, generator)[0]
        gain, over = float(following[reward]), following[ended] > 0.5
        following[reward] = 0.0  # what was collected is the edge's, so that equal states are equal
        return following, gain, 0.0 if over else discount

    def step(state: Array, action: int) -> tuple[Array, float, float]:
        return advance(state, action, np.random.default_rng(0))

    def random_step(state: Array, action: int, uniform: float) -> tuple[Array, float, float]:
        return advance(state, action, np.random.default_rng(int(uniform * _SEEDS)))

    drawn = dynamics.stochastic if random is None else random
    rule: Callable[..., Any] = random_step if drawn else step
    name = getattr(getattr(dynamics.env, "spec", None), "id", None)
    start = dynamics.reset(seed)
    return DecisionProcess(rule, start, len(choices), name=name, compiled=False)


def _choices(dynamics: GymnasiumDynamics, actions: ArrayLike | None) -> Array:
    """(A, nu) actions to choose from."""
    count = getattr(dynamics.env.action_space, "n", None)
    if actions is None and count is None:
        raise InvalidProblem(
            f"to_process got no actions, but the environment has a continuous action of {dynamics.nu} numbers; give "
            f"actions of shape (A, {dynamics.nu}) to choose from."
        )
    given = np.arange(int(count or 0), dtype=float)[:, None] if actions is None else np.array(actions, float)
    given = given[:, None] if given.ndim == 1 and dynamics.nu == 1 else given
    shaped = given.ndim == 2 and given.shape[1] == dynamics.nu and len(given) > 0 and bool(np.isfinite(given).all())
    check(actions, "actions", f"finite numbers of shape (A, {dynamics.nu})", shaped)
    return given
