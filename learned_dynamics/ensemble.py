"""Probabilistic ensembles (PETS; Chua, Calandra, McAllister and Levine 2018): networks that predict normals.

Each of E networks gives the mean and variance of the change of state. Variance is what no data would remove; the
disagreement of the members is what more data would. Every rollout carries both, in one of five ways:

    "ts1"              each row of each step draws a member, and then from its normal;
    "tsinf"            each row keeps one member over the whole horizon, and draws from its normals;
    "moment_matching"  each step draws from the normal with the mean and variance of the mixture of all members;
    "expectation"      each step takes the mean of the members' means; nothing is drawn;
    "mean_sample"      each row keeps one member, and takes its means: disagreement alone.

Rows are dealt to the members at random and evenly. Only the elites, the members with the least error on the hold-out,
plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, final

import numpy as np
import torch
from numpy.typing import ArrayLike

from trajopt.dynamics import DiscreteDynamics
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.learned_dynamics.batched_network import BatchedNetwork, as_layers, initial_weights, weight_shapes
from trajopt.learned_dynamics.data import (
    Array,
    Scale,
    Transitions,
    check_angles,
    check_columns,
    check_transitions,
    unrolled,
)
from trajopt.learned_dynamics.ensemble_rollout import EnsembleRollout
from trajopt.learned_dynamics.expression import Layers, Weights, traced_network, weight_parameters
from trajopt.learned_dynamics.extras import one_thread
from trajopt.learned_dynamics.losses import INITIAL_BOUNDS, GaussianLikelihood
from trajopt.learned_dynamics.model import LearnedDynamics
from trajopt.learned_dynamics.network import check_shape, curvatures, in_own_units, jacobians, scale_shapes
from trajopt.learned_dynamics.torch_dynamics import pullback_of
from trajopt.learned_dynamics.training import Epoch, Schedule, train
from trajopt.validation import check, check_choice, check_whole, is_whole

Propagation = Literal["ts1", "tsinf", "moment_matching", "expectation", "mean_sample"]

_PROPAGATIONS = ("ts1", "tsinf", "moment_matching", "expectation", "mean_sample")


@final
@dataclass(frozen=True, init=False)
class ProbabilisticEnsemble(LearnedDynamics):
    """Dynamics learned by an ensemble of networks that predict normals.

    Parameters
    ----------
    nx, nu, states, controls
        As for `DiscreteDynamics`, of what is observed. With heads the state gets the entries ``return`` and ``alive``
        behind them.
    members, elites
        How many networks are trained, and how many of them plan; None for all.
    hidden, activation
        Widths of the hidden layers, and "silu", "tanh" or "relu" between them.
    propagation
        How uncertainty is carried along a rollout, see the module.
    reward
        Whether a reward is learned: ``return`` sums it up while the episode is alive, so that its maximum is a problem
        with the terminal cost ``-x[-2]`` or ``-x[-1]``.
    termination
        Whether the end of episodes is learned: ``alive``, 1 at the start, is the probability that none has happened.
    angles
        Numbers of states that are angles: the networks see their sines and cosines.
    bootstrap
        Whether every member draws its transitions with replacement, or sees all of them in an order of its own.
    epochs, patience, batch, learning_rate, weight_decay, holdout
        Of the training, see `trajopt.learned_dynamics.training.Schedule`. Rate, decay, batch and patience are those
        of Pineda et al. (2021) for a cart-pole; small networks learn well at three times that rate.
    """

    members: int
    elites: int | None
    hidden: tuple[int, ...]
    activation: str
    propagation: str
    reward: bool
    termination: bool
    angles: tuple[int, ...]
    bootstrap: bool
    epochs: int
    patience: int
    batch: int
    learning_rate: float
    weight_decay: float
    holdout: float

    def __init__(
        self,
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
        members: int = 5,
        elites: int | None = None,
        hidden: Sequence[int] = (200, 200, 200),
        activation: str = "silu",
        propagation: Propagation = "tsinf",
        reward: bool = False,
        termination: bool = False,
        angles: Sequence[int] = (),
        bootstrap: bool = True,
        epochs: int = 200,
        patience: int = 50,
        batch: int = 32,
        learning_rate: float = 1e-3,
        weight_decay: float = 5e-5,
        holdout: float = 0.1,
    ) -> None:
        check_shape(hidden, activation)
        Schedule(epochs, patience, batch, learning_rate, weight_decay, holdout, bootstrap)
        _check_members(members, elites, propagation)
        super().__init__(
            nx,
            nu,
            states,
            controls,
            members=members,
            elites=elites,
            hidden=tuple(hidden),
            activation=activation,
            propagation=propagation,
            reward=bool(reward),
            termination=bool(termination),
            angles=tuple(angles),
            bootstrap=bool(bootstrap),
            epochs=epochs,
            patience=patience,
            batch=batch,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            holdout=holdout,
            stochastic=propagation != "expectation",
        )
        check_angles(self.angles, self.nx)
        heads = ("return",) * bool(reward) + ("alive",) * bool(termination)
        object.__setattr__(self, "states", self.states + heads)

    @property
    def observed(self) -> int:
        """Number of states that the networks see: all but ``return`` and ``alive``."""
        return self.nx - self.reward - self.termination

    @property
    def _gaussians(self) -> int:
        """Number of outputs with a normal: the observed states, and the reward."""
        return self.observed + self.reward

    @property
    def _sizes(self) -> tuple[int, ...]:
        return (self.observed + len(self.angles) + self.nu, *self.hidden, 2 * self._gaussians + self.termination)

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"states": self.states[: self.observed]}

    def with_propagation(self, propagation: Propagation) -> Self:
        """Return the same model with another way to carry uncertainty along."""
        made = type(self)(**(self._settings() | {"propagation": propagation}))
        return made._with(self.learned) if self.learned else made

    def fit(
        self,
        x: ArrayLike,
        u: ArrayLike,
        x_next: ArrayLike,
        t: ArrayLike | None = None,
        *,
        reward: ArrayLike | None = None,
        terminated: ArrayLike | None = None,
        seed: int = 0,
        callback: Callable[[Epoch], object] | None = None,
    ) -> Self:
        """Return the model fitted to n transitions, from the weights that it has; see `LearnedDynamics.fit`.

        Parameters
        ----------
        x, u, x_next, t, seed, callback
            As for `LearnedDynamics.fit`; states without ``return`` and ``alive``.
        reward
            (n,) rewards of the transitions, where they are learned.
        terminated
            (n,) whether the episode ended there, where that is learned. An episode that was cut off did not end.
        """
        data = check_transitions(self.observed, self.nu, x, u, x_next, t)
        data = replace(
            data,
            reward=_check_head("reward", reward, len(data), wanted=self.reward),
            terminated=_check_head("terminated", terminated, len(data), wanted=self.termination),
        )
        return self._with(self._fit(data, np.random.default_rng(seed), callback))

    def _fit(self, data: Transitions, generator: np.random.Generator, callback: Any) -> dict[str, Any]:
        heads = [] if data.reward is None else [data.reward[:, None]]
        columns = np.concatenate([data.changes, *heads], axis=1)
        features = unrolled(data.inputs, self.angles)
        inputs, targets = Scale.of(features), Scale.of(columns)
        start = dict(self.learned) or (
            initial_weights(self._sizes, self.members, generator)
            | {"bounds": np.repeat(np.array(INITIAL_BOUNDS)[:, None], self._gaussians, axis=1)}
        )
        network = BatchedNetwork(start, self.activation)
        loss = GaussianLikelihood(torch.tensor(start["bounds"], dtype=torch.float32), termination=self.termination)
        ends = [] if data.terminated is None else [data.terminated[:, None]]
        y = np.concatenate([targets.apply(columns), *ends], axis=1).astype(np.float32)
        z = inputs.apply(features).astype(np.float32)
        schedule = Schedule(
            self.epochs,
            self.patience,
            self.batch,
            self.learning_rate,
            self.weight_decay,
            self.holdout,
            self.bootstrap,
        )
        errors = train(network, loss, z, y, schedule, generator, callback)
        order = np.argsort(errors, kind="stable")[: self.elites or self.members]
        learned = {"bounds": loss.bounds.numpy().copy(), "errors": errors, "elite_members": np.sort(order)}
        return network.arrays() | learned | inputs.arrays("input") | targets.arrays("target")

    def _engine(self) -> EnsembleRollout:
        """The elites as tensors, made once."""
        if "_kept_engine" not in self.__dict__:
            learned = self.learned
            elites = learned["elite_members"].astype(np.intp)
            engine = EnsembleRollout(
                BatchedNetwork(learned, self.activation, elites),
                learned["bounds"],
                Scale.read(learned, "input"),
                Scale.read(learned, "target"),
                angles=self.angles,
                reward=self.reward,
                termination=self.termination,
            )
            object.__setattr__(self, "_kept_engine", engine)
        return self.__dict__["_kept_engine"]

    def predict_members(self, x: ArrayLike, u: ArrayLike) -> tuple[Array, Array]:
        """Return means and deviations of every elite, (elites, K, observed) each; arguments as for `predict`."""
        self._require_fit()
        states = check_columns("x", x, None, self.observed)
        mean, deviation, _ = self._engine().members(states, check_columns("u", u, len(states), self.nu))
        return states + mean[..., : self.observed], deviation[..., : self.observed]

    def predict(self, x: ArrayLike, u: ArrayLike, t: ArrayLike = 0) -> tuple[Array, Array]:
        """Return mean and deviation of the mixture of the elites, (K, observed) each; see `LearnedDynamics.predict`."""
        self._require_fit()
        states = check_columns("x", x, None, self.observed)
        return self._predict(states, check_columns("u", u, len(states), self.nu), t)

    def _predict(self, x: Array, u: Array, t: Any) -> tuple[Array, Array]:
        mean, deviation, _ = self._engine().members(x, u)
        mean, deviation = x + mean[..., : self.observed], deviation[..., : self.observed]
        return mean.mean(axis=0), np.sqrt(np.mean(deviation**2, axis=0) + mean.var(axis=0))

    def predict_heads(self, x: ArrayLike, u: ArrayLike) -> tuple[Array, Array]:
        """Return the expected reward and the probability of termination of transitions, (K,) each; NaN if not learned.

        Parameters
        ----------
        x, u
            (K, observed) states and (K, nu) controls.
        """
        self._require_fit()
        states = check_columns("x", x, None, self.observed)
        mean, _, ended = self._engine().members(states, check_columns("u", u, len(states), self.nu))
        missing = np.full(len(states), np.nan)
        return mean[..., -1].mean(axis=0) if self.reward else missing, ended.mean(
            axis=0
        ) if self.termination else missing

    def step(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the next states; with "tsinf" every call draws members anew. See `BatchDynamics.step`."""
        return self.rollout(x, u[:, None], t, p, generator)[:, 1]

    def rollout(self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator) -> Array:
        """Return the states of K rollouts; under "tsinf" a row keeps its member. See `BatchDynamics.rollout`."""
        self._require_fit()
        with one_thread():
            return self._engine().rollout(x, u, self.propagation, generator)

    def pullback(
        self, x: Array, u: Array, t: float, p: Any, generator: np.random.Generator
    ) -> tuple[Array, Callable[[Array], Array]]:
        """Return the states and their derivatives along the same members and draws; see `BatchDynamics.pullback`."""
        self._require_fit()
        with one_thread(), torch.enable_grad():
            controls = torch.tensor(u, requires_grad=True)
            states = self._engine().tracked(x, controls, self.propagation, generator)
        return pullback_of(states, controls)

    def linearise(self, x: Array, u: Array, t: float, p: Any) -> tuple[Array, Array]:
        """Return derivatives of the mean under "expectation", exact to float32; see `BatchDynamics.linearise`."""
        self._require_fit()
        if self.stochastic or self.observed < self.nx:
            return super().linearise(x, u, t, p)
        return jacobians(self._engine().expected_change, x, u)

    def curvature(self, x: Array, u: Array, t: float, p: Any, weights: Array) -> Array:
        """Return second derivatives of the mean under "expectation"; see `BatchDynamics.curvature`."""
        self._require_fit()
        if self.stochastic or self.observed < self.nx:
            return super().curvature(x, u, t, p, weights)
        return curvatures(self._engine().expected_change, x, u, weights)

    def to_traced(self, *, weights: Weights = "constants") -> DiscreteDynamics:
        """Return the elites' mean as dynamics that are traced; see `TorchDynamics.to_traced`."""
        return traced_network(
            self._layers(), self.states, self.controls, delta=True, weights=weights, angles=self.angles
        )

    def weights(self) -> dict[str, Array]:
        """Return weights and biases by the names that ``to_traced(weights="parameters")`` reads."""
        return weight_parameters(self._layers())

    def _layers(self) -> Layers:
        self._require_fit()
        if self.observed < self.nx:
            raise UnsupportedProblem(
                "an ensemble with learned reward or termination was asked for an expression, but only states have one;"
                " use it as it is, or fit one without heads."
            )
        elites = self.learned["elite_members"].astype(int).tolist()
        layers = as_layers(self.learned, self.activation, elites, self.observed)
        return in_own_units(layers, Scale.read(self.learned, "input"), Scale.read(self.learned, "target"))

    def _expected(self, arrays: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
        count = self.elites or self.members
        if not np.isin(arrays["elite_members"], np.arange(self.members)).all():
            raise ValueError("its elites are no members")
        own = {"bounds": (2, self._gaussians), "errors": (self.members,), "elite_members": (count,)}
        return weight_shapes(self._sizes, self.members) | own | scale_shapes(self._sizes[0], self._gaussians)


def _check_members(members: int, elites: int | None, propagation: str) -> None:
    check_whole(members, "members", 1)
    possible = elites is None or (is_whole(elites, 1) and elites <= members)
    check(elites, "elites", f"a whole number from 1 to {members}, the members, or None", possible)
    check_choice(propagation, "propagation", _PROPAGATIONS)


def _check_head(name: str, values: ArrayLike | None, count: int, *, wanted: bool) -> Array | None:
    """The data of a head as (count,) numbers, None where it is not learned."""
    setting = {"reward": "reward", "terminated": "termination"}[name]
    if (values is not None) != wanted:
        given, expected = ("no " + name, "some") if wanted else (name, "none")
        raise InvalidProblem(
            f"fit got {given}, but {expected} was expected of an ensemble with {setting}={wanted}; change one of them."
        )
    return None if values is None else check_columns(name, np.reshape(values, (-1, 1)), count, 1)[:, 0]
