"""Linear models: x+ - x = W_k' (1, z), z = (x, u) at unit scale, by least squares.

With time variation every step k has its own W_k, pulled towards the W of all steps together: the local models of
guided policy search (Levine and Abbeel 2014), with the pooled fit in the place of their mixture prior. The deviation is
that of Bayesian linear regression, s sqrt(1 + f' G f), with f = (1, z), G the inverse of F'F + ridge, s from residuals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from trajopt.dynamics import DiscreteDynamics
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.learned_dynamics.data import Array, Scale, Transitions
from trajopt.learned_dynamics.model import LearnedDynamics
from trajopt.validation import check, is_number, is_whole


@final
@dataclass(frozen=True, init=False)
class Linear(LearnedDynamics):
    """Dynamics that are affine in state and control, fitted by least squares.

    Parameters
    ----------
    nx, nu, states, controls
        As for `DiscreteDynamics`.
    ridge
        Weight of the squared coefficients, at unit scale of inputs; with time variation, of their distance from the
        pooled ones.
    steps
        Number of steps with coefficients of their own; later steps have the last one's. ``fit`` then needs ``t``. None
        for coefficients that do not vary over time.
    """

    ridge: float
    steps: int | None

    def __init__(
        self,
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
        ridge: float = 0.0,
        steps: int | None = None,
    ) -> None:
        check(ridge, "ridge", "a number >= 0", is_number(ridge) and ridge >= 0.0, "use 0 for none")
        check(steps, "steps", "a whole number of at least 1, or None", steps is None or is_whole(steps, 1))
        super().__init__(nx, nu, states, controls, ridge=float(ridge), steps=steps)

    def _fit(self, data: Transitions, generator: np.random.Generator, callback: Any) -> dict[str, Any]:
        if self.steps is not None and data.t is None:
            raise InvalidProblem(
                f"Linear(steps={self.steps}) got no t, but the number of each transition's step was expected; write "
                "fit(x, u, x_next, t)."
            )
        scale = Scale.of(data.inputs)
        features = np.concatenate([np.ones((len(data), 1)), scale.apply(data.inputs)], axis=1)
        pooled = self._solve(features, data.changes)
        groups = [np.arange(len(data))]
        if self.steps is not None and data.t is not None:
            step = np.minimum(data.t, self.steps - 1)
            groups = [np.flatnonzero(step == k) for k in range(self.steps)]
        weights = np.array([pooled + self._solve(features[g], data.changes[g] - features[g] @ pooled) for g in groups])
        residuals = np.concatenate([data.changes[g] - features[g] @ w for g, w in zip(groups, weights, strict=True)])
        freedom = max(len(data) - len(groups) * features.shape[1], 1)  # an exact fit of few data claims no deviation
        inverses = [np.linalg.pinv(features[g].T @ features[g] + self._penalty(features)) for g in groups]
        return {
            "weights": weights,
            "spread": np.array(inverses),
            "deviation": np.sqrt(np.sum(residuals**2, axis=0) / freedom),
            **scale.arrays("input"),
        }

    def _penalty(self, features: Array) -> Array:
        penalty = self.ridge * np.eye(features.shape[1])
        penalty[0, 0] = 0.0  # the constant is free
        return penalty

    def _solve(self, features: Array, targets: Array) -> Array:
        """Ridge regression as ordinary least squares with added rows; of many solutions the shortest."""
        rows = np.concatenate([features, np.sqrt(self._penalty(features))])
        ends = np.concatenate([targets, np.zeros((features.shape[1], targets.shape[1]))])
        return np.linalg.lstsq(rows, ends, rcond=None)[0]

    def _predict(self, x: Array, u: Array, t: Any) -> tuple[Array, Array]:
        z = Scale.read(self.learned, "input").apply(np.concatenate([x, u], axis=1))
        features = np.concatenate([np.ones((len(z), 1)), z], axis=1)
        step = np.broadcast_to(np.minimum(np.asarray(t, dtype=np.intp), (self.steps or 1) - 1), len(z))
        change = np.einsum("ki,kij->kj", features, self.learned["weights"][step])
        leverage = np.einsum("ki,kij,kj->k", features, self.learned["spread"][step], features)
        return x + change, np.sqrt(1.0 + leverage)[:, None] * self.learned["deviation"]

    def matrices(self, t: int = 0) -> tuple[Array, Array, Array]:
        """Return A: (nx, nx), B: (nx, nu) and c: (nx,) of x+ = A x + B u + c at step t."""
        self._require_fit()
        scale = Scale.read(self.learned, "input")
        weights = self.learned["weights"][min(int(t), (self.steps or 1) - 1)]
        slopes = (weights[1:] / scale.deviation[:, None]).T
        return slopes[:, : self.nx] + np.eye(self.nx), slopes[:, self.nx :], weights[0] - slopes @ scale.mean

    @property
    def timed(self) -> bool:
        """Whether the coefficients vary from step to step."""
        return self.steps is not None

    def linearise(self, x: Array, u: Array, t: float, p: Any) -> tuple[Array, Array]:
        """Return A and B for every row; exact. See `BatchDynamics.linearise`."""
        by_x, by_u, _ = self.matrices(int(t))
        return np.broadcast_to(by_x, (len(x), *by_x.shape)).copy(), np.broadcast_to(by_u, (len(x), *by_u.shape)).copy()

    def to_traced(self) -> DiscreteDynamics:
        """Return x+ = A x + B u + c; see `LearnedDynamics.to_traced`."""
        if self.steps is not None:
            raise UnsupportedProblem(
                f"Linear(steps={self.steps}) was asked for one expression, but its coefficients vary from step to step;"
                " use it as it is, or fit one with steps=None."
            )
        by_x, by_u, constant = self.matrices()
        return DiscreteDynamics(lambda x, u: by_x @ x + by_u @ u + constant, states=self.states, controls=self.controls)

    def _expected(self, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        size, count = self.nx + self.nu, self.steps or 1
        return {
            "weights": (count, size + 1, self.nx),
            "spread": (count, size + 1, size + 1),
            "deviation": (self.nx,),
            "input_mean": (size,),
            "input_deviation": (size,),
        }
