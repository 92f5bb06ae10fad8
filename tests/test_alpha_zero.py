"""AlphaZero: gradients, returns, files that go on to the same bits, and games that nobody wins against it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import trajopt as to
from trajopt import problems
from trajopt.errors import InvalidProblem, TrajoptError
from trajopt.learned_dynamics import AlphaZero, SelfPlay
from trajopt.learned_dynamics.alpha_zero import CHECKPOINT, TABLE, Game, bits
from trajopt.learned_dynamics.policy_value import PolicyValueNetwork

SMALL = SelfPlay(hidden=(16,), simulations=4, games=8, openings=2, batch=16, seed=3)


@pytest.fixture(scope="module")
def tic_tac_toe():
    """The game of the library."""
    return problems.load("tic-tac-toe")


def fields(states):
    """What lies on the nine fields, those of who is to move first: 18 of the 128 bits of a state."""
    return ((states[..., None] >> np.arange(9)) & 1).reshape(len(states), 18)


def successors(process, state):
    """What every legal action leads to: (state, reward, discount)."""
    return [process.apply(state, int(action)) for action in np.flatnonzero(process.legal_actions(state))]


def lost_games(process, planner, *, begins: bool) -> tuple[int, int]:
    """Positions in which the planner decides against every reply of its opponent's, and games that it loses."""
    start = np.array(process.initial_state)
    waiting = [start] if begins else [state for state, _, _ in successors(process, start)]
    met, lost = set(), 0
    while waiting:
        fresh = {state.tobytes(): state for state in waiting if state.tobytes() not in met}
        met |= set(fresh)
        waiting = []
        decisions = to.decide_batch(process, planner, np.array(list(fresh.values()))) if fresh else []
        for state, decision in zip(fresh.values(), decisions, strict=True):
            theirs, _, discount = process.apply(state, decision.action)
            for mine, reward, goes_on in successors(process, theirs) if discount else ():
                lost += reward > 0.0
                waiting += [mine] if goes_on else []
    return len(met), lost


def test_learns_not_to_lose(tic_tac_toe):
    """Within 4,800 games it learns so much that nobody wins against it, whoever begins and whatever the replies.

    Six seeds took 960 to 1,600 games; how many is chance, and depends on the last bits of a machine's arithmetic.
    """
    agent, lost = AlphaZero(tic_tac_toe, SelfPlay(seed=1), features=fields), [1]
    for games in range(960, 4801, 640):
        agent.learn(games)
        against = [lost_games(tic_tac_toe, agent.planner(64), begins=begins) for begins in (True, False)]
        met, lost = zip(*against, strict=True)
        if not any(lost):
            break
    assert not any(lost)
    assert min(met) > 50  # positions that it steers to, against all replies
    assert agent.rounds[-1].value_loss < 0.5 * agent.rounds[0].value_loss


def test_gradient_is_pytorchs():
    """A step of Adam on the written gradient is the one on PyTorch's own, illegal actions and all."""
    random = np.random.default_rng(0)
    sizes = (6, 8, 5)
    arrays = PolicyValueNetwork.initial_arrays(sizes, random)
    arrays = {name: array + 0.3 * random.normal(size=array.shape).astype(np.float32) for name, array in arrays.items()}
    inputs = random.normal(size=(10, 6)).astype(np.float32)
    legal = random.random((10, 4)) < 0.7
    legal[:, 0] = True
    policy = (random.random((10, 4)) * legal).astype(np.float32)
    policy /= policy.sum(axis=1, keepdims=True)
    value = random.uniform(-2.0, 2.0, 10).astype(np.float32)
    network = PolicyValueNetwork(arrays, "tanh", 2.0, 1e-3, 0.01)
    losses = network.train_step(inputs, legal, policy, value)

    names = ["weight_0", "bias_0", "weight_1", "bias_1"]
    weights = [torch.tensor(arrays[name][0], requires_grad=True) for name in names]
    output = torch.tanh(torch.tensor(inputs) @ weights[0] + weights[1]) @ weights[2] + weights[3]
    logits = output[:, :-1].masked_fill(torch.tensor(~legal), -1e9)
    cross_entropy = -(torch.tensor(policy) * torch.log_softmax(logits, 1)).sum(1).mean()
    squared = (2.0 * torch.tanh(output[:, -1]) - torch.tensor(value)).square().mean()
    optimiser = torch.optim.Adam(weights, lr=1e-3, weight_decay=0.01)
    (cross_entropy + squared).backward()
    optimiser.step()
    np.testing.assert_allclose(losses, (cross_entropy.item(), squared.item()), rtol=1e-5)
    trained = network.arrays()
    for name, expected in zip(names, weights, strict=True):
        # Adam's first step is the rate times the sign: all but signs of gradients that vanish must agree.
        np.testing.assert_allclose(trained[name][0], expected.detach().numpy(), atol=2e-5)


def test_returns_are_seen_by_who_moves(tic_tac_toe):
    """Who wins has 1 in all his positions, the other -1, back to the first."""
    random = np.random.default_rng(0)
    game = Game(tic_tac_toe, random)
    for action in (0, 3, 1, 4, 2):
        game.play(action, np.full(9, 1.0 / 9.0), random)
    assert game.ended
    assert [row[3] for row in game.returns()] == [1.0, -1.0, 1.0, -1.0, 1.0]
    assert [int(row[0].sum()) for row in game.returns()] == [0, 1, 9, 11, 27]


def test_nature_moves_between_positions():
    """Chance states are no positions: their rewards and discounts go to the action before."""

    def step(state, move):
        state[0] += 1
        if state[0] % 2 == 1:
            return state, 1.0, 0.5
        return state, 10.0, 0.5 if state[0] < 6 else 0.0

    def chance(state, out):
        out[:] = 0.5 if state[0] % 2 == 1 else 0.0

    process = to.DecisionProcess(step, np.array([0]), 2, chance=chance, outcomes=2)
    random = np.random.default_rng(0)
    game = Game(process, random)
    while not game.ended:
        game.play(0, np.array([1.0, 0.0]), random)
    assert [row[3] for row in game.returns()] == [6.0 + 0.25 * (6.0 + 0.25 * 6.0), 6.0 + 0.25 * 6.0, 6.0]
    agent = AlphaZero(process, SelfPlay(hidden=(4,), value_scale=10.0, simulations=2, games=2, openings=0)).learn(2)
    assert agent.rounds[0].positions == 6


def test_games_that_are_cut_off():
    """A game without end is cut off, and what would follow is worth what the network says."""

    def step(state, action):
        state[0] = action
        return state, 1.0, 0.5

    process = to.DecisionProcess(step, np.array([0]), 2)
    agent = AlphaZero(process, SelfPlay(hidden=(4,), value_scale=2.0, simulations=2, games=2, openings=0, longest=3))
    agent.learn(2)
    assert agent.rounds[0].length == 3.0
    # The first network says 0, so the last of three decisions brings 1, those before it 1.5 and 1.75.
    np.testing.assert_allclose(agent._positions.returns.reshape(2, 3), [[1.75, 1.5, 1.0]] * 2)


def same_agent(first: AlphaZero, second: AlphaZero) -> bool:
    """Whether two agents have learned the same bits."""
    arrays, others = first._network.arrays(), second._network.arrays()
    return first.rounds == second.rounds and all(np.array_equal(arrays[name], others[name]) for name in arrays)


def test_goes_on_after_a_kill(tic_tac_toe, tmp_path):
    """A learning that was stopped between rounds, or within one, ends with the bits of one that was not."""
    whole = AlphaZero(tic_tac_toe, SMALL).learn(48, folder=tmp_path / "whole")
    AlphaZero(tic_tac_toe, SMALL).learn(48, folder=tmp_path / "parts", callback=lambda told: told.number == 1)

    class Killed(Exception):
        pass

    def kill(states):
        raise Killed

    second = AlphaZero(tic_tac_toe, SMALL)
    second._resume(tmp_path / "parts" / CHECKPOINT)
    second._features = kill
    with pytest.raises(Killed):
        second.learn(48, folder=tmp_path / "parts")
    third = AlphaZero(tic_tac_toe, SMALL).learn(48, folder=tmp_path / "parts")
    assert same_agent(whole, third)
    assert (tmp_path / "whole" / TABLE).read_bytes() == (tmp_path / "parts" / TABLE).read_bytes()
    assert (tmp_path / "whole" / TABLE).read_text().count("\n") == 7


def test_saved_and_loaded(tic_tac_toe, tmp_path):
    """A loaded agent predicts and learns on as the one that was saved."""
    agent = AlphaZero(tic_tac_toe, SMALL).learn(16)
    loaded = AlphaZero.load(agent.save(tmp_path / "agent.npz"), tic_tac_toe)
    assert same_agent(agent, loaded)
    for state in ([0, 0], [1, 2]):
        probabilities, value = agent.predict(state)
        others, other = loaded.predict(state)
        np.testing.assert_array_equal(probabilities, others)
        assert value == other
        np.testing.assert_array_equal(probabilities > 0.0, tic_tac_toe.legal_actions(state))
    assert same_agent(agent.learn(24), loaded.learn(24))


def test_files_that_are_refused(tic_tac_toe, tmp_path):
    """Damaged files, other agents' files and other processes' are refused in a sentence."""
    agent = AlphaZero(tic_tac_toe, SMALL).learn(8, folder=tmp_path)
    with pytest.raises(TrajoptError, match="other settings"):
        AlphaZero(tic_tac_toe, SelfPlay(hidden=(8,))).learn(8, folder=tmp_path)
    path = agent.save(tmp_path / "agent.npz")
    with pytest.raises(TrajoptError, match="not those of"):
        AlphaZero.load(path, problems.load("connect-three"))
    with pytest.raises(TrajoptError, match="other layers"):
        AlphaZero.load(path, tic_tac_toe, features=lambda states: states.astype(float))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(TrajoptError, match=r"AlphaZero\.save .* was expected"):
        AlphaZero.load(path, tic_tac_toe)
    np.savez(tmp_path / "other.npz", head=np.array('{"format": 1, "kind": "PETS"}'))
    with pytest.raises(TrajoptError, match="it is a 'PETS'"):
        AlphaZero.load(tmp_path / "other.npz", tic_tac_toe)


def test_bits_of_states():
    """Whole numbers become their bits, each of them; other numbers stay as they are."""
    assert bits(np.array([[3, 0], [0, 128]], np.uint8)).sum(axis=1).tolist() == [2.0, 1.0]
    assert bits(np.array([[1, -1]], np.int64)).sum() == 65.0
    np.testing.assert_array_equal(bits(np.array([[0.5, 2.0]])), [[0.5, 2.0]])


@pytest.mark.parametrize("given", [{"hidden": (0,)}, {"activation": "sine"}, {"simulations": 0}, {"games": 1.5},
                                   {"openings": -1}, {"passes": 0.0}, {"learning_rate": np.inf},
                                   {"weight_decay": -1.0}, {"value_scale": 0.0}, {"seed": -1}])  # fmt: skip
def test_wrong_settings(given):
    """Each setting is checked when it is given."""
    with pytest.raises(InvalidProblem, match=next(iter(given))):
        SelfPlay(**given)


def test_wrong_features(tic_tac_toe):
    """Features that are no table of finite numbers are refused when the agent is made."""
    with pytest.raises(InvalidProblem, match="features returned shape"):
        AlphaZero(tic_tac_toe, SMALL, features=lambda states: states[0])
    with pytest.raises(InvalidProblem, match="finite"):
        AlphaZero(tic_tac_toe, SMALL, features=lambda states: np.full((len(states), 2), np.nan))
