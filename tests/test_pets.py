"""PETS: it learns, it resumes to the same bits, it plans with a learned model as with the true one, and bad input."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from rich.console import Console
from test_ensemble import identical, linear

import trajopt as to
from trajopt import problems
from trajopt.errors import InvalidProblem, MissingExtra, TrajoptError, UnsupportedProblem
from trajopt.learned_dynamics import PETS, ProbabilisticEnsemble
from trajopt.learned_dynamics.imagination import Imagination, TracedSteps
from trajopt.learned_dynamics.learning_log import LearningLog, Trial, table
from trajopt.problems.cartpole_balance import random_start
from trajopt.solvers import CEM, ICEM
from trajopt.solvers.sampling.risk import CVaR
from trajopt.view.learning import plot_curves

SMALL = {"members": 3, "hidden": (16,), "epochs": 20, "learning_rate": 3e-3}
PLANNER = ICEM(samples=24, particles=3, elites=6)
STEPS = 10


def mass(**options):
    """A point mass on a line, from 1 to rest at 0, in steps of 0.2."""
    options = {"horizon": to.Horizon(steps=STEPS), "constraints": [to.Bounds(control=(-2, 2))]} | options
    dynamics = to.DiscreteDynamics(lambda x, u: np.array([x[0] + 0.2 * x[1], x[1] + 0.2 * u[0]]), nx=2, nu=1)
    return to.Problem(dynamics, lambda x, u: x @ x + 0.1 * u @ u, initial_state=[1.0, 0.0], **options)


def agent(environment=None, **options):
    model = ProbabilisticEnsemble(2, 1, **SMALL) if environment is None else None
    settings = {"model": model, "solver": PLANNER, "horizon": 6, "iterations": 2, "random_steps": 2 * STEPS}
    return PETS(mass() if environment is None else environment, **(settings | options))


def rows_of(path):
    """A table as dictionaries."""
    return list(csv.DictReader(path.read_text().splitlines()))


class Line(gymnasium.Env):
    """The point mass as an environment, which ends beyond a limit and pays minus the distance."""

    observation_space = gymnasium.spaces.Box(-10.0, 10.0, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-2.0, 2.0, (1,), np.float32)
    broken = None

    def __init__(self, limit=1.5):
        self.limit = limit

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.state, self.taken = np.array([1.0, 0.0]) + 0.1 * self.np_random.normal(size=2), 0
        return self.state.copy(), {}

    def step(self, action):
        x, v = self.state
        self.state, self.taken = np.array([x + 0.2 * v, v + 0.2 * float(action[0])]), self.taken + 1
        reward = -abs(self.state[0])
        if self.broken == "reward" and self.taken == 3:
            reward = np.nan
        seen = self.state * (np.inf if self.broken == "observation" and self.taken == 3 else 1.0)
        return seen, reward, bool(abs(self.state[0]) > self.limit), self.taken == STEPS, {}


def moved(x, u, x_next):
    return -np.abs(x_next[:, 0])


def gone(x, u, x_next):
    return np.abs(x_next[:, 0]) > 1.5


def test_it_learns_a_point_mass():
    """After five trials the planner on the learned model is near the one on the true model, far above chance."""
    learned = agent(seed=1).learn(7 * STEPS)
    report = learned.report(2)
    assert report.true.mean >= report.learned.mean - 0.1 * abs(report.true.mean)
    assert report.learned.mean > 0.2 * report.random.mean + 0.8 * report.true.mean
    assert all(text in str(report) for text in ("true model", "learned model", "random controls"))
    assert (learned.curve[0] == STEPS * np.arange(1, 8)).all()


def test_identical_exact_members_plan_as_the_true_model():
    """Over an ensemble whose members all are the truth, every tick has the command of the planner on the truth."""
    dynamics = to.BlackBoxDynamics(lambda x, u: np.stack([x[:, 0] + 0.1 * x[:, 1], x[:, 1] + u[:, 0]], axis=1), 2, 1)
    problem = to.Problem(
        dynamics, lambda x, u: x @ x + u @ u, initial_state=[1.0, 0.0], horizon=to.Horizon(steps=8),
        constraints=[to.Bounds(control=(-1, 1))],
    )  # fmt: skip
    made = PETS(problem, model=identical(), solver=ICEM(samples=32, particles=2), horizon=8, iterations=3)
    on_model, on_truth = made.evaluate("learned"), made.evaluate("true")
    # Merits agree to float32, so elites and plans do but for ties.
    assert on_model.mean == pytest.approx(on_truth.mean, rel=1e-4)
    np.testing.assert_allclose(
        linear(np.ones(2), np.ones(1)), dynamics.step(np.ones((1, 2)), np.ones((1, 1)), 0, None, None)[0]
    )


CHILD = """
import os, sys
sys.path.insert(0, {tests!r})
from test_pets import STEPS, agent

def stop(trial):
    if trial.number == 2:
        os._exit(9)  # no clean-up at all, as a kill

agent(seed=5).learn(6 * STEPS, folder={folder!r}, callback=stop)
"""


def test_a_killed_run_resumes_to_the_same_bits(tmp_path):
    """A process that dies after its third trial and is begun again ends with curve and model of one that lives."""
    whole = agent(seed=5).learn(6 * STEPS)
    script = CHILD.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    died = subprocess.run(
        [sys.executable, "-c", script], check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=120
    )
    assert died.returncode == 9
    resumed = agent(seed=5).learn(6 * STEPS, folder=tmp_path)
    np.testing.assert_array_equal(resumed.curve, whole.curve)
    for name, values in whole.model.learned.items():
        np.testing.assert_array_equal(resumed.model.learned[name], values)
    np.testing.assert_array_equal(resumed.experience.u, whole.experience.u)
    assert len(rows_of(tmp_path / "trials.csv")) == 6


def test_seeds():
    """The same seed gives the same curve and model, another one another."""
    first, again, other = (agent(seed=seed).learn(3 * STEPS) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.curve, again.curve)
    assert all((first.model.learned[name] == again.model.learned[name]).all() for name in first.model.learned)
    assert (first.curve[1] != other.curve[1]).any()


def test_save_and_load(tmp_path):
    """A loaded agent has the settings, plans as the saved one, and learns on to the same bits."""
    made = agent(seed=2, solver=CEM(samples=20, particles=3, risk=CVaR(0.5))).learn(3 * STEPS)
    again = PETS.load(made.save(tmp_path / "agent.npz"), mass())
    assert again.solver == made.solver
    assert (again.horizon, again.seed, table(again.trials)) == (made.horizon, made.seed, table(made.trials))
    x = np.array([0.3, -0.2])
    np.testing.assert_array_equal(again.predict(x)[0], made.predict(x)[0])
    np.testing.assert_array_equal(again.learn(4 * STEPS).curve, made.learn(4 * STEPS).curve)


def test_the_table_holds_what_happened(tmp_path):
    """The CSV has a row for each trial with its numbers to the last bit."""
    made = agent().learn(3 * STEPS, folder=tmp_path / "run")
    rows = rows_of(tmp_path / "run" / "trials.csv")
    assert [int(row["steps"]) for row in rows] == [STEPS, 2 * STEPS, 3 * STEPS]
    assert [float(row["return"]) for row in rows] == made.curve[1].tolist()
    assert {"length", "terminated", "model_error", "epochs", "act_seconds", "fit_seconds"} <= set(rows[0])
    assert table(made.trials) == (tmp_path / "run" / "trials.csv").read_text()


def test_progress_is_drawn_where_somebody_watches(tmp_path):
    """The line tells trial, return and steps on a terminal, and nothing anywhere else."""
    trial = Trial(0, 30, 30, -12.5, False, 0.1, 5, 1.0, 1.0)
    for terminal in (True, False):
        with (tmp_path / "drawn").open("w") as file:
            console = Console(file=file, force_terminal=terminal, width=120)
            with LearningLog(None, 60, progress=True, tensorboard=False, console=console) as log:
                log.begin(())
                log.show_step(20)
                log.show("fitting")
                log.write((trial,))
        drawn = (tmp_path / "drawn").read_text()
        assert ("-12.5" in drawn and "30/60" in drawn) if terminal else not drawn


def test_a_missing_tensorboard_names_its_extra(monkeypatch, tmp_path):
    """Events without the package end with the name of the extra, before anything is learned."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtra, match=r"trajopt\[tensorboard\]"):
        agent().learn(STEPS, folder=tmp_path, tensorboard=True)


def test_an_environment_is_learned_with_its_reward_and_end():
    """Of an environment reward and end are functions or learned, and its own copy is the true model."""
    known = agent(Line(), reward=moved, termination=gone, seed=3).learn(7 * STEPS)
    heads = ProbabilisticEnsemble(2, 1, reward=True, termination=True, **SMALL)
    learned = agent(Line(), termination="learned", model=heads, seed=3).learn(7 * STEPS)
    for made in (known, learned):
        report = made.report(2)
        assert report.learned.mean > report.random.mean
        assert report.true is not None
        assert report.true.mean > report.random.mean


def test_imagined_episodes_end():
    """Return and survival of imagined rollouts are those of the same steps taken one by one."""
    rng = np.random.default_rng(0)
    dream = Imagination(TracedSteps(mass()), moved, gone)
    controls = rng.uniform(-2.0, 2.0, size=(20, 15, 1)) + 1.0
    start = np.column_stack([rng.normal(size=(20, 2)), np.zeros(20), np.ones(20)])
    states = dream.rollout(start, controls, 0, None, rng)
    for row in range(20):
        x, total, alive = start[row, :2], 0.0, 1.0
        for k in range(15):
            x_next = np.array([x[0] + 0.2 * x[1], x[1] + 0.2 * controls[row, k, 0]])
            total += alive * -abs(x_next[0])
            alive *= abs(x_next[0]) <= 1.5
            x = x_next
            np.testing.assert_allclose(states[row, k + 1], [*x, total, alive], atol=1e-12)
    assert 0 < states[:, -1, 3].sum() < 20


def test_the_problem_s_task_is_planned_as_it_is():
    """The imagined problem's cost, with continuous time, constraints and an end, is that of the problem itself."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0]]), nx=2, nu=1),
        lambda x, u, t: x @ x + t * u @ u,
        lambda x: 3.0 * x[0] ** 2,
        initial_state=[1.0, 0.0],
        constraints=[to.Bounds(control=(-2, 2), state=([-2, None], [2, None])), to.PathConstraint(lambda x, u: x[1])],
        horizon=to.Horizon(2.0, steps=20),
    )
    environment = PETS(problem, termination="bounds").environment
    planned = environment.planning(None, 20)
    u = np.full((20, 1), -0.5)
    solved = to.solve(
        planned, ICEM(samples=20, iterations=1), guess=(np.array([0.0, 20.0]), np.tile([1.0, 0, 1], (2, 1)), u[:2])
    )
    rolled = planned.dynamics.rollout(np.array([[1.0, 0.0, 1.0]]), u[None], 0, None, None)[0]
    exact = np.array([1.0 - 0.25 * 2.0**2, -1.0])
    np.testing.assert_allclose(rolled[-1], [*exact, 1.0], atol=1e-12)
    assert np.isfinite(solved.cost)
    assert not np.isfinite(planned.state_bounds).any()


def test_two_ends_of_a_cartpole(tmp_path):
    """The balancing task pays a step alive, ends at its bounds, and is solved by a planner that knows it."""
    problem = problems.load("cartpole-balance", steps=50)
    made = PETS(
        problem, termination="bounds", start=random_start, horizon=20, solver=ICEM(samples=32, sigma=1.0), iterations=2
    )
    found = made.evaluate("true")
    assert found.values == (50.0,)
    chance = made.evaluate("random", 5)
    assert chance.values == chance.lengths
    assert max(chance.lengths) < 50


def test_pictures():
    """One seed or several are drawn with the published curve."""
    steps, returns = np.arange(1, 6) * 200, np.linspace(20.0, 200.0, 5)
    axes = plot_curves([(steps, returns)], (steps, returns)).axes[0]
    assert [line.get_label() for line in axes.lines] == ["PETS", "published"]
    several = plot_curves([(steps, returns), (steps, 0.5 * returns)], None).axes[0]
    np.testing.assert_allclose(several.lines[-1].get_ydata(), 0.75 * returns)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: PETS(gymnasium.make("CartPole-v1")), UnsupportedProblem, "Discrete.*Box was expected"),
        (lambda: PETS("cartpole"), InvalidProblem, "Problem or a gymnasium.Env"),
        (lambda: PETS(replace(mass(), constraints=())), UnsupportedProblem, "unbounded controls"),
        (lambda: PETS(mass(), reward=moved), InvalidProblem, "its costs are the reward"),
        (lambda: PETS(mass(), horizon=0), InvalidProblem, "horizon=0"),
        (lambda: PETS(mass(), model=ProbabilisticEnsemble(3, 1)), InvalidProblem, "3 states.*2 and 1"),
        (lambda: PETS(Line(), termination="bounds"), InvalidProblem, "no bounds"),
        (lambda: agent().predict([1.0, 0.0]), InvalidProblem, "before anything was learned"),
        (lambda: agent().learn(0), InvalidProblem, "steps=0"),
        (lambda: agent().evaluate("best"), InvalidProblem, "one of learned, true, random"),
        (lambda: agent().evaluate("learned"), InvalidProblem, "before it was fitted"),
        (lambda: agent(Line(limit=0.1), reward=moved).learn(STEPS), InvalidProblem, "termination=None"),
        (lambda: agent(start=lambda rng: np.zeros(3)).learn(STEPS), InvalidProblem, "start returned shape"),
        (lambda: agent(Line(), reward=lambda x, u, y: 0.0, termination=gone).learn(30), InvalidProblem, "reward r"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, error, words):
    """What cannot be learned is refused in one sentence that says what was expected."""
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize("broken", ["observation", "reward"])
def test_numbers_that_are_not_finite_never_enter(broken):
    """A NaN or an infinity of the environment ends the trial with a sentence, and nothing of it is kept."""
    environment = Line()
    environment.broken = broken
    made = agent(environment, reward=moved, termination=gone)
    with pytest.raises(InvalidProblem, match="at step 3, but finite"):
        made.learn(STEPS)
    assert len(made.experience) == 0


def test_damaged_and_foreign_files_are_refused(tmp_path):
    """A file that was cut, changed or made by another is no agent; the folder of another agent is not gone on with."""
    made = agent().learn(2 * STEPS, folder=tmp_path)
    path = tmp_path / "checkpoint.npz"
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    head = json.loads(str(arrays["head"]))
    for change in (
        {"experience/x": arrays["experience/x"][:-1]},
        {"experience/reward": arrays["experience/reward"] * np.nan},
        {"model/weight_0": arrays["model/weight_0"][:, :-1]},
        {"model/bias_0": np.array([{}], dtype=object)},
        {"head": np.array(json.dumps(head | {"solver": {"kind": "exec", "settings": {}}}))},
        {"head": np.array(json.dumps(head | {"kind": "SAC"}))},
        {"head": np.array("{")},
    ):
        np.savez(tmp_path / "changed.npz", **(arrays | change))
        with pytest.raises(TrajoptError, match=r"written by PETS\.save was expected"):
            PETS.load(tmp_path / "changed.npz", mass())
    (tmp_path / "cut.npz").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TrajoptError, match=r"written by PETS\.save"):
        PETS.load(tmp_path / "cut.npz", mass())
    with pytest.raises(TrajoptError, match="another settings"):
        agent(seed=9).learn(4 * STEPS, folder=tmp_path)
    with pytest.raises(InvalidProblem, match="2 states"):
        PETS.load(path, problems.load("cartpole-balance"))
    assert made.learn(3 * STEPS, folder=tmp_path).steps == 3 * STEPS
