"""The learner with a buffer of its own (DQN, DDPG, TD3, SAC): rounds of rows, then updates.

A round: every worker acts for one fragment with the same weights; its rows go into the buffer in
the order of the workers; then as many updates as the ratio of samples to inserts asks for. Nothing
overlaps, so a run is the same every time.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from actorrl.data import columns as c
from actorrl.replay.buffer import BufferSettings, Replay, num_rows
from actorrl.replay.limiter import SamplesPerInsert
from actorrl.replay.prioritized import PROBABILITIES
from actorrl.replay.weights import Mass, importance_weights
from actorrl.roles.batch import to_device
from actorrl.roles.round_learner import RoundLearner
from actorrl.roles.settings import LearnerSettings
from actorrl.runtime.links import Item

_MASS_INTERVAL = 100  # samples between two scans for the smallest mass; weights bound it anyway


@dataclasses.dataclass(frozen=True, kw_only=True)
class LocalReplaySettings(BufferSettings):
    """Of the learner's buffer."""

    min_size: int  # rows before any update
    samples_per_insert: float
    beta: float = 0.0  # exponent of importance weights


class LocalReplayLearner(RoundLearner):
    """See the module. With priorities, the update returns new ones as "priorities" [N]."""

    def __init__(self, settings: LearnerSettings, replay: LocalReplaySettings) -> None:
        super().__init__(settings)
        self._replay_settings = replay

    def on_start(self) -> None:
        settings = self._replay_settings
        self._replay: Replay | None = None
        self._random_state = ""  # to go on from, once there is a buffer
        self._limiter = SamplesPerInsert(settings.samples_per_insert, settings.min_size)
        self._mass = Mass(0.0, 0)
        self._num_sampled = 0
        super().on_start()

    def take_round(self, items: list[Item]) -> None:
        for item in items:
            self._insert(item)
        before = self.num_updates
        while self._limiter.can_sample(self.settings.train_batch_size):
            self._learn_from_replay()
        if self.num_updates > before:
            self._publish()
        self.end_iteration_if_complete()

    def _insert(self, item: Item) -> None:
        body, rows = item.body, item.arrays
        self.count_fragment(body["num_env_steps"], body["episodes"])
        self.too_stale(body["policy_version"])
        count = num_rows(rows)
        if count:
            if self._replay is None:
                self._replay = self._replay_settings.make(rows, 0, self.context.incarnation)
                self.set_random_state(self._random_state)
            self._replay_settings.add(self._replay, rows, item.source)
        self._limiter.inserted(count)
        item.release()

    def _learn_from_replay(self) -> None:
        replay = self._replay
        assert replay is not None
        sample = replay.sample(self.settings.train_batch_size)
        self._limiter.sampled(self.settings.train_batch_size)
        ids, probabilities = sample.pop(c.INDICES), sample.pop(PROBABILITIES)
        sample[c.WEIGHTS] = self._weights(replay, probabilities)
        metrics = self.learn({name: to_device(x, self.device) for name, x in sample.items()})
        if self._replay_settings.alpha is not None:
            replay.update_priorities(ids, np.asarray(metrics[c.PRIORITIES], np.float32))

    def _weights(self, replay: Replay, probabilities: np.ndarray) -> np.ndarray:
        """Importance weights; 1 for all where rows are sampled uniformly."""
        if self._num_sampled % _MASS_INTERVAL == 0:
            self._mass = replay.mass
        self._num_sampled += 1
        return importance_weights(
            probabilities, replay.total_mass, self._mass, self._replay_settings.beta
        )

    # ---- for checkpoints and reports ----------------------------------------------------

    def random_state(self) -> str:
        """Of sampling; rows are not kept: after a restart the buffer fills anew."""
        return self._random_state if self._replay is None else json.dumps(self._replay.state_dict())

    def set_random_state(self, state: str) -> None:
        self._random_state = state
        if self._replay is not None and state:
            self._replay.load_state_dict(json.loads(state))

    def counters(self) -> dict[str, float]:
        replay = self._replay
        return {
            "replay_size": 0 if replay is None else len(replay),
            "replay_nbytes": 0 if replay is None else replay.nbytes,
            "num_dropped_priorities": 0 if replay is None else replay.num_dropped_updates,
            "samples_per_insert": self._limiter.ratio,
        }
