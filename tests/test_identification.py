"""System identification: parameters of traced models from measurements, with honest errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import trajopt as to
from trajopt.learned_dynamics import system_identification
from trajopt.learned_dynamics.identification import _cut
from trajopt.learned_dynamics.identification_shooting import Model, Shooting

TRUE = {"cart": 1.0, "pole": 0.3, "length": 0.5}
GUESS = {"cart": 1.5, "pole": 0.2, "length": 0.8, "gravity": 9.81}
NOISE = np.array([0.005, 0.01, 0.02, 0.03])


def cartpole(x, u, p):
    s, c = np.sin(x[1]), np.cos(x[1])
    mass = p["cart"] + p["pole"] * s**2
    push = u[0] + p["pole"] * s * (p["length"] * x[3] ** 2 + p["gravity"] * c)
    turn = -u[0] * c - p["pole"] * p["length"] * x[3] ** 2 * c * s - (p["cart"] + p["pole"]) * p["gravity"] * s
    return np.array([x[2], x[3], push / mass, turn / (p["length"] * mass)])


def make_problem(parameters=GUESS, steps=50):
    dynamics = to.ContinuousDynamics(cartpole, nx=4, nu=1)
    return to.Problem(dynamics, initial_state=[0.0] * 4, horizon=to.Horizon(2.0, steps=steps), parameters=parameters)


def measure(count=2, steps=50, seed=0, noise=NOISE):
    """Trajectories of the true cart-pole by SciPy's integrator, with noise on every state."""
    rng = np.random.default_rng(seed)
    data = []
    for _ in range(count):
        u, x = rng.normal(size=(steps, 1)) * 3.0, [rng.normal(size=4) * 0.3]
        for k in range(steps):
            path = solve_ivp(
                lambda t, x, force=u[k]: cartpole(x, force, GUESS | TRUE), (0.0, 0.04), x[-1], rtol=1e-10, atol=1e-12
            )
            x.append(path.y[:, -1])
        data.append((np.array(x) + noise * rng.normal(size=(steps + 1, 4)), u))
    return data


def test_cartpole_with_noise():
    """Three parameters come back within four of their own standard errors, which are below two per cent."""
    found = system_identification(make_problem(), measure(), ["cart", "pole", "length"])
    assert found.success
    for name, value in TRUE.items():
        assert abs(found.values[name] - value) < 4 * found.standard_errors[name]
        assert found.standard_errors[name] < 0.02 * value
    np.testing.assert_allclose(found.noise, NOISE, rtol=0.3)  # a hundred residuals know a deviation to 0.07
    assert found.problem.parameters["cart"] == found.values["cart"]
    assert found.problem.parameters["gravity"] == 9.81
    assert "cart = " in str(found)
    assert [r.shape for r in found.residuals] == [(51, 4)] * 2


def test_standard_errors_are_what_repetition_shows():
    """Over repeated experiments the estimate scatters by the standard error that each one claims."""
    problem = replace(make_problem(GUESS | {"pole": TRUE["pole"]}, 25), horizon=to.Horizon(1.0, steps=25))
    clean = measure(1, 25, noise=np.zeros(4))[0]
    rng = np.random.default_rng(3)
    runs = []
    for _ in range(30):
        data = [(clean[0] + NOISE * rng.normal(size=(26, 4)), clean[1])]
        runs.append(system_identification(problem, data, ["cart", "length"], noise=NOISE))
    for name in ("cart", "length"):
        scores = np.array([(run.values[name] - TRUE[name]) / run.standard_errors[name] for run in runs])
        assert abs(scores.mean()) < 5 / np.sqrt(30)
        assert scores.std() == pytest.approx(1.0, abs=5 / np.sqrt(60))


def test_exact_data_and_segments():
    """Without noise the truth comes back to the integrator's accuracy, in one segment or in many."""
    data = measure(1, noise=np.zeros(4))
    for segment in (None, 7):
        found = system_identification(make_problem(), data, ["cart", "pole", "length"], segment=segment)
        for name, value in TRUE.items():
            assert found.values[name] == pytest.approx(value, rel=1e-6)
        assert max(np.abs(r).max() for r in found.residuals) < 1e-6


def test_missing_measurements():
    """Velocities that were never measured are NaN in the data, and the parameters are found all the same."""
    data = [(np.where([True, True, False, False], x, np.nan), u) for x, u in measure()]
    found = system_identification(make_problem(GUESS | {"pole": TRUE["pole"]}), data, ["cart", "length"])
    assert found.success
    for name in ("cart", "length"):
        assert abs(found.values[name] - TRUE[name]) < 4 * found.standard_errors[name]


def test_sensitivities_are_the_derivatives():
    """The Jacobian of the residuals agrees with central differences to what those leave."""
    problem = make_problem()
    data = measure(2, 12)
    shooting = Shooting(Model.of(problem, ["cart", "length"], 2), _cut(problem, data, 5)[0])
    weights, z = np.array([1.0, 2.0, 3.0, 4.0]), shooting.start
    exact = shooting.jacobian(z, weights).toarray()
    for column in range(len(z)):
        step = np.zeros(len(z))
        step[column] = 1e-6
        difference = (shooting.residuals(z + step, weights) - shooting.residuals(z - step, weights)) / 2e-6
        np.testing.assert_allclose(exact[:, column], difference, atol=1e-6)


def test_limits_and_arrays_in_discrete_time():
    """A Free keeps its limits, a parameter may be an array, and discrete dynamics are fitted as well."""

    def step(x, u, p):
        return p["matrix"] @ x + p["gain"] * u[0]

    matrix, rng = np.array([[0.9, 0.1], [-0.2, 0.8]]), np.random.default_rng(0)
    u, x = rng.normal(size=(40, 1)), [np.array([1.0, -1.0])]
    for k in range(40):
        x.append(matrix @ x[-1] + 2.0 * u[k, 0])
    problem = to.Problem(
        to.DiscreteDynamics(step, nx=2, nu=1),
        initial_state=[0.0, 0.0],
        horizon=to.Horizon(steps=40),
        parameters={"matrix": np.eye(2) * 0.5, "gain": to.Free(0.0, 1.5, guess=1.0)},
    )
    found = system_identification(problem, [(np.array(x), u)], ["matrix"])
    assert found.values["matrix"].shape == (2, 2)
    assert found.names == ("matrix[0][0]", "matrix[0][1]", "matrix[1][0]", "matrix[1][1]")
    both = system_identification(problem, [(np.array(x), u)], ["matrix", "gain"])
    assert both.values["gain"] == pytest.approx(1.5, abs=1e-3)
    assert isinstance(both.problem.parameters["gain"], to.Free)
    wider = replace(problem, parameters=problem.parameters | {"gain": 1.0})
    exact = system_identification(wider, [(np.array(x), u)], ["gain", "matrix"])
    np.testing.assert_allclose(exact.values["matrix"], matrix, atol=1e-8)
    assert exact.values["gain"] == pytest.approx(2.0, rel=1e-8)


def test_what_the_data_do_not_determine():
    """A parameter that only scales another one has an infinite standard error, and one that matters has not."""
    dynamics = to.ContinuousDynamics(lambda x, u, p: p["a"] * p["b"] * x * 0 + p["c"] * x + u, nx=1, nu=1)
    problem = to.Problem(
        dynamics, initial_state=[1.0], horizon=to.Horizon(1.0, steps=20), parameters={"a": 1.0, "b": 2.0, "c": -1.0}
    )
    t = np.linspace(0.0, 1.0, 21)
    data = [(np.exp(-2.0 * t)[:, None], np.zeros((20, 1)))]
    found = system_identification(problem, data, ["a", "c"])
    assert found.standard_errors["a"] == np.inf
    assert found.standard_errors["c"] < 1e-3
    assert found.values["c"] == pytest.approx(-2.0, rel=1e-5)


DATA = measure(1, 5)


@pytest.mark.parametrize(
    ("arguments", "options", "told"),
    [
        ((DATA, ["mass"]), {}, "mass"),
        ((DATA, []), {}, "free="),
        ((DATA, "cart"), {}, "free="),
        (([], ["cart"]), {}, "no data"),
        (([(DATA[0][0], DATA[0][1][:3])], ["cart"]), {}, "one state more"),
        (([(np.full((6, 4), np.inf), DATA[0][1])], ["cart"]), {}, "not finite"),
        (([(np.full((6, 4), np.nan), DATA[0][1])], ["cart"]), {}, "0 measured numbers"),
        ((DATA, ["cart"]), {"segment": 0}, "segment"),
        ((DATA, ["cart"]), {"substeps": 0}, "substeps"),
        ((DATA, ["cart"]), {"noise": [0.1, 0.0, 0.1, 0.1]}, "noise"),
        ((DATA, ["cart"]), {"noise": 0.1}, "noise"),
    ],
)
def test_bad_input(arguments, options, told):
    """What cannot be identified is told in a sentence."""
    with pytest.raises(to.InvalidProblem, match=told):
        system_identification(make_problem(), *arguments, **options)


def test_unsupported_models():
    """A black box has no expressions to differentiate."""
    dynamics = to.BlackBoxDynamics(lambda x, u: x, nx=1, nu=1)
    problem = to.Problem(dynamics, initial_state=[0.0], horizon=to.Horizon(steps=2), parameters={"a": 1.0})
    with pytest.raises(to.UnsupportedProblem, match="traced"):
        system_identification(problem, [(np.zeros((3, 1)), np.zeros((2, 1)))], ["a"])
