r"""The canonical equations of an arc: what each control obeys there, and the control law that follows symbolically.

On an arc every control is at its lower or upper bound, or interior, or singular, or it keeps a limit g(x, u, t) <= 0
active. Let q be the order of g, the first derivative g^(q) along the dynamics in which a control shows. With

    H = L + lambda' f + mu' g^(q),   x' = H_lambda,   lambda' = -H_x,

the law is the solution of

    interior   H_u = 0
    limit      H_u = 0 and g^(q) = 0, for the control and mu together
    singular   d^2/dt^2 H_u = 0 along the equations (singular arcs of order one)

in closed form where these are linear in the controls and mu; otherwise the controls join the states, by

    u' = -H_uu^-1 d/dt H_u   (at fixed u),   with H_u = 0 at the start of the arc.

Kinds must be told apart by structure: a singular arc of order two, where d^2/dt^2 H_u holds no control, is refused.

Reference: Bryson and Ho, Applied Optimal Control, 1975, sections 3.8 to 3.11 and 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.errors import UnsupportedProblem
from trajopt.problem import Problem
from trajopt.transcription.hamiltonian import Hamiltonian

Array = NDArray[np.float64]


class Kind(StrEnum):
    """What a control does on an arc when it keeps no limit active."""

    LOWER = "lower"
    UPPER = "upper"
    INTERIOR = "interior"
    SINGULAR = "singular"
    CLIPPED = "clipped"
    """Interior, moved into its bounds: the minimiser of H where H_uu is diagonal."""


@dataclass(frozen=True, eq=False)
class Limit:
    """An inequality along the way, as a function that must not be positive.

    Attributes
    ----------
    name
        "position upper", "rail lower", ...
    expression
        g of x, u, t, p.
    table, row, sign
        Where its multiplier belongs: "state_bounds" or "path", the row there, and +1 for upper, -1 for lower limits.
    """

    name: str
    expression: ca.SX
    table: str
    row: int
    sign: float


@dataclass(frozen=True, eq=False)
class Arc:
    """The equations of one arc, as expressions of x, costate, states, t, p and prices.

    Attributes
    ----------
    kinds
        For each control its `Kind` or the `Limit` that it keeps.
    states
        Symbols of what joins the states, where the law is implicit.
    control, multipliers
        The law u (nu), and mu (one for each active limit, in the order of the controls).
    hamiltonian, gradient
        H, and H_u (nu) at the law.
    dynamics, costate_rate, states_rate
        Time derivatives.
    start
        Rows that must vanish at the start of the arc: the implicit law.
    tangency
        For each active limit its derivatives of order 0 to q - 1, which vanish at the entry.
    highest
        For each active limit g^(q) of x, u, t, p.
    switching
        For each singular control H_u and its time derivative.
    curvature
        Matrix that must be positive semidefinite: H_uu of the interior controls (Legendre and Clebsch).
    kelley
        Matrix that must be positive semidefinite: -d/du d^2/dt^2 H_u of the singular controls (Kelley).
    densities
        For each active limit (-d/dt)^q mu, the density of the multiplier of g itself, and below it the derivatives
        (-d/dt)^i mu, i < q, that must not be negative either; None where the law is implicit.
    correction
        What the costate of g itself has on top of the one for g^(q), (nx); None where the law is implicit.
    """

    kinds: tuple[Kind | Limit, ...]
    states: ca.SX
    control: ca.SX
    multipliers: ca.SX
    hamiltonian: ca.SX
    gradient: ca.SX
    dynamics: ca.SX
    costate_rate: ca.SX
    states_rate: ca.SX
    start: ca.SX
    tangency: tuple[ca.SX, ...]
    highest: tuple[ca.SX, ...]
    switching: dict[int, ca.SX]
    curvature: ca.SX
    kelley: ca.SX
    densities: tuple[ca.SX, ...] | None = None
    correction: ca.SX | None = None

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The active limits, in the order of the controls that keep them."""
        return tuple(kind for kind in self.kinds if isinstance(kind, Limit))


def find_limits(problem: Problem) -> tuple[Limit, ...]:
    """Every finite bound of a state and every finite limit of a path row."""
    model = problem.model
    tables = (
        ("state_bounds", problem.dynamics.states, model.x, problem.state_bounds),
        ("path", model.path.names, model.path.expression, (model.path.lower, model.path.upper)),
    )
    found = []
    for table, names, expression, (lower, upper) in tables:
        for row, name in enumerate(names):
            for side, limit, sign in (("lower", lower[row], -1.0), ("upper", upper[row], 1.0)):
                if np.isfinite(limit):
                    found.append(Limit(f"{name} {side}", sign * (expression[row] - limit), table, row, sign))
    return tuple(found)


def is_linear(hamiltonian: Hamiltonian) -> NDArray[np.bool_]:
    """Whether H is linear in each control, (nu,)."""
    gradient, u = hamiltonian.gradient, hamiltonian.model.u
    return np.array([not ca.depends_on(gradient[j], u[j]) for j in range(u.numel())], bool)


def derive_arc(hamiltonian: Hamiltonian, kinds: Sequence[Kind | Limit], bounds: Array, names: Sequence[str]) -> Arc:
    """Derive the equations of an arc.

    Parameters
    ----------
    hamiltonian
        Of the problem.
    kinds
        What each control obeys.
    bounds
        (2, nu) control bounds.
    names
        Of the controls, for messages.

    Raises
    ------
    UnsupportedProblem
        When the conditions do not determine a control.
    """
    return _Derivation(hamiltonian, tuple(kinds), bounds, tuple(names)).derive()


@dataclass(eq=False)
class _Derivation:
    """The steps from conditions to a law."""

    h: Hamiltonian
    kinds: tuple[Kind | Limit, ...]
    bounds: Array
    names: tuple[str, ...]
    chains: list[list[ca.SX]] = field(default_factory=list)

    def derive(self) -> Arc:
        m, kinds = self.h.model, self.kinds
        self.u = ca.SX(m.u)
        for j, kind in enumerate(kinds):
            if kind in (Kind.LOWER, Kind.UPPER):
                self.u[j] = self.bounds[int(kind is Kind.UPPER), j]
        self.singular = [j for j, kind in enumerate(kinds) if kind is Kind.SINGULAR]
        held = (Kind.LOWER, Kind.UPPER, Kind.SINGULAR)
        self.regular = [j for j, kind in enumerate(kinds) if isinstance(kind, Limit) or kind not in held]
        self.dynamics = self._held(m.dynamics)
        self.chains = [self._chain(kind) for kind in kinds if isinstance(kind, Limit)]
        self.mu = ca.SX.sym("mu", len(self.chains))
        highest = [chain[-1] for chain in self.chains]
        plain = ca.substitute(self.h.expression, self.h.densities, ca.SX.zeros(self.h.densities.numel()))
        self.full = plain + (ca.dot(self.mu, ca.vertcat(*highest)) if highest else 0.0)
        self.rate = -self._held(ca.gradient(self.full, m.x))
        self.slope = self._held(ca.gradient(self.full, m.u))
        law, states, start, states_rate = self._regular_law()
        singular, switching, kelley = self._singular_law(law, states)
        return self._finish(law, singular, states, start, states_rate, switching, kelley)

    def _held(self, expression: ca.SX) -> ca.SX:
        """With controls at their bounds put in."""
        return ca.substitute(expression, self.h.model.u, self.u)

    def _along(self, expression: ca.SX, dynamics: ca.SX, rate: ca.SX) -> ca.SX:
        """Time derivative along the canonical equations, at fixed controls."""
        m = self.h.model
        return ca.jtimes(expression, ca.vertcat(m.x, self.h.costate, m.t), ca.vertcat(dynamics, rate, 1.0))

    def _chain(self, limit: Limit) -> list[ca.SX]:
        """Return g and its derivatives along the dynamics, up to the first that a free control enters."""
        m, chain = self.h.model, [limit.expression]
        free = pick(m.u, self.regular)
        while not ca.depends_on(chain[-1], free):
            if len(chain) > m.x.numel():
                raise UnsupportedProblem(
                    f"Indirect was given an arc on which {limit.name!r} is active, but no control enters its first "
                    f"{len(chain) - 1} derivatives; correct the structure."
                )
            below = self._held(chain[-1])
            chain.append(ca.jtimes(below, ca.vertcat(m.x, m.t), ca.vertcat(m.dynamics, 1.0)))
        return chain

    def _regular_law(self) -> tuple[ca.SX | None, ca.SX, ca.SX, ca.SX]:
        """Return the law of regular controls and mu, or None with states, their start and rate in its place."""
        m, nothing = self.h.model, ca.SX(0, 1)
        unknowns = ca.vertcat(pick(m.u, self.regular), self.mu)
        if not unknowns.numel():
            return nothing, nothing, nothing, nothing
        equations = ca.vertcat(pick(self.slope, self.regular), *(self._held(chain[-1]) for chain in self.chains))
        matrix = ca.jacobian(equations, unknowns)
        if ca.sprank(matrix) < unknowns.numel():
            raise UnsupportedProblem(
                f"Indirect was given an arc on which {', '.join(self.names[j] for j in self.regular)} shall be "
                "interior, but the Hamiltonian is linear in some direction of them; give the structure, for example "
                "('upper', 'singular', 'lower'), or the answer of a direct solver as guess."
            )
        if not ca.depends_on(matrix, unknowns):
            rest = ca.substitute(equations, unknowns, ca.SX.zeros(unknowns.numel()))
            return -ca.solve(ca.densify(matrix), ca.densify(rest)), nothing, nothing, nothing
        if self.singular or Kind.CLIPPED in self.kinds:
            raise UnsupportedProblem(
                "Indirect was given a Hamiltonian that is not quadratic in its regular controls together with singular "
                "or clipped ones, but a law in closed form was expected there; give a structure without them."
            )
        rate = -ca.solve(ca.densify(matrix), ca.densify(self._along(equations, self.dynamics, self.rate)))
        return None, ca.SX.sym("a", unknowns.numel()), equations, rate

    def _singular_law(self, law: ca.SX | None, states: ca.SX) -> tuple[ca.SX, dict[int, ca.SX], ca.SX]:
        """Return the singular controls, their switching functions, and the matrix of Kelley's condition."""
        m, nothing = self.h.model, ca.SX(0, 1)
        if not self.singular:
            return nothing, {}, ca.SX(0, 0)
        if len(self.singular) > 1:
            raise UnsupportedProblem(
                f"Indirect was given an arc on which {' and '.join(self.names[j] for j in self.singular)} are singular "
                "at once, but one was expected at a time; use Collocation()."
            )
        regular, unknown = ca.vertcat(pick(m.u, self.regular), self.mu), m.u[self.singular[0]]
        first, dynamics, rate = self.slope[self.singular[0]], self.dynamics, self.rate
        if law is not None and regular.numel():
            first, dynamics, rate = ca.substitute([first, dynamics, rate], [regular], [law])
        # H = H_0 + u S, and the Poisson bracket {S, S} is zero: with u = 0, S' has no terms that only cancel.
        drift, drift_rate = ca.substitute([dynamics, rate], [unknown], [ca.SX(0.0)])
        second = self._along(first, drift, drift_rate)
        third = self._along(second, dynamics, rate)
        slope = ca.jacobian(third, unknown)
        if ca.depends_on(ca.vertcat(first, slope), unknown) or self._vanishes(slope):
            raise UnsupportedProblem(
                f"Indirect was given a singular arc of {self.names[self.singular[0]]}, but the second time derivative "
                "of H_u does not determine it there, as on singular arcs of order one; use Collocation()."
            )
        control = -ca.substitute(third, unknown, 0.0) / slope
        return control, {self.singular[0]: ca.vertcat(first, second)}, -slope

    def _vanishes(self, expression: ca.SX) -> bool:
        """Whether an expression is zero wherever it is looked at: terms may cancel without CasADi's noticing."""
        if expression.nnz() == 0:
            return True
        symbols = ca.symvar(expression)
        values = np.random.default_rng(0).uniform(0.5, 1.5, (8, len(symbols)))
        function = ca.Function("probe", symbols, [expression, *(abs(ca.gradient(expression, v)) for v in symbols)])
        seen = np.array([np.asarray(function.call(list(row))).ravel() for row in values], float)
        scale = np.nanmax(np.abs(seen), initial=0.0)
        return bool(np.all(~(np.abs(seen[:, 0]) > 1e-12 * scale)))

    def _finish(
        self, law: ca.SX | None, singular: ca.SX, states: ca.SX, start: ca.SX, states_rate: ca.SX,
        switching: dict[int, ca.SX], kelley: ca.SX,
    ) -> Arc:  # fmt: skip
        """Put the law into everything."""
        m, count = self.h.model, len(self.regular)
        values = states if law is None else law
        if law is not None and self.singular and values.numel():
            values = ca.substitute(values, pick(m.u, self.singular), singular)
        control, mu = ca.SX(self.u), pick(values, range(count, values.numel()))
        for i, j in enumerate(self.regular):
            control[j] = values[i]
            if self.kinds[j] is Kind.CLIPPED:
                control[j] = ca.fmin(ca.fmax(values[i], self.bounds[0, j]), self.bounds[1, j])
        for i, j in enumerate(self.singular):
            control[j] = singular[i]

        def put(expression: ca.SX) -> ca.SX:
            return ca.substitute([expression], [m.u, self.mu], [control, mu])[0]

        dynamics, rate = put(m.dynamics), put(-ca.gradient(self.full, m.x))
        densities, correction = self._prices(mu, dynamics, rate) if law is not None else (None, None)
        inside = [j for j in self.regular if not isinstance(self.kinds[j], Limit)]
        curvature = ca.hessian(self.full, m.u)[0][inside, inside]
        tangency = (ca.vertcat(ca.SX(0, 1), *map(self._held, chain[:-1])) for chain in self.chains)
        return Arc(
            self.kinds, states, control, mu, put(self.full), put(ca.gradient(self.full, m.u)), dynamics, rate,
            put(states_rate), put(start), tuple(tangency),
            tuple(chain[-1] for chain in self.chains), {j: put(pair) for j, pair in switching.items()},
            put(curvature), put(kelley), densities, correction,
        )  # fmt: skip

    def _prices(self, mu: ca.SX, dynamics: ca.SX, rate: ca.SX) -> tuple[tuple[ca.SX, ...], ca.SX]:
        """Return multipliers of g itself from those of g^(q): integration by parts, q times."""
        correction, densities = ca.SX.zeros(self.h.model.x.numel()), []
        for i, chain in enumerate(self.chains):
            ladder = [mu[i]]
            for below in reversed(chain[:-1]):
                correction += ladder[-1] * ca.gradient(self._held(below), self.h.model.x)
                ladder.append(-self._along(ladder[-1], dynamics, rate))
            densities.append(ca.vertcat(*reversed(ladder)))
        return tuple(densities), correction


def pick(expression: ca.SX, rows: Iterable[int]) -> ca.SX:
    """Return rows of a column as a column, also where there are none, of which CasADi makes a row."""
    return ca.vertcat(ca.SX(0, 1), *(expression[int(row)] for row in rows))
