"""Planners against each other, against linear programmes and against brute force; and what they refuse."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import trajopt as to
from trajopt import problems
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.solvers import AlphaBeta, Expectimax, PolicyIteration, PrioritisedSweeping, ValueIteration
from trajopt.solvers.kernels import shooting
from trajopt.transcription.stages import compile_stages

TABULAR = [ValueIteration(), PolicyIteration(), PrioritisedSweeping()]


@dataclass(frozen=True)
class Tables:
    """A drawn process: (S, A) next states, rewards, discounts and legality, (S, O) probabilities."""

    following: np.ndarray
    rewards: np.ndarray
    discounts: np.ndarray
    legal: np.ndarray
    chance: np.ndarray

    def process(self):
        """The same as a decision process in plain Python."""

        def step(state, action):
            row = int(state[0])
            state[0] = self.following[row, action]
            return state, float(self.rewards[row, action]), float(self.discounts[row, action])

        return to.DecisionProcess(
            step,
            np.zeros(1, np.int64),
            self.legal.shape[1],
            legal=lambda state: self.legal[int(state[0])],
            chance=lambda state: self.chance[int(state[0])],
            outcomes=self.chance.shape[1],
            compiled=False,
        )


@st.composite
def tables(draw, discounts, *, acyclic=False):
    """Processes of a few states, some of them nature's, with every edge's discount among those given."""
    states, actions = draw(st.integers(2, 7)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    following = rng.integers(0, states, (states, actions))
    chosen = np.array(discounts)[rng.integers(0, len(discounts), (states, actions))]
    if acyclic:
        following = np.minimum(np.arange(states)[:, None] + 1 + following, states - 1)
        chosen[-1] = 0.0
    legal = rng.random((states, actions)) < 0.7
    legal[np.arange(states), rng.integers(0, actions, states)] = True
    chance = np.where(rng.random((states, 1)) < 0.3, rng.dirichlet(np.ones(actions), states), 0.0)
    return Tables(following, rng.normal(size=(states, actions)), chosen, legal, chance)


def linear_programme(model):
    """Values of a one-player model: the least V >= r + w V' for all actions, with equality where nature moves."""
    table, states = model.table, len(model)
    owners = np.repeat(np.arange(states), np.diff(table.first))
    rows = np.zeros((owners.size, states))
    np.add.at(rows, (np.arange(owners.size), table.following), table.weight)
    nature = table.chance[owners]
    rows[np.arange(owners.size), owners] -= np.where(nature, 0.0, 1.0)
    balance, expected = np.zeros((states, states)), np.zeros(states)
    np.add.at(balance, owners, np.where(nature[:, None], rows, 0.0))
    np.add.at(expected, owners, np.where(nature, -table.reward, 0.0))
    balance -= np.diag(np.where(table.chance, 1.0, 0.0))
    found = linprog(
        np.ones(states),
        A_ub=rows[~nature] if not nature.all() else None,
        b_ub=-table.reward[~nature] if not nature.all() else None,
        A_eq=balance[table.chance] if table.chance.any() else None,
        b_eq=expected[table.chance] if table.chance.any() else None,
        bounds=(None, None),
    )
    assert found.success
    return found.x


@given(tables([0.9, 0.5, 0.0]))
@settings(max_examples=40, deadline=None)
def test_tabular_planners_solve_the_linear_programme(drawn):
    """All three find the same values, those of the linear programme, each within its own error bound."""
    process = drawn.process()
    answers = [to.decide(process, planner) for planner in TABULAR]
    exact = linear_programme(answers[0].tree.model)
    for decision in answers:
        assert decision.status is to.Status.SOLVED
        assert decision.tree.error <= 1e-9
        np.testing.assert_allclose(decision.tree.values, exact, atol=1e-7)  # HiGHS: feasible to 1e-7


@given(tables([0.9, -0.9, -0.5, 0.0]))
@settings(max_examples=40, deadline=None)
def test_tabular_planners_agree_on_games(drawn):
    """With two players in irregular turns all three agree within their bounds: policies do not go round in circles."""
    process = drawn.process()
    answers = [to.decide(process, planner).tree for planner in TABULAR]
    for table in answers[1:]:
        assert np.abs(table.values - answers[0].values).max() <= table.error + answers[0].error


@given(tables([1.0, -1.0, -0.7, 0.0], acyclic=True))
@settings(max_examples=40, deadline=None)
def test_expectimax_agrees_with_the_tables(drawn):
    """On processes that end, expectimax to the end gives the tables' values, with and without a discount."""
    process = drawn.process()
    decision = to.decide(process, Expectimax(depth=None))
    table = to.decide(process, "value_iteration").tree
    assert decision.proven == "exact"
    assert abs(decision.value - table.values[0]) <= 1e-12
    assert abs(to.decide(process, "policy_iteration").value - decision.value) <= 1e-12


@st.composite
def layered_tables(draw, discounts):
    """Processes of seven states on four levels, so that a state is always met with the same depth left."""
    actions = draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    level = (np.arange(7) + 1) // 2
    following = np.minimum(2 * level[:, None] + rng.integers(1, 3, (7, actions)), 6)
    chosen = np.array(discounts)[rng.integers(0, len(discounts), (7, actions))]
    chosen[level == 3] = 0.0
    legal = rng.random((7, actions)) < 0.7
    legal[np.arange(7), rng.integers(0, actions, 7)] = True
    return Tables(following, rng.normal(size=(7, actions)), chosen, legal, np.zeros((7, actions)))


@given(tables([1.0, -1.0, -0.7, 0.4, 0.0], acyclic=True))
@settings(max_examples=40, deadline=None)
def test_alpha_beta_proves_what_expectimax_finds(drawn):
    """To the end, with irregular turns, discounts of both signs and states met again, the proven value is the same."""
    process = replace(drawn, chance=np.zeros_like(drawn.chance)).process()
    decision = to.decide(process, AlphaBeta(entries=4))
    oracle = to.decide(process, Expectimax(depth=None))
    assert decision.proven == "exact"
    assert decision.value == pytest.approx(oracle.value, abs=1e-12)
    assert oracle.action_values[decision.action] == pytest.approx(oracle.value, abs=1e-12)


@given(layered_tables([1.0, -1.0, -0.7, 0.4, 0.0]), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_alpha_beta_agrees_with_expectimax(drawn, depth):
    """At any depth, proven or not, cuts change no value."""
    process = drawn.process()

    def evaluate(state):
        return float(np.sin(3.0 * state[0]))

    planner = AlphaBeta(depth=depth, evaluate=evaluate, entries=64)
    decision = to.decide(process, planner)
    oracle = to.decide(process, Expectimax(depth=depth, evaluate=evaluate))
    assert decision.value == pytest.approx(oracle.value, abs=1e-12)
    assert oracle.action_values[decision.action] == pytest.approx(oracle.value, abs=1e-12)
    if decision.proven:
        full = to.decide(process, Expectimax(depth=None))
        assert decision.value == pytest.approx(full.value, abs=1e-12)


@given(tables([0.95, -0.95, 0.0]), st.integers(1, 30))
@settings(max_examples=30, deadline=None)
def test_error_bounds_hold(drawn, sweeps):
    """Values after a few sweeps are within the bound that is reported for them."""
    process = drawn.process()
    exact = to.decide(process, PolicyIteration()).tree
    rough = to.decide(process, ValueIteration(iterations=sweeps))
    assert np.isfinite(rough.tree.error)
    assert np.abs(rough.tree.values - exact.values).max() <= rough.tree.error + exact.error
    assert rough.status in (to.Status.SOLVED, to.Status.ITERATION_LIMIT)


def test_bounds_need_discount_or_an_end():
    """Where one may go on forever no bound is claimed, and policy iteration says when values do not exist."""

    def step(state, action):
        return state, 1.0 - action, 1.0

    endless = to.DecisionProcess(step, np.zeros(1), 2, compiled=False, name="endless")
    decision = to.decide(endless, PolicyIteration())
    assert decision.status is to.Status.DIVERGED
    assert "never ends" in decision.message
    assert to.decide(endless, ValueIteration(iterations=10)).tree.error == np.inf


@pytest.mark.parametrize("planner", TABULAR)
def test_tables_serve_later_decisions(planner):
    """A decision in a later state takes the table of an earlier one: the same value as from scratch, at once."""
    process = problems.load("nim")
    first = to.decide(process, planner)
    state, *_ = process.apply(process.initial_state, first.action)
    again = to.decide(process, planner, state=state, tree=first.tree)
    assert again.tree.model is first.tree.model
    assert again.value == to.decide(process, planner, state=state).value == -first.value


@pytest.mark.parametrize("planner", [*TABULAR, AlphaBeta(), Expectimax(depth=None)])
def test_a_millisecond_gets_an_answer(planner):
    """With next to no time there is a legal move and the status says why it is no more."""
    decision = to.decide(problems.load("connect-four"), planner, max_time=1e-3)
    assert decision.status is to.Status.TIME_LIMIT
    assert -1 <= decision.action < 7
    assert decision.proven is None
    assert decision.message


def test_callbacks_stop_searches():
    """A callback that returns True ends the search with what it has."""
    decision = to.decide(problems.load("connect-four"), AlphaBeta(), callback=lambda iteration: iteration.number >= 3)
    assert decision.status is to.Status.STOPPED
    assert 0 <= decision.action < 7
    values = to.decide(problems.load("frozen-lake"), ValueIteration(), callback=lambda iteration: True)
    assert values.status is to.Status.STOPPED


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("planner", [*TABULAR, AlphaBeta(), Expectimax()])
def test_misbehaving_rules_are_told(planner, compiled):
    """A state without legal actions, and a rule that raises or returns no number, are a sentence each."""

    def nothing(state):
        return state > 0

    def step(state, action):
        return state, 0.0, 0.9

    def raising(state, action):
        if state[0] >= 0:
            raise ValueError("no way")
        return state, 0.0, 0.9

    def endless(state, action):
        return state, np.nan, 0.9

    stuck = to.DecisionProcess(step, np.zeros(1), 1, legal=nothing, compiled=compiled)
    with pytest.raises(InvalidProblem, match="no legal action"):
        to.decide(stuck, planner)
    for rule, words in ((raising, "no way"), (endless, "finite")):
        with pytest.raises(InvalidProblem, match=words):
            to.decide(to.DecisionProcess(rule, np.zeros(1), 1, compiled=compiled), planner)


@pytest.mark.parametrize("planner", [*TABULAR, AlphaBeta(), Expectimax()])
def test_what_cannot_be_solved_exactly_is_refused(planner):
    """Hidden states and drawn steps are refused by name, with what to do instead."""
    with pytest.raises(UnsupportedProblem, match=r"hides its state.*POMCP"):
        to.decide(problems.load("tiger"), planner)
    with pytest.raises(UnsupportedProblem, match="draws its steps"):
        to.decide(problems.load("game-2048"), planner)


def test_limits_of_methods_are_told():
    """Alpha-beta refuses chance, tables refuse too many states, expectimax to the end refuses circles."""
    with pytest.raises(UnsupportedProblem, match=r"chance.*Expectimax"):
        to.decide(problems.load("piglet"), AlphaBeta())
    with pytest.raises(UnsupportedProblem, match="more than 100 states"):
        to.decide(problems.load("tic-tac-toe"), ValueIteration(max_states=100))
    with pytest.raises(UnsupportedProblem, match="give a depth"):
        to.decide(problems.load("maze-dyna"), Expectimax(depth=None))
    table = to.decide(problems.load("nim"), ValueIteration()).tree
    with pytest.raises(InvalidProblem, match="can be reached"):
        table.value([9, 9, 9])


def test_expectimax_averages_drawn_steps():
    """With samples, a drawn step is averaged over evenly spaced numbers: exact where those hit every outcome alike."""

    def step(state, action, uniform):
        state[0] += 1
        return state, float(uniform < 0.25) * (1.0 + action), 0.0 if state[0] == 2 else 1.0

    process = to.DecisionProcess(step, np.zeros(1), 2, compiled=False)
    decision = to.decide(process, Expectimax(depth=2, samples=4))
    assert decision.value == pytest.approx(1.0, abs=1e-15)
    assert decision.proven is None


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ValueIteration(tolerance=0.0), "tolerance"),
        (lambda: PolicyIteration(iterations=0), "iterations"),
        (lambda: PrioritisedSweeping(max_states=1.5), "max_states"),
        (lambda: Expectimax(depth=0), "depth"),
        (lambda: AlphaBeta(bounds=3), "bounds"),
    ],
)
def test_settings_without_meaning_are_refused(make, words):
    """Each planner refuses settings that make no sense."""
    with pytest.raises(InvalidProblem, match=words):
        make()


@cache
def coarse(name):
    """A continuous problem on few steps."""
    return problems.load(name, steps=6)


@pytest.mark.parametrize("name", ["pendulum", "mountain-car", "cartpole", "three-obstacles"])
def test_process_of_a_problem_costs_what_the_problem_costs(name):
    """Rewards along a plan add up to minus the merit that the shooting solvers' own simulation gives the plan."""
    problem, rng = problems.load(name), np.random.default_rng(0)
    lower, upper = np.clip(problem.control_bounds, -1.0, 1.0)
    grid = lower + (upper - lower) * rng.random((5, problem.nu))
    process = to.process_of(problem, grid, hold=3)
    state, total, plan, discount = process.initial_state, 0.0, [], 1.0
    while discount != 0.0:
        plan.append(int(rng.integers(5)))
        state, reward, discount = process.apply(state, plan[-1])
        total += reward
    stages = compile_stages(problem, "rk4", second_order=None)
    addresses = {key: stages.code.address(key) for key in ("step", "path", "end")}
    functions = shooting.Functions(**addresses, expand=0, path_expand=0, end_expand=0)
    steps, sizes = problem.horizon.steps, (problem.nx, problem.nu, len(stages.path_names), len(stages.end_names))
    source, out = (shooting.make_rollout(steps, *sizes) for _ in range(2))
    source.x[0], source.u[:] = problem.initial_values, np.repeat(grid[plan], 3, axis=0)[:steps]
    _, merit = shooting.simulate(
        functions,
        shooting.make_data(problem, stages, problem.horizon.knots()),
        source,
        np.zeros((steps, problem.nu)),
        np.zeros((steps, problem.nu, problem.nx)),
        0.0,
        out,
        shooting.make_penalty(steps, *sizes[2:]),
        shooting.make_constraint_work(*sizes),
    )
    assert total == pytest.approx(-merit, rel=1e-12)
    np.testing.assert_allclose(state[:-1], out.x[-1], rtol=1e-12)


def test_process_of_a_problem_is_searched():
    """The best plan over a grid, by the tables, is the best of all plans one by one."""
    problem = coarse("pendulum")
    process = to.process_of(problem, [-3.0, 0.0, 3.0], hold=2)
    best = -np.inf
    for plan in np.ndindex(3, 3, 3):
        state, total = process.initial_state, 0.0
        for action in plan:
            state, reward, _ = process.apply(state, action)
            total += reward
        best = max(best, total)
    decision = to.decide(process, "value_iteration")
    assert decision.value == pytest.approx(best, rel=1e-12)
    assert to.decide(process, AlphaBeta()).value == pytest.approx(best, rel=1e-12)
    assert "step 0 of 6" in process.render(process.initial_state)


def test_process_of_refuses_what_it_cannot_hold():
    """Grids outside the bounds or of another size, and free horizons, are a sentence each."""
    problem = coarse("pendulum")
    with pytest.raises(InvalidProblem, match="bounds"):
        to.process_of(problem, [-4.0, 4.0])
    with pytest.raises(InvalidProblem, match=r"shape \(A, 1\)"):
        to.process_of(problem, [[1.0, 2.0]])
    with pytest.raises(InvalidProblem, match="hold"):
        to.process_of(problem, [1.0], hold=0)
    with pytest.raises(UnsupportedProblem, match="free"):
        to.process_of(problems.load("double-integrator-min-time"), [-1.0, 1.0])
    with pytest.raises(InvalidProblem, match="a Problem was expected"):
        to.process_of("pendulum", [1.0])
