"""Mixing two catalysts along a tubular reactor: A <-> B -> C with least A and B left over.

States: amounts of A and B; control: fraction u of the first catalyst; the running variable is the place along the
tube.

    a' = u (10 b - a),  b' = u (a - 10 b) - (1 - u) b,   0 <= u <= 1,   (a, b)(0) = (1, 0).

``catalyst-mixing`` minimises a + b - 1 over [0, 1] (COPS: minus the amount of C). ``catalyst-mixing-long`` is
Jackson's problem as Bocop has it: the amount c of C, c' = (1 - u) b, is maximised over [0, 4].

Bang - singular - bang: u = 1 to 0.136299, then 0.227142 to 0.725230 (3.725230), then 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def tube(x: Any, u: Any) -> Any:
    """Return the derivative of (A, B) along the tube."""
    forward = u[0] * (x[0] - 10.0 * x[1])
    return np.array([-forward, forward - (1.0 - u[0]) * x[1]])


def tube_with_product(x: Any, u: Any) -> Any:
    """Return the derivative of (A, B, C) along the tube."""
    rates = tube(x, u)
    return np.array([rates[0], rates[1], (1.0 - u[0]) * x[1]])


def build(*, length: float = 1.0, steps: int = 100) -> to.Problem:
    """Least A and B at the end of the tube."""
    return to.Problem(
        to.ContinuousDynamics(tube, states=("A", "B"), controls=("catalyst fraction",)),
        terminal_cost=lambda x: x[0] + x[1] - 1.0,
        initial_state=[1.0, 0.0],
        constraints=[to.Bounds(control=(0.0, 1.0))],
        horizon=to.Horizon(length, steps=steps),
        guess=_guess(length, [0.0]),
        name="catalyst-mixing",
    )


def build_long(*, length: float = 4.0, steps: int = 200) -> to.Problem:
    """Most C at the end of a longer tube."""
    return to.Problem(
        to.ContinuousDynamics(tube_with_product, states=("A", "B", "C"), controls=("catalyst fraction",)),
        terminal_cost=lambda x: -x[2],
        initial_state=[1.0, 0.0, 0.0],
        constraints=[
            to.Bounds(control=(0.0, 1.0), state=([0.0, 0.0, 0.0], [1.1, 1.1, 1.1])),
        ],
        horizon=to.Horizon(length, steps=steps),
        guess=_guess(length, [0.0, 0.0]),
        name="catalyst-mixing-long",
    )


def _guess(length: float, products: list[float]) -> tuple[Any, Any, Any]:
    """Nothing reacts, both catalysts mixed half and half."""
    state = [1.0, *products]
    return np.array([0.0, length]), np.array([state, state]), np.array([[0.5], [0.5]])


ENTRIES = (
    Entry(
        "catalyst-mixing",
        build,
        Reference(
            optimum=-0.04805568586087605,
            digits=10,
            source="Jackson 1968; COPS 3.0 catmix (-4.80556e-2); optimisation of the switching points",
            note="PSOPT with 40 nodes: -0.0480532",
            tags=("bang-bang", "singular"),
        ),
    ),
    Entry(
        "catalyst-mixing-long",
        build_long,
        Reference(
            optimum=0.1918143563251602,
            digits=10,
            source="Bocop jackson; optimisation of the switching points",
            kind="maximum",
            note="CTDirect.jl with 100 steps prints 0.192011, 1e-3 high",
            tags=("bang-bang", "singular"),
        ),
    ),
)
