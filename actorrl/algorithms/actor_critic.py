"""What the algorithms with a policy and a value function have in common: settings, and the policy.

T rows of a fragment, B environments.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from actorrl.algorithms.config import AlgorithmConfig, Schedule, schedule_lines
from actorrl.envs.check import EnvInfo
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.exploration import PiecewiseSchedule


class ActorCriticConfig(AlgorithmConfig):
    vf_loss_coeff: Annotated[float, Meta(ge=0, description="weight of the value loss")] = 0.5
    entropy_coeff: Annotated[
        float, Meta(ge=0, description="weight of the entropy", extra={"rllib": 0.01})
    ] = 0.0
    entropy_coeff_schedule: Annotated[
        Schedule | None,
        Meta(description="[[env steps, weight], ...], linear between; null keeps entropy_coeff"),
    ] = None

    observation_filter: Annotated[
        Literal["NoFilter", "MeanStdFilter"],
        Meta(
            description="observations shifted and scaled by the mean and deviation of all workers' "
            "observations; the statistics travel with the weights"
        ),
    ] = "NoFilter"

    def entropy_at(self, timesteps: int) -> float:
        """The entropy's weight after so many env steps of all workers."""
        if self.entropy_coeff_schedule is None:
            return self.entropy_coeff
        return PiecewiseSchedule(self.entropy_coeff_schedule)(timesteps)

    def validate(self) -> list[str]:
        return super().validate() + schedule_lines(
            "entropy_coeff_schedule", self.entropy_coeff_schedule
        )


class GAEConfig(ActorCriticConfig):
    lambda_: Annotated[float, Meta(ge=0, le=1, description="lambda of the returns (GAE)")] = 0.95


def make_policy(
    config: AlgorithmConfig, info: EnvInfo, seed: int, env_indices: np.ndarray
) -> ActorCriticPolicy:
    """The policy that acts in the environments with these global indices."""
    return ActorCriticPolicy(
        info.observation_space,
        info.action_space,
        info.frame_stack,
        config.model,
        seed,
        getattr(config, "observation_filter", "NoFilter"),
    )
