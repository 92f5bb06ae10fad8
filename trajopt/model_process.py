"""A decision process that is known through a model: functions of embeddings, for many states at a time.

A learned model knows no rules. It makes an embedding of what is observed, and says of an embedding and an action what
follows from it, in the sense of `trajopt.decision_process`: q = reward + discount * v of the embedding that follows.
Whatever happens in the embeddings, a search asks for values, priors and rewards only (value equivalence).

References: Schrittwieser et al., Mastering Atari, Go, chess and shogi by planning with a learned model, Nature 588
(2020); mctx (Google DeepMind, Apache-2.0), whose ``root`` and ``recurrent_fn`` these functions are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem
from trajopt.signature import count_arguments
from trajopt.validation import check, check_whole

Array = NDArray[np.float64]


class Prediction(NamedTuple):
    """What a model says of B embeddings.

    Attributes
    ----------
    embeddings
        (B, ...) of plain numbers.
    logits
        (B, actions) unnormalised logarithms of the prior; -inf excludes an action.
    values
        (B,) for the player to move.
    """

    embeddings: np.ndarray
    logits: Array
    values: Array


class Steps(NamedTuple):
    """What a model says of B steps: rewards and discounts (B,), and the `Prediction` of where they lead."""

    rewards: Array
    discounts: Array
    after: Prediction


@final
@dataclass(frozen=True, eq=False)
class ModelProcess:
    """A decision process given by a model, for search over what was learned.

    All functions take and return NumPy arrays; `trajopt.learned_dynamics.torch_process` makes them of PyTorch modules.
    A number that is not finite excludes what it is said of: the action whose logit it is, or the step.

    Parameters
    ----------
    root
        Function observations (B, ...) -> (embeddings (B, ...), logits (B, actions), values (B,)).
    dynamics
        Function embeddings (B, ...), actions (B,) -> (embeddings, rewards (B,), discounts (B,), logits, values).
    actions
        How many actions there are.
    name
        For messages and tables.

    Raises
    ------
    InvalidProblem
        When a function takes other arguments, or there are no actions.
    """

    root: Callable[[Any], Any]
    dynamics: Callable[[Any, Any], Any]
    actions: int
    name: str | None = None

    def __post_init__(self) -> None:
        check_whole(self.actions, "actions", 1)
        for what, function, count in (("root", self.root, 1), ("dynamics", self.dynamics, 2)):
            good = callable(function) and count_arguments(function) == count
            check(function, what, f"a function of {count} argument{'s' * (count > 1)}", good)

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.name or "the model"

    @property
    def initial_state(self) -> None:
        """None: a model knows what follows from what was observed, but not where all begins."""

    def check_state(self, state: ArrayLike | None) -> np.ndarray:
        """An observation, if it is one.

        Raises
        ------
        InvalidProblem
            When it is missing or no array of plain numbers.
        """
        observation = np.asarray(state)
        if state is None or observation.dtype.kind not in "biuf":
            raise InvalidProblem(
                f"state={state!r} was given with {self.label}, but an observation, an array of plain numbers, was "
                "expected: a model does not know where things begin; pass one."
            )
        return observation

    def predict(self, observations: ArrayLike) -> Prediction:
        """Embeddings, logits and values of observations (B, ...).

        Raises
        ------
        InvalidProblem
            When the model returns something else.
        """
        given = np.asarray(observations)
        return self._prediction("root", self._call("root", self.root, given, count=3), len(given), None)

    def step(self, embeddings: np.ndarray, actions: NDArray[np.int64]) -> Steps:
        """What follows from actions (B,) at embeddings (B, ...).

        Raises
        ------
        InvalidProblem
            When the model returns something else.
        """
        after, rewards, discounts, logits, values = self._call("dynamics", self.dynamics, embeddings, actions, count=5)
        count = len(actions)
        return Steps(
            self._numbers("dynamics", "rewards", rewards, (count,)),
            self._numbers("dynamics", "discounts", discounts, (count,)),
            self._prediction("dynamics", (after, logits, values), count, embeddings),
        )

    def _call(self, what: str, function: Callable[..., Any], *arguments: Any, count: int) -> tuple[Any, ...]:
        try:
            returned = function(*arguments)
        except InvalidProblem:
            raise
        except Exception as error:
            shapes = ", ".join(str(argument.shape) for argument in arguments)
            raise InvalidProblem(
                f"{what} of {self.label} raised {type(error).__name__}: {error}, for arrays of shape {shapes}; correct "
                "it."
            ) from error
        if not isinstance(returned, tuple | list) or len(returned) != count:
            names = {3: "(embeddings, logits, values)", 5: "(embeddings, rewards, discounts, logits, values)"}
            raise InvalidProblem(
                f"{what} of {self.label} returned {type(returned).__name__}, but {names[count]} was expected; correct "
                "it."
            )
        return tuple(returned)

    def _prediction(self, what: str, returned: tuple[Any, ...], count: int, before: np.ndarray | None) -> Prediction:
        embeddings = np.asarray(returned[0])
        fits = embeddings.shape[:1] == (count,) and embeddings.dtype.kind in "biuf"
        if before is not None:
            fits = fits and embeddings.shape == before.shape and embeddings.dtype == before.dtype
        if not fits:
            expected = f"{count} of plain numbers" if before is None else f"shape {before.shape} and {before.dtype}"
            raise InvalidProblem(
                f"{what} of {self.label} returned embeddings of shape {embeddings.shape} and type {embeddings.dtype}, "
                f"but {expected} was expected; correct it."
            )
        logits = self._numbers(what, "logits", returned[1], (count, self.actions))
        return Prediction(embeddings, logits, self._numbers(what, "values", returned[2], (count,)))

    def _numbers(self, what: str, name: str, given: Any, shape: tuple[int, ...]) -> Array:
        found = np.asarray(given)
        if found.shape != shape or found.dtype.kind not in "biuf":
            raise InvalidProblem(
                f"{what} of {self.label} returned {name} of shape {found.shape} and type {found.dtype}, but numbers of "
                f"shape {shape} were expected; correct it."
            )
        return found.astype(np.float64)


def probabilities_of(logits: Array) -> Array:
    """(B, A) prior of logits, zero where an action is excluded and NaN where its logit is no number."""
    faulty = np.isnan(logits) | (logits == np.inf)
    usable = np.where(faulty, -np.inf, logits)
    greatest = usable.max(axis=1, keepdims=True)
    weights = np.exp(usable - np.where(np.isfinite(greatest), greatest, 0.0))
    total = weights.sum(axis=1, keepdims=True)
    prior = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0.0)
    prior[faulty] = np.nan
    return prior
