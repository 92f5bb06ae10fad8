"""Linear systems with quadratic costs: which problems are ones, how to make one, and the infinite horizon.

To hold a system at an equilibrium (x_e, u_e), linearise there and feed the deviation back:

    A, B = linearise(problem, x_e, u_e)
    K, P = infinite_horizon(A, B, np.diag([1.0, 10.0]), np.eye(1), discrete=False)
    u = u_e + K @ (x - x_e)

near the equilibrium (x - x_e)'P(x - x_e) is a Lyapunov function of the loop, and as a terminal cost it stands for the
time after the horizon. For the gains of a loop that holds its control over a sampling period, linearise the discrete
problem.

References: Anderson, Moore, Optimal Control: Linear Quadratic Methods, 1990; Hautus, 1969 (stabilisability).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import casadi as ca
import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from trajopt.errors import InvalidProblem

if TYPE_CHECKING:
    from trajopt.model import Model
    from trajopt.problem import Problem

Array = NDArray[np.float64]

_EPSILON = float(np.finfo(float).eps)
_HALF_OF_THE_DIGITS = _EPSILON**0.5
"""To which a double eigenvalue is known."""


def linearise(problem: Problem, x: ArrayLike, u: ArrayLike, t: float = 0.0) -> tuple[Array, Array]:
    """A = df/dx (nx, nx) and B = df/du (nx, nu) of the dynamics at a point, exact to rounding.

    Parameters
    ----------
    problem
        Gives the dynamics and the values of their parameters.
    x, u
        The point, (nx,) and (nu,).
    t
        Time, or the number of the step of discrete dynamics.

    Returns
    -------
    A, B
        Of the time derivative x' for continuous dynamics, of the next state x+ for discrete ones.

    Raises
    ------
    InvalidProblem
        When a size is wrong, or a number or derivative is not finite.
    """
    point = [_vector("x", x, problem.nx), _vector("u", u, problem.nu), _vector("t", [t], 1)]
    model = problem.model
    both = ca.horzcat(ca.jacobian(model.dynamics, model.x), ca.jacobian(model.dynamics, model.u))
    function = ca.Function("linearise", [model.x, model.u, model.t, model.p], [ca.densify(both)])
    value = function(*point, problem.layout.pack(problem.parameters)).full()
    if not np.isfinite(value).all():
        raise InvalidProblem(
            f"the dynamics have derivatives of NaN or infinity at x={point[0].tolist()}, u={point[1].tolist()}, but "
            "finite ones were expected; choose another point."
        )
    return value[:, : problem.nx], value[:, problem.nx :]


def infinite_horizon(
    A: ArrayLike, B: ArrayLike, Q: ArrayLike, R: ArrayLike, S: ArrayLike | None = None, *, discrete: bool
) -> tuple[Array, Array]:
    """The law u = K x that minimises x'Qx + u'Ru + 2 x'Su over all time, and the matrix P of its cost x'Px.

    Parameters
    ----------
    A, B
        (nx, nx) and (nx, nu): x' = A x + B u integrated over time, or x+ = A x + B u summed over steps.
    Q, R
        (nx, nx) and (nu, nu) symmetric weights; R positive definite for continuous time.
    S
        (nx, nu) cross weight. Default: zero.
    discrete
        Which of the two it is.

    Returns
    -------
    K, P
        (nu, nx) gain and (nx, nx) symmetric solution of the algebraic Riccati equation. A + B K is stable.

    Raises
    ------
    InvalidProblem
        When sizes are wrong, weights are not symmetric or R is not positive definite, (A, B) cannot be stabilised, or
        no law is both optimal and stable.
    """
    A = _matrix("A", A, None, None)
    B = _matrix("B", B, len(A), None)
    nx, nu = B.shape
    A, Q, R = _matrix("A", A, nx, nx), _symmetric("Q", Q, nx), _symmetric("R", R, nu)
    S = np.zeros((nx, nu)) if S is None else _matrix("S", S, nx, nu)
    if not discrete and not np.linalg.eigvalsh(R)[0] > 0.0:
        raise InvalidProblem(
            f"R has the eigenvalue {np.linalg.eigvalsh(R)[0]:.3g}, but a positive definite matrix was expected; give "
            "every control a cost."
        )
    _check_stabilisable(A, B, discrete)
    solve = scipy.linalg.solve_discrete_are if discrete else scipy.linalg.solve_continuous_are
    try:
        P = solve(A, B, Q, R, s=S)
        P = 0.5 * (P + P.T)
        curvature, coupling = (R + B.T @ P @ B, S.T + B.T @ P @ A) if discrete else (R, S.T + B.T @ P)
        K = -scipy.linalg.cho_solve(scipy.linalg.cho_factor(curvature), coupling)
    except (np.linalg.LinAlgError, ValueError) as error:
        raise _no_law() from error
    if not _stable(np.linalg.eigvals(A + B @ K), discrete).all():
        raise _no_law()
    return K, P


def nonlinear_parts(problem: Problem) -> list[str]:
    """What keeps ``problem`` from being linear-quadratic, one phrase for each function; empty if nothing does.

    The derivatives must not depend on state and control, and their model must agree with the functions at some points,
    which tells steps such as floor(x), whose derivative is zero.
    """
    model = problem.model
    kept: list[str] | None = model.__dict__.get("_nonlinear_parts")
    if kept is None:
        kept = model.__dict__["_nonlinear_parts"] = _find_nonlinear_parts(problem, model)
    return kept


def _find_nonlinear_parts(problem: Problem, model: Model) -> list[str]:
    names = (*problem.dynamics.states, *problem.dynamics.controls)
    z = ca.vertcat(model.x, model.u)
    parts = []
    slopes = ca.jacobian(model.dynamics, z)
    for row, state in enumerate(problem.dynamics.states):
        culprits = _dependence(slopes[row, :], z, names)
        if culprits or not agrees_to_second_order(model.dynamics[row], z, model.t, model.p):
            parts.append(f"the derivative or next value of {state!r} is not linear" + _within(culprits))
    for what, cost in (("stage_cost", model.stage_cost), ("terminal_cost", model.terminal_cost)):
        culprits = _dependence(ca.hessian(cost, z)[0], z, names)
        if culprits or not agrees_to_second_order(cost, z, model.t, model.p):
            parts.append(f"the {what} is not quadratic" + _within(culprits))
    return parts


def _dependence(expression: ca.SX, z: ca.SX, names: tuple[str, ...]) -> list[str]:
    """Names of the entries of z on which an expression depends."""
    return [name for i, name in enumerate(names) if ca.depends_on(expression, z[i])]


def _within(culprits: list[str]) -> str:
    return f" in {', '.join(culprits)}" if culprits else ", for it bends or jumps somewhere"


def agrees_to_second_order(expression: ca.SX, z: ca.SX, *others: ca.SX) -> bool:
    """Whether the second-order model about z = 0 gives the expression's values at random points of z and the others.

    Structure alone does not tell: the derivative of a step is zero.
    """
    hessian, gradient = ca.hessian(expression, z)
    point = ca.SX.sym("point", z.numel())
    zero = ca.SX.zeros(z.numel())
    at_zero, slope, curvature = ca.substitute([expression, gradient, ca.densify(hessian)], [z], [zero])
    terms = ca.vertcat(at_zero, ca.dot(slope, point), 0.5 * ca.bilin(curvature, point, point))
    at_point = ca.substitute(expression, z, point)
    size = ca.sum1(ca.fabs(terms)) + ca.fabs(at_point)
    function = ca.Function("agrees", [point, *others], [at_point - ca.sum1(terms), size])
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e3):
        values = [scale * rng.normal(size=n) for n in (z.numel(), *(other.numel() for other in others))]
        difference, magnitude = (float(value) for value in function(*values))
        # Half of the digits: sums inside of the function may cancel, and a jump is far larger.
        if abs(difference) > _HALF_OF_THE_DIGITS * magnitude:
            return False
    return True


def _check_stabilisable(A: Array, B: Array, discrete: bool) -> None:
    """Raise for a mode that neither decays nor can be reached (Hautus's test)."""
    for value in np.linalg.eigvals(A):
        if _stable(np.array([value]), discrete)[0]:
            continue
        pencil = np.hstack([A - value * np.eye(len(A)), B])
        singular = np.linalg.svd(pencil, compute_uv=False)
        if singular[-1] <= _HALF_OF_THE_DIGITS * singular[0]:
            raise InvalidProblem(
                f"A has the eigenvalue {value:.4g}, whose mode does not decay and is out of reach of B, but a pair (A, "
                "B) that can be stabilised was expected; add a control, or leave that mode out."
            )


def _stable(eigenvalues: NDArray[Any], discrete: bool) -> NDArray[np.bool_]:
    return np.abs(eigenvalues) < 1.0 if discrete else np.real(eigenvalues) < 0.0


def _no_law() -> InvalidProblem:
    return InvalidProblem(
        "weights Q, R, S were given for which no law is both optimal and stable, but weights were expected that see "
        "every mode that does not decay and bound the cost from below; make [[Q, S], [S', R]] positive definite."
    )


def _vector(name: str, value: ArrayLike, size: int) -> Array:
    array = _numbers(name, value)
    if array.shape != (size,):
        raise InvalidProblem(f"{name} has shape {array.shape}, but ({size},) was expected; correct it.")
    return array


def _matrix(name: str, value: ArrayLike, rows: int | None, columns: int | None) -> Array:
    array = _numbers(name, value)
    wanted = tuple("any" if size is None else size for size in (rows, columns))
    if array.ndim != 2 or any(
        size not in (None, given) for given, size in zip(array.shape, (rows, columns), strict=True)
    ):
        raise InvalidProblem(
            f"{name} has shape {array.shape}, but a matrix of shape {wanted} was expected; correct it."
        )
    return array


def _symmetric(name: str, value: ArrayLike, size: int) -> Array:
    array = _matrix(name, value, size, size)
    if np.abs(array - array.T).max(initial=0.0) > _HALF_OF_THE_DIGITS * np.abs(array).max(initial=0.0):
        raise InvalidProblem(
            f"{name} is not symmetric, but a symmetric matrix was expected; give ({name} + {name}')/2."
        )
    return 0.5 * (array + array.T)


def _numbers(name: str, value: ArrayLike) -> Array:
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InvalidProblem(f"{name}={value!r} was given, but numbers were expected; correct it.") from error
    if not np.isfinite(array).all():
        raise InvalidProblem(f"{name} contains NaN or infinity, but finite numbers were expected; correct it.")
    return array
