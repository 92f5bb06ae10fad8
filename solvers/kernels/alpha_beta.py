"""Depth-first alpha-beta search by the entries of a decision process (`trajopt.lowering.rules`).

The path from the root to the current state is a stack of rows, so that a search can pause after any number of states
and go on: the caller watches the clock.

The value of an edge is q = r + d v with the discount d of any sign but 0, and v is seen by who moves next. So q in
(alpha, beta) means v in ((alpha - r) / d, (beta - r) / d), the ends exchanged where d < 0: with r = 0 and d = -1 this
is negamax, with d = 1 the same player moves again.

A value is *clean* when it does not depend on where the depth ended the search. The value of a state whose best move
exceeds beta is clean if that move's is; any other needs all moves clean. Clean bounds in the table hold at any depth.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajopt.lowering.call import ACTION, DISCOUNT, NATURE, REWARD, VALUE, call_entry
from trajopt.lowering.kernel import kernel
from trajopt.solvers.kernels.exploration import hash_words

DONE, FAULT, NO_ACTION, NOT_FINITE, CHANCE, PAUSED = range(6)
"""How a search may come back."""

PLY, DEPTH, ENTERING, RESOLVED, CLEAN, NODES, AT = range(7)
"""Places of `Stack.control`."""

ENDLESS = np.int64(1 << 30)
"""Depth of a clean entry of the table."""


class Stack(NamedTuple):
    """The path and what is known of each state on it; the last row is room to work in.

    Attributes
    ----------
    states, bits
        (plies, words) the same memory as floats and as unsigned integers.
    moves
        (plies, actions) legal actions in the order in which they are tried.
    count, index, move
        (plies,) how many of them, the next one's place, and the best so far.
    alpha, beta, floor, best, lower, upper
        (plies,) window, the alpha at the beginning, best value so far, and static bounds.
    reward, discount
        (plies,) of the edge into each state.
    clean
        (plies,) whether all moves so far are clean.
    history
        (actions,) how deep below each action cut-offs happened: what to try first.
    control, result
        (7,) see `PLY`; (1,) value of the state that has just been resolved.
    """

    states: NDArray[np.float64]
    bits: NDArray[np.uint64]
    moves: NDArray[np.int64]
    count: NDArray[np.int64]
    index: NDArray[np.int64]
    move: NDArray[np.int64]
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    floor: NDArray[np.float64]
    best: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    reward: NDArray[np.float64]
    discount: NDArray[np.float64]
    clean: NDArray[np.bool_]
    history: NDArray[np.float64]
    control: NDArray[np.int64]
    result: NDArray[np.float64]


class Memory(NamedTuple):
    """Transposition table: bounds of the values of states, each valid for a depth.

    Attributes
    ----------
    bits
        (entries, words) the states.
    depth, move
        (entries,) depth below the state, -1 where empty, and the best move.
    low, high
        (entries,) bounds.
    """

    bits: NDArray[np.uint64]
    depth: NDArray[np.int64]
    move: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Entries(NamedTuple):
    """Addresses; 0 where there is no such function. And the static bounds of all states."""

    advance: int
    weigh: int
    bounds: int
    evaluate: int
    least: float
    largest: float


@kernel
def _copy(states, source, target):
    for k in range(states.shape[1]):
        states[target, k] = states[source, k]


@kernel
def probe(stack, memory, row):
    """Entry where the state of a row is, or would be; and whether it is there."""
    slot = np.int64(hash_words(stack.bits, row) & np.uint64(memory.depth.size - 1))
    if memory.depth[slot] < 0:
        return slot, False
    for k in range(stack.bits.shape[1]):
        if memory.bits[slot, k] != stack.bits[row, k]:
            return slot, False
    return slot, True


@kernel
def _remember(stack, memory, ply, value, clean):
    """Store what a resolved state's value proves, unless more is known of it already."""
    low = value if value > stack.floor[ply] else -np.inf
    high = value if value < stack.beta[ply] else np.inf
    depth = ENDLESS if clean else stack.control[DEPTH] - ply
    slot, there = probe(stack, memory, ply)
    if there and memory.depth[slot] > depth:
        return
    if there and memory.depth[slot] == depth:
        low, high = max(low, memory.low[slot]), min(high, memory.high[slot])
    for k in range(stack.bits.shape[1]):
        memory.bits[slot, k] = stack.bits[ply, k]
    memory.depth[slot], memory.move[slot] = depth, stack.move[ply]
    memory.low[slot], memory.high[slot] = max(low, stack.lower[ply]), min(high, stack.upper[ply])


@kernel
def _resolve(stack, value, clean):
    stack.result[0] = value
    stack.control[CLEAN] = clean
    stack.control[RESOLVED] = 1


@kernel
def _limit(entries, stack, numbers, weights, mask, ply):
    """Static bounds of the current state; returns a nonzero code after a fault."""
    stack.lower[ply], stack.upper[ply] = entries.least, entries.largest
    if entries.bounds != 0:
        scratch = stack.states.shape[0] - 1
        _copy(stack.states, ply, scratch)
        if call_entry(entries.bounds, stack.states, scratch * stack.states.shape[1], numbers, weights, mask) != 0:
            return FAULT
        stack.lower[ply] = max(stack.lower[ply], numbers[REWARD])
        stack.upper[ply] = min(stack.upper[ply], numbers[DISCOUNT])
    return DONE


@kernel
def _known(stack, memory, ply):
    """Resolve the current state by its bounds or by the table, where they suffice."""
    alpha, beta = stack.alpha[ply], stack.beta[ply]
    if stack.upper[ply] <= alpha or stack.upper[ply] == stack.lower[ply]:
        _resolve(stack, stack.upper[ply], True)
        return
    if stack.lower[ply] >= beta:
        _resolve(stack, stack.lower[ply], True)
        return
    slot, there = probe(stack, memory, ply)
    if there and memory.depth[slot] >= stack.control[DEPTH] - ply:
        low, high, clean = memory.low[slot], memory.high[slot], memory.depth[slot] == ENDLESS
        if low >= beta or low == high:
            _resolve(stack, low, clean)
        elif high <= alpha:
            _resolve(stack, high, clean)


@kernel
def _order(stack, memory, weights, ply):
    """List the legal actions: the table's move first, then those that have cut off most."""
    slot, there = probe(stack, memory, ply)
    first = memory.move[slot] if there else -1
    count = 0
    for action in range(stack.moves.shape[1]):
        if weights[action] == 0.0:
            continue
        score = np.inf if action == first else stack.history[action]
        place = count
        while place > 0:
            other = stack.moves[ply, place - 1]
            if (np.inf if other == first else stack.history[other]) >= score:
                break
            stack.moves[ply, place] = other
            place -= 1
        stack.moves[ply, place] = action
        count += 1
    stack.count[ply] = count


@kernel
def _enter(entries, stack, memory, numbers, weights, mask):  # noqa: PLR0911 - each is another end
    """Begin with the state on top of the stack: value it at once, or list its moves."""
    control, ply = stack.control, stack.control[PLY]
    control[ENTERING], control[RESOLVED] = 0, 0
    control[NODES] += 1
    code = _limit(entries, stack, numbers, weights, mask, ply)
    if code != DONE:
        return code
    if ply > 0:
        _known(stack, memory, ply)
        if control[RESOLVED]:
            return DONE
    scratch, words = stack.states.shape[0] - 1, stack.states.shape[1]
    _copy(stack.states, ply, scratch)
    if ply == control[DEPTH]:
        value = 0.0
        if entries.evaluate != 0:
            if call_entry(entries.evaluate, stack.states, scratch * words, numbers, weights, mask) != 0:
                return FAULT
            value = numbers[VALUE]
        _resolve(stack, min(max(value, stack.lower[ply]), stack.upper[ply]), False)
        return DONE
    if call_entry(entries.weigh, stack.states, scratch * words, numbers, weights, mask) != 0:
        return FAULT
    if numbers[NATURE] != 0.0:
        return CHANCE
    _order(stack, memory, weights, ply)
    stack.index[ply], stack.move[ply] = 0, -1
    stack.floor[ply], stack.best[ply], stack.clean[ply] = stack.alpha[ply], -np.inf, True
    return DONE if stack.count[ply] > 0 else NO_ACTION


@kernel
def _absorb(stack, memory, ply, value, clean):
    """Take the value of the move that has just been searched; resolve the state after a cut-off or the last move."""
    action = stack.moves[ply, stack.index[ply] - 1]
    stack.clean[ply] &= clean
    if value > stack.best[ply]:
        stack.best[ply], stack.move[ply] = value, action
        stack.alpha[ply] = max(stack.alpha[ply], value)
        if value >= min(stack.beta[ply], stack.upper[ply]):
            depth = float(stack.control[DEPTH] - ply)
            stack.history[action] += depth * depth
            _remember(stack, memory, ply, value, clean)
            _resolve(stack, value, clean)
            return
    if stack.index[ply] == stack.count[ply]:
        _remember(stack, memory, ply, stack.best[ply], stack.clean[ply])
        _resolve(stack, stack.best[ply], stack.clean[ply])


@kernel
def _descend(entries, stack, memory, numbers, weights, mask):
    """Make the next move of the current state."""
    ply = stack.control[PLY]
    action = stack.moves[ply, stack.index[ply]]
    stack.index[ply] += 1
    stack.control[AT] = action
    _copy(stack.states, ply, ply + 1)
    numbers[ACTION] = action
    if call_entry(entries.advance, stack.states, (ply + 1) * stack.states.shape[1], numbers, weights, mask) != 0:
        return FAULT
    reward, discount = numbers[REWARD], numbers[DISCOUNT]
    if not np.isfinite(reward + discount):
        return NOT_FINITE
    if discount == 0.0:
        _absorb(stack, memory, ply, reward, True)
        return DONE
    one, other = (stack.alpha[ply] - reward) / discount, (stack.beta[ply] - reward) / discount
    stack.alpha[ply + 1], stack.beta[ply + 1] = min(one, other), max(one, other)
    stack.reward[ply + 1], stack.discount[ply + 1] = reward, discount
    stack.control[PLY] = ply + 1
    stack.control[ENTERING] = 1
    return DONE


@kernel
def search(entries, stack, memory, numbers, weights, mask, limit):
    """Search on for up to ``limit`` steps; returns one of `DONE` and the others."""
    control = stack.control
    for _ in range(limit):
        if control[ENTERING]:
            code = _enter(entries, stack, memory, numbers, weights, mask)
        elif control[RESOLVED]:
            ply = control[PLY] - 1
            if ply < 0:
                return DONE
            value = stack.reward[ply + 1] + stack.discount[ply + 1] * stack.result[0]
            control[PLY], control[RESOLVED] = ply, 0
            _absorb(stack, memory, ply, value, control[CLEAN] != 0)
            continue
        else:
            code = _descend(entries, stack, memory, numbers, weights, mask)
        if code != DONE:
            return code
    return PAUSED
