"""The answer to a problem of several phases: a solution for each, and a certificate of the whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem, TrajoptError, UnknownName
from trajopt.monitor import Iteration
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.solution import Solution, read_arrays_file
from trajopt.status import Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trajopt.multi_phase_certificate import MultiPhaseCertificate
    from trajopt.problems.reference import Reference

Array = NDArray[np.float64]


@final
@dataclass(frozen=True, eq=False)
class MultiPhaseSolution:
    """What `trajopt.solve` returns for a `MultiPhaseProblem`.

    Attributes
    ----------
    problem
        The problem with the parameter values that were solved for; None if loaded from a file without one.
    solver
        The solver and its settings, as text.
    status
        How it ended; ``success``, ``message`` say the same as a bool and a sentence.
    names
        Of the phases.
    phases
        A `Solution` for each phase, in order; ``solution[name]`` is one of them.
    cost
        Sum of the costs of the phases, as the solver's own discretisation values them.
    iterations, history, seconds, detail
        As in `Solution`.
    multipliers
        The solver's own, of the rows of the links by name, (1,) each: the Lagrangian is cost + multiplier * function.
    """

    problem: MultiPhaseProblem | None
    solver: str
    status: Status
    names: tuple[str, ...]
    phases: tuple[Solution, ...]
    cost: float
    iterations: int
    history: tuple[Iteration, ...] = ()
    seconds: float = float("nan")
    multipliers: dict[str, Array] = field(default_factory=dict)
    detail: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "phases", tuple(replace(phase, whole=self) for phase in self.phases))

    @property
    def success(self) -> bool:
        """Whether the solver met its stated tolerances."""
        return self.status.success

    @property
    def message(self) -> str:
        """The status as a sentence, with the solver's own words behind it."""
        return f"{self.status.sentence} {self.detail}".strip()

    def __getitem__(self, name: str) -> Solution:
        """The solution of the phase of that name."""
        if name not in self.names:
            raise UnknownName(
                f"phase {name!r} was asked for, but the solution has {', '.join(map(repr, self.names))}; correct the "
                "name."
            )
        return self.phases[self.names.index(name)]

    def place(self, phase: Solution) -> int | None:
        """The number of one of the phases; None for a changed copy, which is no part of this answer any more."""
        return next((number for number, own in enumerate(self.phases) if own is phase), None)

    @property
    def t(self) -> tuple[Array, ...]:
        """Times of the knots, one array for each phase."""
        return tuple(phase.t for phase in self.phases)

    @property
    def x(self) -> tuple[Array, ...]:
        """States at the knots, one array for each phase."""
        return tuple(phase.x for phase in self.phases)

    @property
    def u(self) -> tuple[Array, ...]:
        """Controls, one array for each phase; see `Solution.u`."""
        return tuple(phase.u for phase in self.phases)

    @property
    def span(self) -> tuple[float, float]:
        """The earliest and the latest time of any phase."""
        spans = [phase.span for phase in self.phases]
        return min(first for first, _ in spans), max(last for _, last in spans)

    @property
    def steps(self) -> int:
        """Number of intervals of all phases."""
        return sum(phase.steps for phase in self.phases)

    @property
    def parameters(self) -> dict[str, Any]:
        """Values of the parameters of all phases, the chosen ones of free parameters among them."""
        found: dict[str, Any] = {}
        for phase in reversed(self.phases):
            found |= phase.parameters
        return found

    @cached_property
    def certificate(self) -> MultiPhaseCertificate:
        """The core's own check of this answer, computed at the first look and kept."""
        from trajopt.multi_phase_certificate import certify_phases  # noqa: PLC0415 - SciPy loads only when asked for

        return certify_phases(self._with_problem("check"))

    def certify(self, tolerance: float) -> MultiPhaseCertificate:
        """The certificate at another tolerance than the default one of three digits."""
        from trajopt.multi_phase_certificate import certify_phases  # noqa: PLC0415 - SciPy loads only when asked for

        return certify_phases(self._with_problem("check"), tolerance=tolerance)

    @property
    def certified(self) -> bool:
        """Whether the solver succeeded and the certificate confirms the answer."""
        return self.success and self.certificate.passed

    def __call__(self, t: ArrayLike) -> tuple[Array, Array]:
        """State and control at time ``t``, as of the phase in which it lies; where one ends, as of the one that begins.

        Raises
        ------
        InvalidProblem
            When phases overlap in time, so that no phase alone is meant; or when ``t`` is an array that reaches into
            phases of different sizes.
        """
        time = np.asarray(t, float)
        chosen = self._phase_at(time)
        if time.ndim == 0:
            return self.phases[int(chosen)](time)
        pieces = [(chosen == number, phase) for number, phase in enumerate(self.phases) if (chosen == number).any()]
        sizes = {(phase.x.shape[1], phase.u.shape[1]) for _, phase in pieces}
        if len(sizes) > 1:
            raise InvalidProblem(
                "times in phases of different sizes were given, but an array can hold states of one size alone; ask "
                "phase by phase: solution[name](t)."
            )
        nx, nu = sizes.pop() if sizes else (0, 0)
        x, u = np.empty((*time.shape, nx)), np.empty((*time.shape, nu))
        for here, phase in pieces:
            x[here], u[here] = phase(time[here])
        return x, u

    def _phase_at(self, time: Array) -> NDArray[np.intp]:
        """Numbers of the phases in which times lie."""
        starts = np.array([phase.t[0] for phase in self.phases])
        ends = np.array([phase.t[-1] for phase in self.phases])
        slack = 1e-9 * max(1.0, np.abs(ends).max())  # of times that are the same number computed in two ways
        if (starts[1:] < ends[:-1] - slack).any():
            raise InvalidProblem(
                "the solution was asked for a time, but its phases overlap, so that several could be meant; ask phase "
                "by phase: solution[name](t)."
            )
        return np.clip(np.searchsorted(starts, time + slack, side="right") - 1, 0, len(starts) - 1)

    def explain(self) -> str:
        """What happened, which constraints and links are worst by name and time, and what to try."""
        from trajopt.explain_phases import explain_phases  # noqa: PLC0415 - needs the certificate

        return explain_phases(self._with_problem("explain"))

    def plot(self, reference: Reference | None = None) -> Figure:
        """States, controls with their bounds, and convergence, as a matplotlib figure, a colour for each phase.

        Parameters
        ----------
        reference
            What is known of the problem: its optimum is drawn as well.
        """
        from trajopt.view.plot import plot_solution  # noqa: PLC0415 - matplotlib loads only when asked for

        optimum = None if reference is None or reference.optimum is None else reference.cost
        return plot_solution(self._with_problem("plot"), optimum)

    def report(self, path: str | Path, reference: Reference | None = None) -> Path:
        """Write one self-contained HTML file that opens without a network; returns its path."""
        from trajopt.view.report import write_report  # noqa: PLC0415 - matplotlib loads only when asked for

        return write_report(self._with_problem("report"), Path(path), reference)

    def save(self, path: str | Path) -> Path:
        """Write the numbers, not the problem's functions, to an ``.npz`` file; returns its path."""
        from trajopt.files import write_atomically  # noqa: PLC0415

        arrays: dict[str, Any] = {f"link.{name}": value for name, value in self.multipliers.items()}
        heads = []
        for number, phase in enumerate(self.phases):
            head, own = phase.to_arrays()
            heads.append(head)
            arrays |= {f"{number}.{name}": array for name, array in own.items()}
        head = {
            "phases": heads,
            "names": self.names,
            "cost": self.cost,
            "history": [vars(iteration) for iteration in self.history],
        }
        path = Path(path)
        write_atomically(path, lambda file: np.savez_compressed(file, head=np.array(json.dumps(head)), **arrays))
        return path

    @classmethod
    def load(cls, path: str | Path, problem: MultiPhaseProblem | None = None) -> MultiPhaseSolution:
        """Read what `save` wrote; nothing in the file is executed.

        Parameters
        ----------
        path
            The file.
        problem
            The problem that it belongs to, needed to interpolate, plot and certify; functions are not stored.

        Raises
        ------
        TrajoptError
            When the file is not a saved solution of several phases, or its phases are not the problem's.
        """
        head, arrays = read_arrays_file(path, "MultiPhaseSolution.save")
        try:
            names, heads = tuple(head["names"]), head["phases"]
            history = tuple(Iteration(**record) for record in head["history"])
            first, cost = heads[0], float(head["cost"])
        except (KeyError, TypeError, IndexError) as error:
            raise TrajoptError(
                f"{path} was given, but a file written by MultiPhaseSolution.save was expected ({error!r} is missing); "
                "a solution of one phase is loaded by Solution.load."
            ) from error
        if problem is not None and problem.names != names:
            raise TrajoptError(
                f"{path} holds the phases {', '.join(names)}, but the problem has {', '.join(problem.names)}; give the "
                "problem that it was saved from."
            )
        phases = []
        for number, own in enumerate(heads):
            mine = {key.partition(".")[2]: value for key, value in arrays.items() if key.startswith(f"{number}.")}
            phase = None if problem is None else problem.joined[number]
            phases.append(Solution.from_arrays(own, mine, phase, path))
        return cls(
            problem=problem,
            solver=first["solver"],
            status=Status.from_label(first["status"]),
            names=names,
            phases=tuple(phases),
            cost=cost,
            iterations=first["iterations"],
            history=history,
            seconds=first["seconds"],
            multipliers={key.partition(".")[2]: value for key, value in arrays.items() if key.startswith("link.")},
            detail=first["detail"],
        )

    def _with_problem(self, verb: str) -> MultiPhaseSolution:
        if self.problem is None:
            raise TrajoptError(
                f"this solution was loaded without its problem, but the problem is needed to {verb} it; "
                "write MultiPhaseSolution.load(path, problem)."
            )
        return self

    def __repr__(self) -> str:
        name = "" if self.problem is None or self.problem.name is None else f"{self.problem.name}, "
        return (
            f"MultiPhaseSolution({name}{', '.join(self.names)}; {self.solver}: {self.status}, cost={self.cost:.6g}, "
            f"iterations={self.iterations})"
        )
