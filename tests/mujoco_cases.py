"""What the tests of simulators share: small models, and a random-shooting loop to plan over any dynamics."""

import numpy as np

from trajopt.plain import PlainFunctions

PENDULUM = """<mujoco><option timestep="0.01" integrator="{integrator}"/><worldbody><body name="bob">
<joint name="hinge" type="hinge" axis="0 1 0" damping="0.1"/><geom size=".02" fromto="0 0 0 0 0 -1" type="capsule"/>
<site name="tip" pos="0 0 -1"/></body></worldbody>
<actuator><motor name="motor" joint="hinge" ctrllimited="true" ctrlrange="-2 2"/></actuator>
<sensor><jointpos name="angle" joint="hinge"/><accelerometer name="shock" site="tip"/></sensor>
<keyframe><key name="up" qpos="3.141592653589793"/></keyframe></mujoco>"""

TUMBLING = """<mujoco><option timestep="0.01" integrator="{integrator}" gravity="0 0 -1"/><worldbody><body name="base">
<freejoint name="base"/><geom size=".1 .2 .3" type="box"/><body name="arm" pos=".3 0 0"><joint name="ball" type="ball"/>
<geom type="capsule" size=".03" fromto="0 0 0 .3 0.1 0"/><site name="tip" pos=".3 0 0"/><body pos=".3 0.1 0">
<joint name="wrist" axis="0 1 0"/><geom size="0.05 .1" type="capsule"/></body></body></body></worldbody><actuator>
<motor joint="wrist" ctrlrange="-1 1" ctrllimited="true"/>
<general joint="wrist" dyntype="filter" dynprm="0.1" name="lag"/></actuator></mujoco>"""
"""A free body, a ball joint, a hinge, an activation: every kind of coordinate that MuJoCo has."""

UNSTABLE = """<mujoco><option timestep="0.5" integrator="Euler" gravity="0 0 0"><flag
eulerdamp="disable"/></option><worldbody><body> <joint name="spring" type="slide" stiffness="1000"/><geom
size=".1"/></body></worldbody>
<actuator><motor joint="spring"/></actuator></mujoco>"""


def costs(problem, states, controls):
    """Cost of each rollout, (K,), by the user's functions."""
    functions = PlainFunctions(problem, problem.layout.pack(problem.parameters))
    stages = [
        sum(functions.stage_cost(x, u, k) for k, (x, u) in enumerate(zip(row[:-1], inputs, strict=True)))
        for row, inputs in zip(states, controls, strict=True)
    ]
    ends = [functions.terminal_cost(row[-1], len(row) - 1) for row in states]
    return np.add(stages, ends)


def shoot(problem, samples, iterations, seed=0):
    """Random shooting around the best, ever closer: its controls, and its cost after each iteration."""
    rng, dynamics = np.random.default_rng(seed), problem.dynamics
    lower, upper = problem.control_bounds
    best = np.zeros((problem.horizon.steps, problem.nu))
    history = []
    for iteration in range(iterations):
        noise = rng.normal(size=(samples, *best.shape)) * (upper - lower) / 4 * 0.6**iteration
        controls = np.clip(best + np.concatenate([noise[:1] * 0, noise]), lower, upper)
        start = np.tile(problem.initial_values, (len(controls), 1))
        found = costs(problem, dynamics.rollout(start, controls, 0, None, rng), controls)
        best = controls[np.nanargmin(found)]
        history.append(np.nanmin(found))
    return best, history
