"""Radau and Lobatto collocation: orders, costates, bounds between nodes, and piecewise polynomial answers."""

import numpy as np
import pytest
from phase_cases import reach
from test_collocation_accuracy import OPTIMUM, A, B, T, two_point

import trajopt as to
from trajopt import bernstein
from trajopt.solvers import ILQR, Collocation
from trajopt.trajectory import Interpolation
from trajopt.transcription.collocation_schemes import find_scheme
from trajopt.transcription.mesh import Mesh

FAMILIES = [("radau", 1), ("radau", 2), ("radau", 3), ("radau", 4), *(("lobatto", m) for m in (2, 3, 4, 5))]


def oscillator(steps=10, **settings):
    """A pendulum pushed within bounds that matter."""
    return to.Problem(
        to.ContinuousDynamics(lambda x, u: np.array([x[1], u[0] - np.sin(x[0])]), nx=2, nu=1),
        initial_state=[1.0, 0.0],
        **{
            "stage_cost": lambda x, u: x @ x + u[0] ** 2,
            "constraints": [to.Bounds(control=(-0.5, 0.5))],
            "horizon": to.Horizon(3.0, steps=steps),
        }
        | settings,
    )


@pytest.mark.parametrize(("name", "degree"), FAMILIES)
def test_tables_integrate_polynomials(name, degree):
    """Row i integrates polynomials up to degree m - 1 exactly; the weights up to the order less one, and no further."""
    scheme = find_scheme(name, degree)
    for power in range(degree):
        expected = scheme.nodes[1:] ** (power + 1) / (power + 1)
        np.testing.assert_allclose(scheme.coefficients @ scheme.nodes**power, expected, atol=1e-14)
    for power in range(scheme.order):
        assert scheme.weights @ scheme.nodes**power == pytest.approx(1 / (power + 1), abs=1e-14)
    assert abs(scheme.weights @ scheme.nodes**scheme.order - 1 / (scheme.order + 1)) > 1e-6
    assert scheme.order == (2 * degree - 1 if name == "radau" else 2 * degree - 2)


def errors(name, degree, steps):
    solution = to.solve(two_point(steps), Collocation(name, degree, tolerance=1e-12))
    state = A * np.exp(solution.t) + B * np.exp(-solution.t)
    costate = B * np.exp(-solution.t) - A * np.exp(solution.t)
    found = solution.multipliers["costates"][:, 0]
    return np.array(
        [abs(solution.cost - OPTIMUM), np.abs(solution.x[:, 0] - state).max(), np.abs(found - costate).max()]
    )


@pytest.mark.parametrize(("name", "degree", "steps"), [
    ("radau", 1, 32), ("radau", 2, 8), ("radau", 3, 4), ("radau", 4, 2),
    ("lobatto", 2, 16), ("lobatto", 3, 6), ("lobatto", 4, 3), ("lobatto", 5, 2),
])  # fmt: skip
def test_order_at_the_knots(name, degree, steps):
    """Halving the step divides the errors of cost and costate by 2^(2m-1) and 2^(2m-2); those of the state at least."""
    order = find_scheme(name, degree).order
    cost, state, costate = np.log2(errors(name, degree, steps) / errors(name, degree, 2 * steps))
    np.testing.assert_allclose([cost, costate], order, atol=0.3)
    assert state > order - 0.3  # here Radau's states gain one order more, since x' = u


@pytest.mark.parametrize("name", ["radau", "lobatto"])
def test_costates_at_the_points(name):
    """The covector mapping gives costates inside the interval that converge with the degree of a global polynomial."""
    found = []
    for degree in (4, 7, 10):
        solution = to.solve(two_point(1), Collocation(name, degree, tolerance=1e-12))
        t, costates = solution.multipliers["point_times"], solution.multipliers["point_costates"][:, 0]
        assert ((t > 0.0) & (t < T)).all()
        found.append(np.abs(costates - B * np.exp(-t) + A * np.exp(t)).max())
    assert 1e3 * found[2] < found[1] < 1e-2 * found[0]
    assert found[2] < 1e-6


@pytest.mark.parametrize("name", ["radau", "lobatto"])
def test_costates_agree_with_the_certificate(name):
    """Costates at the knots equal those that the core recovers from its own linearisation, bounds active or not."""
    solution = to.solve(oscillator(12), Collocation(name, 4, tolerance=1e-11))
    assert solution.certified
    difference = np.abs(solution.multipliers["costates"] - solution.certificate.costates)
    assert difference.max() < 2e-4 * np.abs(solution.certificate.costates).max()  # where the bound ends, h^2 is lost


@pytest.mark.parametrize("name", ["radau", "lobatto"])
def test_control_bounds_hold_at_every_time(name):
    """The control is in the hull of its coefficients: no overshoot between the nodes, with active bounds."""
    solution = to.solve(oscillator(4), Collocation(name, 7))
    times = np.linspace(0.0, 3.0, 3001)
    controls = solution(times)[1]
    assert solution.success
    assert np.abs(controls).max() <= 0.5 * (1 + 1e-12)
    assert np.abs(controls).max() > 0.499


@pytest.mark.parametrize("scheme", ["hermite_simpson", "radau", "lobatto", "trapezoidal"])
def test_multipliers_of_control_bounds_are_densities(scheme):
    """max int u with u <= 1: dH/du = -1 + mu = 0 at every coefficient."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        stage_cost=lambda x, u: -u[0],
        initial_state=[0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0))],
        horizon=to.Horizon(2.0, steps=5),
    )
    densities = to.solve(problem, Collocation(scheme)).multipliers["control_bounds"]
    inner = densities if scheme in ("radau", "lobatto") else densities[1:-1]
    np.testing.assert_allclose(inner, 1.0, rtol=1e-5)


def test_the_answer_is_its_polynomials():
    """Between the knots state and control are those of the collocation: one interval of degree 12 gives nine digits."""
    solution = to.solve(two_point(1), Collocation("radau", 12, tolerance=1e-12))
    times = np.linspace(0.0, T, 101)
    x, u = solution(times)
    assert solution.trajectory.interpolation is Interpolation.POLYNOMIAL
    np.testing.assert_allclose(x[:, 0], A * np.exp(times) + B * np.exp(-times), atol=1e-9)
    np.testing.assert_allclose(u[:, 0], A * np.exp(times) - B * np.exp(-times), atol=1e-8)
    assert solution.certificate.defect < 1e-9
    assert solution.certificate.cost_error < 1e-9


def test_answers_can_be_saved_shifted_and_handed_on(tmp_path):
    """Pieces survive a file, a shift and a restart; a shooting solver holds the control instead."""
    problem = oscillator(12)
    solution = to.solve(problem, Collocation("radau", 3))
    again = to.Solution.load(solution.save(tmp_path / "s.npz"), problem)
    times = np.linspace(0.0, 3.0, 77)
    for ours, theirs in zip(solution(times), again(times), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    shifted = solution.shift(2)
    np.testing.assert_allclose(
        shifted.control(np.array([0.1])), solution.trajectory.control(np.array([0.6])), rtol=1e-12
    )
    warm = to.solve(problem, Collocation("radau", 3), guess=solution)
    np.testing.assert_allclose(warm.x, solution.x, atol=1e-6)
    assert warm.iterations <= solution.iterations
    held = to.solve(problem, ILQR(), guess=solution)
    assert held.success
    assert held.trajectory.pieces is None


@pytest.mark.parametrize("degree", [0, 1, 4, 9])
def test_bernstein_forms_agree(degree):
    """Elevation, powers, interpolation and integration are the same polynomial, against NumPy's."""
    generator = np.random.default_rng(degree)
    coefficients, s = generator.normal(size=(degree + 1, 2)), np.linspace(0.0, 1.0, 23)
    values = bernstein.evaluate(np.broadcast_to(coefficients, (23, degree + 1, 2)), s)
    power = bernstein.powers(degree) @ coefficients
    np.testing.assert_allclose(s[:, None] ** np.arange(degree + 1) @ power, values, atol=1e-10)
    higher = np.broadcast_to(bernstein.elevate(coefficients, degree + 3), (23, degree + 4, 2))
    np.testing.assert_allclose(bernstein.evaluate(higher, s), values, atol=1e-12)
    at_nodes = bernstein.nodes(degree)
    samples = bernstein.evaluate(np.broadcast_to(coefficients, (degree + 1, degree + 1, 2)), at_nodes)
    np.testing.assert_allclose(bernstein.interpolate(samples), coefficients, atol=1e-9)
    integral = np.polynomial.polynomial.polyint(power[:, 0])
    found = bernstein.evaluate(np.broadcast_to(bernstein.antiderivative(coefficients), (23, degree + 2, 2)), s)
    np.testing.assert_allclose(found[:, 0], np.polynomial.polynomial.polyval(s, integral), atol=1e-10)


@pytest.mark.parametrize("scheme", ["trapezoidal", "hermite_simpson", "radau", "lobatto"])
def test_subdivision_changes_nothing(scheme):
    """On more knots the control is the same at every time; polynomial states are too."""
    trajectory = to.solve(oscillator(5), Collocation(scheme)).trajectory
    fine = trajectory.subdivide(np.sort(np.concatenate([trajectory.t, [0.1, 0.7, 2.9]])))
    times = np.random.default_rng(0).uniform(0.0, 3.0, 50)
    np.testing.assert_allclose(fine.control(times), trajectory.control(times), atol=1e-12)
    if trajectory.pieces is not None:
        np.testing.assert_allclose(fine.state(times), trajectory.state(times), atol=1e-12)


def test_compressed_equals_separated():
    """Eliminating the midpoints' states changes the number of unknowns, and nothing else."""
    separated, compressed = (
        to.solve(oscillator(20), Collocation(scheme, tolerance=1e-11))
        for scheme in ("hermite_simpson", "hermite_simpson_compressed")
    )
    assert compressed.success
    np.testing.assert_allclose(compressed.x, separated.x, atol=1e-8)
    np.testing.assert_allclose(compressed.trajectory.u_mid, separated.trajectory.u_mid, atol=1e-7)
    np.testing.assert_allclose(compressed.multipliers["costates"], separated.multipliers["costates"], atol=1e-7)


@pytest.mark.parametrize("name", ["radau", "lobatto"])
def test_mixed_path_constraints_hold_at_every_point(name):
    """A limit on control and state together is met at all points, and its density solves dH/du = 0."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        stage_cost=lambda x, u: -u[0],
        initial_state=[0.0],
        constraints=[to.PathConstraint(lambda x, u: u[0] + x[0], upper=1.0)],
        horizon=to.Horizon(1.0, steps=3),
    )
    solution = to.solve(problem, Collocation(name, 4))
    # x' = 1 - x; the multiplier mu of u + x <= 1 obeys mu = 1 - lambda, lambda' = -mu, lambda(1) = 0: mu = e^(t-1).
    np.testing.assert_allclose(solution.x[:, 0], 1.0 - np.exp(-solution.t), atol=1e-6)
    times, density = solution.multipliers["point_times"], solution.multipliers["point_path"][:, 0]
    np.testing.assert_allclose(density, np.exp(times - 1.0), atol=2e-3)


def test_meshes_name_their_intervals():
    """Marks become fractions, whole numbers exact times; groups collect the intervals of a scheme."""
    three, four = find_scheme("radau", 3), find_scheme("radau", 4)
    mesh = Mesh((0.0, 1.0, 4.0, 5.0), (three, four, three))
    np.testing.assert_allclose(mesh.fractions, [0, 0.2, 0.8, 1])
    assert [(scheme.degree, chosen.tolist()) for scheme, chosen in mesh.groups()] == [(3, [0, 2]), (4, [1])]
    assert (Mesh.uniform(49, three).knots(0.0, 49.0) == np.arange(50)).all()


@pytest.mark.parametrize("settings", [
    {"scheme": "radau", "degree": 0}, {"scheme": "lobatto", "degree": 1}, {"scheme": "radau", "degree": 2.5},
    {"degree": 3}, {"scheme": "radau", "degree": 21}, {"scheme": "radau", "degree": True},
])  # fmt: skip
def test_senseless_degrees_are_refused(settings):
    """In one sentence that names the degree."""
    with pytest.raises(to.InvalidProblem, match="degree="):
        Collocation(**settings)


@pytest.mark.parametrize("settings", [("radau", 3), ("lobatto", 3), ("hermite_simpson_compressed", None)])
def test_derivatives_of_solutions(settings):
    """The implicit function theorem on the program of any scheme, against differences of re-solves."""
    problem, solver, step = oscillator(6), Collocation(*settings, tolerance=1e-11), 1e-5
    found = to.solve(problem, solver).derivatives().jvp(initial_state=[1.0, 0.0])
    ends = [to.solve(problem.at(initial_state=[1.0 + sign * step, 0.0]), solver) for sign in (1, -1)]
    # Truncation step^2, the barrier's 1e-11 over the step.
    np.testing.assert_allclose(found.x, (ends[0].x - ends[1].x) / (2 * step), atol=1e-4)
    np.testing.assert_allclose(found.u, (ends[0].u - ends[1].u) / (2 * step), atol=1e-3)


def test_derivatives_on_a_refined_mesh():
    """The mesh goes with the solution: the slope of the cost is the costate."""
    solution = to.solve(oscillator(4), Collocation("radau", 3, mesh_tolerance=1e-5, tolerance=1e-10))
    slope = solution.derivatives().jvp(initial_state=[1.0, 0.0]).cost
    assert solution.success
    assert slope == pytest.approx(solution.multipliers["costates"][0, 0], rel=1e-6)


@pytest.mark.parametrize("solver", [Collocation("radau", 3), Collocation("lobatto", 3), Collocation(nlp="uno")])
def test_phases_are_joined_under_every_scheme(solver):
    """The same optimum as that of the default, certified."""
    problem = reach()
    solution = to.solve(problem, solver)
    assert solution.certified
    assert solution.cost == pytest.approx(to.solve(problem, Collocation()).cost, rel=1e-6)


def test_meshes_of_phases_are_not_refined():
    """And that is said."""
    with pytest.raises(to.UnsupportedProblem, match="mesh_tolerance"):
        to.solve(reach(), Collocation(mesh_tolerance=1e-6))
