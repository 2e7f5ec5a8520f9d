"""What `actorrl status --json` prints: written by the driver into status.json, read by anybody."""

from __future__ import annotations

from typing import Any

import msgspec


class ActorStatus(msgspec.Struct, kw_only=True):
    """One actor, or one host's agent."""

    name: str
    """`rollout/0`: counts from 0."""
    role: str
    """cluster.yml's word: rollout, replay, learner, ... or agent."""
    host: str = "local"
    """The host entry's address as written, or `local`."""
    pid: int | None = None
    """None while the actor is down."""
    state: str = "starting"
    incarnation: int = 0
    restarts: int = 0
    last_error: str | None = None


class RunStatus(msgspec.Struct, kw_only=True):
    """One run."""

    run: str
    """The run folder's name."""
    run_id: str
    state: str
    """starting, running, stopping, or how it ended; `dead` if the driver is gone without a word."""
    driver_pid: int | None
    algo: str
    env: str
    training_iteration: int = 0
    timesteps_total: int = 0
    actors: list[ActorStatus] = []


LIVE_STATES = ("starting", "running", "paused", "stopping")
"""States that only a live driver can be in."""


def to_status(values: dict[str, Any]) -> RunStatus:
    """A RunStatus of plain values; ValueError naming what is missing or of the wrong type."""
    known = set(RunStatus.__struct_fields__)
    if values.keys() - known:
        raise ValueError(f"status.json has no key {sorted(values.keys() - known)}")
    return msgspec.convert(values, RunStatus)
