"""What DQN and Ape-X DQN have in common: settings of learning, and the update.

N rows, A actions, Z atoms. The loss is the mean over the batch of weight x Huber(TD), or where the
network gives distributions of weight x KL, so `grad_clip` is of a mean.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple, cast

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.config import GradClip, Precision, StepSize
from actorrl.algorithms.optimizer import Optimizer
from actorrl.algorithms.replay_config import AdamEpsilon, Prioritized, ReplayConfig, StepsSummed
from actorrl.data import columns as c
from actorrl.losses.distributional import categorical_td
from actorrl.losses.q_learning import double_q_td, huber, taken
from actorrl.models.model_config import ModelConfig
from actorrl.models.q_network import QNetwork
from actorrl.policies.q_policy import QPolicy
from actorrl.roles.settings import Metrics, State

UpdatesApart = Annotated[
    int,
    Meta(
        ge=1,
        description="learner updates between two moves of the target network",
        extra={"unit": "updates"},
    ),
]


class QConfig(ReplayConfig):
    """What DQN and Ape-X DQN have in common."""

    lr: StepSize = 1e-3
    grad_clip: GradClip | None = 10.0
    adam_epsilon: AdamEpsilon = 1e-5
    model: Annotated[ModelConfig, Meta(description="the network")] = msgspec.field(
        default_factory=lambda: ModelConfig(fcnet_hiddens=[128, 128], fcnet_activation="relu")
    )
    n_step: StepsSummed = 3
    prioritized_replay: Prioritized = True
    double_q: Annotated[bool, Meta(description="double Q-learning")] = True
    dueling: Annotated[bool, Meta(description="dueling network")] = True
    target_network_update_freq: UpdatesApart = 1
    precision: Precision = "fp32"


class _Rows(NamedTuple):
    """Of each row of a batch, [N]."""

    losses: Tensor  # with gradient
    priorities: Tensor
    values: Tensor  # Q of the action that was taken


class QUpdate:
    """One step of the optimizer on one batch; returns the rows' new priorities [N]. Ape-X's too.
    `tau` is the share of the way that the target network moves."""

    def __init__(self, config: QConfig, policy: QPolicy, device: str, tau: float) -> None:
        self.policy = policy
        policy.to(device)
        self._target = policy.make_target()
        policy.follow(self._target.sync)
        self._tau = tau
        self._updates_apart = config.target_network_update_freq
        self._optimizer = Optimizer(
            policy,
            config.lr,
            config.lr_schedule,
            config.gradient_clip(),
            eps=config.adam_epsilon,
        )
        self._num_updates = 0

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        batch = self.policy.filtered_rows(batch)
        if self.policy.noisy:  # one noise for all rows of a batch, another for the target network
            self.policy.model.draw_noise(self.policy.random)
            cast(QNetwork, self._target.model).draw_noise(self.policy.random)
        is_categorical = self.policy.model.support is not None
        rows = self._categorical(batch) if is_categorical else self._huber(batch)
        loss = (batch[c.WEIGHTS] * rows.losses).mean()
        stepped = self._optimizer.minimize(loss, timesteps)
        self._num_updates += 1
        if self._num_updates % self._updates_apart == 0:
            self._target.sync(self._tau)
        return {
            "loss": loss.detach(),
            "mean_q": rows.values.mean(),
            "mean_td_error": rows.priorities.mean(),
            **stepped,
            **self._explored(timesteps),
            c.PRIORITIES: rows.priorities.cpu().numpy(),
        }

    def _explored(self, timesteps: int) -> Metrics:
        """How the workers explore now; nothing of Ape-X's, each of whose environments differs."""
        schedule = self.policy.epsilon_schedule
        return {} if schedule is None else {"cur_epsilon": schedule(timesteps)}

    def _huber(self, batch: dict[str, Tensor]) -> _Rows:
        """Priorities are |TD|."""
        # The next observations first: what a pass without gradient takes is free again before the
        # one with gradient keeps all of its own.
        q_next_target = self._target.q_values(batch[c.NEXT_OBS])
        q_next_online = self._chooser(batch[c.NEXT_OBS], q_next_target)
        q = self.policy.q_values(batch[c.OBS])
        td = double_q_td(
            q,
            batch[c.ACTIONS],
            batch[c.REWARDS],
            batch[c.DISCOUNTS],
            q_next_online,
            q_next_target,
            self.policy.double,
        )
        return _Rows(huber(td), td.detach().abs(), taken(q.detach(), batch[c.ACTIONS]))

    def _categorical(self, batch: dict[str, Tensor]) -> _Rows:
        """Losses and priorities are the divergence."""
        model = self.policy.model
        assert model.support is not None
        with torch.no_grad():
            logits_next = cast(QNetwork, self._target.model).logits(batch[c.NEXT_OBS])
        q_next_online = self._chooser(batch[c.NEXT_OBS], model.mean_of(logits_next))
        logits = model.logits(batch[c.OBS])
        divergence = categorical_td(
            logits,
            batch[c.ACTIONS],
            batch[c.REWARDS],
            batch[c.DISCOUNTS],
            q_next_online,
            logits_next,
            model.support.values(logits_next.device),
        )
        values = taken(model.mean_of(logits.detach()), batch[c.ACTIONS])
        return _Rows(divergence, divergence.detach().clamp(min=0.0), values)

    @torch.no_grad()
    def _chooser(self, new_obs: Tensor, q_next_target: Tensor) -> Tensor:
        """The values by which the next action is chosen."""
        return self.policy.q_values(new_obs) if self.policy.double else q_next_target

    def state_dict(self) -> State:
        return {
            "optimizer": self._optimizer.state_dict(),
            "target": self._target.flat_weights(),
            "num_updates": self._num_updates,
            "random": self.policy.random_state(),
        }

    def load_state_dict(self, state: State) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._target.load_flat(state["target"])
        self._num_updates = int(state["num_updates"])
        self.policy.set_random_state(state["random"])
