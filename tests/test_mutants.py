"""Seeded mistakes are noticed: each mutant fails the checks that the registry names, which pass without it."""

from __future__ import annotations

import pytest

from tests.mutants.registry import MUTANTS
from tests.mutants.trial import Trial
from tests.mutants.trials import baselines, run_trials

REPRESENTATIVE = [
    "the terminal gradient is left out",
    "costates are off by one",
    "the Hessian of the value forgets the cross term Q_xu K",
    "controls are clipped after the dynamics have seen them",
    "the cost of the previous iterate is reported",
    "the line search takes any step",
    "the third stage of RK4 starts from the first",
    "the temperature is inverted",
    "the least merit is not subtracted before exponentials are taken",
    "elites are taken from the wrong end",
    "every iteration draws the same numbers",
    "the iteration limit counts as solved",
    "the certificate forgets the gradient of the end",
]
"""One of each kind, the quick ones."""


@pytest.mark.parametrize("name", MUTANTS)
def test_the_passage_is_there(name):
    """Each passage occurs exactly once in the source: a mutant that mutates nothing would be no proof."""
    mutant = MUTANTS[name]
    assert mutant.mutate(mutant.path.read_text()) != mutant.path.read_text()
    assert mutant.killers


def kill(names):
    """Try each mutant against the first of its killers, which must pass on the library as it is."""
    survivors = []
    for compiled in (False, True):
        chosen = [MUTANTS[name] for name in names if MUTANTS[name].compiled == compiled]
        mutated = [Trial(mutant.name, mutant.solver, mutant.killers[:1], compiled=compiled) for mutant in chosen]
        sound = baselines(mutated)
        for trial, found in zip([*sound, *mutated], run_trials([*sound, *mutated]), strict=True):
            assert not found.error, f"{trial.mutant}: {found.error}"
            if not trial.mutant:
                assert not found.failed, f"without a mutant {trial.solver} fails: {found.failed}"
            elif not found.failed:
                survivors.append(trial.mutant)
    assert not survivors


def test_representative_mutants_are_killed():
    """A dozen, one of each kind; all of them in the thorough run."""
    kill(REPRESENTATIVE)


@pytest.mark.thorough
def test_all_mutants_are_killed():
    """Each by a check or a test that passes without it."""
    kill(MUTANTS)
