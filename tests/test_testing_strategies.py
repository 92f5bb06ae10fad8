"""The strategies keep their promises: exact answers, certificates, bounds, no rejection, readable examples."""

from __future__ import annotations

import random
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.statistics import collector
from scipy.optimize import linprog

import trajopt as to
from trajopt import problems
from trajopt.guess import make_guess
from trajopt.problem import Feature
from trajopt.solvers import CEM, ICEM, ILQR, LQR, MPPI, Collocation, InteriorPoint, SCvx, SingleShooting
from trajopt.testing import oracles, strategies
from trajopt.testing.strategies.numbers import positive_definite_matrices, tame_matrices

PLANTED = {
    "free": strategies.linear_quadratic_problems(),
    "box": strategies.box_linear_quadratic_problems(),
    "constrained": strategies.constrained_linear_quadratic_problems(),
}
LIBRARY = ["pendulum", "cartpole", "bryson-denham", "dtoc3", "double-integrator-min-time"]


def few(examples: int):
    """Derandomised; nothing that a strategy does may need a suppressed health check."""
    return settings(max_examples=examples, deadline=None, derandomize=True, phases=[Phase.generate], database=None)


@pytest.mark.parametrize("kind", PLANTED)
def test_the_planted_point_satisfies_the_optimality_conditions_to_the_bit(kind):
    """Dense KKT residuals are zero, not small: every number on the way is a dyadic fraction of few digits."""

    @few(60)
    @given(PLANTED[kind])
    def check(case):
        answer = oracles.Answer(case.states, case.controls, case.costates, case.multipliers)
        assert oracles.kkt_errors(case.data, answer) == dict.fromkeys(
            ("violation", "stationarity", "sign", "complementarity"), 0.0
        )
        np.testing.assert_array_equal(case.data.roll_out(case.controls), case.states)
        assert case.curvature >= 0.5 * (1.0 - 1e-14)  # an eigenvalue is computed to rounding

    check()


@few(20)
@given(PLANTED["constrained"])
def test_the_planted_cost_is_exact(case):
    """Summed in rational numbers, which Python does without rounding."""
    data, total = case.data, Fraction(0)

    def quadratic(z, H, g):
        pairs = ((i, j) for i in range(len(z)) for j in range(len(z)))
        square = sum(Fraction(z[i]) * Fraction(H[i, j]) * Fraction(z[j]) for i, j in pairs)
        return square / 2 + sum(Fraction(a) * Fraction(b) for a, b in zip(g, z, strict=True))

    for k in range(data.steps):
        total += quadratic(np.concatenate([case.states[k], case.controls[k]]), data.hessian[k], data.gradient[k])
    assert total + quadratic(case.states[-1], data.end_hessian, data.end_gradient) == Fraction(case.cost)


@few(40)
@given(PLANTED["constrained"], st.integers(0, 999))
def test_no_feasible_trajectory_is_cheaper(case, seed):
    """Weak duality: random trajectories cost at least the planted optimum, less the price of what they violate."""
    rng = np.random.default_rng(seed)
    controls = case.controls + rng.normal(size=case.controls.shape)
    states = case.data.roll_out(controls)
    assert case.data.cost(states, controls) >= case.cost - case.price(states, controls) - case.rounding * 100.0


@few(40)
@given(PLANTED["constrained"])
def test_active_rows_have_independent_gradients(case):
    """So multipliers are unique: the rows of the assembled program that act have full rank."""
    program = oracles.assemble(case.data)
    marks = [case.active[name].ravel() for name in ("control", "state", "path", "end")]
    acts = np.concatenate([np.ones(case.costates.size), *marks]) != 0.0
    assert np.linalg.matrix_rank(program.matrix[acts]) == acts.sum()


@few(30)
@given(st.booleans().flatmap(lambda degenerate: st.tuples(
    st.just(degenerate),
    strategies.constrained_linear_quadratic_problems(degenerate=degenerate, control_bounds=True, path=True),
)))  # fmt: skip
def test_degeneracy_is_as_asked_for(drawn):
    """All multipliers of active inequalities are zero, or none is."""
    wanted, case = drawn
    for name in ("control", "state", "path"):
        acts = case.active[name] != 0.0
        assert ((case.multipliers[name][acts] == 0.0) == wanted).all()
        assert not case.multipliers[name][~acts].any()


@pytest.mark.parametrize("solver", [LQR(), ILQR(), InteriorPoint(), Collocation()], ids=str)
def test_solvers_find_the_planted_point(solver):
    """The problem handed to solvers is the one of the tables: the exact answer comes back."""

    @few(12)
    @given(PLANTED["free"] if isinstance(solver, LQR) else PLANTED["constrained"])
    def check(case):
        solution = to.solve(case.problem, solver)
        assert solution.success
        missed = case.price(solution.x, solution.u)
        tolerance = getattr(solver, "constraint_tolerance", solver.tolerance)
        # What `success` promises: a decrement, and rows of this size for each of their multipliers.
        prices = sum(np.abs(values).sum() for values in case.multipliers.values())
        above = 10.0 * (solver.tolerance * (1.0 + abs(case.cost)) + tolerance * (1.0 + prices)) + case.rounding
        assert -missed - case.rounding <= solution.cost - case.cost <= above
        far = np.sqrt(2.0 * (above + missed + case.rounding) / case.curvature)
        np.testing.assert_allclose(solution.u, case.controls, rtol=0.0, atol=far)

    check()


@few(30)
@given(strategies.infeasible_problems())
def test_infeasible_problems_are_infeasible(case):
    """Farkas' certificate gives the margin exactly, and a simplex method that has not seen it agrees."""
    assert oracles.farkas_margin(case.data, case.costates, case.multipliers) == case.margin > 0.0
    program = oracles.assemble(case.data)
    equal = program.lower == program.upper
    rows = np.vstack([program.matrix[~equal], -program.matrix[~equal]])
    limits = np.concatenate([program.upper[~equal], -program.lower[~equal]])
    there = np.isfinite(limits)
    found = linprog(
        np.zeros(rows.shape[1]), rows[there], limits[there], program.matrix[equal], program.lower[equal], (None, None)
    )
    assert found.status == 2  # infeasible


@pytest.mark.parametrize("solver", [ILQR(), InteriorPoint(), Collocation()], ids=str)
def test_nobody_solves_an_infeasible_problem(solver):
    """No success, an end within the iteration limit, and finite numbers."""

    @few(15)
    @given(strategies.infeasible_problems())
    def check(case):
        solution = to.solve(case.problem, solver)
        assert not solution.success
        assert np.isfinite(solution.x).all()
        assert np.isfinite(solution.u).all()

    check()


@few(60)
@given(strategies.smooth_dynamics(), st.integers(0, 999))
def test_the_curvature_of_smooth_dynamics_is_bounded(model, seed):
    """Second differences in random directions stay below the bound, and the linear part is bounded as well."""
    rng, nx = np.random.default_rng(seed), len(model.A)
    z, direction = rng.normal(size=(2, sum(model.B.shape)))
    step = 1e-3 * direction / np.linalg.norm(direction)
    values = [np.asarray(model((z + s * step)[:nx], (z + s * step)[nx:])) for s in (-1.0, 0.0, 1.0)]
    second = np.abs(values[0] - 2.0 * values[1] + values[2]).max() / 1e-6
    rounding = 1e6 * 4.0 * np.finfo(float).eps * max(1.0, np.abs(values).max())
    assert second <= model.curvature + rounding
    assert np.abs(model.A).sum(axis=1).max() <= 1.0
    assert model.dynamics.nx == nx


@few(12)
@given(strategies.nonlinear_problems())
def test_nonlinear_problems_are_well_posed(problem):
    """They are solved, and they are not linear."""
    assert to.solve(problem, "ilqr").success
    assert to.solve(problem, ILQR(iterations=200)).certified


@few(12)
@given(strategies.library_problems(LIBRARY, steps=st.integers(4, 12)), st.data())
def test_guesses_are_accepted_and_malformed_ones_refused(problem, data):
    """By the one function through which every guess goes."""
    assert make_guess(problem, data.draw(strategies.guesses(problem))).x.shape == (
        problem.horizon.steps + 1,
        problem.nx,
    )
    with pytest.raises(to.InvalidProblem):
        make_guess(problem, data.draw(strategies.malformed_guesses(problem)))


def test_library_problems_vary_their_constants_alone():
    """Drawn constants lie within an eighth of the published ones, and the steps are those asked for."""
    published = problems.settings("pendulum")["duration"]
    durations = set()

    @few(30)
    @given(strategies.library_problems(["pendulum"], steps=st.just(7)))
    def check(problem):
        assert problem.horizon.steps == 7
        durations.add(problem.horizon.duration / published)

    check()
    assert durations == {0.875, 1.0, 1.125}
    with pytest.raises(to.UnknownName, match="'pendulums'"):
        strategies.library_problems(["pendulums"])


@pytest.mark.thorough
@pytest.mark.parametrize("name", problems.names(extras=False))
def test_every_library_problem_can_be_drawn(name):
    """With constants at both ends at once."""

    @few(4)
    @given(strategies.library_problems([name]))
    def check(problem):
        assert isinstance(problem, to.Problem)

    check()


@pytest.mark.parametrize("solver", [ILQR, MPPI, ICEM, CEM, Collocation, SCvx, SingleShooting, LQR])
def test_settings_are_accepted_and_vary(solver):
    """Every draw is a solver, the defaults are among them, and what is fixed stays."""
    seen = set()

    @few(40)
    @given(strategies.solver_settings(solver))
    def check(found):
        assert isinstance(found, solver)
        seen.add(str(found))

    check()
    assert len(seen) > 5
    assert str(solver()) in seen


@few(5)
@given(strategies.solver_settings(MPPI, samples=64, threads=st.integers(1, 2)))
def test_settings_can_be_fixed(solver):
    """To a value, or to a strategy of one's own."""
    assert solver.samples == 64
    assert solver.threads in (1, 2)


@given(strategies.solver_settings(ILQR))
@few(3)
def test_settings_of_a_solver_that_is_drawn_solve(solver):
    """Settings drawn are settings that work."""
    assert to.solve(problems.load("dtoc3", steps=9), solver).status in to.Status


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_matrices_have_the_spectrum_that_their_construction_gives(size):
    """Least and largest eigenvalue, and the norm of those whose powers must not grow."""

    @few(40)
    @given(positive_definite_matrices(size, smallest=0.25), tame_matrices(size))
    def check(definite, tame):
        spectrum = np.linalg.eigvalsh(definite)
        assert spectrum[0] >= 0.25 * (1.0 - 1e-13)
        assert spectrum[-1] <= 0.25 + size * (size + 1) / 2
        assert np.abs(tame).sum(axis=1).max() <= 1.0

    check()


EVERY = {
    **PLANTED,
    "infeasible": strategies.infeasible_problems(),
    "smooth": strategies.smooth_dynamics(),
    "nonlinear": strategies.nonlinear_problems(),
    "library": strategies.library_problems(LIBRARY, steps=st.integers(4, 12)),
    "settings": strategies.solver_settings(MPPI),
    "guesses": strategies.guesses(problems.load("dtoc3", steps=9)),
    "malformed": strategies.malformed_guesses(problems.load("dtoc3", steps=9)),
    "types": strategies.problems(),
    "decisions": strategies.decision_processes(),
    "trees": strategies.synthetic_trees(),
}


@pytest.mark.parametrize("name", EVERY)
def test_nothing_is_rejected(name):
    """Hypothesis counts no invalid draw: strategies construct what they promise.

    (Its own mutations may run out of the choices that they copied, whatever the strategy; it calls that overrun.)
    """
    cases = []

    @settings(few(40), suppress_health_check=list(HealthCheck))
    @given(EVERY[name])
    def draw(_):
        pass

    with collector.with_value(lambda statistics: cases.extend(statistics["generate-phase"]["test-cases"])):
        draw()
    assert len(cases) > 20
    assert {case["status"] for case in cases} <= {"valid", "overrun"}


def least_of(strategy, condition):
    """The least example that holds, by the same draws in every run."""
    return find(strategy, condition, settings=settings(derandomize=True, database=None), random=random.Random(0))


def test_examples_shrink_to_what_can_be_read():
    """The least case of each kind: one step, one state, one control, zeros, and what was asked for."""
    least = least_of(strategies.linear_quadratic_problems(), lambda case: True)
    assert (least.data.steps, least.data.nx, least.data.nu) == (1, 1, 1)
    assert not least.states.any()
    assert not least.controls.any()
    assert least.cost == 0.0
    pressed = least_of(strategies.box_linear_quadratic_problems(), lambda case: case.multipliers["control"].any())
    # The shrinker promises a local minimum alone: few and round numbers, one row that presses.
    assert pressed.data.steps == pressed.data.nx == 1
    assert pressed.data.nu <= 2
    assert np.count_nonzero(pressed.multipliers["control"]) == 1
    for numbers in (pressed.multipliers["control"], pressed.controls, pressed.states):
        assert (4.0 * numbers == np.round(4.0 * numbers)).all()
        assert (np.abs(numbers) <= 1.0).all()
    reach = least_of(strategies.infeasible_problems(), lambda case: case.margin > 1.0)
    assert (reach.margin, reach.data.steps, reach.data.nx) == (1.25, 1, 1)


def test_features_are_those_asked_for():
    """Each kind of row appears in the problem when it is asked for, and not otherwise."""
    kinds = {
        "control_bounds": Feature.CONTROL_BOUNDS, "state_bounds": Feature.STATE_BOUNDS,
        "path": Feature.PATH_CONSTRAINTS, "end": Feature.TERMINAL_CONSTRAINTS,
    }  # fmt: skip
    nothing = dict.fromkeys(kinds, False)
    for kind, feature in kinds.items():

        @few(2)
        @given(strategies.constrained_linear_quadratic_problems(**(nothing | {kind: True})))
        def check(case):
            assert case.problem.features == {Feature.DISCRETE_TIME, feature}  # noqa: B023 - it is called here

        check()


def test_from_type_draws_problems():
    """The entry point registers the strategy, without any import of ours and before anything heavy is loaded."""
    code = (
        "import sys, hypothesis, trajopt as to; from hypothesis import given, settings, strategies as st\n"
        "assert not {'trajopt.testing.strategies', 'casadi'} & set(sys.modules), 'too early'\n"
        "@settings(max_examples=3, database=None)\n@given(st.from_type(to.Problem))\n"
        "def draw(problem): print(type(problem).__name__)\n"
        "draw()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert set(done.stdout.split()) == {"Problem"}


def test_hypothesis_is_optional():
    """Without it the oracles are there, and the strategies say which extra is missing."""
    code = (
        "import sys; sys.modules['hypothesis'] = None; import trajopt.testing.oracles, trajopt as to\n"
        "try:\n    import trajopt.testing.strategies\n"
        "except to.MissingExtra as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "pip install trajopt[testing]" in done.stdout


def test_every_public_strategy_is_tested_here():
    """A strategy that is added to the package is added to these tests."""
    functions = {name for name in strategies.__all__ if name.islower()}
    tested = Path(__file__).read_text(encoding="utf-8")
    assert all(f"strategies.{name}(" in tested for name in functions)
