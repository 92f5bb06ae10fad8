"""A Universal Robots UR5, six joints, reaches from upright to its front: see ``arm_reach`` for the problem.

The robot is that of example-robot-data; it starts with its upper arm and forearm straight up, where nothing has to be
held.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from trajopt.problems.arm_reach import entries
from trajopt.robots import Arm, load_arm, robot_file

UPRIGHT = (0.0, -np.pi / 2.0, 0.0, -np.pi / 2.0, 0.0, 0.0)
TARGET = (0.4, 0.3, 0.3)


@cache
def arm() -> Arm:
    """The robot."""
    joints = [f"{name}_joint" for name in ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")]
    return load_arm(robot_file("ur_description/urdf/ur5_robot.urdf"), joints, "tool0")


ENTRIES = entries("ur5-reach", "Universal Robots UR5", arm, UPRIGHT, TARGET, duration=0.8)
