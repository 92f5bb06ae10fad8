"""PETS: probabilistic ensembles with trajectory sampling, an agent that learns a model and plans in it.

    collect   some trials under random controls;
    repeat    fit      an ensemble of networks to all transitions (x, u, x'), from the weights that it has;
              plan     at every step of a trial, from the measured state, with CEM or iCEM: each plan u is valued by P
                       particles, each of which is led by one member of the ensemble (TS-infinity, or TS1),

                           J(u) = 1/P sum_p sum_{k < H} r(x_k^p, u_k, x_{k+1}^p),

                       and the next plan starts from this one, moved forwards (`trajopt.MPC`);
              act      send the first control, and keep the transition.

Where data are missing the members disagree, particles spread, and plans that count on luck are worth less. The reward
is that of a problem's cost, a function, or a head of the model; so is the end of episodes.

What differs from the paper: iCEM in place of CEM, smaller networks that stop training when the hold-out stops to get
better, and a learned end. Everything random follows from the seed and the number of the trial, so that a learning that
was killed goes on from its last trial to the same bits.

Reference: Chua, Calandra, McAllister, Levine, Deep Reinforcement Learning in a Handful of Trials using Probabilistic
Dynamics Models, NeurIPS 2018; Pineda et al., MBRL-Lib, 2021; Pinneri et al., CoRL 2020 (iCEM).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem
from trajopt.learned_dynamics.agent_files import SavedAgent, read_agent, write_agent
from trajopt.learned_dynamics.ensemble import ProbabilisticEnsemble
from trajopt.learned_dynamics.environments import Environment, GymEnvironment, Start, read_environment
from trajopt.learned_dynamics.experience import Experience
from trajopt.learned_dynamics.imagination import Judge, imagined_state
from trajopt.learned_dynamics.learning_log import LearningLog, Trial
from trajopt.learned_dynamics.planner_report import PlannerReport, Returns
from trajopt.mpc import MPC
from trajopt.solver import Solver
from trajopt.solvers import ICEM
from trajopt.validation import check_choice, check_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

Planner = Literal["learned", "true", "random"]

CHECKPOINT = "checkpoint.npz"
_START, _CONTROLS, _FIT, _PLAN, _EVALUATION = range(5)
"""What random numbers of a trial are for: each has a stream of its own."""


@final
class PETS:
    """An agent that learns an ensemble of models and plans in it.

        agent = PETS(problem, seed=1).learn(2000)
        control, _ = agent.predict(observation)

    Parameters
    ----------
    environment
        A `Problem`, whose dynamics are the plant and whose cost is minus the reward, with bounded controls; an episode
        is its horizon. Or a Gymnasium environment with boxes of observations and actions.
    reward
        Of an environment: a function (x, u, x_next) -> (K,) of K transitions, rows (K, nx), (K, nu), (K, nx). None: the
        reward is learned.
    termination
        Where episodes end by themselves: a function like that of the reward, true at an end; "bounds" for a problem,
        where its state leaves its bounds, which then are no constraints of the plans any more; "learned" for an
        environment. None: nowhere.
    start
        Function of a `numpy.random.Generator` that draws the first state of an episode of a problem; None: its own.
    model
        The ensemble, as it is before its first fit, with heads for what is learned. None: five networks of 3 x 64.
    solver
        What plans; None: iCEM with 64 samples of 5 particles each.
    horizon
        Steps of a plan.
    iterations
        Of the solver at every step.
    random_steps
        Steps at the beginning under random controls: whole trials, until there are so many.
    trial_steps
        Steps of a trial at most; None: until the environment ends it.
    seed
        Of all that is random. The same seed gives the same bits, whatever the number of threads, if the environment
        repeats an episode that is reset with the same seed.

    Attributes
    ----------
    model
        The ensemble, as it is now.
    trials
        A `Trial` for each so far.

    Raises
    ------
    InvalidProblem, UnsupportedProblem
        When a setting cannot mean anything, or the environment has something that cannot be learned, such as discrete
        actions.
    """

    def __init__(
        self,
        environment: Any,
        *,
        reward: Judge | None = None,
        termination: Judge | Literal["bounds", "learned"] | None = None,
        start: Start | None = None,
        model: ProbabilisticEnsemble | None = None,
        solver: Solver | None = None,
        horizon: int = 15,
        iterations: int = 4,
        random_steps: int = 200,
        trial_steps: int | None = None,
        seed: int = 0,
    ) -> None:
        for name, value in (("horizon", horizon), ("iterations", iterations), ("random_steps", random_steps)):
            check_whole(value, name, 1)
        check_whole(seed, "seed", 0)
        if trial_steps is not None:
            check_whole(trial_steps, "trial_steps", 1)
        self.environment: Environment = read_environment(environment, reward, termination, start)
        heads = {
            "reward": isinstance(self.environment, GymEnvironment) and reward is None,
            "termination": termination == "learned",
        }
        self._ends = termination is not None
        self.model = _read_model(model, self.environment, heads)
        self.solver = ICEM(samples=64, particles=5) if solver is None else solver
        self.horizon, self.iterations = horizon, iterations
        self.random_steps, self.trial_steps, self.seed = random_steps, trial_steps, seed
        self.trials: tuple[Trial, ...] = ()
        self.experience = Experience.empty(len(self.environment.states), len(self.environment.controls))
        self._controller: MPC | None = None

    @property
    def steps(self) -> int:
        """Steps taken in the environment so far."""
        return self.trials[-1].steps if self.trials else 0

    @property
    def curve(self) -> tuple[NDArray[np.int64], Array]:
        """Steps taken until the end of each trial, and the return of that trial."""
        return np.array([t.steps for t in self.trials], dtype=np.int64), np.array([t.value for t in self.trials])

    def learn(
        self,
        steps: int,
        *,
        folder: str | Path | None = None,
        progress: bool = False,
        tensorboard: bool = False,
        callback: Callable[[Trial], object] | None = None,
    ) -> Self:
        """Learn until ``steps`` steps have been taken in all; the trial in which that happens is finished.

        Parameters
        ----------
        steps
            In the environment, those of earlier calls included.
        folder
            Where to write ``trials.csv`` and, after every trial, a checkpoint. A folder that has one is gone on with:
            the same call after a kill ends with the same bits as if nothing had happened.
        progress
            Show the trials live on standard error.
        tensorboard
            Write events for TensorBoard into the folder too (``trajopt[tensorboard]``).
        callback
            Called with each `Trial`; a true value ends the learning.

        Raises
        ------
        TrajoptError
            When the environment gives numbers that are not finite, or ends episodes without a termination; when the
            folder holds a checkpoint of another agent, or a damaged one.
        """
        check_whole(steps, "steps", 1)
        if folder is not None and (Path(folder) / CHECKPOINT).exists():
            self._resume(Path(folder) / CHECKPOINT)
        with LearningLog(folder, steps, progress=progress, tensorboard=tensorboard) as log:
            log.begin(self.trials)
            while self.steps < steps:
                self._run_trial(log)
                log.write(self.trials)
                if folder is not None:
                    self.save(Path(folder) / CHECKPOINT)
                if callback is not None and callback(self.trials[-1]):
                    break
        return self

    def _run_trial(self, log: LearningLog) -> None:
        """Collect one trial and fit to all that is known, if the next one is planned."""
        number, clock = len(self.trials), time.perf_counter()
        controller = None if self.steps < self.random_steps else self._plan_with(self.model, self._seed(number, _PLAN))
        random = np.random.default_rng(self._seed(number, _CONTROLS))
        rows = self._episode(self._seed(number, _START), controller, random, log.show_step)
        acted = time.perf_counter() - clock
        self.experience = self.experience.joined(rows)
        epochs: list[Any] = []
        if len(self.experience) >= self.random_steps:  # before that nobody would ask the model
            log.show("fitting")
            self.model = self.experience.fit(self.model, self._seed(number, _FIT), epochs.append)
            self._controller = None
        trial = Trial(
            number=number,
            steps=len(self.experience),
            length=len(rows),
            value=float(rows.reward.sum()),
            terminated=bool(rows.terminated[-1]),
            model_error=float(np.mean(self.model.learned["errors"])) if epochs else np.nan,
            epochs=len(epochs),
            act_seconds=acted,
            fit_seconds=time.perf_counter() - clock - acted,
        )
        self.trials = (*self.trials, trial)

    def _episode(
        self,
        seed: int,
        controller: MPC | None,
        random: np.random.Generator,
        show: Callable[[int], object] = lambda step: None,
        *,
        true: bool = False,
    ) -> Experience:
        """One episode under a controller, or without one under random controls; ``true`` if it plans with the truth."""
        environment, rows = self.environment, []
        x, ended = _finite(environment.reset(seed), 0.0, 0), False
        while not ended:
            if controller is None:
                u = random.uniform(*environment.limits)
            else:
                seen = environment.true_state() if true else x
                u = controller.command(imagined_state(seen, controller.problem.dynamics.states))
            outcome = environment.step(u)
            rows.append((x, u, _finite(outcome.x, outcome.reward, len(rows) + 1), outcome.reward, outcome.terminated))
            if outcome.terminated and not self._ends:
                raise InvalidProblem(
                    f"the environment ended an episode at step {len(rows)}, but termination=None says that it never "
                    'does; give termination="learned", "bounds" or a function (x, u, x_next) -> (K,).'
                )
            x = outcome.x
            ended = outcome.terminated or outcome.truncated or len(rows) == self.trial_steps
            show(len(rows))
        return Experience.of(rows)

    def _plan_with(self, model: ProbabilisticEnsemble | None, seed: int) -> MPC:
        """A controller over a model, or for None over the true one."""
        solver: Any = self.solver
        if is_dataclass(solver) and any(entry.name == "seed" for entry in fields(solver)):
            solver = replace(solver, seed=seed)
        return MPC(self.environment.planning(model, self.horizon), solver, iterations=self.iterations)

    def _seed(self, number: int, purpose: int) -> int:
        """A seed of 31 bits, which every environment takes."""
        return int(np.random.SeedSequence([self.seed, number, purpose]).generate_state(1)[0] >> 1)

    def predict(
        self,
        observation: ArrayLike,
        state: None = None,
        episode_start: ArrayLike | None = None,
        deterministic: bool = True,
    ) -> tuple[Array, None]:
        """Plan from an observation and return the first control, (nu,), and None, as Stable-Baselines3 does.

        The plan is kept: the next call starts from it, moved forwards by a step.

        Parameters
        ----------
        observation
            (nx,) numbers, or (1, nx); then the control is (1, nu).
        state, deterministic
            Without meaning here.
        episode_start
            True where an episode begins: the plan before is forgotten.

        Raises
        ------
        InvalidProblem
            When nothing was learned yet, or the observation is not nx finite numbers.
        """
        if not self.model.learned:
            raise InvalidProblem("predict was called before anything was learned; call learn(steps) first.")
        if self._controller is None or (episode_start is not None and np.any(episode_start)):
            self._controller = self._plan_with(self.model, self._seed(len(self.trials), _PLAN))
        numbers = np.asarray(observation, dtype=float)
        rows = numbers if numbers.shape[:-1] != (1,) else numbers[0]
        u = self._controller.command(imagined_state(rows, self._controller.problem.dynamics.states))
        return (u if numbers.ndim == 1 else u[None]), None

    def evaluate(self, planner: Planner = "learned", episodes: int = 1) -> Returns:
        """Run episodes with the planner on the learned model, on the true one, or with random controls.

        All three meet the same episodes, whose seeds no trial has. Nothing is learned from them.

        Raises
        ------
        UnsupportedProblem
            When the environment's state cannot be set, for the true model.
        """
        check_whole(episodes, "episodes", 1)
        check_choice(planner, "planner", ("learned", "true", "random"))
        returns, lengths, clock = [], [], time.perf_counter()
        for number in range(episodes):
            seed = self._seed(number, _EVALUATION)
            model = self.model if planner == "learned" else None
            controller = None if planner == "random" else self._plan_with(model, seed)
            rows = self._episode(seed, controller, np.random.default_rng(seed), true=planner == "true")
            returns.append(float(rows.reward.sum()))
            lengths.append(len(rows))
        seconds = (time.perf_counter() - clock) / sum(lengths)
        return Returns(planner, tuple(returns), tuple(lengths), seconds)

    def report(self, episodes: int = 1) -> PlannerReport:
        """Return the planner on the true model, on the learned model, and random controls, side by side."""
        return PlannerReport.of(self, episodes)

    def plot(self, published: tuple[ArrayLike, ArrayLike] | None = None) -> Figure:
        """Draw the returns over the steps; ``published`` are steps and returns of a curve to compare with."""
        from trajopt.view.learning import plot_curves  # noqa: PLC0415 - Matplotlib loads when it is asked for

        return plot_curves([self.curve], published)

    def save(self, path: str | Path) -> Path:
        """Write settings, model, experience and trials to an ``.npz`` file of numbers and JSON; returns its path."""
        return write_agent(self, Path(path))

    @classmethod
    def load(
        cls,
        path: str | Path,
        environment: Any,
        *,
        reward: Judge | None = None,
        termination: Judge | Literal["bounds", "learned"] | None = None,
        start: Start | None = None,
        solver: Solver | None = None,
    ) -> Self:
        """Read what `save` wrote; nothing in the file is executed, so environment and functions are given again.

        ``solver`` is needed where the file cannot tell it, because it is none of trajopt's.

        Raises
        ------
        TrajoptError
            When the file is not a saved agent, was damaged, or belongs to another environment.
        """
        kept = read_agent(Path(path))
        given = {"reward": reward, "termination": termination, "start": start}
        chosen = kept.solver if solver is None else solver
        agent = cls(environment, **given, model=kept.model, solver=chosen, **kept.settings)
        agent._take(kept)
        return agent

    def _take(self, kept: SavedAgent) -> None:
        self.model, self.experience, self.trials, self._controller = kept.model, kept.experience, kept.trials, None

    def _resume(self, path: Path) -> None:
        """Go on from a checkpoint of the same settings, unless this agent is as far itself."""
        kept = read_agent(path)
        kept.check_same(self, path)
        if len(kept.trials) > len(self.trials):
            self._take(kept)


def _read_model(
    model: ProbabilisticEnsemble | None, environment: Environment, heads: dict[str, bool]
) -> ProbabilisticEnsemble:
    """The ensemble with the heads that are needed."""
    if model is None:
        sizes: Any = {"members": 5, "hidden": (64, 64, 64), "epochs": 200, "patience": 25}
        return ProbabilisticEnsemble(states=environment.states, controls=environment.controls, **sizes, **heads)
    wanted = (len(environment.states), len(environment.controls), *heads.values())
    if (model.observed, model.nu, model.reward, model.termination) != wanted:
        raise InvalidProblem(
            f"a model of {model.observed} states and {model.nu} controls with reward={model.reward} and "
            f"termination={model.termination} was given, but {wanted[0]} and {wanted[1]} with reward={wanted[2]} and "
            f"termination={wanted[3]} were expected here; make it so."
        )
    return model


def _finite(x: Array, reward: float, step: int) -> Array:
    """The observation, unless it or the reward is not finite."""
    if not (np.isfinite(x).all() and np.isfinite(reward)):
        raise InvalidProblem(
            f"the environment gave the observation {x.tolist()} and the reward {reward} at step {step}, but finite "
            "numbers were expected; end the episode before, or scale the observation."
        )
    return x
