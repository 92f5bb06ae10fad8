"""Probabilistic ensembles: the loss, the training, and how uncertainty is carried along rollouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from learned_cases import make_problem, pendulum, sample

import trajopt as to
from trajopt.learned_dynamics import NeuralNetwork, ProbabilisticEnsemble, tiles, transitions
from trajopt.learned_dynamics.batched_network import ACTIVATIONS, BatchedNetwork, initial_weights
from trajopt.learned_dynamics.losses import BOUND_WEIGHT, GaussianLikelihood, SquaredError, bounded
from trajopt.learned_dynamics.training import held_out
from trajopt.solvers import CEM

RNG = np.random.default_rng(0)
SINGLE = float(np.finfo(np.float32).eps)
X, U, Y = sample(300, noise=0.05)
SMALL = {"members": 4, "hidden": (16,), "epochs": 30}
FITTED = ProbabilisticEnsemble(2, 1, **SMALL).fit(X, U, Y)


def identical(deviation=0.0, members=4, **settings):
    """An ensemble whose members all are x+ = x + (0.1 x1, u) exactly, with the given deviation."""
    model = ProbabilisticEnsemble(2, 1, members=members, hidden=(), epochs=1, **settings)
    arrays = dict(model.fit(X[:5], U[:5], Y[:5]).learned)
    weight, bias = np.zeros((members, 3, 4)), np.zeros((members, 1, 4))
    weight[:, 1, 0], weight[:, 2, 1] = 0.1, 1.0
    bias[:, 0, 2:] = 2.0 * np.log(deviation) if deviation else -100.0
    neutral = {"input_mean": 0.0, "input_deviation": 1.0, "target_mean": 0.0, "target_deviation": 1.0}
    arrays |= {name: np.full_like(arrays[name], value) for name, value in neutral.items()}
    bounds = np.repeat([[-60.0], [10.0]], 2, axis=1)  # wide open: the log variance is the bias
    return model._with(arrays | {"weight_0": weight, "bias_0": bias, "bounds": bounds})


def linear(x, u):
    return np.array([x[0] + 0.1 * x[1], x[1] + u[0]])


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", ["squared", "gaussian", "termination"])
def test_gradients_are_autograd_s(activation, kind):
    """The backward pass and the losses' gradients, written out, are those of PyTorch's autograd on the formula."""
    outputs = {"squared": 3, "gaussian": 6, "termination": 7}[kind]
    network = BatchedNetwork(initial_weights((4, 8, 8, outputs), 3, RNG), activation)
    network.vector.mul_(2.0)
    inputs, target = torch.randn(3, 10, 4), torch.randn(3, 10, 3)
    bounds = torch.tensor([[-1.0, -2.0, -0.5], [0.5, 1.0, 0.2]])
    loss = SquaredError() if kind == "squared" else GaussianLikelihood(bounds, termination=kind == "termination")
    if kind == "termination":
        target = torch.cat([target, torch.rand(3, 10, 1).round()], dim=2)
    values, gradient = loss.gradient(network.forward(inputs, keep=True), target)
    network.backward(gradient)
    vector, limits = network.vector.clone().requires_grad_(), bounds.clone().requires_grad_()
    total = _written_out(vector, outputs, limits, inputs, target, activation, kind)
    total.backward()
    assert values.sum().item() == pytest.approx(_loss_alone(total, limits, kind), rel=1e-5)
    np.testing.assert_allclose(network.gradient, vector.grad, atol=100 * SINGLE)
    if kind != "squared":
        np.testing.assert_allclose(bounds.grad, limits.grad, atol=100 * SINGLE)


def _written_out(vector, outputs, limits, inputs, target, activation, kind):
    """The loss as a formula, in the order in which the weights lie in the vector."""
    position, z = 0, inputs
    shapes = [(3, 4, 8), (3, 1, 8), (3, 8, 8), (3, 1, 8), (3, 8, outputs), (3, 1, outputs)]
    parts = []
    for shape in shapes:
        size = int(np.prod(shape))
        parts.append(vector[position : position + size].view(shape))
        position += size
    function = getattr(torch.nn.functional, activation)
    for layer in range(3):
        z = z @ parts[2 * layer] + parts[2 * layer + 1]
        z = function(z) if layer < 2 else z
    if kind == "squared":
        return ((z - target) ** 2).mean(dim=(1, 2)).sum()
    softplus = torch.nn.functional.softplus
    log_variance = limits[0] + softplus(limits[1] - softplus(limits[1] - z[..., 3:6]) - limits[0])
    total = ((z[..., :3] - target[..., :3]) ** 2 * torch.exp(-log_variance) + log_variance).mean(dim=(1, 2)).sum()
    if kind == "termination":
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(z[..., 6], target[..., 3], reduction="none")
        total = total + entropy.mean(dim=1).sum()
    return total + BOUND_WEIGHT * (limits[1] - limits[0]).sum()


def _loss_alone(total, limits, kind):
    """The sum of the members' losses, without the bounds' penalty."""
    return (total - (BOUND_WEIGHT * (limits[1] - limits[0]).sum() if kind != "squared" else 0.0)).item()


def test_log_variance_stays_between_its_bounds():
    """Whatever the network says, variances are within the learned bounds, and in the middle hardly changed."""
    bounds = torch.tensor([[-10.0], [0.5]])
    raw = torch.linspace(-1e4, 1e4, 1001)[:, None]
    found = bounded(raw, bounds)
    assert (found >= -10.0).all()
    assert (found <= 0.5).all()
    assert found[0] == -10.0
    assert bounded(torch.tensor([[-5.0]]), bounds).item() == pytest.approx(-5.0, abs=0.02)
    _, deviation = FITTED.predict_members(1e4 * X, 1e4 * U)
    upper = FITTED.learned["target_deviation"] * np.exp(0.5 * FITTED.learned["bounds"][1])
    assert (deviation <= upper * (1 + 10 * SINGLE)).all()


@pytest.mark.parametrize("propagation", ["ts1", "tsinf", "moment_matching", "expectation", "mean_sample"])
def test_identical_exact_members_are_the_true_model(propagation):
    """If all members are the truth without noise, every propagation rolls out as the truth, to float32."""
    dynamics = identical(propagation=propagation)
    controls = 0.1 * RNG.normal(size=(11, 8, 1))
    states = dynamics.rollout(X[:11], controls, 0, None, np.random.default_rng(0))
    for row in range(11):
        expected = X[row]
        for k in range(8):
            expected = linear(expected, controls[row, k])
            np.testing.assert_allclose(states[row, k + 1], expected, atol=40 * SINGLE * np.abs(X).max())


def test_identical_exact_members_plan_as_the_true_model():
    """The traced mean of identical exact members has the true model's optimum."""
    dynamics = identical(propagation="expectation")
    true = to.solve(make_problem(to.DiscreteDynamics(linear, nx=2, nu=1)))
    learned = to.solve(make_problem(dynamics.to_traced()))
    assert learned.success
    np.testing.assert_allclose(learned.u, true.u, atol=1e-5)  # the members hold 0.1 in float32
    by_x, by_u = dynamics.linearise(X, U, 0, None)
    np.testing.assert_allclose(by_x, np.broadcast_to([[1.0, 0.1], [0.0, 1.0]], (300, 2, 2)), atol=10 * SINGLE)
    np.testing.assert_allclose(by_u, np.broadcast_to([[0.0], [1.0]], (300, 2, 1)), atol=10 * SINGLE)


@pytest.mark.parametrize("propagation", ["tsinf", "expectation"])
def test_a_sampling_planner_plans_as_on_the_true_model(propagation):
    """CEM over identical exact members draws, ranks and returns what it does on the true model, with particles."""

    def true(x, u):
        return np.stack([x[:, 0] + 0.1 * x[:, 1], x[:, 1] + u[:, 0]], axis=1)

    solver = CEM(samples=64, iterations=4, particles=3)
    learned = to.solve(make_problem(identical(propagation=propagation)), solver)
    plain = to.solve(make_problem(to.BlackBoxDynamics(true, nx=2, nu=1)), solver)
    np.testing.assert_allclose(learned.u, plain.u, atol=1e-9)
    assert learned.cost == pytest.approx(plain.cost, rel=1e-5)  # the members hold 0.1 in float32


def spread_out(propagation, members=5, deviation=0.0):
    """Members that add 0, 1, 2, ... to the second state, whatever the input."""
    model = identical(deviation, members, propagation=propagation)
    arrays = dict(model.learned)
    bias = np.array(arrays["bias_0"])
    bias[:, 0, 1] = np.arange(members)
    return model._with(arrays | {"bias_0": bias, "weight_0": np.zeros_like(arrays["weight_0"])})


@pytest.mark.parametrize("rows", [1, 3, 5, 12, 5000])
def test_ts_infinity_keeps_the_member(rows):
    """A row adds the same number at every step, and the rows of a block are spread over the members evenly."""
    states = spread_out("tsinf").rollout(np.zeros((rows, 2)), np.zeros((rows, 6, 1)), 0, None, np.random.default_rng(1))
    steps = np.diff(states[:, :, 1], axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), atol=1e-5)
    counts = np.bincount(np.rint(steps[:, 0]).astype(int), minlength=5)
    assert counts.sum() == rows
    assert counts.max() <= np.ceil(rows / 5) + 5  # blocks of 2,048 rows end with unequal hands


@pytest.mark.parametrize("plans_first", [True, False])
def test_particles_of_a_plan_meet_all_members(plans_first):
    """However rows are ordered, the twenty particles of a plan see at least three of five members, 50 plans of 50."""
    drawn = spread_out("tsinf").step(np.zeros((1000, 2)), np.zeros((1000, 1)), 0, None, np.random.default_rng(1))[:, 1]
    particles = drawn.reshape(50, 20) if plans_first else drawn.reshape(20, 50).T
    assert min(len(np.unique(np.rint(row))) for row in particles) >= 3


def test_a_lone_row_draws_its_member():
    """Rollouts of one row meet every member, and not always the first."""
    dynamics, x, u = spread_out("tsinf"), np.zeros((1, 2)), np.zeros((1, 1))
    drawn = [dynamics.step(x, u, 0, None, np.random.default_rng(seed))[0, 1] for seed in range(40)]
    assert set(np.rint(drawn)) == set(range(5))


def test_ts1_draws_anew():
    """Every step draws a member: the sum of N steps has N times the variance of one, within Monte Carlo error."""
    count, steps = 20000, 8
    states = spread_out("ts1").rollout(
        np.zeros((count, 2)), np.zeros((count, steps, 1)), 0, None, np.random.default_rng(2)
    )
    drawn = np.rint(np.diff(states[:, :, 1], axis=1)).astype(int)
    for member in range(5):
        assert np.mean(drawn == member) == pytest.approx(0.2, abs=0.001)  # rows are dealt evenly
    total = states[:, -1, 1]
    assert total.mean() == pytest.approx(2.0 * steps, abs=5 * np.sqrt(2.0 * steps / count))
    assert total.var() == pytest.approx(2.0 * steps, rel=5 * np.sqrt(2.0 / count))
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] == pytest.approx(0.0, abs=5 / np.sqrt(count))


def test_moment_matching_draws_from_the_mixture_s_normal():
    """One step has the mixture's mean and variance and no excess kurtosis; expectation has the mean alone."""
    count = 40000
    x, u = np.zeros((count, 2)), np.zeros((count, 1))
    drawn = spread_out("moment_matching", deviation=0.5).step(x, u, 0, None, np.random.default_rng(3))[:, 1]
    assert drawn.mean() == pytest.approx(2.0, abs=5 * np.sqrt(2.25 / count))
    assert drawn.var() == pytest.approx(2.0 + 0.25, rel=5 * np.sqrt(2.0 / count))
    assert np.mean((drawn - 2.0) ** 4) / drawn.var() ** 2 == pytest.approx(3.0, abs=5 * np.sqrt(24.0 / count))
    mean = spread_out("expectation", deviation=0.5).step(x[:3], u[:3], 0, None, None)
    np.testing.assert_allclose(mean[:, 1], 2.0, atol=1e-6)
    sampled = spread_out("mean_sample", deviation=0.5).step(x[:5], u[:5], 0, None, np.random.default_rng(0))
    np.testing.assert_allclose(np.sort(sampled[:, 1]), np.arange(5.0), atol=1e-5)


def test_noise_has_the_predicted_deviation():
    """Draws of TS-infinity with identical members have the deviation that the members predict."""
    count = 40000
    x, u = np.zeros((count, 2)), np.zeros((count, 1))
    drawn = identical(0.3, propagation="tsinf").step(x, u, 0, None, np.random.default_rng(4))
    np.testing.assert_allclose(drawn.std(axis=0), 0.3, rtol=5 / np.sqrt(2 * count))
    mean, deviation = spread_out("tsinf", deviation=0.3).predict(x[:1], u[:1])
    np.testing.assert_allclose(mean, [[0.0, 2.0]], atol=1e-5)
    np.testing.assert_allclose(deviation, [[0.3, np.sqrt(2.0 + 0.09)]], rtol=1e-5)


@pytest.mark.parametrize("propagation", ["ts1", "tsinf", "moment_matching"])
def test_seeds_and_threads(propagation, monkeypatch):
    """Rollouts are the same bits for the same generator, whatever the number of threads; others differ."""
    dynamics = FITTED.with_propagation(propagation)
    x, u = RNG.normal(size=(5000, 2)), RNG.normal(size=(5000, 3, 1))
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        monkeypatch.setattr(tiles, "read_threads", lambda given, most, threads=threads: threads)
        found.append(dynamics.rollout(x, u, 0, None, np.random.default_rng(7)))
    torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)
    assert (dynamics.rollout(x, u, 0, None, np.random.default_rng(8))[:, 1:] != found[0][:, 1:]).any(axis=(1, 2)).all()


def test_training_does_not_depend_on_threads():
    """The same seed gives the same weights with one thread and with two; another seed gives others."""
    before, found = torch.get_num_threads(), []
    for threads, seed in ((1, 0), (2, 0), (1, 1)):
        torch.set_num_threads(threads)
        model = ProbabilisticEnsemble(2, 1, members=3, hidden=(64, 64), epochs=3)
        found.append(model.fit(X, U, Y, seed=seed).learned["weight_1"])
    torch.set_num_threads(before)
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[0] != found[2]).any()


def test_deviations_cover():
    """Fitted to noise of 0.05, the ensemble's intervals of 95 per cent hold some 95 of 100 fresh transitions."""
    model = ProbabilisticEnsemble(2, 1, members=4, hidden=(32, 32), epochs=150).fit(*sample(1500, noise=0.05))
    score = model.score(*sample(2000, seed=1, noise=0.05))
    assert (np.abs(score.coverage - 0.95) < 0.04).all()
    assert (score.error < 1.3 * 0.05).all()


def test_disagreement_grows_away_from_the_data():
    """Members disagree more far from the data than among them: what an ensemble is for."""
    near, _ = FITTED.predict_members(X, U)
    far, _ = FITTED.predict_members(5.0 * X, 5.0 * U)
    assert far.std(axis=0).mean() > 3.0 * near.std(axis=0).mean()


def test_elites_are_the_best_members():
    """The members with the least hold-out error plan, and others do not count."""
    model = ProbabilisticEnsemble(2, 1, members=5, elites=2, hidden=(8,), epochs=10).fit(X, U, Y)
    errors, elites = model.learned["errors"], model.learned["elite_members"]
    assert set(elites) == set(np.argsort(errors)[:2])
    assert model.predict_members(X, U)[0].shape == (2, 300, 2)


def test_training_stops_and_keeps_the_best():
    """The callback hears of every epoch, patience ends training, and the best weights on the hold-out are kept."""
    heard = []
    model = NeuralNetwork(2, 1, hidden=(16,), epochs=400, patience=3, holdout=0.3)
    model.fit(X, U, Y, callback=heard.append)
    errors = np.array([epoch.error[0] for epoch in heard])
    assert len(heard) < 400
    assert [epoch.number for epoch in heard] == list(range(1, len(heard) + 1))
    assert (errors[-3:] >= 0.99 * errors[:-3].min()).all()
    stopped = []
    model.fit(X, U, Y, callback=lambda epoch: stopped.append(epoch) or len(stopped) == 2)
    assert len(stopped) == 2


def test_fitting_goes_on():
    """A fitted model that is fitted again starts from its weights, and gets better where it had not finished."""
    first = ProbabilisticEnsemble(2, 1, **SMALL | {"epochs": 3}).fit(X, U, Y)
    second = first.fit(X, U, Y)
    assert second.learned["errors"].mean() < first.learned["errors"].mean()


def test_divergence_is_told():
    """Training whose weights overflow ends in a sentence, unless the hold-out kept better ones."""
    wild = {"learning_rate": 1e30, "hidden": (8,), "epochs": 3}
    with pytest.raises(to.InvalidProblem, match="lower the rate"):
        NeuralNetwork(2, 1, holdout=0.0, **wild).fit(X, U, Y)
    assert np.isfinite(NeuralNetwork(2, 1, holdout=0.2, **wild).fit(X, U, Y).predict(X, U)).all()


def test_learned_reward_and_termination():
    """Both heads are learned: return sums rewards while alive, and alive falls where episodes ended in the data."""
    x, u, after = sample(1500)
    reward, ended = -np.abs(x[:, 0]), x[:, 0] > 1.0
    model = ProbabilisticEnsemble(2, 1, members=3, hidden=(32, 32), epochs=160, reward=True, termination=True)
    model = model.fit(x, u, after, reward=reward, terminated=ended)
    assert model.states == ("x0", "x1", "return", "alive")
    assert model.observed == 2
    found, probability = model.predict_heads(np.array([[-2.0, 0.0], [3.0, 0.0]]), np.zeros((2, 1)))
    np.testing.assert_allclose(found, [-2.0, -3.0], atol=0.2)
    assert probability[0] < 0.05
    assert probability[1] > 0.95
    start = np.array([[-1.0, 0.0, 0.0, 1.0], [3.0, 0.0, 0.0, 1.0]])
    states = model.with_propagation("expectation").rollout(start, np.zeros((2, 4, 1)), 0, None, RNG)
    assert states[0, -1, 2] == pytest.approx(-sum(abs(s) for s in states[0, :-1, 0]), abs=0.3)
    assert states[0, -1, 3] > 0.8
    assert states[1, -1, 3] < 0.05
    assert states[1, -1, 2] == pytest.approx(-3.0, abs=0.3)  # one reward, and then no more
    problem = to.Problem(model, None, lambda x: -x[2], initial_state=start[0], horizon=to.Horizon(steps=4))
    assert problem.nx == 4
    with pytest.raises(to.UnsupportedProblem, match="learned reward"):
        model.to_traced()


def test_heads_are_saved(tmp_path):
    """A model with heads comes back with them."""
    model = ProbabilisticEnsemble(states=["a", "b"], controls=["c"], members=2, hidden=(4,), epochs=2, reward=True)
    model = model.fit(X, U, Y, reward=X[:, 0])
    loaded = ProbabilisticEnsemble.load(model.save(tmp_path / "model.npz"))
    assert loaded.states == ("a", "b", "return")
    np.testing.assert_array_equal(loaded.predict_heads(X, U)[0], model.predict_heads(X, U)[0])


@pytest.mark.parametrize(
    ("settings", "data", "told"),
    [
        ({"reward": True}, {}, "no reward"),
        ({}, {"reward": X[:, 0]}, "reward=False"),
        ({"termination": True}, {"terminated": np.zeros(5)}, "terminated has shape"),
        ({"reward": True}, {"reward": np.full(300, np.nan)}, r"reward\[0, 0\] is nan"),
    ],
)
def test_bad_heads(settings, data, told):
    """Rewards and terminations must come where they are learned, and nowhere else."""
    with pytest.raises(to.InvalidProblem, match=told):
        ProbabilisticEnsemble(2, 1, **settings).fit(X, U, Y, **data)


def test_bad_numbers_stay_in_their_row():
    """A state that is not finite makes its own row NaN, and no other."""
    x = X[:8].copy()
    x[3] = np.inf
    for propagation in ("ts1", "tsinf", "expectation"):
        states = FITTED.with_propagation(propagation).rollout(x, np.zeros((8, 4, 1)), 0, None, np.random.default_rng(0))
        finite = np.isfinite(states).all(axis=(1, 2))
        np.testing.assert_array_equal(finite, np.arange(8) != 3)


def test_a_model_of_the_pendulum():
    """From 600 transitions of trajectories the mean of a rollout of 20 steps stays near the truth."""
    controls = RNG.normal(size=(30, 20, 1))
    states = np.empty((30, 21, 2))
    states[:, 0] = RNG.normal(size=(30, 2))
    for k in range(20):
        states[:, k + 1] = pendulum(states[:, k], controls[:, k])
    model = ProbabilisticEnsemble(2, 1, members=4, hidden=(32, 32), propagation="expectation", learning_rate=3e-3)
    model = model.fit(*transitions(states[:25], controls[:25]))
    found = model.rollout(states[25:, 0], controls[25:], 0, None, RNG)
    motion = np.abs(states[25:] - states[25:, :1]).max()
    assert np.abs(found - states[25:]).max() < 0.1 * motion


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rows", [3, 700])
def test_machine_code_is_pytorch(activation, rows):
    """Every row of a rollout in machine code is a step of one of the members as PyTorch computes it, to float32."""
    settings = SMALL | {"hidden": (19, 7), "activation": activation, "angles": (0,), "epochs": 3}
    model = ProbabilisticEnsemble(2, 1, propagation="mean_sample", **settings).fit(X, U, Y)
    x, u = 3.0 * RNG.normal(size=(rows, 2)), RNG.normal(size=(rows, 1))
    after = model.step(x, u, 0, None, np.random.default_rng(0))
    means, _ = model.predict_members(x, u)
    distance = np.abs(means - after).max(axis=2)
    assert distance.min(axis=0).max() < 100 * SINGLE
    assert len(set(distance.argmin(axis=0))) > 1  # and not always the same


def test_noise_has_the_deviation_that_is_predicted():
    """The spread of many steps from one state is that of the mixture of the members, to Monte Carlo error."""
    count = 40_000
    x, u = np.tile(X[:1], (count, 1)), np.tile(U[:1], (count, 1))
    after = FITTED.step(x, u, 0, None, np.random.default_rng(0))
    mean, deviation = FITTED.predict(X[:1], U[:1])
    np.testing.assert_allclose(after.mean(axis=0), mean[0], atol=5.0 * deviation.max() / np.sqrt(count))
    np.testing.assert_allclose(after.std(axis=0), deviation[0], rtol=5.0 / np.sqrt(2 * count))


def test_angles_turn():
    """A state that is an angle is seen modulo a turn, by predictions, rollouts and the traced mean alike."""
    model = ProbabilisticEnsemble(2, 1, angles=(0,), propagation="expectation", **SMALL).fit(X, U, Y)
    turned = X + np.array([2.0 * np.pi, 0.0])
    np.testing.assert_allclose(
        model.predict(turned, U)[0] - turned, model.predict(X, U)[0] - X, atol=1e3 * np.finfo(float).eps
    )
    problem = make_problem(model.to_traced())
    found = problem.dynamics.function({"x": X[0], "u": U[0]})
    np.testing.assert_allclose(found, model.predict(X[:1], U[:1])[0][0], atol=100 * SINGLE)
    with pytest.raises(to.InvalidProblem, match="distinct numbers of states from 0 to 1"):
        ProbabilisticEnsemble(2, 1, angles=(2,))


def test_rows_that_were_held_out_stay_so():
    """More data leave the hold-out of the first rows as it was: no model is judged by what it was trained on."""
    few, many = held_out(300, 0.1), held_out(1000, 0.1)
    assert (many[:300] == few).all()
    assert abs(many.sum() - 100) <= 3  # the discrepancy of the golden section grows as a logarithm
    assert not held_out(50, 0.0).any()
