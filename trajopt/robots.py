"""Robot arms from URDF files: the rigid-body dynamics of adam-robotics as functions of a problem.

An arm of n revolute joints with angles q, speeds v and torques tau on a base that does not move obeys

    M(q) v' + h(q, v) = tau,

M being the mass matrix (composite rigid bodies) and h the Coriolis, centrifugal and gravity torques (recursive
Newton-Euler; Featherstone 2008, chapters 5 and 6). The articulated-body algorithm of adam-robotics is that of a base
which floats freely, so the accelerations come from M = L D L^T instead. Friction and rotor inertia are left out, as in
Pinocchio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from trajopt.casadi_function import casadi_function
from trajopt.errors import InvalidProblem, MissingExtra

if TYPE_CHECKING:
    import casadi as ca

_ROBOTS = "cmeel.prefix/share/example-robot-data/robots"
"""Where the package example-robot-data keeps its robots."""

_SHAPES = frozenset({"visual", "collision"})
_LIMITS_AND_MOTION = ("axis", "limit", "mimic", "safety_controller", "calibration")

_ROUNDING = 4.0 * np.finfo(float).eps
"""Entries of rotations below this are zeros: the cosine of a right angle in a URDF file is 6e-17. Without them the
acceleration of a Panda has 2,900 operations instead of 4,400."""


@dataclass(frozen=True, eq=False)
class Arm:
    """An arm of n joints; its functions take numbers, and traced values inside a problem's functions.

    Attributes
    ----------
    joints
        Names of the joints, from the base to the tip.
    lower, upper
        Limits of the angles, (n,) [rad]; infinite for continuous joints.
    speed, torque
        Greatest speeds [rad/s] and torques [N m], (n,).
    mass_matrix
        q -> (n, n) [kg m^2].
    bias
        (q, v) -> torques that hold the speeds, (n,) [N m].
    acceleration
        (q, v, torque) -> (n,) [rad/s^2].
    energy
        (q, v) -> kinetic and potential energy [J]; the potential is zero where the centre of mass is at the height of
        the root.
    position
        q -> place of the tip in the frame of the root, (3,) [m].
    chain
        q -> places of the joints and of the tip, (n+1, 3) [m], for pictures.
    """

    joints: tuple[str, ...]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    speed: NDArray[np.float64]
    torque: NDArray[np.float64]
    mass_matrix: Callable[[Any], Any]
    bias: Callable[[Any, Any], Any]
    acceleration: Callable[[Any, Any, Any], Any]
    energy: Callable[[Any, Any], Any]
    position: Callable[[Any], Any]
    chain: Callable[[Any], Any]

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states (q, v), (2n,)."""
        return (*self.joints, *(f"{joint} speed" for joint in self.joints))

    def dynamics(self, x: Any, u: Any) -> Any:
        """Time derivative of x = (q, v), (2n,), under the torques u, (n,) [N m]."""
        n = len(self.joints)
        return np.concatenate([x[n:], self.acceleration(x[:n], x[n:], u)])


def robot_file(path: str) -> Path:
    """Return a file of the package example-robot-data, such as ``panda_description/urdf/panda.urdf``.

    Raises
    ------
    MissingExtra
        When the package is not installed.
    InvalidProblem
        When it has no such file.
    """
    try:
        found = Path(str(distribution("example-robot-data").locate_file(f"{_ROBOTS}/{path}")))
    except PackageNotFoundError as error:
        raise _missing("example-robot-data") from error
    if not found.is_file():
        raise InvalidProblem(
            f"{path!r} was asked for, but a file of example-robot-data was expected; look in {found.parent}."
        )
    return found


def load_arm(urdf: str | Path, joints: Sequence[str], tip: str, *, gravity: float = 9.81) -> Arm:
    """Load an arm from a URDF file.

    Parameters
    ----------
    urdf
        The file, or its text.
    joints
        Names of the revolute joints that move, in the order of the states; all others are locked at zero.
    tip
        Name of the link whose origin is the tip.
    gravity
        Along -z of the root [m/s^2].

    Raises
    ------
    MissingExtra
        When adam-robotics is not installed.
    InvalidProblem
        When the file cannot be read, or lacks a joint or the link, or a joint is not revolute.
    """
    root = _read(urdf)
    moving = [_joint(root, name) for name in joints]
    if tip not in [link.get("name") for link in root.iter("link")]:
        raise InvalidProblem(f"the tip {tip!r} was given, but a link of the URDF file was expected; correct its name.")
    _lock_others(root, moving)
    functions = _functions(ElementTree.tostring(root, encoding="unicode"), joints, tip, gravity)
    limits = np.array([_limits(joint) for joint in moving])
    return Arm(tuple(joints), *limits.T, **{name: casadi_function(function) for name, function in functions.items()})


def _missing(package: str) -> MissingExtra:
    return MissingExtra(f"a robot was asked for, but {package} is not installed; write pip install 'trajopt[robots]'.")


def _read(urdf: str | Path) -> ElementTree.Element:
    try:
        text = urdf if isinstance(urdf, str) and "<robot" in urdf else Path(urdf).read_text()
        return ElementTree.fromstring(text)
    except (OSError, ElementTree.ParseError) as error:
        raise InvalidProblem(
            f"{str(urdf)[:80]!r} was given for a robot, but a URDF file or its text was expected ({error}); correct it."
        ) from error


def _joint(root: ElementTree.Element, name: str) -> ElementTree.Element:
    joints = {joint.get("name"): joint for joint in root.findall("joint")}
    kind = joints[name].get("type") if name in joints else "missing"
    if kind not in ("revolute", "continuous"):
        known = ", ".join(str(key) for key, joint in joints.items() if joint.get("type") in ("revolute", "continuous"))
        raise InvalidProblem(
            f"the joint {name!r} was given, which is {kind}, but a revolute one was expected; choose from {known}."
        )
    return joints[name]


def _lock_others(root: ElementTree.Element, moving: Sequence[ElementTree.Element]) -> None:
    """Fix all other joints, and drop what has no part in the dynamics (the parser would complain on stderr)."""
    for part in list(root):
        if part.tag not in ("link", "joint"):
            root.remove(part)
        for child in list(part):
            if child.tag in _SHAPES or child.tag == "dynamics":
                part.remove(child)
    for joint in root.findall("joint"):
        if joint not in moving:
            joint.set("type", "fixed")
            for child in [child for child in joint if child.tag in _LIMITS_AND_MOTION]:
                joint.remove(child)


def _limits(joint: ElementTree.Element) -> tuple[float, float, float, float]:
    """Lower and upper angle, speed, torque; without limits where the file has none."""
    limit = joint.find("limit")
    given: dict[str, str] = {} if limit is None else dict(limit.attrib)
    endless = joint.get("type") == "continuous"
    lower, upper = (-np.inf, np.inf) if endless else (float(given.get(key, 0.0)) for key in ("lower", "upper"))
    return lower, upper, float(given.get("velocity", np.inf)), float(given.get("effort", np.inf))


def _functions(urdf: str, joints: Sequence[str], tip: str, gravity: float) -> dict[str, ca.Function]:
    """Return the functions of an `Arm`, by name."""
    try:
        from adam.casadi import KinDynComputations  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise _missing(f"adam-robotics[casadi] (its module {error.name})") from error
    import casadi as ca  # noqa: PLC0415 - `import trajopt` does not import CasADi

    robot = KinDynComputations(urdf, list(joints), gravity=np.array([0.0, 0.0, -gravity, 0.0, 0.0, 0.0]))
    n, base = len(joints), ca.SX.eye(4)
    q, v, torque = (ca.SX.sym(name, n) for name in ("q", "v", "torque"))
    links = [robot.rbdalgos.model.joints[name].child for name in joints]
    mass = robot.mass_matrix(base, q)[6:, 6:]
    bias = robot.bias_force(base, q, ca.SX.zeros(6), v)[6:]
    height = robot.CoM_position(base, q)[2]
    places = [robot.forward_kinematics(link, base, q)[:3, 3] for link in [*links, tip]]
    mass, bias, height, chain = _cleaned([q, v], [mass, bias, height, ca.horzcat(*places).T])
    diagonal, lower, order = ca.ldl(mass)
    acceleration = ca.cse(ca.ldl_solve(torque - bias, diagonal, lower, order))
    energy = 0.5 * ca.bilin(mass, v, v) + float(robot.get_total_mass()) * gravity * height
    return {
        "mass_matrix": ca.Function("mass_matrix", [q], [mass]),
        "bias": ca.Function("bias", [q, v], [bias]),
        "acceleration": ca.Function("acceleration", [q, v, torque], [acceleration]),
        "energy": ca.Function("energy", [q, v], [energy]),
        "position": ca.Function("position", [q], [chain[-1, :].T]),
        "chain": ca.Function("chain", [q], [chain]),
    }


def _cleaned(symbols: Sequence[ca.SX], expressions: Sequence[ca.SX]) -> list[ca.SX]:
    """The expressions without what is multiplied by the rounding errors of constant rotations; see `_ROUNDING`."""
    import casadi as ca  # noqa: PLC0415 - `import trajopt` does not import CasADi

    function = ca.Function("robot", symbols, [ca.densify(expression) for expression in expressions])
    inputs = [symbol.elements() for symbol in symbols]
    outputs: list[list[Any]] = [ca.SX.zeros(*function.size_out(i)).elements() for i in range(function.n_out())]
    work: dict[int, Any] = {}
    for step in range(function.n_instructions()):
        operation = function.instruction_id(step)
        sources, targets = function.instruction_input(step), function.instruction_output(step)
        if operation == ca.OP_CONST:
            constant = function.instruction_constant(step)
            work[targets[0]] = ca.SX(0.0 if abs(constant) < _ROUNDING else constant)
        elif operation == ca.OP_INPUT:
            work[targets[0]] = inputs[sources[0]][sources[1]]
        elif operation == ca.OP_OUTPUT:
            outputs[targets[0]][targets[1]] = work[sources[0]]
        elif len(sources) == 2:
            work[targets[0]] = ca.SX.binary(operation, work[sources[0]], work[sources[1]])
        else:
            work[targets[0]] = ca.SX.unary(operation, work[sources[0]])
    clean: Any = ca.cse([ca.reshape(ca.SX(ca.vertcat(*flat)), *function.size_out(i)) for i, flat in enumerate(outputs)])
    return list(clean)
