"""Plays whole episodes beside training, with weights that come with the request."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from actorrl.envs.base_env import AgentsVector, make_agents_vector
from actorrl.envs.registry import EnvContext
from actorrl.envs.vector import VectorEnv, make_vector
from actorrl.roles import torch_setup
from actorrl.roles.settings import MakePolicy
from actorrl.rollouts.collector import Collector
from actorrl.rollouts.evaluation import ROWS, Playing, PlayingOn
from actorrl.rollouts.multi_agent import MultiAgentCollector
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.answering import Later

_MOST_ENVS = 20


@dataclasses.dataclass
class _Request:
    playing: Playing | PlayingOn
    env: VectorEnv | AgentsVector
    later: Later
    goes_on: bool  # round after round, until that is enough


class Evaluator(Actor):
    """One request at a time, a few rows per step, so that it is seen to go on."""

    def __init__(
        self,
        env: Any,
        env_config: dict[str, Any],
        seed: int,
        make_policy: MakePolicy,
        mapping_fn: Callable[..., str] | None = None,
        raw_spaces: Mapping[str, Any] | None = None,
    ) -> None:
        """The last two where there are several agents, as in WorkerSettings."""
        self._env = env
        self._env_config = env_config
        self._seed = seed
        self._make_policy = make_policy
        self._mapping_fn = mapping_fn
        self._raw_spaces = raw_spaces or {}

    def on_start(self) -> None:
        torch_setup.use_threads(1, self.context.inline)
        self._request: _Request | None = None

    @remote
    def evaluate(
        self,
        weights: np.ndarray,
        duration: int,
        explore: bool,
        seed: int,
        goes_on: bool = False,
        in_steps: bool = False,
    ) -> Later:
        """Rows [environment, return, length] of so many episodes, or of so many env steps in one
        environment; the same arguments give the same rows. With `goes_on`, of as many again and
        again until `enough` is told, the last of these rounds whole: short episodes count no more
        than long ones. Environments are made for each evaluation."""
        policy = self._make_policy(self._seed, np.arange(1))
        policy.load_flat(weights, version=1)
        num_envs = 1 if in_steps else min(duration, _MOST_ENVS)
        collector = self._collector(policy, num_envs, 1 if in_steps else ROWS, explore, seed)
        playing: Playing | PlayingOn
        if in_steps:
            playing = PlayingOn(collector, duration)
        else:
            playing = Playing(collector, num_envs, duration)
        self._finish()  # whoever asked before waits no longer
        self._request = _Request(playing, collector.env, Later(), goes_on)
        return self._request.later

    @remote
    def enough(self) -> None:
        """The round that is being played is the last one."""
        if self._request is not None:
            self._request.goes_on = False

    def _collector(
        self, policy: Any, num_envs: int, rows: int, explore: bool, seed: int
    ) -> Collector | MultiAgentCollector:
        if self._mapping_fn is None:
            env = make_vector(self._env, self._env_config, num_envs, seed=seed)
            return Collector(env, policy, rows, explore=explore)
        contexts = [EnvContext(self._env_config, 0, i) for i in range(num_envs)]
        agents = make_agents_vector(self._env, contexts, seed=seed)
        return MultiAgentCollector(
            agents, policy, self._mapping_fn, self._raw_spaces, rows, explore=explore
        )

    def has_work(self) -> bool:
        return self._request is not None

    def step(self) -> None:
        assert self._request is not None
        self._request.playing.advance()
        if not self._request.playing.done:
            return
        if self._request.goes_on:
            self._request.playing.again()
        else:
            self._finish()

    def _finish(self) -> None:
        if self._request is not None:
            request, self._request = self._request, None
            request.env.close()
            request.later.resolve([episode.to_row() for episode in request.playing.played])

    def on_stop(self) -> None:
        self._finish()
