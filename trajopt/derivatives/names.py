"""What to call the rows and variables of a transcribed program."""

from __future__ import annotations

import numpy as np

from trajopt.problem import Problem
from trajopt.transcription.collocation import DirectProgram


def row_names(structure: DirectProgram, problem: Problem, rows: np.ndarray) -> list[str]:
    """The constraint behind each of the given rows, with the number of its knot where it has one."""
    layout, model = structure.rows, problem.model
    names: dict[int, str] = {}
    own = np.setdiff1d(np.arange(len(model.path)), structure.repeated)
    groups = (
        (layout.path, np.arange(len(layout.path)), "knot {}", model.path.names),
        (layout.path_inner, _owners(layout.path_first), "inside interval {}", model.path.names),
        (
            layout.path_right,
            np.arange(len(layout.path_right)),
            "end of interval {}",
            [model.path.names[i] for i in own],
        ),
    )
    for places, numbers, where, titles in groups:
        for place in np.argwhere(np.isin(places, rows)):
            names[int(places[tuple(place)])] = f"{titles[place[-1]]} at {where.format(numbers[place[0]])}"
    last = {int(place): model.path.names[path] for place, path in zip(layout.path_end, structure.repeated, strict=True)}
    names |= {place: f"{name} at the last knot" for place, name in last.items()}
    for kind in ("terminal", "boundary", "integral"):
        names |= dict(zip(getattr(layout, kind).tolist(), getattr(model, kind).names, strict=True))
    return [names[int(row)] for row in rows]


def variable_names(structure: DirectProgram, problem: Problem, variables: np.ndarray) -> list[str]:
    """The state, control or unknown behind each of the given variables, with the number of its knot."""
    layout, dynamics = structure.variables, problem.dynamics
    names: dict[int, str] = {}
    groups = (
        (layout.x, np.arange(len(layout.x)), dynamics.states, "knot {}"),
        (layout.u, np.arange(len(layout.u)), dynamics.controls, "knot {}"),
        (layout.x_inner, _owners(layout.x_first), dynamics.states, "inside interval {}"),
        (layout.u_inner, _owners(layout.u_first), dynamics.controls, "inside interval {}"),
    )
    for places, numbers, entries, where in groups:
        for place in np.argwhere(np.isin(places, variables)):
            names[int(places[tuple(place)])] = f"bound of {entries[place[-1]]} at {where.format(numbers[place[0]])}"
    unknowns = ["start", "duration"]
    for name, part in problem.layout.slices.items():
        unknowns += [name] * (part.stop - part.start)
    names |= {
        int(place): f"bound of {unknowns[entry]}" for place, entry in zip(layout.free, structure.free, strict=True)
    }
    return [names[int(variable)] for variable in variables]


def _owners(first: np.ndarray) -> np.ndarray:
    """The interval of each of the things laid end to end, from where those of each interval begin."""
    return np.repeat(np.arange(len(first) - 1), np.diff(first))
