"""What trajopt raises: exceptions are for misuse, a failed solve returns a status instead.

Every message is one sentence that says what was given, what was expected and what to do.
"""

from __future__ import annotations


class TrajoptError(Exception):
    """Base class of everything that trajopt raises on purpose."""


class InvalidProblem(TrajoptError, ValueError):
    """A problem, guess or setting that cannot mean anything: wrong sizes, crossed bounds, zero steps."""


class TracingError(InvalidProblem):
    """A function that cannot be turned into expressions, for example because it branches on a state."""


class UnsupportedProblem(TrajoptError, ValueError):
    """A sound problem given to a solver that does not handle one of its features."""


class UnknownName(TrajoptError, KeyError):
    """A solver or problem name that nobody registered."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the message in quotes


class MissingExtra(TrajoptError, ImportError):
    """A feature whose optional packages are not installed."""


class NotDifferentiable(TrajoptError, ArithmeticError):
    """A solution that has no derivatives by the problem's numbers, or of which they cannot be known."""


class SolveFailed(TrajoptError, RuntimeError):
    """A solve without success, raised only when the caller asked for it with ``raise_on_failure=True``."""

    def __init__(self, message: str, solution: object) -> None:
        super().__init__(message)
        self.solution = solution


class CheckFailed(TrajoptError, AssertionError):
    """A property of `trajopt.testing` that does not hold; an assertion, so that test runners report it as one."""
