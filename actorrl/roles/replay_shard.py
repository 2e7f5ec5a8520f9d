"""One shard of the replay: takes in rows, hands out prioritized batches, keeps the ratio.

A single-threaded process. Workers wait (no credit) while it is ahead of the learner, and the
learner's requests wait while it is behind: whatever their speeds, each row is sampled
`samples_per_insert` times on average.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from typing import Any

import numpy as np

from actorrl import failpoints
from actorrl.data import columns as c
from actorrl.replay.frame_store import RingFrameStore
from actorrl.replay.limiter import SamplesPerInsert
from actorrl.replay.prioritized import PrioritizedReplay
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.links import Asked, Item

_REPORT_S = 0.2


@dataclasses.dataclass(frozen=True)
class ShardSettings:
    """Of each shard: everything that counts rows is already divided by the number of shards."""

    capacity: int
    alpha: float
    eps: float
    min_size: int
    samples_per_insert: float
    tolerance: float
    seed: int
    num_frames: int = 0  # of the frame ring; 0: observations are stored as they are
    overlap_frames: int = 0  # with which a fragment repeats the end of its worker's last one


class ReplayShard(Actor):
    """See the module."""

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings

    def on_start(self) -> None:
        settings = self._settings
        self._replay: PrioritizedReplay | None = None
        self._random_state = ""  # to go on from, once there is a buffer
        self._limiter = SamplesPerInsert(
            settings.samples_per_insert, settings.min_size, settings.tolerance
        )
        self._waiting_inserts: collections.deque[Item] = collections.deque()
        self._waiting_requests: collections.deque[Asked] = collections.deque()
        self._news = {"num_env_steps": 0, "episodes": []}
        self.context.every(_REPORT_S, self._report)

    # ---- experience in ------------------------------------------------------------------

    def on_samples(self, item: Item) -> None:
        item.hold()
        self._waiting_inserts.append(item)
        self._go_on()

    def _insert(self, item: Item) -> None:
        if failpoints.ACTIVE:
            failpoints.reach("shard.before_insert")
        body = item.body
        rows = dict(item.arrays)
        frames = rows.pop(c.FRAMES, None)
        priorities = rows.pop(c.PRIORITIES)
        num_rows = len(priorities)
        if num_rows:
            replay = self._buffer(frames)
            if frames is None:
                replay.add(rows, priorities)
            else:  # flat frames: as if of one environment
                replay.add(
                    rows,
                    priorities,
                    frames=frames[:, None],
                    stream=item.source,
                    overlap=self._settings.overlap_frames,
                )
        if failpoints.ACTIVE:
            failpoints.reach("shard.mid_insert")
        self._limiter.inserted(num_rows)
        self._news["num_env_steps"] += body["num_env_steps"]
        self._news["episodes"] += body["episodes"]
        item.release()

    def _buffer(self, frames: np.ndarray | None) -> PrioritizedReplay:
        if self._replay is None:
            settings = self._settings
            store = None
            if frames is not None:
                store = RingFrameStore(settings.num_frames, frames.shape[1:])
            incarnation = self.context.incarnation
            self._replay = PrioritizedReplay(
                settings.capacity,
                alpha=settings.alpha,
                eps=settings.eps,
                seed=settings.seed + 1009 * self.context.index + incarnation,
                frame_store=store,
                generation=incarnation,
            )
            self.set_random_state(self._random_state)
        return self._replay

    # ---- batches out --------------------------------------------------------------------

    def serve_replay(self, request: Asked) -> None:
        self._waiting_requests.append(request)
        self._go_on()

    def _respond(self, request: Asked) -> None:
        num_samples = request.body["num_samples"]
        assert self._replay is not None
        batch = self._replay.sample(num_samples)
        self._limiter.sampled(num_samples)
        request.respond({"mass": self._replay.total_mass}, batch)

    def on_priorities(self, item: Item) -> None:
        if self._replay is not None:
            self._replay.update_priorities(item.arrays[c.INDICES], item.arrays[c.PRIORITIES])

    def _go_on(self) -> None:
        """Let in and out what the ratio allows; one may allow the other."""
        going = True
        while going:
            going = False
            inserts = self._waiting_inserts
            if inserts and self._limiter.can_insert(_num_rows(inserts[0])):
                self._insert(self._waiting_inserts.popleft())
                going = True
            if self._waiting_requests and self._limiter.can_sample(
                self._waiting_requests[0].body["num_samples"]
            ):
                self._respond(self._waiting_requests.popleft())
                going = True

    # ---- for checkpoints ----------------------------------------------------------------

    @remote
    def get_random_state(self) -> str:
        """Of sampling, as JSON text; rows are not kept: a shard comes back empty."""
        return self._random_state if self._replay is None else json.dumps(self._replay.state_dict())

    @remote
    def set_random_state(self, state: str) -> None:
        self._random_state = state
        if self._replay is not None and state:
            self._replay.load_state_dict(json.loads(state))

    # ---- what the learner must know -----------------------------------------------------

    def _report(self) -> None:
        """Counts since the last report, and this shard's mass for the global weights. Without
        credit the counts add up until there is some."""
        inserts = self.context.stream("inserts")
        if not inserts.has_credit:
            return
        replay = self._replay
        body: dict[str, Any] = {
            **self._news,
            "size": 0 if replay is None else len(replay),
            "mass": [0.0, 0, float("inf")] if replay is None else list(replay.mass),
            "num_inserted": self._limiter.num_inserted,
            "num_sampled": self._limiter.num_sampled,
            "min_size": self._limiter.min_size,
            "nbytes": 0 if replay is None else replay.nbytes,
            "num_dropped_priorities": 0 if replay is None else replay.num_dropped_updates,
            "waits": self.context.waits,
        }
        self._news = {"num_env_steps": 0, "episodes": []}
        inserts.send(body)


def _num_rows(item: Item) -> int:
    return len(item.arrays[c.PRIORITIES])
