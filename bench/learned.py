"""Training and rolling out probabilistic ensembles, beside mbrl-lib and beside a loop over the members.

``python -m bench.learned`` prints the table. mbrl-lib 0.2.0 is measured where it can be imported: it asks for versions
of hydra-core and omegaconf that others exclude, so install it with ``pip install --no-deps mbrl`` and add hydra-core,
omegaconf, tqdm, gymnasium and what else its import names. All are given the same data and sizes, and as many threads as
the machine has.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from bench.measure import Row, duration, take_turns
from trajopt.learned_dynamics import ProbabilisticEnsemble

ROUNDS = 3
DATA = 1000
EPOCHS = 10
STATES, CONTROLS = 4, 1
SIZES = {"5 x 3 x 64": (5, 3, 64), "5 x 3 x 200": (5, 3, 200), "7 x 4 x 200": (7, 4, 200)}
PLANS = {"64 x 5 x 12": (64, 5, 12), "500 x 20 x 15": (500, 20, 15)}
"""Plans x particles x steps: of a small iCEM, and of mbrl-lib's notebook on the cart-pole."""


def data() -> tuple[Any, Any, Any]:
    """Transitions of random linear dynamics with noise."""
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(DATA, STATES)), rng.normal(size=(DATA, CONTROLS))
    return x, u, x + 0.1 * np.tanh(x @ rng.normal(size=(STATES, STATES)) + u) + 0.01 * rng.normal(size=x.shape)


class Loop:
    """E networks as E modules, one after the other: the plain way."""

    def __init__(self, members: int, depth: int, width: int) -> None:
        sizes = [STATES + CONTROLS, *[width] * depth, 2 * STATES]
        self.members = []
        for _ in range(members):
            layers: list[torch.nn.Module] = []
            for inputs, outputs in pairwise(sizes):
                layers += [torch.nn.Linear(inputs, outputs), torch.nn.SiLU()]
            self.members.append(torch.nn.Sequential(*layers[:-1]))
        self.adams = [torch.optim.Adam(member.parameters(), lr=1e-3) for member in self.members]

    def train(self, x: Any, u: Any, y: Any, batch: int) -> None:
        inputs = torch.tensor(np.hstack([x, u]), dtype=torch.float32)
        targets = torch.tensor(y - x, dtype=torch.float32)
        for member, adam in zip(self.members, self.adams, strict=True):
            for _ in range(EPOCHS):
                for rows in torch.randperm(len(inputs)).split(batch):
                    mean, raw = member(inputs[rows]).chunk(2, dim=1)
                    v = 0.5 - torch.nn.functional.softplus(0.5 - raw)
                    v = -10.0 + torch.nn.functional.softplus(v + 10.0)
                    loss = ((mean - targets[rows]) ** 2 * torch.exp(-v) + v).mean()
                    adam.zero_grad()
                    loss.backward()
                    adam.step()

    @torch.no_grad()
    def roll_out(self, x: Any, u: Any) -> None:
        states, controls = torch.tensor(x, dtype=torch.float32), torch.tensor(u, dtype=torch.float32)
        share = len(states) // len(self.members)
        for index, member in enumerate(self.members):
            rows = slice(index * share, (index + 1) * share)
            state = states[rows]
            for k in range(u.shape[1]):
                mean, raw = member(torch.cat([state, controls[rows, k]], dim=1)).chunk(2, dim=1)
                v = 0.5 - torch.nn.functional.softplus(0.5 - raw)
                v = -10.0 + torch.nn.functional.softplus(v + 10.0)
                state = state + mean + torch.exp(0.5 * v) * torch.randn_like(mean)


class MbrlLib:
    """mbrl-lib's ensemble, trainer and model environment."""

    def __init__(self, members: int, depth: int, width: int) -> None:
        from mbrl.models import GaussianMLP, OneDTransitionRewardModel  # noqa: PLC0415 - where it is installed

        network = GaussianMLP(
            STATES + CONTROLS,
            STATES,
            "cpu",
            num_layers=depth,
            ensemble_size=members,
            hid_size=width,
            propagation_method="fixed_model",
            learn_logvar_bounds=True,
            activation_fn_cfg={"_target_": "torch.nn.SiLU"},
        )
        self.model = OneDTransitionRewardModel(network, normalize=True, learned_rewards=False)

    def train(self, x: Any, u: Any, y: Any, batch: int) -> None:
        from mbrl.models import ModelTrainer  # noqa: PLC0415 - where it is installed
        from mbrl.types import TransitionBatch  # noqa: PLC0415
        from mbrl.util.replay_buffer import BootstrapIterator, TransitionIterator  # noqa: PLC0415

        zeros = np.zeros(len(x), dtype=np.float32)
        held = len(x) // 10
        parts = [array.astype(np.float32) for array in (x, u, y)]

        def rows(part: slice) -> TransitionBatch:
            before, controls, after = (array[part] for array in parts)
            arrays = {"obs": before, "act": controls, "next_obs": after, "rewards": zeros[part]}
            ends = [name for name in TransitionBatch.__dataclass_fields__ if name not in arrays]
            return TransitionBatch(**arrays, **{name: zeros[part] > 1 for name in ends})

        members = self.model.model.num_members
        training = BootstrapIterator(rows(slice(held, None)), batch, members, shuffle_each_epoch=True)
        judged = TransitionIterator(rows(slice(held)), batch)
        self.model.update_normalizer(rows(slice(None)))
        trainer = ModelTrainer(self.model, optim_lr=1e-3, weight_decay=5e-5)
        trainer.train(training, judged, num_epochs=EPOCHS, patience=EPOCHS, silent=True)

    def roll_out(self, plans: torch.Tensor, start: Any, particles: int) -> None:
        from types import SimpleNamespace  # noqa: PLC0415

        from mbrl.models import ModelEnv  # noqa: PLC0415 - where it is installed

        spaces = SimpleNamespace(observation_space=None, action_space=None)

        def never(action: Any, state: Any) -> torch.Tensor:
            return torch.zeros(len(state), 1, dtype=torch.bool)

        def reward(action: Any, state: Any) -> torch.Tensor:
            return -(state**2).sum(dim=1, keepdim=True)

        ModelEnv(spaces, self.model, never, reward).evaluate_action_sequences(plans, start, particles)


def has_mbrl() -> bool:
    """Whether mbrl-lib can be imported."""
    try:
        import mbrl.models  # noqa: F401, PLC0415
    except ImportError:
        return False
    return True


def training_rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """Seconds for an epoch over the data, by size and batch."""
    x, u, y = data()
    for name, (members, depth, width) in SIZES.items():
        for batch in (32, 256):
            settings = {"members": members, "hidden": (width,) * depth, "batch": batch, "epochs": EPOCHS}
            ours = ProbabilisticEnsemble(STATES, CONTROLS, patience=EPOCHS, **settings)
            calls = {
                "trajopt": partial(ours.fit, x, u, y),
                "loop over members": partial(Loop(members, depth, width).train, x, u, y, batch),
            }
            if has_mbrl():
                calls["mbrl-lib"] = partial(MbrlLib(members, depth, width).train, x, u, y, batch)
            seconds = {who: value / EPOCHS for who, value in take_turns(calls, rounds).items()}
            yield _row(f"an epoch of {DATA} transitions, {name}, batch {batch}", ">= 3 times", seconds)


def planning_rows(rounds: int = ROUNDS) -> Iterator[Row]:
    """Seconds for the rollouts of one iteration of a planner, TS-infinity, known cost."""
    x, u, y = data()
    rng = np.random.default_rng(1)
    for name, (members, depth, width) in SIZES.items():
        model = ProbabilisticEnsemble(STATES, CONTROLS, members=members, hidden=(width,) * depth, epochs=1)
        model, loop = model.fit(x, u, y), Loop(members, depth, width)
        for plan, (count, particles, steps) in PLANS.items():
            few = -(-count // members) * members  # mbrl-lib takes multiples of the members alone
            plans = rng.uniform(-1.0, 1.0, size=(few, steps, CONTROLS))
            start, controls = np.tile(x[:1], (few * particles, 1)), np.repeat(plans, particles, axis=0)
            calls = {
                "trajopt": partial(_value, model, start, controls),
                "loop over members": partial(loop.roll_out, start, controls),
            }
            if has_mbrl():
                theirs = MbrlLib(members, depth, width)
                theirs.train(x, u, y, 256)
                tensor = torch.tensor(plans, dtype=torch.float32)
                calls["mbrl-lib"] = partial(theirs.roll_out, tensor, x[0].astype(np.float32), particles)
            yield _row(f"rollouts {plan}, {name}", ">= 5 times", take_turns(calls, rounds))


def _value(model: ProbabilisticEnsemble, start: Any, controls: Any) -> Any:
    states = model.rollout(start, controls, 0, None, np.random.default_rng(0))
    return -np.sum(states**2, axis=(1, 2))


def _row(what: str, target: str, seconds: dict[str, float]) -> Row:
    others = {who: value for who, value in seconds.items() if who != "trajopt"}
    note = ", ".join(f"{value / seconds['trajopt']:.1f} times as fast as {who}" for who, value in others.items())
    return Row(what, "-", target, seconds["trajopt"], others, note=note)


def main() -> None:
    """Measure and print."""
    for row in (*training_rows(), *planning_rows()):
        print(f"{row.what}: {duration(row.ours)}; {row.note}", flush=True)


if __name__ == "__main__":
    main()
