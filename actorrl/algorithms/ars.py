"""ARS: augmented random search (Mania et al. 2018).

    learner --seeds--> workers: episodes with noise added and subtracted --returns--> learner

n mirrored pairs of a round, of which the b with the best episodes count. The parameters move by
lr / (b sigma_R) sum (r+ - r-) noise, sigma_R the deviation of those 2 b returns. The network is
linear, over observations scaled by their own mean and deviation (V2-t).
"""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
import numpy as np
from msgspec import Meta
from torch import Tensor

from actorrl.algorithms.base import Algorithm, Setup
from actorrl.algorithms.config import AlgorithmConfig, StepSize
from actorrl.algorithms.es import (
    EvolutionConfig,
    ObservationFilter,
    counts_env,
    evolution_program,
    make_policy,
)
from actorrl.envs.check import EnvInfo
from actorrl.losses.evolution import ars_step, best_directions
from actorrl.models.model_config import ModelConfig
from actorrl.policies.evolution import perturbation
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.roles.evolution_worker import RETURNS, SEEDS
from actorrl.roles.settings import Metrics, State
from actorrl.runtime.program import Program


class ARSConfig(EvolutionConfig):
    lr: StepSize = 0.05
    num_rollouts: Annotated[
        int,
        Meta(ge=1, description="directions of a round", extra={"unit": "pairs"}),
    ] = 32
    rollouts_used: Annotated[
        int,
        Meta(ge=1, description="of them, the best ones", extra={"unit": "pairs"}),
    ] = 16
    model: Annotated[ModelConfig, Meta(description="the network; [] is linear")] = msgspec.field(
        default_factory=lambda: ModelConfig(fcnet_hiddens=[])
    )

    ALIASES: ClassVar[dict[str, str]] = {
        **AlgorithmConfig.ALIASES,
        "sgd_stepsize": "lr",
        "action_noise_std": "action_noise",
        "noise_stdev": "noise_stddev",
    }

    def num_pairs(self) -> int:
        return self.num_rollouts

    def validate(self) -> list[str]:
        lines = super().validate()
        if self.rollouts_used > self.num_rollouts:
            lines.append(
                f"rollouts_used: {self.rollouts_used} of {self.num_rollouts} num_rollouts, "
                "expected at most that"
            )
        return lines


# ---- update ---------------------------------------------------------------------------------


class ARSUpdate:
    """One step from the returns of a round."""

    def __init__(self, config: ARSConfig, info: EnvInfo, seed: int, device: str) -> None:
        self._config = config
        self.policy = make_policy(config, info, seed, np.arange(1))
        self._filter = ObservationFilter(self.policy, config.observation_filter != "NoFilter")
        self._lr = PiecewiseSchedule(config.lr_schedule or [(0.0, config.lr)])
        self._clip = config.gradient_clip()

    def __call__(self, batch: dict[str, Tensor], timesteps: int) -> Metrics:
        returns, seeds = batch[RETURNS].numpy(), batch[SEEDS].numpy()
        parameters, lr = self.policy.parameters, self._lr(timesteps)
        used = best_directions(returns, self._config.rollouts_used)
        noises = (perturbation(int(seed), len(parameters)) for seed in seeds[used])
        flat = self.policy.flat
        span = flat.span("net")
        ascent = flat.gradient[span].numpy()
        ascent[:] = ars_step(returns[used], noises)
        norm = flat.clip_gradient(self._clip.limit, span, self._clip.by)
        step = lr * ascent
        parameters += step
        self._filter.take(batch)
        return {
            "noisy_return_mean": returns.mean(),
            "noisy_return_max": returns.max(),
            "step_norm": float(np.linalg.norm(step)),
            "grad_gnorm": float(norm),
            "cur_lr": lr,
        }

    def state_dict(self) -> State:
        return {"filter": self._filter.state_dict()}

    def load_state_dict(self, state: State) -> None:
        self._filter.load_state_dict(state["filter"])


# ---- program --------------------------------------------------------------------------------


class ARS(Algorithm):
    config_class = ARSConfig
    make_policy = staticmethod(make_policy)
    counts_env = staticmethod(counts_env)

    @staticmethod
    def program(config: ARSConfig, setup: Setup) -> Program:
        return evolution_program("ARS", config, setup, ARSUpdate)


ARSConfig.algorithm = ARS
DEFAULT_CONFIG, ARSAgent, ARSTrainer = ARSConfig(), ARS, ARS  # RLlib's older names
