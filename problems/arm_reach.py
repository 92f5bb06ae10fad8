"""Reaching with a robot arm: the problem that the files of the single robots state for theirs.

States: angles q and speeds v of n joints; controls u: torques in units of the greatest ones. With `trajopt.robots`,

    q' = v,  M(q) v' + h(q, v) = u * torque,   minimise int |u|^2 + 1/10 |v / speed|^2 dt,

(with a free duration int 1 + ... dt), |u| <= 1, q and v within the limits of the robot, from a pose at rest to rest
anywhere with the tip at a given place. The speeds are counted because the light wrists cost almost no torque.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, Shape, Trail, points
from trajopt.problems.reference import Entry, Reference
from trajopt.robots import Arm


def reach(
    arm: Arm, start: Sequence[float], target: Sequence[float], duration: float | to.Free, *, steps: int, name: str
) -> to.Problem:
    """Bring the tip to ``target`` (3,) [m] and to rest, from rest at the angles ``start`` (n,)."""
    n, pose, place = len(arm.joints), np.asarray(start, float), np.asarray(target, float)
    rest = np.concatenate([pose, np.zeros(n)])
    holding = arm.bias(pose, np.zeros(n)) / arm.torque
    rate, guessed = (1.0, duration.guess) if isinstance(duration, to.Free) else (0.0, duration)
    assert guessed is not None

    def stage_cost(x: Any, u: Any) -> Any:
        speed = x[n:] / arm.speed
        return rate + u @ u + 0.1 * (speed @ speed)

    return to.Problem(
        to.ContinuousDynamics(
            lambda x, u: arm.dynamics(x, arm.torque * u),
            states=arm.states,
            controls=[f"{j} torque" for j in arm.joints],
        ),
        stage_cost=stage_cost,
        initial_state=rest,
        constraints=[
            to.Bounds(
                state=(np.concatenate([arm.lower, -arm.speed]), np.concatenate([arm.upper, arm.speed])),
                control=(-1.0, 1.0),
            ),
            to.TerminalConstraint(lambda x: arm.position(x[:n]) - place, name="tip"),
            to.TerminalConstraint([*[None] * n, *[0.0] * n], name="rest"),
        ],
        horizon=to.Horizon(duration, steps=steps),
        guess=(np.array([0.0, guessed]), np.array([rest, rest]), np.array([holding, holding])),
        name=name,
    )


def picture(load: Callable[[], Arm], target: Sequence[float]) -> Drawing:
    """The arm seen along the y axis: x to the right, z up; ``load`` gives the arm when a frame is drawn."""

    def shape(x: NDArray[np.float64], u: NDArray[np.float64], t: float) -> list[Primitive]:
        arm = load()
        joints = points(arm.chain(x[: len(arm.joints)])[:, [0, 2]])
        return [Line(((0.0, 0.0), *joints)), *(Circle(joint, 0.02) for joint in joints[:-1]), Trail(joints[-1])]

    drawn: Shape = shape
    goal = Circle((float(target[0]), float(target[2])), 0.03, "target")
    return Drawing(drawn, (goal,), limits=((-0.9, 0.9), (-0.1, 1.2)))


def entries(
    name: str,
    robot: str,
    load: Callable[[], Arm],
    start: Sequence[float],
    target: Sequence[float],
    duration: float,
) -> tuple[Entry, Entry]:
    """Entries of the problems with a given and with a free duration, for the robot that ``load`` gives."""
    free = f"{name}-free-time"
    source = f"this library; robot: example-robot-data 5.0 ({robot}), dynamics: adam-robotics"
    seen, tags, given = picture(load, target), ("smooth", "state-constraint"), duration

    def build(*, duration: float = given, steps: int = 40) -> to.Problem:
        """Reach in a given time."""
        return reach(load(), start, target, duration, steps=steps, name=name)

    def build_free_time(*, steps: int = 60) -> to.Problem:
        """Reach with the best compromise of time and torque."""
        return reach(load(), start, target, to.Free(0.2, 5.0, guess=1.0), steps=steps, name=free)

    return (
        Entry(name, build, Reference(None, 0, source, tags=tags, picture=seen), extra="robots"),
        Entry(
            free, build_free_time, Reference(None, 0, source, tags=(*tags, "free-time"), picture=seen), extra="robots"
        ),
    )
