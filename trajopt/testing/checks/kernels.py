"""Generated code, integrators and models, as a solver meets them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from trajopt.batch_dynamics import BlackBoxDynamics
from trajopt.dynamics import ContinuousDynamics, DiscreteDynamics
from trajopt.errors import InvalidProblem
from trajopt.horizon import Horizon
from trajopt.problem import Feature, Problem
from trajopt.solver import Claim
from trajopt.testing import cases
from trajopt.testing.cases import STEP, STEPS
from trajopt.testing.registry import Family, NotApplicable, check, close, require
from trajopt.testing.subject import Subject
from trajopt.testing.tolerances import EPSILON, ORDER_BAND, Rule, rounding, truncation

ORDERS = {"euler": 1, "midpoint": 2, "rk3": 3, "rk4": 4}
"""Of the integrators of this library; a solver's others are not looked at."""


@check(Family.KERNELS, Rule.TRUNCATION, claims=[Claim.STATIONARY], features=[Feature.BLACK_BOX, Feature.DISCRETE_TIME])
def a_black_box_is_the_function_in_it(subject: Subject) -> None:
    """The plant as a black box, with differences for derivatives, has the optimum of the traced plant."""
    boxed, traced = (subject.success(p) for p in _boxed(subject))
    # Differences turn the gradient by eps^(2/3) of the costates over the horizon, and the cost by less.
    size = float(STEPS) * (1.0 + float(np.abs(traced.certificate.costates).max()))
    allowed = subject.cost_tolerance(traced, traced) + truncation(size)
    close(boxed.cost, traced.cost, allowed, "the cost of the black box")


@check(Family.KERNELS, Rule.ROUNDING, features=[Feature.BLACK_BOX, Feature.DISCRETE_TIME], settings=["iterations"])
def a_black_box_costs_what_it_is(subject: Subject) -> None:
    """After one iteration the plant as a black box costs what the traced plant costs."""
    if subject.claims(Claim.STATIONARY):
        raise NotApplicable("its iterations need derivatives, which differ")
    short = subject.with_settings(iterations=1)
    boxed, traced = (subject.solve(problem, solver=short) for problem in _boxed(subject))
    # The damped plant amplifies rounding by no more than e^(horizon).
    amplification = math.exp(cases.DURATION)
    close(boxed.cost, traced.cost, rounding(64.0 * STEPS, 1.0 + traced.cost, amplification), "the cost of the box")


def _boxed(subject: Subject) -> tuple[Problem, Problem]:
    box = next(p for p in cases.standard_problems(True) if p.name == "black box")
    require(isinstance(box.dynamics, BlackBoxDynamics), "the suite's black box is none")
    return box, subject.plant("the same, traced", discrete=True)


@check(
    Family.KERNELS,
    Rule.TRUNCATION,
    claims=[Claim.STATIONARY],  # whose controls converge as well: noise has other defects on each grid
    features=[Feature.CONTINUOUS_TIME],
    settings=["integrator"],
)
def integrators_have_their_order(subject: Subject) -> None:
    """Halving the step divides the defect of the states by 2^(p+1) for an integrator of order p: one step's error."""
    looked = 0
    for name, order in ORDERS.items():
        try:
            solver = subject.with_settings(integrator=name)
        except InvalidProblem:
            continue
        looked += 1
        defects = []
        for steps in (15, 30):
            span = Horizon(cases.DURATION, steps=steps)
            problem = subject.plant(f"{steps} steps of {name}", discrete=False, limited=False, horizon=span)
            solution = subject.solve(problem, solver=solver)
            defects.append(solution.certificate.defect)
        # The reference integrator itself is exact to twelve digits; below that nothing is measured.
        floor = 2.0 ** (order + 1) * 1e-12
        slope = math.log2(max(defects[0], EPSILON) / max(defects[1], EPSILON))
        low = order + 1 - ORDER_BAND - _first_order_excess(order)
        require(defects[1] < floor or slope >= low, f"{name} has defects {defects}: order {slope:.2f} in one step")
    if not looked:
        raise NotApplicable("its integrators are none of this library's")


def _first_order_excess(order: int) -> float:
    """Steps of a quarter of a second are coarse for the lowest order, whose next term is not small."""
    return 0.5 if order == 1 else 0.3


@check(Family.KERNELS, Rule.EXACT)
def parameters_are_not_frozen(subject: Subject) -> None:
    """A new value of a parameter, with everything compiled before, has the answer of a problem made with that value."""
    shared = _weighted(subject, 1.0)
    subject.solve(shared)
    moved = subject.solve(shared.at(parameters={"weight": 3.0}))
    fresh = subject.solve(_weighted(subject, 3.0))
    close(moved.u, fresh.u, rounding(0.0), "a control with a new value of the parameter")
    old = subject.solve(shared)
    require(old.cost != moved.cost, "the parameter has no effect")


def _weighted(subject: Subject, weight: float) -> Problem:
    def cost(x: Any, u: Any, p: Any) -> Any:
        return p.weight * (x[0] - 1.0) ** 2 + 0.25 * x[1] ** 2 + cases.TORQUE_WEIGHT * u[0] ** 2

    discrete = subject.clock is Feature.DISCRETE_TIME
    dynamics: Any = (DiscreteDynamics(lambda x, u: x + STEP * cases.linear_rate(x, u), nx=2, nu=1) if discrete
                     else ContinuousDynamics(cases.linear_rate, nx=2, nu=1))  # fmt: skip
    return Problem(dynamics, cost, cases.end_cost, initial_state=(0.0, 0.0), parameters={"weight": weight},
                   horizon=Horizon(steps=STEPS) if discrete else Horizon(cases.DURATION, steps=STEPS),
                   name=f"weight {weight:g}")  # fmt: skip


@check(Family.KERNELS, Rule.OPTIMALITY, claims=[Claim.STATIONARY], features=[Feature.DISCRETE_TIME])
def time_reaches_the_functions(subject: Subject) -> None:
    """Dynamics and costs that read the number of the step, x+ = x + u + (-1)^t and u^2 + (x - c_t)^2: least squares."""
    wanted = np.array([1.0, -0.5, 0.25, 2.0])

    def sign(t: Any) -> Any:
        return 1.0 - 2.0 * (np.where(t == 1, 1.0, 0.0) + np.where(t == 3, 1.0, 0.0))

    def target(t: Any) -> Any:
        return sum(np.where(t == k, value, 0.0) for k, value in enumerate(wanted))

    problem = Problem(
        DiscreteDynamics(lambda x, u, t: x + u + sign(t), nx=1, nu=1),
        lambda x, u, t: u[0] ** 2 + (x[0] - target(t)) ** 2,
        lambda x: (x[0] - 1.0) ** 2,
        initial_state=[0.0], horizon=Horizon(steps=4), name="steps by number",
    )  # fmt: skip
    solution = subject.success(problem)
    drift = np.concatenate([[0.0], np.cumsum([1.0, -1.0, 1.0, -1.0])])
    sums = np.tril(np.ones((5, 4)), -1)  # states are sums of controls and drift
    rows = np.vstack([np.eye(4), sums])
    right = np.concatenate([np.zeros(4), np.append(wanted, 1.0) - drift])
    u, *_ = np.linalg.lstsq(rows, right, rcond=None)
    allowed = subject.control_tolerance(2.0, solution) + rounding(100.0, np.linalg.cond(rows))
    close(solution.u[:, 0], u, allowed, "a control")


@check(Family.KERNELS, Rule.OPTIMALITY, claims=[Claim.STATIONARY], features=[Feature.DISCRETE_TIME])
def independent_copies_do_not_mix(subject: Subject) -> None:
    """Three plants side by side, with their states and controls interleaved, cost three times one of them."""
    one = Problem(DiscreteDynamics(_chain(1), nx=2, nu=1), _chain_cost(1), initial_state=[1.0, -0.5],
                  horizon=Horizon(steps=20), name="one chain")  # fmt: skip
    three = Problem(DiscreteDynamics(_chain(3), nx=6, nu=3), _chain_cost(3), horizon=Horizon(steps=20),
                    initial_state=np.repeat([1.0, -0.5], 3), name="three chains")  # fmt: skip
    small, large = subject.success(one), subject.success(three)
    close(large.cost / 3.0, small.cost, subject.cost_tolerance(small, large), "a third of the cost")
    allowed = subject.control_tolerance(0.5, small, large)
    for k in range(3):
        close(large.u[:, k], small.u[:, 0], allowed, f"a control of copy {k}")


def _chain(copies: int) -> Any:
    def step(x: Any, u: Any) -> Any:
        position, speed = x[:copies], x[copies:]
        return np.concatenate([position + 0.25 * speed, speed + 0.25 * u])

    return step


def _chain_cost(copies: int) -> Any:
    return lambda x, u: x[:copies] @ x[:copies] + 0.5 * (x[copies:] @ x[copies:]) + 0.25 * (u @ u)
