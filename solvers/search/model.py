"""Search over a model: its embeddings are the states of the trees, and it takes the steps from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import UnsupportedProblem
from trajopt.lowering.rules import Entry
from trajopt.model_process import ModelProcess, Prediction, Steps, probabilities_of

Array = NDArray[np.float64]

_NOWHERE = Entry(0, None, [])
"""In place of a rule: kernels leave to others what has no address."""


@dataclass(frozen=True)
class NoRules:
    """What a search asks of compiled rules, where there are none."""

    width: int
    advance_entry: Entry = _NOWHERE
    weigh_entry: Entry = _NOWHERE


class EmbeddedProcess:
    """The embeddings of a model as states, seen from B roots; to a search it is what a `DecisionProcess` is.

    Attributes
    ----------
    roots
        What the model says of the roots.
    """

    returns = None
    chance = None
    render = None
    action_names = None
    random_step = False
    outcomes = 0

    def __init__(self, model: ModelProcess, roots: Prediction) -> None:
        self.model, self.roots = model, roots
        self.actions, self.label = model.actions, model.label
        self.shape, self.dtype = roots.embeddings.shape[1:], roots.embeddings.dtype
        self.rules = NoRules(model.actions)

    @property
    def possible(self) -> NDArray[np.bool_]:
        """(B, actions) what the model does not exclude in the roots; where no logit is finite, those not -inf."""
        finite = np.isfinite(self.roots.logits)
        return np.where(finite.any(axis=1, keepdims=True), finite, ~(self.roots.logits == -np.inf))

    def step(self, embeddings: np.ndarray, actions: NDArray[np.int64]) -> tuple[Steps, Array]:
        """Steps and the priors of where they lead; one that leads to no finite embedding has no reward either."""
        steps = self.model.step(embeddings, actions)
        after = steps.after.embeddings
        if after.dtype.kind == "f":
            lost = ~np.isfinite(after.reshape(len(after), -1)).all(axis=1)
            steps = steps._replace(rewards=np.where(lost, np.nan, steps.rewards))
        return steps, probabilities_of(steps.after.logits)

    def check_state(self, state: ArrayLike) -> np.ndarray:
        """An embedding."""
        return np.asarray(state, self.dtype)

    def legal_actions(self, state: ArrayLike) -> NDArray[np.bool_]:
        """(actions,) all of them: a model says what it excludes where it was asked, and the tree keeps that."""
        return np.ones(self.actions, np.bool_)

    def outcome_probabilities(self, state: ArrayLike) -> Array:
        """No outcomes: in a model nature does not move."""
        return np.zeros(0)

    def apply(self, state: ArrayLike, action: int) -> Any:
        """Refuse to go on from a tree: what was observed since says more than the model."""
        raise UnsupportedProblem(
            f"the tree of {self.label} was to be moved on, but a search over a model begins from what is observed; "
            "call decide with the new observation."
        )
