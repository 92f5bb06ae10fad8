"""A Franka Emika Panda, seven joints, reaches to its left: see ``arm_reach`` for the problem.

The robot is that of example-robot-data, its gripper shut; it starts in the maker's ready pose.
"""

from __future__ import annotations

from functools import cache

from trajopt.problems.arm_reach import entries
from trajopt.robots import Arm, load_arm, robot_file

READY = (0.0, -0.785398, 0.0, -2.356194, 0.0, 1.570796, 0.785398)
TARGET = (0.4, 0.4, 0.3)


@cache
def arm() -> Arm:
    """The robot."""
    joints = [f"panda_joint{i}" for i in range(1, 8)]
    return load_arm(robot_file("panda_description/urdf/panda.urdf"), joints, "panda_hand_tcp")


ENTRIES = entries("panda-reach", "Franka Emika Panda", arm, READY, TARGET, duration=0.6)
