"""MBRLCartpole: swing up and hold a pole on a rail in MuJoCo, a task of the PETS paper.

States: slider [m], hinge [rad] (0 hanging) and their velocities; control: the force on the cart in units of 100 N, at
most 3. The step is two Runge-Kutta steps of 0.02 s, the rail ends softly at 2.5 m, both joints have a damping of 1.
With the tip at (slider - l sin(hinge), -l cos(hinge)), l = 0.6 m, and d its distance from (0, l),

    maximise sum_{k < N} exp(-d(x_{k+1})^2 / l^2) - 0.01 u_k^2,    N = 200.

Episodes begin near rest (`random_start`). A return of about 183 is the most that is seen; the paper's agent has 130
after 1,000 steps and 177 after 1,400.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import trajopt as to
from trajopt.problems.drawing import Circle, Drawing, Line, Primitive, box, ground, rod
from trajopt.problems.reference import Entry, Reference

LENGTH = 0.6
DEVIATION = 0.1
"""Of every state where an episode begins."""

MODEL = """
<mujoco model="cartpole">
  <compiler inertiafromgeom="true"/>
  <default>
    <joint armature="0" damping="1"/>
    <geom contype="0" conaffinity="0"/>
  </default>
  <option gravity="0 0 -9.81" integrator="RK4" timestep="0.02"/>
  <worldbody>
    <body name="cart">
      <joint name="slider" type="slide" axis="1 0 0" limited="true" range="-2.5 2.5"/>
      <geom type="capsule" quat="0.707 0 0.707 0" size="0.1 0.1"/>
      <body name="pole">
        <joint name="hinge" type="hinge" axis="0 1 0"/>
        <geom type="capsule" fromto="0 0 0 0.001 0 -0.6" size="0.049 0.3"/>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor joint="slider" gear="100" ctrllimited="true" ctrlrange="-3 3"/>
  </actuator>
</mujoco>
"""


def random_start(generator: np.random.Generator) -> Any:
    """Draw the state in which an episode begins, (4,)."""
    return DEVIATION * generator.standard_normal(4)


def build(*, control_weight: float = 0.01, steps: int = 200) -> to.Problem:
    """Swing up from hanging at rest."""
    dynamics = to.MuJoCoDynamics(MODEL, frame_skip=2)
    start = np.zeros(4)

    def height(x: Any) -> Any:
        across, up = x[0] - LENGTH * np.sin(x[1]), -LENGTH * np.cos(x[1]) - LENGTH
        return np.exp(-(across**2 + up**2) / LENGTH**2)

    return to.Problem(
        dynamics,
        # The sum over the states behind each step: the first state is no merit of the control, the last one is.
        stage_cost=lambda x, u: control_weight * (u @ u) - height(x),
        terminal_cost=lambda x: height(start) - height(x),
        initial_state=start,
        constraints=[dynamics.bounds],
        horizon=to.Horizon(steps=steps),
        guess=(np.array([0.0, steps]), np.array([start, start]), np.full((2, 1), 0.1)),
        name="mbrl-cartpole",
    )


def _shape(x: Any, u: Any, t: float) -> list[Primitive]:
    pivot, tip = rod((x[0], 0.0), -np.pi / 2.0 - float(x[1]), LENGTH)
    return [box(0.4, 0.2, pivot), Line((pivot, tip), "accent"), Circle(tip, 0.05, "accent")]


ENTRIES = (
    Entry(
        "mbrl-cartpole",
        build,
        Reference(
            None,
            0,
            "Chua, Calandra, McAllister, Levine 2018 (PETS); MBRLCartpole-v0 of kchua/handful-of-trials",
            note="Hanging is a saddle; the guess leaves it by a push. Returns are minus the cost, 183 at most.",
            tags=("discrete", "black-box"),
            picture=Drawing(
                _shape,
                (ground(-2.5, 2.5, -0.1), Circle((0.0, LENGTH), 0.04, "target")),
                limits=((-2.7, 2.7), (-0.9, 0.9)),
            ),
        ),
        "mujoco",
    ),
)
