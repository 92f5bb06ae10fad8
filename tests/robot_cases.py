"""What the tests of robots share: an arm that needs no download, and marks that say what is missing."""

import importlib.util
from importlib.metadata import PackageNotFoundError, distribution

import pytest


def _missing() -> str | None:
    """Why an arm of example-robot-data cannot be loaded here; None if it can."""
    if importlib.util.find_spec("adam") is None or importlib.util.find_spec("liecasadi") is None:
        return "adam-robotics[casadi]"
    try:
        distribution("example-robot-data")
    except PackageNotFoundError:
        return "example-robot-data"
    return None


MISSING = _missing()
needs_adam = pytest.mark.skipif(
    MISSING == "adam-robotics[casadi]", reason="adam-robotics[casadi] is not installed: pip install trajopt[test]"
)
needs_robots = pytest.mark.skipif(
    MISSING is not None, reason=f"{MISSING} is not installed: pip install trajopt[robots]"
)

LINK = """<link name="{name}"><inertial><origin xyz="{centre} 0 0" rpy="0 0 0"/><mass value="{mass}"/>
<inertia ixx="0.01" ixy="0" ixz="0" iyy="{inertia}" iyz="0" izz="0.02"/></inertial>
<visual><geometry><mesh filename="package://nowhere/link.stl"/></geometry></visual></link>"""
JOINT = """<joint name="{name}" type="{kind}"><parent link="{parent}"/><child link="{child}"/>
<origin xyz="{offset} 0 0" rpy="{roll} 0 0"/><axis xyz="0 {axis} 0"/><dynamics damping="0" friction="0" K="7000"/>
<limit lower="-3" upper="3" effort="20" velocity="8"/></joint>"""
LENGTHS, MASSES, CENTRES, INERTIAS = (0.5, 0.4), (2.0, 1.5), (0.3, 0.25), (0.05, 0.03)


def two_links(second: str = "revolute") -> str:
    """URDF of two links in the vertical plane, the second mounted with half a turn, with a gripper that slides."""
    links = [LINK.format(name=f"link{i}", centre=CENTRES[i], mass=MASSES[i], inertia=INERTIAS[i]) for i in range(2)]
    joints = [
        JOINT.format(name="shoulder", kind="revolute", parent="base", child="link0", offset=0.0, roll=0.0, axis=-1),
        JOINT.format(
            name="elbow", kind=second, parent="link0", child="link1", offset=LENGTHS[0], roll=3.141592653589793, axis=1
        ),
        JOINT.format(name="finger", kind="prismatic", parent="link1", child="tip", offset=LENGTHS[1], roll=0.0, axis=1),
    ]
    return f'<robot name="two"><link name="base"/>{"".join(links)}<link name="tip"/>{"".join(joints)}</robot>'
