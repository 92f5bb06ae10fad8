"""Lowering: seconds from an expression to an address, and nanoseconds to microseconds a call, against the alternatives.

Run with ``python bench/lowering.py``. The expressions are Hessians of the Lagrangian of a chain of pendulums.
"""

from __future__ import annotations

import ctypes
import os
import tempfile
import time
from collections.abc import Callable

import casadi as ca
import numba
import numpy as np

from trajopt.lowering import compile_functions, machine_code
from trajopt.lowering.call import call4
from trajopt.lowering.program import read_program

NUMBA_LIMIT = 1500  # operations: beyond it Numba's front end takes many seconds


def pendulum_hessian(links: int) -> ca.Function:
    """Hessian of costate' f for a chain of unit pendulums."""
    x, u, costate = ca.SX.sym("x", 2 * links), ca.SX.sym("u", links), ca.SX.sym("l", 2 * links)
    q, v = x[:links], x[links:]
    kinetic, across, up = 0, 0, 0
    for i in range(links):
        across, up = across + ca.sin(q[i]), up - ca.cos(q[i])
        kinetic += 0.5 * ((ca.jacobian(across, q) @ v) ** 2 + (ca.jacobian(up, q) @ v) ** 2)
    mass = ca.hessian(kinetic, v)[0]
    bias = ca.jtimes(ca.gradient(kinetic, v), q, v) - ca.gradient(kinetic, q) + ca.gradient(9.81 * up, q)
    f = ca.vertcat(v, ca.solve(mass, u - bias))
    hessian = ca.tril(ca.hessian(ca.dot(costate, f), ca.vertcat(x, u))[0])
    return ca.Function("hessian", [x, u, costate], [hessian], {"cse": True})


def cartpole_step() -> ca.Function:
    """One Runge-Kutta step and the running cost."""
    x, u = ca.SX.sym("x", 4), ca.SX.sym("u", 1)
    cart, pole, length, gravity, dt = 1.0, 0.1, 0.5, 9.81, 0.02

    def f(state: ca.SX) -> ca.SX:
        s, c = ca.sin(state[1]), ca.cos(state[1])
        push = (u + pole * length * state[3] ** 2 * s) / (cart + pole)
        turn = (gravity * s - c * push) / (length * (4 / 3 - pole * c * c / (cart + pole)))
        return ca.vertcat(state[2], state[3], push - pole * length * turn * c / (cart + pole), turn)

    k1 = f(x)
    k2 = f(x + dt / 2 * k1)
    k3 = f(x + dt / 2 * k2)
    k4 = f(x + dt * k3)
    following = x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return ca.Function("step", [x, u], [following, x[1] ** 2 + 0.01 * u**2], {"cse": True})


def python_source(function: ca.Function) -> str:
    """Return the function as straight-line Python for Numba."""
    symbols = {"ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/"}
    program = read_program("f", function)
    lines = ["def f(a0, a1, a2, out):"]
    for k, operation in enumerate(program.operations):
        names = [f"v{i}" for i in operation.operands]
        if operation.name == "INPUT":
            text = "a{}[{}]".format(*operation.source)
        elif operation.name == "CONST":
            text = repr(operation.value)
        elif operation.name in symbols:
            text = symbols[operation.name].join(names)
        else:
            one = {"NEG": "-{0}", "SQ": "{0} * {0}", "TWICE": "{0} + {0}", "INV": "1.0 / {0}"}
            text = one.get(operation.name, f"np.{operation.name.lower()}({{0}})").format(*names)
        lines.append(f"    v{k} = {text}")
    lines += [f"    out[{place}] = v{node}" for place, node in program.outputs[0].entries]
    return "\n".join(lines)


def best_time(call: Callable[[], object], repetitions: int) -> float:
    """Shortest of seven means, in seconds."""
    best = np.inf
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(repetitions):
            call()
        best = min(best, (time.perf_counter() - start) / repetitions)
    return best


def lowering_rows() -> None:
    """Print compile, load and run times of each size."""
    names = ["compile s", "load s", "run us", "CasADi us", "Numba s", "Numba us"]
    print("operations " + " ".join(f"{name:>9}" for name in names))
    for links in (2, 3, 4, 5, 6):
        function = pendulum_hessian(links)
        start = time.perf_counter()
        code = compile_functions({"f": function})
        cold = time.perf_counter() - start
        machine_code._loaded.clear()
        start = time.perf_counter()
        code = compile_functions({"f": function})
        warm = time.perf_counter() - start
        inputs = [np.random.default_rng(0).standard_normal(function.size1_in(i)) for i in range(3)]
        out = np.zeros(function.size_out(0))
        entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(code.address("f"))
        pointers = [array.ctypes.data for array in (*inputs, out)]
        repetitions = max(3, 2_000_000 // function.n_instructions())
        run = best_time(lambda entry=entry, pointers=pointers: entry(*pointers), repetitions)
        buffer, evaluate = function.buffer()
        for i, array in enumerate(inputs):
            buffer.set_arg(i, memoryview(array))
        nonzeros = np.zeros(function.nnz_out(0))
        buffer.set_res(0, memoryview(nonzeros))
        virtual = best_time(evaluate, max(3, repetitions // 30))
        row = f"{function.n_instructions():>10,} {cold:>9.3f} {warm:>9.4f} {run * 1e6:>9.2f} {virtual * 1e6:>9.1f}"
        print(row + numba_columns(function, inputs, pointers), flush=True)


def numba_columns(function: ca.Function, inputs: list[np.ndarray], pointers: list[int]) -> str:
    """Compile and run times of Numba on generated source, for small functions."""
    if function.n_instructions() > NUMBA_LIMIT:
        return f" {'-':>9} {'-':>9}"
    namespace: dict[str, Callable] = {"np": np}
    exec(python_source(function), namespace)
    numba.njit(lambda a: a)(1.0)  # Numba's own start is not counted
    pointer = numba.types.CPointer(numba.types.float64)
    start = time.perf_counter()
    compiled = numba.cfunc(numba.types.void(*[pointer] * 4))(namespace["f"])
    seconds = time.perf_counter() - start
    entry = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(compiled.address)
    run = best_time(lambda: entry(*pointers), 2000)
    return f" {seconds:>9.3f} {run * 1e6:>9.2f}"


@numba.njit(nogil=True)
def rollout(address, x, u, cost, total):
    """x (blocks, 4, lanes) in place, u (horizon, blocks, lanes), total (blocks, lanes)."""
    blocks, lanes = total.shape
    for b in range(blocks):
        for t in range(u.shape[0]):
            call4(address, x, b * 4 * lanes, u, (t * blocks + b) * lanes, x, b * 4 * lanes, cost, 0)
            for j in range(lanes):
                total[b, j] += cost[j]


def vector_rows() -> None:
    """Print the time of one cart-pole step and cost for each number of lanes."""
    print(f"\n{'lanes':>10} {'compile s':>10} {'ns a sample-step (cart-pole, RK4 and cost)':>44}")
    samples, horizon = 10240, 50
    function = cartpole_step()
    for lanes in (1, 2, 4, 8, 16, 32):
        start = time.perf_counter()
        code = compile_functions({"step": function}, lanes=lanes)
        seconds = time.perf_counter() - start
        blocks = samples // lanes
        x, total, cost = np.zeros((blocks, 4, lanes)), np.zeros((blocks, lanes)), np.zeros(lanes)
        u = np.random.default_rng(0).standard_normal((horizon, blocks, lanes))
        address = code.address("step")

        def run(address=address, x=x, u=u, cost=cost, total=total) -> None:
            x[:] = 0.0
            rollout(address, x, u, cost, total)

        run()
        print(f"{lanes:>10} {seconds:>10.3f} {best_time(run, 1) / samples / horizon * 1e9:>44.2f}", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRAJOPT_CACHE_DIR"] = folder
        compile_functions({"f": pendulum_hessian(1)})  # LLVM's own start is not counted
        lowering_rows()
        vector_rows()
