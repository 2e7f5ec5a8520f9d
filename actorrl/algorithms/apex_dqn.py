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

import numpy as np
from msgspec import Meta

from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows
from actorrl.algorithms.q_learning import QConfig, QUpdate, UpdatesApart
from actorrl.algorithms.replay_config import (
    BatchRows,
    Capacity,
    LearningStarts,
    SamplesPerInsert,
)
from actorrl.algorithms.sharded_replay import ReplayShards, ShardedReplayConfig
from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.envs.check import EnvInfo
from actorrl.policies.exploration import exploration_ladder
from actorrl.policies.q_policy import QPolicy
from actorrl.roles.settings import Arrays, Body, Postprocess
from actorrl.rollouts.postprocess import NStep, initial_priorities
from actorrl.runtime.program import Program
from actorrl.topologies import distributed_replay


class APEXConfig(QConfig, ShardedReplayConfig):
    rollout_fragment_length: FragmentRows = 16
    train_batch_size: BatchRows = 128
    num_replay_shards: ReplayShards = None
    replay_capacity: Annotated[Capacity, Meta(description="rows of all shards")] = 100_000
    learning_starts: LearningStarts = 1000
    samples_per_insert: SamplesPerInsert = 8.0
    target_network_update_freq: UpdatesApart = 250
    epsilon_base: Annotated[
        float, Meta(gt=0, lt=1, description="epsilon of the first environment")
    ] = 0.4
    epsilon_exponent: Annotated[float, Meta(ge=0, description="steepness of the ladder")] = 7.0

    rows_have_q_values: ClassVar[bool] = True


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
        precision=config.precision,
    )


def _epsilons(config: APEXConfig) -> np.ndarray:
    return exploration_ladder(config.num_envs_total(), config.epsilon_base, config.epsilon_exponent)


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


# ---- update: q_learning.py's -------------------------------------------------------------------


def make_update(config: APEXConfig, info: EnvInfo, seed: int, device: str) -> QUpdate:
    """DQN's, whose target network is a copy of some updates ago."""
    return QUpdate(config, make_policy(config, info, seed, np.arange(1)), device, tau=1.0)


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
            setup.learner(config, setup.update(config, make_update)),
            config.shard(info, setup.seed, config.resolved_num_shards()),
            config.resolved_num_shards(),
            setup.acting(config, make_policy),
            functools.partial(make_postprocess, config, clip),
            config.beta(),
        )

    @staticmethod
    def counts_env(config: APEXConfig, env_index: int) -> bool:
        return config.explores_little(env_index)


APEXConfig.algorithm = APEX
ApexDQN, ApexDQNConfig = APEX, APEXConfig  # RLlib 2.6.3's spelling
DEFAULT_CONFIG, ApexAgent, ApexTrainer = APEXConfig(), APEX, APEX  # RLlib's older names
