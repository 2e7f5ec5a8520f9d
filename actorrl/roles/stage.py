"""Where episodes are played that nobody learns from: in an evaluator, or in the driver."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from actorrl.data.columns import DEFAULT_POLICY
from actorrl.envs.base_env import AgentsVector, make_agents_vector
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import VectorEnv, make_vector
from actorrl.roles.worker_view import WorkerView
from actorrl.rollouts.callbacks import DefaultCallbacks, watches_episodes
from actorrl.rollouts.collector import Collector
from actorrl.rollouts.complete_episodes import EpisodeCollector
from actorrl.rollouts.evaluation import AnyCollector
from actorrl.rollouts.multi_agent import MultiAgentCollector
from actorrl.rollouts.watching import AgentsWatcher, EpisodeWatcher, introduce
from actorrl.runtime.refs import beat


@dataclasses.dataclass(frozen=True)
class Stage:
    """`env` is what `envs.registry` resolved; `mapping_fn` and `raw_spaces` where there are several
    agents, as in WorkerSettings. The user's `callbacks` see the episodes, through an object made
    anew for each collector."""

    env: Any
    env_config: dict[str, Any]
    mapping_fn: Callable[..., str] | None = None
    raw_spaces: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    callbacks: type[DefaultCallbacks] | None = None

    def vector(
        self,
        num_envs: int,
        seed: int,
        *,
        worker_index: int = 0,
        render_mode: str | None = None,
        native: bool = True,
    ) -> VectorEnv | AgentsVector:
        """Environments of that seed. `native`: as in `make_vector`."""
        if self.mapping_fn is None:
            return make_vector(
                self.env,
                self.env_config,
                num_envs,
                worker_index=worker_index,
                seed=seed,
                native=native and not watches_episodes(self.callbacks),
                render_mode=render_mode,
            )
        contexts = [
            EnvContext(self.env_config, worker_index, i, render_mode=render_mode)
            for i in range(num_envs)
        ]
        return make_agents_vector(self.env, contexts, seed=seed)

    def collector(self, vector: Any, policy: Any, rows: int, explore: bool) -> AnyCollector:
        """Fragments of so many rows."""
        if self.mapping_fn is None:
            made: AnyCollector = Collector(vector, policy, rows, explore=explore)
        else:
            mapping, spaces = self.mapping_fn, self.raw_spaces
            made = MultiAgentCollector(vector, policy, mapping, spaces, rows, explore=explore)
        self._shown(made, 0)
        return made

    def worker(self, vector: Any, policy: Any, explore: bool, worker_index: int) -> WorkerView:
        """What a user's own evaluation function works with. A `sample()` of a single environment is
        a whole episode."""
        made: AnyCollector
        if self.mapping_fn is None:
            made = EpisodeCollector(vector, policy, 1, explore=explore, beat=beat)
        else:
            made = MultiAgentCollector(
                vector,
                policy,
                self.mapping_fn,
                self.raw_spaces,
                1,
                explore=explore,
                whole_episodes=True,
                beat=beat,
            )
        return self._shown(made, worker_index)

    def _shown(self, collector: AnyCollector, worker_index: int) -> WorkerView:
        """The collector as users' functions see it, after their callbacks."""
        policies: Mapping[str, Any]
        if isinstance(collector, Collector):
            policies = {DEFAULT_POLICY: collector.policy}
        else:
            policies = collector.policies.policies
        view = WorkerView(worker_index, policies, collector)
        if self.callbacks is not None and watches_episodes(self.callbacks):
            watch(self.callbacks(), collector, view)
        return view


def watch(callbacks: DefaultCallbacks, collector: AnyCollector, worker: WorkerView) -> None:
    """The user's callbacks see the collector's environments and episodes from now on."""
    watched = callbacks, collector.env, worker
    introduce(*watched)
    if isinstance(collector, Collector):
        collector.watcher = EpisodeWatcher(*watched)
    else:
        collector.watcher = AgentsWatcher(*watched)
