"""``decide``: one call for every decision process and every planner."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from trajopt.decision import Decision
from trajopt.decision_process import DecisionProcess
from trajopt.errors import InvalidProblem, UnsupportedProblem
from trajopt.model_process import ModelProcess
from trajopt.monitor import Iteration, Monitor
from trajopt.planner import Planner, find_planner
from trajopt.validation import check_positive


def decide(
    process: DecisionProcess | ModelProcess,
    planner: str | Planner = "mcts",
    *,
    state: ArrayLike | None = None,
    tree: Any = None,
    max_time: float | None = None,
    callback: Callable[[Iteration], object] | None = None,
    progress: bool = False,
) -> Decision:
    """Decide what to do in a state.

    Parameters
    ----------
    process
        The rules, or a model of them.
    planner
        A planner such as ``MCTS(simulations=10_000)``, or the name of one.
    state
        Where to decide; None: where the tree begins, or else in the process's initial state. For a model: what was
        observed, which must be given.
    tree
        ``decision.tree`` of an earlier decision of the same planner, moved on by what has happened since; see the
        planner. What it knows is not searched again.
    max_time
        Seconds after which the best so far is returned with status TIME_LIMIT.
    callback
        Called now and then with an `Iteration`, whose cost is minus the value so far; if it returns True, the planner
        stops with status STOPPED.
    progress
        Write the value so far to standard error.

    Returns
    -------
    Decision
        Look at ``decision.action``, ``decision.value`` and ``decision.message``.

    Raises
    ------
    InvalidProblem, UnsupportedProblem, UnknownName
        When what was given makes no sense, or the planner does not handle it.
    """
    chosen = _check(process, planner, max_time)
    if callback is not None and not callable(callback):
        raise InvalidProblem(f"callback={callback!r} was given, but a function of an Iteration was expected; pass one.")
    given = cast("DecisionProcess", process)  # a planner that handles models takes them in its place
    known = given.initial_state if tree is None else tree.state
    start = given.check_state(known if state is None else state)
    monitor = Monitor(max_time, callback, _show if progress else None)
    decision = chosen.plan(given, start, tree=tree, monitor=monitor)
    return replace(decision, seconds=monitor.seconds, planner=str(chosen))


def decide_batch(
    process: DecisionProcess | ModelProcess, planner: str | Planner, states: ArrayLike, *, max_time: float | None = None
) -> list[Decision]:
    """Decide in several states at once: `MCTS` grows their trees in threads, and evaluates all their leaves together.

    Parameters
    ----------
    process, planner, max_time
        As for `decide`.
    states
        (B, ...), one state in each row.

    Returns
    -------
    list of Decision
        One for each state, each with the seconds of the whole batch.
    """
    chosen, monitor = _check(process, planner, max_time), Monitor(max_time)
    decisions = chosen.plan_batch(cast("DecisionProcess", process), np.asarray(states), monitor)
    seconds, text = monitor.seconds, str(chosen)
    return [replace(decision, seconds=seconds, planner=text) for decision in decisions]


def _check(process: object, planner: str | Planner, max_time: float | None) -> Planner:
    """The planner, if everything fits together."""
    if not isinstance(process, DecisionProcess | ModelProcess):
        raise InvalidProblem(
            f"a {type(process).__name__} was given to decide, but a DecisionProcess was expected; "
            "make one with trajopt.DecisionProcess(...), and give a Problem to trajopt.solve."
        )
    if max_time is not None:
        check_positive(max_time, "max_time")
    chosen = find_planner(planner)
    if isinstance(process, ModelProcess) and not chosen.handles_models:
        raise UnsupportedProblem(
            f"{type(chosen).__name__} was given {process.label}, but it needs rules and not a model of them; use MCTS."
        )
    return chosen


def _show(iteration: Iteration) -> None:
    print(f"{iteration.seconds:8.2f} s  value {-iteration.cost:+.4f}", file=sys.stderr)
