"""A rollout worker as a user's function sees it: RLlib's RolloutWorker, as far as it is useful."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.sample_batch import SampleBatch
from actorrl.errors import ConfigError

if TYPE_CHECKING:
    from actorrl.roles.rollout_worker import Sampling


class WorkerView:
    """`worker_index` counts from 1; 0 is the driver's own copy, which has no environments.

    What a function changes in here is the worker's until newer weights come; to change what is
    learned from, write to the algorithm's policy. The same object is passed every time, so that
    attributes set on it stay.
    """

    def __init__(self, worker_index: int, policy: Any, sampling: Sampling | None = None) -> None:
        self.worker_index = worker_index
        self.policy_map = {DEFAULT_POLICY: policy, "default": policy}
        self._sampling = sampling

    # ---- policies -----------------------------------------------------------------------

    def get_policy(self, policy_id: str = DEFAULT_POLICY) -> Any:
        return self.policy_map[policy_id]

    def for_policy(
        self, func: Callable[..., Any], policy_id: str = DEFAULT_POLICY, **keywords: Any
    ) -> Any:
        return func(self.policy_map[policy_id], **keywords)

    def foreach_policy(self, func: Callable[..., Any], **keywords: Any) -> list[Any]:
        return [func(self.policy_map[DEFAULT_POLICY], DEFAULT_POLICY, **keywords)]

    def get_weights(self, policies: Any = None) -> dict[str, dict[str, np.ndarray]]:
        """By policy and parameter."""
        return {DEFAULT_POLICY: self.get_policy().get_weights()}

    def set_weights(self, weights: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        self.get_policy().set_weights(weights[DEFAULT_POLICY])

    # ---- environments -------------------------------------------------------------------

    @property
    def num_envs(self) -> int:
        return 0 if self._sampling is None else self._sampling.env.num_envs

    @property
    def env(self) -> Any:
        """The first environment; the whole vector where it steps them itself."""
        if self._sampling is None:
            return None
        return getattr(self._sampling.env, "envs", [self._sampling.env])[0]

    def foreach_env(self, func: Callable[[Any], Any]) -> list[Any]:
        if self._sampling is None:
            return []
        envs = getattr(self._sampling.env, "envs", None)
        if envs is None:
            raise ConfigError(
                "foreach_env: these environments are stepped by a vectoriser of their own, where"
                " there is none to hand out; recreate_failed_envs=True steps them one by one"
            )
        return [func(env) for env in envs]

    def sample(self) -> SampleBatch:
        """The next fragment's rows, which then are not learned from."""
        if self._sampling is None:
            raise ConfigError("sample: the driver's copy has no environments, ask a worker")
        return SampleBatch.from_fragment(self._sampling.collect())
