"""What `hypothesis.strategies.from_type` draws."""

from __future__ import annotations

from hypothesis import strategies as st

from trajopt.problem import Problem
from trajopt.testing.strategies.linear_quadratic import constrained_linear_quadratic_problems, linear_quadratic_problems
from trajopt.testing.strategies.nonlinear import nonlinear_problems


def problems() -> st.SearchStrategy[Problem]:
    """Small problems of all kinds: linear-quadratic ones, with and without constraints, and smooth nonlinear ones."""
    planted = st.one_of(linear_quadratic_problems(), constrained_linear_quadratic_problems())
    return st.one_of(planted.map(lambda case: case.problem), nonlinear_problems())
