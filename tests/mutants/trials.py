"""Send trials to processes that run them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from .trial import Found, Trial

ROOT = Path(__file__).parents[2]


def baselines(trials: Sequence[Trial]) -> list[Trial]:
    """Trials of the same checks and tests on the library as it is: one for each solver."""
    looks: dict[str, dict[str, None]] = {}
    for trial in trials:
        looks.setdefault(trial.solver, {}).update(dict.fromkeys(trial.names))
    return [Trial("", solver, tuple(names), compiled=trials[0].compiled) for solver, names in looks.items()]


def run_trials(trials: Sequence[Trial]) -> Iterator[Found]:
    """What came of each of the trials, in order, as soon as it is there; all compiled or all plain.

    The processes' Hypothesis loads no plug-in, since ours would import the library before the mutant.
    """
    if not trials:
        return
    plain = "0" if trials[0].compiled else "1"
    environment = os.environ | {
        "HYPOTHESIS_NO_PLUGINS": "1", "NUMBA_DISABLE_JIT": plain, "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    command = [sys.executable, "-m", "tests.mutants.trial"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps([asdict(trial) for trial in trials]))
        process.stdin.close()
        for _ in trials:
            yield Found(**json.loads(process.stdout.readline()))
