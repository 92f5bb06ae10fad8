"""Calls by address from Numba kernels, and the kernels' cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import casadi as ca
import numpy as np
import pytest
from numba.core.errors import TypingError

from trajopt.lowering import compile_functions
from trajopt.lowering.call import call2, call4
from trajopt.lowering.kernel import kernel

KERNEL = """
from trajopt.lowering.call import call2
from trajopt.lowering.kernel import kernel
from small.helper import scale

@kernel
def apply(address, x, y):
    for k in range(x.shape[0]):
        call2(address, x, k * x.shape[1], y, k)
        y[k, 0] = scale(y[k, 0])
"""
HELPER = """
from trajopt.lowering.kernel import kernel

@kernel(inline="{inline}")
def scale(value):
    return {factor} * value
"""
MAIN = """
import json
import casadi as ca, numpy as np
from trajopt.lowering import compile_functions
from small.kernels import apply
x = ca.SX.sym("x", 2)
code = compile_functions({"f": ca.Function("f", [x], [x[0] * x[1]])})
points, result = np.arange(6.0).reshape(3, 2), np.zeros((3, 1))
apply(code.address("f"), points, result)
print(json.dumps([result.ravel().tolist(), sum(apply.stats.cache_hits.values())]))
"""


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAJOPT_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def package(tmp_path):
    """A small package of kernels."""
    folder = tmp_path / "small"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "kernels.py").write_text(KERNEL)
    return folder


def run(package, factor, inline="never"):
    """Run the kernel in a fresh process; returns its result and how often it came from the cache."""
    (package / "helper.py").write_text(HELPER.format(factor=factor, inline=inline))
    path = os.pathsep.join([str(package.parent), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    output = subprocess.run(
        [sys.executable, "-c", MAIN], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(output.stdout)


def test_kernel_cache_follows_helper_sources(package):
    """A second process loads the kernel; after a change in a helper's file it is compiled again, and back again."""
    assert run(package, 1.0) == [[0.0, 6.0, 20.0], 0]
    assert run(package, 1.0) == [[0.0, 6.0, 20.0], 1]
    assert run(package, 3.0, inline="always") == [[0.0, 18.0, 60.0], 0]
    assert run(package, 1.0) == [[0.0, 6.0, 20.0], 1]


def test_damaged_kernel_files_are_rebuilt(package):
    """Truncated files cost a compilation, and sound ones lie there afterwards."""
    run(package, 1.0)
    for path in (package.parent / "cache").rglob("kernel-*"):
        path.write_bytes(path.read_bytes()[:-100])
    assert run(package, 1.0) == [[0.0, 6.0, 20.0], 0]
    assert run(package, 1.0) == [[0.0, 6.0, 20.0], 1]


def test_calls_pass_element_offsets():
    """Offsets count elements in C order in arrays of any dimension, and no other element is touched."""
    x, u = ca.SX.sym("x", 2), ca.SX.sym("u", 1)
    function = ca.Function("f", [x, u], [x + u, x[0] * u])
    code = compile_functions({"f": function})

    @kernel
    def step(address, states, controls, costs, t):
        call4(address, states, 2 * t, controls, t, states, 2 * (t + 1), costs, t + 1)

    states = np.arange(8.0).reshape(2, 2, 2)
    controls, costs = np.array([10.0, 20.0, 30.0]), np.full(4, np.nan)
    step(code.address("f"), states, controls, costs, 1)
    np.testing.assert_array_equal(states.ravel(), [0, 1, 2, 3, 22, 23, 6, 7])
    np.testing.assert_array_equal(costs, [np.nan, np.nan, 40.0, np.nan])


@pytest.mark.parametrize("bad", [np.ones((4, 4))[:, ::2], np.ones(4, dtype=np.float32), np.ones((2, 2), order="F")])
def test_calls_refuse_arrays_of_another_layout(bad):
    """Strided and column-major arrays, and those of two precisions, would be read wrongly, so they do not compile."""

    @kernel
    def run_kernel(address, x, y):
        call2(address, x, 0, y, 0)

    with pytest.raises(TypingError, match=r"C-contiguous float(32|64)"):
        run_kernel(0, bad, np.ones(2))


def test_nan_and_infinity_survive_kernels():
    """Divergence checks depend on NaN and infinity, so kernels must not assume them away."""

    @kernel
    def check(x):
        total = 0.0
        for k in range(x.shape[0]):
            total += x[k]
        return np.isfinite(total), np.isnan(total), total - total == 0.0

    assert check(np.array([1.0, 2.0])) == (True, False, True)
    assert check(np.array([1.0, np.inf])) == (False, False, False)
    assert check(np.array([np.inf, -np.inf])) == (False, True, False)
