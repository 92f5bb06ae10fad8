"""From a problem of several phases to one nonlinear program and back.

The program's parts are the programs of the phases, as any one of them would be transcribed alone, and one for the
links, whose variables are the states and times at the ends of the phases, and the parameters. Parts share the free
parameters. What is between the phases is a row for each link, so that its multiplier tells what the link costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from weakref import WeakKeyDictionary

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.horizon import Free
from trajopt.link_model import LinkModel
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.problem import Problem
from trajopt.trajectory import Trajectory
from trajopt.transcription.collocation import DirectProgram, compile_problem, cost_unit, pose
from trajopt.transcription.interval import IntervalScheme
from trajopt.transcription.joined import join
from trajopt.transcription.nlp import Element, Instance, Program, assemble
from trajopt.transcription.scaling import Scaling

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class JoinedProgram:
    """The structure of a problem of several phases under a scheme, compiled.

    Attributes
    ----------
    phases
        Those of the phases.
    links
        Program of the links.
    program
        All together: the phases in order, then the links.
    places
        For each phase where its variables stand, then the same for the links.
    rows
        For each phase its rows, then those of the links.
    """

    phases: tuple[DirectProgram, ...]
    links: Program
    program: Program
    places: tuple[Index, ...]
    rows: tuple[slice, ...]


_compiled: WeakKeyDictionary[LinkModel, dict[tuple[DirectProgram, ...], JoinedProgram]] = WeakKeyDictionary()


def compile_phases(problem: MultiPhaseProblem, scheme: IntervalScheme) -> JoinedProgram:
    """Return the program of a problem, compiled at the first call and then kept with the model of its links.

    Parameters
    ----------
    problem
        Only its functions, numbers of steps and what is free matter.
    scheme
        For phases of continuous dynamics.
    """
    phases = tuple(compile_problem(phase, scheme) for phase in problem.joined)
    known = _compiled.setdefault(problem.model, {})
    if phases not in known:
        known[phases] = _compile(problem, phases)
    return known[phases]


def _compile(problem: MultiPhaseProblem, phases: tuple[DirectProgram, ...]) -> JoinedProgram:
    places, parameters, size = _place(problem, phases)
    element, shared = _link_element(problem)
    links = assemble([element], shared, element.variables.numel(), len(problem.model))
    at_ends = []
    for phase, structure, place in zip(problem.joined, phases, places, strict=True):
        times = place[structure.variables.free[: len(_free_times(phase))]]
        at_ends += [place[structure.variables.x[0]], place[structure.variables.x[-1]], times]
    every = (*places, np.concatenate([*at_ends, parameters]))
    programs = [*(structure.program for structure in phases), links]
    counts = [*(_fixed(structure, problem, k) for k, structure in enumerate(phases)), shared.numel()]
    ends = np.cumsum([0, *(part.rows for part in programs)])
    rows = tuple(slice(int(first), int(last)) for first, last in pairwise(ends))
    return JoinedProgram(phases, links, join(programs, every, counts, size), every, rows)


def _fixed(structure: DirectProgram, problem: MultiPhaseProblem, number: int) -> int:
    """How many of (start, duration, packed parameters) of a phase are numbers."""
    return 2 + problem.phases[number].layout.size - len(structure.free)


def _free_times(phase: Problem) -> list[str]:
    """Which of start and duration are unknowns, in this order."""
    return [name for name in ("start", "duration") if isinstance(getattr(phase.horizon, name), Free)]


def _place(problem: MultiPhaseProblem, phases: Sequence[DirectProgram]) -> tuple[list[Index], Index, int]:
    """Where the variables of each phase stand, where the free parameters do, and how many variables there are.

    The phases lie one after the other; a parameter stands with the first phase that has it.
    """
    where = np.full(problem.layout.size, -1)
    places: list[Index] = []
    size = 0
    for number, structure in enumerate(phases):
        layout = structure.variables
        place = np.full(layout.size, -1)
        entries = structure.free[structure.free >= 2] - 2
        variables = layout.free[structure.free >= 2]
        place[variables] = where[problem.places(number)[entries]]
        fresh = place < 0
        place[fresh] = size + np.arange(fresh.sum())
        where[problem.places(number)[entries]] = place[variables]
        size += int(fresh.sum())
        places.append(place)
    return places, where[problem.layout.free_entries], size


def _link_element(problem: MultiPhaseProblem) -> tuple[Element, ca.SX]:
    """The rows of the links, of the ends of all phases, their free times and the free parameters."""
    model, variables, shared = problem.model, [], []
    symbols, values = [], []
    for phase, ends in zip(problem.joined, model.ends, strict=True):
        start, duration = ca.SX.sym("start"), ca.SX.sym("duration")
        free = _free_times(phase)
        times = {"start": start, "duration": duration}
        variables += [ends.x0, ends.xf, *(times[name] for name in free)]
        shared += [symbol for name, symbol in times.items() if name not in free]
        symbols += [ends.t0, ends.tf]
        values += [start, start + duration]
    free_entries = problem.layout.free_entries
    variables += [model.p[int(entry)] for entry in free_entries]
    shared += [model.p[int(entry)] for entry in np.setdiff1d(np.arange(problem.layout.size), free_entries)]
    rows = ca.substitute(model.expression, ca.vertcat(*symbols), ca.vertcat(*values))
    stacked = ca.vertcat(*variables)
    index = np.arange(stacked.numel())[None, :]
    return Element(stacked, ca.SX.sym("k"), ca.SX(0), rows, index, np.arange(len(model))[None, :]), ca.vertcat(
        ca.SX(0, 1), *shared
    )


def pose_phases(
    structure: JoinedProgram, problem: MultiPhaseProblem, guesses: Sequence[Trajectory], *, scaled: bool
) -> tuple[Instance, list[Instance]]:
    """Fill in the numbers of one solve; returns the whole, and its phases.

    Parameters
    ----------
    structure
        Of `compile_phases`.
    problem
        Gives limits and parameter values.
    guesses
        One for each phase, on its knots.
    scaled
        As for `trajopt.transcription.collocation.pose`; rows of links are measured by what they tie together.
    """
    parts = [
        pose(compiled, phase, guess, scaled=scaled)
        for compiled, phase, guess in zip(structure.phases, problem.joined, guesses, strict=True)
    ]
    size, model = structure.program.size, problem.model
    columns = {name: np.empty(size) for name in ("guess", "lower", "upper")}
    scales = np.empty(size)
    for part, place in reversed(list(zip(parts, structure.places, strict=False))):  # the first phase has the last word
        for name, column in columns.items():
            column[place] = getattr(part, name)
        scales[place] = part.scaling.variables
    shared = np.concatenate([*(part.shared for part in parts), _link_numbers(problem, parts)])
    units = _link_units(structure, columns["guess"], scales, shared) if scaled else np.ones(len(model))
    whole = Instance(
        structure.program,
        columns["guess"],
        columns["lower"],
        columns["upper"],
        np.concatenate([*(part.row_lower for part in parts), model.lower]),
        np.concatenate([*(part.row_upper for part in parts), model.upper]),
        shared,
        Scaling(scales, np.concatenate([*(part.scaling.rows for part in parts), units])),
    )
    unit = cost_unit(whole) if scaled else 1.0
    return replace(whole, cost_unit=unit, chain_broken_by="several phases"), parts


def _link_numbers(problem: MultiPhaseProblem, parts: Sequence[Instance]) -> Array:
    """Times and parameters that are numbers, in the order in which the links have them."""
    times = []
    for phase, part in zip(problem.joined, parts, strict=True):
        times.append(part.shared[: 2 - len(_free_times(phase))])
    packed = problem.layout.pack(problem.parameters)
    return np.concatenate([*times, np.delete(packed, problem.layout.free_entries)])


def _link_units(structure: JoinedProgram, guess: Array, scales: Array, shared: Array) -> Array:
    """For each row of the links by how much one scaled unit of its variables moves it at most; powers of two."""
    place, program = structure.places[-1], structure.links
    own = shared[len(shared) - (program.functions["jac_g"].numel_in(1) - len(place) - program.rows) :]
    parameters = np.concatenate([own, scales[place], np.ones(program.rows)])
    jacobian = np.abs(program.functions["jac_g"](guess[place] / scales[place], parameters)[1].full())
    reach = jacobian.max(axis=1, initial=0.0)
    usable = np.isfinite(reach) & (reach > 0.0)
    return np.exp2(np.round(np.log2(np.where(usable, reach, 1.0))))
