"""What a user waits for in a fresh process: ``python -m bench.fresh MODE`` does one thing and prints its times as JSON.

Modes: import-trajopt, import-casadi, trajopt, ipopt. The last two swing up a cart-pole that nobody has seen before: its
gravity is drawn anew, so that no cache of expressions can know it. The clock starts before the first import.
"""

from __future__ import annotations

import importlib
import json
import random
import subprocess
import sys
import time
from typing import Any

START = time.perf_counter()
HEAVY = ("torch", "matplotlib", "numba", "llvmlite", "casadi", "scipy", "pandas")
STEPS, DURATION, FORCE = 100, 5.0, 3.0


def acceleration(sine: Any, cosine: Any, rate: Any, force: Any, gravity: float) -> tuple[Any, Any]:
    """Of cart and pole; the same formula for both libraries."""
    linear = (force + 0.1 * rate * rate * sine + 0.2 * gravity * cosine * sine) / (1.0 + 0.2 * sine * sine)
    return linear, -(cosine * linear + gravity * sine) / 0.5


def pumping() -> Any:
    """States (N+1, 4) that swing to and fro first, because the motor is weak: the guess of both."""
    import numpy as np  # noqa: PLC0415

    way = np.linspace(0.0, 1.0, STEPS + 1)
    angle = np.pi * way**2 - 1.5 * way * np.sin(4.0 * np.pi * way)
    states = np.zeros((STEPS + 1, 4))
    states[:, 1], states[:, 3] = angle, np.gradient(angle, way * DURATION)
    return states


def solve_with_trajopt(gravity: float) -> dict[str, Any]:
    """Solve with ILQR, as a user's script would."""
    import numpy as np  # noqa: PLC0415

    import trajopt as to  # noqa: PLC0415
    from trajopt.solvers import ILQR  # noqa: PLC0415

    imported = time.perf_counter() - START

    def cartpole(x: Any, u: Any) -> Any:
        return np.array([x[2], x[3], *acceleration(np.sin(x[1]), np.cos(x[1]), x[3], u[0], gravity)])

    goal = np.array([0.0, np.pi, 0.0, 0.0])
    problem = to.Problem(
        to.ContinuousDynamics(cartpole, nx=4, nu=1),
        stage_cost=lambda x, u: 0.005 * ((x - goal) @ (x - goal)) + 0.05 * u[0] ** 2,
        terminal_cost=lambda x: 50.0 * ((x - goal) @ (x - goal)),
        initial_state=np.zeros(4),
        constraints=[to.Bounds(control=(-FORCE, FORCE))],
        horizon=to.Horizon(DURATION, steps=STEPS),
        guess=(np.linspace(0.0, DURATION, STEPS + 1), pumping(), np.zeros((STEPS, 1))),
    )
    solution = to.solve(problem, ILQR())
    return {"import": imported, "cost": solution.cost, "solved": solution.success}


def solve_with_ipopt(gravity: float) -> dict[str, Any]:
    """Solve by multiple shooting with CasADi and IPOPT."""
    import casadi as ca  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    imported = time.perf_counter() - START
    x, u, h = ca.SX.sym("x", 4), ca.SX.sym("u"), DURATION / STEPS
    goal = np.array([0.0, np.pi, 0.0, 0.0])
    error = x - goal
    rate = ca.vertcat(x[2], x[3], *acceleration(ca.sin(x[1]), ca.cos(x[1]), x[3], u, gravity))
    f = ca.Function("f", [x, u], [ca.vertcat(rate, 0.005 * ca.dot(error, error) + 0.05 * u**2)])
    k1 = f(x, u)
    k2 = f(x + h / 2 * k1[:4], u)
    k3 = f(x + h / 2 * k2[:4], u)
    k4 = f(x + h * k3[:4], u)
    total = h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    step = ca.Function("step", [x, u], [x + total[:4], total[4]])
    opti = ca.Opti()
    states, controls = opti.variable(4, STEPS + 1), opti.variable(1, STEPS)
    following, costs = step.map(STEPS)(states[:, :-1], controls)
    miss = states[:, -1] - goal
    opti.minimize(ca.sum2(costs) + 50.0 * ca.dot(miss, miss))
    opti.subject_to(states[:, 1:] == following)
    opti.subject_to(states[:, 0] == 0)
    opti.subject_to(opti.bounded(-FORCE, controls, FORCE))
    opti.set_initial(states, pumping().T)
    opti.solver("ipopt", {"expand": True, "print_time": False}, {"print_level": 0, "sb": "yes"})
    solution = opti.solve()
    return {"import": imported, "cost": float(solution.value(opti.f)), "solved": True}


def run(mode: str) -> dict[str, Any]:
    """Start a fresh process in that mode; adds ``process``, the seconds from its start to its end.

    Raises
    ------
    subprocess.CalledProcessError
        When it fails; its own words went to standard error.
    """
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "bench.fresh", mode], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1]) | {"process": time.perf_counter() - start}


def main(mode: str) -> None:
    """Do what the mode says and print the result."""
    if mode.startswith("import-"):
        importlib.import_module(mode.removeprefix("import-"))
        found: dict[str, Any] = {}
    else:
        found = {"trajopt": solve_with_trajopt, "ipopt": solve_with_ipopt}[mode](9.8 + 0.02 * random.random())
    found["seconds"] = time.perf_counter() - START
    found["heavy"] = [name for name in HEAVY if name in sys.modules]
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
