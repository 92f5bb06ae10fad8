r"""First-order conditions of several phases together, with one multiplier for each row of a link.

A link's row is a function of the ends of two phases, hence of the decision variables w_k of both. With g_k and C_k the
gradients of the cost and of the active rows of phase k, as `trajopt.stationarity` has them, and D_k those of the links,

    r = sum_k E_k' (g_k + C_k' nu_k + D_k' mu),

where E_k picks w_k out of all variables, those of shared parameters from the same place. So the same least-residual
problem yields nu and mu, and the costates of phase k are those of its cost plus nu_k' rows plus mu' links: between
phases they jump as the multipliers of the links say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import casadi as ca
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from trajopt.active_rows import Pressing
from trajopt.link_model import LinkModel, PhaseEnds
from trajopt.multi_phase import MultiPhaseProblem
from trajopt.multiplier_program import Part, count_components, least_residual
from trajopt.optimality import Linearised
from trajopt.sensitivity import Functionals, evaluate
from trajopt.stationarity import Stationarity, held_sides, residual_weights, row_norms
from trajopt.trajectory import Trajectory

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class JointStationarity:
    """First-order conditions of all phases.

    Attributes
    ----------
    value
        The scaled norm of the residual.
    phases
        What belongs to each phase; its value is the norm of the residual of its own variables.
    links
        (L,) multipliers of the rows of the links, zero where inactive.
    """

    value: float
    phases: tuple[Stationarity, ...]
    links: Array


def recover_joint_multipliers(
    problem: MultiPhaseProblem, parts: Sequence[Linearised], ends: Sequence[PhaseEnds], parameters: Array,
    links: tuple[Array, Array], cost: float, tolerance: float,
) -> JointStationarity:  # fmt: skip
    """Recover the multipliers of all phases and links, and measure stationarity.

    Parameters
    ----------
    problem, parts
        The phases along their re-integrated trajectories.
    ends, parameters
        Numbers at their ends, and the packed parameters of all.
    links
        Values of the rows of the links, and to what size violations are relative.
    cost
        Of all phases.
    tolerance
        As in `trajopt.stationarity`.
    """
    model = problem.model
    active = Pressing.of(links[0][None], model.lower, model.upper, tolerance)
    rows = _with_links(problem, parts, ends, parameters, active.index)
    places, size = _place(problem, parts)
    own = [_own(part, active.index.size) for part in parts]
    program = _program(parts, rows, places, own, size)
    signs = np.concatenate([*(part.active.signs for part in parts), active.signs])
    slack = np.where(active.signs == 0, 0.0, np.maximum(0.0, -active.distance) / links[1][active.index])
    slack = np.concatenate([*(part.active.slack for part in parts), slack])
    sides = np.zeros(size)
    for part, place in zip(parts, places, strict=True):
        sides[place] = held_sides(part.problem, part.trajectory, part.parameters, part.linear.decisions, tolerance)
    trajectories, least = [part.trajectory for part in parts], (cost, tolerance)
    weights = _weigh(program, trajectories, places, np.zeros(signs.size), *least)
    norms = _norms(program, [weights[place] for place in places])
    nu = least_residual(program, weights, norms, slack, signs, sides)
    weights = _weigh(program, trajectories, places, nu, *least)
    prices = [part.prices(nu) for part in program]
    sweeps = [p.linear.sweep(p.rows.weighted(price), merged=True) for p, price in zip(program, prices, strict=True)]
    residual = np.zeros(size)
    for (gradient, _), place in zip(sweeps, places, strict=True):
        residual[place] += gradient[0]
    counting = np.where(count_components(residual, sides), residual, 0.0)
    states = []
    for (_, costates), place, price, mine in zip(sweeps, places, prices, own, strict=True):
        value = float(np.linalg.norm((counting * weights)[place]))
        states.append(Stationarity(value, price[mine], residual[place], (residual - counting)[place], costates))
    multipliers = np.zeros(len(model))
    multipliers[active.index] = nu[len(nu) - active.index.size :]
    return JointStationarity(float(np.linalg.norm(counting * weights)), tuple(states), multipliers)


def _weigh(
    program: Sequence[Part], trajectories: Sequence[Trajectory], places: Sequence[Index], nu: Array, cost: float,
    tolerance: float,
) -> Array:  # fmt: skip
    """Weights of the residual; what several phases share counts by its largest part."""
    weights = np.full(1 + max(int(place.max()) for place in places), np.inf)
    for part, trajectory, place in zip(program, trajectories, places, strict=True):
        price = part.prices(nu)
        of_cost = np.eye(1, price.size)[0]
        direct = [part.linear.direct(part.rows.weighted(weight)) for weight in (of_cost, price - of_cost)]
        np.minimum.at(weights, place, residual_weights(trajectory, part.linear.decisions, cost, tolerance, direct))
    return weights


def _with_links(
    problem: MultiPhaseProblem, parts: Sequence[Linearised], ends: Sequence[PhaseEnds], parameters: Array, active: Index
) -> list[Functionals]:
    """The functionals of each phase, those of the active links behind those of its end and of its integrals."""
    by_ends, by_p = _differentiate(problem.model, ends, parameters, active)
    found, told = [], np.zeros(problem.layout.size, bool)
    for number, part in enumerate(parts):
        by_x0, by_xf, by_t0, by_tf = by_ends[number]
        mine = problem.places(number)
        # What a link depends on by itself is counted once, with the first phase that has the parameter.
        directly = np.where(told[mine], 0.0, by_p[:, mine])
        told[mine] = True
        decisions, rows = part.linear.decisions, part.active.functionals
        static = decisions.static_columns(by_t0 + by_tf, directly, np.zeros(1), by_tf)
        found.append(
            replace(
                rows,
                by_final=np.concatenate([rows.by_final, by_xf]),
                by_initial=np.concatenate([rows.by_initial, by_x0]),
                by_running=np.concatenate([rows.by_running, np.zeros((active.size, rows.by_running.shape[1]))]),
                by_static=np.concatenate([rows.by_static, static]),
            )
        )
    return found


def _differentiate(
    model: LinkModel, ends: Sequence[PhaseEnds], parameters: Array, active: Index
) -> tuple[list[tuple[Array, Array, Array, Array]], Array]:
    """Derivatives of the active rows by x0, xf, t0 and tf of each phase, and by the parameters of all."""
    symbols = [symbol for end in model.ends for symbol in (end.x0, end.xf, end.t0, end.tf)]
    values = [np.atleast_1d(value) for end in ends for value in (end.x0, end.xf, end.t0, end.tf)]
    every = [ca.vertcat(*symbols), model.p]
    jacobian = evaluate(model.expression, every, [np.concatenate(values), parameters])[1][active]
    cuts = np.cumsum([symbol.numel() for symbol in symbols])
    columns = np.split(jacobian, cuts, axis=1)
    by_ends = [
        (columns[4 * k], columns[4 * k + 1], columns[4 * k + 2][:, 0], columns[4 * k + 3][:, 0])
        for k in range(len(model.ends))
    ]
    return by_ends, columns[-1]


def _place(problem: MultiPhaseProblem, parts: Sequence[Linearised]) -> tuple[list[Index], int]:
    """Where the decision variables of each phase stand among all, and how many there are."""
    where, size, places = np.full(problem.layout.size, -1), 0, []
    for number, part in enumerate(parts):
        decisions = part.linear.decisions
        first = decisions.controls + len(decisions.times)
        shared = problem.places(number)[decisions.parameters]
        place = np.full(decisions.size, -1)
        place[first : first + shared.size] = where[shared]
        fresh = place < 0
        place[fresh] = size + np.arange(fresh.sum())
        where[shared] = place[first : first + shared.size]
        size += int(fresh.sum())
        places.append(place)
    return places, size


def _own(part: Linearised, links: int) -> NDArray[np.bool_]:
    """Which rows of a phase's gradients belong to its own active rows: not the cost, not the links."""
    ends, points = len(part.active.functionals.by_final), part.active.functionals.points.step.size
    return np.concatenate([[False], np.ones(ends - 1, bool), np.zeros(links, bool), np.ones(points, bool)])


def _program(
    parts: Sequence[Linearised], rows: Sequence[Functionals], places: Sequence[Index],
    own: Sequence[NDArray[np.bool_]], size: int,
) -> list[Part]:  # fmt: skip
    """The phases with what each has of the multipliers, those of each phase and then of the links, and of variables."""
    found, first, total = [], 1, 1 + sum(int(mine.sum()) for mine in own)
    for part, functionals, place, mine in zip(parts, rows, places, own, strict=True):
        column = np.empty(mine.size, dtype=np.intp)
        column[mine] = first + np.arange(mine.sum())
        column[~mine] = np.concatenate([[0], total + np.arange((~mine).sum() - 1)])
        first += int(mine.sum())
        ones, count = np.ones(mine.size), total + int((~mine).sum()) - 1
        weights = sparse.csr_matrix((ones, (np.arange(mine.size), column)), (mine.size, count))
        variables = sparse.csr_matrix((np.ones(place.size), (place, np.arange(place.size))), (size, place.size))
        found.append(Part(part.linear, functionals, weights, variables))
    return found


def _norms(program: Sequence[Part], weights: Sequence[Array]) -> Array:
    """Norms of the weighted gradients of all rows, those of links over all phases; only their size matters."""
    squares = 0.0
    for part, weight in zip(program, weights, strict=True):
        norms = np.concatenate([[0.0], row_norms(part.linear, part.rows, weight)])
        squares = squares + part.weights.T @ norms**2
    return np.sqrt(squares)[1:]
