"""The grid on which the entropy model computes, as `ecc.model.exact` explains it, and odds."""

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

STEP = 2.0**-10  # of activations
WEIGHT_STEP = 2.0**-14
LIMIT = 2.0**15
ATTENTION_LIMIT = 2.0**4  # of queries and keys, whose products are summed over a whole chunk
VALUE_LIMIT = 2.0**8
HIDDEN_LIMIT = 2.0**8  # of what is multiplied with entries of code books, so that sums are exact
ODDS_BITS = 30  # of the largest odds


def odds(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integers [N, K] in the ratios 2 ** log_odds, fixed-point [N, K]; the largest of each row has
    `ODDS_BITS` + 1 bits, and those too small for an integer are 0."""
    steps = np.rint((log_odds - log_odds.max(axis=-1, keepdims=True)) / STEP).astype(np.int64)
    whole, part = np.divmod(steps, round(1 / STEP))
    # A multiplication by a power of two is exact.
    return np.floor(np.ldexp(_powers()[part], np.maximum(whole, -ODDS_BITS - 2).astype(np.int32)))


@cache
def _powers() -> NDArray[np.float64]:
    """2 ** (i * STEP + ODDS_BITS) for all i * STEP in [0, 1), by integers alone: what a machine
    makes of 2.0 ** x is its own."""
    bits = 256
    root = 2 << bits
    for _ in range(round(1 / STEP).bit_length() - 1):
        root = isqrt(root << bits)
    powers = [1 << bits]
    while len(powers) < 1 / STEP:
        powers.append(powers[-1] * root >> bits)
    return np.array([power >> (bits - ODDS_BITS) for power in powers], np.float64)
