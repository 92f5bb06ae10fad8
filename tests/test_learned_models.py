"""What all learned models promise: fits, predictions, files, bad data; and the ones that need no PyTorch."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys

import casadi as ca
import numpy as np
import pytest
from learned_cases import make_problem, pendulum, sample

import trajopt as to
from trajopt.learned_dynamics import (
    GaussianProcess,
    Kernel,
    LearnedDynamics,
    Linear,
    NearestNeighbours,
    NeuralNetwork,
    ProbabilisticEnsemble,
    transitions,
)
from trajopt.learned_dynamics.data import Scale
from trajopt.solvers import ILQR

RNG = np.random.default_rng(0)
X, U, Y = sample(60)
MODELS = {
    "linear": Linear(2, 1, ridge=1e-3),
    "neighbours": NearestNeighbours(2, 1),
    "kernel": Kernel(2, 1),
    "gaussian_process": GaussianProcess(2, 1, restarts=0),
    "network": NeuralNetwork(2, 1, hidden=(8,), epochs=5),
    "ensemble": ProbabilisticEnsemble(2, 1, members=3, elites=2, hidden=(8,), epochs=5),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


@every_model
def test_fit_leaves_the_settings_alone(model):
    """fit returns a fitted model, the same bits for the same seed, and the one that it was called on knows nothing."""
    first, again = model.fit(X, U, Y, seed=3), model.fit(X, U, Y, seed=3)
    assert not model.learned
    for name, array in first.learned.items():
        np.testing.assert_array_equal(array, again.learned[name])
        assert not array.flags.writeable
    with pytest.raises(to.InvalidProblem, match="before it was fitted"):
        model.predict(X, U)
    with pytest.raises(to.InvalidProblem, match="before it was fitted"):
        make_problem(model)


@every_model
def test_files(model, tmp_path):
    """What was saved predicts to the same bits when it is loaded, by its own class or by the common one."""
    fitted = model.fit(X, U, Y)
    path = fitted.save(tmp_path / "model.npz")
    for loaded in (LearnedDynamics.load(path), type(model).load(path)):
        assert type(loaded) is type(model)
        np.testing.assert_array_equal(loaded.predict(X, U), fitted.predict(X, U))
        assert loaded._settings() == fitted._settings()
    other = Linear if not isinstance(model, Linear) else Kernel
    with pytest.raises(to.TrajoptError, match="a model of kind"):
        other.load(path)


@every_model
def test_copies_travel(model):
    """A fitted model may be copied and sent to another process, with what it has kept for speed or without."""
    fitted = model.fit(X, U, Y)
    mean, _ = fitted.predict(X, U)
    for other in (copy.deepcopy(fitted), pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.predict(X, U)[0], mean)
        assert not any(array.flags.writeable for array in other.learned.values())


class _Trap:
    """What a pickle could do."""

    def __reduce__(self):
        return (pytest.fail, ("a file was executed",))


@pytest.mark.parametrize(
    "damage",
    [
        lambda head, arrays: arrays.pop("weights"),
        lambda head, arrays: arrays.update(weights=arrays["weights"][:, :1]),
        lambda head, arrays: arrays.update(weights=arrays["weights"] * np.nan),
        lambda head, arrays: arrays.update(weights=np.array([_Trap()], dtype=object)),
        lambda head, arrays: arrays.update(weights=arrays["weights"].astype(str)),
        lambda head, arrays: arrays.update(input_deviation=0.0 * arrays["input_deviation"]),
        lambda head, arrays: head.update(kind="os.system"),
        lambda head, arrays: head.update(kind="system_identification"),
        lambda head, arrays: head.update(format=99),
        lambda head, arrays: head["settings"].update(ridge=-1.0),
        lambda head, arrays: head["settings"].update(surprise=1),
        lambda head, arrays: head.pop("settings"),
    ],
)
def test_tampered_files(damage, tmp_path):
    """A file whose arrays or settings do not fit is told in a sentence, and nothing in it is executed."""
    path = MODELS["linear"].fit(X, U, Y).save(tmp_path / "model.npz")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    head = json.loads(str(arrays.pop("head")))
    damage(head, arrays)
    np.savez(path, head=np.array(json.dumps(head)), **arrays)
    with pytest.raises(to.TrajoptError, match="save the model again"):
        LearnedDynamics.load(path)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("gaussian_process", lambda arrays: arrays.update(parameters=arrays["parameters"] + 1e3)),
        ("gaussian_process", lambda arrays: arrays.update(inputs=arrays["inputs"][:0], targets=arrays["targets"][:0])),
        ("neighbours", lambda arrays: arrays.update(inputs=arrays["inputs"][:0], changes=arrays["changes"][:0])),
        ("kernel", lambda arrays: arrays.update(width=np.array(-1.0))),
        ("ensemble", lambda arrays: arrays.update(elite_members=np.array([0, 7]))),
        ("ensemble", lambda arrays: arrays.pop("bias_1")),
    ],
)
def test_numbers_that_no_fit_gives(name, damage, tmp_path):
    """Numbers of the right shape that a fit cannot give are refused as well, before anything computes with them."""
    path = MODELS[name].fit(X, U, Y).save(tmp_path / "model.npz")
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files}
    damage(arrays)
    np.savez(path, **arrays)
    with pytest.raises(to.TrajoptError, match="save the model again"):
        LearnedDynamics.load(path)


def test_settings_may_be_numpy_numbers(tmp_path):
    """Settings that came out of arrays are saved like others."""
    model = NeuralNetwork(2, 1, hidden=[np.int64(4)], epochs=np.int64(2), learning_rate=np.float64(1e-3)).fit(X, U, Y)
    assert NeuralNetwork.load(model.save(tmp_path / "model.npz")).hidden == (4,)


def test_file_cut_short(tmp_path):
    """Half a file is told; a file that is not there stays Python's own error."""
    path = MODELS["linear"].fit(X, U, Y).save(tmp_path / "model.npz")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(to.TrajoptError, match="save the model again"):
        LearnedDynamics.load(path)
    with pytest.raises(FileNotFoundError):
        LearnedDynamics.load(tmp_path / "nothing.npz")


@every_model
def test_constant_columns(model):
    """A state and a control that never change give finite predictions, of which the constant one is exact."""
    x, u = np.column_stack([X[:, 0], np.full(60, 0.1)]), np.full((60, 1), 1e6)
    fitted = model.fit(x, u, np.column_stack([0.9 * x[:, 0], x[:, 1]]))
    mean, deviation = fitted.predict(x, u)
    assert np.isfinite(mean).all()
    assert np.isfinite(deviation).all()
    scale = Scale.of(np.full((60, 2), 0.1))
    np.testing.assert_array_equal(scale.deviation, 1.0)
    if not isinstance(model, NeuralNetwork | ProbabilisticEnsemble):  # which were trained for an instant
        np.testing.assert_allclose(mean[:, 1], 0.1, rtol=1e-9)


@every_model
def test_a_single_transition(model):
    """One transition is enough to fit and predict, and no deviation is NaN."""
    fitted = model.fit(X[:1], U[:1], Y[:1])
    assert np.isfinite(fitted.predict(X, U)).all()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ((X[:0], U[:0], Y[:0]), "no transitions"),
        ((X, U[:5], Y), r"u has shape \(5, 1\), but \(60, 1\)"),
        ((X[:, :1], U, Y), r"x has shape \(60, 1\), but \(n, 2\)"),
        ((X, U, np.where(np.arange(60)[:, None] == 7, np.nan, Y)), r"x_next\[7, 0\] is nan"),
        ((np.full_like(X, np.inf), U, Y), r"x\[0, 0\] is inf"),
        (("nonsense", U, Y), "no array of numbers"),
        ((X, U, Y, np.full(60, 0.5)), "whole numbers"),
    ],
)
@every_model
def test_bad_data(model, data, told):
    """Data that cannot be learned from are told in a sentence by every model."""
    with pytest.raises(to.InvalidProblem, match=told):
        model.fit(*data)


@every_model
def test_a_problem_and_its_rollouts(model):
    """Every fitted model makes a problem, and a rollout of one step from its generator is its step."""
    dynamics = model.fit(X, U, Y)
    assert make_problem(dynamics).dynamics is dynamics
    generators = (np.random.default_rng(5) for _ in range(2))
    rollout = dynamics.rollout(X, U[:, None], 0, None, next(generators))
    np.testing.assert_array_equal(rollout[:, 0], X)
    np.testing.assert_array_equal(rollout[:, 1], dynamics.step(X, U, 0, None, next(generators)))


@pytest.mark.parametrize("name", ["linear", "network", "ensemble"])
def test_exact_derivatives(name):
    """linearise gives the derivatives that CasADi finds of the expression, to rounding, in float32 for networks."""
    model = MODELS[name].fit(X, U, Y)
    model = model.with_propagation("expectation") if name == "ensemble" else model
    by_x, by_u = model.linearise(X, U, 0, None)
    traced = make_problem(model.to_traced()).model  # an oracle of its own: float64, by CasADi
    exact = ca.Function("j", [traced.x, traced.u], [ca.jacobian(traced.dynamics, ca.vertcat(traced.x, traced.u))])
    for row in range(10):
        tolerance = 1e-12 if name == "linear" else 64 * np.finfo(np.float32).eps  # rounding of a sum of 64 products
        np.testing.assert_allclose(np.hstack([by_x[row], by_u[row]]), exact(X[row], U[row]).full(), atol=tolerance)


@pytest.mark.parametrize("name", ["linear", "gaussian_process", "network", "ensemble"])
def test_traced_twins(name):
    """The expression gives the model's mean: to rounding, of float32 where the model computes with that."""
    model = MODELS[name].fit(X, U, Y)
    function = model.to_traced().function.function
    tolerance = 64 * np.finfo(np.float32).eps if name in ("network", "ensemble") else 1e-9
    for x, u, mean in zip(X[:10], U[:10], model.predict(X[:10], U[:10])[0], strict=True):
        np.testing.assert_allclose(np.asarray(function(x, u), float), mean, atol=tolerance * 10)


def test_linear_dynamics_are_found_and_solved():
    """Least squares finds affine dynamics to rounding, and iLQR on them gives the true optimum."""
    matrix, column, constant = np.array([[1.0, 0.1], [-0.2, 0.9]]), np.array([[0.0], [0.1]]), np.array([0.01, -0.02])
    after = X @ matrix.T + U @ column.T + constant
    model = Linear(2, 1).fit(X, U, after)
    for found, true in zip(model.matrices(), (matrix, column, constant), strict=True):
        np.testing.assert_allclose(found, true, atol=1e-13)
    true = to.solve(make_problem(to.DiscreteDynamics(lambda x, u: matrix @ x + column @ u + constant, nx=2, nu=1)))
    learned = to.solve(make_problem(model.to_traced()), ILQR())
    assert learned.success
    assert learned.cost == pytest.approx(true.cost, rel=1e-9)


def test_linear_over_time():
    """With coefficients of their own, steps find dynamics that vary; a ridge pulls scarce ones to the pooled fit."""
    gains = np.linspace(0.5, 1.5, 6)
    x, u = RNG.normal(size=(40, 6, 1)), RNG.normal(size=(40, 6, 1))
    after, t = gains[:, None] * x + u, np.tile(np.arange(6), 40)
    data = (x.reshape(-1, 1), u.reshape(-1, 1), after.reshape(-1, 1), t)
    model = Linear(1, 1, steps=6).fit(*data)
    found = [model.matrices(k)[0][0, 0] for k in range(8)]
    np.testing.assert_allclose(found, [*gains, gains[-1], gains[-1]], atol=1e-12)
    np.testing.assert_allclose(model.predict(data[0], data[1], t)[0], data[2], atol=1e-12)
    rollout = model.rollout(np.ones((1, 1)), np.zeros((1, 6, 1)), 0, None, RNG)
    np.testing.assert_allclose(rollout[0, 1:, 0], np.cumprod(gains), atol=1e-11)
    pooled = Linear(1, 1).fit(*data[:3]).matrices()[0]
    stiff = Linear(1, 1, steps=6, ridge=1e12).fit(*data)
    np.testing.assert_allclose(stiff.matrices(3)[0], 1.0, atol=1e-6)  # the ridge of the pooled fit: no change of state
    assert pooled[0, 0] == pytest.approx(1.0, abs=0.2)
    with pytest.raises(to.InvalidProblem, match="no t"):
        Linear(1, 1, steps=6).fit(*data[:3])
    with pytest.raises(to.UnsupportedProblem, match="vary from step to step"):
        model.to_traced()


def test_linear_deviations_cover():
    """Of fresh transitions with normal noise 95 of 100 lie within 1.96 deviations, to Monte Carlo error."""
    rng = np.random.default_rng(1)
    x, u = rng.normal(size=(4000, 2)), rng.normal(size=(4000, 1))
    after = 0.9 * x + u + 0.3 * rng.normal(size=x.shape)
    score = Linear(2, 1).fit(x[:50], u[:50], after[:50]).score(x[50:], u[50:], after[50:])
    # Fifty data know the noise to a tenth; a tenth of 1.96 deviations moves the coverage by 0.03.
    np.testing.assert_allclose(score.coverage, 0.95, atol=0.04)
    np.testing.assert_allclose(score.error, 0.3, rtol=0.1)


def test_neighbours_repeat_what_happened():
    """At a transition that was seen the change is the one that was seen; far away it is that of the nearest."""
    model = NearestNeighbours(2, 1, neighbours=1).fit(X, U, Y)
    np.testing.assert_allclose(model.predict(X, U)[0], Y, atol=1e-14)
    np.testing.assert_array_equal(NearestNeighbours(2, 1).fit(X, U, Y).predict(X, U)[1], 0.0)
    assert np.isfinite(Kernel(2, 1).fit(X, U, Y).predict(1e6 * X, U)).all()
    states = model.rollout(np.array([[np.nan, 0.0], [0.1, 0.1]]), np.zeros((2, 3, 1)), 0, None, RNG)
    assert np.isnan(states[0]).any()
    assert np.isfinite(states[1]).all()


def test_kernel_average_and_its_width():
    """The prediction is the weighted average written out; the width chosen predicts left-out data best."""
    model = Kernel(2, 1).fit(X, U, Y)
    scale = Scale.of(np.column_stack([X, U]))
    z = scale.apply(np.column_stack([X, U]))

    def left_out(width):
        errors = []
        for i in range(60):
            weights = np.exp(-0.5 * np.sum((z[i] - z) ** 2, axis=1) / width**2)
            weights[i] = 0.0
            change = weights @ (Y - X) / weights.sum()
            errors.append(np.sum(((change - (Y - X)[i]) / (Y - X).std(axis=0)) ** 2))
        return np.mean(errors)

    width = float(model.learned["width"])
    assert left_out(width) <= min(left_out(width * 1.3), left_out(width / 1.3))
    weights = np.exp(-0.5 * np.sum((z[:1] + 0.1 - z) ** 2, axis=1) / width**2)
    at = scale.mean + scale.deviation * (z[0] + 0.1)
    expected = at[:2] + weights @ (Y - X) / weights.sum()
    np.testing.assert_allclose(model.predict(at[None, :2], at[None, 2:])[0][0], expected, rtol=1e-12)


def test_transitions_of_trajectories():
    """Trajectories are cut into the transitions that they hold, stacks of them as well."""
    x, u = RNG.normal(size=(3, 5, 2)), RNG.normal(size=(3, 4, 1))
    before, controls, after = transitions(x, u)
    np.testing.assert_array_equal(before[4:8], x[1, :4])
    np.testing.assert_array_equal(after[4:8], x[1, 1:])
    np.testing.assert_array_equal(controls[8:], u[2])
    np.testing.assert_array_equal(transitions(x[0], u[0])[2], x[0, 1:])
    with pytest.raises(to.InvalidProblem, match="one state more"):
        transitions(x, u[:, :3])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Linear(2, 1, ridge=-1.0), "ridge"),
        (lambda: Linear(2, 1, steps=0), "steps"),
        (lambda: NearestNeighbours(2, 1, neighbours=0), "neighbours"),
        (lambda: Kernel(2, 1, bandwidth=0.0), "bandwidth"),
        (lambda: GaussianProcess(2, 1, propagation="ts1"), "propagation"),
        (lambda: GaussianProcess(2, 1, restarts=-1), "restarts"),
        (lambda: NeuralNetwork(2, 1, hidden=(0,)), "hidden"),
        (lambda: NeuralNetwork(2, 1, activation="sine"), "activation"),
        (lambda: NeuralNetwork(2, 1, holdout=1.0), "holdout"),
        (lambda: NeuralNetwork(2, 1, learning_rate=np.inf), "learning_rate"),
        (lambda: ProbabilisticEnsemble(2, 1, members=0), "members"),
        (lambda: ProbabilisticEnsemble(2, 1, elites=6), "elites"),
        (lambda: ProbabilisticEnsemble(2, 1, propagation="ts2"), "propagation"),
        (lambda: ProbabilisticEnsemble(2, 1, batch=0), "batch"),
    ],
)
def test_bad_settings(make, told):
    """A setting that cannot mean anything is refused when the model is made."""
    with pytest.raises(to.InvalidProblem, match=told):
        make()


def test_torch_is_loaded_on_use():
    """PyTorch is not imported before a model needs it; where it is missing, the extra is named."""
    code = """
import sys
import trajopt, trajopt.learned_dynamics
assert "torch" not in sys.modules
sys.modules["torch"] = None
try:
    trajopt.learned_dynamics.TorchDynamics
except trajopt.MissingExtra as error:
    assert 'trajopt[learned]' in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_pendulum_oracle():
    """The batch of the cases is the pendulum row by row."""
    np.testing.assert_array_equal(pendulum(X, U)[7], pendulum(X[7], U[7]))
