"""What must hold after a fault and its recovery, seen from outside the run.

Each check gives a sentence, or None where all is well. What is only late (a process that is just
being reaped) gets some seconds.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import psutil

from tests.system import runs

_LATE_S = 10.0
FEW = 5  # descriptors, threads or sockets more than at the start


def settles(condition: Callable[[], bool], text: Callable[[], str]) -> str | None:
    deadline = time.monotonic() + _LATE_S
    while not condition():
        if time.monotonic() > deadline:
            return text()
        time.sleep(0.1)
    return None


def no_strays(run_id: str, actors: Callable[[], dict[str, dict[str, Any]]]) -> str | None:
    """Every process of the run on this host is an actor, the agent, its helper, or in an actor's
    group."""

    def strangers() -> list[str]:
        rows = actors()
        known = [row["pid"] for row in rows.values()]
        found = []
        for process in runs.processes_of(run_id):
            with contextlib.suppress(psutil.Error, OSError):
                if process.environ().get("ACTORRL_HOST", "local") != "local":
                    continue  # of a host that is a namespace of this machine
                group = os.getpgid(process.pid)
                helper = process.ppid() in known or group in known
                agent_helper = group == os.getpgid(rows["agent/local"]["pid"])
                if process.pid not in known and not helper and not agent_helper:
                    found.append(f"{process.pid} {' '.join(process.cmdline())[:60]}")
        return found

    return settles(lambda: not strangers(), lambda: f"strays: {strangers()}")


class Counts:
    """Of rows and events, each looked at once: counts that only rise within an epoch, losses that
    are exact, incarnations that never come back."""

    def __init__(self) -> None:
        self._num_rows = self._num_events = 0
        self._epoch = self._updates = self._steps = 0
        self._incarnations: dict[str, int] = {}

    def check(self, rows: Sequence[dict[str, Any]], events: Sequence[dict[str, Any]]) -> str | None:
        # look at all, so that one break is told once
        broken = [text for row in rows[self._num_rows :] if (text := self._row(row))]
        broken += [text for event in events[self._num_events :] if (text := self._event(event))]
        self._num_rows, self._num_events = len(rows), len(events)
        return "; ".join(broken) or None

    def _row(self, row: dict[str, Any]) -> str | None:
        learner = row["info"]["learner"]
        epoch = learner.get("epoch", self._epoch)
        updates, steps = row["num_updates"], row["timesteps_total"]
        went_back = updates < self._updates or steps < self._steps
        text = None
        if epoch < self._epoch or (epoch == self._epoch and went_back):
            text = f"counts went back in epoch {epoch}, row {row['training_iteration']}"
        self._epoch, self._updates, self._steps = epoch, updates, steps
        return text

    def _event(self, event: dict[str, Any]) -> str | None:
        if event["kind"] == "elements_lost" and (not event["exact"] or event["elements"] < 1):
            return f"a loss that is none, or not exact: {event}"
        if event["kind"] == "run_failed":
            return f"the run failed: {event['reason']}"
        if event["kind"] not in ("actor_restarted", "actor_ready", "actor_exited"):
            return None
        actor, incarnation = event["actor"], event["incarnation"]
        newest = self._incarnations.get(actor, 0)
        self._incarnations[actor] = max(newest, incarnation)
        if incarnation < newest or (event["kind"] == "actor_restarted" and incarnation == newest):
            return f"heard of incarnation {incarnation} after {newest}: {event}"
        return None


def recoveries_agree(
    rows: Sequence[dict[str, Any]], events: Sequence[dict[str, Any]]
) -> str | None:
    """What a learner says it has lost is at least what its rows had told and its successor's first
    row does not have."""
    for event in events:
        before = [row for row in rows if row["info"]["learner"]["epoch"] < event["epoch"]]
        after = [row for row in rows if row["info"]["learner"]["epoch"] >= event["epoch"]]
        for count, lost in (("num_updates", "updates_lost"), ("timesteps_total", "timesteps_lost")):
            if before and before[-1]["info"]["learner"]["epoch"] < event["epoch"] - 1:
                continue  # one came and went without a row
            if before and after and before[-1][count] - event[lost] > after[0][count]:
                return f"{count} {before[-1][count]}, then {after[0][count]}, but: {event}"
    return None


def load_of(pid: int) -> tuple[int, int, int]:
    """Descriptors, threads and sockets of a process."""
    process = psutil.Process(pid)
    sockets = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(OSError):
            sockets += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
    return process.num_fds(), process.num_threads(), sockets


def load_is_as_before(pid: int, before: tuple[int, int, int]) -> str | None:
    return settles(
        lambda: all(now <= then + FEW for now, then in zip(load_of(pid), before, strict=True)),
        lambda: f"descriptors, threads, sockets {load_of(pid)}, at the start {before}",
    )
