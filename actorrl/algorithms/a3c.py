"""A3C: asynchronous advantage actor-critic (Mnih et al. 2016).

    worker k: newest weights -> [T, B] fragment -> its own gradient [P] --> server: one step
                 ^---------------------------- weights ------------------------'

T rows of a fragment, B environments of one worker, P parameters. Workers never wait for each
other. One version is pinned for a rollout and its gradient; one optimizer state, at the server; one
gradient in flight for each worker. The loss is the mean over a fragment's valid rows, and the
server clips each gradient to `grad_clip`.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from torch import Tensor

from actorrl.algorithms.a2c import A2CConfig, compute_loss
from actorrl.algorithms.actor_critic import (
    Decay,
    Epsilon,
    GAEConfig,
    Lambda,
    Momentum,
    OptType,
    make_optimizer,
    make_policy,
)
from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows, Gathers, StepSize
from actorrl.algorithms.optimizer import OneOptimizer
from actorrl.envs.check import EnvInfo
from actorrl.roles.settings import Metrics
from actorrl.runtime.program import Program
from actorrl.topologies import async_gradients


class A3CConfig(GAEConfig):
    several_policies: ClassVar[bool] = True
    gathers: ClassVar[Gathers] = "single fragments"
    learner_differentiates: ClassVar[bool] = False
    unread: ClassVar[frozenset[str]] = A2CConfig.unread
    WITHOUT_EFFECT: ClassVar[dict[str, str]] = {
        "train_batch_size": "each step follows the gradient of one worker's fragment"
    }

    lr: StepSize = 1e-3
    lambda_: Lambda = 1.0
    rollout_fragment_length: FragmentRows = 32
    opt_type: OptType = "adam"
    decay: Decay = 0.99
    momentum: Momentum = 0.0
    epsilon: Epsilon = 1e-5

    def validate(self) -> list[str]:
        lines = super().validate()
        if self.observation_filter != "NoFilter":
            lines.append(
                f"observation_filter: {self.observation_filter} with A3C, whose server never sees "
                "an observation, expected NoFilter"
            )
        return lines


# ---- policy: actor_critic.py's; postprocess: none ------------------------------------------


# ---- update ---------------------------------------------------------------------------------


class A3CUpdate(OneOptimizer):
    """A step with the gradient that a worker has sent. Of the batch that it is of, the step needs
    the size of the value targets alone."""

    def __init__(self, config: A3CConfig, info: EnvInfo, seed: int, device: str) -> None:
        self.policy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._optimizer = make_optimizer(self.policy, config)

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        stepped = self._optimizer.step(timesteps)
        if "vf_targets_rms" in batch:
            self.policy.follow_value_targets(batch["vf_targets_rms"])
        return stepped


# ---- program --------------------------------------------------------------------------------


class A3C(Algorithm):
    config_class = A3CConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: A3CConfig, setup: Setup) -> Program:
        return async_gradients.build(
            "A3C",
            setup.workers(config),
            setup.learner(config, setup.update(config, A3CUpdate)),
            setup.acting(config, make_policy),
            setup.gradient(config, compute_loss),
        )


A3CConfig.algorithm = A3C
DEFAULT_CONFIG, A3CAgent, A3CTrainer = A3CConfig(), A3C, A3C  # RLlib's older names
