"""PG: REINFORCE (Williams 1992), the simplest algorithm, and the template for one's own.

    workers --[N] rows of whole episodes--> learner: one step along log pi(a) times the return
       ^----------------------- weights -----------'

N rows of the episodes that have ended. A row's return is Monte-Carlo: what came from it on, to the
end of its episode. Returns are normalised over the train batch, which takes their mean as the
baseline. There is no value function: an end by truncation counts like a termination. An LSTM runs
through each episode from its beginning. The loss is a mean over the rows, so `grad_clip` is of a
mean.

An algorithm is a file like this one: its settings, its policy, what workers make of their
fragments, what the learner does with a batch, and who talks to whom. Then `PG(config).train()`
works as for all others, and so does the command line, by the name `registry.py` gives it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.actor_critic import StochasticConfig, make_policy
from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import FragmentRows, Gathers, StepSize
from actorrl.algorithms.optimizer import OneOptimizer, Optimizer
from actorrl.data import columns as c
from actorrl.data.fragment import Fragment, single_group
from actorrl.envs.check import EnvInfo
from actorrl.losses.policy_gradient import normalised
from actorrl.policies.base import Policy
from actorrl.roles.batch import RowBatch
from actorrl.roles.settings import Arrays, Body, Metrics, Postprocess
from actorrl.rollouts.whole_episodes import WholeEpisodes
from actorrl.runtime.program import Program
from actorrl.topologies import synchronous


class PGConfig(StochasticConfig):
    several_policies: ClassVar[bool] = True
    several_learners: ClassVar[bool] = True
    learns_from_rows: ClassVar[bool] = True
    gathers: ClassVar[Gathers] = "rounds"
    reproducible: ClassVar[bool] = True  # the same seed gives the same rows

    lr: StepSize = 4e-3
    rollout_fragment_length: FragmentRows | Literal["auto"] = "auto"
    train_batch_size: Annotated[
        int, Meta(ge=1, description="rows of whole episodes in one update")
    ] = 1000


# ---- policy: actor_critic.py's, whose value head is not used --------------------------------


# ---- postprocess ----------------------------------------------------------------------------


def make_postprocess(config: PGConfig, clip: bool, policy: Policy, num_envs: int) -> Postprocess:
    """From fragments to the rows of the episodes that ended in them, with their returns."""
    whole_episodes = WholeEpisodes(config.gamma, clip_rewards=1.0 if clip else None)

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        fragment.groups = single_group(whole_episodes.add(fragment))
        return fragment.to_message()

    return postprocess


# ---- update ---------------------------------------------------------------------------------


class PGUpdate(OneOptimizer):
    """One step of the optimizer on one batch of rows."""

    def __init__(self, config: PGConfig, info: EnvInfo, seed: int, device: str) -> None:
        self.policy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._optimizer = Optimizer(
            self.policy, config.lr, config.lr_schedule, config.gradient_clip()
        )

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        dist = self.policy.distribution(self.policy.forward_episodes(batch))
        advantages = normalised(batch[c.ADVANTAGES], group=self.policy.group)
        loss = -(dist.logp(batch[c.ACTIONS]) * advantages).mean()
        stepped = self._optimizer.minimize(loss, timesteps, torch.ones_like(advantages))
        return {"policy_loss": loss.detach(), "entropy": dist.entropy().detach().mean(), **stepped}


# ---- program --------------------------------------------------------------------------------


class PG(Algorithm):
    config_class = PGConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: PGConfig, setup: Setup) -> Program:
        return synchronous.build(
            "PG",
            setup.workers(config),
            setup.learner(config, setup.update(config, PGUpdate), make_batch=RowBatch),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_postprocess),
        )


PGConfig.algorithm = PG
DEFAULT_CONFIG, PGAgent, PGTrainer = PGConfig(), PG, PG  # RLlib's older names
