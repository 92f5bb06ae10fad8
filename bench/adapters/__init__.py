"""Solvers of other packages in the form of ours, to go through the same conformance suite.

Each adapter is as thin as honesty allows: it translates the problem (`bench.discretisation`), hands it over with the
package's own defaults, and gives back what the package returns, good or bad. It declares the features that it
translates, and claims what the package promises: nothing is repaired on the way.

Not among them is mctx: it brings JAX, and plays decision processes, for which `check_solver` has no checks.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from trajopt.solver import Solver

ADAPTERS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("with_opti", "OptiIpopt", {}, "casadi"),
    ("with_crocoddyl", "FDDP", {}, "crocoddyl"),
    ("with_crocoddyl", "BoxFDDP", {}, "crocoddyl"),
    ("with_scipy", "ScipyMinimize", {}, "scipy"),
    ("with_scipy", "ScipyMinimize", {"method": "trust-constr"}, "scipy"),
    ("with_pytorch_mppi", "PytorchMPPI", {}, "pytorch-mppi"),
)
"""Module here, class, settings, and the distribution that it needs."""


def installed() -> Iterator[tuple[Solver | None, str]]:
    """Each adapter, or None where its package is not here, with that package's name."""
    for module, name, settings, package in ADAPTERS:
        try:
            kind = getattr(import_module(f"bench.adapters.{module}"), name)
        except ModuleNotFoundError:
            yield None, package
        else:
            yield kind(**settings), package
