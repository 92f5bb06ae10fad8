"""Which parts of a program are convex, told from its traced expressions: nobody has to declare a cone.

Each row of an element, as a function of the element's own few variables z, is one of

    affine      w + a'z
    quadratic   w + a'z + z'Qz / 2
    root        w + a'z + s sqrt(c + q'z + z'Qz / 2), which np.linalg.norm is, and np.abs with s |b + a'z|
    general     anything else

and a side of it, row <= upper or lower <= row, is a second-order cone |F z + f| <= g'z + h where the numbers allow:

    ball        Q >= 0, a in its range:  |F z + f|^2 <= rho^2
    parabola    Q >= 0, a not in it:  |F z + f|^2 <= t(z), that is |(2 (F z + f), t - 1)| <= t + 1
    cone        Q with one negative eigenvalue:  |F z + f|^2 <= (g'z + h)^2, if the bounds imply a sign of g'z + h
    norm        s > 0:  |F z + f| <= (upper - w - a'z) / s

The expressions are read once for a structure, the numbers (parameters, limits, bounds) for each solve.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from weakref import WeakKeyDictionary

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.linear_quadratic import agrees_to_second_order
from trajopt.transcription.collocation import DirectProgram
from trajopt.transcription.nlp import Element, Instance

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Flags = NDArray[np.bool_]

_EPSILON = float(np.finfo(float).eps)


class _Kind(Enum):
    AFFINE = "affine"
    QUADRATIC = "quadratic"
    ROOT = "root"
    GENERAL = "general"


@dataclass(frozen=True, eq=False)
class _Form:
    """What kind of function a row is.

    Attributes
    ----------
    kind
        Affine, quadratic, root or general.
    curved
        (n,) variables that enter other than linearly.
    coefficients
        (copy, shared) -> Q, q, c, s, a, w of the module docstring; a quadratic's own Q, a and w, and s = 0.
    """

    kind: _Kind
    curved: Flags
    coefficients: ca.Function | None = None


@dataclass(frozen=True, eq=False)
class ElementParts:
    """The rows and the cost of an element, and the curvature of both.

    Attributes
    ----------
    element
        What was read.
    rows
        One form a row.
    cost
        The form of the cost.
    curvature
        (z, copy, shared, row multipliers) -> Hessian of cost + multipliers' rows by the ``active`` variables.
    active
        Variables that this Hessian concerns.
    """

    element: Element
    rows: tuple[_Form, ...]
    cost: _Form
    curvature: ca.Function
    active: Index


@dataclass(frozen=True, eq=False)
class Cones:
    """Second-order cones |F w[places] + f| <= g'w[places] + h of one side of one row, for all copies.

    Attributes
    ----------
    rows
        (copies,) rows of the program that they stand for.
    places
        (copies, n) variables.
    F, f, g, h
        (copies, k, n), (copies, k), (copies, n) and (copies,).
    """

    rows: Index
    places: Index
    F: Array
    f: Array
    g: Array
    h: Array

    def values(self, w: Array) -> tuple[Array, Array]:
        """F w + f, (copies, k), and g'w + h, (copies,)."""
        z = w[self.places]
        return np.einsum("ckn,cn->ck", self.F, z) + self.f, np.einsum("cn,cn->c", self.g, z) + self.h


@dataclass(frozen=True, eq=False)
class ConvexParts:
    """What of an instance is kept as it is, and what has to be linearised.

    Attributes
    ----------
    cones
        Sides of rows that are second-order cones.
    lower, upper
        (rows,) whether this side is linearised, or linear; neither where it has no limit or is a cone.
    trusted
        (size,) variables that enter something that is neither linear nor a cone nor a convex quadratic cost: a model
        about a point can be trusted for these but nearby.
    """

    cones: tuple[Cones, ...]
    lower: Flags
    upper: Flags
    trusted: Flags


_read: WeakKeyDictionary[DirectProgram, tuple[ElementParts, ...]] = WeakKeyDictionary()


def read_elements(structure: DirectProgram) -> tuple[ElementParts, ...]:
    """Classify the rows and costs of a structure, once for as long as it lives."""
    if structure not in _read:
        program = structure.program
        _read[structure] = tuple(_read_element(element, program.parameters) for element in program.elements)
    return _read[structure]


def _read_element(element: Element, shared: ca.SX) -> ElementParts:
    z, others = element.variables, (element.copy, shared)
    rows = tuple(_form(element.rows[i], z, others) for i in range(element.rows.numel()))
    cost = _form(element.cost, z, others, root=False)
    weights = ca.SX.sym("weights", len(rows))
    curved = np.any([form.curved for form in (cost, *rows)], axis=0)
    active = np.flatnonzero(curved)
    lagrangian = element.cost + ca.dot(weights, element.rows)
    hessian = ca.hessian(lagrangian, z)[0][active.tolist(), active.tolist()] if len(active) else ca.SX(0, 0)
    function = ca.Function("curvature", [z, *others, weights], [ca.vec(ca.densify(hessian))])
    return ElementParts(element, rows, cost, function.map("curvatures", "serial", element.copies, [2], []), active)


def _form(row: ca.SX, z: ca.SX, others: Sequence[ca.SX], *, root: bool = True) -> _Form:
    hessian, slope = ca.hessian(row, z)
    curved = np.array([ca.depends_on(slope, z[i]) for i in range(z.numel())], dtype=bool)
    # Where it bends in a point, as |z| does, derivatives alone take it for affine.
    if not ca.depends_on(hessian, z) and agrees_to_second_order(row, z, *others):
        known = _at_zero(z, others, hessian, ca.SX.zeros(z.numel()), 0.0, 0.0, slope, row)
        return _Form(_Kind.QUADRATIC if curved.any() else _Kind.AFFINE, curved, known)
    entering = np.array([ca.depends_on(row, z[i]) for i in range(z.numel())], dtype=bool)
    coefficients = _root(row, z, others) if root else None
    return _Form(_Kind.GENERAL if coefficients is None else _Kind.ROOT, entering, coefficients)


def _root(row: ca.SX, z: ca.SX, others: Sequence[ca.SX]) -> ca.Function | None:
    """Coefficients of a row that is affine in z and in one root (or absolute value) of a quadratic."""
    roots: list[ca.SX] = []
    root = ca.SX.sym("root")
    outer = _replace_roots(row, z, others, root, roots)
    if len(roots) != 1:
        return None
    both = ca.vertcat(z, root)
    slope = ca.gradient(outer, both)
    bent, inner_slope = ca.hessian(roots[0], z)
    linear = not ca.depends_on(slope, both) and agrees_to_second_order(outer, both, *others)
    if not linear or ca.depends_on(bent, z) or not agrees_to_second_order(roots[0], z, *others):
        return None
    n = z.numel()
    at_zero = ca.substitute(outer, root, ca.SX(0))
    return _at_zero(z, others, bent, inner_slope, roots[0], slope[n], slope[:n], at_zero)


def _at_zero(z: ca.SX, others: Sequence[ca.SX], *expressions: ca.SX | float) -> ca.Function:
    """Coefficients as a function of the copy and the shared parameters alone."""
    zero = ca.SX.zeros(z.numel())
    values = ca.substitute([ca.densify(ca.SX(e)) for e in expressions], [z], [zero])
    return ca.Function("coefficients", list(others), values)


def _replace_roots(row: ca.SX, z: ca.SX, others: Sequence[ca.SX], root: ca.SX, found: list[ca.SX]) -> ca.SX:
    """The row with every root of something that z enters replaced by a symbol; their arguments go into ``found``."""
    inputs = [z, *others]
    function = ca.Function("row", inputs, [row])
    work: list[ca.SX] = [ca.SX(0)] * function.sz_w()
    result = ca.SX(0)
    for k in range(function.n_instructions()):
        code, target, source = function.instruction_id(k), function.instruction_output(k), function.instruction_input(k)
        if code == ca.OP_OUTPUT:
            result = work[source[0]]
        elif code == ca.OP_INPUT:
            work[target[0]] = inputs[source[0]].nz[source[1]]
        elif code == ca.OP_CONST:
            work[target[0]] = ca.SX(function.instruction_constant(k))
        elif code in (ca.OP_SQRT, ca.OP_FABS) and ca.depends_on(work[source[0]], z):
            argument = work[source[0]]
            found.append(argument if code == ca.OP_SQRT else argument * argument)
            work[target[0]] = root
        elif len(source) == 1:
            work[target[0]] = ca.SX.unary(code, work[source[0]])
        else:
            work[target[0]] = ca.SX.binary(code, work[source[0]], work[source[1]])
    return result


def find_convex_parts(structure: DirectProgram, instance: Instance) -> ConvexParts:
    """Decide with today's numbers which sides of which rows are cones, and which variables need a trust region."""
    lower, upper = np.isfinite(instance.row_lower), np.isfinite(instance.row_upper)
    trusted = np.zeros(len(instance.guess), dtype=bool)
    cones: list[Cones] = []
    for parts in read_elements(structure):
        element = parts.element
        if parts.cost.kind is _Kind.GENERAL or not _convex(parts.cost, element, instance):
            trusted[element.variable_index[:, parts.cost.curved]] = True
        for i, form in enumerate(parts.rows):
            if form.kind is _Kind.AFFINE:
                continue
            places = element.row_index[:, i]
            for sign, limits, sides in ((1.0, instance.row_upper, upper), (-1.0, instance.row_lower, lower)):
                if not sides[places].any():
                    continue
                found = _cones(form, element, i, sign, limits, instance)
                if found is None:
                    trusted[element.variable_index[:, form.curved]] = True
                else:
                    cones.append(found)
                    sides[places] = False
    return ConvexParts(tuple(cones), lower, upper, trusted)


def _coefficients(form: _Form, element: Element, instance: Instance) -> list[Array]:
    """Numbers of every copy, each with the copies along its first axis."""
    assert form.coefficients is not None
    every = [form.coefficients(copy, instance.shared) for copy in element.values.T]
    return [np.array([np.squeeze(one[i].full(), axis=1) if i else one[i].full() for one in every]) for i in range(6)]


def _convex(form: _Form, element: Element, instance: Instance) -> bool:
    if form.kind is _Kind.AFFINE:
        return True
    eigenvalues = np.linalg.eigvalsh(_coefficients(form, element, instance)[0])
    return bool((eigenvalues >= -_rounding(eigenvalues)).all())


def _rounding(eigenvalues: Array) -> Array:
    """Error of the eigenvalues of matrices, as LAPACK bounds it."""
    return 10.0 * eigenvalues.shape[-1] * _EPSILON * np.abs(eigenvalues).max(axis=-1, keepdims=True, initial=0.0)


def _cones(form: _Form, element: Element, row: int, sign: float, limits: Array, instance: Instance) -> Cones | None:
    """One side of a row as cones; None unless all copies are, each with its own limit."""
    rows, places = element.row_index[:, row], element.variable_index
    both_sides = instance.row_lower[rows] == instance.row_upper[rows]
    summed = len(np.unique(rows)) < len(rows)  # an integral: its copies are terms, not rows
    if form.kind is _Kind.GENERAL or both_sides.any() or summed:
        return None
    found = []
    Q, q, c, s, a, w = _coefficients(form, element, instance)
    for copy in range(element.copies):
        linear, constant = sign * a[copy], sign * (float(w[copy, 0]) - limits[rows[copy]])
        if form.kind is _Kind.ROOT:
            cone = _norm_cone(Q[copy], q[copy], float(c[copy, 0]), sign * float(s[copy, 0]), linear, constant)
        else:
            box = instance.lower[places[copy]], instance.upper[places[copy]]
            cone = _quadratic_cone(sign * Q[copy], linear, constant, box)
        if cone is None:
            return None
        found.append(cone)
    if len({len(cone[0]) for cone in found}) > 1:
        return None
    return Cones(rows, places, *(np.array(part) for part in zip(*found, strict=True)))  # type: ignore[arg-type]


_Cone = tuple[Array, Array, Array, float]
"""F, f, g, h of |F z + f| <= g'z + h."""


def _norm_cone(Q: Array, q: Array, c: float, s: float, a: Array, w: float) -> _Cone | None:
    """s sqrt(c + q'z + z'Qz/2) + a'z + w <= 0."""
    squares = _complete_squares(Q, q, c)
    if squares is None or s <= 0.0:
        return None
    F, f, rest, left = squares
    if left.any() or rest < 0.0:
        return None
    return np.vstack([F, np.zeros_like(q)]), np.append(f, np.sqrt(rest)), -a / s, -w / s


def _quadratic_cone(Q: Array, a: Array, w: float, box: tuple[Array, Array]) -> _Cone | None:
    """w + a'z + z'Qz/2 <= 0."""
    eigenvalues, vectors = np.linalg.eigh(Q)
    negative = eigenvalues < -_rounding(eigenvalues)
    if not negative.any():
        F, f, rest, left = _complete_squares(Q, a, w)  # type: ignore[misc]
        if left.any():
            t, t0 = -left, -rest
            return np.vstack([2.0 * F, t]), np.append(2.0 * f, t0 - 1.0), t, t0 + 1.0
        return (F, f, np.zeros_like(a), np.sqrt(-rest)) if rest <= 0.0 else None
    if negative.sum() > 1:
        return None
    # w + a'z + z'Qz/2 = |F z + f|^2 - (g'z + h)^2 + rest
    g = np.sqrt(-0.5 * eigenvalues[0]) * _clean(vectors[:, 0])
    h = -0.5 * float(a @ vectors[:, 0]) / np.sqrt(-0.5 * eigenvalues[0])
    squares = _complete_squares(Q + 2.0 * np.outer(g, g), a + 2.0 * h * g, w + h * h)
    if squares is None:
        return None
    F, f, rest, left = squares
    side = _sign(g, h, box)
    if left.any() or rest < 0.0 or side == 0.0:
        return None
    return np.vstack([F, np.zeros_like(a)]), np.append(f, np.sqrt(rest)), side * g, side * h


def _complete_squares(Q: Array, q: Array, c: float) -> tuple[Array, Array, float, Array] | None:
    """F, f, rest and left of c + q'z + z'Qz/2 = |F z + f|^2 + rest + left'z; None unless Q >= 0."""
    eigenvalues, vectors = np.linalg.eigh(Q)
    noise = _rounding(eigenvalues)
    if (eigenvalues < -noise).any():
        return None
    kept = eigenvalues > noise
    root, basis = np.sqrt(0.5 * eigenvalues[kept]), vectors[:, kept]
    F = _clean(root[:, None] * basis.T)
    f = 0.5 * (basis.T @ q) / root
    left = q - 2.0 * F.T @ f
    left[np.abs(left) <= 10.0 * len(q) * _EPSILON * np.abs(q).max(initial=0.0)] = 0.0
    rest = c - float(f @ f)
    if abs(rest) <= 10.0 * len(q) * _EPSILON * (abs(c) + float(f @ f)):
        rest = 0.0
    return F, f, rest, left


def _clean(entries: Array) -> Array:
    """Entries that are rounding set to zero, so that variables which do not enter stay out."""
    size = np.abs(entries).max(initial=0.0)
    return np.where(np.abs(entries) <= 10.0 * max(entries.shape) * _EPSILON * size, 0.0, entries)


def _sign(g: Array, h: float, box: tuple[Array, Array]) -> float:
    """The sign that bounds imply for g'z + h, zero if none."""
    entering = g != 0.0
    ends = np.array([side[entering] * g[entering] for side in box])
    lowest, highest = h + np.min(ends, axis=0).sum(), h + np.max(ends, axis=0).sum()
    return 1.0 if lowest >= 0.0 else -1.0 if highest <= 0.0 else 0.0
