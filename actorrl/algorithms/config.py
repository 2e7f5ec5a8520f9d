"""The settings that all algorithms share; fluent.py has the methods that set them.

An algorithm file derives its Config from `AlgorithmConfig`, adds its own settings and gives the
shared ones its own defaults. Methods raise ConfigError with one line for each mistake; nothing is
started before `build`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, Self

import msgspec
import numpy as np
from msgspec import Meta

from actorrl import import_paths
from actorrl.algorithms import batch_arithmetic, multi_agent, spellings
from actorrl.algorithms.evaluation_settings import EvaluationSettings
from actorrl.algorithms.schedules import Schedule, schedule_lines
from actorrl.models.model_config import ModelConfig
from actorrl.rollouts.callbacks import DefaultCallbacks, not_called, overrides
from actorrl.runtime.program import PROGRESS_LIMIT_S
from actorrl.runtime.slots import START_TIMEOUT_S

if TYPE_CHECKING:
    from actorrl.envs.check import EnvInfo
    from actorrl.models.action_layout import Units
    from actorrl.replay.footprint import Footprint
    from actorrl.runtime.program import Program

ObservationFilter = Annotated[
    Literal["NoFilter", "MeanStdFilter"],
    Meta(
        description="observations shifted and scaled by the mean and deviation of all workers' "
        "observations; the statistics travel with the weights"
    ),
]
# Others have defaults of their own: `train_batch_size: TrainRows = 1024`.
FragmentRows = Annotated[
    int, Meta(ge=1, description="rows of a fragment", extra={"unit": "env steps"})
]
TrainRows = Annotated[
    int, Meta(ge=1, description="rows of one update", extra={"unit": "env steps"})
]
StepSize = Annotated[float, Meta(gt=0, description="step size")]
GradClip = Annotated[
    float, Meta(gt=0, description="largest L2 norm of the gradient; null: no limit")
]
Precision = Annotated[
    Literal["fp32", "bf16"],
    Meta(description="of the network's body; bf16 is faster where the hardware has it"),
]
Gathers = Literal["rounds", "fragments", "single fragments", "replay", "dataset"]
_ROOM = 1.1


class GradientClip(NamedTuple):
    """How much of a gradient is followed."""

    limit: float | None = None  # None: all
    by: Literal["global_norm", "norm", "value"] = "global_norm"


class AlgorithmConfig(EvaluationSettings):
    """Settings of a run. `algorithm` is set by the algorithm's file."""

    ALIASES: ClassVar[dict[str, str]] = spellings.ALIASES
    # type[Algorithm]; msgspec evaluates annotations, so not by name. A config may have its own.
    algorithm: ClassVar[Any]
    reproducible: ClassVar[bool] = False  # the same seed gives the same result.json
    # What makes up a train batch: rounds of all workers, fragments of any, a fragment, or replay.
    gathers: ClassVar[Gathers] = "fragments"
    several_policies: ClassVar[bool] = False  # whether it can learn more than one
    collects_fragments: ClassVar[bool] = True  # else whole populations, or a dataset
    learns_from_rows: ClassVar[bool] = False  # single decisions, not fragments of [T, B]
    unread: ClassVar[frozenset[str]] = frozenset()  # extras of acting that no learner reads
    OF_THE_RUN: ClassVar[frozenset[str]]  # settings that policies cannot have of their own

    env: Annotated[
        Any, Meta(description="environment: id, registered name, class or import path")
    ] = None
    observation_space: Annotated[
        Any, Meta(description="what the environment's must be; null: whatever it is")
    ] = None
    action_space: Annotated[
        Any, Meta(description="what the environment's must be; null: whatever it is")
    ] = None
    env_config: Annotated[
        dict[str, Any], Meta(description="what the environment's constructor gets")
    ] = msgspec.field(default_factory=dict)
    seed: (
        Annotated[int, Meta(ge=0, le=2**63 - 1, description="random seed; null draws one")] | None
    ) = None

    num_envs_per_worker: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="environments stepped together; auto measures how many pay",
                extra={"unit": "envs"},
            ),
        ]
        | Literal["auto"]
    ) = 8
    rollout_fragment_length: FragmentRows | Literal["auto"] = 50
    autoreset: Annotated[
        Literal["next_step", "same_step"] | None,
        Meta(description="how ended environments are reset; null is the environment's own way"),
    ] = None

    explore: Annotated[
        bool,
        Meta(
            description="workers explore as the algorithm does; false: they act greedily, as "
            "evaluations do, and that is learned from"
        ),
    ] = True

    recreate_failed_envs: Annotated[
        bool,
        Meta(
            description="an environment that fails is made anew alone, its episode dropped; "
            "steps environments one by one. false: the run ends, showing the failure"
        ),
    ] = False

    train_batch_size: TrainRows = 500
    gamma: Annotated[float, Meta(ge=0, le=1, description="discount per env step")] = 0.99
    lr: Annotated[float, Meta(gt=0, description="step size of the optimizer")] = 5e-4
    lr_schedule: Annotated[
        Schedule | None,
        Meta(description="[[env steps, lr], ...], linear between; null keeps lr"),
    ] = None
    grad_clip: GradClip | None = 40.0
    grad_clip_by: Annotated[
        Literal["global_norm", "norm", "value"],
        Meta(
            description="what grad_clip limits: the norm of the whole gradient, that of each "
            "parameter's, or each number's size"
        ),
    ] = "global_norm"
    clip_rewards: Annotated[
        bool | None,
        Meta(description="rewards clipped to [-1, 1] for learning; null: for Atari only"),
    ] = None
    model: Annotated[ModelConfig, Meta(description="the network")] = msgspec.field(
        default_factory=ModelConfig
    )

    policies: Annotated[
        Any,
        Meta(
            description="policies by id: None, or (None, observation_space, action_space, "
            "settings); null: one for all"
        ),
    ] = None
    policy_mapping_fn: Annotated[
        Any, Meta(description="function of an agent's id that says which policy acts for it")
    ] = None
    policies_to_train: Annotated[
        Any, Meta(description="ids of the policies that learn, or a function of an id; null: all")
    ] = None

    callbacks_class: Annotated[
        Any,
        Meta(description="class derived from DefaultCallbacks, or its import path; null: none"),
    ] = None
    progress_limit_s: Annotated[
        float,
        Meta(
            gt=0,
            description="a process that ends no environment step, update or message for so long "
            "hangs: it is killed and started again",
            extra={"unit": "s"},
        ),
    ] = PROGRESS_LIMIT_S
    start_timeout_s: Annotated[
        float, Meta(gt=0, description="longest start of a process", extra={"unit": "s"})
    ] = START_TIMEOUT_S
    min_time_s_per_iteration: Annotated[
        float, Meta(ge=0, description="shortest iteration of train()", extra={"unit": "s"})
    ] = 1.0
    metrics_num_episodes_for_smoothing: Annotated[
        int, Meta(ge=1, description="episodes in episode_reward_mean")
    ] = 100

    def program(self) -> Program:
        """The Program that `build` would start; checks the environment, starts nothing."""
        return self.algorithm.plan(self)

    # ---- derived ------------------------------------------------------------------------

    def default_num_workers(self) -> int:
        return batch_arithmetic.workers_that_fit(self, self.most_workers())

    def counted(self) -> Self:
        """A copy that says how many workers and environments there are: to a process on another
        host, with other cores, null would mean another number."""
        copy = self.copy()
        if copy.num_workers is None:
            copy.num_workers = self.resolved_num_workers()
        copy.num_envs_per_worker = self.num_envs()
        return copy

    def num_envs_total(self) -> int:
        """Environments of all workers."""
        return self.resolved_num_workers() * self.num_envs()

    def num_envs(self) -> int:
        """Environments of a worker; "auto" stands for 1 until it is measured (envs_measured)."""
        if self.num_envs_per_worker == "auto":
            return 1
        if self.is_given("num_envs_per_worker"):
            return self.num_envs_per_worker
        return batch_arithmetic.envs_that_fit(self, self.num_envs_per_worker)

    def wants_whole_episodes(self) -> bool:
        """Whether workers send fragments of whole episodes alone."""
        return False

    def action_units(self) -> Units:
        return "normalized"

    def num_lead_in(self) -> int:
        """Rows that a worker's postprocess carries over from one fragment to the next."""
        return 0

    def fragment_length(self) -> int:
        """Rows of a fragment. "auto": one round of all workers fills a train batch; a little more,
        since the rows between two episodes are no env steps and must not cost a second round."""
        if self.rollout_fragment_length != "auto":
            return self.rollout_fragment_length
        rows = math.ceil(_ROOM * self.train_batch_size / self.num_envs_total())
        return max(batch_arithmetic.SHORTEST_AUTO, rows)

    def memory_needs(self, info: EnvInfo) -> dict[str, Footprint]:
        """By role, what each of its actors will need, where that is much."""
        return {}

    def greediest_env(self) -> np.ndarray:
        """[1] the global index of the environment that explores least. Who plays outside of
        training explores no more than that one."""
        return np.array([self.num_envs_total() - 1])

    def gradient_clip(self) -> GradientClip:
        return GradientClip(self.grad_clip, self.grad_clip_by)

    def clips_rewards(self, frame_stack: int) -> bool:
        return frame_stack > 1 if self.clip_rewards is None else self.clip_rewards

    def read_settings(self) -> list[str]:
        return super().read_settings() + self._read_callbacks()

    def _read_callbacks(self) -> list[str]:
        """An import path becomes the class."""
        given, wrong = import_paths.read("callbacks", self.callbacks_class, "module:Class")
        if wrong:
            return wrong
        self.put("callbacks_class", given)
        if given is None:
            return []
        if isinstance(given, type) and issubclass(given, DefaultCallbacks):
            for notice in not_called(given):
                self.note(notice)
            if not self.learner_differentiates and overrides(given, "on_learn_on_batch"):
                self.note(
                    f"callbacks: {given.__name__}.on_learn_on_batch is never called by"
                    f" {type(self).__name__.removesuffix('Config')}, whose learner sees no batch"
                )
            return []
        return [f"callbacks: {given!r} is not accepted, expected a subclass of DefaultCallbacks"]

    def validate(self) -> list[str]:
        lines = [*super().validate(), *(f"model.{line}" for line in self.model.validate())]
        lines += multi_agent.lines(self)
        if self.recreate_failed_envs and self.autoreset == "same_step":
            lines.append(
                "recreate_failed_envs: true together with autoreset same_step, each of whose rows"
                " is a decision, expected next_step"
            )
        if self.num_envs_per_worker == "auto" and self.reproducible and self.seed is not None:
            lines.append(
                "num_envs_per_worker: auto is measured and may differ from run to run, but with a"
                " seed the rows of this algorithm repeat, expected a number or no seed"
            )
        lines += schedule_lines("lr_schedule", self.lr_schedule)
        return lines + batch_arithmetic.lines(self)

    def arithmetic(self) -> str:
        """How fragments make up a train batch, in one line: shown when a run starts."""
        return batch_arithmetic.told(self)


AlgorithmConfig.OF_THE_RUN = frozenset(AlgorithmConfig.__struct_fields__) - {
    "explore", "gamma", "lr", "lr_schedule", "grad_clip", "grad_clip_by", "clip_rewards", "model"
}  # fmt: skip
