"""Body, optional LSTM, and the two heads of an actor-critic.

L rows in time, B sequences side by side, N rows in any order, n inputs of the action distribution.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from actorrl.models.catalog import body_for
from actorrl.models.masks import masked, masked_numpy, unmasked
from actorrl.models.model_config import ModelConfig
from actorrl.models.networks import MLP, linear
from actorrl.models.numpy_forward import NumpyLinear, NumpyMLP, fits_numpy
from actorrl.models.precision import features_of
from actorrl.models.recurrent import LSTMCore, State
from actorrl.models.value_head import ValueHead

Float32 = NDArray[np.float32]
_NO_VALUES = np.empty(0, np.float32)


class NumpyForward(Protocol):
    """A forward over a network's weights without torch."""

    def __call__(self, obs: NDArray[Any], with_values: bool = True, /) -> tuple[Float32, Float32]:
        """obs [B, ...] -> inputs [B, n], values [B], or [0] where nobody wants them."""


class ActorCriticNetwork(nn.Module):
    """observations -> inputs of the action distribution [.., n] and state values [..].

    The first `mask_size` elements of observations mask logits, and the body does not see them (a
    user's own, behind which an LSTM stands, does: RLlib's wrapper).
    `body_precision` is float32, or bfloat16 to run body and LSTM input in it under autocast; LSTM
    state, heads and everything after them stay in float32.
    """

    def __init__(
        self,
        observation_space: Any,
        num_outputs: int,
        frame_stack: int,
        config: ModelConfig,
        mask_size: int = 0,
        action_space: Any = None,
    ) -> None:
        super().__init__()
        self.mask_size = mask_size
        self.body_precision = torch.float32
        self.body = body_for(observation_space, frame_stack, config, action_space)
        size = int(self.body.output_size)  # type: ignore[arg-type]
        self.core = self._make_core(size, config)
        size = config.lstm_cell_size if config.use_lstm else size
        self.post = MLP(size, config.post_fcnet_hiddens, config.post_activation)
        self.value_body: nn.Module | None = None
        self.value_post: nn.Module = nn.Identity()
        if not config.shares_layers(is_image=not isinstance(self.body, MLP)):
            self.value_body = body_for(observation_space, frame_stack, config)
            self.value_post = MLP(size, config.post_fcnet_hiddens, config.post_activation)
        # Nearly equal probabilities at first.
        means = num_outputs // 2 if config.free_log_std else num_outputs
        self.policy_head = linear(self.post.output_size, means, 0.01)
        self.log_std = nn.Parameter(torch.zeros(means)) if config.free_log_std else None
        self.value_head = ValueHead(self.post.output_size)

    @staticmethod
    def _make_core(size: int, config: ModelConfig) -> LSTMCore | None:
        if not config.use_lstm:
            return None
        return LSTMCore(size, config.lstm_cell_size, config.max_seq_len)

    @property
    def recurrent(self) -> bool:
        return self.core is not None

    def initial_state(self, batch: int) -> State:
        """Zeros (h, c), each [B, cell], or () without an LSTM."""
        return self.core.initial_state(batch) if self.core is not None else ()

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """obs [N, ...] -> inputs [N, n], values [N]; only without an LSTM."""
        assert self.core is None, "an LSTM needs its state, use `sequence`"
        seen = unmasked(obs, self.mask_size, self.body)
        features = self._features(self.body, seen)
        own = features if self.value_body is None else self._features(self.value_body, seen)
        return self._heads(features, own, obs)

    def sequence(
        self, obs: Tensor, state: State = (), resets: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """obs [L, B, ...] -> inputs [L, B, n], values [L, B], state after row L-1.

        `resets [L, B]`: the state is zeroed before these rows; None resets nowhere.
        """
        rows, batch = obs.shape[:2]
        flat = obs.flatten(0, 1)
        if self.core is None:
            inputs, values = self(flat)
        else:
            seen = unmasked(flat, self.mask_size, self.body)
            features = self._features(self.body, seen).view(rows, batch, -1)
            outputs, state = self.core(features, state, resets)
            outputs = outputs.flatten(0, 1)
            inputs, values = self._heads(outputs, outputs, flat)
        return inputs.view(rows, batch, -1), values.view(rows, batch), state

    def _features(self, body: nn.Module, obs: Tensor) -> Tensor:
        return features_of(body, obs, self.body_precision)

    def _heads(
        self, features: Tensor, value_features: Tensor, obs: Tensor
    ) -> tuple[Tensor, Tensor]:
        features = self.post(features)
        own = features if self.value_body is None else self.value_post(value_features)
        inputs = self.policy_head(features)
        if self.log_std is not None:
            inputs = torch.cat([inputs, self.log_std.expand_as(inputs)], dim=-1)
        if self.mask_size:
            inputs = masked(inputs, obs)
        return inputs, self.value_head(own)

    def numpy_forward(self) -> NumpyForward | None:
        """None for images, LSTMs, large networks, bfloat16 and weights that are not on the CPU."""
        own_parts = [] if self.value_body is None else [self.value_body, self.value_post]
        if self.core is not None or self.body_precision != torch.float32:
            return None
        if not fits_numpy([self.body, self.post, *own_parts]):
            return None
        policy_parts = _chain(self.body, self.post)
        value_parts = _chain(*own_parts) if own_parts else None
        policy_head, value_head = NumpyLinear(self.policy_head), NumpyLinear(self.value_head.linear)
        unit = self.value_head.unit.detach().numpy()
        log_std = None if self.log_std is None else self.log_std.detach().numpy()
        mask_size = self.mask_size

        def forward(obs: NDArray[Any], with_values: bool = True) -> tuple[Float32, Float32]:
            seen = obs[:, mask_size:] if mask_size else obs
            features = policy_parts(seen)
            inputs = policy_head(features)
            if mask_size:
                inputs = masked_numpy(inputs, obs)
            if log_std is not None:
                inputs = np.concatenate([inputs, np.broadcast_to(log_std, inputs.shape)], axis=1)
            if not with_values:
                return inputs, _NO_VALUES
            own = features if value_parts is None else value_parts(seen)
            return inputs, value_head(own)[:, 0] * unit

        return forward


def _chain(body: nn.Module, post: nn.Module) -> Callable[[NDArray[Any]], Float32]:
    """One after the other in NumPy; a part without layers changes nothing."""
    assert isinstance(body, MLP) and isinstance(post, MLP)
    first, second = NumpyMLP(body), NumpyMLP(post)
    return (lambda obs: second(first(obs))) if len(post.layers) else first
