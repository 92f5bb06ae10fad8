"""What a model of dynamics must be: row by row, differentiable, deterministic, pure, and the same after a file."""

from __future__ import annotations

from typing import Any

import casadi as ca
import numpy as np
from numpy.typing import NDArray

from trajopt.batch_dynamics import BatchDynamics
from trajopt.dynamics import TracedDynamics
from trajopt.horizon import Horizon
from trajopt.plain import PlainFunctions
from trajopt.problem import Problem
from trajopt.symbolic import Parameters
from trajopt.testing.probes import central_differences
from trajopt.testing.problem_suite import DynamicsSubject
from trajopt.testing.registry import Family, NotApplicable, check, close, require
from trajopt.testing.tolerances import EPSILON, EXACT, Rule, Tolerance, rounding, truncation

Array = NDArray[np.float64]
SUITE = "dynamics"


def _batched(subject: DynamicsSubject) -> BatchDynamics:
    if not isinstance(subject.dynamics, BatchDynamics):
        raise NotApplicable("traced dynamics have no batches")
    return subject.dynamics


def _step(subject: DynamicsSubject, x: Array, u: Array, seed: int = 0, model: Any = None) -> Array:
    dynamics = _batched(subject) if model is None else model
    return dynamics.step(x, u, 0.0, Parameters(dict(subject.parameters)), np.random.default_rng(seed))


def _one(subject: DynamicsSubject) -> Any:
    """A function of (x, u) at one point, whatever kind of model it is."""
    if isinstance(subject.dynamics, BatchDynamics):
        return lambda x, u: _step(subject, x[None], u[None])[0]
    functions, parameters = _plain(subject)
    return lambda x, u: functions.dynamics(x, u, 0.0) if parameters is not None else None


def _plain(subject: DynamicsSubject) -> tuple[PlainFunctions, Array]:
    problem = _problem(subject)
    parameters = problem.layout.pack(problem.parameters)
    return PlainFunctions(problem, parameters), parameters


def _problem(subject: DynamicsSubject) -> Problem:
    span = Horizon(1.0, steps=1) if subject.dynamics.continuous else Horizon(steps=1)
    return Problem(subject.dynamics, initial_state=subject.states[0], horizon=span, parameters=subject.parameters)


def _precision(subject: DynamicsSubject, size: float) -> Tolerance:
    """Rounding in the precision of the model: sums over its inputs and, in a network, over its layers' widths."""
    share = float(np.finfo(subject.precision).eps) / EPSILON
    return rounding(1000.0 * (subject.dynamics.nx + subject.dynamics.nu), size, share)


@check(Family.DYNAMICS, Rule.ROUNDING, suite=SUITE)
def batches_are_their_rows(subject: DynamicsSubject) -> None:
    """Each row of a batch steps as it does alone, and in any order."""
    dynamics = _batched(subject)
    if dynamics.stochastic:
        raise NotApplicable("rows of random dynamics draw different numbers")
    x, u = subject.states, subject.controls
    together = _step(subject, x, u)
    alone = np.vstack([_step(subject, x[k : k + 1], u[k : k + 1]) for k in range(len(x))])
    allowed = _precision(subject, 1.0 + float(np.abs(together).max()))
    close(together, alone, allowed, "a row of a batch")
    close(_step(subject, x[::-1], u[::-1])[::-1], together, allowed, "a row of the batch backwards")


@check(Family.DYNAMICS, Rule.ROUNDING, suite=SUITE)
def rollouts_are_repeated_steps(subject: DynamicsSubject) -> None:
    """A rollout over several steps is one step after another."""
    dynamics = _batched(subject)
    if dynamics.stochastic:
        raise NotApplicable("its steps are random")
    controls = np.repeat(subject.controls[:, None], 3, axis=1)
    p = Parameters(dict(subject.parameters))
    found = dynamics.rollout(subject.states, controls, 0.0, p, np.random.default_rng(0))
    x = subject.states
    for k in range(3):
        x = dynamics.step(x, subject.controls, float(k), p, np.random.default_rng(0))
        size = 1.0 + float(np.abs(x).max())
        # Errors of a step are amplified by the following ones; the model's own precision bounds each.
        close(found[:, k + 1], x, 10.0**k * _precision(subject, size), f"the state after {k + 1} steps")


@check(Family.DYNAMICS, Rule.TRUNCATION, suite=SUITE)
def derivatives_are_differences(subject: DynamicsSubject) -> None:
    """Jacobians by state and control are central differences of the model itself."""
    if isinstance(subject.dynamics, BatchDynamics):
        if subject.dynamics.stochastic:
            raise NotApplicable("its steps are random")
        p = Parameters(dict(subject.parameters))
        A, B = subject.dynamics.linearise(subject.states, subject.controls, 0.0, p)
        exact = np.concatenate([A, B], axis=2)
    else:
        exact = np.stack([_slopes(subject, x, u) for x, u in zip(subject.states, subject.controls, strict=True)])
    step, nx = _one(subject), subject.dynamics.nx
    share = (float(np.finfo(subject.precision).eps) / EPSILON) ** (2.0 / 3.0)
    for k, (x, u) in enumerate(zip(subject.states, subject.controls, strict=True)):
        found = central_differences(lambda z: step(z[:nx], z[nx:]), np.concatenate([x, u]))
        size = 1.0 + max(float(np.abs(exact[k]).max()), float(np.abs(step(x, u)).max()))
        close(exact[k], found, 100.0 * share * truncation(size), f"a derivative at point {k}")


def _slopes(subject: DynamicsSubject, x: Array, u: Array) -> Array:
    problem = _problem(subject)
    model = problem.model
    slopes = ca.jacobian(model.dynamics, ca.vertcat(model.x, model.u))
    function = ca.Function("slopes", [model.x, model.u, model.t, model.p], [ca.densify(slopes)])
    return function(x, u, 0.0, problem.layout.pack(problem.parameters)).full()


@check(Family.DYNAMICS, Rule.EXACT, suite=SUITE)
def steps_are_deterministic(subject: DynamicsSubject) -> None:
    """The same state, control and seed give the same bits; only random dynamics draw from the generator."""
    x, u = subject.states, subject.controls
    if isinstance(subject.dynamics, TracedDynamics):
        step = _one(subject)
        once, again = ([step(a, b) for a, b in zip(x, u, strict=True)] for _ in range(2))
        close(once, again, EXACT, "a second call")
        return
    close(_step(subject, x, u, seed=3), _step(subject, x, u, seed=3), EXACT, "a second step of the same seed")
    drawn, untouched = np.random.default_rng(3), np.random.default_rng(3)
    _batched(subject).step(x, u, 0.0, Parameters(dict(subject.parameters)), drawn)
    moved = drawn.bit_generator.state != untouched.bit_generator.state
    stochastic = _batched(subject).stochastic
    require(
        moved == stochastic, f"it says stochastic={stochastic}, but {'draws' if moved else 'does not draw'} numbers"
    )


@check(Family.DYNAMICS, Rule.EXACT, suite=SUITE)
def arguments_are_left_alone(subject: DynamicsSubject) -> None:
    """Neither states nor controls are written to."""
    x, u = subject.states.copy(), subject.controls.copy()
    if isinstance(subject.dynamics, BatchDynamics):
        _step(subject, x, u)
    else:
        step = _one(subject)
        for k in range(len(x)):
            step(x[k], u[k])
    require(np.array_equal(x, subject.states) and np.array_equal(u, subject.controls), "an argument was written to")


@check(Family.DYNAMICS, Rule.EXACT, suite=SUITE)
def a_file_brings_the_model_back(subject: DynamicsSubject) -> None:
    """Saved and loaded, the model steps to the same bits, with the same sizes and names."""
    if subject.reload is None:
        raise NotApplicable("no function was given that saves it and loads it again")
    again = subject.reload(subject.dynamics)
    require(type(again) is type(subject.dynamics), f"a {type(again).__name__} came back")
    same = (again.states, again.controls) == (subject.dynamics.states, subject.dynamics.controls)
    require(same, f"states {again.states} and controls {again.controls} came back")
    if isinstance(subject.dynamics, BatchDynamics):
        x, u = subject.states, subject.controls
        close(_step(subject, x, u, model=again), _step(subject, x, u), EXACT, "a step of the loaded model")
        return
    from dataclasses import replace  # noqa: PLC0415 - beside its one use

    ours, theirs = _one(subject), _one(replace(subject, dynamics=again))
    for x, u in zip(subject.states, subject.controls, strict=True):
        close(theirs(x, u), ours(x, u), EXACT, "a derivative of the loaded model")
