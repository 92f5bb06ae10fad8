"""The batch law: an instance is solved as it would be alone, whoever solves the others and wherever."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from ilqr_cases import LinearQuadratic, cartpole, pendulum

import trajopt as to
from trajopt.batch import solve_batch
from trajopt.problem import Feature
from trajopt.solver import Outcome, Solver
from trajopt.solvers import DDP, ILQR, MPPI, Collocation
from trajopt.solvers.lqr import LQR

COUNT = 7
SOLVERS = [ILQR(), DDP(), MPPI(samples=64, iterations=10, threads=1), Collocation()]


def states(count: int = COUNT) -> np.ndarray:
    return 0.2 * np.random.default_rng(0).normal(size=(count, 4))


def damped() -> to.Problem:
    """Bring a point mass home; damping and target are parameters."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u, p: np.array([x[1], u[0] - p.damping * x[1]]), nx=2, nu=1),
        stage_cost=lambda x, u, p: (x - p.target) @ (x - p.target) + u[0] ** 2,
        initial_state=[1.0, 0.0],
        constraints=[to.Bounds(control=(-1, 1))],
        horizon=to.Horizon(2.0, steps=20),
        parameters={"damping": 0.1, "target": [0.0, 0.0]},
    )


def same(one: to.Solution, two: to.Solution) -> None:
    """Equal to the last bit, but for the clock."""
    for name in ("t", "x", "u"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert (one.cost, one.status, one.iterations, one.solver) == (two.cost, two.status, two.iterations, two.solver)
    assert [record.cost for record in one.history] == [record.cost for record in two.history]
    assert one.parameters.keys() == two.parameters.keys()
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, two.parameters[name])


@dataclass(frozen=True)
class Interrupting(Solver):
    """Returns at once, but at one initial state it interrupts the process."""

    at: float
    handles: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def run(self, problem, guess, monitor):
        status = monitor.observe(0.0)
        if problem.initial_values[0] == self.at:
            signal.raise_signal(signal.SIGINT) if threading.current_thread() is threading.main_thread() else os.kill(
                os.getpid(), signal.SIGINT
            )
            while status is None:
                time.sleep(0.001)
                status = monitor.observe(0.0)
        return Outcome(status or to.Status.SOLVED, guess, 0.0, 1)


@dataclass(frozen=True)
class Endless(Solver):
    """Iterates until it is told to stop."""

    handles: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def run(self, problem, guess, monitor):
        while (status := monitor.observe(0.0)) is None:
            time.sleep(0.01)
        return Outcome(status, guess, 0.0, 1)


@dataclass(frozen=True)
class Breaking(Solver):
    """Raises what it is told to."""

    error: Exception
    handles: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def run(self, problem, guess, monitor):
        if problem.initial_values[0] > 0.0:
            raise self.error
        return Outcome(to.Status.SOLVED, guess, 0.0, 1)


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_an_instance_is_solved_as_it_would_be_alone(solver):
    """Bit for bit, with one thread, with several, and in another order."""
    problem, x0 = cartpole(steps=24), states()
    alone = [to.solve(problem.at(initial_state=x), solver) for x in x0]
    order = np.random.default_rng(1).permutation(COUNT)
    for threads, chosen in ((1, np.arange(COUNT)), (2, order), (4, np.arange(COUNT))):
        batch = solve_batch(problem, solver, initial_states=x0[chosen], threads=threads)
        for index, solution in zip(chosen, batch, strict=True):
            same(solution, alone[index])
            np.testing.assert_array_equal(solution.problem.initial_values, x0[index])


def test_parameters_guesses_and_states_vary_together():
    """Row i of each belongs to instance i; vectors are parameters too."""
    problem = damped()
    damping, target = np.array([0.1, 0.5, 2.0]), np.array([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.5]])
    x0, guesses = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]]), [None, to.solve(problem, ILQR()), None]
    batch = solve_batch(
        problem,
        "ilqr",
        initial_states=x0,
        parameters={"damping": damping, "target": target},
        guesses=guesses,
        threads=2,
    )
    for i, solution in enumerate(batch):
        variant = problem.at(initial_state=x0[i])
        alone = to.solve(variant, "ilqr", parameters={"damping": damping[i], "target": target[i]}, guess=guesses[i])
        same(solution, alone)
        assert solution.certified


def test_auto_chooses_for_every_instance_by_itself():
    """A free initial entry needs another solver than a fixed one, and gets it."""
    problem = LinearQuadratic.draw(0, 2, 1, 5).problem()
    rows = [[1.0, 0.0], [None, 0.0]]
    batch = solve_batch(problem, initial_states=rows, threads=1)
    for row, solution in zip(rows, batch, strict=True):
        same(solution, to.solve(problem.at(initial_state=row)))


def test_failures_are_statuses_in_their_place():
    """An instance that cannot be solved leaves the others alone; so does an error of a library."""
    solver = ILQR(iterations=3)
    problem = pendulum()
    at_rest = (np.arange(problem.horizon.steps + 1.0), np.tile([np.pi, 0.0], (problem.horizon.steps + 1, 1)))
    guesses = [(*at_rest, np.zeros((problem.horizon.steps, 1)))] * 3
    rows = [[np.pi, 0.0], [0.0, 0.0], [np.pi, 0.0]]
    batch = solve_batch(problem, solver, initial_states=rows, guesses=guesses, threads=2)
    assert [solution.status for solution in batch] == [
        to.Status.SOLVED, to.Status.ITERATION_LIMIT, to.Status.SOLVED,
    ]  # fmt: skip
    rows = [[-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]]
    batch = solve_batch(problem, Breaking(to.TrajoptError("it broke, mend it.")), initial_states=rows, threads=2)
    assert [solution.success for solution in batch] == [True, False, True]
    assert batch[1].status is to.Status.NUMERICAL_FAILURE
    assert "it broke" in batch[1].message
    with pytest.raises(to.InvalidProblem, match="misuse"):
        solve_batch(problem, Breaking(to.InvalidProblem("misuse.")), initial_states=rows, threads=2)


@pytest.mark.skipif(sys.platform == "win32", reason="signals differ")
@pytest.mark.parametrize("threads", [1, 2])
def test_an_interruption_keeps_what_is_done(threads):
    """Instances behind it come back with the guess and status INTERRUPTED, and the list is complete."""
    rows = [[float(i), 0.0] for i in range(8)]
    batch = solve_batch(pendulum(), Interrupting(at=3.0), initial_states=rows, threads=threads)
    statuses = [solution.status for solution in batch]
    assert len(batch) == 8
    assert statuses[:2] == [to.Status.SOLVED] * 2
    assert statuses[3] is to.Status.INTERRUPTED
    if threads == 1:
        assert statuses[4:] == [to.Status.INTERRUPTED] * 4
        assert np.isnan(batch[-1].cost)


def test_the_time_limit_is_that_of_the_batch():
    """What has not ended by then says so; nothing hangs."""
    begin = time.perf_counter()
    batch = solve_batch(cartpole(), Endless(), initial_states=states(20), threads=2, max_time=0.3)
    assert time.perf_counter() - begin < 5.0  # one iteration takes far less, but machines are busy
    assert all(solution.status is to.Status.TIME_LIMIT for solution in batch)
    assert "not started" in batch[-1].message


def test_progress_is_silent_where_nobody_watches(capfd):
    """Standard error is no terminal here; an empty batch is fine too."""
    assert len(solve_batch(damped(), LQR_FREE, initial_states=[[1.0, 0.0]], progress=True)) == 1
    assert solve_batch(damped(), LQR_FREE, initial_states=[], progress=True) == []
    assert capfd.readouterr() == ("", "")


LQR_FREE = ILQR(iterations=5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "no initial_states, parameters or guesses"),
        ({"initial_states": [1.0, 0.0]}, "instance 0: initial_state=1.0"),
        ({"initial_states": [[1.0, 0.0], [1.0]]}, "instance 1: initial_state has 1 entries"),
        ({"initial_states": 3.0}, "initial_states=3.0"),
        ({"initial_states": np.float64(3.0)}, "initial_states="),
        ({"initial_states": [[1.0, 0.0]], "parameters": {"damping": [0.1, 0.2]}}, "equally long"),
        ({"parameters": [0.1]}, "dictionary"),
        ({"parameters": {"damping": 0.1}}, "write a list"),
        ({"parameters": {"mass": [0.1]}}, "instance 0: parameter 'mass'"),
        ({"parameters": {"target": [[0.0, 0.0], [1.0]]}}, "instance 1: parameter 'target' has shape"),
        ({"guesses": [None, 5]}, "instance 1: guess of type int"),
        ({"initial_states": [[1.0, 0.0]], "threads": 0}, "threads=0"),
        ({"initial_states": [[1.0, 0.0]], "max_time": -1.0}, "max_time=-1.0"),
        ({"initial_states": [[1.0, 0.0]], "backend": "ray"}, "backend='ray'"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_solved(arguments, words):
    """With the number of the instance, where there is one."""
    with pytest.raises(to.InvalidProblem, match=words):
        solve_batch(damped(), ILQR(), **arguments)


def test_a_solver_that_does_not_handle_an_instance_is_refused_by_number():
    """LQR handles no control bounds, and iLQR no free initial state."""
    with pytest.raises(to.UnsupportedProblem, match=r"instance 0: .*control bounds"):
        solve_batch(damped(), LQR(), initial_states=[[1.0, 0.0]])
    with pytest.raises(to.UnsupportedProblem, match=r"instance 1: .*free initial state"):
        solve_batch(damped(), ILQR(), initial_states=[[1.0, 0.0], [None, 0.0]])


@pytest.fixture(scope="module")
def pool():
    """A real pool of two processes, ended with the module."""
    joblib = pytest.importorskip("joblib")
    with joblib.parallel_config("loky", n_jobs=2):
        yield
    from joblib.externals.loky import get_reusable_executor  # noqa: PLC0415

    get_reusable_executor().shutdown(wait=True)


@pytest.mark.usefixtures("pool")
def test_other_processes_give_the_same_bits():
    """Lambdas, parameters and guesses travel to loky's workers; solutions come back with their problems."""
    problem = damped()
    arguments = {
        "initial_states": np.random.default_rng(2).normal(size=(5, 2)),
        "parameters": {"damping": np.linspace(0.1, 1.0, 5)},
    }
    here = solve_batch(problem, ILQR(), threads=1, **arguments)
    there = solve_batch(problem, ILQR(), threads=2, backend="joblib", **arguments)
    for one, two in zip(here, there, strict=True):
        same(one, two)
    assert there[2].certified
    guesses = [None, here[0], None]
    here, there = (solve_batch(problem, "ilqr", guesses=guesses, backend=backend) for backend in ("threads", "joblib"))
    for one, two in zip(here, there, strict=True):
        same(one, two)


@pytest.mark.usefixtures("pool")
def test_a_function_that_cannot_travel_says_so():
    """A lock cannot be pickled; the sentence says what to do."""
    lock = threading.Lock()

    def dynamics(x, u):
        with lock:
            return u

    problem = to.Problem(to.DiscreteDynamics(dynamics, nx=1, nu=1), initial_state=[0.0], horizon=to.Horizon(steps=2))
    with pytest.raises(to.InvalidProblem, match="cannot be sent to another process"):
        solve_batch(problem, ILQR(), initial_states=[[1.0]], backend="joblib")


@pytest.mark.usefixtures("pool")
def test_a_worker_that_dies_is_reported():
    """Never the backend's own error."""
    with pytest.raises(to.TrajoptError, match="workers of joblib's backend failed"):
        solve_batch(pendulum(), Dying(), initial_states=[[1.0, 0.0]], threads=2, backend="joblib")


@dataclass(frozen=True)
class Dying(Solver):
    """Ends its process."""

    handles: ClassVar[frozenset[Feature]] = frozenset(Feature)

    def run(self, problem, guess, monitor):
        os._exit(1)


def test_without_joblib_the_extra_is_named(monkeypatch):
    """The message says what to install."""
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(to.MissingExtra, match="trajopt\\[distributed\\]"):
        solve_batch(damped(), ILQR(), initial_states=[[1.0, 0.0]], backend="joblib")
