"""APPO: PPO's surrogate on IMPALA's stream of fragments (Luo et al. 2020, "IMPACT").

    workers --[T, B] fragments, behaviour log-probabilities--> learner: V-trace, clipped surrogate
       ^-------------------------- weights ----------------------'

T rows of a fragment, B environments of the fragments in a batch. Three policies are at work: mu,
which acted (some updates old), pi, which is learned, and, where `target_network_update_freq` says
so, a target, pi of some updates ago. Advantages are V-trace's, and the surrogate clips pi/mu; with
a target, V-trace corrects towards it and the surrogate clips pi/target. Losses are means over the
valid rows, so `lr` and `grad_clip` do not depend on `train_batch_size`. Fragments older than
`max_policy_lag` updates are dropped and counted.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.actor_critic import (
    ActorCriticConfig,
    ClipParam,
    EntropyWeight,
    PolicyLag,
    RhoBar,
    TraceDecay,
    make_policy,
    make_postprocess,
)
from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows, StepSize, TrainRows
from actorrl.algorithms.optimizer import Optimizer
from actorrl.data import columns as c
from actorrl.envs.check import EnvInfo
from actorrl.losses.policy_gradient import Loss, normalised, value_metrics
from actorrl.losses.ppo import adapted_kl_coeff, ppo_loss
from actorrl.losses.vtrace import vtrace
from actorrl.models.action_distribution import ActionDistribution
from actorrl.roles.settings import Metrics, State
from actorrl.runtime.program import Program
from actorrl.topologies import sample_queue

_LARGEST_RATIO = 2.0  # of mu to the target, as IMPACT's 1/beta: older data weighs no more


class APPOConfig(ActorCriticConfig):
    several_policies: ClassVar[bool] = True
    several_learners: ClassVar[bool] = True
    unread: ClassVar[frozenset[str]] = frozenset({c.ACTION_DIST_INPUTS, c.VF_PREDS})
    OF_THE_RUN: ClassVar[frozenset[str]] = ActorCriticConfig.OF_THE_RUN | {"max_policy_lag"}

    lr: StepSize = 1e-3
    rollout_fragment_length: FragmentRows = 32
    train_batch_size: TrainRows = 256
    # Few steps leave the values far behind the policy, and the policy then falls back.
    num_sgd_iter: Annotated[int, Meta(ge=1, description="steps on each batch")] = 4
    entropy_coeff: EntropyWeight = 0.005
    clip_param: ClipParam = 0.2
    vtrace_clip_rho_threshold: RhoBar = 1.0
    vtrace_lambda: TraceDecay = 1.0
    target_network_update_freq: (
        Annotated[int, Meta(ge=1, description="null: no target network", extra={"unit": "updates"})]
        | None
    ) = None
    kl_coeff: Annotated[
        float, Meta(ge=0, description="first weight of KL(target || pi); 0: none")
    ] = 0.0
    kl_target: Annotated[
        float, Meta(gt=0, description="the KL that its weight is adapted to", extra={"unit": "nat"})
    ] = 0.01
    max_policy_lag: PolicyLag | None = 100
    ALIASES: ClassVar[dict[str, str]] = {
        **ActorCriticConfig.ALIASES,
        "lambda": "vtrace_lambda",
        "num_epochs": "num_sgd_iter",
        "target_update_frequency": "target_network_update_freq",
    }

    def validate(self) -> list[str]:
        if self.kl_coeff and self.target_network_update_freq is None:
            line = "kl_coeff: needs a target network, expected target_network_update_freq: 4, say"
            return [*super().validate(), line]
        return super().validate()


# ---- policy and postprocess: actor_critic.py's ----------------------------------------------


# ---- update ---------------------------------------------------------------------------------


class _Old(NamedTuple):
    """The target policy on a batch."""

    dist: ActionDistribution
    logp: Tensor  # [T, B]


class APPOUpdate:
    """`num_sgd_iter` steps of the optimizer on one batch; V-trace anew before each."""

    def __init__(self, config: APPOConfig, info: EnvInfo, seed: int, device: str) -> None:
        self._config = config
        self._clip_rewards = config.clips_rewards(info.frame_stack)
        self.policy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._target = None
        if config.target_network_update_freq is not None:
            self._target = make_policy(config, info, seed, np.arange(1))
            self._target.to(device)
            self.policy.follow(self._sync_target)
        self._optimizer = Optimizer(
            self.policy, config.lr, config.lr_schedule, config.gradient_clip()
        )
        self._kl_coeff = config.kl_coeff
        self._num_updates = 0

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        config = self._config
        if self._clip_rewards:
            batch[c.REWARDS] = batch[c.REWARDS].clamp(-1.0, 1.0)
        old, entropy_coeff = self._old(batch), config.entropy_at(timesteps)
        for _ in range(config.num_sgd_iter):
            loss, metrics = self._loss(batch, old, entropy_coeff)
            stepped = self._optimizer.minimize(loss, timesteps, batch[c.VALID])
            self.policy.follow_value_targets(metrics["vf_targets_rms"])
        if self._kl_coeff:
            num_valid = batch[c.VALID].sum()
            kl = float(self.policy.group.mean(metrics["kl"] * num_valid, num_valid))
            self._kl_coeff = adapted_kl_coeff(self._kl_coeff, kl, config.kl_target)
        self._num_updates += 1
        self._sync_target_if_due()
        told = {"cur_kl_coeff": self._kl_coeff, "entropy_coeff": entropy_coeff}
        return {**metrics, **stepped, **told}

    @torch.no_grad()
    def _old(self, batch: dict[str, Tensor]) -> _Old | None:
        if self._target is None:
            return None
        inputs, _ = self._target.forward_sequence(batch, *batch[c.VALID].shape)
        dist = self._target.distribution(inputs)
        return _Old(dist, dist.logp(batch[c.ACTIONS]))

    def _loss(self, batch: dict[str, Tensor], old: _Old | None, entropy_coeff: float) -> Loss:
        config, valid, behaviour_logp = self._config, batch[c.VALID], batch[c.ACTION_LOGP]
        inputs, all_values = self.policy.forward_sequence(batch, *valid.shape)
        dist, values = self.policy.distribution(inputs), all_values[:-1]
        logp = dist.logp(batch[c.ACTIONS])
        corrected = vtrace(
            behaviour_logp=behaviour_logp,
            target_logp=logp.detach() if old is None else old.logp,
            rewards=batch[c.REWARDS],
            values=values.detach(),
            next_values=self.policy.next_values(batch, all_values),
            terminateds=batch[c.TERMINATEDS],
            truncateds=batch[c.TRUNCATEDS],
            valid=valid,
            gamma=config.gamma,
            rho_bar=config.vtrace_clip_rho_threshold,
            pg_rho_bar=config.vtrace_clip_rho_threshold,
            lambda_=config.vtrace_lambda,
        )
        if old is None:
            advantages, old_logp, kl = corrected.advantages, behaviour_logp, torch.zeros_like(logp)
        else:
            advantages = corrected.pg_advantages
            old_logp = torch.maximum(old.logp, behaviour_logp - math.log(_LARGEST_RATIO))
            kl = old.dist.kl(dist)
        loss = ppo_loss(
            logp=logp,
            old_logp=old_logp,
            entropy=dist.entropy(),
            kl=kl,
            values=values,
            old_values=values.detach(),
            advantages=normalised(advantages, valid, self.policy.group),
            value_targets=corrected.vs,
            valid=valid,
            clip_param=config.clip_param,
            vf_clip_param=None,
            vf_loss_coeff=self.policy.vf_weight(config.vf_loss_coeff, advantages_normalised=True),
            entropy_coeff=entropy_coeff,
            kl_coeff=self._kl_coeff,
        )
        more = value_metrics(values, corrected.vs, valid, self.policy.group)
        return Loss(loss.total, {**loss.metrics, **more})

    def _sync_target_if_due(self) -> None:
        frequency = self._config.target_network_update_freq
        if frequency and self._num_updates % frequency == 0:
            self._sync_target()

    def _sync_target(self) -> None:
        assert self._target is not None
        self._target.flat.vector.data.copy_(self.policy.flat.vector.data)

    def state_dict(self) -> State:
        target = {} if self._target is None else {"target": self._target.flat_weights()}
        return {
            "optimizer": self._optimizer.state_dict(),
            "kl_coeff": self._kl_coeff,
            "num_updates": self._num_updates,
            **target,
        }

    def load_state_dict(self, state: State) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._kl_coeff = float(state["kl_coeff"])
        self._num_updates = int(state["num_updates"])
        if self._target is not None:
            self._target.flat.load(state["target"])


# ---- program --------------------------------------------------------------------------------


class APPO(Algorithm):
    config_class = APPOConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: APPOConfig, setup: Setup) -> Program:
        make_update = setup.update(config, APPOUpdate)
        return sample_queue.build(
            "APPO",
            setup.workers(config),
            setup.learner(config, make_update, max_policy_lag=config.max_policy_lag),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_postprocess),
        )


APPOConfig.algorithm = APPO
DEFAULT_CONFIG, APPOAgent, APPOTrainer = APPOConfig(), APPO, APPO  # RLlib's older names
