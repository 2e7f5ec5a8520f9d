"""A user's TorchModelV2 in the place of the built-in actor-critic network, or of another's body.

L rows in time, B environments, N = L B rows, S sequences, n inputs of the action distribution, F
features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from actorrl.errors import ConfigError
from actorrl.models.model_config import ModelConfig
from actorrl.models.recurrent import State
from actorrl.models.torch_model import TorchModelV2

_NAME = "default_model"


class UsersModel(nn.Module):
    """`config.custom_model`, a class, made and looked at.

    Raises ConfigError where the class is no torch model, fails, or returns what does not fit: a
    first forward of two zero observations is run at once.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        num_outputs: int,
        frame_stack: int,
        config: ModelConfig,
    ) -> None:
        super().__init__()
        cls = config.custom_model
        self._label = f"model.custom_model: {cls.__name__}"
        self._space = stacked(observation_space, frame_stack)
        self._num_outputs = num_outputs
        settings = msgspec.structs.asdict(config)
        arguments = (self._space, action_space, num_outputs, settings, _NAME)
        self.model = self._checked(lambda: cls(*arguments, **config.custom_model_config))
        self._refuse_what_cannot_be()
        self._initial = [_as_tensor(part) for part in self.model.get_initial_state()]
        self._checked(self._try_out)

    def _checked(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except ConfigError:
            raise
        except Exception as error:
            raise ConfigError(f"{self._label} fails: {type(error).__name__}: {error}") from error

    def _refuse_what_cannot_be(self) -> None:
        if not isinstance(self.model, nn.Module) or not isinstance(self.model, TorchModelV2):
            raise ConfigError(
                f"{self._label} is no torch model, expected class {type(self.model).__name__}"
                "(TorchModelV2, nn.Module)"
            )
        for name, module in self.model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                raise ConfigError(
                    f"{self._label} has batch normalisation ({name}), whose running averages "
                    "would not reach the workers, expected for instance nn.LayerNorm"
                )

    @torch.no_grad()
    def _try_out(self) -> None:
        raise NotImplementedError

    def _zeros(self) -> Tensor:
        """Two observations, [2, ...]."""
        return torch.zeros(2, *self._space.shape, dtype=_torch_dtype(self._space.dtype))

    @property
    def recurrent(self) -> bool:
        return bool(self._initial)

    def _outputs(
        self, obs: Tensor, state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        is_training = torch.is_grad_enabled()
        if self.model.training != is_training:  # RLlib's way: no dropout while acting
            self.model.train(is_training)
        given = {
            "obs": restored(obs, self._space),
            "obs_flat": obs if obs.dtype == torch.uint8 else obs.float(),
            "is_training": is_training,
        }
        outputs, after = self.model.forward(given, state, seq_lens)
        return outputs, list(after)

    def numpy_forward(self) -> None:
        """There is none: only the model's author knows what it does."""


class CustomBody(UsersModel):
    """obs [N, ...] -> [N, F]: what heads of ours make action values, actions or Q of. F is the last
    of `fcnet_hiddens`, as in RLlib; observations come whole, an action mask included."""

    sees_mask = True

    def __init__(
        self, observation_space: Any, action_space: Any, frame_stack: int, config: ModelConfig
    ) -> None:
        self.output_size = (256, *config.fcnet_hiddens)[-1]
        super().__init__(observation_space, action_space, self.output_size, frame_stack, config)

    @torch.no_grad()
    def _try_out(self) -> None:
        if self.recurrent:
            raise ConfigError(
                f"{self._label} has a state, which rows of a replay cannot start from, and which is"
                " not carried beside that of use_lstm, expected one without get_initial_state"
            )
        self(self._zeros())

    def forward(self, obs: Tensor) -> Tensor:
        features, _ = self._outputs(obs, [], None)
        wanted = (len(obs), self._num_outputs)
        if tuple(features.shape) != wanted:
            raise ConfigError(
                f"{self._label} returns outputs of shape {tuple(features.shape)}, expected {wanted}"
                ": features for the heads, as many as the last of model.fcnet_hiddens"
            )
        return features.float()


class CustomNetwork(UsersModel):
    """The same methods as ActorCriticNetwork."""

    @torch.no_grad()
    def _try_out(self) -> None:
        self.sequence(self._zeros().unsqueeze(0), self.initial_state(2))

    def initial_state(self, batch: int) -> State:
        """What the model says, for B environments: each [B, ...]."""
        device = next(self.parameters()).device
        return tuple(part.to(device).expand(batch, *part.shape).clone() for part in self._initial)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """obs [N, ...] -> inputs [N, n], values [N]; only without a state."""
        assert not self.recurrent, "a model with a state needs it, use `sequence`"
        inputs, values, _ = self._run(obs, [], None)
        return inputs, values

    def sequence(
        self, obs: Tensor, state: State = (), resets: Tensor | None = None
    ) -> tuple[Tensor, Tensor, State]:
        """obs [L, B, ...] -> inputs [L, B, n], values [L, B], state after the row where L = 1.

        `resets [L, B]`: the state is the initial one before these rows. Where L > 1 the state
        after the last row is not known, since sequences are padded: () is returned.
        """
        rows, batch = obs.shape[:2]
        if not self.recurrent:
            inputs, values = self(obs.flatten(0, 1))
            return inputs.view(rows, batch, -1), values.view(rows, batch), state
        if rows == 1:
            return self._one_row(obs[0], state, resets)
        cut = _Sequences(rows, batch, resets, obs.device)
        states = [
            torch.where(
                cut.is_fresh.view(-1, *[1] * (part.dim() - 1)), fresh[cut.env], part[cut.env]
            )
            for part, fresh in zip(state, self.initial_state(batch), strict=True)
        ]
        padded = obs.new_zeros(cut.num_padded, *obs.shape[2:])
        padded[cut.position] = obs.transpose(0, 1).flatten(0, 1)
        inputs, values, _ = self._run(padded, states, cut.lengths)
        inputs = inputs[cut.position].view(batch, rows, -1).transpose(0, 1)
        values = values[cut.position].view(batch, rows).transpose(0, 1)
        return inputs, values, ()

    def _one_row(
        self, obs: Tensor, state: State, resets: Tensor | None
    ) -> tuple[Tensor, Tensor, State]:
        """`sequence` of [B, ...], for acting: B sequences of length 1."""
        states = list(state)
        if resets is not None:
            fresh = self.initial_state(obs.shape[0])
            first = [resets[0].view(-1, *[1] * (part.dim() - 1)) for part in state]
            states = [torch.where(*x) for x in zip(first, fresh, state, strict=True)]
        lengths = torch.ones_like(obs.reshape(obs.shape[0], -1)[:, 0], dtype=torch.int64)
        inputs, values, after = self._run(obs, states, lengths)
        return inputs.unsqueeze(0), values.unsqueeze(0), tuple(after)

    def _run(
        self, obs: Tensor, state: list[Tensor], seq_lens: Tensor | None
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        outputs, after = self._outputs(obs, state, seq_lens)
        values = self.model.value_function()
        wanted = (len(obs), self._num_outputs)
        if tuple(outputs.shape) != wanted or values.numel() != len(obs):
            raise ConfigError(
                f"{self._label} returns outputs of shape {tuple(outputs.shape)} and values of "
                f"shape {tuple(values.shape)}, expected {wanted} and {wanted[:1]}"
            )
        return outputs.float(), values.float().reshape(-1), after


class _Sequences:
    """Rows [L, B] cut at resets into S sequences, environment by environment, and padded."""

    def __init__(self, rows: int, batch: int, resets: Tensor | None, device: torch.device) -> None:
        first = torch.zeros(rows, batch, dtype=torch.bool, device=device)
        if resets is not None:
            first |= resets
        is_fresh = first.clone()
        first[0] = True
        starts = first.t().reshape(-1)  # [B L]
        index = starts.long().cumsum(0) - 1  # the sequence of each row
        where = starts.nonzero().flatten()  # [S]
        self.lengths = torch.bincount(index)
        self.env = where // rows
        self.is_fresh = is_fresh.t().reshape(-1)[where]
        longest = int(self.lengths.max())
        offset = torch.arange(rows * batch, device=device) - where[index]
        self.position = index * longest + offset  # [B L], places among the padded rows
        self.num_padded = len(where) * longest


def restored(obs: Tensor, space: Any) -> Any:
    """Flat observations [N, F] in the structure of the space before: dicts and tuples of tensors.

    Numbers are float32 but for the bytes of images; Discrete parts stay one-hot (as RLlib's do).
    """
    leaves = getattr(space, "leaves", None)
    if leaves is None:
        return obs if obs.dtype == torch.uint8 else obs.float()
    values = {}
    for leaf in leaves:
        part = obs[:, leaf.start : leaf.stop].reshape(obs.shape[0], *leaf.shape)
        values[leaf.path] = part.to(torch.uint8) if leaf.dtype == np.uint8 else part.float()
    return _nested(space.original_space, values, ())


def _nested(space: Any, values: dict[Any, Tensor], path: tuple[Any, ...]) -> Any:
    if path in values:
        return _wrapped(space, values[path])
    if isinstance(space, spaces.Dict):
        parts = space.spaces.items()
        return {key: _nested(part, values, (*path, key)) for key, part in parts}
    return tuple(_nested(part, values, (*path, i)) for i, part in enumerate(space.spaces))


def _wrapped(space: Any, value: Tensor) -> Any:
    """A leaf stands for what has only one entry, too."""
    if isinstance(space, spaces.Dict):
        return {key: _wrapped(part, value) for key, part in space.spaces.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_wrapped(part, value) for part in space.spaces)
    return value


def stacked(space: Any, frame_stack: int) -> Any:
    """The space of what the network sees: k frames first."""
    if frame_stack == 1:
        return space
    low, high = (np.stack([bound] * frame_stack) for bound in (space.low, space.high))
    return spaces.Box(low, high, dtype=space.dtype)


def _as_tensor(part: Any) -> Tensor:
    return torch.as_tensor(part, dtype=torch.float32).detach().cpu().clone()


def _torch_dtype(dtype: Any) -> torch.dtype:
    return torch.from_numpy(np.empty(0, dtype)).dtype
