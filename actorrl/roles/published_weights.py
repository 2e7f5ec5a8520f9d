"""The weights that a learner publishes over link `weights`, under versions that only rise.

Each update makes a version, seen by readers or not: lag is counted in updates.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np

from actorrl import failpoints
from actorrl.runtime.context import Context


class PublishedWeights:
    """Those of the learner's policy; `version` is the newest, `epoch` rises where a learner goes on
    from an older state than a predecessor's last."""

    def __init__(self, context: Context, policy: Any, min_interval_s: float) -> None:
        self._publisher = context.publisher("weights")
        self._policy = policy
        self._min_interval_s = min_interval_s
        self._published_at = -math.inf
        # Readers may know a version of our predecessor: ours must be newer, and in a new epoch.
        self.version = self._publisher.newest_version()
        self.epoch = self._publisher.newest_epoch() + 1

    def begin_epoch(self, at_least: int) -> None:
        """Versions from now on are of this epoch, or of a newer one that has begun already."""
        self.epoch = max(self.epoch, at_least)

    def are_due(self) -> bool:
        """Whether readers have been without news for long enough."""
        return time.monotonic() - self._published_at >= self._min_interval_s

    def skip(self) -> None:
        """A version that nobody will see."""
        self.version += 1

    def publish(self, timesteps: int) -> None:
        """The weights as they are now; `timesteps` is the run's env steps, for schedules."""
        if failpoints.ACTIVE:
            failpoints.reach("learner.before_publish")
        self.version += 1
        self._policy.version = self.version
        arrays = {"flat": self._policy.weights_in_place(), "timesteps": np.array([timesteps])}
        self._publisher.publish(self.version, arrays, self.epoch)
        self._published_at = time.monotonic()
