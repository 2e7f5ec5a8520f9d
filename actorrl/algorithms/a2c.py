"""A2C: synchronous advantage actor-critic (Mnih et al. 2016, the synchronous form).

    workers --[T, B] fragments--> learner: lambda-returns, one step on the batch
       ^------------------------- weights -----------'

T rows of a fragment, B environments of all workers. All workers act with the same version, which
is the learner's: data is never old. Losses are means over the valid rows, so `grad_clip` is of a
mean.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from actorrl.algorithms.actor_critic import GAEConfig, Lambda, make_policy, make_postprocess
from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows, Gathers, StepSize, TrainRows
from actorrl.algorithms.optimizer import OneOptimizer, Optimizer
from actorrl.data import columns as c
from actorrl.envs.check import EnvInfo
from actorrl.losses.policy_gradient import a2c_loss
from actorrl.losses.returns import lambda_returns
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.base import Policy
from actorrl.roles.settings import Metrics
from actorrl.runtime.program import Program
from actorrl.topologies import synchronous


class A2CConfig(GAEConfig):
    several_policies: ClassVar[bool] = True
    several_learners: ClassVar[bool] = True
    gathers: ClassVar[Gathers] = "rounds"
    reproducible: ClassVar[bool] = True
    unread: ClassVar[frozenset[str]] = frozenset({c.ACTION_DIST_INPUTS, c.ACTION_LOGP, c.VF_PREDS})

    lr: StepSize = 1e-3
    lambda_: Lambda = 1.0
    rollout_fragment_length: FragmentRows = 32
    train_batch_size: TrainRows = 100


# ---- policy and postprocess: actor_critic.py's -----------------------------------------------


# ---- update ---------------------------------------------------------------------------------


def compute_loss(
    config: GAEConfig,
    clip_rewards: bool,
    policy: Policy,
    batch: Mapping[str, Tensor],
    timesteps: int,
) -> tuple[Tensor, Mapping[str, Any]]:
    """The loss of one batch [T, B]; A3C's workers differentiate the same."""
    assert isinstance(policy, ActorCriticPolicy)
    rewards = batch[c.REWARDS]
    num_rows, num_envs = rewards.shape
    if clip_rewards:
        rewards = rewards.clamp(-1.0, 1.0)
    inputs, values = policy.forward_sequence(batch, num_rows, num_envs)
    dist = policy.distribution(inputs)
    returns = lambda_returns(
        rewards=rewards,
        values=values[:-1].detach(),
        next_values=policy.next_values(batch, values),
        terminateds=batch[c.TERMINATEDS],
        truncateds=batch[c.TRUNCATEDS],
        valid=batch[c.VALID],
        gamma=config.gamma,
        lambda_=config.lambda_,
    )
    entropy_coeff = config.entropy_at(timesteps)
    loss, metrics = a2c_loss(
        logp=dist.logp(batch[c.ACTIONS]),
        entropy=dist.entropy(),
        values=values[:-1],
        advantages=returns.advantages,
        value_targets=returns.value_targets,
        valid=batch[c.VALID],
        vf_loss_coeff=policy.vf_weight(config.vf_loss_coeff),
        entropy_coeff=entropy_coeff,
        group=policy.group,
    )
    return loss, {**metrics, "entropy_coeff": entropy_coeff}


class A2CUpdate(OneOptimizer):
    """One step of the optimizer on one batch."""

    def __init__(self, config: A2CConfig, info: EnvInfo, seed: int, device: str) -> None:
        self.policy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._loss = functools.partial(compute_loss, config, config.clips_rewards(info.frame_stack))
        self._optimizer = Optimizer(
            self.policy, config.lr, config.lr_schedule, config.gradient_clip()
        )

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        loss, metrics = self._loss(self.policy, batch, timesteps)
        stepped = self._optimizer.minimize(loss, timesteps, batch[c.VALID])
        self.policy.follow_value_targets(metrics["vf_targets_rms"])
        return {**metrics, **stepped}


# ---- program --------------------------------------------------------------------------------


class A2C(Algorithm):
    config_class = A2CConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: A2CConfig, setup: Setup) -> Program:
        return synchronous.build(
            "A2C",
            setup.workers(config),
            setup.learner(config, setup.update(config, A2CUpdate)),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_postprocess),
        )


A2CConfig.algorithm = A2C
DEFAULT_CONFIG, A2CAgent, A2CTrainer = A2CConfig(), A2C, A2C  # RLlib's older names
