"""An agent's planner on the true model and on the learned one, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from trajopt.errors import UnsupportedProblem

if TYPE_CHECKING:
    from trajopt.learned_dynamics.pets import PETS

_ROWS = {
    "true": "planner on the true model",
    "learned": "planner on the learned model",
    "random": "random controls",
}


@dataclass(frozen=True)
class Returns:
    """Episodes of one planner.

    Attributes
    ----------
    planner
        "learned", "true" or "random".
    values
        The return of each episode.
    lengths
        Their steps.
    seconds
        Of a step, on average.
    """

    planner: str
    values: tuple[float, ...]
    lengths: tuple[int, ...]
    seconds: float

    @property
    def mean(self) -> float:
        """Mean return."""
        return float(np.mean(self.values))


@dataclass(frozen=True)
class PlannerReport:
    """What the planner reaches with what model, in the same episodes.

    Attributes
    ----------
    learned, random
        Returns on the learned model, and of random controls.
    true
        Returns on the true model, or None where that cannot be planned with.
    missing
        Why, or "".
    """

    true: Returns | None
    learned: Returns
    random: Returns
    missing: str = ""

    @classmethod
    def of(cls, agent: PETS, episodes: int) -> Self:
        """Run the episodes; see `PETS.report`."""
        true, missing = None, ""
        try:
            true = agent.evaluate("true", episodes)
        except UnsupportedProblem as error:
            missing = str(error)
        return cls(true, agent.evaluate("learned", episodes), agent.evaluate("random", episodes), missing)

    def __str__(self) -> str:
        lines = [f"{'':30}{'return':>10}{'least':>10}{'most':>10}{'ms a step':>11}"]
        for name, label in _ROWS.items():
            returns = getattr(self, name)
            if returns is None:
                lines.append(f"{label:30}{'-':>10}  {self.missing}")
                continue
            numbers = (returns.mean, min(returns.values), max(returns.values))
            lines.append(f"{label:30}" + "".join(f"{n:10.4g}" for n in numbers) + f"{1e3 * returns.seconds:11.3g}")
        return "\n".join(lines)
