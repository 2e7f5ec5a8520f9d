"""IMPALA: importance-weighted actor-learner architecture (Espeholt et al. 2018).

    workers --[T, B] fragments, behaviour log-probabilities--> learner: V-trace --weights--> workers

T rows of a fragment, B environments of the fragments in a batch, A actions. Workers act with
weights that are some updates old; V-trace corrects for that. Losses are means over the valid rows
(the paper sums), so `lr` and `grad_clip` do not depend on `train_batch_size`. Fragments older than
`max_policy_lag` updates are dropped and counted.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.actor_critic import (
    ActorCriticConfig,
    Decay,
    EntropyWeight,
    Epsilon,
    Momentum,
    OptType,
    PolicyLag,
    RhoBar,
    TraceDecay,
    make_optimizer,
    make_policy,
    make_postprocess,
)
from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows, StepSize, TrainRows
from actorrl.algorithms.optimizer import OneOptimizer
from actorrl.data import columns as c
from actorrl.envs.check import EnvInfo
from actorrl.losses.policy_gradient import Loss, impala_loss
from actorrl.roles.settings import Metrics
from actorrl.runtime.program import Program
from actorrl.topologies import sample_queue


class IMPALAConfig(ActorCriticConfig):
    several_policies: ClassVar[bool] = True
    several_learners: ClassVar[bool] = True
    unread: ClassVar[frozenset[str]] = frozenset({c.ACTION_DIST_INPUTS, c.VF_PREDS})
    OF_THE_RUN: ClassVar[frozenset[str]] = ActorCriticConfig.OF_THE_RUN | {"max_policy_lag"}

    lr: StepSize = 1e-3
    rollout_fragment_length: FragmentRows = 32
    train_batch_size: TrainRows = 256
    num_sgd_iter: Annotated[int, Meta(ge=1, description="steps on each batch")] = 1
    entropy_coeff: EntropyWeight = 0.01
    vtrace_clip_rho_threshold: RhoBar = 1.0
    vtrace_clip_pg_rho_threshold: Annotated[
        float, Meta(gt=0, description="rho-bar of the policy gradient")
    ] = 1.0
    vtrace_lambda: TraceDecay = 1.0
    max_policy_lag: PolicyLag | None = 100
    opt_type: OptType = "adam"
    decay: Decay = 0.99
    momentum: Momentum = 0.0
    epsilon: Epsilon = 1e-5
    ALIASES: ClassVar[dict[str, str]] = {
        **ActorCriticConfig.ALIASES,
        "num_epochs": "num_sgd_iter",
    }


# ---- policy and postprocess: actor_critic.py's -----------------------------------------------


# ---- update ---------------------------------------------------------------------------------


class IMPALAUpdate(OneOptimizer):
    """`num_sgd_iter` steps of the optimizer on one batch; V-trace anew before each."""

    def __init__(self, config: IMPALAConfig, info: EnvInfo, seed: int, device: str) -> None:
        self._config = config
        self._clip_rewards = config.clips_rewards(info.frame_stack)
        self.policy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._optimizer = make_optimizer(self.policy, config)

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        config = self._config
        if self._clip_rewards:
            batch[c.REWARDS] = batch[c.REWARDS].clamp(-1.0, 1.0)
        entropy_coeff = config.entropy_at(timesteps)
        for _ in range(config.num_sgd_iter):
            loss, metrics = self._loss(batch, entropy_coeff)
            stepped = self._optimizer.minimize(loss, timesteps, batch[c.VALID])
            self.policy.follow_value_targets(metrics["vf_targets_rms"])
        return {**metrics, **stepped, "entropy_coeff": entropy_coeff}

    def _loss(self, batch: dict[str, Tensor], entropy_coeff: float) -> Loss:
        config = self._config
        inputs, values = self.policy.forward_sequence(batch, *batch[c.REWARDS].shape)
        dist = self.policy.distribution(inputs)
        return impala_loss(
            logp=dist.logp(batch[c.ACTIONS]),
            entropy=dist.entropy(),
            values=values[:-1],
            next_values=self.policy.next_values(batch, values),
            behaviour_logp=batch[c.ACTION_LOGP],
            rewards=batch[c.REWARDS],
            terminateds=batch[c.TERMINATEDS],
            truncateds=batch[c.TRUNCATEDS],
            valid=batch[c.VALID],
            gamma=config.gamma,
            vf_loss_coeff=self.policy.vf_weight(config.vf_loss_coeff),
            entropy_coeff=entropy_coeff,
            rho_bar=config.vtrace_clip_rho_threshold,
            pg_rho_bar=config.vtrace_clip_pg_rho_threshold,
            lambda_=config.vtrace_lambda,
            group=self.policy.group,
        )


# ---- program --------------------------------------------------------------------------------


class IMPALA(Algorithm):
    config_class = IMPALAConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: IMPALAConfig, setup: Setup) -> Program:
        make_update = setup.update(config, IMPALAUpdate)
        return sample_queue.build(
            "IMPALA",
            setup.workers(config),
            setup.learner(config, make_update, max_policy_lag=config.max_policy_lag),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_postprocess),
        )


IMPALAConfig.algorithm = IMPALA
Impala, ImpalaConfig = IMPALA, IMPALAConfig  # RLlib 2.6.3's spelling
DEFAULT_CONFIG, ImpalaAgent, ImpalaTrainer = IMPALAConfig(), IMPALA, IMPALA  # RLlib's older names
