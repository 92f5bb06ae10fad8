"""A problem as a Gymnasium environment, so that agents of other libraries learn what solvers here compute."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trajopt.errors import MissingExtra
from trajopt.problem import Problem

if TYPE_CHECKING:
    import gymnasium


def to_gymnasium(problem: Problem, *, dtype: Any = "float32") -> gymnasium.Env[Any, Any]:
    """Return a problem as an environment.

    One step is one interval of the horizon under a held control, integrated as the certificate does. The sum of an
    episode's rewards is minus the cost, exactly that of the certificate.

    - Actions: a box [-1, 1]^nu that is mapped to the control bounds, which must be finite; of discrete controls the
      number of a choice.
    - Observations: the state, as it is. What the state holds may violate constraints, so the box is that of all
      numbers.
    - Reward: minus the stage cost over the interval, and at the end minus the terminal cost.
    - Truncation: at the end of the horizon. Termination: where the dynamics are not finite, with the least reward that
      the number type can hold.
    - ``info``: "t"; "state", (nx,) in double precision; "violations", the largest amount by which each violated bound
      and path constraint was exceeded in this step, by name and scaled as in the certificate, and after the last step
      those of all constraints in the whole episode; "violation", the largest of them; "failure", a sentence or "".
    - ``reset(options={"state": [...]})`` starts somewhere else.

    Parameters
    ----------
    problem
        With a fixed horizon, no free parameters, and dynamics that are not random.
    dtype
        "float32" or "float64", of actions and observations.

    Raises
    ------
    MissingExtra
        When gymnasium is not installed.
    InvalidProblem
        When ``problem`` is no `Problem`, or the dtype is another one.
    UnsupportedProblem
        When the problem has free numbers, random steps or unbounded controls.
    """
    try:
        from trajopt.simulators.environment import ProblemEnvironment  # noqa: PLC0415 - needs an extra
    except ImportError as error:
        raise MissingExtra(
            'an environment was asked for, but gymnasium is not installed; write pip install "trajopt[gym]".'
        ) from error
    return ProblemEnvironment(problem, dtype)
