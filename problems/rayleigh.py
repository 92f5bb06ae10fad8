"""Rayleigh's equation: an electric circuit with a tunnel diode, brought to rest.

States: current x1 and its rate x2; control: voltage u,

    x1' = x2,  x2' = -x1 + x2 (1.4 - 0.14 x2^2) + 4 u,   minimise int (u^2 + x1^2) dt,   x(0) = (-5, -5), free end.

``rayleigh`` lasts 2.5 (Betts, PROPT), ``rayleigh-long`` 4.5 (Maurer and Augustin); with x(4.5) = 0 the latter would
cost 29.751075146474.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.reference import Entry, Reference


def circuit(x: Any, u: Any) -> Any:
    """Time derivative of (current, rate)."""
    return np.array([x[1], -x[0] + x[1] * (1.4 - 0.14 * x[1] ** 2) + 4.0 * u[0]])


def build(*, duration: float = 2.5, steps: int = 80) -> to.Problem:
    """Build the shorter horizon."""
    return _build("rayleigh", duration, steps)


def build_long(*, duration: float = 4.5, steps: int = 120) -> to.Problem:
    """Build the longer horizon."""
    return _build("rayleigh-long", duration, steps)


def _build(name: str, duration: float, steps: int) -> to.Problem:
    return to.Problem(
        to.ContinuousDynamics(circuit, states=("current", "rate"), controls=("voltage",)),
        stage_cost=lambda x, u: u[0] ** 2 + x[0] ** 2,
        initial_state=[-5.0, -5.0],
        horizon=to.Horizon(duration, steps=steps),
        name=name,
    )


def _reference(optimum: float, source: str) -> Reference:
    return Reference(optimum=optimum, digits=11, source=source, tags=("smooth",))


_METHOD = "; two-point boundary-value problem of the maximum principle"
ENTRIES = (
    Entry("rayleigh", build, _reference(29.376079655942554, f"Betts 2001; PROPT Rayleigh unconstrained{_METHOD}")),
    Entry("rayleigh-long", build_long, _reference(29.74893134011956, f"Maurer and Augustin 2001{_METHOD}")),
)
