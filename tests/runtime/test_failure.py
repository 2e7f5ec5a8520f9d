"""Errors as data: whatever a user raises can be told."""

from __future__ import annotations

import pytest

from actorrl.errors import EnvironmentFailure, RunFailed
from actorrl.runtime.causes import reason, root_cause
from actorrl.runtime.failure import Failure, exit_code_text
from actorrl.runtime.supervisor import Fail
from actorrl.wire import values
from actorrl.wire.control_messages import ActorExited, ActorFailed


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [ValueError("a\ud800b"), ValueError("x" * 1_000_000), Unspeakable(), KeyError(object())],
)
def test_whatever_is_raised_can_travel(error):
    failure = Failure.of(error, "here")
    back = Failure.from_body(values.unpack(*values.pack(failure.to_body())))
    assert back == failure
    assert back.type_name == type(error).__name__ and len(back.message) < 30_000


@pytest.mark.parametrize("body", [None, 5, [], {}, {"executed": "perhaps"}, {"message": 3}])
def test_a_body_of_something_else_is_read_all_the_same(body):
    assert Failure.from_body(body).executed == "maybe"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by signal 9 (SIGKILL)"),
        (-11, "killed by signal 11 (SIGSEGV)"),
        (-99, "killed by signal 99"),
        (None, "unknown cause"),
    ],
)
def test_an_exit_code_in_words(code, text):
    assert exit_code_text(code) == text


KILLED = "killed by the kernel: out of memory"


def exited(code: int, tail: str = "") -> ActorExited:
    return ActorExited("a/0", 1, code, tail)


def oom(rss_bytes: int) -> ActorExited:
    return ActorExited("a/0", 1, -9, "", rss_bytes=rss_bytes, out_of_memory=True)


def failed(type_name: str, message: str, user_traceback: str = "") -> ActorFailed:
    return ActorFailed("a/0", 1, type_name, message, "traceback text", user_traceback, False)


@pytest.mark.parametrize(
    ("end", "words", "expected"),
    [
        (exited(-9), None, "killed by signal 9 (SIGKILL)"),
        (oom(2**28), None, f"{KILLED}; it held 256 MiB when last looked at"),
        (oom(0), None, KILLED),
        (exited(3, "noise\nout of luck\n"), None, "exit code 3: out of luck"),
        (exited(3), None, "exit code 3"),
        (exited(1), failed("ValueError", "first\nsecond"), "ValueError: first"),
        (exited(1), failed("KeyError", ""), "KeyError: "),
    ],
)
def test_a_reason_is_one_line(end, words, expected):
    assert reason(end, words) == expected


def test_the_root_cause_shows_the_traceback_or_the_end_of_the_log():
    verdict = Fail("a/0 failed 3 times: x", "a/0")
    error = root_cause(verdict, exited(1), failed("ValueError", "x"), "\n  its log: L")
    assert isinstance(error, RunFailed)
    assert str(error) == "a/0 failed for good: a/0 failed 3 times: x\ntraceback text\n  its log: L"
    lines = "\n".join(f"line {number}" for number in range(30))
    text = str(root_cause(verdict, exited(-11, lines), None, ""))
    assert "line 29" in text and "line 2\n" not in text


def test_a_crash_in_c_shows_the_thread_that_crashed():
    log = "\n".join(
        [
            "noise",
            "Fatal Python error: Segmentation fault",
            "",
            "Thread 0x1 (most recent call first):",
        ]
        + ["  File x"] * 20
        + ["", "Current thread 0x2 (most recent call first):", "  File y in crash", "  File z"]
        + ["  File main"] * 20
    )
    text = str(root_cause(Fail("x", "a/0"), exited(-11, log), None, ""))
    assert "Segmentation fault\nCurrent thread" in text and "in crash" in text
    assert "Thread 0x1" not in text and len(text.splitlines()) < 15


def test_an_environments_failure_stays_one():
    words = failed("EnvironmentFailure", "reset raised", "the user's own traceback")
    error = root_cause(Fail("x", "a/0"), exited(1), words, "")
    assert isinstance(error, EnvironmentFailure)
    assert error.user_traceback == "the user's own traceback"
