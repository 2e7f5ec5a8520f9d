"""How a policy of action values explores, where not epsilon-greedily.

B environments, A actions, P parameters.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import numpy as np

from actorrl.models.flat_parameters import Float32
from actorrl.policies.base import Array
from actorrl.policies.learnable import as_tensor

if TYPE_CHECKING:
    from actorrl.policies.q_policy import QPolicy


class Explorer(Protocol):
    def choose(self, policy: QPolicy, obs: Array, q: Float32) -> Array:
        """Actions [B] for observations [B, ...] of values q [B, A]; forbidden ones are MASKED."""

    def episodes_begin(self, policy: QPolicy, environments: Array) -> None:
        """Told before the first action in these environments of the worker."""


class SoftQ:
    """Each action with probability softmax(Q / temperature)."""

    def __init__(self, temperature: float = 1.0) -> None:
        self._temperature = temperature

    def choose(self, policy: QPolicy, obs: Array, q: Float32) -> Array:
        lots = policy.random.gumbel(size=q.shape)  # the largest sum is a draw of the softmax
        actions: Array = (q / self._temperature + lots).argmax(axis=1)
        return actions

    def episodes_begin(self, policy: QPolicy, environments: Array) -> None: ...


class ParameterNoise:
    """Noise on the weights, the same for a whole episode (Plappert et al. 2018).

    All environments of a worker act with the same noisy network, whose noise is drawn anew when
    its first environment begins an episode. After each choice `stddev` grows by 1 % where the noisy
    network is closer to the policy than an epsilon-greedy one would be, and else shrinks: distance
    is KL(softmax Q || softmax noisy Q), that of epsilon-greedy -log(1 - epsilon + epsilon / A).
    """

    def __init__(self, stddev: float = 0.01) -> None:
        self.stddev = stddev
        self._drawn: Float32 | None = None  # [P], of deviation 1
        self._version = -1  # of the weights that are noisy now

    def episodes_begin(self, policy: QPolicy, environments: Array) -> None:
        if 0 in environments:
            self._drawn = None

    def choose(self, policy: QPolicy, obs: Array, q: Float32) -> Array:
        if self._drawn is None or self._version != policy.version:
            self._make_noisy(policy)
        noisy: Float32 = self._network.q_values(as_tensor(obs, policy.device)).cpu().numpy()
        grows = divergence(q, noisy) < distance_of(policy.epsilon(), q.shape[1])
        self.stddev *= 1.01 if grows else 1 / 1.01
        actions: Array = noisy.argmax(axis=1)
        return actions

    def _make_noisy(self, policy: QPolicy) -> None:
        """Of newer weights with the same noise, while the episode goes on."""
        if self._drawn is None:
            self._drawn = policy.random.standard_normal(len(policy.flat.vector), np.float32)
        if self._version == -1:
            self._network = policy.make_target()
        self._network.load_flat(policy.flat_weights() + np.float32(self.stddev) * self._drawn)
        self._version = policy.version


def divergence(q: Float32, other: Float32) -> float:
    """KL(softmax q || softmax other), the mean over B; both [B, A]."""
    log_p, log_other = _log_softmax(q), _log_softmax(other)
    return float((np.exp(log_p) * (log_p - log_other)).sum(axis=1).mean())


def distance_of(epsilon: float, num_actions: int) -> float:
    """Of an epsilon-greedy policy from the greedy one."""
    return -math.log(max(1e-12, 1.0 - epsilon + epsilon / num_actions))


def _log_softmax(x: Float32) -> Array:
    shifted = x.astype(np.float64) - x.max(axis=1, keepdims=True)
    found: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return found
