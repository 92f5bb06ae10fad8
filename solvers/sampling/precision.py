"""The numbers of rollouts in another precision than the problem's: bounds hold, and what is too large is infinite."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from trajopt.solvers.kernels import sampling, shooting

Array = NDArray[np.float64]


def inwards(lower: Array, upper: Array, real: Any) -> tuple[Array, Array]:
    """Bounds that ``real`` represents, rounded inwards, so that they hold for the user's numbers too."""
    low, high = lower.astype(real), upper.astype(real)
    low = np.where(low < lower, np.nextafter(low, real(np.inf)), low)
    return low, np.where(high > upper, np.nextafter(high, real(-np.inf)), high)


def _rounded(part: Array, real: Any) -> Array:
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(part, dtype=real)


def round_data(data: sampling.Data, real: Any) -> sampling.Data:
    """Numbers of the problem in a precision."""
    lower, upper = inwards(data.lower, data.upper, real)
    parts = {name: _rounded(part, real) for name, part in data._asdict().items() if name != "key"}
    return sampling.Data(**(parts | {"lower": lower, "upper": upper}), key=data.key)


def round_penalty(penalty: shooting.Penalty, real: Any) -> shooting.Penalty:
    """Multipliers and penalties in a precision."""
    return shooting.Penalty(*(_rounded(part, real) for part in penalty))


def round_proposal(proposal: sampling.Proposal, real: Any) -> sampling.Proposal:
    """A proposal in a precision; quasi-random numbers keep theirs, as pseudo-random ones do."""
    lower, upper = inwards(proposal.lower, proposal.upper, real)
    names = ("mean", "deviation", "filter", "basis", "given")
    parts = {name: _rounded(getattr(proposal, name), real) for name in names}
    given = parts["given"]
    parts["given"] = np.clip(given.reshape(len(given), *proposal.mean.shape), lower, upper).reshape(given.shape)
    return proposal._replace(**parts, lower=lower, upper=upper)
