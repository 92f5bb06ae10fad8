"""Settings of solvers, near their defaults."""

from __future__ import annotations

import typing
from dataclasses import fields, replace
from typing import Any, Literal

from hypothesis import strategies as st

from trajopt.errors import TrajoptError
from trajopt.solver import Solver
from trajopt.transcription.integrators import INTEGRATORS


def solver_settings(solver: type[Solver], **fixed: Any) -> st.SearchStrategy[Any]:
    """Solvers of one class, to be trusted at other settings than the defaults too.

    Floating-point settings are kept, halved or doubled, whole ones kept or halved, switches switched, and choices made
    among those of a ``Literal``, or of the library's integrators. Values that a solver refuses by themselves are found
    before anything is drawn; one that it refuses beside those drawn already leaves the setting as it was.

    Parameters
    ----------
    solver
        A class all of whose settings have defaults.
    **fixed
        Settings that are not to vary otherwise: values, or strategies of them.
    """
    default: Any = solver()
    hints = typing.get_type_hints(solver)
    drawn = {name: value if isinstance(value, st.SearchStrategy) else st.just(value) for name, value in fixed.items()}
    for entry in fields(solver):  # type: ignore[arg-type]
        choices = _choices(entry.name, hints[entry.name], getattr(default, entry.name))
        accepted = [value for value in choices if _changed(default, entry.name, value) is not None]
        if entry.name not in fixed and accepted:
            drawn[entry.name] = st.sampled_from(accepted)

    def build(settings: dict[str, Any]) -> Any:
        result = replace(default, **{name: settings[name] for name in fixed})
        for name in settings.keys() - fixed.keys():
            result = _changed(result, name, settings[name]) or result
        return result

    return st.fixed_dictionaries(drawn).map(build)


def _choices(name: str, hint: Any, value: Any) -> list[Any]:
    """Values of a setting, the default first, so that examples shrink to it; none where only the default is known."""
    literals = [choice for part in (hint, *typing.get_args(hint)) if typing.get_origin(part) is Literal
                for choice in typing.get_args(part)]  # fmt: skip
    if isinstance(value, bool):
        return [value, not value]
    if literals:
        return [value, *(choice for choice in literals if choice != value)]
    if name == "integrator":
        return [value, *(choice for choice in INTEGRATORS if choice != value)]
    if isinstance(value, int):
        return [value, value // 2]
    return [value, 0.5 * value, 2.0 * value] if isinstance(value, float) else []


def _changed(solver: Any, name: str, value: Any) -> Any:
    """The solver with another value, or None where it refuses it."""
    try:
        return replace(solver, **{name: value})
    except TrajoptError:
        return None
