"""Problems of several phases that tests share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

import trajopt as to
from trajopt.guess import make_guess

GRAVITY = 9.81


def double_integrator():
    return to.ContinuousDynamics(
        lambda x, u: np.array([x[1], u[0]]), states=["position", "speed"], controls=["acceleration"]
    )


def reach(*, middle=0.5, steps=10):
    """From rest to rest over a unit distance in unit time with least effort."""
    effort = {"dynamics": double_integrator(), "stage_cost": lambda x, u: u[0] ** 2}
    first = to.Problem(**effort, initial_state=[0.0, 0.0], horizon=to.Horizon(middle, steps=steps), name="out")
    target = to.TerminalConstraint([1.0, 0.0])
    second = to.Problem(**effort, constraints=[target], horizon=to.Horizon(1.0 - middle, steps=steps), name="in")
    return to.MultiPhaseProblem([first, second], name="reach")


def halves(problem, at):
    """A problem of fixed times cut at one of its knots: what is at its ends goes to the half that has them."""
    horizon, ends = problem.horizon, (to.TerminalConstraint,)
    inside = [c for c in problem.constraints if not isinstance(c, ends)]
    if problem.dynamics.continuous:
        spans = [horizon.duration * n / horizon.steps for n in (at, horizon.steps - at)]
        horizons = [
            to.Horizon(spans[0], steps=at, start=horizon.start),
            to.Horizon(spans[1], steps=horizon.steps - at),
        ]
    else:
        horizons = [to.Horizon(steps=at), to.Horizon(steps=horizon.steps - at)]
    guesses = [None, None]
    if problem.guess is not None:
        whole = make_guess(problem, None)
        t, x, u = whole.t, whole.x, whole.held()
        guesses = [(t[: at + 1], x[: at + 1], u[:at]), (t[at:], x[at:], u[at:])]
    own = {"constraints": inside, "terminal_cost": None, "name": "first half"}
    first = replace(problem, horizon=horizons[0], guess=guesses[0], **own)
    second = replace(problem, initial_state=None, horizon=horizons[1], guess=guesses[1], name="second half")
    return to.MultiPhaseProblem([first, second], name=problem.name)


def two_stages(steps=20):
    """A rocket that drops a tenth of its mass between two burns with drag, as high as it can."""

    def rocket(x, u):
        height, speed, mass = x
        drag = 310.0 * speed**2 * np.exp(-500.0 * (height - 1.0))
        return np.array([speed, (u[0] - drag) / mass - 1.0 / height**2, -2.0 * u[0]])

    dynamics = to.ContinuousDynamics(rocket, states=["height", "speed", "mass"], controls=["thrust"])
    booster = to.Problem(
        dynamics,
        initial_state=[1.0, 0.0, 1.0],
        constraints=[to.Bounds(control=(0.0, 3.5), state=([None, 0.0, 0.7], None))],
        horizon=to.Horizon(to.Free(0.001, 0.3, guess=0.05), steps=steps),
        name="booster",
    )
    sustainer = to.Problem(
        dynamics,
        terminal_cost=lambda x: -x[0],
        constraints=[to.Bounds(control=(0.0, 1.5), state=([None, 0.0, 0.45], None))],
        horizon=to.Horizon(to.Free(0.001, 0.3, guess=0.05), steps=steps),
        name="sustainer",
    )
    links = [
        to.Link("booster", "sustainer", ["height", "speed"]),
        to.Link("booster", "sustainer", lambda xf, x0: xf[2] - x0[2], 0.1, 0.1, name="separation"),
    ]
    return to.MultiPhaseProblem([booster, sustainer], links, name="two stages")
