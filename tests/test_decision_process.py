"""Decision processes: what rules may be, what is refused in a sentence, and what is kept compiled."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from tree_cases import after, bandit, piglet, tic_tac_toe

import trajopt as to
from trajopt.lowering.rules import identify


def onward(state, action):
    return state + 1, 0.5, 0.9


@pytest.mark.parametrize("compiled", [True, False])
def test_apply_leaves_its_argument_alone(compiled):
    """A rule that writes in its state never writes in the caller's."""
    process = tic_tac_toe(compiled=compiled)
    state = np.array([1, 2])
    following, reward, discount = process.apply(state, 3)
    assert state.tolist() == [1, 2]
    assert (following.tolist(), reward, discount) == ([2, 9], 0.0, -1.0)
    assert process.legal_actions(following).tolist() == [False, False, True, False, True, True, True, True, True]
    assert process.outcome_probabilities(state).size == 0


def test_both_forms_of_legal_and_chance():
    """A rule may fill an array or return one."""
    filling = piglet(2)
    returning = replace(filling, chance=lambda state: np.full(2, 0.5 * state[3]), legal=lambda state: state[:2] < 9)
    for state in ([0, 0, 0, 0], [0, 0, 0, 1]):
        assert filling.outcome_probabilities(state).tolist() == returning.outcome_probabilities(state).tolist()
        assert returning.legal_actions(state).tolist() == [True, True]


@pytest.mark.parametrize(
    "change",
    [
        {"actions": 0}, {"actions": 2.0}, {"step": None}, {"step": lambda s: s}, {"legal": 3}, {"outcomes": 2},
        {"chance": lambda s: s}, {"observations": 2}, {"returns": (1.0, -1.0)}, {"returns": 1.0}, {"compiled": 1},
        {"action_names": ["a"]}, {"initial_state": "ab"}, {"observe": lambda s: 0, "observations": 2},
        {"step": lambda s, a, u: (s, 0.0, 0.0), "chance": lambda s: s, "outcomes": 2},
    ],
)  # fmt: skip
def test_wrong_constructions_are_refused(change):
    """What cannot mean anything is refused when the process is made."""
    with pytest.raises(to.InvalidProblem):
        to.DecisionProcess(**{"step": onward, "initial_state": np.zeros(2), "actions": 2} | change)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    ("step", "match"),
    [
        (lambda s, a: (np.zeros(3), 0.0, 0.0), "shape"),
        (lambda s, a: (s, np.nan, 1.0), "finite"),
        (lambda s, a: (s, 0.0), "next_state, reward, discount"),
    ],
)
def test_what_a_step_returns_is_checked(step, match, compiled):
    """A wrong shape, number of results or NaN gets a sentence."""
    process = to.DecisionProcess(step, np.zeros(2), 2, compiled=compiled)
    with pytest.raises(to.InvalidProblem, match=match):
        process.apply(process.initial_state, 0)


def test_wrong_arguments_are_refused():
    """States, actions and uniform numbers that do not belong to the process get a sentence."""
    process = to.DecisionProcess(onward, np.zeros(2, np.int64), 2)
    for state, action, uniform in (([0.5, 0.0], 0, None), ([0], 0, None), ([0, 0], 2, None), ([0, 0], 0, 0.5)):
        with pytest.raises(to.InvalidProblem):
            process.apply(state, action, uniform)
    with pytest.raises(to.InvalidProblem, match=r"\[0, 1\)"):
        piglet(2, sampled=True).apply([0, 0, 0, 0], 0, 1.0)


def test_wrong_masks_and_probabilities_are_refused():
    """A mask of another length and probabilities that do not add up get a sentence."""
    start = np.zeros(2)
    process = to.DecisionProcess(onward, start, 2, legal=lambda s: np.ones(3, np.bool_))
    with pytest.raises(to.InvalidProblem, match="legal of"):
        process.legal_actions(start)
    process = to.DecisionProcess(onward, start, 2, chance=lambda s: np.full(3, 0.5), outcomes=3)
    with pytest.raises(to.InvalidProblem, match=r"add up to 1\.5"):
        process.outcome_probabilities(start)


def test_numba_errors_name_the_rule():
    """A rule that Numba does not understand says which, and what to do; uncompiled it works."""

    def step(state, action):
        return state, float("1.5".replace("5", str({"a": [1]}["a"]))[0]) + eval("0"), 0.0

    process = to.DecisionProcess(step, np.zeros(1), 1, name="odd")
    for call in (lambda: process.apply([0.0], 0), lambda: to.decide(process)):
        with pytest.raises(to.InvalidProblem, match=r"step of odd cannot be compiled: .*compiled=False"):
            call()
    assert replace(process, compiled=False).apply([0.0], 0)[1] == 1.0


def test_identity_of_rules_follows_what_they_refer_to():
    """The key of compiled code changes with code, closures and the functions that are called, and with nothing else."""

    def make(number):
        def inner(x):
            return x + number

        def outer(x):
            return inner(x) * 2

        return outer

    assert identify(make(1)) == identify(make(1)) != identify(make(2))
    array = np.arange(3)
    first = identify(lambda: array[0])
    array[1] = 7
    assert first != identify(lambda: array[0])
    secret = object()
    assert identify(lambda: secret) is None


def test_decide_refuses_what_is_no_process_or_planner():
    """Wrong arguments of decide get a sentence."""
    process = bandit([0.0, 1.0])
    with pytest.raises(to.InvalidProblem, match="DecisionProcess was expected"):
        to.decide(3)
    with pytest.raises(to.UnknownName, match="did you mean 'mcts'"):
        to.decide(process, "mct")
    for wrong in ({"planner": 3}, {"max_time": -1.0}, {"callback": 3}, {"state": [1.0, 2.0]}):
        with pytest.raises(to.InvalidProblem):
            to.decide(process, **wrong)


def test_a_process_can_be_copied_and_sent():
    """The compiled rules stay behind when a process is pickled; its fields arrive."""
    process = to.DecisionProcess(onward, np.zeros(2), 2, name="sent")
    process.apply(process.initial_state, 0)
    assert pickle.loads(pickle.dumps(process)).apply([1.0, 2.0], 1)[0].tolist() == [2.0, 3.0]


def test_decision_by_name():
    """``to.decide(process)`` searches with the defaults."""
    decision = to.decide(tic_tac_toe(), state=after(tic_tac_toe(), 1, 8))
    assert decision.action == 2
    assert decision.planner == "MCTS()"
    assert decision.seconds > 0.0
