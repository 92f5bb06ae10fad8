"""Problems with known truth, and slow obvious oracles, for the tests of iLQR and DDP."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.guess import make_guess
from trajopt.problem import Problem
from trajopt.solvers import ilqr, ilqr_run
from trajopt.transcription.stages import compile_stages

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LinearQuadratic:
    """A time-varying linear-quadratic problem: z = (x, u), x+ = F_k z + c_k, cost 1/2 z'H z + g_k'z, 1/2 x'P x + p'x.

    F_k = F + sin(k) D, c_k = cos(k) c, g_k = cos(k) g; H positive definite with cross terms.
    """

    F: Array
    D: Array
    c: Array
    H: Array
    g: Array
    P: Array
    p: Array
    x0: Array
    steps: int

    @staticmethod
    def draw(seed: int, nx: int, nu: int, steps: int) -> LinearQuadratic:
        """Random data; the dynamics grow by at most a factor near one a step, so that nothing is ill-conditioned."""
        rng = np.random.default_rng(seed)
        nz = nx + nu
        F, D, root, end = (rng.normal(size=shape) for shape in ((nx, nz), (nx, nz), (nz, nz), (nx, nx)))
        F[:, :nx] /= np.linalg.norm(F[:, :nx], 2)
        D *= 0.1 / np.linalg.norm(D, 2)
        return LinearQuadratic(
            F, D, rng.normal(size=nx), root @ root.T / nz + np.eye(nz), rng.normal(size=nz), end @ end.T / nx,
            rng.normal(size=nx), rng.normal(size=nx), steps,
        )  # fmt: skip

    @property
    def nx(self) -> int:
        return self.F.shape[0]

    @property
    def nu(self) -> int:
        return self.F.shape[1] - self.nx

    def stage(self, k: float) -> tuple[Array, Array, Array]:
        """F_k, c_k, g_k."""
        return self.F + np.sin(k) * self.D, np.cos(k) * self.c, np.cos(k) * self.g

    def problem(self, *constraints: object) -> Problem:
        """The same as a problem of this library."""

        def dynamics(x, u, t):
            F, c, _ = self.stage(t)
            return F @ np.concatenate([x, u]) + c

        def cost(x, u, t):
            z = np.concatenate([x, u])
            return 0.5 * (z @ self.H @ z) + self.stage(t)[2] @ z

        return to.Problem(
            to.DiscreteDynamics(dynamics, nx=self.nx, nu=self.nu),
            stage_cost=cost,
            terminal_cost=lambda x: 0.5 * (x @ self.P @ x) + self.p @ x,
            initial_state=self.x0,
            constraints=constraints,
            horizon=to.Horizon(steps=self.steps),
        )

    def roll_out(self, u: Array) -> Array:
        """States (N+1, nx) under controls (N, nu)."""
        x = [self.x0]
        for k in range(self.steps):
            F, c, _ = self.stage(k)
            x.append(F @ np.concatenate([x[-1], u[k]]) + c)
        return np.array(x)

    def cost(self, u: Array) -> float:
        """Cost of controls (N, nu)."""
        x = self.roll_out(u)
        total = 0.5 * x[-1] @ self.P @ x[-1] + self.p @ x[-1]
        for k in range(self.steps):
            z = np.concatenate([x[k], u[k]])
            total += 0.5 * z @ self.H @ z + self.stage(k)[2] @ z
        return float(total)

    def condense(self) -> tuple[Array, Array, Array, Array]:
        """Hessian and gradient of the cost at u = 0, and x_N = M u + x_N(0), by differences that are exact."""
        size = self.steps * self.nu
        shape = (self.steps, self.nu)
        base = self.cost(np.zeros(shape))
        rest = self.roll_out(np.zeros(shape))[-1]
        unit = np.eye(size)
        single = np.array([self.cost(unit[i].reshape(shape)) for i in range(size)])
        hessian = np.array(
            [[self.cost((unit[i] + unit[j]).reshape(shape)) - single[i] - single[j] + base for j in range(size)]
             for i in range(size)]
        )  # fmt: skip
        ends = np.array([self.roll_out(unit[i].reshape(shape))[-1] - rest for i in range(size)]).T
        return hessian, single - base - 0.5 * np.diag(hessian), ends, rest

    def riccati(self) -> tuple[Array, Array, Array, Array]:
        """Gains K (N, nu, nx), offsets k (N, nu) of u = K x + k, and value functions 1/2 x'P x + p'x at every knot."""
        nx, P, p = self.nx, self.P, self.p
        K, k, values, slopes = [], [], [P], [p]
        for stage in reversed(range(self.steps)):
            F, c, g = self.stage(stage)
            Q, q = self.H + F.T @ P @ F, g + F.T @ (P @ c + p)
            K.append(-np.linalg.solve(Q[nx:, nx:], Q[nx:, :nx]))
            k.append(-np.linalg.solve(Q[nx:, nx:], q[nx:]))
            P, p = Q[:nx, :nx] + Q[:nx, nx:] @ K[-1], q[:nx] + Q[:nx, nx:] @ k[-1]
            values.append(P)
            slopes.append(p)
        return tuple(np.array(part[::-1]) for part in (K, k, values, slopes))


def pendulum(steps: int = 30) -> Problem:
    """Swing a pendulum up in discrete time; smooth, and far from quadratic."""

    def dynamics(x, u):
        rate = x[1] + 0.1 * (u[0] - 3.0 * np.sin(x[0]))
        return np.array([x[0] + 0.1 * rate, rate])

    return to.Problem(
        to.DiscreteDynamics(dynamics, states=["angle", "rate"], controls=["torque"]),
        stage_cost=lambda x, u: 0.1 * (x[0] - np.pi) ** 2 + 0.01 * x[1] ** 2 + 0.05 * u[0] ** 2,
        terminal_cost=lambda x: 10.0 * (x[0] - np.pi) ** 2 + x[1] ** 2,
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(steps=steps),
    )


def cartpole(
    *, start=(0.0, 0.0, 0.0, 0.0), end=np.pi, steps: int = 64, begin: float = 0.0, scale: float = 1.0
) -> Problem:
    """Swing a cart-pole up against a bound on the force; steps of 1/16 s are exact in binary."""

    def dynamics(x, u):
        _, angle, velocity, rate = x
        s, c = np.sin(angle), np.cos(angle)
        mass = 1.0 + 0.25 * s * s
        acceleration = (u[0] + 0.25 * s * (0.5 * rate**2 + 9.81 * c)) / mass
        turning = (-u[0] * c - 0.125 * rate**2 * c * s - 12.2625 * s) / (0.5 * mass)
        return np.array([velocity, rate, acceleration, turning])

    def distance(x):
        return x[0] ** 2 + (x[1] - end) ** 2 + 0.125 * x[2] ** 2 + 0.125 * x[3] ** 2

    return to.Problem(
        to.ContinuousDynamics(dynamics, states=["position", "angle", "velocity", "rate"], controls=["force"]),
        stage_cost=lambda x, u: scale * (0.25 * distance(x) + 0.0625 * u[0] ** 2),
        terminal_cost=lambda x: scale * 8.0 * distance(x),
        initial_state=list(start),
        constraints=[to.Bounds(control=(-8.0, 8.0))],
        horizon=to.Horizon(steps / 16, steps=steps, start=begin),
    )


def edge(target: float) -> Problem:
    """Push a mass towards ``target``; its dynamics are NaN beyond x = 1."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([u[0] - np.sqrt(1.0 - x[0])]), states=["x"], controls=["u"]),
        stage_cost=lambda x, u: 0.5 * u[0] ** 2,
        terminal_cost=lambda x: 50.0 * (x[0] - target) ** 2,
        initial_state=[0.0],
        horizon=to.Horizon(1.0, steps=10),
    )


def held(problem: Problem, u: Array, x: Array | None = None) -> tuple[Array, Array, Array]:
    """A guess of these controls and, unless others are given, of the states that they lead to."""
    t, u = make_guess(problem, None).t, np.asarray(u, float)
    if x is None:
        code, lower_upper = compile_stages(problem, "rk4", second_order=False).code, problem.control_bounds
        states, parameters = [problem.initial_values], problem.layout.pack(problem.parameters)
        for control, start, step in zip(np.clip(u, *lower_upper), t, np.diff(t), strict=False):
            states.append(code.evaluate("step", states[-1], control, [start, step], parameters)[0].ravel())
        x = np.array(states)
    return t, x, u


def start_run(solver: ilqr.ILQR | ilqr.DDP, problem: Problem, u: Array) -> ilqr_run.Run:
    """A run whose guess is valued, so that `step` may be called."""
    stages = compile_stages(problem, solver.integrator, second_order=solver.second_order)
    run = ilqr_run.Run(solver, problem, stages, make_guess(problem, held(problem, u)))
    assert run.start()
    return run
