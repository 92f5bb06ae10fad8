"""A setting of the wrong type, or that is no number, is refused in one sentence: no comparison or shape raises."""

import re

import numpy as np
import pytest
import torch

import trajopt as to
from trajopt import learned_dynamics, problems, solvers
from trajopt.errors import InvalidProblem
from trajopt.simulators.mujoco_model import read_model

NAN = float("nan")
SENTENCE = re.compile(r"^[^\n]*expected[^\n]*[.]$")

SETTINGS = {
    solvers.CEM: ["elites", "momentum", "sigma", "covariance", "samples", "threads", "seed"],
    solvers.CMAES: ["samples", "tolerance"],
    solvers.Collocation: ["scheme", "degree", "tolerance", "iterations", "mesh_tolerance", "mesh_points", "scaling"],
    solvers.DIAL: ["annealing", "temperature", "knot_factor"],
    solvers.GradientShooting: [
        "method",
        "schedule",
        "starts",
        "learning_rate",
        "shrink",
        "temperature",
        "risk",
        "seed",
        "initial_penalty",
    ],
    solvers.ICEM: ["momentum", "reuse", "decay", "elites"],
    solvers.ILQR: ["integrator", "tolerance", "iterations", "initial_penalty", "penalty_growth"],
    solvers.Indirect: ["tolerance", "method", "integrator", "segments", "structure"],
    solvers.InteriorPoint: ["integrator", "tolerance", "iterations", "initial_barrier"],
    solvers.LQR: ["integrator", "tolerance"],
    solvers.MPPI: [
        "temperature",
        "control_cost",
        "effective_share",
        "noise_exponent",
        "knots",
        "order",
        "device",
        "risk",
    ],
    solvers.SCvx: ["integrator", "radius", "thresholds", "shrink", "substeps"],
    solvers.SingleShooting: ["integrator", "substeps", "tolerance"],
}
MODELS = {
    learned_dynamics.GaussianProcess: ["restarts", "propagation"],
    learned_dynamics.Kernel: ["bandwidth"],
    learned_dynamics.Linear: ["ridge", "steps"],
    learned_dynamics.NearestNeighbours: ["neighbours"],
    learned_dynamics.NeuralNetwork: ["hidden", "activation", "epochs", "learning_rate", "holdout"],
    learned_dynamics.ProbabilisticEnsemble: ["members", "elites", "propagation", "patience", "weight_decay"],
}


VALUES = {"text": "a", "list": ["a"], "nan": NAN, "negative": -1, "object": object()}
CASES = {
    f"{solver.__name__}-{name}-{kind}": (solver, name, value)
    for solver, names in SETTINGS.items()
    for name in names
    for kind, value in VALUES.items()
    if (name, kind) != ("structure", "list")  # that is one; whether its arcs exist is known with the problem
}


@pytest.mark.parametrize(("solver", "name", "value"), CASES.values(), ids=CASES)
def test_a_setting_of_a_solver_is_refused_in_a_sentence(solver: type, name: str, value: object) -> None:
    """Whatever the value, the sentence names the setting."""
    with pytest.raises(InvalidProblem, match=SENTENCE) as caught:
        solver(**{name: value})
    assert name in str(caught.value)


@pytest.mark.parametrize("value", ["a", ["a"], NAN, -1], ids=["text", "list", "nan", "negative"])
@pytest.mark.parametrize(
    ("model", "name"), [(model, name) for model, names in MODELS.items() for name in names], ids=str
)
def test_a_setting_of_a_model_is_refused_in_a_sentence(model: type, name: str, value: object) -> None:
    """The same for what is fitted to data."""
    with pytest.raises(InvalidProblem, match=SENTENCE) as caught:
        model(2, 1, **{name: value})
    assert name in str(caught.value)


PENDULUM = problems.load("pendulum")
CALLS = {
    "no problem for MPC": lambda: to.MPC(3, "ilqr"),  # type: ignore[arg-type]
    "no problem to identify": lambda: learned_dynamics.system_identification(3, [], ["mass"]),  # type: ignore[arg-type]
    "delay of MPC": lambda: to.MPC(PENDULUM, "ilqr", delay="a"),  # type: ignore[arg-type]
    "link": lambda: to.Link("a", "b", 3),  # type: ignore[arg-type]
    "horizon": lambda: PENDULUM.at(horizon=3),  # type: ignore[arg-type]
    "empty batch": lambda: to.torch_layer(PENDULUM, "ilqr")(initial_state=torch.zeros(0, 2)),
    "MuJoCo path": lambda: read_model("/nowhere.xml", []),
    "MuJoCo type": lambda: read_model(3, []),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_an_argument_is_refused_in_a_sentence(call: object) -> None:
    """Arguments of functions too; one refusal is not told inside another."""
    with pytest.raises(InvalidProblem, match=SENTENCE) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value).count("was expected") + str(caught.value).count("were expected") == 1


@pytest.mark.parametrize("value", ["a", NAN, -1.0, None])
def test_what_is_asked_of_a_solution_is_refused_in_a_sentence(value: object) -> None:
    """Tolerances of the certificate, and numbers of steps."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: x + u, 1, 1),
        lambda x, u: u @ u,
        initial_state=[1.0],
        horizon=to.Horizon(steps=3),
    )
    solution = to.solve(problem, "lqr")
    for ask in (
        lambda: solution.certify(tolerance=value),
        lambda: solution.shift(value),
        lambda: solution.resample(value),
    ):
        with pytest.raises(InvalidProblem, match=SENTENCE):
            ask()


def test_numbers_of_numpy_are_numbers() -> None:
    """What comes out of arrays is as good as a literal."""
    assert solvers.ILQR(tolerance=np.float64(1e-6), iterations=np.int64(7)).iterations == 7
    assert solvers.CEM(samples=np.int32(8), elites=np.int64(3)).samples == 8
