"""What a controller remembers between ticks, and the record of each tick."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.errors import TrajoptError
from trajopt.guess import make_guess
from trajopt.problem import Problem
from trajopt.solution import Solution
from trajopt.solver import Memory, Solver
from trajopt.status import Status

Array = NDArray[np.float64]
_FORMAT = 2


class Source(StrEnum):
    """Where a command came from."""

    PLANNED = "planned"
    """From the plan of this tick."""
    FOLLOWED = "followed"
    """From an earlier plan, as no new one was due."""
    FALLBACK = "fallback"
    """From an earlier plan, because the solve of this tick gave none."""
    BACKUP = "backup"
    """From the user's own law, because there was no plan either."""
    HELD = "held"
    """The last command again, because there was nothing else."""


@dataclass(frozen=True, eq=False)
class Tick:
    """One tick of a loop.

    Attributes
    ----------
    time
        Of the measurement.
    state, start
        (nx,) what was measured, and what the command is for: the state predicted over the delay.
    command
        (nu,) what was sent.
    source
        Where it came from.
    status
        How the solve ended; None if there was none, or it gave no plan.
    iterations, cost
        Of the plan of this tick; 0 and NaN without one.
    seconds
        From the measurement to the command.
    preparation
        Seconds of `MPC.prepare` behind the command; 0 without.
    overrun
        Whether both together exceeded the budget.
    detail
        Why there was no new plan, or "".
    """

    time: float
    state: Array
    start: Array
    command: Array
    source: Source
    status: Status | None
    iterations: int
    cost: float
    seconds: float
    preparation: float
    overrun: bool
    detail: str

    @classmethod
    def of(
        cls,
        time: float,
        state: Array,
        start: Array,
        command: Array,
        source: Source,
        plan: Solution | None,
        detail: str,
        seconds: float,
        overrun: bool,
    ) -> Tick:
        """Record a tick with the plan that was made at it, if one was."""
        status = None if plan is None else plan.status
        iterations, cost = (0, np.nan) if plan is None else (plan.iterations, plan.cost)
        return cls(
            time,
            state.copy(),
            start.copy(),
            command.copy(),
            source,
            status,
            iterations,
            cost,
            seconds,
            0.0,
            overrun,
            detail,
        )


@dataclass
class Session:
    """What changes from tick to tick.

    Attributes
    ----------
    tick, time
        Number and time of the next tick.
    sent
        Commands that do not act yet, the first to act in front.
    held
        (nu,) the last command, or before the first what the problem's guess begins with.
    plan
        The plan that is followed.
    memory, stream
        What the solver remembers beside the plan, and the tick at which it began to; without memory, of the last solve.
    ready, prepared
        In real-time mode whether the plan was prepared for the next tick, and what went wrong with it.
    last
        Time, state and control at which the last command acts.
    parameters
        Values of the problem's parameters.
    overruns
        Ticks beyond the budget.
    """

    tick: int
    time: float
    sent: list[Array]
    held: Array
    parameters: dict[str, Any]
    plan: Solution | None = None
    memory: Memory | None = None
    stream: int = 0
    ready: bool = False
    prepared: str = ""
    last: tuple[float, Array, Array] | None = None
    overruns: int = 0
    _numbers: tuple[str, ...] = field(default=("tick", "time", "stream", "ready", "prepared", "overruns"), repr=False)

    @classmethod
    def begin(cls, problem: Problem, delay: int) -> Session:
        """Before the first tick; what acts until the first command is what the guess begins with."""
        rest = problem.admissible(make_guess(problem, None).held()[0])
        parameters = dict(problem.parameters or {})
        return cls(0, problem.horizon.start_guess, [rest.copy() for _ in range(delay)], rest, parameters)

    def send(self, control: Array, target: float, start: Array, following: float) -> None:
        """Note a command for the state ``start`` at ``target``; the next tick is expected at ``following``."""
        self.sent = [*self.sent, control.copy()][1:] if self.sent else []
        self.held, self.last = control.copy(), (target, start.copy(), control.copy())
        self.tick, self.time = self.tick + 1, following

    def seeded(self, solver: Solver) -> Solver:
        """The solver, with a seed of its own for each memory: the same noise again and again would not average out."""
        if is_dataclass(solver) and any(entry.name == "seed" for entry in fields(solver)):
            return replace(solver, seed=(solver.seed + self.stream) % 2**64)  # type: ignore[attr-defined]
        return solver

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Everything as arrays by name, without objects."""
        head: dict[str, Any] = {"format": _FORMAT} | {name: getattr(self, name) for name in self._numbers}
        arrays: dict[str, NDArray[Any]] = {
            "sent": np.array(self.sent).reshape(len(self.sent), self.held.size),
            "held": self.held,
        }
        arrays |= {f"parameters/{name}": np.asarray(value, float) for name, value in self.parameters.items()}
        if self.last is not None:
            arrays |= dict(zip(("last/time", "last/state", "last/control"), map(np.asarray, self.last), strict=True))
        if self.plan is not None:
            head["plan"], plan = self.plan.to_arrays()
            arrays |= {f"plan/{name}": np.asarray(value) for name, value in plan.items()}
            values = self.plan.problem.parameters if self.plan.problem is not None else None
            arrays |= {f"planned/{name}": np.asarray(value, float) for name, value in (values or {}).items()}
        if self.memory is not None:
            arrays |= {f"memory/{name}": value for name, value in self.memory.to_arrays().items()}
        return {"head": np.array(json.dumps(head))} | arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], problem: Problem, solver: Solver) -> Session:
        """What `to_arrays` gave, for the same problem and solver; nothing in it is executed.

        Raises
        ------
        TrajoptError
            When the arrays are something else, or have other sizes.
        """
        try:
            return cls._from_arrays(arrays, problem, solver)
        except Exception as error:
            raise TrajoptError(
                f"arrays were given that are no session of MPC.state() for this problem ({error}); save the session "
                "again."
            ) from error

    @classmethod
    def _from_arrays(cls, arrays: Mapping[str, Any], problem: Problem, solver: Solver) -> Session:
        head = json.loads(str(arrays["head"]))
        if head["format"] != _FORMAT:
            raise ValueError(f"format {head['format']}, this version reads {_FORMAT}")

        def group(name: str) -> dict[str, Any]:
            prefix = f"{name}/"
            return {key.removeprefix(prefix): np.array(arrays[key]) for key in arrays if key.startswith(prefix)}

        sent, held, last = np.array(arrays["sent"], float), np.array(arrays["held"], float), group("last")
        if held.shape != (problem.nu,) or (sent.size and sent.shape[1:] != (problem.nu,)):
            raise ValueError(f"commands have shape {held.shape}, not ({problem.nu},)")
        parameters = problem.layout.update(problem.parameters, group("parameters"))
        session = cls(head["tick"], head["time"], list(sent), held, parameters)
        for name in ("stream", "ready", "prepared", "overruns"):
            setattr(session, name, head[name])
        if last:
            session.last = (float(last["time"]), last["state"], last["control"])
        if "plan" in head:
            planned = problem.at(parameters=group("planned") or None)
            session.plan = Solution.from_arrays(head["plan"], group("plan"), planned, "the session")
        remembered = group("memory")
        session.memory = solver.read_memory(remembered) if remembered else None
        return session
