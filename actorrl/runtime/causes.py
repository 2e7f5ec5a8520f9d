"""Why an actor ended, in words: from its exit code, what it said, and the end of its log."""

from __future__ import annotations

from actorrl.errors import ActorRLError, EnvironmentFailure, RunFailed
from actorrl.runtime.counts import USABLE_MEMORY
from actorrl.runtime.failure import exit_code_text
from actorrl.runtime.memory_limits import LIBRARIES_BYTES, in_words, over_limit
from actorrl.runtime.supervisor import Fail
from actorrl.wire.control_messages import ActorExited, ActorFailed

_TAIL_LINES = 12


def reason(exited: ActorExited, failed: ActorFailed | None) -> str:
    """One line; but for sizes the same for the same failure, since the supervisor counts by it."""
    if failed is not None:
        first_line = failed.message.splitlines()[0] if failed.message else ""
        return f"{failed.type_name}: {first_line}"
    if exited.over_limit is not None:
        return over_limit(*exited.over_limit)
    if exited.out_of_memory:
        held = f"; it held {in_words(exited.rss_bytes)} when last looked at"
        return f"killed by the kernel: out of memory{held if exited.rss_bytes else ''}"
    if exited.code > 0 and exited.log_tail.strip():
        return f"{exit_code_text(exited.code)}: {exited.log_tail.strip().splitlines()[-1]}"
    return exit_code_text(exited.code)


def root_cause(
    verdict: Fail, exited: ActorExited, failed: ActorFailed | None, log_hint: str
) -> ActorRLError:
    """What ended the run, for its user: an environment's failure as such, what the actor itself
    said is beyond repair, else the traceback, or the end of the log of a process that could say
    nothing."""
    if failed is not None and failed.type_name == EnvironmentFailure.__name__:
        return EnvironmentFailure(failed.message, failed.user_traceback)
    if failed is not None and failed.fatal:
        return RunFailed(f"{verdict.slot}: {failed.message}{log_hint}")
    lines = (failed.traceback if failed is not None else exited.log_tail).strip().splitlines()
    detail = "\n".join(_crash(lines) or lines[-_TAIL_LINES:])
    memory = f"\n  its memory at last: {in_words(exited.rss_bytes)}" if exited.rss_bytes else ""
    if exited.over_limit is not None:
        memory += f"\n  {_where_limited(verdict.slot)}"
    return RunFailed(
        f"{verdict.slot} failed for good: {verdict.reason}\n{detail}{memory}{log_hint}"
    )


def _where_limited(slot: str) -> str:
    role = slot.partition("/")[0]
    return (
        f"the limit is roles.{role}.mem of the host list and {in_words(LIBRARIES_BYTES)} for Python"
        f" itself; without it, {USABLE_MEMORY:.0%} of the host's memory"
    )


def _crash(lines: list[str]) -> list[str]:
    """Of what faulthandler wrote at a crash in C: the thread that crashed, newest call first."""
    fatal = [index for index, line in enumerate(lines) if line.startswith("Fatal Python error")]
    if not fatal:
        return []
    dump = lines[fatal[-1] :]
    current = next((i for i, line in enumerate(dump) if line.startswith("Current thread")), 1)
    return dump[:1] + dump[current : current + _TAIL_LINES - 1]
