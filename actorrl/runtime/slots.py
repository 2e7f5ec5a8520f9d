"""A slot of a run as its supervisor keeps it: a name that one process after another may bear."""

from __future__ import annotations

import collections
import dataclasses
import enum

from actorrl.runtime.program import Restart


class SlotState(enum.StrEnum):
    WAITING = "waiting"  # for its first start, or for its backoff to pass
    STARTING = "starting"
    READY = "ready"
    STOPPED = "stopped"  # ended, and is not to be started again
    FAILED = "failed"


START_TIMEOUT_S = 120.0  # of an actor, from the order to start it to its being ready


@dataclasses.dataclass(frozen=True)
class Policy:
    """Limits of the supervision; times in seconds."""

    max_restarts: int = 5  # per slot, within the window
    window_s: float = 300.0
    group_restarts: int = 10  # per role, within its window, or for a large one:
    group_restarts_per_slot: float = 2.0  # all may die at once, and once again
    group_window_s: float = 60.0
    backoff_s: float = 0.2
    backoff_limit_s: float = 30.0
    jitter: float = 0.2  # of a backoff, so that not all come back in the same moment
    same_failure_limit: int = 3  # before the slot was ever ready
    start_timeout_s: float = START_TIMEOUT_S
    healthy_s: float = 60.0  # after so long the backoff starts anew
    gap_s: float = 5.0  # ticks further apart than this: we were asleep, not they


@dataclasses.dataclass
class Slot:
    name: str
    restart: Restart
    host: str | None = None  # where it is placed; it is not started before
    state: SlotState = SlotState.WAITING
    incarnation: int = 0
    pid: int | None = None
    address: str = ""
    tcp: str = ""
    restarts: int = 0
    last_error: str | None = None
    verdict: str | None = None  # why it was killed, which its exit code does not tell
    ever_ready: bool = False
    due: float = 0.0  # when a waiting slot is started
    started: float = 0.0
    failures: list[str] = dataclasses.field(default_factory=list)  # before the first READY
    recent: collections.deque[float] = dataclasses.field(default_factory=collections.deque)

    @property
    def group(self) -> str:
        return self.name.partition("/")[0]
