"""The road to IPOPT: solves an assembled program, reports every iteration and ends with an honest status.

IPOPT is the interior-point line-search filter method of Wachter and Biegler, Mathematical Programming 106, 2006,
reached through CasADi. It stands inside a library whose messages and exceptions must not surface: nothing is printed,
and whatever it returns becomes a `Status` with IPOPT's own word in the detail.
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
from trajopt.status import Status
from trajopt.transcription.nlp import Instance

Array = NDArray[np.float64]

# Where IPOPT's word does not promise the tolerances, neither do we: an "acceptable" point has missed them.
_STATUSES = {
    "Solve_Succeeded": Status.SOLVED,
    "Solved_To_Acceptable_Level": Status.STALLED,
    "Search_Direction_Becomes_Too_Small": Status.STALLED,
    "Feasible_Point_Found": Status.SOLVED,
    "Infeasible_Problem_Detected": Status.INFEASIBLE,
    "Diverging_Iterates": Status.DIVERGED,
    "Maximum_Iterations_Exceeded": Status.ITERATION_LIMIT,
    "Maximum_CpuTime_Exceeded": Status.TIME_LIMIT,
    "Maximum_WallTime_Exceeded": Status.TIME_LIMIT,
    "Restoration_Failed": Status.STALLED,
    "Error_In_Step_Computation": Status.STALLED,
    "Invalid_Number_Detected": Status.NUMERICAL_FAILURE,
}


@dataclass(frozen=True, eq=False)
class IpoptResult:
    """How IPOPT ended, in the problem's own units.

    Attributes
    ----------
    status, detail
        Verdict, and IPOPT's own word in a sentence.
    w
        (size,) final variables.
    cost
        Of them.
    iterations
        That IPOPT took.
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


def run_ipopt(
    instance: Instance, monitor: Monitor, *, tolerance: float, iterations: int, options: dict[str, Any]
) -> IpoptResult:
    """Solve ``instance`` with IPOPT.

    Parameters
    ----------
    instance
        What to solve, and from where.
    monitor
        Told of every iteration; may end the solve.
    tolerance
        IPOPT's ``tol`` and ``constr_viol_tol``.
    iterations
        At most.
    options
        More options of IPOPT's own, by their names there.

    Raises
    ------
    InvalidProblem
        When there are more equations than unknowns, or IPOPT does not know an option.
    """
    _check_counts(instance)
    scaling, parameters = instance.scaling, instance.parameters
    start = scaling.apply(instance.guess)
    limits = {
        "lbx": scaling.apply(instance.lower),
        "ubx": scaling.apply(instance.upper),
        "lbg": scaling.apply_rows(instance.row_lower),
        "ubg": scaling.apply_rows(instance.row_upper),
    }
    with _interruption() as interruption:
        reporter = _Reporter(instance, limits, parameters, monitor, interruption)
        solver = _make_solver(instance, reporter, _settings(tolerance, iterations, monitor), options)
        try:
            answer = solver(x0=start, p=parameters, **limits)
            statistics = solver.stats()
        except RuntimeError as error:
            raise TrajoptError(
                f"IPOPT could not work on this problem ({_cause(error)}), but a well-posed program was expected; "
                "check that the functions are finite and the limits consistent."
            ) from error
    if reporter.error is not None:
        raise reporter.error
    return _read(instance, answer, statistics, reporter.stop)


def _read(
    instance: Instance, answer: Mapping[str, ca.DM], statistics: Mapping[str, Any], stop: Status | None
) -> IpoptResult:
    """Bring IPOPT's answer back into the problem's own units."""
    scaling, word = instance.scaling, statistics["return_status"]
    v, lam_g, lam_x = (answer[key].full().ravel() for key in ("x", "lam_g", "lam_x"))
    _, *elements = instance.program.gradients(v, instance.parameters, lam_g)
    return IpoptResult(
        status=stop or _STATUSES.get(word, Status.NUMERICAL_FAILURE),
        detail=f"IPOPT: {word.replace('_', ' ')}.",
        w=scaling.invert(v),
        cost=float(answer["f"]),
        iterations=int(statistics["iter_count"]),
        row_multipliers=scaling.invert_row_multipliers(lam_g),
        bound_multipliers=scaling.invert_variable_multipliers(lam_x),
        element_gradients=[element.full() for element in elements],
    )


def _settings(tolerance: float, iterations: int, monitor: Monitor) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "tol": tolerance,
        "constr_viol_tol": tolerance,
        "max_iter": iterations,
        "acceptable_iter": 0,  # a point that misses the tolerances is no answer
        "hessian_approximation": "exact",
        "nlp_scaling_method": "gradient-based",
        "fixed_variable_treatment": "make_parameter",
        # Over the problem library monotone and adaptive barrier updates took 1089 and 1044 iterations, 2.3 and 2.5 s.
        "mu_strategy": "monotone",
        # IPOPT widens bounds to keep an interior, as is needed where a terminal state lies on its bound. Its own 1e-8
        # shows in the cost: 3.6e-7 on Bryson-Denham, whose bound has the multiplier 36. This takes as many iterations.
        "bound_relax_factor": 1e-12,
        "honor_original_bounds": "yes",
        # Unbounded problems walk off by factors of ten; scaled variables of 1e10 leave no digit of the defects at 1e-8.
        "diverging_iterates_tol": 1e10,
        "print_level": 0,
        "sb": "yes",
    }
    if math.isfinite(monitor.seconds_left):
        settings["max_wall_time"] = max(monitor.seconds_left, 1e-3)  # zero would be refused
    return settings


def _make_solver(
    instance: Instance, reporter: _Reporter, settings: dict[str, Any], user_options: dict[str, Any]
) -> ca.Function:
    functions = instance.program.functions
    settings = settings | user_options
    options = {f"ipopt.{name}": value for name, value in settings.items()}
    options |= {name: functions[name] for name in ("grad_f", "jac_g", "hess_lag")}
    options |= {
        "print_time": False,
        "show_eval_warnings": False,
        "error_on_fail": False,
        "iteration_callback": reporter,
    }
    options |= {"calc_lam_p": False}  # would differentiate the program by its parameters, for nobody
    try:
        return ca.nlpsol("program", "ipopt", functions["nlp"], options)
    except RuntimeError as error:
        raise InvalidProblem(
            f"options={user_options} was given, which IPOPT refuses ({_cause(error)}), but options of its manual were "
            "expected; correct them."
        ) from error


def _check_counts(instance: Instance) -> None:
    """Refuse more equations than unknowns, which IPOPT can only declare infeasible without saying why."""
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
    """Called by IPOPT after each iteration; anything but 0 in return stops it."""

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
        self._monitor, self._interruption = monitor, interruption
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
        """Report an iteration; whatever goes wrong is kept for later, since it cannot cross IPOPT."""
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
        self.stop = self._monitor.observe(float(f), self._violation(x, g), float(ca.norm_inf(gradient)))
        if self._interruption.happened:
            self.stop = Status.INTERRUPTED

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
    """Turn Ctrl-C into a flag while IPOPT runs.

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
