"""Model-predictive control: at every tick plan from the measured state, send the first control, and move the horizon.

At tick k, from the measured state x, with t the time and P the period of the loop:

    1. predict   x+ = the model's state at t + d P under the d commands that are still on their way (delay),
    2. warm up   the last plan, shifted to t + d P with its multipliers, or interpolated where that is off its grid,
    3. solve     the problem on [t + d P, t + d P + T] from x+ for some iterations or until the time is up,
    4. command   u of the new plan at t + d P, or where there is none u_k + K_k (x+ - x_k) of the plan before.

Real-time iteration splits a tick in two. While the plant moves, `MPC.prepare` predicts the next state x' and takes one
Newton step of the shifted plan for it. When the state x is measured, the command is u_0 + K_0 (x - x'), with K the
gains of that Newton step: the first control of the full step for the measured state itself (initial-value embedding),
for the price of a matrix times a vector. Later entries of the plan learn of x - x' in the next preparation, through the
gap between the new initial state and the plan.

References: Rawlings, Mayne, Diehl, Model Predictive Control, 2017; Diehl, Bock, Schloeder, SIAM J. Control Optim.
43(5), 2005 (real-time iteration); Zavala, Biegler, Automatica 45(1), 2009 (prediction over the delay of the solve).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.control_session import Session, Source, Tick
from trajopt.errors import InvalidProblem, TrajoptError, UnsupportedProblem
from trajopt.plan import control_law, is_usable, move_memory, warm_start
from trajopt.problem import Feature, Problem
from trajopt.registry import find_solver
from trajopt.solution import Solution
from trajopt.solve import solve
from trajopt.solver import Solver
from trajopt.status import Status
from trajopt.validation import check, check_positive, check_whole

if TYPE_CHECKING:
    from trajopt.closed_loop import ClosedLoop
    from trajopt.plant import Disturbance, Plant

Array = NDArray[np.float64]

_FIXED = {Feature.FREE_DURATION, Feature.FREE_START, Feature.FREE_PARAMETERS}
_LEAST_TIME = 1e-6
"""Seconds that a solve gets when the budget is used up already: enough to hand its guess back."""


@final
class MPC:
    """A controller that plans again at every tick; any solver inside.

    It holds the state of its session and nothing else does: solvers and problems stay as they are, and controllers side
    by side do not disturb each other.

    Parameters
    ----------
    problem
        What to plan: its horizon slides along, or with ``shrink`` ends when it always would. Costs and constraints that
        depend on time get the true time. Duration, start and parameters must be numbers.
    solver
        A solver, the name of one, or "auto". What it remembers of a solve goes to the next one, unless that failed;
        one with a seed then goes on in its stream of random numbers, else it gets a seed counted up with the ticks.
    period
        Time between ticks; default: an interval of the horizon. Discrete time has ticks of one step.
    replan
        Plan at every so-many-th tick, and follow the plan in between, with its feedback gains if it has them.
    iterations
        Limit on the solver's iterations at a tick; None: its own, or one with ``real_time``.
    budget
        Seconds for a tick. Solvers look at the clock after each iteration; the best so far is used, and ticks that took
        longer are counted in ``overruns``.
    delay
        Ticks between the measurement of a state and the moment when its command acts, a whole number.
    shift
        Whether plans start from the plan and the memory before; else each starts from the problem's own guess.
    shrink
        Whether the horizon shrinks towards its fixed end instead of sliding.
    real_time
        Whether to split ticks into preparation and feedback; for solvers with feedback gains, such as ``ILQR`` and
        ``InteriorPoint``. Call `prepare` when a command has been sent.
    backup
        Function (x, t) -> u that takes over where there is neither a new plan nor a plan before.

    Raises
    ------
    InvalidProblem, UnsupportedProblem
        When a setting cannot mean anything, the problem has free times or parameters, or the solver cannot treat it.
    """

    def __init__(
        self,
        problem: Problem,
        solver: str | Solver = "auto",
        *,
        period: float | None = None,
        replan: int = 1,
        iterations: int | None = None,
        budget: float | None = None,
        delay: int = 0,
        shift: bool = True,
        shrink: bool = False,
        real_time: bool = False,
        backup: Callable[[Array, float], ArrayLike] | None = None,
    ) -> None:
        check(problem, "problem", "a Problem", isinstance(problem, Problem), "make one with Problem(...)")
        free = sorted(problem.features & _FIXED)
        if free:
            raise UnsupportedProblem(
                f"MPC was given a problem with {' and '.join(free)}, but numbers were expected, as the horizon moves "
                "with the clock; fix them, for example at what a solution found."
            )
        self.problem = problem
        inside = np.clip(np.zeros(problem.nx), *problem.state_bounds)  # measured states have no free entries
        known = np.where(np.isnan(problem.initial_values), inside, problem.initial_values)
        self.solver = find_solver(solver, problem.at(initial_state=known))
        self.step = problem.horizon.duration_guess / problem.horizon.steps
        self.period = self.step if period is None else period
        self.replan, self.budget, self.shift, self.shrink = replan, budget, shift, shrink
        self.iterations = 1 if real_time and iterations is None else iterations
        self.delay, self.real_time, self.backup = delay, real_time, backup
        self._check()
        self._model = self._make_model()
        self._session = Session.begin(problem, delay)
        self.log: list[Tick] = []

    def _check(self) -> None:
        check_positive(self.period, "period")
        check_whole(self.replan, "replan", 1)
        if self.iterations is not None:
            check_whole(self.iterations, "iterations", 1)
        if self.budget is not None:
            check_positive(self.budget, "budget")
        check_whole(self.delay, "delay", 0)
        if not self.problem.dynamics.continuous and self.period != 1.0:
            raise InvalidProblem(
                f"period={self.period} was given for discrete dynamics, but their ticks are one step long; leave it "
                "out."
            )
        if self.real_time and self.replan != 1:
            raise InvalidProblem(
                f"replan={self.replan} was given with real_time, but a real-time iteration prepares every tick; leave "
                "one of them out."
            )

    def _make_model(self) -> Plant:
        """What predicts."""
        from trajopt.plant import make_plant  # noqa: PLC0415 - keeps CasADi and SciPy out of `import trajopt`

        return make_plant(None, self.problem)

    @property
    def plan(self) -> Solution | None:
        """The plan that is followed, on the clock of the loop."""
        return self._session.plan

    @property
    def overruns(self) -> int:
        """Ticks that took longer than the budget."""
        return self._session.overruns

    @property
    def waiting(self) -> tuple[Array, ...]:
        """The commands that do not act yet, the first to act in front: as many as the delay."""
        return tuple(self._session.sent)

    def reset(self, state: ArrayLike | None = None, t: float | None = None) -> None:
        """Begin a new session.

        Parameters
        ----------
        state
            (nx,) where the loop is about to begin: the first plan is then made here, with neither a limit of iterations
            nor a budget, so that compiling and searching are done before the first tick.
        t
            Time of the first tick; default: the start of the problem's horizon.
        """
        self._session, self.log = Session.begin(self.problem, self.delay), []
        self._model = self._make_model()
        if t is not None:
            self._session.time = float(t)
        if state is not None:
            time, start = self._target(self._measured(state), self._session.time)
            self._plan(time, start, None, None)
            self._session.ready = self.real_time and self._session.plan is not None

    def command(self, state: ArrayLike, t: float | None = None, parameters: Mapping[str, Any] | None = None) -> Array:
        """Return the control to send, (nu,), within its bounds and finite whatever happens to the solve.

        Parameters
        ----------
        state
            (nx,) measured state.
        t
            Time of the measurement; default: a period after the last one, first the start of the problem's horizon.
        parameters
            New values of some parameters, which hold from now on; in real-time mode from the next preparation on.

        Raises
        ------
        InvalidProblem
            When the state is not nx finite numbers, a parameter does not fit, or a shrinking horizon has ended.
        """
        clock, session = time.perf_counter(), self._session
        measured, now = self._measured(state), self._now(t)
        if parameters is not None:
            session.parameters = self.problem.layout.update(session.parameters, parameters)
            self._model.change(session.parameters)
        target, start = self._target(measured, now)
        self._check_end(target)
        plan, detail = self._plan_of_tick(target, start, clock)
        unplanned = Source.FALLBACK if detail else Source.FOLLOWED
        control, source = self._control(target, start, unplanned if plan is None else Source.PLANNED)
        session.send(control, target, start, now + self.period)
        seconds = time.perf_counter() - clock
        late = self.budget is not None and seconds > self.budget
        session.overruns += late
        self.log.append(Tick.of(now, measured, start, control, source, plan, detail, seconds, late))
        return control.copy()

    def _plan_of_tick(self, target: float, start: Array, clock: float) -> tuple[Solution | None, str]:
        """The plan that was prepared for this tick or is made at it; None without a reason where none is due."""
        session = self._session
        if session.ready:
            session.ready = False
            return session.plan, session.prepared
        if self.real_time or session.plan is None or session.tick % self.replan == 0:
            return self._plan(target, start, clock, self.iterations)
        return None, ""

    def prepare(self) -> None:
        """Do what the next command needs and can be done before its state is measured; in real-time mode alone.

        `command` does it itself if it was not called, and then takes as much longer.
        """
        session = self._session
        if not self.real_time or session.ready or session.last is None:
            return
        clock = time.perf_counter()
        target, start, control = session.last
        following, _ = self._model.advance(start, control, target, self.period, np.random.default_rng(session.tick))
        following_time = target + self.period
        if self.shrink and self._remaining(following_time) <= 0.0:
            return
        found, session.prepared = self._plan(following_time, following, clock, self.iterations)
        session.ready = found is not None
        seconds = time.perf_counter() - clock
        if not self.log:  # the tick belongs to the log of the controller whose session was restored
            return
        record = self.log[-1]
        late = self.budget is not None and record.seconds + seconds > self.budget
        session.overruns += late and not record.overrun
        self.log[-1] = replace(record, preparation=seconds, overrun=record.overrun or late)

    def run(
        self,
        plant: Any = None,
        steps: int | None = None,
        initial_state: ArrayLike | None = None,
        *,
        disturbance: Disturbance | ArrayLike | None = None,
        noise: Disturbance | ArrayLike | None = None,
        seed: int = 0,
        parameters: Callable[[float], Mapping[str, Any]] | Mapping[str, Any] | None = None,
    ) -> ClosedLoop:
        """Close the loop from ``initial_state`` for ``steps`` ticks; see `trajopt.closed_loop.run_closed_loop`."""
        from trajopt.closed_loop import run_closed_loop  # noqa: PLC0415 - which imports this module

        return run_closed_loop(
            self, plant, steps, initial_state, disturbance=disturbance, noise=noise, seed=seed, parameters=parameters
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """The session as plain arrays by name: ``np.savez(path, **controller.state())`` keeps them."""
        return self._session.to_arrays()

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Go on where `state` was taken, by a controller of the same settings; ``np.load(path)`` gives its arrays."""
        session = Session.from_arrays(arrays, self.problem, self.solver)
        if len(session.sent) != self.delay:
            raise InvalidProblem(
                f"the session has {len(session.sent)} commands on their way, but this controller has a delay of "
                f"{self.delay}; restore it into a controller of the same settings."
            )
        self._session, self.log = session, []
        self._model = self._make_model()
        self._model.change(session.parameters)

    def _now(self, t: float | None) -> float:
        """The time of a measurement."""
        now = self._session.time if t is None else float(t)
        if not np.isfinite(now) or not (self.problem.dynamics.continuous or now.is_integer()):
            raise InvalidProblem(
                f"t={t} was given for a measurement, but a finite time was expected, in discrete time the number of a "
                "step; leave it out where ticks follow each other by the period."
            )
        return now

    def _measured(self, state: ArrayLike) -> Array:
        try:
            measured = np.array(state, float)
        except (TypeError, ValueError) as error:
            raise InvalidProblem(
                f"the state {state!r} was given, but {self.problem.nx} numbers were expected."
            ) from error
        if measured.shape != (self.problem.nx,) or not np.isfinite(measured).all():
            raise InvalidProblem(
                f"the state {measured.tolist()} was measured, but {self.problem.nx} finite numbers were expected, one "
                f"for each of {', '.join(self.problem.dynamics.states)}; hold the last command, or repair the estimate."
            )
        return measured

    def _target(self, measured: Array, now: float) -> tuple[float, Array]:
        """When the command will act, and the state then under the commands on their way."""
        state = measured
        for k, control in enumerate(self._session.sent):
            generator = np.random.default_rng(self._session.tick + k)
            state, _ = self._model.advance(state, control, now + k * self.period, self.period, generator)
        return now + self.delay * self.period, state

    def _remaining(self, target: float) -> float:
        """Intervals that are left of a shrinking horizon."""
        horizon = self.problem.horizon
        return float(round((horizon.start_guess + horizon.duration_guess - target) / self.step, 6))

    def _check_end(self, target: float) -> None:
        if self.shrink and self._remaining(target) <= 0.0:
            raise InvalidProblem(
                f"a command for time {target:g} was asked for, but the shrinking horizon ends at "
                f"{self.problem.horizon.knots()[-1]:g}; stop there, or use a horizon that slides."
            )

    def _problem_at(self, target: float, start: Array) -> Problem:
        """The problem on the horizon that begins at ``target``, from the admissible state nearest to ``start``."""
        horizon = self.problem.horizon
        if self.shrink:
            left = self._remaining(target)
            duration = None if horizon.duration is None else left * self.step
            horizon = replace(horizon, steps=max(1, round(left)), duration=duration)
        # A disturbance may carry the plant over a bound, from where no plan is admissible.
        inside = np.clip(start, *self.problem.state_bounds)
        return self.problem.at(
            initial_state=inside, parameters=self._session.parameters, horizon=replace(horizon, start=target)
        )

    def _plan(
        self, target: float, start: Array, clock: float | None, iterations: int | None
    ) -> tuple[Solution | None, str]:
        """Solve from a state at a time and keep the plan if it is usable; returns it, else why there is none."""
        session = self._session
        known, session.memory = session.memory, None  # a solve that fails leaves none behind
        if not np.isfinite(start).all():
            return None, "The model's prediction is not finite."
        try:
            problem = self._problem_at(target, start)
            guess = memory = None
            if self.shift and session.plan is not None:
                guess = warm_start(session.plan, problem)
                memory = None if known is None else move_memory(known, session.plan, problem)
            if memory is None:
                session.stream = session.tick
            left = None
            if clock is not None and self.budget is not None:
                left = max(self.budget - (time.perf_counter() - clock), _LEAST_TIME)
            stop = None if iterations is None else lambda record: record.number >= iterations
            found = solve(
                problem, session.seeded(self.solver), guess=guess, memory=memory, max_time=left, callback=stop
            )
        except (TrajoptError, ArithmeticError, ValueError) as error:
            return None, str(error)
        if found.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
        if found.status is Status.STOPPED:  # by the callback above
            found = replace(found, status=Status.ITERATION_LIMIT)
        if not is_usable(found):
            return None, f"{found.status.sentence} {found.detail}".strip()
        if self.real_time and found.feedback is None:
            raise UnsupportedProblem(
                f"real_time was asked for, but {found.solver} gives no feedback gains; use ILQR or InteriorPoint."
            )
        session.plan, session.memory = replace(found, memory=None), found.memory
        return session.plan, ""

    def _control(self, target: float, start: Array, source: Source) -> tuple[Array, Source]:
        """What to send: from the plan while it lasts, then from the backup, then whatever was sent last."""
        session = self._session
        plan, lasting = session.plan, False
        if plan is not None:
            lasting = target < plan.t[-1] - 1e-6 * self.step or source is Source.PLANNED
        known = np.isfinite(start).all()
        control: Any = None
        if plan is not None and (lasting or self.backup is None):
            control = control_law(plan, target, start) if known else plan.trajectory.control(target)
        elif self.backup is not None and known:
            control, source = np.array(self.backup(start.copy(), target), float).reshape(-1), Source.BACKUP
        if control is None or control.shape != (self.problem.nu,) or not np.isfinite(control).all():
            control, source = session.held, Source.HELD
        return self.problem.admissible(control), source
