"""The user's own code at the edges of a run: episodes, samples, updates, results, evaluations.

RLlib's names and keywords.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from actorrl.config import did_you_mean
from actorrl.errors import ConfigError, EnvironmentFailure

if TYPE_CHECKING:
    from actorrl.rollouts.watching import RunningEpisode


class DefaultCallbacks:
    """Derive from it and give the class to `config.callbacks(...)`.

    Those of episodes and samples run in the workers, one object in each; they have environments
    stepped one by one, which is slower. The others run in the driver. What is put into
    `episode.custom_metrics` comes out of `train()` as `custom_metrics`, with _mean, _min and _max.
    Those of episodes and environments see evaluations, too, in an object of each evaluation's, and
    the metrics of these are in `evaluation/custom_metrics`.
    """

    def on_algorithm_init(self, *, algorithm: Any, **kwargs: Any) -> None: ...

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **kwargs: Any) -> None:
        """Before the result is written; it may be added to."""

    def on_evaluate_start(self, *, algorithm: Any, **kwargs: Any) -> None: ...

    def on_evaluate_end(
        self, *, algorithm: Any, evaluation_metrics: dict[str, Any], **kwargs: Any
    ) -> None: ...

    def on_checkpoint_loaded(self, *, algorithm: Any, **kwargs: Any) -> None: ...

    def on_workers_recreated(
        self, *, algorithm: Any, worker_set: Any, worker_ids: list[int], is_evaluation: bool,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Workers have died and are back; ids count from 1, as `worker_index` does."""
        self.on_env_runners_recreated(
            algorithm=algorithm,
            env_runner_group=worker_set,
            env_runner_indices=worker_ids,
            is_evaluation=is_evaluation,
        )

    def on_env_runners_recreated(
        self, *, algorithm: Any, env_runner_group: Any, env_runner_indices: list[int],
        is_evaluation: bool, **kwargs: Any,
    ) -> None:  # fmt: skip
        """The newer name of that."""

    def on_sub_environment_created(
        self, *, worker: Any, sub_environment: Any, env_context: Any, env_index: int,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """In the worker, before its first reset."""
        self.on_environment_created(
            env_runner=worker, env=sub_environment, env_context=env_context, env_index=env_index
        )

    def on_environment_created(
        self, *, env_runner: Any, env: Any, env_context: Any, env_index: int, **kwargs: Any
    ) -> None:
        """The newer name of that."""

    def on_episode_created(
        self, *, worker: Any, base_env: Any, policies: Any, episode: Any, env_index: int,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        """Before the environment is reset for it. (Under `autoreset: same_step`, where the step
        that ends an episode resets, right after that.)"""

    def on_episode_start(
        self, *, worker: Any, base_env: Any, policies: Any, episode: RunningEpisode,
        env_index: int, **kwargs: Any,
    ) -> None:  # fmt: skip
        """The first observation is there, nothing was done yet."""

    def on_episode_step(
        self, *, worker: Any, base_env: Any, policies: Any, episode: RunningEpisode,
        env_index: int, **kwargs: Any,
    ) -> None: ...  # fmt: skip

    def on_episode_end(
        self, *, worker: Any, base_env: Any, policies: Any, episode: RunningEpisode,
        env_index: int, **kwargs: Any,
    ) -> None:  # fmt: skip
        """After the last step, before the environment is reset."""

    def on_postprocess_trajectory(
        self, *, worker: Any, episode: Any, agent_id: Any, policy_id: str,
        policies: dict[str, Any], postprocessed_batch: Any,
        original_batches: dict[Any, tuple[str, Any, Any]], **kwargs: Any,
    ) -> None:  # fmt: skip
        """In the worker, for each agent's rows of an episode in a fragment, after `on_episode_end`
        where it has ended. What is put into the batch's `rewards`, or changed in place there, is
        learned from and recorded; reported returns stay the environment's. Everything comes after
        that here, advantages and n-step rows too, so that none is in the batch; its other columns
        are to look at, and whoever changes or adds one is told so by an error. `original_batches`:
        agent -> (policy id, policy, the rows as they were), of all agents with rows of the
        episode in this fragment."""

    def on_sample_end(self, *, worker: Any, samples: Any, **kwargs: Any) -> None:
        """A fragment is complete; `samples` are its rows, to look at."""

    def on_create_policy(self, *, policy_id: str, policy: Any) -> None:
        """In each rollout worker and learner that makes one, before it acts or learns. What is
        written to the learner's is what the run begins with; a worker's gets the learner's."""

    def on_learn_on_batch(
        self, *, policy: Any, train_batch: dict[str, Any], result: dict[str, Any], **kwargs: Any
    ) -> None:
        """In the learner, before it learns from `train_batch`: tensors by column, [T, B] of
        fragments side by side or [N] rows of a replay. Put in another tensor or change one in
        place, and that is learned from. The numbers that are put into `result` come out of
        `train()` with the losses, in `info/learner`. A batch that is learned from in minibatches
        is shown once, as a whole; several learners show each their share, and their numbers are
        averaged where all have put the same names into `result`, else they are the first one's."""


_OF_ENVIRONMENTS = ("on_sub_environment_created", "on_environment_created")
_OF_EPISODES = (
    "on_episode_created", "on_episode_start", "on_episode_step", "on_episode_end",
    "on_postprocess_trajectory",
)  # fmt: skip
OF_FRAGMENTS = (*_OF_EPISODES, "on_sample_end")  # called where workers collect any


def overrides(callbacks: type | None, *names: str) -> bool:
    """Whether a class has any of these methods of its own. None has none."""
    return callbacks is not None and any(
        getattr(callbacks, name, None) is not getattr(DefaultCallbacks, name) for name in names
    )


def of_functions(base: type[DefaultCallbacks], functions: Mapping[str, Any]) -> Any:
    """A class derived from `base` that calls plain functions, by keywords. Raises ConfigError."""
    names = [name for name in vars(DefaultCallbacks) if name.startswith("on_")]
    wrong = [
        f"callbacks: no function {name!r}{did_you_mean(name, names)}, accepted are functions by the"
        f" names {', '.join(names)}"
        for name, function in functions.items()
        if name not in names or not callable(function)
    ]
    if wrong:
        raise ConfigError(wrong)
    methods = {name: staticmethod(function) for name, function in functions.items()}
    return type("FunctionCallbacks", (base,), methods)


def watches_episodes(callbacks: type | None, has_episodes: bool = True) -> bool:
    """Whether environments are to be at hand one by one. `has_episodes`: those of episodes are
    called, too."""
    return overrides(callbacks, *_OF_ENVIRONMENTS, *(_OF_EPISODES if has_episodes else ()))


def not_called(callbacks: type) -> list[str]:
    """What a user's class defines by such a name and nobody calls, in a sentence each."""
    names = [name for name in vars(DefaultCallbacks) if name.startswith("on_")]
    return [
        f"callbacks: {callbacks.__name__}.{name} is never called here"
        f"{did_you_mean(name, names) or ', called are ' + ', '.join(names)}"
        for name in dir(callbacks)
        if name.startswith("on_") and name not in names
    ]


def call_user(callbacks: DefaultCallbacks, method: str, **arguments: Any) -> None:
    """Raises EnvironmentFailure, with the user's own traceback, for what the user's code raises."""
    try:
        getattr(callbacks, method)(**arguments)
    except Exception as error:
        name = f"{type(callbacks).__name__}.{method}"
        raise EnvironmentFailure(
            f"{name}() raised {type(error).__name__}: {error}", traceback.format_exc()
        ) from error


def introduce_policies(callbacks: DefaultCallbacks, policies: Mapping[str, Any]) -> None:
    """Those that a process has just made."""
    for policy_id, policy in policies.items():
        call_user(callbacks, "on_create_policy", policy_id=policy_id, policy=policy)
