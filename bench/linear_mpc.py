"""Random linear MPC beside quadratic-programming solvers: ``python -m bench.linear_mpc``.

The benchmark of ALTRO-MPC (ICRA 2021): 12 states, 6 controls, 101 knots, steps of 0.1, |u| <= 3, weights 10 rand on the
states, 0.1 on the controls and N - 1 times as much at the end, tracking a random trajectory of 1101 knots from a state
with 1 % of noise, tolerance 1e-4, warm-started. All solvers get the same numbers one after the other. What is timed is
the update of the vectors and the solve, of ours `Problem.at`, `Solution.shift` and `solve`. One judge simulates the
controls, clipped to their bounds, and compares the cost with that of Clarabel at 1e-10: the gap beside each time is
the largest that there was.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import clarabel
import numpy as np
import osqp
import piqp
from numpy.typing import NDArray
from scipy import linalg, sparse

import trajopt as to
from trajopt.solvers.interior_point import InteriorPoint

Array = NDArray[np.float64]

STATES, CONTROLS, LIMIT, TOLERANCE = 12, 6, 3.0, 1e-4


@dataclass(frozen=True)
class Plant:
    """Dynamics x+ = A x + B u, diagonal weights of states, and the number of steps."""

    A: Array
    B: Array
    Q: Array
    steps: int

    def references(self, count: int, random: np.random.Generator) -> Array:
        """A trajectory under random controls, (count, nx)."""
        x = [random.standard_normal(STATES)]
        for _ in range(count - 1):
            x.append(self.A @ x[-1] + self.B @ random.uniform(-1.0, 1.0, CONTROLS))
        return np.array(x)

    def cost(self, start: Array, u: Array, reference: Array) -> float:
        """What controls really cost."""
        x, total = start, 0.0
        for control, goal in zip(np.clip(u, -LIMIT, LIMIT), reference[:-1], strict=True):
            total += 0.5 * float((x - goal) @ (self.Q * (x - goal)) + 0.1 * control @ control)
            x = self.A @ x + self.B @ control
        return total + 0.5 * self.steps * float((x - reference[-1]) @ (self.Q * (x - reference[-1])))


def make_plant(knots: int, random: np.random.Generator) -> Plant:
    """A random continuous system, none of whose modes grows, held over steps of 0.1."""
    rate = random.standard_normal((STATES, STATES))
    rate -= np.eye(STATES) * max(0.0, float(np.linalg.eigvals(rate).real.max()))
    both = np.zeros((STATES + CONTROLS, STATES + CONTROLS))
    both[:STATES] = 0.1 * np.hstack([rate, random.standard_normal((STATES, CONTROLS))])
    held = linalg.expm(both)[:STATES]
    return Plant(held[:, :STATES], held[:, STATES:], 10.0 * random.random(STATES), knots - 1)


class Ours:
    """`InteriorPoint` on the tracking problem; the reference is a parameter, of which a step picks its own row."""

    def __init__(self, plant: Plant) -> None:
        knots = plant.steps + 1

        def goal(t, p):
            return np.array([np.where(t == k, 1.0, 0.0) for k in range(knots)]) @ p["reference"]

        def stage_cost(x, u, t, p):
            left = x - goal(t, p)
            return 0.5 * (left @ (plant.Q * left) + 0.1 * (u @ u))

        def terminal_cost(x, p):
            left = x - p["reference"][-1]
            return 0.5 * plant.steps * (left @ (plant.Q * left))

        self.problem = to.Problem(
            to.DiscreteDynamics(lambda x, u: plant.A @ x + plant.B @ u, nx=STATES, nu=CONTROLS),
            stage_cost=stage_cost,
            terminal_cost=terminal_cost,
            initial_state=np.zeros(STATES),
            constraints=[to.Bounds(control=(-LIMIT, LIMIT))],
            horizon=to.Horizon(steps=plant.steps),
            parameters={"reference": np.zeros((knots, STATES))},
        )
        # A shifted plan is near the next one: the barrier need not begin above the accuracy that is asked for.
        self.solver, self.last = InteriorPoint(tolerance=TOLERANCE, initial_barrier=TOLERANCE), None

    def solve(self, start: Array, reference: Array) -> Array:
        """Controls for a state and a reference."""
        problem = self.problem.at(initial_state=start, parameters={"reference": reference})
        guess = None if self.last is None else self.last.shift(1)
        self.last = to.solve(problem, self.solver, guess=guess)
        return self.last.u


class Quadratic:
    """The same as one sparse quadratic program: variables x_0, ..., x_N, u_0, ..., u_{N-1}; rows are the dynamics."""

    def __init__(self, plant: Plant) -> None:
        self.plant, n = plant, plant.steps
        weights = [np.tile(plant.Q, n), n * plant.Q, np.full(n * CONTROLS, 0.1)]
        self.P = sparse.csc_matrix(sparse.diags(np.concatenate(weights)))
        shift = sparse.kron(sparse.eye(n + 1, k=-1), plant.A) - sparse.eye((n + 1) * STATES)
        inputs = sparse.kron(sparse.vstack([sparse.csc_matrix((1, n)), sparse.eye(n)]), plant.B)
        self.A = sparse.csc_matrix(sparse.hstack([shift, inputs]))
        self.A.sort_indices()
        states = (n + 1) * STATES
        self.box = sparse.csc_matrix(sparse.eye(n * CONTROLS, states + n * CONTROLS, k=states))
        self.states = states

    def linear(self, reference: Array) -> Array:
        """Gradient at zero."""
        pull = -self.plant.Q * reference
        pull[-1] *= self.plant.steps
        return np.concatenate([pull.ravel(), np.zeros(self.plant.steps * CONTROLS)])

    def right(self, start: Array) -> Array:
        """Right-hand side of the dynamics."""
        return np.concatenate([-start, np.zeros(self.plant.steps * STATES)])

    def controls(self, w: Array) -> Array:
        """(N, nu) in a solution."""
        return np.asarray(w)[self.states :].reshape(self.plant.steps, CONTROLS)


def with_osqp(program: Quadratic) -> Callable[[Array, Array], Array]:
    """OSQP keeps primal and dual of the last solve."""
    limits = np.full(program.box.shape[0], LIMIT)
    zero = np.zeros(STATES * (program.plant.steps + 1))
    solver = osqp.OSQP()
    rows = sparse.csc_matrix(sparse.vstack([program.A, program.box]))
    settings = {"eps_abs": TOLERANCE, "eps_rel": TOLERANCE, "verbose": False, "max_iter": 20000}
    solver.setup(
        program.P, np.zeros(program.P.shape[0]), rows, np.append(zero, -limits), np.append(zero, limits), **settings
    )

    def solve(start: Array, reference: Array) -> Array:
        right = program.right(start)
        solver.update(q=program.linear(reference), l=np.append(right, -limits), u=np.append(right, limits))
        return program.controls(solver.solve(raise_error=True).x)

    return solve


def with_piqp(program: Quadratic) -> Callable[[Array, Array], Array]:
    """PIQP, an interior method that cannot be warm-started."""
    free = np.full(program.states, np.inf)
    box = np.full(program.box.shape[0], LIMIT)
    solver = piqp.SparseSolver()
    solver.settings.eps_abs = solver.settings.eps_rel = TOLERANCE
    empty = np.zeros(program.P.shape[0])
    solver.setup(
        program.P, empty, program.A, program.right(np.zeros(STATES)),
        x_l=np.concatenate([-free, -box]), x_u=np.concatenate([free, box]),
    )  # fmt: skip

    def solve(start: Array, reference: Array) -> Array:
        solver.update(c=program.linear(reference), b=program.right(start))
        solver.solve()
        return program.controls(solver.result.x)

    return solve


def with_clarabel(program: Quadratic, tolerance: float = TOLERANCE) -> Callable[[Array, Array], Array]:
    """Clarabel, an interior method that cannot be warm-started."""
    count = program.box.shape[0]
    rows = sparse.csc_matrix(sparse.vstack([program.A, program.box, -program.box]))
    limits = np.full(2 * count, LIMIT)
    settings = clarabel.DefaultSettings()
    settings.verbose = settings.presolve_enable = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = tolerance
    cones = [clarabel.ZeroConeT(program.A.shape[0]), clarabel.NonnegativeConeT(2 * count)]
    empty = np.zeros(program.P.shape[0])
    solver = clarabel.DefaultSolver(
        program.P, empty, rows, np.append(program.right(np.zeros(STATES)), limits), cones, settings
    )

    def solve(start: Array, reference: Array) -> Array:
        solver.update(q=program.linear(reference), b=np.append(program.right(start), limits))
        return program.controls(solver.solve().x)

    return solve


def run(knots: int, solves: int, seed: int = 1) -> dict[str, tuple[float, float]]:
    """Median milliseconds and largest relative gap of cost for each solver, over a closed loop."""
    random = np.random.default_rng(seed)
    plant = make_plant(knots, random)
    reference = plant.references(solves + knots, random)
    program, ours = Quadratic(plant), Ours(plant)
    solvers: dict[str, Callable[[Array, Array], Array]] = {
        "InteriorPoint": ours.solve, "OSQP": with_osqp(program), "PIQP": with_piqp(program),
        "Clarabel": with_clarabel(program),
    }  # fmt: skip
    judge = with_clarabel(program, 1e-10)
    seconds: dict[str, list[float]] = {name: [] for name in solvers}
    gaps = dict.fromkeys(solvers, 0.0)
    state = reference[0]
    for k in range(solves):
        ahead, start = reference[k : k + knots], state * (1.0 + 0.01 * random.standard_normal(STATES))
        best = judge(start, ahead)
        least = plant.cost(start, best, ahead)
        for name, solve in solvers.items():
            began = time.perf_counter()
            u = solve(start, ahead)
            seconds[name].append(time.perf_counter() - began)
            gaps[name] = max(gaps[name], plant.cost(start, u, ahead) / least - 1.0)
        state = plant.A @ start + plant.B @ np.clip(best[0], -LIMIT, LIMIT)
    # The first solve of each is cold, and ours compiles.
    return {name: (1e3 * statistics.median(seconds[name][1:]), gaps[name]) for name in solvers}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(prog="python -m bench.linear_mpc", description=__doc__.splitlines()[0])
    parser.add_argument("--knots", type=int, default=101)
    parser.add_argument("--solves", type=int, default=200)
    chosen = parser.parse_args()
    print(f"{'':16}{'ms':>9} {'largest gap of cost':>22}")
    for name, (milliseconds, gap) in run(chosen.knots, chosen.solves).items():
        print(f"{name:16}{milliseconds:9.3f} {gap:22.1e}")


if __name__ == "__main__":
    main()
