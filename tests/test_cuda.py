"""CUDA without a GPU: the source that is generated, what the compiler makes of it, and kernels in Numba's simulator.

The tests of `cuda_cases` run in a process of their own: in the simulator, and where there is a GPU on that as well.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import casadi as ca
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_lowering_operations import BINARY, EDGES, UNARY, assert_close, expressions

import trajopt as to
from trajopt import problems
from trajopt.errors import InvalidProblem, MissingExtra
from trajopt.lowering import compile_functions, cuda
from trajopt.lowering.program import read_program
from trajopt.lowering.source import function_source, numpy_functions
from trajopt.solvers import MPPI

CASES = Path(__file__).with_name("cuda_cases.py")
needs_gpu = pytest.mark.skipif(not cuda.available(), reason="no GPU with a CUDA driver is at hand")


@cache
def outcomes(device: str) -> dict[str, list[str]]:
    """For each test of `cuda_cases` its failures; one process runs them all."""
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1" if device == "simulator" else "0"}
    report = Path(environment["TRAJOPT_CUDA_REPORT"])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", str(CASES)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert report.exists(), done.stdout + done.stderr
    found: dict[str, list[str]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        failures = found.setdefault(case.attrib["name"].partition("[")[0], [])
        failures += [f"{case.attrib['name']}\n{part.text}" for part in case if part.tag in ("failure", "error")]
    return found


@pytest.mark.parametrize("device", ["simulator", pytest.param("gpu", marks=needs_gpu)])
@pytest.mark.parametrize("case", re.findall(r"^def (test_\w+)", CASES.read_text(), re.MULTILINE))
def test_kernels(case: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test of `cuda_cases` passes; there stands what it proves."""
    monkeypatch.setenv("TRAJOPT_CUDA_REPORT", str(tmp_path / "report.xml"))
    if (case, device) != ("test_the_simulator_counts_as_available", "gpu"):
        assert outcomes(device)[case] == []


def evaluate(function: ca.Function, *columns: np.ndarray) -> list[np.ndarray]:
    """Outputs of the generated Python function."""
    program = read_program(function.name(), function)
    namespace = {"real": np.float64, **numpy_functions()}
    exec(function_source(program), namespace)  # generated from the expression above
    outputs = [np.full(output.size, np.nan) for output in program.outputs]
    with np.errstate(all="ignore"):
        namespace[program.name](*(np.asarray(column, float) for column in columns), *outputs)
    return [out.reshape(output.shape) for out, output in zip(outputs, program.outputs, strict=True)]


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_generated_operation_agrees_with_machine_code(name: str) -> None:
    """On ordinary numbers and at the edges, infinities and NaN included, one operation is what LLVM makes of it."""
    x, y = ca.SX.sym("x"), ca.SX.sym("y")
    function = ca.Function("f", [x, y], [UNARY[name](x) if name in UNARY else BINARY[name](x, y)])
    code = compile_functions({"f": function})
    numbers = [*EDGES, 0.3, -2.7, 31.4]
    pairs = [(a, b) for a in numbers for b in (numbers if name in BINARY else [1.0])]
    actual = np.array([evaluate(function, [a], [b])[0].item() for a, b in pairs])
    expected = np.array([code.evaluate("f", [a], [b])[0].item() for a, b in pairs])
    assert_close(actual, expected)


@given(expressions(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, derandomize=True, deadline=None)
def test_generated_source_of_random_expressions_agrees_with_machine_code(function: ca.Function, seed: int) -> None:
    """Whole programs: order of operations, shared results, structural zeros."""
    columns = np.random.default_rng(seed).uniform(-2.0, 2.0, size=function.size1_in(0))
    code = compile_functions({"f": function})
    for actual, expected in zip(evaluate(function, columns), code.evaluate("f", columns), strict=True):
        assert_close(actual, expected, scale=np.abs(expected[np.isfinite(expected)]).max(initial=0.0))


COMPILE = """
import sys
import numpy as np
import numba.cuda.dispatcher as dispatcher
from numba import cuda, types
from numba.cuda.cudadrv import nvvm

class Hopper:
    compute_capability = (9, 0)

dispatcher.get_current_device = lambda: Hopper  # functions of the device ask for which one
if not nvvm.is_available():
    sys.exit(77)

import cuda_cases
from trajopt.lowering.cuda import compile_expression
from trajopt.solvers.kernels import cuda as kernels, sampling

functions = sampling.roll_out_expressions(cuda_cases.PROBLEM, cuda_cases.stages_of(cuda_cases.PROBLEM))
for precision, real in (("float64", types.float64), ("float32", types.float32)):
    a, b, c = (types.Array(real, n, "C") for n in (1, 2, 3))
    doubles = types.Array(types.float64, 1, "C")
    data = types.NamedTuple((a, b, a, a, a, a, a, a), kernels.Data)
    proposal = types.NamedTuple((b, b, a, a, c, b, b), kernels.Proposal)
    penalty = types.NamedTuple((b, a, a), kernels.Penalty)
    population = types.NamedTuple((b, b, a, doubles, doubles), kernels.Population)
    counters = types.int64, types.int64, types.uint64, types.uint64
    stage, end = (compile_expression(name, functions[name], precision) for name in ("stage", "end"))
    for filtered in (False, True):
        roll_out = kernels.make_roll_out(stage, end, 2, 1, precision, filtered, filtered)
        text, _ = cuda.compile_ptx(roll_out.py_func, (data, proposal, penalty, population, *counters), cc=(9, 0))
        print(precision, sum(text.count(f"{name}.f64") for name in ("add", "sub", "mul", "fma.rn", "div.rn")))
    weigh = population, types.float64, types.float64, doubles
    for kernel, arguments in (
        (kernels.weigh, weigh),
        (kernels.average, (proposal, population, doubles)),
        (kernels.take_best, (proposal, population, doubles)),
    ):
        cuda.compile_ptx(kernel.py_func, arguments, cc=(9, 0))
"""


def test_kernels_compile_for_a_gpu() -> None:
    """NVIDIA's compiler accepts all kernels, whose types the simulator does not check; single precision stays single.

    A single-precision sine has a dozen operations in double precision, for large angles; a rollout in double precision
    has hundreds.
    """
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "0", "PYTHONPATH": str(CASES.parent)}
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode == 77:
        pytest.skip("NVIDIA's compiler library NVVM is not installed")
    assert done.returncode == 0, done.stderr
    counts = [line.split() for line in done.stdout.splitlines()]
    assert [precision for precision, _ in counts] == ["float64", "float64", "float32", "float32"]
    assert all((int(count) > 100) == (precision == "float64") for precision, count in counts)
    assert all((int(count) < 30) == (precision == "float32") for precision, count in counts)


def test_without_a_gpu_a_sentence_says_so() -> None:
    """The setting, what was found, and the two ways out."""
    if cuda.available():
        pytest.skip("there is a GPU")
    with pytest.raises((InvalidProblem, MissingExtra), match=r'^device="cuda" was given, .*(no NVIDIA GPU|NVVM)'):
        to.solve(problems.load("pendulum"), MPPI(device="cuda"))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Numba without its CUDA part is no GPU, and the sentence names what to install."""
    monkeypatch.setattr(cuda, "cuda", None)
    monkeypatch.setattr(cuda, "_IMPORT_ERROR", "No module named 'numba.cuda'", raising=False)
    assert not cuda.available()
    with pytest.raises(MissingExtra, match=r"No module named 'numba.cuda'.*trajopt\[cuda\]"):
        cuda.check_device()
