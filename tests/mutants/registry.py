"""All mutants by their names."""

from __future__ import annotations

from . import core, programming, sampling, tree
from .mutant import Mutant

PARTS = (programming, sampling, tree, core)
MUTANTS: dict[str, Mutant] = {mutant.name: mutant for part in PARTS for mutant in part.MUTANTS}
