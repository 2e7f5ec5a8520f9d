"""Ending processes of a run without ever touching another's.

A number is not enough: a moment after a process has ended, its pid may be somebody else's. So a
process is opened first (a pidfd stays with that one process), then recognised, by the run's id in
its environment or by being in our session, and only then signalled.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator

RUN_ID_VARIABLE = "ACTORRL_RUN_ID"
HOST_VARIABLE = "ACTORRL_HOST"  # beside it: two hosts of a list may be one machine
ACTOR_VARIABLE = "ACTORRL_ACTOR"  # of what an actor starts: its name and incarnation
_PAUSE_S = 0.01


def of_run(run_id: str, host: str | None = None) -> list[int]:
    """The pids of all live processes that carry the run's id, but for this one; only those that
    carry the host's name, too, if one is given."""
    return _those(_of_run(run_id, host))


def kill_run(run_id: str, patience_s: float, host: str | None = None) -> list[int]:
    """End every process of the run, or of one host of it, but this one; those that are there still
    after `patience_s`."""
    return _kill_all(_of_run(run_id, host), patience_s)


def kill_others(run_id: str, patience_s: float) -> list[int]:
    """As `kill_run`, but for what this process has started itself: a driver's agents, which see to
    the rest."""
    is_of_run = _of_run(run_id, None)
    return _kill_all(lambda pid: is_of_run(pid) and not _is_child(pid), patience_s)


def mark_as(actor: str) -> None:
    """Whatever program this process starts from now on carries that mark."""
    os.environ[ACTOR_VARIABLE] = actor


def kill_marked(run_id: str, actor: str) -> None:
    """End the programs that an actor has started, also those that have left its session, as
    simulators do."""
    marks = {f"{RUN_ID_VARIABLE}={run_id}".encode(), f"{ACTOR_VARIABLE}={actor}".encode()}
    for pid in _pids():
        if pid != os.getpid() and _carries(pid, marks):
            _kill(pid, lambda pid: _carries(pid, marks))


def kill_session(leader: int, patience_s: float) -> list[int]:
    """End every process of the session that the child `leader` has opened, as `kill_run` does; also
    those that do not yet carry the run's id, as a process in the midst of its exec."""
    return _kill_all(lambda pid: _in_session(pid, leader), patience_s)


def _kill_all(is_meant: Callable[[int], bool], patience_s: float) -> list[int]:
    deadline = time.monotonic() + patience_s
    left = _those(is_meant)
    while left:
        for pid in left:
            _kill(pid, is_meant)
        time.sleep(_PAUSE_S)
        left = _those(is_meant)
        if time.monotonic() > deadline:
            break
    return left


def kill_group(group: int) -> None:
    """End an actor and what it has started: the process of that pid and the members of its group,
    as far as they are in this process's session, which nobody else can enter."""
    for pid in _pids():
        if pid != os.getpid() and _in_group(pid, group):
            _kill(pid, lambda pid: _in_group(pid, group))


def _in_group(pid: int, group: int) -> bool:
    try:
        return (pid == group or os.getpgid(pid) == group) and os.getsid(pid) == os.getsid(0)
    except OSError:
        return False


def _in_session(pid: int, leader: int) -> bool:
    """A zombie is in none."""
    try:
        state, _, _, session = _stat(pid)
    except OSError:
        return False
    return int(session) == leader and state != b"Z"


def _is_child(pid: int) -> bool:
    try:
        return int(_stat(pid)[1]) == os.getpid()
    except OSError:
        return False


def _stat(pid: int) -> list[bytes]:
    """State, parent, group and session."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b") ")[2].split()[:4]


def _kill(pid: int, is_meant: Callable[[int], bool]) -> None:
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            if is_meant(pid):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def _those(is_meant: Callable[[int], bool]) -> list[int]:
    return [pid for pid in _pids() if is_meant(pid)]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdecimal())


def _of_run(run_id: str, host: str | None) -> Callable[[int], bool]:
    """Whether a process, but for this one, carries the marks of the run, or of one host of it."""
    marks = {f"{RUN_ID_VARIABLE}={run_id}".encode()}
    if host is not None:
        marks.add(f"{HOST_VARIABLE}={host}".encode())
    return lambda pid: pid != os.getpid() and _carries(pid, marks)


def _carries(pid: int, marks: set[bytes]) -> bool:
    """A zombie carries nothing any more."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return marks.issubset(file.read().split(b"\0"))
    except OSError:
        return False
