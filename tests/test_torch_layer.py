"""A solver as a function of tensors: gradients, batches, failures."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import trajopt as to
from tests.derivative_cases import CASES, swing
from trajopt.solvers import DDP, Collocation, InteriorPoint

TIGHT = InteriorPoint(tolerance=1e-11)


def tensor(values):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def controlled():
    return swing(constraints=[to.Bounds(control=(-0.8, 0.8))], horizon=to.Horizon(3.0, steps=6))


@pytest.mark.parametrize("solver", [TIGHT, Collocation(tolerance=1e-11)], ids=["InteriorPoint", "Collocation"])
def test_gradcheck(solver):
    """Torch's own check: every output by every input, over a batch, in double precision."""
    layer = to.torch_layer(controlled(), solver)

    def function(states, mass, weights):
        return layer(initial_state=states, parameters={"mass": mass, "weights": weights})

    states, mass, weights = tensor([[0.2, 0.1], [0.3, -0.1]]), tensor(1.2), tensor([[1.0, 0.5], [0.9, 0.6]])
    # The differences err by eps^2 = 1e-8 and by what the solver is off, 1e-9, over eps.
    assert torch.autograd.gradcheck(function, (states, mass, weights), eps=1e-4, atol=1e-4, rtol=1e-4)


def test_a_batch_is_its_instances():
    """Shapes, values and gradients of a batch are those of its instances, one at a time."""
    layer = to.torch_layer(controlled(), TIGHT)
    states, masses = tensor([[0.2, 0.1], [0.3, -0.1], [0.0, 0.0]]), tensor([1.0, 1.2, 1.4])
    u, x, cost = layer(initial_state=states, parameters={"mass": masses})
    assert (u.shape, x.shape, cost.shape) == ((3, 6, 1), (3, 7, 2), (3,))
    (u.sum() + (x**2).sum() + cost.sum()).backward()
    for i in range(3):
        state, mass = (values.detach()[i].clone().requires_grad_() for values in (states, masses))
        one = layer(initial_state=state, parameters={"mass": mass})
        assert (one.u.shape, one.cost.shape) == ((6, 1), ())
        assert torch.equal(one.u, u[i])
        (one.u.sum() + (one.x**2).sum() + one.cost).backward()
        torch.testing.assert_close(state.grad, states.grad[i])
        torch.testing.assert_close(mass.grad, masses.grad[i])


def test_what_all_share_gathers_gradients():
    """A parameter without a batch in front gets the sum over the batch; the envelope theorem is its cost's part."""
    layer = to.torch_layer(controlled(), TIGHT)
    mass, states = tensor(1.2), [[0.2, 0.1], [0.3, -0.1]]
    layer(initial_state=tensor(states), parameters={"mass": mass}).cost.sum().backward()
    expected = sum(to.solve(controlled().at(initial_state=state), TIGHT).derivatives().cost["mass"] for state in states)
    assert mass.grad.item() == pytest.approx(float(expected), rel=1e-9)


def test_single_precision_stays_outside():
    """Inputs in single precision give outputs and gradients of that type."""
    mass = torch.tensor(1.2, requires_grad=True)
    u, _, cost = to.torch_layer(controlled(), TIGHT)(parameters={"mass": mass})
    assert u.dtype == cost.dtype == torch.float32
    cost.backward()
    assert mass.grad.dtype == torch.float32


def test_a_failure_is_raised_or_masked():
    """An instance without a solution is named; or it returns NaN and passes zeros, and its neighbours do not notice."""
    states = [[0.2, 0.0], [3.0, 5.0]]
    problem = swing(
        constraints=[to.Bounds(control=(-2.0, 2.0)), to.TerminalConstraint([0.2, 0.0])],
        horizon=to.Horizon(1.0, steps=6),
    )
    with pytest.raises(to.SolveFailed, match="instance 1"):
        to.torch_layer(problem, InteriorPoint(iterations=200))(initial_state=tensor(states))
    given = tensor(states)
    u, _, cost = to.torch_layer(problem, InteriorPoint(iterations=200), on_failure="zero")(initial_state=given)
    assert cost.isfinite().tolist() == [True, False]
    assert u[1].isnan().all()
    u[0].pow(2).sum().backward()
    assert (given.grad[0] != 0.0).any()
    assert (given.grad[1] == 0.0).all()


def test_an_undifferentiable_instance_is_raised_or_masked():
    """A solution without derivatives is treated as a failure, where derivatives are needed."""
    problem = to.Problem(
        dynamics=to.DiscreteDynamics(lambda x, u: x + u[:1], nx=1, nu=2),
        stage_cost=lambda x, u: u[0] ** 2 + x[0] ** 2,
        initial_state=[1.0],
        horizon=to.Horizon(steps=4),
    )
    state = tensor([1.0])
    with pytest.raises(to.NotDifferentiable, match="instance 0"):
        to.torch_layer(problem, "multiple_shooting")(initial_state=state)
    assert to.torch_layer(problem, "multiple_shooting", on_failure="zero")(initial_state=state).cost.isnan()
    assert to.torch_layer(problem, "multiple_shooting")(initial_state=state.detach()).cost.isfinite()


def test_free_entries_stay_free():
    """What the solver chooses is not taken from the tensor, and gets no gradient."""
    state = tensor([7.0, 0.4])
    cost = to.torch_layer(CASES["periodic"], TIGHT)(initial_state=state).cost
    assert cost.item() == pytest.approx(to.solve(CASES["periodic"], TIGHT).cost, rel=1e-12)
    cost.backward()
    assert state.grad[0] == 0.0
    assert state.grad[1] != 0.0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"initial_state": [0.0, 0.0]}, "tensor"),
        ({"initial_state": torch.zeros(3)}, "shape"),
        ({"parameters": {"gravity": torch.zeros(())}}, "fixed parameters"),
        ({"initial_state": torch.zeros(2, 2), "parameters": {"mass": torch.ones(3)}}, "one size"),
    ],
)
def test_wrong_input_is_refused(given, expected):
    """Types, names and shapes that mean nothing."""
    with pytest.raises(to.InvalidProblem, match=expected):
        to.torch_layer(controlled(), DDP())(**given)


def test_wrong_settings_are_refused(monkeypatch):
    """No problem, an unknown policy, and no PyTorch."""
    with pytest.raises(to.InvalidProblem, match="Problem was expected"):
        to.torch_layer(3)
    with pytest.raises(to.InvalidProblem, match="'raise' or 'zero'"):
        to.torch_layer(controlled(), on_failure="nan")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(to.MissingExtra, match=r'pip install "trajopt\[learned\]"'):
        to.torch_layer(controlled())


def test_nothing_depends_on_threads():
    """The same bits from one thread and from two."""
    states = np.linspace(-0.3, 0.3, 8)[:, None] * [1.0, -1.0]
    answers = []
    for threads in (1, 2):
        given = tensor(states)
        layer = to.torch_layer(controlled(), TIGHT, threads=threads)
        layer(initial_state=given).u.pow(2).sum().backward()
        answers.append(given.grad)
    assert torch.equal(*answers)
