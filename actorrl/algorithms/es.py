"""ES: evolution strategies (Salimans et al. 2017), without gradients or a value function.

    learner --seeds--> workers: episodes with noise added and subtracted --returns--> learner

n mirrored pairs of a round, P parameters. The parameters move by Adam along
1 / (2 n sigma) sum (rank+ - rank-) noise, where ranks are over the returns of all workers, less
`l2_coeff` of themselves. Reported are the episodes of the parameters as they are.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
import torch
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import AlgorithmConfig, GradClip
from actorrl.algorithms.optimizer import Optimizer
from actorrl.envs.check import EnvInfo
from actorrl.envs.filters import RunningStat
from actorrl.losses.evolution import centered_ranks, mirrored_gradient
from actorrl.models.model_config import ModelConfig
from actorrl.policies.evolution import EvolutionPolicy, perturbation
from actorrl.roles.evolution_worker import MEAN, RETURNS, ROWS, SEEDS, SQUARES
from actorrl.roles.settings import Metrics, State
from actorrl.runtime.program import Program
from actorrl.topologies import evolution


class EvolutionConfig(AlgorithmConfig):
    """What ES and ARS have in common."""

    reproducible: ClassVar[bool] = True
    learner_differentiates: ClassVar[bool] = False
    collects_fragments: ClassVar[bool] = False
    WITHOUT_EFFECT: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("gamma", "clip_rewards"), "returns are plain sums of rewards"),
        "train_batch_size": "an update follows from a round of episodes",
        "rollout_fragment_length": "workers play whole episodes",
        **dict.fromkeys(
            (
                "model.post_fcnet_hiddens",
                "model.post_fcnet_activation",
                "model.conv_filters",
                "model.conv_activation",
                "model.vf_share_layers",
                "model.free_log_std",
                "model.custom_action_dist",
            ),
            "what evolves are the layers of fcnet_hiddens, whose outputs are the actions",
        ),
    }

    num_envs_per_worker: Annotated[
        int, Meta(ge=1, description="environments stepped together", extra={"unit": "envs"})
    ] = 16
    noise_stddev: Annotated[
        float,
        Meta(gt=0, description="standard deviation of the noise"),
    ] = 0.1
    action_noise: Annotated[
        float,
        Meta(ge=0, description="added to a Box's actions in episodes of perturbed parameters"),
    ] = 0.0
    observation_filter: Annotated[
        Literal["MeanStdFilter", "NoFilter"],
        Meta(description="observations scaled by their own mean and deviation"),
    ] = "MeanStdFilter"
    num_plain_episodes: Annotated[
        int,
        Meta(
            ge=1,
            description="of the unchanged parameters, by each worker in a round: what is reported",
            extra={"unit": "episodes"},
        ),
    ] = 4
    metrics_num_episodes_for_smoothing: Annotated[
        int, Meta(ge=1, description="episodes in episode_reward_mean")
    ] = 20
    grad_clip: (
        Annotated[GradClip, Meta(description="largest L2 norm of the direction; null: no limit")]
        | None
    ) = None

    def validate(self) -> list[str]:
        lines = super().validate()
        if not self.explore:
            lines.append(
                "explore: false with ES and ARS, which learn from how perturbed parameters do and"
                " from nothing else, expected true"
            )
        if self.recreate_failed_envs:
            lines.append("recreate_failed_envs: half a pair cannot be counted, expected false")
        if self.output is not None:
            lines.append(
                "output: only seeds and returns leave a worker of ES and ARS, expected null"
            )
        if self.num_pairs() < self.resolved_num_workers():
            lines.append(
                f"num_workers: {self.resolved_num_workers()} workers for {self.num_pairs()} pairs a"
                " round, expected at most one per pair"
            )
        return lines

    def default_num_workers(self) -> int:
        """One for each pair would be the most that have something to do."""
        return min(self.most_workers(), self.num_pairs())

    def arithmetic(self) -> str:
        return f"{self.resolved_num_workers()} workers play {self.num_pairs()} pairs per update"

    def num_pairs(self) -> int:
        """Mirrored pairs of a round."""
        raise NotImplementedError


class ESConfig(EvolutionConfig):
    lr: Annotated[float, Meta(gt=0, description="Adam's step size")] = 0.05
    episodes_per_batch: Annotated[
        int,
        Meta(
            ge=2,
            description="with noise, in a round; two of each pair",
            extra={"unit": "episodes"},
        ),
    ] = 64
    l2_coeff: Annotated[float, Meta(ge=0, description="decay of the parameters")] = 0.005
    model: Annotated[ModelConfig, Meta(description="the network")] = msgspec.field(
        default_factory=lambda: ModelConfig(fcnet_hiddens=[32])
    )

    ALIASES: ClassVar[dict[str, str]] = {
        **AlgorithmConfig.ALIASES,
        "stepsize": "lr",
        "action_noise_std": "action_noise",
        "noise_stdev": "noise_stddev",
    }

    def num_pairs(self) -> int:
        return self.episodes_per_batch // 2


# ---- policy ---------------------------------------------------------------------------------


def make_policy(
    config: EvolutionConfig, info: EnvInfo, seed: int, env_indices: np.ndarray
) -> EvolutionPolicy:
    return EvolutionPolicy(
        info.observation_space,
        info.action_space,
        info.frame_stack,
        config.model,
        seed,
        action_noise=config.action_noise,
    )


# ---- update ---------------------------------------------------------------------------------


class ObservationFilter:
    """Statistics of all observations so far, kept by the learner, written into its policy. An
    element that never changes is not scaled."""

    def __init__(self, policy: EvolutionPolicy, enabled: bool) -> None:
        self._policy = policy
        self._enabled = enabled
        self._stat = RunningStat((policy.observation_size,))

    def take(self, batch: dict[str, Tensor]) -> None:
        """Merge what the workers of a round have seen."""
        if not self._enabled:
            return
        columns = (batch[name].numpy() for name in (ROWS, MEAN, SQUARES))
        for count, mean, m2 in zip(*columns, strict=True):
            self._stat.merge(RunningStat.from_state({"count": count, "mean": mean, "m2": m2}))
        deviation = self._stat.std
        self._policy.set_filter(self._stat.mean, np.where(deviation > 1e-6, deviation, 1.0))

    def state_dict(self) -> State:
        return dict(self._stat.state_dict())

    def load_state_dict(self, state: State) -> None:
        self._stat = RunningStat.from_state(state)


class ESUpdate:
    """One step of Adam from the returns of a round."""

    def __init__(self, config: ESConfig, info: EnvInfo, seed: int, device: str) -> None:
        self._config = config
        self.policy = make_policy(config, info, seed, np.arange(1))
        self._filter = ObservationFilter(self.policy, config.observation_filter != "NoFilter")
        self._optimizer = Optimizer(
            self.policy, config.lr, config.lr_schedule, config.gradient_clip(), part="net"
        )

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        returns, parameters = batch[RETURNS].numpy(), self.policy.parameters
        noises = (perturbation(int(seed), len(parameters)) for seed in batch[SEEDS])
        ascent = mirrored_gradient(centered_ranks(returns), noises, self._config.noise_stddev)
        descent = self._config.l2_coeff * parameters - ascent
        self.policy.flat.gradient[self.policy.flat.span("net")] = torch.from_numpy(
            descent.astype(np.float32)
        )
        stepped = self._optimizer.step(timesteps)
        self._filter.take(batch)
        return {
            "noisy_return_mean": returns.mean(),
            "noisy_return_max": returns.max(),
            "weights_norm": float(np.linalg.norm(parameters)),
            **stepped,
        }

    def state_dict(self) -> State:
        return {"optimizer": self._optimizer.state_dict(), "filter": self._filter.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self._optimizer.load_state_dict(state["optimizer"])
        self._filter.load_state_dict(state["filter"])


# ---- program --------------------------------------------------------------------------------


def evolution_program(name: str, config: EvolutionConfig, setup: Setup, update: type) -> Program:
    """ARS's too."""
    make_update = functools.partial(update, config, setup.info, setup.seed)
    return evolution.build(
        name,
        setup.workers(config),
        dataclasses.replace(
            setup.learner(config, make_update), train_batch_size=config.num_pairs()
        ),
        functools.partial(make_policy, config, setup.info),
        config.noise_stddev,
        config.num_plain_episodes,
    )


def counts_env(config: EvolutionConfig, env_index: int) -> bool:
    """The first of each worker: the name under which it reports plain episodes."""
    return env_index % config.num_envs() == 0


class ES(Algorithm):
    config_class = ESConfig
    make_policy = staticmethod(make_policy)
    counts_env = staticmethod(counts_env)

    @staticmethod
    def program(config: ESConfig, setup: Setup) -> Program:
        return evolution_program("ES", config, setup, ESUpdate)


ESConfig.algorithm = ES
DEFAULT_CONFIG, ESAgent, ESTrainer = ESConfig(), ES, ES  # RLlib's older names
