"""Dynamics that are not traced: a step for many states at once, x+ = f(x, u), whatever computes it.

A simulator, a learned model or any Python function is taken as it is. Solvers that simulate call
`BatchDynamics.rollout` for all their candidates together; solvers that differentiate call `BatchDynamics.linearise`,
which subclasses with exact derivatives replace. Time is discrete: the step is part of the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from trajopt.dynamics import Dynamics
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.signature import BATCH, UserFunction

Array = NDArray[np.float64]

DIFFERENCE = float(np.cbrt(np.finfo(float).eps))
"""Step of central differences, relative to max(1, |x|): it balances truncation, step^2, with rounding, eps / step."""


@dataclass(frozen=True, init=False)
class BatchDynamics(Dynamics, ABC):
    """Discrete dynamics that advance a batch of states by one step.

    Attributes
    ----------
    stochastic
        Whether a step draws random numbers. They come from the generator that it is given, and from nowhere else.
    """

    stochastic: bool
    continuous: ClassVar[bool] = False

    @property
    def timed(self) -> bool:
        """Whether a step may depend on its number; where it does not, all steps of a trajectory are one batch."""
        return True

    @abstractmethod
    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the next states, (K, nx).

        Parameters
        ----------
        x, u
            (K, nx) states and (K, nu) controls. The rows are independent of each other.
        t
            Number of the step.
        p
            The problem's parameters by name.
        generator
            Where random numbers come from; only stochastic dynamics may use it.
        """

    def rollout(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the states of K rollouts, (K, N+1, nx), the first as given.

        Parameters
        ----------
        x, u
            (K, nx) initial states and (K, N, nu) controls.
        t
            Number of the first step.
        p, generator
            As for `step`.
        """
        states = np.empty((len(x), u.shape[1] + 1, self.nx))
        states[:, 0] = x
        for k in range(u.shape[1]):
            states[:, k + 1] = self.step(states[:, k], u[:, k], t + k, p, generator)
        return states

    def pullback(
        self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator
    ) -> tuple[Array, Callable[[Array], Array]]:
        """Return the states of `rollout`, and what takes gradients by them, (K, N+1, nx), to those by u, (K, N, nu).

        Here it is the adjoint of the linearised steps, one sweep backwards; arguments as for `rollout`. Subclasses
        whose steps draw random numbers differentiate them along what they drew.

        Raises
        ------
        UnsupportedProblem
            When the dynamics are stochastic and have no derivatives of their own.
        """
        states = self.rollout(x, u, t, p, generator)
        steps = [self.linearise(states[:, k], u[:, k], t + k, p) for k in range(u.shape[1])]

        def pull(by_states: Array) -> Array:
            by_controls, costate = np.empty(u.shape), by_states[:, -1]
            for k in range(u.shape[1] - 1, -1, -1):
                by_x, by_u = steps[k]
                by_controls[:, k] = np.einsum("kij,ki->kj", by_u, costate)
                costate = by_states[:, k] + np.einsum("kij,ki->kj", by_x, costate)
            return by_controls

        return states, pull

    def linearise(self, x: Array, u: Array, t: float, p: Any) -> tuple[Array, Array]:
        """Return the derivatives of the step by state and control, (K, nx, nx) and (K, nx, nu).

        Here they are central differences, accurate to about 1e-10 relative to the third derivative. All points are
        stepped in one batch.

        Raises
        ------
        UnsupportedProblem
            When the dynamics are stochastic.
        """
        if self.stochastic:
            raise UnsupportedProblem(
                f"derivatives of {type(self).__name__} were asked for, but its steps are random, which differences "
                "would amplify; use a solver without derivatives, such as MPPI."
            )
        z = np.concatenate([x, u], axis=1)
        count, size = z.shape
        steps = DIFFERENCE * np.maximum(1.0, np.abs(z))
        shifts = steps[:, None, :] * np.eye(size)
        points = np.concatenate([z[:, None] + shifts, z[:, None] - shifts]).reshape(-1, size)
        generator = np.random.default_rng(0)
        ends = self.step(points[:, : self.nx], points[:, self.nx :], t, p, generator).reshape(2, count, size, self.nx)
        jacobian = ((ends[0] - ends[1]) / (2.0 * steps[..., None])).transpose(0, 2, 1)
        return jacobian[..., : self.nx], jacobian[..., self.nx :]

    def curvature(self, x: Array, u: Array, t: float, p: Any, weights: Array) -> Array:
        """Return the second derivatives of ``weights @ step`` by state and control together, (K, nx+nu, nx+nu).

        Here they are central differences of `linearise`, of which all points are one batch. They are for second-order
        methods, whose answers do not depend on them: what differences lose costs iterations.

        Parameters
        ----------
        x, u, t, p
            As for `step`.
        weights
            (K, nx) how much each entry of the next state counts.
        """
        z = np.concatenate([x, u], axis=1)
        count, size = z.shape
        steps = DIFFERENCE * np.maximum(1.0, np.abs(z))
        shifts = steps[:, None, :] * np.eye(size)
        points = np.concatenate([z[:, None] + shifts, z[:, None] - shifts]).reshape(-1, size)
        jacobians = np.concatenate(self.linearise(points[:, : self.nx], points[:, self.nx :], t, p), axis=2)
        slopes = np.einsum("skdij,ki->skdj", jacobians.reshape(2, count, size, self.nx, size), weights)
        half = 0.25 * (slopes[0] - slopes[1]) / steps[..., None]
        return half + half.transpose(0, 2, 1)

    def step_along(self, x: Array, u: Array, t: Array, p: Any) -> Array:
        """Return the next states of N points of a trajectory, (N, nx), at the steps of numbers t: (N,).

        The dynamics must not be random; arguments else as for `step`.
        """
        generator = np.random.default_rng(0)
        return self._along(t, lambda rows, number: (self.step(x[rows], u[rows], number, p, generator),))[0]

    def linearise_along(self, x: Array, u: Array, t: Array, p: Any) -> tuple[Array, Array]:
        """As `linearise`, at N points of a trajectory; see `step_along`."""
        by_x, by_u = self._along(t, lambda rows, number: self.linearise(x[rows], u[rows], number, p))
        return by_x, by_u

    def curvature_along(self, x: Array, u: Array, t: Array, p: Any, weights: Array) -> Array:
        """As `curvature`, at N points of a trajectory; see `step_along`."""
        return self._along(t, lambda rows, number: (self.curvature(x[rows], u[rows], number, p, weights[rows]),))[0]

    def _along(self, t: Array, evaluate: Callable[[slice, float], tuple[Array, ...]]) -> tuple[Array, ...]:
        """Evaluate at all steps of a trajectory: in one batch, or one by one where their number matters."""
        if not self.timed:
            return evaluate(slice(None), float(t[0]))
        parts = [evaluate(slice(k, k + 1), float(number)) for k, number in enumerate(t)]
        return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


@final
@dataclass(frozen=True, init=False)
class BlackBoxDynamics(BatchDynamics):
    """Dynamics given by any function that advances a batch of states by one step.

    Parameters
    ----------
    step
        Function (x, u[, t][, p][, rng]) of x: (K, nx) and u: (K, nu) that returns the next states, (K, nx). It runs as
        it is, so it may branch, loop and call anything; row i of the result may depend on rows i alone. t is the number
        of the step, p holds the parameters by name, rng is a `numpy.random.Generator`: naming it makes the dynamics
        stochastic.
    nx, nu
        Numbers of states and controls; each may be left out where names are given.
    states, controls
        Names of the entries of x and u.

    Raises
    ------
    InvalidProblem
        When neither a size nor names are given, or they disagree; later, when the function returns another shape.
    """

    function: UserFunction

    def __init__(
        self,
        step: Callable[..., Any],
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
    ) -> None:
        super().__init__(nx, nu, states=states, controls=controls)
        object.__setattr__(self, "function", UserFunction.read(step, BATCH, "dynamics"))
        object.__setattr__(self, "stochastic", "rng" in self.function.arguments)

    @property
    def timed(self) -> bool:
        """Whether the function names t."""
        return "t" in self.function.arguments

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Call the function on copies, which it may overwrite; see `BatchDynamics.step`."""
        with np.errstate(all="ignore"):
            result = self.function({"x": x.copy(), "u": u.copy(), "t": t, "p": p, "rng": generator})
        return check_batch(result, x.shape)


def check_batch(result: Any, shape: tuple[int, ...]) -> Array:
    """Return what a step gave as an array of ``shape``, or say what is wrong with it."""
    try:
        states = np.asarray(result, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidProblem(
            f"the dynamics returned a {type(result).__name__}, but an array of numbers of shape {shape} was expected; "
            "return one row for each row of x."
        ) from error
    if states.shape != shape:
        raise InvalidProblem(
            f"the dynamics returned shape {states.shape}, but {shape} was expected, one row for each row of x; "
            "correct the shape."
        )
    return states
