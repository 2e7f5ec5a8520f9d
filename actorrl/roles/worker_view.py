"""A rollout worker as a user's function sees it: RLlib's RolloutWorker, as far as it is useful."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.fragment import Fragment
from actorrl.data.sample_batch import MultiAgentBatch, SampleBatch
from actorrl.errors import ConfigError


class Source(Protocol):
    """What a worker samples from."""

    @property
    def env(self) -> Any: ...
    def collect(self) -> Fragment: ...


class WorkerView:
    """`worker_index` counts from 1; 0 is the driver's own copy, which has no environments.

    What a function changes in here is the worker's until newer weights come; to change what is
    learned from, write to the algorithm's policy. The same object is passed every time, so that
    attributes set on it stay.
    """

    def __init__(
        self,
        worker_index: int,
        policies: Mapping[str, Any],
        sampling: Source | None = None,
        learn: Callable[[Any], dict[str, Any]] | None = None,
    ) -> None:
        """`learn` is what the driver's `learn_on_batch` does."""
        self.worker_index = worker_index
        self._policies = dict(policies)
        self.policy_map = dict(policies)
        if DEFAULT_POLICY in policies:
            self.policy_map["default"] = policies[DEFAULT_POLICY]
        self._sampling = sampling
        self._learn = learn
        self._sample: Callable[[], SampleBatch | MultiAgentBatch] | None = None
        self.on_sample: Callable[[], None] = lambda: None  # a worker's, who learns from the others

    def sample_by(self, sample: Callable[[], SampleBatch | MultiAgentBatch]) -> None:
        """The driver's copy has no environments: what its `sample` does instead."""
        self._sample = sample

    # ---- policies -----------------------------------------------------------------------

    def get_policy(self, policy_id: str = DEFAULT_POLICY) -> Any:
        return self.policy_map[policy_id]

    def for_policy(
        self, func: Callable[..., Any], policy_id: str = DEFAULT_POLICY, **keywords: Any
    ) -> Any:
        return func(self.policy_map[policy_id], **keywords)

    def foreach_policy(self, func: Callable[..., Any], **keywords: Any) -> list[Any]:
        return [func(policy, name, **keywords) for name, policy in self._policies.items()]

    def get_weights(self, policies: Any = None) -> dict[str, dict[str, np.ndarray]]:
        """By policy and parameter."""
        wanted = self._policies if policies is None else policies
        return {name: self._policies[name].get_weights() for name in wanted}

    def set_weights(self, weights: Mapping[str, Mapping[str, np.ndarray]]) -> None:
        for name, named in weights.items():
            self._policies[name].set_weights(named)

    def learn_on_batch(self, samples: Any) -> dict[str, Any]:
        """Of the driver's copy: `Algorithm.learn_on_batch`."""
        if self._learn is None:
            raise ConfigError(
                "learn_on_batch: workers do not learn, ask the driver's copy:"
                " algo.workers.local_worker()"
            )
        return self._learn(samples)

    def compute_gradients(self, samples: Any) -> Any:
        """RLlib's: that of the policy, in a worker of one that has its own loss, else of the
        driver's copy; by policy of a MultiAgentBatch."""
        if isinstance(samples, MultiAgentBatch):
            batches = samples.policy_batches
            return {n: self._policies[n].compute_gradients(rows) for n, rows in batches.items()}
        return self.get_policy().compute_gradients(samples)

    def apply_gradients(self, gradients: Any) -> None:
        """What `compute_gradients` returns the first part of, or a dict of these by policy."""
        if not isinstance(gradients, Mapping):
            gradients = {DEFAULT_POLICY: gradients}
        for name, of_policy in gradients.items():
            self._policies[name].apply_gradients(of_policy)

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

    def sample(self) -> SampleBatch | MultiAgentBatch:
        """The next fragment's rows, which then are not learned from; of the driver's copy those of
        the first worker."""
        if self._sample is not None:
            return self._sample()
        if self._sampling is None:
            raise ConfigError("sample: the driver's copy has no environments, ask a worker")
        batch = MultiAgentBatch.from_fragment(self._sampling.collect())
        self.on_sample()
        return MultiAgentBatch.wrap_as_needed(batch.policy_batches, batch.count)
