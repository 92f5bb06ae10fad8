"""Random problems whose optimum is known before any solver runs, and relations that hold between random problems."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import trajopt as to
from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.solvers import CEM, CMAES, DDP, DIAL, ICEM, ILQR, MPPI, Collocation, PredictiveSampling

Array = NDArray[np.float64]
EPSILON = float(np.finfo(float).eps)
EXACT = [ILQR(), DDP(), Collocation()]
SHOOTING = [ILQR(), DDP()]


def few(examples: int):
    """Derandomised; every draw compiles its own functions, which would break a deadline and make shrinking slow."""
    return settings(max_examples=examples, deadline=None, derandomize=True, phases=[Phase.generate])


@dataclass(frozen=True)
class Planted:
    """A linear-quadratic problem made backwards from its solution: states, controls and multipliers come first.

    x+ = A_k x + B u + c_k with A_k = A + k drift, cost 1/2 z'Hz + g_k'z and 1/2 x'Px + p'x with z = (x, u). The linear
    terms g_k and p are what stationarity leaves for the drawn costates and multipliers. H is positive definite and P
    semidefinite, so that the planted point is the only optimum. All numbers are eighths: their sums are exact.

    Rows, each with its multiplier: controls in [-1, 1] (``box``), G z <= h_k (``path``), E x_N = e (``end``).
    """

    A: Array
    drift: Array
    B: Array
    c: Array
    H: Array
    P: Array
    G: Array
    E: Array
    x: Array
    u: Array
    costates: Array
    box: Array
    path: Array
    slack: Array
    end: Array

    @property
    def steps(self) -> int:
        return len(self.u)

    def matrix(self, k: float) -> Array:
        return self.A + k * self.drift

    @property
    def gradients(self) -> tuple[Array, Array]:
        """g (N, nz) and p (nx,) that make the planted point stationary."""
        nx = len(self.A)
        g = np.zeros((self.steps, nx + self.u.shape[1]))
        for k in range(self.steps):
            z = np.concatenate([self.x[k], self.u[k]])
            F = np.hstack([self.matrix(k), self.B])
            g[k] = -(self.H @ z + F.T @ self.costates[k + 1] + self.G.T @ self.path[k])
            g[k, :nx] += self.costates[k]
            g[k, nx:] -= self.box[k]
        return g, self.costates[-1] - self.P @ self.x[-1] - self.E.T @ self.end

    @property
    def limits(self) -> Array:
        """h (N, rows): the planted value where the multiplier acts, above it by the slack elsewhere."""
        return np.hstack([self.x[:-1], self.u]) @ self.G.T + self.slack

    def problem(self, offset: float = 0.0) -> Problem:
        """As a problem of this library; its cost times the parameter ``factor``, plus an offset at the end."""
        g, slope = self.gradients
        h, constraints = self.limits, []

        def at(table: Array, t):  # rows of a table by a symbolic step number
            return sum(np.where(t == k, 1.0, 0.0) * row for k, row in enumerate(table))

        def cost(x, u, t, p):
            z = np.concatenate([x, u])
            return p.factor * (0.5 * (z @ self.H @ z) + at(g, t) @ z)

        if self.box.any():
            constraints.append(to.Bounds(control=(-1.0, 1.0)))
        if len(self.G):
            constraints.append(to.PathConstraint(lambda x, u, t: self.G @ np.concatenate([x, u]) - at(h, t)))
        if len(self.E):
            constraints.append(to.TerminalConstraint(lambda x: self.E @ (x - self.x[-1])))
        return to.Problem(
            to.DiscreteDynamics(lambda x, u, t: self.matrix(t) @ x + self.B @ u + at(self.c, t), *self.B.shape),
            stage_cost=cost,
            terminal_cost=lambda x, p: p.factor * (0.5 * (x @ self.P @ x) + slope @ x) + offset,
            initial_state=self.x[0],
            parameters={"factor": 1.0},
            constraints=constraints,
            horizon=to.Horizon(steps=self.steps),
        )

    def step(self, k: int, x: Array, u: Array) -> Array:
        """The next state."""
        return self.matrix(k) @ x + self.B @ u + self.c[k]

    def roll_out(self, u: Array) -> Array:
        """States (N+1, nx) under controls (N, nu)."""
        x = [self.x[0]]
        for k in range(self.steps):
            x.append(self.step(k, x[-1], u[k]))
        return np.array(x)

    def cost(self, x: Array, u: Array) -> float:
        """Cost of states (N+1, nx) and controls (N, nu), by plain loops."""
        g, p = self.gradients
        z = np.hstack([x[:-1], u])
        stages = sum(0.5 * z[k] @ self.H @ z[k] + g[k] @ z[k] for k in range(self.steps))
        return float(stages + 0.5 * x[-1] @ self.P @ x[-1] + p @ x[-1])

    def price(self, x: Array, u: Array) -> float:
        """Upper bound of optimum - cost where rows are missed a little: weak duality with the planted multipliers."""
        total = np.abs(self.end) @ np.abs(self.E @ (x[-1] - self.x[-1]))
        for k in range(self.steps):
            z = np.concatenate([x[k], u[k]])
            total += self.path[k] @ np.maximum(0.0, self.G @ z - self.limits[k])
            total += np.abs(self.box[k]) @ np.maximum(0.0, np.abs(u[k]) - 1.0)
            total += np.abs(self.costates[k + 1]) @ np.abs(x[k + 1] - self.step(k, x[k], u[k]))
        return float(total)

    @property
    def rounding(self) -> float:
        """Of a cost: operations along the horizon, times the largest term."""
        terms = np.abs(self.H).max() * max(1.0, np.abs(self.x).max(), np.abs(self.u).max()) ** 2
        terms = max(terms, *(np.abs(part).max() * np.abs(self.x).max(initial=1.0) for part in self.gradients))
        return EPSILON * 4 * self.steps * (self.x.shape[1] + self.u.shape[1]) ** 2 * terms

    @property
    def curvature(self) -> float:
        """Least eigenvalue of H: a lower bound of the curvature of the cost in every control."""
        return float(np.linalg.eigvalsh(self.H)[0])


def eighths(*shape: int, largest: int = 8) -> st.SearchStrategy[Array]:
    """Arrays of eighths up to ``largest`` eighths."""
    size = int(np.prod(shape))
    return st.lists(st.integers(-largest, largest), min_size=size, max_size=size).map(
        lambda entries: np.array(entries, float).reshape(shape) / 8.0
    )


@st.composite
def planted(draw, *, box: bool = False, path: int = 0, end: int = 0) -> Planted:
    """Problems with active and inactive rows of the kinds asked for; multipliers may be zero (degenerate)."""
    nx, nu, steps = draw(st.integers(max(1, end), 3)), draw(st.integers(1, 2)), draw(st.integers(max(2, end), 5))
    nz = nx + nu
    root, half = draw(eighths(nz, nz, largest=4)), draw(eighths(nx, nx))
    A = draw(eighths(nx, nx)) / nx  # infinity norm at most one: states stay moderate
    B, c, drift = draw(eighths(nx, nu)), draw(eighths(steps, nx, largest=4)), draw(eighths(nx, nx)) / 32.0
    u = draw(eighths(steps, nu))
    pressed = draw(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=steps * nu, max_size=steps * nu))
    pressed = np.array(pressed).reshape(steps, nu) * box
    if end:  # the last step can move the end either way, without which no multiplier would be well defined
        B[:, 0], pressed[-1] = np.eye(nx)[0], 0.0
    u = np.where(pressed != 0.0, pressed, 0.75 * u)
    x = [draw(eighths(nx))]
    for k in range(steps):
        x.append((A + k * drift) @ x[-1] + B @ u[k] + c[k])
    # Each path row holds a control of its own, and each end row a state: the gradients are independent.
    G = np.hstack([draw(eighths(path, nx, largest=4)), np.eye(path, nu)])
    E = np.hstack([np.eye(end), draw(eighths(end, nx - end, largest=4))])
    acts = np.array(draw(st.lists(st.booleans(), min_size=steps * path, max_size=steps * path)), bool)
    # A control at its lower bound is not pressed from above as well: between the two would be no room, for any solver.
    acts = acts.reshape(steps, path) & (np.arange(steps) < steps - (end > 0))[:, None] & (pressed[:, :path] >= 0.0)
    return Planted(
        A, drift, B, c, root @ root.T + 0.5 * np.eye(nz), half @ half.T, G, E, np.array(x), u,
        draw(eighths(steps + 1, nx)), pressed * np.abs(draw(eighths(steps, nu))),
        acts * np.abs(draw(eighths(steps, path))), np.where(acts, 0.0, 0.25), draw(eighths(end)),
    )  # fmt: skip


def promised(solver: object, solution: Solution, case: Planted) -> float:
    """How far above the optimum a success may lie: what each solver's docstring calls solved."""
    rows = case.box.size + case.path.size + case.end.size
    if isinstance(solver, Collocation):
        # IPOPT divides the cost by its gradient over 100, if that is above one, and lets each row miss by tolerance.
        steepness = max(1.0, max(np.abs(part).max() for part in case.gradients) * np.abs(case.x).max(initial=1.0))
        return 10.0 * (rows + 1) * solver.tolerance * steepness + case.rounding
    prices = [np.abs(solution.multipliers[kind]).sum() for kind in ("path", "end")]
    decrement = solver.tolerance * (1.0 + abs(solution.cost) + sum(prices) * solver.constraint_tolerance)
    return decrement + sum(prices) * solver.constraint_tolerance + case.rounding


def check_against_plant(case: Planted, solver: object) -> Solution:
    """Success, a truthful cost, and the planted optimum from both sides."""
    solution = to.solve(case.problem(), solver)
    assert solution.success, solution.message
    optimum, above = case.cost(case.x, case.u), promised(solver, solution, case)
    missed = case.price(solution.x, solution.u)
    # Collocation widens bounds by 1e-12 for IPOPT and moves the answer back: each pressed control's price times that.
    moved = 1e-11 * np.abs(case.box).sum() + case.rounding
    assert solution.cost == pytest.approx(case.cost(solution.x, solution.u), abs=moved)
    assert -missed - moved <= solution.cost - optimum <= above
    # Strong convexity: the cost grows by at least 1/2 m |u - u*|^2 beyond what the multipliers pay for.
    far = np.sqrt(2.0 * (above + missed + case.rounding) / case.curvature)
    np.testing.assert_allclose(solution.u, case.u, rtol=0.0, atol=far)
    return solution


@few(20)
@given(case=planted(path=1, end=1, box=True))
def test_the_planted_point_is_what_it_claims_to_be(case):
    """Meta-test: the Lagrangian is stationary there in every control, by differences of the oracle's own cost."""
    np.testing.assert_allclose(case.roll_out(case.u), case.x, rtol=0.0, atol=case.rounding)
    for i in range(case.u.size):
        step = np.zeros(case.u.size)
        step[i] = 2.0**-10
        controls = [case.u + sign * step.reshape(case.u.shape) for sign in (1.0, -1.0)]
        moved = [case.cost(case.roll_out(u), u) for u in controls]
        # The cost is quadratic: central differences are exact but for rounding.
        slope = (moved[0] - moved[1]) * 2.0**9
        slope += _rows_slope(case, step.reshape(case.u.shape) * 2.0**10)
        assert abs(slope) <= 2.0**10 * 10.0 * case.rounding


def _rows_slope(case: Planted, direction: Array) -> float:
    """Derivative of multipliers times rows along a direction of the controls."""
    dx, total = np.zeros(len(case.A)), 0.0
    for k in range(case.steps):
        total += case.path[k] @ case.G @ np.concatenate([dx, direction[k]]) + case.box[k] @ direction[k]
        dx = case.matrix(k) @ dx + case.B @ direction[k]
    return float(total + case.end @ case.E @ dx)


@pytest.mark.parametrize("solver", EXACT, ids=str)
@few(10)
@given(case=planted(box=True))
def test_planted_box(solver, case):
    """Controls pressed against their box, some with zero multiplier; the box itself holds exactly."""
    largest = np.abs(check_against_plant(case, solver).u).max()
    assert largest <= 1.0 or not case.box.any()


@pytest.mark.parametrize("solver", EXACT, ids=str)
@few(10)
@given(case=planted(end=1))
def test_planted_terminal_equality(solver, case):
    """A terminal equality with a drawn multiplier."""
    check_against_plant(case, solver)


@pytest.mark.parametrize("solver", EXACT, ids=str)
@few(10)
@given(case=planted(path=1, end=1, box=True))
def test_planted_rows_of_every_kind(solver, case):
    """Box, mixed path inequality and terminal equality at once, degenerate ones among them."""
    check_against_plant(case, solver)


@pytest.mark.parametrize("solver", EXACT, ids=str)
@few(8)
@given(case=planted(path=1, end=1), stage=st.integers(1, 4))
def test_the_tail_of_an_optimum_is_the_optimum_of_the_tail(solver, case, stage):
    """Principle of optimality: the problem that remains after some steps has the rest of the plan as its answer."""
    k = min(stage, case.steps - 1)
    rest = {name: getattr(case, name)[k:] for name in ("c", "x", "u", "costates", "box", "path", "slack")}
    check_against_plant(replace(case, A=case.matrix(k), **rest), solver)


@pytest.mark.parametrize("solver", SHOOTING, ids=str)
@few(8)
@given(case=planted(), power=st.sampled_from([2, 4, 20]))
def test_a_power_of_four_on_the_cost_changes_no_bit_of_the_answer(solver, case, power):
    """Scaling by 4**j is exact in every operation, roots too: controls agree to the bit, costs to the exponent."""
    problem = case.problem()
    one, other = (to.solve(problem, solver, parameters={"factor": factor}) for factor in (1.0, 2.0**power))
    np.testing.assert_array_equal(one.u, other.u)
    assert other.cost == one.cost * 2.0**power


@pytest.mark.parametrize("solver", EXACT, ids=str)
@few(8)
@given(case=planted(box=True, end=1), constant=st.integers(-64, 64))
def test_a_constant_moves_the_cost_alone(solver, case, constant):
    """J + c has the controls of J; the tolerance relative to 1 + |J| may end the search at another iterate."""
    one, other = to.solve(case.problem(), solver), to.solve(case.problem(offset=float(constant)), solver)
    allowed = promised(solver, one, case) + promised(solver, other, case) + 1e-8 * abs(constant)
    missed = case.price(one.x, one.u) + case.price(other.x, other.u)
    assert other.cost - constant == pytest.approx(one.cost, abs=allowed + missed)


@pytest.mark.parametrize("solver", SHOOTING, ids=str)
@few(8)
@given(case=planted(end=1), seed=st.integers(0, 99), factor=st.sampled_from([0.25, 8.0]))
def test_coordinates_do_not_matter(solver, case, seed, factor):
    """States in another order and controls in another unit: the same plan, costates permuted."""
    nx, nu = case.B.shape
    order = np.random.default_rng(seed).permutation(nx)
    T = np.eye(nx)[order]
    S = np.block([[T, np.zeros((nx, nu))], [np.zeros((nu, nx)), np.eye(nu) / factor]])  # z of the new problem
    back = np.linalg.inv(S)
    moved = replace(
        case, A=T @ case.A @ T.T, drift=T @ case.drift @ T.T, B=T @ case.B * factor, c=case.c @ T.T,
        H=back.T @ case.H @ back, P=T @ case.P @ T.T, G=case.G @ back, E=case.E @ T.T, x=case.x @ T.T,
        u=case.u / factor, costates=case.costates @ T.T,
    )  # fmt: skip
    one, other = to.solve(case.problem(), solver), to.solve(moved.problem(), solver)
    allowed = promised(solver, one, case) + promised(solver, other, moved)
    allowed += case.price(one.x, one.u) + moved.price(other.x, other.u)
    assert other.cost == pytest.approx(one.cost, abs=allowed)
    far = np.sqrt(8.0 * allowed / case.curvature)
    np.testing.assert_allclose(other.u * factor, one.u, rtol=0.0, atol=far)


@pytest.mark.parametrize("solver", EXACT, ids=str)
@few(6)
@given(case=planted())
def test_the_first_costate_is_the_derivative_of_the_optimal_cost(solver, case):
    """Envelope theorem: J* is quadratic in x0, so that differences of re-solves are exact but for tolerances."""
    problem = case.problem()
    solution, h = to.solve(problem, solver), 0.125
    slopes, error = [], 0.0
    for i in range(len(case.A)):
        ends = [
            to.solve(problem.at(initial_state=case.x[0] + sign * h * np.eye(len(case.A))[i]), solver)
            for sign in (1, -1)
        ]
        slopes.append((ends[0].cost - ends[1].cost) / (2.0 * h))
        error = max(error, sum(promised(solver, end, case) for end in ends) / (2.0 * h))
    # One Newton step solves the problem, so that costates and costs are off by rounding, not by the tolerance.
    np.testing.assert_allclose(solution.multipliers["costates"][0], slopes, rtol=0.0, atol=error)
    np.testing.assert_allclose(solution.certificate.costates[0], slopes, rtol=0.0, atol=error)


@few(10)
@given(case=planted(box=True, end=1), method=st.sampled_from([MPPI, CEM, ICEM, CMAES, DIAL, PredictiveSampling]))
def test_sampling_never_beats_the_optimum(case, method):
    """A sampler's best cost is that of a real trajectory: at least the optimum, less what missed rows are worth."""
    solution = to.solve(case.problem(), method(samples=128, iterations=60))
    np.testing.assert_allclose(case.roll_out(solution.u), solution.x, rtol=0.0, atol=case.rounding)
    missed = case.price(solution.x, solution.u)
    assert solution.cost == pytest.approx(case.cost(solution.x, solution.u), abs=case.rounding)
    assert solution.cost >= case.cost(case.x, case.u) - missed - case.rounding


@few(8)
@given(
    A=eighths(2, 2), B=eighths(2, 1), W=eighths(2, 2), start=eighths(2), bend=st.sampled_from([0.125, 0.5]),
    bounded=st.booleans(),
)  # fmt: skip
def test_solvers_agree_on_smooth_random_dynamics(A, B, W, start, bend, bounded):
    """x+ = Ax/2 + Bu + e tanh(Wx): iLQR, DDP and collocation meet within what each calls solved; certificates agree."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: 0.5 * A @ x + B @ u + bend * np.tanh(W @ x), nx=2, nu=1),
        stage_cost=lambda x, u: x @ x + u @ u,
        terminal_cost=lambda x: 2.0 * (x - 0.5) @ (x - 0.5),
        initial_state=start,
        constraints=[to.Bounds(control=(-0.25, 0.25))] if bounded else [],
        horizon=to.Horizon(steps=6),
    )
    solutions = [to.solve(problem, solver) for solver in EXACT]
    costs = [solution.cost for solution in solutions]
    assert all(solution.certified for solution in solutions), [s.certificate.findings for s in solutions]
    # Gauss-Newton's decrement misjudges the true one where curvature was left out; bend bounds that share.
    allowed = 10.0 * sum(solver.tolerance for solver in EXACT) * (1.0 + max(costs))
    assert max(costs) - min(costs) <= allowed
    far = np.sqrt(2.0 * allowed / 2.0)  # the control's own cost has curvature 2
    for solution in solutions[1:]:
        np.testing.assert_allclose(solution.u, solutions[0].u, rtol=0.0, atol=2.0 * far)
