"""Ape-X DQN: distributed prioritized experience replay (Horgan et al. 2018).

    workers, epsilon_i each --[N] n-step rows, first priorities--> replay shards
    shards --prioritized batches [N]--> learner: double, dueling Q
    learner --priorities--> shards, --weights--> workers

N rows, A actions, n steps of a row. Environment i of all N_e explores with epsilon_i =
0.4^(1 + 7 i / (N_e - 1)) for good. Each row is sampled `samples_per_insert` times on average,
whatever the speeds. The loss is the mean over the batch of weight x Huber(TD), so `grad_clip` is of
a mean. The target network is copied every `target_network_update_freq` learner updates.
"""

from __future__ import annotations

import functools
from typing import Annotated, ClassVar

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.optimizer import Optimizer
from actorrl.algorithms.replay_config import (
    AdamEpsilon,
    BatchRows,
    Capacity,
    LearningStarts,
    Prioritized,
    ReplayConfig,
    SamplesPerInsert,
    StepsSummed,
)
from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.envs.check import EnvInfo
from actorrl.losses.q_learning import double_q_td, q_loss
from actorrl.models.model_config import ModelConfig
from actorrl.policies.exploration import epsilon_ladder
from actorrl.policies.q_policy import QPolicy
from actorrl.replay.buffer import BufferSettings
from actorrl.roles.settings import Arrays, Body, Metrics, Postprocess, State
from actorrl.rollouts.postprocess import NStep, initial_priorities
from actorrl.runtime.counts import role_count
from actorrl.runtime.program import Program
from actorrl.topologies import distributed_replay


class APEXConfig(ReplayConfig):
    lr: Annotated[float, Meta(gt=0, description="step size", extra={"rllib": 5e-4})] = 1e-3
    rollout_fragment_length: Annotated[
        int,
        Meta(ge=1, description="rows of a fragment", extra={"unit": "env steps", "rllib": 50}),
    ] = 16
    train_batch_size: Annotated[BatchRows, Meta(extra={"rllib": 512})] = 128
    grad_clip: (
        Annotated[
            float,
            Meta(gt=0, description="largest L2 norm of the gradient", extra={"rllib": 40.0}),
        ]
        | None
    ) = 10.0
    adam_epsilon: AdamEpsilon = 1e-5
    model: Annotated[ModelConfig, Meta(description="the network")] = msgspec.field(
        default_factory=lambda: ModelConfig(fcnet_hiddens=[128, 128], fcnet_activation="relu")
    )
    n_step: StepsSummed = 3
    double_q: Annotated[bool, Meta(description="double Q-learning")] = True
    dueling: Annotated[bool, Meta(description="dueling network")] = True
    num_replay_shards: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        Meta(
            description="replay processes; null: the host list's `replay`, else 2",
            extra={"unit": "processes", "rllib": 4},
        ),
    ] = None
    replay_capacity: Annotated[
        Capacity, Meta(description="rows of all shards", extra={"rllib": 2_000_000})
    ] = 100_000
    learning_starts: Annotated[LearningStarts, Meta(extra={"rllib": 50_000})] = 1000
    samples_per_insert: SamplesPerInsert = 8.0
    prioritized_replay: Prioritized = True
    target_network_update_freq: Annotated[
        int,
        Meta(
            ge=1,
            description="learner updates between two copies into the target network",
            extra={"unit": "updates", "rllib": 500_000},
        ),
    ] = 250
    epsilon_base: Annotated[
        float, Meta(gt=0, lt=1, description="epsilon of the first environment")
    ] = 0.4
    epsilon_exponent: Annotated[float, Meta(ge=0, description="steepness of the ladder")] = 7.0

    rows_have_q_values: ClassVar[bool] = True
    ALIASES: ClassVar[dict[str, str]] = {
        **ReplayConfig.ALIASES,
        "num_replay_buffer_shards": "num_replay_shards",
    }

    def resolved_num_shards(self) -> int:
        return role_count(self.cluster_spec(), "replay", self.num_replay_shards, 2)

    def buffer(self, info: EnvInfo) -> tuple[str, BufferSettings]:
        return "replay", self.shard(info, 0, self.resolved_num_shards())

    def validate(self) -> list[str]:
        lines = super().validate()
        shards = self.resolved_num_shards() if not lines else self.num_replay_shards or 1
        return lines + self.shard_lines(shards)


# ---- policy ---------------------------------------------------------------------------------


def make_policy(config: APEXConfig, info: EnvInfo, seed: int, env_indices: np.ndarray) -> QPolicy:
    """A restarted worker has the same environments, and so the same epsilons."""
    return QPolicy(
        info.observation_space,
        info.action_space,
        info.frame_stack,
        config.model,
        seed,
        dueling=config.dueling,
        double=config.double_q,
        epsilons=_epsilons(config)[env_indices],
        observation_filter=config.observation_filter,
    )


def _epsilons(config: APEXConfig) -> np.ndarray:
    return epsilon_ladder(config.num_envs_total(), config.epsilon_base, config.epsilon_exponent)


# ---- postprocess ----------------------------------------------------------------------------


def make_postprocess(
    config: APEXConfig, clip: float | None, policy: QPolicy, num_envs: int
) -> Postprocess:
    """Fragments to n-step rows, with the TD errors that the worker's own Q-values give."""
    n_step = NStep(config.n_step, config.gamma, num_envs, clip_rewards=clip)

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        columns = fragment.columns
        if c.FINAL_OBS in columns:  # SAME_STEP: the policy has never looked at them
            columns[c.FINAL_Q_VALUES] = policy.final_q_values(columns)
        rows = n_step.add(columns, fragment.led_frames)
        rows[c.PRIORITIES] = initial_priorities(rows)
        for name in (c.Q_VALUES, c.NEXT_Q_VALUES):
            del rows[name]
        body, _ = fragment.to_message()
        return body, rows

    return postprocess


# ---- update ---------------------------------------------------------------------------------


class APEXUpdate:
    """One step of the optimizer on one batch; returns the rows' new priorities |TD| [N]."""

    def __init__(self, config: APEXConfig, info: EnvInfo, seed: int, device: str) -> None:
        self._config = config
        self.policy: QPolicy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._target = self.policy.make_target()
        self.policy.follow(self._target.sync)
        self._optimizer = Optimizer(
            self.policy,
            config.lr,
            config.lr_schedule,
            config.gradient_clip(),
            eps=config.adam_epsilon,
        )
        self._num_updates = 0

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        batch = self.policy.filtered_rows(batch)
        # The next observations first: what a pass without gradient takes is free again before the
        # one with gradient keeps all of its own.
        q_next = self._target.q_values(batch[c.NEXT_OBS])
        q_next_online = self._chooser(batch[c.NEXT_OBS], q_next)
        q = self.policy.q_values(batch[c.OBS])
        td = double_q_td(
            q,
            batch[c.ACTIONS],
            batch[c.REWARDS],
            batch[c.DISCOUNTS],
            q_next_online,
            q_next,
            self._config.double_q,
        )
        loss = q_loss(td, batch[c.WEIGHTS])
        stepped = self._optimizer.minimize(loss, timesteps)
        self._num_updates += 1
        if self._num_updates % self._config.target_network_update_freq == 0:
            self._target.sync()
        errors = td.detach().abs()
        return {
            "loss": loss.detach(),
            "mean_q": q.detach().mean(),
            "mean_td_error": errors.mean(),
            **stepped,
            c.PRIORITIES: errors.cpu().numpy(),
        }

    @torch.no_grad()
    def _chooser(self, new_obs: Tensor, q_next: Tensor) -> Tensor:
        """Values of the next observations by which the double estimator chooses."""
        return self.policy.q_values(new_obs) if self._config.double_q else q_next

    def state_dict(self) -> State:
        return {
            "optimizer": self._optimizer.state_dict(),
            "target": self._target.flat_weights(),
            "num_updates": self._num_updates,
        }

    def load_state_dict(self, state: State) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._target.load_flat(state["target"])
        self._num_updates = int(state["num_updates"])


# ---- program --------------------------------------------------------------------------------


class APEX(Algorithm):
    config_class = APEXConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: APEXConfig, setup: Setup) -> Program:
        info = setup.info
        clip = 1.0 if config.clips_rewards(info.frame_stack) else None
        return distributed_replay.build(
            "APEX",
            setup.workers(config),
            setup.learner(config, functools.partial(APEXUpdate, config, info, setup.seed)),
            config.shard(info, setup.seed, config.resolved_num_shards()),
            config.resolved_num_shards(),
            setup.acting(config, make_policy),
            functools.partial(make_postprocess, config, clip),
            config.prioritized_replay_beta,
        )

    @staticmethod
    def counts_env(config: APEXConfig, env_index: int) -> bool:
        return config.explores_little(env_index)


APEXConfig.algorithm = APEX
ApexDQN, ApexDQNConfig = APEX, APEXConfig  # RLlib 2.6.3's spelling
DEFAULT_CONFIG, ApexAgent, ApexTrainer = APEXConfig(), APEX, APEX  # RLlib's older names
__all__ = [
    "APEX",
    "APEXConfig",
    "ApexAgent",
    "ApexDQN",
    "ApexDQNConfig",
    "ApexTrainer",
    "DEFAULT_CONFIG",
]
