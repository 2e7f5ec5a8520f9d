"""A peer that does not answer ends the question, with the reason."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.peers.peer import _ask


@contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_answer_is_the_first_line_with_a_value() -> None:
    with running("cat") as process:
        assert process.stdin is not None
        process.stdin.write("talk of the library\n[1]\n")
        sample = _ask(process, '{"value": 3, "more": 4}')
    assert (sample.value, sample.more) == (3.0, {"more": 4})


def test_no_answer_within_the_limit_is_an_error() -> None:
    with running("cat") as process, pytest.raises(RuntimeError, match=r"'question' \(within 0.2 s"):
        _ask(process, "question", limit_s=0.2)


def test_a_peer_that_has_ended_is_an_error_with_its_exit_status() -> None:
    with running("sh", "-c", "exit 3") as process:
        process.wait()
        with pytest.raises(RuntimeError, match="ended with 3"):
            _ask(process, "question")
