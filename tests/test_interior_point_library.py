"""`InteriorPoint` on the problem library: published optima, reached within the error that the certificate states."""

from __future__ import annotations

import pytest

import trajopt as to
from trajopt import problems
from trajopt.solvers.interior_point import InteriorPoint

TELLING = 0.05
"""A stated error above this part of the optimum (or of 1) would state nothing: the comparison would be empty."""

HARD = {}
"""Problems on which it fails from the default guess, and how."""

OTHER_OPTIMUM = {}
"""Problems on which it ends in another local optimum than the published one."""

COARSE = {}
"""Problems on which one RK4 step an interval with a held control is too coarse for the certificate to tell."""


@pytest.mark.parametrize("name", problems.names())
def test_library(name):
    """Solved with the defaults, from the problem's own guess; where the optimum is published, it is reached."""
    reference = problems.reference(name)
    solution = to.solve(problems.load(name), InteriorPoint(), max_time=20.0)
    if name in HARD:
        assert not solution.success
        return
    assert solution.success, solution.message + solution.detail
    if reference.optimum is None or name in COARSE:
        return
    certificate = solution.certificate
    assert certificate.error <= TELLING * max(1.0, abs(reference.cost)), certificate
    away = abs(certificate.cost - reference.cost) <= reference.tolerance + certificate.error
    assert away != (name in OTHER_OPTIMUM), (certificate.cost, reference.cost, certificate.error)
