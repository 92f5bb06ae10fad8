"""Every solver of the library goes through the checks that its own declarations subject it to."""

from __future__ import annotations

import pytest

from bench.conformance_cases import SOLVERS, expected_failures
from trajopt.testing import parametrize_with_checks


@parametrize_with_checks(SOLVERS, expected_failures=expected_failures)
def test_conformance(check):
    """The fast profile, derandomised."""
    check()


@pytest.mark.thorough
@parametrize_with_checks(SOLVERS, expected_failures=expected_failures, profile="thorough")
def test_conformance_thorough(check):
    """Many draws, both kinds of time, and the slow checks."""
    check()
