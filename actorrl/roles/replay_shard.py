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

from actorrl import copies, failpoints
from actorrl.data import columns as c
from actorrl.envs.filters import MeanStdFilter, NoFilter
from actorrl.replay.buffer import BufferSettings, Replay, num_rows
from actorrl.replay.limiter import SamplesPerInsert
from actorrl.roles.phases import Phases
from actorrl.runtime.actor import Actor, remote
from actorrl.runtime.credit_links import Arrays
from actorrl.runtime.links import Asked, Item

_REPORT_S = 0.2


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardSettings(BufferSettings):
    """Of each shard: everything that counts rows is already divided by the number of shards."""

    min_size: int
    samples_per_insert: float
    tolerance: float
    filtered_shape: tuple[int, ...] | None = None  # of observations that the learner filters


class ReplayShard(Actor):
    """See the module."""

    def __init__(self, settings: ShardSettings) -> None:
        self._settings = settings

    def on_start(self) -> None:
        settings = self._settings
        self._phases = Phases(self.context.inline)
        self._replay: Replay | None = None
        self._random_state = ""  # to go on from, once there is a buffer
        self._limiter = SamplesPerInsert(
            settings.samples_per_insert, settings.min_size, settings.tolerance
        )
        shape = settings.filtered_shape
        # It only notes: each row once, of which the learner sees some often and others never.
        self._filter = NoFilter() if shape is None else MeanStdFilter(shape)
        self._waiting_inserts: collections.deque[Item] = collections.deque()
        self._waiting_requests: collections.deque[Asked] = collections.deque()
        self._news: dict[str, Any] = {"num_env_steps": 0, "episodes": []}
        self._say_what_is_lost()
        self.context.every(_REPORT_S, self._report)

    def _say_what_is_lost(self) -> None:
        """A shard comes back empty. What its predecessor had taken in and not yet reported was
        sampled all the same, and counts. Where the notes went with the host's agent, the driver
        says how many rows there were when it was told last."""
        before = self.context.notes_of_predecessor(2)
        if before is not None:
            size, self._news["num_env_steps"] = before
            self.context.event("rows_lost", rows=size, exact=True)
        elif self.context.incarnation > 1:
            self.context.event("rows_lost", rows=0, exact=False)
        self._note_progress()

    def _note_progress(self) -> None:
        size = 0 if self._replay is None else len(self._replay)
        self.context.note(size, self._news["num_env_steps"])

    # ---- experience in ------------------------------------------------------------------

    def on_samples(self, item: Item) -> None:
        item.hold()
        self._waiting_inserts.append(item)
        self._go_on()

    def _insert(self, item: Item) -> None:
        self._phases.lap("runtime")
        if failpoints.ACTIVE:
            failpoints.reach("shard.before_insert")
        rows = item.arrays
        count = num_rows(rows)
        if count:
            if self._replay is None:
                self._make_replay(rows)
            self._settings.add(self._require_replay(), rows, item.source)
            if self._settings.filtered_shape is not None:
                self._filter.note(rows[c.OBS])
        if failpoints.ACTIVE:
            failpoints.reach("shard.mid_insert")
        self._limiter.inserted(count)
        self._news["num_env_steps"] += item.body["num_env_steps"]
        self._news["episodes"] += item.body["episodes"]
        self._note_progress()
        self._phases.lap("insert")
        item.release()

    def _make_replay(self, rows: Arrays) -> None:
        self._replay = self._settings.make(rows, self.context.index, self.context.incarnation)
        self.set_random_state(self._random_state)

    def _require_replay(self) -> Replay:
        assert self._replay is not None
        return self._replay

    # ---- batches out --------------------------------------------------------------------

    def serve_replay(self, request: Asked) -> None:
        self._waiting_requests.append(request)
        self._go_on()

    def _respond(self, request: Asked) -> None:
        num_samples = request.body["num_samples"]
        replay = self._require_replay()
        self._phases.lap("runtime")
        batch = replay.sample(num_samples, request.room())
        self._phases.lap("sample")
        if request.respond({"mass": replay.total_mass}, batch):
            self._limiter.sampled(num_samples)
        self._phases.lap("send")

    def on_priorities(self, item: Item) -> None:
        if self._replay is not None:
            self._phases.lap("runtime")
            self._replay.update_priorities(item.arrays[c.INDICES], item.arrays[c.PRIORITIES])
            self._phases.lap("priorities")

    def _go_on(self) -> None:
        """Let in and out what the ratio allows; one may allow the other."""
        going = True
        while going:
            going = False
            inserts = self._waiting_inserts
            if inserts and self._limiter.can_insert(num_rows(inserts[0].arrays)):
                self._insert(self._waiting_inserts.popleft())
                going = True
            request = self._oldest_request()
            if request is not None and self._limiter.can_sample(request.body["num_samples"]):
                self._respond(self._waiting_requests.popleft())
                going = True

    def _oldest_request(self) -> Asked | None:
        """Of a learner that lives: what is sampled for a dead one would count, and reach nobody."""
        requests = self._waiting_requests
        while requests and not requests[0].is_current():
            requests.popleft().drop()
        return requests[0] if requests else None

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
        """Counts since the last report, observations' statistics where they are filtered, and this
        shard's mass for the global weights. Without credit it all adds up until there is some."""
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
            "cpu": self._phases.report(),
            "copies": {} if self.context.inline else self._copies_counted(),
        }
        num_env_steps = self._news["num_env_steps"]
        self._news = {"num_env_steps": 0, "episodes": []}
        inserts.send(body, self._filter.take_delta(), rows=num_env_steps)
        self._note_progress()

    def _copies_counted(self) -> copies.Totals:
        """What this process counted; its messages carry what was sampled."""
        found = copies.totals()
        if "message" in found:
            found["sampled_message"] = found.pop("message")
        return found
