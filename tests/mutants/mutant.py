"""What a mutant is: one passage of one module's source, replaced while it is imported, and who must notice."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One deliberate mistake.

    Attributes
    ----------
    name
        What is wrong, in a few words.
    module
        Where, as it is imported.
    old, new
        The passage, which must occur exactly once in the module's source, and what takes its place.
    solver
        Expression of the solver on trial, evaluated with the names of `trajopt.solvers`; "" where tests alone look.
    killers
        Names of checks of the suite that fail on it and pass without it, the quickest first; or tests of this
        repository, as ``test_file.py::test_name``, of what no solver shows by itself.
    """

    name: str
    module: str
    old: str
    new: str
    solver: str
    killers: tuple[str, ...]

    @property
    def compiled(self) -> bool:
        """Whether plain Python cannot run the module: the records of trees have attributes in compiled code alone."""
        return ".tree_" in self.module

    @property
    def tests(self) -> tuple[str, ...]:
        """Those of the killers that are tests of this repository."""
        return tuple(name for name in self.killers if "::" in name)

    def __str__(self) -> str:
        return self.name

    def mutate(self, source: str) -> str:
        """The module's source with the mistake in it.

        Raises
        ------
        LookupError
            When the passage is not there exactly once: the source has moved on, and the mutant must follow.
        """
        found = source.count(self.old)
        if found != 1:
            raise LookupError(f"{self.name!r} looks for {self.old!r} in {self.module}, which has it {found} times.")
        return source.replace(self.old, self.new)

    @property
    def path(self) -> Path:
        """The file of the module."""
        found = importlib.util.find_spec(self.module)
        assert found is not None
        assert found.origin is not None
        return Path(found.origin)
