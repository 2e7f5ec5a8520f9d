"""What the algorithms with a policy and a value function have in common: settings, and the policy.

T rows of a fragment, B environments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import numpy as np
from msgspec import Meta

from actorrl.algorithms.config import (
    AlgorithmConfig,
    GradClip,
    ObservationFilter,
    Precision,
)
from actorrl.algorithms.optimizer import ADAM_EPS, Optimizer
from actorrl.algorithms.schedules import Schedule, schedule_lines
from actorrl.data.fragment import Fragment
from actorrl.envs.check import EnvInfo
from actorrl.models.action_layout import Units, action_layout
from actorrl.policies.actor_critic import ActorCriticPolicy
from actorrl.policies.base import Policy
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.roles.settings import Arrays, Body, Postprocess

if TYPE_CHECKING:
    from actorrl.algorithms.a3c import A3CConfig
    from actorrl.algorithms.impala import IMPALAConfig

OptType = Annotated[Literal["adam", "rmsprop"], Meta(description="optimizer")]
Decay = Annotated[
    float, Meta(ge=0, lt=1, description="of rmsprop's mean of squared gradients (torch's alpha)")
]
Momentum = Annotated[float, Meta(ge=0, description="of rmsprop")]
Epsilon = Annotated[float, Meta(gt=0, description="added to the root of rmsprop's mean")]
Lambda = Annotated[float, Meta(ge=0, le=1, description="lambda of the returns (GAE)")]
EntropyWeight = Annotated[float, Meta(ge=0, description="weight of the entropy")]
ClipParam = Annotated[float, Meta(gt=0, description="largest change of a ratio that pays")]
# Of IMPALA and APPO.
RhoBar = Annotated[float, Meta(gt=0, description="rho-bar")]
TraceDecay = Annotated[float, Meta(ge=0, le=1, description="decay of the traces")]
PolicyLag = Annotated[
    int, Meta(ge=0, description="older fragments are dropped", extra={"unit": "updates"})
]


class StochasticConfig(AlgorithmConfig):
    """Of the algorithms whose policy is a distribution over actions of any space."""

    OF_THE_RUN: ClassVar[frozenset[str]] = AlgorithmConfig.OF_THE_RUN | {"batch_mode"}

    normalize_actions: Annotated[
        bool,
        Meta(
            description="actions of a Box are learned in [-1, 1], which is scaled to its bounds; "
            "false: in the environment's own units"
        ),
    ] = True
    clip_actions: Annotated[
        bool,
        Meta(
            description="without normalize_actions: the environment gets them clipped to its "
            "bounds (normalised ones always are)"
        ),
    ] = False

    batch_mode: Annotated[
        Literal["truncate_episodes", "complete_episodes"],
        Meta(
            description="fragments end anywhere, or hold whole episodes, as many as have at least "
            "the rows that would have come otherwise"
        ),
    ] = "truncate_episodes"

    def wants_whole_episodes(self) -> bool:
        return self.batch_mode == "complete_episodes"

    def action_units(self) -> Units:
        if self.normalize_actions:
            return "normalized"
        return "clipped" if self.clip_actions else "raw"

    def validate(self) -> list[str]:
        lines = super().validate()
        if self.wants_whole_episodes() and self.autoreset == "same_step":
            lines.append(
                "autoreset: same_step together with batch_mode complete_episodes, which needs the"
                " row behind each end, expected next_step"
            )
        if self.output is not None and not self.normalize_actions:
            lines.append(
                "output: recorded actions are those that are learned, and with normalize_actions"
                " false they would mean something else to who reads them, expected true"
            )
        return lines


class ActorCriticConfig(StochasticConfig):
    grad_clip: (
        Annotated[
            GradClip,
            Meta(
                description="largest L2 norm of the gradient of a mean over rows; null: no limit",
            ),
        ]
        | None
    ) = 0.5
    vf_loss_coeff: Annotated[
        float,
        Meta(
            ge=0,
            description="weight of the value loss, for returns of any size (models/value_head.py)",
        ),
    ] = 0.5
    entropy_coeff: EntropyWeight = 0.0
    entropy_coeff_schedule: Annotated[
        Schedule | None,
        Meta(description="[[env steps, weight], ...], linear between; null keeps entropy_coeff"),
    ] = None

    observation_filter: ObservationFilter = "NoFilter"
    precision: Precision = "fp32"

    def entropy_at(self, timesteps: int) -> float:
        """The entropy's weight after so many env steps of all workers."""
        if self.entropy_coeff_schedule is None:
            return self.entropy_coeff
        return PiecewiseSchedule(self.entropy_coeff_schedule)(timesteps)

    def validate(self) -> list[str]:
        lines = super().validate()
        if self.model.use_lstm and self.autoreset == "same_step":
            lines.append(
                "autoreset: same_step together with model.use_lstm, which needs the row behind each"
                " end, expected next_step"
            )
        return lines + schedule_lines("entropy_coeff_schedule", self.entropy_coeff_schedule)


class GAEConfig(ActorCriticConfig):
    lambda_: Lambda = 0.95


# ---- policy ---------------------------------------------------------------------------------


def make_policy(
    config: AlgorithmConfig, info: EnvInfo, seed: int, env_indices: np.ndarray
) -> ActorCriticPolicy:
    """The policy that acts in the environments with these global indices."""
    policy = ActorCriticPolicy(
        info.observation_space,
        info.action_space,
        info.frame_stack,
        config.model,
        seed,
        getattr(config, "observation_filter", "NoFilter"),
    )
    policy.use_precision(getattr(config, "precision", "fp32"))
    if isinstance(config, StochasticConfig):
        policy.action_layout = action_layout(info.action_space, config.action_units())
    return policy


# ---- postprocess ----------------------------------------------------------------------------


def make_postprocess(
    config: ActorCriticConfig, clip_rewards: bool, policy: Policy, num_envs: int
) -> Postprocess:
    """Fragments as they are, less what the loss does not read."""

    def postprocess(fragment: Fragment) -> tuple[Body, Arrays]:
        for name in config.unread:
            fragment.columns.pop(name, None)
        return fragment.to_message()

    return postprocess


# ---- update ---------------------------------------------------------------------------------


def make_optimizer(policy: Policy, config: A3CConfig | IMPALAConfig) -> Optimizer:
    """The one that `opt_type` names; `decay`, `momentum` and `epsilon` are rmsprop's alone."""
    return Optimizer(
        policy,
        config.lr,
        config.lr_schedule,
        config.gradient_clip(),
        config.opt_type,
        config.epsilon if config.opt_type == "rmsprop" else ADAM_EPS,
        decay=config.decay,
        momentum=config.momentum,
    )
