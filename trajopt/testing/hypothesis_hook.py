"""What Hypothesis loads from the entry point: strategies of this library's types, for `strategies.from_type`.

Hypothesis imports this file whenever it is used at all, in whatever project: strategies are built when they are drawn.
"""

from __future__ import annotations

from typing import Any


def register() -> None:
    """Make `from_type` of `trajopt.Problem` draw problems that solvers can solve."""
    from hypothesis import strategies as st  # noqa: PLC0415 - it is being imported itself

    from trajopt.problem import Problem  # noqa: PLC0415

    st.register_type_strategy(Problem, _problems)


def _problems(_: Any) -> Any:
    from trajopt.testing import strategies  # noqa: PLC0415

    return strategies.problems()
