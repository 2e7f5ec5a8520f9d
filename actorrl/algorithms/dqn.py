"""DQN with all Rainbow switches (Mnih et al. 2015; Hessel et al. 2018, "Rainbow").

    workers --[N] n-step rows--> learner: buffer, double Q --weights--> workers

N rows, A actions, Z atoms. A round: each environment makes `rollout_fragment_length` steps, then as
many updates follow as `samples_per_insert` asks for. The loss is the mean over the batch of weight
x Huber(TD), or with `num_atoms` > 1 of weight x KL, so `grad_clip` is of a mean. The target network
moves by `tau` of the way every `target_network_update_freq` learner updates.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, cast

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
    Prioritized,
    ReplayConfig,
    SamplesPerInsert,
    StepsSummed,
    make_postprocess,
)
from actorrl.data import columns as c
from actorrl.envs.check import EnvInfo
from actorrl.losses.distributional import categorical_td
from actorrl.losses.q_learning import double_q_td, huber
from actorrl.models.model_config import ModelConfig
from actorrl.models.q_network import QNetwork, Support
from actorrl.policies.exploration import EpsilonSchedule
from actorrl.policies.q_explorers import Explorer, ParameterNoise, SoftQ
from actorrl.policies.q_policy import QPolicy
from actorrl.roles.settings import Metrics, State
from actorrl.runtime.program import Program
from actorrl.topologies import local_replay


class DQNConfig(ReplayConfig):
    reproducible: ClassVar[bool] = True
    several_policies: ClassVar[bool] = True

    lr: Annotated[float, Meta(gt=0, description="step size", extra={"rllib": 5e-4})] = 1e-3
    train_batch_size: Annotated[BatchRows, Meta(extra={"rllib": 32})] = 64
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
    n_step: Annotated[StepsSummed, Meta(extra={"rllib": 1})] = 3
    samples_per_insert: Annotated[SamplesPerInsert, Meta(extra={"rllib": 32.0})] = 16.0
    prioritized_replay: Prioritized = True
    double_q: Annotated[bool, Meta(description="double Q-learning")] = True
    dueling: Annotated[bool, Meta(description="dueling network")] = True
    num_atoms: Annotated[
        int, Meta(ge=1, description="atoms of the distribution of returns; 1: values only")
    ] = 1
    v_min: Annotated[float, Meta(description="smallest return of the distribution")] = -10.0
    v_max: Annotated[float, Meta(description="largest return of the distribution")] = 10.0
    noisy: Annotated[bool, Meta(description="noisy layers explore, in the place of epsilon")] = (
        False
    )
    sigma0: Annotated[float, Meta(gt=0, description="initial noise of the noisy layers")] = 0.5
    exploration_type: Annotated[
        Literal["epsilon_greedy", "soft_q", "parameter_noise"],
        Meta(
            description="how it explores: any action at times, actions by the softmax of their "
            "values, or noise on the weights for whole episodes, as far off as epsilon would be"
        ),
    ] = "epsilon_greedy"
    temperature: Annotated[float, Meta(gt=0, description="of soft_q: values are divided by it")] = (
        1.0
    )
    initial_stddev: Annotated[
        float,
        Meta(
            gt=0,
            description="of parameter_noise at the start; it adapts itself",
            extra={"rllib": 1.0},
        ),
    ] = 0.01
    target_network_update_freq: Annotated[
        int,
        Meta(
            ge=1,
            description="learner updates between two moves of the target network",
            extra={"unit": "updates", "rllib": 500},
        ),
    ] = 1
    tau: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="share of the way that the target network moves; 1 copies",
            extra={"rllib": 1.0},
        ),
    ] = 0.01
    initial_epsilon: Annotated[float, Meta(ge=0, le=1, description="epsilon at the start")] = 1.0
    final_epsilon: Annotated[
        float, Meta(ge=0, le=1, description="epsilon from epsilon_timesteps on")
    ] = 0.02
    epsilon_timesteps: Annotated[
        int, Meta(ge=1, description="how long epsilon falls", extra={"unit": "env steps"})
    ] = 10_000

    ALIASES: ClassVar[dict[str, str]] = {
        **ReplayConfig.ALIASES,
        "exploration_initial_eps": "initial_epsilon",
        "exploration_final_eps": "final_epsilon",
    }

    def validate(self) -> list[str]:
        lines = super().validate()
        if self.num_atoms > 1 and self.v_min >= self.v_max:
            lines.append(f"v_min: {self.v_min} is not below v_max {self.v_max}, expected less")
        if self.noisy and self.exploration_type != "epsilon_greedy":
            lines.append(
                f"exploration_type: {self.exploration_type} together with noisy, whose layers"
                " explore already, expected epsilon_greedy"
            )
        return lines

    def make_explorer(self) -> Explorer | None:
        """None: epsilon-greedy."""
        if self.exploration_type == "soft_q":
            return SoftQ(self.temperature)
        noise = self.exploration_type == "parameter_noise"
        return ParameterNoise(self.initial_stddev) if noise else None


# ---- policy ---------------------------------------------------------------------------------


def make_policy(config: DQNConfig, info: EnvInfo, seed: int, env_indices: np.ndarray) -> QPolicy:
    initial, final = config.initial_epsilon, config.final_epsilon
    if config.noisy:
        initial = final = 0.0
    support = Support(config.v_min, config.v_max, config.num_atoms)
    return QPolicy(
        info.observation_space,
        info.action_space,
        info.frame_stack,
        config.model,
        seed,
        dueling=config.dueling,
        double=config.double_q,
        epsilon_schedule=EpsilonSchedule(initial, final, config.epsilon_timesteps),
        support=support if config.num_atoms > 1 else None,
        noisy_sigma=config.sigma0 if config.noisy else None,
        explorer=config.make_explorer(),
        observation_filter=config.observation_filter,
    )


# ---- postprocess: replay_config.py's ----------------------------------------------------------


# ---- update ---------------------------------------------------------------------------------


class DQNUpdate:
    """One step of the optimizer on one batch; returns the rows' new priorities [N]."""

    def __init__(self, config: DQNConfig, info: EnvInfo, seed: int, device: str) -> None:
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
        config = self._config
        batch = self.policy.filtered_rows(batch)
        if config.noisy:  # one noise for all rows of a batch, another for the target network
            self.policy.model.draw_noise(self.policy.random)
            cast(QNetwork, self._target.model).draw_noise(self.policy.random)
        row_losses, priorities = (
            self._categorical(batch) if config.num_atoms > 1 else self._huber(batch)
        )
        loss = (batch[c.WEIGHTS] * row_losses).mean()
        stepped = self._optimizer.minimize(loss, timesteps)
        self._num_updates += 1
        if self._num_updates % config.target_network_update_freq == 0:
            self._target.sync(config.tau)
        return {
            "loss": loss.detach(),
            "mean_td_error": priorities.mean(),
            **stepped,
            c.PRIORITIES: priorities.cpu().numpy(),
        }

    def _huber(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of each row the loss and the priority |TD|, [N]."""
        q_next_target = self._target.q_values(batch[c.NEXT_OBS])
        q_next_online = self._chooser(batch[c.NEXT_OBS], q_next_target)
        td = double_q_td(
            self.policy.q_values(batch[c.OBS]),  # last: the others' memory is free again by then
            batch[c.ACTIONS],
            batch[c.REWARDS],
            batch[c.DISCOUNTS],
            q_next_online,
            q_next_target,
            self._config.double_q,
        )
        return huber(td), td.detach().abs()

    def _categorical(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Of each row the loss and the priority, both the divergence, [N]."""
        model = self.policy.model
        assert model.support is not None
        with torch.no_grad():
            logits_next = cast(QNetwork, self._target.model).logits(batch[c.NEXT_OBS])
        divergence = categorical_td(
            model.logits(batch[c.OBS]),
            batch[c.ACTIONS],
            batch[c.REWARDS],
            batch[c.DISCOUNTS],
            self._chooser(batch[c.NEXT_OBS], model.mean_of(logits_next)),
            logits_next,
            model.support.values(logits_next.device),
        )
        return divergence, divergence.detach().clamp(min=0.0)

    @torch.no_grad()
    def _chooser(self, new_obs: Tensor, q_next_target: Tensor) -> Tensor:
        """The values by which the next action is chosen."""
        return self.policy.q_values(new_obs) if self._config.double_q else q_next_target

    def state_dict(self) -> State:
        return {
            "optimizer": self._optimizer.state_dict(),
            "target": self._target.flat_weights(),
            "num_updates": self._num_updates,
            "random": self.policy.random_state(),
        }

    def load_state_dict(self, state: State) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._target.load_flat(state["target"])
        self._num_updates = int(state["num_updates"])
        self.policy.set_random_state(state["random"])


# ---- program --------------------------------------------------------------------------------


class DQN(Algorithm):
    config_class = DQNConfig
    make_policy = staticmethod(make_policy)

    @staticmethod
    def program(config: DQNConfig, setup: Setup) -> Program:
        return local_replay.build(
            "DQN",
            setup.workers(config),
            setup.learner(config, setup.update(config, DQNUpdate)),
            config.local_replay(setup.info, setup.seed),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_postprocess),
        )

    @staticmethod
    def iteration(config: DQNConfig) -> dict[str, float]:
        return local_replay.iteration()


DQNConfig.algorithm = DQN
DEFAULT_CONFIG, DQNAgent, DQNTrainer = DQNConfig(), DQN, DQN  # RLlib's older names
__all__ = ["DEFAULT_CONFIG", "DQN", "DQNAgent", "DQNConfig", "DQNTrainer"]
