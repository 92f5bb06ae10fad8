"""MuJoCo models as dynamics: exactness, threads, derivatives, outputs, and what bad input gets."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mujoco_cases import PENDULUM, TUMBLING, UNSTABLE, shoot

import trajopt as to
from trajopt import problems
from trajopt.batch_dynamics import BatchDynamics
from trajopt.certificate import certify
from trajopt.simulators.mujoco_derivatives import from_tangent, to_tangent
from trajopt.simulators.mujoco_model import with_flags
from trajopt.trajectory import Interpolation, Trajectory

RNG = np.random.default_rng(0)
CHEETAH = problems.load("half-cheetah", steps=20)


def pendulum(integrator="implicitfast", **options):
    return to.MuJoCoDynamics(PENDULUM.format(integrator=integrator), **options)


def scattered(dynamics, count, seed=0):
    """States near rest, with outputs, and controls within unit bounds."""
    rng, rest = np.random.default_rng(seed), dynamics.state()
    positions, velocities = dynamics.model.nq, dynamics.model.nv
    states = []
    for _ in range(count):
        moved = rest[:positions] + 0.3 * rng.normal(size=positions)
        states.append(dynamics.state(moved, rng.normal(size=velocities)))
    return np.array(states), rng.uniform(-1.0, 1.0, (count, dynamics.nu))


def test_names_and_bounds():
    """States and controls are called after joints and actuators, quaternions entry by entry; free controls stay so."""
    dynamics = to.MuJoCoDynamics(TUMBLING.format(integrator="Euler"), outputs=["site tip"])
    assert dynamics.states == (
        *(f"base {entry}" for entry in ("x", "y", "z", "qw", "qx", "qy", "qz")),
        *(f"ball {entry}" for entry in ("qw", "qx", "qy", "qz")),
        "wrist",
        *(f"base {entry}" for entry in ("vx", "vy", "vz", "wx", "wy", "wz")),
        *(f"ball {entry}" for entry in ("wx", "wy", "wz")),
        "wrist velocity",
        "activation 0",
        *(f"site tip {axis}" for axis in "xyz"),
    )
    assert dynamics.controls == ("wrist control", "lag")
    assert dynamics.bounds == to.Bounds(control=([-1.0, None], [1.0, None]))
    assert (dynamics.physics, dynamics.nx, dynamics.timestep) == (23, 26, 0.01)


def test_step_is_mujocos():
    """A control step is frame_skip calls of mj_step from that state, bit for bit, with the constraint solver afresh."""
    dynamics = CHEETAH.dynamics
    x, u = scattered(dynamics, 3)
    after = dynamics.step(x, u, 0, None, RNG)
    model = with_flags(dynamics.model, "mjDSBL_WARMSTART")
    for row in range(3):
        data = dynamics.data(x[row], u[row])
        mujoco.mj_step(model, data, nstep=5)
        np.testing.assert_array_equal(after[row], np.concatenate([data.qpos, data.qvel]))
    assert dynamics.timestep == pytest.approx(0.05)


def test_rollouts_are_steps_for_any_number_of_threads():
    """Whole horizons in threads give the bits of single steps: nothing of the past is hidden in the simulator."""
    start, controls = np.tile(CHEETAH.initial_values, (9, 1)), RNG.uniform(-1, 1, (9, 20, 6))
    one, three = (
        to.MuJoCoDynamics(CHEETAH.dynamics.model, frame_skip=5, threads=threads).rollout(start, controls, 0, None, RNG)
        for threads in (1, 3)
    )
    np.testing.assert_array_equal(one, three)
    x = start
    for k in range(20):
        x = CHEETAH.dynamics.step(x, controls[:, k], k, None, RNG)
        np.testing.assert_array_equal(x, one[:, k + 1])


@pytest.mark.parametrize("skip", [1, 3])
def test_outputs_belong_to_their_state(skip):
    """An output is the place in the very state beside it, at every knot, and no step reads it."""
    dynamics = pendulum(frame_skip=skip, outputs=["site tip", "angle"])
    x, u = scattered(dynamics, 4)
    states = dynamics.rollout(x, RNG.uniform(-2, 2, (4, 12, 1)), 0, None, RNG).reshape(-1, dynamics.nx)
    angle = states[:, 0]
    np.testing.assert_allclose(states[:, 2:5].T, [-np.sin(angle), 0 * angle, -np.cos(angle)], atol=1e-14)
    np.testing.assert_array_equal(states[:, 5], angle)
    careless = np.concatenate([x[:, :2], np.full((4, 4), 7.0)], axis=1)
    np.testing.assert_array_equal(dynamics.step(x, u, 0, None, RNG), dynamics.step(careless, u, 0, None, RNG))


@pytest.mark.parametrize("integrator", ["Euler", "implicitfast", "RK4"])
def test_derivatives_are_differences(integrator):
    """Chained transition matrices, carried from rotations to quaternions, are the differences of whole steps.

    Both are central differences with a step h: truncation h^2 and rounding eps / h leave eps^(2/3) = 4e-11 relative to
    derivatives of the third order, here below 1e3.
    """
    dynamics = to.MuJoCoDynamics(TUMBLING.format(integrator=integrator), frame_skip=3, outputs=["site tip"])
    x, u = scattered(dynamics, 3)
    u[0, 0] = 1.0  # at its limit, where a difference of the clipped control would give half the derivative
    by_x, by_u = dynamics.linearise(x, u, 0, None)
    free = TUMBLING.format(integrator=integrator).replace('ctrlrange="-1 1" ctrllimited="true"', "")
    unlimited = to.MuJoCoDynamics(free, frame_skip=3, outputs=["site tip"])
    wanted_x, wanted_u = BatchDynamics.linearise(unlimited, x, u, 0, None)
    np.testing.assert_allclose(by_x, wanted_x, atol=4e-8)
    np.testing.assert_allclose(by_u, wanted_u, atol=4e-8)
    across = np.einsum("kij,kj->ki", by_x[:, :, 3:7], x[:, 3:7])
    np.testing.assert_allclose(across, 0.0, atol=1e-8)
    assert not by_x[:, :, dynamics.physics :].any()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1, 1), min_size=12, max_size=12).filter(lambda q: np.hypot(*q[3:5]) > 0.1 < abs(q[7])))
def test_tangents_are_inverse(numbers):
    """From tangent to state and back is the identity, and G dv is where mj_integratePos goes."""
    dynamics = to.MuJoCoDynamics(TUMBLING.format(integrator="Euler"))
    x = dynamics.state(numbers)
    outwards, inwards = (function(dynamics.model, x) for function in (from_tangent, to_tangent))
    np.testing.assert_allclose(inwards @ outwards, np.eye(21), atol=1e-14)
    positions, velocity = x[:12].copy(), np.linspace(-1.0, 1.0, 10)
    mujoco.mj_integratePos(dynamics.model, positions, velocity, 1e-6)
    np.testing.assert_allclose((positions - x[:12]) / 1e-6, outwards[:12, :10] @ velocity, atol=1e-5)


def test_state_and_keyframe():
    """A state is put together from positions, velocities or a keyframe, and its outputs are filled."""
    dynamics = pendulum(outputs=["site tip"])
    np.testing.assert_allclose(dynamics.state(), [0, 0, 0, 0, -1], atol=1e-15)
    np.testing.assert_allclose(dynamics.state(keyframe="up"), [np.pi, 0, 0, 0, 1], atol=1e-15)
    np.testing.assert_allclose(dynamics.state(velocities=[2.0], keyframe="up")[1], 2.0)
    assert np.linalg.norm(to.MuJoCoDynamics(TUMBLING.format(integrator="Euler")).state([2.0] * 12)[3:7]) == (
        pytest.approx(1.0, abs=1e-15)
    )


def test_blown_up_rollouts_stay_bad(tmp_path, monkeypatch, capfd):
    """A state that blows up, or a control that is no number, spoils the rest of its own rollout, without a word."""
    monkeypatch.chdir(tmp_path)
    for threads in (1, 2):
        dynamics = to.MuJoCoDynamics(UNSTABLE, threads=threads)
        states = dynamics.rollout(np.array([[1.0, 0.0], [0.0, 0.0]]), np.zeros((2, 20, 1)), 0, None, RNG)
        bad = np.isnan(states[0]).all(axis=1)
        assert bad[-1]
        assert not bad[0]
        assert (np.diff(bad.astype(int)) >= 0).all()
        assert np.isfinite(states[1]).all()
        controls = np.zeros((1, 5, 1))
        controls[0, 2] = np.nan
        states = pendulum(threads=threads).rollout(np.zeros((1, 2)), controls, 0, None, RNG)
        np.testing.assert_array_equal(np.isnan(states[0, :, 0]), [False] * 3 + [True] * 3)
    assert os.listdir(tmp_path) == []
    assert mujoco.get_mju_user_warning() is None
    assert capfd.readouterr().err == ""


def test_models_come_in_four_forms(tmp_path):
    """A path, its text, a specification and a compiled model give the same dynamics, and stay as they were."""
    text, path = PENDULUM.format(integrator="Euler"), tmp_path / "pendulum.xml"
    path.write_text(text)
    compiled, spec = mujoco.MjModel.from_xml_string(text), mujoco.MjSpec.from_string(text)
    x, u = np.array([[0.3, 0.1]]), np.array([[1.0]])
    after = [to.MuJoCoDynamics(model).step(x, u, 0, None, RNG) for model in (path, str(path), text, spec, compiled)]
    assert all(np.array_equal(one, after[0]) for one in after)
    assert compiled.opt.disableflags == 0
    assert len(spec.sensors) == 2


def test_pickles_and_copies_simulate_alike():
    """A copy through pickle, as other processes get it, gives the same bits."""
    dynamics = pendulum(outputs=["site tip"])
    x, u = scattered(dynamics, 2)
    copied = pickle.loads(pickle.dumps(dynamics))
    np.testing.assert_array_equal(copied.step(x, u, 0, None, RNG), dynamics.step(x, u, 0, None, RNG))


@pytest.mark.parametrize(
    ("model", "options", "told"),
    [
        ("nowhere.xml", {}, "no such file"),
        ("<mujoco><nonsense/></mujoco>", {}, "which MuJoCo refuses"),
        (3, {}, "type int"),
        (PENDULUM.format(integrator="Euler"), {"frame_skip": 0}, "frame_skip=0"),
        (PENDULUM.format(integrator="Euler"), {"frame_skip": 1.5}, "frame_skip=1.5"),
        (PENDULUM.format(integrator="Euler"), {"threads": 0}, "threads=0"),
        (PENDULUM.format(integrator="Euler"), {"outputs": "angle"}, r"write \['angle'\]"),
        (PENDULUM.format(integrator="Euler"), {"outputs": ["height"]}, "angle, shock"),
        (PENDULUM.format(integrator="Euler"), {"outputs": ["site nose"]}, "which MuJoCo refuses"),
        (PENDULUM.format(integrator="Euler"), {"outputs": ["shock"]}, "depend on the control"),
        (mujoco.MjModel.from_xml_string(UNSTABLE), {"outputs": ["body 1"]}, "compiled MjModel"),
    ],
)
def test_bad_models(model, options, told):
    """What cannot be read or asked for is told in a sentence."""
    with pytest.raises(to.InvalidProblem, match=told):
        to.MuJoCoDynamics(model, **options)


def test_bad_states():
    """A wrong number of positions and an unknown keyframe are told in a sentence."""
    with pytest.raises(to.InvalidProblem, match="positions"):
        pendulum().state([0.0, 0.0])
    with pytest.raises(to.InvalidProblem, match="velocities"):
        pendulum().state(velocities=[np.inf])
    with pytest.raises(to.InvalidProblem, match=r"keyframe='down'.*\(up\)"):
        pendulum().state(keyframe="down")


def test_planning_and_certificate():
    """Random shooting swings towards the target; the certificate repeats the cost and finds no defect at all."""
    dynamics = pendulum(frame_skip=5, outputs=["site tip"])
    problem = to.Problem(
        dynamics,
        stage_cost=lambda x, u: 1e-3 * u[0] ** 2,
        terminal_cost=lambda x: (x[2] + 1.0) ** 2 + x[4] ** 2,
        initial_state=dynamics.state(),
        constraints=[dynamics.bounds],
        horizon=to.Horizon(steps=30),
    )
    controls, history = shoot(problem, 64, 8)
    assert history[-1] < 0.9 * history[0]
    states = dynamics.rollout(problem.initial_values[None], controls[None], 0, None, RNG)[0]
    certificate = certify(answer(problem, states, controls, history[-1]))
    assert certificate.passed
    assert certificate.defect == 0.0
    assert certificate.cost == pytest.approx(history[-1], rel=1e-13)


def answer(problem, states, controls, cost):
    """A solution made by hand."""
    trajectory = Trajectory(np.arange(len(states)) * 1.0, states, controls, Interpolation.HOLD)
    return to.Solution(problem, "shooting", to.Status.SOLVED, trajectory, cost, 1)


def test_missing_extra_is_named():
    """Without MuJoCo the extra is named, the core imports, and the library lists its problems."""
    code = (
        "import sys; sys.modules['mujoco'] = None\n"
        "import trajopt as to; from trajopt import problems\n"
        "try: to.MuJoCoDynamics('<mujoco/>')\n"
        "except to.MissingExtra as error: assert 'pip install \"trajopt[mujoco]\"' in str(error), error\n"
        "else: raise AssertionError\n"
        "assert 'hopper' in problems.names() and 'hopper' not in problems.names(extras=False)\n"
        "assert problems.extra('hopper') == 'gym,mujoco' and problems.reference('hopper').source\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_import_is_light():
    """Importing trajopt imports neither MuJoCo nor Gymnasium."""
    code = "import sys, trajopt; assert not {'mujoco', 'gymnasium'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
