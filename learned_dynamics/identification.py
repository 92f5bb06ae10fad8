"""Physical parameters of a traced model from measured trajectories: multiple-shooting least squares.

Trajectories are cut into segments of L steps. Unknown are the free parameters q and the state s_m at which each segment
starts; the model, integrated from there, gives y_mk(q, s_m), and

    minimise over q, s:   sum_mk |W (y_mk(q, s_m) - measured_mk)|^2,

with W the inverse of each state's noise. Short segments keep the problem well conditioned where the dynamics are
unstable or the guess is poor (Bock 1983); starts are free, so that noise in them does not bias q. Sensitivities are
exact: they follow the derivatives of the same Runge-Kutta steps. The noise is taken from the residuals of a first fit,
and then

    cov(q) = (J' J)^-1 restricted to q, with J the weighted Jacobian,

which is what the standard errors come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array

from trajopt.errors import InvalidProblem
from trajopt.horizon import Free
from trajopt.learned_dynamics.data import Array
from trajopt.learned_dynamics.identification_shooting import Model, Segment, Shooting
from trajopt.problem import Problem
from trajopt.validation import check, check_whole, is_whole


@final
@dataclass(frozen=True, eq=False)
class Identification:
    """What `system_identification` found.

    Attributes
    ----------
    values, standard_errors
        Of each free parameter, by name: a number, or an array of the parameter's shape. An error is infinite where the
        data do not determine the parameter.
    covariance
        (q, q) of the entries of all free parameters, in the order of ``names``.
    names
        Their names, ``mass`` or ``gain[2]``.
    noise
        (nx,) deviation of the measurements of each state, as given or as estimated.
    residuals
        Model minus measurement, a list of (N+1, nx) arrays, one a trajectory; NaN where nothing was measured.
    success, message
        Whether the least-squares solver converged, and what it said.
    problem
        The problem with the values found: fixed parameters stay fixed, and a `Free` starts at its value.
    """

    values: dict[str, Any]
    standard_errors: dict[str, Any]
    covariance: Array
    names: tuple[str, ...]
    noise: Array
    residuals: list[Array]
    success: bool
    message: str
    problem: Problem

    def __str__(self) -> str:
        deviations = np.sqrt(np.diag(self.covariance))
        flat = np.concatenate([np.ravel(value) for value in self.values.values()])
        rows = zip(self.names, flat, deviations, strict=True)
        return "\n".join(f"{name} = {value:.6g} +- {error:.2g}" for name, value, error in rows)


def system_identification(
    problem: Problem,
    data: Sequence[tuple[ArrayLike, ArrayLike]],
    free: Sequence[str],
    *,
    noise: ArrayLike | None = None,
    segment: int | None = None,
    substeps: int = 4,
) -> Identification:
    """Fit parameters of a problem's dynamics to measured trajectories.

    Parameters
    ----------
    problem
        Its dynamics are the model, its parameters the guess, its horizon the length of a step. A parameter given as
        `Free` keeps its limits.
    data
        Pairs of states (N+1, nx), NaN where not measured, and the controls (N, nu) held between them. Trajectories may
        differ in length. In continuous time the step is ``duration / steps`` of the horizon.
    free
        Names of the parameters to fit.
    noise
        (nx,) standard deviations of the measurements of each state; estimated where left out.
    segment
        Steps in a segment, see the module; the whole trajectory where left out.
    substeps
        Runge-Kutta steps of fourth order within a step.

    Raises
    ------
    UnsupportedProblem
        When the dynamics are a black box, or the duration is free.
    InvalidProblem
        When shapes disagree, a name is unknown, or the data hold fewer numbers than there are unknowns.
    """
    check(problem, "problem", "a Problem", isinstance(problem, Problem), "make one with Problem(...)")
    check_whole(substeps, "substeps", 1)
    model = Model.of(problem, free, substeps)
    segments, cuts = _cut(problem, data, segment)
    shooting = Shooting(model, segments)
    if shooting.measured.sum() < shooting.unknowns:
        raise InvalidProblem(
            f"the data hold {int(shooting.measured.sum())} measured numbers, but {shooting.unknowns} unknowns (free "
            "parameters and starts of segments) need as many; give more data or longer segments."
        )
    weights = _first_weights(segments) if noise is None else 1.0 / _check_noise(noise, problem.nx)
    solution = shooting.solve(shooting.start, weights)
    if noise is None:
        weights = 1.0 / shooting.noise(solution.x)
        solution = shooting.solve(solution.x, weights)
        weights = 1.0 / shooting.noise(solution.x)
    return _result(problem, model, shooting, solution, weights, cuts)


def _cut(problem: Problem, data: Any, length: int | None) -> tuple[list[Segment], list[int]]:
    """All trajectories in segments, and how many there are of each; the last of one may be shorter."""
    check(length, "segment", "a whole number of at least 1, or None", length is None or is_whole(length, 1))
    segments, counts = [], []
    for number, pair in enumerate(data):
        x, u = (np.asarray(array, dtype=float) for array in pair)
        if x.ndim != 2 or u.shape != (len(x) - 1, problem.nu) or x.shape[1] != problem.nx or not len(u):
            raise InvalidProblem(
                f"data[{number}] has states of shape {x.shape} and controls of shape {u.shape}, but (N+1, {problem.nx})"
                f" and (N, {problem.nu}) were expected; give one state more than controls."
            )
        if np.isinf(x).any() or not np.isfinite(u).all():
            raise InvalidProblem(
                f"data[{number}] holds numbers that are not finite, but measurements were expected; write NaN for a "
                "state that was not measured, and give every control."
            )
        starts = range(0, len(u), length or len(u))
        ends = [*starts[1:], len(u)]
        segments += [Segment(x[a : b + 1], u[a:b], a) for a, b in zip(starts, ends, strict=True)]
        counts.append(len(starts))
    if not segments:
        raise InvalidProblem("system_identification got no data, but a trajectory at least was expected; give some.")
    return segments, counts


def _first_weights(segments: list[Segment]) -> Array:
    """Inverse spread of the measurements of each state, (nx,)."""
    rows = np.ma.masked_invalid(np.concatenate([s.x for s in segments]))
    spread = rows.std(axis=0).filled(0.0)
    return 1.0 / np.where(spread > 0.0, spread, 1.0)


def _check_noise(noise: ArrayLike, nx: int) -> Array:
    deviations = np.asarray(noise, dtype=float)
    if deviations.shape != (nx,) or not ((deviations > 0.0) & np.isfinite(deviations)).all():
        raise InvalidProblem(f"noise={noise!r} was given, but {nx} numbers > 0 were expected, one a state; correct it.")
    return deviations


def _result(
    problem: Problem, model: Model, shooting: Shooting, solution: Any, weights: Array, counts: list[int]
) -> Identification:
    """Values, errors and residuals at the solution."""
    covariance = _covariance(shooting.jacobian(solution.x, weights), len(model.entries))
    layout, packed = problem.layout, shooting.split(solution.x)[0]
    errors = np.full(layout.size, np.nan)
    errors[model.entries] = np.sqrt(np.diag(covariance))
    free = [name for name in dict.fromkeys(name.split("[")[0] for name in model.names)]
    values = {name: layout.unpack(packed)[name] for name in free}
    found = {name: float(v) if np.ndim(v) == 0 else v for name, v in values.items()}
    parameters = dict(problem.parameters or {})
    for name in free:
        old = parameters[name]
        parameters[name] = replace(old, guess=found[name]) if isinstance(old, Free) else found[name]
    states = iter(zip(shooting.states(solution.x), shooting.segments, strict=True))
    residuals = []
    for count in counts:
        parts = [y - s.x for y, s in (next(states) for _ in range(count))]
        residuals.append(np.concatenate([part[:-1] for part in parts] + [parts[-1][-1:]]))
    return Identification(
        found,
        {name: layout.unpack(errors)[name] for name in free},
        covariance,
        model.names,
        1.0 / weights,
        residuals,
        bool(solution.success),
        str(solution.message),
        replace(problem, parameters=parameters),
    )


def _covariance(jacobian: csr_array, count: int) -> Array:
    """Covariance of the first ``count`` unknowns; infinite for those that the data do not determine."""
    dense = jacobian.toarray()
    own, nuisance = dense[:, :count], dense[:, count:]
    basis, _ = np.linalg.qr(nuisance)
    left = own - basis @ (basis.T @ own)  # what of each parameter no start of a segment explains
    size = np.linalg.norm(own, axis=0)
    seen = size > 0.0
    information = (left / np.where(seen, size, 1.0)).T @ (left / np.where(seen, size, 1.0))
    values, vectors = np.linalg.eigh(information)
    known = values > len(dense) * np.finfo(float).eps
    covariance = (vectors[:, known] / values[known]) @ vectors[:, known].T
    scale = np.where(seen, size, 1.0)
    covariance = covariance / np.outer(scale, scale)
    lost = (np.abs(vectors[:, ~known]) > np.sqrt(np.finfo(float).eps)).any(axis=1)
    covariance[lost, lost] = np.inf
    return covariance
