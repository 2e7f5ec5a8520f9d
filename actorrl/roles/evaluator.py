"""Plays whole episodes beside training, with weights that come with the request."""

from __future__ import annotations

import dataclasses
from typing import Any

import cloudpickle
import numpy as np

from actorrl.data.sample_batch import to_plain
from actorrl.envs.base_env import AgentsVector
from actorrl.envs.vector import VectorEnv
from actorrl.roles import torch_setup
from actorrl.roles.settings import MakePolicy
from actorrl.roles.stage import Stage
from actorrl.roles.worker_view import WorkerView
from actorrl.rollouts.evaluation import ROWS, Playing, PlayingOn
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.answering import Later

_MOST_ENVS = 20


@dataclasses.dataclass
class _Request:
    playing: Playing | PlayingOn
    env: VectorEnv | AgentsVector
    later: Later
    goes_on: bool  # round after round, until that is enough


@dataclasses.dataclass
class _Own:
    """What users' own functions play with."""

    env: VectorEnv | AgentsVector
    policy: Any
    worker: WorkerView


class Evaluator(Actor):
    """One request at a time, a few rows per step, so that it is seen to go on."""

    def __init__(self, stage: Stage, seed: int, make_policy: MakePolicy) -> None:
        self._stage = stage
        self._seed = seed
        self._make_policy = make_policy

    def on_start(self) -> None:
        torch_setup.use_threads(1, self.context.inline)
        self._request: _Request | None = None
        self._own: _Own | None = None

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
        vector = self._stage.vector(num_envs, seed)
        collector = self._stage.collector(vector, policy, 1 if in_steps else ROWS, explore)
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

    @remote
    def get_ready(self, weights: np.ndarray, explore: bool, seed: int) -> None:
        """For `apply`, with these weights. The environment is made the first time and stays."""
        if self._own is None:
            policy, number = self._make_policy(self._seed, np.arange(1)), self.context.index + 1
            env = self._stage.vector(1, seed, worker_index=number, native=False)
            self._own = _Own(env, policy, self._stage.worker(env, policy, explore, number))
        self._own.policy.load_flat(weights, version=1)

    @remote(driver_only=True)
    def apply(self, function: bytes, index: int) -> Any:
        """As SamplingActor's: a user's function, with what `get_ready` has made."""
        assert self._own is not None, "get_ready comes first"
        return to_plain(cloudpickle.loads(function)(self._own.worker, index))

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
        if self._own is not None:
            self._own.env.close()
