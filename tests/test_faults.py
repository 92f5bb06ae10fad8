"""What goes wrong outside the mathematics: threads, processes, signals, damaged files, odd sizes and odd names."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import trajopt as to
from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.solvers import (
    CEM,
    CMAES,
    DDP,
    DIAL,
    ICEM,
    ILQR,
    MPPI,
    Collocation,
    Indirect,
    PredictiveSampling,
    RandomShooting,
    SCvx,
)

SAMPLING = [kind(samples=64, iterations=8) for kind in (RandomShooting, PredictiveSampling, CEM, ICEM, DIAL, CMAES)]
SOLVERS = [
    ILQR(),
    DDP(),
    Collocation(),
    MPPI(samples=64, iterations=15),
    SCvx(),
    Indirect("shooting", tolerance=1e-6),
    *SAMPLING,
]


def arm(length: float = 1.0, **options) -> Problem:
    """A pendulum of a length of its own, so that each length is a problem that nobody has compiled."""
    options = {"initial_state": [1.0, 0.0], "constraints": [to.Bounds(control=(-1.0, 1.0))]} | options
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] - np.sin(x[0]) / length]), nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u,
        horizon=to.Horizon(2.0, steps=20),
        **options,
    )


def fingerprint(solution: Solution) -> str:
    """Every bit of the answer."""
    parts = (solution.t, solution.x, solution.u, np.float64(solution.cost))
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_eight_threads_give_the_bits_of_one(solver):
    """Different problems at once, then one new problem from all threads: as in sequence, certificate included."""

    def work(length: float) -> tuple[str, float]:
        solution = to.solve(arm(length), solver)
        return fingerprint(solution), solution.certificate.stationarity

    lengths = [1.0 + i / 8 for i in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, lengths))
        shared = arm(3.0)
        same = set(pool.map(lambda _: fingerprint(to.solve(shared, solver)), range(8)))
    assert together == [work(length) for length in lengths]
    assert same == {fingerprint(to.solve(arm(3.0), solver))}


@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_another_problem_in_between_leaves_no_trace(solver):
    """A, B, A: the same bits; so do a solve inside of a callback, and a variant that shares A's compiled functions."""
    first, other = arm(), arm(0.5, constraints=[to.TerminalConstraint([0.0, None])])
    before = fingerprint(to.solve(first, solver))
    to.solve(other, solver)
    to.solve(first.at(initial_state=[0.5, 0.25]), solver)
    assert fingerprint(to.solve(first, solver)) == before
    nested = []
    outer = to.solve(first, solver, callback=lambda _: nested.append(to.solve(other, ILQR(iterations=2)).cost))
    assert fingerprint(outer) == before
    assert len(set(nested)) == 1


def _child(solver, queue) -> None:
    queue.put(fingerprint(to.solve(arm(), solver)))


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_child_processes_solve_as_their_parent_does(start):
    """After compiled code, threads and IPOPT were used here, a child still solves, to the same bits."""
    if start not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this platform cannot {start}")
    context = multiprocessing.get_context(start)
    for solver in SOLVERS if start == "fork" else SOLVERS[:1]:
        expected = fingerprint(to.solve(arm(), solver))
        queue = context.Queue()
        child = context.Process(target=_child, args=(solver, queue))
        child.start()
        assert queue.get(timeout=60) == expected
        child.join(timeout=60)
        assert child.exitcode == 0


SCRIPT = """
import sys, threading
import numpy as np
import trajopt as to
from trajopt.solvers import *

def solve(solver, **options):
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] - np.sin(x[0])]), nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u, initial_state=[1.0, 0.0], horizon=to.Horizon(2.0, steps=20),
    )
    return to.solve(problem, solver, **options)
"""


def run(code: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-W", "error", "-c", SCRIPT + code]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | environment, check=False
    )


def test_first_use_may_be_in_a_thread():
    """Import, tracing, compiling and solving outside of the main thread, where no signal handler can be set."""
    ended = run(
        "found = []\n"
        "def work():\n    found.extend(solve(s).success for s in (ILQR(), Collocation(), MPPI()))\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join(); print(found)"
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "[True, True, True]", "")


@pytest.mark.parametrize(
    "solver",
    [
        "ILQR(tolerance=1e-300, iterations=10**9)",
        "Collocation(options={'acceptable_iter': 0, 'tol': 1e-300, 'compl_inf_tol': 1e-300})",
        "MPPI(tolerance=1e-300, patience=10**9, iterations=10**9)",
        "Indirect()",
        "Indirect('shooting')",
    ],
)
def test_an_interrupt_keeps_the_best_so_far(solver):
    """Ctrl-C, sent from within while the solver iterates, ends with status interrupted and finite numbers."""
    ended = run(
        "import os, signal\n"
        "def press(iteration):\n    if iteration.number == 1: os.kill(os.getpid(), signal.SIGINT)\n"
        f"s = solve({solver}, callback=press)\n"
        "print(s.status, np.isfinite(s.x).all() and np.isfinite(s.u).all() and np.isfinite(s.cost))"
    )
    assert (ended.returncode, ended.stdout.strip(), ended.stderr) == (0, "interrupted True", "")


def test_an_interrupted_command_exits_with_130():
    """Ctrl-C during ``trajopt solve`` leaves through the front door: code 130 and no traceback."""
    endless = "'--set', 'tolerance=1e-300', '--set', 'patience=1000000', '--set', 'iterations=100000000'"
    code = (
        "import sys; from trajopt.cli import main; print('ready', flush=True)\n"
        f"sys.exit(main(['solve', 'cartpole-swingup', '--solver', 'mppi', {endless}]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(1.0)  # wherever this lands, in tracing, the compiler or the search, the exit must be the same
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in complaint


def damage_everything(folder, contents: bytes | None) -> int:
    """Overwrite every cached file, or cut it in half; returns how many there were."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if contents is None else contents)
    return len(files)


def test_two_processes_compile_at_once_and_survivors_repair_the_cache(tmp_path):
    """A fresh folder, two racing processes, one of them killed, every file damaged: always the same answer."""
    environment = os.environ | {"TRAJOPT_CACHE_DIR": str(tmp_path / "cache")}
    code = SCRIPT + "s = solve(MPPI(samples=64, iterations=5)); print(s.x.tobytes().hex())"
    command = [sys.executable, "-c", code]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(2)]
    time.sleep(2.0)  # in the middle of its kernels
    racing[0].kill()
    racing[0].communicate(timeout=60)
    answer = racing[1].communicate(timeout=60)[0]
    assert racing[1].returncode == 0
    assert answer
    assert damage_everything(tmp_path / "cache", None) > 1
    again = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True)
    assert again.stdout == answer


def test_a_cache_folder_that_cannot_be_used_costs_only_time(tmp_path, monkeypatch):
    """A file in the folder's place, a folder that is gone, one without room: the problem is solved all the same."""
    from trajopt.lowering import cache, machine_code  # noqa: PLC0415 - internals, for this test alone

    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    expected = fingerprint(to.solve(arm(0.75), ILQR()))

    def solve_anew() -> str:
        monkeypatch.setattr(machine_code, "_loaded", {})
        return fingerprint(to.solve(arm(0.75), ILQR()))

    monkeypatch.setenv("TRAJOPT_CACHE_DIR", str(blocked))
    assert solve_anew() == expected
    monkeypatch.setenv("TRAJOPT_CACHE_DIR", str(tmp_path / "gone"))
    assert solve_anew() == expected
    assert damage_everything(tmp_path / "gone", b"trajopt-code-1\nnonsense") > 0
    assert solve_anew() == expected
    monkeypatch.setattr(cache, "LARGEST_FOLDER", 1)  # everything written is pruned at once
    assert solve_anew() == expected

    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "write_atomically", no_room)
    monkeypatch.setenv("TRAJOPT_CACHE_DIR", str(tmp_path / "full"))
    assert solve_anew() == expected


def test_a_save_that_is_killed_leaves_the_old_file(tmp_path):
    """SIGKILL between the write and the replacement: the path holds the older answer, whole."""
    path = tmp_path / "answer.npz"
    solution = to.solve(arm(), ILQR())
    solution.save(path)
    ended = run(
        "import os, signal\n"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"solve(ILQR()).save({str(path)!r})"
    )
    assert ended.returncode == -signal.SIGKILL
    assert fingerprint(Solution.load(path, arm())) == fingerprint(solution)


def linear(nx: int, nu: int, steps: int) -> Problem:
    """A stable chain of nx states in discrete time."""
    A = 0.5 * np.eye(nx) + 0.25 * np.eye(nx, k=1)
    B = np.eye(nx, nu)
    return to.Problem(
        to.DiscreteDynamics(lambda x, u: A @ x + B @ u, nx=nx, nu=nu),
        stage_cost=lambda x, u: x @ x + u @ u,
        initial_state=np.ones(nx),
        horizon=to.Horizon(steps=steps),
    )


@pytest.mark.parametrize("solver", [ILQR(), DDP(), Collocation()], ids=str)
@pytest.mark.parametrize(("nx", "nu", "steps"), [(1, 1, 2), (2, 0, 3), (30, 2, 5), (2, 1, 5000)])
def test_sizes_at_both_ends(solver, nx, nu, steps):
    """No control, one step too few to notice, thirty states, thousands of steps: solved and certified."""
    solution = to.solve(linear(nx, nu, steps), solver)
    assert solution.certified
    assert solution.u.shape == (steps, nu)
    assert solution(steps / 2)[0].shape == (nx,)


@pytest.mark.parametrize("solver", [ILQR(), DDP(), MPPI(samples=64, iterations=5), *SAMPLING], ids=str)
def test_a_single_step(solver):
    """N = 1, with one state and one control."""
    assert to.solve(linear(1, 1, 1), solver).x.shape == (2, 1)


def test_parameters_of_every_shape():
    """A number, a vector, a matrix that is not symmetric: new values in any layout give the answer of a new problem."""

    def made(gain, offset, matrix) -> Problem:
        return to.Problem(
            to.ContinuousDynamics(lambda x, u, p: p.matrix @ x + p["gain"] * u + p.offset[:2], nx=2, nu=2),
            stage_cost=lambda x, u, p: x @ x + p.offset[2] * u @ u,
            initial_state=[1, 0],
            horizon=to.Horizon(1.0, steps=10),
            parameters={"gain": gain, "offset": offset, "matrix": matrix},
        )

    matrix = np.array([[0.0, 1.0], [-0.5, -0.25]])
    old = made(1, [0, 0, 1], np.eye(2, dtype=int))
    for solver in SOLVERS:
        expected = to.solve(made(0.5, [0.125, 0.25, 2.0], matrix), solver)
        wide = np.zeros(6)
        wide[::2] = [0.125, 0.25, 2.0]
        new = {"gain": np.float32(0.5), "offset": wide[::2], "matrix": np.asfortranarray(matrix)}
        assert fingerprint(to.solve(old, solver, parameters=new)) == fingerprint(expected)


def test_inputs_of_any_kind_are_read_and_left_alone():
    """Lists, integers, float32, strided and read-only arrays: the answer of plain floats, and nothing is written to."""
    expected = fingerprint(to.solve(arm(), ILQR()))
    strided = np.array([1.0, 9.0, 0.0, 9.0])[::2]
    for start in ([1, 0], (1.0, 0.0), np.array([1, 0]), np.float32([1, 0]), strided):
        assert fingerprint(to.solve(arm(initial_state=start), ILQR())) == expected
    t, x, u = np.linspace(0.0, 2.0, 21), np.tile([1.0, 0.0], (21, 1)), np.zeros((20, 1))  # the default guess
    guesses = [(t, x, u), (t.tolist(), x.tolist(), u.tolist()), (t, np.asfortranarray(x), np.zeros((20, 3))[:, 1:2])]
    for guess in guesses:
        before = [np.array(part) for part in guess]
        for part in guess:
            if isinstance(part, np.ndarray):
                part.setflags(write=False)
        assert fingerprint(to.solve(arm(), ILQR(), guess=guess)) == expected
        assert all(np.array_equal(was, part) for was, part in zip(before, guess, strict=True))


def test_unusual_names_survive_everything(tmp_path):
    """Letters of other scripts, spaces, markup and format strings in names reach tables, files and pages unharmed."""
    problem = to.Problem(
        to.ContinuousDynamics(
            lambda x, u, p: np.array([x[1], p.größe * u[0]]), states=["ängle ∂", "a b/c$_x^"], controls=["<b>{0} %s"]
        ),
        stage_cost=lambda x, u: x @ x + u @ u,
        initial_state=[1.0, 0.0],
        horizon=to.Horizon(1.0, steps=5),
        constraints=[to.PathConstraint(lambda x, u: x[0], upper=1.0, name="$ {weird} [bold]")],
        parameters={"größe": 2.0},
        name="<script>alert(1)</script> ü",
    )
    solution = to.solve(problem, ILQR())
    again = Solution.load(solution.save(tmp_path / "ü x.npz"), problem)
    assert fingerprint(again) == fingerprint(solution)
    assert again.parameters == {"größe": 2.0}
    assert list(solution.to_dataframe().columns) == ["t", "ängle ∂", "a b/c$_x^", "<b>{0} %s"]
    assert "$ {weird} [bold]" in solution.explain()
    page = solution.report(tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_functions_that_change_their_mind_are_found_out():
    """A function that returns NaN from its third call on was traced while sound; the certificate is not fooled."""
    calls = []

    def dynamics(x, u):
        calls.append(1)
        return np.array([x[1], u[0] if len(calls) <= 2 else np.nan])

    problem = to.Problem(
        to.ContinuousDynamics(dynamics, nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u,
        initial_state=[1.0, 0.0],
        horizon=to.Horizon(1.0, steps=5),
    )
    solution = to.solve(problem, ILQR())
    assert not solution.certified
    assert "not finite" in solution.certificate.findings[0]


def test_a_function_that_raises_restores_numpy():
    """Whatever a traced function raises, NumPy's modules are ordinary ones afterwards, and the next problem works."""

    class Odd(Exception):
        pass

    def fail(x, u):
        raise Odd

    def interrupt(x, u):
        raise KeyboardInterrupt

    for function, error in ((fail, to.TracingError), (interrupt, KeyboardInterrupt)):
        with pytest.raises(error):
            to.Problem(
                to.ContinuousDynamics(function, nx=1, nu=1), initial_state=[0.0], horizon=to.Horizon(1.0, steps=2)
            )
        assert type(np).__name__ == "module"
        assert type(np.linalg).__name__ == "module"
    assert to.solve(linear(1, 1, 3), ILQR()).success
