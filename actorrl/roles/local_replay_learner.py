"""The learner with a buffer of its own (DQN, DDPG, TD3, SAC): rounds of rows, then updates.

A round: every worker acts for one fragment with the same weights; its rows go into the buffer in
the order of the workers; then as many updates as the ratio of samples to inserts asks for. Nothing
overlaps, so a run is the same every time. Each of several policies has a buffer of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any

import numpy as np

from actorrl.data import columns as c
from actorrl.data.allocate import Allocate
from actorrl.policies.exploration import PiecewiseSchedule
from actorrl.replay.buffer import BufferSettings, Replay, num_rows
from actorrl.replay.limiter import SamplesPerInsert
from actorrl.replay.prioritized import PROBABILITIES
from actorrl.replay.weights import Mass, importance_weights
from actorrl.roles.batch import ReusedMemory
from actorrl.roles.device_frames import DeviceFrameStore
from actorrl.roles.round_learner import RoundLearner
from actorrl.roles.settings import Arrays, LearnerSettings
from actorrl.roles.shares import by_policy
from actorrl.runtime.links import Item

_UNWEIGHTED = PiecewiseSchedule([(0.0, 0.0)])
_MASS_INTERVAL = 100  # samples between two scans for the smallest mass; weights bound it anyway


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalReplaySettings(BufferSettings):
    """Of the learner's buffer."""

    min_size: int  # rows before any update
    samples_per_insert: float
    beta: PiecewiseSchedule = _UNWEIGHTED  # exponent of importance weights


class PolicyReplay:
    """The buffer of one policy, and its ratio of samples to inserts."""

    def __init__(self, settings: LocalReplaySettings, batch_size: int, buffer: Replay) -> None:
        self.buffer = buffer
        self.limiter = SamplesPerInsert(settings.samples_per_insert, settings.min_size)
        self.mass = Mass(0.0, 0)
        self._settings = settings
        self._batch_size = batch_size
        self._num_sampled = 0

    def insert(self, rows: Arrays, source: str) -> None:
        count = num_rows(rows)
        if count:
            self._settings.add(self.buffer, rows, source)
        self.limiter.inserted(count)

    def ready(self) -> bool:
        return self.limiter.can_sample(self._batch_size)

    def sample(self, allocate: Allocate, timesteps: int) -> tuple[np.ndarray, Arrays]:
        """Ids [N] of the rows, and the rows with their importance weights."""
        sample = self.buffer.sample(self._batch_size, allocate)
        self.limiter.sampled(self._batch_size)
        ids, probabilities = sample.pop(c.INDICES), sample.pop(PROBABILITIES)
        sample[c.WEIGHTS] = self._weights(probabilities, self._settings.beta(timesteps))
        return ids, sample

    def _weights(self, probabilities: np.ndarray, beta: float) -> np.ndarray:
        """Importance weights; 1 for all where rows are sampled uniformly."""
        if self._num_sampled % _MASS_INTERVAL == 0:
            self.mass = self.buffer.mass
        self._num_sampled += 1
        return importance_weights(probabilities, self.buffer.total_mass, self.mass, beta)


class LocalReplayLearner(RoundLearner):
    """See the module. With priorities, the update returns new ones as "priorities" [N]; of several
    policies rows come, and priorities go, under "policy/name"."""

    def __init__(self, settings: LearnerSettings, replay: LocalReplaySettings) -> None:
        super().__init__(settings)
        self._replay_settings = replay

    def on_start(self) -> None:
        self.replays: dict[str, PolicyReplay] = {}  # by "policy/", or "" where there is one
        self._random_states: dict[str, Any] = {}  # to go on from, once there is a buffer
        super().on_start()
        self._memory = ReusedMemory(self.device)
        self._stores_on_device = functools.partial(DeviceFrameStore, device=self.device)

    def take_round(self, items: list[Item]) -> None:
        for item in items:
            self.tally.count_experience(item.body["num_env_steps"], item.body["episodes"])
            self.too_stale(item.body["policy_version"])
            self.update.policy.note_rows(item.arrays)
            for prefix, rows in by_policy(item.arrays).items():
                self._replay_of(prefix, rows).insert(rows, item.source)
            item.release()
        before = self.tally.num_updates
        while ready := [prefix for prefix, replay in self.replays.items() if replay.ready()]:
            for prefix in ready:
                self.learn_from_replay(prefix)
        if self.tally.num_updates > before:
            self._publish()
        self.end_iteration_if_complete()

    def _replay_of(self, prefix: str, rows: Arrays) -> PolicyReplay:
        """Made for rows like the first ones."""
        if prefix not in self.replays:
            settings = self._replay_settings
            stores = self._stores_on_device if settings.storage == "cuda" else None
            buffer = settings.make(rows, len(self.replays), self.context.incarnation, stores)
            self.replays[prefix] = PolicyReplay(settings, self.settings.train_batch_size, buffer)
            if prefix in self._random_states:
                buffer.load_state_dict(self._random_states[prefix])
        return self.replays[prefix]

    def learn_from_replay(self, prefix: str = "") -> None:
        replay = self.replays[prefix]
        self._memory.restart()
        ids, sample = replay.sample(self._memory.take, self.tally.timesteps_total)
        batch = {f"{prefix}{name}": self._memory.to_device(x) for name, x in sample.items()}
        metrics = self.learn(batch)
        if self._replay_settings.alpha is not None:
            priorities = np.asarray(metrics[f"{prefix}{c.PRIORITIES}"], np.float32)
            replay.buffer.update_priorities(ids, priorities)

    # ---- for checkpoints and reports ----------------------------------------------------

    def random_state(self) -> str:
        """Of sampling; rows are not kept: after a restart the buffer fills anew."""
        now = {prefix: replay.buffer.state_dict() for prefix, replay in self.replays.items()}
        return json.dumps({**self._random_states, **now})

    def set_random_state(self, state: str) -> None:
        self._random_states = json.loads(state)
        for prefix, replay in self.replays.items():
            if prefix in self._random_states:
                replay.buffer.load_state_dict(self._random_states[prefix])

    def counters(self) -> dict[str, float]:
        """Sums over the policies; of the ratio the mean."""
        replays = self.replays.values()
        ratios = [replay.limiter.ratio for replay in replays]
        beta = self._replay_settings.beta(self.tally.timesteps_total)
        return {
            **({"cur_beta": beta} if self._replay_settings.alpha is not None else {}),
            "replay_size": sum(len(replay.buffer) for replay in replays),
            "replay_nbytes": sum(replay.buffer.nbytes for replay in replays),
            "num_dropped_priorities": sum(r.buffer.num_dropped_updates for r in replays),
            "samples_per_insert": sum(ratios) / len(ratios) if ratios else float("nan"),
        }
