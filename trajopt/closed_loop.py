"""A control loop in simulation, and what it did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.control_session import Tick
from trajopt.errors import InvalidProblem
from trajopt.mpc import MPC
from trajopt.plain import PlainFunctions
from trajopt.plant import Disturbance, Plant, make_disturbance, make_plant
from trajopt.problem import Problem
from trajopt.reintegration import Reintegration
from trajopt.solution import Solution
from trajopt.trajectory import Interpolation, Trajectory
from trajopt.validation import check_whole
from trajopt.violations import Violation, measure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from trajopt.problems.drawing import Drawing

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """What a loop of K ticks did.

    Attributes
    ----------
    problem
        The controller's.
    solver
        The solver and its settings, as text.
    t
        (K+1,) times of the ticks and of the end.
    x
        (K+1, nx) true states of the plant.
    u
        (K, nu) controls that acted.
    costs
        (K,) cost of each period along the plant's true motion.
    terminal_cost
        Of the final state, where a shrinking horizon has come to its end; else 0.
    ticks
        (K,) records of the controller.
    plans
        (K,) the plan that was followed after each tick, or None.
    failure
        Why the loop ended early, or "".
    """

    problem: Problem
    solver: str
    t: Array
    x: Array
    u: Array
    costs: Array
    terminal_cost: float
    ticks: tuple[Tick, ...]
    plans: tuple[Solution | None, ...]
    failure: str = ""

    @property
    def cost(self) -> float:
        """What the loop really cost, with the terminal cost where the horizon has ended."""
        return float(self.costs.sum() + self.terminal_cost)

    @property
    def overruns(self) -> int:
        """Ticks that took longer than the budget."""
        return sum(tick.overrun for tick in self.ticks)

    @property
    def statuses(self) -> Counter[str]:
        """How often the solves ended how; "no plan" where they gave none, "not due" where there was no solve."""
        without = ("no plan" if tick.detail else "not due" for tick in self.ticks if tick.status is None)
        return Counter(str(tick.status) for tick in self.ticks if tick.status is not None) + Counter(without)

    @property
    def sources(self) -> Counter[str]:
        """How often a command came from where."""
        return Counter(str(tick.source) for tick in self.ticks)

    def timing(self, what: str = "seconds") -> dict[str, float]:
        """Percentiles of the ticks' seconds: p50, p95, p99 and max.

        Parameters
        ----------
        what
            "seconds" from the measurement to the command, or "preparation" behind it.
        """
        if what not in ("seconds", "preparation"):
            raise InvalidProblem(f"timing({what!r}) was asked for, but 'seconds' or 'preparation' was expected.")
        values = [getattr(tick, what) for tick in self.ticks] or [np.nan]
        marks = dict(zip(("p50", "p95", "p99", "max"), np.percentile(values, [50, 95, 99, 100]), strict=True))
        return {name: float(value) for name, value in marks.items()}

    def violations(self) -> tuple[Violation, ...]:
        """Bounds and path constraints at the ticks along the plant's true motion, the worst first."""
        problem, n = self.problem, len(self.u)
        if not n:
            return ()
        parameters = problem.layout.pack(problem.parameters)
        running = np.zeros(1 + len(problem.model.integral))
        repeated = self.u[np.minimum(np.arange(n + 1), n - 1)]
        path = Reintegration(self.t, self.x, repeated, 1, n, self.x, running, np.zeros(n), 0.0, None, "")
        found = measure(problem, self._trajectory, PlainFunctions(problem, parameters), parameters, path)
        records = [record for group in (found.state, found.control, found.path) for record in group.worst()]
        return tuple(sorted(records, key=lambda record: -record.amount))

    @property
    def _trajectory(self) -> Trajectory:
        values = self.problem.layout.unpack(self.problem.layout.pack(self.problem.parameters))
        return Trajectory(self.t, self.x, self.u, Interpolation.HOLD, None, values)

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each tick, and one for the end: time, states, controls, and the controller's records."""
        import pandas as pd  # noqa: PLC0415 - slow to import

        dynamics, gap = self.problem.dynamics, len(self.t) - len(self.u)
        u = np.vstack([self.u, np.full((gap, self.problem.nu), np.nan)])
        columns: dict[str, Any] = {"t": self.t}
        columns |= dict(zip(dynamics.states, self.x.T, strict=True))
        columns |= dict(zip(dynamics.controls, u.T, strict=True))
        columns["cost"] = np.append(self.costs, np.full(gap, np.nan))
        for name in ("source", "status", "iterations", "seconds", "preparation", "overrun", "detail"):
            values = [getattr(tick, name) for tick in self.ticks]
            named = [value if value is None or name not in ("source", "status") else str(value) for value in values]
            columns[f"tick_{name}"] = [*named, *[None] * gap]
        return pd.DataFrame(columns)

    def plot(self, every: int | None = None) -> Figure:
        """States and controls with the plans behind them, and the time of each tick.

        Parameters
        ----------
        every
            Draw every so-many-th plan; default: about a dozen of them.
        """
        from trajopt.view.closed_loop import plot_closed_loop  # noqa: PLC0415 - matplotlib loads only when asked for

        return plot_closed_loop(self, every)

    def report(self, path: str | Path, drawing: Drawing | None = None) -> Path:
        """Write one self-contained HTML file with the numbers, the plots and, with a drawing, the moving picture."""
        from trajopt.view.closed_loop import write_closed_loop  # noqa: PLC0415 - matplotlib loads only when asked for

        return write_closed_loop(self, Path(path), drawing)

    def __repr__(self) -> str:
        name = "" if self.problem.name is None else f"{self.problem.name}, "
        late = f", {self.overruns} overruns" if self.overruns else ""
        return f"ClosedLoop({name}{self.solver}: {len(self.u)} ticks, cost={self.cost:.6g}{late})"


def run_closed_loop(
    controller: MPC,
    plant: Any = None,
    steps: int | None = None,
    initial_state: ArrayLike | None = None,
    *,
    disturbance: Disturbance | ArrayLike | None = None,
    noise: Disturbance | ArrayLike | None = None,
    seed: int = 0,
    parameters: Callable[[float], Mapping[str, Any]] | Mapping[str, Any] | None = None,
) -> ClosedLoop:
    """Let a controller drive a plant, from a new session whose first plan is made before the first tick.

    Parameters
    ----------
    controller
        Whose `MPC.reset` is called first.
    plant
        None for the model itself, integrated accurately; a `Problem` or dynamics, which may differ from the model; or a
        function (x, u, t) -> x of one period, such as a simulator.
    steps
        Number of ticks; with a shrinking horizon it may be left out, and the loop runs to the end.
    initial_state
        (nx,) where the plant begins; default: the problem's own.
    disturbance
        Added to the state after each period: a function (x, u, t, generator) -> (nx,), or a covariance, which is a
        number, (nx,) variances or a matrix.
    noise
        Added to each measured state, given likewise.
    seed
        Of disturbance and noise, and of a stochastic plant.
    parameters
        New values of parameters, or a function of time that gives them, handed to each command. They change the costs,
        and where the plant is the model itself, the plant.
    """
    problem = controller.problem
    steps = _steps(controller, steps)
    x = _initial_state(problem, initial_state)
    driven = make_plant(plant, problem)
    pushes = make_disturbance(disturbance, problem.nx, "disturbance"), make_disturbance(noise, problem.nx, "noise")
    generator = np.random.default_rng(seed)
    controller.reset(x)
    loop = _Loop(controller, driven, pushes, generator, parameters, x)
    for _ in range(steps):
        if not loop.step():
            break
    return loop.finish()


def _steps(controller: MPC, steps: int | None) -> int:
    if steps is None:
        if not controller.shrink:
            raise InvalidProblem(
                "run was called without steps, but a sliding horizon has no end; write run(steps=100)."
            )
        return max(1, round(controller.problem.horizon.duration_guess / controller.period) - controller.delay)
    check_whole(steps, "steps", 1)
    return int(steps)


def _initial_state(problem: Problem, given: ArrayLike | None) -> Array:
    x = problem.initial_values if given is None else np.array(given, float)
    if x.shape != (problem.nx,) or not np.isfinite(x).all():
        raise InvalidProblem(
            f"initial_state={None if given is None else x.tolist()} was given, and the problem's own is "
            f"{list(problem.initial_state or ())}, but {problem.nx} finite numbers were expected; write "
            "run(initial_state=[...])."
        )
    return x.copy()


class _Loop:
    """A loop on its way."""

    def __init__(
        self,
        controller: MPC,
        plant: Plant,
        pushes: tuple[Disturbance, Disturbance],
        generator: np.random.Generator,
        parameters: Callable[[float], Mapping[str, Any]] | Mapping[str, Any] | None,
        x: Array,
    ) -> None:
        self.controller, self.plant, self.generator, self.parameters = controller, plant, generator, parameters
        self.disturbance, self.noise = pushes
        self.begin = controller.problem.horizon.start_guess
        self.x, self.u, self.costs, self.plans = [x], [], [], []
        self.waiting = [rest.copy() for rest in controller.waiting]
        self.failure = ""

    def step(self) -> bool:
        """One tick and the period behind it; False where the plant has left the numbers."""
        controller, x, k = self.controller, self.x[-1], len(self.u)
        period = controller.period
        t = self.begin + k * period
        values = self.parameters(t) if callable(self.parameters) else self.parameters
        if values is not None:
            self.plant.change(values)
        before = self.u[-1] if self.u else np.zeros(controller.problem.nu)
        measured = x + self.noise(x, before, t, self.generator)
        self.waiting.append(controller.command(measured, t, values))
        control = self.waiting.pop(0)
        self.plans.append(controller.plan)
        controller.prepare()
        following, cost = self.plant.advance(x, control, t, period, self.generator)
        following = following + self.disturbance(following, control, t + period, self.generator)
        if not (np.isfinite(following).all() and np.isfinite(cost)):
            self.failure = f"The plant's state or cost is not finite after t = {t:.6g}."
            self.plans.pop()
            return False
        self.x.append(following)
        self.u.append(control)
        self.costs.append(cost)
        return True

    def finish(self) -> ClosedLoop:
        """Everything in one record."""
        controller, problem, n = self.controller, self.controller.problem, len(self.u)
        t: Array = self.begin + controller.period * np.arange(n + 1, dtype=float)
        terminal = 0.0
        if controller.shrink and t[-1] >= problem.horizon.knots()[-1] - 1e-6 * controller.step:
            functions = PlainFunctions(problem, problem.layout.pack(problem.parameters))
            terminal = functions.terminal_cost(self.x[-1], t[-1])
        return ClosedLoop(
            problem,
            str(controller.solver),
            t,
            np.array(self.x),
            np.array(self.u).reshape(n, problem.nu),
            np.array(self.costs),
            terminal,
            tuple(controller.log[:n]),
            tuple(self.plans),
            self.failure,
        )
