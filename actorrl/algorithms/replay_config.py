"""The settings that all algorithms with replay share, and what follows from them."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

import numpy as np
from gymnasium import spaces
from msgspec import Meta

from actorrl.algorithms.config import (
    AlgorithmConfig,
    FragmentRows,
    Gathers,
    GradClip,
    ObservationFilter,
)
from actorrl.envs.check import EnvInfo
from actorrl.errors import ConfigError
from actorrl.models.action_layout import action_layout
from actorrl.policies.base import Policy
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.replay.buffer import BufferSettings
from actorrl.replay.footprint import Footprint, footprint
from actorrl.replay.frame_store import frames_for
from actorrl.roles.local_replay_learner import LocalReplaySettings
from actorrl.roles.replay_rows import n_step_rows
from actorrl.roles.settings import Postprocess
from actorrl.rollouts.postprocess import num_lead_in
from actorrl.runtime.counts import USABLE_MEMORY

# Settings for which algorithms have defaults of their own: `n_step: StepsSummed = 3`.
BatchRows = Annotated[int, Meta(ge=1, description="rows of one update", extra={"unit": "rows"})]
StepsSummed = Annotated[
    int, Meta(ge=1, description="rewards summed in a row", extra={"unit": "env steps"})
]
# Rows of old policies hold a discrete SAC to their mistakes: on CartPole, with 100,000 kept, some
# seeds stay at 300, drifting out of the track; with 20,000 they reach 400 by 67,000 env steps.
_DISCRETE_CAPACITY, _CONTINUOUS_CAPACITY = 20_000, 200_000
Capacity = Annotated[int, Meta(ge=1, description="rows kept", extra={"unit": "rows"})]
CapacityBySpace = Annotated[
    Capacity, Meta(description="rows kept; null: 20,000 with discrete actions, else 200,000")
]
LearningStarts = Annotated[
    int, Meta(ge=1, description="rows before any update", extra={"unit": "rows"})
]
SamplesPerInsert = Annotated[
    float,
    Meta(
        gt=0,
        description="times a row is sampled, on average (RLlib: training_intensity); "
        "train_batch_size of it is one update per env step",
    ),
]
AdamEpsilon = Annotated[
    float,
    Meta(gt=0, description="added to the root of Adam's second moment"),
]
Prioritized = Annotated[
    bool, Meta(description="sample in proportion to priorities, else uniformly")
]
RandomSteps = Annotated[
    int, Meta(ge=0, description="at the start acts evenly at random", extra={"unit": "env steps"})
]
EachGradClip = Annotated[
    GradClip, Meta(description="largest L2 norm of each gradient; null: no limit")
]
TwinQ = Annotated[bool, Meta(description="two critics, of which the smaller value counts")]


class ReplayConfig(AlgorithmConfig):
    """Base of the Configs of DQN, DDPG, TD3 and SAC (one buffer, in the learner: `reproducible`),
    and of sharded_replay.py's."""

    gathers: ClassVar[Gathers] = "replay"
    learns_from_rows: ClassVar[bool] = True
    rows_have_q_values: ClassVar[bool] = False  # they wait for those of their bootstrap, a row more
    # Settings that are the step size of a part of the network alone.
    step_sizes_of_parts: ClassVar[tuple[str, ...]] = ()
    OF_THE_RUN: ClassVar[frozenset[str]] = AlgorithmConfig.OF_THE_RUN | {
        "replay_capacity", "storage", "learning_starts", "samples_per_insert", "prioritized_replay",
        "prioritized_replay_alpha", "prioritized_replay_beta", "final_prioritized_replay_beta",
        "prioritized_replay_beta_annealing_timesteps", "prioritized_replay_eps",
    }  # fmt: skip
    WITHOUT_EFFECT: ClassVar[dict[str, str]] = {
        **dict.fromkeys(
            ("model.custom_action_dist", "model.free_log_std"),
            "actions are not drawn from a distribution of the catalog's",
        ),
        "model.vf_share_layers": "there is no value function beside the policy",
    }
    ALIASES: ClassVar[dict[str, str]] = {
        **AlgorithmConfig.ALIASES,
        "training_intensity": "samples_per_insert",
        "num_steps_sampled_before_learning_starts": "learning_starts",
        "buffer_size": "replay_capacity",
        "capacity": "replay_capacity",
    }

    rollout_fragment_length: FragmentRows | Literal["auto"] = 1
    n_step: StepsSummed = 1
    observation_filter: ObservationFilter = "NoFilter"
    replay_capacity: CapacityBySpace | None = 50_000
    storage: Annotated[
        Literal["raw", "lz4", "cuda"] | None,
        Meta(
            description="how replay keeps stacked frames: as they are, compressed one by one "
            "(Atari's: a tenth of the memory or less, in no more time), or on the learner's GPU; "
            "null: lz4"
        ),
    ] = None
    learning_starts: LearningStarts = 1000
    samples_per_insert: SamplesPerInsert = 32.0
    prioritized_replay: Prioritized = False
    prioritized_replay_alpha: Annotated[float, Meta(ge=0, description="exponent of priorities")] = (
        0.6
    )
    prioritized_replay_beta: Annotated[
        float, Meta(ge=0, le=1, description="exponent of importance weights")
    ] = 0.4
    final_prioritized_replay_beta: (
        Annotated[
            float,
            Meta(ge=0, le=1, description="that exponent in the end; null: it stays as it is"),
        ]
        | None
    ) = None
    prioritized_replay_beta_annealing_timesteps: Annotated[
        int, Meta(ge=1, description="until it gets there", extra={"unit": "env steps"})
    ] = 20_000
    prioritized_replay_eps: Annotated[float, Meta(gt=0, description="added to priorities")] = 1e-6

    def validate(self) -> list[str]:
        lines = super().validate()
        capacity = self.least_capacity()
        if self.train_batch_size > capacity:
            lines.append(
                f"train_batch_size: {self.train_batch_size} rows cannot come from replay_capacity"
                f" {capacity}, expected at most that"
            )
        if self.learning_starts > capacity:
            lines.append(
                f"learning_starts: {self.learning_starts} rows never fit into replay_capacity"
                f" {capacity}, expected at most that"
            )
        if self.storage == "cuda" and not self.resolved_num_gpus():
            lines.append(
                "storage: cuda keeps frames on the learner's GPU, and num_gpus is 0, expected raw"
                " or lz4"
            )
        if self.model.use_lstm:
            lines.append("model.use_lstm: there is no recurrent replay, expected false")
        if self.lr_schedule is not None:
            lines += [
                f"{name}: {getattr(self, name)} together with lr_schedule, which says the step size"
                " of every part, expected null"
                for name in self.step_sizes_of_parts
                if getattr(self, name) is not None
            ]
        return lines

    def default_num_workers(self) -> int:
        """Beside a local buffer one worker: it keeps up with the learner, which it waits for, and
        results do not depend on the number of cores."""
        return 1 if self.reproducible else super().default_num_workers()

    def fragment_length(self) -> int:
        """ "auto" is one row of each environment: updates follow as soon as they can."""
        return 1 if self.rollout_fragment_length == "auto" else self.rollout_fragment_length

    def memory_needs(self, info: EnvInfo) -> dict[str, Footprint]:
        role, settings = self.buffer(info)
        policies = (info.policies or {"": info}).values()  # each has a buffer of its own
        found = [_footprint(settings, one) for one in policies]
        arithmetic = " and ".join(dict.fromkeys(one.arithmetic for one in found))
        if len(found) > 1:
            arithmetic = f"{len(found)} policies, each with {arithmetic}"
        arithmetic = (
            f"a replay of {arithmetic}, and all actors of a host may ask for {USABLE_MEMORY:.0%} of"
            " its memory; a smaller replay_capacity needs less"
        )
        return {role: Footprint(sum(one.num_bytes for one in found), arithmetic)}

    def beta(self) -> PiecewiseSchedule:
        """The exponent of importance weights over the env steps of a run."""
        start, end = self.prioritized_replay_beta, self.final_prioritized_replay_beta
        if end is None:
            return PiecewiseSchedule([(0.0, start)])
        steps = float(self.prioritized_replay_beta_annealing_timesteps)
        return PiecewiseSchedule([(0.0, start), (steps, end)])

    def buffer(self, info: EnvInfo) -> tuple[str, BufferSettings]:
        """The role that keeps the rows, and what each of its actors has."""
        return "learner", self.local_replay(info, seed=0)

    def least_capacity(self) -> int:
        """Before the environment is known."""
        return self.replay_capacity or _DISCRETE_CAPACITY

    def capacity(self, info: EnvInfo) -> int:
        """Rows that replay keeps, of all shards."""
        if self.replay_capacity is not None:
            return self.replay_capacity
        discrete = isinstance(info.action_space, spaces.Discrete)
        return _DISCRETE_CAPACITY if discrete else _CONTINUOUS_CAPACITY

    def num_lead_in(self) -> int:
        return num_lead_in(self.n_step, self.rows_have_q_values)

    def frame_overlap(self, info: EnvInfo) -> int:
        """Frames with which a worker's fragment repeats the end of its last one, under NEXT_STEP
        and where fragments have n rows. Replay looks whether they are the same."""
        return (info.frame_stack + self.num_lead_in()) * self.num_envs()

    def storage_for(self, info: EnvInfo) -> str:
        """Raises ConfigError where there are no frames to compress or to move."""
        if self.storage is None:
            return "lz4" if info.frame_stack > 1 else "raw"
        if self.storage != "raw" and info.frame_stack == 1:
            raise ConfigError(
                f"storage: {self.storage} is for stacked frames, {info.name} has none, expected raw"
            )
        return self.storage

    def local_replay(self, info: EnvInfo, seed: int) -> LocalReplaySettings:
        """The learner's own buffer."""
        overlap = self.frame_overlap(info)
        num_frames = 0
        if info.frame_stack > 1:
            fragment = self.fragment_length() * self.num_envs() + overlap
            num_frames = frames_for(self.capacity(info), fragment, self.resolved_num_workers())
        return LocalReplaySettings(
            capacity=self.capacity(info),
            alpha=self.prioritized_replay_alpha if self.prioritized_replay else None,
            eps=self.prioritized_replay_eps,
            seed=seed,
            num_frames=num_frames,
            storage=self.storage_for(info),
            overlap_frames=overlap,
            min_size=self.learning_starts,
            samples_per_insert=self.samples_per_insert,
            beta=self.beta(),
        )


def _footprint(settings: BufferSettings, info: EnvInfo) -> Footprint:
    """Of one buffer of this policy's rows."""
    action, space = action_layout(info.action_space), info.observation_space
    action_bytes = math.prod(action.shape) * np.dtype(action.dtype).itemsize
    obs_bytes = math.prod(space.shape) * np.dtype(space.dtype).itemsize
    return footprint(settings, obs_bytes, action_bytes, info.frame_stack)


def make_postprocess(
    config: ReplayConfig, clip_rewards: bool, policy: Policy, num_envs: int
) -> Postprocess:
    """From fragments to n-step rows, for a buffer that gives them their first priorities."""
    clip = 1.0 if clip_rewards else None
    return n_step_rows(config.n_step, config.gamma, clip, policy, num_envs)
