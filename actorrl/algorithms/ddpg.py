"""DDPG: deterministic policy gradient (Lillicrap et al. 2016), with TD3's repairs as switches.

    workers, noisy actions --[N] n-step rows--> learner: buffer, two losses --weights--> workers

N rows. Actions are stored in [-1, 1] and scaled at the environment. A round: each environment makes
`rollout_fragment_length` steps, then as many updates follow as `samples_per_insert` asks for. An
update: a step of the critic towards r + discount Q'(s', mu'(s')); every `policy_delay` updates a
step of the actor towards larger Q, after which both target networks move by `tau`. Losses are means
over the batch.
"""

from __future__ import annotations

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
    Capacity,
    EachGradClip,
    RandomSteps,
    ReplayConfig,
    SamplesPerInsert,
    TwinQ,
    make_postprocess,
)
from actorrl.data import columns as c
from actorrl.envs.check import EnvInfo
from actorrl.losses import continuous_q as losses
from actorrl.models.continuous import ActorAndCritics
from actorrl.models.model_config import ModelConfig
from actorrl.policies.deterministic import DeterministicPolicy
from actorrl.policies.noise import GaussianNoise, OUNoise
from actorrl.roles.settings import Metrics, State
from actorrl.runtime.program import Program
from actorrl.topologies import local_replay

NoiseKind = Annotated[
    Literal["gaussian", "ou"], Meta(description="independent, or Ornstein-Uhlenbeck")
]
NoiseScale = Annotated[
    float, Meta(ge=0, description="of exploration: standard deviation, or OU's sigma")
]


class DeterministicConfig(ReplayConfig):
    """What DDPG, TD3 and Ape-X DDPG have in common."""

    step_sizes_of_parts: ClassVar[tuple[str, ...]] = ("actor_lr", "critic_lr")

    lr: StepSize = 1e-3
    actor_lr: Annotated[float, Meta(gt=0, description="of the actor; null: lr")] | None = None
    critic_lr: Annotated[float, Meta(gt=0, description="of the critics; null: lr")] | None = None
    train_batch_size: BatchRows = 128
    samples_per_insert: SamplesPerInsert = 128.0
    replay_capacity: Capacity = 200_000
    random_steps: RandomSteps = 1000
    grad_clip: EachGradClip | None = None
    model: Annotated[ModelConfig, Meta(description="of the actor and of each critic")] = (
        msgspec.field(
            default_factory=lambda: ModelConfig(fcnet_hiddens=[128, 128], fcnet_activation="relu")
        )
    )
    tau: Annotated[
        float,
        Meta(gt=0, le=1, description="share of the way that targets move"),
    ] = 0.005
    twin_q: TwinQ = False
    policy_delay: Annotated[
        int, Meta(ge=1, description="updates of the critics for one of the actor")
    ] = 1
    smooth_target_policy: Annotated[bool, Meta(description="noise on the target's actions")] = False
    target_noise: Annotated[float, Meta(ge=0, description="standard deviation of that noise")] = 0.2
    target_noise_clip: Annotated[float, Meta(ge=0, description="its largest size")] = 0.5
    use_huber: Annotated[
        bool, Meta(description="the critics' loss is linear beyond huber_threshold, else squared")
    ] = False
    huber_threshold: Annotated[float, Meta(gt=0, description="difference to the target")] = 1.0
    exploration_noise: NoiseKind = "gaussian"
    noise_scale: NoiseScale = 0.1


class DDPGConfig(DeterministicConfig):
    reproducible: ClassVar[bool] = True
    several_policies: ClassVar[bool] = True

    exploration_noise: NoiseKind = "ou"
    noise_scale: NoiseScale = 0.2


# ---- policy ---------------------------------------------------------------------------------


def make_policy(
    config: DeterministicConfig, info: EnvInfo, seed: int, env_indices: np.ndarray
) -> DeterministicPolicy:
    return policy_with_noise(config, info, seed, config.noise_scale)


def policy_with_noise(
    config: DeterministicConfig, info: EnvInfo, seed: int, scale: float | np.ndarray
) -> DeterministicPolicy:
    """`scale` is one number, or one for each environment [B]."""
    noise = OUNoise(scale) if config.exploration_noise == "ou" else GaussianNoise(scale)
    return DeterministicPolicy(
        info.observation_space,
        info.action_space,
        info.frame_stack,
        config.model,
        seed,
        twin_q=config.twin_q,
        noise=noise,
        random_steps=config.random_steps,
        observation_filter=config.observation_filter,
    )


# ---- postprocess: replay_config.py's ----------------------------------------------------------


# ---- update ---------------------------------------------------------------------------------


class DeterministicUpdate:
    """A step of the critics, and at times of the actor; returns the rows' new priorities |TD| [N].
    The update of TD3 and Ape-X DDPG too."""

    def __init__(self, config: DeterministicConfig, info: EnvInfo, seed: int, device: str) -> None:
        self._config = config
        self.policy = policy_with_noise(config, info, seed, 0.0)
        self.policy.to(device)
        self._target = self.policy.make_target()
        self.policy.follow(self._target.sync)
        self._critics = self._optimizer("critics", config.critic_lr)
        self._actor = self._optimizer("actor", config.actor_lr)
        self._random = torch.Generator(device).manual_seed(seed)
        self._num_updates = 0

    def _optimizer(self, part: str, lr: float | None) -> Optimizer:
        config = self._config
        return Optimizer(
            self.policy, lr or config.lr, config.lr_schedule, config.gradient_clip(), part=part
        )

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        batch = self.policy.filtered_rows(batch)
        targets = self._targets(batch)
        values = self.policy.q_values(batch[c.OBS], batch[c.ACTIONS])
        delta = self._config.huber_threshold if self._config.use_huber else None
        loss, errors = losses.critic_loss(values, targets, batch[c.WEIGHTS], delta)
        metrics = {
            "critic_loss": loss.detach(),
            "mean_q": values[0].detach().mean(),
            "mean_td_error": errors.mean(),
            **self._critics.minimize(loss, timesteps),
            c.PRIORITIES: errors.cpu().numpy(),
        }
        self._num_updates += 1
        if self._num_updates % self._config.policy_delay == 0:
            metrics |= self._step_actor(batch[c.OBS], timesteps)
            self._target.sync(self._config.tau)
        return metrics

    @torch.no_grad()
    def _targets(self, batch: dict[str, Tensor]) -> Tensor:
        """r + discount min Q'(s', mu'(s') + noise), [N]."""
        target, new_obs = cast(ActorAndCritics, self._target.model), batch[c.NEXT_OBS]
        actions = target.actor(new_obs)
        if self._config.smooth_target_policy:
            noise = torch.empty_like(actions).normal_(generator=self._random)
            noise *= self._config.target_noise
            actions = losses.smoothed(actions, noise, self._config.target_noise_clip)
        next_values = losses.smallest(target.q_values(new_obs, actions))
        return losses.bootstrapped(batch[c.REWARDS], batch[c.DISCOUNTS], next_values)

    def _step_actor(self, obs: Tensor, timesteps: int) -> Metrics:
        """Towards the actions that the first critic likes best (Silver et al. 2014)."""
        loss = -self.policy.model.critics[0](obs, self.policy.actor(obs)).mean()
        stepped = self._actor.minimize(loss, timesteps)
        return {"actor_loss": loss.detach(), "actor_grad_gnorm": stepped["grad_gnorm"]}

    def state_dict(self) -> State:
        return {
            "critics": self._critics.state_dict(),
            "actor": self._actor.state_dict(),
            "target": self._target.flat_weights(),
            "num_updates": self._num_updates,
            "random": self._random.get_state().numpy(),
        }

    def load_state_dict(self, state: State) -> None:
        self._critics.load_state_dict(state["critics"])
        self._actor.load_state_dict(state["actor"])
        self._target.load_flat(state["target"])
        self._num_updates = int(state["num_updates"])
        go_on_drawing(self._random, state["random"])


# ---- program --------------------------------------------------------------------------------


def local_program(name: str, config: DeterministicConfig, setup: Setup) -> Program:
    """TD3's too."""
    return local_replay.build(
        name,
        setup.workers(config),
        setup.learner(config, setup.update(config, DeterministicUpdate)),
        config.local_replay(setup.info, setup.seed),
        setup.acting(config, make_policy),
        setup.postprocess(config, make_postprocess),
    )


class DDPG(Algorithm):
    config_class = DDPGConfig
    make_policy = staticmethod(make_policy)
    iteration = staticmethod(local_replay.iteration)

    @staticmethod
    def program(config: DDPGConfig, setup: Setup) -> Program:
        return local_program("DDPG", config, setup)


DDPGConfig.algorithm = DDPG
DEFAULT_CONFIG, DDPGAgent, DDPGTrainer = DDPGConfig(), DDPG, DDPG  # RLlib's older names
