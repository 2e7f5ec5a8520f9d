"""The backward recursion that lambda-returns and V-trace share.

T rows in time, B environments.
"""

from __future__ import annotations

from torch import Tensor


def continuing(terminateds: Tensor, truncateds: Tensor, valid: Tensor) -> Tensor:
    """[T, B] bool: whether row t+1 goes on with row t's episode, as far as both are in sight.

    The last row never does: what follows it is in its bootstrap value.
    """
    goes_on = valid & ~(terminateds.bool() | truncateds.bool())
    goes_on[:-1] &= valid[1:]
    goes_on[-1] = False
    return goes_on


def discounted_sums(deltas: Tensor, decays: Tensor) -> Tensor:
    """x[t] = deltas[t] + decays[t] x[t+1], x[T] = 0, all [T, B].

    By doubling: in each round sums[t] covers `reach` rows from t on, products[t] multiplies their
    decays, so that log2(T) rounds do, and not T steps of a few microseconds each.
    """
    assert deltas.shape == decays.shape and deltas.dim() == 2
    sums, products, reach = deltas.clone(), decays.clone(), 1
    while reach < len(sums):
        sums[:-reach] += products[:-reach] * sums[reach:]
        products[:-reach] = products[:-reach] * products[reach:]
        reach *= 2
    return sums
