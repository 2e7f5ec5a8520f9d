"""The policy of DDPG, TD3 and Ape-X DDPG: an actor that names its action, one or two critics.

B environments side by side, N rows in any order, K numbers of a flat action. Actions are stored in
[-1, 1] and scaled to the Box's bounds at the environment only.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actorrl.errors import ConfigError
from actorrl.models.action_layout import is_bounded
from actorrl.models.continuous import ActorAndCritics, BodyAndHead, Critic
from actorrl.models.masks import mask_size
from actorrl.models.model_config import ModelConfig
from actorrl.policies.base import Act, Array, ArrayState
from actorrl.policies.filtering import ReplayPolicy
from actorrl.policies.learnable import as_tensor, seeded
from actorrl.policies.noise import GaussianNoise, Noise


class DeterministicPolicy(ReplayPolicy):
    """`model.actor` and `model.critics`, with an optimizer each over `flat.span("actor")` and
    `flat.span("critics")`.

    `noise` is added to actions while exploring; in the run's first `random_steps` env steps it
    acts evenly at random instead.
    """

    model: ActorAndCritics

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        frame_stack: int = 1,
        model_config: ModelConfig | None = None,
        seed: int = 0,
        *,
        twin_q: bool = False,
        noise: Noise | None = None,
        random_steps: int = 0,
        observation_filter: str = "NoFilter",
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            frame_stack=frame_stack,
            seed=seed,
            observation_filter=observation_filter,
        )
        mask_size(observation_space, action_space)  # refuses a mask of a continuous space
        if not is_bounded(action_space):
            raise ConfigError(
                f"env: a deterministic policy cannot act in the action space {action_space}, "
                "expected a Box with finite bounds"
            )
        self.model_config = model_config or ModelConfig()
        refuse_lstm(self.model_config)
        self._num_critics = 2 if twin_q else 1
        self.noise = GaussianNoise() if noise is None else noise
        self.random_steps = random_steps
        with seeded(seed):
            self._adopt(self._make_model())

    def _make_model(self) -> ActorAndCritics:
        size = math.prod(self.action_layout.shape)
        space, stack, actions = self.observation_space, self.frame_stack, self.action_space
        config, each = self.model_config, range(self._num_critics)
        actor = BodyAndHead(space, size, stack, config, True, action_space=actions)
        critics = [Critic(space, size, stack, config, actions) for _ in each]
        return self._with_filter(ActorAndCritics(actor, [*critics]))

    def _weights_moved(self) -> None:
        self._numpy_forward = self.model.actor.numpy_forward()  # type: ignore[operator]

    def act(self, obs: Array, state: ArrayState = (), explore: bool = True) -> Act:
        if explore and self.timesteps < self.random_steps:
            return Act(self._random_actions(len(obs)), {}, state)
        actions = self._actor_numpy(obs)
        if explore:
            actions = np.clip(actions + self.noise(actions, self.random), -1.0, 1.0)
        return Act(actions.reshape(len(obs), *self.action_layout.shape), {}, state)

    def _random_actions(self, batch: int) -> Array:
        shape = (batch, *self.action_layout.shape)
        return self.random.uniform(-1.0, 1.0, shape).astype(np.float32)

    def _actor_numpy(self, obs: Array) -> Array:
        """Actions [B, K] without noise."""
        obs = self.filtered_numpy(obs)
        if self._numpy_forward is not None:
            actions: Array = self._numpy_forward(obs)
            return actions
        with torch.inference_mode():
            actions = self.model.actor(as_tensor(obs, self.device)).cpu().numpy()
        return actions

    def greedy(
        self, obs: Tensor, state: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        actions = self.actor(self.filtered(obs))
        return actions, actions, state

    # ---- learning -------------------------------------------------------------------------------

    def actor(self, obs: Tensor) -> Tensor:
        """Actions [N, K] in [-1, 1] of filtered observations on the device, with gradient."""
        actions: Tensor = self.model.actor(obs)
        return actions

    def q_values(self, obs: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """Q [N] of each critic, with gradient; actions [N, ...] as they are stored."""
        return self.model.q_values(obs, actions)


def refuse_lstm(config: ModelConfig) -> None:
    """Replay keeps single transitions: no state to start an LSTM from."""
    if config.use_lstm:
        raise ConfigError("model.use_lstm: true is not accepted by this policy, expected false")
