"""The policy of SAC: a stochastic actor and two critics, for a bounded Box or Discrete actions.

B environments side by side, N rows in any order, K numbers of a flat action, A discrete actions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete
from torch import Tensor, nn

from actorrl.data import columns as c
from actorrl.errors import ConfigError
from actorrl.models import gaussian
from actorrl.models.action_layout import is_bounded
from actorrl.models.continuous import ActorAndCritics, BodyAndHead, Critic
from actorrl.models.distributions import sample_numpy
from actorrl.models.masks import mask_size, masked_numpy
from actorrl.models.model_config import ModelConfig
from actorrl.policies.base import Act, Array, ArrayState
from actorrl.policies.deterministic import refuse_lstm
from actorrl.policies.filtering import ReplayPolicy
from actorrl.policies.learnable import as_tensor, seeded


class SACPolicy(ReplayPolicy):
    """Continuous: actions tanh(u) in (-1, 1), u Gaussian (Haarnoja et al. 2018). Discrete: a
    categorical distribution, and critics that give all A values at once (Christodoulou 2019).

    `model.actor`, `model.critics` and `model.log_alpha` have an optimizer each over
    `flat.span("actor")` and so on. In the run's first `random_steps` env steps it acts evenly at
    random.
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
        twin_q: bool = True,
        random_steps: int = 0,
        initial_alpha: float = 1.0,
        observation_filter: str = "NoFilter",
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            frame_stack=frame_stack,
            seed=seed,
            observation_filter=observation_filter,
        )
        self.discrete = isinstance(action_space, Discrete)
        if not self.discrete:
            mask_size(observation_space, action_space)  # refuses a mask of a continuous space
        if not self.discrete and not is_bounded(action_space):
            raise ConfigError(
                f"env: a SAC policy cannot act in the action space {action_space}, "
                "expected Discrete or a Box with finite bounds"
            )
        self.model_config = model_config or ModelConfig()
        refuse_lstm(self.model_config)
        self._num_critics = 2 if twin_q else 1
        self.random_steps = random_steps
        self._initial_alpha = initial_alpha
        with seeded(seed):
            self._adopt(self._make_model())

    @property
    def action_size(self) -> int:
        """K, or A of a discrete space."""
        if self.discrete:
            return int(self.action_space.n)
        return math.prod(self.action_layout.shape)

    def _make_model(self) -> ActorAndCritics:
        """With the logarithm of SAC's temperature as a parameter beside the networks."""
        model = self._make_networks()
        model.log_alpha = nn.Parameter(torch.full((1,), math.log(self._initial_alpha)))
        return self._with_filter(model)

    def _make_networks(self) -> ActorAndCritics:
        size, stack = self.action_size, self.frame_stack
        space, actions, config = self.observation_space, self.action_space, self.model_config
        each = range(self._num_critics)
        if self.discrete:
            mask = mask_size(space, actions)
            actor = BodyAndHead(space, size, stack, config, False, mask, actions)
            of_all = [BodyAndHead(space, size, stack, config, False, mask, actions) for _ in each]
            return ActorAndCritics(actor, [*of_all])
        actor = BodyAndHead(space, 2 * size, stack, config, False, action_space=actions)
        critics = [Critic(space, size, stack, config, actions) for _ in each]
        return ActorAndCritics(actor, [*critics])

    def _weights_moved(self) -> None:
        self._numpy_forward = self.model.actor.numpy_forward()  # type: ignore[operator]

    def act(self, obs: Array, state: ArrayState = (), explore: bool = True) -> Act:
        if explore and self.timesteps < self.random_steps:
            if not self.discrete:
                return Act(self._random_actions(len(obs)), self._random_logp(len(obs)), state)
            inputs = np.zeros((len(obs), self.action_size), np.float32)
            inputs = masked_numpy(inputs, obs) if self.model.actor.mask_size else inputs
        else:
            inputs = self._actor_numpy(obs)
        if self.discrete:
            actions, logp = sample_numpy(inputs, self.random, greedy=not explore)
            return Act(actions, {c.ACTION_LOGP: logp}, state)
        flat, logp = gaussian.squashed_sample_numpy(inputs, self.random, greedy=not explore)
        return Act(flat.reshape(len(obs), *self.action_layout.shape), {c.ACTION_LOGP: logp}, state)

    def _random_actions(self, batch: int) -> Array:
        shape = (batch, *self.action_layout.shape)
        return self.random.uniform(-1.0, 1.0, shape).astype(np.float32)

    def _random_logp(self, batch: int) -> dict[str, Array]:
        return {c.ACTION_LOGP: np.full(batch, -self.action_size * math.log(2.0), np.float32)}

    def _actor_numpy(self, obs: Array) -> Array:
        """What `actor` gives, for acting."""
        obs = self.filtered_numpy(obs)
        if self._numpy_forward is not None:
            inputs: Array = self._numpy_forward(obs)
        else:
            with torch.inference_mode():
                inputs = self.model.actor(as_tensor(obs, self.device)).cpu().numpy()
        if not self.discrete:
            log_std = inputs[:, self.action_size :]
            np.clip(log_std, gaussian.LOG_STD_MIN, gaussian.LOG_STD_MAX, out=log_std)
        return inputs

    def greedy(
        self, obs: Tensor, state: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        inputs = self.actor(self.filtered(obs))
        if self.discrete:
            return inputs.argmax(dim=1), inputs, state
        return torch.tanh(inputs[:, : self.action_size]), inputs, state

    @property
    def log_alpha(self) -> Tensor:
        """[1], with gradient."""
        log_alpha = self.model.log_alpha
        assert isinstance(log_alpha, Tensor)
        return log_alpha

    # ---- learning -------------------------------------------------------------------------------

    def actor(self, obs: Tensor) -> Tensor:
        """With gradient, of filtered observations: mean and log-deviation [N, 2K], or logits [N, A]
        of a discrete space."""
        inputs: Tensor = self.model.actor(obs)
        return inputs if self.discrete else gaussian.clamp_log_std(inputs)

    def sample(
        self, obs: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Continuous only: actions [N, K] and their log-probabilities [N]; gradients flow through
        both into the actor."""
        assert not self.discrete, "a discrete actor's expectation is a sum: use `actor`"
        return gaussian.squashed_sample(self.actor(obs), generator)

    def q_values(self, obs: Tensor, actions: Tensor | None = None) -> tuple[Tensor, ...]:
        """Of each critic, with gradient: Q [N] of stored actions [N, ...], or of a discrete space
        Q [N, A] of all (`actions` is left out)."""
        if self.discrete:
            return self.model.q_values(obs)
        assert actions is not None
        return self.model.q_values(obs, actions)
