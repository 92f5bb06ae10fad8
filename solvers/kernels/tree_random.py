"""Random numbers of a search: a key and a counter, so that a tree draws the same whichever thread grows it.

Word i of a stream with key k is mix(k + i g), with g the odd number nearest to 2^64 over the golden ratio and mix the
finaliser of SplitMix64 (Steele, Lea, Flood, Fast splittable pseudorandom number generators, OOPSLA 2014). That is a few
multiplications, where the ten rounds of Philox would take longer than the move of a rollout that they serve.
"""

from __future__ import annotations

import numpy as np

from trajopt.lowering.kernel import kernel

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11, _S32 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11), np.uint64(32)


@kernel(forceinline=True)
def mix(word):
    """Scramble a numpy.uint64; every bit of the result depends on every bit given."""
    word = (word ^ (word >> _S30)) * _FIRST
    word = (word ^ (word >> _S27)) * _SECOND
    return word ^ (word >> _S31)


@kernel(forceinline=True)
def draw_word(stream):
    """Next random numpy.uint64 of ``stream`` (2,), its key and its counter."""
    stream[1] += np.uint64(1)
    return mix(stream[0] + stream[1] * GOLDEN)


@kernel(forceinline=True)
def next_word(key, counter):
    """Word of a stream that is not kept in memory, both numpy.uint64."""
    return mix(key + counter * GOLDEN)


@kernel(forceinline=True)
def below(word, count):
    """Number in 0, ..., count - 1 of the upper 32 bits of a word; uneven by less than count / 2^32."""
    return np.int64(((word >> _S32) * np.uint64(count)) >> _S32)


@kernel(forceinline=True)
def unit(word):
    """Number in [0, 1) of the upper 53 bits of a word."""
    return np.float64(word >> _S11) * (1.0 / 9007199254740992.0)
