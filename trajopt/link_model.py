"""The rows of all links of a problem of several phases, as expressions, and as plain NumPy for the certificate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.link import Joint
from trajopt.model import wrap_parameters
from trajopt.symbolic import Parameters, Scalar, Vector, trace

if TYPE_CHECKING:
    from trajopt.multi_phase import MultiPhaseProblem

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PhaseEnds:
    """States and times at both ends of a phase, as symbols or as numbers."""

    x0: Any
    xf: Any
    t0: Any
    tf: Any


@dataclass(frozen=True, eq=False)
class LinkModel:
    """Rows of links, those of each joint below the other.

    Attributes
    ----------
    ends
        Symbols of the ends of each phase.
    p
        Symbols of the packed parameters of all phases.
    joints
        What the rows belong to.
    expression
        SX column of L rows.
    lower, upper
        (L,) limits.
    names
        Of the rows.
    joint
        (L,) number of the joint of each row.
    """

    ends: tuple[PhaseEnds, ...]
    p: ca.SX
    joints: tuple[Joint, ...]
    expression: ca.SX
    lower: Array
    upper: Array
    names: tuple[str, ...]
    joint: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.names)

    def by_name(self, values: Array) -> dict[str, Array]:
        """Numbers of the rows, (1,) each, by their names, a repeated one with " (2)" behind it."""
        found: dict[str, Array] = {}
        for name, value in zip(self.names, values, strict=True):
            again = sum(key == name or key.startswith(f"{name} (") for key in found)
            found[f"{name} ({again + 1})" if again else name] = np.array([value])
        return found

    def evaluate(self, ends: Sequence[PhaseEnds], parameters: dict[str, Any]) -> tuple[Array, Array]:
        """Values of the rows by the plain functions, and to what size violations are relative, (L,) each.

        Parameters
        ----------
        ends
            Numbers at the ends of each phase.
        parameters
            Of all phases, by name.
        """
        values, sizes = [np.zeros(0)], [np.zeros(0)]
        for number, joint in enumerate(self.joints):
            rows = np.flatnonzero(self.joint == number)
            first, second = ends[joint.first], ends[joint.second]
            arguments = {"xf": first.xf.copy(), "x0": second.x0.copy(), "tf": first.tf, "t0": second.t0}
            with np.errstate(all="ignore"):
                try:
                    result = joint.function(arguments | {"p": Parameters(parameters)})
                    values.append(np.asarray(result, float).reshape(rows.size))
                except (ArithmeticError, ValueError):  # one more way to say NaN
                    values.append(np.full(rows.size, np.nan))
            sizes.append(joint.size(first.xf, first.tf, self.lower[rows], self.upper[rows]))
        return np.concatenate(values), np.concatenate(sizes)


def trace_links(problem: MultiPhaseProblem) -> LinkModel:
    """Run the function of every link once on symbols.

    Raises
    ------
    TracingError
        When it cannot be traced.
    InvalidProblem
        When its limits do not fit its rows.
    """
    p = ca.SX.sym("p", problem.layout.size)
    ends = tuple(_symbols(number, phase.nx) for number, phase in enumerate(problem.phases))
    parameters = wrap_parameters(p, problem.layout)
    expressions, lower, upper, names, owner = [ca.SX(0, 1)], [np.zeros(0)], [np.zeros(0)], [], []
    for number, joint in enumerate(problem.joints):
        first, second = ends[joint.first], ends[joint.second]
        values = {"xf": Vector(first.xf), "x0": Vector(second.x0), "tf": Scalar(first.tf), "t0": Scalar(second.t0)}
        chosen = ((values | {"p": parameters})[name] for name in joint.function.arguments)
        expression, _ = trace(joint.function.function, *chosen, name=joint.function.role)
        rows = expression.numel()
        limits = joint.limits(rows)
        expressions.append(expression)
        lower.append(limits[0])
        upper.append(limits[1])
        names += joint.names(rows)
        owner += [number] * rows
    return LinkModel(
        ends,
        p,
        problem.joints,
        ca.vertcat(*expressions),
        np.concatenate(lower),
        np.concatenate(upper),
        tuple(names),
        np.array(owner, dtype=np.intp),
    )


def _symbols(number: int, nx: int) -> PhaseEnds:
    sizes = {"x0": nx, "xf": nx, "t0": 1, "tf": 1}
    return PhaseEnds(**{name: ca.SX.sym(f"{name}_{number}", size) for name, size in sizes.items()})
