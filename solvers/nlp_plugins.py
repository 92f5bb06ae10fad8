"""What is particular to each nonlinear-programming solver inside CasADi: its options, its words, what it can treat.

- "ipopt": interior-point line-search filter method (Waechter, Biegler, Mathematical Programming 106, 2006).
- "fatrop": the same method on the stages, with a Riccati recursion as its linear solver (Vanroye et al., IROS 2023).
  Its variables and constraints must be a chain: nothing may tie distant stages, and the next state must be a function
  of its stage alone, as in shooting, Radau collocation and discrete time. It tells of no iteration, so that callback
  and time limit wait for its end, and it widens bounds by 1e-8.
- "uno": filter sequential quadratic programming (Vanaret, Leyffer, 2024). "sleqp": sequential linear-quadratic
  programming (Lenders et al.), to its own tolerance of 1e-6. "sqpmethod": CasADi's own, whose Hessian is made positive
  definite.

IPOPT, FATROP and CasADi's own method take the exact derivatives of the program's elements; for the others CasADi
differentiates the assembled program once more, which takes longer to prepare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.errors import InvalidProblem, MissingExtra, UnsupportedProblem
from trajopt.status import Status
from trajopt.transcription.nlp import Instance, Program

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Settings:
    """Limits of one solve: tolerance, iterations, and seconds, which may be infinite."""

    tolerance: float
    iterations: int
    seconds: float


# Where IPOPT's word does not promise the tolerances, neither do we: an "acceptable" point has missed them.
_IPOPT_WORDS = {
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

_UNO_WORDS = {"Converged with infeasible stationary point": Status.INFEASIBLE}
_SLEQP_WORDS = {"infeasible": Status.INFEASIBLE, "deadpoint": Status.STALLED, "unbounded": Status.DIVERGED}

_UNIFIED_WORDS = {
    "SOLVER_RET_SUCCESS": Status.SOLVED,
    "SOLVER_RET_LIMITED": Status.ITERATION_LIMIT,
    "SOLVER_RET_INFEASIBLE": Status.INFEASIBLE,
    "SOLVER_RET_NAN": Status.NUMERICAL_FAILURE,
}
"""CasADi's common words; what it calls unknown is a solver that gave up."""


def _ipopt(instance: Instance, settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {
        "tol": settings.tolerance,
        "constr_viol_tol": settings.tolerance,
        "max_iter": settings.iterations,
        "acceptable_iter": 0,  # a point that misses the tolerances is no answer
        "hessian_approximation": "exact",
        "nlp_scaling_method": "gradient-based",
        "obj_scaling_factor": 1.0 / instance.cost_unit,
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
    if math.isfinite(settings.seconds):
        found["max_wall_time"] = max(settings.seconds, 1e-3)  # zero would be refused
    return found


def _given(instance: Instance) -> dict[str, Any]:
    given = {name: instance.program.functions[name] for name in ("grad_f", "jac_g", "hess_lag")}
    # Else CasADi would differentiate the program once more, for nobody, which it cannot where a black box is.
    return given | {"no_nlp_grad": True}


def _fatrop(instance: Instance, settings: Settings) -> dict[str, Any]:
    return {"tolerance": settings.tolerance, "max_iter": settings.iterations, "print_level": 0}


def _fatrop_around(instance: Instance) -> dict[str, Any]:
    program = instance.program
    equality = (instance.row_lower == instance.row_upper).tolist()
    nx, nu, ng = instance.stages.tolist()
    structure = {"structure_detection": "manual", "N": len(nx) - 1, "nx": nx, "nu": nu, "ng": ng}
    return structure | {"equality": equality, "cache": _stage_derivatives(program)}


def _stage_derivatives(program: Program) -> dict[str, ca.Function]:
    """The program's derivatives under the names and in the forms that FATROP asks for."""
    functions = program.functions
    x, p = ca.MX.sym("x", program.size), ca.MX.sym("p", functions["nlp"].numel_in(1))
    lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", program.rows)
    slope, (rows, jacobian) = functions["grad_f"](x, p)[1], functions["jac_g"](x, p)
    hessian = ca.triu2symm(functions["hess_lag"](x, p, lam_f, lam_g))
    total = lam_f * slope + jacobian.T @ lam_g
    inputs, names = [x, p, lam_f, lam_g], ["x", "p", "lam_f", "lam_g"]
    return {
        "nlp_grad_f": ca.Function("nlp_grad_f", [x, p], [slope], ["x", "p"], ["grad_f_x"]),
        "nlp_jac_g": ca.Function("nlp_jac_g", [x, p], [rows, jacobian], ["x", "p"], ["g", "jac_g_x"]),
        "nlp_hess_l": ca.Function("nlp_hess_l", inputs, [total, hessian], names, ["grad_gamma_x", "hess_gamma_x_x"]),
    }


def _sqpmethod(instance: Instance, settings: Settings) -> dict[str, Any]:
    return {
        "tol_pr": settings.tolerance,
        "tol_du": settings.tolerance,
        "max_iter": settings.iterations,
        "convexify_strategy": "regularize",
        "qpsol": "qrqp",  # the sparse active-set method of the wheel that does not print
        "qpsol_options": {"print_iter": False, "print_header": False, "print_info": False, "error_on_fail": False},
        "print_header": False,
        "print_iteration": False,
        "print_status": False,
    }


def _sqpmethod_around(instance: Instance) -> dict[str, Any]:
    functions, program = instance.program.functions, instance.program
    x, p = ca.MX.sym("x", program.size), ca.MX.sym("p", functions["nlp"].numel_in(1))
    outputs, names = [*functions["grad_f"](x, p), *functions["jac_g"](x, p)], ["f", "grad_f_x", "g", "jac_g_x"]
    lam_f, lam_g = ca.MX.sym("lam_f"), ca.MX.sym("lam_g", program.rows)
    hessian = ca.triu2symm(functions["hess_lag"](x, p, lam_f, lam_g))
    inputs = ["x", "p", "lam_f", "lam_g"]
    return {
        "jac_fg": ca.Function("nlp_jac_fg", [x, p], outputs, ["x", "p"], names),
        "hess_lag": ca.Function("nlp_hess_l", [x, p, lam_f, lam_g], [hessian], inputs, ["hess_gamma_x_x"]),
    }


def _sleqp(instance: Instance, settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"max_iter": settings.iterations, "print_level": 0}
    return found | ({"max_wall_time": settings.seconds} if math.isfinite(settings.seconds) else {})


def _uno(instance: Instance, settings: Settings) -> dict[str, Any]:
    return {
        "primal_tolerance": settings.tolerance,
        "dual_tolerance": settings.tolerance,
        "max_iterations": settings.iterations,
        "logger": "SILENT",
    }


def _nothing_around(instance: Instance) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Plugin:
    """A nonlinear-programming solver inside CasADi.

    Attributes
    ----------
    name, title
        In CasADi, and in messages.
    own, around
        Its own options for a solve, and those of CasADi's that go with it.
    nested
        Whether its own options are passed under its name.
    reports
        Whether it tells of its iterations, so that it can be stopped.
    words
        What its own words mean; where they do not tell, CasADi's common ones do.
    trusted
        Whether its word of success needs no check of ours.
    chained
        Whether the program must be a chain of stages.
    silent_bounds
        Whether variables must not be fixed by equal bounds, of which it would print a warning each.
    black_boxes
        Whether it needs no derivative but those that it is given.
    """

    name: str
    title: str
    own: Callable[[Instance, Settings], dict[str, Any]]
    around: Callable[[Instance], dict[str, Any]] = _nothing_around
    nested: bool = False
    reports: bool = True
    words: Mapping[str, Status] = field(default_factory=dict)
    trusted: bool = False
    chained: bool = False
    silent_bounds: bool = False
    black_boxes: bool = False

    def options(self, instance: Instance, settings: Settings, user_options: dict[str, Any]) -> dict[str, Any]:
        """All options, the user's own last."""
        own = self.own(instance, settings) | user_options
        return ({f"{self.name}.{key}": value for key, value in own.items()} if self.nested else own) | self.around(
            instance
        )

    def limits(self, limits: dict[str, Array]) -> dict[str, Array]:
        """Limits in the form that the solver wants: bounds that fix a variable apart by rounding."""
        if not self.silent_bounds:
            return limits
        lower, upper = limits["lbx"], limits["ubx"]
        apart = np.where(lower == upper, 1e-14 * np.maximum(1.0, np.abs(np.where(lower == upper, lower, 0.0))), 0.0)
        return limits | {"lbx": lower - apart, "ubx": upper + apart}

    def status(self, statistics: Mapping[str, Any]) -> Status:
        """How the solve ended, in the solver's word."""
        own = self.words.get(str(statistics.get("return_status")))
        return own or _UNIFIED_WORDS.get(str(statistics["unified_return_status"]), Status.STALLED)

    def word(self, statistics: Mapping[str, Any]) -> str:
        """The solver's own word, as text."""
        own = statistics.get("return_status")
        common = str(statistics["unified_return_status"]).removeprefix("SOLVER_RET_").lower()
        return own.replace("_", " ") if isinstance(own, str) else common

    def check(self, instance: Instance) -> None:
        """Refuse a program of a structure that the solver cannot treat."""
        reason = instance.chain_broken_by if self.chained else ""
        if reason:
            raise UnsupportedProblem(
                f"nlp={self.name!r} was given for a problem with {reason}, but a chain of stages, each tied to the "
                "next one alone, was expected; take nlp='ipopt'."
            )


_PLUGINS = {
    plugin.name: plugin
    for plugin in (
        Plugin("ipopt", "IPOPT", _ipopt, _given, nested=True, words=_IPOPT_WORDS, trusted=True, black_boxes=True),
        Plugin("fatrop", "FATROP", _fatrop, _fatrop_around, nested=True, reports=False, chained=True),
        Plugin("uno", "Uno", _uno, nested=True, words=_UNO_WORDS, silent_bounds=True),
        Plugin("sleqp", "SLEQP", _sleqp, words=_SLEQP_WORDS),
        Plugin("sqpmethod", "CasADi's sqpmethod", _sqpmethod, _sqpmethod_around),
    )
}

_ABSENT = {
    "knitro": "its library and a licence of Artelys",
    "snopt": "its library and a licence of Stanford Business Software",
    "worhp": "its library and a licence of Steinbeis",
    "conopt": "its library and a licence of GAMS",
    "madnlp": "a CasADi built with Julia",
}
"""Plugins that CasADi knows and its wheel has not, and what they need."""

_UNFIT = {
    "bonmin": "it returns no multipliers",
    "blocksqp": "it needs the linear solver MA27 of HSL as soon as a step is infeasible, and prints",
    "alpaqa": "it does not say how it ended",
    "feasiblesqpmethod": "it needs a feasible guess",
    "qrsqp": "it has no globalisation for indefinite Hessians",
    "scpgen": "its authors call it unfinished",
}
"""Plugins of the wheel that cannot be relied upon here, and why."""


def find_plugin(name: object) -> Plugin:
    """Return the solver of that name.

    Raises
    ------
    InvalidProblem
        When it is unknown, or not fit for optimal control.
    MissingExtra
        When it needs something that is not there.
    """
    if isinstance(name, str) and name in _PLUGINS:
        return _PLUGINS[name]
    expected = f"one of {', '.join(map(repr, _PLUGINS))} was expected"
    if name in _ABSENT:
        raise MissingExtra(f"nlp={name!r} needs {_ABSENT[str(name)]}, not there, but {expected}; pick one.")
    why = f" ({_UNFIT[str(name)]})" if name in _UNFIT else ""
    raise InvalidProblem(f"nlp={name!r} was given{why}, but {expected}; pick one.")
