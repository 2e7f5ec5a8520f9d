"""DQN with all Rainbow switches (Mnih et al. 2015; Hessel et al. 2018, "Rainbow").

    workers --[N] n-step rows--> learner: buffer, double Q --weights--> workers

N rows, A actions, Z atoms. A round: each environment makes `rollout_fragment_length` steps, then as
many updates follow as `samples_per_insert` asks for. The loss is the mean over the batch of weight
x Huber(TD), or with `num_atoms` > 1 of weight x KL, so `grad_clip` is of a mean. The target network
moves by `tau` of the way every `target_network_update_freq` learner updates.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.q_learning import QConfig, QUpdate, UpdatesApart
from actorrl.algorithms.replay_config import (
    BatchRows,
    ReplayConfig,
    SamplesPerInsert,
    StepsSummed,
    make_postprocess,
)
from actorrl.envs.check import EnvInfo
from actorrl.models.q_network import Support
from actorrl.policies.exploration import EpsilonSchedule
from actorrl.policies.q_explorers import Explorer, ParameterNoise, SoftQ
from actorrl.policies.q_policy import QPolicy
from actorrl.runtime.program import Program
from actorrl.topologies import local_replay


class DQNConfig(QConfig):
    reproducible: ClassVar[bool] = True
    several_policies: ClassVar[bool] = True

    train_batch_size: BatchRows = 64
    n_step: StepsSummed = 3
    samples_per_insert: SamplesPerInsert = 16.0
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
        ),
    ] = 0.01
    target_network_update_freq: UpdatesApart = 1
    tau: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="share of the way that the target network moves; 1 copies",
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
        if self.target_network_update_freq > 1 and not self.is_given("tau"):
            self.note(
                f"tau: {self.tau:g} of the way, every {self.target_network_update_freq} updates:"
                " the target network hardly moves; RLlib's tau, 1, copies it"
            )
        return lines

    def without_effect(self) -> dict[str, str]:
        found = super().without_effect()
        if self.epsilon_schedule() is None:
            what = "noisy layers explore" if self.noisy else "soft_q explores by its temperature"
            names = ("initial_epsilon", "final_epsilon", "epsilon_timesteps")
            found = found | dict.fromkeys(names, what)
        return found

    def epsilon_schedule(self) -> EpsilonSchedule | None:
        """None where something else explores."""
        if self.noisy or self.exploration_type == "soft_q":
            return None
        return EpsilonSchedule(self.initial_epsilon, self.final_epsilon, self.epsilon_timesteps)

    def make_explorer(self) -> Explorer | None:
        """None: epsilon-greedy."""
        if self.exploration_type == "soft_q":
            return SoftQ(self.temperature)
        noise = self.exploration_type == "parameter_noise"
        return ParameterNoise(self.initial_stddev) if noise else None


# ---- policy ---------------------------------------------------------------------------------


def make_policy(config: DQNConfig, info: EnvInfo, seed: int, env_indices: np.ndarray) -> QPolicy:
    support = Support(config.v_min, config.v_max, config.num_atoms)
    return QPolicy(
        info.observation_space,
        info.action_space,
        info.frame_stack,
        config.model,
        seed,
        dueling=config.dueling,
        double=config.double_q,
        epsilon_schedule=config.epsilon_schedule(),
        support=support if config.num_atoms > 1 else None,
        noisy_sigma=config.sigma0 if config.noisy else None,
        explorer=config.make_explorer(),
        observation_filter=config.observation_filter,
        precision=config.precision,
    )


# ---- postprocess: replay_config.py's ----------------------------------------------------------


# ---- update: q_learning.py's -------------------------------------------------------------------


def make_update(config: DQNConfig, info: EnvInfo, seed: int, device: str) -> QUpdate:
    return QUpdate(config, make_policy(config, info, seed, np.arange(1)), device, config.tau)


# ---- program --------------------------------------------------------------------------------


class DQN(Algorithm):
    config_class = DQNConfig
    make_policy = staticmethod(make_policy)
    iteration = staticmethod(local_replay.iteration)

    @staticmethod
    def program(config: DQNConfig, setup: Setup) -> Program:
        return local_replay.build(
            "DQN",
            setup.workers(config),
            setup.learner(config, setup.update(config, make_update)),
            config.local_replay(setup.info, setup.seed),
            setup.acting(config, make_policy),
            setup.postprocess(config, make_postprocess),
        )


DQNConfig.algorithm = DQN
DEFAULT_CONFIG, DQNAgent, DQNTrainer = DQNConfig(), DQN, DQN  # RLlib's older names
