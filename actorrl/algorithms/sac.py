"""SAC: soft actor-critic (Haarnoja et al. 2018b; for discrete actions Christodoulou 2019).

    workers, sampled actions --[N] n-step rows--> learner: buffer, three losses --weights--> workers

N rows, A discrete actions, K numbers of a continuous one, in [-1, 1]. A round: each environment
makes `rollout_fragment_length` steps, then as many updates follow as `samples_per_insert` asks for.
An update: a step of both critics towards r + discount V, V = min Q - alpha log pi of the target
critics; a step of the actor; a step of the temperature alpha, which holds the policy's entropy at
`target_entropy`; then the target critics move by `tau`. Losses are means over the batch.
"""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal, cast

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import StepSize
from actorrl.algorithms.optimizer import Optimizer, go_on_drawing
from actorrl.algorithms.replay_config import (
    BatchRows,
    CapacityBySpace,
    EachGradClip,
    LearningStarts,
    RandomSteps,
    ReplayConfig,
    SamplesPerInsert,
    StepsSummed,
    TwinQ,
    make_postprocess,
)
from actorrl.data import columns as c
from actorrl.envs.check import EnvInfo
from actorrl.losses import continuous_q as losses
from actorrl.losses.q_learning import taken
from actorrl.models.continuous import ActorAndCritics
from actorrl.models.model_config import ModelConfig
from actorrl.policies.sac import SACPolicy
from actorrl.roles.settings import Metrics, State
from actorrl.runtime.program import Program
from actorrl.topologies import local_replay

# Of ln A. The paper's .98 leaves a policy hardly better than random; with .4 CartPole's greedy
# policy holds 500 while the sampled one, whose episodes are reported, stays near 200.
_DISCRETE_SHARE = 0.2


class SACConfig(ReplayConfig):
    reproducible: ClassVar[bool] = True
    several_policies: ClassVar[bool] = True
    step_sizes_of_parts: ClassVar[tuple[str, ...]] = ("actor_lr", "critic_lr", "alpha_lr")

    lr: StepSize = 1e-3
    actor_lr: Annotated[float, Meta(gt=0, description="of the actor; null: lr")] | None = None
    critic_lr: Annotated[float, Meta(gt=0, description="of the critics; null: lr")] | None = None
    alpha_lr: Annotated[float, Meta(gt=0, description="of the temperature; null: lr")] | None = None
    train_batch_size: BatchRows = 128
    n_step: StepsSummed = 3
    samples_per_insert: SamplesPerInsert = 64.0
    replay_capacity: CapacityBySpace | None = None
    learning_starts: LearningStarts = 1000
    random_steps: RandomSteps = 1000
    grad_clip: EachGradClip | None = None
    model: Annotated[ModelConfig, Meta(description="of the actor and of each critic")] = (
        msgspec.field(
            default_factory=lambda: ModelConfig(fcnet_hiddens=[128, 128], fcnet_activation="relu")
        )
    )
    twin_q: TwinQ = True
    # With .005, gamma .99 and one step values take some 20,000 updates to grow to their size.
    tau: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="share of the way that the target moves per update",
        ),
    ] = 0.01
    initial_alpha: Annotated[float, Meta(gt=0, description="temperature at the start")] = 0.2
    target_entropy: Annotated[
        float | Literal["auto"],
        Meta(
            description="entropy of the policy in nats; auto: -K of K continuous numbers, "
            "0.2 ln A of A discrete actions",
        ),
    ] = "auto"

    ALIASES: ClassVar[dict[str, str]] = {
        **ReplayConfig.ALIASES,
        "actor_learning_rate": "actor_lr",
        "critic_learning_rate": "critic_lr",
        "entropy_learning_rate": "alpha_lr",
    }


# ---- policy ---------------------------------------------------------------------------------


def make_policy(config: SACConfig, info: EnvInfo, seed: int, env_indices: np.ndarray) -> SACPolicy:
    return SACPolicy(
        info.observation_space,
        info.action_space,
        info.frame_stack,
        config.model,
        seed,
        twin_q=config.twin_q,
        random_steps=config.random_steps,
        initial_alpha=config.initial_alpha,
        observation_filter=config.observation_filter,
    )


# ---- postprocess: replay_config.py's ----------------------------------------------------------


# ---- update ---------------------------------------------------------------------------------


class SACUpdate:
    """A step of each optimizer on one batch; returns the rows' new priorities |TD| [N]."""

    def __init__(self, config: SACConfig, info: EnvInfo, seed: int, device: str) -> None:
        self._config = config
        self.policy = make_policy(config, info, seed, np.arange(1))
        self.policy.to(device)
        self._target = self.policy.make_target()
        self.policy.follow(self._target.sync)
        self._optimizers = {
            "critics": self._optimizer("critics", config.critic_lr),
            "actor": self._optimizer("actor", config.actor_lr),
            "log_alpha": self._optimizer("log_alpha", config.alpha_lr),
        }
        self._random = torch.Generator(device).manual_seed(seed)
        self._target_entropy = target_entropy(config, self.policy)

    def _optimizer(self, part: str, lr: float | None) -> Optimizer:
        config = self._config
        return Optimizer(
            self.policy, lr or config.lr, config.lr_schedule, config.gradient_clip(), part=part
        )

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        batch = self.policy.filtered_rows(batch)
        alpha = self.policy.log_alpha.detach().exp()
        critic_loss, errors = self._critic_loss(batch, alpha)
        stepped = self._optimizers["critics"].minimize(critic_loss, timesteps)
        actor_loss, entropy = self._actor_loss(batch[c.OBS], alpha)
        actor_stepped = self._optimizers["actor"].minimize(actor_loss, timesteps)
        alpha_loss = losses.temperature_loss(self.policy.log_alpha, entropy, self._target_entropy)
        self._optimizers["log_alpha"].minimize(alpha_loss, timesteps)
        self._target.sync(self._config.tau)
        return {
            "critic_loss": critic_loss.detach(),
            "actor_loss": actor_loss.detach(),
            "alpha_loss": alpha_loss.detach(),
            "alpha": alpha,
            "entropy": entropy.mean(),
            "mean_td_error": errors.mean(),
            **stepped,  # the critics'
            "actor_grad_gnorm": actor_stepped["grad_gnorm"],
            c.PRIORITIES: errors.cpu().numpy(),
        }

    def _critic_loss(self, batch: dict[str, Tensor], alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of both critics, and each row's |TD| [N]."""
        with torch.no_grad():
            next_values = self._next_values(batch[c.NEXT_OBS], alpha)
            targets = losses.bootstrapped(batch[c.REWARDS], batch[c.DISCOUNTS], next_values)
        actions = batch[c.ACTIONS]
        if self.policy.discrete:
            values = [taken(q, actions) for q in self.policy.q_values(batch[c.OBS])]
        else:
            values = list(self.policy.q_values(batch[c.OBS], actions))
        return losses.critic_loss(values, targets, batch[c.WEIGHTS])

    def _next_values(self, new_obs: Tensor, alpha: Tensor) -> Tensor:
        """V of the bootstrap observations by the target critics, [N]."""
        target = cast(ActorAndCritics, self._target.model)
        if self.policy.discrete:
            logits = self.policy.actor(new_obs)
            return losses.soft_value_discrete(target.q_values(new_obs), logits, alpha)
        actions, logp = self.policy.sample(new_obs, self._random)
        return losses.soft_value(target.q_values(new_obs, actions), logp, alpha)

    def _actor_loss(self, obs: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The actor's loss, and the entropy of its policy by row, [N] without gradient."""
        if self.policy.discrete:
            logits = self.policy.actor(obs)
            with torch.no_grad():
                values = self.policy.q_values(obs)
            entropy = losses.entropy_discrete(logits.detach())
            return losses.soft_actor_loss_discrete(values, logits, alpha), entropy
        actions, logp = self.policy.sample(obs, self._random)
        values = self.policy.q_values(obs, actions)
        return losses.soft_actor_loss(values, logp, alpha), -logp.detach()

    def state_dict(self) -> State:
        return {
            **{part: optimizer.state_dict() for part, optimizer in self._optimizers.items()},
            "target": self._target.flat_weights(),
            "random": self._random.get_state().numpy(),
        }

    def load_state_dict(self, state: State) -> None:
        for part, optimizer in self._optimizers.items():
            optimizer.load_state_dict(state[part])
        self._target.load_flat(state["target"])
        go_on_drawing(self._random, state["random"])


def target_entropy(config: SACConfig, policy: SACPolicy) -> float:
    """In nats."""
    if config.target_entropy != "auto":
        return config.target_entropy
    size = policy.action_size
    return _DISCRETE_SHARE * math.log(size) if policy.discrete else -float(size)


# ---- program --------------------------------------------------------------------------------


class SAC(Algorithm):
    config_class = SACConfig
    make_policy = staticmethod(make_policy)
    iteration = staticmethod(local_replay.iteration)

    @staticmethod
    def program(config: SACConfig, setup: Setup) -> Program:
        return local_replay.build(
            "SAC",
            setup.workers(config),
            setup.learner(config, setup.update(config, SACUpdate)),
            config.local_replay(setup.info, setup.seed),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_postprocess),
        )


SACConfig.algorithm = SAC
DEFAULT_CONFIG, SACTrainer = SACConfig(), SAC  # RLlib's older names
