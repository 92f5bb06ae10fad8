"""Mesh refinement: fewer points for more digits than uniform meshes, and honest ends when it stops short."""

from dataclasses import replace

import numpy as np
import pytest
from test_collocation_accuracy import A, B, T, two_point

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.monitor import Monitor
from trajopt.solvers import Collocation
from trajopt.solvers.direct import read_outcome
from trajopt.status import Status
from trajopt.transcription.collocation import compile_on, pose
from trajopt.transcription.collocation_schemes import HERMITE_SIMPSON, find_scheme
from trajopt.transcription.mesh import Mesh
from trajopt.transcription.refinement import refine


def coarse(name, steps=10):
    problem = problems.load(name)
    return replace(problem, horizon=replace(problem.horizon, steps=steps))


def relative_error(solution, name):
    optimum = problems.reference(name).cost
    return abs(solution.certificate.cost - optimum) / abs(optimum)


def points(solution):
    """As the message counts them."""
    return int(solution.message.split(" points")[0].split()[-1])


@pytest.mark.parametrize("solver", [Collocation("radau", 4), Collocation()], ids=["radau", "hermite_simpson"])
@pytest.mark.parametrize("name", ["hypersensitive", "bryson-denham", "moon-lander"])
def test_refined_meshes_beat_uniform_ones(name, solver):
    """From ten intervals to 1e-6, certified, with fewer points than a uniform mesh that is farther from the optimum."""
    refined = to.solve(coarse(name), replace(solver, mesh_tolerance=1e-6))
    assert refined.success, refined.message
    assert refined.certify(1e-6).defect <= 1e-6
    assert refined.certify(1e-6).cost_error <= 1e-6
    assert relative_error(refined, name) < 5e-6  # the gap is an estimate
    each = 4 if solver.scheme == "radau" else 2
    uniform = to.solve(coarse(name, -(-points(refined) // each)), solver)
    # A knot on a corner of the optimum may make a uniform mesh lucky: one more interval takes that away.
    other = to.solve(coarse(name, 1 - (-points(refined) // each)), solver)
    assert relative_error(refined, name) < max(relative_error(uniform, name), relative_error(other, name))


def test_a_smooth_problem_gets_degrees_and_not_intervals():
    """On a smooth problem two intervals of degree 3 become two of a higher degree."""
    solution = to.solve(coarse("van-der-pol", 4), Collocation("radau", 3, mesh_tolerance=1e-8))
    assert solution.success
    assert solution.trajectory.steps < 12
    assert solution.certificate.defect < 1e-8


def test_limits_end_the_refinement_honestly():
    """Rounds and points are limits with a status of their own, and the best so far comes back with its numbers."""
    for limits in ({"mesh_rounds": 1}, {"mesh_points": 60}):
        solution = to.solve(coarse("hypersensitive"), Collocation("radau", 4, mesh_tolerance=1e-8, **limits))
        assert solution.status is Status.ITERATION_LIMIT
        assert "came first" in solution.message
        assert np.isfinite(solution.x).all()


def test_a_problem_without_solution_is_not_refined():
    """The verdict of the first mesh stands."""
    problem = to.Problem(
        to.ContinuousDynamics(lambda x, u: u, nx=1, nu=1),
        initial_state=[0.0],
        constraints=[to.Bounds(control=(-1, 1)), to.TerminalConstraint([2.0])],
        horizon=to.Horizon(1.0, steps=5),
    )
    assert to.solve(problem, Collocation("radau", mesh_tolerance=1e-6)).status is Status.INFEASIBLE


def test_callback_and_time_limit_end_it_with_what_is_there():
    """A stop in a later round returns the answer of the round before."""
    seen = []
    solver = Collocation("radau", 4, mesh_tolerance=1e-9)
    first = to.solve(coarse("hypersensitive"), replace(solver, mesh_tolerance=None))
    solution = to.solve(
        coarse("hypersensitive"), solver, callback=lambda i: seen.append(i) or len(seen) > len(first.history) + 2
    )
    assert solution.status is Status.STOPPED
    np.testing.assert_array_equal(solution.x, first.x)
    assert len(solution.history) == len(seen)


def test_intervals_of_fixed_degree_are_divided():
    """Only where the error is too large, into more parts where it is larger; all marks stay."""
    trajectory = to.solve(coarse("van-der-pol", 4), Collocation()).trajectory
    mesh = Mesh.uniform(4, HERMITE_SIMPSON)
    finer = refine(mesh, trajectory, np.array([0.1, 3.0, 0.5, 1e6]), np.zeros((2, 1)))
    assert finer.steps == 1 + 2 + 1 + 4
    assert set(np.round(mesh.fractions, 12)) <= set(np.round(finer.fractions, 12))


def test_mixed_degrees_are_one_mesh():
    """Intervals of their own lengths and degrees give the closed form of state, control and costate."""
    three, six = find_scheme("radau", 3), find_scheme("radau", 6)
    problem, solver = two_point(3), Collocation("radau", tolerance=1e-12)
    structure = compile_on(problem, Mesh((0.0, 1.0, 5.0, 6.0), (three, six, three)))
    guess = make_guess(problem, None).resample(structure.mesh.knots(0.0, T))
    instance = pose(structure, problem, guess, scaled=True)
    found = read_outcome(structure, problem, guess, instance, solver.minimise(instance, Monitor()))
    t = found.trajectory.t
    np.testing.assert_allclose(t, [0.0, T / 6, 5 * T / 6, T])
    np.testing.assert_allclose(found.trajectory.x[:, 0], A * np.exp(t) + B * np.exp(-t), atol=1e-7)
    np.testing.assert_allclose(found.multipliers["costates"][:, 0], B * np.exp(-t) - A * np.exp(t), atol=1e-5)
    times = np.linspace(0.0, T, 31)
    np.testing.assert_allclose(found.trajectory.control(times)[:, 0], A * np.exp(times) - B * np.exp(-times), atol=2e-3)
    assert len(found.multipliers["point_times"]) == 2 + 5 + 2


@pytest.mark.parametrize("settings", [{"mesh_tolerance": 0.0}, {"mesh_rounds": -1}, {"mesh_points": np.nan}])
def test_senseless_limits_are_refused(settings):
    """At construction, by name."""
    with pytest.raises(to.InvalidProblem, match=next(iter(settings))):
        Collocation(**settings)
