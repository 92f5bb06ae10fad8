"""The answer: trajectories, how the solve ended, and a certificate made by the core and not by the solver."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import TrajoptError
from trajopt.monitor import Iteration
from trajopt.multipliers import shift_multipliers
from trajopt.problem import Problem
from trajopt.status import Status
from trajopt.trajectory import Interpolation, Pieces, Trajectory
from trajopt.validation import check, check_whole, is_whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from trajopt.certificate import Certificate
    from trajopt.derivatives import SolutionDerivatives
    from trajopt.multi_phase_solution import MultiPhaseSolution
    from trajopt.problems.drawing import Drawing
    from trajopt.problems.reference import Reference
    from trajopt.solver import Memory
    from trajopt.transcription.interval import IntervalScheme
    from trajopt.transcription.mesh import Mesh

Array = NDArray[np.float64]
_FORMAT = 1


@final
@dataclass(frozen=True, eq=False)
class Solution:
    """What `trajopt.solve` returns.

    Attributes
    ----------
    problem
        The problem with the parameter values that were solved for; None if loaded from a file without one.
    solver
        The solver and its settings, as text.
    status
        How it ended; ``success``, ``message`` say the same as a bool and a sentence.
    trajectory
        Knots, states and controls; ``t``, ``x``, ``u`` are shorthands.
    cost
        As the solver's own discretisation values it; ``certificate.cost`` is what the control really costs.
    iterations
        How many the solver took.
    history
        One `Iteration` for each.
    seconds
        Wall time of the solve, without the certificate.
    feedback
        (N, nu, nx) gains K of the law u = u_k + K_k (x - x_k), or None.
    multipliers
        Costates and multipliers of the solver's own, by name.
    detail
        A sentence of the solver's behind the status's own.
    transcription
        What the solver made of an interval, if it is one that finds local optima; files do not keep it.
    memory
        What ``solve(memory=...)`` goes on from, if the solver remembers more than its answer; files do not keep it.
    whole
        The answer in several phases of which this is one: its certificate judges the phase by its part in the whole.
    """

    problem: Problem | None
    solver: str
    status: Status
    trajectory: Trajectory
    cost: float
    iterations: int
    history: tuple[Iteration, ...] = ()
    seconds: float = float("nan")
    feedback: Array | None = None
    multipliers: dict[str, Any] = field(default_factory=dict)
    detail: str = ""
    transcription: IntervalScheme | Mesh | None = None
    memory: Memory | None = None
    whole: MultiPhaseSolution | None = None

    @property
    def success(self) -> bool:
        """Whether the solver met its stated tolerances."""
        return self.status.success

    @property
    def message(self) -> str:
        """The status as a sentence, with the solver's own words behind it."""
        return f"{self.status.sentence} {self.detail}".strip()

    @property
    def t(self) -> Array:
        """Times of the knots, (N+1,)."""
        return self.trajectory.t

    @property
    def x(self) -> Array:
        """States at the knots, (N+1, nx)."""
        return self.trajectory.x

    @property
    def u(self) -> Array:
        """Controls: (N, nu) held over each interval, or (N+1, nu) interpolated between knots."""
        return self.trajectory.u

    @property
    def span(self) -> tuple[float, float]:
        """Initial and final time."""
        return float(self.t[0]), float(self.t[-1])

    @property
    def steps(self) -> int:
        """Number of intervals N."""
        return self.trajectory.steps

    @property
    def parameters(self) -> dict[str, Any]:
        """Values of the problem's parameters, the chosen ones of free parameters among them."""
        return dict(self.trajectory.parameters)

    @cached_property
    def certificate(self) -> Certificate:
        """The core's own check of this answer, computed at the first look and kept."""
        from trajopt.certificate import certify  # noqa: PLC0415 - SciPy's integrators load only when asked for

        number = None if self.whole is None else self.whole.place(self)
        if self.whole is not None and number is not None:
            return self.whole.certificate.phases[number]
        return certify(self._with_problem("check"))

    def certify(self, tolerance: float) -> Certificate:
        """The certificate at another tolerance than the default one of three digits."""
        from trajopt.certificate import certify  # noqa: PLC0415 - SciPy's integrators load only when asked for

        number = None if self.whole is None else self.whole.place(self)
        if self.whole is not None and number is not None:
            return self.whole.certify(tolerance).phases[number]
        return certify(self._with_problem("check"), tolerance=tolerance)

    @property
    def certified(self) -> bool:
        """Whether the solver succeeded and the certificate confirms the answer."""
        return self.success and self.certificate.passed

    def __call__(self, t: ArrayLike) -> tuple[Array, Array]:
        """State and control at time ``t``: (nx,), (nu,) for a scalar, (n, nx), (n, nu) for an array.

        The state is the cubic through both knots with the slopes of the dynamics there (for discrete dynamics: that of
        the last step; for polynomial interpolation: the solver's own polynomials). Outside the horizon both are held
        constant.
        """
        time = np.asarray(t, float)
        return self._state(time), self.trajectory.control(time)

    def _state(self, time: Array) -> Array:
        if self.trajectory.pieces is not None:
            return self.trajectory.state(time)
        k = self.trajectory.interval(time)
        t, x = self.t, self.x
        problem = self._with_problem("interpolate").problem
        assert problem is not None
        if not problem.dynamics.continuous:
            return x[np.clip(np.floor(time - t[0]).astype(int), 0, len(t) - 1)]
        span = (t[k + 1] - t[k])[..., None]
        s = np.clip((time - t[k]) / (t[k + 1] - t[k]), 0.0, 1.0)[..., None]
        left, right = self._slopes
        return (
            (1.0 + 2.0 * s) * (1.0 - s) ** 2 * x[k]
            + s * (1.0 - s) ** 2 * span * left[k]
            + s**2 * (3.0 - 2.0 * s) * x[k + 1]
            + s**2 * (s - 1.0) * span * right[k]
        )

    @cached_property
    def _slopes(self) -> tuple[Array, Array]:
        """Time derivatives of the state at the start and the end of each interval, each (N, nx)."""
        from trajopt.plain import PlainFunctions  # noqa: PLC0415 - keeps CasADi out of `import trajopt`

        assert self.problem is not None
        functions = PlainFunctions(self.problem, self.problem.layout.pack(self.trajectory.parameters))
        steps = range(self.trajectory.steps)
        t, x, control = self.t, self.x, self.trajectory.control_on
        left = [functions.dynamics(x[k], control(k, t[k]), t[k]) for k in steps]
        right = [functions.dynamics(x[k + 1], control(k, t[k + 1]), t[k + 1]) for k in steps]
        return np.array(left), np.array(right)

    def shift(self, steps: int = 1) -> Trajectory:
        """The plan that remains after ``steps`` intervals, extended by its last values: a guess for the next solve.

        The clock stays where it was, so that the result is a guess for the same problem from a later state. Costates
        and multipliers move along.
        """
        n, trajectory = self.trajectory.steps, self.trajectory
        check(steps, "steps", f"a whole number from 0 to {n}", is_whole(steps, 0) and steps <= n)
        knots, intervals = (np.minimum(np.arange(count) + steps, count - 1) for count in (n + 1, n))
        rows = intervals if trajectory.interpolation is Interpolation.HOLD else knots
        u_mid = None if trajectory.u_mid is None else trajectory.u_mid[intervals]
        multipliers = shift_multipliers(self.multipliers, n, steps)
        pieces = None if trajectory.pieces is None else trajectory.pieces.take(intervals)
        x, u = self.x[knots], self.u[rows]
        return replace(trajectory, x=x, u=u, u_mid=u_mid, multipliers=multipliers, pieces=pieces)

    def resample(self, steps: int) -> Trajectory:
        """The trajectory on ``steps`` equal intervals, with its multipliers: a guess for a finer or coarser problem."""
        check_whole(steps, "steps", 1)
        knots = np.linspace(self.t[0], self.t[-1], steps + 1)
        return replace(self.trajectory, multipliers=self.multipliers).resample(knots, self._state)

    def derivatives(self) -> SolutionDerivatives:
        """Derivatives of cost, states and controls by the parameters and the initial state of the problem.

        Raises
        ------
        NotDifferentiable
            When the solution is no local optimum, or has no derivatives.
        """
        from trajopt.derivatives import differentiate  # noqa: PLC0415 - keeps CasADi and SciPy out of `import trajopt`

        return differentiate(self._with_problem("differentiate"))

    def explain(self) -> str:
        """What happened, which constraints are worst by name and time, and what to try."""
        from trajopt.explain import explain  # noqa: PLC0415 - needs the certificate

        return explain(self._with_problem("explain"))

    def plot(self, reference: Reference | None = None) -> Figure:
        """States, controls with their bounds, and convergence, as a matplotlib figure.

        Parameters
        ----------
        reference
            What is known of the problem, such as ``trajopt.problems.reference(name)``: its optimum is drawn as well.
        """
        from trajopt.view.plot import plot_solution  # noqa: PLC0415 - matplotlib loads only when asked for

        optimum = None if reference is None or reference.optimum is None else reference.cost
        return plot_solution(self._with_problem("plot"), optimum)

    def report(self, path: str | Path, reference: Reference | None = None, drawing: Drawing | None = None) -> Path:
        """Write one self-contained HTML file that opens without a network; returns its path.

        Parameters
        ----------
        path
            The file.
        reference
            What is known of the problem, such as ``trajopt.problems.reference(name)``: optimum, source and picture.
        drawing
            How to animate the system (`trajopt.problems.drawing`); default: the picture of the reference.
        """
        from trajopt.view.report import write_report  # noqa: PLC0415 - matplotlib loads only when asked for

        return write_report(self._with_problem("report"), Path(path), reference, drawing)

    def to_dataframe(self) -> pd.DataFrame:
        """One row for each knot: time, states and controls by name; a held control has no value at the last knot."""
        import pandas as pd  # noqa: PLC0415 - slow to import

        problem = self._with_problem("tabulate").problem
        assert problem is not None
        u = np.vstack([self.u, np.full((len(self.t) - len(self.u), self.u.shape[1]), np.nan)])
        columns = {"t": self.t}
        columns |= dict(zip(problem.dynamics.states, self.x.T, strict=True))
        columns |= dict(zip(problem.dynamics.controls, u.T, strict=True))
        return pd.DataFrame(columns)

    def save(self, path: str | Path) -> Path:
        """Write the numbers, not the problem's functions, to an ``.npz`` file; returns its path.

        The file replaces an older one only when it is complete, so a killed process loses nothing.
        """
        from trajopt.files import write_atomically  # noqa: PLC0415

        head, arrays = self.to_arrays()
        path = Path(path)
        write_atomically(path, lambda file: np.savez_compressed(file, head=np.array(json.dumps(head)), **arrays))
        return path

    def to_arrays(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What `save` writes: numbers and words for a header, and arrays by name."""
        head = {
            "format": _FORMAT,
            "solver": self.solver,
            "status": self.status.label,
            "cost": self.cost,
            "iterations": self.iterations,
            "seconds": self.seconds,
            "detail": self.detail,
            "interpolation": str(self.trajectory.interpolation),
            "history": [asdict(iteration) for iteration in self.history],
        }
        arrays = {"t": self.t, "x": self.x, "u": self.u, "u_mid": self.trajectory.u_mid, "feedback": self.feedback}
        pieces = self.trajectory.pieces
        arrays |= {} if pieces is None else {"pieces.u": pieces.u, "pieces.x": pieces.x}
        arrays |= {f"parameter.{name}": np.asarray(value) for name, value in self.parameters.items()}
        arrays |= {f"multiplier.{name}": np.asarray(value) for name, value in self.multipliers.items()}
        return head, {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def load(cls, path: str | Path, problem: Problem | None = None) -> Solution:
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
            When the file is not a saved solution, or its sizes are not the problem's.
        """
        head, arrays = read_arrays_file(path, "Solution.save")
        return cls.from_arrays(head, arrays, problem, path)

    @classmethod
    def from_arrays(
        cls, head: dict[str, Any], arrays: dict[str, Any], problem: Problem | None, path: str | Path
    ) -> Solution:
        """What `to_arrays` gave; ``path`` is where it comes from, for messages."""
        try:
            solution = cls._from_arrays(head, arrays, problem)
        except Exception as error:
            raise TrajoptError(
                f"{path} was given, but a file written by Solution.save was expected ({error}); save the solution "
                "again."
            ) from error
        if problem is not None and (solution.x.shape[1:], solution.u.shape[1:]) != ((problem.nx,), (problem.nu,)):
            raise TrajoptError(
                f"{path} holds {solution.x.shape[1]} states and {solution.u.shape[1]} controls, but the problem has "
                f"{problem.nx} and {problem.nu}; give the problem that it was saved from."
            )
        return solution

    @classmethod
    def _from_arrays(cls, head: dict[str, Any], arrays: dict[str, Any], problem: Problem | None) -> Solution:
        if head["format"] != _FORMAT:
            raise ValueError(f"format {head['format']}, this version reads {_FORMAT}")

        def group(prefix: str) -> dict[str, Any]:
            found = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
            return {key: value.item() if value.ndim == 0 else value for key, value in found.items()}

        trajectory = Trajectory(
            arrays["t"],
            arrays["x"],
            arrays["u"],
            Interpolation(head["interpolation"]),
            arrays.get("u_mid"),
            group("parameter."),
            pieces=Pieces(arrays["pieces.u"], arrays["pieces.x"]) if "pieces.u" in arrays else None,
        )
        return cls(
            problem=problem,
            solver=head["solver"],
            status=Status.from_label(head["status"]),
            trajectory=trajectory,
            cost=head["cost"],
            iterations=head["iterations"],
            history=tuple(Iteration(**record) for record in head["history"]),
            seconds=head["seconds"],
            feedback=arrays.get("feedback"),
            multipliers=group("multiplier."),
            detail=head["detail"],
        )

    def _with_problem(self, verb: str) -> Solution:
        if self.problem is None:
            raise TrajoptError(
                f"this solution was loaded without its problem, but the problem is needed to {verb} it; "
                "write Solution.load(path, problem)."
            )
        return self

    def __repr__(self) -> str:
        name = "" if self.problem is None or self.problem.name is None else f"{self.problem.name}, "
        return f"Solution({name}{self.solver}: {self.status}, cost={self.cost:.6g}, iterations={self.iterations})"


def read_arrays_file(path: str | Path, writer: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and arrays of a file that ``writer`` wrote; nothing in the file is executed."""
    try:
        # Opened here and not by NumPy, which leaves a damaged file open.
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return json.loads(str(arrays["head"])), arrays
    except FileNotFoundError:
        raise
    except Exception as error:
        raise TrajoptError(
            f"{path} was given, but a file written by {writer} was expected ({error}); save the solution again."
        ) from error
