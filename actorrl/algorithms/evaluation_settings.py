"""The settings that say when and how a run is evaluated and filmed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, cast

from msgspec import Meta

from actorrl import import_paths
from actorrl.algorithms.host_settings import HostSettings
from actorrl.config import shown
from actorrl.envs.film import INSTALL, missing


class EvaluationSettings(HostSettings):
    """Base of AlgorithmConfig."""

    evaluation_interval: (
        Annotated[int, Meta(ge=1, description="iterations between evaluations; null: none")] | None
    ) = None
    evaluation_duration: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="episodes of one evaluation; auto: as many as evaluators play while one"
                " iteration trains",
                extra={"unit": "episodes"},
            ),
        ]
        | Literal["auto"]
    ) = 10
    evaluation_duration_unit: Annotated[
        Literal["episodes", "timesteps"],
        Meta(
            description="what evaluation_duration counts; timesteps: env steps in all, the last "
            "episode of each process may be cut short"
        ),
    ] = "episodes"
    evaluation_explore: Annotated[
        bool, Meta(description="evaluations act as in training; false: greedily")
    ] = False
    evaluation_env_config: Annotated[
        dict[str, Any] | None,
        Meta(description="of env_config what is otherwise in evaluations; null: nothing"),
    ] = None
    evaluation_num_workers: Annotated[
        int,
        Meta(
            ge=0,
            description="processes that play the episodes, beside training; 0: the driver plays "
            "them, between two iterations",
            extra={"unit": "processes"},
        ),
    ] = 0
    record_video: Annotated[
        bool,
        Meta(
            description="greedy episodes are recorded into the run's videos/: at each evaluation, "
            "without evaluations after iterations 1, 8, 27, 64 ..."
        ),
    ] = False
    custom_evaluation_function: Annotated[
        Any, Meta(description="(algorithm, eval_workers) -> metrics, in place of playing episodes")
    ] = None

    def read_settings(self) -> list[str]:
        """An import path becomes the function."""
        key, given = "custom_evaluation_function", self.custom_evaluation_function
        found, wrong = import_paths.read(key, given, "module:function")
        if not wrong and found is not None and not callable(found):
            wrong = [f"{key}: {shown(found)} is not accepted, expected a function"]
        if not wrong:
            self.put(key, found)
        return [*super().read_settings(), *wrong]

    def for_evaluation(self) -> Self:
        """The settings of evaluations: with the environment's of these."""
        if not self.evaluation_env_config:
            return self
        config: Any = self.copy()
        config.put("env_config", {**config.env_config, **self.evaluation_env_config})
        return cast(Self, config)

    def validate(self) -> list[str]:
        lines = super().validate()
        if self.evaluation_duration == "auto" and not self.evaluation_num_workers:
            lines.append(
                "evaluation_duration: auto without evaluation_num_workers, expected a number"
            )
        absent = missing() if self.record_video else None
        if absent is not None:
            lines.append(f"record_video: needs {absent}, install it with: {INSTALL}")
        return lines
