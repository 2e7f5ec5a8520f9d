"""Ape-X DDPG: DDPG on distributed prioritized replay (Horgan et al. 2018, section 4.2).

    workers, noise sigma_i each --[N] n-step rows, first priorities--> replay shards
    shards --prioritized batches [N]--> learner: critic and actor
    learner --priorities--> shards, --weights--> workers

N rows. Roles, shards and flow are Ape-X DQN's, policy and update DDPG's. Environment i of all N_e
explores with Gaussian noise of deviation sigma_i = noise_scale^(1 + noise_exponent i / (N_e - 1)).
First priorities are the |TD| of the worker's own networks.
"""

from __future__ import annotations

import functools
from typing import Annotated, Literal

import numpy as np
import torch
from msgspec import Meta

from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows
from actorrl.algorithms.ddpg import DeterministicConfig, DeterministicUpdate, policy_with_noise
from actorrl.algorithms.replay_config import Prioritized, SamplesPerInsert, StepsSummed
from actorrl.algorithms.sharded_replay import ReplayShards, ShardedReplayConfig
from actorrl.data import columns as c
from actorrl.data.fragment import Fragment
from actorrl.envs.check import EnvInfo
from actorrl.losses import continuous_q as losses
from actorrl.policies.deterministic import DeterministicPolicy
from actorrl.policies.exploration import exploration_ladder
from actorrl.roles.settings import Arrays, Body, Postprocess
from actorrl.rollouts.postprocess import NStep
from actorrl.runtime.program import Program
from actorrl.topologies import distributed_replay


class APEXDDPGConfig(DeterministicConfig, ShardedReplayConfig):
    rollout_fragment_length: FragmentRows | Literal["auto"] = 16
    n_step: StepsSummed = 3
    samples_per_insert: SamplesPerInsert = 16.0
    prioritized_replay: Prioritized = True
    num_replay_shards: ReplayShards = None
    random_steps: Annotated[
        int, Meta(ge=0, le=0, description="none here: noise alone explores")
    ] = 0
    noise_scale: Annotated[
        float, Meta(gt=0, lt=1, description="standard deviation of the first environment's noise")
    ] = 0.5
    noise_exponent: Annotated[float, Meta(ge=0, description="steepness of the ladder")] = 4.0


# ---- policy ---------------------------------------------------------------------------------


def make_policy(
    config: APEXDDPGConfig, info: EnvInfo, seed: int, env_indices: np.ndarray
) -> DeterministicPolicy:
    """A restarted worker has the same environments, and so the same noise."""
    ladder = exploration_ladder(config.num_envs_total(), config.noise_scale, config.noise_exponent)
    return policy_with_noise(config, info, seed, ladder[env_indices])


# ---- postprocess ----------------------------------------------------------------------------


def make_postprocess(
    config: APEXDDPGConfig, clip: float | None, policy: DeterministicPolicy, num_envs: int
) -> Postprocess:
    """Fragments to n-step rows, with the TD errors that the worker's own networks give."""
    n_step = NStep(config.n_step, config.gamma, num_envs, clip_rewards=clip)

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        rows = n_step.add(fragment.columns, fragment.led_frames)
        rows[c.PRIORITIES] = first_priorities(policy, rows)
        body, _ = fragment.to_message()
        return body, rows

    return postprocess


@torch.no_grad()
def first_priorities(policy: DeterministicPolicy, rows: Arrays) -> np.ndarray:
    """|TD| [N] float32, with the policy's networks in the place of the target's too."""
    if len(rows[c.REWARDS]) == 0:
        return np.empty(0, np.float32)
    tensors = policy.filtered_rows(policy.tensors(rows))
    new_obs = tensors[c.NEXT_OBS]
    next_values = losses.smallest(policy.q_values(new_obs, policy.actor(new_obs)))
    targets = losses.bootstrapped(tensors[c.REWARDS], tensors[c.DISCOUNTS], next_values)
    values = policy.q_values(tensors[c.OBS], tensors[c.ACTIONS])
    _, errors = losses.critic_loss(values, targets, torch.ones_like(targets))
    return errors.cpu().numpy()


# ---- program --------------------------------------------------------------------------------


class APEX_DDPG(Algorithm):
    config_class = APEXDDPGConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: APEXDDPGConfig, setup: Setup) -> Program:
        info, shards = setup.info, config.resolved_num_shards()
        clip = 1.0 if config.clips_rewards(info.frame_stack) else None
        return distributed_replay.build(
            "APEX_DDPG",
            setup.workers(config),
            setup.learner(config, setup.update(config, DeterministicUpdate)),
            config.shard(info, setup.seed, shards),
            shards,
            setup.acting(config, make_policy),
            functools.partial(make_postprocess, config, clip),
            config.beta(),
        )

    @staticmethod
    def counts_env(config: APEXDDPGConfig, env_index: int) -> bool:
        return config.explores_little(env_index)


APEXDDPGConfig.algorithm = APEX_DDPG
ApexDDPG, ApexDDPGConfig = APEX_DDPG, APEXDDPGConfig  # RLlib 2.6.3's spelling
DEFAULT_CONFIG, ApexDDPGAgent, ApexDDPGTrainer = (
    APEXDDPGConfig(),
    APEX_DDPG,
    APEX_DDPG,
)  # RLlib's older names
