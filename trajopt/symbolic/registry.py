"""The NumPy functions that can be traced: each module that implements some adds them here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Implementation = TypeVar("Implementation", bound="Callable[..., Any]")

FUNCTIONS: dict[Any, Callable[..., Any]] = {}  # the function of NumPy -> ours


def implements(*numpy_functions: Any) -> Callable[[Implementation], Implementation]:
    """Register the decorated function as the traced version of ``numpy_functions``."""

    def register(implementation: Implementation) -> Implementation:
        for function in numpy_functions:
            FUNCTIONS[function] = implementation
        return implementation

    return register


def public_name(function: Any) -> str:
    """Spell a NumPy function as users do, for example ``np.linalg.eig``."""
    module = getattr(function, "__module__", None) or "numpy"
    submodule = "linalg." if "linalg" in module else ""
    return f"np.{submodule}{function.__name__}"
