"""A long life of a control loop, drawn by Hypothesis: whatever happens beside it or to it, it stays the loop it was.

Two controllers of the same settings get the same measurements. One is left alone. The other is saved and restored in
between, other problems are solved and other loops are run through the same compiled functions, its arrays are tampered
with by their receiver. Their commands must stay equal bit for bit.
"""

from __future__ import annotations

import io

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mpc_cases import cart

import trajopt as to
from trajopt.control_session import Source
from trajopt.solvers import ILQR, MPPI, InteriorPoint

LIMIT = 2.0
SOLVERS = {
    "ilqr": (ILQR(), {}),
    "ilqr, real time": (ILQR(), {"real_time": True}),
    "interior point": (InteriorPoint(), {"iterations": 3, "delay": 1}),
    "mppi": (MPPI(samples=32, iterations=3), {"replan": 2}),
}
PROBLEM = cart(steps=12, duration=1.2)
OTHER = cart(steps=12, duration=1.2).at(parameters={"target": 0.5}, initial_state=[-1.0, 0.25])
STATES = st.tuples(st.integers(-10, 10), st.integers(-4, 4)).map(lambda pair: np.array([pair[0] / 4, pair[1] / 4]))


class Loop(RuleBasedStateMachine):
    """Rules are what can happen to a controller; its twin is spared all that is not a measurement."""

    @initialize(name=st.sampled_from(sorted(SOLVERS)))
    def begin(self, name: str) -> None:
        self.solver, self.settings = SOLVERS[name]
        self.controller, self.twin = (to.MPC(PROBLEM, self.solver, **self.settings) for _ in range(2))
        self.ticks, self.target, self.tolerated = 0, 0.0, 0
        self.state = np.array([1.0, 0.0])

    @rule(state=STATES)
    def measure(self, state: np.ndarray) -> None:
        """Any state, in reach of the last one or not, inside of the bounds or not."""
        self.state = state
        kept = state.copy()
        first, second = (one.command(state) for one in (self.controller, self.twin))
        self.ticks += 1
        assert first.tobytes() == second.tobytes()
        assert np.isfinite(first).all()
        assert (np.abs(first) <= LIMIT).all()
        assert state.tobytes() == kept.tobytes()
        first[:] = np.nan  # what was returned is the receiver's own

    @rule(quarters=st.integers(-4, 4))
    def move_the_target(self, quarters: int) -> None:
        """A parameter changes from one tick to the next."""
        self.target = quarters / 4
        first, second = (one.command(self.state, parameters={"target": self.target}) for one in self.both)
        self.ticks += 1
        assert first.tobytes() == second.tobytes()

    @rule()
    def prepare(self) -> None:
        """Preparing ahead, or not, is the caller's affair; so it happens to both."""
        for one in self.both:
            one.prepare()

    @rule()
    def save_and_restore(self) -> None:
        """Through the bytes of a file, into a controller that knows nothing."""
        file = io.BytesIO()
        np.savez(file, **self.controller.state())
        file.seek(0)
        self.controller = to.MPC(PROBLEM, self.solver, **self.settings)
        with np.load(file, allow_pickle=False) as arrays:
            self.controller.restore(arrays)

    @rule()
    def restore_nonsense(self) -> None:
        """What is refused leaves the session as it was."""
        arrays = self.controller.state()
        arrays["held"] = np.zeros(5)
        try:
            self.controller.restore(arrays)
        except to.TrajoptError:
            return
        raise AssertionError("a session of other sizes was taken")

    @rule(bad=st.sampled_from([[np.nan, 0.0], [0.0], "state", [np.inf, 1.0]]))
    def measure_nonsense(self, bad: object) -> None:
        """A measurement that is refused is no tick."""
        try:
            self.controller.command(bad)  # type: ignore[arg-type]
        except to.InvalidProblem:
            return
        raise AssertionError("a measurement that is none was taken")

    @rule(iterations=st.integers(1, 3))
    def solve_something_else(self, iterations: int) -> None:
        """Another instance, and the same one, through the same compiled functions."""
        to.solve(OTHER, ILQR(iterations=iterations))
        to.solve(PROBLEM, self.solver)
        to.MPC(OTHER, self.solver, **self.settings).command([0.5, 0.5])

    @precondition(lambda self: self.controller.plan is not None)
    @rule()
    def use_the_plan(self) -> None:
        """What is made of a plan does not change it."""
        plan = self.controller.plan
        plan.shift(1)
        plan.resample(5)
        plan.certify(1e-3)

    @property
    def both(self) -> tuple[to.MPC, to.MPC]:
        return self.controller, self.twin

    @invariant()
    def plans_agree(self) -> None:
        """Same plan, same clock, same count; the plan is a plan of the problem under its newest parameters."""
        if not hasattr(self, "controller"):
            return
        first, second = self.both
        assert (first.plan is None) == (second.plan is None)
        assert first._session.tick == second._session.tick == self.ticks
        assert first._session.time == second._session.time
        if first.plan is not None:
            assert first.plan.x.tobytes() == second.plan.x.tobytes()
            assert np.isfinite(first.plan.u).all()
            assert (np.abs(first.plan.u) <= LIMIT).all()


class Recovery(RuleBasedStateMachine):
    """A model that is not finite beyond a wall: ticks behind it never plan, and the first one before it does again."""

    @initialize()
    def begin(self) -> None:
        def dynamics(x, u):
            return np.array([x[0] + 0.1 * u[0] + np.where(x[0] > 2.0, np.nan, 0.0)])

        problem = to.Problem(
            to.DiscreteDynamics(dynamics, 1, 1),
            stage_cost=lambda x, u: x @ x + 0.1 * u @ u,
            initial_state=[1.0],
            constraints=[to.Bounds(control=(-LIMIT, LIMIT))],
            horizon=to.Horizon(steps=8),
        )
        self.controller, self.cold = to.MPC(problem, ILQR()), problem
        self.planned = False

    @rule(x=st.integers(-8, 7))
    def before(self, x: int) -> None:
        """Warm or cold, after failures or not, the answer of a convex problem is the same."""
        u = self.controller.command([x / 4])
        tick = self.controller.log[-1]
        assert tick.source is Source.PLANNED
        # The Newton decrement of 1e-8 bounds the cost's excess 1/2 H du^2, with H >= 0.2 and a cost of at most 60 here.
        assert abs(u[0] - to.solve(self.cold.at(initial_state=[x / 4]), ILQR()).u[0, 0]) < np.sqrt(60e-8 / 0.1)
        self.planned = True

    @rule(x=st.integers(9, 20))
    def behind(self, x: int) -> None:
        """No plan, and a reason; the command is still one."""
        u = self.controller.command([x / 4])
        tick = self.controller.log[-1]
        assert tick.source in ((Source.FALLBACK, Source.HELD) if self.planned else (Source.HELD,))
        assert tick.detail
        assert np.isfinite(u).all()
        assert (np.abs(u) <= LIMIT).all()


Loop.TestCase.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
Recovery.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None, derandomize=True)
TestLoop = Loop.TestCase
TestRecovery = Recovery.TestCase
