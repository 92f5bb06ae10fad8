"""The states of a shooting program eliminated by simulation: a small dense program in what is truly free.

A shooting program minimises f(y, s) over y, the controls, free initial states, times and parameters, and s, the states
at the later knots, subject to defects c(y, s) = 0 and rows r(y, s). Simulation gives s(y) with c(y, s(y)) = 0, so that

    minimise f(y, s(y))  subject to  r(y, s(y)) and the bounds of s(y) as rows.

With Z = ds/dy = -c_s^-1 c_y, where c_s is block bidiagonal with an invertible diagonal, and L = f + mu'r + nu's of the
multipliers mu, nu of these rows, the costates lambda make the states stationary,

    c_s' lambda = -L_s  (one sweep backwards: the discrete adjoint),      dL/dy = L_y + c_y' lambda,
    d2L/dy2 = [I; Z]' H [I; Z]  (condensing),                            H = Hessian of L + lambda' c by (y, s),

exactly, since Z and lambda are exact. The adjoint costs one sweep whatever the number of unknowns.

References: Bock, Plitt 1984 (condensing); Nocedal, Wright, Numerical Optimization, 2006, section 15.3 (elimination).
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.problem import Problem
from trajopt.transcription.collocation import DirectProgram
from trajopt.transcription.nlp import Instance, Program, nlp_functions, scatter
from trajopt.transcription.scaling import Scaling

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class CondensedProgram:
    """A shooting program without its states.

    Attributes
    ----------
    program
        In the unknowns y; its rows are the bounded states, knot after knot, then those of the shooting program. The
        parameters are all of the shooting program's.
    unknowns
        Places of y in the shooting program's vector of variables.
    bounded
        Places there of the states whose bounds are rows.
    kept
        Rows of the shooting program but the defects.
    expand
        (y, parameters, row multipliers) -> variables and row multipliers of the shooting program, all scaled.
    """

    program: Program
    unknowns: Index
    bounded: Index
    kept: Index
    expand: ca.Function

    def pose(self, full: Instance) -> Instance:
        """Return the condensed instance of a posed shooting program."""
        scaling, unknowns, bounded, kept = full.scaling, self.unknowns, self.bounded, self.kept
        return Instance(
            self.program,
            full.guess[unknowns],
            full.lower[unknowns],
            full.upper[unknowns],
            np.concatenate([full.lower[bounded], full.row_lower[kept]]),
            np.concatenate([full.upper[bounded], full.row_upper[kept]]),
            full.parameters,
            Scaling(scaling.variables[unknowns], np.concatenate([scaling.variables[bounded], scaling.rows[kept]])),
            full.cost_unit,
            "its states eliminated",
        )

    def restore(self, full: Instance, w: Array, rows: Array, bounds: Array) -> tuple[Array, Array, Array]:
        """Return variables, row multipliers and bound multipliers of the shooting program from the condensed ones."""
        condensed, count = self.pose(full), len(self.bounded)
        y, mu = condensed.scaling.apply(w), condensed.scaling.apply_row_multipliers(rows)
        v, lam = self.expand(y, condensed.parameters, mu)
        everywhere = np.zeros(len(full.guess))
        everywhere[self.unknowns], everywhere[self.bounded] = bounds, rows[:count]
        return (
            full.scaling.invert(v.full().ravel()),
            full.scaling.invert_row_multipliers(lam.full().ravel()),
            everywhere,
        )


_condensed: WeakKeyDictionary[DirectProgram, dict[tuple[int, ...], CondensedProgram]] = WeakKeyDictionary()


def condense(structure: DirectProgram, problem: Problem) -> CondensedProgram:
    """Eliminate the states, once for a program and a choice of bounded states; kept for as long as the program lives.

    Parameters
    ----------
    structure
        A shooting program: its defects are x_{k+1} - F_k(x_k, u_k).
    problem
        Whose program it is; only which states are bounded matters.
    """
    bounded = np.flatnonzero(np.isfinite(problem.state_bounds).any(axis=0))
    known = _condensed.setdefault(structure, {})
    key = tuple(bounded.tolist())
    if key not in known:
        known[key] = _condense(structure, structure.variables.x[1:, bounded].ravel())
    return known[key]


def _condense(structure: DirectProgram, bounded: Index) -> CondensedProgram:
    full, count = structure.program, len(bounded)
    states = structure.variables.x[1:].ravel()
    unknowns = np.setdiff1d(np.arange(full.size), states)
    kept = np.setdiff1d(np.arange(full.rows), structure.rows.defects)
    y, lam_f, lam_g = ca.MX.sym("y", len(unknowns)), ca.MX.sym("lam_f"), ca.MX.sym("lam_g", count + len(kept))
    parameters = ca.MX.sym("p", full.functions["nlp"].numel_in(1))
    own_scales = ca.MX.sym("scales", y.numel() + lam_g.numel())  # already among the parameters, where v and g have them
    v = _simulate(structure, y, parameters, unknowns)
    elimination = _Elimination(structure, unknowns, full.functions["jac_g"](v, parameters)[1])
    f, g = full.functions["nlp"](v, parameters)
    values = ca.vertcat(_selection(bounded, full.size) @ v, _selection(kept, full.rows) @ g)
    jacobian = elimination.total(ca.vertcat(_selection(bounded, full.size), elimination.jacobian[kept.tolist(), :]))
    slope = full.functions["grad_f"](v, parameters)[1]
    gradient, _ = elimination.reduce(slope)
    mu = scatter(kept, full.rows) @ lam_g[count:, :]
    pull = elimination.jacobian.T @ mu + scatter(bounded, full.size) @ lam_g[:count, :]
    reduced, adjoint = elimination.reduce(lam_f * slope + pull)
    multipliers = mu + scatter(structure.rows.defects.ravel(), full.rows) @ adjoint
    hessian = elimination.condense(full.functions["hess_lag"](v, parameters, lam_f, multipliers))
    inputs = [y, ca.vertcat(parameters, own_scales)]
    functions = nlp_functions(inputs, f, values, gradient, jacobian, [lam_f, lam_g], ca.triu(ca.densify(hessian)))
    # At a solution of the condensed program its Lagrangian's gradient and the costates belong to lam_f = 1.
    lagrangian = ca.Function("lagrangian", [*inputs, lam_f, lam_g], [reduced, multipliers])
    total, found = lagrangian(*inputs, 1.0, lam_g)
    _, *elements = full.gradients(v, parameters, found)
    gradients = ca.Function("gradients", [*inputs, lam_g], [total, *elements])
    program = Program(len(unknowns), count + len(kept), functions, gradients)
    return CondensedProgram(program, unknowns, bounded, kept, ca.Function("expand", [*inputs, lam_g], [v, found]))


def _simulate(structure: DirectProgram, y: ca.MX, parameters: ca.MX, unknowns: Index) -> ca.MX:
    """Return all scaled variables of the shooting program, the states by simulation."""
    layout, size = structure.variables, structure.program.size
    nx, nu, n = layout.x.shape[1], layout.u.shape[1], layout.steps
    shared = parameters[: parameters.numel() - size - structure.program.rows, :]
    scale = parameters[shared.numel() : shared.numel() + size, :]
    known = scatter(unknowns, size) @ y
    w = known * scale
    x, u, k = ca.MX.sym("x", nx), ca.MX.sym("u", nu), ca.MX.sym("place", 2)
    free, fixed = ca.MX.sym("free", len(layout.free)), ca.MX.sym("shared", shared.numel())
    # The defect is x_1 - F(x_0, u): what it lacks to zero from x_1 = 0 is the next state.
    following = -structure.defects(ca.vertcat(x, u, ca.MX.zeros(nx), free), k, fixed)
    rollout = ca.Function("step", [x, u, k, free, fixed], [following]).mapaccum("rollout", n)
    controls = ca.reshape(_selection(layout.u.ravel(), size) @ w, nu, n)
    start, globals_ = _selection(layout.x[0], size) @ w, _selection(layout.free, size) @ w
    states = rollout(start, controls, structure.mesh.places, ca.repmat(globals_, 1, n), ca.repmat(shared, 1, n))
    places = layout.x[1:].ravel()
    return known + scatter(places, size) @ (ca.vec(states) / scale[places.tolist()])


class _Elimination:
    """Derivatives along the dynamics, from the Jacobian of all rows by all variables."""

    def __init__(self, structure: DirectProgram, unknowns: Index, jacobian: ca.MX) -> None:
        self.jacobian = jacobian
        self.unknowns, self.states = unknowns.tolist(), structure.variables.x[1:].ravel().tolist()
        defects = jacobian[structure.rows.defects.ravel().tolist(), :]
        self.by_unknowns, self.by_states = defects[:, self.unknowns], defects[:, self.states]
        # CasADi solves triangular systems by substitution, and takes the answer for dense.
        self.sensitivity = ca.project(-ca.solve(self.by_states, self.by_unknowns), _causal(structure, unknowns))

    def reduce(self, slope: ca.MX) -> tuple[ca.MX, ca.MX]:
        """Gradient by the unknowns of what has the gradient ``slope``, and the multipliers of the defects for it."""
        adjoint = -ca.solve(self.by_states.T, slope[self.states, :])
        return slope[self.unknowns, :] + self.by_unknowns.T @ adjoint, adjoint

    def total(self, rows: ca.MX) -> ca.MX:
        """Jacobian by the unknowns of rows whose Jacobian by all variables is given."""
        return rows[:, self.unknowns] + rows[:, self.states] @ self.sensitivity

    def condense(self, upper: ca.MX) -> ca.MX:
        """[I; Z]' H [I; Z] from the upper triangle of H."""
        whole = ca.triu2symm(upper)
        mixed = whole[self.unknowns, self.states] @ self.sensitivity
        curved = self.sensitivity.T @ (whole[self.states, self.states] @ self.sensitivity)
        return whole[self.unknowns, self.unknowns] + mixed + mixed.T + curved


def _causal(structure: DirectProgram, unknowns: Index) -> ca.Sparsity:
    """Pattern of Z: a state depends on the controls before it, and on whatever is no control."""
    layout = structure.variables
    since = np.full(structure.program.size, -1)
    since[layout.u] = np.arange(layout.steps)[:, None]
    knots = np.repeat(np.arange(layout.steps), layout.x.shape[1])
    rows, columns = np.nonzero(since[unknowns] <= knots[:, None])
    return ca.Sparsity.triplet(len(knots), len(unknowns), rows.tolist(), columns.tolist())


def _selection(places: Index, size: int) -> ca.DM:
    """Make the matrix of ones that picks entries of a vector."""
    return scatter(places, size).T
