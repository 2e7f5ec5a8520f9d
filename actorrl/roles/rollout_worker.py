"""Steps environments and hands out fragments: of its own accord over a stream, or when asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cloudpickle
import numpy as np

from actorrl import copies, failpoints
from actorrl.data.allocate import Allocate
from actorrl.data.columns import DEFAULT_POLICY
from actorrl.data.fragment import Fragment
from actorrl.data.sample_batch import MultiAgentBatch, to_plain
from actorrl.envs.base_env import AgentsVector, make_agents_vector
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import VectorEnv, make_vector
from actorrl.offline.writer import DatasetWriter
from actorrl.policies.base import Policy
from actorrl.policies.policy_map import PolicyMap
from actorrl.roles import torch_setup
from actorrl.roles.awaited_weights import AwaitedWeights
from actorrl.roles.phases import Phases
from actorrl.roles.settings import (
    Arrays,
    Body,
    MakePolicy,
    MakePostprocess,
    WorkerSettings,
)
from actorrl.roles.stage import watch
from actorrl.roles.worker_view import WorkerView
from actorrl.rollouts.callbacks import call_user, introduce_policies, overrides
from actorrl.rollouts.collector import Collector
from actorrl.rollouts.complete_episodes import EpisodeCollector
from actorrl.rollouts.multi_agent import MultiAgentCollector
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.links import Asked, StateIn
from actorrl.runtime.refs import beat

_REPORT_S = 1.0


class Sampling:
    """The part that every role with environments shares: env, policy, collector, newest weights."""

    def __init__(self, actor: Actor, settings: WorkerSettings, make_policy: MakePolicy) -> None:
        context = actor.context
        torch_setup.use_threads(1, context.inline)
        torch_setup.keep_freed_memory(context.inline)
        torch_setup.yield_to_learners(context.inline)
        self.phases = Phases(context.inline)
        index = context.index
        seed = settings.worker_seed(index, context.incarnation)
        self._num_recreated = 0
        self._tell_event = context.event
        self.policy = make_policy(seed, settings.env_indices(index))
        self._callbacks = settings.callbacks() if settings.callbacks is not None else None
        if self._callbacks is not None:
            introduce_policies(self._callbacks, self.policies())
        self.env: VectorEnv | AgentsVector
        self.collector: Collector | MultiAgentCollector
        self.env, self.collector = make_source(settings, index, seed, self.policy)
        self._writer = _writer(settings, index, self.policy)
        self._weights: StateIn = context.state("weights")
        self._epoch = 0
        self.timesteps = 0  # the learner's global count, as of the weights that act
        self.view = WorkerView(index + 1, self.policies(), self)
        self._sample_ends = overrides(settings.callbacks, "on_sample_end")
        if self._callbacks is not None and settings.watches_episodes():
            watch(self._callbacks, self.collector, self.view)

    def refresh(self) -> tuple[int, int]:
        """Load newer weights if there are any; epoch and version of those that act now. Those of a
        new epoch are newer whatever their number: a learner was restored, or is elsewhere."""
        self.phases.lap("runtime")
        if self._weights.version > self.policy.version or self._weights.epoch != self._epoch:
            self._epoch = self._weights.epoch
            self._weights.hand(self._load)
            self.phases.lap("weights")
        return self._epoch, self.policy.version

    def _load(self, version: int, arrays: Mapping[str, np.ndarray]) -> None:
        self.policy.load_flat(arrays["flat"], version)
        self.timesteps = int(arrays["timesteps"][0])

    def policies(self) -> dict[str, Policy]:
        """By id, where there are several and where there is one."""
        if isinstance(self.policy, PolicyMap):
            return self.policy.policies
        return {DEFAULT_POLICY: self.policy}

    def collect(
        self, allocate: Allocate | None = None, unread: frozenset[str] = frozenset()
    ) -> Fragment:
        """`allocate` is asked for the observations' memory, and extras that are `unread` are left
        out, unless others see the fragment before."""
        self.phases.lap("runtime")
        before = dict(self.collector.timers)
        if isinstance(self.collector, Collector) and self._writer is None and not self._callbacks:
            fragment = self.collector.collect(allocate, unread)
        else:
            fragment = self.collector.collect()
        self.phases.lap_split(_sampling_phases(before, self.collector.timers))
        if self._writer is not None:
            self._writer.write(fragment)
        if self._callbacks is not None and self._sample_ends:
            whole = MultiAgentBatch.from_fragment(fragment)
            samples = MultiAgentBatch.wrap_as_needed(whole.policy_batches, whole.count)
            call_user(self._callbacks, "on_sample_end", worker=self.view, samples=samples)
        recreated = self.env.num_recreated - self._num_recreated
        if recreated:
            self._num_recreated += recreated
            self._tell_event(
                "environments_recreated", environments=recreated, reason=self.env.last_failure
            )
        return fragment

    def close(self) -> None:
        try:
            if self._writer is not None:
                self._writer.flush()
        finally:
            self.env.close()

    def metrics(self, actor: Actor) -> Body:
        """Totals since the start; the driver takes differences."""
        return {
            "num_env_steps": self.collector.num_steps_total,
            **self.collector.timers,
            **self.phases.report(),
            **{f"wait_{name}_s": seconds for name, seconds in actor.context.waits.items()},
            # where all actors share a process, the learner tells
            **({} if actor.context.inline or not copies.COUNTING else {"copies": copies.totals()}),
        }


def _sampling_phases(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Seconds of the clock in the environment, in the policy, and in writing columns between."""
    env_s, policy_s, total_s = (after[n] - before[n] for n in ("env_s", "policy_s", "total_s"))
    return {"env": env_s, "inference": policy_s, "columns": max(0.0, total_s - env_s - policy_s)}


def make_source(settings: WorkerSettings, index: int, seed: int, policy: Any) -> tuple[Any, Any]:
    """The environments of a worker, and the collector that steps them."""
    agents = _one_agent if settings.mapping_fn is None else _several_agents
    return (settings.make_source or agents)(settings, index, seed, policy)


def _one_agent(
    settings: WorkerSettings, index: int, seed: int, policy: Policy
) -> tuple[VectorEnv, Collector]:
    env = make_vector(
        settings.env,
        settings.env_config,
        settings.num_envs_per_worker,
        worker_index=index + 1,  # RLlib counts its local worker as 0
        num_workers=settings.num_workers,
        seed=seed,
        autoreset="next_step" if settings.whole_episodes else settings.autoreset,
        recreate_failed=settings.recreate_failed_envs,
        native=not settings.watches_episodes(),
    )
    for reason, given in (
        ("recreate_failed_envs", settings.recreate_failed_envs),
        ("callbacks of episodes", settings.watches_episodes()),
    ):
        if given:
            print(f"{reason}: environments are stepped one by one", flush=True)
    first = int(settings.env_indices(index)[0])
    if settings.whole_episodes:
        return env, EpisodeCollector(
            env,
            policy,
            settings.fragment_length,
            first_env_index=first,
            worker_index=index,
            explore=policy.explore,
            beat=beat,
        )
    return env, Collector(
        env,
        policy,
        settings.fragment_length,
        first_env_index=first,
        worker_index=index,
        explore=policy.explore,
        num_lead_in=settings.num_lead_in,
    )


def _several_agents(
    settings: WorkerSettings, index: int, seed: int, policies: PolicyMap
) -> tuple[AgentsVector, MultiAgentCollector]:
    contexts = [
        EnvContext(settings.env_config, index + 1, i, False, settings.num_workers)
        for i in range(settings.num_envs_per_worker)
    ]
    env = make_agents_vector(
        settings.env, contexts, seed=seed, recreate_failed=settings.recreate_failed_envs
    )
    assert settings.mapping_fn is not None
    return env, MultiAgentCollector(
        env,
        policies,
        settings.mapping_fn,
        settings.raw_spaces,
        settings.fragment_length,
        first_env_index=int(settings.env_indices(index)[0]),
        worker_index=index,
        explore={name: policy.explore for name, policy in policies.policies.items()},
        whole_episodes=settings.whole_episodes,
        beat=beat,
    )


def _writer(settings: WorkerSettings, index: int, policy: Any) -> DatasetWriter | None:
    if settings.output is None:
        return None
    about = {"env": str(settings.env), "env_config": repr(settings.env_config)}
    space = str(policy.action_space)
    return DatasetWriter(settings.output, worker_index=index, action_space=space, about=about)


class SamplingActor(Actor):
    """Base of the roles with environments; `on_start` makes `_sampling`."""

    _sampling: Sampling

    @remote(driver_only=True)
    def apply(self, function: bytes, index: int) -> Any:
        """Run a user's function that the driver has sent, with the newest weights; see WorkerSet.
        Driver only: nothing that came from elsewhere is unpickled."""
        self._sampling.refresh()
        return to_plain(cloudpickle.loads(function)(self._sampling.view, index))

    @remote
    def get_random_state(self) -> str:
        """Of the policy that acts, as JSON text, for checkpoints. Environments keep their own."""
        return self._sampling.policy.random_state()

    @remote
    def set_random_state(self, state: str) -> None:
        self._sampling.policy.set_random_state(state)

    def on_stop(self) -> None:
        self._sampling.close()


class RolloutWorker(SamplingActor):
    """One fragment per step while the stream has credit, or one per request."""

    def __init__(
        self, settings: WorkerSettings, make_policy: MakePolicy, make_postprocess: MakePostprocess
    ) -> None:
        self._settings = settings
        self._make_policy = make_policy
        self._make_postprocess = make_postprocess

    def on_start(self) -> None:
        self._sampling = Sampling(self, self._settings, self._make_policy)
        self._begin_rows()
        self._sampling.view.on_sample = self._begin_rows
        self._requests = AwaitedWeights(self.context, self._sampling.refresh, self._answer)
        self._streams = self.context.has_link("samples")
        report = self.context.report("metrics")
        self.context.every(_REPORT_S, lambda: report.send(self._sampling.metrics(self)))

    def _begin_rows(self) -> None:
        """Rows that span fragments begin with the next one: none may lead over a fragment that a
        user's function has taken."""
        num_envs = self._settings.num_envs_per_worker
        self._postprocess = self._make_postprocess(self._sampling.policy, num_envs)

    def has_work(self) -> bool:
        return self._streams

    def step(self) -> None:
        self._sampling.refresh()
        body, arrays = self._collect(self.context.stream("samples").room())
        if failpoints.ACTIVE:
            failpoints.reach("worker.before_send")
        self.context.stream("samples").send(body, arrays, rows=body["num_env_steps"])
        self._sampling.phases.lap("send")

    def _collect(self, allocate: Allocate) -> tuple[Body, Arrays]:
        fragment = self._sampling.collect(allocate, self._settings.unread)
        body, arrays = self._postprocess(fragment)
        self._sampling.phases.lap("postprocess")
        return body, arrays

    def serve_samples(self, request: Asked) -> None:
        self._requests.serve(request)

    def _answer(self, request: Asked) -> None:
        self._sampling.policy.timesteps = request.body["timesteps"]
        body, arrays = self._collect(request.room())
        request.respond(body, arrays)
        self._sampling.phases.lap("send")
