"""How the state moves: x' = f(x, u) in continuous time, x+ = f(x, u) in discrete time.

`ContinuousDynamics` and `DiscreteDynamics` are traced: their functions become expressions, with exact derivatives and
machine code. Dynamics that cannot be traced, such as simulators and networks, are `trajopt.batch_dynamics`.
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from trajopt.errors import InvalidProblem
from trajopt.signature import STAGE, UserFunction


@dataclass(frozen=True, init=False)
class Dynamics(ABC):
    """How a state x of nx numbers moves under a control u of nu numbers.

    Attributes
    ----------
    states, controls
        Names of the entries of x and u, for reports and plots.
    continuous
        Whether time is continuous.
    """

    states: tuple[str, ...]
    controls: tuple[str, ...]
    continuous: ClassVar[bool]

    def __init__(
        self,
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
    ) -> None:
        object.__setattr__(self, "states", _names("states", "nx", nx, states, "x", least=1))
        object.__setattr__(self, "controls", _names("controls", "nu", nu, controls, "u", least=0))

    @property
    def nx(self) -> int:
        """Number of states."""
        return len(self.states)

    @property
    def nu(self) -> int:
        """Number of controls."""
        return len(self.controls)


@dataclass(frozen=True, init=False)
class TracedDynamics(Dynamics, ABC):
    """A plain NumPy function of x: (nx,), u: (nu,), and if it names them the time t and the parameters p.

    Attributes
    ----------
    function
        The user's function, which returns nx numbers.
    """

    function: UserFunction

    def __init__(
        self,
        f: Callable[..., Any],
        nx: int | None = None,
        nu: int | None = None,
        *,
        states: Sequence[str] | None = None,
        controls: Sequence[str] | None = None,
    ) -> None:
        super().__init__(nx, nu, states=states, controls=controls)
        object.__setattr__(self, "function", UserFunction.read(f, STAGE, "dynamics"))


@final
class ContinuousDynamics(TracedDynamics):
    """Ordinary differential equation x' = f(x, u[, t][, p]).

    Parameters
    ----------
    f
        Plain NumPy function of x: (nx,) and u: (nu,) that returns the time derivative of x, nx numbers.
    nx, nu
        Numbers of states and controls; each may be left out where names are given.
    states, controls
        Names of the entries of x and u.

    Raises
    ------
    InvalidProblem
        When neither a size nor names are given, or they disagree.
    """

    continuous = True


@final
class DiscreteDynamics(TracedDynamics):
    """Difference equation x+ = f(x, u[, t][, p]) with t the step number; parameters as for `ContinuousDynamics`."""

    continuous = False


def _names(
    what: str, size_name: str, size: int | None, names: Sequence[str] | None, prefix: str, *, least: int
) -> tuple[str, ...]:
    """Names of the entries of x or u from whichever of size and names was given."""
    if isinstance(names, str):
        raise InvalidProblem(f"{what}={names!r} was given, but a list of names was expected; write [{names!r}].")
    if size is None and names is None:
        raise InvalidProblem(f"neither {size_name} nor {what} was given, but one of the two was expected; add it.")
    if names is None:
        if not isinstance(size, int | float | np.number) or isinstance(size, bool) or int(size) != size or size < least:
            raise InvalidProblem(
                f"{size_name}={size} was given, but a whole number >= {least} was expected; correct it."
            )
        return tuple(f"{prefix}{i}" for i in range(int(size)))
    if size is not None and size != len(names):
        raise InvalidProblem(
            f"{size_name}={size} and {len(names)} names in {what} were given, but equal numbers were expected; "
            f"leave {size_name} out."
        )
    if len(names) < least or len(set(names)) != len(names):
        raise InvalidProblem(
            f"{what}={list(names)} was given, but at least {least} distinct names were expected; correct the list."
        )
    return tuple(names)
