"""The road to the nonlinear-programming solvers inside CasADi: solves an assembled program, with an honest status.

They stand inside a library whose messages and exceptions must not surface: nothing is printed, every iteration that a
solver tells of is reported, and whatever it returns becomes a `Status` with its own word in the detail. What is
particular to a solver stands in `trajopt.solvers.nlp_plugins`.

IPOPT's word is taken as it is. Where another solver claims success, the first-order conditions

    |grad f + lambda' dg/dv + mu| <= tol s,  violation <= tol,  |multiplier| * slack <= tol s,  signs right

are measured here, with s = max(100, mean |multiplier|) / 100 as in IPOPT (Waechter, Biegler, Mathematical Programming
106, 2006, equation 6) and ten times the tolerance, since each has its own norm; one that missed them has stalled.
"""

from __future__ import annotations

import math
import re
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem, TrajoptError
from trajopt.monitor import Monitor
from trajopt.solvers.nlp_plugins import Plugin, Settings
from trajopt.status import Status
from trajopt.transcription.nlp import Instance

Array = NDArray[np.float64]

_MARGIN = 10.0
"""Between a solver's own measure of the first-order conditions and ours."""


@dataclass(frozen=True, eq=False)
class NonlinearResult:
    """How a solver ended, in the problem's own units.

    Attributes
    ----------
    status, detail
        Verdict, and the solver's own word in a sentence.
    w
        (size,) final variables.
    cost
        Of them.
    iterations
        That it took.
    row_multipliers, bound_multipliers
        (rows,) and (size,): multipliers lambda of L = f + lambda' g + mu' w, positive at an active upper limit.
    element_gradients
        For each element, the gradient of f + lambda' g by its own variables, (n, copies).
    """

    status: Status
    detail: str
    w: Array
    cost: float
    iterations: int
    row_multipliers: Array
    bound_multipliers: Array
    element_gradients: list[Array]


def solve_program(
    instance: Instance, monitor: Monitor, plugin: Plugin, *, tolerance: float, iterations: int, options: dict[str, Any]
) -> NonlinearResult:
    """Solve ``instance``.

    Parameters
    ----------
    instance
        What to solve, and from where.
    monitor
        Told of every iteration; may end the solve.
    plugin
        Which solver.
    tolerance
        Of the first-order conditions and the constraints.
    iterations
        At most.
    options
        More options of the solver's own, by their names there.

    Raises
    ------
    InvalidProblem
        When there are more equations than unknowns, or the solver does not know an option.
    UnsupportedProblem
        When the solver cannot treat a program of this structure.
    """
    _check_counts(instance)
    plugin.check(instance)
    scaling, parameters = instance.scaling, instance.parameters
    start = scaling.apply(instance.guess)
    limits = {
        "lbx": scaling.apply(instance.lower),
        "ubx": scaling.apply(instance.upper),
        "lbg": scaling.apply_rows(instance.row_lower),
        "ubg": scaling.apply_rows(instance.row_upper),
    }
    settings = Settings(tolerance, iterations, monitor.seconds_left)
    with _interruption() as interruption:
        reporter = _Reporter(instance, limits, parameters, monitor, interruption)
        solver = _make_solver(instance, reporter, plugin, settings, options)
        try:
            answer = solver(x0=start, p=parameters, **plugin.limits(limits))
            statistics = solver.stats()
        except RuntimeError as error:
            raise _failure(options, plugin, error) from error
        if not plugin.reports:
            reporter.finish(answer)
    if reporter.error is not None:
        raise reporter.error
    return _read(instance, answer, plugin, statistics, reporter, settings)


def _read(
    instance: Instance, answer: Mapping[str, ca.DM], plugin: Plugin, statistics: Mapping[str, Any],
    reporter: _Reporter, settings: Settings,
) -> NonlinearResult:  # fmt: skip
    """Bring a solver's answer back into the problem's own units."""
    scaling = instance.scaling
    v, lam_g, lam_x = (answer[key].full().ravel() for key in ("x", "lam_g", "lam_x"))
    slope, *elements = instance.program.gradients(v, instance.parameters, lam_g)
    status = plugin.status(statistics)
    if status is Status.SOLVED and not plugin.trusted:
        allowed = _MARGIN * settings.tolerance
        residual = reporter.residual(answer, slope.full().ravel(), allowed)
        status = status if residual <= allowed else Status.STALLED
    count = statistics.get("iter_count")
    if status is Status.STALLED and count is not None and count >= settings.iterations:
        status = Status.ITERATION_LIMIT  # some do not tell it from giving up
    if status is Status.ITERATION_LIMIT and reporter.late:
        status = Status.TIME_LIMIT
    return NonlinearResult(
        status=reporter.stop or status,
        detail=f"{plugin.title}: {plugin.word(statistics)}.",
        w=scaling.invert(v),
        cost=float(answer["f"]),
        iterations=max(0, len(reporter.monitor.history) - reporter.before - 1) if count is None else int(count),
        row_multipliers=scaling.invert_row_multipliers(lam_g),
        bound_multipliers=scaling.invert_variable_multipliers(lam_x),
        element_gradients=[element.full() for element in elements],
    )


def _make_solver(
    instance: Instance, reporter: _Reporter, plugin: Plugin, settings: Settings, user_options: dict[str, Any]
) -> ca.Function:
    """Make the solver anew: callback and time limit are fixed when it is made, so that none can be shared or kept."""
    options = plugin.options(instance, settings, user_options) | {
        "print_time": False,
        "show_eval_warnings": False,
        "error_on_fail": False,
        "calc_lam_p": False,  # would differentiate the program by its parameters, for nobody
    }
    if plugin.reports:
        options["iteration_callback"] = reporter
    try:
        return ca.nlpsol("program", plugin.name, instance.program.functions["nlp"], options)
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise _refused_options(user_options, plugin, error) from error


def _failure(options: dict[str, Any], plugin: Plugin, error: Exception) -> TrajoptError:
    """What an error of a running solver means: some look at their options only then."""
    if options and any(word in _cause(error) for word in ("option", "exception was raised")):
        return _refused_options(options, plugin, error)
    return TrajoptError(
        f"{plugin.title} could not work on this problem ({_cause(error)}), but a well-posed program was expected; "
        "check that the functions are finite and the limits consistent."
    )


def _refused_options(options: dict[str, Any], plugin: Plugin, error: Exception) -> InvalidProblem:
    return InvalidProblem(
        f"options={options} was given, which {plugin.title} refuses ({_cause(error)}), but options of its manual were "
        "expected; correct them."
    )


def _check_counts(instance: Instance) -> None:
    """Refuse more equations than unknowns, which a solver can only declare infeasible without saying why."""
    equations = int(np.sum(instance.row_lower == instance.row_upper))
    unknowns = int(np.sum(instance.lower < instance.upper))
    if equations > unknowns:
        raise InvalidProblem(
            f"the problem has {equations} equations (those of the dynamics among them) for {unknowns} unknowns, but no "
            "more equations than unknowns were expected; remove equality constraints, or free states, parameters or "
            "time."
        )


def _cause(error: Exception) -> str:
    """Pick the last line of CasADi's message, which holds the cause, without the place in its source."""
    return re.sub(r"^\S+\.[ch]pp:\d+: ", "", str(error).strip().splitlines()[-1])


class _Reporter(ca.Callback):
    """Called by the solver after each iteration; anything but 0 in return stops it."""

    def __init__(
        self,
        instance: Instance,
        limits: dict[str, Array],
        parameters: Array,
        monitor: Monitor,
        interruption: _Interruption,
    ) -> None:
        ca.Callback.__init__(self)
        self.stop: Status | None = None
        self.error: BaseException | None = None
        self._instance, self._limits, self._parameters = instance, limits, parameters
        self.monitor, self._interruption = monitor, interruption
        self.before = len(monitor.history)
        self.construct("reporter", {})

    def get_n_in(self) -> int:
        return ca.nlpsol_n_out()

    def get_n_out(self) -> int:
        return 1

    def get_sparsity_in(self, i: int) -> ca.Sparsity:
        program, name = self._instance.program, ca.nlpsol_out(i)
        size = {"x": program.size, "lam_x": program.size, "g": program.rows, "lam_g": program.rows, "f": 1}
        return ca.Sparsity.dense(size.get(name, len(self._parameters)), 1)

    def eval(self, arguments: Sequence[ca.DM]) -> list[float]:
        """Report an iteration; whatever goes wrong is kept for later, since it cannot cross the solver."""
        try:
            self._report(arguments)
        except KeyboardInterrupt:
            self.stop = Status.INTERRUPTED
        except BaseException as error:
            self.error = error
            self.stop = Status.STOPPED
        return [0.0 if self.stop is None else 1.0]

    def _report(self, arguments: Sequence[ca.DM]) -> None:
        x, f, g, lam_x, lam_g = arguments[:5]
        gradient = self._instance.program.gradients(x, self._parameters, lam_g)[0] + lam_x
        self.stop = self.monitor.observe(float(f), self._violation(x, g), float(ca.norm_inf(gradient)))
        if self._interruption.happened:
            self.stop = Status.INTERRUPTED

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return self.monitor.seconds_left <= 0.0

    def finish(self, answer: Mapping[str, ca.DM]) -> None:
        """Report the answer of a solver that does not tell of its iterations; it is too late to stop it."""
        self._report([answer[name] for name in ("x", "f", "g", "lam_x", "lam_g")])
        if self.stop is Status.TIME_LIMIT:
            self.stop = None

    def residual(self, answer: Mapping[str, ca.DM], slope: Array, tolerance: float) -> float:
        """Largest residual of the first-order conditions, as the module defines them; infinite if not finite.

        A limit that is met within the tolerance has no slack: widened bounds are no lack of complementarity.
        """
        v, rows, mu, lam = (answer[name].full().ravel() for name in ("x", "g", "lam_x", "lam_g"))
        limits, multipliers = self._limits, np.concatenate([mu, lam])
        below = np.concatenate([v - limits["lbx"], rows - limits["lbg"]])
        above = np.concatenate([limits["ubx"] - v, limits["ubg"] - rows])
        slack = np.where(multipliers > 0.0, above, below)
        with np.errstate(invalid="ignore"):
            priced = np.where(np.abs(slack) <= tolerance, 0.0, np.abs(multipliers * slack))
        priced = np.where(multipliers == 0.0, 0.0, priced)  # of a limit at infinity
        size = max(100.0, float(np.mean(np.abs(multipliers)))) / 100.0
        worst = [np.abs(slope + mu) / size, priced / size, -below, -above]
        largest = max(float(np.max(part, initial=0.0)) for part in worst)
        return largest if math.isfinite(largest) else math.inf

    def _violation(self, x: ca.DM, g: ca.DM) -> float:
        """Largest violation, each row and variable in its own unit."""
        scaling, limits = self._instance.scaling, self._limits
        v, rows = x.full().ravel(), g.full().ravel()
        outside = scaling.invert(np.maximum(limits["lbx"] - v, v - limits["ubx"]))
        excess = scaling.invert_rows(np.maximum(limits["lbg"] - rows, rows - limits["ubg"]))
        return float(max(np.max(outside, initial=0.0), np.max(excess, initial=0.0)))


@dataclass
class _Interruption:
    """Whether Ctrl-C came."""

    happened: bool = False


@contextmanager
def _interruption() -> Iterator[_Interruption]:
    """Turn Ctrl-C into a flag while a solver runs.

    Python raises KeyboardInterrupt at the next bytecode, which may be the first one of the callback, outside of its
    ``try``; from there CasADi would print it and go on. A handler of the user's own is left in place.
    """
    state = _Interruption()
    mine = threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGINT)
    if not mine or previous is not signal.default_int_handler:
        yield state
        return

    def note(number: int, frame: FrameType | None) -> None:
        state.happened = True

    signal.signal(signal.SIGINT, note)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, previous)
