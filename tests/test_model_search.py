"""Search over models: recorded searches repeated, models in place of rules, and numbers that are not finite."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from search_cases import ByGumbel, Recording, ReferenceSearch, by_puct, softmax

import trajopt as to
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.learned_dynamics import torch_process
from trajopt.solvers.mcts import MCTS, Gumbel

GUMBEL = MCTS(selection="gumbel", simulations=24, threads=1)
PUCT = MCTS(selection="puct", normalisation="siblings", simulations=24, threads=1)
ROUNDING = {"rtol": 1e-9, "atol": 1e-9}
"""Sums of some dozen numbers of size one, in double precision, through a change of coordinates."""


class Table:
    """A random decision process of few states in tables; (0) of its actions from the last state is excluded."""

    def __init__(self, seed: int, *, states: int = 7, actions: int = 5, discounts: tuple[float, ...] = (0.9,)) -> None:
        random = np.random.default_rng(seed)
        self.states, self.actions = states, actions
        self.following = random.integers(states, size=(states, actions))
        self.reward = random.normal(size=(states, actions))
        self.discount = random.choice(discounts, size=(states, actions))
        self.logits = random.normal(size=(states, actions))
        self.logits[-1, 0] = -np.inf
        self.value = random.normal(size=states)
        # Orthogonal, so that the change of coordinates loses nothing but the last bits.
        self.change = np.linalg.qr(random.normal(size=(states, states)))[0]

    def encode(self, states) -> np.ndarray:
        """Embeddings of states (B,)."""
        return np.eye(self.states)[np.asarray(states, int)] @ self.change.T

    def decode(self, embeddings: np.ndarray) -> np.ndarray:
        """The states of embeddings."""
        return np.argmax(embeddings @ self.change, axis=1)

    def model(self, **changed) -> to.ModelProcess:
        """The process as a model of embeddings; ``changed`` tables take the place of its own."""
        tables = {name: changed.get(name, getattr(self, name)) for name in ("reward", "discount", "logits", "value")}

        def root(states):
            s = states.astype(int)[:, 0]
            return self.encode(s), tables["logits"][s], tables["value"][s]

        def dynamics(embeddings, actions):
            s = self.decode(embeddings)
            after = self.following[s, actions]
            rewards, discounts = tables["reward"][s, actions], tables["discount"][s, actions]
            return self.encode(after), rewards, discounts, tables["logits"][after], tables["value"][after]

        return to.ModelProcess(root, dynamics, self.actions, name="the table")

    def process(self) -> to.DecisionProcess:
        """The rules themselves."""
        following, reward, discount = self.following, self.reward, self.discount
        allowed = np.isfinite(self.logits)

        def step(state, action):
            s = state[0]
            state[0] = following[s, action]
            return state, reward[s, action], discount[s, action]

        def legal(state, out):
            for action in range(allowed.shape[1]):
                out[action] = allowed[state[0], action]

        return to.DecisionProcess(step, np.zeros(1, np.int64), self.actions, legal=legal)

    def evaluate(self, states):
        """Values and priors of states (B, 1)."""
        s = states[:, 0]
        return self.value[s], np.array([softmax(row) for row in self.logits[s]])

    def search(self, state, select, simulations) -> ReferenceSearch:
        """The slow search."""

        def step(s, action):
            after = self.following[s, action]
            return self.logits[after], self.value[after], after, self.reward[s, action], self.discount[s, action]

        return ReferenceSearch((self.logits[state], self.value[state], state), step, select, simulations)


def decide(model, planner, *states):
    """Decisions of a table's model in states."""
    return to.decide_batch(model, planner, np.array(states)[:, None])


def assert_same(first, second):
    """The same search but for rounding."""
    assert first.action == second.action
    assert first.principal_variation == second.principal_variation
    np.testing.assert_array_equal(first.visits, second.visits)
    np.testing.assert_allclose(first.action_values, second.action_values, **ROUNDING)
    np.testing.assert_allclose(first.probabilities, second.probabilities, **ROUNDING)
    np.testing.assert_allclose(first.value, second.value, **ROUNDING)


@pytest.mark.parametrize("name", ["mctx_gumbel", "mctx_puct"])
def test_recorded_search(name):
    """A search recorded by mctx is repeated: the same node in every expansion, every count, values within 1e-6."""
    recording = Recording.read(name)
    logits = np.log(recording.prior)

    def root(observations):
        return np.zeros((1, 1), np.int64), logits[:1], recording.raw_value[:1]

    def dynamics(nodes, actions):
        child = np.array([recording.child(int(nodes[0, 0]), int(actions[0]))])
        discounts = np.full(1, recording.discount)
        return child[:, None], recording.reward[child], discounts, logits[child], recording.raw_value[child]

    planner = MCTS(selection="puct", normalisation="siblings", simulations=recording.simulations)
    if name == "mctx_gumbel":
        told = recording.settings["qtransform_kwargs"]
        rule = Gumbel(
            considered=recording.settings["max_num_considered_actions"],
            scale=recording.settings["gumbel_scale"],
            value_scale=told["value_scale"],
            visit_offset=told["maxvisit_init"],
            rescale=told["rescale_values"],
        )
        planner = MCTS(selection="gumbel", gumbel=rule, simulations=recording.simulations)
    tree = to.decide(to.ModelProcess(root, dynamics, 18), planner, state=np.zeros(1)).tree
    assert tree.size == len(recording.parent)
    assert [int(tree.state_of(node)[0]) for node in range(tree.size)] == list(range(tree.size))
    np.testing.assert_array_equal([tree.node(k)["visits"] for k in range(tree.size)], recording.visits)
    values = [tree.node(k)["value"] for k in range(tree.size)]
    np.testing.assert_allclose(values, recording.value, rtol=0.0, atol=1e-6)  # the digits of the recording


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("rescale", [True, False])
def test_gumbel_search_as_the_slow_one(seed, rescale):
    """On random tables, with random variates, Gumbel search visits, values and answers as the slow search does."""
    table = Table(seed, discounts=(0.9, -1.0))
    rule = Gumbel(considered=4, rescale=rescale)
    planner = MCTS(selection="gumbel", gumbel=rule, simulations=40, seed=seed)
    decision = decide(table.model(), planner, table.states - 1)[0]
    gumbel = decision.tree.forest.samples[0, :, 0]
    slow = ByGumbel(gumbel, considered=4, rescale=rescale)
    search = table.search(table.states - 1, slow, 40)
    action, policy = slow.answer(search)
    np.testing.assert_array_equal(decision.visits, search.nodes[0].counts)
    np.testing.assert_allclose(decision.value, search.nodes[0].value, **ROUNDING)
    np.testing.assert_allclose(decision.action_values, search.values(search.nodes[0]), **ROUNDING)
    np.testing.assert_allclose(decision.probabilities, policy, rtol=1e-5, atol=1e-6)  # priors in single precision
    assert decision.action == action


@pytest.mark.parametrize("seed", range(4))
def test_puct_as_the_slow_one(seed):
    """MuZero's PUCT with values normalised by parent and siblings visits and values as the slow search does."""
    table = Table(seed)
    decision = decide(table.model(), MCTS(selection="puct", normalisation="siblings", simulations=60), 0)[0]
    search = table.search(0, by_puct, 60)
    np.testing.assert_array_equal(decision.visits, search.nodes[0].counts)
    np.testing.assert_allclose(decision.value, search.nodes[0].value, **ROUNDING)


@pytest.mark.parametrize("planner", [GUMBEL, PUCT], ids=["gumbel", "puct"])
@pytest.mark.parametrize("discounts", [(0.95, 0.0), (-1.0, 0.0), (1.0, -1.0, 0.0)], ids=["one", "two", "irregular"])
def test_value_equivalent_model(planner, discounts):
    """A model in other coordinates decides as the rules do: one player, two, irregular turns, and ends."""
    for seed in range(4):
        table = Table(seed, discounts=discounts)
        rules = MCTS(**{**vars(planner), "evaluation": table.evaluate, "seed": seed})
        model = MCTS(**{**vars(planner), "seed": seed})
        for state in range(3):
            expected = to.decide(table.process(), rules, state=[state])
            assert_same(to.decide(table.model(), model, state=[state]), expected)


@pytest.mark.parametrize("planner", [GUMBEL, PUCT], ids=["gumbel", "puct"])
def test_batch_is_its_single_searches(planner):
    """Roots searched together, with unequal legal actions, in threads or not, decide as each would alone."""
    table = Table(3, discounts=(0.9, 0.0))
    states = [table.states - 1, 0, 1, 2, table.states - 1]
    together = decide(table.model(), planner, *states)
    threaded = decide(table.model(), MCTS(**{**vars(planner), "threads": 2}), *states)
    for k, state in enumerate(states):
        alone = decide(table.model(), MCTS(**{**vars(planner), "seed": planner.seed + k}), state)[0]
        assert_same(together[k], alone)
        assert_same(together[k], threaded[k])
        assert (together[k].visits[0] == 0) or state != table.states - 1


def test_one_call_a_simulation():
    """The model is called once for all roots in each simulation, and once for the roots themselves."""
    table, calls = Table(0), []
    plain = table.model()

    def dynamics(embeddings, actions):
        calls.append(len(actions))
        return plain.dynamics(embeddings, actions)

    decide(to.ModelProcess(plain.root, dynamics, table.actions), GUMBEL, *range(5))
    assert calls == [5] * GUMBEL.simulations


@pytest.mark.parametrize("planner", [GUMBEL, PUCT], ids=["gumbel", "puct"])
@pytest.mark.parametrize("where", ["reward", "value", "discount", "logits"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite(planner, where, bad):
    """What leads to a number that is not finite is never decided for, whatever its prior, and the message tells it."""
    table = Table(1)
    table.following[0], table.logits[0] = [1, 2, 3, 4, 5], [0.0, 1.0, 9.0, 0.0, 1.0]
    broken = np.array(getattr(table, where))
    if where == "value":
        broken[3] = bad
    else:
        broken[0, 2] = bad
    decision = decide(table.model(**{where: broken}), planner, 0)[0]
    assert decision.action != 2
    assert decision.probabilities[2] == 0.0 or where != "logits"
    assert np.isfinite(decision.value)
    assert "not finite" in decision.message


def test_embeddings_that_are_not_finite():
    """A step to an embedding with NaN counts as impossible."""
    table = Table(1)
    plain = table.model()

    def dynamics(embeddings, actions):
        after, *others = plain.dynamics(embeddings, actions)
        return np.where((actions == 1)[:, None], np.nan, after), *others

    decision = decide(to.ModelProcess(plain.root, dynamics, table.actions), GUMBEL, 0)[0]
    assert decision.action != 1
    assert "not finite" in decision.message


def test_nothing_but_nan():
    """A network that only gives NaN is told, as a failure, and the search ends."""
    table = Table(1)
    nothing = {name: np.full_like(getattr(table, name), np.nan) for name in ("reward", "value", "logits")}
    decision = decide(table.model(**nothing), GUMBEL, 0)[0]
    assert decision.status is to.Status.NUMERICAL_FAILURE
    assert 0 <= decision.action < table.actions


@pytest.mark.parametrize("planner", [MCTS(selection="gumbel", gumbel=Gumbel(scale=0.0), simulations=0),
                                     MCTS(selection="puct", simulations=0)], ids=["gumbel", "puct"])  # fmt: skip
def test_no_simulations(planner):
    """Without a simulation the answer is the prior's."""
    table = Table(2)
    for state, decision in enumerate(decide(table.model(), planner, *range(table.states))):
        assert decision.action == np.argmax(table.logits[state])
        np.testing.assert_allclose(decision.probabilities, softmax(table.logits[state]), atol=1e-6)  # single precision


def test_sampled_without_simulations():
    """The variates draw actions as the prior says: frequencies within four deviations of it."""
    table, count = Table(2), 4000
    decisions = decide(table.model(), MCTS(selection="gumbel", simulations=0), *np.zeros(count))
    share = np.bincount([decision.action for decision in decisions], minlength=table.actions) / count
    prior = softmax(table.logits[0])
    assert np.all(np.abs(share - prior) <= 4.0 * np.sqrt(prior * (1.0 - prior) / count))


def bandit(q, logits, raw):
    """A model of one decision."""

    def root(observations):
        count = len(observations)
        return np.zeros((count, 1)), np.tile(logits, (count, 1)), np.full(count, raw)

    def dynamics(embeddings, actions):
        count = len(actions)
        zeros = np.zeros(count)
        return embeddings, q[actions], zeros, np.zeros((count, len(q))), zeros

    return to.ModelProcess(root, dynamics, len(q))


def test_bandit_of_mctx():
    """Visits, action and improved policy of mctx's bandits, with all actions and with two of four."""
    logits, q = np.array([0.0, -1.0, 2.0, 3.0]), np.array([20.0, 3.0, -1.0, 10.0])
    rule = Gumbel(scale=0.0, value_scale=0.05, visit_offset=60.0)
    planner = MCTS(selection="gumbel", gumbel=rule, simulations=17, proven=False)
    decision = to.decide(bandit(q, logits, -5.0), planner, state=0.0)
    assert decision.action == 3
    assert sorted(decision.visits[[0, 3]]) == [6, 7]
    np.testing.assert_array_equal(decision.visits[[1, 2]], 2)
    scale = (60.0 + decision.visits.max()) * 0.05
    np.testing.assert_allclose(decision.probabilities, softmax(logits + scale * (q + 1.0) / 21.0), atol=1e-6)
    masked = np.array([-np.inf, -1.0, 2.0, -np.inf])
    decision = to.decide(bandit(q, masked, -5.0), planner, state=0.0)
    assert decision.action == 1
    np.testing.assert_array_equal(decision.visits, [0, 9, 8, 0])
    expected = softmax(masked + (60.0 + 9.0) * 0.05 * np.array([0.0, 1.0, 0.0, 0.0]))
    np.testing.assert_allclose(decision.probabilities, expected, atol=1e-6)  # single precision


@pytest.mark.parametrize("simulations", [2, 4, 16, 50])
def test_policy_improvement(simulations):
    """In every one of 100 trials over 82 actions the decision is no worse than the prior's with the same variates."""
    random = np.random.default_rng(simulations)
    planner = MCTS(selection="gumbel", simulations=simulations, proven=False)
    for _ in range(100):
        q, logits = random.random(82), random.normal(size=82)
        decision = to.decide(bandit(q, logits, softmax(logits) @ q), planner, state=0.0)
        gumbel = decision.tree.forest.samples[0, :, 0]
        assert q[decision.action] >= q[np.argmax(gumbel + np.log(softmax(logits).astype(np.float32)))]
        # The improved policy is softmax(logits + sigma(q)), and an increasing sigma cannot lower the mean of what it is
        # taken of: of the completed values, in which the mixed value stands for what was not tried.
        seen = decision.visits > 0
        prior = softmax(logits)
        mixed = (prior @ q + simulations * (prior[seen] @ q[seen]) / prior[seen].sum()) / (1.0 + simulations)
        completed = np.where(seen, q, mixed)
        assert decision.probabilities @ completed >= prior @ completed - 1e-6  # single precision


def test_policy_improvement_in_the_mean():
    """With the mixed value the improved policy gains in the mean of 400 trials, by more than four standard errors."""
    random = np.random.default_rng(0)
    gains = []
    for trial in range(400):
        q, logits = random.random(20), random.normal(size=20)
        planner = MCTS(selection="gumbel", simulations=4, proven=False, seed=trial)
        decision = to.decide(bandit(q, logits, softmax(logits) @ q), planner, state=0.0)
        gains.append((decision.probabilities - softmax(logits)) @ q)
    assert np.mean(gains) > 4.0 * np.std(gains) / np.sqrt(len(gains))


def test_other_names_of_actions():
    """With the actions permuted, and the variates with them, the search is the permuted one."""
    random = np.random.default_rng(1)
    table = Table(5, actions=6)
    order = random.permutation(6)
    other = Table(5, actions=6)
    for name in ("following", "reward", "discount", "logits"):
        setattr(other, name, getattr(table, name)[:, order])
    planner = MCTS(selection="gumbel", gumbel=Gumbel(scale=0.0), simulations=40)
    one, two = decide(table.model(), planner, 0)[0], decide(other.model(), planner, 0)[0]
    np.testing.assert_array_equal(two.visits, one.visits[order])
    np.testing.assert_allclose(two.probabilities, one.probabilities[order], **ROUNDING)
    assert order[two.action] == one.action


def test_chance_of_one_outcome():
    """Where nature has no choice, search through chance decides as search without it."""
    table = Table(4, discounts=(0.9, 0.0))
    following, reward, discount = table.following, table.reward, table.discount

    def step(state, move):
        if state[1] >= 0:  # an afterstate: nature's only outcome takes it to where the action leads
            state[0], state[1] = following[state[0], state[1]], -1
            return state, 0.0, 1.0
        gained, factor = reward[state[0], move], discount[state[0], move]
        state[1] = move
        return state, gained, factor

    def chance(state, out):
        out[0] = 1.0 if state[1] >= 0 else 0.0

    allowed = np.isfinite(table.logits)

    def legal(state, out):
        for action in range(allowed.shape[1]):
            out[action] = allowed[state[0], action]

    nature = to.DecisionProcess(step, np.array([0, -1]), table.actions, legal=legal, chance=chance, outcomes=1)
    planner = MCTS(**{**vars(GUMBEL), "evaluation": table.evaluate})
    for state in range(3):
        one = to.decide(table.process(), planner, state=[state])
        two = to.decide(nature, planner, state=[state, -1])
        np.testing.assert_array_equal(one.visits, two.visits)
        np.testing.assert_allclose(one.action_values, two.action_values, **ROUNDING)
        assert one.action == two.action


@pytest.mark.parametrize("planner", [GUMBEL, PUCT], ids=["gumbel", "puct"])
def test_simulations_under_way_together(planner):
    """Several simulations of one tree at a time make the same number, call the model less often, and choose alike."""
    table, calls = Table(0, discounts=(0.5,)), []
    plain = table.model()

    def dynamics(embeddings, actions):
        calls.append(len(actions))
        return plain.dynamics(embeddings, actions)

    model = to.ModelProcess(plain.root, dynamics, table.actions)
    decision = decide(model, MCTS(**{**vars(planner), "parallel": 4, "simulations": 200}), 0)[0]
    assert decision.simulations == decision.visits.sum() == 200
    assert len(calls) < 80
    assert decision.action == decide(table.model(), MCTS(**{**vars(planner), "simulations": 200}), 0)[0].action


def test_gumbel_search_over_rules_with_rollouts():
    """Gumbel selection composes with compiled rollouts, whose prior is uniform."""
    table = Table(0, discounts=(0.5, 0.0))
    decision = to.decide(table.process(), MCTS(selection="gumbel", simulations=400, seed=1))
    assert decision.simulations == 400
    assert decision.action == to.decide(table.process(), MCTS(simulations=4000)).action


def test_gumbel_search_goes_on_from_a_tree():
    """What a tree knows is kept, and the new search spends all its simulations beside."""
    table = Table(0)
    planner = MCTS(**{**vars(GUMBEL), "evaluation": table.evaluate})
    process = table.process()
    first = to.decide(process, planner)
    second = to.decide(process, planner, tree=first.tree)
    assert second.visits.sum() == first.visits.sum() + 24
    assert second.simulations == 24


def test_trees_of_models_are_drawn(tmp_path):
    """A tree over embeddings can be looked at as one over rules can, but not moved on: observations say more."""
    tree = decide(Table(0).model(), GUMBEL, 0)[0].tree
    plt.close(tree.plot())
    assert "the table" in tree.report(tmp_path / "tree.html").read_text()
    with pytest.raises(UnsupportedProblem, match="begins from what is observed"):
        tree.after(0)


def test_problems_by_gumbel_search():
    """Gumbel search solves a problem of optimal control over a grid of controls, better than without simulations."""
    problem = to.Problem(
        to.DiscreteDynamics(lambda x, u: np.array([x[0] + 0.1 * x[1], x[1] + 0.1 * u[0]]), nx=2, nu=1),
        lambda x, u: x @ x + 0.01 * u @ u,
        initial_state=[1.0, 0.0],
        constraints=[to.Bounds(control=(-1.0, 1.0))],
        horizon=to.Horizon(steps=20),
    )
    guess = to.solve(problem, MCTS(selection="gumbel", simulations=0, levels=3))
    found = to.solve(problem, MCTS(selection="gumbel", simulations=200, levels=3))
    assert found.cost < min(guess.cost, 20.0)  # 20: standing still, 1 in each step


class Network(torch.nn.Module):
    """The functions h, f and g of a small random network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.head = torch.nn.Linear(3, 8), torch.nn.Linear(8, 5)
        self.after, self.reward = torch.nn.Linear(12, 8), torch.nn.Linear(12, 1)

    def representation(self, observation):
        """Embeddings of observations."""
        return torch.tanh(self.encoder(observation))

    def prediction(self, embedding):
        """Logits and values."""
        output = self.head(embedding)
        return output[:, :4], output[:, 4]

    def dynamics(self, embedding, action):
        """Embeddings, rewards and discounts."""
        joined = torch.cat([embedding, torch.nn.functional.one_hot(action, 4)], dim=1)
        reward = self.reward(joined)[:, 0]
        return torch.tanh(self.after(joined)), reward, torch.full_like(reward, 0.9)


def test_network_of_pytorch():
    """A search over a PyTorch module visits and values as the slow search over the same module does."""
    with torch.random.fork_rng():
        network = Network()
    process = torch_process(network.representation, network.dynamics, network.prediction, 4)
    observations = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)
    decisions = to.decide_batch(process, GUMBEL, observations)
    for observation, decision in zip(observations, decisions, strict=True):
        roots = process.predict(observation[None])

        def step(embedding, action):
            found = process.step(embedding[None], np.array([action]))
            after = found.after
            return after.logits[0], after.values[0], after.embeddings[0], found.rewards[0], found.discounts[0]

        slow = ByGumbel(decision.tree.forest.samples[decision.tree.number, :, 0])
        search = ReferenceSearch((roots.logits[0], roots.values[0], roots.embeddings[0]), step, slow, 24)
        np.testing.assert_array_equal(decision.visits, search.nodes[0].counts)
        # A batch of one rounds another way than a batch of three: single precision, over a path of a few steps.
        np.testing.assert_allclose(decision.value, search.nodes[0].value, rtol=1e-5, atol=1e-5)


def test_wrong_models_are_refused():
    """What a model returns is checked, and so is what does not go with one."""
    table = Table(0)
    plain, other = table.model(), Table(0, actions=4).model()
    with pytest.raises(InvalidProblem, match=r"logits of shape \(1, 4\)"):
        decide(to.ModelProcess(other.root, plain.dynamics, 5), GUMBEL, 0)
    with pytest.raises(InvalidProblem, match="embeddings of shape"):
        decide(to.ModelProcess(plain.root, lambda e, a: (e[:, :2], *plain.dynamics(e, a)[1:]), 5), GUMBEL, 0)
    with pytest.raises(InvalidProblem, match=r"\(embeddings, logits, values\) was expected"):
        decide(to.ModelProcess(lambda s: plain.root(s)[:2], plain.dynamics, 5), GUMBEL, 0)
    with pytest.raises(InvalidProblem, match="raised KeyError"):
        decide(to.ModelProcess(lambda s: {}[0], plain.dynamics, 5), GUMBEL, 0)
    with pytest.raises(InvalidProblem, match="logits of -inf for all actions"):
        decide(table.model(logits=np.full_like(table.logits, -np.inf)), GUMBEL, 0)
    with pytest.raises(InvalidProblem, match="an observation"):
        to.decide(plain, GUMBEL)
    with pytest.raises(InvalidProblem, match="function of 2 arguments"):
        to.ModelProcess(plain.root, plain.root, 5)
    with pytest.raises(UnsupportedProblem, match="values its states itself"):
        to.decide(plain, MCTS(evaluation=table.evaluate), state=[0])
    with pytest.raises(UnsupportedProblem, match="begins from what is observed"):
        to.decide(plain, GUMBEL, state=[0], tree=to.decide(plain, GUMBEL, state=[0]).tree)


@pytest.mark.parametrize("given", [{"temperature": 1.0}, {"noise": (0.3, 0.25)}, {"action_widening": (1.0, 0.5)},
                                   {"backup": "maximum"}])  # fmt: skip
def test_what_gumbel_search_does_itself(given):
    """Settings that Gumbel search has no use for are refused, and not dropped silently."""
    with pytest.raises(InvalidProblem, match="selection='gumbel'"):
        MCTS(selection="gumbel", **given)


@pytest.mark.parametrize("given", [{"considered": 0}, {"scale": -1.0}, {"value_scale": 0.0}, {"rescale": 1}])
def test_wrong_settings_of_gumbel(given):
    """Each setting is checked when it is given."""
    with pytest.raises(InvalidProblem, match=next(iter(given))):
        Gumbel(**given)
