"""Robot arms: rigid-body dynamics against a textbook, conservation laws and Pinocchio; reaches solved and certified."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from robot_cases import CENTRES, INERTIAS, LENGTHS, MASSES, needs_adam, needs_robots, two_links

import trajopt as to
from trajopt import problems, robots
from trajopt.solvers import ILQR, InteriorPoint

GRAVITY = 9.81


@pytest.fixture(scope="module")
def arm():
    return robots.load_arm(two_links(), ["shoulder", "elbow"], "tip")


def random_motion(arm, seed):
    """Angles, speeds and torques of the size of the limits."""
    draw, n = np.random.default_rng(seed), len(arm.joints)
    return draw.uniform(-np.pi, np.pi, n), draw.uniform(-1.0, 1.0, n) * arm.speed, draw.uniform(-1, 1, n) * arm.torque


def assert_mechanics_hold(arm, seed):
    """The mass matrix is symmetric and positive definite, torques balance, and their power is the energy's rate."""
    q, v, torque = random_motion(arm, seed)
    mass, acceleration = arm.mass_matrix(q), arm.acceleration(q, v, torque)
    np.testing.assert_allclose(mass, mass.T, atol=1e-13)
    assert np.linalg.eigvalsh(mass).min() > 0.0
    scale = np.abs(torque).max() + np.abs(arm.bias(q, v)).max()
    np.testing.assert_allclose(mass @ acceleration + arm.bias(q, v), torque, atol=1e-12 * scale)
    # Central difference along the motion: its error is a millionth of the energy's third derivative by time.
    h = 1e-6 / (1.0 + np.abs(acceleration).max())
    rate = (arm.energy(q + h * v, v + h * acceleration) - arm.energy(q - h * v, v - h * acceleration)) / (2.0 * h)
    rounding = np.finfo(float).eps * abs(arm.energy(q, v)) / h
    assert rate == pytest.approx(v @ torque, abs=10.0 * rounding + 1e-6 * np.abs(v @ torque))


@needs_adam
@pytest.mark.parametrize("seed", range(5))
def test_two_links_are_those_of_the_textbook(arm, seed):
    """Mass matrix and bias of two links in a vertical plane (Spong, Hutchinson and Vidyasagar, section 7.4)."""
    q, v, _ = random_motion(arm, seed)
    (l1, _), (m1, m2), (c1, c2), (i1, i2) = LENGTHS, MASSES, CENTRES, INERTIAS
    coupling = m2 * (c2**2 + l1 * c2 * np.cos(q[1])) + i2
    first = m1 * c1**2 + m2 * (l1**2 + c2**2 + 2.0 * l1 * c2 * np.cos(q[1])) + i1 + i2
    np.testing.assert_allclose(arm.mass_matrix(q), [[first, coupling], [coupling, m2 * c2**2 + i2]], rtol=1e-12)
    swing = m2 * l1 * c2 * np.sin(q[1])
    weight = m2 * c2 * GRAVITY * np.cos(q[0] + q[1])
    bias = [
        -swing * (2.0 * v[0] * v[1] + v[1] ** 2) + (m1 * c1 + m2 * l1) * GRAVITY * np.cos(q[0]) + weight,
        swing * v[0] ** 2 + weight,
    ]
    np.testing.assert_allclose(arm.bias(q, v), bias, atol=1e-10)
    tip = LENGTHS[0] * np.array([np.cos(q[0]), 0.0, np.sin(q[0])])
    tip += LENGTHS[1] * np.array([np.cos(q.sum()), 0.0, np.sin(q.sum())])
    np.testing.assert_allclose(arm.position(q), tip, atol=1e-14)
    np.testing.assert_allclose(arm.chain(q)[[0, -1]], [np.zeros(3), tip], atol=1e-14)


@needs_adam
@pytest.mark.parametrize("seed", range(5))
def test_mechanics_hold(arm, seed):
    """What holds of every arm holds of two links."""
    assert_mechanics_hold(arm, seed)


@needs_adam
def test_limits_are_those_of_the_file(arm):
    """Limits come from the URDF file; a continuous joint has no limits of its angle."""
    assert arm.states == ("shoulder", "elbow", "shoulder speed", "elbow speed")
    np.testing.assert_array_equal([arm.lower, arm.upper], [[-3.0, -3.0], [3.0, 3.0]])
    np.testing.assert_array_equal([arm.speed, arm.torque], [[8.0, 8.0], [20.0, 20.0]])
    endless = robots.load_arm(two_links("continuous"), ["shoulder", "elbow"], "tip")
    np.testing.assert_array_equal([endless.lower[1], endless.upper[1]], [-np.inf, np.inf])


@needs_adam
def test_two_links_reach(arm):
    """The dynamics solve like any others: from hanging to a pose at rest, certified, confirmed by another method."""
    problem = to.Problem(
        to.ContinuousDynamics(arm.dynamics, states=arm.states, controls=arm.joints),
        stage_cost=lambda x, u: 0.01 * (u @ u),
        initial_state=[-np.pi / 2, 0.0, 0.0, 0.0],
        constraints=[to.Bounds(control=(-arm.torque, arm.torque)), to.TerminalConstraint([0.3, 0.6, 0.0, 0.0])],
        horizon=to.Horizon(1.0, steps=100),
    )
    first = to.solve(problem, ILQR())
    second = to.solve(problem, InteriorPoint(), guess=first)  # there is another local optimum
    assert first.certified
    assert second.certified
    assert first.cost == pytest.approx(second.cost, rel=1e-5)  # ILQR's default tolerance, tenfold


@pytest.mark.parametrize(
    ("urdf", "joints", "tip", "sentence"),
    [
        ("/nowhere.urdf", ["shoulder"], "tip", "a URDF file or its text was expected"),
        ("<robot", ["shoulder"], "tip", "a URDF file or its text was expected"),
        (two_links(), ["wrist"], "tip", "'wrist' was given, which is missing, .* choose from shoulder, elbow"),
        (two_links(), ["finger"], "tip", "'finger' was given, which is prismatic"),
        (two_links(), ["shoulder"], "hand", "the tip 'hand' was given, but a link"),
    ],
)
def test_wrong_files_and_names_are_refused(urdf, joints, tip, sentence):
    """A sentence says what is wrong with a file, a joint or a link."""
    with pytest.raises(to.InvalidProblem, match=sentence):
        robots.load_arm(urdf, joints, tip)


def test_missing_packages_are_named():
    """Without adam-robotics or the robots' files the extra is named, and the library still lists and loads."""
    code = (
        "import sys, importlib.metadata as m; sys.modules['adam'] = sys.modules['adam.casadi'] = None\n"
        "from robot_cases import two_links; from trajopt import problems, robots; import trajopt as to\n"
        "def distribution(name): raise m.PackageNotFoundError(name)\n"
        "try: robots.load_arm(two_links(), ['elbow'], 'tip')\n"
        "except to.MissingExtra as error: assert \"pip install 'trajopt[robots]'\" in str(error), error\n"
        "else: raise AssertionError\n"
        "robots.distribution = distribution\n"
        "try: problems.load('ur5-reach')\n"
        "except to.MissingExtra as error: assert 'example-robot-data' in str(error), error\n"
        "else: raise AssertionError\n"
        "assert 'ur5-reach' in problems.names() and 'ur5-reach' not in problems.names(extras=False)\n"
        "assert problems.reference('ur5-reach').source and problems.extra('ur5-reach') == 'robots'\n"
        "from trajopt.cli import main; assert main(['list']) == 0\n"
    )
    here = Path(__file__).parent  # for robot_cases
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=here)
    assert done.returncode == 0, done.stderr
    assert "needs trajopt[robots]" in " ".join(done.stdout.split())


ARMS = {"panda-reach": "panda_description/urdf/panda.urdf", "ur5-reach": "ur_description/urdf/ur5_robot.urdf"}


def library_arm(name):
    return {"panda-reach": problems.panda_reach, "ur5-reach": problems.ur5_reach}[name].arm()


@needs_robots
@pytest.mark.robots
@pytest.mark.parametrize("name", ARMS)
@pytest.mark.parametrize("seed", range(3))
def test_mechanics_of_real_arms_hold(name, seed):
    """What holds of every arm holds of the Panda and the UR5."""
    problems.load(name)
    assert_mechanics_hold(library_arm(name), seed)


@needs_robots
@pytest.mark.robots
@pytest.mark.parametrize("name", ARMS)
def test_real_arms_are_those_of_pinocchio(name):
    """Accelerations are those of Pinocchio's articulated-body algorithm, with the gripper locked."""
    pinocchio = pytest.importorskip("pinocchio", reason="Pinocchio is not installed: pip install trajopt[bench]")
    problems.load(name)
    arm = library_arm(name)
    model = pinocchio.buildModelFromUrdf(str(robots.robot_file(ARMS[name])))
    others = [i for i, joint in enumerate(model.names) if i > 0 and joint not in arm.joints]
    model = pinocchio.buildReducedModel(model, others, pinocchio.neutral(model))
    model.gravity.linear[:] = [0.0, 0.0, -GRAVITY]
    data = model.createData()
    for seed in range(5):
        q, v, torque = random_motion(arm, seed)
        theirs = pinocchio.aba(model, data, q, v, torque)
        np.testing.assert_allclose(arm.acceleration(q, v, torque), theirs, atol=1e-10 * np.abs(theirs).max())


@needs_robots
@pytest.mark.robots
def test_ur5_reaches():
    """The UR5 gets there within its limits, and the certificate agrees."""
    solution = to.solve(problems.load("ur5-reach"), ILQR())
    assert solution.success
    assert solution.certified
    np.testing.assert_allclose(
        library_arm("ur5-reach").position(solution.x[-1, :6]), problems.ur5_reach.TARGET, atol=1e-6
    )


@needs_robots
@pytest.mark.robots
@pytest.mark.thorough
@pytest.mark.parametrize("name", [name for name in problems.names() if problems.extra(name) == "robots"])
def test_robots_of_the_library_are_solved(name):
    """Every problem with a robot is solved by the interior-point method, and certified."""
    solution = to.solve(problems.load(name), InteriorPoint())
    assert solution.success
    assert solution.certified
